package daemon

import (
	"reflect"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/stp"
)

// Every key of a port's policy reaches the dataplane, and none reaches another.
func TestPolicyOf(t *testing.T) {
	members := func(ids ...uint16) *dataplane.VLANSet {
		set := new(dataplane.VLANSet)
		for _, id := range ids {
			set.Add(id, id)
		}
		return set
	}
	plain := dataplane.Policy{STP: stp.PortConfig{Cost: 2000, Priority: 128}}
	for _, tt := range []struct {
		keys string
		want func(p *dataplane.Policy)
	}{
		{"", func(*dataplane.Policy) {}},
		{"mode: vepa", func(p *dataplane.Policy) { p.Mode = dataplane.VEPA }},
		{"mode: private", func(p *dataplane.Policy) { p.Mode = dataplane.Private }},
		{"mode: passthrough", func(p *dataplane.Policy) { p.Mode = dataplane.Passthrough }},
		{"hairpin: true", func(p *dataplane.Policy) { p.Hairpin = true }},
		{"isolated: true", func(p *dataplane.Policy) { p.Isolated = true }},
		{"vlan: {access: 10}", func(p *dataplane.Policy) { p.VLAN = dataplane.VLANs{Native: 10, Tagged: members()} }},
		{"vlan: {trunk: [10, 20-22]}", func(p *dataplane.Policy) { p.VLAN = dataplane.VLANs{Tagged: members(10, 20, 21, 22)} }},
		{"vlan: {trunk: [10, 20], native: 20}", func(p *dataplane.Policy) { p.VLAN = dataplane.VLANs{Native: 20, Tagged: members(10, 20)} }},
		{"stp: {edge: true}", func(p *dataplane.Policy) { p.STP.Edge = stp.EdgeYes }},
		{"stp: {edge: false}", func(p *dataplane.Policy) { p.STP.Edge = stp.EdgeNo }},
		{"stp: {priority: 16, cost: 7}", func(p *dataplane.Policy) { p.STP.Priority, p.STP.Cost = 16, 7 }},
		{"stp: {root_guard: true}", func(p *dataplane.Policy) { p.STP.RootGuard = true }},
		{"stp: {bpdu_guard: true}", func(p *dataplane.Policy) { p.STP.BPDUGuard = true }},
		{"security: {max_macs: 3, sticky: true}", func(p *dataplane.Policy) { p.Security.MaxMACs, p.Security.Sticky = 3, true }},
		{"security: {sources: [02:00:00:00:00:01]}", func(p *dataplane.Policy) { p.Security.Sources = []frame.MAC{{2, 0, 0, 0, 0, 1}} }},
		{"storm: {broadcast: 1, multicast: 2, unknown: 3}", func(p *dataplane.Policy) { p.Storm = dataplane.Storm{Broadcast: 1, Multicast: 2, Unknown: 3} }},
		{"rate: {ingress: {average: 1Mbit, peak: 2Mbit, burst: 3}}", func(p *dataplane.Policy) {
			p.Ingress = dataplane.Rate{Average: 1e6, Peak: 2e6, Burst: 3}
		}},
		{"guard: {ra: true}", func(p *dataplane.Policy) { p.Guard.RA = true }},
		{"guard: {dhcp: true}", func(p *dataplane.Policy) { p.Guard.DHCP = true }},
		{"rate: {egress: {average: 1Mbit, burst: 1KiB}}", func(p *dataplane.Policy) { p.Egress = dataplane.Rate{Average: 1e6, Burst: 1024} }},
	} {
		want := plain
		tt.want(&want)
		c := parse(t, "a: {forward: bridge, uplink: {interface: u}, ports: {x: {type: tap, "+tt.keys+"}}}")
		got := policies(&c.Networks[0])
		if !reflect.DeepEqual(got["x"], want) {
			t.Errorf("%s:\n%+v, want\n%+v", tt.keys, got["x"], want)
		}
		if !got["uplink"].Uplink || got["x"].Uplink || got["uplink"].Mode != dataplane.Bridge {
			t.Errorf("%s: the uplink is %+v", tt.keys, got["uplink"])
		}
	}
}

func TestNetworkConfig(t *testing.T) {
	c := parse(t, `a: {mac: "02:00:00:00:00:0a", mtu: 9000, reserved_groups: wire, fdb: {limit: 5, port_limit: 4, ageing: 7s},
    stp: {enabled: true, priority: 4096, hello: 3s, max_age: 30s, forward_delay: 0s}, snooping: {enabled: true, querier: false, interval: 60s}}`)
	want := dataplane.NetworkConfig{
		Address: frame.MAC{2, 0, 0, 0, 0, 10}, MTU: 9000, ForwardReserved: true,
		FDB:      fdb.Config{Limit: 5, PortLimit: 4, Ageing: 7 * time.Second},
		STP:      dataplane.STPConfig{Enabled: true, Priority: 4096, Hello: 3 * time.Second, MaxAge: 30 * time.Second},
		Snooping: dataplane.SnoopingConfig{Enabled: true, Interval: time.Minute},
	}
	if got := networkConfig(&c.Networks[0]); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want\n%+v", got, want)
	}
	if got := networkConfig(&parse(t, "a: {}").Networks[0]); got.ForwardReserved || got.STP.Enabled || got.Snooping.Enabled || got.Address == (frame.MAC{}) {
		t.Errorf("by default: %+v", got)
	}
}
