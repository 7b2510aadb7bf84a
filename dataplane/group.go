package dataplane

import (
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/snooping"
)

// group forwards a frame to a group address: to all that may be reached, or,
// where IGMP and MLD are snooped, to those that have asked for it.
func (w *worker) group(s *snapshot, in *ingress, f *frame.Frame, vid uint16) Verdict {
	if in.storm != nil {
		if v := in.storm.group(w.time, f); v.IsDrop() {
			return v
		}
	}
	if g := s.gateway; g != nil && in != &g.routes {
		if vid == g.vlan {
			w.overhear(s, f)
		}
		if g.uplink != nil {
			return Consumed // nobody else is here
		}
	}
	if !s.snoop {
		return w.flood(s, in, f, vid)
	}
	table := w.network.groups.Load()
	kind := snooping.Parse(f)
	if kind == snooping.Malformed {
		return BadGroupMessage
	}
	if kind != snooping.None {
		if v := w.punt(w.network.reports, w.port.reports, f, vid); v.IsDrop() {
			return v
		}
	}
	if kind == snooping.Report {
		return w.listeners(s, in, f, vid, table.Routers(vid, f))
	}
	if to, restrict := table.Ports(vid, f); restrict {
		return w.listeners(s, in, f, vid, to)
	}
	return w.flood(s, in, f, vid)
}

var broadcast = frame.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// listeners queues a frame for those ports of a set that may be reached, and for
// the uplink where that is the way to one of them.
func (w *worker) listeners(s *snapshot, in *ingress, f *frame.Frame, vid uint16, set portSet) Verdict {
	detour := in.detour.meets(set)
	v := NoListener
	for _, out := range in.flood {
		if (set.has(out) || detour && out == s.uplink) && in.leaves(out) && w.egress(s, f, vid, out) {
			v = Flooded
		}
	}
	return v
}
