package dataplane

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
)

// The tests TestRFC… of this file are those that docs/nat-rfc.md names for what the
// router shows, one for each requirement; the others are in package nat.

// newPair is a translated network with a second guest, other, at 10.0.0.6.
func newPair(t *testing.T, v family, zone nat.ZoneConfig) (l *routedLab, other *station) {
	l = newNATLab(t, v, RoutingConfig{Zone: zone})
	other = l.station(l.net, "other", frame.CapAll)
	l.meet(l.net, other, otherIP)
	return l, other
}

const otherIP = "10.0.0.6"

// toOther is a packet for the second guest as it gets it from an outside address.
func toOther(other *station, l4 []byte) []byte {
	return routedOnce(sealed(packet(other.mac, gatewayMAC, outsideIP, otherIP, frame.ProtoUDP, l4)), other.mac, gatewayMAC)
}

// Two guests talk by the outside endpoints that they have by talking to somebody else,
// as programs do that have found each other by STUN.
func TestRFC4787REQ9(t *testing.T) { bothFamilies(t, testRFC4787REQ9) }

func testRFC4787REQ9(t *testing.T, v family) {
	l, other := newPair(t, v, nat.ZoneConfig{Filtering: nat.None})
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x")))
	l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoUDP, udp(5000, 7, "x")))
	other.send(sealed(packet(gatewayMAC, other.mac, otherIP, farIP, frame.ProtoUDP, udp(6000, 7, "x"))))
	l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoUDP, udp(6000, 7, "x")))
	for range 2 {
		l.guest.send(l.fromGuest(outsideIP, frame.ProtoUDP, udp(5000, 6000, "hello")))
		other.expect(toOther(other, udp(5000, 6000, "hello")))
		other.send(sealed(packet(gatewayMAC, other.mac, otherIP, outsideIP, frame.ProtoUDP, udp(6000, 5000, "hello too"))))
		l.guest.expect(l.toGuest(outsideIP, frame.ProtoUDP, udp(6000, 5000, "hello too")))
	}
	l.world.silent()
}

// narrow gives the uplink an MTU of 1000.
func (l *routedLab) narrow() {
	cfg := l.uplink.Config()
	cfg.MTU = 1000
	l.uplink.Reconfigure(cfg)
	l.meet(l.uplink.Network(), l.world, worldIP)
}

func TestRFC4787REQ13(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{})
	l.narrow()
	long := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, string(make([]byte, 1200))))
	long[20] = dontFragment
	l.guest.send(rechecked(long))
	if b := l.guest.expectError(3, 4, long); binary.BigEndian.Uint16(b[40:]) != 1000 {
		t.Errorf("the MTU is said to be % x, want 1000", b[40:42])
	}
	l.guest.drops(TooBig, 1)
	fits := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, string(make([]byte, 972))))
	fits[20] = dontFragment
	l.guest.send(rechecked(fits))
	if b := l.world.next().Bytes; len(b) != 1014 || b[20] != dontFragment {
		t.Errorf("received %d bytes with flags %x", len(b), b[20])
	}
	l.guest.silent()
}

func TestRFC4787REQ13a(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{})
	l.narrow()
	payload := make([]byte, 3000)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	l.widen(4000)
	l.meet(l.net, l.guest, guestIP)
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, string(payload))))
	want := l.toWorld(outsideIP, farIP, frame.ProtoUDP, udp(5000, 7, string(payload)))[34:]
	at := 0
	for more := true; more; {
		b := l.world.next().Bytes
		flags := binary.BigEndian.Uint16(b[20:])
		data := b[34:]
		if len(b) > 1014 || int(flags&0x1fff)*8 != at || string(b[26:30]) != "\xc0\x00\x02\x02" || string(data) != string(want[at:min(len(want), at+len(data))]) {
			t.Fatalf("at %d: %d bytes with flags %x came: % x", at, len(b), flags, b[:50])
		}
		at, more = at+len(data), flags&0x2000 != 0
	}
	if at != len(want) {
		t.Errorf("%d bytes came, want %d", at, len(want))
	}
}

// A SYN that nobody has asked for gets no answer, be its port mapped or not. An echo
// that is sent after it shows that none was on its way.
func TestRFC5382REQ4a(t *testing.T) { bothFamilies(t, testRFC5382REQ4a) }

func testRFC5382REQ4a(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	l.guest.send(l.fromGuest(farIP, frame.ProtoTCP, segment(5000, 80, 1, 0, syn, "", "")))
	l.world.next()
	for _, port := range []uint16{22, 5000} {
		l.world.send(l.fromWorld("198.51.100.9", outsideIP, frame.ProtoTCP, segment(999, port, 1, 0, syn, "", "")))
	}
	l.world.drops(NoService, 1)
	l.world.drops(NATFiltered, 1)
	l.world.send(l.fromWorld(farIP, outsideIP, frame.ProtoICMP, echo(icmpEcho, 1, "anybody?")))
	if b := l.world.next().Bytes; b[23] != frame.ProtoICMP || b[34] != icmpEchoReply {
		t.Errorf("a SYN was answered: % x", b)
	}
	l.guest.silent()
}

// An error about nothing that left is lost without a word, and reaches nobody.
func TestRFC5508REQ4(t *testing.T) { bothFamilies(t, testRFC5508REQ4) }

func testRFC5508REQ4(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x")))
	l.world.next()
	never := l.toWorld(outsideIP, farIP, frame.ProtoUDP, udp(5001, 7, "x"))
	l.world.send(l.fromWorld("203.0.113.9", outsideIP, frame.ProtoICMP, icmpAbout(3, 1, 0, never)))
	l.world.drops(NoService, 1)
	l.world.settle(1)
	l.world.silent()
	l.guest.silent()
}

// A guest refuses what another one has sent it by its outside endpoint: the error
// comes back to that one, from the outside address, about the packet that it knows.
func TestRFC5508REQ7(t *testing.T) { bothFamilies(t, testRFC5508REQ7) }

func testRFC5508REQ7(t *testing.T, v family) {
	l, other := newPair(t, v, v.published(frame.ProtoUDP, 53, 53, otherIP+":5353"))
	ask := l.fromGuest(outsideIP, frame.ProtoUDP, udp(5000, 53, "who?"))
	l.guest.send(ask)
	got := other.next().Bytes
	other.send(sealed(packet(gatewayMAC, other.mac, otherIP, outsideIP, frame.ProtoICMP, icmpAbout(3, 3, 0, got))))
	ask[22]-- // as it arrived
	l.guest.expect(l.toGuest(outsideIP, frame.ProtoICMP, icmpAbout(3, 3, 0, rechecked(ask))))
	l.world.silent()
}

// Where a flow may not be, its sender is told; where it cannot be, it is not.
func TestRFC5508REQ8(t *testing.T) { bothFamilies(t, testRFC5508REQ8) }

func testRFC5508REQ8(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{Zone: nat.ZoneConfig{MaxFlows: 1}})
	l.lead(l.dmz, RoutingConfig{Uplink: l.uplink})
	forbidden := l.fromGuest(serverIP, frame.ProtoUDP, udp(5000, 7, "x"))
	l.guest.send(forbidden)
	l.guest.expectError(3, 13, forbidden)
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x")))
	tooMany := l.fromGuest(farIP, frame.ProtoUDP, udp(5001, 7, "x"))
	l.guest.send(tooMany)
	l.guest.drops(NATTableFull, 1)
	l.guest.expectError(3, 13, tooMany)
	l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoUDP, udp(5000, 7, "x")))
	l.world.silent()
}

// A guest traces its way: weft is the first router, the next one outside is the
// second, and the host that it asks is where there is no such port. Each packet that
// a network refuses on the way is told about too.
func TestRFC5508REQ10a(t *testing.T) { bothFamilies(t, testRFC5508REQ10a) }

func testRFC5508REQ10a(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	probe := func(ttl byte) []byte {
		b := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 33434, "probe"))
		b[22] = ttl
		return rechecked(b)
	}
	l.guest.send(probe(1))
	if b := l.guest.expectError(11, 0, probe(1)); string(b[26:30]) != "\x0a\x00\x00\x01" {
		t.Errorf("the first router is % x", b[26:30])
	}
	for _, answer := range []struct {
		ttl, kind byte
		from      string
	}{{2, 11, worldIP}, {3, 3, farIP}} {
		l.guest.send(probe(answer.ttl))
		out := l.world.next().Bytes
		if out[22] != answer.ttl-1 || string(out[26:30]) != "\xc0\x00\x02\x02" {
			t.Fatalf("the probe left as % x", out)
		}
		l.world.send(l.fromWorld(answer.from, outsideIP, frame.ProtoICMP, icmpAbout(answer.kind, 0, 0, out)))
		known := probe(answer.ttl - 1)
		l.guest.expect(l.toGuest(answer.from, frame.ProtoICMP, icmpAbout(answer.kind, 0, 0, known)))
	}
	cfg := l.uplink.Config()
	cfg.Routes = nil
	l.uplink.Reconfigure(cfg)
	l.guest.send(probe(64))
	l.guest.expectError(3, 0, probe(64))
}

// A router that loses packets for want of room does not ask for fewer.
func TestRFC5508REQ10c(t *testing.T) { bothFamilies(t, testRFC5508REQ10c) }

func testRFC5508REQ10c(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink, IPv4: Translated, IPv6: Translated})
	for i := range uint16(maxHeld + 20) {
		l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, udp(5000+i, 7, "x")))
	}
	l.guest.settle(maxHeld + 20)
	if lost := l.guest.port.Stats().Drops[NoNeighbor]; lost < 20 {
		t.Errorf("%d packets are lost, want 20", lost)
	}
	for f, ok := l.guest.poll(); ok; f, ok = l.guest.poll() {
		if b := f.Bytes; b[23] == frame.ProtoICMP && b[34] == 4 {
			t.Errorf("received a source quench: % x", b)
		}
	}
}

// No error is sent about what RFC 1812 clause 4.3.2.7 names. All of these have a TTL of
// one, of which the last packet shows that it would have been told.
func TestRFC5508REQ10e(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{})
	good := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x"))
	good[22] = 1
	changed := func(change func(b []byte)) []byte {
		b := append([]byte(nil), good...)
		change(b)
		return rechecked(b)
	}
	about := l.fromGuest(farIP, frame.ProtoICMP, icmpAbout(3, 3, 0, good))
	about[22] = 1
	damaged := append([]byte(nil), good...)
	damaged[24]++
	silent := [][]byte{
		rechecked(about), damaged,
		changed(func(b []byte) { b[21] = 5 }),                          // a later fragment
		changed(func(b []byte) { copy(b[26:], []byte{0, 0, 0, 0}) }),   // from nobody
		changed(func(b []byte) { copy(b[26:], []byte{127, 0, 0, 1}) }), // from the sender itself
		changed(func(b []byte) { copy(b[26:], []byte{224, 0, 0, 9}) }), // from a group
		changed(func(b []byte) { copy(b[26:], []byte{10, 0, 0, 255}) }),
		changed(func(b []byte) { copy(b[30:], []byte{224, 0, 0, 9}) }), // to a group
		changed(func(b []byte) { copy(b[30:], []byte{255, 255, 255, 255}) }),
		changed(func(b []byte) { copy(b[30:], []byte{10, 0, 0, 255}) }), // to the subnet
		changed(func(b []byte) { copy(b, broadcast[:]) }),
	}
	for _, b := range silent {
		l.guest.send(b)
	}
	l.guest.send(rechecked(good))
	l.guest.expectError(11, 0, good)
}

// Errors are few, however many packets there are to tell of.
func TestRFC5508REQ10f(t *testing.T) { bothFamilies(t, testRFC5508REQ10f) }

func testRFC5508REQ10f(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	old := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x"))
	old[22] = 1
	rechecked(old)
	start, told := time.Now(), 0
	for i := range uint64(20) {
		for range 20 {
			l.guest.send(old)
		}
		l.guest.settle(20 * (i + 1))
		for _, ok := l.guest.poll(); ok; _, ok = l.guest.poll() {
			told++
		}
	}
	if most := unroutableRate + int(time.Since(start).Seconds()*unroutableRate) + 1; told == 0 || told > most {
		t.Errorf("%d errors were sent, want at most %d", told, most)
	}
	l.guest.drops(TTLExceeded, 400)
}

// An error has the class of service of what it is about.
func TestRFC5508REQ10d(t *testing.T) { bothFamilies(t, testRFC5508REQ10d) }

func testRFC5508REQ10d(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	b := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x"))
	b[15], b[22] = 0xb8|2, 1
	l.guest.send(rechecked(b))
	if e := l.guest.next().Bytes; e[15] != 0xb8 || e[34] != 11 || frame.Checksum(e[14:34], 0) != 0 {
		t.Errorf("answered % x", e)
	}
}
