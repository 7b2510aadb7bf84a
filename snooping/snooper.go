package snooping

import (
	"bytes"
	"slices"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

const (
	// MaxGroups is the number of groups of a network, all VLANs together.
	MaxGroups = 4096

	// MaxPortGroups is the number of groups that any one port is a member of.
	// So it takes four ports to use up MaxGroups.
	MaxPortGroups = 1024

	// MaxPortDomains is the number of VLANs, those of IPv4 and IPv6 apart, in
	// which a port can make the Snooper ask hosts by its messages alone. In
	// others, nothing is restricted.
	MaxPortDomains = 64

	// DefaultInterval, MinInterval and MaxInterval bound Config.Interval.
	DefaultInterval = 125 * time.Second // RFC 3376 clause 8.2
	MinInterval     = 2 * time.Second
	MaxInterval     = time.Hour
)

const (
	// robustness is the number of messages of which one may get lost, and so
	// the number of startup and of last member queries (RFC 3376 clause 8.1).
	robustness = 2

	// maxResponse is how long hosts may take to answer a general query, where
	// the interval is long enough (RFC 3376 clause 8.3).
	maxResponse = 10 * time.Second

	// lastMemberResponse is how long hosts may take to answer a specific one
	// (RFC 3376 clause 8.8).
	lastMemberResponse = time.Second

	// margin is for queries and reports to travel. It also covers a Tick that
	// comes a little late.
	margin = 500 * time.Millisecond
)

// Config is what can be set on a Snooper, also while it works.
type Config struct {
	// Querier: send queries, while no querier is heard that comes before this
	// one. Without it the Snooper restricts nothing until it hears another.
	Querier bool

	// Interval is the time between general queries. Zero or less means
	// DefaultInterval; others are brought into MinInterval to MaxInterval. A
	// membership lives for twice the interval and 10 s (RFC 3376 clause 8.4).
	// Of intervals below 20 s hosts have half to answer, and the 10 s are that.
	Interval time.Duration

	// Address is where queries come from. The IPv6 source is the link-local
	// address made of it (RFC 4291 appendix A), the IPv4 source is 0.0.0.0: a
	// switch has no address, and such queries take no part in the election of
	// a querier (RFC 4541 clause 2.1.1).
	Address frame.MAC
}

// Query is a query to be sent.
type Query struct {
	VLAN  uint16 // 0 is untagged
	Port  int    // the one port that it is for; -1 for all ports in the VLAN
	Frame []byte // an untagged Ethernet frame, padded to 60 bytes; the caller's
}

// Snooper follows the groups of one network. No two of its methods may run at
// the same time.
//
// It gets its time from Receive and Tick. A time before the last one counts as
// the last one.
type Snooper struct {
	cfg     Config
	self    [16]byte // the IPv6 source of queries
	now     time.Duration
	wanted  map[uint16]bool // VLANs where to query unheard
	domains map[domainKey]*domain
	fresh   map[uint16]*welcome // ports that have just been added

	groups [shardCount]map[key]*group
	joined [MaxPorts]uint16 // memberships by port
	opened [MaxPorts]uint16 // domains that are there for its messages, by port
	stats  Stats

	table *Table // as of the last call of Table
	stale stale  // what has changed since
}

// New returns a Snooper that has heard nothing yet.
func New(c Config) *Snooper {
	s := &Snooper{
		wanted:  map[uint16]bool{},
		domains: map[domainKey]*domain{},
		fresh:   map[uint16]*welcome{},
		table:   &Table{hash: newHash()},
	}
	s.setConfig(c)
	return s
}

// Configure changes the configuration. A change makes the querier ask anew at
// the next Tick; the same configuration again changes nothing.
func (s *Snooper) Configure(c Config) {
	if !s.setConfig(c) {
		return
	}
	for _, d := range s.domains {
		d.startup, d.active = robustness, false
		if !d.elected.present() {
			s.ownTimes(d)
		}
		s.settle(d)
	}
}

// setConfig reports whether that changes anything.
func (s *Snooper) setConfig(c Config) bool {
	if c.Interval <= 0 {
		c.Interval = DefaultInterval
	}
	c.Interval = min(max(c.Interval, MinInterval), MaxInterval)
	if c == s.cfg {
		return false
	}
	s.cfg, s.self = c, linkLocal(c.Address)
	return true
}

// response is how long hosts may take to answer this querier's general queries.
func (s *Snooper) response() time.Duration {
	return min(maxResponse, (s.cfg.Interval / 2).Truncate(igmpTime))
}

// SetVLANs says in which VLANs to query even where nothing was heard, 0 being
// untagged. In others the Snooper queries from the first message on that it
// hears there, until all is silent. Numbers above 4095 are ignored.
func (s *Snooper) SetVLANs(vlans []uint16) {
	clear(s.wanted)
	for _, v := range vlans {
		if v < vlanCount {
			s.wanted[v] = true
			s.domain(v, IPv4)
			s.domain(v, IPv6)
		}
	}
}

// Receive takes a frame that came in at a port, in a VLAN, and that Parse called
// a Querier, Report or Router; it does nothing with others, and nothing for ports
// and VLANs out of range. It keeps nothing of the frame.
func (s *Snooper) Receive(port, vlan uint16, f *frame.Frame, now time.Duration) {
	s.advance(now)
	var m message
	kind := m.decode(f)
	if kind == None || kind == Malformed || port >= MaxPorts || vlan >= vlanCount {
		return
	}
	if kind == Querier && f.Src() == s.cfg.Address {
		return // our own, come back from a reflective relay
	}
	d := s.open(port, domainKey{vlan, m.family})
	if d == nil {
		s.stats.Refused++
		return
	}
	d.heard = s.now
	switch kind {
	case Querier:
		s.stats.Queries++
		s.query(d, port, &m)
	case Report:
		s.stats.Reports++
		s.report(d, port, &m)
	case Router:
		s.hold(d, d.routers, port, s.now+d.patience())
	}
	s.settle(d)
}

func (s *Snooper) advance(now time.Duration) { s.now = max(s.now, now) }

// AddPort tells of a port that was added, or whose link is back. Hosts behind it
// may have joined groups long ago: until they were asked, it gets all.
func (s *Snooper) AddPort(port uint16) {
	if port >= MaxPorts {
		return
	}
	s.fresh[port] = &welcome{left: robustness, next: s.now}
	for _, d := range s.domains {
		wait := s.response() + time.Second // for the next Tick
		if !s.querying(d) {
			wait = d.interval + d.response // for the querier
		}
		s.hold(d, d.open, port, s.now+wait+margin)
	}
}

// RemovePort forgets all that was heard at a port. It is to be called when the
// port goes, and when its link does.
func (s *Snooper) RemovePort(port uint16) {
	if port >= MaxPorts {
		return
	}
	delete(s.fresh, port)
	for _, shard := range s.groups {
		for _, g := range shard {
			s.remove(g, port)
		}
	}
	for _, d := range s.domains {
		s.release(d, d.routers, port)
		s.release(d, d.open, port)
		if d.elected.port == port {
			d.elected = other{}
		}
		if d.proxy.port == port {
			d.proxy = other{}
		}
		s.settle(d)
	}
}

// Tick is to be called once a second. It forgets what has grown too old, and
// returns the queries that are to be sent now. Their order is the same for the
// same history.
func (s *Snooper) Tick(now time.Duration) []Query {
	s.advance(now)
	var out []Query
	for _, d := range s.domains {
		s.expire(d)
		out = s.ask(d, out)
	}
	out = s.askFresh(out)
	out = s.ageGroups(out)
	for _, d := range s.domains {
		s.settle(d)
		s.forget(d)
	}
	slices.SortFunc(out, func(a, b Query) int {
		if a.VLAN != b.VLAN {
			return int(a.VLAN) - int(b.VLAN)
		}
		if a.Port != b.Port {
			return a.Port - b.Port
		}
		return bytes.Compare(a.Frame, b.Frame)
	})
	s.stats.Sent += uint64(len(out))
	return out
}
