package dataplane

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
)

// RoutingConfig says where the packets of a network's stations may go beyond it.
// The zero value is nowhere.
type RoutingConfig struct {
	Uplink     *Uplink        // nil: no way out
	IPv4, IPv6 Treatment      // of what leaves by the uplink, by family
	Zone       nat.ZoneConfig // how that is tracked and translated
	Sockets    bool           // what would leave goes to the inbox Outside; there is no Uplink

	Routes []Route // to what is behind stations of this network
	Reach  []Reach // other networks, which are never translated

	// Barred is what belongs to networks here that are not in Reach: it is not
	// looked for outside either.
	Barred []netip.Prefix

	// HostAddresses are those of this machine; what is for one of them goes to
	// the host port where ReachHost is set, and is refused elsewhere.
	HostAddresses []netip.Addr
	ReachHost     bool

	// Relay names those of the gateway's ports that are given to the inbox Outside,
	// as they come and go; nil: none.
	Relay *RelayPorts
}

// Treatment is what becomes of packets between a network and its uplink.
type Treatment uint8

const (
	// Plain: they pass as they are, both ways.
	Plain Treatment = iota
	// Tracked: they pass as they are, and from outside only those that answer, or that
	// the zone lets in (RFC 6092).
	Tracked
	// Translated: they leave in the uplink's name.
	Translated
)

// treatment is that of a family.
func (c *RoutingConfig) treatment(a netip.Addr) Treatment {
	if a.Is4() {
		return c.IPv4
	}
	return c.IPv6
}

// tracks reports whether the zone is needed.
func (c *RoutingConfig) tracks() bool { return c.IPv4 != Plain || c.IPv6 != Plain }

// Route is a way to a part of the address space.
type Route struct {
	Destination netip.Prefix
	Via         netip.Addr // the next hop; zero: the destination itself, on the link
	Blocked     bool       // it is not to be reached this way
}

// Reach is another network with what belongs to it.
type Reach struct {
	Network  *Network
	Prefixes []netip.Prefix
}

// router is what a snapshot knows of the ways out of its network.
type router struct {
	ways *bart.Table[*way]

	exit      int // the door to the uplink, -1 where there is none
	zone      nat.Zone
	four, six Treatment // of what leaves by the exit
	sockets   bool      // instead of an uplink
	reachHost bool

	doors     []int // by zone: the door to that network, -1 where there is none
	routed    bool  // some network behind an uplink is reached untranslated
	narrowest int   // the longest frame that every network behind an uplink takes
}

// way is what becomes of packets for a part of the address space.
type way struct {
	kind wayKind
	door int        // with toNetwork
	via  netip.Addr // with here and out: the next hop; zero for the destination
	by   Treatment  // with toNetwork, of an uplink
}

type wayKind uint8

const (
	nowhere   wayKind = iota
	here              // a station of the network itself
	behind            // by a station of the network, via
	toNetwork         // another network
	toUplink          // by the uplink
	toSockets         // by sockets of this machine
	barred            // a network here that is not to be reached
	toMachine         // this machine itself
	out               // of an uplink: into the world outside
)

// next returns the next hop to dst.
func (y *way) next(dst netip.Addr) netip.Addr {
	if y.via.IsValid() {
		return y.via
	}
	return dst
}

// way returns the way to an address.
func (r *router) way(a netip.Addr) *way {
	if y, ok := r.ways.Lookup(a); ok {
		return y
	}
	return &noWay
}

var noWay = way{kind: nowhere}

// treatment is that of a packet which leaves by the exit.
func (r *router) treatment(p *frame.Parsed) Treatment {
	if p.IPVersion == 6 {
		return r.six
	}
	return r.four
}

// everywhere is the default routes.
var everywhere = [...]netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}

// targets returns the networks that packets may go to from here, in the order of
// the doors. n.mu is held.
func (n *Network) targets() []*Network {
	targets := []*Network{n}
	add := func(other *Network) {
		if !slices.Contains(targets, other) {
			targets = append(targets, other)
		}
	}
	if u := n.routing.Uplink; u != nil {
		add(u.network)
	}
	for _, r := range n.routing.Reach {
		add(r.Network)
	}
	if n.uplink != nil {
		for _, u := range n.uplink.users {
			add(u.network)
		}
	}
	return targets
}

// routerView returns what workers need to know of the ways out. n.mu is held.
func (n *Network) routerView(targets []*Network) *router {
	r := &router{ways: new(bart.Table[*way]), exit: -1, zone: n.zone, doors: doorsByZone(targets)}
	door := func(to *Network) int { return slices.Index(targets, to) }
	if n.uplink != nil {
		n.uplink.view(r, door)
		return r
	}
	c := &n.routing
	switch {
	case c.Sockets:
		r.insert(&way{kind: toSockets}, everywhere[:]...)
	case c.Uplink != nil:
		r.exit, r.four, r.six = door(c.Uplink.network), c.IPv4, c.IPv6
		r.insert(&way{kind: toUplink}, everywhere[:]...)
	}
	r.insert(&way{kind: barred}, c.Barred...)
	for _, other := range c.Reach {
		r.insert(&way{kind: toNetwork, door: door(other.Network)}, other.Prefixes...)
	}
	for _, route := range c.Routes {
		r.insert(&way{kind: behind, via: route.Via}, route.Destination)
	}
	r.insert(&way{kind: here}, n.cfg.Gateway.subnets()...)
	for _, a := range c.HostAddresses {
		// One that is inside, on an internal port, is a station's as any other.
		if y := r.way(a); y.kind == nowhere || y.kind == toUplink || y.kind == toSockets {
			r.ways.Insert(netip.PrefixFrom(a, a.BitLen()), &way{kind: toMachine})
		}
	}
	r.sockets, r.reachHost = c.Sockets, c.ReachHost
	return r
}

// insert makes a way that of some parts of the address space.
func (r *router) insert(y *way, parts ...netip.Prefix) {
	for _, p := range parts {
		r.ways.Insert(p.Masked(), y)
	}
}

// doorsByZone returns which of the targets is the network of a zone.
func doorsByZone(targets []*Network) []int {
	var doors []int
	for i, n := range targets {
		for len(doors) <= int(n.zone) {
			doors = append(doors, -1)
		}
		doors[n.zone] = i
	}
	return doors
}
