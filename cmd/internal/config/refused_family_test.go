package config

import (
	"strings"
	"testing"
)

// What is said of both families is said of both from one table. In it @ begins an
// address of the network, ^ one of the uplink's subnet, and ~ one elsewhere.
func families() map[string]*strings.Replacer {
	return map[string]*strings.Replacer{
		"IPv4": strings.NewReplacer("@0", "10.0.0.0", "@", "10.0.0.", "^0", "192.0.2.0", "^", "192.0.2.", "~0", "10.5.0.0", "~", "10.5.0.", "/N", "/24", "/M", "/25",
			"DHCP6", "dhcp", "IPv6", "IPv4", "DHCPv6", "DHCP", "SUBNET", ipv4.subnetAddress(), "OWN", "10.0.0.0/24", "OUT", "192.0.2.0/24",
			"WRONG", "fd00::9", "GOOD", "192.0.2.1", "<", "", ">", ""),
		"IPv6": strings.NewReplacer("@0", "2001:db8::", "@", "2001:db8::", "^0", "2001:db8:2::", "^", "2001:db8:2::", "~0", "2001:db8:5::", "~", "2001:db8:5::", "/N", "/64", "/M", "/65",
			"DHCP6", "dhcp6", "SUBNET", ipv6.subnetAddress(), "OWN", "2001:db8::/64", "OUT", "2001:db8:2::/64",
			"WRONG", "10.0.0.9", "GOOD", "2001:db8::1", "<", "[", ">", "]"),
	}
}

func TestRefusedOfBoth(t *testing.T) {
	dhcp := func(keys string) string { return "address: '@1/N', DHCP6: {" + keys + "}" }
	route := func(keys string) string {
		return "forward: route, address: '@1/N', uplink: {interface: eth1, address: '^2/N'}, routes: [{" + keys + "}]"
	}
	uplink := func(keys string) string {
		return "forward: route, address: '@1/N', uplink: {interface: eth1, " + keys + "}"
	}
	publish := func(keys string) string {
		return "forward: nat, address: '@1/N', nat: {publish: [{protocol: tcp, " + keys + "}]}"
	}
	pool := func(list string) string {
		return "forward: nat, address: '@1/N', uplink: {interface: eth1, address: '^2/N', gateway: '^1'}, nat: {addresses: " + list + "}"
	}
	for _, tc := range [][2]string{
		{"address: '@1'", `address: "@1" has no prefix length: write it too, such as `},
		{"address: '@1/129'", `address: "@1/129" is not an address with a prefix length: write it such as 192.0.2.1/24 or 2001:db8::1/64`},
		{"address: '@1/N', ports: {p: {type: internal, address: '@1/N'}}", `port "p": address: @1 is the address of the gateway: give the port its own`},
		{"address: '@1/N', dns: {upstream: '@1'}", `dns.upstream: "@1" is the gateway of network "lan", where weft itself answers: that is a loop, name another server`},

		{dhcp("range: WRONG"), "DHCP6.range: WRONG is not a range of IPv6 addresses: write its first and its last one"},
		{dhcp("range: '@9-@8'"), "DHCP6.range: @9-@8 runs backwards: write it as @8-@9"},
		{dhcp("range: '@9-~9'"), "DHCP6.range: @9-~9 is not all in the subnet OWN of the network: move it there"},
		{dhcp("range: '~8-~9'"), "DHCP6.range: ~8-~9 is not all in the subnet OWN of the network: move it there"},
		{dhcp("range: '@0-@9'"), "DHCP6.range: @0-@9 holds @0, SUBNET: begin behind it"},
		{dhcp("range: '@1-@9'"), "DHCP6.range: @1-@9 holds @1, the address of the gateway: write the ranges before and behind it"},
		{dhcp("range: ['@2-@9', '@9-@10']"), "DHCP6.range[1]: @9-@10 overlaps @2-@9: join the two, or shorten one"},
		{dhcp("range: ['@2', '@9']"), "DHCP6.range: @2 and @9 are two single addresses: write @2-@9 for all from the one to the other, or @2-@2,@9 for just the two"},
		{dhcp("range: '@2', lease: 1s"), "DHCP6.lease: 1s is out of range: give 2m-365d in whole seconds, or infinite"},
		{dhcp("range: '@2', max_leases: 1048577"), "DHCP6.max_leases: 1048577 is out of range: give 0-1048576 (0 means as many as "},
		{dhcp("range: '@2', ntp: WRONG"), "DHCP6.ntp: WRONG is not an IPv6 address of a host: write one such as GOOD"},
		{dhcp("range: '@2', domain_search: a b"), `DHCP6.domain_search: "a b" is not a name: it has labels of `},
		{dhcp("hosts: [{mac: 02:00:00:00:00:01, address: WRONG}]"), "DHCP6.hosts[0].address: WRONG is not an IPv6 address, and DHCPv6 gives no others: write one"},
		{dhcp("hosts: [{mac: 02:00:00:00:00:01, address: '@0'}]"), "DHCP6.hosts[0].address: @0 is SUBNET: choose another one"},
		{dhcp("hosts: [{mac: 02:00:00:00:00:01, address: '@1'}]"), "DHCP6.hosts[0].address: @1 is the address of the gateway: choose another one"},
		{dhcp("hosts: [{mac: 02:00:00:00:00:01, address: '~1'}]"), "DHCP6.hosts[0].address: ~1 is not in the subnet OWN of the network: choose one that is"},
		{dhcp("hosts: [{mac: 03:00:00:00:00:01, name: x}]"), "DHCP6.hosts[0].mac: 03:00:00:00:00:01 is a group address: a client has a unicast one, such as 02:00:00:00:00:01"},
		{dhcp("hosts: [{mac: 02:00:00:00:00:01}]"), "DHCP6.hosts[0]: says nothing about the client: write an address, a name, a lease or ignore: true"},
		{dhcp("hosts: [{mac: 02:00:00:00:00:01, name: x, ignore: true}]"), "DHCP6.hosts[0].ignore: is true, so the client gets nothing: remove its address, name and lease, or this"},
		{dhcp("hosts: [{mac: 02:00:00:00:00:01, name: gateway}]"), `DHCP6.hosts[0].name: "gateway" is the name of the gateway: choose another one, or another dns.name`},
		{dhcp("hosts: [{mac: 02:00:00:00:00:01, name: x}, {mac: 02:00:00:00:00:02, name: x}]"), `DHCP6.hosts[1].name: "x" is that of hosts[0] already: give each client its own`},
		{dhcp("hosts: [{mac: 02:00:00:00:00:01, name: x}, {mac: 02:00:00:00:00:01, name: y}]"), `DHCP6.hosts[1].mac: "02:00:00:00:00:01" is that of hosts[0] already: give each client its own`},
		{dhcp("hosts: [{mac: 02:00:00:00:00:01, address: '@9'}, {mac: 02:00:00:00:00:02, address: '@9'}]"), `DHCP6.hosts[1].address: "@9" is that of hosts[0] already: give each client its own`},

		{route("to: '~1/N', via: '@9'"), "routes[0].to: ~1/N has bits behind its prefix length: write ~0/N"},
		{route("to: '@0/M', via: '@9'"), "routes[0].to: @0/M is in the network's own subnet OWN, where all is reached without: remove the route"},
		{route("to: '^0/M', via: '^9'"), "routes[0].to: ^0/M is in the subnet of the uplink, OUT, where all is reached without: remove the route"},
		{route("to: '~0/N', via: '@1'"), "routes[0].via: @1 is weft's own address there: write that of another station"},
		{route("to: '~0/N', via: '@0'"), "routes[0].via: @0 is SUBNET: write that of a station"},
		{route("to: '~0/N', via: '^2'"), "routes[0].via: ^2 is weft's own address there: write that of another station"},
		{route("to: '~0/N', via: '~1'"), "routes[0].via: ~1 is neither in the network's subnet OWN nor in that of the uplink, OUT: write a station of one of them"},
		{route("to: '~0/N', via: WRONG"), "routes[0].via: WRONG is not of IPv6, as the subnet is: write a station of the same"},
		{route("to: '~0/N'"), "routes[0].via: is missing: write the address of the station by which the subnet is reached"},
		{route("to: '~0/N', via: '@9'}, {to: '~0/N', via: '@8'"), "routes[1].to: ~0/N is there already: remove one of the two"},

		{uplink("address: '^2'"), `uplink.address: "^2" has no prefix length: write it too, such as `},
		{uplink("address: '^0/N'"), "uplink.address: ^0/N is SUBNET: write that of the "},
		{uplink("address: '@77/N'"), "uplink.address: @77/N overlaps the network's own subnet OWN: choose another one for the network"},
		{uplink("address: ['^2/N', '^3/N']"), "uplink.address[1]: ^3/N is a second address of IPv6, where an uplink has one of each family: keep one of them"},
		{uplink("address: '^2/N', gateway: ['^1', '^3']"), "uplink.gateway[1]: ^3 is a second gateway of IPv6, where an uplink has one of each family: keep one of them"},
		{uplink("address: '^2/N', gateway: '~1'"), "uplink.gateway: ~1 is not in the subnet of ^2/N: choose one that is"},
		{uplink("address: '^2/N', gateway: '^2'"), "uplink.gateway: ^2 is weft's own address there: write that of another station"},
		{uplink("address: '^2/N', gateway: '^0'"), "uplink.gateway: ^0 is SUBNET: write that of a station"},

		{publish("listen: 80, to: '<~9>:80'"), "nat.publish[0].to: ~9 is not in the subnet OWN of the network: choose one that is"},
		{publish("listen: 80, to: '<@1>:80'"), "nat.publish[0].to: @1 is the address of the gateway: choose another one"},
		{publish("listen: 80, to: '<@0>:80'"), "nat.publish[0].to: @0 is SUBNET: choose another one"},
		{publish("listen: 80, to: '<@9>:0'"), "nat.publish[0].to: port 0 is out of range: give 1-65535"},
		{publish("listen: 80, to: '<@9>:80'}, {protocol: tcp, listen: 80, to: '<@8>:81'"),
			"nat.publish[1].listen: tcp 80 is published already, as 80 to <@9>:80: choose other ports, or remove that"},
		{strings.Replace(publish("listen: 80, to: '<@9>:22'"), "forward: nat", "forward: route", 1),
			"nat.publish[0].to: port 22 is not that of listen, 80, and with forward: route nothing is translated: write the same in both"},
		{strings.Replace(publish("listen: '127.0.0.1:80', to: '<@9>:80'"), "forward: nat", "forward: route", 1),
			"nat.publish[0].listen: 127.0.0.1:80 has an address of this host, which takes forward: nat: with forward: route write the port alone, and the guest is reached at its own address"},

		{pool("'^9-^8'"), "nat.addresses: ^9-^8 runs backwards: write it as ^8-^9"},
		{pool("'@9'"), "nat.addresses: @9 overlaps the network's own subnet OWN: write outside addresses"},
		{pool("'^1-^9'"), "nat.addresses: ^1-^9 holds ^1, the gateway of the uplink: write the ranges before and behind it"},
		{pool("['^9-^12', '^12']"), "nat.addresses[1]: ^12 overlaps ^9-^12: join the two, or shorten one"},
		{pool("WRONG"), "nat.addresses: needs an uplink whose address is in the file: write that, such as address: "},
	} {
		for name, f := range families() {
			text, want := inNetwork(f.Replace(tc[0])), `f:1: network "lan": `+f.Replace(tc[1])
			if got := refusal(t, text); len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("%s: %s\n got %s\nwant %s", name, text, strings.Join(got, "\n     "), want)
			}
		}
	}
	// Their neighbours that are allowed.
	for _, text := range []string{
		dhcp("range: ['@2-@9', '@10-@99'], lease: 2m, max_leases: 1048576, hosts: [{mac: 02:00:00:00:00:01, address: '@5', lease: infinite}]"),
		route("to: '~0/N', via: '^9'"), route("to: '~0/N', via: '@9'"), uplink("address: '^2/N', gateway: '^1', proxy_arp: true"),
		pool("['^2', '^9-^12']"), publish("listen: 80-89, to: '<@9>:1'"), publish("listen: '127.0.0.1:80', to: '<@9>:1'"), publish("listen: '0.0.0.0:80', to: '<@9>:1'"),
		strings.Replace(publish("listen: 80-89, to: '<@9>:80'"), "forward: nat", "forward: route", 1),
	} {
		for _, f := range families() {
			mustParse(t, inNetwork(f.Replace(text)))
		}
	}
}
