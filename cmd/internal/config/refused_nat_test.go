package config

import (
	"fmt"
	"strings"
	"testing"
)

const (
	own    = "interface: eth1, address: 192.0.2.2/24"
	target = "to: 10.0.0.9:80"
)

func inUplink(keys string) string { return routed("uplink: {" + keys + "}") }
func inPublish(keys string) string {
	return inNAT("publish: [{" + keys + "}]")
}

func TestRefusedUplink(t *testing.T) {
	const lan = `f:1: network "lan": `
	refusedAlone(t, [][2]string{
		{inNetwork("forward: masquerade"), lan + `forward: "masquerade" is nat here: write that`},
		{inNetwork("forward: open"), lan + `forward: "open" is route here: write that`},
		{inNetwork("forward: none"), lan + `forward: "none" is isolated here: write that`},
		{inNetwork("forward: routed"), lan + `forward: "routed" is unknown; did you mean "route"?`},
		{inNetwork("forward: nat, address: 10.0.0.0/24"), lan + "address: 10.0.0.0/24 is the address of the whole subnet: write that of the host"},
		{inNetwork("forward: nat, address: x"), lan + `address: "x" is not an address with a prefix length: write it such as 192.0.2.1/24 or 2001:db8::1/64`},

		// What is of another kind of network.
		{inNetwork("uplink: {address: auto}, address: 10.0.0.1/24"), lan + "uplink: is for networks with forward: nat, route or bridge only: write one of them, or remove the uplink (by command: uplink=)"},
		{inNetwork("uplink: {address: host}"), lan + "uplink: is for networks with forward: nat, route or bridge only: write one of them, or remove the uplink (by command: uplink=)"},
		{inNetwork("routes: [{to: 10.5.0.0/16, via: 10.0.0.9}]"), lan + "routes: is for networks with forward: nat or route only, this one is isolated: remove it (by command: routes=)"},
		{inNetwork("reach: host"), lan + "reach: is for networks with forward: nat or route only, this one is isolated: remove it (by command: reach=)"},
		{bridged("reach: host", ""), lan + "reach: is for networks with forward: nat or route only, this one is bridge: remove it (by command: reach=)"},
		{inNetwork("nat: {}"), lan + "nat: is for networks with forward: nat only, this one is isolated: write that, or remove it (by command: nat=)"},
		{routed("nat: {ports: 1-2}"), lan + "nat.ports: is for networks with forward: nat only, this one is route: write that, or remove it (by command: nat.ports=)"},
		{"networks: {lan: {forward: bridge, uplink: {" + own + "}}}", lan + "uplink.address: is for networks with forward: nat or route only, this one is bridge: remove it"},
		{"networks: {lan: {forward: bridge, uplink: {interface: eth1, gateway: 192.0.2.1}}}", lan + "uplink.gateway: is for networks with forward: nat or route only, this one is bridge: remove it"},
		{"networks: {lan: {forward: bridge, uplink: {interface: eth1, proxy_arp: true}}}", lan + "uplink.proxy_arp: is for networks with forward: route only, this one is bridge: remove it"},
		{inUplink("reflective: true"), lan + "uplink.reflective: is for networks with forward: bridge only, this one is route: remove it"},
		{"networks: {lan: {forward: nat, address: 10.0.0.1/24, uplink: {" + own + ", proxy_arp: true}}}", lan + "uplink.proxy_arp: is for networks with forward: route only, this one is nat: remove it"},

		// The uplink itself.
		{inUplink("address: dhcp"), lan + "uplink.interface: is missing: write the interface that gets the address, such as eth1, or address: auto"},
		{inUplink("address: 192.0.2.2/24"), lan + "uplink.interface: is missing: write the interface that gets the address, such as eth1, or address: auto"},
		{inUplink("interface: a/b"), lan + `uplink.interface: "a/b" must not hold "/", ":", "%", a blank or what does not print: choose another name`},
		{inUplink("interface: eth1, address: hots"), lan + `uplink.address: "hots" is neither an address such as 192.0.2.2/24 nor auto, host, sockets, dhcp, slaac or dhcp6; did you mean "host"?`},
		{inUplink("interface: eth1, address: x"), lan + `uplink.address: "x" is neither an address such as 192.0.2.2/24 nor auto, host, sockets, dhcp, slaac or dhcp6: write one of them`},
		{inUplink("interface: eth1, address: sockets"), lan + "uplink.address: sockets is NAT by its nature: write forward: nat, or another address"},
		{inUplink("interface: eth1, address: 192.0.2.2"), lan + `uplink.address: "192.0.2.2" has no prefix length: write it too, such as 192.0.2.1/24`},
		{inUplink("interface: eth1, address: 192.0.2/24"), lan + `uplink.address: "192.0.2/24" is not an address with a prefix length: write it such as 192.0.2.1/24 or 2001:db8::1/64`},
		{inUplink("interface: eth1, address: 192.0.2.0/24"), lan + "uplink.address: 192.0.2.0/24 is the address of the whole subnet: write that of the host"},
		{inUplink("interface: eth1, address: 192.0.2.255/24"), lan + "uplink.address: 192.0.2.255/24 is the broadcast address of its subnet: write that of the uplink"},
		{inUplink("interface: eth1, address: 192.0.2.2/32"), lan + "uplink.address: 192.0.2.2/32 leaves no link that others are on: give a prefix length of 8-31"},
		{inUplink("interface: eth1, address: 192.0.2.2/7"), lan + "uplink.address: 192.0.2.2/7 leaves no link that others are on: give a prefix length of 8-31"},
		{inUplink("interface: eth1, address: 127.0.0.2/24"), lan + "uplink.address: 127.0.0.2/24 is not an address of a host: write one such as 192.0.2.2/24"},
		{inUplink("interface: eth1, address: 10.0.0.77/16"), lan + "uplink.address: 10.0.0.77/16 overlaps the network's own subnet 10.0.0.0/24: choose another one for the network"},
		{"networks: {lan: {forward: nat, address: 10.0.0.1/16, uplink: {interface: eth1, address: 10.0.9.2/24}}}",
			lan + "uplink.address: 10.0.9.2/24 overlaps the network's own subnet 10.0.0.0/16: choose another one for the network"},
		{inUplink("gateway: 192.0.2.1"), lan + "uplink.gateway: 192.0.2.1 is for an uplink whose IPv4 address is in the file: write that, such as address: 192.0.2.2/24, or remove this"},
		{inUplink("interface: eth1, address: dhcp, gateway: 192.0.2.1"), lan + "uplink.gateway: 192.0.2.1 is for an uplink whose IPv4 address is in the file, and with dhcp the servers out there say who leads on: remove it"},
		{inUplink(own + ", gateway: 192.0.3.1"), lan + "uplink.gateway: 192.0.3.1 is not in the subnet of 192.0.2.2/24: choose one that is"},
		{inUplink(own + ", gateway: 192.0.2.2"), lan + "uplink.gateway: 192.0.2.2 is weft's own address there: write that of another station"},
		{inUplink(own + ", gateway: 192.0.2.0"), lan + "uplink.gateway: 192.0.2.0 is the address of the whole subnet: write that of a station"},
		{inUplink("interface: eth1, address: 192.0.2.1/30, gateway: 192.0.2.0"), lan + "uplink.gateway: 192.0.2.0 is the address of the whole subnet: write that of a station"},
		{inUplink(own + ", gateway: 192.0.2.255"), lan + "uplink.gateway: 192.0.2.255 is the broadcast address of its subnet: write that of a station"},
		{inUplink(own + ", gateway: 'fd00::1'"), lan + "uplink.gateway: fd00::1 is for an uplink whose IPv6 address is in the file: write that, such as address: 2001:db8::2/64, or remove this"},
		{inUplink("proxy_arp: true"), lan + "uplink.proxy_arp: needs an address of the uplink's own: write address: dhcp there, or one such as 192.0.2.2/24, or remove this"},
		{inUplink("device: eth1"), lan + `uplink: unknown key "device": write interface`},
	})
}

func TestRefusedRoutes(t *testing.T) {
	const routes = `f:1: network "lan": routes[0]`
	in := func(keys string) string { return routed("uplink: {" + own + "}, routes: [{" + keys + "}]") }
	refusedAlone(t, [][2]string{
		{in("via: 10.0.0.9"), routes + ".to: is missing: write the subnet that the route is for, such as 10.5.0.0/16, or 0.0.0.0/0 for all"},
		{in("to: 10.5.0.0, via: 10.0.0.9"), routes + `.to: "10.5.0.0" has no prefix length: write it too, such as 192.0.2.1/24`},
		{in("to: 10.5.0.1/16, via: 10.0.0.9"), routes + ".to: 10.5.0.1/16 has bits behind its prefix length: write 10.5.0.0/16"},
		{in("to: 'fd00::/64', via: 10.0.0.9"), routes + ".to: fd00::/64 is of IPv6, and the network has no address of that: write one, or remove the route"},
		{in("to: 224.0.0.0/8, via: 10.0.0.9"), routes + ".to: 224.0.0.0/8 has no addresses of hosts: write another subnet"},
		{in("to: 10.0.0.128/25, via: 10.0.0.9"), routes + ".to: 10.0.0.128/25 is in the network's own subnet 10.0.0.0/24, where all is reached without: remove the route"},
		{in("to: 192.0.2.64/26, via: 192.0.2.9"), routes + ".to: 192.0.2.64/26 is in the subnet of the uplink, 192.0.2.0/24, where all is reached without: remove the route"},
		{in("to: 10.5.0.0/16"), routes + ".via: is missing: write the address of the station by which the subnet is reached"},
		{in("to: 10.5.0.0/16, via: 10.0.0.1"), routes + ".via: 10.0.0.1 is weft's own address there: write that of another station"},
		{in("to: 10.5.0.0/16, via: 10.0.0.0"), routes + ".via: 10.0.0.0 is the address of the whole subnet: write that of a station"},
		{in("to: 10.5.0.0/16, via: 10.0.0.255"), routes + ".via: 10.0.0.255 is the broadcast address of its subnet: write that of a station"},
		{in("to: 10.5.0.0/16, via: 169.254.0.1"), routes + ".via: 169.254.0.1 is neither in the network's subnet 10.0.0.0/24 nor in that of the uplink, 192.0.2.0/24: write a station of one of them"},
		{in("to: 10.5.0.0/16, via: 192.0.2.2"), routes + ".via: 192.0.2.2 is weft's own address there: write that of another station"},
		{in("to: 10.5.0.0/16, via: 192.0.3.2"), routes + ".via: 192.0.3.2 is neither in the network's subnet 10.0.0.0/24 nor in that of the uplink, 192.0.2.0/24: write a station of one of them"},
		{routed("routes: [{to: 10.5.0.0/16, via: 192.0.2.9}]"), routes + ".via: 192.0.2.9 is not in the network's subnet 10.0.0.0/24: write a station of it, or give the uplink an address in the file"},
		{routed("routes: [{to: 10.5.0.0/16, via: 10.0.0.9},\n {to: 10.5.0.0/16, via: 10.0.0.8}]"), `f:2: network "lan": routes[1].to: 10.5.0.0/16 is there already: remove one of the two`},
		{routed("routes: {to: 10.5.0.0/16}"), `f:1: network "lan": routes: a map, where a list belongs`},
		{routed("routes: [" + strings.Repeat("{to: 10.5.0.0/16, via: 10.0.0.9},", 257) + "]"), `f:1: network "lan": routes: has 257 routes: at most 256 are possible`},
	})
	got := refusal(t, in("to: 10.5.0.0/16, gateway: 10.0.0.9"))
	if want := routes + `: unknown key "gateway": write via`; len(got) != 2 || got[0] != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	// One that leads everywhere holds the network too.
	mustParse(t, in("to: 0.0.0.0/0, via: 10.0.0.9"))
	mustParse(t, in("to: 0.0.0.0/0, via: 192.0.2.9"))
	mustParse(t, in("to: 10.0.0.0/8, via: 10.0.0.9"))
	mustParse(t, in("to: 192.0.2.0/23, via: 192.0.2.9"))
}

func TestRefusedNAT(t *testing.T) {
	const nat = `f:1: network "lan": nat.`
	pool := func(list string) string {
		return "networks: {lan: {forward: nat, address: 10.0.0.1/24, uplink: {" + own + ", gateway: 192.0.2.1}, nat: {addresses: " + list + "}}}"
	}
	refusedAlone(t, [][2]string{
		{inNAT("ports: 2000-1999"), nat + "ports: 2000-1999 runs backwards: write it as 1999-2000"},
		{inNAT("ports: 0-100"), nat + "ports: port 0 is out of range: give 1-65535"},
		{inNAT("ports: 1024-65536"), nat + "ports: port 65536 is out of range: give 1-65535"},
		{inNAT("ports: all"), nat + `ports: "all" is not a port: write a number of 1-65535, or a range such as 8000-8010`},
		{inNAT("mapping: symetric"), nat + `mapping: "symetric" is unknown; did you mean "symmetric"?`},
		{inNAT("filtering: address-dependent"), nat + `filtering: "address-dependent" is unknown; known here: address, endpoint, none`},
		{inNAT("max_flows: 0"), nat + "max_flows: 0 is out of range: give 1-4194304 flows"},
		{inNAT("max_flows: 4194305"), nat + "max_flows: 4194305 is out of range: give 1-4194304 flows"},
		{inNAT("max_flows_per_host: 0"), nat + "max_flows_per_host: 0 is out of range: give 1-65536 flows (as many as max_flows)"},
		{inNAT("max_flows: 10, max_flows_per_host: 11"), nat + "max_flows_per_host: 11 is out of range: give 1-10 flows (as many as max_flows)"},
		{inNAT("timeouts: {udp: 0s}"), nat + "timeouts.udp: 0s is out of range: give 1s-604800s in whole seconds"},
		{inNAT("timeouts: {tcp: 604801s}"), nat + "timeouts.tcp: 168h0m1s is out of range: give 1s-604800s in whole seconds"},
		{inNAT("timeouts: {tcp_transitory: 1500ms}"), nat + "timeouts.tcp_transitory: 1.5s is out of range: give 1s-604800s in whole seconds"},
		{inNAT("timeouts: {icmp: 60}"), nat + `timeouts.icmp: "60" is not a duration: write a number and its unit, such as 300s, 5m or 1h`},
		{inNAT("timeouts: {other: -1s}"), nat + "timeouts.other: -1s is out of range: give 1s-604800s in whole seconds"},
		{inNAT("timeouts: {sctp: 1s}"), nat + `timeouts: unknown key "sctp"; known here: udp, tcp, tcp_transitory, icmp, other`},
		{inNAT("addresses: 192.0.2.9"), nat + "addresses: needs an uplink whose address is in the file: write that, such as address: 192.0.2.2/24, or remove this"},
		{pool("192.0.2.9-192.0.2.8"), nat + "addresses: 192.0.2.9-192.0.2.8 runs backwards: write it as 192.0.2.8-192.0.2.9"},
		{pool("[192.0.2.9, 'fd00::1']"), nat + "addresses[1]: needs an uplink whose address is in the file: write that, such as address: 2001:db8::2/64, or remove this"},
		{pool("224.0.0.1"), nat + "addresses: 224.0.0.1 holds addresses that are not of hosts: write others"},
		{pool("192.0.2.0-192.0.2.1"), nat + "addresses: 192.0.2.0-192.0.2.1 holds 192.0.2.1, the gateway of the uplink: write the ranges before and behind it"},
		{pool("192.0.1.9-192.0.2.0"), nat + "addresses: 192.0.1.9-192.0.2.0 holds 192.0.2.0, the address of the uplink's whole subnet: begin behind it"},
		{pool("192.0.2.9-192.0.2.255"), nat + "addresses: 192.0.2.9-192.0.2.255 holds 192.0.2.255, the broadcast address of the uplink's subnet: end before it"},
		{pool("10.0.0.9"), nat + "addresses: 10.0.0.9 overlaps the network's own subnet 10.0.0.0/24: write outside addresses"},
		{pool("[192.0.2.9-192.0.2.12, 192.0.2.12]"), nat + "addresses[1]: 192.0.2.12 overlaps 192.0.2.9-192.0.2.12: join the two, or shorten one"},
		{pool("198.51.100.0-198.51.104.0"), nat + "addresses: has 1025 addresses in all: at most 1024 are possible"},
		{inNAT("masquerade: true"), nat[:len(nat)-1] + `: unknown key "masquerade": forward: nat is all that it takes`},
		{inNAT("hostfwd: []"), nat[:len(nat)-1] + `: unknown key "hostfwd": write publish: [{protocol: tcp, listen: 19888, to: "192.168.122.10:22"}]`},
		{inNAT("publsh: []"), nat[:len(nat)-1] + `: unknown key "publsh"; did you mean "publish"?`},
		{inNetwork("dnat: []"), `f:1: network "lan": unknown key "dnat": write nat: {publish: [{protocol: tcp, listen: 19888, to: "192.168.122.10:22"}]}`},
		{inNetwork("masquerade: true"), `f:1: network "lan": unknown key "masquerade": forward: nat is all that it takes`},
		{inNetwork("gateway: 10.0.0.1"), `f:1: network "lan": unknown key "gateway": the gateway that weft is has address, and one outside is the gateway of uplink`},
	})
	// Whoever lowers the maximum need not know of that of a host.
	mustParse(t, inNAT("max_flows: 100"))
	mustParse(t, pool("[192.0.2.2, 203.0.113.5]"))
}

func TestRefusedPublish(t *testing.T) {
	const publish = `f:1: network "lan": nat.publish[0]`
	refusedAlone(t, [][2]string{
		{inPublish("listen: 80, " + target), publish + ".protocol: is missing: write tcp or udp"},
		{inPublish("protocol: icmp, listen: 80, " + target), publish + `.protocol: "icmp" is unknown; known here: tcp, udp`},
		{inPublish("protocol: tcp, " + target), publish + ".listen: is missing: write the outside port, such as 19888"},
		{inPublish("protocol: tcp, listen: 0, " + target), publish + ".listen: port 0 is out of range: give 1-65535"},
		{inPublish("protocol: tcp, listen: 70000, " + target), publish + ".listen: port 70000 is out of range: give 1-65535"},
		{inPublish("protocol: tcp, listen: 8010-8000, " + target), publish + ".listen: 8010-8000 runs backwards: write it as 8000-8010"},
		{inPublish("protocol: tcp, listen: ':80', " + target), publish + `.listen: ":80" has no address: write "80" for the uplink, or an address of this host before the colon`},
		{inPublish("protocol: tcp, listen: '[fe80::1]:80', " + target), publish + ".listen: fe80::1 is not an address that means the same everywhere on this host: write another one"},
		{inPublish("protocol: tcp, listen: '[ff02::1]:80', " + target), publish + ".listen: ff02::1 is not an address of one host: write one of this host"},
		{inPublish("protocol: tcp, listen: '224.0.0.1:80', " + target), publish + ".listen: 224.0.0.1 is not an address of one host: write one of this host"},
		{inPublish("protocol: tcp, listen: 80"), publish + ".to: is missing: write the address and the port of the guest, such as 192.168.122.10:22"},
		{inPublish("protocol: tcp, listen: 80, to: 10.0.0.9"), publish + ".to: 10.0.0.9 has no port: write it too, such as 10.0.0.9:22"},
		{inPublish("protocol: tcp, listen: 80, to: '10.0.0.9:0'"), publish + ".to: port 0 is out of range: give 1-65535"},
		{inPublish("protocol: tcp, listen: 80, to: '10.0.0.9:65536'"), publish + `.to: "10.0.0.9:65536" is not an address and a port: write those of the guest, such as 192.168.122.10:22`},
		{inPublish("protocol: tcp, listen: 80, to: '10.1.0.9:80'"), publish + ".to: 10.1.0.9 is not in the subnet 10.0.0.0/24 of the network: choose one that is"},
		{inPublish("protocol: tcp, listen: 80, to: '10.0.0.1:80'"), publish + ".to: 10.0.0.1 is the address of the gateway: choose another one"},
		{inPublish("protocol: tcp, listen: 80, to: '10.0.0.0:80'"), publish + ".to: 10.0.0.0 is the address of the whole subnet: choose another one"},
		{inPublish("protocol: tcp, listen: 80, to: '10.0.0.255:80'"), publish + ".to: 10.0.0.255 is the broadcast address of the subnet: choose another one"},
		{inPublish("protocol: tcp, listen: 80, to: '[fd00::9]:80'"), publish + ".to: fd00::9 is of IPv6, and the network has no address of that: write one for it, or the IPv4 address of the guest"},
		{inPublish("protocol: tcp, listen: 8000-8010, to: '10.0.0.9:65526'"), publish + ".to: port 65526 is the first of 11, and the last one would be above 65535: lower it"},
		{inPublish("protocol: tcp, listen: 80-82, to: '10.0.0.9:80-82'"), publish + `.to: "10.0.0.9:80-82" is a range, and those follow listen from the first on: write "10.0.0.9:80"`},
		{inPublish("protocol: tcp, listen: 80, " + target + ", proto: tcp"), publish + `: unknown key "proto": write protocol`},
		{inNAT("publish: [" + strings.Repeat("{},", 1025) + "]"), `f:1: network "lan": nat.publish: has 1025 entries: at most 1024 are possible`},
		{inNAT("publish: [{protocol: tcp, listen: 80-90, " + target + "},\n {protocol: tcp, listen: 90, " + target + "}]"),
			`f:2: network "lan": nat.publish[1].listen: tcp 90 is published already, as 80-90 to 10.0.0.9:80: choose other ports, or remove that`},
	})
	mustParse(t, inPublish("protocol: tcp, listen: 8000-8010, to: '10.0.0.9:65525'"))
	mustParse(t, inPublish("protocol: tcp, listen: '[::1]:80', "+target))
	mustParse(t, inNAT("publish: [{protocol: tcp, listen: 80, "+target+"}, {protocol: udp, listen: 80, "+target+"}, {protocol: tcp, listen: 81, "+target+"}, {protocol: tcp, listen: '127.0.0.1:80', "+target+"}]"))
}

// Of two networks with an uplink each, and a port on every interface that the
// table names, the later one is blamed.
func TestRefusedTogether(t *testing.T) {
	const a = "networks:\n  a: {forward: %s, address: 10.0.0.1/24, %s}\n"
	const b = "  b: {forward: %s, address: 10.1.0.1/24, %s}\n"
	two := func(forwardA, keysA, forwardB, keysB string) string {
		return fmt.Sprintf(a+b, forwardA, keysA, forwardB, keysB)
	}
	one := func(protocol, listen, guest string) string {
		return fmt.Sprintf("nat: {publish: [{protocol: %s, listen: %q, to: '%s:1'}]}", protocol, listen, guest)
	}
	const f3 = `f:3: network "b": `
	const clash = f3 + "nat.publish[0].listen: tcp "
	refusedAlone(t, [][2]string{
		{two("nat", "uplink: {interface: eth1}", "route", "uplink: {interface: eth1, address: host}"), f3 + `uplink.address: host, where network "a" has auto for the same interface: write the same in both`},
		{two("nat", "uplink: {address: host}", "nat", "mtu: 1400"), f3 + `uplink.address: auto, where network "a" has host for the same interface: write the same in both`},
		{two("nat", "uplink: {"+own+", gateway: 192.0.2.1}", "nat", "uplink: {"+own+"}"), f3 + `uplink.gateway: none, where network "a" has 192.0.2.1 for the same interface: write the same in both`},
		{two("nat", "uplink: {"+own+"}", "route", "uplink: {"+own+", proxy_arp: true}"), f3 + `uplink.proxy_arp: true, where network "a" has false for the same interface: remove it, or give one of the two another interface`},
		{two("route", "uplink: {interface: eth1}", "isolated", "ports: {p: {type: raw, interface: eth1}}"), f3 + `port "p": interface: "eth1" is the uplink of network "a": give the port another one`},
		{two("isolated", "ports: {p: {type: raw, interface: eth1}}", "route", "uplink: {interface: eth1}"), f3 + `uplink.interface: "eth1" is the interface of port a/p, which takes all that comes in there: give the uplink another one`},
		{two("isolated", "ports: {p: {type: internal, interface: eth1}}", "nat", "uplink: {interface: eth1, address: sockets}"), f3 + `uplink.interface: "eth1" is the interface of port a/p, which takes all that comes in there: give the uplink another one`},
		{"networks:\n  a: {forward: bridge, uplink: {interface: eth1}}\n" + fmt.Sprintf(b, "nat", "uplink: {interface: eth1}"),
			f3 + `uplink.interface: "eth1" is the uplink of network "a", which bridges all of it: give this network another one`},
		{fmt.Sprintf(a, "nat", "uplink: {interface: eth1}") + "  b: {forward: bridge, uplink: {interface: eth1}}\n", f3 + `uplink.interface: "eth1" is the uplink of network "a": give the port another one`},

		{two("route", "reach: [b, c]", "route", "reach: a"), `f:2: network "a": reach[1]: there is no network "c"; did you mean "b"?`},
		{two("route", "reach: [host, a]", "route", "mtu: 1400"), `f:2: network "a": reach[1]: "a" is the network itself: remove it`},
		{two("route", "reach: [b, b]", "route", "reach: a"), `f:2: network "a": reach[1]: "b" is there already: write it once`},
		{two("route", "reach: b", "nat", "reach: host"), `f:2: network "a": reach: network "b" does not have "a" in its own reach: write it there too, in the file`},
		{two("route", "reach: b", "isolated", "mtu: 1400"), `f:2: network "a": reach: network "b" has forward: isolated, where all ends: write nat or route there, or remove this`},
		{two("route", "reach: hots", "route", "mtu: 1400"), `f:2: network "a": reach: there is no network "hots"; did you mean "host"?`},
		{two("route", "reach: zzzzz", "route", "mtu: 1400"), `f:2: network "a": reach: there is no network "zzzzz": add it, or name another one, or host`},
		{two("route", "reach: ["+strings.Repeat("b,", 65)+"]", "route", "reach: a"), `f:2: network "a": reach: has 65 names: at most 64 are possible`},
		{strings.ReplaceAll(two("nat", "reach: b", "nat", "reach: a"), "10.1.0.1/24", "10.0.0.9/16"), f3 + `address: 10.0.0.9/16 overlaps 10.0.0.1/24 of network "a", which is in reach: choose another subnet, or remove that`},
		{strings.ReplaceAll(two("route", "mtu: 1400", "route", "mtu: 1400"), "10.1.0.1/24", "10.0.0.9/16"), f3 + `address: 10.0.0.9/16 overlaps 10.0.0.1/24 of network "a", and one uplink routes to both: choose another subnet`},
		{"networks:\n  host: {forward: nat, address: 10.0.0.1/24, reach: [b]}\n" + fmt.Sprintf(b, "nat", "reach: host"),
			`f:2: network "host": reach[0]: a network of the name "host" cannot be reached, as that is this host: give it another name`},

		{two("nat", one("tcp", "80", "10.0.0.9"), "nat", one("tcp", "79-81", "10.1.0.9")), clash + `79-81 is published already, as 80 to 10.0.0.9:1 of network "a": choose other ports, or remove that`},
		{two("nat", "uplink: {interface: eth1, address: sockets}, "+one("tcp", "80", "10.0.0.9"), "nat", "uplink: {address: sockets}, "+one("tcp", "80", "10.1.0.9")),
			clash + `80 is published already, as 80 to 10.0.0.9:1 of network "a": choose other ports, or remove that`},
		{two("nat", "uplink: {address: sockets}, "+one("tcp", "80", "10.0.0.9"), "nat", one("tcp", "127.0.0.1:80", "10.1.0.9")),
			clash + `127.0.0.1:80 is published already, as 80 to 10.0.0.9:1 of network "a": choose other ports, or remove that`},
		{two("nat", one("tcp", "127.0.0.1:80", "10.0.0.9"), "nat", one("tcp", "0.0.0.0:80", "10.1.0.9")),
			clash + `0.0.0.0:80 is published already, as 127.0.0.1:80 to 10.0.0.9:1 of network "a": choose other ports, or remove that`},
	})
	for _, text := range []string{
		two("nat", "uplink: {interface: eth1}", "route", "uplink: {interface: eth2, address: dhcp}"),
		two("route", "uplink: {"+own+", proxy_arp: true}", "route", "uplink: {"+own+", proxy_arp: true}"),
		// Sockets have no part in an interface.
		two("nat", "mtu: 1400", "nat", "uplink: {address: sockets}"),
		two("nat", "reach: [host, b]", "route", "reach: a"),
		two("nat", "uplink: {interface: eth1}", "isolated", "ports: {p: {type: internal, interface: eth1, netns: x}}"),
		two("nat", one("tcp", "80", "10.0.0.9"), "nat", one("udp", "80", "10.1.0.9")),
		two("nat", one("tcp", "80", "10.0.0.9"), "nat", "uplink: {interface: eth1}, "+one("tcp", "80", "10.1.0.9")),
		two("nat", one("tcp", "127.0.0.1:80", "10.0.0.9"), "nat", one("tcp", "127.0.0.2:80", "10.1.0.9")),
		// Translated, two subnets may be the same; so may they by two uplinks.
		strings.ReplaceAll(two("nat", "mtu: 1400", "nat", "mtu: 1400"), "10.1.0.1", "10.0.0.1"),
		strings.ReplaceAll(two("route", "uplink: {interface: eth1}", "route", "mtu: 1400"), "10.1.0.1", "10.0.0.1"),
		// A part of the uplink's subnet that proxy ARP makes known.
		inUplink("interface: eth1, address: 10.0.1.2/16, gateway: 10.0.2.1, proxy_arp: true"),
	} {
		mustParse(t, text)
	}
	for _, keys := range []string{"address: 10.0.0.2/16, proxy_arp: true", "address: 10.0.1.2/16, gateway: 10.0.0.9, proxy_arp: true", "address: 10.0.1.2/16"} {
		if got := refusal(t, inUplink("interface: eth1, "+keys)); len(got) != 1 || !strings.Contains(got[0], "overlaps the network's own subnet") {
			t.Errorf("%s: %s", keys, got)
		} else if help := strings.Contains(got[0], "or write proxy_arp: true"); help != (keys == "address: 10.0.1.2/16") {
			t.Errorf("%s: %s", keys, got) // it would not help the others
		}
	}
}

// A change is blamed for what it clashes with, wherever in the order of names it is.
func TestChangeBlamed(t *testing.T) {
	old := mustParse(t, "networks: {a: {address: 10.0.0.1/24}, b: {forward: nat, address: 10.1.0.1/24, uplink: {interface: eth1}}}")
	for body, want := range map[string]string{
		`{"forward":"nat","uplink":{"interface":"eth1","address":"host"}}`: `uplink.address: host, where network "b" has auto for the same interface: write the same in both`,
	} {
		c := old.Clone()
		if err := c.PatchNetwork("a", []byte(body)); err != nil {
			t.Fatal(err)
		}
		c.Normalize()
		if err := ValidateChange(old, c); err == nil || err.Error() != `network "a": `+want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
