package dhcp6

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft/weft/dhcp"
)

// TestOneCommitPerBatch: a batch of many clients is one transaction, and its
// replies leave after it.
func TestOneCommitPerBatch(t *testing.T) {
	l := newLab(t, withRange("2001:db8:1::", "2001:db8:1::ffff:ffff"))
	var batch []Request
	for i := range 60 {
		batch = append(batch, newGuest(i).request(solicit, na(1), pd(1), rapidly))
	}
	batch = append(batch, batch[0], newGuest(200).request(solicit, na(1)), newGuest(201).request(information))
	l.server.Receive(batch)
	if l.store.commits != 1 || len(l.sent) != 63 || l.routed != 1 {
		t.Errorf("%d commits, %d replies, %d changes of routes", l.store.commits, len(l.sent), l.routed)
	}
	l.check()
}

// TestFailedCommit: nothing is answered that depends on it, and all is as it was.
func TestFailedCommit(t *testing.T) {
	for _, written := range []bool{false, true} {
		l := newLab(t)
		kept := newGuest(1, fqdn(1, "kept"))
		a, p := l.lease(kept), l.lease(kept, pd(1))
		l.pass(10 * time.Minute)
		before := l.server.Leases()
		l.store.fail, l.store.written = errDisk, written
		for range 3 {
			l.sent = nil
			l.server.Receive([]Request{
				kept.request(renew, na(1, a.Addr()), pd(1, p)),
				newGuest(2, fqdn(1, "new")).request(solicit, na(1), pd(1), rapidly),
				newGuest(2, fqdn(1, "new")).request(request, na(1), pd(2)),
				newGuest(3).request(solicit, na(1)),
				newGuest(4).request(information),
			})
			if out := l.hear(); len(out) != 2 || out[0].MessageType != advertise || out[1].MessageType != reply {
				t.Errorf("%d replies", len(out))
			}
			l.check()
		}
		l.wantLog("leases can not be stored", 1)
		l.wantCount("renew", "failed", 3)
		after := l.server.Leases()
		if !slices.EqualFunc(before, after, func(a, b Lease) bool {
			return a.Prefix == b.Prefix && a.Expires.Equal(b.Expires) && a.Hostname == b.Hostname
		}) {
			t.Errorf("%+v\n%+v", before, after)
		}
		if len(l.server.Lookup("new")) != 0 || len(l.routes) != 1 {
			t.Errorf("what was not stored has a name, or a route: %v", l.routes)
		}
		l.store.fail = nil
		l.pass(watchEvery) // what the store says is right again, whatever it wrote
		l.wantLog("leases are stored again", 1)
		if n := len(l.store.networks["lan"]); n != 2 {
			t.Errorf("%d records", n)
		}
		if r := l.store.networks["lan"][a]; !r.Expires.Equal(before[0].Expires) {
			t.Errorf("stored: %+v", r)
		}
	}
}

// TestFailedCommitOfRelease: nobody waits for it, so it holds, and is written later.
func TestFailedCommitOfRelease(t *testing.T) {
	l := newLab(t)
	a, b := l.lease(newGuest(1)), l.lease(newGuest(2))
	l.store.fail = errDisk
	if h := l.say(newGuest(1), release, na(1, a.Addr())); h == nil || h.top() != dhcpStatusSuccess {
		t.Error("not answered")
	}
	if err := l.server.Release(b); err == nil {
		t.Error("no error")
	}
	l.store.fail = nil
	l.pass(watchEvery)
	for _, p := range []netip.Prefix{a, b} {
		if r := l.store.networks["lan"][p]; r.State != dhcp.Expired {
			t.Errorf("stored: %+v", r)
		}
	}
}

// TestFile: with the store that weft has.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	var before []Lease
	for round := range 2 {
		f, err := dhcp.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := New("lan", labConfig(), f, Env{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			s.Receive([]Request{newGuest(1, fqdn(1, "web")).request(solicit, na(1), pd(9), rapidly)})
			before = s.Leases()
		} else if after := s.Leases(); len(before) != 2 || !slices.EqualFunc(before, after, func(a, b Lease) bool {
			return a.Prefix == b.Prefix && a.IAID == b.IAID && string(a.DUID) == string(b.DUID) && a.Hostname == b.Hostname && a.State == b.State
		}) {
			t.Errorf("%+v\n%+v", before, after)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{-100 * 24 * time.Hour, time.Minute, 100 * 24 * time.Hour} {
		l := newLab(t)
		a := l.lease(newGuest(1))
		l.pass(10 * time.Minute)
		l.wall = l.wall.Add(jump)
		l.server.Tick()
		l.wantLog("the clock was set", 1)
		want := l.wall.Add(50 * time.Minute)
		if r := l.store.networks["lan"][a]; !r.Expires.Equal(want) {
			t.Errorf("%v: stored until %v, want %v", jump, r.Expires, want)
		}
		l.restart()
		l.pass(49 * time.Minute)
		l.wantState(a, dhcp.Active)
		l.pass(time.Minute)
		l.wantState(a, dhcp.Expired)
	}
}

// TestInfinite: a lease without an end has none, also after a restart.
func TestInfinite(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Lease = dhcp.Infinite })
	h := l.say(newGuest(1), solicit, na(1), rapidly)
	a := l.must(h, reply)
	if ia := h.Message.Options.OneIANA(); ia.T1/time.Second != infiniteOnTheWire || ia.Options.OneAddress().PreferredLifetime/time.Second != infiniteOnTheWire {
		t.Errorf("%s", h.Message.Summary())
	}
	l.pass(1000 * time.Hour)
	l.restart()
	if x, _ := l.at(a); x.State != dhcp.Active || !x.Expires.IsZero() {
		t.Errorf("%+v", x)
	}
}

// TestFailedName: a name that moved to another system of its machine goes back.
func TestFailedName(t *testing.T) {
	l := newLab(t)
	g := newGuest(1, fqdn(1, "web"))
	a := l.lease(g)
	system := &guest{mac: g.mac, port: g.port, duid: []byte{0, 2, 0, 0, 0, 9, 1}, with: g.with}
	l.store.fail = errDisk
	if h := l.say(system, solicit, na(1), rapidly); h != nil {
		t.Error("answered")
	}
	l.wantName("web", a)
}

// TestJumpWhileDown: the server does not see the jump. Backwards, a lease lasts no
// longer than it was granted for; forwards it is over, and is nobody else's for a while.
func TestJumpWhileDown(t *testing.T) {
	l := newLab(t, withRange("2001:db8:1::10", "2001:db8:1::10"))
	a := l.lease(newGuest(1))
	l.pass(10 * time.Minute)
	l.wall = l.wall.AddDate(-1, 0, 0)
	l.restart()
	if x, _ := l.at(a); x.State != dhcp.Active || !x.Expires.Equal(l.wall.Add(time.Hour)) {
		t.Errorf("%+v", x)
	}
	l.wall = l.wall.AddDate(2, 0, 0)
	l.restart()
	l.pass(graceTime - time.Second)
	l.wantState(a, dhcp.Expired)
	for _, reserved := range []bool{false, true} {
		if reserved {
			l.reconfigure(withHosts(Host{MAC: newGuest(2).mac, Address: a.Addr()}))
		}
		if h := l.say(newGuest(2), solicit, na(1)); len(h.leases()) != 0 {
			t.Errorf("reserved %v: advertised at once", reserved)
		}
	}
	l.pass(time.Second)
	if got := l.lease(newGuest(2)); got != a {
		t.Errorf("got %s", got)
	}
}

// TestLoadHostile: a store may hold anything.
func TestLoadHostile(t *testing.T) {
	l := newLab(t)
	good := func(prefix string, edit func(*dhcp.Record6)) dhcp.Record6 {
		r := dhcp.Record6{
			Prefix: px(prefix), DUID: newGuest(1).duid, MAC: newGuest(1).mac, Via: ip("fe80::1"), State: dhcp.Active,
			Granted: l.wall, Expires: l.wall.Add(time.Hour), Duration: time.Hour,
		}
		edit(&r)
		return r
	}
	l.store.networks["lan"] = map[netip.Prefix]dhcp.Record6{}
	bad := []dhcp.Record6{
		{},
		good("2001:db8:1::10/128", func(r *dhcp.Record6) { r.DUID = nil }),
		good("2001:db8:1::11/128", func(r *dhcp.Record6) { r.State = 77 }),
		good("2001:db8:1::12/128", func(r *dhcp.Record6) { r.State = dhcp.Offered }),
		good("fe80::1/128", func(*dhcp.Record6) {}),
		good("ff02::/16", func(*dhcp.Record6) {}),
		good("10.0.0.0/8", func(*dhcp.Record6) {}),
		good("2001:db8:100:100::/56", func(r *dhcp.Record6) { r.Via = ip("2001:db8::1") }),
		good("2001:db8:100:200::/56", func(r *dhcp.Record6) { r.State = dhcp.Declined }),
	}
	kept := []dhcp.Record6{
		good("2001:db8:1::13/128", func(r *dhcp.Record6) { r.Duration, r.Hostname = -time.Hour, "Bad Name" }),
		good("2001:db8:1::14/128", func(r *dhcp.Record6) { r.State, r.Duration = dhcp.Declined, 1000*time.Hour }),
		good("2001:db8:1::1/128", func(*dhcp.Record6) {}),
		good("2001:db8:1::15/128", func(r *dhcp.Record6) { r.Hostname = "web" }),
		good("2001:db8:1::16/128", func(r *dhcp.Record6) { r.DUID, r.Hostname = newGuest(2).duid, "web" }),
		good("2001:db8:7::1/128", func(*dhcp.Record6) {}),
	}
	for _, r := range append(bad, kept...) {
		l.store.networks["lan"][r.Prefix] = r
	}
	l.restart()
	l.check()
	if n := len(l.server.engine.bindings); n != len(kept) || len(l.server.Leases()) != n-1 { // the last one is of no subnet here
		t.Errorf("%+v", l.server.Leases())
	}
	l.pass(2 * time.Hour)
	l.check()
	if n := len(l.store.networks["lan"]); n > len(kept) {
		t.Errorf("%d records are left", n)
	}
}

// TestReadersDoNotWait: whoever asks for names goes on while the store writes. A reply
// does not, and neither do routes.
func TestReadersDoNotWait(t *testing.T) {
	l := newLab(t)
	l.server.Tick()
	l.store.wait = make(chan struct{})
	routed := l.routed
	done := make(chan struct{})
	go func() {
		l.server.Receive([]Request{newGuest(1).request(solicit, pd(1), rapidly)})
		close(done)
	}()
	<-l.store.entered
	l.server.Lookup("x")
	l.server.Reverse(lan(1))
	l.server.Holder("x")
	l.server.Leases()
	l.server.Stats()
	if len(l.sent) != 0 || l.routed != routed {
		t.Error("answered before the commit")
	}
	close(l.store.wait)
	<-done
	if len(l.sent) != 1 || l.routed != routed+1 {
		t.Errorf("%d replies", len(l.sent))
	}
}

func TestClose(t *testing.T) {
	l := newLab(t)
	a := l.lease(newGuest(1))
	commits := l.store.commits
	l.server.Close()
	l.sent = nil
	l.server.Receive([]Request{newGuest(1).request(renew, na(1, a.Addr()))})
	l.wall = l.wall.Add(time.Hour)
	l.server.Tick()
	if len(l.sent) != 0 || l.server.Release(a) == nil || l.server.Reconfigure(l.cfg) == nil || l.store.commits != commits {
		t.Error("a closed server works")
	}
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	s, err := New("lan", labConfig(), newMemStore(), Env{Send: func([]Reply) {}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 200 {
				g := newGuest(i*3+n%3, fqdn(1, "vm"))
				switch i {
				case 0:
					s.Receive([]Request{g.request(solicit, na(1), pd(1), rapidly), g.request(request, na(1))})
				case 1:
					s.Tick()
				case 2:
					s.Lookup("vm")
					s.Reverse(lan(10))
					s.Leases()
					s.Stats()
				case 3:
					c := labConfig()
					c.Lease = time.Duration(n+1) * time.Minute
					if err := s.Reconfigure(c); err != nil {
						t.Error(err)
					}
					s.Release(one(lan(0x10)))
				}
			}
		})
	}
	wg.Wait()
	s.Close()
}
