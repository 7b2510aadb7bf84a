package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// A routed packet goes out by the uplink's next hop and back, with its TTL lowered and
// nothing else changed; the first one waits for ARP.
func TestRoute(t *testing.T) { bothFamilies(t, testRoute) }

func testRoute(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	out := packet(gatewayMAC, l.guest.mac, guestIP, farIP, frame.ProtoUDP, udp(5000, 7, "out"))
	l.guest.send(out)
	l.world.asksFor(uplinkMAC, "192.0.2.2", worldIP)
	l.world.expect(routedOnce(out, l.world.mac, uplinkMAC))
	l.guest.send(out)
	l.world.expect(routedOnce(out, l.world.mac, uplinkMAC))

	in := packet(uplinkMAC, l.world.mac, farIP, guestIP, frame.ProtoUDP, udp(7, 5000, "in"))
	l.world.send(in)
	l.guest.asksFor(gatewayMAC, "10.0.0.1", guestIP)
	l.guest.expect(routedOnce(in, l.guest.mac, gatewayMAC))
}

// What a router must not forward goes nowhere, and is counted under its reason.
func TestRouterRefuses(t *testing.T) {
	l := newRoutedLab(t, ipv4)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	good := func() []byte {
		return packet(gatewayMAC, l.guest.mac, guestIP, farIP, frame.ProtoUDP, udp(5000, 7, "x"))
	}
	damaged, sourceRoute, forged, own, loop, group, old := good(), good(), good(), good(), good(), good(), good()
	damaged[24]++
	sourceRoute = append(append(append([]byte(nil), sourceRoute[:34]...), 131, 7, 4, 198, 51, 100, 9, 0), sourceRoute[34:]...)
	sourceRoute[14], sourceRoute[17] = 0x47, sourceRoute[17]+8
	forged[26] = 11
	copy(own[26:], []byte{10, 0, 0, 1})
	loop[30] = 127
	group[30] = 224
	old[22] = 1
	count := map[Verdict]uint64{}
	for _, test := range []struct {
		what    string
		packet  []byte
		verdict Verdict
		answer  bool
	}{
		{"damaged", damaged, BadPacket, false},
		{"with a source route", rechecked(sourceRoute), BadPacket, false},
		{"from another network", rechecked(forged), SourceAddress, false},
		{"from the gateway itself", rechecked(own), SourceAddress, false},
		{"to loopback", rechecked(loop), BadPacket, false},
		{"to a group", rechecked(group), BadPacket, false},
		{"at the end of its time", rechecked(old), TTLExceeded, true},
	} {
		l.guest.send(test.packet)
		count[test.verdict]++
		l.guest.drops(test.verdict, count[test.verdict])
		if test.answer {
			if b := l.guest.next().Bytes; b[23] != frame.ProtoICMP || b[34] != 11 {
				t.Errorf("%s: answered % x", test.what, b)
			}
		}
	}
	l.guest.send(good())
	l.world.asksFor(uplinkMAC, "192.0.2.2", worldIP)
	l.world.expect(routedOnce(good(), l.world.mac, uplinkMAC))
	l.guest.silent()
}

// Two networks talk where each names the other, and else do not, not even by an uplink
// that both have.
func TestReach(t *testing.T) { bothFamilies(t, testReach) }

func testReach(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink, IPv4: Translated, IPv6: Translated})
	l.lead(l.dmz, RoutingConfig{Uplink: l.uplink, IPv4: Translated, IPv6: Translated})
	out := packet(gatewayMAC, l.guest.mac, guestIP, serverIP, frame.ProtoUDP, udp(5000, 7, "x"))
	l.lead(l.net, RoutingConfig{Reach: []Reach{{l.dmz, []netip.Prefix{v.prefix("10.1.0.0/24")}}}})
	l.guest.send(out)
	l.server.asksFor(dmzMAC, "10.1.0.1", serverIP)
	l.server.expect(routedOnce(out, l.server.mac, dmzMAC))
	back := packet(dmzMAC, l.server.mac, serverIP, guestIP, frame.ProtoUDP, udp(7, 5000, "y"))
	l.lead(l.dmz, RoutingConfig{})
	l.server.send(back)
	l.server.drops(NoRoute, 1)
	if b := l.server.next().Bytes; b[34] != 3 || b[35] != 0 {
		t.Errorf("answered % x, want net unreachable", b)
	}
}

// What is longer than the next network takes comes back as an error with its MTU, or
// goes on in fragments where it may.
func TestRouterMTU(t *testing.T) {
	l := newRoutedLab(t, ipv4)
	cfg := l.uplink.Config()
	cfg.MTU = 1000
	l.uplink.Reconfigure(cfg)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	l.world.says(broadcast, arpRequest, worldIP, "192.0.2.2")
	if b := l.world.next().Bytes; b[21] != arpReply || frame.MAC(b[22:28]) != uplinkMAC {
		t.Fatalf("received % x, want an answer to ARP", b)
	}
	long := packet(gatewayMAC, l.guest.mac, guestIP, farIP, frame.ProtoUDP, udp(5000, 7, string(make([]byte, 1200))))
	long[20] = 0x40
	l.guest.send(rechecked(long))
	l.guest.drops(TooBig, 1)
	if b := l.guest.next().Bytes; b[34] != 3 || b[35] != 4 || binary.BigEndian.Uint16(b[40:]) != 1000 || frame.Checksum(b[34:], 0) != 0 {
		t.Errorf("answered % x, want fragmentation needed for 1000 bytes", b)
	}
	long[20] = 0
	l.guest.send(rechecked(long))
	total := 0
	for range 2 {
		b := l.world.next().Bytes
		if len(b) > 1014 || frame.Checksum(b[14:34], 0) != 0 || b[22] != 63 {
			t.Errorf("received %d bytes % x", len(b), b[:40])
		}
		total += len(b) - 34
	}
	if total != 1208 {
		t.Errorf("the fragments hold %d bytes, want 1208", total)
	}
}

// A station that does not answer costs what waits for it, and no more.
func TestNeighborSilent(t *testing.T) { bothFamilies(t, testNeighborSilent) }

func testNeighborSilent(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	for i := range maxHeld + 3 {
		l.guest.send(packet(gatewayMAC, l.guest.mac, guestIP, farIP, frame.ProtoUDP, udp(uint16(i), 7, "x")))
	}
	l.guest.drops(NoNeighbor, 3)
	for range maxTries {
		if b := l.world.next().Bytes; b[13] != 6 || b[21] != arpRequest {
			t.Fatalf("received % x, want a request", b)
		}
	}
	eventually(t, func() bool { return len(l.uplink.Network().Neighbors()) == 0 }, func() {
		t.Error("the station that never answered is still sought")
	})
	l.world.silent()
}

// The uplink answers echo to its own address, from both sides, and nothing else.
func TestUplinkAnswers(t *testing.T) { bothFamilies(t, testUplinkAnswers) }

func testUplinkAnswers(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	echo := []byte{icmpEcho, 0, 0, 0, 0, 9, 0, 1}
	binary.BigEndian.PutUint16(echo[2:], frame.Checksum(echo, 0))
	for _, test := range []struct {
		s    *station
		via  frame.MAC
		from string
	}{{l.guest, gatewayMAC, guestIP}, {l.world, uplinkMAC, farIP}} {
		test.s.send(packet(test.via, test.s.mac, test.from, "192.0.2.2", frame.ProtoICMP, echo))
		b := test.s.next().Bytes
		if frame.MAC(b[:6]) != test.s.mac || b[34] != icmpEchoReply || frame.Checksum(b[34:], 0) != 0 || frame.Checksum(b[14:34], 0) != 0 {
			t.Errorf("answered % x, want the echo", b)
		}
	}
	l.world.send(packet(uplinkMAC, l.world.mac, farIP, "192.0.2.2", frame.ProtoUDP, udp(1, 2, "x")))
	l.world.drops(NoService, 1)
	l.world.send(packet(uplinkMAC, l.world.mac, farIP, "203.0.113.1", frame.ProtoUDP, udp(1, 2, "x")))
	l.world.drops(NoRoute, 1)
	l.world.silent()
}

// An uplink whose network is gone leads there no more, and one that is gone leads
// nowhere.
func TestUplinkLife(t *testing.T) { bothFamilies(t, testUplinkLife) }

func testUplinkLife(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	l.lead(l.net, RoutingConfig{})
	l.guest.send(packet(gatewayMAC, l.guest.mac, guestIP, farIP, frame.ProtoUDP, udp(1, 7, "x")))
	l.guest.drops(NoRoute, 1)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	l.sw.RemoveNetwork("lan")
	l.world.send(packet(uplinkMAC, l.world.mac, farIP, guestIP, frame.ProtoUDP, udp(7, 1, "x")))
	l.world.drops(NoRoute, 1)
	l.sw.RemoveUplink("eth0")
	if n := len(l.sw.Uplinks()); n != 0 {
		t.Errorf("%d uplinks are left", n)
	}
}

// What belongs to a network here is not looked for outside.
func TestBarred(t *testing.T) { bothFamilies(t, testBarred) }

func testBarred(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink, Barred: []netip.Prefix{v.prefix("10.1.0.0/24")}})
	l.guest.send(packet(gatewayMAC, l.guest.mac, guestIP, serverIP, frame.ProtoUDP, udp(5000, 7, "x")))
	l.guest.drops(Prohibited, 1)
	l.world.silent()
}
