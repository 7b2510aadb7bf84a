package dhcp

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPoolModel compares the pool with a map.
func TestPoolModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ranges []Range
		var all []ip4
		at := ip4(0x0a000000)
		for range rapid.IntRange(0, 4).Draw(t, "ranges") {
			at += ip4(rapid.IntRange(1, 300).Draw(t, "gap"))
			first := at
			at += ip4(rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(60, 70), rapid.IntRange(4090, 4200)).Draw(t, "length"))
			ranges = append(ranges, Range{First: first.addr(), Last: at.addr()})
			for a := first; a <= at; a++ {
				all = append(all, a)
			}
		}
		p := newPool(ranges)
		if p.Size() != len(all) {
			t.Fatalf("size %d, want %d", p.Size(), len(all))
		}
		taken := map[ip4]bool{}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			lo := rapid.IntRange(0, max(len(all)-1, 0)).Draw(t, "from")
			n := rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, 5000)).Draw(t, "count")
			take := rapid.Bool().Draw(t, "take")
			for i := lo; i < min(lo+n, len(all)); i++ {
				if taken[all[i]] = take; take {
					p.take(all[i])
				} else {
					p.give(all[i])
				}
			}
			p.take(0x0a000000) // outside
			start := rapid.IntRange(0, max(len(all)-1, 0)).Draw(t, "start")
			want, ok := ip4(0), false
			for i := range all {
				if a := all[(start+i)%len(all)]; !taken[a] {
					want, ok = a, true
					break
				}
			}
			if got, found := p.next(start); got != want || found != ok {
				t.Fatalf("next(%d) of %d = %v %v, want %v %v", start, len(all), got.addr(), found, want.addr(), ok)
			}
		}
	})
}

func TestAllocationOrder(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	first := l.lease(g)
	fresh := newLab(t)
	if again := fresh.lease(g); again != first {
		t.Errorf("the store was lost: %s, had %s", again, first)
	}
	// What it asks for, where that is free.
	if a := l.lease(newGuest(2), requested(lan(15))); a != lan(15) && first != lan(15) {
		t.Errorf("asked for .15, got %s", a)
	}
	if a := l.lease(newGuest(3), requested(first)); a == first {
		t.Errorf("got the lease of another")
	}
	if a := l.lease(newGuest(4), requested(lan(200))); !l.cfg.Ranges[0].has(a) {
		t.Errorf("got %s, which is in no range", a)
	}
	l.check()
}

// TestLongestExpired: what nobody ever had comes first, and then what nobody has
// for the longest time.
func TestLongestExpired(t *testing.T) {
	l := newLab(t)
	var order []netip.Addr
	for i := range 9 {
		order = append(order, l.lease(newGuest(i)))
		l.pass(time.Minute)
	}
	// The third renews: it is the last now.
	if l.renew(newGuest(2), order[2]) != ack {
		t.Fatal("not renewed")
	}
	order = append(append(order[:2:2], order[3:]...), order[2])
	l.pass(2 * time.Hour)
	never := l.lease(newGuest(100))
	for _, a := range order {
		if a == never {
			t.Fatalf("%s was somebody's, and another was free", a)
		}
	}
	for i, want := range order {
		if a := l.lease(newGuest(101 + i)); a != want {
			t.Errorf("client %d: %s, want %s", i, a, want)
		}
	}
	if h := l.say(newGuest(0), discover); h != nil {
		t.Errorf("offered %s: all are taken", h.yours())
	}
	if l.renew(newGuest(0), order[0]) != nak {
		t.Error("renewed what another has")
	}
	l.check()
}

// TestEdges: the subnet's own address and its broadcast address are nobody's.
func TestEdges(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Ranges = []Range{ipRange("192.168.7.0", "192.168.7.2"), ipRange("192.168.7.254", "192.168.7.255")}
	})
	for i := range 2 {
		if a := l.lease(newGuest(i)); a != lan(2) && a != lan(254) {
			t.Errorf("got %s", a)
		}
	}
	if h := l.say(newGuest(3), discover); h != nil {
		t.Errorf("offered %s", h.yours())
	}
}

// TestOverBetweenTicks: what is over can be had, also where nobody called Tick.
func TestOverBetweenTicks(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Ranges = []Range{ipRange("192.168.7.10", "192.168.7.10")} })
	l.lease(newGuest(1))
	l.mono += time.Hour
	l.lease(newGuest(2))
	l.check()
}

func TestExhaustion(t *testing.T) {
	l := newLab(t)
	for i := range 10 {
		l.lease(newGuest(i))
	}
	for i := range 5 {
		if h := l.say(newGuest(50+i), discover); h != nil {
			t.Fatalf("offered %s", h.yours())
		}
	}
	l.wantLog("no address is free", 1)
	l.wantCount("discover", "exhausted", 5)
	if st := l.server.Stats(); st.Free != 0 || st.Size != 10 || st.Leases[Active] != 10 {
		t.Errorf("%+v", st)
	}
	l.pass(2 * time.Hour)
	if st := l.server.Stats(); st.Free != 10 {
		t.Errorf("%+v", st)
	}
	for i := range 10 {
		l.lease(newGuest(60 + i))
	}
	l.say(newGuest(50), discover)
	l.wantLog("no address is free", 2)
	// Who makes it full again and again does not fill the log.
	for range 5 {
		a := l.server.Leases()[0]
		owner := &guest{mac: a.MAC, port: "vm"}
		l.say(owner, release, ciaddr(a.Address))
		l.lease(owner)
		l.say(newGuest(50), discover)
	}
	l.wantLog("no address is free", 2)
}

func TestMaxLeases(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MaxLeases = 3 })
	for i := range 2 {
		l.lease(newGuest(i))
	}
	// An offer counts too.
	a := l.must(l.say(newGuest(2), discover), offered)
	if h := l.say(newGuest(3), discover); h != nil {
		t.Fatalf("a fourth: %s", h.yours())
	}
	l.wantLog("maximum of leases", 1)
	l.must(l.say(newGuest(2), request, requested(a), serverID(lan(1))), ack)
	if l.renew(newGuest(2), a) != ack {
		t.Error("a lease within the maximum was not renewed")
	}
	if h := l.say(newGuest(2), discover); l.must(h, offered) != a {
		t.Error("who has a lease is offered another")
	}
	l.say(newGuest(2), release, ciaddr(a), serverID(lan(1)))
	l.lease(newGuest(3))
	if l.renew(newGuest(2), a) != nak {
		t.Error("a fourth by INIT-REBOOT")
	}
	l.check()
}

// TestDiscoverFlood: one port that makes up clients does not keep the others from
// their leases, and no message makes more state than the share of its port.
func TestDiscoverFlood(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Ranges = []Range{ipRange("192.168.7.2", "192.168.7.254")} })
	for i := range 2000 {
		g := newGuest(1000 + i)
		g.port = "flood"
		l.say(g, discover)
	}
	if n := l.server.Stats().Leases[Offered]; n != 253/4 {
		t.Errorf("%d addresses are kept for those behind one port", n)
	}
	if l.count("discover", "limited") == 0 {
		t.Error("no message was counted as beyond the limit")
	}
	for i := range 50 {
		l.lease(newGuest(i))
	}
	l.check()
	l.pass(offerTime)
	if n := len(l.server.engine.ports); n != 0 {
		t.Errorf("%d ports are remembered", n)
	}
}

func TestProbe(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Probe = true })
	g := newGuest(1)
	r := g.request(discover, requested(lan(10)))
	l.server.Receive([]Request{r})
	if len(l.sent) != 0 || len(l.probed) != 1 || l.probed[0] != lan(10) {
		t.Fatalf("sent %d, probed %v", len(l.sent), l.probed)
	}
	// A repetition does not begin anew, and the answer is to it.
	l.pass(probeTime / 2)
	if h := l.say(g, discover, requested(lan(10)), broadcastBit); h != nil || len(l.probed) != 1 {
		t.Fatalf("answered %v, probed %v", h, l.probed)
	}
	l.wantCount("discover", "probing", 1)
	if l.renewOffer(g, lan(10)) != nak {
		t.Error("granted before the probe was over")
	}
	l.hear()
	l.pass(probeTime / 2)
	out := l.hear()
	if len(out) != 1 || out[0].yours() != lan(10) || out[0].Dst.Addr() != ip("255.255.255.255") {
		t.Fatalf("%+v", out)
	}
	l.must(l.say(g, request, requested(lan(10)), serverID(lan(1))), ack)
	// What it held is not probed, neither active nor over.
	l.must(l.say(g, discover), offered)
	l.pass(2 * time.Hour)
	l.must(l.say(g, discover), offered)
	if len(l.probed) != 1 {
		t.Errorf("probed %v", l.probed)
	}
	l.check()
}

func TestProbeConflict(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Probe = true })
	g := newGuest(1)
	stranger := newGuest(99).mac
	l.server.Receive([]Request{g.request(discover, requested(lan(10)))})
	l.server.Heard(lan(11), stranger, "wire")    // not asked for
	l.server.Heard(ip("fe80::1"), g.mac, "wire") // no address of ours
	l.server.Heard(lan(10), stranger, "wire")    // in use
	l.server.Heard(lan(10), g.mac, "wire")       // by the client too: the conflict stays
	l.pass(probeTime)
	if len(l.hear()) != 0 || len(l.probed) != 2 {
		t.Fatalf("probed %v", l.probed)
	}
	x, _ := l.at(lan(10))
	if x.State != Declined || x.MAC != stranger {
		t.Errorf("%+v", x)
	}
	second := l.probed[1]
	l.server.Heard(second, g.mac, "wire") // its own old address: no conflict
	l.pass(probeTime)
	if out := l.hear(); len(out) != 1 || out[0].yours() != second {
		t.Fatalf("%+v", out)
	}
	if _, ok := l.store.networks["lan"][lan(10)]; !ok {
		t.Error("the quarantine is not stored")
	}
	l.wantLog("in use by somebody", 1)
	l.check()
}

// TestProbeGivesUp: where everything answers, a DISCOVER costs so many
// addresses and no more.
func TestProbeGivesUp(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Probe = true })
	l.server.Receive([]Request{newGuest(1).request(discover)})
	for i := 0; i < len(l.probed) && i < 20; i++ {
		l.server.Heard(l.probed[i], newGuest(99+i).mac, string(rune('a'+i)))
		l.pass(probeTime)
	}
	if len(l.probed) != maxTries || l.server.Stats().Leases[Declined] != maxTries {
		t.Errorf("%d addresses were probed", len(l.probed))
	}
	l.wantCount("discover", "conflict", 1)
	l.check()
}

// TestOwnerStillThere: a lease is over by our clock only; its client answers the
// probe and keeps the address.
func TestOwnerStillThere(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Probe = true; c.Ranges = []Range{ipRange("192.168.7.10", "192.168.7.11")} })
	g := newGuest(1)
	a := l.lease(g)
	l.wall = l.wall.Add(24 * time.Hour) // and the server is started again
	l.restart()
	l.pass(graceTime)
	l.wantState(a, Expired)
	l.probed = nil
	l.lease(newGuest(2))
	l.server.Receive([]Request{newGuest(3).request(discover)})
	l.server.Heard(a, g.mac, "wire")
	l.pass(probeTime)
	if out := l.hear(); len(out) != 0 {
		t.Fatalf("offered %s", out[0].yours())
	}
	l.wantState(a, Active)
	if l.renew(g, a) != ack {
		t.Error("its client can not renew it")
	}
	l.check()
}
