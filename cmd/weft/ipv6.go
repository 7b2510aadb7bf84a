package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
)

// fillRA shows what hosts are told of the network's router.
func fillRA(t *table, a *api.NetworkRA, cfg *config.Network) {
	if a == nil {
		t.field("Advertisements", "off")
		return
	}
	router := "router for " + humanSeconds(a.LifetimeSeconds)
	switch {
	case a.LifetimeSeconds > 0:
	case cfg.RA.Lifetime == 0:
		router = "no router, as ra.lifetime says"
	default:
		router = "no router, as nothing leads out of the network"
	}
	t.field("Advertisements", joinSet(
		named{"on", true},
		named{"every " + humanSeconds(a.IntervalSeconds), true},
		named{router, true},
		named{a.Preference + " preference", a.LifetimeSeconds > 0 && a.Preference != "medium"},
		named{"addresses by DHCPv6", a.Managed},
		named{"the rest by DHCPv6", a.Other},
		named{fmt.Sprintf("MTU %d", a.MTU), a.MTU > 0},
	))
	t.field("RA prefixes", strings.Join(a.Prefixes, ", "))
	t.field("RA routes", strings.Join(a.Routes, ", "))
	t.field("RA resolvers", strings.Join(a.DNS, ", "))
	t.field("RA domains", strings.Join(a.Search, ", "))
	t.field("RA sent", fmt.Sprintf("%d, asked for %s", a.Sent, times(a.Received)))
	t.field("RA not answered", joinSet(named{fmt.Sprint(a.Refused), a.Refused > 0}))
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// fillDHCP6 shows the server of DHCPv6 as fillDHCP does the other one.
func fillDHCP6(t *table, d *api.NetworkDHCP6) {
	if d == nil {
		t.field("DHCPv6", "off")
		return
	}
	ranges := "reservations only"
	switch {
	case d.Stateless:
		ranges = "without addresses"
	case len(d.Ranges) > 0:
		ranges = strings.Join(d.Ranges, ", ")
	}
	t.field("DHCPv6", joinSet(
		named{"on", true},
		named{ranges, true},
		named{"lease " + leaseTimeText(d.LeaseSeconds), !d.Stateless},
		named{fmt.Sprintf("at most %d", d.MaxLeases), d.MaxLeases > 0},
	))
	if d.Size > 0 {
		t.field("DHCPv6 addresses", fmt.Sprintf("%d of %d free", d.Free, d.Size))
	}
	for _, p := range d.Delegated {
		t.field("DHCPv6 prefixes", fmt.Sprintf("%s by /%d, %d of %d free", p.Prefix, p.Length, p.Size-p.Used, p.Size))
	}
	var leases []named
	for _, state := range slices.Sorted(maps.Keys(d.Leases)) {
		leases = append(leases, named{fmt.Sprintf("%d %s", d.Leases[state], state), d.Leases[state] > 0})
	}
	t.field("DHCPv6 leases", joinSet(leases...))
	var sum uint64
	for _, m := range d.Messages {
		sum += m.Count
	}
	t.field("DHCPv6 messages", sum)
	for _, m := range d.Messages {
		t.field("  "+m.Type+", "+m.Outcome, m.Count)
	}
}
