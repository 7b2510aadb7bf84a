package config

import (
	"fmt"
	"strings"
	"testing"
)

// refusedAlone fails for each text that is not refused by exactly that line.
func refusedAlone(t *testing.T, table [][2]string) {
	t.Helper()
	for _, tc := range table {
		if got := refusal(t, tc[0]); len(got) != 1 || got[0] != tc[1] {
			t.Errorf("%s\n got %s\nwant %s", tc[0], strings.Join(got, "\n     "), tc[1])
		}
	}
}

func TestRefusedNetwork(t *testing.T) {
	const lan = `f:1: network "lan": `
	refusedAlone(t, [][2]string{
		{inNetwork("uplink: {interface: eth1}"), lan + "uplink: is for networks with forward: nat, route or bridge only: write one of them, or remove the uplink (by command: uplink=)"},
		{inNetwork("forward: bridge"), lan + "uplink.interface: is missing: write the interface by which the network goes on, such as eth1, or forward: isolated"},
		{inNetwork("forward: bridge, uplink: eth1"), lan + "uplink: a single value, where keys with values belong: " + strings.Join(names(uplinkKeys()), ", ")},
		{inNetwork("forward: bridge, uplink: [eth1]"), lan + "uplink: a list, where keys with values belong: " + strings.Join(names(uplinkKeys()), ", ")},
		{inNetwork("forward: bridge, uplink: {interface: ''}"), lan + "uplink.interface: has no value: write one or remove the key"},
		{inNetwork("forward: bridge, uplink: {interface: a/b}"), lan + `uplink.interface: "a/b" must not hold "/", ":", "%", a blank or what does not print: choose another name`},
		{bridged("", "vm1: {type: tap, interface: eth1}"), lan + `uplink.interface: "eth1" is the interface of port "vm1", of type tap: an uplink needs one that is there already, as ports of type raw do`},
		{bridged("", "h1: {type: internal, interface: eth1}"), lan + `uplink.interface: "eth1" is the interface of port "h1", of type internal: an uplink needs one that is there already, as ports of type raw do`},
		{bridged("", "uplink: {type: raw, interface: eth2}"), lan + `uplink.interface: the port on it would be named "uplink", as one on another interface is: rename that, or add a port of type raw on "eth1"`},
		{bridged("", "uplink: {type: tap}"), lan + `uplink.interface: the port on it would be named "uplink", as one on another interface is: rename that, or add a port of type raw on "eth1"`},
		{bridged("", "eth1: {}"), `f:1: network "lan": port "eth1": type: is missing: write one of tap, raw, internal`},

		{inNetwork("stp: true"), lan + "stp: a single value, where keys with values belong: enabled, priority, hello, max_age, forward_delay"},
		{inNetwork("stp: {enabled: yes}"), lan + `stp.enabled: "yes" is neither true nor false: write one of the two`},
		{inNetwork("stp: {priority: 4095}"), lan + "stp.priority: 4095 is out of range: give 0-61440 in steps of 4096"},
		{inNetwork("stp: {priority: 65536}"), lan + "stp.priority: 65536 is out of range: give 0-61440 in steps of 4096"},
		{inNetwork("stp: {priority: -4096}"), lan + "stp.priority: -4096 is out of range: give 0-61440 in steps of 4096"},
		{inNetwork("stp: {hello: 0s}"), lan + "stp.hello: 0s is out of range: give 1s-10s in whole seconds"},
		{inNetwork("stp: {hello: 11s}"), lan + "stp.hello: 11s is out of range: give 1s-10s in whole seconds"},
		{inNetwork("stp: {hello: 1500ms}"), lan + "stp.hello: 1.5s is out of range: give 1s-10s in whole seconds"},
		{inNetwork("stp: {max_age: 5s}"), lan + "stp.max_age: 5s is out of range: give 6s-40s in whole seconds"},
		{inNetwork("stp: {max_age: 41s}"), lan + "stp.max_age: 41s is out of range: give 6s-40s in whole seconds"},
		{inNetwork("stp: {forward_delay: 1s}"), lan + "stp.forward_delay: 1s is out of range: give 2s-30s in whole seconds, or 0s to forward at once"},
		{inNetwork("stp: {forward_delay: 31s}"), lan + "stp.forward_delay: 31s is out of range: give 2s-30s in whole seconds, or 0s to forward at once"},
		{inNetwork("stp: {forward_delay: -2s}"), lan + "stp.forward_delay: -2s is out of range: give 2s-30s in whole seconds, or 0s to forward at once"},
		{inNetwork("stp: {hello: 10s, max_age: 6s}"), lan + "stp.max_age: 6s is below twice hello and a second (22s): raise it, or lower hello"},
		{inNetwork("stp: {hello: 10s, max_age: 21s}"), lan + "stp.max_age: 21s is below twice hello and a second (22s): raise it, or lower hello"},
		{inNetwork("stp: {hello: 3s, max_age: 7s}"), lan + "stp.max_age: 7s is below twice hello and a second (8s): raise it, or lower hello"},
		{inNetwork("stp: {hello: 10s, max_age: 5s}"), lan + "stp.max_age: 5s is out of range: give 6s-40s in whole seconds"},
		{inNetwork("stp: {hello: x, max_age: 6s}"), lan + `stp.hello: "x" is not a duration: write a number and its unit, such as 300s, 5m or 1h`},
		{"networks:\n  lan:\n    stp:\n      hello: 10s", `f:3: network "lan": stp.max_age: 20s is below twice hello and a second (22s): raise it, or lower hello`},
		{inNetwork("stp: {delay: 2s}"), lan + `stp: unknown key "delay"; known here: enabled, priority, hello, max_age, forward_delay`},
		{inNetwork("snooping: {interval: 9s}"), lan + "snooping.interval: 9s is out of range: give 10s-3600s in whole seconds"},
		{inNetwork("snooping: {interval: 3601s}"), lan + "snooping.interval: 1h0m1s is out of range: give 10s-3600s in whole seconds"},
		{inNetwork("snooping: {querier: 1}"), lan + `snooping.querier: "1" is neither true nor false: write one of the two`},
		{"networks:\n  lan:\n    mac: 02:00:00:00:00:01\n    ports:\n      h1:\n        type: internal\n        mac: 02:00:00:00:00:01",
			`f:7: network "lan": port "h1": mac: 02:00:00:00:00:01 is the address of the network itself: give the port its own`},
	})
}

// inStatic is a network whose port is in VLANs, with a static entry in another.
func inStatic(vlans string, vlan int) string {
	return fmt.Sprintf("networks: {lan: {fdb: {static: [{mac: 02:00:00:00:00:01, vlan: %d, port: b10}]}, ports: {b10: {type: tap, vlan: {%s}}}}}", vlan, vlans)
}

// An entry where its port is not would lead nowhere; one whose port's VLANs are
// wrong is not blamed for that.
func TestRefusedStaticVLAN(t *testing.T) {
	const static = `f:1: network "lan": fdb.static[0].vlan: port "b10" is not in VLAN `
	const port = `f:1: network "lan": port "b10": vlan.`
	refusedAlone(t, [][2]string{
		{inStatic("access: 10", 0), static + "0: write vlan: 10, or remove the entry"},
		{inStatic("access: 10", 11), static + "11: write vlan: 10, or remove the entry"},
		{inStatic("trunk: 10", 0), static + "0: write vlan: 10, or remove the entry"},
		{inStatic("trunk: [20-30, 10]", 19), static + "19: write a vlan of 20-30, 10, or remove the entry"},
		{inStatic("trunk: [20-30], native: 20", 0), static + "0: write a vlan of 20-30, or remove the entry"},
		{inStatic("trunk: [1, 3, 5, 7, 9, 11, 13, 15, 17]", 2), static + "2: write a vlan of 1, 3, 5, 7, 9, 11, 13, 15, …, or remove the entry"},
		{inStatic("access: x", 5), port + `access: "x" is not a whole number: write one in decimal digits`},
		{inStatic("access: 5000", 5), port + "access: 5000 is out of range: give 1-4094"},
		{inStatic("trunk: [10, x]", 5), port + `trunk[1]: "x" is not a whole number: write one in decimal digits`},
		{inStatic("access: 10, trunk: 20", 5), port + "access: stands beside trunk, and a port has one of the two: remove the other (by command: vlan.access= or vlan.trunk=)"},
		{inStatic("access: 10", 4095), `f:1: network "lan": fdb.static[0].vlan: 4095 is out of range: give 1-4094, or 0 for untagged`},
		{"networks:\n  lan:\n    fdb:\n      static:\n        - mac: 02:00:00:00:00:01\n          port: a\n          vlan: 2\n    ports: {a: {type: tap, vlan: {access: 1}}}",
			`f:7: network "lan": fdb.static[0].vlan: port "a" is not in VLAN 2: write vlan: 1, or remove the entry`},
	})
}

// A port cannot hold more addresses than the table grants it.
func TestRefusedMaxMACs(t *testing.T) {
	in := func(fdb, security string) string {
		return inNetwork("fdb: {" + fdb + "}, ports: {a: {type: tap, security: {" + security + "}}}")
	}
	const most = `f:1: network "lan": port "a": security.max_macs: `
	refusedAlone(t, [][2]string{
		{in("port_limit: 5", "max_macs: 6"), most + "6 is above the fdb.port_limit of 5: lower it, or raise that"},
		{in("port_limit: 5", "max_macs: 65537"), most + "65537 is out of range: give 0-65536 addresses (0 means any number)"},
		{in("limit: 5, port_limit: 6", "max_macs: 7"), `f:1: network "lan": fdb.port_limit: 6 is out of range: give 0-5 entries (0 means the limit of the network)`},
	})
}

// The port that an uplink brings along is blamed where the file has the uplink.
func TestRefusedUplinkTwice(t *testing.T) {
	const twoUplinks = "networks:\n  a: {forward: bridge, uplink: {interface: eth1}}\n  b:\n    forward: bridge\n    uplink:\n      interface: eth1\n"
	const third = "  c:\n    ports:\n      x: {type: raw, interface: eth1}\n"
	const named = "networks:\n  a: {ports: {x: {type: raw, interface: eth1}}}\n  b:\n    forward: bridge\n    uplink: {interface: eth1}\n    ports:\n      uplink: {type: raw, interface: eth1}\n"
	for text, want := range map[string]string{
		twoUplinks: `f:6: network "b": uplink.interface: "eth1" is the interface of port a/uplink already: give each port its own`,
		twoUplinks + third: `f:6: network "b": uplink.interface: "eth1" is the interface of port a/uplink already: give each port its own
f:9: network "c": port "x": interface: "eth1" is the interface of port a/uplink already: give each port its own`,
		named: `f:7: network "b": port "uplink": interface: "eth1" is the interface of port a/x already: give each port its own`,
		bridged("", "a: {type: raw, interface: eth1}, b: {type: raw, interface: eth1}"): `f:1: network "lan": port "b": interface: "eth1" is the interface of port lan/a already: give each port its own`,
	} {
		if got := strings.Join(refusal(t, text), "\n"); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestRefusedPolicy(t *testing.T) {
	const port = `f:1: network "lan": port "vm9": `
	tap := func(body string) string { return inPort("type: tap, " + body) }
	refusedAlone(t, [][2]string{
		{tap("mode: x"), port + `mode: "x" is unknown; known here: bridge, vepa, private, passthrough`},
		{tap("mode: passtrough"), port + `mode: "passtrough" is unknown; did you mean "passthrough"?`},
		{tap("mode: passthru"), port + `mode: "passthru" is unknown; did you mean "passthrough"?`},
		{tap("hairpin: on"), port + `hairpin: "on" is neither true nor false: write one of the two`},
		{tap("isolated: [true]"), port + "isolated: a list, where a single value belongs"},

		{tap("vlan: 10"), port + "vlan: a single value, where keys with values belong: access, trunk, native"},
		{tap("vlan: [10, 20]"), port + "vlan: a list, where keys with values belong: access, trunk, native"},
		{tap("vlan: {acces: 10}"), port + `vlan: unknown key "acces"; did you mean "access"?`},
		{tap("vlan: {access: 0}"), port + "vlan.access: 0 is out of range: give 1-4094"},
		{tap("vlan: {access: 4095}"), port + "vlan.access: 4095 is out of range: give 1-4094"},
		{tap("vlan: {access: 65546}"), port + "vlan.access: 65546 is out of range: give 1-4094"},
		{tap("vlan: {access: -1}"), port + "vlan.access: -1 is out of range: give 1-4094"},
		{tap("vlan: {access: ten}"), port + `vlan.access: "ten" is not a whole number: write one in decimal digits`},
		{tap("vlan: {access: 010}"), port + `vlan.access: "010" is not a whole number: write one in decimal digits`},
		{tap("vlan: {trunk: 0}"), port + "vlan.trunk: 0 is out of range: give 1-4094"},
		{tap("vlan: {trunk: [1, 4095]}"), port + "vlan.trunk[1]: 4095 is out of range: give 1-4094"},
		{tap("vlan: {trunk: [0-5]}"), port + "vlan.trunk[0]: 0 is out of range: give 1-4094"},
		{tap("vlan: {trunk: '7,20-5000'}"), port + "vlan.trunk[1]: 5000 is out of range: give 1-4094"},
		{tap("vlan: {trunk: [30-20]}"), port + "vlan.trunk[0]: 30-20 runs backwards: write it as 20-30"},
		{tap("vlan: {trunk: []}"), port + "vlan.trunk: is an empty list: write what belongs in it, or remove the key"},
		{tap("vlan: {trunk: }"), port + "vlan.trunk: has no value: write one or remove the key"},
		{tap("vlan: {trunk: '10,'}"), port + `vlan.trunk[1]: "" is not a whole number: write one in decimal digits`},
		{tap("vlan: {trunk: [10-]}"), port + `vlan.trunk[0]: "" is not a whole number: write one in decimal digits`},
		{tap("vlan: {trunk: [10-20-30]}"), port + `vlan.trunk[0]: "20-30" is not a whole number: write one in decimal digits`},
		{tap("vlan: {trunk: [bad], native: 10}"), port + `vlan.trunk[0]: "bad" is not a whole number: write one in decimal digits`},
		{tap("vlan: {trunk: {a: b}, native: 10}"), port + "vlan.trunk: a map, where a single value belongs: write the value alone, without braces"},
		{tap("vlan: {trunk: 10, native: 0}"), port + "vlan.native: 0 is out of range: give 1-4094"},
		{tap("vlan: {trunk: 10, native: 4095}"), port + "vlan.native: 4095 is out of range: give 1-4094"},
		{tap("vlan: {native: 10}"), port + "vlan.native: needs a trunk that holds it: write one, or access: 10 alone"},
		{tap("vlan: {trunk: [10, 20-30], native: 31}"), port + "vlan.native: 31 is not in the trunk: add it there, or choose one that is"},
		{tap("vlan: {trunk: [10, 20-30], native: 19}"), port + "vlan.native: 19 is not in the trunk: add it there, or choose one that is"},
		{tap("vlan: {access: 10, trunk: 10}"), port + "vlan.access: stands beside trunk, and a port has one of the two: remove the other (by command: vlan.access= or vlan.trunk=)"},
		{tap("vlan: {access: 10, trunk: 10, native: 10}"), port + "vlan.access: stands beside trunk, and a port has one of the two: remove the other (by command: vlan.access= or vlan.trunk=)"},
		{tap("vlan: {access: 10, native: 10}"), port + "vlan.native: stands beside access, and is for a trunk only: remove it (by command: vlan.native=)"},

		{tap("stp: {edge: maybe}"), port + `stp.edge: "maybe" is unknown; known here: auto, true, false`},
		{tap("stp: {priority: 8}"), port + "stp.priority: 8 is out of range: give 0-240 in steps of 16"},
		{tap("stp: {priority: 256}"), port + "stp.priority: 256 is out of range: give 0-240 in steps of 16"},
		{tap("stp: {priority: -16}"), port + "stp.priority: -16 is out of range: give 0-240 in steps of 16"},
		{tap("stp: {cost: 0}"), port + "stp.cost: 0 is out of range: give 1-200000000"},
		{tap("stp: {cost: 200000001}"), port + "stp.cost: 200000001 is out of range: give 1-200000000"},
		{tap("stp: {bpduguard: true}"), port + `stp: unknown key "bpduguard"; did you mean "bpdu_guard"?`},

		{tap("security: {max_macs: -1}"), port + "security.max_macs: -1 is out of range: give 0-65536 addresses (0 means any number)"},
		{tap("security: {max_macs: 65537}"), port + "security.max_macs: 65537 is out of range: give 0-65536 addresses (0 means any number)"},
		{tap("security: {max_macs: x, sticky: true}"), port + `security.max_macs: "x" is not a whole number: write one in decimal digits`},
		{tap("security: {sticky: true}"), port + "security.sticky: needs max_macs: write how many addresses the port may keep"},
		{tap("security: {sources: any}"), port + `security.sources: "any" is not a MAC address: write six bytes, such as 02:00:00:00:00:01`},
		{tap("security: {sources: [00:00:00:00:00:00]}"), port + "security.sources[0]: is the zero address: write another one"},
		{tap("security: {sources: [02:00:00:00:00:01, 'ff:ff:ff:ff:ff:ff']}"), port + "security.sources[1]: ff:ff:ff:ff:ff:ff is a group address: no frame comes from one, write a unicast address"},
		{tap("security: {sources: '02:00:00:00:00:01, 02-00-00-00-00-01'}"), port + "security.sources[1]: 02:00:00:00:00:01 is there already: write it once"},
		{tap("security: {max_macs: 1, sources: [02:00:00:00:00:01, 02:00:00:00:00:02]}"), port + "security.sources: has 2 addresses, and max_macs is 1: raise that, or remove some"},
		{tap("security: {sources: [" + manyMACs(65) + "]}"), port + "security.sources: has 65 addresses: at most 64 are possible"},

		{tap("storm: 100"), port + "storm: a single value, where keys with values belong: broadcast, multicast, unknown"},
		{tap("storm: {broadcast: -1}"), port + "storm.broadcast: -1 is out of range: give 0-100000000 frames per second (0 means no limit)"},
		{tap("storm: {multicast: 100000001}"), port + "storm.multicast: 100000001 is out of range: give 0-100000000 frames per second (0 means no limit)"},
		{tap("storm: {unknown: 1e3}"), port + `storm.unknown: "1e3" is not a whole number: write one in decimal digits`},

		{tap("rate: {average: 1Mbit}"), port + `rate: unknown key "average"; known here: ingress, egress`},
		{tap("rate: {ingress: 1Mbit}"), port + "rate.ingress: a single value, where keys with values belong: average, peak, burst"},
		{tap("rate: {ingress: {average: 1000000}}"), port + `rate.ingress.average: "1000000" is not a rate: write a number and bit, kbit, Mbit or Gbit, such as 100Mbit`},
		{tap("rate: {ingress: {average: 7999bit}}"), port + "rate.ingress.average: 7999bit is out of range: give 8kbit-1000Gbit, or 0 for no limit"},
		{tap("rate: {egress: {average: 1001Gbit}}"), port + "rate.egress.average: 1001Gbit is out of range: give 8kbit-1000Gbit, or 0 for no limit"},
		{tap("rate: {egress: {average: 1Gbit, peak: 1001Gbit}}"), port + "rate.egress.peak: 1001Gbit is out of range: give 8kbit-1000Gbit, or 0 for no limit"},
		{tap("rate: {ingress: {average: x, peak: 1Mbit, burst: 1}}"), port + `rate.ingress.average: "x" is not a rate: write a number and bit, kbit, Mbit or Gbit, such as 100Mbit`},
		{tap("rate: {ingress: {peak: 1Mbit}}"), port + "rate.ingress.peak: needs average: write it too, or only that"},
		{tap("rate: {ingress: {average: 2Mbit, peak: 1.5Mbit}}"), port + "rate.ingress.peak: 1500kbit is below the average of 2Mbit: raise it, or remove it"},
		{tap("rate: {ingress: {burst: 1MB}}"), port + "rate.ingress.burst: needs average: write it too, or remove this"},
		{tap("rate: {ingress: {average: 0, burst: 1MB}}"), port + "rate.ingress.burst: needs average: write it too, or remove this"},
		{tap("rate: {ingress: {average: 1Mbit, burst: 1025MiB}}"), port + "rate.ingress.burst: 1074790400 bytes is out of range: give up to 1024MiB, or 0 for the default"},
		{tap("rate: {ingress: {average: 1Mbit, burst: -1}}"), port + `rate.ingress.burst: "-1" is not a size: write a number and B, kB, KiB, MB or MiB, such as 256KiB`},
	})
}

func manyMACs(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("02:00:00:00:00:%02x", i)
	}
	return strings.Join(list, ", ")
}

// What a mode asks of the network and of the other ports.
func TestRefusedModes(t *testing.T) {
	const wire = ": a passthrough port is a plain wire to the uplink: remove it, or choose another mode"
	const at = `f:1: network "lan": port "a": `
	table := [][2]string{
		{bridged("", "a: {type: tap, mode: passthrough}, b: {type: tap}"), at + `mode: passthrough leaves room for the uplink alone, and port "b" is there: move one of the two to another network`},
		{bridged("", "a: {type: tap, mode: passthrough}, b: {type: tap, mode: vepa}, c: {type: tap}"), at + `mode: passthrough leaves room for the uplink alone, and port "b" is there: move one of the two to another network`},
		{bridged("", "b: {type: tap, mode: passthrough}, a: {type: tap, mode: passthrough}"), at + `mode: port "b" is passthrough already: a network can have one such port`},
		{bridged("", "a: {type: tap, mode: passthrough, isolated: true}"), at + "isolated" + wire},
		{bridged("", "a: {type: tap, mode: passthrough, vlan: {access: 1}}"), at + "vlan" + wire},
		{bridged("", "a: {type: tap, mode: passthrough, vlan: {trunk: 1}}"), at + "vlan" + wire},
		{bridged("", "a: {type: tap, mode: passthrough, storm: {broadcast: 1}}"), at + "storm" + wire},
		{bridged("", "a: {type: tap, mode: passthrough, storm: {multicast: 1}}"), at + "storm" + wire},
		{bridged("", "a: {type: tap, mode: passthrough, storm: {unknown: 1}}"), at + "storm" + wire},
		{bridged("", "a: {type: tap, mode: passthrough}, wan: {type: raw, interface: eth1, vlan: {access: 1}}"),
			`f:1: network "lan": port "wan": vlan: port "a" is passthrough, a plain wire to this uplink: remove it, or choose another mode there`},
		{bridged("", "wan: {type: raw, interface: eth1, vlan: {trunk: 1-9}}, a: {type: tap, mode: passthrough}"),
			`f:1: network "lan": port "wan": vlan: port "a" is passthrough, a plain wire to this uplink: remove it, or choose another mode there`},
		{bridged("stp: {enabled: true}", "a: {type: tap, mode: passthrough}"), `f:1: network "lan": stp.enabled: port "a" is passthrough, a plain wire to the uplink: disable it, or choose another mode`},
		{bridged("snooping: {enabled: true}", "a: {type: tap, mode: passthrough}"), `f:1: network "lan": snooping.enabled: port "a" is passthrough, a plain wire to the uplink: disable it, or choose another mode`},
	}
	for _, mode := range []string{ModeVEPA, ModePrivate, ModePassthrough} {
		table = append(table, [][2]string{
			{"networks: {lan: {ports: {a: {type: tap, mode: " + mode + "}}}}",
				at + "mode: " + mode + " needs an uplink: write forward: bridge and uplink for the network, or use mode: bridge"},
			{bridged("", "a: {type: raw, interface: eth1, mode: "+mode+"}"),
				at + "mode: this port is the uplink of the network, and " + mode + " is for those behind it: remove it"},
			{bridged("", "a: {type: tap, hairpin: true, mode: "+mode+"}"),
				at + "hairpin: is for mode: bridge only, this port is " + mode + ": remove it"},
		}...)
	}
	refusedAlone(t, table)
}

// Mistakes of all levels come at once, each with its line.
func TestRefusedPolicyAllAtOnce(t *testing.T) {
	got := strings.Join(refusal(t, `networks:
  lan:
    forward: bridge
    mac: 03:00:00:00:00:00
    stp:
      enabled: true
      priority: 1
    ports:
      vm1:
        type: tap
        vlan:
          trunk:
            - 10
            - 0
          native: x
        security:
          sources:
            - 02:00:00:00:00:01
            - 02:00:00:00:00:01
        rate:
          egress:
            average: 1Gbit
            peak: 1Mbit
`), "\n")
	want := `f:2: network "lan": uplink.interface: is missing: write the interface by which the network goes on, such as eth1, or forward: isolated
f:4: network "lan": mac: 03:00:00:00:00:00 is a group address: a network needs a unicast one, such as 02:00:00:00:00:01
f:7: network "lan": stp.priority: 1 is out of range: give 0-61440 in steps of 4096
f:14: network "lan": port "vm1": vlan.trunk[1]: 0 is out of range: give 1-4094
f:15: network "lan": port "vm1": vlan.native: "x" is not a whole number: write one in decimal digits
f:19: network "lan": port "vm1": security.sources[1]: 02:00:00:00:00:01 is there already: write it once
f:23: network "lan": port "vm1": rate.egress.peak: 1Mbit is below the average of 1Gbit: raise it, or remove it`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
