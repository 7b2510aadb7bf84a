package config

import (
	"net/netip"
	"time"
)

func routeKeys() []key[Route] {
	return []key[Route]{
		terse(value("to", subnets(), func(r *Route) *netip.Prefix { return &r.To })),
		value("via", addresses(), func(r *Route) *netip.Addr { return &r.Via }),
	}
}

func natKeys() []key[NAT] {
	return []key[NAT]{
		value("ports", portRanges(), func(n *NAT) *PortRange { return &n.PortRange }),
		list("addresses", ranges(), func(n *NAT) *[]Range { return &n.Addresses }),
		value("ipv6", words(), func(n *NAT) *string { return &n.IPv6 }),
		value("mapping", words(), func(n *NAT) *string { return &n.Mapping }),
		value("filtering", words(), func(n *NAT) *string { return &n.Filtering }),
		value("max_flows", integers(), func(n *NAT) *int { return &n.MaxFlows }),
		value("max_flows_per_host", integers(), func(n *NAT) *int { return &n.MaxFlowsPerHost }),
		mapping("timeouts", timeoutKeys(), func(n *NAT) *Timeouts { return &n.Timeouts }),
		table("publish", publishKeys(), func(n *NAT) *[]Publish { return &n.Publish }),
	}
}

func timeoutKeys() []key[Timeouts] {
	return []key[Timeouts]{
		value("udp", durations(), func(t *Timeouts) *time.Duration { return &t.UDP }),
		value("tcp", durations(), func(t *Timeouts) *time.Duration { return &t.TCP }),
		value("tcp_transitory", durations(), func(t *Timeouts) *time.Duration { return &t.TCPTransitory }),
		value("icmp", durations(), func(t *Timeouts) *time.Duration { return &t.ICMP }),
		value("other", durations(), func(t *Timeouts) *time.Duration { return &t.Other }),
	}
}

func publishKeys() []key[Publish] {
	return []key[Publish]{
		terse(value("protocol", words(), func(p *Publish) *string { return &p.Protocol })),
		terse(value("listen", listens(), func(p *Publish) *Listen { return &p.Listen })),
		value("to", targets(), func(p *Publish) *netip.AddrPort { return &p.To }),
	}
}

// asMeant writes of an uplink what is for its network, and of all else that is not
// only what is set, though it has no business there.
func asMeant(k key[Network]) key[Network] {
	write := k.write
	k.write = func(n *Network) output {
		o, def := write(n), write(&Network{})
		for i, s := range o.sub {
			bridges := s.name == "reflective"
			if n.Forward != ForwardBridge && bridges || !n.Forwards() && !bridges {
				o.sub[i].omitDefaults(def.sub[i])
			}
		}
		return o
	}
	return k
}

// useful writes out of a key what is not the default where the network has no use
// for it.
func useful(has func(n *Network) bool, k key[Network]) key[Network] {
	write := k.write
	k.write = func(n *Network) output {
		o := write(n)
		if !has(n) {
			plain := NewNetwork(n.Name)
			o.omitDefaults(write(&plain))
		}
		return o
	}
	return k
}

func hasServices(n *Network) bool { return len(n.Addresses) > 0 }

// keepsAddresses reports whether anything leaves the network with the addresses of
// its own guests, in either direction one to one.
func (n *Network) keepsAddresses() bool {
	return n.Forward == ForwardRoute || n.Forward == ForwardNAT && n.NAT.IPv6 != NATMasquerade
}

func translates(n *Network) bool { return n.Forward == ForwardNAT }
