package nat

import "github.com/weft/weft/dataplane/frame"

// Outbound translates a packet of zone z, of either family, on its way from inside to
// outside: its source is rewritten in place. p is what Parse made of f, with at least
// LayerNetwork, and is kept in step. now is the second of a clock that never
// goes back and starts at 1. The destination is neither a group nor a broadcast
// address, and IP header, TTL and MTU are the caller's business.
//
// via says where in the zone the packet has come in, as a number of a port of the
// switch: none of them may use everything up.
func (t *Table) Outbound(z Zone, via uint16, f *frame.Frame, p *frame.Parsed, now uint32) Result {
	switch {
	case p.IPVersion != 4 && (p.IPVersion != 6 || !isSound(f, p)):
		return Result{Verdict: Invalid, Zone: z}
	case p.IsFragment():
		return t.outboundFragment(z, via, f, p, now)
	case isICMP(p.Protocol) && isICMPError(f, p):
		return Result{Verdict: t.outboundError(z, f, p, now), Zone: z}
	}
	fl, v := t.leaving(z, via, f, p, now)
	if v == Translated {
		setSource(f, p, &fl.outside)
	}
	return Result{Verdict: v, Zone: z}
}

// leaving returns the flow of a packet from inside, which it makes at need.
func (t *Table) leaving(z Zone, via uint16, f *frame.Frame, p *frame.Parsed, now uint32) (*flow, Verdict) {
	if !hasHeader(p) {
		return nil, Invalid
	}
	k := tuple{protocol: p.Protocol, zone: z}
	k.local = Endpoint{Addr: p.Src(), Port: p.SrcPort}
	k.remote = Endpoint{Addr: p.Dst(), Port: p.DstPort}
	answers := false
	if isICMP(p.Protocol) {
		id, ok := queryID(f, p)
		if !ok {
			return nil, Invalid // a message between neighbours
		}
		k.local.Port = id
		if answers = !asks(f, p); answers {
			k.remote.Port = askedOutside
		}
	}
	for range maxTries {
		if fl := t.findOut(&k); fl != nil && fl.alive(now) {
			if v := t.pass(fl, outward, f, p, now); v == NotMine {
				return nil, PortsFull
			} else if v != again {
				return fl, v
			}
		}
		if answers {
			return nil, Invalid // what nobody has asked
		}
		o := opening{d: outward, f: f, p: p, now: now, via: via}
		if fl, v := t.openOut(&k, &o); v != again {
			return fl, v
		}
	}
	return nil, Invalid
}

// asks reports whether an ICMP query is one, and not its answer.
func asks(f *frame.Frame, p *frame.Parsed) bool {
	return isQuestion(p.Protocol, f.Bytes()[p.L4])
}

// outboundFragment translates one fragment: the first as any packet, and the
// others as the first.
func (t *Table) outboundFragment(z Zone, via uint16, f *frame.Frame, p *frame.Parsed, now uint32) Result {
	d := datagramOf(uint32(z)+1, via, p)
	if p.FragOffset != 0 {
		to, _, v := t.frags.later(d, f, p, now)
		if v == Translated {
			setSource(f, p, &Endpoint{Addr: to})
		}
		return Result{Verdict: v, Zone: z}
	}
	v := Fragmented
	if hasHeader(p) {
		var fl *flow
		if fl, v = t.leaving(z, via, f, p, now); v == Translated {
			held, ok := t.frags.first(d, f, p, fl.outside.Addr, z, now)
			if !ok {
				return Result{Verdict: Fragmented, Zone: z}
			}
			setSource(f, p, &fl.outside)
			return Result{Verdict: Translated, Zone: z, Released: held}
		}
	}
	t.frags.refuse(d, v, now)
	return Result{Verdict: v, Zone: z}
}
