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

	uplink fdb.Port // of the network; noPort where it has none
	vlans  bool     // some port is not transparent
	timed  bool     // some port has a limit that needs the time
	wire   bool     // 01:80:c2:00:00:00-0f are forwarded as other groups are
	stp    bool     // BPDUs are for the network's own spanning tree
	snoop  bool     // IGMP and MLD decide where multicast goes

	// echoes stands in for the uplink's ingress when a frame comes back that a
	// port has sent, by the index of that port. It is nil unless some port is
	// in a mode that counts on a reflective relay (IEEE 802.1Qbg) out there.
	echoes []ingress
}

// noPort is the index of no port.
const noPort fdb.Port = fdb.MaxPorts

// ingress is a port as the place where frames come in: what they may do.
type ingress struct {
	reach  portSet    // the ports by which they may leave
	flood  []fdb.Port // those of them that can take frames now
	detour portSet    // the ports whose stations they reach by way of the uplink
	direct fdb.Port   // passthrough: where all of them go; else noPort

	// barred is why a frame may not leave by a port that reach lacks; Forwarded
	// where it is for policy to tell.
	barred Verdict

	vlans   VLANs
	guarded bool // one of the following is set
	rate    *policer
	sources []frame.MAC
	blocked bool // by the spanning tree
	learns  bool // in spite of that

	uplink bool // echoes are looked for
	storm  *stormGuard
}

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
	reflective := false
	for i, p := range n.ports {
		if p == nil {
			continue
		}
		s.out[i] = p.egress(s.maxLen)
		s.vlans = s.vlans || p.policy.VLAN.Members != nil
		s.timed = s.timed || p.ingressRate != nil || p.egressRate != nil || p.storm != nil
		reflective = reflective || p.policy.Mode == VEPA || p.policy.Mode == Private
		if p.policy.Uplink {
			s.uplink = p.index
		}
	}
	for i, p := range n.ports {
		if p != nil {
			s.in[i] = n.ingress(p)
		}
	}
	if reflective && s.uplink != noPort {
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

// ingress describes what frames from port p may do. n.mu is held.
func (n *Network) ingress(p *Port) ingress {
	in := ingress{
		direct:  noPort,
		vlans:   p.policy.VLAN,
		rate:    p.ingressRate,
		sources: p.policy.Security.Sources,
		storm:   p.storm,
		blocked: !p.tree.forwards(),
		learns:  p.tree.learns(),
	}
	in.guarded = in.rate != nil || len(in.sources) > 0 || in.blocked
	in.reach, in.flood = n.portsWhere(func(out *Port) bool {
		return p.policy.mayReach(&out.policy) && out.tree.forwards()
	})
	in.detour, _ = n.portsWhere(func(out *Port) bool { return p.policy.mustDetour(&out.policy) })
	for _, out := range n.ports {
		if out != nil && out != p && (p.policy.Mode == Passthrough && out.policy.Uplink ||
			p.policy.Uplink && out.policy.Mode == Passthrough) {
			in.direct = out.index
		}
	}
	return in
}

// reflect makes the echoes of s. n.mu is held.
func (n *Network) reflect(s *snapshot) {
	s.in[s.uplink].uplink = true
	s.echoes = make([]ingress, len(n.ports))
	for i, p := range n.ports {
		if p == nil {
			continue
		}
		e := &s.echoes[i]
		e.direct, e.barred, e.storm = noPort, Reflected, s.in[s.uplink].storm
		e.reach, e.flood = n.portsWhere(func(out *Port) bool {
			return p.policy.mayReturn(&out.policy) && out.tree.forwards()
		})
	}
}

// portsWhere returns the ports that pass a test, and those of them that have
// I/O. n.mu is held.
func (n *Network) portsWhere(test func(*Port) bool) (portSet, []fdb.Port) {
	set := newPortSet(len(n.ports))
	var open []fdb.Port
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
