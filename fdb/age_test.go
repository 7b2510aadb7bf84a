package fdb

import (
	"testing"
	"time"
)

// pass makes one pass of ageing over the whole table.
func pass(tab *Table, now uint32) {
	for range agePass {
		tab.Age(now)
	}
}

// standing returns the number of slots that hold a key, live or not.
func standing(tab *Table) (n int) {
	s := tab.store.Load()
	for b := range s.buckets {
		for i := range s.buckets[b].slots {
			if s.buckets[b].slots[i].key.Load() != 0 {
				n++
			}
		}
	}
	return n
}

func TestAge(t *testing.T) {
	for _, tc := range []struct {
		name   string
		ageing time.Duration
		seen   uint32
		now    uint32
		gone   bool
	}{
		{"young", 300 * time.Second, 1000, 1299, false},
		{"on the second", 300 * time.Second, 1000, 1300, false},
		{"a second older", 300 * time.Second, 1000, 1301, true},
		{"never", 0, 1000, 1000 + maxAge, false},
		{"a lagging caller", 300 * time.Second, 1000, 998, false},
		{"over the clock's wrap, young", 10 * time.Second, 1<<32 - 5, 5, false},
		{"over the clock's wrap, old", 10 * time.Second, 1<<32 - 5, 6, true},
		{"over the 30 bits' wrap", 10 * time.Second, 1<<30 - 5, 1<<30 + 6, true},
		{"a fraction counts as a second", time.Millisecond, 1000, 1001, false},
		{"and no more", time.Millisecond, 1000, 1002, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tab := New(Config{Ageing: tc.ageing})
			add(t, tab, 0, mac(1), 1, Static)
			add(t, tab, 0, mac(2), 1, Local)
			for i := 10; i < 1000; i++ {
				tab.Learn(0, mac(i), 2, tc.seen)
			}
			pass(tab, tc.now)
			wantPort(t, tab, 0, mac(1), 1)
			wantPort(t, tab, 0, mac(2), 1)
			for i := 10; i < 1000; i++ {
				if _, ok := tab.Lookup(0, mac(i)); ok == tc.gone {
					t.Fatalf("address %d: there %v, gone %v", i, ok, tc.gone)
				}
			}
			if n := tab.Stats().Aged; n != 0 && !tc.gone || n != 990 && tc.gone {
				t.Errorf("%d aged", n)
			}
			check(t, tab)
		})
	}
}

// TestAgeKeepsWhoTalks: a frame now and then keeps an entry, silence does not.
func TestAgeKeepsWhoTalks(t *testing.T) {
	tab := New(Config{Ageing: 20 * time.Second})
	tab.Learn(0, mac(1), 1, 0)
	tab.Learn(0, mac(2), 1, 0)
	for now := uint32(1); now <= 100; now++ {
		if now%15 == 0 {
			if r := tab.Learn(0, mac(1), 1, now); r != Refreshed {
				t.Fatalf("second %d: %v", now, r)
			}
		}
		tab.Age(now)
		_, ok := tab.Lookup(0, mac(2))
		if now <= 20 && !ok || now >= 20+1+agePass && ok {
			t.Fatalf("second %d: the silent one is there: %v", now, ok)
		}
	}
	wantPort(t, tab, 0, mac(1), 1)
}

// TestAgeIsBounded: one call visits a quarter of the buckets, four visit all.
func TestAgeIsBounded(t *testing.T) {
	for _, limit := range []int{1, 1000, DefaultLimit} {
		tab := New(Config{Limit: limit, Ageing: time.Second})
		buckets := len(tab.store.Load().buckets)
		for call := range agePass {
			if want := call * buckets / agePass; tab.cursor != want {
				t.Errorf("limit %d: bucket %d after %d calls, want %d", limit, tab.cursor, call, want)
			}
			tab.Age(10)
		}
		if tab.cursor != 0 {
			t.Errorf("limit %d: bucket %d after a pass, want 0", limit, tab.cursor)
		}
	}
}

// TestAgeAfterRebuild: a table that shrinks in the middle of a pass.
func TestAgeAfterRebuild(t *testing.T) {
	tab := New(Config{Limit: 10_000, Ageing: time.Second})
	for i := range 100 {
		tab.Learn(0, mac(i), 1, 0)
	}
	for range agePass - 1 {
		tab.Age(0)
	}
	tab.Reconfigure(Config{Limit: 100, Ageing: time.Second})
	pass(tab, 9)
	if n := tab.Stats().Aged; n != 100 {
		t.Errorf("%d aged, want 100", n)
	}
	check(t, tab)
}

// TestFlushPort: the entries of the port count for nothing at once, while their
// slots are not touched: the cost does not grow with their number.
func TestFlushPort(t *testing.T) {
	tab := New(Config{})
	for i := range 2000 {
		tab.Learn(0, mac(i), Port(i%2), 0)
	}
	add(t, tab, 1, mac(0), 0, Static)
	add(t, tab, 1, mac(1), 0, Local)
	was := standing(tab)
	if n := tab.FlushPort(0); n != 1000 {
		t.Errorf("FlushPort gave %d, want 1000", n)
	}
	if n := standing(tab); n != was {
		t.Errorf("FlushPort touched %d slots", was-n)
	}
	if n := tab.FlushPort(0) + tab.FlushPort(77) + tab.FlushPort(MaxPorts); n != 0 {
		t.Errorf("FlushPort of nothing gave %d", n)
	}
	for i := range 2000 {
		if i%2 == 0 {
			wantMiss(t, tab, 0, mac(i))
		} else {
			wantPort(t, tab, 0, mac(i), 1)
		}
	}
	wantPort(t, tab, 1, mac(0), 0)
	wantPort(t, tab, 1, mac(1), 0)
	if n := len(tab.Entries(0)); n != 1002 {
		t.Errorf("%d entries, want 1002", n)
	}
	check(t, tab)

	if r := tab.Learn(0, mac(0), 0, 0); r != Learned {
		t.Errorf("a flushed address comes back as %v, want %v", r, Learned)
	}
	if r := tab.Learn(0, mac(2), 1, 0); r != Learned {
		t.Errorf("a flushed address comes up elsewhere as %v, want %v", r, Learned)
	}
	pass(tab, 0)
	if n := standing(tab); n != 1004 {
		t.Errorf("%d slots in use after a pass of ageing, want 1004", n)
	}
	check(t, tab)
}

func TestFlush(t *testing.T) {
	tab := New(Config{Limit: 4000})
	add(t, tab, 1, mac(0), 5, Static)
	// Again and again, and full each time: flushed entries are in nobody's way.
	for round := range 20 {
		for i := range 4000 {
			if r := tab.Learn(0, mac(round*4000+i), Port(i%50), 0); r != Learned {
				t.Fatalf("round %d, address %d: %v", round, i, r)
			}
		}
		if n := tab.Flush(); n != 4000 {
			t.Fatalf("round %d: Flush gave %d, want 4000", round, n)
		}
	}
	if all := tab.Entries(0); len(all) != 1 || all[0].Kind != Static || all[0].Port != 5 {
		t.Errorf("left after Flush: %+v", all)
	}
	if st := tab.Stats(); st.Flushed != 80_000 || st.Dynamic != 0 {
		t.Errorf("%+v", st)
	}
	check(t, tab)
}

// TestGenerationWrap: an entry that its port's generations have lapped does not
// come back to life, though nobody called Age.
func TestGenerationWrap(t *testing.T) {
	tab := New(Config{})
	tab.Learn(0, mac(1), 3, 0)
	tab.FlushPort(3)
	for i := 1; i <= 1<<16+10; i++ {
		tab.Learn(0, mac(2), 3, 0)
		if n := tab.FlushPort(3); n != 1 {
			t.Fatalf("flush %d gave %d, want 1", i, n)
		}
		if p, ok := tab.Lookup(0, mac(1)); ok {
			t.Fatalf("after %d flushes the first address is back on port %d", i, p)
		}
	}
	if tab.gens[3].Load() < 1<<16 {
		t.Errorf("generation %d: the test did not reach the wrap", tab.gens[3].Load())
	}
	// Past the wrap all is as ever.
	tab.Learn(0, mac(4), 3, 0)
	wantPort(t, tab, 0, mac(4), 3)
	if r := tab.Learn(0, mac(4), 3, 0); r != Known {
		t.Errorf("Learn gave %v, want %v", r, Known)
	}
	check(t, tab)
}

// TestRemovePort: nothing of the port is left, and its index serves another.
func TestRemovePort(t *testing.T) {
	tab := New(Config{})
	for i := range 100 {
		tab.Learn(0, mac(i), Port(i%2), 0)
		add(t, tab, 1, mac(i), Port(i%2), Static)
		add(t, tab, 2, mac(i), Port(i%2), Local)
	}
	tab.RemovePort(0)
	tab.RemovePort(99)
	for vlan := range uint16(3) {
		for i := range 100 {
			if i%2 == 0 {
				wantMiss(t, tab, vlan, mac(i))
			} else {
				wantPort(t, tab, vlan, mac(i), 1)
			}
		}
	}
	if r := tab.Learn(1, mac(0), 0, 0); r != Learned {
		t.Errorf("on the index used again: %v, want %v", r, Learned)
	}
	wantPort(t, tab, 1, mac(0), 0)
	wantMiss(t, tab, 0, mac(0))
	check(t, tab)
}
