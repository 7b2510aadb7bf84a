package apitest

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/weft/weft/cmd/internal/api"
)

// OpenIPv6 gives a network what OpenGateway and OpenUplink have given it of IPv4, of
// IPv6 too: an address, advertisements, DHCPv6 with a lease and a delegated prefix,
// neighbours, and where there is an uplink flows and a published port.
func (b *Backend) OpenIPv6(networkName string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.networks[networkName]
	n.ipv6 = true
	left := time.Now().Add(30*time.Minute + 30*time.Second)
	first, second := uint32(0), uint32(7)
	n.leases = append(n.leases,
		api.Lease{MAC: "52:54:00:00:00:01", Address: "2001:db8:1::1000", Hostname: "web", ClientID: "00:03:00:01:52:54:00:00:00:01",
			IAID: &first, Expires: &left, Kind: api.LeaseDynamic, State: api.LeaseActive, Port: "vm1"},
		api.Lease{Address: "2001:db8:100::/56", ClientID: "00:04:aa:bb",
			IAID: &second, Expires: &left, Kind: api.LeaseDynamic, State: api.LeaseActive, Port: "lan"},
	)
	for i := range n.leases {
		n.leases[i].Network = networkName
	}
	n.neighbors = []api.Neighbor{
		{Network: networkName, Address: "10.0.0.100", MAC: "52:54:00:00:00:01", State: api.NeighborReachable},
		{Network: networkName, Address: "2001:db8:1::1000", MAC: "52:54:00:00:00:01", State: api.NeighborReachable},
		{Network: networkName, Address: "2001:db8:1::dead", State: api.NeighborIncomplete},
		{Network: networkName, Address: "fe80::5054:ff:fe00:1", MAC: "52:54:00:00:00:01", State: api.NeighborReachable},
	}
	if !n.uplink {
		return
	}
	n.publishes = append(n.publishes, api.Publish{
		Network: networkName, Protocol: "tcp", Listen: "[2001:db8:5::2]:443", To: "[2001:db8:1::1000]:8443",
	})
	ends := func(source, destination string) api.FlowEnds {
		return api.FlowEnds{Source: source, Destination: destination}
	}
	n.flows = append(n.flows,
		api.Flow{Network: networkName, Protocol: "tcp", State: api.FlowEstablished, Packets: 5, Bytes: 500, ExpiresSeconds: 7440,
			Original:   ends("[2001:db8:1::1000]:40000", "[2001:db8:ffff::7]:443"),
			Translated: ends("[2001:db8:5::2]:40000", "[2001:db8:ffff::7]:443")},
		api.Flow{Network: networkName, Protocol: "icmpv6", State: api.FlowReplied, Packets: 2, Bytes: 208, ExpiresSeconds: 60,
			Original:   ends("[2001:db8:1::1000]:77", "[2001:db8:ffff::7]:77"),
			Translated: ends("[2001:db8:5::2]:77", "[2001:db8:ffff::7]:77")},
		api.Flow{Network: networkName, Protocol: "47", State: api.FlowUnreplied, Packets: 1, Bytes: 90, ExpiresSeconds: 600,
			Original:   ends("2001:db8:1::1000", "2001:db8:ffff::9"),
			Translated: ends("2001:db8:5::2", "2001:db8:ffff::9")},
	)
}

// describeIPv6 adds to a network what OpenIPv6 has given it. The lock is held.
func (n *network) describeIPv6(v *api.Network) {
	if !n.ipv6 {
		return
	}
	v.Addresses = append(v.Addresses, "2001:db8:1::1/64", "fd12:3456:789a::1/64")
	v.DHCP6 = &api.NetworkDHCP6{
		Ranges: []string{"2001:db8:1::1000-2001:db8:1::1fff"}, LeaseSeconds: 3600, Size: 4096, Free: 4095,
		Delegated: []api.DelegatedPool{{Prefix: "2001:db8:100::/48", Length: 56, Size: 256, Used: 1}},
		Leases:    map[string]int{api.LeaseActive: 2},
		Messages: []api.DHCPMessages{
			{Type: "request", Outcome: "granted", Count: 2},
			{Type: "solicit", Outcome: "advertised", Count: 3},
		},
	}
	v.RA = &api.NetworkRA{
		IntervalSeconds: 600, LifetimeSeconds: 1800, Preference: "medium", Managed: true, Other: true,
		Prefixes: []string{"2001:db8:1::/64", "fd12:3456:789a::/64"}, DNS: []string{"fd12:3456:789a::1"},
		Search: []string{"lab.example"}, Sent: 12, Received: 4, Refused: 1,
	}
}

// describeUplink6 adds to an uplink what OpenIPv6 has given a network of it. The lock
// is held.
func (n *network) describeUplink6(u *api.Uplink) {
	if n.ipv6 {
		u.Addresses = append(u.Addresses, "2001:db8:5::2/64")
		u.Gateways = append(u.Gateways, "fe80::1")
	}
}

// Neighbors implements api.Backend. An uplink has one where a network leaves by it.
func (b *Backend) Neighbors(networkName string) ([]api.Neighbor, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	outside := []api.Neighbor{{Network: "eth0", Address: "192.0.2.1", MAC: "02:00:00:00:00:fd", State: api.NeighborReachable}}
	left := slices.ContainsFunc(b.all(), func(n *network) bool { return n.uplink })
	if networkName == "eth0" && left {
		return outside, nil
	}
	chosen, err := b.choose(networkName)
	if err != nil {
		return nil, err
	}
	var list []api.Neighbor
	for _, n := range chosen {
		list = append(list, n.neighbors...)
	}
	slices.SortFunc(list, func(a, b api.Neighbor) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), netip.MustParseAddr(a.Address).Compare(netip.MustParseAddr(b.Address)))
	})
	if networkName == "" && left {
		list = append(list, outside...)
	}
	return list, nil
}

// all returns every network. The lock is held.
func (b *Backend) all() []*network {
	list, _ := b.choose("") // which never fails for all
	return list
}
