package dataplane

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// widen gives the guest's network an MTU.
func (l *routedLab) widen(mtu int) {
	cfg := l.net.Config()
	cfg.MTU = mtu
	l.net.Reconfigure(cfg, nil)
	l.guest.port.SetMTU(mtu)
}

// A TCP connection between networks of different MTUs is kept to the smaller one by
// both of its ends.
func TestRouterClampsMSS(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{})
	const jumbo, small, plain = "\x02\x04\x23\x00", "\x02\x04\x02\x00", "\x02\x04\x05\xb4" // 8960, 512, 1460
	for i, test := range []struct {
		mtu       int
		mss, want string
	}{{9000, jumbo, plain}, {9000, small, small}, {1500, jumbo, jumbo}, {1500, plain, plain}} {
		l.widen(test.mtu)
		port := uint16(5000 + i)
		out := func(mss string) []byte { return segment(port, 80, 1, 0, syn, mss, "") }
		l.guest.send(l.fromGuest(farIP, frame.ProtoTCP, out(test.mss)))
		l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoTCP, out(test.want)))
		back := func(mss string) []byte { return segment(80, port, 1, 2, syn|ack, mss, "") }
		l.world.send(l.fromWorld(farIP, outsideIP, frame.ProtoTCP, back(test.mss)))
		l.guest.expect(l.toGuest(farIP, frame.ProtoTCP, back(test.want)))
	}
}

// A packet from outside that is too long for the network that it is for goes back with
// what its sender knows, and does not say who is inside.
func TestRouterTooBigInbound(t *testing.T) { bothFamilies(t, testRouterTooBigInbound) }

func testRouterTooBigInbound(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x")))
	l.world.next()
	l.widen(1000)
	l.meet(l.net, l.guest, guestIP)
	long := l.fromWorld(farIP, outsideIP, frame.ProtoUDP, udp(7, 5000, string(make([]byte, 1200))))
	long[20] = dontFragment
	l.world.send(rechecked(long))
	b := l.world.expectError(3, 4, long)
	if mtu := binary.BigEndian.Uint16(b[40:]); mtu != 1000 {
		t.Errorf("the MTU is said to be %d, want 1000", mtu)
	}
	if len(b) != 14+errorLen {
		t.Errorf("the error has %d bytes, want %d", len(b)-14, errorLen)
	}
	l.world.drops(TooBig, 1)
	l.guest.silent()
}

// Where nobody has noted what the sender sent, it is not told: the uplink's view of the
// networks behind it may be older than theirs.
func TestRouterKeepsInsideSecret(t *testing.T) { bothFamilies(t, testRouterKeepsInsideSecret) }

func testRouterKeepsInsideSecret(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x")))
	l.world.next()
	l.widen(1000)
	n := l.uplink.Network()
	n.mu.Lock()
	s := *n.snapshot.Load()
	old := *s.router
	old.narrowest = math.MaxInt
	s.router = &old
	n.snapshot.Store(&s)
	n.mu.Unlock()
	long := l.fromWorld(farIP, outsideIP, frame.ProtoUDP, udp(7, 5000, string(make([]byte, 1200))))
	long[20] = dontFragment
	l.world.send(rechecked(long))
	l.world.drops(TooBig, 1)
	l.world.settle(1)
	l.world.silent()
}

// A super-frame that may be fragmented, but not be kept whole, goes on in fragments of
// its segments.
func TestRouterCutsSuperFrame(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{})
	l.widen(9000)
	l.meet(l.net, l.guest, guestIP)
	super := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, string(make([]byte, 6000))))
	binary.BigEndian.PutUint16(super[40:], ^frame.Checksum(nil, frame.PseudoHeader(super[26:30], super[30:34], frame.ProtoUDP, len(super)-34)))
	l.guest.sendOffload(super, frame.Offload{Flags: frame.NeedsChecksum, GSOType: frame.GSOUDPL4, GSOSize: 2000, CsumStart: 34, CsumOffset: 6})
	got := map[uint16]int{}
	for range 6 {
		b := l.world.next().Bytes
		if len(b) > 1514 || frame.Checksum(b[14:34], 0) != 0 || string(b[26:30]) != "\xc0\x00\x02\x02" {
			t.Errorf("received %d bytes: % x", len(b), b[:40])
		}
		got[binary.BigEndian.Uint16(b[18:])] += len(b) - 34
	}
	for id := range uint16(3) {
		if got[id] != 2008 {
			t.Errorf("datagram %d has %d bytes, want 2008", id, got[id])
		}
	}
	super[20] = dontFragment
	l.guest.sendOffload(rechecked(super), frame.Offload{Flags: frame.NeedsChecksum, GSOType: frame.GSOUDPL4, GSOSize: 2000, CsumStart: 34, CsumOffset: 6})
	l.guest.drops(TooBig, 1)
	l.guest.expectError(3, 4, super)
	l.world.silent()
}

// A burst may become many times as many frames on its way, each with a tag of its own.
func TestRouterCutsIntoVLAN(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{})
	cfg := l.dmz.Config()
	cfg.MTU, cfg.Gateway.VLAN = 576, 7
	l.dmz.Reconfigure(cfg, map[string]Policy{"server": {VLAN: vlans(0, [2]uint16{7, 7})}})
	_ = l.dmz.AddStatic(7, l.server.mac, "server")
	l.dmz.neighbors.learn(addr(serverIP), l.server.mac, true, 1)
	l.widen(9000)
	l.lead(l.net, RoutingConfig{Reach: []Reach{{l.dmz, prefixes("10.1.0.0/24")}}})
	l.guest.port.Detach()
	b := burstOf(l.guest, l.fromGuest(serverIP, frame.ProtoUDP, udp(5000, 7, string(make([]byte, 8900)))))
	b.frames = b.frames[:16] // of 17 pieces each
	b.run()
	for range 16 * 17 {
		if got := l.server.next().Bytes; got[12] != 0x81 || got[15] != 7 || len(got) > 18+576 {
			t.Fatalf("received % x", got[:40])
		}
	}
	l.server.silent()
}
