package config

import (
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
	c := &Config{Metrics: Metrics{Listen: rapid.SampledFrom([]string{"off", DefaultListen, ":0", "[::1]:99", "localhost:1"}).Draw(t, "listen")}}
	// Few names, so that two draws share some.
	words := []string{"a", "b", "lan", "true", "null", "0", "010", "1e3", "off", "x-", "A.b_c", "0x1", "y", "inf", "2001-01-01"}
	networks := rapid.SliceOfNDistinct(rapid.SampledFrom(words), 0, 3, rapid.ID[string]).Draw(t, "networks")
	for i, name := range networks {
		n := NewNetwork(name)
		n.MTU = rapid.IntRange(minMTU, maxMTU).Draw(t, "mtu")
		n.FDB = anyFDB(t)
		for j, port := range rapid.SliceOfNDistinct(rapid.SampledFrom(words), 0, 4, rapid.ID[string]).Draw(t, "ports") {
			n.Ports = append(n.Ports, anyPort(t, port, i*100+j))
		}
		if len(n.Ports) > 0 {
			n.FDB.Static = anyStatic(t, n.Ports)
		}
		c.Networks = append(c.Networks, n)
	}
	c.Normalize()
	if err := Validate(c); err != nil {
		t.Fatalf("the generator is wrong: %v", err)
	}
	return c
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
	for _, v := range rapid.SliceOfNDistinct(rapid.Uint16Range(0, maxVLAN), 0, 3, rapid.ID[uint16]).Draw(t, "vlans") {
		p := rapid.SampledFrom(ports).Draw(t, "port")
		out = append(out, StaticEntry{MAC: anyMAC(t), VLAN: v, Port: p.Name})
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
