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
		r.uplinkGateways(at.sub("gateway"), n.Uplink)
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
		{"address", "nat or route", u.Address != "" || u.Address6 != "", n.Forwards()},
		{"gateway", "nat or route", u.Gateway.IsValid() || u.Gateway6.IsValid(), n.Forwards()},
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
	u := n.Uplink
	if why := badUplinkWords(n); why != "" {
		r.refuse(at, "%s", why)
		return
	}
	for _, s := range []string{u.Address, u.Address6} {
		if s == "" || unknownWord(s) == "" && !strings.ContainsAny(s, "./:") {
			continue
		}
		p, err := parsePrefix(s)
		if err != nil {
			r.refuse(at, "%v", err)
			return
		}
		if why := badOutside(p, u); why != "" {
			r.refuse(at, "%v %s", p, why)
			return
		}
		r.uplinkSubnet(at, n, p)
	}
}

// badUplinkWords says what is wrong with the words for an uplink's addresses, or
// with an address in the place of the other family, else empty.
func badUplinkWords(n *Network) string {
	u := n.Uplink
	switch {
	case u.Address == AddressSockets && n.Forward == ForwardRoute:
		return AddressSockets + " is NAT by its nature: write forward: nat, or another address"
	case u.Address == AddressNone && u.Address6 == "":
		return AddressNone + " leaves the uplink without an address: write one beside it, or " + AddressAuto
	case u.Address6 != "" && slices.Contains(sharedWords(), u.Address):
		return u.Address + " stands beside " + u.Address6 + ", and it is for both families: write one of the two alone"
	case isOfIPv6(u.Address):
		return u.Address + " is for IPv6, in the place of IPv4: write " + AddressNone + " there"
	case u.Address6 != "" && !isOfIPv6(u.Address6):
		return u.Address6 + " is not for IPv6: write an address of that, " + AddressSLAAC + " or " + AddressDHCP6
	}
	return unknownWord(u.Address)
}

// uplinkSubnet refuses an address whose subnet is that of the network too.
func (r *report) uplinkSubnet(at place, n *Network, p netip.Prefix) {
	for _, g := range n.Addresses {
		if !g.Overlaps(p) || n.carvedOut(g) {
			continue
		}
		remedy, part := "", *n
		if part.Uplink.ProxyARP = true; part.carvedOut(g) && !n.Uplink.ProxyARP {
			remedy = ", or write proxy_arp: true to make it a part of this one"
		}
		r.refuse(at, "%v overlaps the network's own subnet %v: choose another one for the network%s", p, g.Masked(), remedy)
		return
	}
}

// carvedOut reports whether a subnet of the network is a part of the uplink's that
// is known out there by proxy ARP (RFC 1027), or as IPv6 by its like (RFC 4389),
// the one case where the two overlap.
func (n *Network) carvedOut(g netip.Prefix) bool {
	p, gateway := n.Uplink.of(familyOf(g.Addr()))
	return n.Forward == ForwardRoute && n.Uplink.ProxyARP && !g.Contains(p.Addr()) && !g.Contains(gateway)
}

// badOutside says why a prefix cannot be the address of an uplink, else empty.
func badOutside(p netip.Prefix, u Uplink) string {
	a := p.Addr()
	if why := badAddress(p); why != "" {
		return why
	}
	switch {
	case a.Is6() && !isHostAddress(a):
		return "is neither global (2000::/3) nor unique local (fc00::/7): write one that is; a link-local one is there anyway"
	case a.Is6() && p.Bits() < minSubnet6:
		return "leaves no link that others are on: give a prefix length of 16-128"
	case a.Is6() && p.Bits() == maxLink6 && !u.Gateway6.IsLinkLocalUnicast():
		return "leaves no link that others are on: give a prefix length of 16-127, or a gateway such as fe80::1"
	case a.Is6() && isSubnet(a, p):
		return "is " + ipv6.subnetAddress() + ": write that of the uplink"
	case a.Is6():
	case p.Bits() < minSubnet || p.Bits() > maxLink:
		return "leaves no link that others are on: give a prefix length of 8-31"
	case !isHostAddress(a):
		return "is not an address of a host: write one such as 192.0.2.2/24"
	case isBroadcast(a, p):
		return "is the broadcast address of its subnet: write that of the uplink"
	}
	return ""
}

// uplinkGateways checks that of each family; both may be bad, in one value of the file.
func (r *report) uplinkGateways(at place, u Uplink) {
	if r.refused[at.parent().sub("address")] {
		return
	}
	var bad []string
	for _, f := range []family{ipv4, ipv6} {
		if _, g := u.of(f); g.IsValid() {
			if why := badUplinkGateway(u, f); why != "" {
				bad = append(bad, g.String()+" "+why)
			}
		}
	}
	if len(bad) > 0 {
		r.refuse(at, "%s", strings.Join(bad, "; "))
	}
}

// badUplinkGateway says why the gateway of a family cannot be one, else empty.
func badUplinkGateway(u Uplink, f family) string {
	p, g := u.of(f)
	word, givers := u.Address, "servers"
	if f == ipv6 {
		word, givers = u.Address6, "routers"
	}
	switch {
	case f == ipv6 && p.IsValid() && g.IsLinkLocalUnicast():
		return ""
	case p.IsValid():
		return badNeighbour(g, p)
	case word == AddressDHCP || word == AddressSLAAC || word == AddressDHCP6:
		return "is for an uplink whose " + f.String() + " address is in the file, and with " + word + " the " + givers + " out there say who leads on: remove it"
	}
	return "is for an uplink whose " + f.String() + " address is in the file: write that, such as address: " + f.outside() + ", or remove this"
}

// badNeighbour says why an address cannot be that of another station in the subnet
// of p, whose own address p has, else empty.
func badNeighbour(a netip.Addr, p netip.Prefix) string {
	f := familyOf(p.Addr())
	switch {
	case !f.has(a):
		return "is not an " + f.String() + " address: write one"
	case !p.Contains(a):
		return "is not in the subnet of " + p.String() + ": choose one that is"
	case a == p.Addr():
		return "is weft's own address there: write that of another station"
	case isSubnet(a, p):
		return "is " + f.subnetAddress() + ": write that of a station"
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
		case u.Address != other.Address || u.Address6 != other.Address6:
			r.refuse(at.sub("address"), "%s, where network %s has %s for the same interface"+both,
				textOf(u, uplinkAddressKey()), quoted(o.Name), textOf(other, uplinkAddressKey()))
		case u.Gateway != other.Gateway || u.Gateway6 != other.Gateway6:
			r.refuse(at.sub("gateway"), "%s, where network %s has %s for the same interface"+both,
				textOf(u, uplinkGatewayKey()), quoted(o.Name), textOf(other, uplinkGatewayKey()))
		case u.ProxyARP != other.ProxyARP:
			r.refuse(at.sub("proxy_arp"), "%v, where network %s has %v for the same interface: remove it, or give one of the two another interface",
				u.ProxyARP, quoted(o.Name), other.ProxyARP)
		}
	}
}

// textOf returns the value of one key of an uplink for people.
func textOf(u Uplink, k key[Uplink]) string { return k.write(&u).text }
