package nat

// Flows of a PrefixMap have their outside endpoint by a rule and share it with nobody,
// so there is no port to be chosen. All else is as with every other flow: what comes
// from outside belongs to one, or to a mapping that lets it in, or goes nowhere.

// askedOutside stands in a tuple for the remote port of an ICMP query that was asked
// from outside. The identifier is that of the asker, whichever end that is, and lies
// at the local end, where a translation finds it; and so the same identifier may be
// asked by both ends at once.
const askedOutside = 1

// outward returns what the prefixes of a zone make of an inside address. ok is false
// where no prefix has it, or RFC 6296 leaves it out.
func (z *zone) outward(inside [16]byte) (outside [16]byte, ok bool) {
	r := z.rules.Load().prefixes.find(&inside)
	if r == nil {
		return inside, false
	}
	return r.apply(&inside)
}

// translates reports whether an inside address is that outside one.
func (z *zone) translates(inside, outside *[16]byte) bool {
	to, ok := z.outward(*inside)
	return ok && to == *outside
}

// placeDirect gives a new flow from inside its outside endpoint by prefix. It returns
// Translated, or why there is none.
func (t *Table) placeDirect(fl *flow, k *tuple) Verdict {
	z := fl.host.zone
	addr, ok := z.outward(k.local.Addr)
	if !ok || t.has(&addr) {
		return PortsFull // no outside address is this one's
	}
	fl.direct, fl.outside = true, Endpoint{Addr: addr, Port: k.local.Port}
	if classOf(k.protocol) >= ClassICMP {
		if !t.isFree(k, &fl.outside) {
			return Unsupported
		}
		return Translated
	}
	if m := t.mappingOf(z.id, k.protocol, &k.local); m != nil {
		if t.usable(m) && t.isFree(k, &m.outside) && !m.retired {
			fl.mapping, fl.outside = m, m.outside
			return Translated
		}
		t.retire(m)
	}
	if port, ok := t.catalog.Load().inside(z.id, k.protocol, &k.local, addr); ok {
		if at := (Endpoint{Addr: addr, Port: port}); t.isFree(k, &at) {
			fl.outside, fl.mapping = at, t.mapTo(z, k.protocol, k.local, nil, at)
			return Translated
		}
	}
	if !t.isFree(k, &fl.outside) {
		return PortsFull
	}
	fl.mapping = t.mapDirect(z, k.protocol, k.local, fl.outside)
	return Translated
}

// mapDirect returns the mapping of an inside endpoint to the outside one that a prefix
// gives it. It is nil where the port is published, or was, for another endpoint: then
// the flow is let in and nobody else. The caller holds the lock.
func (t *Table) mapDirect(z *zone, protocol uint8, inside, outside Endpoint) *mapping {
	if classOf(protocol) >= ClassICMP {
		return nil
	}
	if m := t.mappingAt(protocol, &outside); m != nil {
		if m.zone == z && m.inside == inside && t.usable(m) {
			return m
		}
		return nil
	}
	if t.catalog.Load().outside(protocol, &outside) != nil {
		return nil
	}
	return t.newMapping(z, protocol, inside, nil, outside, t.mappingOf(z.id, protocol, &inside) != nil)
}

// usableDirect is usable for a mapping of a prefix.
func (t *Table) usableDirect(m *mapping) bool {
	if t.zone(m.zone.id) != m.zone || !m.zone.translates(&m.inside.Addr, &m.outside.Addr) {
		return false
	}
	if p := t.catalog.Load().outside(m.protocol, &m.outside); p != nil {
		return p.zone == m.zone.id && p.target(m.outside.Port) == m.inside
	}
	return !m.public
}

// admitsOpen says where a packet from outside leads by the prefix of an open zone:
// NotMine where there is none. It needs no lock.
func (t *Table) admitsOpen(all *catalog, k *tuple) admission {
	r := all.prefixes.find(&k.local.Addr)
	if r == nil || !r.open || t.has(&k.local.Addr) {
		return admission{verdict: NotMine}
	}
	if isICMP(k.protocol) && k.remote.Port != askedOutside {
		return admission{verdict: NotMine} // an answer to what nobody has asked
	}
	inside, ok := r.apply(&k.local.Addr)
	z := t.zone(r.zone)
	// A longer prefix may translate the inside address to another one.
	if !ok || z == nil || !z.translates(&inside, &k.local.Addr) {
		return admission{verdict: NotMine}
	}
	return admission{verdict: Translated, rule: r, inside: Endpoint{Addr: inside, Port: k.local.Port}}
}
