package fdb

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestMax: a port holds as many addresses as it may; more are denied, whether
// new or from elsewhere, and what it holds goes on.
func TestMax(t *testing.T) {
	tab := New(Config{})
	tab.Learn(0, mac(9), 2, 0)
	tab.SetPort(1, PortConfig{Max: 2})
	for i, want := range []Result{Learned, Learned, Denied} {
		if r := tab.Learn(0, mac(i), 1, 0); r != want {
			t.Errorf("address %d: %v, want %v", i, r, want)
		}
	}
	if r := tab.Learn(0, mac(9), 1, 0); r != Denied {
		t.Errorf("an address that comes from another port: %v, want %v", r, Denied)
	}
	if r := tab.Learn(0, mac(1), 1, 5); r != Refreshed {
		t.Errorf("a known address: %v, want %v", r, Refreshed)
	}
	wantPort(t, tab, 0, mac(1), 1)
	wantPort(t, tab, 0, mac(9), 2)
	if _, ok := tab.Lookup(0, mac(2)); ok {
		t.Error("a denied address is in the table")
	}
	if n := tab.Stats().Denied; n != 2 {
		t.Errorf("%d denied, want 2", n)
	}
	// One leaves, and there is room for another; so it is with a higher maximum.
	tab.Learn(0, mac(0), 3, 0)
	if r := tab.Learn(0, mac(2), 1, 0); r != Learned {
		t.Errorf("after another left: %v", r)
	}
	tab.SetPort(1, PortConfig{Max: 3})
	if r := tab.Learn(0, mac(3), 1, 0); r != Learned {
		t.Errorf("after the maximum was raised: %v", r)
	}
	tab.SetPort(1, PortConfig{Max: 1})
	if n := tab.Stats().Dynamic; n != 3 { // mac 9, mac 0, and one at port 1
		t.Errorf("after the maximum was lowered: %d entries, want 3", n)
	}
	check(t, tab)
}

// TestSticky: what is learned at a sticky port stays there through everything
// but its removal.
func TestSticky(t *testing.T) {
	tab := New(Config{})
	tab.Learn(0, mac(1), 1, 0)
	tab.SetPort(1, PortConfig{Max: 3, Sticky: true}) // nails what is there
	tab.Learn(0, mac(2), 1, 0)
	tab.Learn(0, mac(9), 2, 0)
	if r := tab.Learn(0, mac(9), 1, 0); r != Moved {
		t.Errorf("an address moves to the sticky port: %v", r)
	}
	if r := tab.Learn(0, mac(9), 2, 0); r != Moved {
		t.Errorf("it moves back, for what is elsewhere is not nailed: %v", r)
	}
	tab.Learn(0, mac(3), 1, 0)
	for i := 1; i <= 3; i++ {
		if r := tab.Learn(0, mac(i), 2, 1); r != StickyConflict {
			t.Errorf("address %d elsewhere: %v, want %v", i, r, StickyConflict)
		}
		if r := tab.Learn(0, mac(i), 1, 1); r != Known {
			t.Errorf("address %d at home: %v, want %v", i, r, Known)
		}
	}
	if r := tab.Learn(0, mac(4), 1, 1); r != Denied {
		t.Errorf("one more: %v, want %v", r, Denied)
	}
	tab.FlushPort(1)
	tab.Reconfigure(Config{Ageing: time.Hour})
	for now := range uint32(100) {
		tab.Age(now)
	}
	for i := 1; i <= 3; i++ {
		wantPort(t, tab, 0, mac(i), 1)
	}
	if st := tab.Stats(); st.Sticky != 3 || st.Dynamic != 1 || st.Conflicts != 3 {
		t.Errorf("%+v, want 3 sticky, 1 dynamic, 3 conflicts", st)
	}
	for _, e := range tab.Entries(100) {
		if e.MAC != mac(9) && (e.Kind != Sticky || e.Age != 0) {
			t.Errorf("entry %+v, want a sticky one without age", e)
		}
	}
	if !tab.Remove(0, mac(1)) {
		t.Error("a sticky entry cannot be removed")
	}
	if err := tab.Add(0, mac(2), 2, Static); err != nil {
		t.Errorf("a static entry instead of a sticky one: %v", err)
	}
	wantPort(t, tab, 0, mac(2), 2)
	check(t, tab)
	tab.SetPort(1, PortConfig{Max: 3})
	if st := tab.Stats(); st.Sticky != 0 {
		t.Errorf("%d sticky entries after it was switched off", st.Sticky)
	}
	check(t, tab)
}

// TestStickyGrow: sticky entries have the table grow as static ones do, and the
// settings of ports outlive that.
func TestStickyGrow(t *testing.T) {
	tab := New(Config{Limit: 1})
	const n = 5000
	tab.SetPort(1, PortConfig{Max: n, Sticky: true})
	for i := range n {
		if r := tab.Learn(0, mac(i), 1, 0); r != Learned {
			t.Fatalf("address %d: %v", i, r)
		}
	}
	if r := tab.Learn(0, mac(n), 1, 0); r != Denied {
		t.Errorf("one more: %v, want %v", r, Denied)
	}
	for i := range n {
		wantPort(t, tab, 0, mac(i), 1)
	}
	check(t, tab)
	// So it does for those that are nailed later.
	for i := range DefaultLimit {
		tab.Learn(1, mac(i), 2, 0)
	}
	tab.Reconfigure(Config{Limit: DefaultLimit})
	for i := range DefaultLimit {
		tab.Learn(1, mac(i), 2, 0)
	}
	size := len(tab.store.Load().buckets)
	tab.SetPort(2, PortConfig{Max: DefaultLimit, Sticky: true})
	if len(tab.store.Load().buckets) <= size {
		t.Error("the table has not grown")
	}
	check(t, tab)
	tab.RemovePort(2)
	tab.SetPort(1, PortConfig{Max: 10, Sticky: true})
	if st := tab.Stats(); st.Sticky != 10 {
		t.Errorf("%d sticky entries after the maximum was lowered to 10", st.Sticky)
	}
	tab.RemovePort(1)
	if st := tab.Stats(); st.Sticky != 0 {
		t.Errorf("%d sticky entries after the port was removed", st.Sticky)
	}
	if r := tab.Learn(0, mac(1), 1, 0); r != Learned || tab.Stats().Dynamic != 1 {
		t.Errorf("the next port of that index: %v, %+v", r, tab.Stats())
	}
	check(t, tab)
}

// TestSetPortIgnoresNonsense: an index beyond the table changes nothing.
func TestSetPortIgnoresNonsense(t *testing.T) {
	tab := New(Config{})
	tab.SetPort(MaxPorts, PortConfig{Max: 1})
	if len(tab.ports) != 0 {
		t.Errorf("%d ports known", len(tab.ports))
	}
}

// TestPortProperty: whatever happens, no port holds more than it may, and what
// is sticky is where it was.
func TestPortProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tab := New(Config{Limit: 20, PortLimit: 12})
		sticky := map[int]Port{}
		forget := func(p Port) {
			for i, q := range sticky {
				if _, ok := tab.Lookup(0, mac(i)); q == p && !ok {
					delete(sticky, i)
				}
			}
		}
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			p := Port(rapid.IntRange(0, 3).Draw(rt, "port"))
			i := rapid.IntRange(0, 30).Draw(rt, "address")
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				tab.SetPort(p, PortConfig{Max: rapid.IntRange(1, 8).Draw(rt, "max"), Sticky: rapid.Bool().Draw(rt, "sticky")})
				forget(p)
			case 1:
				tab.FlushPort(p)
			case 2:
				tab.Remove(0, mac(i))
				delete(sticky, i)
			case 3:
				tab.RemovePort(p)
				forget(p)
			default:
				tab.Learn(0, mac(i), p, 0)
			}
			check(t, tab)
			for _, e := range tab.Entries(0) {
				if e.Kind == Sticky {
					sticky[int(e.MAC.Uint64()-mac(0).Uint64())] = e.Port
				}
			}
			for q := range tab.ports {
				if ps := &tab.ports[q]; ps.Max > 0 && ps.count+ps.stuck > ps.Max {
					rt.Fatalf("port %d holds %d+%d entries, its maximum is %d", q, ps.count, ps.stuck, ps.Max)
				}
			}
			for i, q := range sticky {
				if at, ok := tab.Lookup(0, mac(i)); !ok || at != q {
					rt.Fatalf("sticky address %d of port %d is at %d (%v)", i, q, at, ok)
				}
			}
		}
	})
}
