package ra

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"pgregory.net/rapid"
)

// RFC 9096 clause 3.5: a prefix that is gone is said to be void, for as long as it was
// valid and with the flags that it had.
func TestRFC9096_3_5_StalePrefix(t *testing.T) {
	inLab(t, config(), middle, func(l *lab) {
		l.calm()
		cfg := config()
		cfg.Advertisement.Prefixes[0].Prefix = other
		l.Reconfigure(cfg)
		changed := l.now()
		for _, a := range l.pass(2 * time.Hour) {
			if len(a.Prefixes) == 0 || a.Prefixes[0].Prefix != other || a.Prefixes[0].Valid != 90*time.Minute {
				t.Fatalf("after %v: prefixes %+v", a.at-changed, a.Prefixes)
			}
			void := ndp.Prefix{Prefix: prefix, OnLink: true, Autonomous: true}
			if told := slices.Contains(a.Prefixes, void); told != (a.at-changed < 90*time.Minute) {
				t.Errorf("after %v: prefixes %+v", a.at-changed, a.Prefixes)
			}
		}
	})
}

// A prefix that comes back is as it was.
func TestPrefixComesBack(t *testing.T) {
	inLab(t, config(), middle, func(l *lab) {
		l.calm()
		cfg := config()
		cfg.Advertisement.Prefixes = nil
		l.Reconfigure(cfg)
		if a := l.one(time.Second); len(a.Prefixes) != 1 || a.Prefixes[0].Valid != 0 || a.Prefixes[0].Preferred != 0 {
			t.Errorf("prefixes %+v, want a void one", a.Prefixes)
		}
		l.Reconfigure(config())
		if a := l.one(5 * time.Second); len(a.Prefixes) != 1 || a.Prefixes[0] != config().Advertisement.Prefixes[0] {
			t.Errorf("prefixes %+v, want the one of before", a.Prefixes)
		}
	})
}

// RFC 4191, RFC 8106: so are routes, name servers and domains, also those to which
// hosts go on by another name.
func TestRFC8106_WithdrawnServers(t *testing.T) {
	cfg := config()
	dns := []netip.Addr{netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:1::2")}
	route := ndp.Route{Prefix: netip.MustParsePrefix("2001:db8:9::/48"), Preference: ndp.High, Lifetime: time.Hour}
	cfg.Advertisement.Routes = []ndp.Route{route}
	cfg.Advertisement.DNS, cfg.Advertisement.DNSLifetime = dns, 30*time.Minute
	cfg.Advertisement.Search, cfg.Advertisement.SearchLifetime = []string{"lab", "test"}, 30*time.Minute
	inLab(t, cfg, middle, func(l *lab) {
		l.calm()
		next := cfg
		next.Advertisement.Routes, next.Advertisement.DNS, next.Advertisement.Search = nil, dns[1:], nil
		l.Reconfigure(next)
		sent := l.pass(time.Second)
		if len(sent) != 2 {
			t.Fatalf("messages %+v, want one for what is and one for what is not", sent)
		}
		route.Lifetime = 0
		is, was := sent[0], sent[1]
		if !slices.Equal(is.Routes, []ndp.Route{route}) || !slices.Equal(is.DNS, dns[1:]) || is.DNSLifetime != 30*time.Minute || len(is.Search) != 0 {
			t.Errorf("advertised %+v", is)
		}
		if !slices.Equal(was.DNS, dns[:1]) || was.DNSLifetime != 0 || !slices.Equal(was.Search, []string{"lab", "test"}) || was.SearchLifetime != 0 ||
			len(was.Prefixes) != 0 || was.Lifetime != is.Lifetime {
			t.Errorf("taken back %+v", was)
		}
		l.pass(2 * time.Hour)
		if a := l.one(400 * time.Second); len(a.Routes) != 0 || len(a.DNS) != 1 {
			t.Errorf("two hours later %+v", a)
		}
	})
}

// However often the configuration changes, what is taken back is bounded.
func TestGoneIsBounded(t *testing.T) {
	inLab(t, config(), middle, func(l *lab) {
		l.one(time.Second)
		for i := range byte(200) {
			cfg := config()
			cfg.Advertisement.Prefixes[0].Prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, i}), 64)
			cfg.Advertisement.Prefixes[0].Valid = time.Duration(i+1) * time.Hour
			l.Reconfigure(cfg)
		}
		a := l.one(5 * time.Second)
		if len(a.Prefixes) != 1+maxGone || a.Prefixes[1].Prefix.Addr().As16()[1] != 198 {
			t.Errorf("%d prefixes: %+v", len(a.Prefixes), a.Prefixes)
		}
	})
}

// A flood of solicitations from any number of addresses has few answers, and whoever
// asks meanwhile is answered too.
func TestFlood(t *testing.T) {
	inLab(t, config(), middle, func(l *lab) {
		l.calm()
		before := l.Stats()
		l.choose(0, rand.New(rand.NewPCG(3, 4)))
		const tenSeconds, each = 1000, 100
		for i := range tenSeconds {
			for j := range each {
				mac := frame.MAC{2, 2, byte(i >> 8), byte(i), byte(j)}
				l.Receive(Solicitation{ndp.LinkLocal(mac), mac})
			}
			time.Sleep(10 * time.Millisecond)
		}
		asked := l.now()
		l.Receive(guest)
		answered := false
		for _, a := range l.pass(4 * time.Second) {
			answered = answered || a.at >= asked && (a.toAll() || a.mac == guestMAC)
		}
		s := l.Stats()
		if one, all := s.Unicast-before.Unicast, s.Multicast-before.Multicast; one > 2000 || one < 1000 || all > 5 || all < 3 {
			t.Errorf("%d answers to one and %d to all, of %d solicitations", one, all, s.Received)
		}
		if s.Received-before.Received != tenSeconds*each+1 || s.Refused != 0 || !answered {
			t.Errorf("counted %+v, the guest was answered: %v", s, answered)
		}
	})
}

// Close waits for what is being sent, and says goodbye after it.
func TestCloseIsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := false
		var last ndp.Advertisement
		a := New(config(), Env{Log: slog.New(slog.DiscardHandler), Send: func(_ netip.Addr, _ frame.MAC, message []byte) {
			if busy {
				t.Error("two messages are sent at once")
			}
			busy = true
			time.Sleep(time.Second)
			busy = false
			last, _ = ndp.ParseAdvertisement(message)
		}})
		time.Sleep(time.Millisecond)
		a.Close()
		if last.MAC != routerMAC || last.Lifetime != 0 {
			t.Errorf("the last message is %+v", last)
		}
	})
}

// Who asks again before he is answered has one answer.
func TestAsksTwice(t *testing.T) {
	inLab(t, config(), middle, func(l *lab) {
		l.calm()
		for i := range byte(10) {
			l.Receive(Solicitation{netip.AddrFrom16([16]byte{0xfe, 0x80, 15: i}), guestMAC})
		}
		l.one(10 * time.Second)
	})
}

// Where no answer can go there is none.
func TestRefused(t *testing.T) {
	inLab(t, config(), middle, func(l *lab) {
		l.calm()
		for _, s := range []Solicitation{
			{},
			{netip.MustParseAddr("10.0.0.5"), guestMAC},
			{netip.MustParseAddr("::ffff:10.0.0.5"), guestMAC},
			{ndp.AllNodes, guestMAC},
			{guest.Src, frame.MAC{}},
			{guest.Src, frame.MAC{0x33, 0x33, 0, 0, 0, 1}},
		} {
			l.Receive(s)
		}
		l.none(time.Minute)
		if s := l.Stats(); s.Received != 6 || s.Refused != 6 || s.Multicast != 3 || s.Unicast != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

// Whatever happens, in whatever order: to all there are three seconds between two and
// never more than the longest interval, few wait, and nobody waits for long.
func TestSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := func(below time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(below)-1).Draw(t, "random"))
		}
		start := time.Unix(1e9, 0)
		now, last := start, time.Time{}
		s := newSchedule(now, 600*time.Second, random)
		waiting := map[frame.MAC]time.Time{} // since when
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				mac := frame.MAC{2, 0, 0, 0, 0, rapid.Byte().Draw(t, "guest")}
				src := ndp.LinkLocal(mac)
				if rapid.Bool().Draw(t, "unnamed") {
					src = netip.IPv6Unspecified()
				}
				s.solicited(now, Solicitation{src, mac})
				if _, is := waiting[mac]; !is {
					waiting[mac] = now
				}
			case 2:
				s.restart(now, time.Duration(rapid.IntRange(4, 1800).Draw(t, "interval"))*time.Second)
			}
			end := now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "wait")) * time.Millisecond)
			for !s.next().After(end) {
				if s.next().After(now) {
					now = s.next()
				}
				all, some := s.due(now)
				if all {
					if d := now.Sub(last); !last.IsZero() && (d < minDelayBetween || d > maxInterval) {
						t.Fatalf("advertisements to all %v after one another", d)
					}
					last = now
					clear(waiting)
				}
				for _, a := range some {
					delete(waiting, a.MAC)
				}
				if !all && len(some) == 0 {
					t.Fatal("woken for nothing")
				}
			}
			now = end
			for mac, since := range waiting {
				if d := now.Sub(since); d > minDelayBetween+maxDelay {
					t.Fatalf("%v waits for %v", mac, d)
				}
			}
			if len(s.answers) > maxAnswers || s.next().Sub(now) > maxInterval {
				t.Fatalf("%d wait, nothing happens for %v", len(s.answers), s.next().Sub(now))
			}
		}
	})
}
