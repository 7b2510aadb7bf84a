package dataplane

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// toGateway delivers a frame that is addressed to the gateway's MAC.
func (w *worker) toGateway(s *snapshot, in *ingress, f *frame.Frame) Verdict {
	g := s.gateway
	switch {
	case in == &g.routes:
		return SamePort
	case f.Tag.TPID == frame.TypeQinQ:
		return NoService
	case f.EtherType() == frame.TypeARP:
		return w.takeARP(s, in, f)
	case !g.speaks(f.EtherType()):
		return NoService
	}
	p := &w.parsed
	p.Parse(f)
	w.quoted, w.changed = w.quoted[:0], false
	switch {
	case p.Layer < frame.LayerNetwork:
		return BadPacket
	case p.IPVersion == 6 && ndp.Is(f, p):
		return w.takeND(s, in, f, p)
	case g.uplink != nil:
		return w.comeIn(s, f, p)
	case !g.isOwn(f, p):
		return w.passOn(s, in, f, p)
	case p.IPVersion == 6 && isBroken(f, p):
		return BadPacket
	}
	if p.FragOffset != 0 && g.relay.HasAny(p.Protocol) {
		w.tell(g.inboxes[Outside], f, g.vlan) // too: the first fragment alone says whose it is
	}
	to, service, v := g.owner(f, p)
	if to&machineHost != 0 {
		v = w.policy(s, in, f, g.vlan, g.host)
	}
	if to&ownHost != 0 {
		v = w.punt(g.inboxes[service], nil, f, g.vlan)
	}
	return v
}

// speaks reports whether the gateway takes a protocol, ARP apart.
func (g *gateway) speaks(etherType uint16) bool {
	switch etherType {
	case frame.TypeIPv4:
		return g.own.IsValid() || g.uplink != nil
	case frame.TypeIPv6:
		return g.six.isThere()
	}
	return false
}

// takeARP delivers an ARP packet to the gateway's MAC.
func (w *worker) takeARP(s *snapshot, in *ingress, f *frame.Frame) Verdict {
	g := s.gateway
	w.listenARP(s, f)
	if g.uplink != nil {
		return w.answerARP(s, f)
	}
	v := w.punt(g.inboxes[Station], nil, f, g.vlan)
	if g.host != noPort && isReply(f) { // to a question of this machine's, perhaps
		w.policy(s, in, f, g.vlan, g.host)
	}
	return v
}

// takeND delivers a message of neighbour discovery to the gateway's MAC.
func (w *worker) takeND(s *snapshot, in *ingress, f *frame.Frame, p *frame.Parsed) Verdict {
	g := s.gateway
	if !ndp.Valid(f, p) {
		return BadPacket
	}
	w.heed(s, f, p)
	m := f.Bytes()[p.L4:p.End]
	if m[0] == ndp.NeighborAdvertisement && g.host != noPort && g.isOwn(f, p) && g.isOnLink(ndp.ParseTarget(m)) {
		w.policy(s, in, f, g.vlan, g.host) // as above
	}
	return Consumed
}

// overhear gives the gateway what is for it of a frame to a group.
func (w *worker) overhear(s *snapshot, f *frame.Frame) {
	if f.Tag.TPID == frame.TypeQinQ {
		return // not for hosts without such a tag
	}
	switch dst := f.Dst(); {
	case dst == broadcast && f.EtherType() == frame.TypeARP:
		w.overhearARP(s, f)
	case dst == broadcast && f.EtherType() == frame.TypeIPv4:
		w.overhearDHCP(s, f)
	case s.gateway.six.isThere() && f.EtherType() == frame.TypeIPv6 && isOfGateways(dst):
		w.overhearIPv6(s, f)
	}
}

func (w *worker) overhearARP(s *snapshot, f *frame.Frame) {
	g, b := s.gateway, f.Bytes()
	w.listenARP(s, f)
	if g.uplink != nil {
		w.answerARP(s, f)
	} else if len(b) >= arpEnd && binary.BigEndian.Uint32(b[arpTarget:]) == g.addr {
		w.tell(g.inboxes[Station], f, g.vlan)
	}
}

func (w *worker) overhearDHCP(s *snapshot, f *frame.Frame) {
	g, p := s.gateway, &w.parsed
	p.Parse(f)
	if g.serves.client && isForClient(p) {
		w.tell(g.inboxes[Client], f, g.vlan)
	}
	if service, own := g.service(f, p); own && service == DHCP && !p.IsFragment() && !f.Offload.IsSuper() {
		w.tell(g.inboxes[DHCP], f, g.vlan)
	}
}

// isOfGateways reports whether a group address of IPv6 is one that a gateway listens
// to: all nodes, all routers, the DHCP servers of the link or of the site (RFC 8415
// clause 7.1), or those who may have an address.
func isOfGateways(dst frame.MAC) bool {
	if dst[0] != 0x33 || dst[1] != 0x33 {
		return false
	}
	switch binary.BigEndian.Uint32(dst[2:]) {
	case 1, 2, 0x1_0002, 0x1_0003:
		return true
	}
	return dst[2] == 0xff
}

func (w *worker) overhearIPv6(s *snapshot, f *frame.Frame) {
	g, p := s.gateway, &w.parsed
	p.Parse(f)
	switch {
	case ndp.Is(f, p):
		if ndp.Valid(f, p) {
			w.heed(s, f, p)
		}
	case p.Layer < frame.LayerTransport || f.Bytes()[p.L3+24] != 0xff || p.IsFragment() || f.Offload.IsSuper():
	case isMLDQuery(f, p):
		if f.Src() != g.mac {
			w.answerMLD(s)
		}
	case g.serves.client6 && isForClient(p):
		w.tell(g.inboxes[Client6], f, g.vlan)
	default:
		if service, _ := g.service(f, p); service == DHCPv6 {
			w.tell(g.inboxes[DHCPv6], f, g.vlan)
		}
	}
}

// tell punts a frame that goes on to others too.
func (w *worker) tell(to *Inbox, f *frame.Frame, vid uint16) {
	w.count(w.punt(to, nil, f, vid))
}
