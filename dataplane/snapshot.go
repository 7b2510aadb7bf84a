package dataplane

import (
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/ports"
)

// snapshot is everything a worker needs to know of its network for one burst.
// It is immutable; a change builds a new one and swaps the pointer.
//
// Policy is data here: reach holds, for each ingress port, the ports that its
// frames may leave by, and flood those of them that can take frames now.
type snapshot struct {
	maxLen   int // longest frame without its tag, in bytes
	ports    []egress
	reach    []portSet
	flood    [][]fdb.Port
	captures []*Capture
}

// egress is a port as the place where frames leave. A port without I/O takes
// none.
type egress struct {
	port   *Port
	io     ports.Port
	caps   frame.Caps
	maxLen int
}

// portSet is a set of port indices.
type portSet []uint64

func newPortSet(n int) portSet { return make(portSet, (n+63)/64) }

func (s portSet) add(p fdb.Port)      { s[p/64] |= 1 << (p % 64) }
func (s portSet) has(p fdb.Port) bool { return s[p/64]&(1<<(p%64)) != 0 }

// build makes the snapshot of the network's present state. n.mu is held.
func (n *Network) build() *snapshot {
	s := &snapshot{
		maxLen:   n.cfg.MTU + frame.HeaderLen,
		ports:    make([]egress, len(n.ports)),
		reach:    make([]portSet, len(n.ports)),
		flood:    make([][]fdb.Port, len(n.ports)),
		captures: n.captures,
	}
	for i, p := range n.ports {
		if p != nil {
			s.ports[i] = egress{port: p, io: p.io, caps: p.caps, maxLen: min(s.maxLen, p.mtu+frame.HeaderLen)}
		}
	}
	for i, in := range n.ports {
		if in == nil {
			continue
		}
		s.reach[i] = newPortSet(len(n.ports))
		for j, out := range n.ports {
			if out == nil || !mayReach(in, out) {
				continue
			}
			s.reach[i].add(fdb.Port(j))
			if out.io != nil {
				s.flood[i] = append(s.flood[i], fdb.Port(j))
			}
		}
	}
	return s
}

// mayReach is the forwarding policy: whether frames from one port may leave by
// another. In bridge mode that is every port but itself.
func mayReach(in, out *Port) bool { return in != out }
