package fdb

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// mac returns the i-th address of the tests: unicast, locally administered.
func mac(i int) frame.MAC {
	m := frame.MAC{0: 0x02}
	binary.BigEndian.PutUint32(m[2:], uint32(i))
	return m
}

// tiny returns a table whose store has so few buckets that slots change their
// key all the time and entries often step aside.
func tiny(c Config, buckets int) *Table {
	t := New(c)
	t.store.Store(newStore(buckets))
	return t
}

// The ports that an address may ever have are those that leave the same
// remainder: port = address mod residues + residues*epoch.
const (
	residues = 8
	epochs   = 4
)

func portOf(i, epoch int) Port { return Port(i%residues + residues*epoch) }

// group runs workers until stop is closed, and waits for them.
type group struct {
	sync.WaitGroup
	stop  chan struct{}
	error atomic.Pointer[string]
}

func (g *group) fail(s string) { g.error.CompareAndSwap(nil, &s) }

func (g *group) loop(f func(r *rand.Rand)) {
	seed := rand.Uint64()
	g.Go(func() {
		r := rand.New(rand.NewPCG(seed, 1))
		for {
			select {
			case <-g.stop:
				return
			default:
			}
			if g.error.Load() != nil {
				return
			}
			for range 64 {
				f(r)
			}
			runtime.Gosched()
		}
	})
}

// TestConcurrentLookup holds the table's main promise: whatever writers do at
// the same time, Lookup never returns a port that the address never had.
func TestConcurrentLookup(t *testing.T) {
	for _, tc := range []struct {
		name          string
		buckets, keys int
		config        Config
	}{
		{"one bucket", 1, 40, Config{Limit: 7, Ageing: 2 * time.Second}},
		{"four buckets", 4, 100, Config{Limit: 24, PortLimit: 10, Ageing: 3 * time.Second}},
		{"as made", minBuckets, 2000, Config{Limit: 256, Ageing: 2 * time.Second}},
	} {
		t.Run(tc.name, func(t *testing.T) { storm(t, tiny(tc.config, tc.buckets), tc.config, tc.keys) })
	}
}

func storm(t *testing.T, tab *Table, c Config, keys int) {
	g := &group{stop: make(chan struct{})}
	var now atomic.Uint32
	var hits, lookups atomic.Uint64
	for range 4 {
		g.loop(func(r *rand.Rand) {
			i := r.IntN(keys)
			p, ok := tab.Lookup(0, mac(i))
			if ok && int(p)%residues != i%residues {
				g.fail("Lookup returned the port of another address")
			}
			if ok {
				hits.Add(1)
			}
			lookups.Add(1)
		})
	}
	for range 3 {
		g.loop(func(r *rand.Rand) {
			i := r.IntN(keys)
			tab.Learn(0, mac(i), portOf(i, r.IntN(epochs)), now.Load())
		})
	}
	g.loop(func(r *rand.Rand) {
		i := r.IntN(keys)
		switch p := portOf(i, r.IntN(epochs)); r.IntN(64) {
		case 0:
			tab.Flush()
		case 1:
			tab.FlushPort(p)
		case 2:
			tab.RemovePort(p)
		case 3, 4:
			// An error is all right: the address may have another one.
			_ = tab.Add(0, mac(i), p, Static)
		case 5, 6, 7, 8, 9:
			tab.Remove(0, mac(i))
		default:
			now.Add(1)
			tab.Age(now.Load())
		}
	})
	time.Sleep(700 * time.Millisecond)
	close(g.stop)
	g.Wait()
	if s := g.error.Load(); s != nil {
		t.Error(*s)
	}
	if hits.Load() == 0 || hits.Load() == lookups.Load() {
		t.Errorf("%d of %d lookups hit: the test saw one side only", hits.Load(), lookups.Load())
	}
	check(t, tab)
}

// TestConcurrentPresence holds the other half: an address that is there all the
// time is found all the time, also while its entry steps aside for others.
func TestConcurrentPresence(t *testing.T) {
	const pinned, keys = 8, 400
	tab := tiny(Config{Limit: 18}, 4)
	for i := range pinned {
		if err := tab.Add(1, mac(i), Port(i), Static); err != nil {
			t.Fatal(err)
		}
	}
	g := &group{stop: make(chan struct{})}
	for range 3 {
		g.loop(func(r *rand.Rand) {
			i := r.IntN(pinned)
			if p, ok := tab.Lookup(1, mac(i)); !ok || p != Port(i) {
				g.fail("Lookup missed an entry that was there all the time")
			}
		})
	}
	for range 2 {
		g.loop(func(r *rand.Rand) { tab.Learn(0, mac(r.IntN(keys)), Port(r.IntN(4)), 1) })
	}
	time.Sleep(700 * time.Millisecond)
	close(g.stop)
	g.Wait()
	if s := g.error.Load(); s != nil {
		t.Error(*s)
	}
	check(t, tab)
}

// TestConcurrentReconfigure rebuilds the store under readers and learners.
func TestConcurrentReconfigure(t *testing.T) {
	const pinned, keys = 50, 600
	tab := New(Config{Limit: 256})
	for i := range pinned {
		if err := tab.Add(1, mac(i), Port(i%residues), Static); err != nil {
			t.Fatal(err)
		}
	}
	g := &group{stop: make(chan struct{})}
	g.loop(func(r *rand.Rand) {
		i := r.IntN(pinned)
		if p, ok := tab.Lookup(1, mac(i)); !ok || int(p) != i%residues {
			g.fail("Lookup missed a static entry during a rebuild")
		}
		i = r.IntN(keys)
		if p, ok := tab.Lookup(0, mac(i)); ok && int(p)%residues != i%residues {
			g.fail("Lookup returned the port of another address")
		}
	})
	g.loop(func(r *rand.Rand) {
		i := r.IntN(keys)
		tab.Learn(0, mac(i), portOf(i, r.IntN(epochs)), 1)
	})
	sizes := []int{256, 5000, 64, 1024}
	for i := range 60 {
		tab.Reconfigure(Config{Limit: sizes[i%len(sizes)], PortLimit: i % 100})
		time.Sleep(5 * time.Millisecond)
	}
	close(g.stop)
	g.Wait()
	if s := g.error.Load(); s != nil {
		t.Error(*s)
	}
	check(t, tab)
}

// check holds what must be true of a table at rest: the lists, the counts and
// the slots tell the same story.
func check(t testing.TB, tab *Table) {
	t.Helper()
	tab.mu.Lock()
	defer tab.mu.Unlock()
	s := tab.store.Load()
	seen := map[uint64]bool{}
	live, listed, dynamic := 0, 0, 0
	for b := range s.buckets {
		for i := range s.buckets[b].slots {
			sl := &s.buckets[b].slots[i]
			key := sl.key.Load()
			if key == 0 || !tab.live(value(sl.value.Load())) {
				continue
			}
			live++
			if seen[key] {
				t.Errorf("key %#x stands twice", key)
			}
			seen[key] = true
			if b1, b2 := s.pair(key); b != b1 && b != b2 {
				t.Errorf("key %#x stands in a bucket that is not its own", key)
			}
		}
	}
	for p := range tab.ports {
		n := checkList(t, tab, s, Port(p), tab.ports[p].dynamic, true)
		if n != tab.ports[p].count {
			t.Errorf("port %d counts %d dynamic entries, lists %d", p, tab.ports[p].count, n)
		}
		if n > tab.peak || n > tab.portLimit {
			t.Errorf("port %d has %d entries, peak %d, limit %d", p, n, tab.peak, tab.portLimit)
		}
		dynamic += n
		listed += n + checkList(t, tab, s, Port(p), tab.ports[p].fixed, false)
	}
	if dynamic != tab.stats.Dynamic || dynamic > tab.limit {
		t.Errorf("%d dynamic entries, counted %d, limit %d", dynamic, tab.stats.Dynamic, tab.limit)
	}
	if live != listed || live != tab.stats.Dynamic+tab.fixed() {
		t.Errorf("%d entries in slots, %d on lists, %+v", live, listed, tab.stats)
	}
}

func checkList(t testing.TB, tab *Table, s *store, p Port, l list, dynamic bool) (n int) {
	t.Helper()
	prev := slotID(0)
	for id := l.head; id != 0; id = s.links[id].next {
		v := value(s.at(id).value.Load())
		if s.at(id).key.Load() == 0 || !tab.live(v) || v.port() != p || (v.kind() == Dynamic) != dynamic {
			t.Fatalf("port %d lists slot %d: %#x", p, id, uint64(v))
		}
		if s.links[id].prev != prev {
			t.Fatalf("port %d: broken chain at slot %d", p, id)
		}
		prev = id
		n++
	}
	if l.tail != prev {
		t.Fatalf("port %d: tail %d, want %d", p, l.tail, prev)
	}
	return n
}
