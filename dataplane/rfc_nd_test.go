package dataplane

import (
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/memport"
)

// The tests TestRFC… of this file and of rfc_icmpv6_test.go, rfc_chain_test.go and
// rfc_simple_test.go are those that docs/ipv6-rfc.md names for what the dataplane shows.

// asks6 expects a solicitation for a target, and returns its bytes.
func asks6(t *testing.T, f memport.Frame, target netip.Addr) []byte {
	t.Helper()
	g := wrap(append(make([]byte, frame.Headroom), f.Bytes...))
	var p frame.Parsed
	p.Parse(g)
	if !ndp.Valid(g, &p) || f.Bytes[p.L4] != ndp.NeighborSolicitation || ndp.ParseNeighbor(f.Bytes[p.L4:]).Target != target {
		t.Fatalf("no solicitation for %s: % x", target, f.Bytes)
	}
	return f.Bytes
}

// Clause 7.2.2: who is not known is asked for at its solicited-node group, by an address
// of the interface and with its MAC address, and the packet waits for the answer.
func TestRFC4861_7_2_2_Solicitation(t *testing.T) {
	l := newSixLab(t, nil)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	out, _ := to6(t, l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x")), frame.Offload{})
	router := ipv6.addr(worldIP)
	for range 3 {
		l.guest.send(out)
	}
	b := asks6(t, l.world.next(), router)
	group := ndp.SolicitedNode(router)
	if frame.MAC(b) != ndp.GroupMAC(group) || netip.AddrFrom16([16]byte(b[38:])) != group ||
		netip.AddrFrom16([16]byte(b[22:])) != ipv6.addr(outsideIP) || ndp.ParseNeighbor(b[54:]).MAC != uplinkMAC {
		t.Errorf("asked % x", b)
	}
	l.guest.settle(3)
	answer := ndp.Neighbor{Target: router, MAC: l.world.mac, Solicited: true, Override: true, Router: true}
	l.world.send(l.world.nd(uplinkMAC, router, ipv6.addr(outsideIP), answer.Advertisement()))
	for range 3 {
		for b = l.world.next().Bytes; b[20] == frame.ProtoICMPv6; b = l.world.next().Bytes {
			asks6(t, memport.Frame{Bytes: b}, router) // a second of a busy machine has gone by
		}
		if string(b[22:]) != string(out[22:]) {
			t.Errorf("received % x", b)
		}
	}
}

// Clause 7.2.3: who asks for the gateway is known then, with the address that he gives.
func TestRFC4861_7_2_3_Learned(t *testing.T) {
	l := newSixLab(t, nil)
	l.guest.send(l.guest.nd(gatewayMAC, guest6, ndp.SolicitedNode(lan6), ndp.Neighbor{Target: lan6, MAC: l.guest.mac}.Solicitation()))
	advertised(t, l.guest.next())
	if got := l.net.Neighbors(); len(got) != 1 || got[0] != (Neighbor{guest6, l.guest.mac}) {
		t.Errorf("knows %v", got)
	}
}

// Clause 7.2.4: an answer goes to who asked, from the address in question, with the
// target's MAC address and the flags R, S and O; to all and without S where who asked has
// no address. Clause 7.2.8: O is not set for another's address.
func TestRFC4861_7_2_4_Flags(t *testing.T) {
	l := newSixLab(t, nil)
	cfg := l.uplink.Config()
	cfg.ProxyARP = []netip.Prefix{ipv6.prefix("10.0.0.0/24")}
	l.uplink.Reconfigure(cfg)
	router, own := ipv6.addr(worldIP), ipv6.addr(outsideIP)
	for what, test := range map[string]struct {
		src, target netip.Addr
		flags       byte
	}{
		"own": {router, own, 0xe0}, "without an address": {nobody6, own, 0xa0},
		"of a guest": {router, guest6, 0xc0}, "of a guest, without an address": {nobody6, guest6, 0x80},
	} {
		n := ndp.Neighbor{Target: test.target, MAC: l.world.mac}
		to, mac := test.src, l.world.mac
		if test.src == nobody6 {
			n.MAC, to, mac = frame.MAC{}, ndp.AllNodes, ndp.GroupMAC(ndp.AllNodes)
		}
		l.world.send(l.world.nd(uplinkMAC, test.src, ndp.SolicitedNode(test.target), n.Solicitation()))
		b := l.world.next().Bytes
		target, src, dst := test.target.As16(), netip.AddrFrom16([16]byte(b[22:])), netip.AddrFrom16([16]byte(b[38:]))
		want := append([]byte{test.flags, 0, 0, 0}, target[:]...)
		want = append(append(want, 2, 1), uplinkMAC[:]...)
		if frame.MAC(b) != mac || b[21] != 255 || src != test.target || dst != to || b[54] != ndp.NeighborAdvertisement || string(b[58:]) != string(want) {
			t.Errorf("%s: answered % x, want % x to %s", what, b, want, to)
		}
	}
}

// Clause 7.2.5: an advertisement about somebody who is not looked for is forgotten, and so
// is one that says a MAC address which is not its sender's.
func TestRFC4861_7_2_5_Unsought(t *testing.T) {
	l := newSixLab(t, nil)
	n := ndp.Neighbor{Target: guest6, MAC: l.guest.mac, Solicited: true, Override: true}
	l.guest.send(l.guest.nd(gatewayMAC, guest6, lan6, n.Advertisement()))
	l.guest.settle(1)
	if got := l.net.Neighbors(); len(got) != 0 {
		t.Errorf("learned %v", got)
	}
	l.meet(l.net, l.guest, "10.0.0.77") // nothing of that
	l.lead(l.dmz, RoutingConfig{Reach: []Reach{{l.net, ipv6.prefixes("10.0.0.0/24")}}})
	in, _ := to6(t, packet(dmzMAC, l.server.mac, serverIP, guestIP, frame.ProtoUDP, udp(1, 2, "x")), frame.Offload{})
	l.server.send(in)
	asks6(t, l.guest.next(), guest6)
	n.MAC = mac("else")
	l.guest.send(l.guest.nd(gatewayMAC, guest6, lan6, n.Advertisement()))
	l.guest.settle(2)
	for _, got := range l.net.Neighbors() {
		if got.Address == guest6 && got.MAC != (frame.MAC{}) {
			t.Errorf("believed %v", got)
		}
	}
}

// Clause 7.2.6: an address that is new, or elsewhere now, is told to all nodes, unasked.
func TestRFC4861_7_2_6_Unsolicited(t *testing.T) {
	l := newSixLab(t, nil)
	cfg := l.uplink.Config()
	cfg.MAC = frame.MAC{2, 0, 0, 0, 2, 9}
	l.uplink.Reconfigure(cfg)
	b := l.world.next().Bytes
	own := ipv6.addr(outsideIP).As16()
	want := append([]byte{0xa0, 0, 0, 0}, own[:]...)
	want = append(append(want, 2, 1), cfg.MAC[:]...)
	if frame.MAC(b) != ndp.GroupMAC(ndp.AllNodes) || netip.AddrFrom16([16]byte(b[38:])) != ndp.AllNodes || b[21] != 255 || string(b[58:]) != string(want) {
		t.Errorf("announced % x", b)
	}
}

// Clause 7.3: a station is believed for 30 seconds. Then it is asked while packets go
// there, alone and for the third time together with all, a second apart; and forgotten
// when it is silent. One that nobody needs is not asked.
func TestRFC4861_7_3_Unreachable(t *testing.T) {
	n, p := newNeighbors(), loose()
	n.learn(guest6, mac("a"), true, 1)
	used := func(now uint32) {
		t.Helper()
		if m, ok := n.get(guest6).at(now); !ok || m != mac("a") {
			t.Fatalf("at %d it is not known", now)
		}
	}
	for now, want := range []string{30: "", 31: " it", 32: " it", 33: " all"} {
		if now < 30 {
			continue
		}
		used(uint32(now)) // it is still sent to
		if want != "" {
			want = guest6.String() + want
		}
		if got := asked(n, uint32(now)); got != want {
			t.Errorf("at %d: asked %q, want %q", now, got, want)
		}
	}
	if asked(n, 34); n.get(guest6) != nil {
		t.Error("a station that does not answer is not forgotten")
	}
	n.learn(guest6, mac("a"), true, 40)
	if got := asked(n, 90); got != "" {
		t.Errorf("one that nobody needs: asked %q", got)
	}
	used(90)
	if got := asked(n, 91); got != guest6.String()+" it" {
		t.Errorf("once it is needed: asked %q", got)
	}
	n.learn(guest6, mac("a"), false, 91)
	used(120)
	if got := asked(n, 120); got != "" {
		t.Errorf("29 seconds after it has answered: asked %q", got)
	}
	if _, v, ask := n.await(guest6, waiting(guestIP), p, 120); v != Forwarded || ask {
		t.Errorf("a packet to one that is known: %v, asked %v", v, ask)
	}
}

// Clause 7.3.3: a probe goes to the station alone, with the MAC address of who asks.
func TestRFC4861_7_3_3_Probe(t *testing.T) {
	l := newSixLab(t, nil)
	g := l.net.snapshot.Load().gateway
	for _, mac := range []frame.MAC{l.guest.mac, {}} {
		f := g.question(question{addr: guest6, mac: mac})
		b := asks6(t, memport.Frame{Bytes: f.Bytes()}, guest6)
		toMAC, to := l.guest.mac, guest6
		if mac == (frame.MAC{}) {
			to = ndp.SolicitedNode(guest6)
			toMAC = ndp.GroupMAC(to)
		}
		if frame.MAC(b) != toMAC || netip.AddrFrom16([16]byte(b[38:])) != to || ndp.ParseNeighbor(b[54:]).MAC != gatewayMAC {
			t.Errorf("asked % x", b)
		}
	}
}

// Clause 8.2: a router learns nothing from a redirect.
func TestRFC4861_8_2_Redirect(t *testing.T) {
	l := newSixLab(t, nil)
	l.introduce()
	cfg := l.uplink.Config()
	cfg.Client6 = true
	l.uplink.Reconfigure(cfg)
	l.meet(l.uplink.Network(), l.world, worldIP)
	for range 2 { // an announcement, and a report
		l.world.next()
	}
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	far, better := ipv6.addr(farIP).As16(), netip.MustParseAddr("fe80::99").As16()
	m := append(append([]byte{ndp.Redirect, 0, 0, 0, 0, 0, 0, 0}, better[:]...), far[:]...)
	m = append(m, 2, 1, 2, 9, 9, 9, 9, 9)
	l.world.send(l.world.nd(uplinkMAC, netip.MustParseAddr("fe80::1"), ipv6.addr(outsideIP), m))
	l.world.settle(1)
	out, _ := to6(t, l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x")), frame.Offload{})
	l.guest.send(out)
	if b := l.world.next().Bytes; frame.MAC(b) != l.world.mac || string(b[22:]) != string(out[22:]) {
		t.Errorf("received % x", b)
	}
	if got := len(l.uplink.Network().Neighbors()); got != 1 {
		t.Errorf("%d neighbours are known", got)
	}
}

// RFC 6980: neighbour discovery in a fragment is not looked at, be it the only one.
func TestRFC6980_Fragment(t *testing.T) {
	l := newSixLab(t, func(c *GatewayConfig) { c.RA = true })
	ask := l.guest.nd(gatewayMAC, guest6, ndp.SolicitedNode(lan6), ndp.Neighbor{Target: lan6, MAC: l.guest.mac}.Solicitation())
	solicit := l.guest.nd(gatewayMAC, ndp.LinkLocal(l.guest.mac), ndp.AllRouters, ndp.Solicitation(l.guest.mac))
	for _, b := range [][]byte{extended(ask, frame.ExtFragment), extended(ask, frame.ExtDestination, frame.ExtFragment), extended(solicit, frame.ExtFragment)} {
		l.guest.send(b)
	}
	l.guest.settle(3)
	l.guest.silent()
	if m := l.net.Gateway().Inbox(Solicit).Poll(); m != nil || len(l.net.Neighbors()) != 0 {
		t.Errorf("heeded %v, learned %v", m, l.net.Neighbors())
	}
	l.guest.send(solicit)
	l.guest.send(ask)
	advertised(t, l.guest.next())
	if l.net.Gateway().Inbox(Solicit).Poll() == nil {
		t.Error("a whole solicitation is not heeded")
	}
}
