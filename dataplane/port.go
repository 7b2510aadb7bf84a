package dataplane

import (
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/ports"
)

// Port is one attachment to a network. It lasts while the interface under it
// comes and goes: its counters go on.
type Port struct {
	network  *Network
	name     string
	index    fdb.Port
	counters counters

	// Guarded by network.mu.
	policy Policy
	tree   tree
	mtu    int
	io     ports.Port // nil while the port is down
	caps   frame.Caps
	worker *worker
	losses ports.RxLosses // of I/O that is closed already

	// The policy's limits at work; they last as long as it does.
	ingressRate, egressRate *policer
	storm                   *stormGuard

	waiting [numInboxes]atomic.Int32 // messages of the port in each inbox

	doors []*door // to other networks; guarded by network.mu

	sought atomic.Int32 // stations that are asked for, since packets of the port are for them

	bpdus, reports, unroutable, answers, strangers *bucket // how many more it may send to them
}

// Policy returns what the port's frames may do.
func (p *Port) Policy() Policy {
	p.network.mu.Lock()
	defer p.network.mu.Unlock()
	return p.policy
}

// setPolicy changes the policy; the caller swaps the snapshot. A limit that
// stays goes on where it is. network.mu is held.
func (p *Port) setPolicy(next Policy) {
	old := p.policy
	p.policy = next
	if old.Ingress != next.Ingress {
		p.ingressRate = newPolicer(next.Ingress)
	}
	if old.Egress != next.Egress {
		p.egressRate = newPolicer(next.Egress)
	}
	if old.Storm != next.Storm {
		p.storm = newStormGuard(next.Storm)
	}
}

// limits returns what holds for the port in the FDB.
func (p *Port) limits() fdb.PortConfig {
	return fdb.PortConfig{Max: p.policy.Security.MaxMACs, Sticky: p.policy.Security.Sticky}
}

// Name returns the name of the port.
func (p *Port) Name() string { return p.name }

// Attach puts I/O under a port that has none and starts its worker. The port
// owns io from then on. mtu is that of the interface, in bytes. failed is
// called once, by the worker as it ends, if the interface becomes unusable;
// it must not call Detach itself but have another goroutine do so.
func (p *Port) Attach(io ports.Port, mtu int, failed func(error)) {
	n := p.network
	n.mu.Lock()
	defer n.mu.Unlock()
	p.io, p.mtu, p.caps = io, mtu, 0
	if o, ok := io.(ports.Offloader); ok {
		p.caps = o.Offloads()
	}
	p.worker = &worker{network: n, port: p, io: io, done: make(chan struct{}), failed: failed}
	n.sw.reserveProcs(n.sw.workers.Add(1))
	n.linkChanged(p)
	n.welcomeListeners(p)
	n.swap()
	go p.worker.run()
}

// Detach takes the I/O away, closes it, and forgets what was learned at the
// port. It does nothing for a port without I/O.
func (p *Port) Detach() {
	p.network.mu.Lock()
	defer p.network.mu.Unlock()
	p.detach()
}

// detach keeps the order that the life cycle of ports.Port asks for: nobody
// sends (swap, grace), nobody receives (the worker has ended), then close.
func (p *Port) detach() {
	if p.io == nil {
		return
	}
	n, io, w := p.network, p.io, p.worker
	p.io = nil
	n.swap()
	io.Stop()
	<-w.done
	n.grace()
	p.worker = nil
	n.sw.workers.Add(-1)
	n.fdb.FlushPort(p.index)
	n.linkChanged(p)
	n.forgetListeners(p)
	p.losses = p.rxLosses(io)
	_ = io.Close() // the descriptors are gone either way
}

// SetMTU tells the port that its interface's MTU has changed.
func (p *Port) SetMTU(mtu int) {
	p.network.mu.Lock()
	defer p.network.mu.Unlock()
	if p.mtu != mtu {
		p.mtu = mtu
		p.network.swap()
	}
}

// Offloads returns what the attachment takes unfinished; none while it is down.
func (p *Port) Offloads() frame.Caps {
	p.network.mu.Lock()
	defer p.network.mu.Unlock()
	if p.io == nil {
		return 0
	}
	return p.caps
}

// Stats returns a copy of the port's counters.
func (p *Port) Stats() Stats {
	p.network.mu.Lock()
	losses := p.losses
	if p.io != nil {
		losses = p.rxLosses(p.io)
	}
	p.network.mu.Unlock()
	s := p.counters.stats()
	if losses.Full > 0 {
		s.Drops[RingFull] = losses.Full
	}
	if losses.Truncated > 0 {
		s.Drops[Truncated] = losses.Truncated
	}
	return s
}

// rxLosses returns the losses of io and of all I/O before it.
func (p *Port) rxLosses(io ports.Port) ports.RxLosses {
	sum := p.losses
	if l, ok := io.(ports.RxLoser); ok {
		now := l.RxLosses()
		sum.Full += now.Full
		sum.Truncated += now.Truncated
	}
	return sum
}
