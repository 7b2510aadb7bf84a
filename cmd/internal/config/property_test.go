package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft/weft/dataplane/frame"
)

// anyConfig draws a configuration, valid and normalized.
func anyConfig(t *rapid.T) *Config {
	c := &Config{
		Metrics:   Metrics{Listen: rapid.SampledFrom([]string{"off", DefaultListen, ":0", "[::1]:99", "localhost:1"}).Draw(t, "listen")},
		LeaseFile: rapid.SampledFrom(files[1:]).Draw(t, "lease_file"),
	}
	// Few names, so that two draws share some.
	words := []string{"a", "b", "lan", "true", "null", "0", "010", "1e3", "off", "x-", "A.b_c", "0x1", "y", "inf", "2001-01-01"}
	networks := rapid.SliceOfNDistinct(rapid.SampledFrom(words), 0, 3, rapid.ID[string]).Draw(t, "networks")
	for i, name := range networks {
		n := anyNetwork(t, name, i)
		ports := rapid.SliceOfNDistinct(rapid.SampledFrom(words), 0, 4, rapid.ID[string]).Draw(t, "ports")
		for j, port := range ports {
			p := anyPort(t, port, i*100+j)
			p.Policy = anyPolicy(t, n.Forward == ForwardBridge)
			if n.FDB.PortLimit > 0 {
				n.FDB.PortLimit = max(n.FDB.PortLimit, p.Security.MaxMACs)
				n.FDB.Limit = max(n.FDB.Limit, n.FDB.PortLimit)
			}
			n.Ports = append(n.Ports, p)
		}
		if len(ports) == 1 && n.Forward == ForwardBridge && rapid.Bool().Draw(t, "wire") {
			n.STP.Enabled, n.Snooping.Enabled = false, false
			n.Ports[0].Policy = Policy{Mode: ModePassthrough, Rate: n.Ports[0].Rate}
		}
		if n.HostPort != "" && rapid.Bool().Draw(t, "host") {
			n.Ports = append(n.Ports, Port{Name: "host", Policy: anyPolicy(t, false)})
			n.Ports[len(n.Ports)-1].Security.MaxMACs = 0
			n.Ports[len(n.Ports)-1].Security.Sticky = false
		}
		if len(n.Ports) > 0 {
			n.FDB.Static = anyStatic(t, n.Ports)
		}
		c.Networks = append(c.Networks, n)
	}
	anyReach(t, c)
	c.Normalize()
	if err := Validate(c); err != nil {
		t.Fatalf("the generator is wrong: %v", err)
	}
	return c
}

func anyNetwork(t *rapid.T, name string, number int) Network {
	n := NewNetwork(name)
	if rapid.Bool().Draw(t, "bridged") {
		n.Forward = ForwardBridge
		n.Uplink.Reflective = rapid.Bool().Draw(t, "reflective")
		n.Uplink.Interface = fmt.Sprintf("up%d", number)
	}
	if rapid.Bool().Draw(t, "own mac") {
		n.MAC = anyMAC(t)
		n.MAC[5] = 0xff // of no port
	}
	n.MTU = rapid.IntRange(minMTU, maxMTU).Draw(t, "mtu")
	n.ReservedGroups = rapid.SampledFrom([]string{ReservedSwitch, ReservedWire}).Draw(t, "reserved")
	seconds := func(least, most int, label string) time.Duration {
		return time.Duration(rapid.IntRange(least, most).Draw(t, label)) * time.Second
	}
	n.STP = STP{
		Enabled: rapid.Bool().Draw(t, "stp"), Priority: 4096 * rapid.IntRange(0, 15).Draw(t, "priority"),
		Hello: seconds(1, 10, "hello"),
	}
	n.STP.MaxAge = seconds(max(6, 2*(int(n.STP.Hello/time.Second)+1)), 40, "max_age")
	if rapid.Bool().Draw(t, "delay") {
		n.STP.ForwardDelay = seconds(2, 30, "forward_delay")
	}
	n.Snooping = Snooping{rapid.Bool().Draw(t, "snooping"), rapid.Bool().Draw(t, "querier"), seconds(10, 3600, "interval")}
	n.FDB = anyFDB(t)
	if n.Forward == ForwardIsolated && rapid.Bool().Draw(t, "gateway") {
		anyServices(t, &n, number)
		if rapid.Bool().Draw(t, "six") {
			anySix(t, &n, number)
		}
		anyForward(t, &n, number)
	}
	return n
}

func anyPolicy(t *rapid.T, bridged bool) Policy {
	p := Policy{Mode: ModeBridge, Isolated: rapid.Bool().Draw(t, "isolated"), VLAN: anyVLAN(t)}
	if bridged {
		p.Mode = rapid.SampledFrom([]string{ModeBridge, ModeVEPA, ModePrivate}).Draw(t, "mode")
	}
	p.Hairpin = p.Mode == ModeBridge && rapid.Bool().Draw(t, "hairpin")
	p.STP = PortSTP{
		Edge:      rapid.SampledFrom([]string{EdgeAuto, EdgeTrue, EdgeFalse}).Draw(t, "edge"),
		Priority:  16 * rapid.IntRange(0, 15).Draw(t, "priority"),
		Cost:      rapid.IntRange(1, maxCost).Draw(t, "cost"),
		RootGuard: rapid.Bool().Draw(t, "root guard"), BPDUGuard: rapid.Bool().Draw(t, "bpdu guard"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "sources") {
		m := anyMAC(t)
		m[5] = byte(len(p.Security.Sources))
		p.Security.Sources = append(p.Security.Sources, m)
	}
	if rapid.Bool().Draw(t, "max") {
		p.Security.MaxMACs = rapid.IntRange(max(1, len(p.Security.Sources)), maxMACs).Draw(t, "max_macs")
		p.Security.Sticky = rapid.Bool().Draw(t, "sticky")
	}
	p.Guard = Guard{rapid.Bool().Draw(t, "ra guard"), rapid.Bool().Draw(t, "dhcp guard")}
	storm := rapid.OneOf(rapid.Just(0), rapid.IntRange(0, maxStorm))
	p.Storm = Storm{storm.Draw(t, "broadcast"), storm.Draw(t, "multicast"), storm.Draw(t, "unknown")}
	p.Rate = Rates{anyRate(t), anyRate(t)}
	p.fill()
	p.sort()
	return p
}

func anyVLAN(t *rapid.T) VLAN {
	id := rapid.Uint16Range(1, maxVLAN)
	var v VLAN
	switch rapid.IntRange(0, 2).Draw(t, "vlan") {
	case 1:
		v.Access = id.Draw(t, "access")
	case 2:
		for range rapid.IntRange(1, 3).Draw(t, "ranges") {
			first := id.Draw(t, "first")
			v.Trunk = append(v.Trunk, VLANRange{first, rapid.Uint16Range(first, maxVLAN).Draw(t, "last")})
		}
		if rapid.Bool().Draw(t, "native") {
			v.Native = v.Trunk[0].Last
		}
	}
	return v
}

func anyRate(t *rapid.T) Rate {
	var r Rate
	if rapid.Bool().Draw(t, "limit") {
		r.Average = rapid.Uint64Range(minRate, maxRate).Draw(t, "average")
		r.Burst = rapid.IntRange(0, maxBurst).Draw(t, "burst")
	}
	if r.Average != 0 && rapid.Bool().Draw(t, "has peak") {
		r.Peak = rapid.Uint64Range(r.Average, maxRate).Draw(t, "peak")
	}
	return r
}

func anyFDB(t *rapid.T) FDB {
	f := FDB{Limit: rapid.IntRange(1, maxLimit).Draw(t, "limit")}
	f.PortLimit = rapid.IntRange(0, f.Limit).Draw(t, "port_limit")
	if rapid.Bool().Draw(t, "ages") {
		f.Ageing = time.Duration(rapid.Int64Range(int64(minAgeing), int64(maxAgeing)).Draw(t, "ageing"))
	}
	return f
}

func anyStatic(t *rapid.T, ports []Port) []StaticEntry {
	var out []StaticEntry
	for i := range rapid.IntRange(0, 3).Draw(t, "static") {
		p := rapid.SampledFrom(ports).Draw(t, "port")
		in := VLANRange{0, maxVLAN}
		if only := p.VLAN.only(); len(only) > 0 {
			in = rapid.SampledFrom(only).Draw(t, "range")
		}
		s := StaticEntry{MAC: anyMAC(t), VLAN: rapid.Uint16Range(in.First, in.Last).Draw(t, "vlan"), Port: p.Name}
		s.MAC[5] = byte(i)
		out = append(out, s)
	}
	return out
}

func anyMAC(t *rapid.T) frame.MAC {
	m := frame.MACFromUint64(rapid.Uint64Range(1, 1<<48-1).Draw(t, "mac"))
	m[0] &^= 1
	m[1] |= 1 // not zero
	return m
}

// anyPort draws a port; number makes unique what two of them must not share.
func anyPort(t *rapid.T, name string, number int) Port {
	p := Port{Name: name, Type: rapid.SampledFrom([]string{TypeTap, TypeRaw, TypeInternal}).Draw(t, "type")}
	odd := []string{"eth", "é", "#x", "a'b", `q"`, "{", "[]", ",", "&", "*", "!", "|", "@", "-", "0", `\`, "=", "..", "~"}
	p.Interface = rapid.SampledFrom(odd).Draw(t, "interface") + "_" + string(rune('A'+number/100)) + string(rune('a'+number%100))
	switch p.Type {
	case TypeTap:
		account := rapid.SampledFrom([]string{"", "joe", "1000", "DOM\\joe", "a.b@c", "true", "#1", "null", "x'y"})
		p.Owner, p.Group = account.Draw(t, "owner"), account.Draw(t, "group")
	case TypeInternal:
		p.Netns = rapid.SampledFrom([]string{"", "lab1", "10", "null", "a:b", "ü"}).Draw(t, "netns")
		if rapid.Bool().Draw(t, "has mac") {
			p.MAC = anyMAC(t)
			p.MAC[5] = byte(number)
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "addresses") {
			b := byte(1 + i)
			v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(number), 1, b}), rapid.IntRange(8, 24).Draw(t, "bits"))
			v6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 13: byte(number), 15: b}), rapid.IntRange(8, 128).Draw(t, "bits"))
			p.Addresses = append(p.Addresses, rapid.SampledFrom([]netip.Prefix{v4, v6}).Draw(t, "address"))
		}
	}
	return p
}

// What is written out is read back as the same value, without and with a
// detour over Clone and Normalize.
func TestWrittenOutAndReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfig(t)
		back, err := Parse("written.yaml", c.YAML())
		if err != nil {
			t.Fatalf("%v\n%s", err, c.YAML())
		}
		if d := sameConfig(c, back); d != "" {
			t.Fatalf("%s\n%s", d, c.YAML())
		}
		again := back.Clone()
		again.Normalize()
		if d := sameConfig(c, again); d != "" {
			t.Fatalf("Normalize is not idempotent: %s", d)
		}
	})
}

// The text of a network is all its keys; that of a port has no policy but its
// mode and what differs from the default.
func TestWrittenOut(t *testing.T) {
	c := mustParse(t, bridged("fdb: {static: [{mac: 02:00:00:00:00:01, vlan: 1, port: b}]}",
		"a: {type: tap}, b: {type: internal, mac: 02:00:00:00:00:02, mode: vepa, vlan: {trunk: [1, 5-9], native: 1}, stp: {edge: true, priority: 128}, rate: {egress: {average: 1Mbit}}}"))
	c.Networks[0].MAC = frame.MAC{2, 0, 0, 0, 0, 3}
	want := `metrics:
  listen: "127.0.0.1:9820"
lease_file: "/var/lib/weft/leases.db"
networks:
  lan:
    forward: bridge
    mac: "02:00:00:00:00:03"
    uplink:
      interface: eth1
      reflective: false
    mtu: 1500
    reserved_groups: switch
    stp:
      enabled: false
      priority: 32768
      hello: 2s
      max_age: 20s
      forward_delay: 15s
    snooping:
      enabled: false
      querier: true
      interval: 2m5s
    fdb:
      ageing: 5m0s
      limit: 8192
      port_limit: 0
      static:
        - {mac: "02:00:00:00:00:01", vlan: 1, port: b}
    ports:
      a: {type: tap, interface: a, mode: bridge}
      b: {type: internal, interface: b, mac: "02:00:00:00:00:02", mode: vepa, vlan: {trunk: [1, 5-9], native: 1}, stp: {edge: "true"}, rate: {egress: {average: 1Mbit, burst: 128KiB}}}
      uplink: {type: raw, interface: eth1, mode: bridge}
`
	if got := string(c.YAML()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Diff is empty exactly where nothing differs, always in the same order, and
// mentions removals before, and additions after, everything else.
func TestDiffProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyConfig(t), anyConfig(t)
		changes := Diff(a, b)
		if equal := sameConfig(a, b) == ""; equal != (len(changes) == 0) {
			t.Fatalf("equal: %v, changes:\n%s", equal, texts(changes))
		}
		if len(Diff(a, a.Clone())) != 0 {
			t.Fatal("a copy differs")
		}
		if !slices.Equal(changes, Diff(a.Clone(), b.Clone())) {
			t.Fatal("not the same twice")
		}
		if len(changes) == 0 {
			return
		}
		step := 0
		for _, c := range changes {
			if s := stepOf(c); s < step {
				t.Fatalf("%q is late in\n%s", c.Text, texts(changes))
			} else {
				step = s
			}
		}
	})
}

func stepOf(c Change) int {
	switch {
	case c.Op == OpRemove && c.Port != "":
		return 1
	case c.Op == OpRemove:
		return 2
	case c.Op == OpChange && strings.Contains(c.Text, "fdb.static +"):
		return 6
	case c.Op == OpChange:
		return 3
	case c.Port == "":
		return 4
	}
	return 5
}
