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
	if q.Protocol == frame.ProtoICMP {
		k.remote.Port = 0 // the identifier is the asker's
	}
	fl := t.findIn(&k)
	if fl == nil || !fl.alive(now) || t.zone(fl.zone) == nil {
		return Result{Verdict: NotMine}
	}
	// Somebody who guesses ports cannot have seen what was sent (RFC 5927 clause
	// 4.1).
	if q.HasSeq && !fl.track.wasSent(outward, q.Seq) {
		return Result{Verdict: Invalid, Zone: fl.zone}
	}
	q.setSource(f, p, fl.inside)
	setDestination(f, p, Endpoint{Addr: fl.inside.Addr})
	return Result{Verdict: Translated, Zone: fl.zone}
}

// outboundError translates an ICMP error about a packet that came in: the quoted
// destination becomes the outside endpoint, and the source of the error, be it
// the inside endpoint or a router before it, the outside address (RFC 5508
// REQ-5).
func (t *Table) outboundError(z Zone, f *frame.Frame, p *frame.Parsed, now uint32) Verdict {
	q, ok := parseQuote(f, p)
	if !ok {
		return Invalid
	}
	k := tuple{protocol: q.Protocol, zone: z, local: q.Dst, remote: q.Src}
	if q.Protocol == frame.ProtoICMP {
		k.remote.Port = 0
	}
	fl := t.findOut(&k)
	if fl == nil || !fl.alive(now) || t.zone(z) == nil {
		return Invalid // about nothing that came through here
	}
	if q.HasSeq && !fl.track.wasSent(inward, q.Seq) {
		return Invalid
	}
	q.setDestination(f, p, fl.outside)
	setSource(f, p, Endpoint{Addr: fl.outside.Addr})
	return Translated
}
