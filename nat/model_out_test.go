package nat

import (
	"maps"
	"slices"
)

// checkOut says of a packet from inside whether the verdict and the outside
// endpoint are right, and takes them over.
func (m *model) checkOut(z Zone, protocol uint8, inside, remote string, v Verdict, outside string) {
	m.t.Helper()
	want := func(w Verdict) bool {
		m.t.Helper()
		if v != w {
			m.t.Fatalf("out of %d, %s -> %s (%d): %v, want %v", z, inside, remote, protocol, v, w)
		}
		return v == Translated
	}
	cfg, there := m.zones[z]
	if !there {
		want(PortsFull)
		return
	}
	if f := m.flowOut(z, protocol, inside, remote); f != nil {
		if want(Translated) && outside != f.outside {
			m.t.Fatalf("the flow of %s has moved from %s to %s", inside, f.outside, outside)
		}
		f.expires = m.now + m.timeout(protocol)
		f.answered = true
		return
	}
	m.makeRoom(z, inside)
	if full := m.full(z, inside); full != Translated {
		want(full)
		return
	}
	if m.direct(z) {
		m.checkDirect(z, protocol, inside, remote, outside, want)
		return
	}
	if classOf(protocol) == ClassOther {
		m.checkOther(z, protocol, inside, remote, outside, want)
		return
	}
	if x := m.mappingOf(z, protocol, inside); x != nil && !cfg.Symmetric {
		if m.usable(x) && m.flowIn(protocol, x.outside, remote) == nil {
			if want(Translated) && outside != x.outside {
				m.t.Fatalf("%s has %s and %s", inside, x.outside, outside)
			}
			m.pair(z, inside, outside)
			m.add(z, protocol, inside, outside, remote, false, x)
			return
		}
		x.retired = true
	}
	m.checkChoice(z, protocol, inside, remote, v, outside, want)
}

// checkOther is checkOut of a protocol without ports.
func (m *model) checkOther(z Zone, protocol uint8, inside, remote, outside string, want func(Verdict) bool) {
	at := m.candidates(z, inside)
	var free []string
	for _, a := range at {
		if m.flowIn(protocol, guest(a, 0), remote) == nil {
			free = append(free, a)
		}
	}
	switch {
	case len(at) == 0:
		want(PortsFull)
	case len(free) == 0:
		want(Unsupported)
	case slices.Contains(free, addrOf(outside)):
		want(Translated)
		m.pair(z, inside, outside)
		m.add(z, protocol, inside, outside, remote, false, nil)
	case len(free) == len(at):
		m.t.Fatalf("%s left as %s", inside, outside)
	}
}

// pair has an inside host keep the address of its first flow.
func (m *model) pair(z Zone, inside, outside string) {
	h := modelHost{z, addrOf(inside)}
	if a, ok := m.paired[h]; !ok || !slices.Contains(m.zoneAddrs(z), a) {
		m.paired[h] = addrOf(outside)
	}
}

// candidates returns the outside addresses that an inside host may get.
func (m *model) candidates(z Zone, inside string) []string {
	at := m.zoneAddrs(z)
	if a, ok := m.paired[modelHost{z, addrOf(inside)}]; ok && slices.Contains(at, a) {
		return []string{a}
	}
	return at
}

// checkChoice is checkOut of a flow that needs a mapping.
func (m *model) checkChoice(z Zone, protocol uint8, inside, remote string, v Verdict, outside string, want func(Verdict) bool) {
	m.t.Helper()
	cfg := m.zones[z]
	possible := map[string]bool{} // outside endpoints, and whether they exclude others of their address
	for _, a := range m.candidates(z, inside) {
		for _, o := range m.publishedFrom(z, protocol, inside, a) {
			if m.flowIn(protocol, o, remote) == nil {
				possible[o] = true
			}
		}
		if slices.ContainsFunc(m.publishedFrom(z, protocol, inside, a), func(o string) bool { return possible[o] }) {
			continue
		}
		for port := int(cfg.First); port <= int(cfg.Last); port++ {
			if o := guest(a, port); m.eligible(protocol, o) || cfg.Symmetric && m.joinable(z, protocol, inside, o, remote, false) {
				possible[o] = uint16(port) == portOf(inside)
			}
		}
		some := slices.ContainsFunc(slices.Collect(maps.Keys(possible)), func(o string) bool { return addrOf(o) == a })
		for port := int(cfg.First); port <= int(cfg.Last) && cfg.Symmetric && !some; port++ {
			if o := guest(a, port); m.joinable(z, protocol, inside, o, remote, true) {
				possible[o] = false
			}
		}
	}
	if v == PortsFull && len(m.candidates(z, inside)) > 1 {
		return // one of the addresses may have had none
	}
	if len(possible) == 0 {
		want(PortsFull)
		return
	}
	if !want(Translated) {
		return
	}
	exclusive, ok := possible[outside]
	if !ok {
		m.t.Fatalf("%s towards %s left as %s; possible are %v", inside, remote, outside, possible)
	}
	for o, only := range possible {
		if only && addrOf(o) == addrOf(outside) && !exclusive {
			m.t.Fatalf("%s left as %s, though %s was possible", inside, outside, o)
		}
	}
	m.pair(z, inside, outside)
	m.add(z, protocol, inside, outside, remote, false, m.choose(z, protocol, inside, outside))
}

// choose returns the mapping that the table has chosen.
func (m *model) choose(z Zone, protocol uint8, inside, outside string) *modelMapping {
	if _, to, ok := m.publishedAt(protocol, outside); ok && to == inside {
		return m.mapTo(z, protocol, inside, outside)
	}
	if !m.zones[z].Symmetric {
		return m.newMapping(modelMapping{zone: z, protocol: protocol, inside: inside, outside: outside})
	}
	if x := m.mappingAt(protocol, outside); x != nil {
		return x
	}
	return m.newMapping(modelMapping{zone: z, protocol: protocol, outside: outside, shared: true, hidden: true})
}

// joinable reports whether a flow may share a port, which its inside endpoint may
// have towards another destination only where that is said.
func (m *model) joinable(z Zone, protocol uint8, inside, outside, remote string, again bool) bool {
	x := m.mappingAt(protocol, outside)
	if x == nil || !x.shared || x.zone != z || !m.usable(x) || m.flowIn(protocol, outside, remote) != nil {
		return false
	}
	return again || !slices.ContainsFunc(m.flows, func(f *modelFlow) bool { return f.mapping == x && f.inside == inside })
}
