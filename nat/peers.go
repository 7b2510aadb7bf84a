package nat

import "sync/atomic"

// peers counts the flows between a mapping and an endpoint: a remote address,
// for the filter that lets in whoever the mapping talks to, and an inside
// endpoint where several share an outside port.
//
// It holds no endpoint, but 47 bits of a keyed hash of it, beside a count of 17
// bits. With 65536 flows, one stranger in 2^39 is taken for a peer, and nobody
// can find out which one but by trying. An endpoint takes 8 bytes so, and a
// mapping with many peers has no table of its own that would have to grow while
// all wait.
//
// Writers hold the table's lock. Readers do not: a shard counts its version up
// before and after each change, and who meets one looks again under the lock.
type peers struct {
	shards [peerShards]peerShard
}

const (
	peerShards    = 256
	peerCountBits = 17
	peerCountMask = 1<<peerCountBits - 1
	minPeerSlots  = 8
)

type peerShard struct {
	version atomic.Uint32 // odd while it changes
	slots   atomic.Pointer[[]atomic.Uint64]
	used    int
}

// has reports whether the mapping has a flow with that hash. sure is false where
// the answer no may be wrong because of a change going on.
func (s *peers) has(hash uint64) (yes, sure bool) {
	sh := &s.shards[hash%peerShards]
	version := sh.version.Load()
	yes = sh.find(hash) >= 0
	return yes, version&1 == 0 && sh.version.Load() == version
}

// find returns the slot of a hash, or -1.
func (sh *peerShard) find(hash uint64) int {
	slots := sh.slots.Load()
	if slots == nil {
		return -1
	}
	mask := len(*slots) - 1
	for i, n := int(hash>>peerCountBits)&mask, 0; n <= mask; i, n = (i+1)&mask, n+1 {
		v := (*slots)[i].Load()
		if v == 0 {
			return -1
		}
		if (v^hash)>>peerCountBits == 0 {
			return i
		}
	}
	return -1
}

// add counts one more flow.
func (s *peers) add(hash uint64) {
	sh := &s.shards[hash%peerShards]
	if i := sh.find(hash); i >= 0 {
		(*sh.slots.Load())[i].Add(1)
		return
	}
	sh.version.Add(1)
	if slots := sh.slots.Load(); slots == nil {
		sh.resize(minPeerSlots)
	} else if (sh.used+1)*4 > len(*slots)*3 {
		sh.resize(len(*slots) * 2)
	}
	sh.used++
	putPeer(*sh.slots.Load(), hash&^peerCountMask|1)
	sh.version.Add(1)
}

// remove counts one flow less.
func (s *peers) remove(hash uint64) {
	sh := &s.shards[hash%peerShards]
	i := sh.find(hash)
	if i < 0 {
		return
	}
	slots := *sh.slots.Load()
	if v := slots[i].Load(); v&peerCountMask > 1 {
		slots[i].Store(v - 1)
		return
	}
	sh.version.Add(1)
	closeGap(slots, i)
	sh.used--
	sh.version.Add(1)
}

// shrink halves a shard that is all but empty. See index.shrink.
func (sh *peerShard) shrink() {
	if slots := sh.slots.Load(); slots != nil && len(*slots) > minPeerSlots && sh.used*8 < len(*slots) {
		sh.resize(len(*slots) / 2) // readers find all in the old one, or all in the new one
	}
}

// closeGap empties a slot, and moves up what had stepped aside because of it.
func closeGap(slots []atomic.Uint64, i int) {
	mask := len(slots) - 1
	for j := (i + 1) & mask; ; j = (j + 1) & mask {
		v := slots[j].Load()
		if v == 0 {
			break
		}
		if home := int(v>>peerCountBits) & mask; (j-home)&mask >= (j-i)&mask {
			slots[i].Store(v)
			i = j
		}
	}
	slots[i].Store(0)
}

func putPeer(slots []atomic.Uint64, v uint64) {
	mask := len(slots) - 1
	i := int(v>>peerCountBits) & mask
	for slots[i].Load() != 0 {
		i = (i + 1) & mask
	}
	slots[i].Store(v)
}

func (sh *peerShard) resize(n int) {
	fresh := make([]atomic.Uint64, n)
	if old := sh.slots.Load(); old != nil {
		for i := range *old {
			if v := (*old)[i].Load(); v != 0 {
				putPeer(fresh, v)
			}
		}
	}
	sh.slots.Store(&fresh)
}
