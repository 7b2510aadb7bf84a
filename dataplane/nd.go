package dataplane

import (
	"net/netip"
	"slices"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// heed takes a valid message of neighbour discovery, which the gateway has been sent
// or has overheard, as a router and a host does (RFC 4861 clauses 6.2.6 and 7.2).
func (w *worker) heed(s *snapshot, f *frame.Frame, p *frame.Parsed) {
	g, message := s.gateway, f.Bytes()[p.L4:p.End]
	kind := message[0]
	if g.serves.client6 && kind != ndp.RouterSolicitation {
		w.tell(g.inboxes[Client6], f, g.vlan)
	}
	switch kind {
	case ndp.RouterSolicitation:
		if g.serves.ra {
			w.tell(g.inboxes[Solicit], f, g.vlan)
		}
	case ndp.NeighborSolicitation:
		n := ndp.ParseNeighbor(message)
		src := source(f, p)
		if n.MAC == f.Src() && !src.IsUnspecified() {
			w.hear(s, f, src, g.six.has(n.Target))
		}
		if g.watch && src.IsUnspecified() {
			w.expectStation(g, n.Target)
		}
		w.answerND(s, f, src, n.Target)
	case ndp.NeighborAdvertisement:
		n := ndp.ParseNeighbor(message)
		if n.MAC == f.Src() || n.MAC == (frame.MAC{}) && n.Solicited { // which came from there, to be sure
			w.hear(s, f, n.Target, false)
		}
	}
}

// hear learns where a station of the link is, and sends what has waited for it. asks
// says that the station wants the gateway.
func (w *worker) hear(s *snapshot, f *frame.Frame, a netip.Addr, asks bool) {
	g, t := s.gateway, w.network.neighbors
	if !g.isOnLink(a) || a == g.own || g.six.has(a) {
		return
	}
	asks = asks && t.get(a) == nil && w.port.strangers.take(w.network.sw.ticks(), 1)
	for _, h := range t.learn(a, f.Src(), asks, w.now) {
		h.frame.SetAddresses(f.Src(), g.mac)
		if v := w.send(s, h.frame); v.IsDrop() {
			h.from.counters.drops[v].Add(1)
		}
	}
}

// expectStation has a station asked for that is about to take an address (RFC 4862 clause
// 5.4): it does not say so once it has it.
func (w *worker) expectStation(g *gateway, a netip.Addr) {
	if slices.ContainsFunc(g.six.subnets, func(p netip.Prefix) bool { return p.Contains(a) }) && !g.six.has(a) &&
		w.port.strangers.take(w.network.sw.ticks(), 1) {
		w.network.neighbors.expect(a, w.port, w.now)
	}
}

// answerND answers a solicitation for an address that is the gateway's, or that an
// uplink stands in for (RFC 4389). Whoever only asks whether somebody has the address,
// without having one himself, is told together with all others.
func (w *worker) answerND(s *snapshot, f *frame.Frame, from, target netip.Addr) {
	g := s.gateway
	own := g.six.has(target)
	if g.shared || f.Src() == g.mac || !own && (g.uplink == nil || !g.claims(target)) ||
		!w.port.answers.take(w.network.sw.ticks(), 1) {
		return
	}
	n := ndp.Neighbor{Target: target, MAC: g.mac, Router: true, Solicited: true, Override: own || g.uplink != nil && g.table.Owns(target.As16())}
	to, mac := from, f.Src()
	if from.IsUnspecified() {
		to, mac, n.Solicited = ndp.AllNodes, ndp.GroupMAC(ndp.AllNodes), false
	}
	w.back(s, ndp.Packet(g.mac, mac, target, to, n.Advertisement()))
}

// question makes a packet that asks where a station is: ARP, or a neighbour
// solicitation.
func (g *gateway) question(q question) *frame.Frame {
	if q.addr.Is4() {
		to := q.mac
		if to == (frame.MAC{}) {
			to = broadcast
		}
		return g.arp(arpRequest, to, g.own, q.addr)
	}
	to, mac := q.addr, q.mac
	if mac == (frame.MAC{}) {
		to = ndp.SolicitedNode(q.addr)
		mac = ndp.GroupMAC(to)
	}
	return ndp.Packet(g.mac, mac, g.six.address(), to, ndp.Neighbor{Target: q.addr, MAC: g.mac}.Solicitation())
}

// mayAsk reports whether the gateway has an address to ask from, in the family of
// another.
func (g *gateway) mayAsk(a netip.Addr) bool { return a.Is4() || g.six.isThere() }

// isOnLink reports whether an address is that of a station on the link.
func (g *gateway) isOnLink(a netip.Addr) bool {
	if a.IsLinkLocalUnicast() && a.Is6() {
		return true
	}
	return slices.ContainsFunc(g.links, func(p netip.Prefix) bool { return p.Contains(a) })
}

// announcement says where an address of an uplink's is now: to all ARP (RFC 5227
// clause 3), or an advertisement that nobody has asked for (RFC 4861 clause 7.2.6).
func announcement(mac frame.MAC, a netip.Addr) *frame.Frame {
	if a.Is4() {
		return (&gateway{mac: mac}).arp(arpRequest, broadcast, a, a)
	}
	n := ndp.Neighbor{Target: a, MAC: mac, Router: true, Override: true}
	return ndp.Packet(mac, ndp.GroupMAC(ndp.AllNodes), a, ndp.AllNodes, n.Advertisement())
}
