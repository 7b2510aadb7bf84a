package daemon

import (
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/stp"
)

// From the configuration's words to the dataplane's.

var modes = map[string]dataplane.Mode{
	config.ModeBridge:      dataplane.Bridge,
	config.ModeVEPA:        dataplane.VEPA,
	config.ModePrivate:     dataplane.Private,
	config.ModePassthrough: dataplane.Passthrough,
}

var edges = map[string]stp.Edge{
	config.EdgeAuto:  stp.EdgeAuto,
	config.EdgeTrue:  stp.EdgeYes,
	config.EdgeFalse: stp.EdgeNo,
}

func networkConfig(n *config.Network) dataplane.NetworkConfig {
	return dataplane.NetworkConfig{
		Address: n.MAC,
		Gateway: gatewayOf(n),
		MTU:     n.MTU,
		FDB:     fdb.Config{Limit: n.FDB.Limit, PortLimit: n.FDB.PortLimit, Ageing: n.FDB.Ageing},
		STP: dataplane.STPConfig{
			Enabled: n.STP.Enabled, Priority: uint16(n.STP.Priority),
			Hello: n.STP.Hello, MaxAge: n.STP.MaxAge, ForwardDelay: n.STP.ForwardDelay,
		},
		Snooping: dataplane.SnoopingConfig{
			Enabled: n.Snooping.Enabled, Querier: n.Snooping.Querier, Interval: n.Snooping.Interval,
		},
		Reflective:      n.Uplink.Reflective,
		ForwardReserved: n.ReservedGroups == config.ReservedWire,
	}
}

func gatewayOf(n *config.Network) dataplane.GatewayConfig {
	if !hasGateway(n) {
		return dataplane.GatewayConfig{}
	}
	g := dataplane.GatewayConfig{
		Address: n.Gateway(), Address6: n.Gateway6(), VLAN: n.VLAN,
		DHCP: servesDHCP(n), DHCPv6: servesDHCP6(n), RA: advertises(n), DNS: n.DNS.Enabled,
		Watch: n.DNS.Enabled && n.DNS.SLAAC,
	}
	if seat := n.HostSeat(); seat != nil {
		g.HostPort = seat.Name
	}
	return g
}

// policies returns what holds for each port of a network.
func policies(n *config.Network) map[string]dataplane.Policy {
	all := map[string]dataplane.Policy{}
	uplink, seat := n.UplinkPort(), n.HostSeat()
	for i := range n.Ports {
		p := &n.Ports[i]
		all[p.Name] = policyOf(p.Policy, p == uplink)
		if p == seat && n.VLAN != 0 {
			all[p.Name] = within(all[p.Name], n.VLAN)
		}
	}
	return all
}

// within puts a port into one VLAN, whose frames have no tag there.
func within(p dataplane.Policy, vlan uint16) dataplane.Policy {
	p.VLAN = dataplane.VLANs{Native: vlan, Tagged: new(dataplane.VLANSet)}
	return p
}

func policyOf(p config.Policy, uplink bool) dataplane.Policy {
	return dataplane.Policy{
		Mode: modes[p.Mode], Uplink: uplink, Hairpin: p.Hairpin, Isolated: p.Isolated,
		VLAN: vlansOf(p.VLAN),
		Security: dataplane.Security{
			MaxMACs: p.Security.MaxMACs, Sticky: p.Security.Sticky, Sources: p.Security.Sources,
		},
		Guard:   dataplane.Guard(p.Guard),
		Storm:   dataplane.Storm(p.Storm),
		Ingress: rateOf(p.Rate.Ingress),
		Egress:  rateOf(p.Rate.Egress),
		STP: stp.PortConfig{
			Cost: uint32(p.STP.Cost), Priority: uint8(p.STP.Priority), Edge: edges[p.STP.Edge],
			RootGuard: p.STP.RootGuard, BPDUGuard: p.STP.BPDUGuard,
		},
	}
}

func rateOf(r config.Rate) dataplane.Rate {
	return dataplane.Rate{Average: r.Average, Peak: r.Peak, Burst: r.Burst}
}

func vlansOf(v config.VLAN) dataplane.VLANs {
	if v.Access == 0 && len(v.Trunk) == 0 {
		return dataplane.VLANs{}
	}
	set := new(dataplane.VLANSet)
	if v.Access != 0 {
		return dataplane.VLANs{Native: v.Access, Tagged: set}
	}
	for _, r := range v.Trunk {
		set.Add(r.First, r.Last)
	}
	return dataplane.VLANs{Native: v.Native, Tagged: set}
}
