package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// loose is a port of no network, as far as neighbours care.
func loose() *Port { return &Port{} }

func waiting(from string) *frame.Frame {
	return wrap(append(make([]byte, frame.Headroom), packet(gatewayMAC, mac("a"), from, farIP, frame.ProtoUDP, udp(1, 2, "x"))...))
}

// asked returns whom a tick asks: every address with "all" or "it".
func asked(t *neighbors, now uint32) string {
	s := ""
	for _, q := range t.tick(now) {
		s += q.addr.String()
		if q.mac == (frame.MAC{}) {
			s += " all"
		} else {
			s += " it"
		}
	}
	return s
}

// The life of a neighbour: sought, known, asked while it is needed, given up when it does
// not answer, forgotten when nobody needs it.
func TestNeighborLife(t *testing.T) {
	n, p, a := newNeighbors(), loose(), addr(guestIP)
	if _, v, ask := n.await(a, waiting(guestIP), p, 1); v != Consumed || !ask {
		t.Fatalf("at first: %v, %v", v, ask)
	}
	if _, v, ask := n.await(a, waiting(guestIP), p, 1); v != Consumed || ask {
		t.Fatalf("then: %v, %v", v, ask)
	}
	if got := n.learn(a, mac("a"), false, 1); len(got) != 2 || p.sought.Load() != 0 || n.held != 0 {
		t.Fatalf("%d packets have waited, %d stations are sought", len(got), p.sought.Load())
	}
	use := func(now uint32) {
		if m, ok := n.get(a).at(now); !ok || m != mac("a") {
			t.Fatalf("at %d it is not known: %v", now, m)
		}
	}
	for _, step := range []struct {
		now  uint32
		used bool
		want string
	}{
		{30, true, ""}, {31, true, guestIP + " it"}, {31, true, ""}, {32, true, guestIP + " it"},
		{33, true, guestIP + " all"}, // it may have moved
	} {
		if step.used {
			use(step.now)
		}
		if got := asked(n, step.now); got != step.want {
			t.Errorf("at %d: asked %q, want %q", step.now, got, step.want)
		}
	}
	n.learn(a, mac("a"), false, 33)
	use(63)
	if got := asked(n, 64); got != guestIP+" it" {
		t.Errorf("at 64: asked %q", got)
	}
	if got := asked(n, 69); got != "" { // nobody has needed it for 6 seconds
		t.Errorf("at 69: asked %q", got)
	}
	for i, want := range []string{" it", " it", " all"} { // from the start: it was not needed in between
		use(uint32(100 + i))
		if got := asked(n, uint32(100+i)); got != guestIP+want {
			t.Errorf("at %d: asked %q, want %q", 100+i, got, guestIP+want)
		}
	}
	held := n.get(a)
	asked(n, 103)
	if _, known := held.at(103); known || n.get(a) != nil || n.known != 0 {
		t.Error("it is known although it has not answered three times")
	}
	n.learn(a, mac("a"), true, 200)
	asked(n, 799)
	if n.get(a) == nil {
		t.Error("forgotten too soon")
	}
	if asked(n, 800); n.get(a) != nil {
		t.Error("not forgotten")
	}
}

// What waits in vain is counted where it came in, and leaves room for others.
func TestNeighborNever(t *testing.T) {
	n, p := newNeighbors(), loose()
	for i := range maxHeld + 2 {
		_, v, _ := n.await(addr(guestIP), waiting(guestIP), p, 1)
		if want := i < maxHeld; (v == Consumed) != want {
			t.Errorf("packet %d: %v", i, v)
		}
	}
	for now, want := range []string{1: "", 2: guestIP + " all", 3: guestIP + " all", 4: ""} {
		if now > 0 {
			if got := asked(n, uint32(now)); got != want {
				t.Errorf("at %d: asked %q, want %q", now, got, want)
			}
		}
	}
	if got := p.counters.drops[NoNeighbor].Load(); got != maxHeld || n.held != 0 || p.sought.Load() != 0 || n.get(addr(guestIP)) != nil {
		t.Errorf("%d packets are counted, %d wait", got, n.held)
	}
	n.await(addr(guestIP), waiting(guestIP), p, 5)
	n.flush(netip.Addr.IsValid)
	if got := p.counters.drops[NoNeighbor].Load(); got != maxHeld+1 || n.held != 0 || p.sought.Load() != 0 {
		t.Errorf("after a flush %d packets are counted, %d wait", got, n.held)
	}
}

// A packet whose station answers while it is about to wait does not.
func TestNeighborAnswersMeanwhile(t *testing.T) {
	n := newNeighbors()
	n.learn(addr(guestIP), mac("a"), true, 1)
	if m, v, ask := n.await(addr(guestIP), waiting(guestIP), loose(), 1); v != Forwarded || ask || m != mac("a") {
		t.Errorf("%v, %v, ask %v", m, v, ask)
	}
}

// Who is about to take an address that is sought already is asked for it once he has it.
func TestNeighborExpectedTwice(t *testing.T) {
	n, p := newNeighbors(), loose()
	n.expect(guest6, p, 1)
	for now := uint32(2); now < 2+maxTries-1; now++ {
		n.tick(now)
	}
	n.expect(guest6, p, 4)
	for now := uint32(4); now < 4+maxTries; now++ {
		if q := n.tick(now); len(q) != 1 || q[0].addr != guest6 {
			t.Fatalf("at %d: asked %v", now, q)
		}
	}
	n.tick(8)
	if n.get(guest6) != nil || p.sought.Load() != 0 {
		t.Error("who never answers is sought for ever")
	}
}

// host returns one of many addresses.
func host(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
}

// Who tries all addresses of a large subnet has some of them sought at a time, and others
// are served all the same; all the packets that wait are bounded.
func TestNeighborScan(t *testing.T) {
	n, scanner, other := newNeighbors(), loose(), loose()
	asks := 0
	for i := range 60000 {
		if _, _, ask := n.await(host(i), waiting(guestIP), scanner, 1); ask {
			asks++
		}
	}
	if asks != maxSought || n.known != maxSought || n.held != maxSought {
		t.Errorf("%d asked, %d known, %d wait, want %d", asks, n.known, n.held, maxSought)
	}
	if _, v, ask := n.await(host(60001), waiting(guestIP), other, 1); v != Consumed || !ask {
		t.Errorf("somebody else's packet: %v, ask %v", v, ask)
	}
	for i := range 2 * maxHeldInAll {
		n.await(host(i%maxSought), waiting(guestIP), other, 1)
	}
	if n.held != maxHeldInAll {
		t.Errorf("%d packets wait", n.held)
	}
	if _, _, ask := n.await(host(60002), waiting(guestIP), other, 1); !ask {
		t.Error("a station is not asked for where no packet can wait")
	}
}

// A table that is full of stations gives up the one that has been of no use for longest,
// and none that is.
func TestNeighborsFull(t *testing.T) {
	n, p := newNeighbors(), loose()
	const now = 1000
	for i := range maxNeighbors {
		n.learn(host(i), mac("a"), true, now)
	}
	used := 0
	for i := range maxNeighbors / 2 {
		n.get(host(2 * i)).at(now)
		used++
	}
	for i := range 2000 {
		n.await(host(30000+i), waiting(guestIP), p, now)
		n.learn(host(30000+i), mac("b"), false, now)
	}
	if n.known != maxNeighbors {
		t.Errorf("%d stations are known, want %d", n.known, maxNeighbors)
	}
	for i := range used {
		if n.get(host(2*i)) == nil {
			t.Fatalf("station %d is in use, and forgotten", 2*i)
		}
	}
	for i := range 2000 {
		if n.get(host(30000+i)) == nil {
			t.Fatalf("station %d found no room", i)
		}
	}
}

// forgedARP are ARP packets of a guest's that teach the gateway nothing.
func forgedARP(s *station) map[string][]byte {
	good := func() []byte {
		b := arpPacket(broadcast, s.mac, arpRequest, "10.0.0.1")
		copy(b[arpSender:], []byte{10, 0, 0, 9})
		return b
	}
	elsewhere, another, short, ethernet, asked := good(), good(), good(), good(), good()
	copy(elsewhere[arpSender:], []byte{10, 1, 0, 9})
	another[arpSenderMAC+5]++
	ethernet[arpStart+1] = 6
	asked[arpTarget+3] = 9
	return map[string][]byte{
		"off the link": elsewhere, "of another MAC address": another, "cut short": short[:arpEnd-1],
		"of another link": ethernet, "below an S-tag": sTagged(good(), 0), "in a VLAN": tagged(good(), 5), "for another": asked,
	}
}

// What a guest says in ARP is believed where it can be so, of strangers that ask for the
// gateway only, and not of too many at a time.
func TestNeighborHostile(t *testing.T) {
	v := ipv4
	l := newRoutedLab(t, v)
	sent := uint64(0)
	for what, b := range forgedARP(l.guest) {
		l.guest.send(b)
		sent++
		l.guest.settle(sent)
		if got := l.net.Neighbors(); len(got) != 0 {
			t.Errorf("%s: learned %v", what, got)
		}
	}
	good := arpPacket(broadcast, l.guest.mac, arpRequest, "10.0.0.1")
	l.guest.send(good)
	sent++
	l.guest.settle(sent)
	if got := l.net.Neighbors(); len(got) != 1 || got[0] != (Neighbor{v.addr(guestIP), l.guest.mac}) {
		t.Errorf("learned %v", got)
	}
	cfg := l.net.Config()
	v.address(&cfg.Gateway, "10.0.0.1/16")
	l.net.Reconfigure(cfg, nil)
	for i := range 1000 {
		b := append([]byte(nil), good...)
		binary.BigEndian.PutUint32(b[arpSender:], 10<<24|uint32(i+300))
		l.guest.send(b)
		sent++
	}
	l.guest.settle(sent)
	if got := len(l.net.Neighbors()); got < 190 || got > 600 {
		t.Errorf("learned %d strangers at once, want some %d", got, strangerRate)
	}
}

// A worker does not go on sending to a station that is forgotten.
func TestNeighborForgotten(t *testing.T) { bothFamilies(t, testNeighborForgotten) }

func testNeighborForgotten(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	out := udp(5000, 7, "x")
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, out))
	l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoUDP, out))
	l.uplink.Network().neighbors.flush(netip.Addr.IsValid)
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, out))
	l.world.asksFor(uplinkMAC, outsideIP, worldIP)
	l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoUDP, out))
}

// A broadcast that lets packets go which have waited stays what it is, in the form that
// each port has it.
func TestNeighborAnswersAll(t *testing.T) { bothFamilies(t, testNeighborAnswersAll) }

func testNeighborAnswersAll(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	cfg := l.net.Config()
	cfg.Gateway.VLAN = 7
	l.net.Reconfigure(cfg, map[string]Policy{"guest": {VLAN: access(7)}})
	trunk := l.stationWith(l.net, "trunk", frame.CapAll, Policy{VLAN: vlans(0, [2]uint16{7, 7})})
	trunk.v = v
	l.lead(l.dmz, RoutingConfig{Reach: []Reach{{l.net, v.prefixes("10.0.0.0/24")}}})
	const packets = maxHeld
	for i := range packets {
		l.server.send(packet(dmzMAC, l.server.mac, serverIP, guestIP, frame.ProtoUDP, udp(uint16(i), 7, "held")))
	}
	l.server.settle(packets)
	l.guest.next()
	trunk.next() // the question
	// So that they leave with a tag.
	if err := l.net.AddStatic(7, l.guest.mac, "trunk"); err != nil {
		t.Fatal(err)
	}
	l.guest.says(broadcast, arpRequest, guestIP, "10.0.0.1")
	for i := range packets {
		if b := trunk.next().Bytes; b[15] != 7 || binary.BigEndian.Uint16(b[38:]) != uint16(i) {
			t.Fatalf("packet %d: received % x", i, b)
		}
	}
	if b := trunk.next().Bytes; b[15] != 7 || b[16] != 8 || b[17] != 6 || frame.MAC(b) != broadcast {
		t.Errorf("received % x, want the broadcast with a tag", b)
	}
	trunk.silent()
}

// A station that another claims the address of is asked, and keeps it while it answers.
func TestNeighborClaimed(t *testing.T) {
	n, a := newNeighbors(), addr(guestIP)
	old, other := mac("a"), mac("b")
	n.learn(a, old, true, 1)
	at := func(now uint32, want frame.MAC) {
		t.Helper()
		if got, _ := n.get(a).at(now); got != want {
			t.Fatalf("at %d: %v, want %v", now, got, want)
		}
	}
	n.learn(a, other, false, 2)
	at(2, old)
	if q := n.tick(3); len(q) != 1 || q[0].mac != old {
		t.Fatalf("asked %v, want the first station alone", q)
	}
	n.learn(a, old, false, 3)
	n.tick(4)
	n.tick(5)
	at(5, old)
	n.learn(a, other, false, 6) // and now it is silent
	n.tick(7)
	n.tick(8)
	at(8, other)
	n.learn(a, old, false, 200) // nobody has needed it for long
	at(200, other)
	if q := n.tick(201); len(q) != 1 || q[0].mac != other {
		t.Fatalf("asked %v, want the station that is known", q)
	}
	n.tick(202)
	at(202, old)
}
