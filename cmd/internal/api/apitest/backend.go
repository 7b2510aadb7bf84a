// Package apitest holds a switch without frames: a Backend that keeps its
// networks, ports and addresses in memory, for the tests of whoever speaks the
// control interface.
package apitest

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/weft/weft/cmd/internal/api"
)

// Backend implements api.Backend. It starts with a network "lab" of two ports,
// vm1 (tap, up) and lan (raw, missing), one address behind vm1, and one group
// that vm1 has asked for. To every port in a spanning tree a BPDU has come. It
// has no gateway until OpenGateway, no uplink until OpenUplink, and nothing of IPv6
// until OpenIPv6.
type Backend struct {
	mu       sync.Mutex
	networks map[string]*network
	captures map[*capture]struct{}
	started  time.Time
	notes    []string
}

var _ api.Backend = (*Backend)(nil)

type network struct {
	ports map[string]api.Port
	fdb   map[fdbKey]api.FDBEntry
	moves uint64

	groups       []api.Group
	settings     settings
	portSettings map[string]settings

	gateway      bool
	leases       []api.Lease
	reservations []api.LeaseSpec

	uplink    bool
	flows     []api.Flow
	publishes []api.Publish

	ipv6      bool
	neighbors []api.Neighbor
}

type fdbKey struct {
	vlan uint16
	mac  string
}

func newNetwork() *network {
	return &network{
		ports: map[string]api.Port{}, fdb: map[fdbKey]api.FDBEntry{}, portSettings: map[string]settings{},
	}
}

// New returns the network described at Backend.
func New() *Backend {
	b := &Backend{
		networks: map[string]*network{"lab": newNetwork()},
		captures: map[*capture]struct{}{},
		started:  time.Now(),
		notes:    []string{`network "lab" keeps everything in memory`},
	}
	lab := b.networks["lab"]
	lab.ports["vm1"] = withDefaults(api.Port{
		Network: "lab", Name: "vm1", Type: "tap", Interface: "vm1", MTU: 1500,
		State: api.StateUp, Owner: "root", Offloads: []string{"checksum", "tso4"},
		RX: api.Counters{Frames: 3, Bytes: 4096}, TX: api.Counters{Frames: 2, Bytes: 2_500_000},
		Drops: map[string]uint64{"no-egress": 7},
	})
	lab.ports["lan"] = withDefaults(api.Port{
		Network: "lab", Name: "lan", Type: "raw", Interface: "veth-a", MTU: 1500,
		State: api.StateMissing, Detail: `interface "veth-a" does not exist`,
	})
	b.Learn("lab", "52:54:00:00:00:01", "vm1")
	b.Join("lab", 10, "239.1.1.1", "vm1")
	return b
}

// Learn puts a dynamic entry behind a port, or moves it there.
func (b *Backend) Learn(networkName, mac, port string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, key := b.networks[networkName], fdbKey{mac: mac}
	if old, ok := n.fdb[key]; ok && old.Port != port {
		n.moves++
	}
	n.fdb[key] = api.FDBEntry{Network: networkName, MAC: mac, Port: port, Kind: "dynamic", AgeSeconds: 12}
}

// Status implements api.Backend.
func (b *Backend) Status() api.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := api.Status{
		Version: "v0.0.0-test", PID: 4711, UptimeSeconds: int64(time.Since(b.started).Seconds()),
		Socket: "/run/weft/weft.sock", MetricsListen: "127.0.0.1:9820",
		Fastpath: api.Fastpath{State: "off", Reason: "memory has no kernel"},
		Networks: len(b.networks), Notes: slices.Clone(b.notes),
	}
	for _, n := range b.networks {
		s.Ports += len(n.ports)
		if n.uplink && len(s.Uplinks) == 0 {
			s.Uplinks = []string{"eth0 host up", "wlan0 sockets down"}
		}
	}
	return s
}

// Networks implements api.Backend.
func (b *Backend) Networks() []api.Network {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []api.Network
	for _, name := range slices.Sorted(maps.Keys(b.networks)) {
		n := b.networks[name]
		sum := n.describe(name)
		for _, p := range n.ports {
			if p.State == api.StateUp {
				sum.Up++
			}
		}
		all = append(all, sum)
	}
	return all
}

// describe returns a network as its settings make it. The lock is held.
func (n *network) describe(name string) api.Network {
	v := api.Network{
		Name: name, Forward: "isolated", MAC: "02:00:00:00:00:fe", MTU: 1500,
		ReservedGroups: api.ReservedSwitch, Ports: len(n.ports),
		FDB:      api.NetworkFDB{Entries: len(n.fdb), Limit: 8192, AgeingSeconds: 300, Moves: n.moves},
		STP:      api.NetworkSTP{Priority: 32768, HelloSeconds: 2, MaxAgeSeconds: 20, ForwardDelaySeconds: 15},
		Snooping: api.NetworkSnooping{Querier: true, IntervalSeconds: 125, Groups: n.listenedTo()},

		Addresses: []string{},
		Inbound:   api.NetworkInbound{IPv4: api.InboundOpen, IPv6: api.InboundPublished},
	}
	if err := set(&v, n.settings, networkKeys()); err != nil {
		panic(err) // SetNetwork has tried them
	}
	n.describeGateway(&v)
	n.describeNAT(&v)
	n.describeIPv6(&v)
	if v.STP.Enabled { // alone, it is its own root
		v.STP.BridgeID = fmt.Sprintf("%04x.%s", v.STP.Priority, v.MAC)
		v.STP.RootID = v.STP.BridgeID
	}
	if v.Snooping.Enabled {
		v.Snooping.State = api.SnoopingFlooding
		if v.Snooping.Querier {
			v.Snooping.State = api.SnoopingRestricting
		}
	}
	return v
}

// describePort returns a port with its part in the tree, of which the caller
// owns all that may change. The lock is held.
func (n *network) describePort(p api.Port) api.Port {
	p.Drops = maps.Clone(p.Drops)
	tree := *p.STP
	p.STP = &tree
	if !n.describe(p.Network).STP.Enabled {
		return p
	}
	tree.Role, tree.State, tree.Protocol = "designated", api.TreeForwarding, "rstp"
	switch {
	case p.State != api.StateUp:
		tree.Role, tree.State = "disabled", "discarding"
	case tree.BPDUGuard:
		tree.Role, tree.State, tree.Inconsistent = "disabled", "discarding", api.GuardBPDU
	}
	return p
}

// Ports implements api.Backend.
func (b *Backend) Ports(networkName string) ([]api.Port, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	chosen, err := b.choose(networkName)
	if err != nil {
		return nil, err
	}
	var all []api.Port
	for _, n := range chosen {
		for _, p := range n.ports {
			all = append(all, n.describePort(p))
		}
	}
	slices.SortFunc(all, func(a, b api.Port) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

// Port implements api.Backend.
func (b *Backend) Port(networkName, name string) (api.Port, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.network(networkName)
	if err != nil {
		return api.Port{}, err
	}
	p, ok := n.ports[name]
	if !ok {
		return api.Port{}, noPort(networkName, name)
	}
	return n.describePort(p), nil
}

// AddPort implements api.Backend. Every port of it is up at once.
func (b *Backend) AddPort(networkName string, s api.PortSpec) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.network(networkName)
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"tap", "raw", "internal"}, s.Type) {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q: port %q: no such type %q", networkName, s.Name, s.Type))
	}
	if _, ok := n.ports[s.Name]; ok {
		return api.Mark(api.ErrConflict, fmt.Errorf("network %q: port %q exists already", networkName, s.Name))
	}
	patch := s.Settings
	if patch == nil {
		patch = []byte("{}")
	}
	p, err := n.patchPort(api.Port{
		Network: networkName, Name: s.Name, Type: s.Type,
		Interface: cmp.Or(s.Interface, s.Name), Netns: s.Netns, MAC: s.MAC, Addresses: s.Addresses,
		Owner: s.Owner, Group: s.Group, MTU: 1500, State: api.StateUp,
	}, patch)
	if err != nil {
		return err
	}
	p.Mode = cmp.Or(s.Mode, p.Mode)
	n.ports[s.Name] = p
	return nil
}

// RemovePort implements api.Backend.
func (b *Backend) RemovePort(networkName, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.network(networkName)
	if err != nil {
		return err
	}
	if _, ok := n.ports[name]; !ok {
		return noPort(networkName, name)
	}
	delete(n.ports, name)
	delete(n.portSettings, name)
	n.groups = slices.DeleteFunc(n.groups, func(g api.Group) bool { return g.Port == name })
	maps.DeleteFunc(n.fdb, func(_ fdbKey, e api.FDBEntry) bool { return e.Port == name })
	return nil
}

// network returns a network by name. The lock is held.
func (b *Backend) network(name string) (*network, error) {
	n, ok := b.networks[name]
	if !ok {
		return nil, api.Mark(api.ErrNotFound, fmt.Errorf("network %q does not exist", name))
	}
	return n, nil
}

// choose returns one network, or all for "". The lock is held.
func (b *Backend) choose(name string) ([]*network, error) {
	if name == "" {
		return slices.Collect(maps.Values(b.networks)), nil
	}
	n, err := b.network(name)
	return []*network{n}, err
}

func noPort(networkName, name string) error {
	return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: port %q does not exist", networkName, name))
}

func parseMAC(text string) (string, error) {
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != 6 {
		return "", api.Mark(api.ErrInvalid, fmt.Errorf("%q is no MAC address", text))
	}
	return hw.String(), nil
}
