package daemon

import (
	"net/netip"
	"time"

	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp6"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ra"
)

// dhcp6Config is the configuration of a network in the words of its DHCPv6 server.
func dhcp6Config(n *config.Network) dhcp6.Config {
	d := &n.DHCP6
	c := dhcp6.Config{
		MAC:       n.MAC,
		Links:     n.Gateway6(),
		Lease:     d.Lease,
		MaxLeases: d.MaxLeases,
		Rapid:     d.Rapid,

		DNS:    resolvers6(n),
		NTP:    d.NTP,
		Domain: n.DNS.Domain,
		Search: d.Search,

		Names: takenNames(n),
	}
	for _, o := range d.Options {
		c.Options = append(c.Options, dhcp6.Option{Code: o.Code, Data: o.Data})
	}
	if d.Stateless { // only what is told to those who have addresses
		return c
	}
	for _, r := range d.Ranges {
		c.Ranges = append(c.Ranges, dhcp.Range{First: r.First, Last: r.Last})
	}
	for _, h := range d.Hosts {
		c.Hosts = append(c.Hosts, dhcp6.Host(h))
	}
	for _, p := range d.Delegate {
		c.Delegate = append(c.Delegate, dhcp6.Pool(p))
	}
	return c
}

// resolvers6 are the addresses at which hosts of IPv6 find the resolver.
func resolvers6(n *config.Network) []netip.Addr {
	if six := n.Gateway6(); n.DNS.Enabled && len(six) > 0 {
		return []netip.Addr{six[0].Addr()}
	}
	return nil
}

var preferences = map[string]ndp.Preference{
	config.PreferenceLow: ndp.Low, config.PreferenceMedium: ndp.Medium, config.PreferenceHigh: ndp.High,
}

// lifetimes is how many intervals what is advertised lives: two advertisements may be
// lost (RFC 4861 clause 6.2.1, RFC 8106 clause 5.1).
const lifetimes = 3

// raConfig is what the router of a network advertises; leads says that something is
// reached by it.
func raConfig(n *config.Network, leads bool) ra.Config {
	a := &n.RA
	life := lifetimes * a.Interval
	v := ndp.Advertisement{
		HopLimit: uint8(a.HopLimit), Preference: preferences[a.Preference], MAC: n.MAC,
		Managed: flag(a.Managed, givesAddresses(&n.DHCP6)), Other: flag(a.Other, n.DHCP6.Enabled()),
		Lifetime: a.Lifetime, DNS: a.RDNSS, DNSLifetime: life, Search: a.DNSSL, SearchLifetime: life,
	}
	switch {
	case a.Lifetime != config.LifetimeAuto:
	case leads:
		v.Lifetime = life
	default:
		v.Lifetime = 0
	}
	switch a.MTU {
	case config.MTUAuto:
		v.MTU = uint32(n.MTU)
	case config.MTUNone:
	default:
		v.MTU = uint32(a.MTU)
	}
	for _, p := range n.Gateway6() {
		v.Prefixes = append(v.Prefixes, ndp.Prefix{
			Prefix: p.Masked(), OnLink: true, Autonomous: a.Autonomous && p.Bits() == 64,
			Valid: lifetime(a.Valid), Preferred: lifetime(a.Preferred),
		})
	}
	for _, p := range a.Routes {
		v.Routes = append(v.Routes, ndp.Route{Prefix: p, Preference: v.Preference, Lifetime: life})
	}
	if a.RDNSSAuto {
		v.DNS = resolvers6(n)
	}
	if a.DNSSLAuto && n.DNS.Enabled && n.DNS.Domain != "" {
		v.Search = []string{n.DNS.Domain}
	}
	return ra.Config{Advertisement: v, Interval: a.Interval}
}

// flag is a word of the configuration, or what is so by itself.
func flag(word string, auto bool) bool {
	return word == config.FlagTrue || word == config.FlagAuto && auto
}

// givesAddresses reports whether hosts get addresses by DHCPv6.
func givesAddresses(d *config.DHCP6) bool {
	return !d.Stateless && (len(d.Ranges) > 0 || len(d.Hosts) > 0)
}

func lifetime(d time.Duration) time.Duration {
	if d == config.InfiniteLease {
		return ndp.Infinite
	}
	return d
}
