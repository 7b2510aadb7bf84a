package config

import (
	"net/netip"
	"strings"
)

// untranslated refuses what only a network has whose addresses are translated.
func (r *report) untranslated(at place, v *NAT) {
	plain := defaultNAT()
	for _, k := range []struct {
		key string
		set bool
	}{
		{"ports", v.PortRange != plain.PortRange},
		{"addresses", len(v.Addresses) > 0},
		{"ipv6", v.IPv6 != plain.IPv6},
		{"mapping", v.Mapping != plain.Mapping},
	} {
		if k.set {
			r.refuse(at.sub(k.key), "is for networks with forward: nat only, this one is %s: write that, or remove it (by command: nat.%s=)", ForwardRoute, k.key)
		}
	}
}

// nat6 checks what becomes of IPv6.
func (r *report) nat6(at place, n *Network) {
	s := n.NAT.IPv6
	if s == NATMasquerade || r.refused[at] {
		return
	}
	if s != NATRoute && !strings.ContainsAny(s, "/:") {
		r.refuse(at, "%s is no outside prefix such as 2001:db8:5::/64, and no word that is known%s", quoted(s), hint(s, []string{NATMasquerade, NATRoute}))
		return
	}
	if s != NATRoute {
		p, err := parsePrefix(s)
		if err != nil {
			r.refuse(at, "%v", err)
			return
		}
		if why := badTranslation(p, n); why != "" {
			r.refuse(at, "%v %s", p, why)
			return
		}
	}
	switch {
	case !hasIPv6(n) && !r.refused[place{network: at.network, key: "address"}]:
		r.refuse(at, "is for IPv6, of which the network has no address: write one, such as address: %s, or remove this", ulaWord)
	case n.Uplink.Address == AddressSockets:
		r.refuse(at, "%s keeps the guests' own addresses, which sockets of this host cannot have: write %s, or another address for the uplink", s, NATMasquerade)
	}
}

// badTranslation says why a prefix cannot be the outside one of a network (RFC
// 6296), else empty.
func badTranslation(p netip.Prefix, n *Network) string {
	own, uplink := n.gateways(ipv6), n.Uplink.Prefix6()
	switch {
	case !ipv6.has(p.Addr()):
		return "is not of IPv6: write such a prefix"
	case p != p.Masked():
		return "has bits behind its prefix length: write " + p.Masked().String()
	case !isHostAddress(p.Addr()):
		return "is neither global (2000::/3) nor unique local (fc00::/7): write another one"
	case len(own) > 1:
		return "is one prefix, and the network has several subnets of IPv6: keep one of them, or write route"
	case p.Bits() > slaacSubnet:
		return "is longer than 64 bits, where none is left to keep checksums as they are (RFC 6296 section 3.1): write a shorter one"
	case len(own) == 1 && own[0].Bits() != p.Bits():
		return "is not as long as the network's own prefix " + own[0].Masked().String() + ", to which it is translated bit by bit (RFC 6296): write both with the same length"
	case len(own) == 1 && own[0].Overlaps(p):
		return "is the network's own prefix: write " + NATRoute + " to keep it outside, or another one"
	case uplink.IsValid() && uplink.Overlaps(p):
		return "overlaps the subnet of the uplink, " + uplink.Masked().String() + ": write a prefix that is routed to weft"
	case overlapping(n.delegated(), p).IsValid():
		return "overlaps the pool " + overlapping(n.delegated(), p).String() + ": choose another one"
	}
	return ""
}

// outside checks the outside addresses of a network.
func (r *report) outside(at place, n *Network) {
	list := n.NAT.Addresses
	switch {
	case len(list) == 0 || n.Forward != ForwardNAT || r.refused[place{network: at.network, key: "uplink.address"}]:
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
		if out, _ := n.Uplink.of(familyOf(v.First)); !out.IsValid() {
			such := "192.0.2.2/24"
			if v.First.Is6() {
				such = "2001:db8::2/64"
			}
			r.refuse(in, "needs an uplink whose address is in the file: write that, such as address: %s, or remove this", such)
			return
		}
		total += min(v.size(), maxOutside+1)
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

// badPool says why a range cannot be outside addresses of a network, else empty.
func badPool(v Range, n *Network) string {
	f := familyOf(v.First)
	out, gateway := n.Uplink.of(f)
	switch {
	case f == 0 || !f.has(v.Last):
		return "is not a range of addresses: write its first and its last one"
	case v.Last.Less(v.First):
		return "runs backwards: write it as " + Range{v.Last, v.First}.String()
	case !isHostAddress(v.First) || !isHostAddress(v.Last):
		return "holds addresses that are not of hosts: write others"
	case f == ipv6 && n.NAT.IPv6 != NATMasquerade:
		return "is of IPv6, which ipv6: " + n.NAT.IPv6 + " does not translate to addresses: remove one of the two"
	}
	for _, g := range n.gateways(f) {
		if v.overlaps(whole(g)) {
			return "overlaps the network's own subnet " + g.Masked().String() + ": write outside addresses"
		}
	}
	if !out.IsValid() { // refused where the list is
		return ""
	}
	switch edges := whole(out); {
	case gateway.IsValid() && v.has(gateway):
		return "holds " + gateway.String() + ", the gateway of the uplink: write the ranges before and behind it"
	case isSubnet(edges.First, out) && v.has(edges.First):
		return "holds " + edges.First.String() + ", the address of the uplink's whole subnet: begin behind it"
	case isBroadcast(edges.Last, out) && v.has(edges.Last):
		return "holds " + edges.Last.String() + ", the broadcast address of the uplink's subnet: end before it"
	}
	return ""
}
