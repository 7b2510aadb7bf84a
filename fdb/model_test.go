package fdb

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is the table as a map. It knows everything but which of several ports
// that hold the same number of entries pays at the limit; there it takes over
// what the table did.
type model struct {
	tab     *Table
	config  Config
	now     uint32
	entries map[int]Entry  // by the number of the address; Age is unused
	seen    map[int]uint32 // when the dynamic ones were seen last
	lists   [modelPorts][]int
	since   map[int]uint32 // what seen was when the address was put on its list
	stats   Stats
}

const (
	modelKeys  = 40
	modelPorts = 4
)

func (m *model) count(p Port) (n int) {
	for _, e := range m.entries {
		if e.Kind == Dynamic && e.Port == p {
			n++
		}
	}
	return n
}

func (m *model) dynamic() (n int) {
	for p := range Port(modelPorts) {
		n += m.count(p)
	}
	return n
}

func (m *model) forget(i int) {
	m.unlist(i)
	delete(m.entries, i)
	delete(m.seen, i)
}

// put makes address i the last on the list of its port.
func (m *model) put(i int, p Port) {
	m.unlist(i)
	m.lists[p] = append(m.lists[p], i)
	m.since[i] = m.seen[i]
}

func (m *model) unlist(i int) {
	for p := range m.lists {
		m.lists[p] = slices.DeleteFunc(m.lists[p], func(j int) bool { return i == j })
	}
}

// victim returns the entry that port p gives up: the first on its list that was
// silent since it was put there. Those before it go to the end.
func (m *model) victim(p Port) int {
	for m.seen[m.lists[p][0]] != m.since[m.lists[p][0]] {
		m.put(m.lists[p][0], p)
	}
	return m.lists[p][0]
}

// lose finds the one entry that the table gave up, which must be the victim of
// one of the ports, and forgets it.
func (m *model) lose(t *rapid.T, ports ...Port) {
	t.Helper()
	gone := -1
	for i, e := range m.entries {
		if _, ok := m.tab.Lookup(e.VLAN, mac(i)); !ok {
			if gone >= 0 {
				t.Fatalf("addresses %d and %d are gone, want one", gone, i)
			}
			gone = i
		}
	}
	for _, p := range ports {
		if gone >= 0 && m.entries[gone].Port == p && m.victim(p) == gone {
			m.forget(gone)
			m.stats.Evicted++
			return
		}
	}
	t.Fatalf("address %d is gone, want the victim of one of the ports %v", gone, ports)
}

// payers returns the ports that may lose an entry when p learns at the limit of
// the table.
func (m *model) payers(p Port) (all []Port) {
	most := 0
	for q := range Port(modelPorts) {
		most = max(most, m.count(q))
	}
	if m.count(p) == most {
		return []Port{p}
	}
	for q := range Port(modelPorts) {
		if m.count(q) == most {
			all = append(all, q)
		}
	}
	return all
}

func (m *model) limits() (limit, portLimit int) {
	limit, portLimit = m.config.Limit, m.config.PortLimit
	if portLimit == 0 {
		portLimit = limit
	}
	return limit, portLimit
}

func (m *model) learn(t *rapid.T, i int, p Port) {
	limit, portLimit := m.limits()
	full, portFull := m.dynamic() >= limit, m.count(p) >= portLimit
	old, known := m.entries[i]
	got := m.tab.Learn(0, mac(i), p, m.now)
	want := Learned
	switch {
	case known && old.Kind != Dynamic:
		want = Known
		if old.Port != p {
			want = StaticConflict
			m.stats.Conflicts++
		}
		m.expect(t, i, got, want)
		return
	case known && old.Port == p:
		if want = Known; m.seen[i] != m.now {
			want = Refreshed
		}
	case known:
		want = Moved
		m.stats.Moved++
		if portFull {
			m.lose(t, p)
		}
	case portFull:
		want = PortLimit
		m.lose(t, p)
	case full:
		want = Full
		m.lose(t, m.payers(p)...)
	}
	if !known {
		m.stats.Learned++
	}
	m.expect(t, i, got, want)
	m.entries[i], m.seen[i] = Entry{MAC: mac(i), Port: p}, m.now
	if want != Known && want != Refreshed {
		m.put(i, p)
	}
}

func (m *model) expect(t *rapid.T, i int, got, want Result) {
	t.Helper()
	if got != want {
		t.Fatalf("Learn of address %d gave %v, want %v", i, got, want)
	}
}

// flush forgets the dynamic entries of the ports that match.
func (m *model) flush(match func(Port) bool) (n int) {
	for i, e := range m.entries {
		if e.Kind == Dynamic && match(e.Port) {
			m.forget(i)
			n++
		}
	}
	m.stats.Flushed += uint64(n)
	return n
}

// age makes a whole pass.
func (m *model) age() {
	for range agePass {
		m.tab.Age(m.now)
	}
	for i, at := range m.seen {
		if m.config.Ageing != 0 && m.now-at > uint32(m.config.Ageing/time.Second) {
			m.forget(i)
			m.stats.Aged++
		}
	}
}

func (m *model) add(t *rapid.T, i int, p Port, k Kind) {
	old, known := m.entries[i]
	clash := known && old.Kind != Dynamic && (old.Port != p || old.Kind != k)
	if err := m.tab.Add(0, mac(i), p, k); (err != nil) != clash {
		t.Fatalf("Add of address %d gave %v, clash %v", i, err, clash)
	}
	if !clash {
		m.forget(i)
		m.entries[i] = Entry{MAC: mac(i), Port: p, Kind: k}
	}
}

func (m *model) remove(t *rapid.T, i int) {
	_, known := m.entries[i]
	if m.tab.Remove(0, mac(i)) != known {
		t.Fatalf("Remove of address %d gave %v", i, !known)
	}
	m.forget(i)
}

func (m *model) removePort(p Port) {
	m.tab.RemovePort(p)
	m.flush(func(q Port) bool { return q == p })
	for i, e := range m.entries {
		if e.Port == p {
			m.forget(i)
		}
	}
}

// reconfigure changes ageing, and limits only to what the entries fit into.
func (m *model) reconfigure(t *rapid.T) {
	m.config.Ageing = rapid.SampledFrom([]time.Duration{0, 5 * time.Second, 30 * time.Second}).Draw(t, "ageing")
	m.config.Limit = rapid.IntRange(max(1, m.dynamic()), 24).Draw(t, "limit")
	least := 1
	for p := range Port(modelPorts) {
		least = max(least, m.count(p))
	}
	m.config.PortLimit = rapid.IntRange(least, 12).Draw(t, "port limit")
	m.tab.Reconfigure(m.config)
}

// verify compares all that can be seen.
func (m *model) verify(t *rapid.T) {
	for i := range modelKeys {
		p, ok := m.tab.Lookup(0, mac(i))
		if e, want := m.entries[i]; ok != want || ok && p != e.Port {
			t.Fatalf("Lookup of address %d gave %d, %v, want %d, %v", i, p, ok, e.Port, want)
		}
	}
	all := m.tab.Entries(m.now)
	if len(all) != len(m.entries) {
		t.Fatalf("%d entries, want %d", len(all), len(m.entries))
	}
	for _, e := range all {
		i := int(e.MAC.Uint64() & 0xffffffff)
		want := m.entries[i]
		if at, ok := m.seen[i]; ok {
			want.Age = m.now - at
		}
		if e != want {
			t.Fatalf("entry %+v, want %+v", e, want)
		}
	}
	want := m.stats
	for _, e := range m.entries {
		switch e.Kind {
		case Dynamic:
			want.Dynamic++
		case Static:
			want.Static++
		case Local:
			want.Local++
		}
	}
	if got := m.tab.Stats(); got != want {
		t.Fatalf("stats %+v, want %+v", got, want)
	}
}

// TestModel holds the table to the map through random histories.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := Config{Limit: 16, PortLimit: 7, Ageing: 10 * time.Second}
		m := &model{
			tab: New(c), config: c, now: 1 << 20,
			entries: map[int]Entry{}, seen: map[int]uint32{}, since: map[int]uint32{},
		}
		key := rapid.IntRange(0, modelKeys-1)
		port := rapid.Custom(func(t *rapid.T) Port { return Port(rapid.IntRange(0, modelPorts-1).Draw(t, "p")) })
		learn := func(t *rapid.T) { m.learn(t, key.Draw(t, "address"), port.Draw(t, "port")) }
		rt.Repeat(map[string]func(*rapid.T){
			"learn": learn, "learn too": learn, "learn as well": learn, "learn again": learn,
			"add":    func(t *rapid.T) { m.add(t, key.Draw(t, "address"), port.Draw(t, "port"), Static) },
			"local":  func(t *rapid.T) { m.add(t, key.Draw(t, "address"), port.Draw(t, "port"), Local) },
			"remove": func(t *rapid.T) { m.remove(t, key.Draw(t, "address")) },
			"wait":   func(t *rapid.T) { m.now += uint32(rapid.IntRange(0, 9).Draw(t, "seconds")) },
			"age":    func(*rapid.T) { m.age() },
			"flush port": func(t *rapid.T) {
				p := port.Draw(t, "port")
				if got, want := m.tab.FlushPort(p), m.flush(func(q Port) bool { return q == p }); got != want {
					t.Fatalf("FlushPort gave %d, want %d", got, want)
				}
			},
			"flush": func(t *rapid.T) {
				if got, want := m.tab.Flush(), m.flush(func(Port) bool { return true }); got != want {
					t.Fatalf("Flush gave %d, want %d", got, want)
				}
			},
			"remove port": func(t *rapid.T) { m.removePort(port.Draw(t, "port")) },
			"reconfigure": m.reconfigure,
			"":            m.verify,
		})
		check(t, m.tab)
	})
}
