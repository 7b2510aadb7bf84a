package nat

import (
	"sync"
	"sync/atomic"
)

// Table is the flows of one uplink. All methods may be called by any goroutine
// at any time.
type Table struct {
	// What every packet touches. Readers take no lock.
	seed    seed
	out, in index[flow]
	zones   atomic.Pointer[[]*zone] // by Zone, nil where there is none
	frags   *fragments

	// What packets without a flow touch, which take no lock for it either.
	byOutside index[mapping]
	peers     peers
	catalog   atomic.Pointer[catalog]
	taken     [ClassICMP]atomic.Pointer[PortSet] // of TCP and UDP
	owned     atomic.Pointer[owned]
	clock     atomic.Uint32 // the latest now

	config sync.Mutex // held during a change of the configuration; before mu

	mu        sync.Mutex // guards what follows, what says so, and every change of an index
	addresses []*address
	reserved  map[*portPool]*PortSet
	byInside  index[mapping]
	nextID    uint64
	users     users

	sweeping sync.Mutex // guards what follows; before mu
	cursor   int        // the shard where Expire goes on
	batch    []*flow
}

const (
	// flowShardBits and mappingShardBits say how many shards an index has. With
	// four million flows, one of flows has two thousand entries, and doubles in
	// some 0.5 ms.
	flowShardBits    = 11
	mappingShardBits = 8
)

// New returns a table without zones.
func New(cfg Config) *Table {
	t := &Table{seed: newSeed(), users: users{changed: cfg.Changed}, frags: newFragments()}
	t.out = newIndex(flowShardBits, func(f *flow) uint64 {
		k := f.outTuple()
		return t.seed.hash(&k)
	})
	t.in = newIndex(flowShardBits, func(f *flow) uint64 {
		k := f.inTuple()
		return t.seed.hash(&k)
	})
	t.byInside = newIndex(mappingShardBits, func(m *mapping) uint64 {
		k := m.insideTuple()
		return t.seed.hash(&k)
	})
	t.byOutside = newIndex(mappingShardBits, func(m *mapping) uint64 {
		k := m.outsideTuple()
		return t.seed.hash(&k)
	})
	t.zones.Store(new([]*zone))
	t.clock.Store(1)
	t.config.Lock()
	t.mu.Lock()
	t.setAddresses(cfg.Addresses)
	t.mu.Unlock()
	t.config.Unlock()
	return t
}

// tick moves the clock forwards.
func (t *Table) tick(now uint32) {
	for {
		was := t.clock.Load()
		if now <= was || t.clock.CompareAndSwap(was, now) {
			return
		}
	}
}
