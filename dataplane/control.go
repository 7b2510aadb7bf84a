package dataplane

import (
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// The control side of a network: what it does by itself, rather than with the
// frames of others. One goroutine a network takes the messages that workers have
// left in its inboxes, and ticks once a second. It holds n.mu while it works, as
// every other change does.

// control works until the network is removed.
func (n *Network) control() {
	defer close(n.served)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-n.removed:
			return
		case <-ticker.C:
			n.tick()
			n.seekNeighbors()
		case m := <-n.bpdus.queue:
			n.receiveBPDU(m)
			n.bpdus.Done(m)
		case m := <-n.reports.queue:
			n.receiveReport(m)
			n.reports.Done(m)
		}
	}
}

// tick tells the state machines that a second has passed.
func (n *Network) tick() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tickTree()
	n.tickGroups()
}

// seekNeighbors asks where stations are that packets wait for, or go to.
func (n *Network) seekNeighbors() {
	s := n.snapshot.Load()
	if s.gateway == nil {
		return
	}
	var frames []*frame.Frame
	for _, q := range n.neighbors.tick(n.now.Load()) {
		if s.gateway.mayAsk(q.addr) {
			frames = append(frames, s.gateway.question(q))
		}
	}
	if len(frames) > 0 {
		s.gateway.Send(frames)
	}
}

// Neighbors returns the stations that the network's gateway knows, in no order.
func (n *Network) Neighbors() []Neighbor { return n.neighbors.all() }

// originate sends a frame of the switch's own by one port, if that is in VLAN
// vid. n.mu is held, so the port's I/O stays open.
func (n *Network) originate(p *Port, f *frame.Frame, vid uint16) {
	n.forms.reset()
	n.forms.next()
	if f = n.forms.of(f, vid, &p.policy.VLAN); f != nil {
		n.emit(p, f)
	}
}

// emit sends a frame by one port as it is. n.mu is held. The snapshot may be
// older than the port's I/O.
func (n *Network) emit(p *Port, f *frame.Frame) {
	if p.io != nil {
		s := n.snapshot.Load()
		e := p.egress(s.maxLen)
		s.send(&e, []*frame.Frame{f})
	}
}

// wrap makes a frame of bytes that have Headroom free in front.
func wrap(b []byte) *frame.Frame {
	f := new(frame.Frame)
	f.Set(b, frame.Headroom)
	return f
}
