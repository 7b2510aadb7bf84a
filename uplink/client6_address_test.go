package uplink

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/ndp"
)

// Clauses 5.3 and 5.4: the link-local address comes first, and is asked for before it is
// used. The first packet waits a random time of less than a second.
func TestRFC4862_LinkLocal(t *testing.T) {
	delays := map[time.Duration]bool{}
	for seed := range uint64(20) {
		w := newWorld6(t, Client6Config{DHCP: true}, seed).start()
		w.run(3 * time.Second)
		s := w.take()
		if len(s) < 2 {
			t.Fatalf("sent %v", s)
		}
		n := ndp.ParseNeighbor(s[0].message)
		if s[0].kind != ndp.NeighborSolicitation || n.Target != own6 || n.MAC != [6]byte{} || !s[0].src.IsUnspecified() ||
			s[0].dst != ndp.SolicitedNode(own6) || s[0].at >= time.Second {
			t.Errorf("first after %v: %+v from %v to %v", s[0].at, n, s[0].src, s[0].dst)
		}
		delays[s[0].at] = true
		for _, p := range s[1:] {
			if p.at < s[0].at+retransmitTime || p.src != own6 {
				t.Errorf("%v after the solicitation: %+v", p.at-s[0].at, p.packet6)
			}
		}
	}
	if len(delays) < 10 {
		t.Errorf("the delays are %v", delays)
	}
}

// Clause 5.4.5: without a link-local address there is no IPv6.
func TestRFC4862_LinkLocalDuplicate(t *testing.T) {
	w := newWorld6(t, Client6Config{DHCP: true}, 1).start()
	w.run(time.Second)
	w.hears(router1, plain())
	w.do(func(now time.Time) { w.m.claimed(now, own6, otherMAC) })
	w.take()
	w.hears(router1, plain())
	w.run(time.Hour)
	if s := w.take(); len(s) != 0 || w.m.state(w.now) != Client6Duplicate {
		t.Errorf("state %s, sent %v", w.m.state(w.now), s)
	}
	w.has(t)
	if got := w.m.problem(); !strings.Contains(got, "02:00:00:00:00:09 has the address fe80::ff:fe00:5 too: give the uplink another MAC address") {
		t.Errorf("problem %q", got)
	}
	w.do(w.m.linkEvent)
	w.run(10 * time.Second)
	w.hears(router1, plain())
	w.run(10 * time.Second)
	w.has(t, addressA)
}

// Clause 5.5.3, a to d: which prefixes make an address.
func TestRFC4862_AutonomousPrefix(t *testing.T) {
	prefix := func(s string) func(*ndp.Prefix) {
		return func(p *ndp.Prefix) { p.Prefix = netip.MustParsePrefix(s) }
	}
	for _, tt := range []struct {
		name   string
		change func(*ndp.Prefix)
		want   []netip.Prefix
	}{
		{"fit", func(*ndp.Prefix) {}, []netip.Prefix{addressA}},
		{"for ever", func(p *ndp.Prefix) { p.Valid, p.Preferred = ndp.Infinite, ndp.Infinite }, []netip.Prefix{addressA}},
		{"deprecated", func(p *ndp.Prefix) { p.Preferred = 0 }, []netip.Prefix{addressA}},
		{"unique local", prefix("fd00:1:2:3::/64"), []netip.Prefix{netip.MustParsePrefix("fd00:1:2:3:0:ff:fe00:5/64")}},
		{"not on the link", func(p *ndp.Prefix) { p.OnLink = false }, []netip.Prefix{hostPrefix(addressA.Addr())}},
		{"not autonomous", func(p *ndp.Prefix) { p.Autonomous = false }, nil},
		{"link-local", prefix("fe80::/64"), nil},
		{"multicast", prefix("ff02::/64"), nil},
		{"loopback", prefix("::/64"), nil},
		{"longer preferred than valid", func(p *ndp.Prefix) { p.Preferred = p.Valid + time.Second }, nil},
		{"over", func(p *ndp.Prefix) { p.Valid, p.Preferred = 0, 0 }, nil},
		{"too short", prefix("2001:db8:a::/63"), nil},
		{"too long", prefix("2001:db8:a::/65"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := ready(t, Client6Config{})
			w.hears(router1, plain(func(a *ndp.Advertisement) { tt.change(&a.Prefixes[0]) }))
			w.has(t) // not before it was asked for
			w.run(3 * time.Second)
			w.has(t, tt.want...)
			asked := len(w.takeKind(ndp.NeighborSolicitation))
			if asked != len(tt.want) {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

// Clause 5.5.3, e: what a later message does to the lifetimes.
func TestRFC4862_TwoHours(t *testing.T) {
	for _, tt := range []struct {
		name            string
		has, said, want time.Duration
	}{
		{"longer than two hours", 10 * time.Hour, 3 * time.Hour, 3 * time.Hour},
		{"longer than what is left", 30 * time.Minute, time.Hour, time.Hour},
		{"as long", time.Hour, time.Hour, time.Hour},
		{"shorter, of little", time.Hour, 10 * time.Minute, time.Hour},
		{"zero, of little", time.Hour, 0, time.Hour},
		{"shorter, of much", 10 * time.Hour, 10 * time.Minute, 2 * time.Hour},
		{"zero, of much", 10 * time.Hour, 0, 2 * time.Hour},
		{"two hours, of much", 10 * time.Hour, 2 * time.Hour, 2 * time.Hour},
		{"for ever", time.Hour, ndp.Infinite, eternity},
		{"zero, of what has no end", ndp.Infinite, 0, 2 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lifetime := func(d time.Duration) ndp.Advertisement {
				return plain(func(a *ndp.Advertisement) { a.Prefixes[0].Valid, a.Prefixes[0].Preferred = d, d })
			}
			w := ready(t, Client6Config{})
			w.hears(router1, lifetime(tt.has))
			w.hears(router1, lifetime(tt.said))
			a := w.m.addresses[0]
			if got := a.valid.Sub(w.now); got != tt.want {
				t.Errorf("valid for %v, want %v", got, tt.want)
			}
			if got, want := a.preferred.Sub(w.now), min(tt.said, eternity); got != want {
				t.Errorf("preferred for %v, want %v: that may be taken away at once", got, want)
			}
		})
	}
}

// Clause 5.5.4: a deprecated address is used still, but after the others; then it is gone.
func TestRFC4862_Lifetimes(t *testing.T) {
	w := ready(t, Client6Config{})
	w.hears(router1, plain(func(a *ndp.Advertisement) {
		a.Prefixes[0].Valid, a.Prefixes[0].Preferred = 2*time.Hour, 20*time.Minute
		a.Prefixes = append(a.Prefixes,
			ndp.Prefix{Prefix: netip.MustParsePrefix("fd00::/64"), Autonomous: true, OnLink: true, Valid: ndp.Infinite, Preferred: ndp.Infinite},
			ndp.Prefix{Prefix: prefixB, Autonomous: true, OnLink: true, Valid: ndp.Infinite, Preferred: ndp.Infinite})
	}))
	ula := netip.MustParsePrefix("fd00::ff:fe00:5/64")
	began := w.now
	w.run(3 * time.Second)
	w.has(t, addressA, addressB, ula)
	w.run(began.Add(20*time.Minute - 1).Sub(w.now))
	w.has(t, addressA, addressB, ula)
	w.run(1)
	w.has(t, addressB, ula, addressA)
	w.run(began.Add(2*time.Hour - 1).Sub(w.now))
	w.has(t, addressB, ula, addressA)
	w.run(1)
	w.has(t, addressB, ula)
	w.run(10 * 365 * 24 * time.Hour)
	w.has(t, addressB, ula)
}

// Clauses 5.4.3 and 5.4.4: who else has an address, or asks whether somebody has.
func TestRFC4862_Duplicate(t *testing.T) {
	w := ready(t, Client6Config{})
	w.hears(router1, plain(func(a *ndp.Advertisement) {
		a.Prefixes = append(a.Prefixes, ndp.Prefix{Prefix: prefixB, Autonomous: true, OnLink: true, Valid: ndp.Infinite, Preferred: ndp.Infinite})
	}))
	w.run(10 * time.Millisecond)
	claim := func(a netip.Addr, mac [6]byte) { w.do(func(now time.Time) { w.m.claimed(now, a, mac) }) }
	claim(addressA.Addr(), clientMAC) // our own echo
	claim(leasedSix, otherMAC)
	claim(addressB.Addr(), otherMAC)
	w.run(3 * time.Second)
	w.has(t, addressA)
	if got := w.m.problem(); got != "02:00:00:00:00:09 has the address 2001:db8:b::ff:fe00:5, which is not used" {
		t.Errorf("problem %q", got)
	}
	claim(addressA.Addr(), otherMAC) // once it is in use it is defended
	w.has(t, addressA)

	// Another address is not tried, nor this one again, until something about the link
	// changes.
	w.take()
	for range 10 {
		w.hears(router1, plain(func(a *ndp.Advertisement) { a.Prefixes[0].Prefix = prefixB }))
		w.run(time.Minute)
	}
	if s := w.take(); len(s) != 0 {
		t.Errorf("sent %v", s)
	}
	w.has(t, addressA)
	w.do(w.m.linkEvent)
	w.run(3 * time.Second)
	w.has(t, addressA, addressB)
	if w.m.problem() != "" {
		t.Errorf("problem %q", w.m.problem())
	}
}

// The time to wait for an answer is the one that routers say, within bounds.
func TestRFC4862_RetransTimer(t *testing.T) {
	for _, tt := range []struct{ said, want time.Duration }{
		{0, time.Second}, {300 * time.Millisecond, 300 * time.Millisecond}, {time.Millisecond, leastRetransmit}, {40 * 24 * time.Hour, mostRetransmit},
	} {
		w := ready(t, Client6Config{})
		w.hears(router1, plain(func(a *ndp.Advertisement) { a.Retransmit = tt.said }))
		w.run(time.Second)
		asked := w.takeKind(ndp.NeighborSolicitation)
		w.run(asked[0].at + tt.want - 1 - w.now.Sub(epoch))
		if w.m.addresses[0].usable && tt.want > time.Second {
			t.Errorf("%v: used before", tt.said)
		}
		w.run(time.Second)
		w.has(t, addressA)
	}
}

// What the caller does not want is not made, and said.
func TestClient6Accept(t *testing.T) {
	w := ready(t, Client6Config{DHCP: true})
	w.m.accept = func(l Lease6) error {
		if len(l.Addresses) != 1 {
			t.Errorf("asked about %+v", l)
		}
		if l.Addresses[0].Overlaps(prefixA) {
			return errors.New(`2001:db8:a::/64 overlaps network "lab"`)
		}
		return nil
	}
	s := newTestServer6()
	w.answer = s.serve
	w.hears(router1, plain())
	w.run(time.Minute)
	w.has(t)
	want := `2001:db8:a::/64 overlaps network "lab"; DHCPv6: server fe80::1: 2001:db8:a::/64 overlaps network "lab"`
	if got := w.m.problem(); got != want {
		t.Errorf("problem %q, want %q", got, want)
	}
	s.addr = netip.MustParseAddr("2001:db8:c::1")
	w.hears(router1, plain(func(a *ndp.Advertisement) { a.Prefixes[0].Prefix = prefixB }))
	w.run(5 * time.Minute)
	w.has(t, addressB, hostPrefix(s.addr))
	if got := w.m.problem(); got != "" {
		t.Errorf("problem %q", got)
	}
}
