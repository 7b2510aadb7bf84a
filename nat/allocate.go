package nat

// shareTries bounds the search for a shared port: some 10 us. The search is exact
// in a range of that size. In a larger one it fails once in 700 times where 19 of
// 20 ports are in use towards one destination.
const shareTries = 128

// mapOut returns the mapping for a new flow of an inside endpoint, or nil where
// no port is to be had. The caller holds the lock.
func (t *Table) mapOut(h *host, k *tuple) *mapping {
	z := h.zone
	r := z.rules.Load()
	if m := t.mappingOf(z.id, k.protocol, &k.local); m != nil && !r.Symmetric {
		if t.usable(m) && t.isFree(k, &m.outside) && !m.retired {
			return m
		}
		t.retire(m)
	}
	a := t.addressOf(h)
	if a == nil {
		return nil
	}
	if m := t.mapPublished(h, k, a); m != nil {
		return m
	}
	if r.Symmetric {
		return t.mapShared(h, k, a)
	}
	c := classOf(k.protocol)
	if !t.maySpend(h, c) {
		return nil
	}
	port, ok := a.pool(c).choose(k.local.Port, r.First, r.Last, t.takenOf(c))
	if !ok {
		return nil
	}
	m := t.newMapping(z, k.protocol, k.local, a, Endpoint{Addr: a.addr, Port: port}, false)
	if m.entrance = h.entrance; m.entrance != nil {
		m.entrance.ports[familyOf(&a.addr)][c]++
	}
	return m
}

// mapPublished returns the mapping of an inside endpoint that is published, nil
// where it is not.
func (t *Table) mapPublished(h *host, k *tuple, a *address) *mapping {
	port, ok := t.catalog.Load().inside(h.zone.id, k.protocol, &k.local, a.addr)
	if !ok {
		return nil
	}
	outside := Endpoint{Addr: a.addr, Port: port}
	if !t.isFree(k, &outside) {
		return nil
	}
	return t.mapTo(h.zone, k.protocol, k.local, a, outside)
}

// mapTo returns the mapping between a published port and the endpoint that it
// leads to. One that had the port before is retired. a is as in newMapping.
func (t *Table) mapTo(z *zone, protocol uint8, inside Endpoint, a *address, outside Endpoint) *mapping {
	m := t.mappingAt(protocol, &outside)
	if m != nil {
		if m.zone == z && m.inside == inside {
			return m
		}
		t.retire(m)
	}
	m = t.newMapping(z, protocol, inside, a, outside, t.mappingOf(z.id, protocol, &inside) != nil)
	m.public = true
	return m
}

// mapShared returns a mapping of a symmetric zone: on the port of the inside
// endpoint or a free one, and where there is none on one that others use towards
// other destinations. An inside endpoint gets a different port for each, as long
// as there is one.
func (t *Table) mapShared(h *host, k *tuple, a *address) *mapping {
	r, c := h.zone.rules.Load(), classOf(k.protocol)
	taken := t.takenOf(c)
	if k.local.Port >= r.First && k.local.Port <= r.Last {
		if m, same := t.joinable(h, k, a, k.local.Port); m != nil && !same {
			return m
		}
	}
	if port, ok := a.pool(c).choose(k.local.Port, r.First, r.Last, taken); ok {
		return t.newMapping(h.zone, k.protocol, Endpoint{}, a, Endpoint{Addr: a.addr, Port: port}, true)
	}
	size := int(r.Last-r.First) + 1
	start := int(t.seed.hash(k) % uint64(size))
	var last *mapping
	for i := range min(size, shareTries) {
		m, same := t.joinable(h, k, a, r.First+uint16((start+i)%size))
		if m != nil && !same {
			return m
		}
		if m != nil {
			last = m
		}
	}
	if last != nil && last.retired {
		return nil // its flows have made room since
	}
	return last
}

// joinable returns the shared mapping at a port where a flow may join it, and
// whether the same inside endpoint has it already, towards another destination.
func (t *Table) joinable(h *host, k *tuple, a *address, port uint16) (m *mapping, same bool) {
	outside := Endpoint{Addr: a.addr, Port: port}
	if !t.isFree(k, &outside) {
		return nil, false
	}
	m = t.mappingAt(k.protocol, &outside)
	if m == nil || !m.shared || m.zone != h.zone || !t.usable(m) {
		return nil, false
	}
	same, _ = t.hasPeer(m, &k.local)
	return m, same
}

// isFree reports whether no flow has an outside endpoint towards the remote one
// of k. A flow whose time is over makes room, and may take its mapping with it.
func (t *Table) isFree(k *tuple, outside *Endpoint) bool {
	in := tuple{protocol: k.protocol, local: *outside, remote: k.remote}
	f := t.findIn(&in)
	if f != nil && !f.alive(t.clock.Load()) {
		t.expired(f)
		f = nil
	}
	return f == nil
}

// addressOf returns the outside address of an inside host, which keeps it for as
// long as it has flows and its zone has the address. Which one it gets follows
// from its own address, so that it most often gets the same one again. nil:
// there is none.
func (t *Table) addressOf(h *host) *address {
	z := h.zone
	if h.out != nil && z.uses[h.out] {
		return h.out
	}
	addrs := z.addrs[familyOf(&h.addr)]
	n := len(addrs)
	if n == 0 {
		return nil
	}
	k := tuple{local: Endpoint{Addr: h.addr}}
	return addrs[t.seed.hash(&k)%uint64(n)]
}

// keepAddress makes the host keep the address of its first flow.
func (t *Table) keepAddress(h *host, outside *Endpoint) {
	if h.out == nil || !h.zone.uses[h.out] {
		h.out = t.addressAt(h.zone, outside.Addr)
	}
}
