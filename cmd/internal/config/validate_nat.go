package config

import (
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
	in := at.sub("nat")
	if n.Forward == ForwardNAT {
		r.nat(in, n)
		return
	}
	if r.lines[in] != 0 || !reflect.DeepEqual(n.NAT, defaultNAT()) {
		r.refuse(in, "is for networks with forward: nat only, this one is %s: write that, or remove it (by command: nat=)", n.Forward)
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
		if g := n.Gateway(); badGateway(g) == "" {
			r.route(in, n, v, g)
		}
	}
}

// badSubnet says why a prefix cannot be where a route leads to, else empty.
func badSubnet(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "is missing: write the subnet that the route is for, such as 10.5.0.0/16, or 0.0.0.0/0 for all"
	case !p.Addr().Is4():
		return p.String() + " is of IPv6, which is not available in this version: write one of IPv4"
	case p != p.Masked():
		return p.String() + " has bits behind its prefix length: write " + p.Masked().String()
	case p.Bits() >= minSubnet && !isHostAddress(p.Addr()):
		return p.String() + " has no addresses of hosts: write another subnet"
	}
	return ""
}

// route checks one of a network with a gateway that is good.
func (r *report) route(at place, n *Network, v Route, gateway netip.Prefix) {
	to, via, out := at.sub("to"), at.sub("via"), n.Uplink.Prefix()
	if v.To.IsValid() && v.To.Bits() >= gateway.Bits() && gateway.Contains(v.To.Addr()) {
		r.refuse(to, "%v is in the network's own subnet %v, where all is reached without: remove the route", v.To, gateway.Masked())
	}
	switch {
	case !v.Via.IsValid():
		r.refuse(via, "is missing: write the address of the station by which the subnet is reached")
	case gateway.Contains(v.Via):
		if why := badNeighbour(v.Via, gateway); why != "" {
			r.refuse(via, "%v %s", v.Via, why)
		}
	case !out.IsValid() && !r.refused[place{network: at.network, key: "uplink.address"}]:
		r.refuse(via, "%v is not in the network's subnet %v: write a station of it, or give the uplink an address in the file", v.Via, gateway.Masked())
	case !out.IsValid():
	case !out.Contains(v.Via):
		r.refuse(via, "%v is neither in the network's subnet %v nor in that of the uplink, %v: write a station of one of them", v.Via, gateway.Masked(), out.Masked())
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
	if err := badPorts(v.PortRange); err != nil {
		r.refuse(at.sub("ports"), "%v", err)
	}
	r.outside(at.sub("addresses"), n)
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

// outside checks the outside addresses of a network.
func (r *report) outside(at place, n *Network) {
	list, out := n.NAT.Addresses, n.Uplink.Prefix()
	address := place{network: at.network, key: "uplink.address"}
	switch {
	case len(list) == 0 || r.refused[address]:
		return
	case !out.IsValid():
		r.refuse(at, "needs an uplink whose address is in the file: write that, such as address: 192.0.2.2/24, or remove this")
		return
	case len(list) > maxRanges:
		r.refuse(at, "has %d ranges: at most %d are possible", len(list), maxRanges)
		return
	}
	total := 0
	for i, v := range list {
		in := r.item(at, i, len(list))
		if why := badPool(v, n); why != "" {
			r.refuse(in, "%v %s", v, why)
			continue
		}
		total += v.size()
		for _, o := range list[:i] {
			if v.overlaps(o) {
				r.refuse(in, "%v overlaps %v: join the two, or shorten one", v, o)
				break
			}
		}
	}
	if total > maxOutside {
		r.refuse(at, "has %d addresses in all: at most %d are possible", total, maxOutside)
	}
}

func (r Range) overlaps(o Range) bool {
	return r.First.Compare(o.Last) <= 0 && o.First.Compare(r.Last) <= 0
}

// badPool says why a range cannot be outside addresses of a network, else empty.
func badPool(v Range, n *Network) string {
	out, subnet := n.Uplink.Prefix(), n.Gateway()
	switch {
	case !v.First.Is4() || !v.Last.Is4():
		return "is not a range of IPv4 addresses: write its first and its last one"
	case v.Last.Less(v.First):
		return "runs backwards: write it as " + Range{v.Last, v.First}.String()
	case !isHostAddress(v.First) || !isHostAddress(v.Last):
		return "holds addresses that are not of hosts: write others"
	case badGateway(subnet) == "" && v.overlaps(Range{subnet.Masked().Addr(), broadcast(subnet)}):
		return "overlaps the network's own subnet " + subnet.Masked().String() + ": write outside addresses"
	case n.Uplink.Gateway.IsValid() && v.has(n.Uplink.Gateway):
		return "holds " + n.Uplink.Gateway.String() + ", the gateway of the uplink: write the ranges before and behind it"
	case out.Bits() < 31 && v.has(out.Masked().Addr()):
		return "holds " + out.Masked().Addr().String() + ", the address of the uplink's whole subnet: begin behind it"
	case out.Bits() < 31 && v.has(broadcast(out)):
		return "holds " + broadcast(out).String() + ", the broadcast address of the uplink's subnet: end before it"
	}
	return ""
}
