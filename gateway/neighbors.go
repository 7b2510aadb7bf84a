package gateway

import (
	"net/netip"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ra"
)

// announce tells the network's stations where the gateway's addresses are now: by ARP
// (RFC 5227 clause 2.3), and by advertisements that nobody has asked for (RFC 4861
// clause 7.2.6).
func (g *Gateway) announce() {
	frames := make([]*frame.Frame, 0, len(g.own))
	for _, p := range g.own {
		a := p.Addr()
		if a.Is4() {
			frames = append(frames, g.arpFrame(a, a))
			continue
		}
		n := ndp.Neighbor{Target: a, MAC: g.cfg.MAC, Router: true, Override: true}
		frames = append(frames, ndp.Packet(g.cfg.MAC, ndp.GroupMAC(ndp.AllNodes), a, ndp.AllNodes, n.Advertisement()))
	}
	g.send(frames...)
}

// SendRA sends a router advertisement (package ra) from the gateway's link-local
// address, which is the only one that hosts take it from (RFC 4861 clause 6.1.2).
func (g *Gateway) SendRA(dst netip.Addr, mac frame.MAC, message []byte) {
	if from := g.own.link(); from.IsValid() {
		g.send(ndp.Packet(g.cfg.MAC, mac, from, dst, message))
	}
}

// serveSolicit gives the router's advertiser the solicitations, which the dataplane has
// found to be valid.
func (g *Gateway) serveSolicit() {
	inbox := g.seat.Inbox(dataplane.Solicit)
	for m := g.next(inbox); m != nil; m = g.next(inbox) {
		if s, ok := g.solicitationOf(&m.Frame); ok {
			if a := g.ra.Load(); a != nil {
				a.Receive(s)
			}
		}
		inbox.Done(m)
	}
}

// solicitationOf reads a router solicitation. It returns false for one from an address
// that is not on the link.
func (g *Gateway) solicitationOf(f *frame.Frame) (ra.Solicitation, bool) {
	var p frame.Parsed
	p.Parse(f)
	if !ndp.Valid(f, &p) || f.Bytes()[p.L4] != ndp.RouterSolicitation {
		return ra.Solicitation{}, false
	}
	src, _ := endsOf(f, &p)
	return ra.Solicitation{Src: src, MAC: f.Src()}, src.IsUnspecified() || g.own.reach(src)
}
