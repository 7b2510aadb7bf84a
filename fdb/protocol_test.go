package fdb

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The tests of this file hold the order of a writer's single steps, which the
// larger ones rarely catch in the act: one writer repeats one step in the
// tightest loop there is, and one reader watches it.

// keyWith returns an address on VLAN 1, not below from, whose buckets are b1
// and b2.
func keyWith(s *store, from, b1, b2 int) int {
	for i := from; ; i++ {
		if x, y := s.pair(keyOf(1, mac(i))); x == b1 && y == b2 {
			return i
		}
	}
}

// pinned returns a table of two full buckets but for one slot, where one entry
// alone, of the returned key, can step aside from bucket 0 to 1 and back.
func pinned(t *testing.T) (*Table, uint64) {
	tab := tiny(Config{}, 2)
	s := tab.store.Load()
	tab.know(3)
	fill := func(i, b int) {
		id, _ := tab.vacancy(s, b)
		v := pack(3, 0, Static, 0)
		s.put(id, keyOf(1, mac(i)), v)
		tab.enlist(s, id, v)
	}
	next := 0
	for range slotsPerBucket - 1 {
		for b := range 2 {
			next = keyWith(s, next+1, b, b)
			fill(next, b)
		}
	}
	next = keyWith(s, next+1, 0, 1)
	fill(next, 0)
	check(t, tab)
	return tab, keyOf(1, mac(next))
}

// TestStepAside: a reader finds an entry that hops between its buckets, always.
func TestStepAside(t *testing.T) {
	tab, key := pinned(t)
	s := tab.store.Load()
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for b := 0; !done.Load(); b ^= 1 {
			if tab.displace(s, b) == 0 {
				t.Error("the entry cannot step aside")
				return
			}
		}
	})
	misses := 0
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		for range 1000 {
			if v, at := s.find(key); at == nil || v.port() != 3 {
				misses++
			}
		}
	}
	done.Store(true)
	wg.Wait()
	if misses > 0 {
		t.Errorf("%d lookups missed an entry that was there all the time", misses)
	}
	check(t, tab)
}

// TestVersionBeforeValue: who sees a slot's new value sees the bucket's new
// version as well.
func TestVersionBeforeValue(t *testing.T) {
	s := newStore(1)
	b := &s.buckets[0]
	id := idOf(0, 0)
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := uint64(1); !done.Load(); n++ {
			b.slots[0].key.Store(0)
			s.put(id, n, value(n))
		}
	})
	late, last := 0, uint64(0)
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		for range 1000 {
			last = b.slots[0].value.Load() // the n-th put writes n, and makes the version n
			if b.version.Load() < last {
				late++
			}
		}
	}
	done.Store(true)
	wg.Wait()
	if late > 0 || last == 0 {
		t.Errorf("%d values came before their version, of about %d", late, last)
	}
}

// TestReusedSlot: two addresses take turns in one slot, and a reader of one
// never sees the port of the other.
func TestReusedSlot(t *testing.T) {
	tab := tiny(Config{Limit: 1}, 1)
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !done.Load() {
			tab.Learn(0, mac(1), 1, 0)
			tab.Learn(0, mac(2), 2, 0)
		}
	})
	wrong, hits := 0, 0
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		for range 1000 {
			if p, ok := tab.Lookup(0, mac(1)); ok {
				hits++
				if p != 1 {
					wrong++
				}
			}
		}
	}
	done.Store(true)
	wg.Wait()
	if wrong > 0 || hits == 0 {
		t.Errorf("%d of %d hits gave the port of another address", wrong, hits)
	}
}
