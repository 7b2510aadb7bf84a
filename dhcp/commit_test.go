package dhcp

import (
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestOneCommitPerBatch: a batch of many clients is one transaction, and its
// replies leave after it.
func TestOneCommitPerBatch(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Ranges = []Range{ipRange("192.168.7.2", "192.168.7.254")} })
	var batch []Request
	for i := range 60 {
		a := l.must(l.say(newGuest(i), discover), offered)
		batch = append(batch, newGuest(i).request(request, requested(a), serverID(lan(1))))
	}
	batch = append(batch, batch[0], batch[1], batch[2], newGuest(200).request(discover))
	l.server.Receive(batch)
	if l.store.commits != 1 || len(l.hear()) != 64 {
		t.Errorf("%d commits, %d replies", l.store.commits, len(l.sent))
	}
	if n := len(l.store.networks["lan"]); n != 60 {
		t.Errorf("%d records", n)
	}
	l.check()
}

// TestFailedCommit: nothing is acknowledged, and all is as it was before.
func TestFailedCommit(t *testing.T) {
	for _, written := range []bool{false, true} {
		l := newLab(t)
		kept := newGuest(1)
		a := l.lease(kept, optString(optHostname, "kept"))
		l.pass(10 * time.Minute)
		offer := l.must(l.say(newGuest(2), discover), offered)
		l.store.fail, l.store.written = errDisk, written
		batch := []Request{
			kept.request(request, ciaddr(a)),
			newGuest(2).request(request, requested(offer), serverID(lan(1)), optString(optHostname, "new")),
			newGuest(3).request(discover),
			newGuest(3).request(request, requested(ip("10.0.0.1"))),
		}
		for range 3 {
			l.sent = nil
			l.server.Receive(batch)
			if out := l.hear(); len(out) != 2 || out[0].MessageType() != offered || out[1].MessageType() != nak {
				t.Errorf("%d replies", len(out))
			}
			l.check()
		}
		l.wantLog("leases can not be stored", 1)
		l.wantCount("request", "failed", 6)
		if x, _ := l.at(a); x.State != Active || !x.Expires.Equal(l.wall.Add(50*time.Minute)) || x.Hostname != "kept" {
			t.Errorf("%+v", x)
		}
		l.wantState(offer, Offered)
		if _, ok := l.server.Lookup("new"); ok {
			t.Error("a lease that was not stored has a name")
		}
		l.store.fail = nil
		until := l.wall.Add(50 * time.Minute)
		l.pass(watchEvery) // what the store says is right again, whatever it wrote
		l.wantLog("leases are stored again", 1)
		if r := l.store.networks["lan"][a]; !r.Expires.Equal(until) {
			t.Errorf("stored: %+v", r)
		}
		if _, ok := l.store.networks["lan"][offer]; ok {
			t.Error("an offer is stored")
		}
		l.must(l.say(newGuest(2), request, requested(offer), serverID(lan(1))), ack)
		l.check()
	}
}

// TestFailedCommitOfRelease: nobody waits for it, so it holds, and is written
// later.
func TestFailedCommitOfRelease(t *testing.T) {
	l := newLab(t)
	a, b := l.lease(newGuest(1)), l.lease(newGuest(2))
	l.store.fail = errDisk
	l.say(newGuest(1), release, ciaddr(a))
	if err := l.server.Release(b); err == nil || !contains(err.Error(), "disk is full") {
		t.Errorf("%v", err)
	}
	l.wantState(a, Expired)
	l.wantState(b, Expired)
	commits := l.store.commits
	for range 5 {
		if next := l.server.Tick(); next.Before(l.wall.Add(watchEvery)) {
			t.Error("Tick is to be called again at once")
		}
	}
	if l.store.commits != commits {
		t.Error("a store that fails is asked again at once")
	}
	l.store.fail = nil
	l.pass(watchEvery)
	for _, addr := range []netip.Addr{a, b} {
		if r := l.store.networks["lan"][addr]; r.State != Expired {
			t.Errorf("stored: %+v", r)
		}
	}
}

// TestFailedName: a name that moved along with its client goes back with it.
func TestFailedName(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	a := l.lease(g, optString(optHostname, "vm"))
	l.reconfigure(func(c *Config) { c.Ranges = []Range{ipRange("192.168.7.60", "192.168.7.69")} })
	b := l.must(l.say(g, discover), offered)
	l.store.fail = errDisk
	if h := l.say(g, request, requested(b), serverID(lan(1)), optString(optHostname, "vm")); h != nil {
		t.Error("answered")
	}
	if got, ok := l.server.Lookup("vm"); got != a {
		t.Errorf("vm is %s %v", got, ok)
	}
	l.check()
}

// TestFailedCommitAfterNewOffer: an offer that comes back does not stand beside
// one that the client was made since, in the same batch.
func TestFailedCommitAfterNewOffer(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Lease = 10 * time.Second })
	g := newGuest(1, opt(optClientID, 1))
	a := l.must(l.say(g, discover), offered)
	l.store.fail = errDisk
	l.server.Receive([]Request{
		g.request(request, requested(a), serverID(lan(1))),
		g.request(decline, requested(a), serverID(lan(1))),
		g.request(discover),
	})
	l.check()
	if n := l.server.Stats().Leases[Offered]; n != 1 {
		t.Errorf("%d offers for one client", n)
	}
	l.pass(offerTime)
	l.check()
}

func TestLoadError(t *testing.T) {
	store := newMemStore()
	store.fail = errDisk
	if _, err := New("lan", labConfig(), store, Env{}); err == nil || err.Error() != `dhcp: leases of network "lan": disk is full` {
		t.Errorf("%v", err)
	}
}

// TestLoadHostile: a store may hold anything.
func TestLoadHostile(t *testing.T) {
	l := newLab(t)
	now := l.wall
	bad := []Record{
		{},
		{Address: ip("fe80::1"), MAC: newGuest(1).mac, State: Active, Expires: now.Add(time.Hour), Duration: time.Hour},
		{Address: lan(10), State: Active, Expires: now.Add(time.Hour), Duration: time.Hour},
		{Address: lan(11), MAC: newGuest(1).mac, State: 77, Expires: now.Add(time.Hour), Duration: time.Hour},
		{Address: lan(12), MAC: newGuest(1).mac, State: Offered, Expires: now.Add(time.Hour), Duration: time.Hour},
		{Address: lan(13), MAC: newGuest(1).mac, State: Active, Expires: now.Add(time.Hour), Duration: -time.Hour, Hostname: "Bad Name"},
		{Address: lan(14), State: Declined, Expires: now.Add(100 * time.Hour), Duration: 100 * time.Hour},
		{Address: lan(15), MAC: newGuest(2).mac, State: Active, Expires: now.Add(time.Hour), Duration: time.Hour, Hostname: "vm"},
		{Address: lan(16), MAC: newGuest(3).mac, State: Active, Expires: now.Add(time.Hour), Duration: time.Hour, Hostname: "vm"},
		{Address: lan(1), MAC: newGuest(4).mac, State: Active, Expires: now.Add(time.Hour), Duration: time.Hour},
		{Address: ip("10.1.1.1"), MAC: newGuest(5).mac, State: Expired, Expires: now.Add(-time.Hour), Duration: time.Hour},
	}
	l.store.networks["lan"] = map[netip.Addr]Record{}
	for _, r := range bad {
		l.store.networks["lan"][r.Address] = r
	}
	l.restart()
	l.check()
	if _, ok := l.at(lan(10)); ok {
		t.Error("a lease of nobody")
	}
	l.wantState(lan(14), Declined)
	l.wantState(lan(15), Active)
	l.wantState(lan(16), Active)
	l.pass(graceTime)
	l.wantState(lan(13), Expired)
	l.pass(quarantineTime)
	if _, ok := l.at(lan(14)); ok {
		t.Error("a quarantine lasts longer than any")
	}
	if l.renew(newGuest(4), lan(1)) == ack {
		t.Error("renewed the gateway's address")
	}
	l.check()
}

func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{-100 * 24 * time.Hour, -time.Minute, time.Minute, 100 * 24 * time.Hour} {
		l := newLab(t)
		g := newGuest(1)
		a := l.lease(g)
		l.pass(10 * time.Minute)
		commits := l.store.commits
		l.wall = l.wall.Add(jump)
		l.server.Tick()
		if l.store.commits != commits+1 {
			t.Errorf("%v: the times in the store are not written anew", jump)
		}
		l.wantLog("the clock was set", 1)
		want := l.wall.Add(50 * time.Minute)
		if r := l.store.networks["lan"][a]; !r.Expires.Equal(want) {
			t.Errorf("%v: stored until %v, want %v", jump, r.Expires, want)
		}
		if x, _ := l.at(a); x.State != Active || !x.Expires.Equal(want) {
			t.Errorf("%v: %+v", jump, x)
		}
		l.restart()
		l.pass(49 * time.Minute)
		l.wantState(a, Active)
		l.pass(time.Minute)
		l.wantState(a, Expired)
	}
	// What drifts is no jump.
	l := newLab(t)
	l.lease(newGuest(1))
	l.wall = l.wall.Add(time.Second)
	l.server.Tick()
	l.wantLog("the clock was set", 0)
}

// TestJumpWhileDown: the server does not see the jump. Backwards, a lease lasts
// no longer than it was granted for; forwards it is over, but still its client's.
func TestJumpWhileDown(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	a := l.lease(g)
	l.pass(10 * time.Minute)
	l.wall = l.wall.AddDate(-1, 0, 0)
	l.restart()
	if x, _ := l.at(a); x.State != Active || !x.Expires.Equal(l.wall.Add(time.Hour)) {
		t.Errorf("%+v", x)
	}
	l.wall = l.wall.AddDate(2, 0, 0)
	l.restart()
	l.pass(graceTime)
	l.wantState(a, Expired)
	for i := range 9 {
		if b := l.lease(newGuest(10 + i)); b == a {
			t.Fatal("given away while others are free")
		}
	}
	if l.renew(g, a) != ack {
		t.Error("its client can not renew it")
	}
	l.check()
}

// TestJumpAfterFailure: a store that failed a moment ago and works again gets the
// times of a clock that was set at once. What waits there would be lost with
// the server, and clients' leases with it.
func TestJumpAfterFailure(t *testing.T) {
	l := newLab(t)
	a, b := l.lease(newGuest(1)), l.lease(newGuest(2))
	l.store.fail = errDisk
	l.say(newGuest(2), release, ciaddr(b))
	l.store.fail = nil
	l.wall = l.wall.Add(24 * time.Hour)
	l.server.Tick()
	l.restart()
	l.wantState(a, Active)
	l.wantState(b, Expired)
}

// TestAckInFlight: the clock goes forward while the server is away, and an ACK is
// on its way. Its client does not answer ARP for the address yet, and nobody else
// gets it all the same.
func TestAckInFlight(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Probe = true; c.Ranges = []Range{ipRange("192.168.7.10", "192.168.7.10")} })
	g := newGuest(1)
	a := l.lease(g)
	l.wall = l.wall.Add(100 * time.Hour)
	l.restart()
	l.reconfigure(withHosts(Host{MAC: newGuest(3).mac, Address: a})) // nor who it is reserved for now
	for _, other := range []*guest{newGuest(2), newGuest(3)} {
		l.server.Receive([]Request{other.request(discover)})
	}
	l.pass(graceTime - time.Second)
	if out := l.hear(); len(out) != 0 {
		t.Fatalf("offered %s", out[0].yours())
	}
	l.reconfigure(withHosts())
	if l.renew(g, a) != ack { // the ACK came
		t.Error("not renewed")
	}
	l.pass(graceTime)
	l.wantState(a, Active)
	l.check()
}

// TestExpiryIsStored: what was over before the server went away can be had at
// once when it is back.
func TestExpiryIsStored(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Ranges = []Range{ipRange("192.168.7.10", "192.168.7.10")} })
	a := l.lease(newGuest(1))
	l.pass(time.Hour)
	l.restart()
	l.wantState(a, Expired)
	l.lease(newGuest(2))
	l.check()
}

// TestManyRewritten: a jump of the clock with many leases is written in parts.
func TestManyRewritten(t *testing.T) {
	l := newLab(t)
	l.cfg.Server, l.cfg.Ranges = netip.MustParsePrefix("10.0.0.1/8"), []Range{ipRange("10.1.0.0", "10.1.255.255")}
	l.restart()
	const n = 2*maxDirty + 10
	for i := range n {
		l.lease(newGuest(i))
	}
	l.wall = l.wall.Add(-24 * time.Hour)
	commits := l.store.commits
	for range 10 {
		if next := l.server.Tick(); next.After(l.wall) {
			break
		}
	}
	if got := l.store.commits - commits; got != 3 {
		t.Errorf("%d commits", got)
	}
	for _, r := range l.store.networks["lan"] {
		if !r.Expires.Equal(l.wall.Add(time.Hour)) {
			t.Fatalf("%+v", r)
		}
	}
}

// TestReadersDoNotWait: whoever asks for names, and ARP, go on while the store
// writes. A reply does not.
func TestReadersDoNotWait(t *testing.T) {
	l := newLab(t)
	a := l.must(l.say(newGuest(1), discover), offered)
	l.sent = nil
	l.store.wait = make(chan struct{})
	done := make(chan struct{})
	go func() {
		l.server.Receive([]Request{newGuest(1).request(request, requested(a), serverID(lan(1)))})
		close(done)
	}()
	<-l.store.entered
	l.server.Lookup("x")
	l.server.Reverse(a)
	l.server.Leases()
	l.server.Stats()
	l.server.Heard(a, newGuest(5).mac, "wire")
	if len(l.sent) != 0 {
		t.Error("answered before the commit")
	}
	close(l.store.wait)
	<-done
	if len(l.sent) != 1 {
		t.Errorf("%d replies", len(l.sent))
	}
}

func TestClose(t *testing.T) {
	l := newLab(t)
	a := l.lease(newGuest(1))
	commits := l.store.commits
	if err := l.server.Close(); err != nil {
		t.Fatal(err)
	}
	if h := l.say(newGuest(1), request, ciaddr(a)); h != nil {
		t.Error("answered")
	}
	l.wall = l.wall.Add(time.Hour)
	l.server.Tick()
	if l.server.Release(a) == nil || l.server.Reconfigure(l.cfg) == nil || l.store.commits != commits {
		t.Error("a closed server works")
	}
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	cfg := labConfig()
	cfg.Probe = true
	var mu sync.Mutex
	sent := 0
	s, err := New("lan", cfg, newMemStore(), Env{
		Send:  func(r []Reply) { mu.Lock(); sent += len(r); mu.Unlock() },
		Probe: func(netip.Addr, uint16) {},
		Log:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 200 {
				g := newGuest(i*3 + n%3)
				switch i {
				case 0:
					s.Receive([]Request{g.request(discover), g.request(request, requested(lan(12)))})
				case 1:
					s.Tick()
					s.Heard(lan(byte(10+n%10)), g.mac, "wire")
				case 2:
					s.Lookup("vm")
					s.Reverse(lan(10))
					s.Leases()
					s.Stats()
				case 3:
					c := cfg
					c.Lease = time.Duration(n+1) * time.Minute
					if err := s.Reconfigure(c); err != nil {
						t.Error(err)
					}
					s.Release(lan(10))
				}
			}
		})
	}
	wg.Wait()
	s.Close()
	mu.Lock()
	defer mu.Unlock()
	if sent == 0 {
		t.Error("nothing was sent")
	}
}

// TestMemory: 64k leases with names and identifiers.
func TestMemory(t *testing.T) {
	const n = 65000
	l := newLab(t)
	l.cfg.Server, l.cfg.Ranges = netip.MustParsePrefix("10.0.0.1/8"), []Range{ipRange("10.1.0.0", "10.1.255.255")}
	store := newMemStore()
	l.store = store
	l.restart()
	before := heap()
	for i := range n {
		g := newGuest(i, opt(optClientID, 1, 2, 3, 4, 5, 6, byte(i>>8), byte(i)), optString(optHostname, "machine-"+string(rune('a'+i%26))+time.Duration(i).String()[:len(time.Duration(i).String())-2]))
		l.say(g, discover, opt(optRapidCommit))
		if i%1024 == 0 {
			store.networks = map[string]map[netip.Addr]Record{} // not ours to count
		}
	}
	store.networks = map[string]map[netip.Addr]Record{}
	each := (heap() - before) / n
	if st := l.server.Stats(); st.Leases[Active] != n {
		t.Fatalf("%+v", st)
	}
	t.Logf("%d bytes a lease", each)
	if each > 400 {
		t.Errorf("%d bytes a lease", each)
	}
	runtime.KeepAlive(l)
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
