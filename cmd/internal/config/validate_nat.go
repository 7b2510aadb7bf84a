package config

import (
	"cmp"
	"net/netip"
	"reflect"
	"time"
)

// forwarding checks what a network that forwards has, and refuses it elsewhere.
// That the file has the key says that it is meant, even where all in it is the
// default.
func (r *report) forwarding(at place, n *Network) {
	switch n.Forward {
	case ForwardIsolated, ForwardBridge:
		for _, k := range []struct {
			key string
			set bool
		}{{"routes", len(n.Routes) > 0}, {"reach", len(n.Reach) > 0}} {
			if k.set {
				r.refuse(at.sub(k.key), "is for networks with forward: nat or route only, this one is %s: remove it (by command: %s=)", n.Forward, k.key)
			}
		}
	case ForwardNAT, ForwardRoute:
		if in := at.sub("forward"); len(n.Addresses) == 0 && !r.refused[at.sub("address")] {
			r.refuse(in, "%s needs an address of the network: write one for it, such as address: 192.168.122.1/24, or forward: isolated", n.Forward)
		}
		r.routes(at.sub("routes"), n)
	default: // refused for itself
		return
	}
	r.inbound(at.sub("inbound"), n)
	in := at.sub("nat")
	if n.Forwards() {
		r.nat(in, n)
		return
	}
	if r.lines[in] != 0 || !reflect.DeepEqual(n.NAT, defaultNAT()) {
		r.refuse(in, "is for networks with forward: nat only, this one is %s: write that, or remove it (by command: nat=)", n.Forward)
	}
}

// inbound checks who may come in, where anything could.
func (r *report) inbound(at place, n *Network) {
	v := n.Inbound
	four, six := at.sub("ipv4"), at.sub("ipv6")
	switch {
	case !n.keepsAddresses() && (v != defaultInbound() || !n.Forwards() && r.lines[at] != 0):
		r.refuse(at, "is for addresses that are known outside as they are, this network has forward: %s: write forward: route, "+
			"or nat: {ipv6: route} beside forward: nat, or remove it (by command: inbound=)", n.Forward)
	case v.IPv4 == v.IPv6: // one word for both
		r.word(at, v.IPv4, InboundOpen, InboundPublished)
	default:
		r.word(four, v.IPv4, InboundOpen, InboundPublished)
		r.word(six, v.IPv6, InboundOpen, InboundPublished)
	}
}

func (r *report) routes(at place, n *Network) {
	if len(n.Routes) > maxRoutes {
		r.refuse(at, "has %d routes: at most %d are possible", len(n.Routes), maxRoutes)
		return
	}
	seen := map[netip.Prefix]bool{}
	for i, v := range n.Routes {
		in := at.index(i)
		if why := badSubnet(v.To); why != "" {
			r.refuse(in.sub("to"), "%s", why)
		} else if seen[v.To] {
			r.refuse(in.sub("to"), "%v is there already: remove one of the two", v.To)
		}
		seen[v.To] = true
		r.route(in, n, v)
	}
}

// badSubnet says why a prefix cannot be where a route leads to, else empty.
func badSubnet(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "is missing: write the subnet that the route is for, such as 10.5.0.0/16, or 0.0.0.0/0 for all"
	case familyOf(p.Addr()) == 0:
		return p.String() + " is IPv4 in IPv6 form: write it in IPv4 form"
	case p != p.Masked():
		return p.String() + " has bits behind its prefix length: write " + p.Masked().String()
	case p.Addr().Is4() && p.Bits() >= minSubnet && !isHostAddress(p.Addr()),
		p.Addr().IsMulticast(), p.Addr().IsLinkLocalUnicast(), p.Addr().IsLoopback(), p.Bits() == maxLink6 && p.Addr().IsUnspecified():
		return p.String() + " has no addresses of hosts: write another subnet"
	}
	return ""
}

// route checks one of a network, of the family that its subnet has.
func (r *report) route(at place, n *Network, v Route) {
	f := cmp.Or(familyOf(v.To.Addr()), familyOf(v.Via))
	to, via, own := at.sub("to"), at.sub("via"), n.gateways(f)
	out, _ := n.Uplink.of(f)
	if len(own) == 0 {
		if f != 0 && len(n.addressesOf(f)) == 0 && len(n.Addresses) > 0 && !r.refused[place{network: at.network, key: "address"}] {
			r.refuse(to, "%v is of %v, and the network has no address of that: write one, or remove the route", v.To, f)
		}
		return
	}
	if v.To.IsValid() {
		if g := holder(own, v.To.Addr()); g.IsValid() && v.To.Bits() >= g.Bits() {
			r.refuse(to, "%v is in the network's own subnet %v, where all is reached without: remove the route", v.To, g.Masked())
		} else if p := holder(n.delegated(), v.To.Addr()); p.IsValid() && v.To.Bits() >= p.Bits() {
			r.refuse(to, "%v is in the pool %v, whose routes are those of its leases: remove the route, or the pool", v.To, p)
		}
	}
	g := holder(own, v.Via)
	subnets := subnetsText("subnet", "subnets", own)
	switch {
	case !v.Via.IsValid():
		r.refuse(via, "is missing: write the address of the station by which the subnet is reached")
	case !f.has(v.Via):
		r.refuse(via, "%v is not of %v, as the subnet is: write a station of the same", v.Via, f)
	case f == ipv6 && v.Via.IsLinkLocalUnicast(): // of a station of the network
	case g.IsValid():
		if why := badNeighbour(v.Via, g); why != "" {
			r.refuse(via, "%v %s", v.Via, why)
		}
	case !out.IsValid() && !r.refused[place{network: at.network, key: "uplink.address"}]:
		r.refuse(via, "%v is not in the network's %s: write a station of it, or give the uplink an address in the file", v.Via, subnets)
	case !out.IsValid():
	case !out.Contains(v.Via):
		r.refuse(via, "%v is neither in the network's %s nor in that of the uplink, %v: write a station of one of them", v.Via, subnets, out.Masked())
	default:
		if why := badNeighbour(v.Via, out); why != "" {
			r.refuse(via, "%v %s", v.Via, why)
		} else if v.To.IsValid() && v.To.Bits() >= out.Bits() && out.Contains(v.To.Addr()) {
			r.refuse(to, "%v is in the subnet of the uplink, %v, where all is reached without: remove the route", v.To, out.Masked())
		}
	}
}

func (r *report) nat(at place, n *Network) {
	v := &n.NAT
	if n.Forward == ForwardRoute {
		r.untranslated(at, v)
	}
	if err := badPorts(v.PortRange); err != nil {
		r.refuse(at.sub("ports"), "%v", err)
	}
	r.outside(at.sub("addresses"), n)
	r.nat6(at.sub("ipv6"), n)
	r.word(at.sub("mapping"), v.Mapping, MappingEndpointIndependent, MappingSymmetric)
	r.word(at.sub("filtering"), v.Filtering, FilterAddress, FilterEndpoint, FilterNone)
	r.within(at.sub("max_flows"), v.MaxFlows, 1, maxFlows, " flows")
	// The default may be above: whoever lowers the one need not know of the other.
	if perHost := at.sub("max_flows_per_host"); v.MaxFlowsPerHost != DefaultMaxFlowsPerHost && !r.refused[at.sub("max_flows")] {
		r.within(perHost, v.MaxFlowsPerHost, 1, v.MaxFlows, " flows (as many as max_flows)")
	}
	for _, t := range []struct {
		key  string
		time time.Duration
	}{
		{"udp", v.Timeouts.UDP}, {"tcp", v.Timeouts.TCP}, {"tcp_transitory", v.Timeouts.TCPTransitory},
		{"icmp", v.Timeouts.ICMP}, {"other", v.Timeouts.Other},
	} {
		r.seconds(at.sub("timeouts").sub(t.key), t.time, 1, maxTimeout, "")
	}
	r.publish(at.sub("publish"), n)
}
