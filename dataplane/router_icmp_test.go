package dataplane

import (
	"encoding/binary"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// aged has a packet's TTL set.
func aged(b []byte, ttl byte) []byte {
	b = append([]byte(nil), b...)
	b[22] = ttl
	return rechecked(b)
}

// Some packets are lost without a word (RFC 1122 clause 3.2.2): fragments but for the
// first, errors, and what is for all.
func TestRouterTellsNobody(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{})
	whole := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "0123456789abcdef"))
	n := uint64(0)
	for what, b := range map[string][]byte{
		"a later fragment": piece(whole, 1, 8, 16, false),
		"an error":         l.fromGuest(farIP, frame.ProtoICMP, icmpAbout(3, 3, 0, whole)),
		"half an error":    packet(gatewayMAC, l.guest.mac, guestIP, farIP, frame.ProtoICMP, []byte{3, 3}),
		"a redirect":       l.fromGuest(farIP, frame.ProtoICMP, icmpAbout(5, 0, 0, whole)),
	} {
		l.guest.send(aged(b, 1))
		n++
		l.guest.drops(TTLExceeded, n)
		l.guest.settle(n)
		if f, ok := l.guest.poll(); ok {
			t.Errorf("%s is answered: % x", what, f.Bytes)
		}
	}
	l.guest.send(aged(l.fromGuest("10.0.0.255", frame.ProtoUDP, udp(1, 2, "x")), 9))
	l.guest.drops(NoRoute, 1)
	l.guest.send(l.fromGuest("10.0.0.99", frame.ProtoUDP, udp(1, 2, "x")))
	l.guest.drops(NoRoute, 2)
	l.guest.expectError(3, 1, l.fromGuest("10.0.0.99", frame.ProtoUDP, udp(1, 2, "x")))
	first := piece(whole, 2, 0, 16, true)
	l.guest.send(aged(first, 1))
	l.guest.expectError(11, 0, aged(first, 1))
	l.guest.silent()
}

// Errors are few, however many packets there are to complain about.
func TestRouterErrorsAreFew(t *testing.T) { bothFamilies(t, testRouterErrorsAreFew) }

func testRouterErrorsAreFew(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	const many = 500
	old := aged(l.fromGuest(farIP, frame.ProtoUDP, udp(1, 2, "x")), 1)
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
}

// A packet from outside whose time is over on its way in comes back as an error about
// what its sender knows; one to the uplink itself is there already.
func TestRouterTTLInbound(t *testing.T) { bothFamilies(t, testRouterTTLInbound) }

func testRouterTTLInbound(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{Zone: v.published(frame.ProtoUDP, 53, 53, guestIP+":53")})
	old := aged(l.fromWorld(farIP, outsideIP, frame.ProtoUDP, udp(7, 53, "x")), 1)
	l.world.send(old)
	l.world.expectError(11, 0, old)
	l.world.drops(TTLExceeded, 1)
	ping := aged(l.fromWorld(farIP, outsideIP, frame.ProtoICMP, echo(icmpEcho, 1, "x")), 1)
	l.world.send(ping)
	want := sealed(packet(l.world.mac, uplinkMAC, outsideIP, farIP, frame.ProtoICMP, echo(icmpEchoReply, 1, "x")))
	l.world.expect(want)
	l.guest.silent()
}

// An echo request whose checksum its sender has left to others is answered with a whole
// one.
func TestEchoPartialChecksum(t *testing.T) {
	v := ipv4
	l := newNATLab(t, v, RoutingConfig{})
	ping := packet(gatewayMAC, l.guest.mac, guestIP, outsideIP, frame.ProtoICMP, echo(icmpEcho, 1, "whole"))
	l.guest.sendOffload(ping, frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 34, CsumOffset: 2})
	got := l.guest.next()
	want := sealed(packet(l.guest.mac, gatewayMAC, outsideIP, guestIP, frame.ProtoICMP, echo(icmpEchoReply, 1, "whole")))
	if string(got.Bytes) != string(want) || got.Offload.Flags&frame.NeedsChecksum != 0 {
		t.Errorf("answered % x with %+v, want % x", got.Bytes, got.Offload, want)
	}
}

// A gateway in a VLAN routes for that one, errors and answers included, and the uplink
// carries no tag.
func TestRouterVLAN(t *testing.T) { bothFamilies(t, testRouterVLAN) }

func testRouterVLAN(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	cfg := l.net.Config()
	cfg.Gateway.VLAN = 7
	l.net.Reconfigure(cfg, map[string]Policy{"guest": {VLAN: vlans(0, [2]uint16{7, 8})}})
	_ = l.net.AddStatic(7, l.guest.mac, "guest")
	l.net.neighbors.learn(v.addr(guestIP), l.guest.mac, true, 1)
	out := udp(5000, 7, "x")
	l.guest.send(tagged(l.fromGuest(farIP, frame.ProtoUDP, out), 0x6000|7)) // with a priority
	l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoUDP, out))
	back := udp(7, 5000, "y")
	l.world.send(tagged(l.fromWorld(farIP, outsideIP, frame.ProtoUDP, back), 0x6000))
	l.guest.expect(tagged(l.toGuest(farIP, frame.ProtoUDP, back), 7))
	l.guest.send(tagged(aged(l.fromGuest(farIP, frame.ProtoUDP, out), 1), 7))
	if b := l.guest.next().Bytes; binary.BigEndian.Uint32(b[12:]) != 0x81000007 || b[38] != 11 {
		t.Errorf("answered % x, want an error in VLAN 7", b)
	}
	l.guest.send(tagged(l.fromGuest(outsideIP, frame.ProtoICMP, echo(icmpEcho, 1, "x")), 7))
	if b := l.guest.next().Bytes; binary.BigEndian.Uint32(b[12:]) != 0x81000007 || b[38] != icmpEchoReply {
		t.Errorf("answered % x, want an echo in VLAN 7", b)
	}
	l.guest.send(tagged(l.fromGuest(farIP, frame.ProtoUDP, out), 8))
	l.guest.drops(NoDestination, 1) // in another VLAN the gateway's address is as any
	l.world.silent()
}
