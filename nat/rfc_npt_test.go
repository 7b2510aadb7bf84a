package nat

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// RFC 6296: prefixes of IPv6 that are translated one to one.

func prefixMap(inside, outside string) PrefixMap {
	return PrefixMap{netip.MustParsePrefix(inside), netip.MustParsePrefix(outside)}
}

// translated returns what a map makes of an address, "" where RFC 6296 leaves it out.
func (m PrefixMap) translated(addr string) string { return applied(m.Inside, m.Outside, addr) }
func (m PrefixMap) back(addr string) string       { return applied(m.Outside, m.Inside, addr) }

func applied(from, to netip.Prefix, addr string) string {
	r, a := ruleOf(from, to), netip.MustParseAddr(addr).As16()
	if got, ok := r.apply(&a); ok {
		return netip.AddrFrom16(got).String()
	}
	return ""
}

// TestRFC6296AppendixB has the example that the RFC works out, both ways.
func TestRFC6296AppendixB(t *testing.T) {
	m := prefixMap("fd01:203:405::/48", "2001:db8:1::/48")
	if r := ruleOf(m.Inside, m.Outside); r.adjust != 0xd54f {
		t.Errorf("the adjustment is %#x, want 0xd54f", r.adjust)
	}
	if got := m.translated("fd01:203:405:1::1234"); got != "2001:db8:1:d550::1234" {
		t.Errorf("outwards %s", got)
	}
	if got := m.back("2001:db8:1:d550::1234"); got != "fd01:203:405:1::1234" {
		t.Errorf("inwards %s", got)
	}
}

// TestRFC6296Clause34 has prefixes of /48 and shorter: the subnet takes the difference
// up, and 0xffff is none.
func TestRFC6296Clause34(t *testing.T) {
	for _, tt := range []struct{ inside, outside, from, to string }{
		{"fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:2ab0::1", "2001:db8:1::1"}, // never 0xffff
		{"fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:ffff::1", ""},
		{"fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:7::", "2001:db8:1:d556::"},
		{"fd00::/32", "2001:db8::/32", "fd00:0:9:1::5", "2001:db8:9:cf48::5"},
		{"fd00::/40", "2001:db8::/40", "fd00:0:12:1::5", "2001:db8:12:cf48::5"},
	} {
		m := prefixMap(tt.inside, tt.outside)
		if got := m.translated(tt.from); got != tt.to {
			t.Errorf("%s became %q, want %q", tt.from, got, tt.to)
		}
		if tt.to != "" && m.back(tt.to) != tt.from {
			t.Errorf("%s came back as %q", tt.from, m.back(tt.to))
		}
	}
}

// TestRFC6296Clause35 has longer prefixes: the first word of the interface identifier
// that is not 0xffff takes the difference up. Identifiers of all zeros and of all ones
// are not translated.
func TestRFC6296Clause35(t *testing.T) {
	m := prefixMap("fd01:203:405:1::/64", "2001:db8:1:2::/64")
	for from, to := range map[string]string{
		"fd01:203:405:1::1":                  "2001:db8:1:2:d54e::1",
		"fd01:203:405:1:ffff:5:6:7":          "2001:db8:1:2:ffff:d553:6:7",
		"fd01:203:405:1:ffff:ffff:ffff:9":    "2001:db8:1:2:ffff:ffff:ffff:d557",
		"fd01:203:405:1::":                   "",
		"fd01:203:405:1:ffff:ffff:ffff:ffff": "",
		"fd01:203:405:1:2ab1:1:1:1":          "2001:db8:1:2:0:1:1:1",
		"fd01:203:405:1:2ab1::":              "", // would be all zeros outside
		"fd01:203:405:1:0200:5eff:fe00:5301": "2001:db8:1:2:d74e:5eff:fe00:5301",
		"fd01:203:405:1:ffff:ffff:ffff:0":    "2001:db8:1:2:ffff:ffff:ffff:d54e",
		"fd01:203:405:1:0:ffff:ffff:ffff":    "2001:db8:1:2:d54e:ffff:ffff:ffff",
		"fd01:203:405:1:2ab0:ffff:ffff:ffff": "2001:db8:1:2:fffe:ffff:ffff:ffff",
	} {
		if got := m.translated(from); got != to {
			t.Errorf("%s became %q, want %q", from, got, to)
		}
		want := netip.MustParseAddr(from).String()
		if to != "" && m.back(to) != want {
			t.Errorf("%s came back as %q", from, m.back(to))
		}
	}
}

// TestRFC6296Clause26 translates any address of any prefixes there and back, and has
// the sum of its words stay the same.
func TestRFC6296Clause26(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(1, 64).Draw(t, "bits")
		word := rapid.OneOf(rapid.Uint16(), rapid.SampledFrom([]uint16{0, 1, 0xfffe, 0xffff}))
		addr := func(name string) (a [16]byte) {
			for i := 0; i < 16; i += 2 {
				binary.BigEndian.PutUint16(a[i:], word.Draw(t, name))
			}
			return a
		}
		prefix := func(name string) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom16(addr(name)), bits).Masked()
		}
		in, out, a := prefix("inside"), prefix("outside"), addr("address")
		rest := netip.AddrFrom16(a)
		for i, b := range in.Addr().As16() { // put a into the prefix
			mask := byte(0xff << max(0, min(8, 8*(i+1)-bits)))
			a[i] = a[i]&^mask | b&mask
		}
		if !in.Contains(netip.AddrFrom16(a)) {
			t.Fatalf("the test's own address %v is wrong, of %v", netip.AddrFrom16(a), rest)
		}
		there, back := ruleOf(in, out), ruleOf(out, in)
		to, ok := there.apply(&a)
		if !ok {
			left := binary.BigEndian.Uint64(a[8:])
			if in != out && (bits <= 48 && a[6] == 0xff && a[7] == 0xff || bits > 48 && (left == 0 || left == ^uint64(0) || wordToAdjust(left) >= 0 && left&^(0xffff<<wordToAdjust(left)) == 0)) {
				return
			}
			t.Fatalf("%v has no address outside", netip.AddrFrom16(a))
		}
		if !out.Contains(netip.AddrFrom16(to)) {
			t.Fatalf("%v became %v", netip.AddrFrom16(a), netip.AddrFrom16(to))
		}
		if again, ok := back.apply(&to); !ok || again != a {
			t.Fatalf("%v became %v, and came back as %v", netip.AddrFrom16(a), netip.AddrFrom16(to), netip.AddrFrom16(again))
		}
		if was, is := naiveSum(a[:]), naiveSum(to[:]); was%0xffff != is%0xffff {
			t.Fatalf("%v sums up to %#x, %v to %#x", netip.AddrFrom16(a), was, netip.AddrFrom16(to), is)
		}
	})
}

// TestRFC6296Clause21 takes a packet from one inside host to the outside address of
// another.
func TestRFC6296Clause21(t *testing.T) {
	l := newLab(t, ZoneConfig{Open: true, Prefixes: []PrefixMap{prefixMap("fd01:203:405::/48", "2001:db8:1::/48")}})
	f, p := frame6(frame.ProtoUDP, "[fd01:203:405:1::1]:5000", "[2001:db8:1:d551::2]:80")
	if !l.tab.Owns(p.Dst()) || l.tab.Owns(p.Src()) {
		t.Fatal("the table does not know its own prefix")
	}
	out, in := l.tab.Outbound(0, 0, f, p, 1), l.tab.Inbound(f, p, 1)
	if out.Verdict != Translated || in.Verdict != Translated {
		t.Fatalf("%v, %v", out.Verdict, in.Verdict)
	}
	if source(f) != "[2001:db8:1:d550::1]:5000" || destination(f) != "[fd01:203:405:2::2]:80" {
		t.Errorf("%s -> %s", source(f), destination(f))
	}
	checkWire(t, f.Bytes())
}

func TestPrefixRefused(t *testing.T) {
	l := newLab(t, ZoneConfig{Prefixes: []PrefixMap{prefixMap("2001:db8:1::/64", "2001:db8:1::/64")}})
	for want, maps := range map[string][]PrefixMap{
		"one family and one length":                   {prefixMap("fd00::/48", "2001:db8::/64")},
		"must be of one family":                       {prefixMap("10.0.0.0/8", "2001:db8::/8")},
		"IPv4 prefixes are not translated":            {prefixMap("10.0.0.0/8", "11.0.0.0/8")},
		"use /64 or shorter":                          {prefixMap("fd00::/80", "2001:db8::/80")},
		"not a prefix":                                {{}},
		"another network of the same uplink has 2001": {prefixMap("fd00::/64", "2001:db8:1::/64")},
		"there is prefix fd00::/64 already":           {prefixMap("fd00::/64", "fd00::/64"), prefixMap("fd00::/64", "2001:db8:2::/64")},
		"there is prefix fd00::/64 to 2001":           {prefixMap("fd00::/64", "2001:db8:2::/64"), prefixMap("fd01::/64", "2001:db8:2::/64")},
	} {
		if err := l.tab.SetZone(1, ZoneConfig{Prefixes: maps}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, not %v", want, err)
		}
	}
	l.zone(0, ZoneConfig{Prefixes: []PrefixMap{prefixMap("2001:db8:1::/64", "2001:db8:1::/64")}}) // the same again
	err := l.tab.SetZone(1, ZoneConfig{Prefixes: []PrefixMap{prefixMap("fd00::/64", "2001:db8:2::/64")},
		Publish: []Publish{{Protocol: 6, First: 80, Last: 80, To: EndpointOf(netip.MustParseAddrPort("[fd00::]:80"))}}})
	if err == nil || !strings.Contains(err.Error(), "RFC 6296 translates no such address") {
		t.Errorf("publish to an address that has no outside one: %v", err)
	}
}

// TestPrefixRules compares the search for the longest prefix with a walk over all.
func TestPrefixRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []prefixRule
		var prefixes []netip.Prefix
		for range rapid.IntRange(0, 12).Draw(t, "prefixes") {
			a := netip.AddrFrom16([16]byte{rapid.Byte().Draw(t, "first") & 0x31, 15: rapid.Byte().Draw(t, "last") & 3})
			p := netip.PrefixFrom(a, rapid.SampledFrom([]int{0, 1, 3, 4, 8, 127, 128}).Draw(t, "bits")).Masked()
			if rapid.IntRange(0, 3).Draw(t, "IPv4") == 0 {
				p = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, a.As16()[15]}), rapid.SampledFrom([]int{0, 8, 30, 31, 32}).Draw(t, "bits4")).Masked()
			}
			prefixes = append(prefixes, p)
			all = append(all, ruleOf(p, p))
		}
		s := newPrefixRules(all)
		for i := range 256 {
			a := netip.AddrFrom16([16]byte{byte(i>>2) & 0x31, 15: byte(i) & 3})
			if i >= 240 {
				a = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			}
			want := -1
			for _, p := range prefixes {
				if p.Contains(a) {
					bits := p.Bits()
					if a.Is4() {
						bits += 96
					}
					want = max(want, bits)
				}
			}
			got := -1
			if r := s.find(new(a.As16())); r != nil {
				got = int(r.bits)
			}
			if got != want {
				t.Fatalf("%v is found in a prefix of %d bits, want %d of %v", a, got, want, prefixes)
			}
		}
	})
}
