package daemon

import (
	"net/netip"
	"strings"

	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/option"
	"github.com/weft/weft/dns"
)

// From the configuration's words to those of the services.

func dhcpConfig(n *config.Network) dhcp.Config {
	d := &n.DHCP
	c := dhcp.Config{
		Server:    n.Gateway(),
		Lease:     d.Lease,
		MaxLeases: d.MaxLeases,

		Authoritative: d.Authoritative,
		Probe:         d.Probe,
		NoOverride:    d.NoOverride,

		HostsFile: d.HostsFile,

		Router:     n.Router(),
		NTP:        d.NTP,
		Domain:     n.DNS.Domain,
		Search:     d.Search,
		MTU:        n.MTU,
		NextServer: d.NextServer,
		ServerName: d.ServerName,
		Bootfile:   d.Bootfile,

		Names: takenNames(n),
	}
	if n.DNS.Enabled {
		c.DNS = n.Gateway().Addr()
	}
	for _, r := range d.Ranges {
		c.Ranges = append(c.Ranges, dhcp.Range{First: r.First, Last: r.Last})
	}
	for _, h := range d.Hosts {
		c.Hosts = append(c.Hosts, dhcp.Host{
			MAC: h.MAC, ClientID: h.ClientID, Address: h.Address, Name: h.Name, Lease: h.Lease, Ignore: h.Ignore,
		})
	}
	for _, o := range d.Options {
		c.Options = append(c.Options, option.Option{Code: o.Option.Code, Data: o.Option.Data})
	}
	return c
}

// takenNames returns the names that no client may have: the gateway's, and those
// that the configuration gives an address.
func takenNames(n *config.Network) []string {
	names := []string{n.DNS.Name}
	for _, h := range n.DNS.Hosts {
		host, domain, _ := strings.Cut(h.Name, ".")
		if domain == "" || domain == n.DNS.Domain {
			names = append(names, host)
		}
	}
	return names
}

func dnsConfig(n *config.Network) dns.Config {
	d := &n.DNS
	c := dns.Config{
		Name:         d.Name,
		Domain:       d.Domain,
		Gateway:      n.Addresses,
		Upstream:     n.Upstreams(),
		Domains:      map[string][]string{},
		Hosts:        map[string][]netip.Addr{},
		TXT:          map[string][]string{},
		HostsFile:    d.HostsFile,
		Cache:        d.Cache,
		ForwardPlain: d.ForwardPlain,
		Payload:      n.MTU - 28, // without the headers of IPv4 and UDP
	}
	if len(n.Gateway6()) > 0 {
		c.Payload = n.MTU - 48 // whose router fragments nothing on the way
	}
	for _, e := range d.Domains {
		c.Domains[e.Name] = e.Upstream
	}
	for _, h := range d.Hosts {
		c.Hosts[h.Name] = h.Addresses
	}
	for _, t := range d.TXT {
		c.TXT[t.Name] = t.Values
	}
	for _, s := range d.SRV {
		c.SRV = append(c.SRV, dns.SRV{
			Name: s.Name, Target: s.Target,
			Port: uint16(s.Port), Priority: uint16(s.Priority), Weight: uint16(s.Weight),
		})
	}
	return c
}
