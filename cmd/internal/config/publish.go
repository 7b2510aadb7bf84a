package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// CheckPublish checks a published port that a command would add to n, by itself:
// the keys in the error are those of the port.
func (n *Network) CheckPublish(p Publish) error {
	if !n.Forwards() {
		return Errors{{Text: place{network: n.Name}.String() + "forward is " + n.Forward + ", and ports are published by nat and route only: write one of them first"}}
	}
	r := newReport("")
	r.published(place{network: n.Name}, n, p)
	return r.err()
}

// PublishOf returns the index in NAT.Publish of the first that listens there, -1
// where nothing does. Where the guests' own addresses are known outside, and for the
// two families, several may: see PublishTo.
func (n *Network) PublishOf(protocol string, l Listen) int {
	return slices.IndexFunc(n.NAT.Publish, func(p Publish) bool { return p.Protocol == protocol && p.Listen == l })
}

// PublishTo returns the index in NAT.Publish of what listens there and leads to an
// address, -1 where nothing does.
func (n *Network) PublishTo(protocol string, l Listen, to netip.AddrPort) int {
	return slices.IndexFunc(n.NAT.Publish, func(p Publish) bool { return p.Protocol == protocol && p.Listen == l && p.To == to })
}

// AddPublish adds a published port to a network. An error names what stands in its
// way, and nothing has changed; else c needs Normalize and Validate.
func (c *Config) AddPublish(network string, p Publish) error {
	n := c.Network(network)
	if n == nil {
		return missing(place{network: network})
	}
	if p.Listen.Last == 0 {
		p.Listen.Last = p.Listen.First
	}
	if err := n.CheckPublish(p); err != nil {
		return err
	}
	if o, of, clash := c.PublishClash(network, p); clash {
		return Errors{{Text: place{network: network}.String() + clashText(p, o, of, network)}}
	}
	n.NAT.Publish = append(slices.Clip(n.NAT.Publish), p)
	return nil
}

// RemovePublish takes away all that listens there, wherever it leads to, and
// reports whether anything did.
func (c *Config) RemovePublish(network, protocol string, l Listen) bool {
	return c.removePublish(network, func(p Publish) bool { return p.Protocol == protocol && p.Listen == l })
}

// RemovePublishTo takes away what listens there and leads to an address, and
// reports whether anything did.
func (c *Config) RemovePublishTo(network, protocol string, l Listen, to netip.AddrPort) bool {
	return c.removePublish(network, func(p Publish) bool { return p.Protocol == protocol && p.Listen == l && p.To == to })
}

func (c *Config) removePublish(network string, gone func(Publish) bool) bool {
	n := c.Network(network)
	if n == nil || !slices.ContainsFunc(n.NAT.Publish, gone) {
		return false
	}
	n.NAT.Publish = slices.DeleteFunc(slices.Clone(n.NAT.Publish), gone)
	if len(n.NAT.Publish) == 0 {
		n.NAT.Publish = nil
	}
	return true
}

// PublishClash returns what already has an outside port of p, and its network.
func (c *Config) PublishClash(network string, p Publish) (o Publish, of string, clash bool) {
	n := c.Network(network)
	if n == nil || !n.Forwards() || badPublish(p) {
		return Publish{}, "", false
	}
	taken := takenPorts{}
	for i := range c.Networks {
		if other := &c.Networks[i]; other.Forwards() {
			for _, v := range other.NAT.Publish {
				if !badPublish(v) {
					taken.add(other, v)
				}
			}
		}
	}
	if owner := taken.add(n, p); owner != nil {
		return owner.what, owner.network, true
	}
	return Publish{}, "", false
}

// publish checks the published ports of a network, each by itself.
func (r *report) publish(at place, n *Network) {
	list := n.NAT.Publish
	if len(list) > maxPublish {
		r.refuse(at, "has %d entries: at most %d are possible", len(list), maxPublish)
		return
	}
	for i, p := range list {
		r.published(at.index(i), n, p)
	}
}

func (r *report) published(at place, n *Network, p Publish) {
	protocol, listen, to := at.sub("protocol"), at.sub("listen"), at.sub("to")
	if p.Protocol == "" {
		r.refuse(protocol, "is missing: write %s or %s", TCP, UDP)
	} else {
		r.word(protocol, p.Protocol, TCP, UDP)
	}
	l := p.Listen
	switch err := badPorts(PortRange{l.First, l.Last}); {
	case l == Listen{}:
		r.refuse(listen, "is missing: write the outside port, such as 19888")
	case err != nil:
		r.refuse(listen, "%v", err)
	case l.Addr.IsValid() && n.Forward == ForwardRoute:
		r.refuse(listen, "%v has an address of this host, which takes forward: nat: with forward: route write the port alone, and the guest is reached at its own address", l)
	case l.Addr.IsValid() && (familyOf(l.Addr) == 0 || l.Addr.Is6() && l.Addr.IsLinkLocalUnicast()):
		r.refuse(listen, "%v is not an address that means the same everywhere on this host: write another one", l.Addr)
	case l.Addr.IsMulticast() || l.Addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		r.refuse(listen, "%v is not an address of one host: write one of this host", l.Addr)
	}
	r.target(to, n, p)
}

func (r *report) target(at place, n *Network, p Publish) {
	a := p.To.Addr()
	f := familyOf(a)
	own, listen := n.gateways(f), badPorts(PortRange{p.Listen.First, p.Listen.Last}) == nil
	switch {
	case p.To == netip.AddrPort{}:
		r.refuse(at, "is missing: write the address and the port of the guest, such as 192.168.122.10:22")
	case p.To.Port() == 0:
		r.refuse(at, "port 0 is out of range: give 1-%d", maxPort)
	case f == 0 || a.Zone() != "":
		r.refuse(at, "%v is not an address of a guest that others could reach: write one without a zone, and IPv4 in its own form", a)
	case len(own) == 0 && len(n.addressesOf(f)) > 0 || len(n.Addresses) == 0: // refused for itself
	case len(own) == 0:
		r.refuse(at, "%v is of %v, and the network has no address of that: write one for it, or the %v address of the guest", a, f, f.other())
	case badClient(a, f, own) != "":
		r.refuse(at, "%v %s", a, badClient(a, f, own))
	case listen && n.Forward == ForwardRoute && !p.Listen.Addr.IsValid() && int(p.To.Port()) != p.Listen.First:
		r.refuse(at, "port %d is not that of listen, %d, and with forward: route nothing is translated: write the same in both", p.To.Port(), p.Listen.First)
	case listen && int(p.To.Port())+p.Listen.count()-1 > maxPort:
		r.refuse(at, "port %d is the first of %d, and the last one would be above %d: lower it", p.To.Port(), p.Listen.count(), maxPort)
	}
}

// publishes refuses outside ports that are published twice.
func (r *report) publishes(c *Config) {
	taken := takenPorts{}
	for _, n := range r.byAge(c) {
		if !n.Forwards() || len(n.NAT.Publish) > maxPublish {
			continue
		}
		for i, p := range n.NAT.Publish {
			if badPublish(p) {
				continue
			}
			if o := taken.add(n, p); o != nil {
				r.refuse(place{network: n.Name, key: "nat.publish"}.index(i).sub("listen"), "%s", clashText(p, o.what, o.network, n.Name))
			}
		}
	}
}

func badPublish(p Publish) bool {
	return p.Protocol != TCP && p.Protocol != UDP || badPorts(PortRange{p.Listen.First, p.Listen.Last}) != nil
}

func clashText(p, o Publish, of, network string) string {
	where := ""
	if of != network {
		where = " of network " + quoted(of)
	}
	return fmt.Sprintf("%s %v is published already, as %v to %v%s: choose other ports, or remove that", p.Protocol, p.Listen, o.Listen, o.To, where)
}

// portOwner is a published port and whose it is.
type portOwner struct {
	what    Publish
	network string
}

// portSpace is where two that publish the same port clash: the uplink on an
// interface, for each family, or an address: of this host for those that are sockets
// of it, of the guest where that is the one outside.
type portSpace struct {
	protocol string
	socket   bool
	address  netip.Addr // of a socket; unspecified for all of the host
	family   family     // of an uplink
	uplink   string
}

// takenPorts are the ports of each space, sorted and apart.
type takenPorts map[portSpace][]portOwner

func spaceOf(n *Network, p Publish) portSpace {
	switch {
	case p.Listen.Addr.IsValid():
		return portSpace{protocol: p.Protocol, socket: true, address: p.Listen.Addr}
	case n.Uplink.Address == AddressSockets && p.To.Addr().Is6():
		return portSpace{protocol: p.Protocol, socket: true, address: netip.IPv6Unspecified()}
	case n.Uplink.Address == AddressSockets:
		return portSpace{protocol: p.Protocol, socket: true, address: netip.IPv4Unspecified()}
	case n.Forward == ForwardRoute, p.To.Addr().Is6() && n.NAT.IPv6 != NATMasquerade:
		return portSpace{protocol: p.Protocol, address: p.To.Addr(), uplink: n.Uplink.Interface}
	}
	return portSpace{protocol: p.Protocol, family: familyOf(p.To.Addr()), uplink: n.Uplink.Interface}
}

// add takes the ports of p, or returns who has one of them.
func (t takenPorts) add(n *Network, p Publish) *portOwner {
	at := spaceOf(n, p)
	i, o := t.find(at, p)
	for s := range t {
		// A socket on all addresses has the port of each. Of several, it is always
		// the same that is named.
		if s == at || !s.meets(at) {
			continue
		}
		if _, other := t.find(s, p); other != nil && (o == nil || other.what.Listen.Addr.Less(o.what.Listen.Addr)) {
			o = other
		}
	}
	if o == nil {
		t[at] = slices.Insert(t[at], i, portOwner{p, n.Name})
	}
	return o
}

// meets reports whether two sockets in spaces that differ could have the same
// address.
func (s portSpace) meets(o portSpace) bool {
	return s.socket && o.socket && s.protocol == o.protocol && s.address.Is4() == o.address.Is4() &&
		(s.address.IsUnspecified() || o.address.IsUnspecified())
}

// find returns who has a port of p in a space, and where p belongs otherwise.
func (t takenPorts) find(s portSpace, p Publish) (int, *portOwner) {
	list := t[s]
	i, _ := slices.BinarySearchFunc(list, p.Listen.First, func(o portOwner, first int) int { return cmp.Compare(o.what.Listen.Last, first) })
	if i < len(list) && list[i].what.Listen.First <= p.Listen.Last {
		return i, &list[i]
	}
	return i, nil
}
