package dhcp6

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"

	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// maxPerClient bounds the leases of one DUID. A machine has some two; each more is
// another made-up IAID.
const maxPerClient = 32

// maxPrefixes bounds the prefixes that are given: each is a route, and a link has few
// routers, but a guest as many DUIDs as it likes.
const maxPrefixes = 1024

// choose finds what an identity association gets: its reserved address, what it has
// or had last, what it asks for, what its DUID and IAID say, and at last that whose
// lease is over for the longest time.
func (e *engine) choose(now lease.Instant, c client, m *message, a *ia) (netip.Prefix, bool) {
	if p, ok := e.reserved(now, c, m, a); ok {
		return p, e.mayHold(e.bindings[p.Addr()])
	}
	for _, b := range e.leases(c, a) {
		if e.entitled(c, a, b.prefix) {
			return b.prefix, b.state == dhcp.Active || e.mayHold(b) && e.mayTake(m.port, a)
		}
	}
	if !e.mayHold(nil) || !e.mayTake(m.port, a) || !e.mayKeep(now, c) {
		return netip.Prefix{}, false
	}
	pools := e.poolsFor(a)
	for _, p := range pools {
		for _, claim := range a.claims {
			if x, ok := e.claim(p, a, claim); ok {
				return x, true
			}
		}
	}
	for _, p := range pools {
		if addr, ok := p.next(hashOf(c, a), e.isFree); ok {
			return p.place(addr, a), true
		}
	}
	for _, p := range pools {
		// The heap's first is the oldest; it is another only beside what was in other
		// pools.
		for i, b := range p.idle {
			if b.free > now.Mono || i == maxTries {
				break
			}
			if !e.overlaps(b.prefix.Addr()) {
				return p.place(b.prefix.Addr(), a), true
			}
		}
	}
	return netip.Prefix{}, false
}

// hashOf is the number that says what an identity association gets, so that it gets
// the same where the store was lost.
func hashOf(c client, a *ia) uint64 {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint32([]byte{byte(a.kind)}, a.iaid))
	h.Write([]byte(c.key))
	return scatter(h.Sum64())
}

// poolsFor returns the pools to be asked, in this order. Of prefixes it is first the
// one whose length is nearest to what is wished for and holds it, then what is
// smaller (RFC 8168 section 3.2).
func (e *engine) poolsFor(a *ia) []*pool {
	if !a.delegates() {
		return e.pools[:1]
	}
	pools := slices.Clone(e.pools[1:])
	if a.hint == 0 {
		return pools
	}
	distance := func(p *pool) int {
		if p.length <= a.hint {
			return a.hint - p.length
		}
		return 128 + p.length - a.hint
	}
	slices.SortStableFunc(pools, func(p, q *pool) int { return cmp.Compare(distance(p), distance(q)) })
	return pools
}

// place is what a client gets of a place: all of it, but for a prefix that is to be
// smaller.
func (p *pool) place(addr netip.Addr, a *ia) netip.Prefix {
	bits := p.length
	if a.delegates() {
		bits = max(bits, min(a.hint, smallest))
	}
	return netip.PrefixFrom(addr, bits)
}

// claim returns the place of a pool that is in what a client asks for, if nobody has
// it.
func (e *engine) claim(p *pool, a *ia, claim netip.Prefix) (netip.Prefix, bool) {
	if claim.Bits() < p.length {
		return netip.Prefix{}, false
	}
	x := netip.PrefixFrom(claim.Addr(), p.length).Masked()
	if _, ok := p.index(x.Addr()); !ok || !e.isFree(x.Addr()) {
		return netip.Prefix{}, false
	}
	return p.place(x.Addr(), a), true
}

// isFree reports whether a place can be given to anybody.
func (e *engine) isFree(a netip.Addr) bool {
	return e.bindings[a] == nil && e.set.hostsByAddr[a] == nil && !e.set.blocked(a) && !e.overlaps(a)
}

// overlaps reports whether a place has part of it in a lease of what was in other
// pools, before the configuration changed.
func (e *engine) overlaps(a netip.Addr) bool {
	if len(e.strays) == 0 {
		return false
	}
	place := netip.PrefixFrom(a, 128)
	for _, p := range e.pools {
		if _, ok := p.index(a); ok {
			place = netip.PrefixFrom(a, p.length)
		}
	}
	for b := range e.strays {
		if b.prefix.Overlaps(place) && b.prefix != place {
			return true
		}
	}
	return false
}

// reserved returns the address that is reserved for a client, unless somebody else
// has it for the time being.
func (e *engine) reserved(now lease.Instant, c client, m *message, a *ia) (netip.Prefix, bool) {
	if c.host == nil || a.delegates() || !c.host.Address.IsValid() || e.overlaps(c.host.Address) {
		return netip.Prefix{}, false
	}
	b := e.bindings[c.host.Address]
	ok := b == nil || b.of(c.key, a) || b.state == dhcp.Expired && b.free <= now.Mono || e.succeeds(c, m, b)
	return netip.PrefixFrom(c.host.Address, 128), ok
}

// succeeds reports whether a client may take over what is reserved for it from
// another identity that has it: firmware, installer and system on one machine have a
// DUID or an IAID each, and are one client there. Not from one that asks in the same
// message.
func (e *engine) succeeds(c client, m *message, b *binding) bool {
	if b.state == dhcp.Declined || b.key == "" || b.mac != m.mac || !e.set.belongs(c.host, b.key, b.mac) {
		return false
	}
	return b.key != c.key || m.ia(optIANA, b.iaid) == nil
}

// entitled reports whether a client may go on using what it has, where the address that
// is reserved for it can not be had.
func (e *engine) entitled(c client, a *ia, x netip.Prefix) bool {
	if h := e.set.hostsByAddr[x.Addr()]; h != nil && !a.delegates() {
		return h == c.host
	}
	return e.poolOf(x) != nil && !e.kept(x)
}

// mayHold reports whether one more lease may be active, which is b's; nil for a new
// one.
func (e *engine) mayHold(b *binding) bool {
	return b != nil && b.state == dhcp.Active || e.set.MaxLeases == 0 || e.count[dhcp.Active] < e.set.MaxLeases
}

// capacity is how much there is to give of a kind.
func (e *engine) capacity(kind int) int {
	n := uint64(0)
	for i, p := range e.pools {
		if kindOf(i > 0) == kind {
			n = min(n+min(p.size, uint64(e.most)), uint64(e.most))
		}
	}
	if kind == kindOf(true) {
		n = min(n, maxPrefixes)
	}
	if e.set.MaxLeases > 0 {
		n = min(n, uint64(e.set.MaxLeases))
	}
	return int(n)
}

// share is how much of it those behind one port get in any case: a quarter, but
// where there is little never more than half.
func share(capacity int) int {
	return min(max(16, capacity/4), max(1, capacity/2))
}

// mayTake reports whether those behind a port may have one more: they are below
// their share, or leave enough for others.
func (e *engine) mayTake(port string, a *ia) bool {
	kind := kindOf(a.delegates())
	capacity := e.capacity(kind)
	u := e.ports[port]
	if e.taken[kind] >= capacity {
		return false
	}
	return u == nil || u.taken[kind] < share(capacity) || capacity-e.taken[kind] > capacity/4
}

// mayKeep reports whether there is room to know of one more lease. What is over for
// the longest time makes room.
func (e *engine) mayKeep(now lease.Instant, c client) bool {
	if own := e.clients[c.key]; len(own) >= maxPerClient {
		i := slices.IndexFunc(own, func(b *binding) bool { return b.state == dhcp.Expired && b.free <= now.Mono })
		if i < 0 {
			return false
		}
		e.evict(own[i])
	}
	if len(e.bindings) < e.most {
		return true
	}
	var oldest *binding
	for _, p := range e.pools {
		if b, ok := p.idle.Top(); ok && b.free <= now.Mono && (oldest == nil || b.free < oldest.free) {
			oldest = b
		}
	}
	if oldest != nil {
		e.evict(oldest)
	}
	return oldest != nil
}

// evict forgets a lease that is over, unless that is taken back.
func (e *engine) evict(b *binding) {
	e.touch(b)
	e.forget(b)
}
