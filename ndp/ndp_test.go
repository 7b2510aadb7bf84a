package ndp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/weft/weft/dataplane/frame"
)

var (
	mac  = frame.MAC{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	here = netip.MustParseAddr("2001:db8::1")
	near = netip.MustParseAddr("fe80::1")
)

func TestAddresses(t *testing.T) {
	for what, pair := range map[string][2]string{
		"link-local":     {LinkLocal(mac).String(), "fe80::5054:ff:fe12:3456"},
		"from a prefix":  {FromPrefix(netip.MustParsePrefix("2001:db8:1:2::9/64"), mac).String(), "2001:db8:1:2:5054:ff:fe12:3456"},
		"solicited node": {SolicitedNode(netip.MustParseAddr("2001:db8::aa:bbcc:ddee")).String(), "ff02::1:ffcc:ddee"},
		"group MAC":      {GroupMAC(netip.MustParseAddr("ff02::1:ffcc:ddee")).String(), "33:33:ff:cc:dd:ee"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %s, want %s", what, pair[0], pair[1])
		}
	}
}

// The bytes are as RFC 4861 clause 4, RFC 4191 clause 2.3 and RFC 8106 clause 5 draw them,
// written by hand.
func TestMessageBytes(t *testing.T) {
	ra := &Advertisement{
		HopLimit: 64, Managed: true, Other: true, Preference: High, Lifetime: 1800 * time.Second, MAC: mac, MTU: 1400,
		Prefixes: []Prefix{{netip.MustParsePrefix("2001:db8::/64"), true, true, Infinite, 4 * time.Hour}},
		Routes:   []Route{{netip.MustParsePrefix("2001:db8:7::/48"), Low, time.Minute}},
		DNS:      []netip.Addr{here}, DNSLifetime: time.Hour, Search: []string{"lab.example", "bad..name"}, SearchLifetime: time.Minute,
	}
	for _, test := range []struct {
		what    string
		message []byte
		want    string
	}{
		{"NS", Neighbor{Target: here, MAC: mac}.Solicitation(), "8700 0000 00000000 20010db8000000000000000000000001 0101 525400123456"},
		{"NS of a station without an address", Neighbor{Target: here}.Solicitation(), "8700 0000 00000000 20010db8000000000000000000000001"},
		{"NA", Neighbor{Target: here, MAC: mac, Router: true, Solicited: true, Override: true}.Advertisement(), "8800 0000 e0000000 20010db8000000000000000000000001 0201 525400123456"},
		{"RS", Solicitation(mac), "8500 0000 00000000 0101 525400123456"},
		{"RA", ra.Message(), "8600 0000 40 c8 0708 00000000 00000000 0101 525400123456 0501 0000 00000578" +
			"0304 40 c0 ffffffff 00003840 00000000 20010db8000000000000000000000000" +
			"1803 30 18 0000003c 20010db8000700000000000000000000" +
			"1903 0000 00000e10 20010db8000000000000000000000001" +
			"1f03 0000 0000003c 036c6162076578616d706c6500 000000"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(test.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(test.message, want) {
			t.Errorf("%s:\n% x, want\n% x", test.what, test.message, want)
		}
	}
}

// valid makes a packet of a message, and parses it.
func valid(message []byte, src, dst netip.Addr, change func([]byte)) bool {
	f := Packet(mac, GroupMAC(dst), src, dst, message)
	if change != nil {
		change(f.Bytes()[frame.HeaderLen:])
	}
	var p frame.Parsed
	p.Parse(f)
	return Valid(f, &p)
}

// resum puts the checksum right after a change.
func resum(ip []byte) {
	m := ip[ipLen:]
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:], frame.Checksum(m, frame.PseudoHeader(ip[8:24], ip[24:40], frame.ProtoICMPv6, len(m))))
}

func TestValid(t *testing.T) {
	none := netip.IPv6Unspecified()
	ns, dad := Neighbor{Target: here, MAC: mac}.Solicitation(), Neighbor{Target: here}.Solicitation()
	na := Neighbor{Target: here, MAC: mac, Solicited: true}.Advertisement()
	told := Neighbor{Target: here, MAC: mac}.Advertisement()
	ra := (&Advertisement{Lifetime: time.Minute}).Message()
	at := func(i int, v byte) func([]byte) { return func(ip []byte) { ip[i] = v; resum(ip) } }
	for _, test := range []struct {
		what     string
		message  []byte
		src, dst netip.Addr
		change   func([]byte)
		want     bool
	}{
		{"NS", ns, near, SolicitedNode(here), nil, true},
		{"NS, unicast", ns, near, here, nil, true},
		{"NS, forwarded", ns, near, here, at(7, 254), false},
		{"NS with a code", ns, near, here, at(ipLen+1, 1), false},
		{"NS, damaged", ns, near, here, func(ip []byte) { ip[ipLen+20] ^= 1 }, false},
		{"NS for a group", ns, near, here, at(ipLen+8, 0xff), false},
		{"NS with an empty option", ns, near, here, at(ipLen+25, 0), false},
		{"NS with an option beyond its end", ns, near, here, at(ipLen+25, 2), false},
		{"NS, cut", ns[:20], near, here, nil, false},
		{"DAD", dad, none, SolicitedNode(here), nil, true},
		{"DAD to one", dad, none, here, nil, false},
		{"DAD that says who asks", ns, none, SolicitedNode(here), nil, false},
		{"NS from a group", ns, AllNodes, here, nil, false},
		{"NA", na, near, here, nil, true},
		{"NA, solicited, to all", na, near, AllNodes, nil, false},
		{"NA to all", told, near, AllNodes, nil, true},
		{"NA from nobody", told, none, AllNodes, nil, false},
		{"RS", Solicitation(mac), near, AllRouters, nil, true},
		{"RS from nobody", Solicitation(frame.MAC{}), none, AllRouters, nil, true},
		{"RS from nobody with a MAC", Solicitation(mac), none, AllRouters, nil, false},
		{"RA", ra, near, AllNodes, nil, true},
		{"RA from afar", ra, here, AllNodes, nil, false},
		{"redirect from afar", append([]byte{Redirect, 0}, make([]byte, 38)...), here, near, nil, false},
		{"echo", append([]byte{128, 0}, make([]byte, 38)...), here, near, nil, false},
	} {
		if got := valid(test.message, test.src, test.dst, test.change); got != test.want {
			t.Errorf("%s: valid %v, want %v", test.what, got, test.want)
		}
	}
}

// A message in a fragment, even an only one, is none (RFC 6980).
func TestFragmentIsNotValid(t *testing.T) {
	f := Packet(mac, GroupMAC(AllRouters), near, AllRouters, Solicitation(mac))
	b := f.Bytes()
	ip := append(append(append([]byte(nil), b[:frame.HeaderLen+ipLen]...), frame.ProtoICMPv6, 0, 0, 1, 0, 0, 0, 9), b[frame.HeaderLen+ipLen:]...)
	ip[frame.HeaderLen+6] = 44
	binary.BigEndian.PutUint16(ip[frame.HeaderLen+4:], uint16(len(ip)-frame.HeaderLen-ipLen))
	for _, more := range []byte{0, 1} {
		ip[frame.HeaderLen+ipLen+3] = more
		g := new(frame.Frame)
		g.Set(append(make([]byte, frame.Headroom), ip...), frame.Headroom)
		var p frame.Parsed
		if p.Parse(g); p.Protocol != frame.ProtoICMPv6 {
			t.Fatalf("%+v", p)
		}
		if Valid(g, &p) {
			t.Errorf("with more fragments %d: valid", more)
		}
	}
}

func TestNeighborReadsBack(t *testing.T) {
	for _, n := range []Neighbor{
		{Target: here, MAC: mac, Router: true}, {Target: near, MAC: mac, Solicited: true}, {Target: here, Override: true},
	} {
		if got := ParseNeighbor(n.Advertisement()); got != n {
			t.Errorf("%+v, want %+v", got, n)
		}
	}
	if got := ParseNeighbor(Neighbor{Target: here, MAC: mac}.Solicitation()); got != (Neighbor{Target: here, MAC: mac}) {
		t.Errorf("solicitation: %+v", got)
	}
	if got := ParseSolicitation(Solicitation(mac)); got != mac {
		t.Errorf("RS: %s", got)
	}
}

func TestAdvertisementReadsBack(t *testing.T) {
	for _, a := range []Advertisement{
		{},
		{HopLimit: 255, Other: true, Preference: Low, Lifetime: time.Second, Reachable: 30 * time.Second, Retransmit: 1500 * time.Millisecond},
		{
			Managed: true, Preference: High, Lifetime: 65535 * time.Second, MAC: mac, MTU: 9000,
			Prefixes: []Prefix{{netip.MustParsePrefix("2001:db8:1::/64"), true, false, time.Hour, 0}, {netip.MustParsePrefix("fd00::/56"), false, true, Infinite, Infinite}},
			Routes:   []Route{{netip.MustParsePrefix("::/0"), Medium, Infinite}, {netip.MustParsePrefix("2001:db8:2::/48"), Low, time.Hour}},
			DNS:      []netip.Addr{here, near}, DNSLifetime: Infinite, Search: []string{"a.example", "b"}, SearchLifetime: time.Hour,
		},
	} {
		m := a.Message()
		if !validOptions(m[advertisementLen:]) {
			t.Errorf("% x: options are not valid", m)
		}
		got, err := ParseAdvertisement(m)
		if d := cmp.Diff(a, got, cmp.Comparer(func(x, y netip.Addr) bool { return x == y }), cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })); err != nil || d != "" {
			t.Errorf("%v\n%s", err, d)
		}
	}
}

// What makes no sense in an option is left out with it, and too much of anything makes
// the whole message be refused.
func TestAdvertisementDoubts(t *testing.T) {
	base := Advertisement{
		Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("2001:db8::/64")}}, Routes: []Route{{Prefix: netip.MustParsePrefix("2001:db8::/64")}},
		DNS: []netip.Addr{here},
	}
	const prefix, route, dns = advertisementLen, advertisementLen + 32, advertisementLen + 56
	for _, test := range []struct {
		what    string
		at      int
		v       byte
		p, r, d int
	}{
		{"nothing wrong", 0, RouterAdvertisement, 1, 1, 1},
		{"a prefix of 129 bits", prefix + 2, 129, 0, 1, 1},
		{"a prefix of groups", prefix + 16, 0xff, 0, 1, 1},
		{"a route of 129 bits", route + 2, 129, 1, 0, 1},
		{"a route with the reserved preference", route + 3, 0x10, 1, 0, 1},
		{"a group as a server", dns + 8, 0xff, 1, 1, 0},
	} {
		m := base.Message()
		m[test.at] = test.v
		a, err := ParseAdvertisement(m)
		if err != nil || len(a.Prefixes) != test.p || len(a.Routes) != test.r || len(a.DNS) != test.d {
			t.Errorf("%s: %+v, %v", test.what, a, err)
		}
	}
	for range maxOptions {
		base.Prefixes = append(base.Prefixes, base.Prefixes[0])
	}
	if _, err := ParseAdvertisement(base.Message()); err == nil {
		t.Errorf("%d prefixes are taken", len(base.Prefixes))
	}
	m := Solicitation(mac)
	m[solicitationLen+2] |= 1
	if got := ParseSolicitation(m); got != (frame.MAC{}) {
		t.Errorf("a group %s is taken for a station", got)
	}
}

// Whatever passes Valid can be read, and what was read and is written says the same.
func FuzzValid(f *testing.F) {
	f.Add(Neighbor{Target: here, MAC: mac}.Solicitation(), true)
	f.Add((&Advertisement{
		MTU: 1500, MAC: mac, Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("2001:db8::/64")}}, Search: []string{"lab"}, DNS: []netip.Addr{here},
		Routes: []Route{{Prefix: netip.MustParsePrefix("2001:db8::/48")}},
	}).Message(), true)
	f.Add(Solicitation(mac), false)
	f.Fuzz(func(t *testing.T, message []byte, local bool) {
		src := here
		if local {
			src = near
		}
		if len(message) < solicitationLen || len(message) > 60000 || !valid(message, src, AllNodes, nil) {
			return
		}
		switch message[0] {
		case NeighborSolicitation, NeighborAdvertisement:
			ParseNeighbor(message)
		case RouterSolicitation:
			ParseSolicitation(message)
		case RouterAdvertisement:
			a, err := ParseAdvertisement(message)
			if err != nil || len(a.DNS) > 60 {
				return
			}
			again, err := ParseAdvertisement(a.Message())
			for i := range a.Search { // names that cannot be written are left out
				if strings.ContainsAny(a.Search[i], ".") || a.Search[i] == "" {
					return
				}
			}
			if err != nil || !reflect.DeepEqual(a.Prefixes, again.Prefixes) || !reflect.DeepEqual(a.Routes, again.Routes) || !reflect.DeepEqual(a.DNS, again.DNS) {
				t.Fatalf("%+v\nbecame %+v, %v", a, again, err)
			}
		}
	})
}

// A router that is none has no preference (RFC 4191 clause 2.2).
func TestNoPreferenceWithoutLifetime(t *testing.T) {
	for _, p := range []Preference{Low, Medium, High} {
		a := Advertisement{Preference: p, Other: true}
		if m := a.Message(); m[5] != flagOther {
			t.Errorf("preference %d: flags %x", p, m[5])
		}
	}
}
