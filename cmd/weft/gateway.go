package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
)

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// fillGateway shows what a network is to its hosts, besides a switch: what it does,
// and what it is told to.
func fillGateway(t *table, n api.Network, cfg *config.Network) {
	gateway := "none"
	if len(n.Addresses) > 0 {
		gateway = strings.Join(n.Addresses, ", ")
	}
	if n.VLAN != 0 {
		gateway += fmt.Sprintf(", VLAN %d", n.VLAN)
	}
	t.field("Gateway", gateway)
	t.field("Host port", n.HostPort)
	if n.DHCP == nil {
		t.field("DHCP", "off")
	} else {
		fillDHCP(t, n.DHCP)
		fillDHCPSettings(t, cfg)
	}
	fillRA(t, n.RA, cfg)
	fillDHCP6(t, n.DHCP6)
	if n.DNS == nil {
		t.field("DNS", "off")
	} else {
		fillDNS(t, n.DNS)
		fillDNSSettings(t, &cfg.DNS)
	}
}

func fillDHCP(t *table, d *api.NetworkDHCP) {
	ranges := "reservations only"
	if len(d.Ranges) > 0 {
		ranges = strings.Join(d.Ranges, ", ")
	}
	t.field("DHCP", joinSet(
		named{"on", true},
		named{ranges, true},
		named{"lease " + leaseTimeText(d.LeaseSeconds), true},
		named{fmt.Sprintf("at most %d", d.MaxLeases), d.MaxLeases > 0},
	))
	t.field("DHCP addresses", fmt.Sprintf("%d of %d free", d.Free, d.Size))
	var leases []named
	for _, state := range slices.Sorted(maps.Keys(d.Leases)) {
		leases = append(leases, named{fmt.Sprintf("%d %s", d.Leases[state], state), d.Leases[state] > 0})
	}
	t.field("DHCP leases", joinSet(leases...))
	var sum uint64
	for _, m := range d.Messages {
		sum += m.Count
	}
	t.field("DHCP messages", sum)
	for _, m := range d.Messages {
		t.field("  "+m.Type+", "+m.Outcome, m.Count)
	}
}

func fillDNS(t *table, d *api.NetworkDNS) {
	t.field("DNS", joinSet(
		named{"on", true},
		named{"as " + d.Name, d.Name != ""},
		named{"domain " + d.Domain, d.Domain != ""},
		named{fmt.Sprintf("%d in the cache", d.CacheEntries), true},
	))
	var upstreams []named
	for _, u := range d.Upstreams {
		text := u.Address
		if u.Domain != "" {
			text += " for " + u.Domain
		}
		upstreams = append(upstreams, named{fmt.Sprintf("%s (%s)", text, u.State), true})
	}
	if !slices.ContainsFunc(d.Upstreams, func(u api.DNSUpstream) bool { return u.Domain == "" }) {
		upstreams = append(upstreams, named{"none for other names, which are refused", true})
	}
	t.field("DNS upstreams", joinSet(upstreams...))
	t.field("DNS queries", d.Latency.Count)
	for _, outcome := range slices.Sorted(maps.Keys(d.Queries)) {
		if n := d.Queries[outcome]; n > 0 {
			t.field("  "+outcome, n)
		}
	}
}

// fillDHCPSettings shows what clients are told, and where reservations come from.
func fillDHCPSettings(t *table, n *config.Network) {
	if !n.Gateway().IsValid() {
		return
	}
	d := &n.DHCP
	router := "none"
	switch r := n.Router(); {
	case r.IsValid():
		router = r.String()
	case d.Router == config.RouterAuto:
		router = "none, as nothing leads out of the network"
	}
	t.field("DHCP router", router)
	var boot []named
	if d.Bootfile != "" || d.ServerName != "" || d.NextServer.IsValid() {
		from := n.Gateway().Addr()
		if d.NextServer.IsValid() {
			from = d.NextServer
		}
		boot = []named{{d.Bootfile, d.Bootfile != ""}, {"from " + from.String(), true}, {"server name " + d.ServerName, d.ServerName != ""}}
	}
	t.field("DHCP boot file", joinSet(boot...))
	for _, o := range d.Options {
		t.field("DHCP option "+o.Key, o.Value)
	}
	t.field("DHCP reservations", joinSet(
		named{fmt.Sprint(len(d.Hosts)), len(d.Hosts) > 0 || d.HostsFile != ""},
		named{"and those of " + d.HostsFile, d.HostsFile != ""},
	))
}

// fillDNSSettings shows how many names there are besides those of leases.
func fillDNSSettings(t *table, d *config.DNS) {
	t.field("DNS records", joinSet(
		named{count(len(d.Hosts), "host"), len(d.Hosts) > 0},
		named{fmt.Sprintf("%d TXT", len(d.TXT)), len(d.TXT) > 0},
		named{fmt.Sprintf("%d SRV", len(d.SRV)), len(d.SRV) > 0},
		named{"and those of " + d.HostsFile, d.HostsFile != ""},
	))
	for _, e := range d.Domains {
		if len(e.Upstream) == 0 {
			t.field("DNS local domain", e.Name)
		}
	}
}
