package fdb

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

func wantPort(t *testing.T, tab *Table, vlan uint16, m frame.MAC, p Port) {
	t.Helper()
	if got, ok := tab.Lookup(vlan, m); !ok || got != p {
		t.Errorf("Lookup(%d, %s) = %d, %v, want %d", vlan, m, got, ok, p)
	}
}

func wantMiss(t *testing.T, tab *Table, vlan uint16, m frame.MAC) {
	t.Helper()
	if got, ok := tab.Lookup(vlan, m); ok {
		t.Errorf("Lookup(%d, %s) = %d, want none", vlan, m, got)
	}
}

func add(t *testing.T, tab *Table, vlan uint16, m frame.MAC, p Port, k Kind) {
	t.Helper()
	if err := tab.Add(vlan, m, p, k); err != nil {
		t.Fatal(err)
	}
}

// TestLearn has a case for every result: what was there, one frame, and what
// is there afterwards.
func TestLearn(t *testing.T) {
	none := func(*Table) {}
	on := func(i int, p Port) func(*Table) { return func(tab *Table) { tab.Learn(0, mac(i), p, 100) } }
	fixed := func(p Port, k Kind) func(*Table) {
		return func(tab *Table) { _ = tab.Add(0, mac(1), p, k) }
	}
	fill := func(tab *Table) { // port 3: 3 entries, its limit; port 4: 1; the table is full
		for i := range 3 {
			tab.Learn(0, mac(10+i), 3, uint32(10+i))
		}
		tab.Learn(0, mac(20), 4, 10)
	}
	for _, tc := range []struct {
		name   string
		before func(*Table)
		mac    frame.MAC
		port   Port
		now    uint32
		want   Result
		after  Port // where the address is then; MaxPorts: nowhere
		gone   int  // an address that is not there any more
	}{
		{"new", none, mac(1), 2, 100, Learned, 2, 0},
		{"known", on(1, 2), mac(1), 2, 100, Known, 2, 0},
		{"a second later", on(1, 2), mac(1), 2, 101, Refreshed, 2, 0},
		{"a lagging clock", on(1, 2), mac(1), 2, 99, Known, 2, 0},
		{"moved", on(1, 2), mac(1), 3, 100, Moved, 3, 0},
		{"last port", none, mac(1), MaxPorts - 1, 100, Learned, MaxPorts - 1, 0},
		{"no such port", none, mac(1), MaxPorts, 100, NotLearnable, MaxPorts, 0},
		{"static here", fixed(2, Static), mac(1), 2, 100, Known, 2, 0},
		{"static elsewhere", fixed(3, Static), mac(1), 2, 100, StaticConflict, 3, 0},
		{"local elsewhere", fixed(3, Local), mac(1), 2, 100, StaticConflict, 3, 0},
		{"port at its limit", fill, mac(1), 3, 100, PortLimit, 3, 10},
		{"table full, newcomer", fill, mac(1), 5, 100, Full, 5, 10},
		{"table full, small port", fill, mac(1), 4, 100, Full, 4, 10},
		{"move to a port at its limit", fill, mac(20), 3, 100, Moved, 3, 10},
		{"broadcast", none, frame.MAC{255, 255, 255, 255, 255, 255}, 2, 100, NotLearnable, MaxPorts, 0},
		{"multicast", none, frame.MAC{0x01, 0x00, 0x5e, 0, 0, 1}, 2, 100, NotLearnable, MaxPorts, 0},
		{"zero", none, frame.MAC{}, 2, 100, NotLearnable, MaxPorts, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tab := New(Config{Limit: 4, PortLimit: 3})
			tc.before(tab)
			if got := tab.Learn(0, tc.mac, tc.port, tc.now); got != tc.want {
				t.Errorf("Learn gave %v, want %v", got, tc.want)
			}
			if tc.after == MaxPorts {
				wantMiss(t, tab, 0, tc.mac)
			} else {
				wantPort(t, tab, 0, tc.mac, tc.after)
			}
			if tc.gone != 0 {
				wantMiss(t, tab, 0, mac(tc.gone))
			}
			check(t, tab)
		})
	}
}

// TestNoRoom needs a table that New does not make: all the places of the new
// address hold static entries.
func TestNoRoom(t *testing.T) {
	tab := tiny(Config{Limit: 4}, 1)
	s := tab.store.Load()
	tab.know(1)
	for i := range slotsPerBucket {
		v := pack(1, 0, Static, 0)
		s.put(idOf(0, i), keyOf(0, mac(i)), v)
		tab.enlist(s, idOf(0, i), v)
	}
	if got := tab.Learn(0, mac(50), 1, 0); got != NoRoom {
		t.Errorf("Learn gave %v, want %v", got, NoRoom)
	}
	if n := tab.Stats().Refused; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
	wantMiss(t, tab, 0, mac(50))
	// A static entry finds room even so: the table grows.
	add(t, tab, 0, mac(50), 2, Static)
	for i := range slotsPerBucket {
		wantPort(t, tab, 0, mac(i), 1)
	}
	wantPort(t, tab, 0, mac(50), 2)
	check(t, tab)
}

func TestVLANsAreApart(t *testing.T) {
	tab := New(Config{})
	for vlan := range uint16(4096) {
		tab.Learn(vlan, mac(1), Port(vlan), 0)
	}
	for vlan := range uint16(4096) {
		wantPort(t, tab, vlan, mac(1), Port(vlan))
	}
	// The zero address on another VLAN is not the empty slot's key, and just
	// as little an address.
	if got := tab.Learn(7, frame.MAC{}, 1, 0); got != NotLearnable {
		t.Errorf("zero address on VLAN 7: %v", got)
	}
	wantMiss(t, tab, 0, frame.MAC{})
	check(t, tab)
}

func TestStrings(t *testing.T) {
	seen := map[string]bool{}
	for r := Known; r <= NoRoom; r++ {
		seen[r.String()] = true
	}
	if len(seen) != int(NoRoom)+1 || seen["unknown"] {
		t.Errorf("results are not told apart: %v", seen)
	}
	for k, want := range map[Kind]string{Dynamic: "dynamic", Static: "static", Local: "local", Sticky: "sticky", 4: "unknown"} {
		if k.String() != want {
			t.Errorf("kind %d is %q, want %q", k, k, want)
		}
	}
	if got := (NoRoom + 1).String(); got != "unknown" {
		t.Errorf("no such result: %q", got)
	}
}

func TestValue(t *testing.T) {
	v := pack(4095, 0x1abcd, Local, 1<<30+5)
	if v.port() != 4095 || v.gen() != 0xabcd || v.kind() != Local || v.age(8) != 3 {
		t.Errorf("%#x: port %d, generation %#x, kind %v, age %d", uint64(v), v.port(), v.gen(), v.kind(), v.age(8))
	}
	for _, tc := range []struct{ seen, now, want uint32 }{
		{10, 10, 0}, {10, 310, 300}, {10, 9, 0},
		{1<<30 - 1, 1, 2},                  // the 30 bits wrap
		{1<<32 - 1, 1, 2},                  // the caller's clock wraps
		{5, 5 + maxAge, maxAge},            // the oldest age
		{5, 5 + maxAge + 1, 0},             // a jump back
		{1 << 31, 1<<31 - 5, 0},            // a lagging caller
		{0, 1<<30 + 1, 1}, {1, 1 << 30, 0}, // more than the bits hold
	} {
		if got := pack(0, 0, Dynamic, tc.seen).age(tc.now); got != tc.want {
			t.Errorf("seen %d, now %d: age %d, want %d", tc.seen, tc.now, got, tc.want)
		}
	}
	for _, w := range []value{pack(4094, 0x1abcd, Local, 9), pack(4095, 1, Local, 9), pack(4095, 0xabcd, Static, 9)} {
		if v.sameBut(w) {
			t.Errorf("%#x counts as the same as %#x", uint64(w), uint64(v))
		}
	}
	if !v.sameBut(pack(4095, 0xabcd, Local, 9)) {
		t.Error("another time makes another entry")
	}
}

func TestAdd(t *testing.T) {
	for _, tc := range []struct {
		name string
		mac  frame.MAC
		port Port
		kind Kind
		ok   bool
		err  error // where one is named
	}{
		{"new", mac(9), 1, Static, true, nil},
		{"on a dynamic one", mac(1), 5, Local, true, nil},
		{"once more", mac(2), 2, Static, true, nil},
		{"static on another port", mac(2), 3, Static, false, ErrExists},
		{"of another kind", mac(2), 2, Local, false, ErrExists},
		{"static on local", mac(3), 3, Static, false, ErrExists},
		{"dynamic", mac(9), 1, Dynamic, false, nil},
		{"no kind", mac(9), 1, 3, false, nil},
		{"no such port", mac(9), MaxPorts, Static, false, nil},
		{"group", frame.MAC{1, 0, 0x5e, 0, 0, 9}, 1, Static, false, nil},
		{"zero", frame.MAC{}, 1, Static, false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tab := New(Config{})
			tab.Learn(0, mac(1), 1, 0)
			add(t, tab, 0, mac(2), 2, Static)
			add(t, tab, 0, mac(3), 3, Local)
			was, had := tab.Lookup(0, tc.mac)
			err := tab.Add(0, tc.mac, tc.port, tc.kind)
			if (err == nil) != tc.ok || tc.err != nil && !errors.Is(err, tc.err) {
				t.Errorf("Add gave %v", err)
			}
			switch {
			case tc.ok:
				wantPort(t, tab, 0, tc.mac, tc.port)
			case had:
				wantPort(t, tab, 0, tc.mac, was)
			default:
				wantMiss(t, tab, 0, tc.mac)
			}
			check(t, tab)
		})
	}
}

// TestAddOnFlushed: an entry that is flushed but still stands in its slot.
func TestAddOnFlushed(t *testing.T) {
	tab := New(Config{})
	tab.Learn(0, mac(1), 1, 0)
	tab.FlushPort(1)
	add(t, tab, 0, mac(1), 1, Static)
	wantPort(t, tab, 0, mac(1), 1)
	check(t, tab)
	tab.Remove(0, mac(1))
	tab.Learn(0, mac(1), 1, 0)
	tab.FlushPort(1)
	if tab.Remove(0, mac(1)) {
		t.Error("Remove found a flushed entry")
	}
	check(t, tab)
}

func TestTooManyStatic(t *testing.T) {
	tab := New(Config{})
	tab.stats.Static = MaxLimit - 1
	add(t, tab, 0, mac(1), 1, Static)
	if err := tab.Add(0, mac(2), 1, Static); !errors.Is(err, ErrFull) {
		t.Errorf("Add gave %v, want %v", err, ErrFull)
	}
}

func TestRemove(t *testing.T) {
	tab := New(Config{})
	tab.Learn(0, mac(1), 1, 0)
	add(t, tab, 0, mac(2), 1, Static)
	add(t, tab, 0, mac(3), 1, Local)
	for i := 1; i <= 3; i++ {
		if !tab.Remove(0, mac(i)) || tab.Remove(0, mac(i)) {
			t.Errorf("Remove of address %d: want true, then false", i)
		}
		wantMiss(t, tab, 0, mac(i))
	}
	if tab.Remove(0, frame.MAC{}) {
		t.Error("Remove found the zero address")
	}
	check(t, tab)
}

func TestDefaults(t *testing.T) {
	for _, tc := range []struct {
		c                        Config
		limit, portLimit, ageing int
	}{
		{Config{}, DefaultLimit, MaxLimit, 0},
		{Config{Limit: -1, PortLimit: -1, Ageing: -1}, DefaultLimit, MaxLimit, 0},
		{Config{Limit: 10, PortLimit: 20}, 10, 20, 0},
		{Config{Limit: 10, PortLimit: 3}, 10, 3, 0},
		{Config{Limit: MaxLimit + 1, Ageing: 1}, MaxLimit, MaxLimit, 1},
		{Config{Limit: 1, Ageing: 1500 * time.Millisecond}, 1, MaxLimit, 2},
		{Config{Limit: 1, Ageing: 300 * time.Second}, 1, MaxLimit, 300},
		{Config{Limit: 1, Ageing: 1<<63 - 1}, 1, MaxLimit, maxAge},
	} {
		tab := &Table{}
		tab.configure(tc.c)
		if tab.limit != tc.limit || tab.portLimit != tc.portLimit || int(tab.ageing) != tc.ageing {
			t.Errorf("%+v: limit %d, %d a port, ageing %d s", tc.c, tab.limit, tab.portLimit, tab.ageing)
		}
	}
}

// TestSize holds the layout: two cache lines a bucket, and half a MiB for a
// table of the usual size.
func TestSize(t *testing.T) {
	size := func(v any) int { return int(reflect.TypeOf(v).Size()) }
	if n := size(bucket{}); n != 128 {
		t.Errorf("a bucket has %d bytes, want 128", n)
	}
	s := New(Config{}).store.Load()
	n := size(Table{}) + len(s.buckets)*size(bucket{}) + len(s.links)*size(link{}) + 256*size(portState{})
	if n > 512<<10 {
		t.Errorf("a table of %d entries and 256 ports takes %d KiB, want 512 at most", DefaultLimit, n>>10)
	}
}

// Seen tells how long ago an address was heard; one that does not age has just
// been.
func TestSeen(t *testing.T) {
	tab := New(Config{})
	tab.Learn(3, mac(1), 7, 100)
	if err := tab.Add(3, mac(2), 8, Static); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		address int
		now     uint32
		port    Port
		age     uint32
		ok      bool
	}{{1, 100, 7, 0, true}, {1, 105, 7, 5, true}, {1, 95, 7, 0, true}, {2, 105, 8, 0, true}, {3, 100, 0, 0, false}} {
		if p, age, ok := tab.Seen(3, mac(c.address), c.now); p != c.port || age != c.age || ok != c.ok {
			t.Errorf("address %d at %d: port %d, age %d, %v; want %+v", c.address, c.now, p, age, ok, c)
		}
	}
	tab.FlushPort(7)
	if _, _, ok := tab.Seen(3, mac(1), 100); ok {
		t.Error("a flushed address was seen")
	}
}
