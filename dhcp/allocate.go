package dhcp

import "hash/fnv"

// choose finds an address for a client that has to be offered one: its reserved
// one, what it is being offered already, what it had last, what it asks for, one
// that nobody ever had, and at last the one whose lease is over for the longest
// time.
func (e *engine) choose(c client, m *message) (a ip4, ok bool) {
	if a, ok := e.reserved(c); ok {
		return a, true
	}
	if b := e.offers[c.key]; b != nil && e.inRange(b.addr) {
		return b.addr, true
	}
	if b := e.last(c); b != nil {
		return b.addr, true
	}
	if e.pool.isFree(m.requested) {
		return m.requested, true
	}
	if e.pool.Size() == 0 {
		return 0, false
	}
	// By the client's key, so that it gets the same one where the store was lost.
	h := fnv.New64a()
	h.Write([]byte(c.key))
	if a, ok := e.pool.next(int(h.Sum64() % uint64(e.pool.Size()))); ok {
		return a, true
	}
	if b, ok := e.idle.Top(); ok {
		return b.addr, true
	}
	return 0, false
}

// reserved returns the address that is reserved for a client, unless somebody
// else has it for the time being.
func (e *engine) reserved(c client) (ip4, bool) {
	if c.host == nil || !c.host.Address.IsValid() {
		return 0, false
	}
	a := toIP4(c.host.Address)
	return a, e.obtainable(c, a)
}

// obtainable reports whether nobody but the client has an address, or is being
// offered it.
func (e *engine) obtainable(c client, a ip4) bool {
	b := e.bindings[a]
	if b == nil {
		return true
	}
	if b.offer != nil && !e.offeredTo(c, b) {
		return false
	}
	return b.state == Offered || b.state == Expired || e.holds(c, b)
}

// holds reports whether a client has an active lease of an address.
func (e *engine) holds(c client, b *binding) bool {
	return b.state == Active && e.set.is(c, b.key, b.mac, b.addr)
}

// had reports whether a client had an address last, or has it.
func (e *engine) had(c client, b *binding) bool {
	return b.owned() && e.set.is(c, b.key, b.mac, b.addr)
}

func (e *engine) offeredTo(c client, b *binding) bool {
	return b.offer != nil && e.set.is(c, b.offer.key, b.offer.mac, b.addr)
}

// inRange reports whether an address may be that of a client without a
// reservation.
func (e *engine) inRange(a ip4) bool {
	return e.pool.contains(a) && e.set.hostsByAddr[a] == nil && !e.set.blocked(a)
}

// last returns the address in a range that a client has, else the one it had
// last, unless it is being offered to another.
func (e *engine) last(c client) (best *binding) {
	e.each(c, func(b *binding) {
		if !e.inRange(b.addr) || b.offer != nil && !e.offeredTo(c, b) {
			return
		}
		if best == nil || b.state < best.state || b.state == best.state && b.granted > best.granted {
			best = b
		}
	})
	return best
}

// entitled reports whether a client may go on using an address that it has, or
// get one that it was offered. A reservation draws its client to its address as
// soon as that can be had.
func (e *engine) entitled(c client, a ip4) bool {
	if !e.set.inSubnet(a) || e.set.blocked(a) {
		return false
	}
	if h := e.set.hostsByAddr[a]; h != nil {
		return h == c.host
	}
	if _, better := e.reserved(c); better {
		return false
	}
	return e.pool.contains(a)
}
