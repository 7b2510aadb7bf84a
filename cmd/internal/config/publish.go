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
	if n.Forward != ForwardNAT {
		return Errors{{Text: place{network: n.Name}.String() + "forward is " + n.Forward + ", and ports are published by nat only: write that first"}}
	}
	r := newReport("")
	r.published(place{network: n.Name}, n, p)
	return r.err()
}

// PublishOf returns the index in NAT.Publish of what listens there, -1 where
// nothing does.
func (n *Network) PublishOf(protocol string, l Listen) int {
	return slices.IndexFunc(n.NAT.Publish, func(p Publish) bool { return p.Protocol == protocol && p.Listen == l })
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

// RemovePublish takes away what listens there, and reports whether anything did.
func (c *Config) RemovePublish(network, protocol string, l Listen) bool {
	n := c.Network(network)
	if n == nil {
		return false
	}
	i := n.PublishOf(protocol, l)
	if i < 0 {
		return false
	}
	n.NAT.Publish = slices.Concat(n.NAT.Publish[:i], n.NAT.Publish[i+1:])
	if len(n.NAT.Publish) == 0 {
		n.NAT.Publish = nil
	}
	return true
}

// PublishClash returns what already has an outside port of p, and its network.
func (c *Config) PublishClash(network string, p Publish) (o Publish, of string, clash bool) {
	n := c.Network(network)
	if n == nil || n.Forward != ForwardNAT || badPublish(p) {
		return Publish{}, "", false
	}
	taken := takenPorts{}
	for i := range c.Networks {
		if other := &c.Networks[i]; other.Forward == ForwardNAT {
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
	case l.Addr.IsValid() && !l.Addr.Is4():
		r.refuse(listen, "%v is an IPv6 address, which is not available in this version: write one of IPv4", l.Addr)
	case l.Addr.IsMulticast() || l.Addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		r.refuse(listen, "%v is not an address of one host: write one of this host", l.Addr)
	}
	r.target(to, n, p)
}

func (r *report) target(at place, n *Network, p Publish) {
	gateway := n.Gateway()
	switch a := p.To.Addr(); {
	case p.To == netip.AddrPort{}:
		r.refuse(at, "is missing: write the address and the port of the guest, such as 192.168.122.10:22")
	case p.To.Port() == 0:
		r.refuse(at, "port 0 is out of range: give 1-%d", maxPort)
	case badGateway(gateway) != "": // refused for itself
	case !a.Is4():
		r.refuse(at, "%v is not an IPv4 address: write that of the guest", a)
	case badClient(a, gateway) != "":
		r.refuse(at, "%v %s", a, badClient(a, gateway))
	case badPorts(PortRange{p.Listen.First, p.Listen.Last}) == nil && int(p.To.Port())+p.Listen.count()-1 > maxPort:
		r.refuse(at, "port %d is the first of %d, and the last one would be above %d: lower it", p.To.Port(), p.Listen.count(), maxPort)
	}
}

// publishes refuses outside ports that are published twice.
func (r *report) publishes(c *Config) {
	taken := takenPorts{}
	for _, n := range r.byAge(c) {
		if n.Forward != ForwardNAT || len(n.NAT.Publish) > maxPublish {
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
// interface, or an address of this host for those that are sockets of it.
type portSpace struct {
	protocol string
	socket   bool
	address  netip.Addr // of a socket; unspecified for all of the host
	uplink   string
}

// takenPorts are the ports of each space, sorted and apart.
type takenPorts map[portSpace][]portOwner

func spaceOf(n *Network, p Publish) portSpace {
	switch {
	case p.Listen.Addr.IsValid():
		return portSpace{protocol: p.Protocol, socket: true, address: p.Listen.Addr}
	case n.Uplink.Address == AddressSockets:
		return portSpace{protocol: p.Protocol, socket: true, address: netip.IPv4Unspecified()}
	}
	return portSpace{protocol: p.Protocol, uplink: n.Uplink.Interface}
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
	return s.socket && o.socket && s.protocol == o.protocol && (s.address.IsUnspecified() || o.address.IsUnspecified())
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
