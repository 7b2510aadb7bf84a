package dataplane

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// A neighbour that is fixed gets what waits for it, no ARP moves it, and it goes when
// it is taken out. A change of the address of the uplink leaves it.
func TestFixedNeighbor(t *testing.T) { bothFamilies(t, testFixedNeighbor) }

func testFixedNeighbor(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.meet(l.net, l.guest, guestIP)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	from := func(payload string) []byte {
		return packet(gatewayMAC, l.guest.mac, guestIP, farIP, frame.ProtoUDP, udp(1000, 53, payload))
	}
	l.guest.send(from("waits"))
	if b := l.world.next().Bytes; b[13] != 6 {
		t.Fatalf("no question first, but % x", b)
	}
	l.guest.settle(1)

	cfg := l.uplink.Config()
	router := mac("router")
	cfg.Neighbors = []Neighbor{{v.addr(worldIP), router}}
	l.uplink.Reconfigure(cfg)
	l.world.expect(routedOnce(from("waits"), router, uplinkMAC))

	for _, operation := range []byte{arpRequest, arpReply} { // that it has moved
		l.world.says(uplinkMAC, operation, worldIP, "192.0.2.2")
	}
	if b := l.world.next().Bytes; b[21] != arpReply {
		t.Fatalf("no answer, but % x", b)
	}
	l.world.settle(2)
	l.guest.send(from("stays"))
	l.world.expect(routedOnce(from("stays"), router, uplinkMAC))

	v.uplink(&cfg, "192.0.2.3/24")
	l.uplink.Reconfigure(cfg)
	l.world.next() // the announcement
	l.guest.send(from("elsewhere"))
	l.world.expect(routedOnce(from("elsewhere"), router, uplinkMAC))

	cfg.Neighbors[0].MAC = mac("other")
	l.uplink.Reconfigure(cfg)
	l.guest.send(from("moved"))
	l.world.expect(routedOnce(from("moved"), mac("other"), uplinkMAC))

	cfg.Neighbors = nil
	l.uplink.Reconfigure(cfg)
	l.guest.send(from("asked for"))
	l.world.asksFor(uplinkMAC, "192.0.2.3", worldIP)
	l.world.expect(routedOnce(from("asked for"), l.world.mac, uplinkMAC))
}

// An uplink knows them from the start.
func TestFixedNeighborAtFirst(t *testing.T) {
	l := newLab(t)
	n := []Neighbor{{addr(worldIP), mac("router")}}
	u, err := l.sw.AddUplink("eth0", UplinkConfig{MAC: uplinkMAC, MTU: 1500, Address: netip.MustParsePrefix("192.0.2.2/24"), Neighbors: n})
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Network().Neighbors(); len(got) != 1 || got[0] != n[0] {
		t.Errorf("neighbours %v, want %v", got, n)
	}
}

// Fixed stations neither age nor are asked, nor make room for others; ordinary ones
// beside them do.
func TestFixedNeighborsStay(t *testing.T) {
	table := newNeighbors()
	fixed, heard := addr("192.0.2.1"), addr("192.0.2.9")
	table.fix([]Neighbor{{fixed, mac("router")}}, 1)
	table.learn(heard, mac("guest"), true, 1)
	use := func(now uint32) {
		for _, a := range []netip.Addr{fixed, heard} {
			table.get(a).at(now)
		}
	}
	use(reachableTime)
	if due := table.tick(1 + reachableTime); len(due) != 1 || due[0].addr != heard {
		t.Errorf("asked for are %v", due)
	}
	table.tick(1 + 10*neighborAge)
	if got := table.all(); len(got) != 1 || got[0].Address != fixed {
		t.Errorf("what is left: %v", got)
	}
	known := map[netip.Addr]frame.MAC{}
	var many []Neighbor
	for i := range maxNeighbors + 5 {
		many = append(many, Neighbor{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), mac("router")})
	}
	table.fix(many, 1+10*neighborAge)
	for _, n := range table.all() {
		known[n.Address] = n.MAC
	}
	if len(known) != maxNeighbors || known[fixed] != (frame.MAC{}) {
		t.Errorf("%d stations, and the first one at %s", len(known), known[fixed])
	}
	table.learn(heard, mac("guest"), true, 1+20*neighborAge)
	now := map[netip.Addr]frame.MAC{}
	for _, n := range table.all() {
		now[n.Address] = n.MAC
	}
	if !maps.Equal(known, now) {
		t.Error("a fixed station has made room")
	}
	table.fix(nil, 1)
	if got := table.all(); len(got) != 0 {
		t.Errorf("%d are left", len(got))
	}
}
