package ra

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// Clause 6.2.1: bounds of what is configured.
func TestRFC4861_6_2_1_Bounds(t *testing.T) {
	for _, tt := range []struct {
		given                time.Duration
		longest, shortestFor time.Duration
	}{
		{0, 4 * time.Second, 3 * time.Second},
		{4 * time.Second, 4 * time.Second, 3 * time.Second},
		{8 * time.Second, 8 * time.Second, 6 * time.Second},
		{9 * time.Second, 9 * time.Second, 3 * time.Second},
		{600 * time.Second, 600 * time.Second, 198 * time.Second},
		{1800 * time.Second, 1800 * time.Second, 594 * time.Second},
		{time.Hour, 1800 * time.Second, 594 * time.Second},
	} {
		longest := interval(Config{Interval: tt.given})
		if least := shortest(longest); longest != tt.longest || least != tt.shortestFor {
			t.Errorf("interval %v: between %v and %v, want %v and %v", tt.given, least, longest, tt.shortestFor, tt.longest)
		}
		for given, want := range map[time.Duration]time.Duration{0: 0, 1: tt.longest, 9000 * time.Second: 9000 * time.Second} {
			cfg := Config{Interval: tt.given, Advertisement: ndp.Advertisement{Lifetime: given}}
			if got := sound(cfg).Lifetime; got != want {
				t.Errorf("interval %v, lifetime %v: %v is advertised, want %v", tt.given, given, got, want)
			}
		}
	}
	if a := sound(Config{Advertisement: ndp.Advertisement{Prefixes: []ndp.Prefix{{Prefix: netip.MustParsePrefix("fe80::/64")}}}}); len(a.Prefixes) != 0 {
		t.Errorf("prefixes %+v are advertised, want no link-local one", a.Prefixes)
	}
	cfg := config()
	cfg.Advertisement.Prefixes = append(cfg.Advertisement.Prefixes,
		ndp.Prefix{Prefix: other, Valid: time.Hour, Preferred: ndp.Infinite})
	inLab(t, cfg, middle, func(l *lab) {
		got := l.one(time.Second).Prefixes
		if len(got) != 2 || got[1].Prefix != other || got[1].Preferred != time.Hour {
			t.Errorf("advertised prefixes %+v", got)
		}
	})
}

// Clause 6.2.3: what is in an advertisement.
func TestRFC4861_6_2_3_Content(t *testing.T) {
	cfg := config()
	a := &cfg.Advertisement
	a.Managed, a.Other, a.Preference = true, true, ndp.High
	a.Reachable, a.Retransmit = 30*time.Second, time.Second
	inLab(t, cfg, middle, func(l *lab) {
		got := l.one(time.Second)
		if !got.toAll() || got.mac != (frame.MAC{0x33, 0x33, 0, 0, 0, 1}) {
			t.Errorf("sent to %v (%v)", got.dst, got.mac)
		}
		if fmt.Sprintf("%+v", got.Advertisement) != fmt.Sprintf("%+v", *a) {
			t.Errorf("advertised\n%+v, want\n%+v", got.Advertisement, *a)
		}
	})
}

// Clause 6.2.3: what does not fit in one message is sent in several, each with what is
// the router's own.
func TestRFC4861_6_2_3_SeveralMessages(t *testing.T) {
	cfg := config()
	a := &cfg.Advertisement
	a.DNSLifetime, a.SearchLifetime = time.Hour, time.Hour
	for i := range 60 {
		addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 9, byte(i)})
		a.Routes = append(a.Routes, ndp.Route{Prefix: netip.PrefixFrom(addr, 48), Lifetime: time.Hour})
		a.DNS = append(a.DNS, addr.Next())
		a.Search = append(a.Search, fmt.Sprintf("a-domain-with-a-long-name-%d.example", i))
	}
	inLab(t, cfg, middle, func(l *lab) {
		sent := l.pass(time.Second)
		var routes, servers, domains, prefixes int
		for _, s := range sent {
			if n := len(s.Message()); n > 1240 {
				t.Errorf("a message has %d bytes", n)
			}
			if s.Lifetime != a.Lifetime || s.HopLimit != a.HopLimit || s.MAC != a.MAC || s.MTU != a.MTU {
				t.Errorf("a message lacks what is the router's own: %+v", s)
			}
			prefixes, routes = prefixes+len(s.Prefixes), routes+len(s.Routes)
			servers, domains = servers+len(s.DNS), domains+len(s.Search)
		}
		if prefixes != 1 || routes != 60 || servers != 60 || domains != 60 || len(sent) < 3 {
			t.Errorf("%d messages with %d prefixes, %d routes, %d servers, %d domains", len(sent), prefixes, routes, servers, domains)
		}
	})
}

// Clause 6.2.4: the first three come at most 16 s after one another; then the intervals
// are what the configuration wants.
func TestRFC4861_6_2_4_InitialAdvertisements(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		interval time.Duration
		part     int64
		want     []time.Duration
	}{
		{600 * s, 0, []time.Duration{0, 16 * s, 32 * s, 230 * s, 428 * s}},
		{600 * s, 1000, []time.Duration{0, 16 * s, 32 * s, 632 * s, 1232 * s}},
		{20 * s, 1000, []time.Duration{0, 16 * s, 32 * s, 52 * s, 72 * s}},
		{10 * s, 500, []time.Duration{0, 6650 * time.Millisecond, 13300 * time.Millisecond, 19950 * time.Millisecond}},
		{4 * s, 0, []time.Duration{0, 3 * s, 6 * s, 9 * s, 12 * s}},
	} {
		cfg := config()
		cfg.Interval = tt.interval
		inLab(t, cfg, tt.part, func(l *lab) {
			sent := l.pass(tt.want[len(tt.want)-1] + time.Millisecond)
			for i, a := range sent {
				if i >= len(tt.want) || (a.at-tt.want[i]).Abs() > time.Microsecond || !a.toAll() {
					t.Errorf("interval %v, part %d: advertisement %d after %v, want %v", tt.interval, tt.part, i, a.at, tt.want)
				}
			}
			if len(sent) != len(tt.want) {
				t.Errorf("interval %v, part %d: %d advertisements, want %v", tt.interval, tt.part, len(sent), tt.want)
			}
		})
	}
}

// Clause 6.2.4: intervals are spread evenly between the shortest and the longest.
func TestRFC4861_6_2_4_RandomInterval(t *testing.T) {
	inLab(t, config(), middle, func(l *lab) {
		l.calm()
		l.choose(0, rand.New(rand.NewPCG(1, 2)))
		sent := l.pass(1000 * time.Hour)
		var sum, least, most time.Duration
		least = time.Hour
		for i := range sent[2:] {
			d := sent[i+2].at - sent[i+1].at
			sum, least, most = sum+d, min(least, d), max(most, d)
		}
		mean := sum / time.Duration(len(sent)-2)
		if least < 198*time.Second || least > 200*time.Second || most > 600*time.Second || most < 598*time.Second ||
			(mean-399*time.Second).Abs() > 5*time.Second {
			t.Errorf("intervals from %v to %v, %v on average, want 198 s to 600 s", least, most, mean)
		}
	})
}

// Clause 6.2.4: what changes is advertised as at first, and never more often than
// clause 6.2.6 allows.
func TestRFC4861_6_2_4_ChangedInformation(t *testing.T) {
	inLab(t, config(), middle, func(l *lab) {
		l.calm()
		began := l.now()
		for i := range uint8(100) { // a storm of changes
			cfg := config()
			cfg.Advertisement.HopLimit = i
			l.Reconfigure(cfg)
			time.Sleep(10 * time.Millisecond)
		}
		sent := l.pass(time.Minute)
		want := []time.Duration{0, 3 * time.Second, 19 * time.Second, 35 * time.Second}
		if len(sent) != len(want) {
			t.Fatalf("advertisements %+v, want %d", sent, len(want))
		}
		for i, a := range sent {
			if (a.at-began-want[i]).Abs() > time.Microsecond || i > 0 && a.HopLimit != 99 {
				t.Errorf("advertisement %d after %v, hop limit %d, want %v", i, a.at-began, a.HopLimit, want[i])
			}
		}
		cfg := config()
		cfg.Advertisement.HopLimit = 99
		l.Reconfigure(cfg) // nothing new
		l.none(time.Minute)
	})
}

// Clause 6.2.5: who stops says so, at once and once, to all.
func TestRFC4861_6_2_5_Ceasing(t *testing.T) {
	cfg := config()
	route := ndp.Route{Prefix: netip.MustParsePrefix("2001:db8:9::/48"), Lifetime: time.Hour}
	cfg.Advertisement.Routes = []ndp.Route{route}
	inLab(t, cfg, middle, func(l *lab) {
		l.pass(time.Second)
		l.Receive(guest) // whom nobody answers any more
		l.Close()
		l.Close()
		a := l.one(time.Hour)
		if a.at != time.Second || a.Lifetime != 0 || !a.toAll() || a.MAC != routerMAC {
			t.Errorf("said goodbye with %+v", a)
		}
		if is := cfg.Advertisement; a.DNSLifetime != 0 || len(a.DNS) != len(is.DNS) || len(a.Search) != len(is.Search) {
			t.Errorf("said goodbye with servers %+v for %v", a.DNS, a.DNSLifetime)
		}
		if len(a.Prefixes) != 0 || len(a.Routes) != 1 || a.Routes[0].Lifetime != 0 {
			t.Errorf("said goodbye with prefixes %+v, routes %+v", a.Prefixes, a.Routes)
		}
		l.Reconfigure(config())
		l.Receive(nobody)
		l.none(time.Hour)
	})
}

// Clause 6.2.5, and RFC 9096 clause 3.5: a router that is none for good takes all back
// that hosts believe.
func TestRFC4861_6_2_5_Withdrawn(t *testing.T) {
	cfg := config()
	cfg.Advertisement.Routes = []ndp.Route{{Prefix: netip.MustParsePrefix("2001:db8:9::/48"), Lifetime: time.Hour}}
	inLab(t, cfg, middle, func(l *lab) {
		l.pass(time.Second)
		l.Withdraw()
		l.Close()
		var prefixes, routes, servers, domains int
		for _, a := range l.pass(time.Hour) {
			if a.Lifetime != 0 || !a.toAll() || a.DNSLifetime != 0 || a.SearchLifetime != 0 {
				t.Errorf("said %+v", a)
			}
			for _, p := range a.Prefixes {
				if p.Valid != 0 || p.Preferred != 0 {
					t.Errorf("prefix %+v", p)
				}
			}
			for _, r := range a.Routes {
				if r.Lifetime != 0 {
					t.Errorf("route %+v", r)
				}
			}
			prefixes, routes, servers, domains = prefixes+len(a.Prefixes), routes+len(a.Routes), servers+len(a.DNS), domains+len(a.Search)
		}
		is := cfg.Advertisement
		if prefixes != len(is.Prefixes) || prefixes == 0 || routes != 1 || servers != len(is.DNS) || domains != len(is.Search) {
			t.Errorf("took back %d prefixes, %d routes, %d servers, %d domains", prefixes, routes, servers, domains)
		}
	})
}

// Clause 6.2.6: an answer comes after a random time of up to 500 ms, to all or to who
// asked.
func TestRFC4861_6_2_6_RandomDelay(t *testing.T) {
	for _, from := range []Solicitation{guest, nobody} {
		inLab(t, config(), middle, func(l *lab) {
			l.calm()
			for _, part := range []int64{0, 1, 250, 999, 1000} {
				l.choose(part, nil)
				asked := l.now()
				l.Receive(from)
				a := l.one(time.Second)
				want := time.Duration(part) * time.Millisecond / 2
				if got := a.at - asked; (got - want).Abs() > time.Microsecond {
					t.Errorf("%v was answered after %v, want %v", from.Src, got, want)
				}
				if toAll := from == nobody; a.toAll() != toAll || !toAll && (a.dst != guest.Src || a.mac != guestMAC) {
					t.Errorf("%v was answered at %v (%v)", from.Src, a.dst, a.mac)
				}
				l.none(5 * time.Second)
			}
		})
	}
}

// Clause 6.2.6: to all nodes there are three seconds between two advertisements, and
// the delay comes on top of that.
func TestRFC4861_6_2_6_MinDelayBetween(t *testing.T) {
	inLab(t, config(), middle, func(l *lab) {
		l.calm()
		l.Receive(nobody)
		first := l.one(time.Second)
		l.choose(800, nil)
		l.Receive(nobody)
		second := l.one(10 * time.Second)
		if got := second.at - first.at; (got - 3400*time.Millisecond).Abs() > time.Microsecond {
			t.Errorf("advertisements to all %v after one another, want 3.4 s", got)
		}
		began := l.now()
		for range 1000 { // ten seconds of them
			l.Receive(nobody)
			time.Sleep(10 * time.Millisecond)
		}
		sent := l.pass(5 * time.Second)
		if len(sent) != 4 {
			t.Errorf("%d advertisements in ten seconds of solicitations, want 4", len(sent))
		}
		last := began - 3*time.Second
		for _, a := range sent {
			if d := a.at - last; d < 3*time.Second || d > 3500*time.Millisecond {
				t.Errorf("advertisements to all %v after one another", d)
			}
			last = a.at
		}
	})
}

// Clause 6.2.6: an advertisement that is due anyway serves for an answer, without the
// delay; and one that is sent for an answer puts the next one off.
func TestRFC4861_6_2_6_ScheduledAdvertisement(t *testing.T) {
	for _, from := range []Solicitation{guest, nobody} {
		inLab(t, config(), middle, func(l *lab) {
			l.pass(15900 * time.Millisecond)
			l.choose(1000, nil) // 500 ms, beyond the second advertisement
			l.Receive(from)
			if a := l.one(time.Second); a.at != 16*time.Second || !a.toAll() {
				t.Errorf("answered after %v at %v, want the advertisement that was due", a.at, a.dst)
			}
		})
	}
	inLab(t, config(), middle, func(l *lab) {
		l.calm()
		l.pass(time.Minute)
		l.choose(0, nil)
		l.Receive(nobody)
		a := l.one(time.Second)
		if next := l.one(198 * time.Second); (next.at - a.at - 198*time.Second).Abs() > time.Microsecond {
			t.Errorf("the next one came %v after the answer", next.at-a.at)
		}
	})
}

// Clause 6.2.6: one answer serves all who ask before it is sent.
func TestRFC4861_6_2_6_OneAnswerForMany(t *testing.T) {
	inLab(t, config(), middle, func(l *lab) {
		l.calm()
		for i := range byte(200) {
			l.Receive(Solicitation{netip.IPv6Unspecified(), frame.MAC{2, 1, 0, 0, 0, i}})
			l.Receive(guest)
		}
		sent := l.pass(10 * time.Second)
		if len(sent) != 1 || !sent[0].toAll() {
			t.Errorf("answers %+v", sent)
		}
	})
}
