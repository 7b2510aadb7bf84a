package config

import (
	"net/netip"
	"slices"
	"strings"
)

// uplink checks that of a network by itself; uplinks checks them against each
// other.
func (r *report) uplink(at place, n *Network) {
	name, in := n.Uplink.Interface, at.sub("interface")
	switch {
	case n.Forward == ForwardIsolated && (n.Uplink != Uplink{} || r.lines[at.sub("address")] != 0):
		r.refuse(at, "is for networks with forward: nat, route or bridge only: write one of them, or remove the uplink (by command: uplink=)")
	case n.Forwards():
		r.uplinkKeys(at, n)
		r.uplinkInterface(in, n.Uplink)
		r.uplinkAddress(at.sub("address"), n)
		r.uplinkGateway(at.sub("gateway"), n.Uplink)
	case n.Forward != ForwardBridge:
	case name == "":
		r.refuse(in, "is missing: write the interface by which the network goes on, such as eth1, or forward: isolated")
	case badInterface(name) != "":
		r.refuse(in, "%s %s: choose another name", quoted(name), badInterface(name))
	default:
		r.uplinkPort(in, n)
	}
	if n.Forward == ForwardBridge {
		r.uplinkKeys(at, n)
	}
}

// uplinkKeys refuses what has no meaning for an uplink of that kind.
func (r *report) uplinkKeys(at place, n *Network) {
	u := n.Uplink
	for _, k := range []struct {
		key, only string
		set, fits bool
	}{
		{"reflective", "bridge", u.Reflective, n.Forward == ForwardBridge},
		{"address", "nat or route", u.Address != "", n.Forwards()},
		{"gateway", "nat or route", u.Gateway.IsValid(), n.Forwards()},
		{"proxy_arp", "route", u.ProxyARP, n.Forward == ForwardRoute},
	} {
		if k.set && !k.fits {
			r.refuse(at.sub(k.key), "is for networks with forward: %s only, this one is %s: remove it", k.only, n.Forward)
		}
	}
	if in := at.sub("proxy_arp"); u.ProxyARP && n.Forward == ForwardRoute && !u.Owned() && !r.refused[at.sub("address")] {
		r.refuse(in, "needs an address of the uplink's own: write address: dhcp there, or one such as 192.0.2.2/24, or remove this")
	}
}

func (r *report) uplinkInterface(at place, u Uplink) {
	switch {
	case u.Interface == "" && u.Owned():
		r.refuse(at, "is missing: write the interface that gets the address, such as eth1, or address: %s", AddressAuto)
	case u.Interface != "" && badInterface(u.Interface) != "":
		r.refuse(at, "%s %s: choose another name", quoted(u.Interface), badInterface(u.Interface))
	}
}

func (r *report) uplinkAddress(at place, n *Network) {
	u, known := n.Uplink, []string{AddressAuto, AddressHost, AddressSockets, AddressDHCP}
	switch {
	case u.Address == AddressSockets && n.Forward == ForwardRoute:
		r.refuse(at, "%s is NAT by its nature: write forward: nat, or another address", AddressSockets)
		return
	case slices.Contains(known, u.Address):
		return
	case !strings.ContainsAny(u.Address, "./:"):
		why := ": write one of them"
		if near := nearest(u.Address, known); near != "" {
			why = "; did you mean " + quoted(near) + "?"
		}
		r.refuse(at, "%s is neither an address such as 192.0.2.2/24 nor auto, host, sockets or dhcp%s", quoted(u.Address), why)
		return
	}
	p, err := parsePrefix(u.Address)
	if err != nil {
		r.refuse(at, "%v", err)
		return
	}
	if why := badOutside(p); why != "" {
		r.refuse(at, "%v %s", p, why)
		return
	}
	if g := n.Gateway(); g.IsValid() && p.Overlaps(g) && !n.carvedOut() {
		remedy, part := "", *n
		if part.Uplink.ProxyARP = true; part.carvedOut() && !n.Uplink.ProxyARP {
			remedy = ", or write proxy_arp: true to make it a part of this one"
		}
		r.refuse(at, "%v overlaps the network's own subnet %v: choose another one for the network%s", p, g.Masked(), remedy)
	}
}

// carvedOut reports whether the network's subnet is a part of the uplink's that is
// known out there by proxy ARP (RFC 1027), the one case where the two overlap.
func (n *Network) carvedOut() bool {
	p, g := n.Uplink.Prefix(), n.Gateway()
	return n.Forward == ForwardRoute && n.Uplink.ProxyARP && !g.Contains(p.Addr()) && !g.Contains(n.Uplink.Gateway)
}

// badOutside says why a prefix cannot be the address of an uplink, else empty.
func badOutside(p netip.Prefix) string {
	a := p.Addr()
	if why := badAddress(p); why != "" {
		return why
	}
	switch {
	case a.Is6():
		return "is an IPv6 address: IPv6 uplinks are not available in this version, write one of IPv4"
	case p.Bits() < minSubnet || p.Bits() > maxLink:
		return "leaves no link that others are on: give a prefix length of 8-31"
	case !isHostAddress(a):
		return "is not an address of a host: write one such as 192.0.2.2/24"
	case isBroadcast(a, p):
		return "is the broadcast address of its subnet: write that of the uplink"
	}
	return ""
}

// isBroadcast reports whether an IPv4 address reaches all of a subnet; one of two
// addresses has no such (RFC 3021).
func isBroadcast(a netip.Addr, subnet netip.Prefix) bool {
	return subnet.Bits() < 31 && a == broadcast(subnet)
}

func (r *report) uplinkGateway(at place, u Uplink) {
	p, g := u.Prefix(), u.Gateway
	if !g.IsValid() || r.refused[at.parent().sub("address")] {
		return
	}
	if !p.IsValid() {
		r.refuse(at, "is for an uplink whose address is in the file: write that, such as address: 192.0.2.2/24, or remove this")
		return
	}
	if why := badNeighbour(g, p); why != "" {
		r.refuse(at, "%v %s", g, why)
	}
}

// badNeighbour says why an address cannot be that of another station in the subnet
// of p, whose own address p has, else empty.
func badNeighbour(a netip.Addr, p netip.Prefix) string {
	switch {
	case !a.Is4():
		return "is not an IPv4 address: write one"
	case !p.Contains(a):
		return "is not in the subnet of " + p.String() + ": choose one that is"
	case a == p.Addr():
		return "is weft's own address there: write that of another station"
	case p.Bits() < 31 && a == p.Masked().Addr():
		return "is the address of the whole subnet: write that of a station"
	case isBroadcast(a, p):
		return "is the broadcast address of its subnet: write that of a station"
	}
	return ""
}

// uplinks refuses those of one interface that are not the same.
func (r *report) uplinks(c *Config) {
	first := map[string]*Network{}
	for _, n := range r.byAge(c) {
		u, ok := n.L3Uplink()
		if !ok || u.Address == AddressSockets { // which has no part in the interface
			continue
		}
		o := first[u.Interface]
		if o == nil {
			first[u.Interface] = n
			continue
		}
		at, other := place{network: n.Name, key: "uplink"}, o.Uplink
		const both = ": write the same in both"
		switch {
		case u.Address != other.Address:
			r.refuse(at.sub("address"), "%s, where network %s has %s for the same interface"+both, u.Address, quoted(o.Name), other.Address)
		case u.Gateway != other.Gateway:
			r.refuse(at.sub("gateway"), "%s, where network %s has %s for the same interface"+both,
				orNone(u.Gateway), quoted(o.Name), orNone(other.Gateway))
		case u.ProxyARP != other.ProxyARP:
			r.refuse(at.sub("proxy_arp"), "%v, where network %s has %v for the same interface: remove it, or give one of the two another interface",
				u.ProxyARP, quoted(o.Name), other.ProxyARP)
		}
	}
}

func orNone(a netip.Addr) string { return addresses().output(a).text }
