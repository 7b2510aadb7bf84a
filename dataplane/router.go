package dataplane

import (
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
)

// The way of a packet that a station of one network sends to elsewhere, in the
// order of the functions below:
//
//	passOn       what came to the gateway's MAC address, for another IP address
//	  forwardable  is it well-formed, and may any router forward it? (forwardable.go)
//	  source       does its sender belong to this network?
//	  way          which network is it for? (routing.go)
//	  leave        to the uplink: translate it, or not
//	  toOwn        to this machine, or back to a station behind the same uplink
//	comeIn       what came to the uplink's MAC address
//	  inward       translate it back
//	visit        into another network
//	  fit          is it short enough? (cross.go)
//	cross        TTL, and the next hop's MAC address: then it is queued there
//
// A packet is rewritten where it lies: it goes to one station only, so that no
// other port sees its bytes. door.go says how a worker queues in another network.

// passOn takes a packet to the gateway's MAC address that is for another host.
func (w *worker) passOn(s *snapshot, in *ingress, f *frame.Frame, p *frame.Parsed) Verdict {
	r := s.router
	if v := forwardable(f, p); v.IsDrop() {
		return v
	}
	src, dst := source(f, p), destination(f, p)
	if !s.isInside(src) || s.gateway.isOwnOrAll(src) {
		return SourceAddress
	}
	if ttl(f, p) <= 1 {
		return w.refuse(s, f, p, timeExceeded, TTLExceeded)
	}
	y := r.way(dst)
	switch y.kind {
	case behind:
		return w.cross(w.through(s, 0), f, p, y.via, Forwarded)
	case toNetwork:
		return w.visit(s, f, p, y.door)
	case toUplink:
		return w.leave(s, in, f, p, dst)
	case toSockets:
		return w.punt(s.gateway.inboxes[Outside], nil, f, s.gateway.vlan)
	case toMachine:
		return w.toOwn(s, in, f, p, true)
	case barred:
		return w.refuse(s, f, p, prohibited, Prohibited)
	case here:
		return w.refuse(s, f, p, noHost, NoRoute)
	}
	return w.refuse(s, f, p, noNetwork, NoRoute)
}

// isInside reports whether an address is one of the network's, or of what is behind
// its stations.
func (s *snapshot) isInside(a netip.Addr) bool {
	if a.Is4() && s.gateway.subnet.Contains(a) {
		return true // most are, and this costs less
	}
	for i := range s.gateway.six.subnets {
		if s.gateway.six.subnets[i].Contains(a) {
			return true
		}
	}
	y := s.router.way(a)
	return y.kind == here || y.kind == behind
}

// isOutside reports whether the network would look for an address outside: it is none of
// its own, of other networks here, or of this machine.
func (s *snapshot) isOutside(a netip.Addr) bool {
	switch s.router.way(a).kind {
	case toUplink, toSockets, nowhere:
		return true
	}
	return false
}

// visit takes a packet into another network of the switch.
func (w *worker) visit(s *snapshot, f *frame.Frame, p *frame.Parsed, door int) Verdict {
	d := w.through(s, door)
	g, dst := d.s.gateway, destination(f, p)
	switch {
	case g != nil && g.isOwn(f, p) && isEcho(f, p):
		return w.answerEcho(s, f, p) // as any router is at all of its addresses
	case g == nil || g.isOwn(f, p):
		return w.refuse(s, f, p, noHost, NoRoute)
	}
	y := d.s.router.way(dst)
	switch {
	case y.kind != here && y.kind != behind:
		return w.refuse(s, f, p, noHost, NoRoute)
	case dst == g.all:
		return BadPacket // RFC 2644
	case s.gateway.uplink != nil && !d.s.isOutside(source(f, p)):
		return SourceAddress // nobody out there has an address of ours (RFC 2827)
	}
	return w.cross(d, f, p, y.next(dst), w.fit(s, d, f, p))
}

// leave takes a packet out by the uplink, in the uplink's name where it is
// translated.
func (w *worker) leave(s *snapshot, in *ingress, f *frame.Frame, p *frame.Parsed, dst netip.Addr) Verdict {
	r := s.router
	d := w.through(s, r.exit)
	g := d.s.gateway
	switch {
	case g == nil:
		return w.refuse(s, f, p, noNetwork, NoRoute)
	case g.table.Owns(p.Dst()):
		return w.toOwn(s, in, f, p, false)
	case dst == g.all:
		return BadPacket // RFC 2644
	}
	y := d.s.router.way(dst)
	by := r.treatment(p)
	if y.kind == toNetwork && by == Translated {
		return w.refuse(s, f, p, prohibited, Prohibited) // of the same uplink, but not in Reach
	}
	if y.kind != out {
		return w.refuse(s, f, p, noNetwork, NoRoute)
	}
	if v := w.fit(s, d, f, p); v.IsDrop() || by == Plain {
		return w.cross(d, f, p, y.next(dst), v)
	}
	res := g.table.Outbound(r.zone, uint16(w.port.index), f, p, d.now)
	v := natVerdicts[res.Verdict]
	switch res.Verdict {
	case nat.TableFull, nat.HostFull, nat.PortsFull, nat.Unsupported:
		return w.refuse(s, f, p, prohibited, v) // RFC 5508 REQ-8
	}
	v = w.cross(d, f, p, y.next(dst), v)
	for _, f := range res.Released {
		p.Parse(f)
		w.count(w.cross(d, f, p, y.next(dst), Forwarded))
	}
	return v
}

// toOwn takes a packet for an outside address, or for another one of this machine. It
// never goes by the wire, from where it would not come back. Where its port is
// mapped, it is for a station behind the uplink.
func (w *worker) toOwn(s *snapshot, in *ingress, f *frame.Frame, p *frame.Parsed, ofHost bool) Verdict {
	if s.router.treatment(p) != Plain {
		d := w.through(s, s.router.exit)
		if g := d.s.gateway; g != nil && g.table.Owns(p.Dst()) && g.table.Maps(f, p) {
			return w.hairpin(s, in, d, f, p, ofHost)
		}
	}
	return w.toHost(s, in, f, p, ofHost)
}

// toHost takes a packet to this machine, if that is allowed: by the host port, for the
// host finds it there to be its own; without one, by a socket. The address of an uplink
// that is weft's alone answers to echo, and to nothing else.
func (w *worker) toHost(s *snapshot, in *ingress, f *frame.Frame, p *frame.Parsed, ofHost bool) Verdict {
	g := s.gateway
	switch {
	case !ofHost && isEcho(f, p):
		return w.answerEcho(s, f, p)
	case s.router.sockets: // where it is known what is published
		return w.punt(g.inboxes[Outside], nil, f, g.vlan)
	case !ofHost || !s.router.reachHost:
	case g.host != noPort:
		return w.policy(s, in, f, g.vlan, g.host)
	case g.relay != nil:
		return w.punt(g.inboxes[Outside], nil, f, g.vlan)
	}
	return w.refuse(s, f, p, prohibited, Prohibited)
}

// hairpin takes a packet to a station that is behind the same uplink, from the
// outside address of its sender (RFC 4787 REQ-9).
func (w *worker) hairpin(s *snapshot, in *ingress, d *door, f *frame.Frame, p *frame.Parsed, ofHost bool) Verdict {
	w.quote(f, p)
	t := d.s.gateway.table
	res := t.Outbound(s.router.zone, uint16(w.port.index), f, p, d.now)
	v := natVerdicts[res.Verdict]
	switch {
	case v == Forwarded:
		v = w.inward(s, t, f, p, d.now)
	case res.Verdict == nat.Held && ofHost && s.router.reachHost:
		return w.toHost(s, in, f, p, ofHost) // too: perhaps it has got the first fragment
	}
	for _, f := range res.Released {
		p.Parse(f)
		w.count(w.inward(s, t, f, p, d.now))
	}
	return v
}

// comeIn takes a packet that has come to the uplink's MAC address.
func (w *worker) comeIn(s *snapshot, f *frame.Frame, p *frame.Parsed) Verdict {
	g, r := s.gateway, s.router
	if isForClient(p) {
		switch {
		case p.IPVersion == 4 && g.serves.client:
			return w.punt(g.inboxes[Client], nil, f, g.vlan)
		case p.IPVersion == 6 && g.serves.client6 && g.isOwn(f, p):
			return w.punt(g.inboxes[Client6], nil, f, g.vlan)
		}
	}
	if p.IPVersion == 6 && destination(f, p) == g.six.link && isEcho(f, p) {
		return w.answerEcho(s, f, p)
	}
	if v := forwardable(f, p); v.IsDrop() {
		return v
	}
	if !w.isFromOutside(s, f, p) {
		return SourceAddress
	}
	if g.table.Owns(p.Dst()) {
		if ttl(f, p) <= 1 && g.table.Maps(f, p) {
			return w.refuse(s, f, p, timeExceeded, TTLExceeded)
		}
		return w.inward(s, g.table, f, p, w.now)
	}
	y := r.way(destination(f, p))
	switch {
	case y.kind != toNetwork:
		return NoRoute // the senders are not told: they may be anybody
	case ttl(f, p) <= 1:
		return w.refuse(s, f, p, timeExceeded, TTLExceeded)
	case y.by == Tracked:
		return w.inward(s, g.table, f, p, w.now)
	}
	return w.visit(s, f, p, y.door)
}

// isFromOutside reports whether the source of a packet may be out there: it is none of
// the uplink's own, nor of what is routed to here (RFC 2827, RFC 1812 clause 5.3.8).
func (w *worker) isFromOutside(s *snapshot, f *frame.Frame, p *frame.Parsed) bool {
	src := source(f, p)
	if s.gateway.isOwnOrAll(src) || s.gateway.table.Owns(p.Src()) {
		return false
	}
	if !s.router.routed {
		return true
	}
	y := s.router.way(src)
	return y.kind != toNetwork
}

// inward translates a packet to an outside address, and takes it into the network
// that it is for. What nobody behind the uplink waits for may be for the uplink.
func (w *worker) inward(s *snapshot, t *nat.Table, f *frame.Frame, p *frame.Parsed, now uint32) Verdict {
	if len(w.quoted) == 0 && tooLong(f, s.router.narrowest) {
		w.quote(f, p)
	}
	res := t.Inbound(f, p, now)
	v := natVerdicts[res.Verdict]
	switch {
	case res.Verdict == nat.NotMine && s.gateway.uplink != nil && !s.gateway.shared && isEcho(f, p):
		return w.answerEcho(s, f, p)
	case v != Forwarded:
		return v
	}
	w.changed = true
	v = w.enter(s, f, p, res.Zone)
	for _, f := range res.Released {
		p.Parse(f)
		w.count(w.enter(s, f, p, res.Zone))
	}
	return v
}

// enter takes a packet into the network of a zone, if that may be reached from here.
func (w *worker) enter(s *snapshot, f *frame.Frame, p *frame.Parsed, z nat.Zone) Verdict {
	if int(z) >= len(s.router.doors) || s.router.doors[z] < 0 {
		return w.refuse(s, f, p, prohibited, Prohibited) // of the same uplink, but not in Reach
	}
	return w.visit(s, f, p, s.router.doors[z])
}

// count notes the loss of a frame that is not the one in hand: that one has waited for
// it, or is copied to several.
func (w *worker) count(v Verdict) {
	if v.IsDrop() {
		w.port.counters.drops[v].Add(1)
	}
}

// natVerdicts says what the verdict of a translation is for the frame.
var natVerdicts = [...]Verdict{
	nat.Translated:  Forwarded,
	nat.Held:        Consumed,
	nat.NotMine:     NoService,
	nat.Filtered:    NATFiltered,
	nat.Invalid:     NATInvalid,
	nat.TableFull:   NATTableFull,
	nat.HostFull:    NATHostFull,
	nat.PortsFull:   NATPortsFull,
	nat.Unsupported: NATUnsupported,
	nat.Fragmented:  NATFragment,
}
