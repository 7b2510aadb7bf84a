package uplink

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/ndp"
)

// RFC 4861 clause 6.3.7 and RFC 7559: routers are asked from the link-local address, at
// once after the check of it, then ever more seldom, and not any more once one is there.
func TestRFC4861_RouterSolicitation(t *testing.T) {
	w := newWorld6(t, Client6Config{}, 1).start()
	w.run(100 * time.Hour)
	var last, wait time.Duration
	asked := w.takeKind(ndp.RouterSolicitation)
	for i, s := range asked {
		if s.src != own6 || s.dst != ndp.AllRouters || ndp.ParseSolicitation(s.message) != clientMAC {
			t.Fatalf("solicitation %+v", s.packet6)
		}
		gap := s.at - last
		least, most := wait*19/10, wait*21/10
		switch {
		case i == 0:
			least, most = time.Second, 2*time.Second // delay, and check of the address
		case i == 1:
			least, most = 3600*time.Millisecond, 4400*time.Millisecond
		case least > 54*time.Minute:
			least, most = 54*time.Minute, 66*time.Minute
		}
		if gap < least || gap > max(most, min(least*2, 66*time.Minute)) {
			t.Errorf("%d: after %v, want %v to %v", i, gap, least, most)
		}
		last, wait = s.at, gap
	}
	if len(asked) < 100 || len(asked) > 125 {
		t.Errorf("asked %d times in 100 hours", len(asked))
	}
	if got := w.m.problem(); got != "no router answers" {
		t.Errorf("problem %q", got)
	}
	w.hears(router1, plain(func(a *ndp.Advertisement) { a.Lifetime = 0 })) // RFC 7559 clause 2: of no default router
	w.run(5 * time.Hour)
	if n := len(w.takeKind(ndp.RouterSolicitation)); n < 4 {
		t.Errorf("asked %d times without a default router", n)
	}
	for range 10 {
		w.hears(router1, plain())
		w.run(20 * time.Minute)
		if s := w.takeKind(ndp.RouterSolicitation); len(s) != 0 {
			t.Errorf("it asks on: %v", s)
		}
	}
	w.run(11 * time.Minute)
	if s := w.takeKind(ndp.RouterSolicitation); len(s) == 0 {
		t.Error("the last router is gone, and it does not ask")
	}
}

// Clause 6.3.4: the list of default routers.
func TestRFC4861_DefaultRouters(t *testing.T) {
	w := ready(t, Client6Config{})
	says := func(from netip.Addr, lifetime time.Duration) {
		w.hears(from, plain(func(a *ndp.Advertisement) { a.Lifetime, a.Prefixes = lifetime, nil }))
	}
	for _, from := range []string{"2001:db8::1", "::", "ff02::1", "::1", own6.String()} {
		says(netip.MustParseAddr(from), time.Hour)
		w.leads(t)
	}
	says(router1, 0)
	w.leads(t)
	says(router1, 100*time.Second)
	w.leads(t, via("::/0", router1))
	w.run(50 * time.Second)
	says(router2, 100*time.Second)
	w.leads(t, via("::/0", router1)) // which is as good
	w.run(50*time.Second - 1)
	w.leads(t, via("::/0", router1))
	w.run(1)
	w.leads(t, via("::/0", router2))
	says(router1, time.Hour)
	w.leads(t, via("::/0", router2))
	says(router2, 0)
	w.leads(t, via("::/0", router1))
	says(router1, 10*time.Second) // shorter counts too
	w.run(10 * time.Second)
	w.leads(t)
}

// RFC 4191 clauses 3.1 and 3.2: preferences, routes, and a route to everywhere.
func TestRFC4191_Routes(t *testing.T) {
	w := ready(t, Client6Config{})
	says := func(from netip.Addr, p ndp.Preference, routes ...ndp.Route) {
		w.hears(from, ndp.Advertisement{Lifetime: time.Hour, Preference: p, Routes: routes})
	}
	route := func(s string, p ndp.Preference, d time.Duration) ndp.Route {
		return ndp.Route{Prefix: netip.MustParsePrefix(s), Preference: p, Lifetime: d}
	}
	says(router1, ndp.Low)
	says(router2, ndp.Medium)
	w.leads(t, via("::/0", router2))
	says(router1, ndp.High)
	w.leads(t, via("::/0", router1))
	says(router1, ndp.Medium)
	says(router2, ndp.Low)
	says(router2, ndp.Medium)
	w.leads(t, via("::/0", router1)) // of equals the one in use
	says(router2, ndp.High)
	says(router2, ndp.Medium)
	w.leads(t, via("::/0", router2))
	says(router1, ndp.High, route("::/0", ndp.Low, time.Hour))
	w.leads(t, via("::/0", router2))
	says(router2, ndp.Medium, route("::/0", ndp.Medium, 0))
	w.leads(t, via("::/0", router1))

	says(router1, ndp.Medium, route("2001:db8:9::/48", ndp.Medium, time.Hour), route("2001:db8:8::/48", ndp.Low, ndp.Infinite))
	says(router2, ndp.Medium, route("2001:db8:9::/48", ndp.High, time.Minute), route("fe80::/64", ndp.High, time.Hour),
		route("ff00::/8", ndp.High, time.Hour), route("::/64", ndp.High, time.Hour), route("::/1", ndp.High, time.Hour))
	w.leads(t, via("2001:db8:8::/48", router1), via("2001:db8:9::/48", router2), via("::/0", router1))
	w.run(time.Minute)
	w.leads(t, via("2001:db8:9::/48", router1), via("2001:db8:8::/48", router1), via("::/0", router1))
	says(router2, ndp.Medium, route("2001:db8:9::/48", ndp.High, 0)) // it never had it
	says(router1, ndp.Medium, route("2001:db8:8::/48", ndp.Low, 0))
	w.leads(t, via("2001:db8:9::/48", router1), via("::/0", router1))
}

// Clause 6.3.4 and RFC 5942: what is on the link is what routers say, and what has an
// address is not for that reason.
func TestRFC4861_OnLink(t *testing.T) {
	w := ready(t, Client6Config{})
	says := func(onLink, autonomous bool, valid time.Duration) {
		w.hears(router1, plain(func(a *ndp.Advertisement) {
			p := &a.Prefixes[0]
			p.OnLink, p.Autonomous, p.Valid, p.Preferred = onLink, autonomous, valid, valid
		}))
	}
	link := dataplane.Route{Destination: prefixA}
	says(true, false, time.Hour)
	w.leads(t, link, via("::/0", router1))
	says(false, false, time.Hour) // says nothing
	w.leads(t, link, via("::/0", router1))
	says(true, false, 0) // at once: the two hours are for addresses
	w.leads(t, via("::/0", router1))
	says(false, true, time.Hour)
	w.run(3 * time.Second)
	w.has(t, hostPrefix(addressA.Addr()))
	w.leads(t, via("::/0", router1))
	says(true, true, time.Hour)
	w.has(t, addressA)
	w.leads(t, via("::/0", router1)) // the link is the address's own
	says(true, true, 0)
	w.has(t, hostPrefix(addressA.Addr()))
	w.hears(router1, plain(func(a *ndp.Advertisement) {
		a.Prefixes[0] = ndp.Prefix{Prefix: netip.MustParsePrefix("2001:db8::/32"), OnLink: true, Valid: time.Minute}
		a.Prefixes = append(a.Prefixes, ndp.Prefix{Prefix: default6, OnLink: true, Valid: time.Hour})
		a.Routes = []ndp.Route{{Prefix: netip.MustParsePrefix("2001:db8::/32"), Lifetime: time.Hour}}
	}))
	wide := dataplane.Route{Destination: netip.MustParsePrefix("2001:db8::/32")}
	w.leads(t, wide, via("::/0", router1))
	w.run(time.Minute)
	w.leads(t, via("2001:db8::/32", router1), via("::/0", router1))
}

// Clause 6.3.4: an MTU that no link can have is none.
func TestRFC4861_MTU(t *testing.T) {
	w := ready(t, Client6Config{})
	for _, tt := range []struct {
		said uint32
		want int
	}{{0, 0}, {1279, 0}, {1280, 1280}, {9000, 9000}, {1 << 31, 9000}, {0, 9000}, {1400, 1400}, {65536, 1400}} {
		w.hears(router1, plain(func(a *ndp.Advertisement) { a.MTU = tt.said }))
		if got := w.lease().MTU; got != tt.want {
			t.Errorf("%d said: %d, want %d", tt.said, got, tt.want)
		}
	}
}

// RFC 8106 clause 5.1.
func TestRFC8106_Servers(t *testing.T) {
	w := ready(t, Client6Config{})
	addr := netip.MustParseAddr
	says := func(d time.Duration, servers ...netip.Addr) {
		w.hears(router1, ndp.Advertisement{DNS: servers, DNSLifetime: d})
	}
	is := func(want ...netip.Addr) {
		t.Helper()
		if got := w.lease().DNS; !slices.Equal(got, want) {
			t.Fatalf("servers %v, want %v", got, want)
		}
	}
	says(time.Minute, addr("2001:db8::53"), router1, addr("::1"), addr("ff02::fb"), addr("::ffff:192.0.2.1"))
	is(addr("2001:db8::53"), router1)
	w.run(30 * time.Second)
	says(time.Hour, router1)
	w.run(30 * time.Second)
	is(router1)
	says(0, router1)
	is()
	for i := range 100 {
		says(ndp.Infinite, netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}))
	}
	if n := len(w.lease().DNS); n != maxResolvers {
		t.Errorf("%d servers", n)
	}
}

// A link that was down may lead elsewhere: what nobody says there is dropped, but not
// while nobody says anything.
func TestClient6OtherLink(t *testing.T) {
	all := func(a *ndp.Advertisement) {
		a.MTU, a.DNS, a.DNSLifetime = 1400, []netip.Addr{router1}, time.Hour
		a.Routes = []ndp.Route{{Prefix: netip.MustParsePrefix("2001:db8:9::/48"), Lifetime: time.Hour}}
	}
	was := func(w *world6, t *testing.T) {
		t.Helper()
		w.has(t, addressA)
		w.leads(t, via("2001:db8:9::/48", router1), via("::/0", router1))
	}
	replug := func(t *testing.T) *world6 {
		w := ready(t, Client6Config{})
		w.hears(router1, plain(all))
		w.run(3 * time.Second)
		was(w, t)
		w.do(func(now time.Time) { w.m.setLink(now, false) })
		w.take()
		w.run(time.Minute)
		was(w, t)
		if s := w.take(); len(s) != 0 || w.m.state(w.now) != Client6NoLink {
			t.Fatalf("without a link: state %s, sent %v", w.m.state(w.now), s)
		}
		w.do(func(now time.Time) { w.m.setLink(now, true) })
		w.run(10 * time.Second)
		was(w, t)
		kinds := map[uint8]int{}
		for _, s := range w.take() {
			kinds[s.kind]++
		}
		if kinds[ndp.NeighborSolicitation] != 2 || kinds[ndp.RouterSolicitation] == 0 {
			t.Errorf("it asks %v", kinds)
		}
		return w
	}
	t.Run("the same", func(t *testing.T) {
		w := replug(t)
		w.hears(router1, plain(all))
		w.run(time.Minute)
		was(w, t)
		w.take()
		w.do(func(now time.Time) { w.m.setLink(now, true) }) // it is
		w.run(time.Minute)
		if s := w.take(); len(s) != 0 {
			t.Errorf("sent %v", s)
		}
	})
	t.Run("another", func(t *testing.T) {
		w := replug(t)
		w.hears(router2, plain(func(a *ndp.Advertisement) { a.Prefixes[0].Prefix = prefixB }))
		w.run(settle - 1)
		w.has(t, addressA, addressB)
		w.run(time.Second)
		w.has(t, addressB)
		w.leads(t, via("::/0", router2))
		if l := w.lease(); l.MTU != 0 || len(l.DNS) != 0 {
			t.Errorf("lease %+v", l)
		}
	})
	t.Run("somebody else has the address there", func(t *testing.T) {
		w := replug(t)
		w.do(func(now time.Time) { w.m.setLink(now, false) })
		w.do(func(now time.Time) { w.m.setLink(now, true) })
		w.do(func(now time.Time) { w.m.claimed(now, addressA.Addr(), otherMAC) })
		w.has(t)
	})
}

// What strangers say has bounds, in memory and in what it makes the machine send, and
// does not push out what is there.
func TestClient6Flood(t *testing.T) {
	w := ready(t, Client6Config{})
	w.hears(router1, plain())
	w.run(3 * time.Second)
	w.take()
	began := w.now
	for i := range uint32(5000) {
		var from, prefix [16]byte
		from[0], from[1] = 0xfe, 0x80
		prefix[0], prefix[1] = 0x20, 0x01
		binary.BigEndian.PutUint32(from[12:], i+100)
		binary.BigEndian.PutUint32(prefix[4:], i+100)
		p := netip.PrefixFrom(netip.AddrFrom16(prefix), 64)
		w.hears(netip.AddrFrom16(from), ndp.Advertisement{
			Lifetime: time.Duration(i%3) * time.Second, MTU: 1280 + i%100,
			Prefixes: []ndp.Prefix{{Prefix: p, OnLink: true, Autonomous: true, Valid: time.Second, Preferred: time.Second}},
			Routes:   []ndp.Route{{Prefix: netip.PrefixFrom(p.Addr(), 48), Lifetime: ndp.Infinite}},
			DNS:      []netip.Addr{p.Addr()}, DNSLifetime: time.Hour,
		})
		w.run(10 * time.Millisecond)
	}
	m := w.m
	if len(m.routers) > maxRouters || len(m.onLink) > maxPrefixes || len(m.routes) > maxRoutes6 || len(m.resolvers) > maxResolvers || len(m.addresses) > maxPrefixes {
		t.Errorf("%d routers, %d prefixes, %d routes, %d servers, %d addresses", len(m.routers), len(m.onLink), len(m.routes), len(m.resolvers), len(m.addresses))
	}
	if n, most := len(w.take()), maxBurst+int(w.now.Sub(began)/sendEvery)+1; n > most {
		t.Errorf("%d packets in %v, at most %d", n, w.now.Sub(began), most)
	}
	if l := w.lease(); !slices.Contains(l.Addresses, addressA) || l.Routes[len(l.Routes)-1] != via("::/0", router1) {
		t.Errorf("lease %+v", l)
	}
	w.run(time.Hour)
	if n := len(m.routers) + len(m.onLink) + len(m.addresses); n != 2 { // the right prefix, and the address of it
		t.Errorf("an hour later there are %d things", n)
	}
}
