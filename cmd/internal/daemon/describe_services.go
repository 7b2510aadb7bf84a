package daemon

import (
	"cmp"
	"slices"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dhcp"
)

// describeServices adds a network's gateway and what it serves.
func (d *Daemon) describeServices(v *api.Network, n *config.Network) {
	v.Addresses, v.VLAN, v.HostPort = []string{}, n.VLAN, n.HostPort
	for _, a := range n.Addresses {
		v.Addresses = append(v.Addresses, a.String())
	}
	s := d.servicesOf(n.Name)
	if s == nil {
		return
	}
	if server := s.dhcp.Load(); server != nil {
		st := server.Stats()
		v.DHCP = &api.NetworkDHCP{
			Ranges: []string{}, LeaseSeconds: leaseSeconds(n.DHCP.Lease), MaxLeases: n.DHCP.MaxLeases,
			Size: st.Size, Free: st.Free, Leases: map[string]int{},
			Messages: describeMessages(st.Messages),
		}
		for _, r := range n.DHCP.Ranges {
			v.DHCP.Ranges = append(v.DHCP.Ranges, r.String())
		}
		for state, count := range st.Leases {
			v.DHCP.Leases[state.String()] = count
		}
	}
	v.DHCP6, v.RA = s.describeDHCP6(n), s.describeRA()
	if r := s.dns.Load(); r != nil {
		st := r.Stats()
		v.DNS = &api.NetworkDNS{
			Name: n.DNS.Name, Domain: n.DNS.Domain, CacheEntries: st.CacheEntries,
			Upstreams: []api.DNSUpstream{}, Queries: map[string]uint64{},
			Latency: api.DNSLatency{
				Bounds: st.Latency.Bounds, Counts: st.Latency.Counts,
				SumSeconds: st.Latency.Sum, Count: st.Latency.Count,
			},
		}
		for outcome, count := range st.Queries {
			v.DNS.Queries[outcome.String()] = count
		}
		for _, u := range st.Upstreams {
			v.DNS.Upstreams = append(v.DNS.Upstreams, api.DNSUpstream{Address: u.Address, Domain: u.Domain, State: u.State.String()})
		}
	}
}

// describeMessages makes a list of counters, sorted by type and outcome.
func describeMessages(counters map[dhcp.MessageKey]uint64) []api.DHCPMessages {
	list := make([]api.DHCPMessages, 0, len(counters))
	for k, count := range counters {
		list = append(list, api.DHCPMessages{Type: k.Type, Outcome: k.Outcome, Count: count})
	}
	slices.SortFunc(list, func(a, b api.DHCPMessages) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Outcome, b.Outcome))
	})
	return list
}

func leaseSeconds(lease time.Duration) int64 {
	if lease == config.InfiniteLease {
		return api.LeaseForever
	}
	return seconds(lease)
}
