package dataplane

import (
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/ports"
)

// snapshot is everything a worker needs to know of its network for one burst.
// It is immutable; a change builds a new one and swaps the pointer.
//
// Policy is data here: what a port's frames may do stands in its ingress, and
// a feature that nobody uses costs its workers one comparison.
type snapshot struct {
	maxLen   int // longest frame without its tag, in bytes
	in       []ingress
	out      []egress
	captures []*Capture

	gateway *gateway // nil where there is none
	router  *router  // there where gateway is

	uplink fdb.Port // of the network; noPort where it has none
	vlans  bool     // some port is not transparent
	timed  bool     // some port has a limit that needs the time
	wire   bool     // 01:80:c2:00:00:00-0f are forwarded as other groups are
	stp    bool     // BPDUs are for the network's own spanning tree
	snoop  bool     // IGMP and MLD decide where multicast goes

	// echoes stands in for the uplink's ingress when a frame comes back that a
	// port has sent, by the index of that port. It is nil where no reflective
	// relay is out there.
	echoes []ingress
}

// noPort is the index of no port.
const noPort fdb.Port = fdb.MaxPorts

// ingress is a port as the place where frames come in: what they may do.
type ingress struct {
	self    fdb.Port // the port itself, which frames do not leave by
	hairpin bool     // unless this is set

	routes          // shared with other ports
	doors  []*door  // to other networks
	direct fdb.Port // passthrough: where all frames go; else noPort

	// barred is why a frame may not leave by a port that reach lacks; Forwarded
	// where it is for policy to tell.
	barred Verdict

	vlans   VLANs
	guarded bool // one of the following is set
	rate    *policer
	sources []frame.MAC
	blocked bool // by the spanning tree
	learns  bool // in spite of that
	shares  bool // the uplink, whose addresses are not to be taken
	guest   bool // not the host port: the gateway's address is not its own
	guard   Guard

	uplink bool // echoes are looked for
	storm  *stormGuard
}

// routes is where frames may go. All ports of a class have the same, themselves
// included: see ingress.leaves.
type routes struct {
	reach  portSet    // the ports by which they may leave
	flood  []fdb.Port // those of them that can take frames now
	detour portSet    // the ports whose stations they reach by way of the uplink
}

// leaves reports whether a frame may leave by a port of its routes.
func (in *ingress) leaves(out fdb.Port) bool { return out != in.self || in.hairpin }

// egress is a port as the place where frames leave. A port without I/O takes
// none.
type egress struct {
	port   *Port
	io     ports.Port
	caps   frame.Caps
	maxLen int
	vlans  VLANs
	rate   *policer

	blocked bool // by the spanning tree
}

// has reports whether a port is in the snapshot. An entry of the FDB may be of
// a port that is younger or older.
func (s *snapshot) has(p fdb.Port) bool { return int(p) < len(s.out) && s.out[p].port != nil }

// portSet is a set of port indices. The nil set is empty.
type portSet []uint64

func newPortSet(n int) portSet { return make(portSet, (n+63)/64) }

func (s portSet) add(p fdb.Port) { s[p/64] |= 1 << (p % 64) }

// meets reports whether two sets have a port in common.
func (s portSet) meets(t portSet) bool {
	for i := range min(len(s), len(t)) {
		if s[i]&t[i] != 0 {
			return true
		}
	}
	return false
}

func (s portSet) has(p fdb.Port) bool { return int(p/64) < len(s) && s[p/64]&(1<<(p%64)) != 0 }

// build makes the snapshot of the network's present state. n.mu is held.
func (n *Network) build() *snapshot {
	s := &snapshot{
		maxLen:   n.cfg.MTU + frame.HeaderLen,
		in:       make([]ingress, len(n.ports)),
		out:      make([]egress, len(n.ports)),
		captures: n.captures,
		uplink:   noPort,
		wire:     n.cfg.ForwardReserved,
		stp:      n.bridge != nil,
		snoop:    n.snooper != nil,
	}
	reflective := n.cfg.Reflective
	for i, p := range n.ports {
		if p == nil {
			continue
		}
		s.out[i] = p.egress(s.maxLen)
		s.vlans = s.vlans || p.policy.VLAN.Tagged != nil
		s.timed = s.timed || p.ingressRate != nil || p.egressRate != nil || p.storm != nil
		reflective = reflective || p.policy.Mode == VEPA || p.policy.Mode == Private
		if p.policy.Uplink {
			s.uplink = p.index
		}
	}
	reflective = reflective && s.uplink != noPort
	s.gateway = n.gatewayView()
	s.vlans = s.vlans || s.gateway != nil && s.gateway.vlan != 0
	targets := n.targets()
	if s.gateway != nil {
		s.router = n.routerView(targets)
	}
	routesOf := perClass(n.routes)
	for i, p := range n.ports {
		if p == nil {
			continue
		}
		s.in[i] = p.ingress(routesOf(p))
		s.in[i].direct = n.direct(p)
		if s.gateway != nil {
			s.in[i].doors = p.doorsTo(targets)
		}
		if reflective && !p.policy.Uplink {
			s.in[i].shares, s.in[i].guarded = true, true
		}
		if s.gateway != nil && p.index != s.gateway.host {
			s.in[i].guest, s.in[i].guarded = true, true
		}
	}
	if reflective {
		n.reflect(s)
	}
	return s
}

func (p *Port) egress(maxLen int) egress {
	return egress{
		port: p, io: p.io, caps: p.caps, maxLen: min(maxLen, p.mtu+frame.HeaderLen),
		vlans: p.policy.VLAN, rate: p.egressRate, blocked: !p.tree.forwards(),
	}
}

// ingress describes what frames from port p may do. network.mu is held.
func (p *Port) ingress(r routes) ingress {
	in := ingress{
		self: p.index, hairpin: p.policy.Hairpin, routes: r, direct: noPort,
		vlans:   p.policy.VLAN,
		rate:    p.ingressRate,
		sources: p.policy.Security.Sources,
		storm:   p.storm,
		guard:   p.policy.Guard,
		blocked: !p.tree.forwards(),
		learns:  p.tree.learns(),
	}
	in.guarded = in.rate != nil || len(in.sources) > 0 || in.blocked || in.guard != Guard{}
	return in
}

// routes returns where frames from ports of a class may go. n.mu is held.
func (n *Network) routes(c class) routes {
	r := routes{}
	r.reach, r.flood = n.portsWhere(func(out *Port) bool { return c.mayReach(out.policy.class()) && out.tree.forwards() })
	r.detour, _ = n.portsWhere(func(out *Port) bool { return c.mustDetour(out.policy.class()) })
	return r
}

// direct returns the other end of the wire that a passthrough port and the
// uplink are, noPort where p is no end of one. n.mu is held.
func (n *Network) direct(p *Port) fdb.Port {
	if p.policy.Mode != Passthrough && !p.policy.Uplink {
		return noPort
	}
	for _, out := range n.ports {
		if out != nil && out.tree.forwards() && (p.policy.Mode == Passthrough && out.policy.Uplink ||
			p.policy.Uplink && out.policy.Mode == Passthrough) {
			return out.index
		}
	}
	return noPort
}

// reflect makes the echoes of s. n.mu is held.
func (n *Network) reflect(s *snapshot) {
	uplink := &s.in[s.uplink]
	uplink.uplink = true
	waysBack := perClass(func(c class) (r routes) {
		r.reach, r.flood = n.portsWhere(func(out *Port) bool { return c.mayReturn(out.policy.class()) && out.tree.forwards() })
		return r
	})
	s.echoes = make([]ingress, len(n.ports))
	for i, p := range n.ports {
		if p != nil {
			s.echoes[i] = ingress{self: p.index, routes: waysBack(p), direct: noPort, barred: Reflected, storm: uplink.storm}
		}
	}
}

// perClass returns a function that makes the routes of a port's class, once for
// each class.
func perClass(make func(class) routes) func(*Port) routes {
	known := map[class]routes{}
	return func(p *Port) routes {
		c := p.policy.class()
		r, ok := known[c]
		if !ok {
			r = make(c)
			known[c] = r
		}
		return r
	}
}

// portsWhere returns the ports that pass a test, and those of them that have
// I/O. n.mu is held.
func (n *Network) portsWhere(test func(*Port) bool) (portSet, []fdb.Port) {
	set := newPortSet(len(n.ports))
	open := make([]fdb.Port, 0, len(n.ports))
	for i, p := range n.ports {
		if p == nil || !test(p) {
			continue
		}
		set.add(fdb.Port(i))
		if p.io != nil {
			open = append(open, fdb.Port(i))
		}
	}
	return set, open
}
