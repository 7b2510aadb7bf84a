package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// refusal returns the lines of the error that text is refused with.
func refusal(t testing.TB, text string) []string {
	t.Helper()
	c, err := Parse("f", []byte(text))
	if err == nil {
		t.Fatalf("accepted:\n%s", text)
	}
	if c != nil {
		t.Error("a Config beside an error")
	}
	errs, ok := errors.AsType[Errors](err)
	if !ok || len(errs) == 0 {
		t.Fatalf("%T, want Errors", err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(errs) {
		t.Errorf("%d lines for %d errors:\n%v", len(lines), len(errs), err)
	}
	return lines
}

// in wraps the body of a port, of an fdb or of a network.
func inPort(body string) string { return "networks: {lan: {ports: {vm9: {" + body + "}}}}" }
func inFDB(body string) string {
	return "networks: {lan: {fdb: {" + body + "}, ports: {vm1: {type: tap}}}}"
}

// bridged is a network with the uplink eth1, keys of its own, and ports.
func bridged(keys, ports string) string {
	if keys != "" {
		keys += ", "
	}
	return "networks: {lan: {forward: bridge, uplink: {interface: eth1}, " + keys + "ports: {" + ports + "}}}"
}

func inNetwork(body string) string { return "networks: {lan: {" + body + "}}" }

// Each of these is refused by exactly one line.
func TestRefused(t *testing.T) {
	const port = `f:1: network "lan": port "vm9": `
	const lan = `f:1: network "lan": `
	for _, tc := range []struct{ text, want string }{
		// The shape of the file.
		{"5", "f: a single value, where keys with values belong: metrics, lease_file, networks"},
		{"- a", "f: a list, where keys with values belong: metrics, lease_file, networks"},
		{"foo: 1", `f:1: unknown key "foo"; known here: metrics, lease_file, networks`},
		{"network: {}", `f:1: unknown key "network"; did you mean "networks"?`},
		{"networks: 5", "f:1: networks: a single value, where keys with values belong"},
		{"networks: [lan]", "f:1: networks: a list, where keys with values belong"},
		{"networks: {lan: isolated}", lan + "a single value, where keys with values belong: forward, mac, address, vlan, host_port, uplink, routes, reach, inbound, nat, mtu, reserved_groups, stp, snooping, fdb, ra, dhcp, dhcp6, dns, ports"},
		{"networks: {lan: {ports: 5}}", lan + "ports: a single value, where keys with values belong"},
		{"metrics: off", "f:1: metrics: a single value, where keys with values belong: listen"},
		{inNetwork("stp: &a {}"), lan + "stp: a YAML anchor (not supported: write the value out), where keys with values belong: enabled, priority, hello, max_age, forward_delay"},
		{"networks: {'': {}}", "f:1: networks: a network without a name: write one of 1-15 characters"},
		{"networks: {lan: {ports: {'': {type: tap}}}}", lan + "ports: a port without a name: write one of 1-15 characters"},
		{"networks:\n  a: {}\n  b: {}\n  a: {}", `f:4: networks: "a" is there already, on line 2: remove one of them`},
		{"networks: {}\nmetrics: {}\nnetworks: {}", `f:3: "networks" is there already, on line 1: remove one of them`},
		{inPort("type: tap, type: tap"), port + `"type" is there already, on line 1: remove one of them`},
		{"networks: {lan: {ports: {a: {type: tap},\n a: {type: raw}}}}", `f:2: network "lan": ports: "a" is there already, on line 1: remove one of them`},
		{"? a\n: b", `f:1: a "?" as a key: write a plain name`},
		{"networks: {&x lan: {}}", "f:1: networks: a YAML anchor (not supported: write the value out) as a key: write a plain name"},
		{"networks: &x {}", "f:1: networks: a YAML anchor (not supported: write the value out), where keys with values belong"},
		{"networks: !!map {}", "f:1: networks: a YAML tag (not supported: remove it), where keys with values belong"},
		{"<<: {networks: {}}", `f:1: unknown key "<<"; known here: metrics, lease_file, networks`},
		{"networks: {}\n---\nnetworks: {}", "f:3: a second YAML document begins here: keep one in a file"},
		{"%YAML 1.1\n---\nnetworks: {}", "f:1: YAML directives are not supported: remove the line"},
		{"networks:\n\tlan: {}", "f:2: is not valid YAML: found character '\t' that cannot start any token"},
		{"networks: {", "f:1: is not valid YAML: could not find flow mapping end token '}'"},
		{"networks: {}\n# \xff\n", "f:2: is not UTF-8 text: save the file as UTF-8"},

		// Single values.
		{inNetwork("mtu: "), lan + "mtu: has no value: write one or remove the key"},
		{inNetwork("mtu: ~"), lan + "mtu: has no value: write one or remove the key"},
		{inPort("type: tap, owner: ''"), port + "owner: has no value: write one or remove the key"},
		{inNetwork("mtu: [1500]"), lan + "mtu: a list, where a single value belongs"},
		{inNetwork("mtu: {a: b}"), lan + "mtu: a map, where a single value belongs: write the value alone, without braces"},
		{inNetwork("forward: {}"), lan + "forward: a map, where a single value belongs: write the value alone, without braces"},
		{inNetwork("forward: {mode: bridge}"), lan + "forward: a map, where a single value belongs: write the value alone, without braces"},
		{"networks:\n  lan:\n    forward: |\n      isolated\n", `f:3: network "lan": forward: a block of text, where a single value belongs`},
		{inNetwork("mtu: big"), lan + `mtu: "big" is not a whole number: write one in decimal digits`},
		{inNetwork("mtu: 0x600"), lan + `mtu: "0x600" is not a whole number: write one in decimal digits`},
		{inNetwork("mtu: 01500"), lan + `mtu: "01500" is not a whole number: write one in decimal digits`},
		{inNetwork("mtu: 1_500"), lan + `mtu: "1_500" is not a whole number: write one in decimal digits`},
		{inNetwork("mtu: 1500.0"), lan + `mtu: "1500.0" is not a whole number: write one in decimal digits`},
		{inNetwork("mtu: .inf"), lan + `mtu: ".inf" is not a whole number: write one in decimal digits`},
		{inNetwork("mtu: 99999999999999999999"), lan + `mtu: "99999999999999999999" is not a whole number: write one in decimal digits`},

		// Metrics.
		{"metrics: {listen: 9820}", `f:1: metrics.listen: "9820" is not host:port: write it such as 127.0.0.1:9820, or off`},
		{"metrics: {listen: '::1:9820'}", `f:1: metrics.listen: "::1:9820" is not host:port: write it such as 127.0.0.1:9820, or off`},
		{"metrics: {listen: 'a b:9820'}", `f:1: metrics.listen: "a b" is neither an address nor a host name: write it such as 127.0.0.1:9820`},
		{"metrics: {listen: '127.0.0.1:65536'}", `f:1: metrics.listen: port "65536" is not a number of 0-65535`},
		{"metrics: {listen: '127.0.0.1:http'}", `f:1: metrics.listen: port "http" is not a number of 0-65535`},
		{"metrics: {lisen: off}", `f:1: metrics: unknown key "lisen"; did you mean "listen"?`},

		// Networks.
		{"networks: {1234567890123456: {}}", `f:1: network "1234567890123456": the name has 16 characters: at most 15 are possible`},
		{"networks: {a/b: {}}", `f:1: network "a/b": the name may hold A-Z a-z 0-9 . _ - only`},
		{"networks: {län: {}}", `f:1: network "län": the name may hold A-Z a-z 0-9 . _ - only`},
		{"networks: {.a: {}}", `f:1: network ".a": the name must not start with '.'`},
		{"networks: {'-a': {}}", `f:1: network "-a": the name must not start with '-'`},
		{inNetwork("forward: nat"), lan + "forward: nat needs an address of the network: write one for it, such as address: 192.168.122.1/24, or forward: isolated"},
		{inNetwork("forward: route"), lan + "forward: route needs an address of the network: write one for it, such as address: 192.168.122.1/24, or forward: isolated"},
		{inNetwork("forward: brigde"), lan + `forward: "brigde" is unknown; did you mean "bridge"?`},
		{inNetwork("forward: isolate"), lan + `forward: "isolate" is unknown; did you mean "isolated"?`},
		{inNetwork("forward: vepa"), lan + `forward: "vepa" belongs to a port: write forward: bridge here, and mode: vepa for the port`},
		{inNetwork("forward: private"), lan + `forward: "private" belongs to a port: write forward: bridge here, and mode: private for the port`},
		{inNetwork("forward: passthrough"), lan + `forward: "passthrough" belongs to a port: write forward: bridge here, and mode: passthrough for the port`},
		{inNetwork("forward: passthru"), lan + `forward: "passthru" belongs to a port: write forward: bridge here, and mode: passthrough for the port`},
		{inNetwork("forward: natt"), lan + `forward: "natt" is unknown; did you mean "nat"?`},
		{inNetwork("mac: 00:00:00:00:00:00"), lan + "mac: is the zero address: write another one"},
		{inNetwork("mac: 01:00:00:00:00:01"), lan + "mac: 01:00:00:00:00:01 is a group address: a network needs a unicast one, such as 02:00:00:00:00:01"},
		{inNetwork("reserved_groups: wires"), lan + `reserved_groups: "wires" is unknown; did you mean "wire"?`},
		{inNetwork("mtu: 67"), lan + "mtu: 67 is out of range: give 68-65517 bytes"},
		{inNetwork("mtu: 65518"), lan + "mtu: 65518 is out of range: give 68-65517 bytes"},
		{inNetwork("mtu: 0"), lan + "mtu: 0 is out of range: give 68-65517 bytes"},
		{inNetwork("mtu: -5"), lan + "mtu: -5 is out of range: give 68-65517 bytes"},
		{inNetwork("nftables: {}"), lan + `unknown key "nftables"; known here: forward, mac, address, vlan, host_port, uplink, routes, reach, inbound, nat, mtu, reserved_groups, stp, snooping, fdb, ra, dhcp, dhcp6, dns, ports`},

		// The MAC table.
		{inFDB("ageing: 300"), lan + `fdb.ageing: "300" is not a duration: write a number and its unit, such as 300s, 5m or 1h`},
		{inFDB("ageing: 999ms"), lan + "fdb.ageing: 999ms is out of range: give 1s-12h, or 0s for never"},
		{inFDB("ageing: 12h1ns"), lan + "fdb.ageing: 12h0m0.000000001s is out of range: give 1s-12h, or 0s for never"},
		{inFDB("ageing: -1s"), lan + "fdb.ageing: -1s is out of range: give 1s-12h, or 0s for never"},
		{inFDB("limit: 0"), lan + "fdb.limit: 0 is out of range: give 1-1048576 entries"},
		{inFDB("limit: 1048577"), lan + "fdb.limit: 1048577 is out of range: give 1-1048576 entries"},
		{inFDB("limit: x, port_limit: 9000"), lan + `fdb.limit: "x" is not a whole number: write one in decimal digits`},
		{inFDB("limit: 5, port_limit: 6"), lan + "fdb.port_limit: 6 is out of range: give 0-5 entries (0 means the limit of the network)"},
		{inFDB("port_limit: -1"), lan + "fdb.port_limit: -1 is out of range: give 0-8192 entries (0 means the limit of the network)"},
		{inFDB("agening: 5s"), lan + `fdb: unknown key "agening"; did you mean "ageing"?`},
		{inFDB("static: {}"), lan + "fdb.static: a map, where a list belongs"},
		{inFDB("static: [5]"), lan + "fdb.static[0]: a single value, where keys with values belong: mac, vlan, port"},
		{inFDB("static: [{port: vm1}]"), lan + "fdb.static[0].mac: is missing or zero: write the address to pin, such as 02:00:00:00:00:01"},
		{inFDB("static: [{mac: 02:00:00:00:00:01}]"), lan + "fdb.static[0].port: is missing: write the name of a port of this network"},
		{inFDB("static: [{mac: 00:00:00:00:00:00, port: vm1}]"), lan + "fdb.static[0].mac: is the zero address: write another one"},
		{inFDB("static: [{mac: 03:00:00:00:00:01, port: vm1}]"), lan + "fdb.static[0].mac: 03:00:00:00:00:01 is a group address: only a unicast address can be pinned"},
		{inFDB("static: [{mac: 02:00:00:00:00, port: vm1}]"), lan + `fdb.static[0].mac: "02:00:00:00:00" is not a MAC address: write six bytes, such as 02:00:00:00:00:01`},
		{inFDB("static: [{mac: 02:00:00:00:00:01:02:03, port: vm1}]"), lan + `fdb.static[0].mac: "02:00:00:00:00:01:02:03" is not a MAC address: write six bytes, such as 02:00:00:00:00:01`},
		{inFDB("static: [{mac: 02:00:00:00:00:01, port: vm2}]"), lan + `fdb.static[0].port: there is no port "vm2" in this network; did you mean "vm1"?`},
		{inFDB("static: [{mac: 02:00:00:00:00:01, port: other}]"), lan + `fdb.static[0].port: there is no port "other" in this network: add it, or name another one`},
		{inFDB("static: [{mac: 02:00:00:00:00:01, port: vm1, vlan: 4095}]"), lan + "fdb.static[0].vlan: 4095 is out of range: give 1-4094, or 0 for untagged"},
		{inFDB("static: [{mac: 02:00:00:00:00:01, port: vm1, vlan: -1}]"), lan + "fdb.static[0].vlan: -1 is out of range: give 1-4094, or 0 for untagged"},
		{inFDB("static: [{mac: 02:00:00:00:00:01, port: vm1, vlan: 65546}]"), lan + "fdb.static[0].vlan: 65546 is out of range: give 1-4094, or 0 for untagged"},
		{inFDB("static: [{mac: 02:00:00:00:00:01, port: vm1, vlan: ten}]"), lan + `fdb.static[0].vlan: "ten" is not a whole number: write one in decimal digits`},
		{inFDB("static: [{mac: 02:00:00:00:00:01, port: vm1, vid: 1}]"), lan + `fdb.static[0]: unknown key "vid"; known here: mac, vlan, port`},
		{inFDB("static: [{mac: 02:00:00:00:00:01, port: vm1},\n {mac: 02-00-00-00-00-01, vlan: 0, port: vm1}]"), `f:2: network "lan": fdb.static[1].mac: 02:00:00:00:00:01 with VLAN 0 is there already: remove one of the two`},

		// Ports of every type.
		{inPort(""), port + "type: is missing: write one of tap, raw, internal"},
		{inPort("type: tpa"), port + `type: "tpa" is unknown; did you mean "tap"?`},
		{inPort("type: veth"), port + `type: "veth" is unknown; known here: tap, raw, internal`},
		{inPort("type: tap, adress: x"), port + `unknown key "adress"; did you mean "address"?`},
		{inPort("type: tap, interface: 1234567890123456"), port + `interface: "1234567890123456" has 16 bytes, the kernel takes at most 15: choose another name`},
		{inPort("type: tap, interface: ''"), port + "interface: has no value: write one or remove the key"},
		{inPort("type: tap, interface: '..'"), port + `interface: ".." is not a name: choose another name`},
		{inPort("type: tap, interface: a/b"), port + `interface: "a/b" must not hold "/", ":", "%", a blank or what does not print: choose another name`},
		{inPort("type: tap, interface: a b"), port + `interface: "a b" must not hold "/", ":", "%", a blank or what does not print: choose another name`},
		{inPort("type: tap, interface: 'tap%d'"), port + `interface: "tap%d" must not hold "/", ":", "%", a blank or what does not print: choose another name`},
		{inPort(`type: tap, interface: "a\tb"`), port + `interface: "a\tb" must not hold "/", ":", "%", a blank or what does not print: choose another name`},
		{"networks: {lan: {ports: {1234567890123456: {type: tap}}}}", `f:1: network "lan": port "1234567890123456": the name has 16 characters: at most 15 are possible`},
		{"networks: {lan: {ports: {..: {type: tap}}}}", `f:1: network "lan": port "..": the name must not start with '.'`},

		// Keys of one type only.
		{inPort("type: raw, owner: joe"), port + "owner: is for ports of type tap only, this one is raw: remove it"},
		{inPort("type: internal, group: kvm"), port + "group: is for ports of type tap only, this one is internal: remove it"},
		{inPort("type: tap, netns: lab"), port + "netns: is for ports of type internal only, this one is tap: remove it"},
		{inPort("type: raw, mac: 02:00:00:00:00:01"), port + "mac: is for ports of type internal only, this one is raw: remove it"},
		{inPort("type: raw, address: 10.0.0.1/8"), port + "address: is for ports of type internal only, this one is raw: remove it"},
		{inPort("type: tap, owner: joe doe"), port + `owner: "joe doe" is not a name of a user`},
		{inPort("type: tap, group: 'a:b'"), port + `group: "a:b" is not a name of a group`},
		{inPort("type: tap, owner: 4294967295"), port + `owner: "4294967295" is not a number of a user: give 0-4294967294, or a name`},
		{inPort("type: internal, netns: /run/netns/lab"), port + `netns: "/run/netns/lab" is not a name of a network namespace: give one that "ip netns list" prints`},
		{inPort("type: internal, netns: '..'"), port + `netns: ".." is not a name of a network namespace: give one that "ip netns list" prints`},
		{inPort("type: internal, mac: 00:00:00:00:00:00"), port + "mac: is the zero address: write another one"},
		{inPort("type: internal, mac: 01:00:00:00:00:00"), port + "mac: 01:00:00:00:00:00 is a group address: an interface needs a unicast one, such as 02:00:00:00:00:01"},
		{inPort("type: internal, address: 10.0.0.1"), port + `address: "10.0.0.1" has no prefix length: write it too, such as 192.0.2.1/24`},
		{inPort("type: internal, address: 10.0.0.1/33"), port + `address: "10.0.0.1/33" is not an address with a prefix length: write it such as 192.0.2.1/24 or 2001:db8::1/64`},
		{inPort("type: internal, address: [10.0.0.1/8, x]"), port + `address[1]: "x" is not an address with a prefix length: write it such as 192.0.2.1/24 or 2001:db8::1/64`},
		{inPort("type: internal, address: [10.0.0.1/8, ]]"), `f:1: is not valid YAML: ',' or '}' must be specified`},
		{inPort("type: internal, address: [fd00: 1/64]"), port + `address[0]: a map, where a single value belongs: quote a value that holds ":"`},
		{inPort("type: internal, address: ['fd00':':1/64']"), port + `address[0]: a map, where a single value belongs: quote a value that holds ":"`},
		{inPort("type: internal, address: [{fd00:1/64}]"), port + "address[0]: a map, where a single value belongs: write the value alone, without braces"},
		{inPort("type: internal, address: [{fd00: 1/64}]"), port + "address[0]: a map, where a single value belongs: write the value alone, without braces"},
		{inPort("type: internal, address: 10.0.0.0/8"), port + "address: 10.0.0.0/8 is the address of the whole subnet: write that of the host"},
		{inPort("type: internal, address: 224.0.0.1/8"), port + "address: 224.0.0.1/8 is not an address of one host: write one"},
		{inPort("type: internal, address: '::/64'"), port + "address: ::/64 is not an address of one host: write one"},
		{inPort("type: internal, address: '::ffff:10.0.0.1/120'"), port + "address: ::ffff:10.0.0.1/120 is an IPv4 address in IPv6 form: write it in IPv4 form"},
		{inPort("type: internal, address: [10.0.0.1/8, 10.0.0.1/16]"), port + `address[1]: 10.0.0.1 is an address of port "vm9" already: use each one once`},

		// What two ports cannot share; the later one is blamed, in whatever order they sort.
		{"networks:\n  b:\n    ports: {p: {type: tap, interface: x}}\n  a:\n    ports: {q: {type: raw, interface: x}}",
			`f:5: network "a": port "q": interface: "x" is the interface of port b/p already: give each port its own`},
		{"networks:\n  a:\n    ports:\n      q: {type: internal, netns: n, interface: p}\n      p: {type: internal, netns: n}",
			`f:5: network "a": port "p": interface: "p" is the interface of port a/q already: give each port its own`},
		{"networks:\n  a:\n    ports:\n      q: {type: internal, mac: 02:00:00:00:00:01}\n      p:\n        type: internal\n        mac: 02:00:00:00:00:01",
			`f:7: network "a": port "p": mac: 02:00:00:00:00:01 is the address of port "q" already: give each port its own`},
		{"networks:\n  a:\n    ports:\n      q: {type: internal, address: 10.0.0.1/8}\n      p:\n        type: internal\n        address:\n        - 10.0.0.2/8\n        - 10.0.0.1/8",
			`f:9: network "a": port "p": address[1]: 10.0.0.1 is an address of port "q" already: use each one once`},
	} {
		if got := refusal(t, tc.text); len(got) != 1 || got[0] != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.text, strings.Join(got, "\n     "), tc.want)
		}
	}
}

// Everything that is wrong comes at once, in the order of the lines.
func TestRefusedAllAtOnce(t *testing.T) {
	got := refusal(t, `metrcs: {}
networks:
  lan:
    forward: nat
    mtu: [1]
    fdb:
      static:
        - {mac: zz, port: vm1}
        - mac: 02:00:00:00:00:01
          port: vm7
    ports:
      a-name-much-too-long:
        type: tap
        netns: x
      vm1:
        typ: tap
      h1: {type: internal, address: [bad, 10.0.0.0/8, worse]}
  dmz:
    ports:
      h1: {type: raw}
`)
	want := []string{
		`f:1: unknown key "metrcs"; did you mean "metrics"?`,
		`f:4: network "lan": forward: nat needs an address of the network: write one for it, such as address: 192.168.122.1/24, or forward: isolated`,
		`f:5: network "lan": mtu: a list, where a single value belongs`,
		`f:8: network "lan": fdb.static[0].mac: "zz" is not a MAC address: write six bytes, such as 02:00:00:00:00:01`,
		`f:10: network "lan": fdb.static[1].port: there is no port "vm7" in this network; did you mean "vm1"?`,
		`f:12: network "lan": port "a-name-much-too-long": the name has 20 characters: at most 15 are possible`,
		`f:14: network "lan": port "a-name-much-too-long": netns: is for ports of type internal only, this one is tap: remove it`,
		`f:15: network "lan": port "vm1": type: is missing: write one of tap, raw, internal`,
		`f:16: network "lan": port "vm1": unknown key "typ"; did you mean "type"?`,
		`f:17: network "lan": port "h1": address[0]: "bad" is not an address with a prefix length: write it such as 192.0.2.1/24 or 2001:db8::1/64`,
		`f:17: network "lan": port "h1": address[2]: "worse" is not an address with a prefix length: write it such as 192.0.2.1/24 or 2001:db8::1/64`,
		`f:17: network "lan": port "h1": address[1]: 10.0.0.0/8 is the address of the whole subnet: write that of the host`,
		`f:20: network "dmz": port "h1": interface: "h1" is the interface of port lan/h1 already: give each port its own`,
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

// A port without keys lacks its type too.
func TestRefusedBarePort(t *testing.T) {
	got := strings.Join(refusal(t, "networks: {lan: {ports: {vm9: tap}}}"), "\n")
	want := `f:1: network "lan": port "vm9": a single value, where keys with values belong: type, interface, netns, owner, group, mac, address, mode, hairpin, isolated, vlan, stp, security, guard, storm, rate
f:1: network "lan": port "vm9": type: is missing: write one of tap, raw, internal`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A namespace that a tap may not have does not make its interface another one.
func TestRefusedTwice(t *testing.T) {
	got := refusal(t, "networks:\n  a:\n    ports:\n      p: {type: tap, netns: n}\n      q: {type: raw, interface: p}")
	if len(got) != 2 || !strings.Contains(got[0], "f:4: ") || !strings.Contains(got[1], "f:5: ") {
		t.Error(strings.Join(got, "\n"))
	}
}

// However long a mistake is, and whatever it holds, it takes one short line.
func TestRefusedInOneLine(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("x", 5000) + ": 1",
		`"a\nb": 1`,
		inNetwork(`"forward": "a\nb"`),
		inPort("type: tap, owner: '" + strings.Repeat("x y", 1000) + "'"),
		inPort(`type: "` + strings.Repeat("é", 100) + `"`),
		`networks: {"a\nb": {ports: {"c\rd": {}}}}`,
	} {
		for _, line := range refusal(t, text) {
			if len(line) > 500 || strings.ContainsAny(line, "\r\x00") {
				t.Errorf("%q", line)
			}
		}
	}
}

func TestTooManyErrors(t *testing.T) {
	var b strings.Builder
	for i := range maxErrors + 7 {
		fmt.Fprintf(&b, "k%d: x\n", i)
	}
	got := refusal(t, b.String())
	if len(got) != maxErrors+1 || got[maxErrors] != "f: and 7 more errors" {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
}
