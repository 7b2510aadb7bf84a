package snooping

import "time"

// group is a group that has members.
type group struct {
	key
	domain  *domain
	members map[uint16]*member
}

// member is a port behind which somebody listens to a group.
type member struct {
	version uint8         // of the last report
	expires time.Duration // unless another report comes
	old     time.Duration // until then an IGMPv1 host is there

	// checking: somebody has left. checks is the number of specific queries to
	// be sent about it.
	checking bool
	checks   int
}

// report follows a report or leave.
func (s *Snooper) report(d *domain, port uint16, m *message) {
	if m.group != [16]byte{} { // not one of records
		if m.leave {
			s.leave(d, port, m.group)
		} else {
			s.join(d, port, m.group, m.version)
		}
		return
	}
	rest := m.records
	for range m.count {
		var r record
		var ok bool
		if r, rest, ok = d.family.nextRecord(rest); !ok {
			return
		}
		if r.joins() {
			s.join(d, port, r.group, m.version)
		} else if r.leaves() {
			s.leave(d, port, r.group)
		}
	}
}

// join makes a port a member, or a member for longer. Where there is no room for
// it, the port gets all groups of the domain for as long: nothing is lost, and
// nobody else is affected.
func (s *Snooper) join(d *domain, port uint16, addr [16]byte, version uint8) {
	if !restrictable(&addr) {
		return
	}
	k := key{addr, d.vlan}
	g := s.group(&k)
	var m *member
	if g != nil {
		m = g.members[port]
	}
	if m == nil {
		if s.joined[port] >= MaxPortGroups || g == nil && s.stats.Groups >= MaxGroups {
			s.stats.Refused++
			s.hold(d, d.open, port, s.now+d.lifetime())
			return
		}
		m = s.add(g, d, k, port)
	}
	m.version, m.expires = version, s.now+d.lifetime()
	m.checking, m.checks = false, 0
	if d.family == IPv4 && version == 1 {
		m.old = m.expires
	}
}

// leave asks whether anybody else behind the port listens, if this querier is
// in charge; otherwise the one in charge will (RFC 2236 clause 3). An IGMPv1
// host would not answer, and only goes silent when it leaves (RFC 2236 clause
// 6).
func (s *Snooper) leave(d *domain, port uint16, addr [16]byte) {
	k := key{addr, d.vlan}
	g := s.group(&k)
	if g == nil || !s.querying(d) {
		return
	}
	m := g.members[port]
	if m == nil || m.checking || s.now < m.old {
		return
	}
	m.checking, m.checks = true, robustness
}

// shorten leaves the members of a group as long as it takes to answer the
// specific queries of the querier in charge (RFC 3376 clause 6.6.1), and not
// less than this one would give them.
func (s *Snooper) shorten(d *domain, addr [16]byte, response time.Duration) {
	k := key{addr, d.vlan}
	g := s.group(&k)
	if g == nil {
		return
	}
	t := s.now + robustness*max(response, lastMemberResponse) + margin
	for _, m := range g.members {
		if s.now >= m.old {
			m.expires = min(m.expires, t)
		}
	}
}

// ageGroups sends specific queries, and removes members that have not answered.
func (s *Snooper) ageGroups(out []Query) []Query {
	for _, shard := range s.groups {
		for _, g := range shard {
			for port, m := range g.members {
				if s.now >= m.expires {
					s.remove(g, port)
				} else if m.checks > 0 {
					out = s.check(g, port, m, out)
				}
			}
		}
	}
	return out
}

// check sends a specific query. With the first of them the member's time begins
// to run out.
func (s *Snooper) check(g *group, port uint16, m *member, out []Query) []Query {
	if !s.querying(g.domain) {
		m.checking, m.checks = false, 0
		return out
	}
	m.expires = min(m.expires, s.now+robustness*lastMemberResponse+margin)
	m.checks--
	return append(out, s.specific(g, int(port)))
}

// group returns a group that has members, or nil.
func (s *Snooper) group(k *key) *group { return s.groups[s.table.hash.shard(k)][*k] }

// add makes a port a member of a group, which it makes where it is nil.
func (s *Snooper) add(g *group, d *domain, k key, port uint16) *member {
	i := s.table.hash.shard(&k)
	if g == nil {
		g = &group{key: k, domain: d, members: map[uint16]*member{}}
		if s.groups[i] == nil {
			s.groups[i] = map[key]*group{}
		}
		s.groups[i][k] = g
		d.groups++
		s.stats.Groups++
	}
	m := &member{}
	g.members[port] = m
	s.joined[port]++
	s.stats.Memberships++
	s.stale.shard(i)
	return m
}

// remove takes a port out of a group, and a group without members out of the
// network.
func (s *Snooper) remove(g *group, port uint16) {
	if g.members[port] == nil {
		return
	}
	i := s.table.hash.shard(&g.key)
	delete(g.members, port)
	s.joined[port]--
	s.stats.Memberships--
	s.stale.shard(i)
	if len(g.members) == 0 {
		delete(s.groups[i], g.key)
		g.domain.groups--
		s.stats.Groups--
	}
}
