package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// newICMPv6Lab is a lab of IPv6 whose networks know their neighbours and whose "lan"
// leads out as it is.
func newICMPv6Lab(t *testing.T) *routedLab {
	l := newSixLab(t, nil)
	l.introduce()
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	return l
}

// six is a datagram of the guest's to somewhere, with a hop limit.
func (l *routedLab) six(to string, hops byte, payload string) []byte {
	b, _ := to6(l.t, l.fromGuest(to, frame.ProtoUDP, udp(5000, 7, payload)), frame.Offload{})
	b[21] = hops
	return b
}

// told expects an error of ICMPv6 about a packet of the station's, from one of the
// gateway's addresses, with a right checksum and as much of the packet as there is room
// for.
func (s *station) told(from netip.Addr, kind, code byte, about []byte) []byte {
	s.t.Helper()
	b := s.next().Bytes
	if len(b) < 62 || b[20] != frame.ProtoICMPv6 || [2]byte(b[54:]) != [2]byte{kind, code} {
		s.t.Fatalf("received % x, want ICMPv6 %d/%d", b, kind, code)
	}
	quoted := about[14:min(len(about), 14+1280-48)]
	if netip.AddrFrom16([16]byte(b[22:])) != from || string(b[38:54]) != string(about[22:38]) || string(b[62:]) != string(quoted) {
		s.t.Fatalf("told % x about % x", b, about)
	}
	if frame.Checksum(b[54:], frame.PseudoHeader(b[22:38], b[38:54], frame.ProtoICMPv6, len(b)-54)) != 0 {
		s.t.Fatalf("the checksum of % x is wrong", b)
	}
	return b
}

// Clauses 2.1 to 2.3: an error comes from a global address of the gateway, and an answer
// from the address that was asked, with a right checksum.
func TestRFC4443_2_2_Source(t *testing.T) {
	l := newICMPv6Lab(t)
	old := l.six(farIP, 1, "x")
	l.guest.send(old)
	l.guest.told(lan6, 3, 0, old)
	cfg := l.uplink.Config()
	cfg.Client6 = true // so that it has a link-local address
	l.uplink.Reconfigure(cfg)
	for range 2 {
		l.world.next()
	}
	for _, ends := range [][2]netip.Addr{
		{ipv6.addr(worldIP), ipv6.addr(outsideIP)}, {netip.MustParseAddr("fe80::1"), ndp.LinkLocal(uplinkMAC)},
	} {
		ping := ndp.Packet(l.world.mac, uplinkMAC, ends[0], ends[1], echo(icmpv6Echo, 9, "some data")).Bytes()
		l.world.send(append([]byte(nil), ping...))
		b := l.world.next().Bytes
		if b[54] != icmpv6EchoReply || string(b[22:38]) != string(ping[38:54]) || string(b[38:54]) != string(ping[22:38]) || string(b[58:]) != string(ping[58:]) ||
			frame.Checksum(b[54:], frame.PseudoHeader(b[22:38], b[38:54], frame.ProtoICMPv6, len(b)-54)) != 0 {
			t.Errorf("%s: answered % x", ends[1], b)
		}
	}
}

// Clause 2.4 (c): an error has as much of the packet as fits in 1280 bytes.
func TestRFC4443_2_4_c_Size(t *testing.T) {
	l := newICMPv6Lab(t)
	for _, size := range []int{0, 1, 1280 - 48 - 48, 1280 - 48 - 48 + 1, 1440} {
		old := l.six(farIP, 1, string(make([]byte, size)))
		l.guest.send(old)
		if b := l.guest.told(lan6, 3, 0, old); len(b) != 14+min(1280, 48+len(old)-14) {
			t.Errorf("about %d bytes: %d", len(old)-14, len(b)-14)
		}
	}
}

// Clause 2.4 (e): no error is about an error or a redirect, nor about what is for a group
// or from no single host. All of these have a hop limit of one, of which the last packet
// shows that it would have been told.
func TestRFC4443_2_4_e_Never(t *testing.T) {
	l := newICMPv6Lab(t)
	good := l.six(farIP, 1, "x")
	with := func(at int, a string) []byte {
		b, raw := append([]byte(nil), good...), netip.MustParseAddr(a).As16()
		copy(b[at:], raw[:])
		return b
	}
	icmp := func(kind byte) []byte {
		b := ndp.Packet(l.guest.mac, gatewayMAC, guest6, ipv6.addr(farIP), append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, good[14:]...)).Bytes()
		b[21] = 1
		return append([]byte(nil), b...)
	}
	toGroup, toAll := append([]byte(nil), good...), append([]byte(nil), good...)
	copy(toGroup, []byte{0x33, 0x33, 0, 0, 0, 1})
	copy(toAll, broadcast[:])
	first := extended(icmp(1), frame.ExtFragment)
	first[14+ipv6Len+3] = 1
	silent := [][]byte{
		with(38, "ff02::1"), with(38, "ff0e::1"), with(22, "::"), with(22, "ff02::1"), with(22, "::1"), toGroup, toAll,
		first, extended(icmp(3), frame.ExtDestination),
	}
	for kind := range byte(128) { // errors, known and not
		if kind%16 < 5 || kind >= 100 {
			silent = append(silent, icmp(kind))
		}
	}
	silent = append(silent, icmp(ndp.Redirect))
	for _, b := range silent {
		l.guest.send(b)
	}
	l.guest.send(good)
	l.guest.told(lan6, 3, 0, good)
	ask := icmp(icmpv6Echo)
	l.guest.send(ask)
	l.guest.told(lan6, 3, 0, ask)
	l.guest.silent()
}

// Clause 2.4 (f): errors are limited, those of one port without harm to another.
func TestRFC4443_2_4_f_Rate(t *testing.T) {
	l := newICMPv6Lab(t)
	other := l.lab.station(l.net, "other", frame.CapAll)
	l.meet(l.net, other, otherIP)
	const many = 500
	old := l.six(farIP, 1, "x")
	for range many {
		l.guest.send(old)
	}
	l.guest.drops(TTLExceeded, many)
	l.guest.settle(many)
	told := 0
	for _, ok := l.guest.poll(); ok; _, ok = l.guest.poll() {
		told++
	}
	if told < unroutableRate || told > many/2 {
		t.Errorf("%d errors for %d packets", told, many)
	}
	theirs, _ := to6(t, sealed(packet(gatewayMAC, other.mac, otherIP, farIP, frame.ProtoUDP, udp(5000, 7, "y"))), frame.Offload{})
	theirs[21] = 1
	other.send(theirs)
	other.told(lan6, 3, 0, theirs)
}

// Clause 3.1: why a packet does not arrive, and nothing about what is lost for want of
// room.
func TestRFC4443_3_1_Codes(t *testing.T) {
	l := newICMPv6Lab(t)
	cfg := l.uplink.Config()
	cfg.Routes = nil
	l.uplink.Reconfigure(cfg)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink, Barred: ipv6.prefixes("10.1.0.0/24")})
	for to, code := range map[string]byte{farIP: 0, serverIP: 1, "10.0.0.99": 3} {
		b := l.six(to, 64, "x")
		l.guest.send(b)
		l.guest.told(lan6, 1, code, b)
	}
	l.lead(l.net, RoutingConfig{Reach: []Reach{{l.dmz, ipv6.prefixes("10.1.0.0/24")}}})
	l.dmz.neighbors.flush(netip.Addr.IsValid)
	for range maxHeld + 5 {
		l.guest.send(l.six(serverIP, 64, "x"))
	}
	l.guest.drops(NoNeighbor, 5)
	l.guest.settle(3 + maxHeld + 5)
	l.guest.silent()
}

// RFC 8200 clause 3: a router takes one off the hop limit; what has none left is told
// about and goes no further, but arrives where it is for the gateway.
func TestRFC8200_3_HopLimit(t *testing.T) {
	l := newICMPv6Lab(t)
	for _, hops := range []byte{255, 64, 2} {
		l.guest.send(l.six(farIP, hops, "x"))
		if b := l.world.next().Bytes; b[21] != hops-1 {
			t.Errorf("%d became %d", hops, b[21])
		}
	}
	for _, hops := range []byte{1, 0} {
		b := l.six(farIP, hops, "x")
		l.guest.send(b)
		l.guest.told(lan6, 3, 0, b)
		l.guest.send(l.six("10.0.0.1", hops, "for you"))
		eventually(t, func() bool {
			m := l.net.Gateway().Inbox(Station).Poll()
			return m != nil && m.Frame.Bytes()[21] == hops
		}, func() { t.Errorf("a packet with hop limit %d has not arrived", hops) })
	}
	in, _ := to6(t, l.fromWorld(farIP, guestIP, frame.ProtoUDP, udp(7, 5000, "y")), frame.Offload{})
	in[21] = 1
	l.world.send(in)
	l.world.told(ipv6.addr(outsideIP), 3, 0, in)
	l.world.silent()
}

// RFC 8200 clause 5 and RFC 8201 clause 3: a router cuts nothing, and says what fits, of
// each packet anew; what fits passes.
func TestRFC8201_3_PacketTooBig(t *testing.T) {
	l := newICMPv6Lab(t)
	cfg := l.uplink.Config()
	cfg.MTU = 1300
	l.uplink.Reconfigure(cfg)
	l.meet(l.uplink.Network(), l.world, worldIP)
	long, fits := l.six(farIP, 64, string(make([]byte, 1301-48))), l.six(farIP, 64, string(make([]byte, 1300-48)))
	for range 2 {
		l.guest.send(long)
		if b := l.guest.told(lan6, 2, 0, long); binary.BigEndian.Uint32(b[58:]) != 1300 {
			t.Errorf("the MTU is said to be %d", binary.BigEndian.Uint32(b[58:]))
		}
	}
	l.guest.drops(TooBig, 2)
	l.guest.send(fits)
	if b := l.world.next().Bytes; string(b[22:]) != string(fits[22:]) {
		t.Errorf("received % x", b)
	}
	l.world.silent()
	l.guest.silent()
}

// RFC 4291 clauses 2.5.2, 2.5.3, 2.5.6 and 2.7: what belongs to one link, to one host, to
// nobody or to a group passes no router, from whichever side.
func TestRFC4291_2_5_NotForwarded(t *testing.T) {
	l := newICMPv6Lab(t)
	out := l.six(farIP, 64, "x")
	in, _ := to6(t, l.fromWorld(farIP, guestIP, frame.ProtoUDP, udp(7, 5000, "y")), frame.Offload{})
	n := uint64(0)
	for _, a := range []string{"fe80::9", "febf::9", "::", "::1", "ff02::9", "ff05::9", "ff0e::9", "::ffff:198.51.100.7", "::198.51.100.7"} {
		for _, at := range []int{22, 38} {
			for s, b := range map[*station][]byte{l.guest: out, l.world: in} {
				b, raw := append([]byte(nil), b...), netip.MustParseAddr(a).As16()
				copy(b[at:], raw[:])
				s.send(b)
			}
			n++
			l.guest.drops(BadPacket, n)
			l.world.drops(BadPacket, n)
		}
	}
	l.guest.settle(n)
	l.world.settle(n)
	l.guest.silent()
	l.world.silent()
	l.guest.send(out)
	if b := l.world.next().Bytes; string(b[22:]) != string(out[22:]) {
		t.Errorf("received % x", b)
	}
}
