package dataplane

import (
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// RFC 6092: what it recommends to gateways of homes, as far as packets are looked at
// without what came before them. What is tracked is tested in package nat.

// readdressed is a packet with another source or destination, at that offset.
func readdressed(b []byte, at int, a netip.Addr) []byte {
	b, raw := append([]byte(nil), b...), a.As16()
	copy(b[at:], raw[:])
	return b
}

// loses has each packet of a station's be lost for a reason, with no word to anybody.
func (l *routedLab) loses(s *station, v Verdict, packets ...[]byte) {
	l.t.Helper()
	for i, b := range packets {
		s.send(b)
		s.drops(v, uint64(i+1))
	}
	s.settle(uint64(len(packets)))
	for _, other := range []*station{l.guest, l.server, l.world} {
		other.silent()
	}
}

func TestRFC6092REC1(t *testing.T) {
	for _, a := range []string{"ff02::1", "ff05::1", "ff0e::1"} {
		l := newChainLab(t, Tracked)
		out, in := l.both()
		l.loses(l.guest, BadPacket, readdressed(out, 22, netip.MustParseAddr(a)))
		l.loses(l.world, BadPacket, readdressed(in, 22, netip.MustParseAddr(a)))
	}
}

// TestRFC6092REC2 has groups of every scope, by the gateway's MAC address and by their
// own.
func TestRFC6092REC2(t *testing.T) {
	for _, scope := range []string{"ff01::9", "ff02::9", "ff05::9", "ff08::9", "ff0e::9"} {
		l := newChainLab(t, Tracked)
		l.lead(l.dmz, RoutingConfig{Uplink: l.uplink, IPv6: Plain})
		group := netip.MustParseAddr(scope)
		out, in := l.both()
		out, in = readdressed(out, 38, group), readdressed(in, 38, group)
		l.loses(l.guest, BadPacket, out)
		l.loses(l.world, BadPacket, in)
		mac := ndp.GroupMAC(group)
		copy(out, mac[:])
		copy(in, mac[:])
		l.guest.send(out)
		l.guest.settle(2)
		l.world.send(in)
		l.world.settle(2)
		for _, s := range []*station{l.guest, l.server, l.world} {
			s.silent()
		}
	}
}

// TestRFC6092REC5 has a guest say that it is somebody else: outside, in another network,
// or of unique local addresses that nobody has given it.
func TestRFC6092REC5(t *testing.T) {
	l := newChainLab(t, Tracked)
	out, _ := l.both()
	var forged [][]byte
	for _, a := range []string{farIP, serverIP, outsideIP, "fd00:9::5", "10.0.0.1"} {
		forged = append(forged, readdressed(out, 22, ipv6.addr(a)))
	}
	l.loses(l.guest, SourceAddress, forged...)
	l.guest.send(out)
	if b := l.world.next().Bytes; string(b[22:]) != string(out[22:]) {
		t.Errorf("received % x", b)
	}
}

// TestRFC6092REC6 has somebody outside say that he is of a network here.
func TestRFC6092REC6(t *testing.T) {
	for _, by := range []Treatment{Plain, Tracked} {
		l := newChainLab(t, by)
		l.lead(l.dmz, RoutingConfig{Uplink: l.uplink})
		_, in := l.both()
		var forged [][]byte
		for _, a := range []string{guestIP, "10.0.0.77", serverIP, outsideIP, "10.0.0.1"} {
			forged = append(forged, readdressed(in, 22, ipv6.addr(a)))
		}
		l.loses(l.world, SourceAddress, forged...)
		l.world.send(in)
		if b := l.guest.next().Bytes; string(b[22:]) != string(in[22:]) {
			t.Errorf("received % x", b)
		}
	}
}

// serving is a lab whose networks serve all that there is, and whose "lan" anybody may
// reach.
func serving(t *testing.T) *routedLab {
	l := newSixLab(t, func(c *GatewayConfig) { c.DNS, c.DHCPv6, c.RA = true, true, true })
	l.introduce()
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	return l
}

// unserved sends packets of the world's, which no service of any network gets.
func (l *routedLab) unserved(packets ...[]byte) {
	l.t.Helper()
	for _, b := range packets {
		l.world.send(b)
	}
	l.world.settle(uint64(len(packets)))
	for _, n := range []*Network{l.net, l.uplink.Network()} {
		for s := range numServices {
			if m := n.Gateway().Inbox(s).Poll(); m != nil {
				l.t.Errorf("inbox %d of %s has % x", s, n.Name(), m.Frame.Bytes())
			}
		}
	}
}

// TestRFC6092REC8 asks the resolver from outside, at the uplink's address and at that of
// the gateway inside, which guests use.
func TestRFC6092REC8(t *testing.T) {
	l := serving(t)
	var asked [][]byte
	for _, to := range []string{outsideIP, "10.0.0.1"} {
		for protocol, l4 := range map[byte][]byte{frame.ProtoUDP: udp(999, 53, "who?"), frame.ProtoTCP: segment(999, 53, 1, 0, syn, "", "")} {
			b, _ := to6(t, l.fromWorld(farIP, to, protocol, l4), frame.Offload{})
			asked = append(asked, b)
		}
	}
	l.unserved(asked...)
	b, _ := to6(t, l.fromGuest("10.0.0.1", frame.ProtoUDP, udp(999, 53, "who?")), frame.Offload{})
	l.guest.send(b)
	l.guest.settle(1)
	if l.net.Gateway().Inbox(DNS).Poll() == nil {
		t.Error("a guest is not heard")
	}
}

// TestRFC6092REC9 looks for a DHCPv6 server from outside, and for a router.
func TestRFC6092REC9(t *testing.T) {
	l := serving(t)
	var asked [][]byte
	for _, to := range []netip.Addr{dhcp6Servers, netip.MustParseAddr("ff05::1:3"), ipv6.addr(outsideIP), lan6} {
		b, _ := to6(t, l.fromWorld(worldIP, outsideIP, frame.ProtoUDP, udp(546, 547, "solicit")), frame.Offload{})
		b = readdressed(b, 38, to)
		b[60], b[61] = 0, 0
		sum := frame.Checksum(b[54:], frame.PseudoHeader(b[22:38], b[38:54], frame.ProtoUDP, len(b)-54))
		b[60], b[61] = byte(sum>>8), byte(sum)
		if to.IsMulticast() {
			copy(b, group(to))
		}
		asked = append(asked, b)
	}
	l.unserved(append(asked, l.world.nd(uplinkMAC, netip.MustParseAddr("fe80::1"), ndp.AllRouters, ndp.Solicitation(l.world.mac)))...)
	inside := l.guest.nd(gatewayMAC, ndp.LinkLocal(l.guest.mac), ndp.AllRouters, ndp.Solicitation(l.guest.mac))
	l.guest.send(inside)
	l.guest.settle(1)
	if l.net.Gateway().Inbox(Solicit).Poll() == nil {
		t.Error("a guest is not heard")
	}
}

// TestRFC6092REC50 tries every port of the uplink's address: nobody serves there.
func TestRFC6092REC50(t *testing.T) {
	l := serving(t)
	var tried [][]byte
	for _, port := range []uint16{22, 53, 80, 161, 443, 546, 547, 5353, 8080, 51820} {
		for protocol, l4 := range map[byte][]byte{frame.ProtoUDP: udp(999, port, "x"), frame.ProtoTCP: segment(999, port, 1, 0, syn, "", "")} {
			b, _ := to6(t, l.fromWorld(farIP, outsideIP, protocol, l4), frame.Offload{})
			tried = append(tried, b)
		}
	}
	l.unserved(tried...)
	l.world.drops(NoService, uint64(len(tried)))
	l.world.silent()
}
