package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/token"
)

// Files of this kind, of MaxSize, take the bare library minutes or gigabytes of
// stack. They are refused before it sees them, or at their first error; what is
// asserted is the message, and that the test ends.
func TestHostileFiles(t *testing.T) {
	const deep = "more than 32 nested levels"
	for name, tc := range map[string]struct{ text, want string }{
		"alias bomb":          {bomb(), "nested levels, or YAML documents, anchors, aliases and tags"},
		"small bomb":          {"a: &a [x, x]\nb: &b [*a, *a]\nnetworks: *b\n", "f:3: networks: a YAML alias"},
		"self reference":      {"networks: &a {lan: *a}\n", "f:1: networks: a YAML anchor"},
		"flow lists":          {strings.Repeat("[", 100_000), deep},
		"flow maps":           {strings.Repeat("{a: ", 50_000), deep},
		"mixed flow":          {strings.Repeat("[{a: ", 50_000), deep},
		"lists in a row":      {strings.Repeat("- ", 100_000), deep},
		"lists in lists":      {staircase("-", 1000), deep},
		"maps in maps":        {staircase("a:", 1000), deep},
		"anchors":             {strings.Repeat("&a\n", 60_000), deep},
		"tags":                {strings.Repeat("!!a\n", 60_000), deep},
		"keys without colons": {"x: {" + strings.Repeat("a,", 60_000) + "}", "more than 8192 keys"},
		"many keys":           {strings.Repeat("a:\n", 60_000), "f:8193: more than 8192 keys"},
		"keys in a list":      {"x: [\n" + strings.Repeat("a: b\n", 50_000) + "]", "more than 8192 keys"},
		"many documents":      {strings.Repeat("---\n", 60_000), deep},
		"error in a line":     {strings.Repeat("%", 100_000), "f:1: is not valid YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %.300v\nwant …%s…", err, tc.want)
			}
		})
	}
}

// So do these, where each is held against all others.
func TestHostileSubnets(t *testing.T) {
	fill := func(first, last string, one func(i int) string) string {
		var b strings.Builder
		b.WriteString(first)
		for i := 0; b.Len() < MaxSize-200; i++ {
			b.WriteString(one(i))
		}
		return b.String() + last
	}
	for name, tc := range map[string]struct{ text, want string }{
		"networks": {fill("networks: {", "z: {forward: route, address: 'fd00:0:0::2/64'}}", func(i int) string {
			return fmt.Sprintf("n%d: {forward: route, address: ['fd00:%x:%x::1/64', 'fd01:%x:%x::1/64']},", i, i>>16, i&0xffff, i>>16, i&0xffff)
		}), `network "z": address: fd00::2/64 overlaps fd00::1/64 of network "n0", and one uplink routes to both`},
		"addresses": {"networks: {lan: {address: [" + strings.Repeat("'fd00::1/64', ", 8000) + "'fd00::1/64'], dhcp6: {hosts: [" + strings.Repeat("{address: 'fd00::1'}, ", 40000) + "]}}}",
			"IPv6 addresses: at most 8 are possible"},
		"pools": {fill("networks: {lan: {address: ula, dhcp6: {delegate: [", "]}}}", func(i int) string { return "{prefix: 'fd00::/48', length: 64}," }),
			"pools: at most 64 are possible"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %.300v\nwant …%s…", err, tc.want)
			}
		})
	}
}

// bomb is the file of nine levels that stands for ten to the ninth strings.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10))
	}
	return b.String() + "networks: *a8\n"
}

func staircase(step string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + step + "\n")
	}
	return b.String()
}

// The bounds leave room for a network that is larger than any machine's.
func TestManyPorts(t *testing.T) {
	const ports = 2000
	var b strings.Builder
	b.WriteString("networks:\n  lan:\n    ports:\n")
	for i := range ports {
		fmt.Fprintf(&b, "      vm%d: {type: tap, interface: tap%d, owner: joe, group: kvm, mode: bridge}\n", i, i)
	}
	c := mustParse(t, b.String())
	if n := len(c.Networks[0].Ports); n != ports {
		t.Fatalf("%d ports", n)
	}
	if d := sameConfig(c, mustParse(t, string(c.YAML()))); d != "" {
		t.Error(d)
	}
}

// So they do for one with more clients than most subnets have addresses.
func TestManyNames(t *testing.T) {
	var b strings.Builder
	b.WriteString("networks:\n  lan:\n    address: 10.0.0.1/8\n    dhcp:\n      hosts:\n")
	for i := range 8000 {
		fmt.Fprintf(&b, "        - {mac: \"02:00:00:00:%02x:%02x\", address: 10.1.%d.%d, name: h%d}\n", i>>8, i&255, i>>8, i&255, i)
	}
	b.WriteString("    dns:\n      hosts:\n")
	for i := range 8000 {
		fmt.Fprintf(&b, "        n%d.lab: 10.2.0.1\n", i)
	}
	c := mustParse(t, b.String())
	if n := &c.Networks[0]; len(n.DHCP.Hosts) != 8000 || len(n.DNS.Hosts) != 8000 {
		t.Fatalf("%d reservations, %d names", len(n.DHCP.Hosts), len(n.DNS.Hosts))
	}
	if d := sameConfig(c, mustParse(t, string(c.YAML()))); d != "" {
		t.Error(d)
	}
}

// Comments are no levels, however many there are.
func TestManyComments(t *testing.T) {
	var b strings.Builder
	b.WriteString("networks:\n  # prose\n  lan:\n    # prose\n    ports:\n")
	for i := range 200 {
		fmt.Fprintf(&b, "      # prose\n      vm%d:\n        # prose\n        type: tap # prose\n", i)
	}
	if n := len(mustParse(t, b.String()).Networks[0].Ports); n != 200 {
		t.Errorf("%d ports", n)
	}
}

// As many published ports, and names of networks to reach, as a file holds are
// checked against each other; what is asserted is that the test ends.
func TestManyOfNAT(t *testing.T) {
	var publish, reach strings.Builder
	publish.WriteString("networks:\n")
	for i := range 6 {
		fmt.Fprintf(&publish, "  n%d: {forward: nat, address: 10.0.0.1/24, nat: {publish: [", i)
		for j := range 1024 {
			// Half of them on an address of their own, half on all at a port of their own.
			listen := fmt.Sprintf("127.%d.%d.%d:1", i, j/256, j%256)
			if j%2 == 0 {
				listen = fmt.Sprintf("0.0.0.0:%d", 2+i*1024+j)
			}
			fmt.Fprintf(&publish, "{protocol: tcp, listen: '%s', to: '10.0.0.9:1'},", listen)
		}
		publish.WriteString("]}}\n")
	}
	if publish.Len() > MaxSize {
		t.Fatal("the file is too large to be read")
	}
	mustParse(t, publish.String())

	reach.WriteString("networks:\n")
	for i := range 2500 {
		fmt.Fprintf(&reach, "  %d: {forward: nat, address: 10.0.0.1/24, reach: [", i)
		for j := range 64 {
			fmt.Fprintf(&reach, "x%d,", j)
		}
		reach.WriteString("]}\n")
	}
	if got := refusal(t, reach.String()); len(got) != maxErrors+1 || !strings.Contains(got[0], "there is no network") {
		t.Errorf("%d lines, the first %s", len(got), got[0])
	}
}

func TestPanicOfTheLibrary(t *testing.T) {
	if _, err := parseTokens(token.Tokens{nil}); err == nil || !strings.Contains(err.Error(), "the parser gave up") {
		t.Errorf("a nil token: %v", err)
	}
}

// FuzzParse: no text panics, every error says something in one line each, and
// what is accepted survives being written out.
func FuzzParse(f *testing.F) {
	f.Add([]byte(Reference()))
	f.Add([]byte(activated(Reference())))
	f.Add([]byte(bomb()))
	for _, s := range []string{
		"", "a: b", "networks: {lan: {ports: {vm1: {type: tap}}}}", "? a\n: b", "<<: *a", "- - a", "a: |\n  b\n", "%YAML 1.2\n---\n",
		"networks: {lan: {fdb: {ageing: 0.1h, static: [{mac: 02:00:00:00:00:01, vlan: 7, port: p}]}, ports: {p: {type: internal, address: [1.2.3.4/5]}}}}",
		bridged("stp: {enabled: true}", "a: {type: tap, mode: vepa, vlan: {trunk: [1, 2-3], native: 1}, rate: {ingress: {average: 1.5Mbit}}}"),
		inPort("type: tap, security: {max_macs: 2, sources: [02:00:00:00:00:01, a:b]}, vlan: {access: 5}, storm: {unknown: 7}"),
		"networks: {lan: {" + everyService + "}}", everyNAT,
		inNAT("publish: [{protocol: tcp, listen: 0.0.0.0:80-90, to: 10.0.0.9:80}]"), inUplink(own + ", gateway: 192.0.2.1, proxy_arp: true"),
		"networks: {lan: {address: 10.0.0.1/24, dns: {hosts: {'a[b].c': 1.2.3.4, \"x\\n\": 1.2.3.4}, txt: {_a: 'b, c'}}}}",
		"networks:\n  lan:\n    ports:\n      h1: {type: internal, netns: 'ä b', interface: \"x\\u2028\"}\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err != nil {
			errs, ok := err.(Errors)
			if !ok || len(errs) == 0 || c != nil {
				t.Fatalf("%T with %d errors and %v", err, len(errs), c)
			}
			for _, e := range errs {
				if e.Text == "" || strings.Contains(e.Text, "\n") {
					t.Fatalf("a text of %q", e.Text)
				}
				if lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1; e.Line < 0 || e.Line > lines {
					t.Fatalf("line %d of %d: %v", e.Line, lines, e)
				}
			}
			return
		}
		if err := Validate(c); err != nil {
			t.Fatalf("Validate refuses what Parse took: %v", err)
		}
		if d := sameConfig(c, mustParse(t, string(c.YAML()))); d != "" {
			t.Fatalf("written out it is another one:\n%s", d)
		}
	})
}

// FuzzPatch: no body panics, and what is accepted, or else refused by Validate,
// leaves a configuration.
func FuzzPatch(f *testing.F) {
	for _, s := range []string{
		"", "null", "[]", `{"vlan":{"access":10,"trunk":null,"native":""}}`, `{"vlan":null,"stp":{"edge":"true","cost":"5"}}`, `{"mtu":"9000"}`,
		`{"fdb":null,"stp":{"enabled":"true"},"mac":""}`, `{"security":{"sources":"02:00:00:00:00:01,02:00:00:00:00:02"}}`,
		`{"rate":{"ingress":{"average":"1Mbit"},"egress":""}}`, `{"type":"raw"}`,
		`{"address":"10.0.0.1/24","host_port":"w","dhcp":{"range":"10.0.0.2-10.0.0.9","hosts":[{"mac":"02:00:00:00:00:01","name":"a"}]}}`,
		`{"address":"10.0.0.1/24","uplink":"","nat":{"publish":[{"protocol":"tcp","listen":80,"to":"10.0.0.9:80"}],"ports":null},"reach":"host"}`,
		`{"address":"10.0.0.1/24","dhcp":{"options":{"42":"10.0.0.1","43":null}},"dns":{"hosts":{"web":"10.0.0.2"},"txt":{"a":["b, c"]}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, patch := range []func(*Config) error{
			func(c *Config) error { return c.PatchPort("lan", "vm1", data) },
			func(c *Config) error { return c.PatchNetwork("lan", data) },
		} {
			c := mustParse(t, patched)
			if err := patch(c); err != nil {
				if d := sameConfig(mustParse(t, patched), c); d != "" {
					t.Fatalf("%v, but changed:\n%s", err, d)
				}
				continue
			}
			c.Normalize()
			if Validate(c) != nil {
				continue
			}
			if d := sameConfig(c, mustParse(t, string(c.YAML()))); d != "" {
				t.Fatalf("written out it is another one:\n%s", d)
			}
		}
	})
}
