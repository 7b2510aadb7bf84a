// Package fdb is the filtering database of a network: it remembers behind
// which port a MAC address of a VLAN was last seen (IEEE 802.1Q-2022 clause
// 8.8).
//
// Lookup, and Learn of an address that is where it was, take no lock, allocate
// nothing and write at most once per entry and second. Everything that changes
// the shape of the table serialises on one mutex, and never delays a reader.
//
// A dynamic entry leaves the table when it is older than Config.Ageing, when its port
// is flushed, when it moves, or when the table is at a limit: then the port
// that holds the most dynamic entries pays with an old one of its own. A port
// that floods the network with invented addresses so evicts itself, and a
// newcomer still gets in.
//
// The trap: the table keeps no clock. Callers pass the seconds of a coarse one
// that all of them share. It may start anywhere and wrap, and callers may lag
// behind each other, but a jump of 17 years (half of 30 bits) is a jump back.
package fdb

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// Port is the index of a port within its network, below MaxPorts.
type Port uint16

const (
	// MaxPorts bounds the index of a port. A power of two.
	MaxPorts = 4096

	// DefaultLimit is the number of dynamic entries that a table holds where
	// Config.Limit is absent.
	DefaultLimit = 8192

	// MaxLimit is the largest number of dynamic entries, and the largest
	// number of static, local and sticky ones together.
	MaxLimit = 1 << 20
)

// Config is what can be set on a table, also while it works.
type Config struct {
	// Limit is the number of dynamic entries in the table: 1 to MaxLimit.
	// Zero or less means DefaultLimit. Static and local entries do not count.
	Limit int

	// PortLimit is the number of dynamic entries of any one port. Zero or
	// less means that only Limit holds.
	PortLimit int

	// Ageing is how long a dynamic entry outlives its last frame, rounded up
	// to a second. Zero or less means that it never ages.
	Ageing time.Duration
}

// Entry is one line of the table, for people to read.
type Entry struct {
	VLAN uint16
	MAC  frame.MAC
	Port Port
	Kind Kind
	Age  uint32 // seconds since its last frame; 0 where Kind is not Dynamic
}

// Stats counts what is in the table, and what happened to it since New.
type Stats struct {
	Dynamic int // entries now, by kind
	Static  int
	Local   int
	Sticky  int

	Learned   uint64 // new dynamic entries
	Moved     uint64 // dynamic entries that changed their port
	Aged      uint64 // dynamic entries that grew too old
	Flushed   uint64 // dynamic entries that a flush took
	Evicted   uint64 // dynamic entries that a limit took
	Conflicts uint64 // frames from a static or local address on another port
	Denied    uint64 // addresses that PortConfig.Max kept out
	Refused   uint64 // addresses that found no room; see NoRoom
}

// Table is the filtering database of one network. All methods may be called by
// any goroutine at any time.
type Table struct {
	// What readers touch. gens holds the generation of each port: a dynamic
	// entry that carries another one has been flushed. It also keeps the
	// words above it apart from the ones below, which writers keep busy.
	store atomic.Pointer[store]
	gens  [MaxPorts]atomic.Uint32

	conflicts atomic.Uint64

	mu        sync.Mutex // guards what follows, and every change but a refresh
	limit     int
	portLimit int
	ageing    uint32 // seconds, 0 = never

	ports  []portState // by Port, as far as any was used
	peak   int         // no port holds more dynamic entries than this
	heavy  Port        // the port that held that many
	bumps  int         // generations begun since all flushed entries were reaped
	cursor int         // the bucket where Age goes on
	stats  Stats       // all but Conflicts
}

// New returns an empty table.
func New(c Config) *Table {
	t := &Table{}
	t.configure(c)
	t.store.Store(newStore(bucketsFor(t.limit, 0)))
	return t
}

// Reconfigure changes limits and ageing of a working table. Where a limit has
// become too small for what is there, the ports that hold the most pay first.
// It is the one method that may hold up others for a time that grows with the
// table; readers run on.
func (t *Table) Reconfigure(c Config) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.configure(c)
	s := t.store.Load()
	for p := range t.ports {
		for t.ports[p].count > t.portLimit {
			t.evict(s, Port(p))
		}
	}
	for t.stats.Dynamic > t.limit {
		t.evict(s, t.heaviest(0))
	}
	if n := bucketsFor(t.limit, t.fixed()); n != len(s.buckets) {
		t.rebuild(n)
	}
}

// configure sets the limits. The caller holds mu, or has t to itself.
func (t *Table) configure(c Config) {
	t.limit = min(c.Limit, MaxLimit)
	if c.Limit <= 0 {
		t.limit = DefaultLimit
	}
	t.portLimit = c.PortLimit
	if c.PortLimit <= 0 {
		t.portLimit = MaxLimit
	}
	t.ageing = 0
	if c.Ageing > 0 {
		s := (c.Ageing-1)/time.Second + 1
		t.ageing = uint32(min(s, maxAge))
	}
}

// Stats returns the counters.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.stats
	st.Conflicts = t.conflicts.Load()
	return st
}

// Entries returns what is in the table, in no order. It holds up the learning
// of new addresses (not that of known ones, nor Lookup) while it copies: some
// 0.3 ms for DefaultLimit entries.
func (t *Table) Entries(now uint32) []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.store.Load()
	all := make([]Entry, 0, t.stats.Dynamic+t.fixed())
	for b := range s.buckets {
		for i := range s.buckets[b].slots {
			sl := &s.buckets[b].slots[i]
			key, v := sl.key.Load(), value(sl.value.Load())
			if key == 0 || !t.live(v) {
				continue
			}
			e := Entry{
				VLAN: uint16(key >> 48),
				MAC:  frame.MACFromUint64(key),
				Port: v.port(),
				Kind: v.kind(),
			}
			if e.Kind == Dynamic {
				e.Age = v.age(now)
			}
			all = append(all, e)
		}
	}
	return all
}

// fixed returns the number of entries that never age. The caller holds mu.
func (t *Table) fixed() int { return t.stats.Static + t.stats.Local + t.stats.Sticky }
