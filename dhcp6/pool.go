package dhcp6

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"

	"github.com/weft/weft/dhcp/lease"
)

// number is an address as a number, so that ranges are counted in.
type number struct{ hi, lo uint64 }

func toNumber(a netip.Addr) number {
	b := a.As16()
	return number{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (n number) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.hi)
	binary.BigEndian.PutUint64(b[8:], n.lo)
	return netip.AddrFrom16(b)
}

func (n number) plus(m number) number {
	lo, carry := bits.Add64(n.lo, m.lo, 0)
	hi, _ := bits.Add64(n.hi, m.hi, carry)
	return number{hi, lo}
}

func (n number) minus(m number) number {
	lo, borrow := bits.Sub64(n.lo, m.lo, 0)
	hi, _ := bits.Sub64(n.hi, m.hi, borrow)
	return number{hi, lo}
}

func (n number) less(m number) bool { return n.hi < m.hi || n.hi == m.hi && n.lo < m.lo }

// left and right shift by less than 128 bits.
func (n number) left(by int) number {
	if by >= 64 {
		return number{hi: n.lo << (by - 64)}
	}
	return number{n.hi<<by | n.lo>>(64-by), n.lo << by}
}

func (n number) right(by int) number {
	if by >= 64 {
		return number{lo: n.hi >> (by - 64)}
	}
	return number{n.hi >> by, n.lo>>by | n.hi<<(64-by)}
}

// maxTable is how many places a pool may have for each to have a bit in a table. In
// a bigger one there are more places than leases by far, and one that is free is
// found by trying.
const maxTable = 1 << 20

// maxTries is how many places are tried. Where one in eight is taken, the chance to
// miss a free one is one in 2^192.
const maxTries = 64

// pool is places that a client is given one of: addresses of ranges, or the
// prefixes of one length in another.
type pool struct {
	length int // of a place, in bits
	spans  []span
	size   uint64     // places, at most MaxUint64
	table  *lease.Set // those that are taken, where the pool is small

	idle lease.Queue[*binding] // leases of it that are over, the longest first, to be used again
}

// span is places one behind the other; last is the number of the last one in it.
type span struct {
	first number
	last  uint64
}

func (p *pool) add(first, last netip.Addr) {
	s := span{first: toNumber(first)}
	s.last = toNumber(last).minus(s.first).right(128 - p.length).lo
	p.spans = append(p.spans, s)
	size, carry := bits.Add64(p.size, s.last, 1)
	if carry != 0 {
		size = math.MaxUint64
	}
	p.size = size
}

// close ends the adding of spans.
func (p *pool) close() {
	if p.size <= maxTable {
		p.table = lease.NewSet(int(p.size))
	}
}

func (s *settings) addressPool() *pool {
	p := &pool{length: 128}
	for _, r := range s.Ranges {
		p.add(r.First, r.Last)
	}
	p.close()
	return p
}

func newPrefixPool(d Pool) *pool {
	p := &pool{length: d.Length}
	first := toNumber(d.Prefix.Addr())
	p.add(d.Prefix.Addr(), first.plus(number{lo: 1}.left(128-d.Prefix.Bits()).minus(number{lo: 1})).addr())
	p.close()
	return p
}

// index returns the number of the place that begins at an address.
func (p *pool) index(a netip.Addr) (index uint64, ok bool) {
	n, shift := toNumber(a), 128-p.length
	for _, s := range p.spans {
		if !n.less(s.first) {
			d := n.minus(s.first)
			if i := d.right(shift); i.hi == 0 && i.lo <= s.last {
				return index + i.lo, i.left(shift) == d
			}
		}
		index += s.last + 1
	}
	return 0, false
}

// at is the inverse of index.
func (p *pool) at(index uint64) netip.Addr {
	for _, s := range p.spans {
		if index <= s.last {
			return s.first.plus(number{lo: index}.left(128 - p.length)).addr()
		}
		index -= s.last + 1
	}
	return netip.Addr{}
}

// holds reports whether a lease is of one of the places. Of a prefix it may be the
// beginning only.
func (p *pool) holds(x netip.Prefix) bool {
	if p.length == 128 != (x.Bits() == 128) || x.Bits() < p.length || x.Bits() > max(p.length, smallest) {
		return false
	}
	_, ok := p.index(x.Addr())
	return ok
}

func (p *pool) take(a netip.Addr) {
	if i, ok := p.index(a); ok && p.table != nil {
		p.table.Take(int(i))
	}
}

func (p *pool) give(a netip.Addr) {
	if i, ok := p.index(a); ok && p.table != nil {
		p.table.Give(int(i))
	}
}

// next finds a place for which free is true, beginning with the one that a hash says.
func (p *pool) next(hash uint64, free func(netip.Addr) bool) (netip.Addr, bool) {
	if p.size == 0 {
		return netip.Addr{}, false
	}
	i := hash % p.size
	for range maxTries {
		if p.table != nil {
			n, ok := p.table.Next(int(i))
			if !ok {
				return netip.Addr{}, false
			}
			i = uint64(n)
		}
		if a := p.at(i); free(a) {
			return a, true
		}
		if i++; p.table == nil {
			hash = scatter(hash)
			i = hash % p.size
		}
		i %= p.size
	}
	return netip.Addr{}, false
}

// scatter makes of a hash the next one (the output function of SplitMix64).
func scatter(h uint64) uint64 {
	h += 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
