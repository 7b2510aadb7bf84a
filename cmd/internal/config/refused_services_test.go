package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// served is a network with the gateway 10.0.0.1/24 and keys of its own, in dhcp
// or in dns for the two below.
func served(keys string) string {
	return "networks: {lan: {address: 10.0.0.1/24, " + keys + "}}"
}
func inDHCP(keys string) string { return served("dhcp: {" + keys + "}") }
func inDNS(keys string) string  { return served("dns: {" + keys + "}") }

// Each of these is refused by exactly one line.
func TestServicesRefused(t *testing.T) {
	const lan = `f:1: network "lan": `
	const without = "needs an address of the network: write one for it, such as address: 192.168.122.1/24, or remove this"
	for _, tc := range []struct{ text, want string }{
		{"lease_file: leases.db", `f:1: lease_file: "leases.db" is not an absolute path: begin it with /`},
		{"lease_file: /var/lib/", `f:1: lease_file: "/var/lib/" is not the path of a file`},
		{`lease_file: "/a\u0007"`, `f:1: lease_file: "/a\a" is not the path of a file`},
		{"lease_file: ''", "f:1: lease_file: has no value: write one or remove the key"},

		// The gateway.
		{inNetwork("address: []"), lan + "address: is an empty list: write what belongs in it, or remove the key"},
		{inNetwork("address: 10.0.0.1"), lan + `address: "10.0.0.1" has no prefix length: write it too, such as 192.0.2.1/24`},
		{inNetwork("address: {a: b}, host_port: w"), lan + "address: a map, where a single value belongs: write the value alone, without braces"},
		{inNetwork("address: 10.0.0.0/24"), lan + "address: 10.0.0.0/24 is the address of the whole subnet: write that of the host"},
		{inNetwork("address: 10.0.0.255/24"), lan + "address: 10.0.0.255/24 is the broadcast address of its subnet: write that of the gateway"},
		{inNetwork("address: 10.0.0.1/7"), lan + "address: 10.0.0.1/7 leaves no subnet that can be served: give a prefix length of 8-30"},
		{inNetwork("address: 10.0.0.1/31"), lan + "address: 10.0.0.1/31 leaves no subnet that can be served: give a prefix length of 8-30"},
		{inNetwork("address: 127.0.0.1/8"), lan + "address: 127.0.0.1/8 is not an address of a host: write one such as 192.168.122.1/24"},
		{inNetwork("address: 240.0.0.1/8"), lan + "address: 240.0.0.1/8 is not an address of a host: write one such as 192.168.122.1/24"},
		{inNetwork("address: 0.0.0.1/8"), lan + "address: 0.0.0.1/8 is not an address of a host: write one such as 192.168.122.1/24"},
		{inNetwork("address: 224.0.0.1/8"), lan + "address: 224.0.0.1/8 is not an address of one host: write one"},
		{inNetwork("address: [10.0.0.1/24, 10.0.1.1/24]"), lan + "address[1]: 10.0.1.1/24 is a second IPv4 address, and a network has one subnet of that, as DHCP and NAT know no other: keep one of them, or make a second network"},
		{bridged("address: 10.0.0.1/24", ""), lan + "address: is for networks that end here: with forward: bridge the gateway, DHCP and DNS would answer all of the network outside; remove it, or write forward: isolated"},
		{inNetwork("host_port: weft0"), lan + "host_port: " + without},
		{inNetwork("vlan: 10"), lan + "vlan: " + without},
		{served("vlan: 4095"), lan + "vlan: 4095 is out of range: give 1-4094"},
		{served("vlan: 0"), lan + "vlan: 0 is out of range: give 1-4094"},
		{served("vlan: 10, host_port: w, ports: {host: {vlan: {access: 10}}}"), lan + `port "host": vlan: the port of host_port is in the VLAN of the gateway, 10: remove this`},
		{inNetwork("dhcp: {}"), lan + "dhcp: " + without},
		{inNetwork("dhcp: {range: 10.0.0.2, lease: 1s}"), lan + "dhcp: " + without},
		{inNetwork("dns: {}"), lan + "dns: " + without},
		{inNetwork("dns: {domain: lab}"), lan + "dns: " + without},
		{inNetwork("dns: {enabled: false, domain: lab}"), lan + "dns: " + without},
		{served("host_port: true"), lan + "host_port: true is not a name: write that of the interface, such as weft0, or false"},
		{served("host_port: a/b"), lan + `host_port: "a/b" must not hold "/", ":", "%", a blank or what does not print: choose another name`},
		{served("host_port: 1234567890123456"), lan + `host_port: "1234567890123456" has 16 bytes, the kernel takes at most 15: choose another name`},
		{served("host_port: vm1, ports: {vm1: {type: tap}}"), lan + `host_port: "vm1" is the interface of port lan/vm1 already: give each port its own`},
		{"networks:\n  a: {address: 10.0.0.1/24, host_port: w}\n  b:\n    address: 10.0.1.1/24\n    host_port: w\n", `f:5: network "b": host_port: "w" is the interface of port a/host already: give each port its own`},
		{"networks:\n  a: {address: 10.0.0.1/24, host_port: w}\n  b:\n    host_port: v\n    address: 10.0.0.129/25\n",
			`f:5: network "b": address: 10.0.0.129/25 overlaps 10.0.0.1/24 of network "a", and this host is in both: choose another subnet, or remove one host_port`},

		// The port of host_port, and those beside it.
		{served("host_port: w, ports: {host: {type: tap}}"), lan + `port "host": type: tap is not that of host_port, whose port has this name: remove it here, or rename this port`},
		{served("host_port: w, ports: {host: {interface: v}}"), lan + `port "host": interface: "v" is not that of host_port, whose port has this name: remove it here, or rename this port`},
		{served("host_port: w, ports: {host: {netns: n}}"), lan + `port "host": netns: "n" is not that of host_port, whose port has this name: remove it here, or rename this port`},
		{served("host_port: w, ports: {host: {mac: 02:00:00:00:00:01}}"), lan + `port "host": mac: 02:00:00:00:00:01 is not that of host_port, whose port has this name: remove it here, or rename this port`},
		{served("host_port: w, ports: {host: {address: 10.0.0.2/24}}"), lan + `port "host": address: [10.0.0.2/24] is not that of host_port, whose port has this name: remove it here, or rename this port`},
		{served("host_port: w, ports: {host: {mode: vepa}}"), lan + `port "host": mode: vepa needs an uplink: write forward: bridge and uplink for the network, or use mode: bridge`},
		{served("ports: {host: {}}"), lan + `port "host": type: is missing: write one of tap, raw, internal`},
		{served("ports: {p: {type: internal, address: 10.0.0.1/24}}"), lan + `port "p": address: 10.0.0.1 is the address of the gateway: give the port its own`},
		{served("mac: 02:00:00:00:00:01, host_port: w, ports: {p: {type: internal, mac: 02:00:00:00:00:01}}"), lan + `port "p": mac: 02:00:00:00:00:01 is the address of the network itself: give the port its own`},

		// Ranges.
		{inDHCP("range: []"), lan + "dhcp.range: is an empty list: write what belongs in it, or remove the key"},
		{inDHCP("range: 10.0.0.2-9"), lan + `dhcp.range: "10.0.0.2-9" is not a range: write its first and its last address, such as 192.0.2.10-192.0.2.99`},
		{inDHCP("range: 'fd00::2-fd00::9'"), lan + "dhcp.range: fd00::2-fd00::9 is not a range of IPv4 addresses: write its first and its last one"},
		{inDHCP("range: 10.0.0.9-10.0.0.2"), lan + "dhcp.range: 10.0.0.9-10.0.0.2 runs backwards: write it as 10.0.0.2-10.0.0.9"},
		{inDHCP("range: 10.0.1.2-10.0.1.9"), lan + "dhcp.range: 10.0.1.2-10.0.1.9 is not all in the subnet 10.0.0.0/24 of the network: move it there"},
		{inDHCP("range: 10.0.0.2-10.0.1.9"), lan + "dhcp.range: 10.0.0.2-10.0.1.9 is not all in the subnet 10.0.0.0/24 of the network: move it there"},
		{inDHCP("range: 9.255.255.255-10.0.0.9"), lan + "dhcp.range: 9.255.255.255-10.0.0.9 is not all in the subnet 10.0.0.0/24 of the network: move it there"},
		{inDHCP("range: 10.0.0.0-10.0.0.9"), lan + "dhcp.range: 10.0.0.0-10.0.0.9 holds 10.0.0.0, the address of the whole subnet: begin behind it"},
		{inDHCP("range: 10.0.0.9-10.0.0.255"), lan + "dhcp.range: 10.0.0.9-10.0.0.255 holds 10.0.0.255, the broadcast address of the subnet: end before it"},
		{inDHCP("range: 10.0.0.1-10.0.0.9"), lan + "dhcp.range: 10.0.0.1-10.0.0.9 holds 10.0.0.1, the address of the gateway: write the ranges before and behind it"},
		{inDHCP("range: 10.0.0.1"), lan + "dhcp.range: 10.0.0.1 holds 10.0.0.1, the address of the gateway: write the ranges before and behind it"},
		{inDHCP("range: [10.0.0.9-10.0.0.20, 10.0.0.2-10.0.0.9]"), lan + "dhcp.range[1]: 10.0.0.2-10.0.0.9 overlaps 10.0.0.9-10.0.0.20: join the two, or shorten one"},
		{inDHCP("range: [10.0.0.9, 10.0.0.9]"), lan + "dhcp.range[1]: 10.0.0.9 overlaps 10.0.0.9: join the two, or shorten one"},
		{"networks: {lan: {address: 10.0.0.1/8, dhcp: {range: 10.1.0.0-10.17.0.0}}}", lan + "dhcp.range: has 1048577 addresses in all: at most 1048576 are possible"},
		{"networks: {lan: {address: 10.0.0.1/8, dhcp: {range: [10.1.0.0-10.16.255.255, 10.0.0.2]}}}", lan + "dhcp.range: has 1048577 addresses in all: at most 1048576 are possible"},

		// Against a bad gateway nothing else is held.
		{inNetwork("address: 10.0.0.1/31, dhcp: {range: 10.0.0.1-10.0.0.9, router: 10.9.9.9, hosts: [{client_id: ab, address: 10.0.0.1}]}"), lan + "address: 10.0.0.1/31 leaves no subnet that can be served: give a prefix length of 8-30"},

		// Other values of DHCP.
		{inDHCP("lease: 119s"), lan + "dhcp.lease: 1m59s is out of range: give 2m-365d in whole seconds, or infinite"},
		{inDHCP("lease: 0"), lan + "dhcp.lease: is out of range: give 2m-365d in whole seconds, or infinite"},
		// What others write for a range is no pool of two, whichever way it is written.
		{inDHCP("range: [10.0.0.2, 10.0.0.9]"), lan + "dhcp.range: 10.0.0.2 and 10.0.0.9 are two single addresses: write 10.0.0.2-10.0.0.9 for all from the one to the other, or 10.0.0.2-10.0.0.2,10.0.0.9 for just the two"},
		{inDHCP("range: '10.0.0.2,10.0.0.9'"), lan + "dhcp.range: 10.0.0.2 and 10.0.0.9 are two single addresses: write 10.0.0.2-10.0.0.9 for all from the one to the other, or 10.0.0.2-10.0.0.2,10.0.0.9 for just the two"},
		{inDHCP("lease: 3600"), lan + `dhcp.lease: "3600" has no unit: write 3600s for as many seconds, or infinite`},
		{inDHCP("lease: 53w"), lan + "dhcp.lease: 371d is out of range: give 2m-365d in whole seconds, or infinite"},
		{inDHCP("lease: 1d12"), lan + `dhcp.lease: "1d12" is not a time of a lease: write a number and its unit, such as 10m, 1h, 7d or 1d12h, or infinite`},
		{inDHCP("lease: 1d-12h"), lan + `dhcp.lease: "1d-12h" is not a time of a lease: write a number and its unit, such as 10m, 1h, 7d or 1d12h, or infinite`},
		{inDHCP("lease: 9999w9999d2562047h"), lan + `dhcp.lease: "9999w9999d2562047h" is not a time of a lease: write a number and its unit, such as 10m, 1h, 7d or 1d12h, or infinite`},
		{inDHCP("hosts: [{mac: 02:00:00:00:00:01, ignore: true, name: web}]"), lan + "dhcp.hosts[0].ignore: is true, so the client gets nothing: remove its address, name and lease, or this"},
		{inDHCP("hosts: [{ignore: true}]"), lan + "dhcp.hosts[0]: is for nobody: write the mac or the client_id of the client"},
		{inDHCP("options: {ntp: 10.0.0.1}"), lan + `dhcp.options[ntp]: is not the name of an option that is known here: give its number; did you mean "ntp-server"?`},
		{inDHCP("options: {'option:log-servr': 10.0.0.1}"), lan + `dhcp.options["option:log-servr"]: is not the name of an option that is known here: give its number; did you mean "log-server"?`},
		{inDHCP("options: {mtu: 67}"), lan + "dhcp.options[mtu]: is less than any IPv4 interface has (RFC 2132 section 5.1): give 68 at least"},
		{inDHCP("options: {43: 'zz:01'}"), lan + `dhcp.options[43]: "zz:01" has parts that are no bytes in hex, such as 01:02:ff: mend it, or put it in double quotes if it is text`},
		{inDNS("cname: {www: web}"), lan + `dns: unknown key "cname": a second name of a host is one more line of hosts, with the same address`},
		{inDHCP("lease: -1h"), lan + "dhcp.lease: -1h0m0s is out of range: give 2m-365d in whole seconds, or infinite"},
		{inDHCP("lease: 366d"), lan + "dhcp.lease: 366d is out of range: give 2m-365d in whole seconds, or infinite"},
		{inDHCP("lease: 120500ms"), lan + "dhcp.lease: 2m0.5s is out of range: give 2m-365d in whole seconds, or infinite"},
		{inDHCP("lease: forever"), lan + `dhcp.lease: "forever" is not a time of a lease: write a number and its unit, such as 10m, 1h, 7d or 1d12h, or infinite`},
		{inDHCP("max_leases: 1048577"), lan + "dhcp.max_leases: 1048577 is out of range: give 0-1048576 (0 means as many as the ranges hold)"},
		{inDHCP("max_leases: -1"), lan + "dhcp.max_leases: -1 is out of range: give 0-1048576 (0 means as many as the ranges hold)"},
		{inDHCP("probe: maybe"), lan + `dhcp.probe: "maybe" is neither true nor false: write one of the two`},
		{inDHCP("router: gateway"), lan + `dhcp.router: "gateway" is neither auto nor none nor an address: write one of the three`},
		{inDHCP("router: 10.0.1.1"), lan + "dhcp.router: 10.0.1.1 is not in the subnet 10.0.0.0/24 of the network: choose one that is"},
		{inDHCP("router: 10.0.0.255"), lan + "dhcp.router: 10.0.0.255 is the broadcast address of the subnet: choose another one"},
		{inDHCP("router: 'fd00::1'"), lan + "dhcp.router: fd00::1 is not an IPv4 address, and DHCP gives no others: write one"},
		{inDHCP("ntp: pool.ntp.org"), lan + `dhcp.ntp: "pool.ntp.org" is not an IP address: write one such as 192.0.2.1`},
		{inDHCP("ntp: [10.0.0.2, 'fd00::2']"), lan + "dhcp.ntp[1]: fd00::2 is not an IPv4 address of a host: write one such as 192.0.2.1"},
		{inDHCP("ntp: 224.0.1.1"), lan + "dhcp.ntp: 224.0.1.1 is not an IPv4 address of a host: write one such as 192.0.2.1"},
		{inDHCP("ntp: [" + strings.Repeat("10.0.0.9, ", 63) + "10.0.0.9]"), lan + "dhcp.ntp: has 64 addresses: at most 63 are possible"},
		{inDHCP("domain_search: [lab, a..b]"), lan + `dhcp.domain_search[1]: "a..b" is not a name: it has labels of 1-63 letters, digits and inner hyphens and underscores with dots between`},
		{inDHCP("next_server: '::ffff:10.0.0.1'"), lan + `dhcp.next_server: "::ffff:10.0.0.1" is an IPv4 address in IPv6 form: write 10.0.0.1`},
		{inDHCP("next_server: 'fe80::1%eth0'"), lan + `dhcp.next_server: "fe80::1%eth0" has a zone, which means nothing to others: write the address alone`},
		{inDHCP("next_server: 255.255.255.255"), lan + "dhcp.next_server: 255.255.255.255 is not an IPv4 address of a host: write one such as 192.0.2.1"},
		{inDHCP("server_name: " + strings.Repeat("x", 64)), lan + "dhcp.server_name: has 64 bytes, and its field takes 63: shorten it, or write it as tftp-server in options"},
		{inDHCP("bootfile: " + strings.Repeat("x", 128)), lan + "dhcp.bootfile: has 128 bytes, and its field takes 127: shorten it, or write it as bootfile-name in options"},
		{inDHCP(`bootfile: "a\tb"`), lan + `dhcp.bootfile: "a\tb" has characters that do not print: write it without them`},
		{inDHCP("hosts_file: hosts"), lan + `dhcp.hosts_file: "hosts" is not an absolute path: begin it with /`},
		{inDHCP("options: [42]"), lan + "dhcp.options: a list, where keys with values belong"},
		{inDHCP("options: {42: 10.0.0.1, ntp-server: 10.0.0.2}"), lan + `dhcp.options[ntp-server]: is option 42, as "42" is: remove one of the two`},
		{inDHCP("options: {42: 10.0.0.1, 42: 10.0.0.2}"), lan + `dhcp.options: "42" is there already, on line 1: remove one of them`},
		{inDHCP("options: {42: {a: b}}"), lan + "dhcp.options[42]: a map, where a single value belongs: write the value alone, without braces"},
		{inDHCP("options: {42: }"), lan + "dhcp.options[42]: has no value: write one or remove the key"},
		{inDHCP("options: {42: [10.0.0.1, [10.0.0.2]]}"), lan + "dhcp.options[42][1]: a list, where a single value belongs"},
		{inDHCP("options: {'': x}"), lan + `dhcp.options: "" is not a name: write one of 1-253 characters`},

		// Reservations.
		{inDHCP("hosts: {web: 10.0.0.2}"), lan + "dhcp.hosts: a map, where a list belongs"},
		{inDHCP("hosts: [5]"), lan + "dhcp.hosts[0]: a single value, where keys with values belong: mac, client_id, address, name, lease, ignore"},
		{inDHCP("hosts: [{name: web}]"), lan + "dhcp.hosts[0]: is for nobody: write the mac or the client_id of the client"},
		{inDHCP("hosts: [{mac: 02:00:00:00:00:01}]"), lan + "dhcp.hosts[0]: says nothing about the client: write an address, a name, a lease or ignore: true"},
		{inDHCP("hosts: [{mac: 02:00:00:00:01, name: web}]"), lan + `dhcp.hosts[0].mac: "02:00:00:00:01" is not a MAC address: write six bytes, such as 02:00:00:00:00:01`},
		{inDHCP("hosts: [{mac: 01:00:5e:00:00:01, name: web}]"), lan + "dhcp.hosts[0].mac: 01:00:5e:00:00:01 is a group address: a client has a unicast one, such as 02:00:00:00:00:01"},
		{inDHCP("hosts: [{client_id: x, name: web}]"), lan + "dhcp.hosts[0].client_id: has 1 bytes: give 2-255"},
		{inDHCP("hosts: [{client_id: a b, name: web}]"), lan + `dhcp.hosts[0].client_id: "a b" is not a client identifier: write its bytes, such as 01:02:00:00:00:00:01, or a word`},
		{inDHCP("hosts: [{client_id: " + strings.Repeat("x", 256) + ", name: web}]"), lan + "dhcp.hosts[0].client_id: has 256 bytes: give 2-255"},
		{inHosts("address: 10.0.1.2"), lan + "dhcp.hosts[0].address: 10.0.1.2 is not in the subnet 10.0.0.0/24 of the network: choose one that is"},
		{inHosts("address: 10.0.0.1"), lan + "dhcp.hosts[0].address: 10.0.0.1 is the address of the gateway: choose another one"},
		{inHosts("address: 10.0.0.0"), lan + "dhcp.hosts[0].address: 10.0.0.0 is the address of the whole subnet: choose another one"},
		{inHosts("address: 10.0.0.255"), lan + "dhcp.hosts[0].address: 10.0.0.255 is the broadcast address of the subnet: choose another one"},
		{inHosts("address: 'fd00::2'"), lan + "dhcp.hosts[0].address: fd00::2 is not an IPv4 address, and DHCP gives no others: write one"},
		{inHosts("address: web"), lan + `dhcp.hosts[0].address: "web" is not an IP address: write one such as 192.0.2.1`},
		{inHosts("name: web.lab"), lan + `dhcp.hosts[0].name: "web.lab" has a dot: write the name alone, dns.domain is appended to it`},
		{inHosts("name: _ab"), lan + `dhcp.hosts[0].name: "_ab" is not a name of a host: give 1-63 letters, digits and inner hyphens and underscores`},
		{inHosts("name: -a"), lan + `dhcp.hosts[0].name: "-a" is not a name of a host: give 1-63 letters, digits and inner hyphens and underscores`},
		{inHosts("name: a-"), lan + `dhcp.hosts[0].name: "a-" is not a name of a host: give 1-63 letters, digits and inner hyphens and underscores`},
		{inHosts("name: " + strings.Repeat("x", 64)), lan + `dhcp.hosts[0].name: "` + strings.Repeat("x", 64) + `" is not a name of a host: give 1-63 letters, digits and inner hyphens and underscores`},
		{inHosts("name: Gateway"), lan + `dhcp.hosts[0].name: "gateway" is the name of the gateway: choose another one, or another dns.name`},
		{served("dns: {name: gw}, dhcp: {hosts: [{mac: 02:00:00:00:00:01, name: gw}]}"), lan + `dhcp.hosts[0].name: "gw" is the name of the gateway: choose another one, or another dns.name`},
		{inHosts("name: web, lease: 1m"), lan + "dhcp.hosts[0].lease: 1m is out of range: give 2m-365d in whole seconds, or infinite"},
		{inHosts("name: web, lease: 0s"), lan + "dhcp.hosts[0].lease: is out of range: give 2m-365d in whole seconds, or infinite"},
		{inHosts("name: web, nmae: web"), lan + `dhcp.hosts[0]: unknown key "nmae"; did you mean "name"?`},
		{"networks:\n  lan:\n    address: 10.0.0.1/24\n    dhcp:\n      hosts:\n        - {mac: 02:00:00:00:00:01, name: a}\n        - {mac: 02-00-00-00-00-01, name: b}\n", `f:7: network "lan": dhcp.hosts[1].mac: "02:00:00:00:00:01" is that of hosts[0] already: give each client its own`},
		{inDHCP("hosts: [{client_id: '01:02', name: a}, {client_id: \"01:02\", name: b}]"), lan + `dhcp.hosts[1].client_id: "01:02" is that of hosts[0] already: give each client its own`},
		{inDHCP("hosts: [{client_id: '61:62', name: a}, {client_id: ab, name: b}]"), lan + `dhcp.hosts[1].client_id: "ab" is that of hosts[0] already: give each client its own`},
		{inDHCP("hosts: [{client_id: ab, address: 10.0.0.2}, {client_id: cd, name: b}, {client_id: ef, address: 10.0.0.2}]"), lan + `dhcp.hosts[2].address: "10.0.0.2" is that of hosts[0] already: give each client its own`},
		{inDHCP("hosts: [{client_id: ab, name: web}, {client_id: cd, name: WEB}]"), lan + `dhcp.hosts[1].name: "web" is that of hosts[0] already: give each client its own`},

		// DNS.
		{inDNS("name: a.b"), lan + `dns.name: "a.b" has a dot: write the name alone, dns.domain is appended to it`},
		{inDNS("name: ''"), lan + "dns.name: has no value: write one or remove the key"},
		{inDNS("name: ."), lan + `dns.name: "" is not a name: write one of 1-253 characters`},
		{inDNS("domain: a b"), lan + `dns.domain: "a b" is not a name: it has labels of 1-63 letters, digits and inner hyphens and underscores with dots between`},
		{inDNS("domain: 10.0.0.1"), lan + `dns.domain: "10.0.0.1" is an address, where a name belongs`},
		{inDNS("domain: " + strings.Repeat("a.", 127) + "a"), lan + `dns.domain: "` + strings.Repeat("a.", 32) + `"… is not a name: write one of 1-253 characters`},
		{inDNS("cache: 1000001"), lan + "dns.cache: 1000001 is out of range: give 0-1000000 answers (0 means none)"},
		{inDNS("upstream: dns.example"), lan + `dns.upstream: "dns.example" is not a server: write host, none, an address such as 192.0.2.53, or one with its port, 192.0.2.53:5353`},
		{inDNS("upstream: '192.0.2.1:x'"), lan + `dns.upstream: "192.0.2.1:x" is not a server: write host, none, an address such as 192.0.2.53, or one with its port, 192.0.2.53:5353`},
		{inDNS("upstream: '192.0.2.1:0'"), lan + `dns.upstream: "192.0.2.1:0" is not an address of one server`},
		{inDNS("upstream: 0.0.0.0"), lan + `dns.upstream: "0.0.0.0" is not an address of one server`},
		{inDNS("upstream: 224.0.0.251"), lan + `dns.upstream: "224.0.0.251" is not an address of one server`},
		{inDNS("upstream: [host, none]"), lan + "dns.upstream[1]: stands beside others: write it alone, or remove it"},
		{inDNS("upstream: [host, host]"), lan + `dns.upstream[1]: "host" is there already: write it once`},
		{inDNS("upstream: [192.0.2.1, '192.0.2.1:53']"), lan + `dns.upstream[1]: "192.0.2.1:53" is there already: write it once`},
		{inDNS("upstream: 10.0.0.1"), lan + `dns.upstream: "10.0.0.1" is the gateway of network "lan", where weft itself answers: that is a loop, name another server`},
		{"networks:\n  a:\n    address: 10.0.0.1/24\n    dns: {upstream: '10.1.0.1:53'}\n  b: {address: 10.1.0.1/24}\n", `f:4: network "a": dns.upstream: "10.1.0.1:53" is the gateway of network "b", where weft itself answers: that is a loop, name another server`},
		{inDNS("domains: {corp: 10.0.0.1}"), lan + `dns.domains[corp]: "10.0.0.1" is the gateway of network "lan", where weft itself answers: that is a loop, name another server`},
		{inDNS("domains: {corp.example: [192.0.2.1, dns]}"), lan + `dns.domains[corp.example][1]: "dns" is not a server: write host, none, an address such as 192.0.2.53, or one with its port, 192.0.2.53:5353`},
		{inDNS("domains: {corp: none}"), lan + "dns.domains[corp]: is for upstream only: write [] for a domain whose names are known here alone"},
		{inDNS("domains: {a b: []}"), lan + `dns.domains["a b"]: "a b" is not a name: it has labels of 1-63 letters, digits and inner hyphens and underscores with dots between`},
		{inDNS("domains: {corp: }"), lan + "dns.domains[corp]: has no value: write one or remove the key"},
		{"networks:\n  lan:\n    address: 10.0.0.1/24\n    dns:\n      domains:\n        corp: []\n        CORP.: []\n", "f:7: network \"lan\": dns.domains: \"corp\" is there already, on line 6: remove one of them"},
		{inDNS("hosts: {10.0.0.2: web}"), lan + `dns.hosts[10.0.0.2]: "web" is not an IP address: write one such as 192.0.2.1`},
		{inDNS("hosts: {10.0.0.2: 10.0.0.2}"), lan + `dns.hosts[10.0.0.2]: "10.0.0.2" is an address, where a name belongs`},
		{inDNS("hosts: {_ab: 10.0.0.2}"), lan + `dns.hosts[_ab]: "_ab" is not a name: it has labels of 1-63 letters, digits and inner hyphens and underscores with dots between`},
		{inDNS("hosts: {web: []}"), lan + "dns.hosts[web]: is an empty list: write what belongs in it, or remove the key"},
		{inDNS("hosts: {web: [10.0.0.2, 10.0.0.2]}"), lan + "dns.hosts[web][1]: 10.0.0.2 is there already: write it once"},
		{inDNS("hosts: {web: [10.0.0.2, x]}"), lan + `dns.hosts[web][1]: "x" is not an IP address: write one such as 192.0.2.1`},
		{inDNS("hosts: {gateway: 10.0.0.2}"), lan + "dns.hosts[gateway]: is the name of the gateway: choose another one, or another dns.name"},
		{inDNS("domain: lab, hosts: {gateway.lab: 10.0.0.2}"), lan + "dns.hosts[gateway.lab]: is the name of the gateway: choose another one, or another dns.name"},
		{inDNS("hosts: {web: [" + strings.Repeat("10.0.0.2, ", 64) + "10.0.0.3]}"), lan + "dns.hosts[web]: has 65 addresses: give 1-64"},
		{inDNS("txt: {lab: []}"), lan + "dns.txt[lab]: is an empty list: write what belongs in it, or remove the key"},
		{inDNS("txt: {lab: " + strings.Repeat("x", 4097) + "}"), lan + "dns.txt[lab]: has 4097 bytes: give 1-4096"},
		{inDNS("txt: {lab: [" + strings.Repeat(strings.Repeat("x", 4096)+", ", 4) + "y]}"), lan + "dns.txt[lab]: has 16385 bytes in all: at most 16384 are possible"},
		{inDNS("srv: [" + manyServices(65) + "]"), lan + `dns.srv[64]: "_x._tcp" is there more than 64 times: remove some`},
		{inDNS("domain: " + strings.Repeat("a.", 94) + "ab"), lan + "dns.domain: has 190 characters, and names stand before it: at most 189 are possible"},
		{inDNS("txt: {lab: [" + strings.Repeat("x, ", 64) + "x]}"), lan + "dns.txt[lab]: has 65 texts: give 1-64"},
		{inDNS("hosts_file: hosts"), lan + `dns.hosts_file: "hosts" is not an absolute path: begin it with /`},
		{inDNS("srv: [{target: a, port: 1}]"), lan + "dns.srv[0].name: is missing: write that of the service, such as _ldap._tcp.lab"},
		{inDNS("srv: [{name: ldap.tcp.lab, target: a, port: 1}]"), lan + `dns.srv[0].name: "ldap.tcp.lab" is not a name of a service: write it with the protocol, such as _ldap._tcp.lab`},
		{inDNS("srv: [{name: _ldap.tcp.lab, target: a, port: 1}]"), lan + `dns.srv[0].name: "_ldap.tcp.lab" is not a name of a service: write it with the protocol, such as _ldap._tcp.lab`},
		{inDNS("srv: [{name: _ldap, target: a, port: 1}]"), lan + `dns.srv[0].name: "_ldap" is not a name of a service: write it with the protocol, such as _ldap._tcp.lab`},
		{inDNS("srv: [{name: _ldap..lab, target: a, port: 1}]"), lan + `dns.srv[0].name: "_ldap..lab" is not a name: it has labels of 1-63 letters, digits and inner hyphens and underscores with dots between`},
		{inDNS("srv: [{name: _ldap._tcp, port: 1}]"), lan + "dns.srv[0].target: is missing: write the name of the host that has the service"},
		{inDNS("srv: [{name: _ldap._tcp, target: _ab, port: 1}]"), lan + `dns.srv[0].target: "_ab" is not a name: it has labels of 1-63 letters, digits and inner hyphens and underscores with dots between`},
		{inDNS("srv: [{name: _ldap._tcp, target: a}]"), lan + "dns.srv[0].port: 0 is out of range: give 1-65535"},
		{inDNS("srv: [{name: _ldap._tcp, target: a, port: 65536}]"), lan + "dns.srv[0].port: 65536 is out of range: give 1-65535"},
		{inDNS("srv: [{name: _ldap._tcp, target: a, port: 1, priority: 65536}]"), lan + "dns.srv[0].priority: 65536 is out of range: give 0-65535"},
		{inDNS("srv: [{name: _ldap._tcp, target: a, port: 1, weight: -1}]"), lan + "dns.srv[0].weight: -1 is out of range: give 0-65535"},
		{inDNS("srv: [{name: _ldap._tcp, target: a, port: 1}, {name: _ldap._tcp., target: A, port: 1, weight: 5}]"), lan + `dns.srv[1]: "_ldap._tcp" at "a" port 1 is there already: write it once`},
	} {
		if got := refusal(t, tc.text); len(got) != 1 || got[0] != tc.want {
			t.Errorf("of\n%s\n got %s\nwant %s", tc.text, strings.Join(got, "\n     "), tc.want)
		}
	}
}

func manyServices(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("{name: _x._tcp, target: h%d, port: 1}", i)
	}
	return strings.Join(list, ", ")
}

// inHosts is a reservation with keys beside its mac.
func inHosts(keys string) string { return inDHCP("hosts: [{mac: 02:00:00:00:00:01, " + keys + "}]") }

// What package option says of a value is passed on, at its line.
func TestOptionsRefused(t *testing.T) {
	for _, option := range []string{"53: 1", "lease-time: 60", "0: x", "255: x", "ntp-sever: 10.0.0.1", "mtu: big", "router: [10.0.0.1, x]"} {
		key, _, _ := strings.Cut(option, ":")
		got := refusal(t, "networks:\n  lan:\n    address: 10.0.0.1/24\n    dhcp:\n      options:\n        "+option+"\n")
		if want := `f:6: network "lan": dhcp.options[` + key + "]: "; len(got) != 1 || !strings.HasPrefix(got[0], want) || len(got[0]) < len(want)+10 {
			t.Errorf("%s: %q", option, got)
		}
	}
}

// So is that of a list which no message has room for.
func TestSearchRefused(t *testing.T) {
	var list []string
	for i := range 200 {
		list = append(list, fmt.Sprintf("a%d.b%d.example", i, i))
	}
	got := refusal(t, inDHCP("domain_search: ["+strings.Join(list, ", ")+"]"))
	if len(got) != 1 || !strings.HasPrefix(got[0], `f:1: network "lan": dhcp.domain_search: `) || !strings.Contains(got[0], "1024") {
		t.Error(got)
	}
}

// All at once, each at its line.
func TestServicesRefusedTogether(t *testing.T) {
	got := refusal(t, `lease_file: x
networks:
  lan:
    address: 10.0.0.1/24
    dhcp:
      range:
        - 10.0.0.0-10.0.0.9
        - 10.0.0.5-10.0.0.20
        - 10.0.0.20-10.0.0.30
      lease: 1s
      hosts:
        - {mac: 02:00:00:00:00:01, address: 10.0.0.1}
        - mac: 02:00:00:00:00:01
          name: a.b
      options:
        53: 1
    dns:
      hosts:
        web.lab: 10.0.0.2
        _ab.lab:
          - 10.0.0.3
      srv:
        - name: _x._tcp
          target: web
    ports:
      p: {type: internal, address: 10.0.0.1/24}
`)
	want := []string{"1: lease_file", "7: dhcp.range[0]", "9: dhcp.range[2]", "10: dhcp.lease", "12: dhcp.hosts[0].address", "13: dhcp.hosts[1].mac",
		"14: dhcp.hosts[1].name", "16: dhcp.options[53]", "20: dns.hosts[_ab.lab]", "23: dns.srv[0].port", `26: port "p": address`}
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

// Extremes that are still allowed; their neighbours stand above.
func TestServicesBounds(t *testing.T) {
	for _, text := range []string{
		"lease_file: /x",
		inNetwork("host_port: false"),
		inNetwork("dns: {enabled: false}"),
		inNetwork("address: 10.0.0.1/8"),
		inNetwork("address: 10.0.0.2/30, dhcp: {range: 10.0.0.1}"),
		inNetwork("address: [10.0.0.254/24]"),
		// A port of that name is one as any other without host_port.
		served("ports: {host: {type: tap}}"),
		served("host_port: w, ports: {host: {type: internal, interface: w, address: 10.0.0.1/24, rate: {egress: {average: 1Mbit}}}}"),
		served("mac: 02:00:00:00:00:01, host_port: w, ports: {host: {mac: 02:00:00:00:00:01}}"),
		// Only hosts that are in both cannot tell them apart.
		"networks: {a: {address: 10.0.0.1/24, host_port: w}, b: {address: 10.0.0.1/24}}",
		"networks: {a: {address: 10.0.0.1/24}, b: {address: 10.0.0.1/24, host_port: w}}",
		"networks: {a: {address: 10.0.0.1/24, host_port: w}, b: {address: 10.0.1.1/24, host_port: v}}",
		inDHCP("range: [10.0.0.2-10.0.0.9, 10.0.0.10-10.0.0.254], lease: 2m, max_leases: 1048576"),
		"networks: {a: {address: 10.0.0.1/8, dhcp: {range: 10.1.0.0-10.16.255.255}}}",
		inDHCP("lease: 365d"), inDHCP("lease: infinite"), inDHCP("lease: 8760h"),
		inDHCP("router: 10.0.0.1"), inDHCP("router: 10.0.0.254"),
		inDHCP("ntp: [], domain_search: []"),
		inDHCP("server_name: " + strings.Repeat("x", 63) + ", bootfile: " + strings.Repeat("x", 127)),
		inHosts("name: " + strings.Repeat("x", 63)), inHosts("address: 10.0.0.254"),
		inDHCP("range: 10.0.0.2-10.0.0.9, hosts: [{client_id: xy, address: 10.0.0.5}, {mac: 02:00:00:00:00:01, client_id: '01:02', address: 10.0.0.99}]"),
		inDNS("name: 1, domain: " + strings.Repeat("a.", 94) + "a, cache: 0"),
		inDNS("txt: {lab: [" + strings.Repeat(strings.Repeat("x", 4096)+", ", 4) + "]}"), inDNS("srv: [" + manyServices(64) + "]"),
		inDNS("cache: 1000000, upstream: none"),
		// Another port of that address may be a server of this host.
		inDNS("upstream: '10.0.0.1:5353'"), inDNS("enabled: false, upstream: 10.0.0.1"),
		inDNS("upstream: [host, 127.0.0.53, 'fd00::1', '[fd00::1]:5353'], domains: {corp: host, lab: []}"),
		inDNS("hosts: {web: [0.0.0.0, '::'], gateway.x: 10.0.0.1}, txt: {gateway: x}"),
		inDNS("srv: [{name: _x._tcp, target: a, port: 65535, priority: 65535, weight: 65535}, {name: _x._tcp, target: a, port: 1}]"),
	} {
		mustParse(t, text)
	}
}

// Values that a file cannot hold, or that a command makes without one.
func TestServicesValidateValue(t *testing.T) {
	for want, change := range map[string]func(*Config, *Network){
		"lease_file: is empty: write the path of a file, such as /var/lib/weft/leases.db":                                                           func(c *Config, n *Network) { c.LeaseFile = "" },
		`network "lan": address: invalid Prefix is not an address: write it such as 192.0.2.1/24`:                                                   func(c *Config, n *Network) { n.Addresses[0] = netip.Prefix{} },
		"network \"lan\": host_port: needs an address of the network: write one for it, such as address: 192.168.122.1/24, or remove this":          func(c *Config, n *Network) { n.Addresses, n.HostPort = nil, "w" },
		"network \"lan\": dhcp: needs an address of the network: write one for it, such as address: 192.168.122.1/24, or remove this":               func(c *Config, n *Network) { n.Addresses, n.DHCP.Lease = nil, time.Hour*2 },
		`network "lan": dhcp.range: invalid IP is not a range of IPv4 addresses: write its first and its last one`:                                  func(c *Config, n *Network) { n.DHCP.Ranges = make([]Range, 1) },
		"network \"lan\": dhcp.range: has 257 ranges: at most 256 are possible":                                                                     func(c *Config, n *Network) { n.DHCP.Ranges = make([]Range, 257) },
		`network "lan": dhcp.ntp: invalid IP is not an IPv4 address of a host: write one such as 192.0.2.1`:                                         func(c *Config, n *Network) { n.DHCP.NTP = make([]netip.Addr, 1) },
		`network "lan": dhcp.router: "" is neither auto nor none nor an address: write one of the three`:                                            func(c *Config, n *Network) { n.DHCP.Router = "" },
		`network "lan": dhcp.hosts[0]: is for nobody: write the mac or the client_id of the client`:                                                 func(c *Config, n *Network) { n.DHCP.Hosts = make([]DHCPHost, 1) },
		`network "lan": dns.name: "" is not a name of a host: give 1-63 letters, digits and inner hyphens and underscores`:                          func(c *Config, n *Network) { n.DNS.Name = "" },
		`network "lan": dns.domain: "Lab" is not a name: it has labels of 1-63 letters, digits and inner hyphens and underscores with dots between`: func(c *Config, n *Network) { n.DNS.Domain = "Lab" },
		`network "lan": dns.domains[a]: is there already: remove one of them`:                                                                       func(c *Config, n *Network) { n.DNS.Domains = []DNSDomain{{Name: "a"}, {Name: "a"}} },
		`network "lan": dns.hosts[a]: has 0 addresses: give 1-64`:                                                                                   func(c *Config, n *Network) { n.DNS.Hosts = []DNSHost{{Name: "a"}} },
		`network "lan": dns.hosts[a]: invalid IP is not an address: write one such as 192.0.2.1`:                                                    func(c *Config, n *Network) { n.DNS.Hosts = []DNSHost{{Name: "a", Addresses: make([]netip.Addr, 1)}} },
		`network "lan": dns.txt[a]: has 0 bytes: give 1-4096`:                                                                                       func(c *Config, n *Network) { n.DNS.TXT = []DNSText{{Name: "a", Values: make([]string, 1)}} },
		`network "lan": dns.upstream: "" is not a server: write host, none, an address such as 192.0.2.53, or one with its port, 192.0.2.53:5353`:   func(c *Config, n *Network) { n.DNS.Upstream = make([]string, 1) },
	} {
		c := mustParse(t, served(""))
		change(c, &c.Networks[0])
		if err := Validate(c); err == nil || err.Error() != want {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
	}
}

// A command adds a reservation as it was typed.
func TestReservationByCommand(t *testing.T) {
	c := mustParse(t, inHosts("address: 10.0.0.9, name: b"))
	n := &c.Networks[0]
	n.DHCP.Hosts = append(n.DHCP.Hosts, DHCPHost{MAC: frame.MAC{2, 9}, Address: netip.MustParseAddr("10.0.0.5"), Name: "Web"})
	n.DHCP.Options = []DHCPOption{{Key: "224", Value: "01:02"}, {Key: "ntp-server", Value: "10.0.0.1"}}
	c.Normalize()
	if err := Validate(c); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(n.DHCP.Hosts[0].Name, " ", n.DHCP.Hosts[1].Name, " ", n.DHCP.Options); got != "web b [{ntp-server 10.0.0.1 {42 [10 0 0 1]}} {224 01:02 {224 [1 2]}}]" {
		t.Error(got)
	}
	n.DHCP.Hosts[0].Name = "B"
	c.Normalize()
	if err := Validate(c); err == nil || err.Error() != `network "lan": dhcp.hosts[1].name: "b" is that of hosts[0] already: give each client its own` {
		t.Error(err)
	}
}
