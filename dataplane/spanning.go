package dataplane

import (
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/stp"
)

// STPConfig is what can be set on a network's spanning tree (package stp says
// what the values mean).
type STPConfig struct {
	Enabled                     bool
	Priority                    uint16
	Hello, MaxAge, ForwardDelay time.Duration
}

// tree is what the spanning tree says of a port. The zero tree is that of a
// network without one.
type tree struct {
	member bool
	state  stp.State
}

func (t tree) forwards() bool { return !t.member || t.state == stp.Forwarding }
func (t tree) learns() bool   { return !t.member || t.state != stp.Discarding }

// bridgeConfig is the configuration of the network as stp has it.
func (n *Network) bridgeConfig() stp.Config {
	c := n.cfg.STP
	return stp.Config{
		Address: n.cfg.Address, Priority: c.Priority,
		Hello: c.Hello, MaxAge: c.MaxAge, ForwardDelay: c.ForwardDelay,
	}
}

// treeID is the number of a port in the spanning tree, where 0 is none.
func treeID(p *Port) stp.PortID { return stp.PortID(p.index + 1) }

// configureTree brings the spanning tree in line with the network's settings.
// n.mu is held; the caller swaps the snapshot.
func (n *Network) configureTree() {
	switch enabled := n.cfg.STP.Enabled; {
	case enabled && n.bridge == nil:
		n.bridge = stp.New(n.bridgeConfig())
		n.joinTree(n.ports)
	case enabled:
		n.span(n.bridge.Configure(n.bridgeConfig()))
	case n.bridge != nil:
		n.bridge = nil
		for _, p := range n.ports {
			if p != nil {
				p.tree = tree{}
			}
		}
	}
}

// joinTree tells the spanning tree of ports, new or changed. n.mu is held.
func (n *Network) joinTree(list []*Port) {
	if n.bridge == nil {
		return
	}
	var all stp.Output
	for _, p := range list {
		if p == nil {
			continue
		}
		if !p.tree.member {
			p.tree = tree{member: true, state: stp.Discarding}
		}
		all = joined(all, n.bridge.SetPort(treeID(p), p.policy.STP))
		if p.io != nil {
			all = joined(all, n.bridge.Up(treeID(p)))
		}
	}
	n.span(all)
}

// joined returns two outputs as one. It may be carried out at once: no BPDU is
// sent before every port is in its last state.
func joined(a, b stp.Output) stp.Output {
	return stp.Output{
		Changed: append(a.Changed, b.Changed...),
		Flush:   append(a.Flush, b.Flush...),
		BPDUs:   append(a.BPDUs, b.BPDUs...),
	}
}

// linkChanged tells the spanning tree that a port has got or lost its I/O. n.mu
// is held.
func (n *Network) linkChanged(p *Port) {
	switch {
	case n.bridge == nil:
	case p.io != nil:
		n.span(n.bridge.Up(treeID(p)))
	default:
		n.span(n.bridge.Down(treeID(p)))
	}
}

// leaveTree takes a port out of the spanning tree. n.mu is held.
func (n *Network) leaveTree(p *Port) {
	if n.bridge != nil {
		n.span(n.bridge.RemovePort(treeID(p)))
	}
}

func (n *Network) receiveBPDU(m *Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bridge == nil || !n.has(m.port) {
		return
	}
	bpdu, ok := stp.Payload(m.Frame.Bytes())
	if ok {
		out, err := n.bridge.Receive(treeID(m.port), bpdu)
		n.span(out)
		ok = err == nil
	}
	if !ok {
		m.port.counters.drops[BadBPDU].Add(1)
	}
}

func (n *Network) tickTree() {
	if n.bridge != nil {
		n.span(n.bridge.Tick())
	}
}

// span does what the spanning tree asks for: port states first, then the FDB,
// then what the neighbours are told, which must not be that a port is blocked
// while a worker still forwards there. n.mu is held.
func (n *Network) span(out stp.Output) {
	for _, c := range out.Changed {
		if p := n.byTreeID(c.Port); p != nil {
			p.tree.state = c.State
		}
	}
	if len(out.Changed) > 0 {
		n.swap()
		n.grace()
	}
	for _, id := range out.Flush {
		n.fdb.FlushPort(fdb.Port(id - 1))
	}
	for _, b := range out.BPDUs {
		if p := n.byTreeID(b.Port); p != nil {
			n.emit(p, wrap(stp.AppendFrame(make([]byte, frame.Headroom), n.cfg.Address, b.Data)))
		}
	}
}

func (n *Network) byTreeID(id stp.PortID) *Port {
	if i := int(id) - 1; i >= 0 && i < len(n.ports) {
		return n.ports[i]
	}
	return nil
}

// STP returns the state of the spanning tree, false where the network has none.
func (n *Network) STP() (stp.Status, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bridge == nil {
		return stp.Status{}, false
	}
	return n.bridge.Status(), true
}

// STP returns the port's part in the spanning tree, false where its network has
// none.
func (p *Port) STP() (stp.PortStatus, bool) {
	p.network.mu.Lock()
	defer p.network.mu.Unlock()
	if p.network.bridge == nil {
		return stp.PortStatus{}, false
	}
	return p.network.bridge.PortStatus(treeID(p))
}

// PortOfTree returns the name of the port with a number of the spanning tree,
// empty where there is none.
func (n *Network) PortOfTree(id stp.PortID) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.byTreeID(id); p != nil {
		return p.name
	}
	return ""
}
