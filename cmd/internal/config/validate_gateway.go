package config

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
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
	for i, a := range n.Addresses {
		if why := badGateway(a); why != "" {
			r.refuse(r.item(address, i, len(n.Addresses)), "%v %s", a, why)
		} else if i > 0 {
			r.refuse(address.index(i), "a second address is not available in this version: keep one of them")
		}
	}
	if n.Forward == ForwardBridge {
		r.refuse(address, "is for networks that end here: with forward: bridge the gateway, DHCP and DNS would answer all "+
			"of the network outside; remove it, or write forward: isolated")
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
		return "is an IPv6 address: IPv6 gateway addresses are not available in this version, write one of IPv4"
	case p.Bits() < minSubnet || p.Bits() > maxSubnet:
		return "leaves no subnet that can be served: give a prefix length of 8-30"
	case !isHostAddress(a):
		return "is not an address of a host: write one such as 192.168.122.1/24"
	case a == broadcast(p):
		return "is the broadcast address of its subnet: write that of the gateway"
	}
	return ""
}

// isHostAddress reports whether an IPv4 address may be that of a host in a
// network (RFC 6890: not of "this network", loopback, multicast or reserved).
func isHostAddress(a netip.Addr) bool {
	first := a.As4()[0]
	return first != 0 && first != 127 && first < 224
}

// withoutAddress refuses the settings of what only a gateway has. That the file
// has the key says that it is meant, even where all in it is the default.
func (r *report) withoutAddress(at place, n *Network) {
	plain := NewNetwork(n.Name)
	dns := plain.DNS
	dns.Enabled = n.DNS.Enabled
	for _, k := range []struct {
		key string
		set bool
	}{
		{"vlan", n.VLAN != 0},
		{"host_port", n.HostPort != ""},
		{"dhcp", r.lines[at.sub("dhcp")] != 0 || !reflect.DeepEqual(n.DHCP, plain.DHCP)},
		{"dns", r.lines[at.sub("dns")] != 0 && n.DNS.Enabled || !reflect.DeepEqual(n.DNS, dns)},
	} {
		if k.set {
			r.refuse(at.sub(k.key), "needs an address of the network: write one for it, such as address: 192.168.122.1/24, or remove this")
		}
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

// subnets refuses two networks that somebody could not tell apart: this host,
// those behind an uplink that routes both, or each other.
func (r *report) subnets(c *Config) {
	list := r.byAge(c)
	for i, n := range list {
		at := r.item(place{network: n.Name, key: "address"}, 0, len(n.Addresses))
		for _, o := range list[:i] {
			a, b := n.Gateway(), o.Gateway()
			if !a.IsValid() || !b.IsValid() || !a.Overlaps(b) {
				continue
			}
			switch {
			case n.HostPort != "" && o.HostPort != "":
				r.refuse(at, "%v overlaps %v of network %s, and this host is in both: choose another subnet, or remove one host_port", a, b, quoted(o.Name))
			case n.Forward == ForwardRoute && o.Forward == ForwardRoute && n.Uplink.Interface == o.Uplink.Interface:
				r.refuse(at, "%v overlaps %v of network %s, and one uplink routes to both: choose another subnet", a, b, quoted(o.Name))
			case slices.Contains(n.Reach, o.Name):
				r.refuse(at, "%v overlaps %v of network %s, which is in reach: choose another subnet, or remove that", a, b, quoted(o.Name))
			default:
				continue
			}
			break
		}
	}
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
