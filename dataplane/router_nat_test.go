package dataplane

import (
	"encoding/binary"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
)

const outsideIP = "192.0.2.2"

// What is translated differs in its address, its TTL and the checksums that cover them
// from what was sent, and in nothing else, both ways.
func TestNATBothWays(t *testing.T) { bothFamilies(t, testNATBothWays) }

func testNATBothWays(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	for _, test := range []struct {
		what      string
		protocol  byte
		out, back []byte
	}{
		{"UDP", frame.ProtoUDP, udp(5000, 7, "question"), udp(7, 5000, "answer")},
		{"TCP", frame.ProtoTCP, segment(5001, 80, 99, 0, syn, "\x02\x04\x05\xb4", ""), segment(80, 5001, 7, 100, syn|ack, "\x02\x04\x05\xb4", "")},
		{"data of TCP", frame.ProtoTCP, segment(5001, 80, 100, 8, ack, "", "GET /"), segment(80, 5001, 8, 105, ack, "", "200 OK.")},
		{"echo", frame.ProtoICMP, echo(icmpEcho, 7777, "ping!"), echo(icmpEchoReply, 7777, "ping!")},
	} {
		l.guest.send(l.fromGuest(farIP, test.protocol, test.out))
		l.world.expect(l.toWorld(outsideIP, farIP, test.protocol, test.out))
		l.world.send(l.fromWorld(farIP, outsideIP, test.protocol, test.back))
		l.guest.expect(l.toGuest(farIP, test.protocol, test.back))
	}
	// UDP without a checksum has none afterwards.
	bare := packet(gatewayMAC, l.guest.mac, guestIP, farIP, frame.ProtoUDP, udp(5000, 7, "bare"))
	l.guest.send(bare)
	l.world.expect(routedOnce(packet(l.world.mac, uplinkMAC, outsideIP, farIP, frame.ProtoUDP, udp(5000, 7, "bare")), l.world.mac, uplinkMAC))
	if drops := l.guest.port.Stats().Drops; len(drops) != 0 {
		t.Errorf("drops: %v", drops)
	}
}

// A partial checksum stays one for a port that completes it, and is complete and right
// at one that cannot.
func TestNATPartialChecksum(t *testing.T) { bothFamilies(t, testNATPartialChecksum) }

func testNATPartialChecksum(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	l4 := udp(5000, 7, "partial")
	partial := func(b []byte) []byte {
		sum := ^frame.Checksum(nil, frame.PseudoHeader(b[26:30], b[30:34], frame.ProtoUDP, len(b)-34))
		binary.BigEndian.PutUint16(b[40:], sum)
		return b
	}
	offload := frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 34, CsumOffset: 6}
	l.guest.sendOffload(partial(l.fromGuest(farIP, frame.ProtoUDP, l4)), offload)
	got := l.world.next()
	if want := partial(l.toWorld(outsideIP, farIP, frame.ProtoUDP, l4)); string(got.Bytes) != string(want) || got.Offload != offload {
		t.Errorf("received % x with %+v, want % x", got.Bytes, got.Offload, want)
	}
	l.world.port.Detach()
	l.world.io = newIO(l, l.world, 0)
	l.guest.sendOffload(partial(l.fromGuest(farIP, frame.ProtoUDP, l4)), offload)
	l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoUDP, l4))
}

// A super-frame is translated whole, and its segments are right at a port that needs
// them.
func TestNATSuperFrame(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{})
	l.world.port.Detach()
	l.world.io = newIO(l, l.world, 0)
	payload := make([]byte, 3500)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	super := l.fromGuest(farIP, frame.ProtoTCP, segment(5000, 80, 1000, 1, ack, "", string(payload)))
	binary.BigEndian.PutUint16(super[50:], ^frame.Checksum(nil, frame.PseudoHeader(super[26:30], super[30:34], frame.ProtoTCP, len(super)-34)))
	l.guest.sendOffload(super, frame.Offload{Flags: frame.NeedsChecksum, GSOType: frame.GSOTCPv4, GSOSize: 1400, CsumStart: 34, CsumOffset: 16})
	for i, n := range []int{1400, 1400, 700} {
		want := l.toWorld(outsideIP, farIP, frame.ProtoTCP, segment(5000, 80, uint32(1000+1400*i), 1, ack, "", string(payload[1400*i:][:n])))
		binary.BigEndian.PutUint16(want[18:], uint16(i)) // the segmenter counts
		l.world.expect(rechecked(want))
	}
}

// A partial checksum that would be written over an address or a port, after all has
// been looked at, goes nowhere.
func TestRouterChecksumElsewhere(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{})
	good := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "0123456789"))
	n := uint64(0)
	for _, o := range []frame.Offload{
		{CsumStart: 14, CsumOffset: 12}, {CsumStart: 14, CsumOffset: 16}, {CsumStart: 33, CsumOffset: 1},
		{CsumStart: 34, CsumOffset: 0}, {CsumStart: 34, CsumOffset: 2}, {CsumStart: 35, CsumOffset: 0}, {CsumStart: 41},
	} {
		o.Flags = frame.NeedsChecksum
		l.guest.sendOffload(good, o)
		n++
		l.guest.drops(BadOffload, n)
		l.world.sendOffload(l.fromWorld(farIP, outsideIP, frame.ProtoUDP, udp(7, 5000, "0123456789")), o)
		l.world.drops(BadOffload, n)
	}
	inner := frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 42, CsumOffset: 6} // a tunnel's
	l.guest.sendOffload(good, inner)
	if got := l.world.next(); got.Offload != inner {
		t.Errorf("received with %+v", got.Offload)
	}
}

// A published port leads to its station, which sees who asks; also from inside.
func TestNATPublish(t *testing.T) { bothFamilies(t, testNATPublish) }

func testNATPublish(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{Zone: v.published(frame.ProtoTCP, 8080, 8081, guestIP+":80")})
	l.world.send(l.fromWorld(farIP, outsideIP, frame.ProtoTCP, segment(999, 8081, 5, 0, syn, "", "")))
	l.guest.expect(l.toGuest(farIP, frame.ProtoTCP, segment(999, 81, 5, 0, syn, "", "")))
	l.guest.send(l.fromGuest(farIP, frame.ProtoTCP, segment(81, 999, 50, 6, syn|ack, "", "")))
	l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoTCP, segment(8081, 999, 50, 6, syn|ack, "", "")))
	l.world.send(l.fromWorld(farIP, outsideIP, frame.ProtoTCP, segment(999, 8082, 5, 0, syn, "", "")))
	l.world.drops(NoService, 1)
	l.guest.silent()
}

// A station that talks to an outside address of its own uplink reaches a station behind
// it, from the outside address (RFC 4787 REQ-9), and has one router on the way.
func TestNATHairpin(t *testing.T) { bothFamilies(t, testNATHairpin) }

func testNATHairpin(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{Zone: v.published(frame.ProtoUDP, 53, 53, "10.0.0.6:5353")})
	other := l.station(l.net, "other", frame.CapAll)
	l.meet(l.net, other, "10.0.0.6")
	l.guest.send(l.fromGuest(outsideIP, frame.ProtoUDP, udp(5000, 53, "who?")))
	other.expect(routedOnce(sealed(packet(other.mac, gatewayMAC, outsideIP, "10.0.0.6", frame.ProtoUDP, udp(5000, 5353, "who?"))), other.mac, gatewayMAC))
	other.send(sealed(packet(gatewayMAC, other.mac, "10.0.0.6", outsideIP, frame.ProtoUDP, udp(5353, 5000, "me"))))
	l.guest.expect(l.toGuest(outsideIP, frame.ProtoUDP, udp(53, 5000, "me")))
	l.world.silent()
}

// What is published of another network is reached by the uplink's address only where
// that network is in Reach; the sender is told about the packet that it knows.
func TestNATHairpinElsewhere(t *testing.T) { bothFamilies(t, testNATHairpinElsewhere) }

func testNATHairpinElsewhere(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	l.lead(l.dmz, RoutingConfig{Uplink: l.uplink, IPv4: Translated, IPv6: Translated, Zone: v.published(frame.ProtoUDP, 53, 53, serverIP+":53")})
	ask := l.fromGuest(outsideIP, frame.ProtoUDP, udp(5000, 53, "who?"))
	l.guest.send(ask)
	l.guest.drops(Prohibited, 1)
	l.guest.expectError(3, 13, ask)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink, IPv4: Translated, IPv6: Translated, Reach: []Reach{{l.dmz, v.prefixes("10.1.0.0/24")}}})
	l.guest.send(ask)
	l.server.expect(routedOnce(sealed(packet(l.server.mac, dmzMAC, outsideIP, serverIP, frame.ProtoUDP, udp(5000, 53, "who?"))), l.server.mac, dmzMAC))
	cfg := l.dmz.Config()
	cfg.MTU = 1000
	l.dmz.Reconfigure(cfg, nil)
	l.meet(l.dmz, l.server, serverIP)
	long := l.fromGuest(outsideIP, frame.ProtoUDP, udp(5000, 53, string(make([]byte, 1200))))
	long[20] = dontFragment
	l.guest.send(rechecked(long))
	l.guest.expectError(3, 4, long)
	l.server.silent()
}

// expectError expects an ICMP error about a packet, which is in a frame, as it was.
func (s *station) expectError(kind, code byte, about []byte) []byte {
	s.t.Helper()
	b := s.next().Bytes
	if s.v.six { // the flags of fragments are lost there
		about, _ = to6(s.t, about, frame.Offload{})
		about, _ = to4(s.t, about, frame.Offload{})
	}
	if len(b) < 70 || b[23] != frame.ProtoICMP || b[34] != kind || b[35] != code || frame.Checksum(b[34:], 0) != 0 || frame.Checksum(b[14:34], 0) != 0 {
		s.t.Fatalf("%s received % x, want ICMP %d/%d", s.mac, b, kind, code)
	}
	if quoted := b[42:]; len(quoted) > 548 || string(quoted) != string(about[14:min(len(about), 14+len(quoted))]) ||
		frame.MAC(b[:6]) != s.mac || [4]byte(b[30:34]) != [4]byte(about[26:30]) {
		s.t.Fatalf("%s was told % x about % x", s.mac, b, about)
	}
	return b
}

// An error from outside reaches the station with the packet that it knows inside, and
// one from inside the host outside.
func TestNATErrors(t *testing.T) { bothFamilies(t, testNATErrors) }

func testNATErrors(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	out := segment(5000, 80, 99, 0, syn, "", "")
	l.guest.send(l.fromGuest(farIP, frame.ProtoTCP, out))
	sent := l.toWorld(outsideIP, farIP, frame.ProtoTCP, out)
	l.world.expect(sent)
	known := l.fromGuest(farIP, frame.ProtoTCP, out)
	known[22]-- // as the router in between has it
	known = rechecked(known)
	l.world.send(l.fromWorld("203.0.113.9", outsideIP, frame.ProtoICMP, icmpAbout(3, 4, 1280, sent)))
	l.guest.expect(l.toGuest("203.0.113.9", frame.ProtoICMP, icmpAbout(3, 4, 1280, known)))

	question := udp(5001, 7, "question")
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, question))
	l.world.next()
	answer := udp(7, 5001, "answer")
	l.world.send(l.fromWorld(farIP, outsideIP, frame.ProtoUDP, answer))
	got := l.guest.next().Bytes
	l.guest.send(l.fromGuest(farIP, frame.ProtoICMP, icmpAbout(3, 3, 0, got)))
	asked := l.fromWorld(farIP, outsideIP, frame.ProtoUDP, answer)
	asked[22]--
	l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoICMP, icmpAbout(3, 3, 0, rechecked(asked))))

	forged := l.toWorld(outsideIP, farIP, frame.ProtoTCP, segment(5000, 80, 1<<30, 0, ack, "", ""))
	l.world.send(l.fromWorld("203.0.113.9", outsideIP, frame.ProtoICMP, icmpAbout(3, 3, 0, forged)))
	l.world.drops(NATInvalid, 1)
	l.guest.silent()
}

// piece is a fragment of a packet in a frame.
func piece(b []byte, id, offset, length int, more bool) []byte {
	p := append(append([]byte(nil), b[:34]...), b[34+offset:][:length]...)
	binary.BigEndian.PutUint16(p[16:], uint16(20+length))
	binary.BigEndian.PutUint16(p[18:], uint16(id))
	flags := uint16(offset / 8)
	if more {
		flags |= 0x2000
	}
	binary.BigEndian.PutUint16(p[20:], flags)
	return rechecked(p)
}

// Fragments are translated in whichever order they come: the first one goes first.
func TestNATFragments(t *testing.T) { bothFamilies(t, testNATFragments) }

func testNATFragments(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	text := string(make([]byte, 40))
	in, out := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, text)), l.toWorld(outsideIP, farIP, frame.ProtoUDP, udp(5000, 7, text))
	l.guest.send(piece(in, 9, 32, 16, false))
	l.guest.send(piece(in, 9, 16, 16, true))
	l.guest.settle(2)
	l.world.silent()
	l.guest.send(piece(in, 9, 0, 16, true))
	l.world.expect(piece(out, 9, 0, 16, true))
	l.world.expect(piece(out, 9, 32, 16, false))
	l.world.expect(piece(out, 9, 16, 16, true))

	in, out = l.fromWorld(farIP, outsideIP, frame.ProtoUDP, udp(7, 5000, text)), l.toGuest(farIP, frame.ProtoUDP, udp(7, 5000, text))
	l.world.send(piece(in, 8, 24, 24, false))
	l.world.send(piece(in, 8, 0, 24, true))
	l.guest.expect(piece(out, 8, 0, 24, true))
	l.guest.expect(piece(out, 8, 24, 24, false))
	if drops := l.guest.port.Stats().Drops; len(drops) != 0 {
		t.Errorf("drops: %v", drops)
	}
}

// Two networks with the same addresses share an uplink, and each has its own answers.
func TestNATSameSubnet(t *testing.T) { bothFamilies(t, testNATSameSubnet) }

func testNATSameSubnet(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	cfg := l.dmz.Config()
	v.address(&cfg.Gateway, "10.0.0.1/24")
	l.dmz.Reconfigure(cfg, nil)
	l.meet(l.dmz, l.server, guestIP)
	l.lead(l.dmz, RoutingConfig{Uplink: l.uplink, IPv4: Translated, IPv6: Translated})
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "one")))
	l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoUDP, udp(5000, 7, "one")))
	l.server.send(sealed(packet(dmzMAC, l.server.mac, guestIP, farIP, frame.ProtoUDP, udp(5000, 7, "two"))))
	port := binary.BigEndian.Uint16(l.world.next().Bytes[34:])
	l.world.send(l.fromWorld(farIP, outsideIP, frame.ProtoUDP, udp(7, port, "to two")))
	l.server.expect(routedOnce(sealed(packet(l.server.mac, dmzMAC, farIP, guestIP, frame.ProtoUDP, udp(7, 5000, "to two"))), l.server.mac, dmzMAC))
	l.world.send(l.fromWorld(farIP, outsideIP, frame.ProtoUDP, udp(7, 5000, "to one")))
	l.guest.expect(l.toGuest(farIP, frame.ProtoUDP, udp(7, 5000, "to one")))
	l.server.silent()
	if port == 5000 {
		t.Error("two flows have one outside port")
	}
}

// Where no flow can be made, the frame is lost under the table's reason.
func TestNATVerdicts(t *testing.T) { bothFamilies(t, testNATVerdicts) }

func testNATVerdicts(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{Zone: nat.ZoneConfig{MaxFlows: 2, MaxPerHost: 1}})
	send := func(from string, port uint16) {
		l.guest.send(sealed(packet(gatewayMAC, l.guest.mac, from, farIP, frame.ProtoUDP, udp(port, 7, "x"))))
	}
	send(guestIP, 1000)
	send(guestIP, 1001)
	l.guest.drops(NATHostFull, 1)
	send("10.0.0.6", 1000)
	send("10.0.0.7", 1000)
	l.guest.drops(NATTableFull, 1)
	l.world.next()
	mapped := binary.BigEndian.Uint16(l.world.next().Bytes[34:])
	l.world.send(l.fromWorld("198.51.100.8", outsideIP, frame.ProtoUDP, udp(7, mapped, "x")))
	l.world.drops(NATFiltered, 1)
	cfg := l.uplink.Config()
	v.uplink(&cfg, "")
	cfg.Routes = []Route{{Destination: v.everywhere(), Via: v.addr(worldIP)}}
	l.uplink.Reconfigure(cfg)
	send(guestIP, 1002)
	l.guest.drops(NATPortsFull, 1)
}
