package apitest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft/weft/cmd/internal/api"
)

// OpenUplink has a network leave the switch by eth0, with one flow of each
// protocol and one published port; another uplink, wlan0, has no network.
func (b *Backend) OpenUplink(networkName string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.networks[networkName]
	n.uplink = true
	n.publishes = []api.Publish{
		{Network: networkName, Protocol: "tcp", Listen: "19888", To: "10.0.0.10:22"},
	}
	ends := func(source, destination string) api.FlowEnds {
		return api.FlowEnds{Source: source, Destination: destination}
	}
	n.flows = []api.Flow{
		{Protocol: "tcp", State: api.FlowEstablished, Packets: 12, Bytes: 3456, ExpiresSeconds: 7440, Offloaded: true,
			Original: ends("10.0.0.100:40000", "198.51.100.7:443"), Translated: ends("192.0.2.2:40000", "198.51.100.7:443")},
		{Protocol: "tcp", State: api.FlowFinWait, Packets: 9, Bytes: 900, ExpiresSeconds: 240,
			Original: ends("203.0.113.5:50000", "192.0.2.2:19888"), Translated: ends("203.0.113.5:50000", "10.0.0.10:22")},
		{Protocol: "udp", State: api.FlowReplied, Packets: 2, Bytes: 200, ExpiresSeconds: 300,
			Original: ends("10.0.0.100:53000", "198.51.100.53:53"), Translated: ends("192.0.2.2:53000", "198.51.100.53:53")},
		{Protocol: "icmp", State: api.FlowReplied, Packets: 4, Bytes: 336, ExpiresSeconds: 60,
			Original: ends("10.0.0.100:77", "198.51.100.7:77"), Translated: ends("192.0.2.2:77", "198.51.100.7:77")},
		{Protocol: "47", State: api.FlowUnreplied, Packets: 1, Bytes: 2_500_000, ExpiresSeconds: 600,
			Original: ends("10.0.0.101", "198.51.100.9"), Translated: ends("192.0.2.2", "198.51.100.9")},
	}
	for i := range n.flows {
		n.flows[i].Network = networkName
	}
}

// OpenFlows gives a network as many more flows of UDP to port 9.
func (b *Backend) OpenFlows(networkName string, more int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.networks[networkName]
	for i := range more {
		source := fmt.Sprintf("10.0.%d.%d:1024", i>>8&255, i&255)
		ends := api.FlowEnds{Source: source, Destination: "198.51.100.9:9"}
		n.flows = append(n.flows, api.Flow{
			Network: networkName, Protocol: "udp", State: api.FlowUnreplied, Original: ends, Translated: ends, ExpiresSeconds: 300,
		})
	}
}

// describeNAT adds to a network what OpenUplink has given it. The lock is held.
func (n *network) describeNAT(v *api.Network) {
	if !n.uplink {
		return
	}
	v.Forward, v.Uplink = "nat", "eth0"
	v.NAT = &api.NetworkNAT{
		MaxFlows: 65536,
		Protocols: []api.NATProtocol{
			{Protocol: "tcp", Flows: 2, Mappings: 2, Created: 40, Expired: 38},
			{Protocol: "udp", Flows: 1, Mappings: 1, Created: 7, Expired: 6},
		},
		Refused: map[string]uint64{"nat-host-full": 3, "nat-ports-full": 0},
		Ports:   leftPorts(),
		IPv6:    api.NATMasquerade,
	}
}

// Flows implements api.Backend.
func (b *Backend) Flows(f api.FlowFilter, limit int) ([]api.Flow, int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.Network != "" {
		if _, err := b.network(f.Network); err != nil {
			return nil, 0, err
		}
	}
	var all []api.Flow
	for _, name := range slices.Sorted(maps.Keys(b.networks)) {
		for _, fl := range b.networks[name].flows {
			if chosen(f, fl) {
				all = append(all, fl)
			}
		}
	}
	return all[:min(limit, len(all))], len(all), nil
}

// chosen reports whether a filter chooses a flow.
func chosen(f api.FlowFilter, fl api.Flow) bool {
	return (f.Network == "" || f.Network == fl.Network) && f.Match(fl.Protocol, fl.State,
		endOf(fl.Original.Source), endOf(fl.Original.Destination), endOf(fl.Translated.Source), endOf(fl.Translated.Destination))
}

// endOf reads an end of a flow; one without a port has port 0.
func endOf(text string) netip.AddrPort {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a, 0)
	}
	return netip.MustParseAddrPort(text)
}

// FlushFlows implements api.Backend.
func (b *Backend) FlushFlows(f api.FlowFilter) (gone int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.Network != "" {
		if _, err := b.network(f.Network); err != nil {
			return 0, err
		}
	}
	for _, n := range b.networks {
		before := len(n.flows)
		n.flows = slices.DeleteFunc(n.flows, func(fl api.Flow) bool { return chosen(f, fl) })
		gone += before - len(n.flows)
	}
	return gone, nil
}

// Publishes implements api.Backend. A flow belongs to the port that it came in by.
func (b *Backend) Publishes(networkName string) ([]api.Publish, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	networks, err := b.choose(networkName)
	if err != nil {
		return nil, err
	}
	var all []api.Publish
	for _, n := range networks {
		for _, p := range n.publishes {
			for _, fl := range n.flows {
				if fl.Protocol == p.Protocol && strings.HasSuffix(fl.Original.Destination, ":"+p.Listen) {
					p.Flows++
				}
			}
			if p.Outside = p.Listen; !strings.Contains(p.Listen, ":") {
				p.Outside = "192.0.2.2:" + p.Listen
			}
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b api.Publish) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Listen, b.Listen))
	})
	return all, nil
}

// AddPublish implements api.Backend.
func (b *Backend) AddPublish(networkName string, s api.PublishSpec) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.network(networkName)
	if err != nil {
		return err
	}
	if !n.uplink {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q has no uplink: give it one first", networkName))
	}
	if _, err := netip.ParseAddrPort(s.To); err != nil {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q: to: %q is no address and port", networkName, s.To))
	}
	if n.published(s) {
		return api.Mark(api.ErrConflict, fmt.Errorf("network %q: %s %s is published already", networkName, s.Protocol, s.Listen))
	}
	n.publishes = append(n.publishes, api.Publish{Network: networkName, Protocol: s.Protocol, Listen: s.Listen, To: s.To})
	return nil
}

// RemovePublish implements api.Backend.
func (b *Backend) RemovePublish(networkName, protocol, listen, to string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.network(networkName)
	if err != nil {
		return err
	}
	before := len(n.publishes)
	n.publishes = slices.DeleteFunc(n.publishes, func(p api.Publish) bool {
		return p.Protocol == protocol && p.Listen == listen && (to == "" || p.To == to)
	})
	if len(n.publishes) == before {
		return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: %s %s is not published", networkName, protocol, listen))
	}
	return nil
}

// published reports whether a port has been published already, to a guest of the same
// family.
func (n *network) published(s api.PublishSpec) bool {
	return slices.ContainsFunc(n.publishes, func(p api.Publish) bool {
		return p.Protocol == s.Protocol && p.Listen == s.Listen && strings.HasPrefix(p.To, "[") == strings.HasPrefix(s.To, "[")
	})
}

// leftPorts are those that the host of OpenUplink leaves.
func leftPorts() *api.UsablePorts {
	return &api.UsablePorts{Ranges: "1024-32767, 61000-65535", InUse: 3, Free: 36277}
}

// Uplinks implements api.Backend.
func (b *Backend) Uplinks() []api.Uplink {
	b.mu.Lock()
	defer b.mu.Unlock()
	eth0 := api.Uplink{
		Interface: "eth0", Kind: api.UplinkHost, Kinds: []string{api.UplinkHost}, State: api.StateUp,
		Address: "192.0.2.2/24", Addresses: []string{"192.0.2.2/24"}, Gateway: "192.0.2.1", Gateways: []string{"192.0.2.1"},
		MAC: "52:54:00:00:00:fe", MTU: 1500, Neighbors: 2,
		RX: api.Counters{Frames: 30, Bytes: 4096}, TX: api.Counters{Frames: 20, Bytes: 2_500_000},
		Drops: map[string]uint64{"nat-filtered": 5, "ttl": 1},
		Ports: leftPorts(),
	}
	for _, name := range slices.Sorted(maps.Keys(b.networks)) {
		if n := b.networks[name]; n.uplink {
			eth0.Networks = append(eth0.Networks, name)
			eth0.Flows += len(n.flows)
			n.describeUplink6(&eth0)
		}
	}
	if len(eth0.Networks) == 0 {
		return nil
	}
	return []api.Uplink{eth0, {
		Interface: "wlan0", Kind: api.UplinkSockets, Kinds: []string{api.UplinkSockets}, State: api.StateDown, Detail: "the interface is switched off", MTU: 1500,
	}}
}
