package dhcp

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/weft/weft/dhcp/lease"
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

// pool is the addresses of the ranges, and which of them are taken, by their
// place in all of them.
type pool struct {
	*lease.Set
	spans []span
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
	size := 0
	for i := range p.spans {
		s := &p.spans[i]
		s.base = size
		size += int(s.last-s.first) + 1
	}
	p.Set = lease.NewSet(size)
	return p
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
	return ok && p.IsFree(i)
}

// take marks an address as taken. One that is so already, or is outside, stays
// what it is.
func (p *pool) take(a ip4) {
	if i, ok := p.index(a); ok {
		p.Take(i)
	}
}

// give is the inverse of take.
func (p *pool) give(a ip4) {
	if i, ok := p.index(a); ok {
		p.Give(i)
	}
}

// next returns the first free address from index start on, round about.
func (p *pool) next(start int) (ip4, bool) {
	i, ok := p.Next(start)
	if !ok {
		return 0, false
	}
	return p.address(i), true
}
