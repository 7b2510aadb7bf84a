package nat

import "math/bits"

// A guest may send from as many addresses of its subnet as it likes, of IPv6 from more
// than a table can count, so a limit for each inside host does not keep it from taking
// everything. To count a /64 as one host would not either do: the guests of a network
// share one, and the first to reach the limit would shut out all. What does is a share for
// each place that packets come in by, a port of the switch: half of the zone's flows,
// and a quarter of the outside ports. And a zone leaves a quarter of these to the
// others that use the same table. In ranges too small to be divided there are no
// shares, nor where there is one place alone.
const leastShared = 4096

// entrance is somewhere packets come in from inside.
type entrance struct {
	flows int
	ports mappingCount
}

// mappingCount counts the mappings that have a port of an outside address, which each
// family has of its own.
type mappingCount [families][ClassOther]int

// entrance returns the use that is made of a zone from somewhere.
func (z *zone) entrance(via uint16) *entrance {
	p := z.entrances[via]
	if p == nil {
		p = new(entrance)
		z.entrances[via] = p
	}
	return p
}

// fullOf reports whether a place has its share of the zone's flows.
func (z *zone) fullOf(p *entrance) bool {
	most := z.rules.Load().MaxFlows
	return most >= leastShared && z.isShared() && p.flows >= most/2
}

// isShared reports whether packets come in from several places, or may do so soon: who
// comes first does not take all.
func (z *zone) isShared() bool { return len(z.entrances) > 1 || z.rules.Load().Places > 1 }

// maySpend reports whether a host may have another outside port for itself.
func (t *Table) maySpend(h *host, c Class) bool {
	z, f := h.zone, familyOf(&h.addr)
	room := t.room(z, c, f)
	switch {
	case room < leastShared:
		return true
	case h.entrance != nil && z.isShared() && h.entrance.ports[f][c] >= room/4:
		return false
	}
	return t.zoneCount() == 1 || z.ports[f][c] < room/4*3
}

// room returns how many outside ports of a class a zone can have: those of its range
// that are nobody else's, on all of its addresses of a family.
func (t *Table) room(z *zone, c Class, f family) int {
	r, n := z.rules.Load(), 0
	if taken := t.takenOf(c); taken != nil {
		n = taken.count(r.First, r.Last)
	}
	return (int(r.Last-r.First) + 1 - n) * len(z.addrs[f])
}

// count returns how many ports from first to last are in the set.
func (s *PortSet) count(first, last uint16) int {
	n := 0
	for w := first >> 6; w <= last>>6; w++ {
		v := s[w]
		if w == first>>6 {
			v &= ^uint64(0) << (first & 63)
		}
		if w == last>>6 {
			v &= ^uint64(0) >> (63 - last&63)
		}
		n += bits.OnesCount64(v)
	}
	return n
}

func (t *Table) zoneCount() int {
	n := 0
	for _, z := range *t.zones.Load() {
		if z != nil {
			n++
		}
	}
	return n
}
