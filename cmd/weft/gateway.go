package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft/weft/cmd/internal/api"
)

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// fillGateway shows what a network is to its hosts, besides a switch.
func fillGateway(t *table, n api.Network) {
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
	}
	if n.DNS == nil {
		t.field("DNS", "off")
	} else {
		fillDNS(t, n.DNS)
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
	t.field("DNS upstreams", joinSet(upstreams...))
	t.field("DNS queries", d.Latency.Count)
	for _, outcome := range slices.Sorted(maps.Keys(d.Queries)) {
		if n := d.Queries[outcome]; n > 0 {
			t.field("  "+outcome, n)
		}
	}
}
