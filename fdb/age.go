package fdb

const (
	// agePass is the number of calls to Age that cover the whole table.
	agePass = 4

	// ageChunk is the number of buckets that Age visits under one lock.
	ageChunk = 256

	// maxBumps is the number of flushes after which all flushed entries are
	// reaped at once. Generations have 16 bits: an entry that outlived 65536
	// flushes of its port would be alive again.
	maxBumps = 1 << 15
)

// Age removes entries older than Config.Ageing, and the remains of flushed
// ones. It is to be called once a second. Each call visits a quarter of the
// table, so an entry is gone at the latest four calls after its time (eight, if
// it steps aside for a new one at the wrong moment).
func (t *Table) Age(now uint32) {
	left := (len(t.store.Load().buckets) + agePass - 1) / agePass
	for left > 0 {
		n := min(left, ageChunk)
		t.mu.Lock()
		t.ageBuckets(now, n)
		t.mu.Unlock()
		left -= n
	}
}

// ageBuckets visits the next n buckets.
func (t *Table) ageBuckets(now uint32, n int) {
	s := t.store.Load()
	for range n {
		for i := range s.buckets[t.cursor].slots {
			t.ageSlot(s, idOf(t.cursor, i), now)
		}
		t.cursor = (t.cursor + 1) % len(s.buckets)
	}
}

func (t *Table) ageSlot(s *store, id slotID, now uint32) {
	sl := s.at(id)
	if sl.key.Load() == 0 {
		return
	}
	v := value(sl.value.Load())
	switch {
	case !t.live(v):
		sl.key.Store(0)
	case v.kind() == Dynamic && t.ageing != 0 && v.age(now) > t.ageing:
		t.remove(s, id, v)
		t.stats.Aged++
	}
}

// FlushPort removes the dynamic entries of a port and returns their number. It
// takes the same time whatever that is: it begins a new generation, and what
// carries the old one counts for nothing from then on.
func (t *Table) FlushPort(p Port) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.flushPort(p)
}

// Flush removes all dynamic entries and returns their number. The time it takes
// grows with the number of ports, not with that of entries.
func (t *Table) Flush() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.ports {
		n += t.flushPort(Port(p))
	}
	return n
}

func (t *Table) flushPort(p Port) int {
	if int(p) >= len(t.ports) || t.ports[p].count == 0 {
		return 0
	}
	ps := &t.ports[p]
	n := ps.count
	ps.dynamic, ps.count = list{}, 0
	t.stats.Dynamic -= n
	t.stats.Flushed += uint64(n)
	t.gens[p].Add(1)
	if t.bumps++; t.bumps == maxBumps {
		t.reap()
	}
	return n
}

// reap empties the slots of all flushed entries.
func (t *Table) reap() {
	s := t.store.Load()
	for b := range s.buckets {
		t.vacancy(s, b)
	}
	t.bumps = 0
}
