package apitest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/cmd/internal/api"
)

// OpenGateway gives a network the address 10.0.0.1/24, an interface in the
// host, DHCP and DNS. One client has a lease for half an hour more, one has
// had one, one has one for ever, and one has a reservation and no lease.
func (b *Backend) OpenGateway(networkName string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.networks[networkName]
	n.gateway = true
	left, past := time.Now().Add(30*time.Minute+30*time.Second), time.Now().Add(-time.Hour)
	n.leases = []api.Lease{
		{MAC: "02:00:00:00:00:10", Address: "10.0.0.10", Hostname: "db", Kind: api.LeaseStatic, State: api.LeaseReserved},
		{MAC: "52:54:00:00:00:01", Address: "10.0.0.100", Hostname: "web", ClientID: "01:52:54:00:00:00:01",
			Expires: &left, Kind: api.LeaseDynamic, State: api.LeaseActive, Port: "vm1"},
		{MAC: "02:00:00:00:00:09", Address: "10.0.0.101", Expires: &past, Kind: api.LeaseDynamic, State: api.LeaseExpired},
		{MAC: "02:00:00:00:00:0a", Address: "10.0.0.102", Hostname: "printer", Kind: api.LeaseDynamic,
			State: api.LeaseActive, Port: "lan"},
	}
	for i := range n.leases {
		n.leases[i].Network = networkName
	}
}

// describeGateway adds to a network what OpenGateway has given it. The lock is
// held.
func (n *network) describeGateway(v *api.Network) {
	if !n.gateway {
		return
	}
	states := map[string]int{}
	for _, l := range n.leases {
		states[l.State]++
	}
	v.Addresses, v.HostPort = []string{"10.0.0.1/24"}, "weft-lab"
	v.DHCP = &api.NetworkDHCP{
		Ranges: []string{"10.0.0.100-10.0.0.199"}, LeaseSeconds: 3600, Size: 100, Free: 98, Leases: states,
		Messages: []api.DHCPMessages{
			{Type: "discover", Outcome: "offered", Count: 3},
			{Type: "discover", Outcome: "unavailable", Count: 1},
			{Type: "request", Outcome: "granted", Count: 2},
		},
	}
	v.DNS = &api.NetworkDNS{
		Name: "gateway", Domain: "lab.example", CacheEntries: 12,
		Upstreams: []api.DNSUpstream{
			{Address: "192.0.2.53:53", State: "ok"},
			{Address: "198.51.100.1:53", Domain: "corp.example", State: "failing"},
		},
		Queries: map[string]uint64{"cached": 5, "forwarded": 2, "local": 3, "refused": 0},
		Latency: api.DNSLatency{
			Bounds: []float64{0.001, 0.1}, Counts: []uint64{8, 1}, SumSeconds: 2.5, Count: 10,
		},
	}
}

// Leases implements api.Backend.
func (b *Backend) Leases(networkName string) ([]api.Lease, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	chosen, err := b.choose(networkName)
	if err != nil {
		return nil, err
	}
	var all []api.Lease
	for _, n := range chosen {
		all = append(all, n.leases...)
	}
	slices.SortFunc(all, func(a, b api.Lease) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), addressOf(a).Compare(addressOf(b)))
	})
	return all, nil
}

// addressOf returns the zero address for a reservation that has none, and the first
// one of a prefix.
func addressOf(l api.Lease) netip.Addr {
	if p, err := netip.ParsePrefix(l.Address); err == nil {
		return p.Addr()
	}
	a, _ := netip.ParseAddr(l.Address)
	return a
}

// Lease implements api.Backend.
func (b *Backend) Lease(networkName, who string) (api.Lease, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, _, err := b.lease(networkName, who)
	if err != nil {
		return api.Lease{}, err
	}
	return *l, nil
}

// lease finds one of a network by address, MAC, client identifier or host name. The lock is held.
func (b *Backend) lease(networkName, who string) (*api.Lease, *network, error) {
	n, err := b.network(networkName)
	if err != nil {
		return nil, nil, err
	}
	mac, _ := parseMAC(who)
	i := slices.IndexFunc(n.leases, func(l api.Lease) bool {
		return l.Address == who || l.MAC != "" && l.MAC == mac || strings.EqualFold(l.Hostname, who) ||
			l.ClientID != "" && l.ClientID == who
	})
	if i < 0 {
		return nil, nil, api.Mark(api.ErrNotFound, fmt.Errorf("network %q: nobody has a lease as %q", networkName, who))
	}
	return &n.leases[i], n, nil
}

// AddLease implements api.Backend.
func (b *Backend) AddLease(networkName string, s api.LeaseSpec) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.network(networkName)
	if err != nil {
		return err
	}
	if !n.gateway {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q has no address: give it one first", networkName))
	}
	mac := s.MAC
	if mac != "" {
		if mac, err = parseMAC(mac); err != nil {
			return err
		}
	}
	for _, l := range n.leases {
		if l.Kind == api.LeaseStatic && (l.MAC == mac && l.ClientID == s.ClientID+s.DUID || s.Address != "" && l.Address == s.Address) {
			return api.Mark(api.ErrConflict, fmt.Errorf("network %q: %s is reserved already", networkName, cmp.Or(s.Address, mac)))
		}
	}
	n.leases = append(n.leases, api.Lease{
		Network: networkName, MAC: mac, ClientID: s.ClientID + s.DUID, Address: s.Address, Hostname: s.Name,
		Kind: api.LeaseStatic, State: api.LeaseReserved,
	})
	n.reservations = append(n.reservations, s)
	return nil
}

// Reservations returns what AddLease has been asked for, in its order.
func (b *Backend) Reservations(networkName string) []api.LeaseSpec {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.networks[networkName].reservations)
}

// RemoveLease implements api.Backend.
func (b *Backend) RemoveLease(networkName, who string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, n, err := b.lease(networkName, who)
	if err != nil {
		return err
	}
	if l.Kind != api.LeaseStatic {
		return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: the lease of %q is no reservation", networkName, who))
	}
	gone := *l
	n.leases = slices.DeleteFunc(n.leases, func(l api.Lease) bool { return l == gone })
	return nil
}

// ReleaseLease implements api.Backend. Of a client with a reservation that
// stays, of any other nothing.
func (b *Backend) ReleaseLease(networkName, who string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, n, err := b.lease(networkName, who)
	if err != nil {
		return err
	}
	if l.State == api.LeaseReserved {
		return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: %q has no lease to release", networkName, who))
	}
	if l.Kind == api.LeaseStatic {
		l.State, l.Expires, l.Port = api.LeaseReserved, nil, ""
		return nil
	}
	gone := *l
	n.leases = slices.DeleteFunc(n.leases, func(l api.Lease) bool { return l == gone })
	return nil
}
