package dataplane

import (
	"net/netip"
	"slices"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/snooping"
)

// SnoopingConfig is what can be set on the snooping of IGMP and MLD (package
// snooping says what the values mean).
type SnoopingConfig struct {
	Enabled  bool
	Querier  bool
	Interval time.Duration
}

// configureSnooping brings the snooper in line with the network's settings.
// n.mu is held; the caller swaps the snapshot.
func (n *Network) configureSnooping() {
	c := n.cfg.Snooping
	if !c.Enabled {
		n.snooper = nil
		return
	}
	cfg := snooping.Config{Querier: c.Querier, Interval: c.Interval, Address: n.cfg.Address}
	if n.snooper == nil {
		n.snooper = snooping.New(cfg)
	} else {
		n.snooper.Configure(cfg)
	}
	n.snooper.SetVLANs(n.nativeVLANs())
	n.groups.Store(n.snooper.Table())
}

// nativeVLANs returns the VLANs that untagged hosts are in: there the querier
// asks unheard. In others it asks once it has heard a host.
func (n *Network) nativeVLANs() []uint16 {
	seen := map[uint16]bool{}
	var list []uint16
	for _, p := range n.ports {
		if p != nil && !seen[p.policy.VLAN.Native] {
			seen[p.policy.VLAN.Native] = true
			list = append(list, p.policy.VLAN.Native)
		}
	}
	return list
}

func (n *Network) receiveReport(m *Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.snooper == nil || !n.has(m.port) || m.port.io == nil {
		return // what it has heard of the port is forgotten already
	}
	n.snooper.Receive(uint16(m.port.index), m.VLAN, &m.Frame, n.clock())
	n.groups.Store(n.snooper.Table())
}

// forgetListeners takes a port that goes, or has lost its link, out of all
// groups. n.mu is held.
func (n *Network) forgetListeners(p *Port) {
	if n.snooper != nil {
		n.snooper.RemovePort(uint16(p.index))
		n.groups.Store(n.snooper.Table())
	}
}

func (n *Network) tickGroups() {
	if n.snooper == nil {
		return
	}
	for _, q := range n.snooper.Tick(n.clock()) {
		n.ask(q)
	}
	n.groups.Store(n.snooper.Table())
}

// ask sends a query to one port, or to all that forward. n.mu is held.
func (n *Network) ask(q snooping.Query) {
	f := wrap(append(make([]byte, frame.Headroom), q.Frame...))
	for i, p := range n.ports {
		if p != nil && p.tree.forwards() && (q.Port < 0 || q.Port == i) {
			n.originate(p, f, q.VLAN)
		}
	}
}

// welcomeListeners tells of a port that has got its I/O. n.mu is held.
func (n *Network) welcomeListeners(p *Port) {
	if n.snooper != nil {
		n.snooper.AddPort(uint16(p.index))
		n.groups.Store(n.snooper.Table())
	}
}

// Listener is a port whose hosts have joined a multicast group.
type Listener struct {
	VLAN    uint16
	Group   netip.Addr
	Port    string
	Expires time.Duration // until the last port goes, unless it reports again
}

// Listeners returns who has joined which group, by VLAN and address; nil where
// IGMP and MLD are not snooped.
func (n *Network) Listeners() []Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.snooper == nil {
		return nil
	}
	var list []Listener
	for _, g := range n.snooper.Groups() {
		for _, p := range g.Ports {
			list = append(list, Listener{g.VLAN, g.Addr, n.ports[p].name, g.Expires})
		}
	}
	return list
}

// Restricts reports whether multicast is kept from ports in some VLAN yet: see
// package snooping about when.
func (n *Network) Restricts() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.snooper != nil && slices.ContainsFunc(n.snooper.Status(), func(s snooping.Status) bool { return s.Restricted })
}

// Groups returns the number of multicast groups that hosts have joined.
func (n *Network) Groups() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.snooper == nil {
		return 0
	}
	return n.snooper.Stats().Groups
}
