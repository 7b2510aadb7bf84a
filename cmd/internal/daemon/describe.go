package daemon

import (
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/stp"
)

// From what runs to the words of the control interface.

// Networks implements api.Backend.
func (d *Daemon) Networks() []api.Network {
	var list []api.Network
	cfg := d.config()
	for i := range cfg.Networks {
		n := &cfg.Networks[i]
		if dn := d.sw.Network(n.Name); dn != nil { // else it is being removed
			list = append(list, d.describeNetwork(n, dn))
		}
	}
	return list
}

func (d *Daemon) describeNetwork(n *config.Network, dn *dataplane.Network) api.Network {
	st := dn.FDBStats()
	v := api.Network{
		Name: n.Name, Forward: n.Forward, MAC: n.MAC.String(), MTU: n.MTU, Ports: len(n.Ports),
		ReservedGroups: n.ReservedGroups,
		FDB: api.NetworkFDB{
			Entries: st.Dynamic + st.Static + st.Local + st.Sticky, Limit: n.FDB.Limit,
			AgeingSeconds: seconds(n.FDB.Ageing), Moves: st.Moved, Evicted: st.Evicted,
		},
		STP: describeTree(n, dn),
		Snooping: api.NetworkSnooping{
			Enabled: n.Snooping.Enabled, Querier: n.Snooping.Querier,
			IntervalSeconds: int(seconds(n.Snooping.Interval)), Groups: dn.Groups(),
		},
	}
	switch {
	case dn.Restricts():
		v.Snooping.State = api.SnoopingRestricting
	case n.Snooping.Enabled:
		v.Snooping.State = api.SnoopingFlooding
	}
	if up := n.UplinkPort(); up != nil {
		v.Uplink = up.Name
	} else if o := d.outletOf(n.Name); o != nil {
		v.Uplink = o.name
	}
	v.NAT = d.describeNAT(n)
	v.Inbound = api.NetworkInbound(n.Inbound)
	d.describeServices(&v, n)
	for _, p := range n.Ports {
		if a := d.attachment(portKey{n.Name, p.Name}); a != nil {
			if state, _, _ := a.status(); state == api.StateUp {
				v.Up++
			}
		}
	}
	return v
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func describeTree(n *config.Network, dn *dataplane.Network) api.NetworkSTP {
	v := api.NetworkSTP{
		Enabled: n.STP.Enabled, Priority: n.STP.Priority, HelloSeconds: int(seconds(n.STP.Hello)),
		MaxAgeSeconds: int(seconds(n.STP.MaxAge)), ForwardDelaySeconds: int(seconds(n.STP.ForwardDelay)),
	}
	if st, ok := dn.STP(); ok {
		v.BridgeID, v.RootID = st.Bridge.String(), st.Root.String()
		v.RootCost, v.TopologyChanges = st.RootCost, st.TopologyChanges
		v.RootPort = dn.PortOfTree(st.RootPort)
	}
	return v
}

func (d *Daemon) describePort(n *config.Network, cfg *config.Port) api.Port {
	v := api.Port{
		Network: n.Name, Name: cfg.Name, Type: cfg.Type, Mode: cfg.Mode,
		Interface: cfg.Interface, Netns: cfg.Netns, Owner: cfg.Owner, Group: cfg.Group,
		Addresses: []string{}, Offloads: []string{}, Drops: map[string]uint64{},
		State: api.StateMissing,
	}
	describePolicy(&v, &cfg.Policy)
	v.Uplink = n.UplinkPort() == cfg
	for _, a := range cfg.Addresses {
		v.Addresses = append(v.Addresses, a.String())
	}
	a := d.attachment(portKey{n.Name, cfg.Name})
	if a == nil {
		return v // being added or removed
	}
	state, detail, info := a.status()
	v.State, v.Detail, v.MTU = state, detail, info.MTU
	if info.MAC != (frame.MAC{}) {
		v.MAC = info.MAC.String()
	}
	v.Offloads = capNames(a.port.Offloads())
	st := a.port.Stats()
	v.RX, v.TX = api.Counters(st.Rx), api.Counters(st.Tx)
	for verdict, n := range st.Drops {
		v.Drops[verdict.String()] = n
	}
	if tree, ok := a.port.STP(); ok {
		describeTreePort(v.STP, tree)
	}
	return v
}

func describePolicy(v *api.Port, p *config.Policy) {
	v.Hairpin, v.Isolated = p.Hairpin, p.Isolated
	if p.VLAN.Access != 0 || len(p.VLAN.Trunk) > 0 {
		v.VLAN = &api.PortVLAN{Access: p.VLAN.Access, Native: p.VLAN.Native}
		for _, r := range p.VLAN.Trunk {
			v.VLAN.Trunk = append(v.VLAN.Trunk, r.String())
		}
	}
	v.STP = &api.PortSTP{
		Edge: p.STP.Edge, Priority: p.STP.Priority, Cost: p.STP.Cost,
		RootGuard: p.STP.RootGuard, BPDUGuard: p.STP.BPDUGuard,
	}
	v.Security = api.Security{MaxMACs: p.Security.MaxMACs, Sticky: p.Security.Sticky, Sources: []string{}}
	for _, m := range p.Security.Sources {
		v.Security.Sources = append(v.Security.Sources, m.String())
	}
	v.Guard, v.Storm = api.Guard(p.Guard), api.Storm(p.Storm)
	v.Rate = api.PortRate{Ingress: describeRate(p.Rate.Ingress), Egress: describeRate(p.Rate.Egress)}
}

func describeRate(r config.Rate) *api.Rate {
	if r.Average == 0 {
		return nil
	}
	return &api.Rate{Average: r.Average, Peak: r.Peak, Burst: r.Burst}
}

func describeTreePort(v *api.PortSTP, st stp.PortStatus) {
	v.State, v.Role, v.Inconsistent, v.Protocol = st.State.String(), st.Role.String(), st.Inconsistent, st.Version
}

func capNames(c frame.Caps) []string {
	list := []string{}
	for _, o := range []struct {
		bit  frame.Caps
		name string
	}{{frame.CapChecksum, "checksum"}, {frame.CapTSO4, "tso4"}, {frame.CapTSO6, "tso6"}, {frame.CapUSO, "uso"}} {
		if c&o.bit != 0 {
			list = append(list, o.name)
		}
	}
	return list
}

// Groups implements api.Backend.
func (d *Daemon) Groups(network string) ([]api.Group, error) {
	cfg := d.config()
	if err := checkNetwork(cfg, network); err != nil {
		return nil, err
	}
	list := []api.Group{}
	for _, n := range cfg.Networks {
		dn := d.sw.Network(n.Name)
		if dn == nil || network != "" && n.Name != network {
			continue
		}
		for _, g := range dn.Listeners() {
			list = append(list, api.Group{
				Network: n.Name, VLAN: g.VLAN, Group: g.Group.String(), Port: g.Port,
				ExpiresSeconds: seconds(g.Expires),
			})
		}
	}
	return list, nil
}
