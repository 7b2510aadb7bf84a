package dataplane

import (
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// Send takes untagged frames of the gateway's own through the pipeline. It
// keeps none of them.
func (g *Gateway) Send(frames []*frame.Frame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(frames) > 0 {
		n := min(len(frames), cap(g.worker.in))
		g.worker.originate(frames[:n])
		frames = frames[n:]
	}
}

// Resolve sends untagged frames of IP packets to stations of the network, whose MAC
// address it finds out and fills in with the gateway's own. A packet to a station that
// is not known yet waits in a copy.
func (g *Gateway) Resolve(frames []*frame.Frame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.worker
	w.passes.Add(1)
	defer w.passes.Add(1)
	s := w.network.snapshot.Load()
	if s.gateway == nil {
		return
	}
	for len(frames) > 0 {
		n := min(len(frames), cap(w.in))
		w.prepare(s)
		for _, f := range frames[:n] {
			w.address(s, f)
		}
		w.transmit(s)
		frames = frames[n:]
	}
}

// Seek has stations of the network asked for in the seconds that follow, unless they are
// known: whether they are there shows in Network.Neighbors.
func (g *Gateway) Seek(list []netip.Addr) {
	n := g.worker.network
	s := n.snapshot.Load()
	if s.gateway == nil {
		return
	}
	for _, a := range list {
		if s.gateway.isOnLink(a) && s.gateway.mayAsk(a) && !s.gateway.isOwnOrAll(a) {
			n.neighbors.expect(a, g.worker.port, n.now.Load())
		}
	}
}

// address queues a packet of the gateway's own for a station.
func (w *worker) address(s *snapshot, f *frame.Frame) {
	p := &w.parsed
	if p.Parse(f); p.Layer < frame.LayerNetwork {
		return
	}
	dst := destination(f, p)
	if p.IPVersion == 6 && dst.IsLinkLocalUnicast() {
		w.resolve(s, f, dst, w.port)
		return
	}
	y := s.router.way(dst)
	if y.kind != here && y.kind != behind && y.kind != out {
		return
	}
	w.resolve(s, f, y.next(dst), w.port)
}

// resolve sends a packet, which has come in by a port, to a station of the network. One
// whose MAC address is not known yet waits in a copy.
func (w *worker) resolve(s *snapshot, f *frame.Frame, next netip.Addr, from *Port) Verdict {
	g, t := s.gateway, w.network.neighbors
	if !g.mayAsk(next) {
		return NoNeighbor
	}
	if w.nextHop == nil || w.nextHop.addr != next {
		w.nextHop = t.get(next)
	}
	mac, known := w.nextHop.at(w.now)
	if !known {
		var v Verdict
		var ask bool
		w.nextHop = nil
		if mac, v, ask = t.await(next, f, from, w.now); ask {
			w.send(s, g.question(question{addr: next}))
		}
		if v != Forwarded {
			return v
		}
	}
	f.SetAddresses(mac, g.mac)
	return w.send(s, f)
}

// send takes a frame of the gateway's own the way of any other. A worker may do so while
// it has another one in hand.
func (w *worker) send(s *snapshot, f *frame.Frame) Verdict {
	v := w.route(s, &s.gateway.routes, f, s.gateway.vlan)
	if s.vlans {
		w.forms.next()
	}
	if len(s.captures) != 0 {
		offer(s.captures, s.gateway.worker.port, Received, f, v)
	}
	return v
}

// originate is burst for frames of the switch's own, which nobody has to admit.
func (w *worker) originate(frames []*frame.Frame) {
	w.passes.Add(1)
	s := w.network.snapshot.Load()
	if s.gateway != nil {
		w.prepare(s)
		for _, f := range frames {
			w.send(s, f)
		}
		w.transmit(s)
	}
	w.passes.Add(1)
}
