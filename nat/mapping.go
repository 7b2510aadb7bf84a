package nat

// mapping is an outside port (or ICMP identifier) in use. It lives as long as it
// has flows.
//
// Where mapping is endpoint-independent it belongs to one inside endpoint, and
// is in both indexes. In a symmetric zone it is shared by flows of several
// inside endpoints to different remote ones; then inside is zero, and it is
// found from outside only. One that may get no more flows is retired: it is in
// no index, and holds its port until they end.
type mapping struct {
	id       uint64 // in peers
	inside   Endpoint
	outside  Endpoint
	protocol uint8
	shared   bool
	retired  bool
	public   bool // made for a publish: without that it gets no more flows
	open     bool // users has its port as one that anybody may use
	hidden   bool // not in byInside: its inside endpoint has another one for its own flows
	zone     *zone
	address  *address  // whose port it has; nil where a PrefixMap gives it its endpoint
	entrance *entrance // whose share it is of; nil where it is nobody's
	flows    int
}

func (m *mapping) insideTuple() tuple {
	return tuple{protocol: m.protocol, zone: m.zone.id, local: m.inside}
}

func (m *mapping) outsideTuple() tuple {
	return tuple{protocol: m.protocol, local: m.outside}
}

// find returns the mapping with the hash and tuple, by its inside endpoint or
// by its outside one. It needs no lock; see index.
func findMapping(x *index[mapping], hash uint64, k *tuple, inside bool) *mapping {
	buckets := *x.shards[hash>>x.shift].buckets.Load()
	mask, tag := uint64(len(buckets)-1), tagOf(hash)
	for n := uint64(0); n <= mask; n++ {
		b := &buckets[(hash+n)&mask]
		tags := b.tags.Load()
		for s := matches(tags, tag); s != 0; s &= s - 1 {
			m := b.entries[slotOf(s)].Load()
			if m == nil || m.protocol != k.protocol {
				continue
			}
			if inside && m.inside == k.local && m.zone.id == k.zone || !inside && m.outside == k.local {
				return m
			}
		}
		if tags>>passedShift == 0 {
			break
		}
	}
	return nil
}

// mappingOf returns the mapping of an inside endpoint, or nil.
func (t *Table) mappingOf(z Zone, protocol uint8, inside *Endpoint) *mapping {
	k := tuple{protocol: protocol, zone: z, local: *inside}
	return findMapping(&t.byInside, t.seed.hash(&k), &k, true)
}

// mappingAt returns the mapping with an outside endpoint, or nil.
func (t *Table) mappingAt(protocol uint8, outside *Endpoint) *mapping {
	k := tuple{protocol: protocol, local: *outside}
	return findMapping(&t.byOutside, t.seed.hash(&k), &k, false)
}

// newMapping makes a mapping known. The caller holds the lock, and adds a flow
// to it before he lets go. inside is zero for a shared one. A shared one is hidden,
// and so is that of an inside endpoint which has another one already. a is nil where
// a PrefixMap says what is outside.
func (t *Table) newMapping(z *zone, protocol uint8, inside Endpoint, a *address, outside Endpoint, hidden bool) *mapping {
	t.nextID++
	m := &mapping{
		id: t.nextID, protocol: protocol, zone: z, address: a,
		inside: inside, outside: outside,
		shared: inside == Endpoint{}, hidden: hidden,
	}
	if a != nil {
		t.acquire(m)
	}
	out := m.outsideTuple()
	t.byOutside.insert(t.seed.hash(&out), m)
	if !m.hidden {
		in := m.insideTuple()
		t.byInside.insert(t.seed.hash(&in), m)
	}
	return m
}

// acquire and release count the port of a mapping that has one of an address.
func (t *Table) acquire(m *mapping) {
	c, f := classOf(m.protocol), familyOf(&m.outside.Addr)
	m.address.pool(c).acquire(m.outside.Port)
	if m.open = t.opens(m); m.open {
		t.users.open(m.protocol, m.outside.Port)
	}
	m.zone.stats[c].Mappings++
	m.zone.ports[f][c]++
}

func (t *Table) release(m *mapping) {
	c, f := classOf(m.protocol), familyOf(&m.outside.Addr)
	m.address.pool(c).release(m.outside.Port)
	if m.open {
		t.users.close(m.protocol, m.outside.Port)
	}
	m.zone.stats[c].Mappings--
	m.zone.ports[f][c]--
	if m.entrance != nil {
		m.entrance.ports[f][c]--
	}
}

// opens reports whether anybody may use the port of a new mapping: it is published,
// or its zone does not filter; see admits.
func (t *Table) opens(m *mapping) bool {
	c, r := classOf(m.protocol), m.zone.rules.Load()
	return m.address.pool(c).reserved.Has(m.outside.Port) ||
		c != ClassICMP && r.Filtering == None && !r.Symmetric && !m.shared
}

// retire lets a mapping get no more flows.
func (t *Table) retire(m *mapping) {
	if m.retired {
		return
	}
	m.retired = true
	out := m.outsideTuple()
	t.byOutside.remove(t.seed.hash(&out), m)
	if !m.hidden {
		in := m.insideTuple()
		t.byInside.remove(t.seed.hash(&in), m)
	}
}

// usable reports whether a mapping may get another flow: its zone still has its
// address, or still translates to it, and its port is neither somebody else's nor
// published to another endpoint since.
func (t *Table) usable(m *mapping) bool {
	if m.address == nil {
		return t.usableDirect(m)
	}
	c := classOf(m.protocol)
	if !m.zone.uses[m.address] || !m.shared && m.zone.rules.Load().prefixes.find(&m.inside.Addr) != nil {
		return false
	}
	if m.address.pool(c).reserved.Has(m.outside.Port) {
		p := t.catalog.Load().outside(m.protocol, &m.outside)
		return p != nil && p.zone == m.zone.id && !m.shared && p.target(m.outside.Port) == m.inside
	}
	return !m.public && !t.isTaken(c, m.outside.Port)
}

// join and leave count a flow of a mapping. The last one to leave takes it away.
func (t *Table) join(f *flow) {
	f.mapping.flows++
	t.peers.add(t.peerHash(f))
}

func (t *Table) leave(f *flow) {
	m := f.mapping
	t.peers.remove(t.peerHash(f))
	if m.flows--; m.flows > 0 {
		return
	}
	t.retire(m)
	if m.address != nil {
		t.release(m)
	}
}

// peerHash returns what counts a flow in peers: by its remote address, which the
// filter asks for, or by its inside endpoint where the mapping is shared.
func (t *Table) peerHash(f *flow) uint64 {
	if f.mapping.shared {
		return t.seed.hashPeer(f.mapping.id, &f.inside)
	}
	return t.seed.hashPeer(f.mapping.id, &Endpoint{Addr: f.remote.Addr})
}

// hasPeer reports whether a mapping has a flow with the endpoint; see peerHash.
// It needs no lock; sure is false where a no may be wrong.
func (t *Table) hasPeer(m *mapping, e *Endpoint) (yes, sure bool) {
	return t.peers.has(t.seed.hashPeer(m.id, e))
}
