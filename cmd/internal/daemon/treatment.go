package daemon

import (
	"net/netip"
	"slices"

	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/nat"
)

// What becomes of the packets of a network on their way out, and of those that come in,
// by family.

// treatments are those of IPv4 and IPv6. A family that the network has no address of
// has nothing to be tracked.
func treatments(n *config.Network) (four, six dataplane.Treatment) {
	if !n.Forwards() {
		return dataplane.Plain, dataplane.Plain
	}
	if n.Gateway().IsValid() {
		four = byInbound[n.Inbound.IPv4]
		if n.Forward == config.ForwardNAT {
			four = dataplane.Translated
		}
	}
	if len(n.Gateway6()) > 0 {
		six = byInbound[n.Inbound.IPv6]
		if n.Forward == config.ForwardNAT && n.NAT.IPv6 != config.NATRoute {
			six = dataplane.Translated
		}
	}
	return four, six
}

// byInbound is for packets that stay as they are.
var byInbound = map[string]dataplane.Treatment{
	config.InboundOpen: dataplane.Plain, config.InboundPublished: dataplane.Tracked,
}

// ofFamily returns the prefixes of IPv4, or those of IPv6.
func ofFamily(list []netip.Prefix, four bool) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(list), func(p netip.Prefix) bool { return p.Addr().Is4() != four })
}

// prefixMaps says which inside addresses are not those of the uplink outside: they are
// as they are, or in a prefix that stands for theirs (RFC 6296).
func (d *Daemon) prefixMaps(n *config.Network) []nat.PrefixMap {
	var maps []nat.PrefixMap
	inside := d.prefixesOf(n)
	four, six := treatments(n)
	for _, p := range inside {
		if p.Addr().Is4() && four == dataplane.Tracked || p.Addr().Is6() && six == dataplane.Tracked {
			maps = append(maps, nat.PrefixMap{Inside: p, Outside: p})
		}
	}
	if own := translated(n); own.IsValid() && six == dataplane.Translated {
		maps = append(maps, nat.PrefixMap{Inside: own, Outside: n.NAT.Prefix6().Masked()})
	}
	return maps
}

// translated returns the subnet that the outside prefix of a network stands for, zero
// where there is none: the first one of its length.
func translated(n *config.Network) netip.Prefix {
	outside := n.NAT.Prefix6()
	for _, a := range n.Gateway6() {
		if outside.IsValid() && a.Bits() == outside.Bits() {
			return a.Masked()
		}
	}
	return netip.Prefix{}
}

// seenOutside returns what others out there send to that is for a network, but for the
// addresses of its uplink.
func (d *Daemon) seenOutside(n *config.Network) []netip.Prefix {
	var list []netip.Prefix
	all := d.prefixesOf(n)
	four, six := treatments(n)
	if four != dataplane.Translated {
		list = append(list, ofFamily(all, true)...)
	}
	if six != dataplane.Translated {
		list = append(list, ofFamily(all, false)...)
	} else if translated(n).IsValid() {
		list = append(list, n.NAT.Prefix6().Masked())
	}
	return list
}

// routesInside lead to what is behind stations of a network: what the file says, and
// the prefixes that routers there have by DHCPv6.
func (d *Daemon) routesInside(n *config.Network) []dataplane.Route {
	var list []dataplane.Route
	for _, r := range n.Routes {
		if isInside(n, r.Via) {
			list = append(list, dataplane.Route{Destination: r.To, Via: r.Via})
		}
	}
	for _, p := range d.delegations(n.Name) {
		list = append(list, dataplane.Route{Destination: p.Prefix, Via: p.Via})
	}
	return list
}

// prefixesOf returns what belongs to a network. Of prefixes that are for its routers it is
// all that may be given: which ones are given changes all the time, and is for guests to
// say.
func (d *Daemon) prefixesOf(n *config.Network) []netip.Prefix {
	var list []netip.Prefix
	for _, a := range n.Addresses {
		list = append(list, a.Masked())
	}
	for _, pool := range n.DHCP6.Delegate {
		list = append(list, pool.Prefix.Masked())
	}
	for _, r := range d.routesInside(n) {
		if !slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(r.Destination.Addr()) && p.Bits() <= r.Destination.Bits() }) {
			list = append(list, r.Destination)
		}
	}
	return list
}

// zoneOf is how the flows of a network are tracked and translated.
func (d *Daemon) zoneOf(n *config.Network) nat.ZoneConfig {
	c := &n.NAT
	z := nat.ZoneConfig{
		Subnets: d.prefixesOf(n), First: uint16(c.First), Last: uint16(c.Last),
		Prefixes: d.prefixMaps(n), Open: n.Inbound.IPv6 == config.InboundOpen,
		Places:    len(n.Ports),
		Symmetric: c.Mapping == config.MappingSymmetric, Filtering: filterings[c.Filtering],
		MaxFlows: c.MaxFlows, MaxPerHost: c.MaxFlowsPerHost,
		Timeouts: nat.Timeouts{
			UDP: uint32(seconds(c.Timeouts.UDP)), TCPEstablished: uint32(seconds(c.Timeouts.TCP)),
			TCPTransitory: uint32(seconds(c.Timeouts.TCPTransitory)), ICMP: uint32(seconds(c.Timeouts.ICMP)),
			Other: uint32(seconds(c.Timeouts.Other)),
		},
	}
	// Those of a family that is open are plain. What is left to be open or not has an
	// outside prefix.
	if four, _ := treatments(n); four == dataplane.Tracked {
		z.Open = false
	}
	z.Addresses = addressesIn(c.Addresses)
	for _, p := range c.Publish {
		if !p.Listen.Addr.IsValid() {
			z.Publish = append(z.Publish, nat.Publish{
				Protocol: protocols[p.Protocol], First: uint16(p.Listen.First), Last: uint16(p.Listen.Last), To: nat.EndpointOf(p.To),
			})
		}
	}
	return z
}
