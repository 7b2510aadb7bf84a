package config

import (
	"slices"

	"github.com/weft/weft/dataplane/frame"
)

// policy checks that of one port by itself; modes checks them against each
// other.
func (r *report) policy(at place, p *Policy) {
	r.word(at.sub("mode"), p.Mode, ModeBridge, ModeVEPA, ModePrivate, ModePassthrough)
	r.vlan(at.sub("vlan"), &p.VLAN)
	r.portSTP(at.sub("stp"), &p.STP)
	r.security(at.sub("security"), &p.Security)
	storm := at.sub("storm")
	for _, s := range []struct {
		key  string
		rate int
	}{{"broadcast", p.Storm.Broadcast}, {"multicast", p.Storm.Multicast}, {"unknown", p.Storm.Unknown}} {
		r.within(storm.sub(s.key), s.rate, 0, maxStorm, " frames per second (0 means no limit)")
	}
	r.rate(at.sub("rate").sub("ingress"), p.Rate.Ingress)
	r.rate(at.sub("rate").sub("egress"), p.Rate.Egress)
	switch p.Mode {
	case ModeVEPA, ModePrivate, ModePassthrough:
		if p.Hairpin {
			r.refuse(at.sub("hairpin"), "is for mode: bridge only, this port is %s: remove it", p.Mode)
		}
	}
	if p.Mode == ModePassthrough {
		r.wire(at, p)
	}
}

// wire refuses what would make of a passthrough port more than the end of one.
func (r *report) wire(at place, p *Policy) {
	const why = "a passthrough port is a plain wire to the uplink: remove it, or choose another mode"
	if p.Isolated {
		r.refuse(at.sub("isolated"), why)
	}
	if p.VLAN.isSet() {
		r.refuse(at.sub("vlan"), why)
	}
	if p.Storm != (Storm{}) {
		r.refuse(at.sub("storm"), why)
	}
	if p.Guard != (Guard{}) {
		r.refuse(at.sub("guard"), why)
	}
}

func (r *report) vlan(at place, v *VLAN) {
	access, trunk, native := at.sub("access"), at.sub("trunk"), at.sub("native")
	bad := r.refused[trunk]
	for i, t := range v.Trunk {
		if err := badRange(t); err != nil {
			r.refuse(r.item(trunk, i, len(v.Trunk)), "%v", err)
			bad = true
		}
	}
	if err := badVLANID(int(v.Access)); v.Access != 0 && err != nil {
		r.refuse(access, "%v", err)
	}
	if err := badVLANID(int(v.Native)); v.Native != 0 && err != nil {
		r.refuse(native, "%v", err)
	}
	switch {
	case v.Access != 0 && len(v.Trunk) > 0:
		r.refuse(access, "stands beside trunk, and a port has one of the two: remove the other (by command: vlan.access= or vlan.trunk=)")
	case v.Access != 0 && v.Native != 0:
		r.refuse(native, "stands beside access, and is for a trunk only: remove it (by command: vlan.native=)")
	case v.Native == 0 || bad:
	case len(v.Trunk) == 0:
		r.refuse(native, "needs a trunk that holds it: write one, or access: %d alone", v.Native)
	case !slices.ContainsFunc(v.Trunk, func(t VLANRange) bool { return t.has(v.Native) }):
		r.refuse(native, "%d is not in the trunk: add it there, or choose one that is", v.Native)
	}
}

func (r *report) portSTP(at place, s *PortSTP) {
	r.word(at.sub("edge"), s.Edge, EdgeAuto, EdgeTrue, EdgeFalse)
	r.steps(at.sub("priority"), s.Priority, maxPortPriority, portPriorityStep)
	r.within(at.sub("cost"), s.Cost, 1, maxCost, "")
}

func (r *report) security(at place, s *Security) {
	most, sources := at.sub("max_macs"), at.sub("sources")
	r.within(most, s.MaxMACs, 0, maxMACs, " addresses (0 means any number)")
	if s.Sticky && s.MaxMACs == 0 && !r.refused[most] {
		r.refuse(at.sub("sticky"), "needs max_macs: write how many addresses the port may keep")
	}
	switch {
	case len(s.Sources) > maxSources:
		r.refuse(sources, "has %d addresses: at most %d are possible", len(s.Sources), maxSources)
		return
	case s.MaxMACs > 0 && len(s.Sources) > s.MaxMACs:
		r.refuse(sources, "has %d addresses, and max_macs is %d: raise that, or remove some", len(s.Sources), s.MaxMACs)
	}
	seen := map[frame.MAC]bool{}
	for i, m := range s.Sources {
		in := r.item(sources, i, len(s.Sources))
		switch {
		case m == frame.MAC{}:
			r.refuse(in, "%v", errZeroMAC)
		case m.IsGroup():
			r.refuse(in, "%v is a group address: no frame comes from one, write a unicast address", m)
		case seen[m]:
			r.refuse(in, "%v is there already: write it once", m)
		}
		seen[m] = true
	}
}

func (r *report) rate(at place, v Rate) {
	average, peak, burst := at.sub("average"), at.sub("peak"), at.sub("burst")
	for _, k := range []struct {
		at   place
		rate uint64
	}{{average, v.Average}, {peak, v.Peak}} {
		if k.rate != 0 && (k.rate < minRate || k.rate > maxRate) {
			r.refuse(k.at, "%s is out of range: give %s-%s, or 0 for no limit", FormatRate(k.rate), FormatRate(minRate), FormatRate(maxRate))
		}
	}
	if v.Burst < 0 || v.Burst > maxBurst {
		r.refuse(burst, "%d bytes is out of range: give up to %s, or 0 for the default", v.Burst, FormatSize(maxBurst))
	}
	if r.refused[average] {
		return
	}
	switch {
	case v.Average == 0 && v.Peak != 0:
		r.refuse(peak, "needs average: write it too, or only that")
	case v.Peak != 0 && v.Peak < v.Average:
		r.refuse(peak, "%s is below the average of %s: raise it, or remove it", FormatRate(v.Peak), FormatRate(v.Average))
	}
	if v.Average == 0 && v.Burst != 0 {
		r.refuse(burst, "needs average: write it too, or remove this")
	}
}

// modes checks those of the ports of a network against its uplink and against
// each other.
func (r *report) modes(n *Network) {
	uplink := n.UplinkPort()
	wire := ""
	for i := range n.Ports {
		p := &n.Ports[i]
		at := place{network: n.Name, port: p.Name, key: "mode"}
		switch p.Mode {
		case ModeVEPA, ModePrivate, ModePassthrough:
		default:
			continue
		}
		switch {
		case p == uplink:
			r.refuse(at, "this port is the uplink of the network, and %s is for those behind it: remove it", p.Mode)
		case n.Forward != ForwardBridge:
			r.refuse(at, "%s needs an uplink: write forward: bridge and uplink for the network, or use mode: bridge", p.Mode)
		case p.Mode == ModePassthrough && wire != "":
			r.refuse(at, "port %s is passthrough already: a network can have one such port", quoted(wire))
		case p.Mode == ModePassthrough:
			wire = p.Name
			r.alone(at, n, p)
		}
	}
}

// alone refuses what a passthrough port cannot be together with.
func (r *report) alone(at place, n *Network, wire *Port) {
	uplink := n.UplinkPort()
	for i := range n.Ports {
		p := &n.Ports[i]
		if p != wire && p != uplink && p.Mode != ModePassthrough {
			r.refuse(at, "passthrough leaves room for the uplink alone, and port %s is there: move one of the two to another network", quoted(p.Name))
			break
		}
	}
	if uplink != nil && uplink.VLAN.isSet() {
		r.refuse(place{network: n.Name, port: uplink.Name, key: "vlan"},
			"port %s is passthrough, a plain wire to this uplink: remove it, or choose another mode there", quoted(wire.Name))
	}
	const why = "port %s is passthrough, a plain wire to the uplink: disable it, or choose another mode"
	network := place{network: n.Name}
	if n.STP.Enabled {
		r.refuse(network.sub("stp").sub("enabled"), why, quoted(wire.Name))
	}
	if n.Snooping.Enabled {
		r.refuse(network.sub("snooping").sub("enabled"), why, quoted(wire.Name))
	}
}
