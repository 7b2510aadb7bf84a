package nat

import (
	"math/bits"
	"sync/atomic"
)

// An index finds entries by the hash of their tuple. It is cut into shards that
// grow and shrink by themselves, so that nobody waits for more than one of them.
//
// A shard is a row of buckets of one cache line: seven pointers, and a tag of
// eight bits for each. A search compares the tags, and follows a pointer only
// where its tag matches, so that a miss touches no entry, and a hit one. What
// finds its bucket full goes into the next one, and counts there that it did:
// a search goes on only from a bucket that was passed over. Entries never move
// but when their shard is rebuilt, which makes new buckets.
//
// Writers hold the table's lock. Readers do not: the pointer is stored before
// its tag and taken away after it, and what a pointer leads to never changes its
// tuple. A reader may miss an entry that comes or moves at that moment. So who
// finds nothing looks again under the lock before he makes an entry.
const (
	slotsPerBucket = 7
	passedShift    = 8 * slotsPerBucket // of the count of entries that went further
	maxPassed      = 255                // the count stays there, for want of bits

	lowBytes  = 0x0001010101010101 // one bit in each tag
	highBytes = lowBytes << 7
)

type bucket[T any] struct {
	tags    atomic.Uint64
	entries [slotsPerBucket]atomic.Pointer[T]
}

type shard[T any] struct {
	buckets atomic.Pointer[[]bucket[T]] // a power of two of them
	count   int
}

type index[T any] struct {
	shards []shard[T]
	shift  uint            // of a hash, to the number of its shard
	hash   func(*T) uint64 // of an entry, to rebuild its shard
}

func newIndex[T any](shardBits uint, hash func(*T) uint64) index[T] {
	x := index[T]{shards: make([]shard[T], 1<<shardBits), shift: 64 - shardBits, hash: hash}
	for i := range x.shards {
		b := make([]bucket[T], 1)
		x.shards[i].buckets.Store(&b)
	}
	return x
}

// tagOf returns the tag of a hash in every byte of a word. It is never 0, which
// says that a slot is empty.
func tagOf(hash uint64) uint64 {
	return max(hash>>32&0xff, 1) * lowBytes
}

// matches returns a bit in each byte of tags that may be the tag. One above a
// match may be a false one.
func matches(tags, tag uint64) uint64 {
	x := tags ^ tag
	return (x - lowBytes) &^ x & highBytes
}

// slotOf returns the number of the lowest slot in what matches returned.
func slotOf(m uint64) int { return bits.TrailingZeros64(m) >> 3 }

// insert adds an entry that is not there.
func (x *index[T]) insert(hash uint64, e *T) {
	s := &x.shards[hash>>x.shift]
	n := len(*s.buckets.Load())
	if (s.count+1)*5 > n*slotsPerBucket*4 {
		x.rebuild(s, n*2)
	}
	s.count++
	place(*s.buckets.Load(), hash, e)
}

func place[T any](buckets []bucket[T], hash uint64, e *T) {
	tag := tagOf(hash)
	for i := hash; ; i++ {
		b := &buckets[i&uint64(len(buckets)-1)]
		tags := b.tags.Load()
		empty := matches(tags, 0)
		if empty == 0 {
			if tags>>passedShift < maxPassed {
				b.tags.Store(tags + 1<<passedShift)
			}
			continue
		}
		slot := slotOf(empty)
		b.entries[slot].Store(e)
		b.tags.Store(tags | tag&(0xff<<(8*slot)))
		return
	}
}

// remove takes an entry out, and reports whether it was there.
func (x *index[T]) remove(hash uint64, e *T) bool {
	s := &x.shards[hash>>x.shift]
	buckets := *s.buckets.Load()
	mask := uint64(len(buckets) - 1)
	for n := uint64(0); n <= mask; n++ {
		b := &buckets[(hash+n)&mask]
		tags := b.tags.Load()
		for m := matches(tags, tagOf(hash)); m != 0; m &= m - 1 {
			slot := slotOf(m)
			if b.entries[slot].Load() != e {
				continue
			}
			b.tags.Store(tags &^ (0xff << (8 * slot)))
			b.entries[slot].Store(nil)
			unpass(buckets, hash, n)
			s.count--
			return true
		}
		if tags>>passedShift == 0 {
			return false
		}
	}
	return false
}

// unpass takes back that an entry went over n buckets.
func unpass[T any](buckets []bucket[T], hash, n uint64) {
	for i := range n {
		b := &buckets[(hash+i)&uint64(len(buckets)-1)]
		if tags := b.tags.Load(); tags>>passedShift < maxPassed {
			b.tags.Store(tags - 1<<passedShift)
		}
	}
}

// shrink halves a shard where seven of eight slots are empty. It is for a caller
// who comes by every few seconds, so that a table that fills and empties keeps
// its size.
func (x *index[T]) shrink(s *shard[T]) {
	if n := len(*s.buckets.Load()); n > 1 && s.count*8 < n*slotsPerBucket {
		x.rebuild(s, n/2)
	}
}

// rebuild puts the entries of a shard into n new buckets. It reads each entry:
// about 0.1 ms for a thousand that no cache holds.
func (x *index[T]) rebuild(s *shard[T], n int) {
	fresh := make([]bucket[T], n)
	x.shardEntries(s, func(e *T) { place(fresh, x.hash(e), e) })
	s.buckets.Store(&fresh)
}

// shardEntries calls f with every entry of a shard. It needs no lock; an entry that comes or
// goes meanwhile may be among them.
func (x *index[T]) shardEntries(s *shard[T], f func(*T)) {
	buckets := *s.buckets.Load()
	for i := range buckets {
		for j := range buckets[i].entries {
			if e := buckets[i].entries[j].Load(); e != nil {
				f(e)
			}
		}
	}
}
