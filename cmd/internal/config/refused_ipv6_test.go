package config

import (
	"fmt"
	"strings"
	"testing"
)

// six is a network with the gateway 2001:db8:1::1/64 beside one of IPv4, and keys
// of its own.
func six(keys string) string {
	return "networks: {lan: {address: [10.0.0.1/24, '2001:db8:1::1/64'], " + keys + "}}"
}

func TestRefusedGateway6(t *testing.T) {
	const lan = `f:1: network "lan": `
	const scope = "is neither global (2000::/3) nor unique local (fc00::/7): write one that is, or ula"
	const subnet = "leaves no subnet that can be served: give a prefix length of 64, or one of 16-126 with ra: {autonomous: false}"
	with := func(a string) string { return inNetwork("address: '" + a + "'") }
	ownULA := ULA("lan").Masked().String() + ", the unique local subnet of a network that has no other of IPv6"
	many := make([]string, 9)
	for i := range many {
		many[i] = fmt.Sprintf("'2001:db8:%d::1/64'", i)
	}
	refusedAlone(t, [][2]string{
		{with("fe80::1/64"), lan + "address: fe80::1/64 is a link-local address, and the gateway makes one itself: write a global or a unique local one, or ula"},
		{with("ff02::1/64"), lan + "address: ff02::1/64 is not an address of one host: write one"},
		{with("::/64"), lan + "address: ::/64 is not an address of one host: write one"},
		{with("::1/64"), lan + "address: ::1/64 " + scope},
		{with("1::1/64"), lan + "address: 1::1/64 " + scope},
		{with("64:ff9b::1/64"), lan + "address: 64:ff9b::1/64 " + scope},
		{with("fec0::1/64"), lan + "address: fec0::1/64 " + scope},
		{with("::ffff:10.0.0.1/120"), lan + "address: ::ffff:10.0.0.1/120 is an IPv4 address in IPv6 form: write it in IPv4 form"},
		{with("fe80::1%eth0/64"), lan + `address: "fe80::1%eth0/64" is not an address with a prefix length: write it such as 192.0.2.1/24 or 2001:db8::1/64`},
		{with("2001:db8::/64"), lan + "address: 2001:db8::/64 is the address of all routers of the subnet (RFC 4291 section 2.6.1): write that of the gateway, such as 2001:db8::1/64"},
		{with("2001:db8::1/15"), lan + "address: 2001:db8::1/15 " + subnet},
		{with("2001:db8::1/127"), lan + "address: 2001:db8::1/127 " + subnet},
		{with("2001:db8::1/128"), lan + "address: 2001:db8::1/128 " + subnet},
		{with("2001:db8::1/48"), lan + "address: 2001:db8::1/48 has a prefix length of 48, and guests make addresses in subnets of 64 only (RFC 4862): write /64, or ra: {autonomous: false}"},
		{inNetwork("address: [ula, '2001:db8::1/112']"), lan + "address[1]: 2001:db8::1/112 has a prefix length of 112, and guests make addresses in subnets of 64 only (RFC 4862): write /64, or ra: {autonomous: false}"},
		{inNetwork("address: [ula, ula]"), lan + "address[1]: ula is there already: write it once"},
		{inNetwork("address: ['2001:db8::1/64', '2001:db8::2/64']"), lan + "address[1]: 2001:db8::2/64 overlaps 2001:db8::1/64: a gateway has one address in each subnet, keep one of them"},
		{inNetwork("address: [" + strings.Join(many, ", ") + "]"), lan + "address: has 9 IPv6 addresses: at most 8 are possible"},
		{inNetwork("address: [10.0.0.1/24,\n 'fd00::1/64',\n 10.0.1.1/24]"), `f:3: network "lan": address[2]: 10.0.1.1/24 is a second IPv4 address, and a network has one subnet of that, as DHCP and NAT know no other: keep one of them, or make a second network`},
		{inNetwork("address: ulaa"), lan + `address: "ulaa" is not an address with a prefix length: write it such as 192.0.2.1/24 or 2001:db8::1/64`},
		{inNetwork("address: ula, mtu: 1279"), lan + "mtu: 1279 is less than IPv6 needs (RFC 8200 section 5): give 1280 at least, or remove the IPv6 address"},
		{inNetwork("address: 10.0.0.1/24,\n mtu: 1000, dhcp6: {stateless: true}"), `f:2: network "lan": mtu: 1000 is less than IPv6 needs (RFC 8200 section 5): give 1280 at least, or remove the IPv6 address`},
		{inNetwork("address: ula, mtu: 67"), lan + "mtu: 67 is out of range: give 68-65517 bytes"},
		{inNetwork("address: ula, dhcp: {range: 10.0.0.2-10.0.0.9}"), lan + "dhcp: is for IPv4, of which the network has no address: write one beside that of IPv6, such as 192.168.122.1/24, or dhcp6 in place of this"},
		{inNetwork("address: 10.0.0.1/24, dhcp6: {range: '2001:db8::10-2001:db8::20'}"), lan + "dhcp6.range: 2001:db8::10 is not in " + ownULA + `: write one, such as address: ["10.0.0.1/24", "2001:db8::1/64"]`},
		{inNetwork("dhcp6: {hosts: [{mac: 02:00:00:00:00:01, address: '2001:db8::10'}]}"), lan + "dhcp6.hosts[0].address: 2001:db8::10 is not in " + ownULA + `: write one, such as address: ["2001:db8::1/64"]`},
		{inNetwork("dhcp6: {range: 'fe80::1-fe80::9'}"), lan + "dhcp6.range: fe80::1-fe80::9 is not all in the subnet " + ULA("lan").Masked().String() + " of the network: move it there"},
		{inNetwork("address: 10.0.0.1/24, dhcp6: {range: 'fd01::1000/116'}"), lan + `dhcp6.range: "fd01::1000/116" is not a range: write its first and its last address, such as 2001:db8::10-2001:db8::99`},
		{bridged("ra: {enabled: true}", ""), lan + "ra: needs an address of the network: write one for it, such as address: ula, or remove this"},
		{bridged("dhcp6: {stateless: true}", ""), lan + "dhcp6: needs an address of the network: write one for it, such as address: ula, or remove this"},
		{inNetwork("address6: 'fd00::1/64'"), lan + `unknown key "address6": write both in address, such as [192.168.122.1/24, "2001:db8::1/64"]`},
		{inNetwork("radvd: {}"), lan + `unknown key "radvd": write ra`},
		{inNetwork("dhcpv6: {}"), lan + `unknown key "dhcpv6"; did you mean "dhcp6"?`},
		{inPort("type: tap, ra_guard: true"), lan + `port "vm9": unknown key "ra_guard": write guard: {ra: true, dhcp: true}`},
		{inPort("type: tap, guard: true"), lan + `port "vm9": guard: a single value, where keys with values belong: ra, dhcp`},
		{inPort("type: tap, guard: {ra: yes}"), lan + `port "vm9": guard.ra: "yes" is neither true nor false: write one of the two`},
		{bridged("", "vm1: {type: tap, mode: passthrough, guard: {ra: true}}"), lan + `port "vm1": guard: a passthrough port is a plain wire to the uplink: remove it, or choose another mode`},
	})
	for _, text := range []string{
		with("2001:db8::1/64"), with("fd00::1/64"), with("3fff::1/64"), inNetwork("address: ula, mtu: 1280"),
		inNetwork("address: '2001:db8::1/126', ra: {autonomous: false}"), inNetwork("address: '2001:db8::1/16', ra: {enabled: false}"),
		inNetwork("address: [" + strings.Join(many[1:], ", ") + "]"), inNetwork("address: 10.0.0.1/24, mtu: 68"),
		served("host_port: w, ports: {host: {guard: {ra: true}}}"),
	} {
		mustParse(t, text)
	}
}

func TestRefusedRA(t *testing.T) {
	const ra = `f:1: network "lan": ra.`
	in := func(keys string) string { return six("ra: {" + keys + "}") }
	const valid = "out of range: give the interval up to 365d in whole seconds (here from 10m0s on), or infinite"
	refusedAlone(t, [][2]string{
		{in("interval: 3s"), ra + "interval: 3s is out of range: give 4s-1800s in whole seconds"},
		{in("interval: 1801s"), ra + "interval: 30m1s is out of range: give 4s-1800s in whole seconds"},
		{in("interval: 4500ms"), ra + "interval: 4.5s is out of range: give 4s-1800s in whole seconds"},
		{in("interval: 10"), ra + `interval: "10" is not a duration: write a number and its unit, such as 300s, 5m or 1h`},
		{in("lifetime: 599s"), ra + "lifetime: 9m59s is out of range: give 0s, or the interval up to 9000s in whole seconds (here 10m0s), or auto"},
		{in("lifetime: 9001s"), ra + "lifetime: 2h30m1s is out of range: give 0s, or the interval up to 9000s in whole seconds (here 10m0s), or auto"},
		{in("lifetime: 600500ms"), ra + "lifetime: 10m0.5s is out of range: give 0s, or the interval up to 9000s in whole seconds (here 10m0s), or auto"},
		{in("lifetime: -1ns"), ra + "lifetime: -1ns is out of range: give 0s, or the interval up to 9000s in whole seconds, or auto"},
		{in("lifetime: soon"), ra + `lifetime: "soon" is not a duration: write a number and its unit, such as 300s, 5m or 1h`},
		{in("preference: hihg"), ra + `preference: "hihg" is unknown; did you mean "high"?`},
		{in("managed: yes"), ra + `managed: "yes" is unknown; known here: auto, true, false`},
		{in("other: 1"), ra + `other: "1" is unknown; known here: auto, true, false`},
		{in("mtu: 1279"), ra + "mtu: 1279 is less than IPv6 needs (RFC 8200 section 5): give 1280 at least, or auto, or none"},
		{in("mtu: 0"), ra + "mtu: 0 is less than IPv6 needs (RFC 8200 section 5): give 1280 at least, or auto, or none"},
		{in("mtu: 1501"), ra + "mtu: 1501 is out of range: give 1280-1500 (the mtu of the network), or auto, or none"},
		{in("hop_limit: 256"), ra + "hop_limit: 256 is out of range: give 0-255 (0 leaves it to the guests)"},
		{in("hop_limit: -1"), ra + "hop_limit: -1 is out of range: give 0-255 (0 leaves it to the guests)"},
		{in("valid: 599s, preferred: 0"), ra + "valid: 9m59s is " + valid},
		{in("valid: 366d"), ra + "valid: 366d is " + valid},
		{in("valid: 0s"), ra + "valid: 0s is " + valid},
		{in("preferred: 599s"), ra + "preferred: 9m59s is " + valid + ", or 0s"},
		{in("preferred: 91m"), ra + "preferred: 1h31m is above valid, 1h30m, when the address is gone: lower it, or raise that"},
		{in("preferred: infinite"), ra + "preferred: infinite is above valid, 1h30m, when the address is gone: lower it, or raise that"},
		{in("rdnss: 192.0.2.53"), ra + "rdnss: 192.0.2.53 is not an IPv6 address of a host: write one such as 2001:db8::1"},
		{in("rdnss: ['fd00::1', 'ff02::fb']"), ra + "rdnss[1]: ff02::fb is not an IPv6 address of a host: write one such as 2001:db8::1"},
		{in("rdnss: ['fd00::1', 'fd00::1']"), ra + "rdnss[1]: fd00::1 is there already: write it once"},
		{in("rdnss: host"), ra + `rdnss: "host" is not an IP address: write one such as 192.0.2.1`},
		{in("rdnss: ['fd00::1', 'fd00::2', 'fd00::3', 'fd00::4', 'fd00::5', 'fd00::6', 'fd00::7', 'fd00::8', 'fd00::9']"), ra + "rdnss: has 9 addresses: at most 8 are possible"},
		{in("dnssl: a b"), ra + `dnssl: "a b" is not a name: it has labels of 1-63 letters, digits and inner hyphens and underscores with dots between`},
		{in("dnssl: _a.b"), ra + `dnssl: "_a.b" is not a name: it has labels of 1-63 letters, digits and inner hyphens and underscores with dots between`},
		{in("dnssl: [" + strings.Repeat("a.", 63) + "b, " + strings.Repeat("a.", 63) + "c]"), ra + "dnssl: has 258 bytes: at most 256 fit into a message"},
		{in("dnssl: [a, b, c, d, e, f, g, h, i]"), ra + "dnssl: has 9 domains: at most 8 are possible"},
		{in("routes: 10.5.0.0/16"), ra + "routes: 10.5.0.0/16 is of IPv4, and advertisements are of IPv6: write a subnet of that"},
		{in("routes: '2001:db8:9::1/48'"), ra + "routes: 2001:db8:9::1/48 has bits behind its prefix length: write 2001:db8:9::/48"},
		{in("routes: 'ff00::/8'"), ra + "routes: ff00::/8 has no addresses of hosts: write another subnet"},
		{in("routes: 'fe80::/10'"), ra + "routes: fe80::/10 has no addresses of hosts: write another subnet"},
		{in("routes: '::/0'"), ra + "routes: ::/0 is what lifetime and preference are for: remove it here"},
		{in("routes: '2001:db8:1::/64'"), ra + "routes: 2001:db8:1::/64 is the network's own subnet, which is on the link: remove it"},
		{in("routes: ['2001:db8:9::/48', '2001:db8:9::/48']"), ra + "routes[1]: 2001:db8:9::/48 is there already: write it once"},
		{in("routes: [" + strings.Repeat("'2001:db8:9::/48', ", 8) + "'2001:db8:8::/48']"), ra + "routes: has 9 routes: at most 8 are possible"},
		{in("dns: x"), ra[:len(ra)-1] + `: unknown key "dns": the domain is that of dns, and servers are rdnss of ra, or dns-servers in options of dhcp6`},
	})
	for _, keys := range []string{
		"interval: 4s, lifetime: 4s, valid: 4s, preferred: 4s", "interval: 1800s, lifetime: 9000s", "lifetime: 0s, preferred: 0s", "valid: infinite, preferred: infinite",
		"valid: 365d, preferred: 365d", "mtu: 1280", "mtu: 1500", "mtu: none", "hop_limit: 0", "hop_limit: 255", "rdnss: none, dnssl: none", "rdnss: [], dnssl: []",
		"enabled: false, rdnss: 'fe80::1'", "routes: '64:ff9b::/96'",
	} {
		mustParse(t, in(keys))
	}
}

func TestRefusedDHCP6(t *testing.T) {
	const dhcp = `f:1: network "lan": dhcp6.`
	in := func(keys string) string { return six("dhcp6: {" + keys + "}") }
	pool := func(keys string) string { return in("delegate: [{" + keys + "}]") }
	refusedAlone(t, [][2]string{
		{in("stateless: true, range: '2001:db8:1::2-2001:db8:1::9'"), dhcp + "stateless: is true, so nobody gets an address: remove range, hosts and delegate, or this, as who has an address is answered anyway"},
		{in("hosts: [{name: x}]"), dhcp + "hosts[0]: is for nobody: write the mac or the duid of the client"},
		{in("hosts: [{duid: '00:01', name: x}]"), dhcp + "hosts[0].duid: has 2 bytes: give 3-130, of which the first two are the type"},
		{in("hosts: [{duid: laptop, name: x}]"), dhcp + `hosts[0].duid: "laptop" is not a DUID: write its bytes in hex, such as 00:03:00:01:02:00:00:00:00:01`},
		{in("hosts: [{duid: '00:04:01', name: x}, {duid: '00:04:01', name: y}]"), dhcp + `hosts[1].duid: "00:04:01" is that of hosts[0] already: give each client its own`},
		{in("options: {99999: x}"), dhcp + "options[99999]: is not the number of an option: 1-65535"},
		{in("options: {dns-sever: 'fd00::1'}"), dhcp + `options[dns-sever]: is not the name of an option that is known here: give its number; did you mean "dns-server"?`},
		{in("options: {3: x}"), dhcp + "options[3]: is set by the server itself: use range and hosts"},
		{in("options: {dns-server: 10.0.0.1}"), dhcp + `options[dns-server]: "10.0.0.1" is not an IPv6 address`},
		{in("options: {dns-server: 'fd00::1', 23: 'fd00::2'}"), dhcp + `options[23]: is option 23, as "dns-server" is: remove one of the two`},
		{in("options: {59: " + strings.Repeat("x", 600) + ", 103: " + strings.Repeat("x", 600) + "}"), dhcp + "options: has 1200 bytes in all: at most 1024 fit into a message"},
		{in("domain_search: _a.b"), dhcp + `domain_search: "_a.b" is not a name: it has labels of 1-63 letters, digits and inner hyphens and underscores with dots between`},
		{in("hosts: [{duid: '00:04:01', address: '2001:db8:1:0:fdff:ffff:ffff:ff80'}]"), dhcp + "hosts[0].address: 2001:db8:1:0:fdff:ffff:ffff:ff80 is one of those that are kept for anycast (RFC 2526): choose another one"},
		{inNetwork("address: 'fd00::1/48', ra: {autonomous: false}, dhcp6: {range: 'fd00::2-fd00::1:0:0:0:2'}"), dhcp + "range: fd00::2-fd00:0:0:1::2 has more addresses than a subnet of 64 bits: shorten it"},
		{in("option: {}"), dhcp[:len(dhcp)-1] + `: unknown key "option": write options, a map of numbers or names with their values`},
		{in("pd: []"), dhcp[:len(dhcp)-1] + `: unknown key "pd": write dhcp6: {delegate: [{prefix: "2001:db8:100::/48", length: 56}]}`},

		{pool("length: 56"), dhcp + "delegate[0].prefix: is missing: write what is handed out in parts, such as 2001:db8:100::/48"},
		{pool("prefix: '2001:db8:100::/48'"), dhcp + "delegate[0].length: is missing: write that of the prefixes which are handed out, such as 56"},
		{pool("prefix: '2001:db8:100::/48', length: 47"), dhcp + "delegate[0].length: 47 is out of range: give 48-64"},
		{pool("prefix: '2001:db8:100::/48', length: 65"), dhcp + "delegate[0].length: 65 is out of range: give 48-64"},
		{pool("prefix: '2001:db8:100::/64', length: 56"), dhcp + "delegate[0].length: 56 is out of range: give 64"},
		{pool("prefix: '2001:db8:100::/65', length: 65"), dhcp + "delegate[0].prefix: 2001:db8:100::/65 has no room for networks of others: give a prefix length of 16-64"},
		{pool("prefix: '2001:db8:100::1/48', length: 56"), dhcp + "delegate[0].prefix: 2001:db8:100::1/48 has bits behind its prefix length: write 2001:db8:100::/48"},
		{pool("prefix: 10.0.0.0/8, length: 56"), dhcp + "delegate[0].prefix: 10.0.0.0/8 is not of IPv6: write such a prefix, as 2001:db8:100::/48"},
		{pool("prefix: 'fe80::/16', length: 56"), dhcp + "delegate[0].prefix: fe80::/16 is neither global (2000::/3) nor unique local (fc00::/7): write another one"},
		{pool("prefix: '2001:db8::/32', length: 56"), dhcp + "delegate[0].prefix: 2001:db8::/32 overlaps the network's own subnet 2001:db8:1::/64: choose another one"},
		{pool("prefix: '2001:db8:100::/40', length: 56}, {prefix: '2001:db8:101::/48', length: 56"), dhcp + "delegate[1].prefix: 2001:db8:101::/48 overlaps the pool 2001:db8:100::/40: join the two, or choose another one"},
		{six("forward: route, uplink: {interface: eth1, address: '2001:db8:100::2/64'}, dhcp6: {delegate: [{prefix: '2001:db8:100::/48', length: 56}]}"),
			dhcp + "delegate[0].prefix: 2001:db8:100::/48 overlaps the subnet of the uplink, 2001:db8:100::/64: choose another one"},
		{in("delegate: [" + strings.Repeat("{}, ", 64) + "{}]"), dhcp + "delegate: has 65 pools: at most 64 are possible"},
		{inNetwork("address: [ula, 'fd00::1/64'], dhcp6: {range: 'fd01::2-fd01::9'}"), dhcp + "range: fd01::2-fd01::9 is not all in one of the subnets " +
			ULA("lan").Masked().String() + ", fd00::/64 of the network: move it there"},
	})
	for _, text := range []string{
		in("range: '2001:db8:1::2-2001:db8:1:0:ffff:ffff:ffff:ffff'"), in("hosts: [{duid: '00:04:01', address: '2001:db8:1:0:fdff:ffff:ffff:ff7f'}]"),
		in("hosts: [{duid: '00:04:01', address: '2001:db8:1:0:fe00::'}]"), inNetwork("address: 'fd00::1/48', ra: {autonomous: false}, dhcp6: {range: 'fd00::2-fd00::1:0:0:0:1'}"), in("stateless: true, ntp: 'fd00::1', options: {59: x}"),
		pool("prefix: '2001:db8:100::/48', length: 48"), pool("prefix: '2001:db8:100::/64', length: 64"), pool("prefix: '2a00:d00::/24', length: 64"),
		in("hosts: [{duid: '00:04:01', mac: 02:00:00:00:00:01, name: x}]"),
		// The two families have a client in common.
		six("dhcp: {hosts: [{mac: 02:00:00:00:00:01, name: x}]}, dhcp6: {hosts: [{mac: 02:00:00:00:00:01, name: x}]}"),
		inNetwork("address: [ula, 'fd00::1/64'], dhcp6: {range: 'fd00::2-fd00::9'}"),
	} {
		mustParse(t, text)
	}
}

func TestRefusedUplink6(t *testing.T) {
	const uplink = `f:1: network "lan": uplink.`
	in := func(keys string) string { return six("forward: route, uplink: {interface: eth1, " + keys + "}") }
	refusedAlone(t, [][2]string{
		{in("address: [auto, slaac]"), uplink + "address[0]: auto stands beside others, and it is for both families: write it alone"},
		{in("address: [dhcp, sockets]"), uplink + "address[1]: sockets stands beside others, and it is for both families: write it alone"},
		{in("address: [dhcp, slac]"), uplink + `address[1]: "slac" is neither an address such as 192.0.2.2/24 nor auto, host, sockets, dhcp, slaac or dhcp6; did you mean "slaac"?`},
		{in("address: [slaac, dhcp6]"), uplink + "address[1]: dhcp6 is a second address of IPv6, where an uplink has one of each family: keep one of them"},
		{in("address: [dhcp, 192.0.2.2/24]"), uplink + "address[1]: 192.0.2.2/24 is a second address of IPv4, where an uplink has one of each family: keep one of them"},
		{in("address: none"), uplink + "address: none leaves the uplink without an address: write one beside it, or auto"},
		{in("address: [none, none]"), uplink + "address[0]: none is for the family that nothing else is written of: remove it"},
		{in("address: [dhcp, slaac, none]"), uplink + "address[2]: none is for the family that nothing else is written of: remove it"},
		{in("address: [dhcp, '2001:db8::2']"), uplink + `address: "2001:db8::2" has no prefix length: write it too, such as 2001:db8::1/64`},
		{in("address: 'fe80::2/64'"), uplink + "address: fe80::2/64 is neither global (2000::/3) nor unique local (fc00::/7): write one that is; a link-local one is there anyway"},
		{in("address: '2001:db8::2/128'"), uplink + "address: 2001:db8::2/128 leaves no link that others are on: give a prefix length of 16-127, or a gateway such as fe80::1"},
		{in("address: '2001:db8::2/15'"), uplink + "address: 2001:db8::2/15 leaves no link that others are on: give a prefix length of 16-128"},
		{in("address: '2001:db8:1::2/64'"), uplink + "address: 2001:db8:1::2/64 overlaps the network's own subnet 2001:db8:1::/64: choose another one for the network"},
		{in("address: '2001:db8::2/32'"), uplink + "address: 2001:db8::2/32 overlaps the network's own subnet 2001:db8:1::/64: choose another one for the network, or write proxy_arp: true to make it a part of this one"},
		{in("address: '2001:db8::2/126', gateway: '2001:db8::'"), uplink + "gateway: 2001:db8:: is the address of all routers of the subnet (RFC 4291 section 2.6.1): write that of a station"},
		{in("address: slaac, gateway: 'fe80::1'"), uplink + "gateway: fe80::1 is for an uplink whose IPv6 address is in the file, and with slaac the routers out there say who leads on: remove it"},
		{in("address: 192.0.2.2/24, gateway: 'fe80::1'"), uplink + "gateway: fe80::1 is for an uplink whose IPv6 address is in the file: write that, such as address: 2001:db8::2/64, or remove this"},
		{in("address: '2001:db8::2/64', gateway: 192.0.2.1"), uplink + "gateway: 192.0.2.1 is for an uplink whose IPv4 address is in the file: write that, such as address: 192.0.2.2/24, or remove this"},
		{in("address: ['2001:db8::2/64', dhcp], gateway: ['2001:db8:9::1', 192.0.2.1]"), uplink + "gateway: 192.0.2.1 is for an uplink whose IPv4 address is in the file, and with dhcp the servers out there say who leads on: remove it; 2001:db8:9::1 is not in the subnet of 2001:db8::2/64: choose one that is"},
		{in("address: '2001:db8::2/64', gateway: 'ff02::1'"), uplink + "gateway: ff02::1 is not in the subnet of 2001:db8::2/64: choose one that is"},
		{in("address: '2001:db8::2/64', gateway: 'fe80::1%eth0'"), uplink + `gateway: "fe80::1%eth0" has a zone, which means nothing to others: write the address alone`},
		{six("forward: route, uplink: {address: slaac}"), uplink + "interface: is missing: write the interface that gets the address, such as eth1, or address: auto"},
		{six("uplink: {address: slaac}"), `f:1: network "lan": uplink: is for networks with forward: nat, route or bridge only: write one of them, or remove the uplink (by command: uplink=)`},
		{"networks: {lan: {forward: bridge, uplink: {interface: eth1, gateway: 'fe80::1'}}}", uplink + "gateway: is for networks with forward: nat or route only, this one is bridge: remove it"},
		{in("gateway6: 'fe80::1'"), uplink[:len(uplink)-1] + `: unknown key "gateway6": write both in gateway, such as [192.0.2.1, "fe80::1"]`},
		{in("proxy_ndp: true"), uplink[:len(uplink)-1] + `: unknown key "proxy_ndp": write proxy_arp, which is for both families`},
		{"networks:\n  a: {forward: route, address: 'fd00::1/64', uplink: {interface: eth1, address: slaac}}\n  b: {forward: nat, address: ula, uplink: {interface: eth1, address: dhcp6}}\n",
			`f:3: network "b": uplink.address: dhcp6, where network "a" has slaac for the same interface: write the same in both`},
		{"networks:\n  a: {forward: route, address: 'fd00::1/64', uplink: {interface: eth1, address: 'fd01::2/64', gateway: 'fe80::1'}}\n" +
			"  b: {forward: nat, address: ula, uplink: {interface: eth1, address: 'fd01::2/64', gateway: 'fe80::2'}}\n",
			`f:3: network "b": uplink.gateway: fe80::2, where network "a" has fe80::1 for the same interface: write the same in both`},
	})
	for _, keys := range []string{
		"address: slaac, proxy_arp: true", "address: '2001:db8::2/32', proxy_arp: true", "address: '2001:db8::2/127', gateway: '2001:db8::3'",
		"address: '2001:db8::/127', gateway: '2001:db8::1'", "address: [dhcp, '2001:db8::2/64'], gateway: 'fe80::1'", "address: [192.0.2.2/24, slaac], gateway: 192.0.2.1",
	} {
		mustParse(t, in(keys))
	}
}

func TestRefusedNAT6(t *testing.T) {
	const lan = `f:1: network "lan": `
	in := func(keys string) string {
		return six("forward: nat, uplink: {interface: eth1, address: [dhcp, '2001:db8:2::2/64']}, nat: {" + keys + "}")
	}
	const closed = "inbound: is for addresses that are known outside as they are, this network has forward: %s: write forward: route, or nat: {ipv6: route} beside forward: nat, or remove it (by command: inbound=)"
	refusedAlone(t, [][2]string{
		{in("ipv6: masqerade"), lan + `nat.ipv6: "masqerade" is no outside prefix such as 2001:db8:5::/64, and no word that is known; did you mean "masquerade"?`},
		{in("ipv6: '2001:db8:5::'"), lan + `nat.ipv6: "2001:db8:5::" has no prefix length: write it too, such as 2001:db8::1/64`},
		{in("ipv6: 10.0.0.0/8"), lan + "nat.ipv6: 10.0.0.0/8 is not of IPv6: write such a prefix"},
		{in("ipv6: '2001:db8:5::1/64'"), lan + "nat.ipv6: 2001:db8:5::1/64 has bits behind its prefix length: write 2001:db8:5::/64"},
		{in("ipv6: 'fe80::/64'"), lan + "nat.ipv6: fe80::/64 is neither global (2000::/3) nor unique local (fc00::/7): write another one"},
		{in("ipv6: '2001:db8:5::/48'"), lan + "nat.ipv6: 2001:db8:5::/48 is not as long as the network's own prefix 2001:db8:1::/64, to which it is translated bit by bit (RFC 6296): write both with the same length"},
		{in("ipv6: '2001:db8:5::/80'"), lan + "nat.ipv6: 2001:db8:5::/80 is longer than 64 bits, where none is left to keep checksums as they are (RFC 6296 section 3.1): write a shorter one"},
		{in("ipv6: '2001:db8:1::/64'"), lan + "nat.ipv6: 2001:db8:1::/64 is the network's own prefix: write route to keep it outside, or another one"},
		{in("ipv6: '2001:db8:2::/64'"), lan + "nat.ipv6: 2001:db8:2::/64 overlaps the subnet of the uplink, 2001:db8:2::/64: write a prefix that is routed to weft"},
		{strings.Replace(in("ipv6: '2001:db8:5::/64'"), "10.0.0.1/24", "ula", 1), lan + "nat.ipv6: 2001:db8:5::/64 is one prefix, and the network has several subnets of IPv6: keep one of them, or write route"},
		{strings.Replace(in("ipv6: '2001:db8:5::/64'"), "nat: {ipv6", "dhcp6: {delegate: [{prefix: '2001:db8:5::/48', length: 56}]}, nat: {ipv6", 1), lan + "nat.ipv6: 2001:db8:5::/64 overlaps the pool 2001:db8:5::/48: choose another one"},
		{inNAT("ipv6: route"), lan + "nat.ipv6: is for IPv6, of which the network has no address: write one, such as address: ula, or remove this"},
		{six("forward: nat, uplink: {address: sockets}, nat: {ipv6: route}"), lan + "nat.ipv6: route keeps the guests' own addresses, which sockets of this host cannot have: write masquerade, or another address for the uplink"},
		{six("forward: nat, uplink: {address: sockets}, nat: {ipv6: '2001:db8:5::/64'}"), lan + "nat.ipv6: 2001:db8:5::/64 keeps the guests' own addresses, which sockets of this host cannot have: write masquerade, or another address for the uplink"},
		{six("forward: route, nat: {ipv6: route}"), lan + "nat.ipv6: is for networks with forward: nat only, this one is route: write that, or remove it (by command: nat.ipv6=)"},
		{six("forward: route, nat: {mapping: symmetric}"), lan + "nat.mapping: is for networks with forward: nat only, this one is route: write that, or remove it (by command: nat.mapping=)"},
		{in("ipv6: route, addresses: '2001:db8:2::9'"), lan + "nat.addresses: 2001:db8:2::9 is of IPv6, which ipv6: route does not translate to addresses: remove one of the two"},
		{in("addresses: '2001:db8:2::1000-2001:db8:2::1400'"), lan + "nat.addresses: has 1025 addresses in all: at most 1024 are possible"},
		{in("nptv6: x"), lan + `nat: unknown key "nptv6": write nat: {ipv6: masquerade}, or an outside prefix in its place`},

		{six("inbound: open"), lan + fmt.Sprintf(closed, "isolated")},
		{six("inbound: {ipv4: open}"), lan + fmt.Sprintf(closed, "isolated")},
		{bridged("inbound: published", ""), lan + fmt.Sprintf(closed, "bridge")},
		{six("forward: nat, inbound: open"), lan + fmt.Sprintf(closed, "nat")},
		{six("forward: route, inbound: opne"), lan + `inbound: "opne" is unknown; did you mean "open"?`},
		{six("forward: route, inbound: {ipv6: publish}"), lan + `inbound.ipv6: "publish" is unknown; did you mean "published"?`},
		{six("forward: route, inbound: [open]"), lan + "inbound: a list, where a single value belongs"},
		{six("forward: route, inbound: {v6: open}"), lan + `inbound: unknown key "v6"; known here: ipv4, ipv6`},

		{in("publish: [{protocol: tcp, listen: 80, to: 'fd00::9:80'}]"), lan + `nat.publish[0].to: "fd00::9:80" has no brackets around its IPv6 address: write [fd00::9]:80`},
		{in("publish: [{protocol: tcp, listen: 80, to: 'fd00::9:abcd'}]"), lan + "nat.publish[0].to: fd00::9:abcd has no port: write it too, such as [fd00::9:abcd]:22"},
		{in("publish: [{protocol: tcp, listen: '::1:80', to: '10.0.0.9:80'}]"), lan + `nat.publish[0].listen: "::1:80" has no brackets around its IPv6 address: write [::1]:80`},
		{in("publish: [{protocol: tcp, listen: 'fd00::1:cafe', to: '10.0.0.9:80'}]"), lan + "nat.publish[0].listen: fd00::1:cafe has no port: write it too, such as [fd00::1:cafe]:19888"},
		{in("publish: [{protocol: tcp, listen: 80, to: '[fe80::9]:80'}]"), lan + "nat.publish[0].to: fe80::9 is not in the subnet 2001:db8:1::/64 of the network: choose one that is"},
		{in("publish: [{protocol: tcp, listen: '[fe80::9]:80', to: '10.0.0.9:80'}]"), lan + "nat.publish[0].listen: fe80::9 is not an address that means the same everywhere on this host: write another one"},
		{six("forward: nat, uplink: {address: sockets}, nat: {publish: [{protocol: tcp, listen: '[::1]:80', to: '10.0.0.9:80'}, {protocol: tcp, listen: 80, to: '[2001:db8:1::9]:80'}]}"),
			lan + "nat.publish[1].listen: tcp 80 is published already, as [::1]:80 to 10.0.0.9:80: choose other ports, or remove that"},
		{inNetwork("forward: nat, address: ula, nat: {publish: [{protocol: tcp, listen: 80, to: '10.0.0.9:80'}]}"),
			lan + "nat.publish[0].to: 10.0.0.9 is of IPv4, and the network has no address of that: write one for it, or the IPv6 address of the guest"},
		{six("forward: route, routes: [{to: '2001:db8:9::/48', via: 'fe80::1'}], dhcp6: {delegate: [{prefix: '2001:db8:8::/45', length: 56}]}"),
			lan + "routes[0].to: 2001:db8:9::/48 is in the pool 2001:db8:8::/45, whose routes are those of its leases: remove the route, or the pool"},
		{six("forward: route, routes: [{to: 'ff00::/8', via: 'fe80::1'}]"), lan + "routes[0].to: ff00::/8 has no addresses of hosts: write another subnet"},
		{six("forward: route, routes: [{to: '::1/128', via: 'fe80::1'}]"), lan + "routes[0].to: ::1/128 has no addresses of hosts: write another subnet"},
		{inNetwork("forward: route, address: ula, routes: [{to: 10.5.0.0/16, via: 10.0.0.9}]"), lan + "routes[0].to: 10.5.0.0/16 is of IPv4, and the network has no address of that: write one, or remove the route"},
	})
	for _, text := range []string{
		in("ipv6: '2001:db8:5::/64', publish: [{protocol: tcp, listen: 80, to: '[2001:db8:1::9]:8080'}]"), in("addresses: ['2001:db8:2::9', '2001:db8:9::1-2001:db8:9::9']"),
		six("forward: nat, nat: {ipv6: route}, inbound: open"),
		six("forward: nat, nat: {ipv6: route, publish: [{protocol: tcp, listen: 80, to: '[2001:db8:1::9]:80'}, {protocol: tcp, listen: 80, to: '[2001:db8:1::8]:80'}]}"), six("forward: nat, inbound: {ipv4: open, ipv6: published}"),
		six("forward: nat, uplink: {address: sockets}, nat: {publish: [{protocol: tcp, listen: '[::1]:81', to: '10.0.0.9:80'}, {protocol: tcp, listen: 80, to: '[2001:db8:1::9]:80'}, {protocol: tcp, listen: 80, to: '10.0.0.9:80'}]}"),
		six("forward: route, nat: {filtering: none, max_flows: 5, max_flows_per_host: 5, timeouts: {udp: 30s}}, inbound: published"),
		six("forward: route, routes: [{to: '::/0', via: 'fe80::1'}, {to: '64:ff9b::/96', via: '2001:db8:1::9'}]"),
	} {
		mustParse(t, text)
	}
}

// Two that somebody could not tell apart, by the family that they clash in.
func TestRefusedTogether6(t *testing.T) {
	two := func(a, b string) string {
		return "networks:\n  a: {address: [10.0.0.1/24, 'fd00::1/64'], " + a + "}\n  b: {address: [10.1.0.1/24, 'fd00::2/64'], " + b + "}\n"
	}
	const b = `f:3: network "b": `
	refusedAlone(t, [][2]string{
		{two("host_port: x", "host_port: y"), b + `address[1]: fd00::2/64 overlaps fd00::1/64 of network "a", and this host is in both: choose another subnet, or remove one host_port`},
		{two("forward: route", "forward: route"), b + `address[1]: fd00::2/64 overlaps fd00::1/64 of network "a", and one uplink routes to both: choose another subnet`},
		{two("forward: route", "forward: nat, nat: {ipv6: route}"), b + `address[1]: fd00::2/64 overlaps fd00::1/64 of network "a", and one uplink routes to both: choose another subnet`},
		{two("forward: nat, reach: b", "forward: nat, reach: a"), b + `address[1]: fd00::2/64 overlaps fd00::1/64 of network "a", which is in reach: choose another subnet, or remove that`},
		{strings.Replace(two("forward: route", "forward: nat, nat: {ipv6: 'fd00::/64'}"), "fd00::2", "fd09::2", 1),
			b + `nat.ipv6: fd00::/64 overlaps fd00::1/64 of network "a", and one uplink routes to both: choose another subnet`},
		{strings.Replace(two("forward: route", "forward: route, dhcp6: {delegate: [{prefix: 'fd00::/48', length: 64}]}"), "fd00::2", "fd09::2", 1),
			b + `dhcp6.delegate[0].prefix: fd00::/48 overlaps fd00::1/64 of network "a", and one uplink routes to both: choose another subnet`},
	})
	for _, text := range []string{
		two("forward: nat", "forward: nat"), two("forward: nat", "forward: nat, nat: {ipv6: route}"), two("host_port: x", "forward: route"),
		two("forward: route", "forward: nat, uplink: {interface: eth9}, nat: {ipv6: route}"),
		two("forward: nat, nat: {ipv6: 'fd01::/64'}", "forward: nat, nat: {ipv6: 'fd02::/64'}"),
	} {
		mustParse(t, text)
	}
}

// All at once, each at its line.
func TestIPv6RefusedTogether(t *testing.T) {
	got := refusal(t, `networks:
  lan:
    forward: route
    mtu: 1000
    address:
      - 10.0.0.1/24
      - fe80::1/64
      - 2001:db8:1::1/48
    uplink:
      interface: eth1
      address: [192.0.2.2/24,
        slaac,
        dhcp6]
    inbound:
      ipv6: shut
    ra:
      interval: 2s
      rdnss: [192.0.2.53]
    dhcp6:
      range: 2001:db8:9::1-2001:db8:9::9
      delegate:
        - prefix: 2001:db8:9::/48
          length: 70
      options:
        14: x
    nat:
      ipv6: route
    ports:
      vm1:
        type: tap
        guard: {ra: maybe}
`)
	want := []string{"4: mtu", "7: address[1]", "8: address[2]", "13: uplink.address[2]", "15: inbound.ipv6", "17: ra.interval", "18: ra.rdnss[0]",
		"20: dhcp6.range", "23: dhcp6.delegate[0].length", "25: dhcp6.options[14]", "27: nat.ipv6", `31: port "vm1": guard.ra`}
	if len(got) != len(want) {
		t.Fatalf("%d errors:\n%s", len(got), strings.Join(got, "\n"))
	}
	for i, line := range got {
		line = strings.Replace(line, `network "lan": `, "", 1)
		if !strings.HasPrefix(line, "f:"+want[i]+": ") {
			t.Errorf("got %s, want it at %s", line, want[i])
		}
	}
}
