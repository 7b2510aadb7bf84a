package nat

import (
	"container/list"
	"slices"

	"github.com/weft/weft/dataplane/frame"
)

const (
	// maxPieces is how many fragments of one datagram are known at a time.
	// 64 KiB at an MTU of 576, the least that a host must take (RFC 791
	// clause 3.1), is 119.
	maxPieces = 128

	// maxFragmented is the data of the longest packet. A length of IP has 16 bits,
	// and that of IPv4 covers the header.
	maxFragmented = 65535

	// What all datagrams may take together. An entry is about 1 KiB at most, so
	// that both pools are below 10 MiB.
	maxDecided     = 4096
	maxWaiting     = 1024
	maxHeldBytes   = 4 << 20
	heldFrameBytes = 256 // what a held frame costs beside its bytes

	// maxExpired is how many entries of a pool one call of expire forgets. At
	// ten calls a second a full pool is empty in four seconds.
	maxExpired = 100
)

// Levels at which a limit is shared out, and the part of it that one of them
// has: one side (an inside network, or the outside) a half, one place where
// packets come in from inside a quarter, one source address of a side a
// sixteenth. For held bytes the latter is 256 KiB: a datagram of 64 KiB with all
// that its pieces cost, twice. Outside there are no places, and its share is that
// of the side.
const (
	levelSource = iota
	levelPlace
	levelSide
	levelAll
	levels
)

var shareOf = [levels]int{levelSource: 16, levelPlace: 4, levelSide: 2, levelAll: 1}

// part returns by what a limit is divided for a share.
func (k *shareKey) part() int {
	if k.level == levelPlace && k.side == 0 {
		return shareOf[levelSide]
	}
	return shareOf[k.level]
}

// assembly is what is known about one datagram.
type assembly struct {
	key  datagram
	born uint32

	verdict Verdict // of the first fragment; Held before it came
	to      [16]byte
	zone    Zone

	pieces  []piece // by where they start
	covered int     // bytes in pieces
	end     int     // of the data; 0 before the last fragment came

	held      []*frame.Frame
	heldBytes int

	pool *pool
	at   [levels]*list.Element // in the shares of pool
}

// piece is the data of one fragment, from start to end, in bytes.
type piece struct{ start, end uint16 }

type fit uint8

const (
	pieceFits    fit = iota
	pieceRefused     // a duplicate, or one that RFC 791 rules out
	pieceClashes     // overlaps another one, or contradicts where the end is
)

// put adds one fragment's data.
func (a *assembly) put(start, end int, more bool) fit {
	longest := maxFragmented
	if familyOf(&a.key.Src) == ipv4 {
		longest -= ipHeaderLen
	}
	if end <= start || end > longest || more && (end-start)%8 != 0 {
		return pieceRefused
	}
	one := piece{uint16(start), uint16(end)}
	i, found := slices.BinarySearchFunc(a.pieces, one, func(x, y piece) int { return int(x.start) - int(y.start) })
	if found && a.pieces[i] == one && more == (end != a.end) {
		return pieceRefused
	}
	last := 0
	if n := len(a.pieces); n > 0 {
		last = int(a.pieces[n-1].end)
	}
	switch {
	case i > 0 && a.pieces[i-1].end > one.start, i < len(a.pieces) && a.pieces[i].start < one.end,
		a.end != 0 && end > a.end, !more && last > end, len(a.pieces) == maxPieces:
		return pieceClashes
	}
	a.pieces = slices.Insert(a.pieces, i, one)
	a.covered += end - start
	if !more {
		a.end = end
	}
	return pieceFits
}

// complete reports whether every fragment came.
func (a *assembly) complete() bool { return a.end != 0 && a.covered == a.end }

func (a *assembly) expired(now uint32) bool { return now-a.born >= fragmentSeconds }

// release takes the held frames out. a must be in no pool that counts them.
func (a *assembly) release() []*frame.Frame {
	held := a.held
	a.held, a.heldBytes = nil, 0
	return held
}

// pool is the entries of one kind, with limits of their number and of the bytes
// they hold, shared out so that who sends many fragments does not keep the
// others from sending any: at its share, a source loses its own oldest datagram.
// Sources are free to invent: outside, hence the share of a side, and those of IPv6
// inside too, hence the share of a place.
type pool struct {
	entries, bytes int
	shares         map[shareKey]*share
}

// shareKey names a share: level source has both address and side, level place a place
// and its side, level side the side only.
type shareKey struct {
	level uint8
	via   uint16
	side  uint32
	addr  [16]byte
}

// share is the entries below one limit, oldest first.
type share struct {
	order list.List
	bytes int
}

func newPool(entries, bytes int) pool {
	return pool{entries: entries, bytes: bytes, shares: map[shareKey]*share{}}
}

func (d *datagram) share(level int) shareKey {
	switch level {
	case levelSource:
		return shareKey{level: levelSource, side: d.Side, addr: d.Src}
	case levelPlace:
		return shareKey{level: levelPlace, side: d.Side, via: d.Via}
	case levelSide:
		return shareKey{level: levelSide, side: d.Side}
	}
	return shareKey{level: levelAll}
}

// victim returns the datagram that has to go before a may grow, or nil.
func (p *pool) victim(a *assembly, entries, bytes int) *assembly {
	for level := range levels {
		key := a.key.share(level)
		s, part := p.shares[key], key.part()
		if s != nil && (s.order.Len()+entries > p.entries/part || s.bytes+bytes > p.bytes/part) {
			return s.order.Front().Value.(*assembly)
		}
	}
	return nil
}

// oldest returns the entry that came first into the pool, or nil.
func (p *pool) oldest() *assembly {
	if s := p.shares[shareKey{level: levelAll}]; s != nil {
		return s.order.Front().Value.(*assembly)
	}
	return nil
}

func (p *pool) insert(a *assembly) {
	for level := range levels {
		key := a.key.share(level)
		s := p.shares[key]
		if s == nil {
			s = new(share)
			p.shares[key] = s
		}
		a.at[level] = s.order.PushBack(a)
		s.bytes += a.heldBytes
	}
}

// grow counts n more held bytes of a.
func (p *pool) grow(a *assembly, n int) {
	a.heldBytes += n
	for level := range levels {
		p.shares[a.key.share(level)].bytes += n
	}
}

func (p *pool) remove(a *assembly) {
	for level := range levels {
		key := a.key.share(level)
		s := p.shares[key]
		s.order.Remove(a.at[level])
		s.bytes -= a.heldBytes
		if s.order.Len() == 0 {
			delete(p.shares, key)
		}
	}
	a.pool, a.at = nil, [levels]*list.Element{}
}
