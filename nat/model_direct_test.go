package nat

import (
	"net/netip"
	"slices"
)

// modelPrefix holds all inside addresses of the model, and leaves them as they are.
var modelPrefix = PrefixMap{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.1.0.0/16")}

// direct reports whether a zone has the prefix.
func (m *model) direct(z Zone) bool { return len(m.zones[z].Prefixes) > 0 }

// covering returns the zone whose prefix has an outside endpoint.
func (m *model) covering(outside string) (Zone, bool) {
	in := modelPrefix.Outside.Contains(netip.MustParseAddrPort(outside).Addr())
	return 0, in && m.direct(0)
}

func (m *model) unclaimed(v Verdict, covered bool) Verdict {
	if v == NotMine && covered {
		return Filtered
	}
	return v
}

// checkDirect is checkOut of a new flow whose address stays as it is.
func (m *model) checkDirect(z Zone, protocol uint8, inside, remote, outside string, want func(Verdict) bool) {
	m.t.Helper()
	leaves := func(as string, x *modelMapping) {
		m.t.Helper()
		if want(Translated) && outside != as {
			m.t.Fatalf("%s left as %s, want %s", inside, outside, as)
		}
		m.add(z, protocol, inside, as, remote, false, x)
	}
	if classOf(protocol) >= ClassICMP {
		if m.flowIn(protocol, inside, remote) != nil {
			want(Unsupported)
			return
		}
		leaves(inside, nil)
		return
	}
	if x := m.mappingOf(z, protocol, inside); x != nil {
		if m.usable(x) && m.flowIn(protocol, x.outside, remote) == nil {
			leaves(x.outside, x)
			return
		}
		x.retired = true
	}
	if all := m.publishedFrom(z, protocol, inside, addrOf(inside)); len(all) > 0 && slices.Contains(all, outside) && m.flowIn(protocol, outside, remote) == nil {
		leaves(outside, m.mapTo(z, protocol, inside, outside))
		return
	} else if slices.ContainsFunc(all, func(o string) bool { return m.flowIn(protocol, o, remote) == nil }) && len(all) == 1 {
		m.t.Fatalf("%s left as %s, and is published at %v", inside, outside, all)
	}
	if m.flowIn(protocol, inside, remote) != nil {
		want(PortsFull)
		return
	}
	leaves(inside, m.mapDirect(z, protocol, inside, inside))
}

// mapDirect returns the mapping of an endpoint that keeps its own port, nil where that
// is somebody else's.
func (m *model) mapDirect(z Zone, protocol uint8, inside, outside string) *modelMapping {
	if classOf(protocol) >= ClassICMP {
		return nil
	}
	if x := m.mappingAt(protocol, outside); x != nil {
		if x.zone == z && x.inside == inside && m.usable(x) {
			return x
		}
		return nil
	}
	if _, _, published := m.publishedAt(protocol, outside); published {
		return nil
	}
	return m.newMapping(modelMapping{zone: z, protocol: protocol, inside: inside, outside: outside, direct: true,
		hidden: m.mappingOf(z, protocol, inside) != nil})
}
