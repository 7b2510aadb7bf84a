package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft/weft/cmd/internal/api"
)

// describeIPv6 makes the metrics of what only IPv6 has. DHCPv6 has other messages and
// outcomes than DHCP, so that each has names of its own; where one count is there for
// both families, it is one metric with the label family.
func (c *Collector) describeIPv6(desc func(name, help string, labels ...string) *prometheus.Desc) {
	c.leases6 = desc("dhcp6_leases", "DHCPv6 leases, delegated prefixes and reservations of a network, by state.", "network", "state")
	c.pool6 = desc("dhcp6_pool_addresses", "Addresses in the DHCPv6 ranges of a network, free or used.", "network", "state")
	c.delegated6 = desc("dhcp6_pool_prefixes", "Prefixes that a network may delegate, free or used.", "network", "state")
	c.messages6 = desc("dhcp6_messages_total", "DHCPv6 messages from clients, by type and by what was done with them.",
		"network", "type", "outcome")
	c.raSent = desc("ra_sent_total", "Router advertisements sent into a network.", "network")
	c.raReceived = desc("ra_solicitations_total", "Router solicitations from hosts of a network.", "network")
	c.raRefused = desc("ra_solicitations_refused_total", "Router solicitations that got no answer of their own.", "network")
	c.raLifetime = desc("ra_lifetime_seconds", "How long hosts may take a network's router for their way out; 0 where there is none.", "network")
}

func (c *Collector) collectDHCP6(ch chan<- prometheus.Metric, network string, d *api.NetworkDHCP6) {
	gauge, counter := gaugesTo(ch), countersTo(ch)
	for _, state := range leaseStates {
		gauge(c.leases6, float64(d.Leases[state]), network, state)
	}
	gauge(c.pool6, float64(d.Free), network, "free")
	gauge(c.pool6, float64(d.Size-d.Free), network, "used")
	var size, used int64
	for _, p := range d.Delegated {
		size, used = size+p.Size, used+p.Used
	}
	gauge(c.delegated6, float64(size-used), network, "free")
	gauge(c.delegated6, float64(used), network, "used")
	for _, m := range d.Messages {
		counter(c.messages6, m.Count, network, m.Type, m.Outcome)
	}
}

func (c *Collector) collectRA(ch chan<- prometheus.Metric, network string, a *api.NetworkRA) {
	counter := countersTo(ch)
	counter(c.raSent, a.Sent, network)
	counter(c.raReceived, a.Received, network)
	counter(c.raRefused, a.Refused, network)
	gaugesTo(ch)(c.raLifetime, float64(a.LifetimeSeconds), network)
}

// addressesByFamily has both families, so that one that is lost shows as zero.
func addressesByFamily(list []string) map[string]int {
	count := map[string]int{"ipv4": 0, "ipv6": 0}
	for _, a := range list {
		if strings.Contains(a, ":") {
			count["ipv6"]++
		} else {
			count["ipv4"]++
		}
	}
	return count
}
