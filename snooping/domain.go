package snooping

import (
	"bytes"
	"time"
)

// domainKey is a VLAN and a version of IP: what queriers are elected for.
type domainKey struct {
	vlan   uint16
	family Family
}

// domain is what is known of one VLAN and version of IP, beside its groups.
// Times are those at which something ends, unless they say otherwise.
type domain struct {
	domainKey
	opener uint16        // the port that it is there for; MaxPorts for none
	heard  time.Duration // when the last message was
	groups int

	routers map[uint16]time.Duration // ports where a router was heard
	open    map[uint16]time.Duration // ports that get all groups

	// elected is the querier with the lowest address but this one. proxy is a
	// switch that queries from 0.0.0.0, and so is in no election.
	elected, proxy other

	// interval and response are those of the querier that is in charge.
	interval, response time.Duration

	// ready is when all hosts have had the time to answer a general query, 0
	// while none was heard. restrict says that it has come.
	ready    time.Duration
	restrict bool

	// Of this querier: whether it is in charge, when it asks next, and how
	// many of the quick queries of a start are left (RFC 3376 clause 8.7).
	active  bool
	next    time.Duration
	startup int
}

// other is another querier. The zero other is none.
type other struct {
	addr  [16]byte
	port  uint16
	until time.Duration
}

func (o *other) present() bool { return o.until != 0 }

// welcome is the questions that a fresh port is still to be asked.
type welcome struct {
	left int
	next time.Duration
}

// domain returns the domain, which it makes at need. There are no more of them
// than VLANs, twice.
func (s *Snooper) domain(vlan uint16, family Family) *domain {
	k := domainKey{vlan, family}
	d := s.domains[k]
	if d == nil {
		d = &domain{
			domainKey: k, opener: MaxPorts, heard: s.now, startup: robustness,
			routers: map[uint16]time.Duration{}, open: map[uint16]time.Duration{},
		}
		s.ownTimes(d)
		s.domains[k] = d
	}
	return d
}

// open returns the domain that a message has come in, nil where its port has
// opened as many as it may.
func (s *Snooper) open(port uint16, k domainKey) *domain {
	if d := s.domains[k]; d != nil {
		return d
	}
	if s.opened[port] >= MaxPortDomains {
		return nil
	}
	s.opened[port]++
	d := s.domain(k.vlan, k.family)
	d.opener = port
	return d
}

func (s *Snooper) ownTimes(d *domain) { d.interval, d.response = s.cfg.Interval, s.response() }

// lifetime is the group membership interval (RFC 3376 clause 8.4).
func (d *domain) lifetime() time.Duration { return robustness*d.interval + d.response }

// patience is the other querier present interval (RFC 3376 clause 8.5). A router
// port lasts as long.
func (d *domain) patience() time.Duration { return robustness*d.interval + d.response/2 }

// querying reports whether this querier is in charge: it gives way to any router
// over IPv4, where its own address is none, and to lower addresses over IPv6
// (RFC 3810 clause 7.6.2).
func (s *Snooper) querying(d *domain) bool {
	if !s.cfg.Querier {
		return false
	}
	return !d.elected.present() ||
		d.family == IPv6 && bytes.Compare(d.elected.addr[:], s.self[:]) > 0
}

// query follows another querier.
func (s *Snooper) query(d *domain, port uint16, m *message) {
	if m.unspecified() {
		d.proxy = other{port: port, until: s.now + d.patience()}
	} else if !d.elected.present() || bytes.Compare(m.source[:], d.elected.addr[:]) <= 0 {
		d.elected = other{addr: m.source, port: port, until: s.now + d.patience()}
		if !s.querying(d) {
			d.active = false
			s.adopt(d, m)
			d.elected.until = s.now + d.patience()
		}
	}
	s.hold(d, d.routers, port, s.now+d.patience())
	if m.general() {
		s.asked(d, m.response)
		return
	}
	// A querier that is not in charge has its specific queries answered, too,
	// but not repeated: RFC 3376 clause 6.6.1.
	inCharge := !d.elected.present() || m.source == d.elected.addr
	if !m.sources && !m.suppress && inCharge && !s.querying(d) {
		s.shorten(d, m.group, m.response)
	}
}

// adopt takes over the times that the querier in charge goes by (RFC 3376
// clause 4.1.7), as far as they are longer: those of IGMPv1 and v2 do not say.
func (s *Snooper) adopt(d *domain, m *message) {
	s.ownTimes(d)
	d.interval = max(d.interval, min(m.interval, MaxInterval))
	if m.general() {
		d.response = max(d.response, min(m.response, time.Minute))
	}
}

// asked notes that all hosts have been asked for their groups.
func (s *Snooper) asked(d *domain, response time.Duration) {
	if t := s.now + response + margin; d.ready == 0 || t < d.ready {
		d.ready = t
	}
}

// settle decides whether the domain's traffic is to be restricted.
func (s *Snooper) settle(d *domain) {
	if !s.querying(d) && !d.elected.present() && !d.proxy.present() {
		d.ready = 0
	}
	restrict := d.ready != 0 && s.now >= d.ready
	if restrict != d.restrict {
		d.restrict = restrict
		s.stale.page(d)
	}
}

// hold puts a port into one of the domain's sets until a time, or for longer if
// it is there for longer.
func (s *Snooper) hold(d *domain, set map[uint16]time.Duration, port uint16, until time.Duration) {
	old, ok := set[port]
	set[port] = max(old, until)
	if !ok {
		s.changed(d)
	}
}

// release takes a port out of one of the domain's sets.
func (s *Snooper) release(d *domain, set map[uint16]time.Duration, port uint16) {
	if _, ok := set[port]; ok {
		delete(set, port)
		s.changed(d)
	}
}

// expire takes out of a domain what has had its time.
func (s *Snooper) expire(d *domain) {
	for _, set := range []map[uint16]time.Duration{d.routers, d.open} {
		for port, until := range set {
			if s.now >= until {
				s.release(d, set, port)
			}
		}
	}
	for _, o := range []*other{&d.elected, &d.proxy} {
		if s.now >= o.until {
			*o = other{}
		}
	}
}

// ask sends a general query, if this querier is in charge and it is time.
func (s *Snooper) ask(d *domain, out []Query) []Query {
	if !s.querying(d) {
		d.active = false
		return out
	}
	if !d.active {
		s.takeOver(d)
	}
	if s.now < d.next {
		return out
	}
	d.next = s.now + s.cfg.Interval
	if d.startup > 0 {
		if d.startup--; d.startup > 0 {
			d.next = s.now + s.again()
		}
	}
	s.asked(d, s.response())
	return append(out, s.general(d, -1))
}

// again is when a start asks for the second time: a quarter of the interval later
// (RFC 3376 clause 8.6), but not before the first answers are due. A host that is
// asked again draws another delay for what it has not said yet.
func (s *Snooper) again() time.Duration { return max(s.cfg.Interval/4, s.response()+margin) }

// takeOver begins to query, at once. Where another querier has fallen silent,
// memberships are about to end for want of its queries (that shows 255 s after
// the last of them, and they have 260 s): they last until hosts have answered.
func (s *Snooper) takeOver(d *domain) {
	d.active, d.next = true, s.now
	s.ownTimes(d)
	t := s.now + d.response + margin
	for _, shard := range s.groups {
		for _, g := range shard {
			for _, m := range g.members {
				if g.domain == d && !m.checking {
					m.expires = max(m.expires, t)
				}
			}
		}
	}
}

// askFresh asks the hosts of ports that have just been added.
func (s *Snooper) askFresh(out []Query) []Query {
	for port, w := range s.fresh {
		if s.now < w.next {
			continue
		}
		for _, d := range s.domains {
			if s.querying(d) {
				out = append(out, s.general(d, int(port)))
			}
		}
		w.next = s.now + s.again()
		if w.left--; w.left == 0 {
			delete(s.fresh, port)
		}
	}
	return out
}

// forget drops a domain where nothing has been heard for the life of a
// membership, and which nobody has asked for.
func (s *Snooper) forget(d *domain) {
	if s.wanted[d.vlan] || d.groups > 0 || len(d.routers) > 0 ||
		d.elected.present() || d.proxy.present() || s.now-d.heard < d.lifetime() {
		return
	}
	if d.restrict {
		s.stale.page(d)
	}
	if d.opener < MaxPorts {
		s.opened[d.opener]--
	}
	delete(s.domains, d.domainKey)
}
