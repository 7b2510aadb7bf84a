package gateway

import (
	"net/netip"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
)

// ICMPv6 types (RFC 4443). Those below 128 are errors.
const (
	icmpParameter = 4
	icmpEcho      = 128
)

// serveStation takes what is for the gateway as an IP host.
func (g *Gateway) serveStation() {
	inbox := g.seat.Inbox(dataplane.Station)
	for m := g.next(inbox); m != nil; m = g.next(inbox) {
		g.receive(&m.Frame, m.Port())
		inbox.Done(m)
	}
}

// receive takes a frame that has come in by a port.
func (g *Gateway) receive(f *frame.Frame, port string) {
	if f.EtherType() == frame.TypeARP {
		g.receiveARP(f, port)
		return
	}
	var p frame.Parsed
	p.Parse(f)
	if p.Layer < frame.LayerNetwork {
		return
	}
	src, dst := endsOf(f, &p)
	if !g.own.has(dst) || !g.own.reach(src) || !isPlain(f, &p) || !intact(f, &p) {
		return
	}
	if p.Protocol == frame.ProtoICMPv6 && f.Offload.Flags&frame.NeedsChecksum != 0 {
		f.CompleteChecksum() // which the stack looks at, whatever link says
	}
	g.stack.know(src, f.Src(), port)
	g.stack.link.deliver(f)
}

// receiveARP takes an ARP packet. What it answers is told to the DHCP server.
func (g *Gateway) receiveARP(f *frame.Frame, port string) {
	if addr, mac, ok := arpSender(f); ok {
		if s := g.dhcp.Load(); s != nil {
			s.Heard(addr, mac, port)
		}
	}
	g.stack.link.deliver(f)
}

// isPlain reports whether the headers of a packet are such as the stack may get from
// guests.
func isPlain(f *frame.Frame, p *frame.Parsed) bool {
	if p.IsFragment() && p.Protocol == frame.ProtoTCP {
		// No sender on this link has a reason to send such. The stack reads memory that it
		// has given back already where the first fragment is shorter than the header of
		// TCP; the headers of UDP and ICMP are as short as a first fragment can be.
		return false
	}
	if p.IPVersion == 4 {
		return p.Protocol != frame.ProtoICMPv6 // which the stack knows for IPv6
	}
	if p.Protocol == frame.ProtoICMP || !isChainPlain(f.Bytes(), p) {
		return false
	}
	if p.FragOffset != 0 {
		return true // what it is a part of, the first fragment tells
	}
	if p.MoreFragments && p.Layer < frame.LayerTransport {
		return false // RFC 7112: the first one has all headers
	}
	if p.Protocol != frame.ProtoICMPv6 || p.Layer < frame.LayerTransport {
		return true
	}
	// Neighbour discovery is the dataplane's business, and so are groups: the stack would
	// take a guest's word for where others are.
	kind := f.Bytes()[p.L4]
	return kind == icmpEcho || kind > 0 && kind <= icmpParameter
}

// isChainPlain reports whether the extension headers of an IPv6 packet were walked over
// to their end, with at most one for a fragment: what is a fragment of fragments has no
// headers to look at until it is joined, and nobody sends such.
func isChainPlain(b []byte, p *frame.Parsed) bool {
	fragments := 0
	next := b[p.L3+6]
	for at := p.L3 + ip6Len; at < p.L4; {
		h := b[at:p.L4]
		n := frame.ExtensionLen(next, h)
		if n == 0 {
			return false // not what Parse has walked over
		}
		if next == frame.ExtFragment {
			fragments++
		}
		next, at = h[0], at+n
	}
	switch {
	case p.Protocol == frame.ExtFragment:
		return false
	case frame.IsExtension(p.Protocol):
		return p.FragOffset != 0 && fragments == 1 // they are in the first fragment
	}
	return fragments <= 1
}

// know has the stack answer an address where its packets come from, and nowhere
// else: a packet with another's address would make the gateway send to that one
// what a port may not.
func (s *station) know(addr netip.Addr, mac frame.MAC, port string) {
	forgotten, changed := s.origins.note(addr, origin{mac, port})
	if forgotten {
		s.forget()
	}
	if changed {
		s.remember(addr, mac)
	}
}
