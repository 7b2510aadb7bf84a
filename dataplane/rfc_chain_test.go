package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/ndp"
)

// tracked is the zone of a network whose addresses stay as they are, and which anybody
// outside may reach.
var tracked = nat.ZoneConfig{Open: true, Prefixes: []nat.PrefixMap{{Inside: ipv6.prefix("10.0.0.0/24"), Outside: ipv6.prefix("10.0.0.0/24")}}}

// newChainLab is a lab of IPv6 whose "lan" is reached from outside, tracked or not.
func newChainLab(t *testing.T, by Treatment) *routedLab {
	l := newSixLab(t, nil)
	l.introduce()
	c := RoutingConfig{Uplink: l.uplink, IPv6: by}
	if by == Tracked {
		c.Zone = tracked
	}
	l.lead(l.net, c)
	return l
}

// both are a packet of the guest's to the world, and one of the world's to the guest.
func (l *routedLab) both() (out, in []byte) {
	in, _ = to6(l.t, l.fromWorld(farIP, guestIP, frame.ProtoUDP, udp(7, 5000, "data")), frame.Offload{})
	return l.six(farIP, 64, "data"), in
}

// firstFragment makes a packet the first of several fragments that ends after so many
// bytes of what follows the fragment header.
func firstFragment(b []byte, behind int, kinds ...byte) []byte {
	b = extended(b, append(kinds, frame.ExtFragment)...)
	at := 14 + ipv6Len + 8*len(kinds)
	b[at+2], b[at+3] = 0, 1
	b = b[:at+8+behind]
	binary.BigEndian.PutUint16(b[18:], uint16(len(b)-14-ipv6Len))
	return b
}

// RFC 8200 clause 4: extension headers in whichever order, and protocols that nobody here
// knows, pass a router as they are; so do later fragments.
func TestRFC8200_4_Chain(t *testing.T) {
	l := newChainLab(t, Plain)
	out, in := l.both()
	later := extended(out, frame.ExtFragment)
	later[14+ipv6Len+3] = 8
	for _, kinds := range [][]byte{
		{frame.ExtHopByHop}, {frame.ExtDestination}, {frame.ExtHopByHop, frame.ExtDestination, frame.ExtDestination}, {frame.ExtDestination, frame.ExtHopByHop}, {frame.ExtFragment}, {50}, {135}, {139}, {140}, {59}, {253},
		slices.Repeat([]byte{frame.ExtDestination}, 8),
	} {
		l.guest.send(extended(out, kinds...))
		if b := l.world.next().Bytes; string(b[22:]) != string(extended(out, kinds...)[22:]) || b[20] != kinds[0] {
			t.Errorf("%v out: % x", kinds, b)
		}
		l.world.send(extended(in, kinds...))
		if b := l.guest.next().Bytes; string(b[22:]) != string(extended(in, kinds...)[22:]) {
			t.Errorf("%v in: % x", kinds, b)
		}
	}
	l.guest.send(later)
	if b := l.world.next().Bytes; string(b[22:]) != string(later[22:]) {
		t.Errorf("a later fragment: % x", b)
	}
}

// RFC 7112 clause 5: a first fragment that lacks a part of the headers goes nowhere:
// neither out, nor in, nor to the gateway.
func TestRFC7112_5_FirstFragment(t *testing.T) {
	for _, by := range []Treatment{Plain, Tracked} {
		l := newChainLab(t, by)
		out, in := l.both()
		own := l.six("10.0.0.1", 64, "data")
		hidden := func(b []byte) [][]byte {
			return [][]byte{
				firstFragment(b, 0), firstFragment(b, 7), firstFragment(b, 0, frame.ExtDestination),
				firstFragment(extended(b, frame.ExtDestination), 0), firstFragment(extended(b, frame.ExtDestination), 8+4), firstFragment(extended(b, frame.ExtHopByHop), 4),
			}
		}
		n := uint64(0)
		for i := range hidden(out) {
			l.guest.send(hidden(out)[i])
			l.guest.send(hidden(own)[i])
			l.world.send(hidden(in)[i])
			n++
			l.guest.drops(BadPacket, 2*n)
			l.world.drops(BadPacket, n)
		}
		l.guest.settle(2 * n)
		l.guest.silent()
		l.world.silent()
		if m := l.net.Gateway().Inbox(Station).Poll(); m != nil {
			t.Errorf("the gateway has got % x", m.Frame.Bytes())
		}
		whole := firstFragment(out, 8)
		l.guest.send(whole)
		if b := l.world.next().Bytes; string(b[22:]) != string(whole[22:]) {
			t.Errorf("a first fragment with all of its headers: % x", b)
		}
	}
}

// RFC 5095 clause 3: a routing header of type 0 that leads on is obeyed by nobody, and
// does not pass; clause 4.2: others do.
func TestRFC5095_3_TypeZero(t *testing.T) {
	for _, by := range []Treatment{Plain, Tracked} {
		l := newChainLab(t, by)
		out, in := l.both()
		own := l.six("10.0.0.1", 64, "data")
		n := uint64(0)
		for _, before := range [][]byte{nil, {frame.ExtHopByHop}, {frame.ExtDestination, frame.ExtFragment}} {
			kinds := append(slices.Clone(before), frame.ExtRouting)
			l.guest.send(extended(out, kinds...))
			l.guest.send(extended(own, kinds...))
			l.world.send(extended(in, kinds...))
			n++
			l.guest.drops(BadPacket, 2*n)
			l.world.drops(BadPacket, n)
		}
		l.guest.settle(2 * n)
		l.guest.silent()
		l.world.silent()
		for _, kind := range []byte{2, 3, 4} {
			b := extended(out, frame.ExtRouting)
			b[14+ipv6Len+2] = kind
			want := string(b[22:])
			l.guest.send(b)
			if b = l.world.next().Bytes; string(b[22:]) != want {
				t.Errorf("type %d: % x", kind, b)
			}
		}
	}
}

// RFC 7113 clause 3: an advertisement is found behind any headers and in a first fragment;
// what may hide one in a first fragment is lost too, and later ones pass, as they are
// nothing without it.
func TestRFC7113_3_Fragments(t *testing.T) {
	l := newLab(t)
	guest := l.stationWith(l.net, "guest", frame.CapAll, Policy{Guard: Guard{RA: true}})
	other := l.station(l.net, "other", frame.CapAll)
	link := ndp.LinkLocal(guest.mac)
	ra := guest.nd(gatewayMAC, link, ndp.AllNodes, (&ndp.Advertisement{Lifetime: 9, MTU: 1500}).Message())
	bad := map[string][]byte{
		"plain": ra, "behind options": extended(ra, frame.ExtHopByHop, frame.ExtDestination), "behind a route": extended(ra, frame.ExtRouting),
		"an atomic fragment": extended(ra, frame.ExtFragment), "a first fragment": firstFragment(ra, 16),
		"a first fragment behind options": firstFragment(ra, 16, frame.ExtDestination),
		"of the type alone":               firstFragment(ra, 1), "of nothing": firstFragment(ra, 0),
		"of a header that goes on elsewhere": firstFragment(extended(ra, frame.ExtDestination), 8),
		"of a part of a header":              firstFragment(extended(ra, frame.ExtDestination), 4),
	}
	n := uint64(0)
	for what, b := range bad {
		guest.send(b)
		n++
		guest.drops(RAGuard, n)
		if f, ok := other.poll(); ok {
			t.Errorf("%s has passed: % x", what, f.Bytes)
		}
	}
	later := extended(ra, frame.ExtFragment)
	later[14+ipv6Len+3] = 8
	stream, _ := to6(t, packet(other.mac, guest.mac, guestIP, farIP, frame.ProtoUDP, udp(1, 2, "0123456789")), frame.Offload{})
	solicit := guest.nd(gatewayMAC, link, ndp.AllRouters, ndp.Solicitation(guest.mac))
	for _, b := range [][]byte{later, stream, firstFragment(stream, 8), extended(stream, frame.ExtDestination), solicit} {
		guest.send(b)
		other.expect(b)
	}
}

// RFC 6105 clause 2: what one port may not send, another may, and the router itself.
func TestRFC6105_2_Ports(t *testing.T) {
	l := newLab(t)
	cfg := l.net.Config()
	cfg.Address = gatewayMAC
	cfg.Gateway.Address6 = []netip.Prefix{netip.MustParsePrefix("2001:db8:1::1/64")}
	l.net.Reconfigure(cfg, nil)
	guest := l.stationWith(l.net, "guest", frame.CapAll, Policy{Guard: Guard{RA: true}})
	router := l.station(l.net, "router", frame.CapAll)
	advertisement := func(s *station) []byte {
		return s.nd(gatewayMAC, ndp.LinkLocal(s.mac), ndp.AllNodes, (&ndp.Advertisement{Lifetime: 9}).Message())
	}
	guest.send(advertisement(guest))
	guest.drops(RAGuard, 1)
	router.silent()
	router.send(advertisement(router))
	guest.expect(advertisement(router))
	own := ndp.Packet(gatewayMAC, ndp.GroupMAC(ndp.AllNodes), ndp.LinkLocal(gatewayMAC), ndp.AllNodes, (&ndp.Advertisement{Lifetime: 9}).Message())
	want := append([]byte(nil), own.Bytes()...)
	l.net.Gateway().Send([]*frame.Frame{own})
	guest.expect(want)
	l.net.Reconfigure(cfg, map[string]Policy{"guest": {}})
	router.expect(want)
	guest.send(advertisement(guest))
	router.expect(advertisement(guest))
}
