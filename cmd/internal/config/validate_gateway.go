package config

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
)

// gateway checks the addresses of a network, and that there is one for what
// needs it.
func (r *report) gateway(at place, n *Network) {
	address, port := at.sub("address"), at.sub("host_port")
	if why := badInterface(n.HostPort); n.HostPort != "" && why != "" {
		r.refuse(port, "%s %s: choose another name", quoted(n.HostPort), why)
	}
	if n.VLAN > maxVLAN {
		r.refuse(at.sub("vlan"), "%v", badVLANID(int(n.VLAN)))
	}
	if seat := n.HostSeat(); seat != nil && n.VLAN != 0 && len(seat.VLAN.only()) > 0 {
		r.refuse(place{network: n.Name, port: hostSeat}.sub("vlan"), "the port of host_port is in the VLAN of the gateway, %d: remove this", n.VLAN)
	}
	if len(n.Addresses) == 0 {
		if !r.refused[address] {
			r.withoutAddress(at, n)
		}
		return
	}
	r.addresses(address, n)
	r.withoutFamily(at, n)
	if n.Forward == ForwardBridge {
		r.refuse(address, "is for networks that end here: with forward: bridge the gateway, DHCP and DNS would answer all "+
			"of the network outside; remove it, or write forward: isolated")
	}
}

// addresses checks those of the gateway, each by itself and against the others.
func (r *report) addresses(at place, n *Network) {
	slaac := n.RA.Enabled && n.RA.Autonomous
	four, six := 0, len(n.Gateway6())
	if six > maxAddresses {
		r.refuse(at, "has %d IPv6 addresses: at most %d are possible", six, maxAddresses)
		return
	}
	for i, a := range n.Addresses {
		in := r.item(at, i, len(n.Addresses))
		if why := badGateway(a); why != "" {
			r.refuse(in, "%v %s", a, why)
			continue
		}
		if a.Addr().Is4() {
			if four++; four > 1 {
				r.refuse(in, "%v is a second IPv4 address, and a network has one subnet of that, as DHCP and NAT know no other: "+
					"keep one of them, or make a second network", a)
			}
			continue
		}
		o := overlapping(n.Addresses[:i], a)
		switch {
		case a == o && n.ULA && a == ULA(n.Name):
			r.refuse(in, "%s is there already: write it once", ulaWord)
		case o.IsValid():
			r.refuse(in, "%v overlaps %v: a gateway has one address in each subnet, keep one of them", a, o)
		case slaac && a.Bits() != slaacSubnet:
			r.refuse(in, "%v has a prefix length of %d, and guests make addresses in subnets of %d only (RFC 4862): write /%d, or ra: {autonomous: false}",
				a, a.Bits(), slaacSubnet, slaacSubnet)
		}
	}
	if mtu := (place{network: n.Name, key: "mtu"}); six > 0 && n.MTU >= minMTU && n.MTU < minMTU6 {
		r.refuse(mtu, "%d is less than IPv6 needs (RFC 8200 section 5): give %d at least, or remove the IPv6 address", n.MTU, minMTU6)
	}
}

// badGateway says why a prefix cannot be the address of a gateway, else empty.
func badGateway(p netip.Prefix) string {
	a := p.Addr()
	if why := badAddress(p); why != "" {
		return why
	}
	switch {
	case a.Is6():
		return badGateway6(p)
	case p.Bits() < minSubnet || p.Bits() > maxSubnet:
		return "leaves no subnet that can be served: give a prefix length of 8-30"
	case !isHostAddress(a):
		return "is not an address of a host: write one such as 192.168.122.1/24"
	case isBroadcast(a, p):
		return "is the broadcast address of its subnet: write that of the gateway"
	}
	return ""
}

func badGateway6(p netip.Prefix) string {
	a := p.Addr()
	switch {
	case a.IsLinkLocalUnicast():
		return "is a link-local address, and the gateway makes one itself: write a global or a unique local one, or " + ulaWord
	case !isHostAddress(a):
		return "is neither global (2000::/3) nor unique local (fc00::/7): write one that is, or " + ulaWord
	case p.Bits() < minSubnet6 || p.Bits() > maxSubnet6:
		return "leaves no subnet that can be served: give a prefix length of 64, or one of 16-126 with ra: {autonomous: false}"
	case isSubnet(a, p):
		return "is " + ipv6.subnetAddress() + ": write that of the gateway, such as " + netip.PrefixFrom(a.Next(), p.Bits()).String()
	}
	return ""
}

// withoutAddress refuses the settings of what only a gateway has. That the file
// has the key says that it is meant, even where all in it is the default.
func (r *report) withoutAddress(at place, n *Network) {
	plain := NewNetwork(n.Name)
	dns := plain.DNS
	dns.Enabled = n.DNS.Enabled
	const four = "192.168.122.1/24"
	for _, k := range []struct {
		key, such string
		set       bool
	}{
		{"vlan", four, n.VLAN != 0},
		{"host_port", four, n.HostPort != ""},
		{"ra", ulaWord, r.lines[at.sub("ra")] != 0 && n.RA.Enabled || n.RA.isSet()},
		{"dhcp", four, r.lines[at.sub("dhcp")] != 0 || !reflect.DeepEqual(n.DHCP, plain.DHCP)},
		{"dhcp6", ulaWord, r.lines[at.sub("dhcp6")] != 0 || !reflect.DeepEqual(n.DHCP6, plain.DHCP6)},
		{"dns", four, r.lines[at.sub("dns")] != 0 && n.DNS.Enabled || !reflect.DeepEqual(n.DNS, dns)},
	} {
		if k.set {
			r.refuse(at.sub(k.key), "needs an address of the network: write one for it, such as address: %s, or remove this", k.such)
		}
	}
}

// withoutFamily refuses a service of IPv4 in a network that has none of its
// addresses. One of IPv6 brings its own: see fillAddresses.
func (r *report) withoutFamily(at place, n *Network) {
	if n.DHCP.Enabled() && !hasIPv4(n) && !r.refused[at.sub("address")] {
		r.refuse(at.sub("dhcp"), "is for IPv4, of which the network has no address: write one beside that of IPv6, such as 192.168.122.1/24, or dhcp6 in place of this")
	}
}

// seat refuses a port in the place of that of host_port which is another one.
func (r *report) seat(at place, n *Network, p *Port) {
	if p.Name != hostSeat || p.Seat || n.HostPort == "" {
		return
	}
	key := n.unseated(p)
	if key == "" { // host_port itself is bad
		return
	}
	is := map[string]string{
		"type": p.Type, "interface": quoted(p.Interface), "netns": quoted(p.Netns), "mac": p.MAC.String(),
		"address": prefixes().outputList(p.Addresses).text,
	}
	r.refuse(at.sub(key), "%s is not that of host_port, whose port has this name: remove it here, or rename this port", is[key])
}

// path checks that of a file, where there is one.
func (r *report) path(at place, s string) {
	switch {
	case s == "":
	case !filepath.IsAbs(s):
		r.refuse(at, "%s is not an absolute path: begin it with /", quoted(s))
	case !printable(s) || strings.HasSuffix(s, "/"):
		r.refuse(at, "%s is not the path of a file", quoted(s))
	}
}
