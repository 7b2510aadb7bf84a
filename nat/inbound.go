package nat

import "github.com/weft/weft/dataplane/frame"

// Inbound translates a packet on its way from outside to an outside address, or to one
// of an outside prefix: its destination is rewritten in place. f, p and now are as in
// Outbound. What is for an address of a prefix is never NotMine, as it is nobody
// else's: where no flow has it and it may open none, it is Filtered.
func (t *Table) Inbound(f *frame.Frame, p *frame.Parsed, now uint32) Result {
	switch {
	case p.IPVersion != 4 && p.IPVersion != 6:
		return Result{Verdict: NotMine}
	case p.IPVersion == 6 && !isSound(f, p):
		return Result{Verdict: Invalid}
	case p.IsFragment():
		return t.inboundFragment(f, p, now)
	case isICMP(p.Protocol) && isICMPError(f, p):
		return t.inboundError(f, p, now)
	}
	fl, v := t.arriving(f, p, now)
	if v != Translated {
		return Result{Verdict: t.unclaimed(v, p)}
	}
	setDestination(f, p, &fl.inside)
	return Result{Verdict: Translated, Zone: fl.zone}
}

// arriving returns the flow of a packet from outside, which it makes where that
// is allowed.
func (t *Table) arriving(f *frame.Frame, p *frame.Parsed, now uint32) (*flow, Verdict) {
	if !hasHeader(p) {
		return nil, Invalid
	}
	k := tuple{protocol: p.Protocol}
	k.local = Endpoint{Addr: p.Dst(), Port: p.DstPort}
	k.remote = Endpoint{Addr: p.Src(), Port: p.SrcPort}
	if isICMP(p.Protocol) {
		id, ok := queryID(f, p)
		if !ok {
			return nil, ofHost(f, p)
		}
		k.local.Port = id
		if asks(f, p) {
			k.remote.Port = askedOutside
		}
	}
	for range maxTries {
		if fl := t.findIn(&k); fl != nil && fl.alive(now) {
			if v := t.pass(fl, inward, f, p, now); v != again {
				return fl, v
			}
		}
		if v := t.admits(&k).verdict; v != Translated && v != again {
			return nil, v
		}
		o := opening{d: inward, f: f, p: p, now: now}
		if fl, v := t.openIn(&k, &o); v != again {
			return fl, v
		}
	}
	return nil, Invalid
}

// ofHost returns the verdict on an ICMP message that is neither an error nor the
// answer to a query: it is for the uplink's own host, but for a redirect. That
// could be about a flow of the table, and then means nothing behind it.
func ofHost(f *frame.Frame, p *frame.Parsed) Verdict {
	const redirect = 5
	if p.Protocol == frame.ProtoICMP && f.Bytes()[p.L4] == redirect {
		return Invalid
	}
	return NotMine
}

// admission says where a packet from outside without a flow leads.
type admission struct {
	// verdict is Translated, NotMine, Filtered, or again where only the lock
	// makes sure.
	verdict Verdict
	publish *published
	mapping *mapping    // where publish is nil
	rule    *prefixRule // where both are: the zone is open
	inside  Endpoint    // where rule leads
}

// admits looks whether a new flow from outside is allowed. It needs no lock.
func (t *Table) admits(k *tuple) admission {
	c, all := classOf(k.protocol), t.catalog.Load()
	if p := all.outside(k.protocol, &k.local); p != nil {
		return admission{verdict: Translated, publish: p}
	}
	if a := t.admitsOpen(all, k); a.verdict == Translated {
		return a
	}
	if c == ClassOther || isICMP(k.protocol) && k.remote.Port == askedOutside {
		return admission{verdict: NotMine}
	}
	m := t.mappingAt(k.protocol, &k.local)
	if m == nil || m.address != nil && t.isTaken(c, k.local.Port) {
		return admission{verdict: NotMine}
	}
	return t.admitsTo(m, k)
}

// admitsTo is the filter of a mapping (RFC 4787 clause 5).
func (t *Table) admitsTo(m *mapping, k *tuple) admission {
	r := m.zone.rules.Load()
	switch {
	case m.public, classOf(k.protocol) == ClassICMP, m.shared, r.Symmetric, r.Filtering == ByEndpoint:
		return admission{verdict: Filtered}
	case r.Filtering == ByAddress:
		yes, sure := t.hasPeer(m, &Endpoint{Addr: k.remote.Addr})
		if !yes && sure {
			return admission{verdict: Filtered}
		}
		if !yes {
			return admission{verdict: again}
		}
	}
	return admission{verdict: Translated, mapping: m}
}

// openIn makes the flow of a packet from outside. It returns again where there
// is one meanwhile.
func (t *Table) openIn(k *tuple, o *opening) (*flow, Verdict) {
	if !o.mayOpen() {
		return nil, Invalid
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tick(o.now)
	if t.stillThere(t.findIn(k), o.now) {
		return nil, again
	}
	a := t.admits(k)
	if a.verdict != Translated {
		return nil, a.verdict
	}
	z, inside, v := t.leadsTo(k, &a)
	if v != Translated {
		return nil, v
	}
	h := z.host(inside.Addr)
	if v := t.makeRoom(h); v != Translated {
		return nil, z.refuse(k.protocol, v)
	}
	// An inside endpoint may be published twice. A peer that talks to both from
	// one port could not tell the answers apart, nor could the table.
	out := tuple{protocol: k.protocol, zone: z.id, local: inside, remote: k.remote}
	if t.stillThere(t.findOut(&out), o.now) {
		return nil, z.refuse(k.protocol, PortsFull)
	}
	m := a.mapping
	switch {
	case a.publish != nil:
		m = t.mapTo(z, k.protocol, inside, t.addressAt(z, k.local.Addr), k.local)
	case a.rule != nil:
		m = t.mapDirect(z, k.protocol, inside, k.local)
	case m.retired:
		return nil, NotMine // its last flow made room for this one
	}
	fl := &flow{protocol: k.protocol, zone: z.id, inside: inside, outside: k.local, remote: k.remote, host: h, mapping: m}
	fl.direct = m == nil || m.address == nil
	t.begin(fl, o)
	return fl, Translated
}

// leadsTo returns the zone and endpoint of an admission.
func (t *Table) leadsTo(k *tuple, a *admission) (*zone, Endpoint, Verdict) {
	if p := a.publish; p != nil {
		z := t.zone(p.zone)
		if z == nil || !p.direct && t.addressAt(z, p.addr) == nil {
			return nil, Endpoint{}, NotMine
		}
		return z, p.target(k.local.Port), Translated
	}
	if a.rule != nil {
		return t.zone(a.rule.zone), a.inside, Translated
	}
	if !t.usable(a.mapping) {
		t.retire(a.mapping)
		return nil, Endpoint{}, NotMine
	}
	return a.mapping.zone, a.mapping.inside, Translated
}

// inboundFragment translates one fragment: the first as any packet, and the
// others as the first.
func (t *Table) inboundFragment(f *frame.Frame, p *frame.Parsed, now uint32) Result {
	d := datagramOf(0, 0, p)
	if p.FragOffset != 0 {
		to, z, v := t.frags.later(d, f, p, now)
		if v == Translated {
			setDestination(f, p, &Endpoint{Addr: to})
		}
		return Result{Verdict: t.unclaimed(v, p), Zone: z}
	}
	v := Fragmented
	if hasHeader(p) {
		var fl *flow
		if fl, v = t.arriving(f, p, now); v == Translated {
			held, ok := t.frags.first(d, f, p, fl.inside.Addr, fl.zone, now)
			if !ok {
				return Result{Verdict: Fragmented}
			}
			setDestination(f, p, &fl.inside)
			return Result{Verdict: Translated, Zone: fl.zone, Released: held}
		}
	}
	v = t.unclaimed(v, p)
	t.frags.refuse(d, v, now)
	return Result{Verdict: v}
}
