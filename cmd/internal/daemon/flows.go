package daemon

import (
	"iter"
	"net/netip"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/sockets"
)

// tracked is a flow as whatever tracks it has it.
type tracked struct {
	protocol             uint8
	state                string
	original, translated flowEnds
	packets, bytes       uint64
	expires              int64 // seconds
	offloaded            bool
}

// flowEnds are a source and a destination. The port of an ICMP echo is its
// identifier; protocols without ports have 0.
type flowEnds [2]netip.AddrPort

// Flows implements api.Backend.
func (d *Daemon) Flows(f api.FlowFilter, limit int) ([]api.Flow, int, error) {
	cfg := d.config()
	if err := checkNetwork(cfg, f.Network); err != nil {
		return nil, 0, err
	}
	list, total := []api.Flow{}, 0
	for _, n := range cfg.Networks {
		if f.Network != "" && n.Name != f.Network {
			continue
		}
		for flow := range d.flowsOf(n.Name) {
			if !flow.chosenBy(&f) {
				continue
			}
			if total++; total <= limit {
				list = append(list, flow.describe(n.Name))
			}
		}
	}
	return list, total, nil
}

// FlushFlows implements api.Backend.
func (d *Daemon) FlushFlows(f api.FlowFilter) (int, error) {
	cfg := d.config()
	if err := checkNetwork(cfg, f.Network); err != nil {
		return 0, err
	}
	sum := 0
	for _, n := range cfg.Networks {
		if f.Network == "" || n.Name == f.Network {
			sum += d.flushFlowsOf(n.Name, func(flow *tracked) bool { return flow.chosenBy(&f) })
		}
	}
	return sum, nil
}

// flowsOf yields the flows of a network, whatever tracks them.
func (d *Daemon) flowsOf(network string) iter.Seq[tracked] {
	return func(yield func(tracked) bool) {
		if t, zone := d.tableOf(network); t != nil {
			for f := range t.Flows {
				if f.Zone == zone && !yield(trackedByNAT(&f)) {
					return
				}
			}
		}
		if r := d.relayOf(network); r != nil {
			for _, f := range r.Flows() {
				if !yield(trackedByRelay(&f)) {
					return
				}
			}
		}
	}
}

// tableOf returns the table that translates for a network, and the network's zone in
// it; nil where there is none.
func (d *Daemon) tableOf(network string) (*nat.Table, nat.Zone) {
	n, o := d.sw.Network(network), d.outletOf(network)
	if n == nil || o == nil || o.uplink == nil {
		return nil, 0
	}
	return o.uplink.NAT(), n.Zone()
}

// trackedByNAT says who opened the flow: from outside, its destination is what is
// translated.
func trackedByNAT(f *nat.Flow) tracked {
	t := tracked{
		protocol: f.Protocol, state: f.State.String(), packets: f.Packets, bytes: f.Bytes, expires: int64(f.Expires),
		original:   flowEnds{f.Inside.AddrPort(), f.Remote.AddrPort()},
		translated: flowEnds{f.Outside.AddrPort(), f.Remote.AddrPort()},
	}
	if f.FromOutside {
		t.original = flowEnds{f.Remote.AddrPort(), f.Outside.AddrPort()}
		t.translated = flowEnds{f.Remote.AddrPort(), f.Inside.AddrPort()}
	}
	return t
}

// flushFlowsOf ends the flows of a network that match chooses, and returns their
// number.
func (d *Daemon) flushFlowsOf(network string, match func(*tracked) bool) int {
	sum := 0
	if t, zone := d.tableOf(network); t != nil {
		sum += t.Flush(func(f *nat.Flow) bool {
			flow := trackedByNAT(f)
			return f.Zone == zone && match(&flow)
		})
	}
	if r := d.relayOf(network); r != nil {
		sum += r.Flush(func(f *sockets.Flow) bool {
			flow := trackedByRelay(f)
			return match(&flow)
		})
	}
	return sum
}

func (t *tracked) chosenBy(f *api.FlowFilter) bool {
	return f.Match(api.ProtocolName(t.protocol), t.state, t.original[0], t.original[1], t.translated[0], t.translated[1])
}

func (t *tracked) describe(network string) api.Flow {
	return api.Flow{
		Network: network, Protocol: api.ProtocolName(t.protocol), State: t.state,
		Original: t.describeEnds(t.original), Translated: t.describeEnds(t.translated),
		Packets: t.packets, Bytes: t.bytes, ExpiresSeconds: t.expires, Offloaded: t.offloaded,
	}
}

// describeEnds leaves the port away where the protocol has none.
func (t *tracked) describeEnds(ends flowEnds) api.FlowEnds {
	text := netip.AddrPort.String
	if !api.HasPorts(t.protocol) {
		text = func(end netip.AddrPort) string { return end.Addr().String() }
	}
	return api.FlowEnds{Source: text(ends[0]), Destination: text(ends[1])}
}
