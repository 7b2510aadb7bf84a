package nat

import (
	"math/bits"
	"math/rand/v2"
)

// portPool is the ports of one outside address and protocol, or its ICMP
// identifiers. A port that is asked for is given where it is free. Otherwise one
// is chosen of the same parity and range class where there is one (RFC 4787 REQ-3
// and REQ-4): one that was never used, at random (RFC 6056), and when there is
// none left the one that has been free the longest (RFC 6888 REQ-8).
//
// The caller holds the table's lock. The work of one call is bounded: a scan of
// the whole range looks at a thousand words, and what finds nothing is not
// tried again until something has become free.
type portPool struct {
	class Class

	used     PortSet // has a mapping
	seen     PortSet // has or had one
	reserved PortSet // published, or set aside otherwise: not for choosing

	// further counts the mappings of a port beyond the first: a new publish and
	// the mapping that it has replaced.
	further map[uint16]int

	free  [2]portList // ports that are seen and not used, by parity, oldest first
	pages [64]*[1024]portLink

	stale map[span]bool   // has no port left that was never used
	dry   map[span]uint64 // had none to give at that epoch
	epoch uint64
}

// span is the ports from first to last of one parity.
type span struct {
	first, last, parity uint16
}

// portList chains free ports. Port 0, which is never chosen, ends it.
type portList struct{ head, tail uint16 }

type portLink struct{ prev, next uint16 }

const (
	// privileged is the first port of the upper range class.
	privileged = 1024

	// randomTries find a port that was never used while some 30 % are.
	randomTries = 8

	// maxWalk bounds the search for a free port that is in range.
	maxWalk = 32
)

func newPortPool(c Class) *portPool {
	return &portPool{class: c, further: map[uint16]int{}, stale: map[span]bool{}, dry: map[span]uint64{}}
}

// choose returns a free port from first to last that is not taken, as near to
// the wanted one as it can. The port is free until acquire.
func (p *portPool) choose(wanted, first, last uint16, taken *PortSet) (port uint16, ok bool) {
	if wanted >= first && wanted <= last && p.eligible(wanted, taken) {
		return wanted, true
	}
	spans, n := spansOf(wanted, first, last)
	for _, s := range spans[:n] {
		if port := p.pick(s, taken); port != 0 {
			return port, true
		}
	}
	return 0, false
}

// spansOf returns the spans of a range in the order in which they suit the
// wanted port: of its class before the other one, of its parity before the
// other one.
func spansOf(wanted, first, last uint16) (spans [4]span, n int) {
	low, high := span{first: first, last: min(last, privileged-1)}, span{first: max(first, privileged), last: last}
	classes := [2]span{high, low}
	if wanted < privileged {
		classes = [2]span{low, high}
	}
	for _, c := range classes {
		if c.first > c.last {
			continue
		}
		for i := range uint16(2) {
			c.parity = (wanted + i) & 1
			spans[n] = c
			n++
		}
	}
	return spans, n
}

func (p *portPool) eligible(port uint16, taken *PortSet) bool {
	return port != 0 && !p.used.Has(port) && !p.reserved.Has(port) && (taken == nil || !taken.Has(port))
}

// pick returns a port of the span, or 0.
func (p *portPool) pick(s span, taken *PortSet) uint16 {
	if epoch, ok := p.dry[s]; ok && epoch == p.epoch {
		return 0
	}
	if !p.stale[s] {
		if port := p.pickUnseen(s, taken); port != 0 {
			return port
		}
		p.stale[s] = true
	}
	if port := p.pickOldest(s, taken); port != 0 {
		return port
	}
	port := p.scan(s, taken, false)
	if port == 0 {
		p.dry[s] = p.epoch
	}
	return port
}

// pickUnseen returns a port that was never used, or 0.
func (p *portPool) pickUnseen(s span, taken *PortSet) uint16 {
	for range randomTries {
		port := s.first + uint16(rand.Uint32N(uint32(s.last-s.first)+1))
		if port&1 != s.parity {
			port ^= 1
		}
		if port >= s.first && port <= s.last && !p.seen.Has(port) && p.eligible(port, taken) {
			return port
		}
	}
	return p.scan(s, taken, true)
}

// pickOldest returns the port that has been free the longest, or 0 where the
// ones that were freed first are all out of range or not for choosing.
func (p *portPool) pickOldest(s span, taken *PortSet) uint16 {
	port := p.free[s.parity].head
	for n := 0; port != 0 && n < maxWalk; n++ {
		if port >= s.first && port <= s.last && p.eligible(port, taken) {
			return port
		}
		port = p.link(port).next
	}
	return 0
}

// scan returns any port of the span, or of those that were never used, from a
// random place on. It returns 0 where there is none.
func (p *portPool) scan(s span, taken *PortSet, unseen bool) uint16 {
	lo, hi := int(s.first>>6), int(s.last>>6)
	n := hi - lo + 1
	start := rand.IntN(n)
	for i := range n {
		w := lo + (start+i)%n
		busy := p.used[w] | p.reserved[w]
		if unseen {
			busy |= p.seen[w]
		}
		if taken != nil {
			busy |= taken[w]
		}
		if free := ^busy & s.mask(w); free != 0 {
			return uint16(w<<6 + bits.TrailingZeros64(free))
		}
	}
	return 0
}

// mask returns the ports of the span in a word of a PortSet.
func (s span) mask(word int) uint64 {
	m := uint64(0x5555555555555555) << s.parity
	if word == int(s.first>>6) {
		m &= ^uint64(0) << (s.first & 63)
	}
	if word == int(s.last>>6) {
		m &= ^uint64(0) >> (63 - s.last&63)
	}
	if word == 0 {
		m &^= 1
	}
	return m
}

// acquire notes that one more mapping has the port, be it chosen or not. It is
// not port 0.
func (p *portPool) acquire(port uint16) {
	if p.used.Has(port) {
		p.further[port]++
		return
	}
	if p.seen.Has(port) {
		p.unlink(port)
	}
	p.used.Add(port)
	p.seen.Add(port)
}

// release is the inverse of acquire.
func (p *portPool) release(port uint16) {
	if n := p.further[port]; n > 0 {
		if p.further[port]--; n == 1 {
			delete(p.further, port)
		}
		return
	}
	p.used.Remove(port)
	p.epoch++
	p.append(port)
}

func (p *portPool) link(port uint16) *portLink {
	page := p.pages[port>>10]
	if page == nil {
		page = new([1024]portLink)
		p.pages[port>>10] = page
	}
	return &page[port&1023]
}

func (p *portPool) append(port uint16) {
	l := &p.free[port&1]
	*p.link(port) = portLink{prev: l.tail}
	if l.tail != 0 {
		p.link(l.tail).next = port
	} else {
		l.head = port
	}
	l.tail = port
}

func (p *portPool) unlink(port uint16) {
	l, at := &p.free[port&1], p.link(port)
	if at.prev != 0 {
		p.link(at.prev).next = at.next
	} else {
		l.head = at.next
	}
	if at.next != 0 {
		p.link(at.next).prev = at.prev
	} else {
		l.tail = at.prev
	}
}
