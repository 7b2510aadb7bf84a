package dhcp

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// ip4 is an IPv4 address as a number, so that leases are small and ranges are
// counted in.
type ip4 uint32

func toIP4(a netip.Addr) ip4 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return ip4(binary.BigEndian.Uint32(b[:]))
}

func (a ip4) addr() netip.Addr {
	return netip.AddrFrom4(a.bytes())
}

func (a ip4) bytes() (b [4]byte) {
	binary.BigEndian.PutUint32(b[:], uint32(a))
	return b
}

// pool is the addresses of the ranges, and which of them are taken. It finds one
// that is free among millions in a few steps: a bit of levels[0] is an address,
// a bit of the level above is a word of 64 of these, and a bit is set where
// nothing below it is free.
type pool struct {
	spans  []span
	size   int
	unused int // addresses that are not taken
	levels [][]uint64
}

// span is one range; base is the index of its first address in the pool.
type span struct {
	first, last ip4
	base        int
}

func newPool(ranges []Range) *pool {
	p := &pool{}
	for _, r := range ranges {
		p.spans = append(p.spans, span{first: toIP4(r.First), last: toIP4(r.Last)})
	}
	slices.SortFunc(p.spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	for i := range p.spans {
		s := &p.spans[i]
		s.base = p.size
		p.size += int(s.last-s.first) + 1
	}
	p.unused = p.size
	for n := p.size; ; {
		words := (n + 63) / 64
		level := make([]uint64, max(words, 1))
		if words == 0 {
			level[0] = ^uint64(0)
		} else if rest := n % 64; rest != 0 {
			level[words-1] = ^uint64(0) << rest // what lies behind the end is never free
		}
		p.levels = append(p.levels, level)
		if n = words; n <= 1 {
			return p
		}
	}
}

// index returns the place of an address in the pool.
func (p *pool) index(a ip4) (int, bool) {
	i, ok := slices.BinarySearchFunc(p.spans, a, func(s span, a ip4) int {
		switch {
		case s.last < a:
			return -1
		case s.first > a:
			return 1
		}
		return 0
	})
	if !ok {
		return 0, false
	}
	return p.spans[i].base + int(a-p.spans[i].first), true
}

// address is the inverse of index.
func (p *pool) address(index int) ip4 {
	i, _ := slices.BinarySearchFunc(p.spans, index, func(s span, index int) int { return cmp.Compare(s.base, index+1) })
	s := p.spans[i-1]
	return s.first + ip4(index-s.base)
}

func (p *pool) contains(a ip4) bool {
	_, ok := p.index(a)
	return ok
}

// isFree reports whether an address is in the pool and nobody has it.
func (p *pool) isFree(a ip4) bool {
	i, ok := p.index(a)
	return ok && p.levels[0][i>>6]&(1<<(i&63)) == 0
}

// take marks an address as taken. One that is so already, or is outside, stays
// what it is.
func (p *pool) take(a ip4) {
	i, ok := p.index(a)
	if !ok || p.levels[0][i>>6]&(1<<(i&63)) != 0 {
		return
	}
	p.unused--
	for _, level := range p.levels {
		w := i >> 6
		level[w] |= 1 << (i & 63)
		if level[w] != ^uint64(0) {
			return
		}
		i = w
	}
}

// give is the inverse of take.
func (p *pool) give(a ip4) {
	i, ok := p.index(a)
	if !ok || p.levels[0][i>>6]&(1<<(i&63)) == 0 {
		return
	}
	p.unused++
	for _, level := range p.levels {
		w := i >> 6
		level[w] &^= 1 << (i & 63)
		i = w
	}
}

// next returns the first free address from index start on, round about.
func (p *pool) next(start int) (ip4, bool) {
	i, ok := p.seek(start)
	if !ok {
		i, ok = p.seek(0)
	}
	if !ok {
		return 0, false
	}
	return p.address(i), true
}

// seek goes up the levels until a word has something free at or behind i, and
// down again to its first.
func (p *pool) seek(i int) (int, bool) {
	for k, level := range p.levels {
		w := i >> 6
		if w < len(level) {
			if free := ^level[w] >> (i & 63) << (i & 63); free != 0 {
				i = w<<6 + bits.TrailingZeros64(free)
				for ; k > 0; k-- {
					i = i<<6 + bits.TrailingZeros64(^p.levels[k-1][i])
				}
				return i, true
			}
		}
		i = w + 1
	}
	return 0, false
}
