package fdb

import (
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
)

// This file runs for every frame: no lock, no allocation, no clock. Learn leaves
// it only for an address that is new or has moved.

// Lookup returns the port behind which an address is. A group address and the
// zero address are behind none.
func (t *Table) Lookup(vlan uint16, mac frame.MAC) (Port, bool) {
	v, at := t.store.Load().find(keyOf(vlan, mac))
	if at == nil || !t.live(v) {
		return 0, false
	}
	return v.port(), true
}

// Seen is Lookup with the age of the entry, in seconds: 0 for one that does not
// age, and where now is before it was seen.
func (t *Table) Seen(vlan uint16, mac frame.MAC, now uint32) (Port, uint32, bool) {
	v, at := t.store.Load().find(keyOf(vlan, mac))
	if at == nil || !t.live(v) {
		return 0, 0, false
	}
	if v.kind() != Dynamic {
		return v.port(), 0, true
	}
	return v.port(), v.age(now), true
}

// Learn notes that a frame from mac came in by port p. now is in seconds; see
// the package's trap. In the steady state it compares one word, and writes one
// in the first frame of each second.
func (t *Table) Learn(vlan uint16, mac frame.MAC, p Port, now uint32) Result {
	key := keyOf(vlan, mac)
	if !learnable(key) || p >= MaxPorts {
		return NotLearnable
	}
	v, at := t.store.Load().find(key)
	if at == nil {
		return t.learn(key, p, now)
	}
	want := pack(p, t.gens[p].Load(), Dynamic, now)
	switch {
	case v == want:
		return Known
	case v.sameBut(want):
		return refresh(at, v, want, now)
	case v.kind() == Dynamic:
		return t.learn(key, p, now)
	case v.port() == p:
		return Known
	}
	return t.conflict(v)
}

// conflict counts a frame from an address that is nailed to another port.
func (t *Table) conflict(v value) Result {
	t.conflicts.Add(1)
	if v.kind() == Sticky {
		return StickyConflict
	}
	return StaticConflict
}

// refresh makes v, seen in a former second, young again. Where somebody else
// was quicker, or the caller's clock lags behind, there is nothing to do. The
// slot may have got another key by now: as its value is still v, that key is
// behind the same port, and no reader is misled.
func refresh(at *atomic.Uint64, v, want value, now uint32) Result {
	if v.age(now) == 0 || !at.CompareAndSwap(uint64(v), uint64(want)) {
		return Known
	}
	return Refreshed
}

// find returns the value of a key and where it stands, nil where it is absent.
//
// A hit is right if the bucket's version did not change around it. A miss is
// right if no key came into the first bucket meanwhile: the entry could have
// stepped aside from the second bucket, not yet read, into the first, read
// already (see displace). The other way is safe, as it stands in the second
// before it leaves the first.
func (s *store) find(key uint64) (value, *atomic.Uint64) {
	if key == 0 {
		return 0, nil
	}
	i, j := s.pair(key)
	b1, b2 := &s.buckets[i], &s.buckets[j]
	for {
		ver1 := b1.version.Load()
		if sl := b1.slotOf(key); sl != nil {
			v := sl.value.Load()
			if b1.version.Load() == ver1 {
				return value(v), &sl.value
			}
			continue
		}
		ver2 := b2.version.Load()
		if sl := b2.slotOf(key); sl != nil {
			v := sl.value.Load()
			if b2.version.Load() == ver2 {
				return value(v), &sl.value
			}
			continue
		}
		if b1.version.Load() == ver1 {
			return 0, nil
		}
	}
}

// slotOf returns the slot of the bucket that holds key, or nil.
func (b *bucket) slotOf(key uint64) *slot {
	for i := range b.slots {
		if b.slots[i].key.Load() == key {
			return &b.slots[i]
		}
	}
	return nil
}
