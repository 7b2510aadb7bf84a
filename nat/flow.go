package nat

import (
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
)

// direction is which way a packet goes.
type direction uint8

const (
	outward direction = iota // from inside to outside
	inward
)

// flow is one tracked connection. It is an object of its own that never moves
// and never comes back as another flow: who holds a pointer to it needs no lock.
// Its tuple never changes. It fills two cache lines, and the first one is all
// that a search reads.
type flow struct {
	inside, remote, outside Endpoint

	protocol uint8
	direct   bool // of a PrefixMap
	zone     Zone

	// expires is the last second of its life; 0 where the table has given it up.
	expires atomic.Uint32

	// The second line changes with every packet.
	packets, bytes atomic.Uint64

	mapping *mapping // nil for protocols without ports, and some direct flows
	host    *host
	next    *flow // in host.over

	track track
}

// track is how far a flow has come. Of TCP it holds what each side has sent and
// may send; see tcp.go. Several workers may change it at once.
type track struct {
	state   atomic.Uint32    // flags
	windows atomic.Uint32    // the largest window that each side announced, as it stands in the header, 16 bits each
	sent    [2]atomic.Uint32 // by direction: the sequence number after the last byte sent
	limit   [2]atomic.Uint32 // by direction: the sequence number after the last one that the other side has room for
}

// alive reports whether the flow is to be used at a time.
func (f *flow) alive(now uint32) bool { return now <= f.expires.Load() }

// extend gives the flow another few seconds. It never brings back one that the
// table has given up.
func (f *flow) extend(now, seconds uint32) {
	until := now + seconds
	if was := f.expires.Load(); was != until && was != 0 {
		f.expires.CompareAndSwap(was, until)
	}
}

// count counts one packet.
func (f *flow) count(p *frame.Parsed) {
	f.packets.Add(1)
	f.bytes.Add(uint64(p.End - p.L3))
}

// outTuple and inTuple return what the flow is found by.
func (f *flow) outTuple() tuple {
	return tuple{protocol: f.protocol, zone: f.zone, local: f.inside, remote: f.remote}
}

func (f *flow) inTuple() tuple {
	return tuple{protocol: f.protocol, local: f.outside, remote: f.remote}
}

// findOut returns the flow of a packet from inside, or nil.
func (t *Table) findOut(k *tuple) *flow {
	hash := t.seed.hash(k)
	buckets := *t.out.shards[hash>>t.out.shift].buckets.Load()
	mask, tag := uint64(len(buckets)-1), tagOf(hash)
	for n := uint64(0); n <= mask; n++ {
		b := &buckets[(hash+n)&mask]
		tags := b.tags.Load()
		for m := matches(tags, tag); m != 0; m &= m - 1 {
			f := b.entries[slotOf(m)].Load()
			if f != nil && f.inside == k.local && f.remote == k.remote && f.protocol == k.protocol && f.zone == k.zone {
				return f
			}
		}
		if tags>>passedShift == 0 {
			break
		}
	}
	return nil
}

// findIn returns the flow of a packet from outside, or nil.
func (t *Table) findIn(k *tuple) *flow {
	hash := t.seed.hash(k)
	buckets := *t.in.shards[hash>>t.in.shift].buckets.Load()
	mask, tag := uint64(len(buckets)-1), tagOf(hash)
	for n := uint64(0); n <= mask; n++ {
		b := &buckets[(hash+n)&mask]
		tags := b.tags.Load()
		for m := matches(tags, tag); m != 0; m &= m - 1 {
			f := b.entries[slotOf(m)].Load()
			if f != nil && f.outside == k.local && f.remote == k.remote && f.protocol == k.protocol {
				return f
			}
		}
		if tags>>passedShift == 0 {
			break
		}
	}
	return nil
}

// add makes a flow known. The caller holds the lock and has counted what it is
// allowed.
func (t *Table) add(f *flow) {
	out, in := f.outTuple(), f.inTuple()
	t.out.insert(t.seed.hash(&out), f)
	t.in.insert(t.seed.hash(&in), f)
	h, z := f.host, f.host.zone
	if h.flows++; h.flows == 1 {
		z.hosts[h.addr] = h
	}
	z.flows++
	if h.entrance != nil {
		h.entrance.flows++
	}
	s := &z.stats[classOf(f.protocol)]
	s.Flows++
	s.Made++
	t.users.join(f)
	if f.mapping != nil {
		t.join(f)
	}
}

// drop ends a flow, and its mapping with the last one. It reports whether the
// flow was there. The caller holds the lock.
func (t *Table) drop(f *flow) bool {
	out, in := f.outTuple(), f.inTuple()
	if !t.out.remove(t.seed.hash(&out), f) {
		return false
	}
	t.in.remove(t.seed.hash(&in), f)
	f.expires.Store(0)
	h, z := f.host, f.host.zone
	z.flows--
	if h.entrance != nil {
		h.entrance.flows--
	}
	z.stats[classOf(f.protocol)].Flows--
	t.users.leave(f)
	if f.mapping != nil {
		t.leave(f)
	}
	t.trimOver(h)
	if h.flows--; h.flows == 0 {
		z.over.remove(h)
		delete(z.hosts, h.addr)
	}
	return true
}
