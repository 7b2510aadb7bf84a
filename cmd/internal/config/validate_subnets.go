package config

import (
	"net/netip"
	"slices"
)

// A claim is a prefix of a network and where it stands.
type claim struct {
	Range
	prefix  netip.Prefix
	network *Network
	key     string
	index   int
}

// at returns the spot of a claim in the file.
func (r *report) at(c *claim) place {
	at := place{network: c.network.Name, key: c.key}
	switch c.key {
	case "address":
		return r.item(at, c.index, len(c.network.Addresses))
	case "dhcp6.delegate":
		return at.index(c.index).sub("prefix")
	}
	return at
}

// inside returns the subnets of a network and the prefixes that it hands on.
func inside(n *Network) []*claim {
	var out []*claim
	for i, a := range n.Addresses {
		if a.IsValid() {
			out = append(out, &claim{whole(a), a, n, "address", i})
		}
	}
	for i, d := range n.DHCP6.Delegate {
		if d.Prefix.IsValid() {
			out = append(out, &claim{whole(d.Prefix), d.Prefix, n, "dhcp6.delegate", i})
		}
	}
	return out
}

// outside returns the prefixes of a network that are known behind its uplink.
func outside(n *Network) []*claim {
	var out []*claim
	routed6 := n.Forward == ForwardNAT && n.NAT.IPv6 == NATRoute
	if n.Forward == ForwardRoute || routed6 {
		out = slices.DeleteFunc(inside(n), func(c *claim) bool { return routed6 && c.prefix.Addr().Is4() })
	}
	if p := n.NAT.Prefix6(); n.Forward == ForwardNAT && p.IsValid() {
		out = append(out, &claim{whole(p), p, n, "nat.ipv6", 0})
	}
	return out
}

// claims are those that one party has to tell apart, sorted, and apart.
type claims []*claim

// add takes those that overlap none that is there. Of those that do it returns the
// first and what it overlaps.
func (l *claims) add(list []*claim) (clash, owner *claim) {
	free := list[:0:0]
	for _, c := range list {
		_, o := l.find(c)
		switch {
		case o == nil:
			free = append(free, c)
		case owner == nil:
			clash, owner = c, o
		}
	}
	for _, c := range free {
		if i, o := l.find(c); o == nil { // else it overlaps one of its own network
			*l = slices.Insert(*l, i, c)
		}
	}
	return clash, owner
}

// find returns who has an address of c, and where c belongs otherwise.
func (l claims) find(c *claim) (int, *claim) {
	i, _ := slices.BinarySearchFunc(l, c.First, func(o *claim, first netip.Addr) int { return o.Last.Compare(first) })
	if i < len(l) && l[i].overlaps(c.Range) {
		return i, l[i]
	}
	return i, nil
}

// subnets refuses two networks that somebody could not tell apart: this host,
// those behind an uplink that routes both, or each other.
func (r *report) subnets(c *Config) {
	var host claims
	uplinks, seen := map[string]*claims{}, map[string]*Network{}
	for _, n := range r.byAge(c) {
		clashes := false // one message does for a network
		try := func(l *claims, list []*claim, why string) {
			if a, b := l.add(list); a != nil && !clashes {
				clashes = true
				r.refuse(r.at(a), "%v overlaps %v of network %s, %s", a.prefix, b.prefix, quoted(b.network.Name), why)
			}
		}
		if n.HostPort != "" {
			try(&host, inside(n), "and this host is in both: choose another subnet, or remove one host_port")
		}
		if n.Forwards() {
			l := uplinks[n.Uplink.Interface]
			if l == nil {
				l = &claims{}
				uplinks[n.Uplink.Interface] = l
			}
			try(l, outside(n), "and one uplink routes to both: choose another subnet")
		}
		for _, name := range n.Reach[:min(len(n.Reach), maxReach)] {
			if o := seen[name]; o != nil && !clashes {
				var l claims
				l.add(inside(o))
				try(&l, inside(n), "which is in reach: choose another subnet, or remove that")
			}
		}
		seen[n.Name] = n
	}
}
