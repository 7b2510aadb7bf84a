// Package metrics shows the counters of a running weft to Prometheus. It reads
// them when it is asked, so nothing is counted twice and the dataplane knows
// nothing of it.
//
// The values of all labels are chosen by the owner of the configuration, as
// those of network, port and interface, or fixed by weft, as those of direction,
// reason, state, protocol, family, type and outcome; never an address or the name of a
// host, which a guest could make up by the million.
package metrics

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weft/weft/cmd/internal/api"
)

// Source is the part of api.Backend that is read.
type Source interface {
	Status() api.Status
	Networks() []api.Network
	Ports(network string) ([]api.Port, error)
	Uplinks() []api.Uplink
}

// Handler answers GET /metrics from src, with the Go runtime's and the
// process's own metrics beside it.
func Handler(src Source) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		NewCollector(src),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		Registry:            reg,
		MaxRequestsInFlight: 4, // a scrape walks every port
	}))
	return mux
}

// Collector is a prometheus.Collector over a Source.
type Collector struct {
	src Source

	frames, bytes, drops, up       *prometheus.Desc
	entries, limit, moves, evicted *prometheus.Desc
	changes, forwarding, groups    *prometheus.Desc
	build                          *prometheus.Desc

	leases, pool, messages    *prometheus.Desc
	queries, duration, cached *prometheus.Desc

	leases6, pool6, delegated6, messages6 *prometheus.Desc
	raSent, raReceived, raRefused         *prometheus.Desc
	raLifetime                            *prometheus.Desc

	flows, mappings, created, expired, refused       *prometheus.Desc
	uplinkUp, uplinkFrames, uplinkBytes, uplinkDrops *prometheus.Desc
	uplinkAddresses                                  *prometheus.Desc
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns a collector of what src holds.
func NewCollector(src Source) *Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weft_"+name, help, labels, nil)
	}
	c := &Collector{
		src:     src,
		frames:  desc("port_frames_total", "Frames that crossed a port; rx is into weft.", "network", "port", "direction"),
		bytes:   desc("port_bytes_total", "Bytes of the frames that crossed a port.", "network", "port", "direction"),
		drops:   desc("port_drops_total", "Frames dropped, by reason.", "network", "port", "reason"),
		up:      desc("port_up", "1 where the port is up, 0 otherwise.", "network", "port"),
		entries: desc("fdb_entries", "Addresses known in a network.", "network"),
		limit:   desc("fdb_entries_limit", "Addresses that a network may know.", "network"),
		moves:   desc("fdb_moves_total", "Times that an address changed its port.", "network"),
		forwarding: desc("stp_port_forwarding", "1 where the spanning tree lets a port forward, 0 where it does not.",
			"network", "port"),
		evicted: desc("fdb_evicted_total", "Addresses that gave way at a limit.", "network"),
		changes: desc("stp_topology_changes_total", "Topology changes of a network's spanning tree.", "network"),
		groups:  desc("snooping_groups", "Multicast groups that hosts of a network have joined.", "network"),
		leases:  desc("dhcp_leases", "DHCP leases and reservations of a network, by state.", "network", "state"),
		pool: desc("dhcp_pool_addresses", "Addresses in the DHCP ranges of a network, free or used.",
			"network", "state"),
		messages: desc("dhcp_messages_total", "DHCP messages from clients, by type and by what was done with them.",
			"network", "type", "outcome"),
		queries: desc("dns_queries_total", "DNS queries of a network, by where the answer came from or why there was none.",
			"network", "outcome"),
		duration: desc("dns_query_duration_seconds", "Time from a DNS query to its answer.", "network"),
		cached:   desc("dns_cache_entries", "DNS answers in the cache of a network.", "network"),
		build:    desc("build_info", "Always 1; the labels tell the build.", "version", "go_version"),
	}
	c.describeIPv6(desc)
	c.describeNAT(desc)
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.frames, c.bytes, c.drops, c.up, c.entries, c.limit, c.moves, c.evicted,
		c.changes, c.forwarding, c.groups, c.build,
		c.leases, c.pool, c.messages, c.queries, c.duration, c.cached,
		c.leases6, c.pool6, c.delegated6, c.messages6,
		c.raSent, c.raReceived, c.raRefused, c.raLifetime,
		c.flows, c.mappings, c.created, c.expired, c.refused,
		c.uplinkUp, c.uplinkFrames, c.uplinkBytes, c.uplinkDrops, c.uplinkAddresses,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	gauge, counter := gaugesTo(ch), countersTo(ch)
	gauge(c.build, 1, c.src.Status().Version, runtime.Version())
	for _, n := range c.src.Networks() {
		gauge(c.entries, float64(n.FDB.Entries), n.Name)
		gauge(c.limit, float64(n.FDB.Limit), n.Name)
		counter(c.moves, n.FDB.Moves, n.Name)
		counter(c.evicted, n.FDB.Evicted, n.Name)
		if n.STP.Enabled {
			counter(c.changes, n.STP.TopologyChanges, n.Name)
		}
		if n.Snooping.Enabled {
			gauge(c.groups, float64(n.Snooping.Groups), n.Name)
		}
		if n.DHCP != nil {
			c.collectDHCP(ch, n.Name, n.DHCP)
		}
		if n.DHCP6 != nil {
			c.collectDHCP6(ch, n.Name, n.DHCP6)
		}
		if n.RA != nil {
			c.collectRA(ch, n.Name, n.RA)
		}
		if n.DNS != nil {
			c.collectDNS(ch, n.Name, n.DNS)
		}
		if n.NAT != nil {
			c.collectNAT(ch, n.Name, n.NAT)
		}
	}
	for _, u := range byInterface(c.src.Uplinks()) {
		c.collectUplink(ch, u)
	}
	ports, err := c.src.Ports("")
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.up, err)
		return
	}
	for _, p := range ports {
		gauge(c.up, oneIf(p.State == api.StateUp), p.Network, p.Name)
		if p.STP != nil && p.STP.State != "" {
			gauge(c.forwarding, oneIf(p.STP.State == "forwarding"), p.Network, p.Name)
		}
		counter(c.frames, p.RX.Frames, p.Network, p.Name, "rx")
		counter(c.frames, p.TX.Frames, p.Network, p.Name, "tx")
		counter(c.bytes, p.RX.Bytes, p.Network, p.Name, "rx")
		counter(c.bytes, p.TX.Bytes, p.Network, p.Name, "tx")
		for reason, n := range p.Drops {
			counter(c.drops, n, p.Network, p.Name, reason)
		}
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
