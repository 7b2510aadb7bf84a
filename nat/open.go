package nat

import "github.com/weft/weft/dataplane/frame"

// opening is a packet that may open a flow.
type opening struct {
	d   direction
	f   *frame.Frame
	p   *frame.Parsed
	now uint32
	via uint16  // where it came in from inside
	seg segment // of TCP
}

// mayOpen reads the packet, and reports whether a flow may begin with it. TCP
// may be picked up in the middle, since its flow may have been lost by a restart;
// but a reset ends what is not there.
func (o *opening) mayOpen() bool {
	if o.p.Protocol != frame.ProtoTCP {
		return true
	}
	o.seg.read(o.f, o.p)
	return o.seg.plausible() && !o.seg.has(tcpRST)
}

// openOut makes the flow of a packet from inside. It returns again where there
// is one meanwhile.
func (t *Table) openOut(k *tuple, o *opening) (*flow, Verdict) {
	if !o.mayOpen() {
		return nil, Invalid
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tick(o.now)
	if t.stillThere(t.findOut(k), o.now) {
		return nil, again
	}
	z := t.zone(k.zone)
	if z == nil {
		return nil, PortsFull
	}
	h := z.host(k.local.Addr)
	if h.flows == 0 {
		h.entrance = z.entrance(o.via)
	}
	if v := t.makeRoom(h); v != Translated {
		return nil, z.refuse(k.protocol, v)
	}
	fl := &flow{protocol: k.protocol, zone: z.id, inside: k.local, remote: k.remote, host: h}
	v := Translated
	if z.rules.Load().prefixes.find(&k.local.Addr) != nil {
		v = t.placeDirect(fl, k)
	} else {
		v = t.placeBehind(fl, k)
	}
	if v != Translated {
		return nil, z.refuse(k.protocol, v)
	}
	t.begin(fl, o)
	return fl, Translated
}

// placeBehind gives a new flow its outside endpoint at one of the outside addresses,
// which it shares with others. It returns Translated, or why there is none.
func (t *Table) placeBehind(fl *flow, k *tuple) Verdict {
	h := fl.host
	if classOf(k.protocol) == ClassOther {
		a := t.addressOf(h)
		if a == nil {
			return PortsFull
		}
		fl.outside = Endpoint{Addr: a.addr}
		if !t.isFree(k, &fl.outside) {
			return Unsupported
		}
	} else {
		if fl.mapping = t.mapOutHard(h, k); fl.mapping == nil {
			return PortsFull
		}
		fl.outside = fl.mapping.outside
	}
	t.keepAddress(h, &fl.outside)
	return Translated
}

// mapOutHard is mapOut, with the ports of flows that are over where no other is
// free.
func (t *Table) mapOutHard(h *host, k *tuple) *mapping {
	m := t.mapOut(h, k)
	for n := 0; m == nil && n < maxReclaim && len(h.zone.addrs[familyOf(&h.addr)]) > 0 && t.reclaimAny(h.zone, (*Table).reclaimOver); n++ {
		m = t.mapOut(h, k)
	}
	return m
}

// stillThere reports whether a flow is alive, and takes it away where it is not.
func (t *Table) stillThere(fl *flow, now uint32) bool {
	if fl == nil {
		return false
	}
	if fl.alive(now) {
		return true
	}
	t.expired(fl)
	return false
}

// host returns an inside host. It is in z.hosts for as long as it has flows.
func (z *zone) host(addr [16]byte) *host {
	if h := z.hosts[addr]; h != nil {
		return h
	}
	return &host{addr: addr, zone: z}
}

// makeRoom reports whether a host may have one more flow, Translated, or what
// keeps it from that.
func (t *Table) makeRoom(h *host) Verdict {
	z := h.zone
	r := z.rules.Load()
	if h.flows >= r.MaxPerHost && (!t.reclaim(h) || h.flows >= r.MaxPerHost) {
		return HostFull
	}
	if h.entrance != nil && z.fullOf(h.entrance) && (!t.reclaim(h) || z.fullOf(h.entrance)) {
		return HostFull
	}
	if z.flows >= r.MaxFlows && (!t.reclaimAny(z, (*Table).reclaim) || z.flows >= r.MaxFlows) {
		return TableFull
	}
	return Translated
}

// refuse counts a new flow that was not made.
func (z *zone) refuse(protocol uint8, v Verdict) Verdict {
	s := &z.stats[classOf(protocol)]
	switch v {
	case TableFull:
		s.TableFull++
	case HostFull:
		s.HostFull++
	case PortsFull:
		s.PortsFull++
	case Unsupported:
		s.Unsupported++
	}
	return v
}

// begin makes a new flow known, and takes its first packet into account.
func (t *Table) begin(fl *flow, o *opening) {
	r := fl.host.zone.rules.Load()
	seconds := uint32(0)
	if fl.protocol == frame.ProtoTCP {
		fl.track.begin(o.d, &o.seg)
		seconds = r.timeouts[tcpTimer(fl.track.state.Load())]
	} else {
		fl.track.state.Store(flagSeen<<o.d | flagInward*uint32(o.d))
		seconds = r.timeouts[timerOf(fl.protocol)]
	}
	fl.expires.Store(o.now + seconds)
	fl.count(o.p)
	t.add(fl)
	if h := fl.host; o.d == inward && fl.track.setQueued() {
		h.offered.push(fl)
		h.zone.over.add(h)
	}
}
