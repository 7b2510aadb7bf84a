package nat

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// TestZones keeps networks with the same addresses apart.
func TestZones(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.zone(7, ZoneConfig{})
		src := map[Zone]string{}
		for _, z := range []Zone{0, 7} {
			v, s := l.outOf(z, udp(guestA+":5000", remoteA+":80"))
			if v != Translated {
				t.Fatal(v)
			}
			src[z] = s
		}
		if src[0] == src[7] {
			t.Fatalf("both zones have %s", src[0])
		}
		for z, s := range src {
			f, p := l.frame(udp(remoteA+":80", s))
			if r := l.tab.Inbound(f, p, 1); r.Verdict != Translated || r.Zone != z {
				t.Errorf("what is for zone %d: %+v", z, r)
			}
		}
		if v, _ := l.outOf(9, udp(guestA+":1", remoteA+":1")); v != PortsFull {
			t.Errorf("a zone that is not there: %v", v)
		}
	})
}

func TestRemoveZone(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.zone(1, ZoneConfig{Publish: []Publish{{Protocol: frame.ProtoTCP, First: 8080, Last: 8080, To: endpointOf(guestA + ":80")}}})
		l.outOf(1, udp(guestA+":5000", remoteA+":80"))
		stays := l.mustOut(udp(guestB+":6000", remoteA+":80"))
		l.tab.RemoveZone(1)
		l.tab.RemoveZone(1)
		l.tab.RemoveZone(99)
		l.wantIn(udp(remoteA+":80", outsideA+":5000"), NotMine)
		l.wantIn(syn(remoteA+":80", outsideA+":8080"), NotMine)
		l.mustIn(udp(remoteA+":80", stays), guestB+":6000")
		if l.only().Zone != 0 || len(l.tab.Stats().Zones) != 1 {
			t.Errorf("left: %v", l.flows())
		}
		l.zone(1, ZoneConfig{})
		if _, src := l.outOf(1, udp(guestA+":5000", remoteA+":80")); src != outsideA+":5000" {
			t.Errorf("the port of a removed zone is not free: %s", src)
		}
	})
}

// TestSetAddresses ends the flows of an address that goes, and no others.
func TestSetAddresses(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLabAt(t, ZoneConfig{}, outsideA, outsideB)
		l.zone(1, ZoneConfig{Addresses: addresses(outsideB)})
		a := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		_, b := l.outOf(1, udp(guestA+":5000", remoteA+":80"))
		l.mustOut(packet{protocol: protoGRE, src: guestA, dst: remoteA})
		l.tab.SetAddresses(l.addresses(outsideB, "192.0.2.9"))
		if l.only().Zone != 1 {
			t.Fatalf("left: %v", l.flows())
		}
		l.wantIn(udp(remoteA+":80", a), NotMine)
		l.mustIn(udp(remoteA+":80", b), guestA+":5000")
		if src := l.mustOut(udp(guestA+":6000", remoteA+":80")); src != outsideB+":6000" {
			t.Errorf("the first address is the default one, not %s", src)
		}
		l.tab.SetAddresses(nil)
		if len(l.flows()) != 0 {
			t.Errorf("left: %v", l.flows())
		}
		l.wantOut(udp(guestA+":5000", remoteA+":80"), PortsFull)
		l.wantOut(packet{protocol: protoGRE, src: guestA, dst: remoteA}, PortsFull)
		l.tab.SetAddresses(l.addresses(outsideA))
		if src := l.mustOut(udp(guestA+":5000", remoteA+":80")); src != a {
			t.Errorf("the address is back, and the port is %s", src)
		}
	})
}

// TestZoneAddressChange lets flows go on at an address that their zone has no
// more, and makes new ones elsewhere.
func TestZoneAddressChange(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLabAt(t, ZoneConfig{}, outsideA, outsideB)
		old := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.zone(0, ZoneConfig{Addresses: addresses(outsideB), Filtering: None})
		l.mustIn(udp(remoteA+":80", old), guestA+":5000")
		if src := l.mustOut(udp(guestA+":5000", remoteA+":80")); src != old {
			t.Errorf("the flow has moved to %s", src)
		}
		l.wantIn(udp(remoteB+":80", old), NotMine)
		if src := l.mustOut(udp(guestA+":5000", remoteB+":80")); src != outsideB+":5000" {
			t.Errorf("a new flow has %s", src)
		}
	})
}

// TestTaken leaves ports of the host alone, and lets go of them with the last
// flow.
func TestTaken(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Filtering: None, First: 40000, Last: 40009})
		old := l.mustOut(udp(guestA+":40000", remoteA+":80"))
		taken := new(PortSet)
		taken.AddRange(40000, 40007)
		taken.Add(40009)
		l.tab.SetTaken(frame.ProtoUDP, taken)
		l.mustIn(udp(remoteA+":80", old), guestA+":40000")
		l.wantIn(udp(remoteB+":80", old), NotMine)
		if src := l.mustOut(udp(guestA+":40000", remoteB+":80")); src != outsideA+":40008" {
			t.Errorf("a new flow got %s", src)
		}
		if src := l.mustOut(udp(guestA+":40000", remoteA+":80")); src != old {
			t.Errorf("the old flow got %s", src)
		}
		l.wantOut(udp(guestB+":40000", remoteB+":80"), PortsFull)
		l.mustOut(syn(guestB+":40000", remoteB+":80"))
		l.tab.SetTaken(frame.ProtoICMP, taken)
		l.mustOut(echo(guestB+":40000", remoteB))
		l.tab.SetTaken(frame.ProtoUDP, nil)
		l.mustOut(udp(guestB+":40001", remoteB+":80"))
	})
}

// TestTakenReopens gives a connection that begins anew a port of its own when
// that of the old one is the host's now.
func TestTakenReopens(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(syn(guestA+":5000", remoteA+":80"))
		l.mustIn(tcp(remoteA+":80", outsideA+":5000", tcpRST|tcpACK, 0, 101, 0), guestA+":5000")
		taken := new(PortSet)
		taken.Add(5000)
		l.tab.SetTaken(frame.ProtoTCP, taken)
		if src := l.mustOut(syn(guestA+":5000", remoteA+":80")); src == outsideA+":5000" {
			t.Error("the host's port is used")
		}
		l.only()
	})
}

// TestTakenAtOnce gives the host its packets, whoever sends them, while a guest's
// mapping still has the port.
func TestTakenAtOnce(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(syn(guestA+":5000", remoteA+":80"))
		l.wantIn(syn(remoteB+":1", outsideA+":5000"), Filtered)
		taken := new(PortSet)
		taken.Add(5000)
		l.tab.SetTaken(frame.ProtoTCP, taken)
		l.wantIn(syn(remoteB+":1", outsideA+":5000"), NotMine)
	})
}

// TestExhaustionEnds looks for ports again when the host or a publish has given
// some back.
func TestExhaustionEnds(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		all := new(PortSet)
		all.AddRange(40000, 40001)
		l := newLab(t, ZoneConfig{First: 40000, Last: 40001})
		l.tab.SetTaken(frame.ProtoUDP, all)
		l.wantOut(udp(guestA+":5000", remoteA+":80"), PortsFull)
		l.tab.SetTaken(frame.ProtoUDP, nil)
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.zone(0, ZoneConfig{First: 40000, Last: 40001, Publish: []Publish{web(40000, 40001, guestB+":80")}})
		l.wantOut(syn(guestA+":5000", remoteA+":80"), PortsFull)
		l.zone(0, ZoneConfig{First: 40000, Last: 40001})
		l.mustOut(syn(guestA+":5000", remoteA+":80"))
	})
}

// TestBecomesSymmetric gives a new destination a mapping of its own, though the
// inside endpoint still has its old one.
func TestBecomesSymmetric(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		old := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.zone(0, ZoneConfig{Symmetric: true})
		if src := l.mustOut(udp(guestA+":5000", remoteB+":80")); src == old {
			t.Errorf("both destinations see %s", src)
		}
		if src := l.mustOut(udp(guestA+":5000", remoteA+":80")); src != old {
			t.Errorf("the old flow has moved to %s", src)
		}
	})
}

// TestPairedStays keeps hosts at their address when others are added.
func TestPairedStays(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLabAt(t, ZoneConfig{}, outsideA, outsideB, "192.0.2.3", "192.0.2.4")
		for host := range 20 {
			l.mustOut(udp(guest("10.1.1."+strconv.Itoa(host), 5000), remoteA+":80"))
		}
		l.zone(0, ZoneConfig{Addresses: addresses("192.0.2.4", "192.0.2.3", outsideB, outsideA)})
		for host := range 20 {
			if src := l.mustOut(udp(guest("10.1.1."+strconv.Itoa(host), 5001), remoteA+":80")); !strings.HasPrefix(src, outsideA+":") {
				t.Errorf("host %d has moved to %s", host, src)
			}
		}
	})
}

// TestPublishTakesPort keeps the new flows of a dynamic mapping off its port once
// that is published, before anybody has come in by it.
func TestPublishTakesPort(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		old := l.mustOut(syn(guestB+":8080", remoteA+":80"))
		l.zone(0, ZoneConfig{Publish: []Publish{web(8080, 8080, guestA+":80")}})
		if src := l.mustOut(syn(guestB+":8080", remoteB+":80")); src == old {
			t.Errorf("a new flow has the published port")
		}
		l.mustIn(syn(remoteB+":80", outsideA+":8080"), guestA+":80")
	})
}

// TestRemovedZoneUnusable has a mapping of a removed zone get no flow while its
// flows are being taken away.
func TestRemovedZoneUnusable(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, cfg := range []ZoneConfig{{Filtering: None}, {Prefixes: identity}} {
			l := newLab(t, cfg)
			outside := l.endpoint(l.mustOut(udp(guestA+":5000", remoteA+":80")))
			m := l.tab.mappingAt(frame.ProtoUDP, &outside)
			if !l.tab.usable(m) {
				t.Fatal("it is not usable before")
			}
			l.tab.RemoveZone(0)
			if l.tab.usable(m) {
				t.Error("it is usable after")
			}
		}
	})
}

func TestEndpoint(t *testing.T) {
	for _, s := range []string{"192.0.2.1:80", "[2001:db8::1]:80"} {
		if got := EndpointOf(netip.MustParseAddrPort(s)).AddrPort().String(); got != s {
			t.Errorf("%s became %s", s, got)
		}
	}
	if EndpointOf(netip.MustParseAddrPort("192.0.2.1:80")) != endpointOf("192.0.2.1:80") {
		t.Error("an IPv4 address is not kept as Parsed has it")
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		Translated.String(): "translated", Fragmented.String(): "nat-fragment", numVerdicts.String(): "unknown",
		PickedUp.String(): "new", Replied.String(): "replied", numStates.String(): "unknown",
		ClassTCP.String(): "tcp", ClassOther.String(): "other", Class(9).String(): "unknown",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for v := range numVerdicts {
		if v.IsDrop() != (strings.HasPrefix(v.String(), "nat-")) {
			t.Errorf("%v: IsDrop is %v", v, v.IsDrop())
		}
	}
}

// TestAddressesOfBothFamilies has each family use its own addresses: those that the
// zone names, or the first one of the table.
func TestAddressesOfBothFamilies(t *testing.T) {
	four, six := &lab{t: t, now: 1}, &lab{t: t, now: 1, six: true}
	four.tab = New(Config{Addresses: bothFamilies(outsideA, outsideB)})
	six.tab = four.tab
	for _, tt := range []struct {
		addrs         []netip.Addr
		fourth, sixth string
	}{
		{nil, outsideA, outsideA},
		{addresses(outsideB), outsideB, outsideA},
		{six.addresses(outsideB), outsideA, outsideB},
		{bothFamilies(outsideB), outsideB, outsideB},
	} {
		four.zone(0, ZoneConfig{Addresses: tt.addrs, Publish: []Publish{web(80, 80, guestA+":80"), {Protocol: 6, First: 80, Last: 80, To: six.endpoint(guestB + ":80")}}})
		a, b := four.mustOut(udp(guestA+":5000", remoteA+":80")), six.mustOut(udp(guestA+":5000", remoteA+":80"))
		if addrOf(a) != tt.fourth || addrOf(b) != tt.sixth {
			t.Errorf("%v: %s and %s", tt.addrs, a, b)
		}
		four.mustIn(syn(remoteA+":5000", tt.fourth+":80"), guestA+":80")
		six.mustIn(syn(remoteA+":5000", tt.sixth+":80"), guestB+":80")
		four.tab.Flush(func(*Flow) bool { return true })
	}
	for _, l := range []*lab{four, six} {
		for _, a := range []string{outsideA, outsideB} {
			if !l.tab.Owns(l.endpoint(a).Addr) || l.tab.Owns(l.endpoint(guestA).Addr) {
				t.Errorf("IPv6 %v: %s", l.six, a)
			}
		}
	}
}
