package nat

import "github.com/weft/weft/dataplane/frame"

// inboundError translates an ICMP error about a packet that left: the quoted
// source and the destination of the error become the inside endpoint's (RFC 5508
// REQ-4). Neither flow nor timer changes by it (REQ-6).
func (t *Table) inboundError(f *frame.Frame, p *frame.Parsed, now uint32) Result {
	q, ok := parseQuote(f, p)
	if !ok {
		return Result{Verdict: Invalid}
	}
	k := tuple{protocol: q.Protocol, local: q.Src, remote: q.Dst}
	if isICMP(q.Protocol) {
		k.remote.Port = q.marker(q.Asks)
	}
	fl := t.findIn(&k)
	if fl == nil || !fl.alive(now) || t.zone(fl.zone) == nil {
		return Result{Verdict: t.unclaimed(NotMine, p)}
	}
	// Somebody who guesses ports cannot have seen what was sent (RFC 5927 clause
	// 4.1).
	if q.HasSeq && !fl.track.wasSent(outward, q.Seq) {
		return Result{Verdict: Invalid, Zone: fl.zone}
	}
	q.setSource(f, p, fl.inside)
	setDestination(f, p, &Endpoint{Addr: fl.inside.Addr})
	return Result{Verdict: Translated, Zone: fl.zone}
}

// outboundError translates an ICMP error about a packet that came in: the quoted
// destination becomes the outside endpoint, and the source of the error, be it
// the inside endpoint or a router before it, the outside address (RFC 5508
// REQ-5). A router whose address a prefix translates has an outside one of its own.
func (t *Table) outboundError(z Zone, f *frame.Frame, p *frame.Parsed, now uint32) Verdict {
	q, ok := parseQuote(f, p)
	if !ok {
		return Invalid
	}
	k := tuple{protocol: q.Protocol, zone: z, local: q.Dst, remote: q.Src}
	if isICMP(q.Protocol) {
		k.remote.Port = q.marker(!q.Asks)
	}
	fl, zone := t.findOut(&k), t.zone(z)
	if fl == nil || !fl.alive(now) || zone == nil {
		return Invalid // about nothing that came through here
	}
	if q.HasSeq && !fl.track.wasSent(inward, q.Seq) {
		return Invalid
	}
	q.setDestination(f, p, fl.outside)
	from := fl.outside.Addr
	if fl.direct {
		if own, ok := zone.outward(p.Src()); ok {
			from = own
		}
	}
	setSource(f, p, &Endpoint{Addr: from})
	return Translated
}

// marker returns what stands for the remote port of the flow of a quoted query; see
// askedOutside.
func (q *quote) marker(fromInside bool) uint16 {
	if fromInside {
		return 0
	}
	return askedOutside
}
