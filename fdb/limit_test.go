package fdb

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

// scaled returns n, or a twentieth of a large n under the race detector, which
// makes each of the many atomic loads here a hundred times as slow.
func scaled(n int) int {
	if raceDetector && n > DefaultLimit {
		return n / 20
	}
	return n
}

// TestFlooderEvictsItself: a port that sends from a million invented addresses
// takes nothing from the ports that send from a few, whatever limit it meets.
func TestFlooderEvictsItself(t *testing.T) {
	const flooder, others, each = 0, 20, 40
	for _, c := range []Config{{Limit: 4096}, {Limit: 4096, PortLimit: 500}} {
		tab := New(c)
		for i := range others * each {
			tab.Learn(0, mac(i), Port(1+i%others), 0)
		}
		for i := range scaled(1_000_000) {
			r := tab.Learn(0, frameMAC(rand.Uint64()), flooder, uint32(i/1000))
			if r != Learned && r != Full && r != PortLimit {
				t.Fatalf("frame %d of the flood: %v", i, r)
			}
		}
		for i := range others * each {
			wantPort(t, tab, 0, mac(i), Port(1+i%others))
		}
		want := c.Limit - others*each
		if c.PortLimit != 0 {
			want = c.PortLimit
		}
		if n := tab.ports[flooder].count; n != want {
			t.Errorf("%+v: the flooder holds %d entries, want %d", c, n, want)
		}
		// A newcomer gets in, and the flooder makes room for it.
		tab.Learn(0, mac(1<<20), others+1, 0)
		wantPort(t, tab, 0, mac(1<<20), others+1)
		check(t, tab)
	}
}

// frameMAC makes a unicast address of any bits.
func frameMAC(v uint64) (m [6]byte) {
	m = [6]byte{byte(v) &^ 1, byte(v >> 8), byte(v >> 16), byte(v >> 24), byte(v >> 32), byte(v>>40) | 1}
	return m
}

// TestFloodersShare: several that flood end with equal parts, and those below
// keep what they have.
func TestFloodersShare(t *testing.T) {
	tab := New(Config{Limit: 1000})
	for i := range 100 {
		tab.Learn(0, mac(i), 9, 0)
	}
	for i := range 20_000 {
		// The first one starts alone, and has the table full by then.
		p := Port(0)
		if i > 2000 {
			p = Port(i % 3)
		}
		tab.Learn(1, mac(i), p, 0)
	}
	for i := range 100 {
		wantPort(t, tab, 0, mac(i), 9)
	}
	for p := range 3 {
		if n := tab.ports[p].count; n != 300 {
			t.Errorf("port %d holds %d entries, want 300", p, n)
		}
	}
	check(t, tab)
}

// TestEvictOld: of a port at its limit, those that keep talking stay and the
// silent ones go.
func TestEvictOld(t *testing.T) {
	const limit, talkers = 100, 20
	tab := New(Config{Limit: 1000, PortLimit: limit})
	for i := range talkers {
		tab.Learn(0, mac(i), 1, 0)
	}
	for now := uint32(1); now <= 60; now++ {
		for i := range talkers {
			if r := tab.Learn(0, mac(i), 1, now); r != Refreshed {
				t.Fatalf("second %d: talker %d: %v", now, i, r)
			}
		}
		for i := range 50 {
			tab.Learn(0, mac(1000+int(now)*50+i), 1, now)
		}
	}
	if n := tab.Stats().Evicted; n != 60*50+talkers-limit {
		t.Errorf("%d evicted, want %d", n, 60*50+talkers-limit)
	}
	check(t, tab)
}

// TestSecondChance follows one port's list of three through its victims: who
// has spoken since it was put there goes to its end, once.
func TestSecondChance(t *testing.T) {
	tab := New(Config{PortLimit: 3})
	victim := func(i int, now uint32, gone int) {
		t.Helper()
		wantPort(t, tab, 0, mac(gone), 1)
		if r := tab.Learn(0, mac(i), 1, now); r != PortLimit {
			t.Errorf("address %d: %v, want %v", i, r, PortLimit)
		}
		wantMiss(t, tab, 0, mac(gone))
		check(t, tab)
	}
	for i := 1; i <= 3; i++ {
		tab.Learn(0, mac(i), 1, 10)
	}
	tab.Learn(0, mac(1), 1, 12)
	victim(4, 14, 2)
	tab.Learn(0, mac(3), 1, 15)
	tab.Reconfigure(Config{Limit: 20_000, PortLimit: 3}) // a rebuild forgets nothing of this
	victim(5, 16, 1)
	victim(6, 16, 4)
	victim(7, 16, 3)
}

// TestHeaviest: the shortcut over the peak gives what a search gives.
func TestHeaviest(t *testing.T) {
	tab := New(Config{Limit: 300})
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		p := Port(r.IntN(6))
		switch n := r.IntN(200); {
		case n == 0:
			tab.FlushPort(p)
		case n < 20:
			tab.Remove(0, mac(r.IntN(1000)))
		default:
			tab.Learn(0, mac(r.IntN(1000)), p, uint32(i/100))
		}
		if tab.stats.Dynamic == 0 {
			continue
		}
		most := 0
		for q := range tab.ports {
			most = max(most, tab.ports[q].count)
		}
		got := tab.heaviest(p)
		if tab.ports[got].count != most || tab.ports[p].count == most && got != p {
			t.Fatalf("step %d: heaviest(%d) = %d with %d entries, want %d", i, p, got, tab.ports[got].count, most)
		}
	}
	check(t, tab)
}

// TestFull: a table takes as many entries as its limit says, whatever pattern
// the addresses have, next to static ones, and goes on to under churn.
func TestFull(t *testing.T) {
	patterns := map[string]func(i int) uint64{
		"counting":     func(i int) uint64 { return uint64(i)<<8 | 2 },
		"by 256":       func(i int) uint64 { return uint64(i)<<16 | 2 },
		"last octet":   func(i int) uint64 { return uint64(i)<<32 | 2 },
		"odd stride":   func(i int) uint64 { return uint64(i)*0x9e3779b1<<8 | 2 },
		"any":          func(int) uint64 { return rand.Uint64() },
		"bit reversed": func(i int) uint64 { return uint64(i%256)<<40 | uint64(i/256)<<8 | 2 },
	}
	for name, pattern := range patterns {
		for _, limit := range []int{1, 256, 1000, DefaultLimit, 100_000} {
			t.Run(name+"/"+strconv.Itoa(limit), func(t *testing.T) {
				limit := scaled(limit)
				tab := New(Config{Limit: limit})
				for i := range limit / 8 {
					add(t, tab, 2, mac(i), 2, Static)
				}
				for i := 0; i < 4*limit && tab.Stats().Dynamic < limit; i++ {
					// Some patterns repeat themselves; then the VLAN goes on.
					if r := tab.Learn(uint16(3+i>>15), frameMAC(pattern(i)), 1, 0); r != Learned && r != Known {
						t.Fatalf("address %d: %v", i, r)
					}
				}
				for i := range 2 * limit {
					tab.Learn(1, frameMAC(pattern(i)), 1, 0)
				}
				if st := tab.Stats(); st.Refused != 0 || st.Dynamic != limit || st.Static != limit/8 {
					t.Errorf("limit %d: %+v", limit, st)
				}
				check(t, tab)
			})
		}
	}
}

// TestSpread: addresses in steps, such as labs and hypervisors give them, fill
// the buckets as evenly as random ones, whatever the seed. (With one round of
// multiplication a table in thirty overflows, the worst by 2000 entries.)
func TestSpread(t *testing.T) {
	const buckets = DefaultLimit / meanLoad
	for step := 0; step <= 16; step += 8 {
		for range 100 {
			s, load, over := newStore(buckets), make([]int, buckets), 0
			for i := range DefaultLimit {
				b, b2 := s.pair(uint64(i)<<step | 2<<40)
				if load[b] > meanLoad && load[b2] < load[b] {
					b = b2
				}
				if load[b]++; load[b] > slotsPerBucket {
					over++
				}
			}
			if over > 3 {
				t.Fatalf("steps of %d: %d addresses find both buckets full", 1<<step, over)
			}
		}
	}
}

// TestStaticGrow: static entries beyond what the store was made for.
func TestStaticGrow(t *testing.T) {
	const n = 3000
	tab := New(Config{Limit: 100})
	for i := range 100 {
		tab.Learn(0, mac(i), Port(i%5), 7)
	}
	for i := range n {
		add(t, tab, 1, mac(i), Port(i%7), Static)
	}
	for i := range 100 {
		wantPort(t, tab, 0, mac(i), Port(i%5))
	}
	for i := range n {
		wantPort(t, tab, 1, mac(i), Port(i%7))
	}
	if got := len(tab.store.Load().buckets); got != bucketsFor(100, n) {
		t.Errorf("%d buckets, want %d", got, bucketsFor(100, n))
	}
	for _, e := range tab.Entries(10) {
		if e.Kind == Dynamic && e.Age != 3 || e.Kind != Dynamic && e.Age != 0 {
			t.Fatalf("after the table grew: %+v", e)
		}
	}
	check(t, tab)
}

func TestReconfigure(t *testing.T) {
	tab := New(Config{Limit: 4000})
	for i := range 3000 {
		tab.Learn(0, mac(i), 1, uint32(i/100)) // 100 a second
	}
	for i := range 200 {
		tab.Learn(1, mac(i), 2, 30)
		add(t, tab, 2, mac(i), 3, Static)
	}
	big := len(tab.store.Load().buckets)

	tab.Reconfigure(Config{Limit: 1000})
	if st := tab.Stats(); st.Dynamic != 1000 || st.Evicted != 2200 || st.Static != 200 {
		t.Errorf("limit 1000: %+v", st)
	}
	if n := len(tab.store.Load().buckets); n >= big {
		t.Errorf("%d buckets after a smaller limit, %d before", n, big)
	}
	for i := range 200 {
		wantPort(t, tab, 1, mac(i), 2)
		wantPort(t, tab, 2, mac(i), 3)
	}
	for i := range 3000 { // the young ones of the port that held most
		if i >= 2200 {
			wantPort(t, tab, 0, mac(i), 1)
		} else {
			wantMiss(t, tab, 0, mac(i))
		}
	}
	check(t, tab)

	tab.Reconfigure(Config{Limit: 50_000, PortLimit: 150})
	if st := tab.Stats(); st.Dynamic != 300 || tab.ports[1].count != 150 || tab.ports[2].count != 150 {
		t.Errorf("port limit 150: %+v, %+v", st, tab.ports)
	}
	check(t, tab)
	// The order of age has come through two rebuilds.
	if r := tab.Learn(0, mac(9000), 1, 31); r != PortLimit {
		t.Errorf("Learn gave %v, want %v", r, PortLimit)
	}
	wantMiss(t, tab, 0, mac(2850))
	wantPort(t, tab, 0, mac(2851), 1)
}
