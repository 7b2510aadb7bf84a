package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
)

// goesOn reports whether packets go on beyond a network by an uplink, which then is
// no port of it.
func goesOn(n api.Network) bool {
	return n.Forward == config.ForwardNAT || n.Forward == config.ForwardRoute
}

// uplinkOf returns the uplink that a network leaves by, nil where it has none.
func uplinkOf(uplinks []api.Uplink, network string) *api.Uplink {
	i := slices.IndexFunc(uplinks, func(u api.Uplink) bool { return slices.Contains(u.Networks, network) })
	if i < 0 {
		return nil
	}
	return &uplinks[i]
}

// uplinkCell names in one word where a network goes on outside. Sockets go where the
// host does, whatever interface that is.
func uplinkCell(n api.Network, uplinks []api.Uplink) string {
	if u := uplinkOf(uplinks, n.Name); u != nil && u.Kind == api.UplinkSockets {
		return u.Kind
	}
	return n.Uplink
}

// fillRouting shows where the packets of a network may go beyond it.
func fillRouting(t *table, n api.Network, cfg *config.Network, u *api.Uplink) {
	if !goesOn(n) {
		t.field("Uplink", n.Uplink)
		return
	}
	fillUplinkOf(t, u)
	t.field("Reach", strings.Join(cfg.Reach, ", "))
	for _, r := range cfg.Routes {
		t.field("Route to "+r.To.String(), "by "+r.Via.String())
	}
	if n.NAT != nil && n.Forward == config.ForwardNAT {
		fillNATSettings(t, &cfg.NAT)
		if p := n.NAT.Ports; p != nil {
			t.field("NAT ports", portsText(p))
		}
		t.field("NAT of IPv6", nat6Text(n, cfg))
	}
	t.field("Inbound", inboundText(n))
	if n.NAT != nil {
		t.field("Published", joinSet(named{fmt.Sprint(len(cfg.NAT.Publish)), len(cfg.NAT.Publish) > 0}))
		fillFlows(t, n.NAT, cfg.NAT.MaxFlowsPerHost)
	}
}

// has6 reports whether a network has an address of IPv6, has4 whether it has one of IPv4.
func has6(n api.Network) bool {
	return slices.ContainsFunc(n.Addresses, func(a string) bool { return strings.Contains(a, ":") })
}

func has4(n api.Network) bool {
	return slices.ContainsFunc(n.Addresses, func(a string) bool { return !strings.Contains(a, ":") })
}

// nat6Text says what becomes of addresses of IPv6 outside.
func nat6Text(n api.Network, cfg *config.Network) string {
	var own []string
	for _, r := range cfg.NAT.Addresses {
		if r.First.Is6() {
			own = append(own, r.String())
		}
	}
	switch {
	case n.NAT.IPv6 == "" || !has6(n):
		return ""
	case n.NAT.IPv6 == api.NATMasquerade && len(own) > 0:
		return n.NAT.IPv6 + ", as " + strings.Join(own, ", ")
	case n.NAT.IPv6 == api.NATMasquerade:
		return n.NAT.IPv6 + ", as the uplink's address"
	case n.NAT.IPv6 == api.NATRoute:
		return n.NAT.IPv6 + ", as they are"
	}
	return "prefix " + n.NAT.IPv6
}

// inboundText says who may open flows to addresses that are as they are outside, too.
func inboundText(n api.Network) string {
	routed := n.Forward == config.ForwardRoute
	return joinSet(
		named{"IPv4 " + n.Inbound.IPv4, routed && n.Inbound.IPv4 != "" && has4(n)},
		named{"IPv6 " + n.Inbound.IPv6, n.Inbound.IPv6 != "" && has6(n) && (routed || n.NAT != nil && n.NAT.IPv6 != api.NATMasquerade)},
	)
}

func fillUplinkOf(t *table, u *api.Uplink) {
	if u == nil {
		t.field("Uplink", "none: the log of weft says why")
		return
	}
	t.field("Uplink", joinSet(named{u.Interface, u.Interface != ""}, named{kindText(u), true}))
	t.field("Uplink state", stateText(u))
	t.field("Uplink address", joinSet(
		named{strings.Join(u.Addresses, ", "), len(u.Addresses) > 0},
		named{"gateway " + strings.Join(u.Gateways, ", "), len(u.Gateways) > 0},
	))
}

// fillNATSettings shows how packets are translated.
func fillNATSettings(t *table, c *config.NAT) {
	outside := fmt.Sprintf("ports %d-%d", c.First, c.Last)
	if len(c.Addresses) > 0 {
		var list []string
		for _, r := range c.Addresses {
			list = append(list, r.String())
		}
		outside += " of " + strings.Join(list, ", ")
	}
	t.field("NAT", joinSet(
		named{outside, true},
		named{c.Mapping + " mapping", true},
		named{"filtering " + c.Filtering, true},
	))
	v := c.Timeouts
	text := func(name string, seconds float64) named { return named{fmt.Sprintf("%s %gs", name, seconds), true} }
	t.field("NAT timeouts", joinSet(
		text("udp", v.UDP.Seconds()), text("tcp", v.TCP.Seconds()), text("tcp_transitory", v.TCPTransitory.Seconds()),
		text("icmp", v.ICMP.Seconds()), text("other", v.Other.Seconds()),
	))
}

// fillFlows shows how many flows there are, and how many could not begin.
func fillFlows(t *table, n *api.NetworkNAT, perHost int) {
	sum := 0
	for _, p := range n.Protocols {
		sum += p.Flows
	}
	t.field("Flows", joinSet(
		named{fmt.Sprintf("%d of %d", sum, n.MaxFlows), true},
		named{fmt.Sprintf("at most %d of one guest", min(perHost, n.MaxFlows)), perHost > 0},
	))
	for _, p := range n.Protocols {
		if cmp.Or(p.Flows, p.Mappings) != 0 || p.Created > 0 {
			t.field("  "+p.Protocol, fmt.Sprintf("%d, %s, %d begun, %d timed out", p.Flows, count(p.Mappings, "outside port"), p.Created, p.Expired))
		}
	}
	var refused uint64
	for _, c := range n.Refused {
		refused += c
	}
	t.field("Flows refused", refused)
	for _, reason := range slices.Sorted(maps.Keys(n.Refused)) {
		if n.Refused[reason] > 0 {
			t.field("  "+reason, n.Refused[reason])
		}
	}
}
