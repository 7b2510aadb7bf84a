package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft/weft/cmd/internal/api"
)

// leaseStates are those that a network always has a number for: one that went
// to zero shall show as zero, not as gone.
var leaseStates = []string{
	api.LeaseActive, api.LeaseOffered, api.LeaseExpired, api.LeaseDeclined, api.LeaseReserved,
}

func (c *Collector) collectDHCP(ch chan<- prometheus.Metric, network string, d *api.NetworkDHCP) {
	gauge, counter := gaugesTo(ch), countersTo(ch)
	for _, state := range leaseStates {
		gauge(c.leases, float64(d.Leases[state]), network, state)
	}
	gauge(c.pool, float64(d.Free), network, "free")
	gauge(c.pool, float64(d.Size-d.Free), network, "used")
	for _, m := range d.Messages {
		counter(c.messages, m.Count, network, m.Type, m.Outcome)
	}
}

func (c *Collector) collectDNS(ch chan<- prometheus.Metric, network string, d *api.NetworkDNS) {
	for outcome, n := range d.Queries {
		countersTo(ch)(c.queries, n, network, outcome)
	}
	gaugesTo(ch)(c.cached, float64(d.CacheEntries), network)

	// Prometheus counts in each bucket those of all buckets below it too.
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range d.Latency.Bounds {
		sum += d.Latency.Counts[i]
		buckets[bound] = sum
	}
	ch <- prometheus.MustNewConstHistogram(c.duration, d.Latency.Count, d.Latency.SumSeconds, buckets, network)
}

func gaugesTo(ch chan<- prometheus.Metric) func(*prometheus.Desc, float64, ...string) {
	return func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
}

func countersTo(ch chan<- prometheus.Metric) func(*prometheus.Desc, uint64, ...string) {
	return func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
}
