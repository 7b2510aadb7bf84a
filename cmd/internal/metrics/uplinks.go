package metrics

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft/weft/cmd/internal/api"
)

// describeNAT makes the metrics of flows and uplinks.
func (c *Collector) describeNAT(desc func(name, help string, labels ...string) *prometheus.Desc) {
	c.flows = desc("flows", "Flows tracked in a network.", "network", "protocol")
	c.mappings = desc("nat_mappings", "Outside ports in use for a network.", "network", "protocol")
	c.created = desc("flows_created_total", "Flows that began.", "network", "protocol")
	c.expired = desc("flows_expired_total", "Flows whose time ran out.", "network", "protocol")
	c.refused = desc("nat_refused_total", "Flows that could not begin, by reason.", "network", "reason")
	c.uplinkUp = desc("uplink_up", "1 where the uplink is up, 0 otherwise.", "interface")
	c.uplinkFrames = desc("uplink_frames_total", "Frames that crossed an uplink; rx is into weft.", "interface", "direction")
	c.uplinkBytes = desc("uplink_bytes_total", "Bytes of the frames that crossed an uplink.", "interface", "direction")
	c.uplinkAddresses = desc("uplink_addresses", "Addresses of an uplink by which networks leave.", "interface", "family")
	c.uplinkDrops = desc("uplink_drops_total", "Frames dropped at an uplink, by reason.", "interface", "reason")
}

// collectNAT has a number for every protocol: one whose last flow ended shall
// show as zero, not as gone.
func (c *Collector) collectNAT(ch chan<- prometheus.Metric, network string, n *api.NetworkNAT) {
	gauge, counter := gaugesTo(ch), countersTo(ch)
	byName := map[string]api.NATProtocol{}
	for _, p := range n.Protocols {
		byName[p.Protocol] = p
	}
	for _, name := range api.NATProtocols() {
		p := byName[name]
		gauge(c.flows, float64(p.Flows), network, name)
		gauge(c.mappings, float64(p.Mappings), network, name)
		counter(c.created, p.Created, network, name)
		counter(c.expired, p.Expired, network, name)
	}
	for reason, count := range n.Refused {
		counter(c.refused, count, network, reason)
	}
}

// byInterface makes one of the uplinks that have an interface in common, as two
// that follow the default route may: a second value of a metric with the same
// labels would fail the whole scrape. It is up where all of them are.
func byInterface(uplinks []api.Uplink) []api.Uplink {
	var merged []api.Uplink
	for _, u := range uplinks {
		i := slices.IndexFunc(merged, func(m api.Uplink) bool { return m.Interface == u.Interface })
		if i < 0 {
			u.Drops = maps.Clone(u.Drops)
			merged = append(merged, u)
			continue
		}
		m := &merged[i]
		if m.State == api.StateUp {
			m.State = u.State
		}
		if m.Kind == api.UplinkSockets {
			m.Kind = u.Kind
		}
		if len(m.Addresses) == 0 { // sockets have none, and one has all of the interface's
			m.Addresses = u.Addresses
		}
		m.RX = api.Counters{Frames: m.RX.Frames + u.RX.Frames, Bytes: m.RX.Bytes + u.RX.Bytes}
		m.TX = api.Counters{Frames: m.TX.Frames + u.TX.Frames, Bytes: m.TX.Bytes + u.TX.Bytes}
		for reason, n := range u.Drops {
			if m.Drops == nil {
				m.Drops = map[string]uint64{}
			}
			m.Drops[reason] += n
		}
	}
	return merged
}

func (c *Collector) collectUplink(ch chan<- prometheus.Metric, u api.Uplink) {
	counter := countersTo(ch)
	gaugesTo(ch)(c.uplinkUp, oneIf(u.State == api.StateUp), u.Interface)
	if u.Kind == api.UplinkSockets {
		return // which carry no frames
	}
	for family, count := range addressesByFamily(u.Addresses) {
		gaugesTo(ch)(c.uplinkAddresses, float64(count), u.Interface, family)
	}
	counter(c.uplinkFrames, u.RX.Frames, u.Interface, "rx")
	counter(c.uplinkFrames, u.TX.Frames, u.Interface, "tx")
	counter(c.uplinkBytes, u.RX.Bytes, u.Interface, "rx")
	counter(c.uplinkBytes, u.TX.Bytes, u.Interface, "tx")
	for reason, n := range u.Drops {
		counter(c.uplinkDrops, n, u.Interface, reason)
	}
}
