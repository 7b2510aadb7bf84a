package daemon

import (
	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/ndp"
)

// maxCounted is the largest number that every reader of JSON takes as it is.
const maxCounted = 1 << 53

func counted(n int) int64 { return min(int64(n), maxCounted) }

// describeDHCP6 shows the DHCPv6 server of a network, nil where there is none.
func (s *services) describeDHCP6(n *config.Network) *api.NetworkDHCP6 {
	server := s.dhcp6.Load()
	if server == nil {
		return nil
	}
	st := server.Stats()
	v := &api.NetworkDHCP6{
		Ranges: []string{}, Stateless: n.DHCP6.Stateless, LeaseSeconds: leaseSeconds(n.DHCP6.Lease), MaxLeases: n.DHCP6.MaxLeases,
		Size: counted(st.Size), Free: counted(st.Free), Leases: map[string]int{}, Messages: describeMessages(st.Messages),
	}
	for _, r := range n.DHCP6.Ranges {
		v.Ranges = append(v.Ranges, r.String())
	}
	for state, count := range st.Leases {
		v.Leases[state.String()] = count
	}
	for _, p := range n.DHCP6.Delegate {
		pool := api.DelegatedPool{Prefix: p.Prefix.String(), Length: p.Length, Size: maxCounted}
		if bits := p.Length - p.Prefix.Bits(); bits < 53 {
			pool.Size = 1 << bits
		}
		if all := s.delegated.Load(); all != nil {
			for _, d := range *all {
				if p.Prefix.Contains(d.Prefix.Addr()) {
					pool.Used++
				}
			}
		}
		v.Delegated = append(v.Delegated, pool)
	}
	return v
}

// describeRA shows what is advertised now, nil where nothing is.
func (s *services) describeRA() *api.NetworkRA {
	advertiser, cfg := s.ra.Load(), s.advertised.Load()
	if advertiser == nil || cfg == nil {
		return nil
	}
	a, st := &cfg.Advertisement, advertiser.Stats()
	v := &api.NetworkRA{
		IntervalSeconds: seconds(cfg.Interval), LifetimeSeconds: seconds(a.Lifetime), Preference: preferenceWords[a.Preference],
		Managed: a.Managed, Other: a.Other, MTU: int(a.MTU), Search: a.Search,
		Sent: st.Multicast + st.Unicast, Received: st.Received, Refused: st.Refused,
	}
	for _, p := range a.Prefixes {
		v.Prefixes = append(v.Prefixes, p.Prefix.String())
	}
	for _, r := range a.Routes {
		v.Routes = append(v.Routes, r.Prefix.String())
	}
	for _, d := range a.DNS {
		v.DNS = append(v.DNS, d.String())
	}
	return v
}

var preferenceWords = map[ndp.Preference]string{
	ndp.Low: config.PreferenceLow, ndp.Medium: config.PreferenceMedium, ndp.High: config.PreferenceHigh,
}
