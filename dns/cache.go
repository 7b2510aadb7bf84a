package dns

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxCached is the size of the largest answer that is kept, so that the number of
// entries bounds the memory.
const maxCached = 4096

// question is what makes two queries the same: name, type, and the bits that the
// answer depends on (RFC 4035 clause 4.7).
type question struct {
	name   string // in wire form, lower case
	kind   uint16
	do, cd bool
}

// entry is an answer of an upstream, ready to be sent but for the header and the
// question. These have the same length for all that ask it, so what points into
// them, and the places of the TTLs, stay right.
type entry struct {
	question
	group              *group // that it came from
	rcode              int
	answers, authority uint16
	body               []byte
	ttls               []uint16 // where they stand in the message
	born               time.Time
	life               time.Duration // 0: for those only who wait for it
}

// reply is the answer at an age, for one client. Bits that vouch for the answer
// stay unset: we checked no signature (RFC 6840 clause 5.8), and are no authority.
func (e *entry) reply(a *asker, age time.Duration) []byte {
	b := append(a.begin(0, e.rcode, len(e.body)), e.body...)
	if seconds := uint32(age / time.Second); seconds > 0 {
		for _, at := range e.ttls {
			ttl := binary.BigEndian.Uint32(b[at:])
			binary.BigEndian.PutUint32(b[at:], ttl-min(ttl, seconds))
		}
	}
	return a.finish(b, e.rcode, e.answers, e.authority)
}

// age is how old an entry is, and whether it may still be used. One from the
// future, after the clock was set back, may not.
func (e *entry) age(now time.Time) (time.Duration, bool) {
	age := now.Sub(e.born)
	return age, age >= 0 && age < e.life
}

// cache keeps a number of entries, those that were used last. Its keys are hashes:
// looking up by them needs no string, and as the seed is random and the entry has
// the question, a collision is only a miss.
type cache struct {
	seed    maphash.Seed
	entries *lru.Cache[uint64, *entry] // nil: nothing is kept
	size    int
}

func newCache(size int) *cache {
	c := &cache{seed: maphash.MakeSeed(), size: size}
	if size > 0 {
		c.entries, _ = lru.New[uint64, *entry](size) // fails for sizes below 1 only
	}
	return c
}

func (c *cache) hash(name []byte, kind uint16, do, cd bool) uint64 {
	bits := uint64(kind) << 2
	if do {
		bits |= 1
	}
	if cd {
		bits |= 2
	}
	const odd = 0x9e3779b97f4a7c15 // spreads the few bits over all
	return maphash.Bytes(c.seed, name) ^ (bits+1)*odd
}

// get returns the entry for a query that goes to a group, and its age. An answer
// from servers that are no longer asked is none.
func (c *cache) get(q *query, g *group, now time.Time) (*entry, time.Duration) {
	if c.entries == nil {
		return nil, 0
	}
	cd := q.flags&bitCD != 0
	e, ok := c.entries.Get(c.hash(q.key(), q.kind, q.do, cd))
	if !ok || e.group != g || e.kind != q.kind || e.do != q.do || e.cd != cd || e.name != string(q.key()) {
		return nil, 0
	}
	age, ok := e.age(now)
	if !ok {
		return nil, 0
	}
	return e, age
}

func (c *cache) put(e *entry) {
	if c.entries == nil || e.life <= 0 || len(e.body) > maxCached {
		return
	}
	e.body = bytes.Clone(e.body)
	c.entries.Add(c.hash([]byte(e.name), e.kind, e.do, e.cd), e)
}

// sweep removes what has grown too old, and what keep does not want.
func (c *cache) sweep(now time.Time, keep func(*entry) bool) {
	if c.entries == nil {
		return
	}
	for _, key := range c.entries.Keys() {
		e, ok := c.entries.Peek(key)
		if !ok {
			continue
		}
		if _, fresh := e.age(now); !fresh || !keep(e) {
			c.entries.Remove(key)
		}
	}
}

func (c *cache) len() int {
	if c.entries == nil {
		return 0
	}
	return c.entries.Len()
}
