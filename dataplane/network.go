package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/snooping"
	"github.com/weft/weft/stp"
)

// MaxPorts is the largest number of ports a network takes.
const MaxPorts = 1024

// NetworkConfig is what can be set on a network.
type NetworkConfig struct {
	Address  frame.MAC // of the network itself, as a bridge, a querier and a gateway
	MTU      int       // of the frames it carries: bytes after the Ethernet header
	FDB      fdb.Config
	STP      STPConfig
	Snooping SnoopingConfig
	Gateway  GatewayConfig

	// Reflective says that the relay behind the uplink sends back what is for
	// other ports here (IEEE 802.1Qbg). Ports in VEPA or private mode imply it.
	Reflective bool

	// ForwardReserved treats 01:80:c2:00:00:00-0f as any other group.
	ForwardReserved bool
}

// Network is one L2 domain.
type Network struct {
	name     string
	sw       *Switch
	fdb      *fdb.Table
	now      atomic.Uint32 // coarse clock in seconds, for ageing
	snapshot atomic.Pointer[snapshot]
	groups   atomic.Pointer[snooping.Table] // who listens; nil until snooped

	neighbors *neighbors

	doorsMu sync.Mutex // guards doors; nothing else is locked while it is held
	doors   []*door    // of other networks' ports, which lead here

	bpdus   *Inbox
	reports *Inbox
	removed chan struct{} // ends control
	served  chan struct{} // closed when control has ended

	mu       sync.Mutex // guards the fields below and every swap of snapshot
	cfg      NetworkConfig
	ports    []*Port // by index; nil where an index is free
	captures []*Capture
	bridge   *stp.Bridge       // nil without a spanning tree
	snooper  *snooping.Snooper // nil where IGMP and MLD are not snooped
	gateway  *Gateway          // nil until there has been one
	routing  RoutingConfig
	zone     nat.Zone // of this network behind an uplink
	uplink   *Uplink  // that this network is the inside of; else nil
	gone     bool     // the network is removed: nothing is routed here any more
	forms    forms    // of the frames that the network sends itself
	clock    func() time.Duration
}

// makeNetwork returns a network that is not started yet.
func makeNetwork(sw *Switch, name string, cfg NetworkConfig) *Network {
	return &Network{
		name: name, sw: sw, cfg: cfg, fdb: fdb.New(cfg.FDB), neighbors: newNeighbors(),
		bpdus:   newInbox(inboxSize{inboxBPDU, 128, 16}),
		reports: newInbox(inboxSize{inboxReport, 128, 16}),
		removed: make(chan struct{}), served: make(chan struct{}),
		clock: sw.uptime,
	}
}

func (n *Network) start() {
	n.now.Store(n.sw.now.Load())
	n.configureTree()
	n.configureSnooping()
	n.configureGateway()
	n.neighbors.watch.Store(n.cfg.Gateway.Watch)
	n.swap()
	go n.control()
}

// remove takes the ports away, and ends what the network does by itself.
func (n *Network) remove() {
	for _, p := range n.Ports() {
		n.RemovePort(p.name)
	}
	close(n.removed)
	<-n.served
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = true
	n.swap()
	n.grace()
	n.neighbors.flush(netip.Addr.IsValid)
	for _, c := range n.captures {
		close(c.ended)
	}
	n.captures = nil
}

// Config returns the network's present settings.
func (n *Network) Config() NetworkConfig {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cfg
}

// Reconfigure changes the network's settings, and the policies of the ports
// that are named, in one step while frames flow: when it returns, no frame is
// treated by the old ones any more.
func (n *Network) Reconfigure(cfg NetworkConfig, policies map[string]Policy) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cfg.FDB != n.cfg.FDB {
		n.fdb.Reconfigure(cfg.FDB)
	}
	old := n.cfg
	n.cfg = cfg
	var changed []*Port
	for _, p := range n.ports {
		if p == nil {
			continue
		}
		if policy, named := policies[p.name]; named && !p.policy.equal(policy) {
			p.setPolicy(policy)
			changed = append(changed, p)
		}
	}
	if cfg.STP != old.STP || cfg.Address != old.Address {
		n.configureTree()
	}
	n.joinTree(changed)
	n.configureSnooping()
	n.configureGateway()
	if u := n.routing.Uplink; u != nil {
		u.update(n)
	}
	was := n.snapshot.Load()
	n.swap()
	n.grace()
	n.neighbors.watch.Store(cfg.Gateway.Watch)
	moved := cfg.Address != old.Address || cfg.Gateway.VLAN != old.Gateway.VLAN
	if moved || cfg.Gateway.Address != old.Gateway.Address {
		n.neighbors.flush(netip.Addr.Is4)
	}
	if moved || !slices.Equal(cfg.Gateway.Address6, old.Gateway.Address6) {
		n.neighbors.flush(netip.Addr.Is6)
	}
	if s := n.snapshot.Load(); was.echoes == nil && s.echoes != nil {
		n.fdb.FlushPort(s.uplink) // what it has learned may be echoes
	}
	for _, p := range changed {
		n.fdb.SetPort(p.index, p.limits())
	}
}

// swap publishes the state that the fields now describe. n.mu is held.
func (n *Network) swap() { n.snapshot.Store(n.build()) }

// grace returns when no worker uses a snapshot older than the present one. It
// must not be called by a worker. n.mu is held, so no worker comes or goes.
func (n *Network) grace() {
	for _, p := range n.ports {
		if p != nil && p.worker != nil {
			p.worker.grace()
		}
	}
	if n.gateway != nil {
		n.gateway.worker.grace()
	}
	n.doorsMu.Lock()
	doors := slices.Clone(n.doors)
	n.doorsMu.Unlock()
	for _, d := range doors {
		d.grace()
	}
}

func (w *worker) grace() {
	seen := w.passes.Load()
	for seen%2 == 1 && w.passes.Load() == seen {
		time.Sleep(20 * time.Microsecond)
	}
}

// AddPort adds a port without I/O: it is down until Attach.
func (n *Network) AddPort(name string, policy Policy) (*Port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	index := -1
	for i, p := range n.ports {
		if p == nil && index < 0 {
			index = i
		}
		if p != nil && p.name == name {
			return nil, fmt.Errorf("network %q: port %q: %w", n.name, name, ErrExists)
		}
	}
	if index < 0 {
		if len(n.ports) == MaxPorts {
			return nil, fmt.Errorf("network %q: port %q: %w", n.name, name, ErrTooMany)
		}
		index = len(n.ports)
		n.ports = append(n.ports, nil)
	}
	p := &Port{
		network: n, name: name, index: fdb.Port(index), mtu: n.cfg.MTU,
		bpdus: newBucket(bpduRate, bpduRate), reports: newBucket(reportRate, reportRate),
		unroutable: newBucket(unroutableRate, unroutableRate), answers: newBucket(answerRate, answerRate),
		strangers: newBucket(strangerRate, strangerRate),
	}
	n.ports[index] = p
	p.setPolicy(policy)
	n.fdb.SetPort(p.index, p.limits())
	n.joinTree([]*Port{p})
	n.configureSnooping()
	n.swap()
	return p, nil
}

// RemovePort takes a port away with its FDB entries, the static ones too, and
// closes its I/O once no worker uses it any more. It does nothing where there
// is no such port.
func (n *Network) RemovePort(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.port(name)
	if p == nil {
		return
	}
	p.detach()
	defer p.wallUp(nil)
	n.leaveTree(p)
	n.forgetListeners(p)
	n.ports[p.index] = nil
	n.swap()
	n.grace() // a worker that still knows the port must not learn for it
	n.fdb.RemovePort(p.index)
}

// Port returns the port of that name, or nil.
func (n *Network) Port(name string) *Port {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.port(name)
}

func (n *Network) port(name string) *Port {
	for _, p := range n.ports {
		if p != nil && p.name == name {
			return p
		}
	}
	return nil
}

// has reports whether a port is still one of the network's. n.mu is held.
func (n *Network) has(p *Port) bool { return n.ports[p.index] == p }

// Ports returns all ports, sorted by name.
func (n *Network) Ports() []*Port {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []*Port
	for _, p := range n.ports {
		if p != nil {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *Port) int { return strings.Compare(a.name, b.name) })
	return list
}

// ErrNoPort is returned where a name does not denote a port of the network.
var ErrNoPort = errors.New("no such port")

// FDBEntry is one entry of a network's FDB.
type FDBEntry struct {
	VLAN       uint16
	MAC        frame.MAC
	Port       string
	Kind       fdb.Kind
	AgeSeconds uint32 // since its station was last heard; 0 for a static one
}

// AddStatic makes a static FDB entry: learning never moves it.
func (n *Network) AddStatic(vlan uint16, mac frame.MAC, port string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.port(port)
	if p == nil {
		return fmt.Errorf("port %q: %w", port, ErrNoPort)
	}
	return n.fdb.Add(vlan, mac, p.index, fdb.Static)
}

// RemoveFDB removes an entry of any kind and reports whether it was there.
func (n *Network) RemoveFDB(vlan uint16, mac frame.MAC) bool { return n.fdb.Remove(vlan, mac) }

// FlushFDB removes the dynamic entries of one port, or of all where port is
// empty, and returns how many there were.
func (n *Network) FlushFDB(port string) (int, error) {
	if port == "" {
		return n.fdb.Flush(), nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.port(port)
	if p == nil {
		return 0, fmt.Errorf("port %q: %w", port, ErrNoPort)
	}
	return n.fdb.FlushPort(p.index), nil
}

// FDB returns a copy of the entries, in no particular order.
func (n *Network) FDB() []FDBEntry {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now.Load()
	var list []FDBEntry
	for _, e := range n.fdb.Entries(now) {
		if int(e.Port) >= len(n.ports) || n.ports[e.Port] == nil {
			continue
		}
		list = append(list, FDBEntry{
			VLAN: e.VLAN, MAC: e.MAC, Port: n.ports[e.Port].name, Kind: e.Kind, AgeSeconds: e.Age,
		})
	}
	return list
}

// FDBStats returns the FDB's counters.
func (n *Network) FDBStats() fdb.Stats { return n.fdb.Stats() }

// Name returns the name of the network.
func (n *Network) Name() string { return n.name }
