package fdb

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

// The store is a hash table of buckets of seven slots. A key has two buckets
// to choose from, and goes to the emptier one when the first fills. With four
// entries to a bucket on average (the load that bucketsFor aims at), both are
// full about once in twenty thousand inserts; then an entry of theirs steps
// aside into its own other bucket. Nothing ever moves further than that.
//
// The hash is keyed with a random seed: who does not know it cannot choose
// addresses that meet in one bucket. One round of multiplication is not enough
// for that; see TestSpread.
const (
	slotsPerBucket = 7
	minBuckets     = 64
	meanLoad       = 4 // dynamic entries per bucket at the limit, at most
	maxLoad        = 5 // the same with static, local and sticky entries
)

// slot holds one entry, or none where key is 0.
type slot struct {
	key   atomic.Uint64
	value atomic.Uint64
}

// bucket fills two cache lines.
//
// Its version is what makes readers right without a lock. A writer counts it
// up before it writes the value of a slot that gets a new key:
//
//	remove:  key = 0
//	insert:  version++, value = v, key = k     (the slot is empty before)
//	change:  value = v                         (of the same key)
//	move:    insert, version++ there, remove here
//
// A reader that finds its key, then reads the value, then sees the version that
// it saw first, has a value that belongs to that key. It never waits for a
// writer: there is no state that means "busy".
//
// The first three slots, which fill first, share the version's cache line.
type bucket struct {
	version atomic.Uint64
	_       [8]byte
	slots   [slotsPerBucket]slot
}

// slotID names a slot: bucket<<3 | position+1. 0 names none.
type slotID uint32

// link chains the slots of one port; see list.
type link struct {
	prev, next slotID
	since      uint32 // when the entry was last seen before it was put there
}

// store is one size of the table. A change of size makes a new one, with a new
// seed.
type store struct {
	seed    [3]uint64
	buckets []bucket // a power of two of them
	links   []link   // by slotID; for writers only
}

func newStore(buckets int) *store {
	return &store{
		seed:    [3]uint64{rand.Uint64(), rand.Uint64() | 1, rand.Uint64() | 1},
		buckets: make([]bucket, buckets),
		links:   make([]link, buckets<<3),
	}
}

// bucketsFor returns the number of buckets for so many entries.
func bucketsFor(limit, fixed int) int {
	n := minBuckets
	for n*meanLoad < limit || n*maxLoad < limit+fixed {
		n *= 2
	}
	return n
}

// pair returns the two buckets of a key. They may be the same one.
func (s *store) pair(key uint64) (int, int) {
	hi, lo := bits.Mul64(key^s.seed[0], s.seed[1])
	hi, lo = bits.Mul64(hi^lo, s.seed[2])
	h := hi ^ lo
	mask := uint64(len(s.buckets) - 1)
	return int(h & mask), int(h >> 32 & mask)
}

func (s *store) at(id slotID) *slot { return &s.buckets[id>>3].slots[id&7-1] }

func idOf(bucket, position int) slotID { return slotID(bucket<<3 | position + 1) }

// put fills an empty slot.
func (s *store) put(id slotID, key uint64, v value) {
	b := &s.buckets[id>>3]
	b.version.Add(1)
	b.slots[id&7-1].value.Store(uint64(v))
	b.slots[id&7-1].key.Store(key)
}

// locate returns the slot that holds key. The caller holds the mutex.
func (s *store) locate(key uint64) slotID {
	b1, b2 := s.pair(key)
	for _, b := range [2]int{b1, b2} {
		for i := range s.buckets[b].slots {
			if s.buckets[b].slots[i].key.Load() == key {
				return idOf(b, i)
			}
		}
	}
	return 0
}

// live reports whether an entry with this value is one: not flushed.
func (t *Table) live(v value) bool {
	return v.kind() != Dynamic || uint16(t.gens[v.port()%MaxPorts].Load()) == v.gen()
}

// vacancy returns the number of empty slots in a bucket and the first of them.
// It reaps flushed entries as it meets them.
func (t *Table) vacancy(s *store, b int) (id slotID, n int) {
	for i := slotsPerBucket - 1; i >= 0; i-- {
		sl := &s.buckets[b].slots[i]
		if sl.key.Load() != 0 {
			if t.live(value(sl.value.Load())) {
				continue
			}
			sl.key.Store(0)
		}
		id, n = idOf(b, i), n+1
	}
	return id, n
}

// place returns an empty slot for a key that is not in the store, 0 where there
// is none. It takes the first bucket up to the mean load, so that readers find
// most keys there, and the emptier one beyond.
func (t *Table) place(s *store, key uint64) slotID {
	b1, b2 := s.pair(key)
	id1, n1 := t.vacancy(s, b1)
	if n1 >= slotsPerBucket-meanLoad {
		return id1
	}
	id2, n2 := t.vacancy(s, b2)
	switch {
	case n1 >= n2 && n1 > 0:
		return id1
	case n2 > 0:
		return id2
	}
	if id := t.displace(s, b1); id != 0 {
		return id
	}
	return t.displace(s, b2)
}

// displace empties a slot of a full bucket by moving its entry into that
// entry's other bucket, and returns the slot, or 0. The entry stands in both
// places for a moment, and in none never. A reader can still miss it, by
// looking there too early and here too late. So the version there counts once
// more between the two steps: such a reader read it before, and looks again.
func (t *Table) displace(s *store, b int) slotID {
	for i := range s.buckets[b].slots {
		sl := &s.buckets[b].slots[i]
		key, v := sl.key.Load(), value(sl.value.Load())
		b1, b2 := s.pair(key)
		other := b1 ^ b2 ^ b
		if other == b {
			continue
		}
		to, n := t.vacancy(s, other)
		if n == 0 {
			continue
		}
		from := idOf(b, i)
		s.put(to, key, v)
		s.buckets[other].version.Add(1)
		s.replace(t.listOf(v), from, to)
		sl.key.Store(0)
		return from
	}
	return 0
}

// rebuild copies all entries into a new store of at least n buckets and
// publishes it. A refresh that a worker writes into the old one meanwhile is
// lost; the next frame makes up for it.
func (t *Table) rebuild(n int) {
	old, oldPorts := t.store.Load(), t.ports
	for ; ; n *= 2 {
		s := newStore(n)
		t.ports = make([]portState, len(oldPorts))
		if t.copyAll(s, old, oldPorts) {
			t.store.Store(s)
			t.cursor = 0
			return
		}
	}
}

// copyAll copies the entries on the lists of ports, in their order, from old
// into s. It reports whether all found room.
func (t *Table) copyAll(s, old *store, ports []portState) bool {
	for p := range ports {
		t.ports[p].PortConfig = ports[p].PortConfig
		t.ports[p].count, t.ports[p].stuck = ports[p].count, ports[p].stuck
		for _, l := range [2]list{ports[p].dynamic, ports[p].fixed} {
			for id := l.head; id != 0; id = old.links[id].next {
				key, v := old.at(id).key.Load(), value(old.at(id).value.Load())
				to := t.place(s, key)
				if to == 0 {
					return false
				}
				s.put(to, key, v)
				s.push(t.listOf(v), to, old.links[id].since)
			}
		}
	}
	return true
}
