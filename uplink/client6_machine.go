package uplink

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/ndp"
)

// Client6State is what an IPv6 client is at.
type Client6State uint8

const (
	Client6Stopped     Client6State = iota // not begun, or all was given back
	Client6NoLink                          // waits for the link
	Client6Checking                        // asks whether somebody else has its link-local address
	Client6Duplicate                       // somebody has, so there is no IPv6
	Client6Soliciting                      // looks for a router
	Client6Configuring                     // a router is there, and no address yet
	Client6Ready                           // has an address
)

var client6States = [...]string{"stopped", "no-link", "checking", "duplicate", "soliciting", "configuring", "ready"}

// String returns the state's name in lower case.
func (s Client6State) String() string {
	if int(s) < len(client6States) {
		return client6States[s]
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// Times and counts of RFC 4861 clause 10, RFC 4862 clause 5.1 and RFC 7559.
const (
	solicitDelay   = time.Second // MAX_RTR_SOLICITATION_DELAY
	solicitFirst   = 4 * time.Second
	solicitLast    = time.Hour
	dadTransmits   = 1 // DupAddrDetectTransmits
	retransmitTime = time.Second

	// A router may say how long to wait for an answer. Less than the first makes
	// the check for duplicates useless, more than the second an address late.
	leastRetransmit = 100 * time.Millisecond
	mostRetransmit  = 10 * time.Second

	twoHours = 2 * time.Hour // RFC 4862 clause 5.5.3

	// settle is how long routers have, once the link is back and the first of them
	// has spoken, to say again what they have said before. What none of them does is
	// gone then: the link may lead elsewhere.
	settle = 4 * time.Second

	// eternity stands for a lifetime without an end.
	eternity = 100 * 365 * 24 * time.Hour
)

// How much of what comes from the wire is kept. What comes later finds no room: a
// stranger can not push out what is there.
const (
	maxRouters   = 16
	maxPrefixes  = 16
	maxRoutes6   = 16
	maxResolvers = 8
)

// minMTU6 is what every link of IPv6 carries whole (RFC 8200 clause 5).
const minMTU6 = 1280

// client6Machine decides: an event and the time in; packets, the lease and when it
// wants to be called again out.
type client6Machine struct {
	cfg    Client6Config
	rng    *rand.Rand
	accept func(Lease6) error // nil: anything goes

	started, over, up bool

	local      *address6   // link-local
	addresses  []*address6 // of all scopes but that
	routers    []router6
	onLink     []onLink6
	routes     []route6
	resolvers  []resolver6
	gateway    netip.Addr // among routers; zero: none
	mtu        int        // 0: not said
	retransmit time.Duration

	managed, other bool // what routers have said since the link is up

	unconfirmed bool      // the link was down, and no router has spoken since
	purge       time.Time // when what is stale goes; zero: nothing is

	asking  bool // for routers
	ask     retry6
	dhcp    dhcp6
	nd      bucket6 // of messages of neighbour discovery
	refused string  // what the caller has against a prefix
	out     []packet6
}

func newClient6Machine(cfg Client6Config, rng *rand.Rand) *client6Machine {
	m := &client6Machine{
		cfg: cfg, rng: rng, up: true, retransmit: retransmitTime,
		nd: bucket6{tokens: maxBurst}, local: &address6{addr: ndp.LinkLocal(cfg.MAC)},
	}
	m.dhcp.tokens.tokens, m.dhcp.solMax, m.dhcp.infMax = maxBurst, solicitLast, solicitLast
	return m
}

// start begins.
func (m *client6Machine) start(now time.Time) {
	if m.started || m.over {
		return
	}
	m.started = true
	m.nd.filled, m.dhcp.tokens.filled = now, now
	m.local.preferred, m.local.valid = now.Add(eternity), now.Add(eternity)
	if m.up {
		m.attach(now)
	}
}

// attach begins on a link that is up, and that may be another one than before: all
// addresses are checked anew (RFC 4862 clause 5.4), routers are asked, and so is a
// DHCPv6 server whether its addresses hold here (RFC 8415 clause 18.2.3).
func (m *client6Machine) attach(now time.Time) {
	m.check(now, m.local, m.random(solicitDelay))
	for _, a := range m.addresses {
		m.check(now, a, m.random(solicitDelay))
		a.stale = !a.dhcp
	}
	m.stale()
	m.unconfirmed, m.purge = true, time.Time{}
	m.asking, m.ask = true, retry6{due: now} // who has waited before DAD need not again: RFC 4861 clause 6.3.7
	m.reattachDHCP(now)
}

// running reports whether the machine may send, and heeds what it hears.
func (m *client6Machine) running() bool { return m.started && m.up && !m.over }

// setLink notes whether the link is up.
func (m *client6Machine) setLink(now time.Time, up bool) {
	if m.over || up == m.up {
		return
	}
	m.up = up
	if up && m.started {
		m.attach(now)
	}
}

// linkEvent is told that something about the link has changed, perhaps so briefly that
// setLink has seen nothing of it. Who waits for a router or a server may find one
// now, and who has an address may have gone.
func (m *client6Machine) linkEvent(now time.Time) {
	if !m.running() {
		return
	}
	for _, a := range m.all() {
		if a.state == dadDuplicate {
			m.check(now, a, 0)
		}
	}
	if m.asking {
		m.ask = retry6{due: now}
	}
	if m.dhcp.state == dhcp6Soliciting {
		m.dhcp.retry6 = retry6{due: later(now, m.dhcp.least)}
	}
}

// all returns all addresses, the link-local one first.
func (m *client6Machine) all() []*address6 {
	return append([]*address6{m.local}, m.addresses...)
}

// next returns when tick is to be called at the latest.
func (m *client6Machine) next(now time.Time) time.Time {
	due := now.Add(never)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(due) {
			due = t
		}
	}
	m.ends(now, sooner)
	if !m.running() {
		return due
	}
	sooner(m.purge)
	for _, a := range m.all() {
		if a.state == dadTentative {
			sooner(a.due)
		}
	}
	if m.local.state != dadAssigned {
		return due
	}
	if m.asking {
		sooner(m.ask.due)
	}
	if m.dhcp.state != dhcp6Off {
		sooner(m.dhcp.due)
		sooner(m.dhcp.end)
	}
	return due
}

// tick does what is due.
func (m *client6Machine) tick(now time.Time) {
	m.nd.earn(now)
	m.dhcp.tokens.earn(now)
	m.expire(now)
	if !m.running() {
		return
	}
	for _, a := range m.all() {
		m.tickAddress(now, a)
	}
	if m.local.state == dadAssigned {
		m.tickRouters(now)
		m.manageDHCP(now)
		m.tickDHCP(now)
	}
}

// tickRouters asks for routers, for as long as none is there (RFC 7559).
func (m *client6Machine) tickRouters(now time.Time) {
	if !m.asking || now.Before(m.ask.due) {
		return
	}
	if !m.nd.take() {
		m.ask.due = m.nd.next()
		return
	}
	m.ask.again(now, m.rng, solicitFirst, solicitLast)
	m.out = append(m.out, packet6{src: m.local.addr, dst: ndp.AllRouters, message: ndp.Solicitation(m.cfg.MAC)})
}

// state returns what the machine is at.
func (m *client6Machine) state(now time.Time) Client6State {
	switch lease := m.lease(now); {
	case m.over || !m.started:
		return Client6Stopped
	case !m.up:
		return Client6NoLink
	case m.local.state == dadDuplicate:
		return Client6Duplicate
	case len(lease.Addresses) > 0:
		return Client6Ready
	case m.local.state == dadTentative:
		return Client6Checking
	case len(m.addresses) > 0 || len(m.routers) > 0 || m.dhcp.offer != nil:
		return Client6Configuring
	}
	return Client6Soliciting
}

// problem says for people what is wrong, empty where nothing is.
func (m *client6Machine) problem() string {
	var all []string
	for _, a := range m.all() {
		if a.state == dadDuplicate {
			all = append(all, a.problem())
			break // one is enough to look for
		}
	}
	if m.refused != "" {
		all = append(all, m.refused)
	}
	if m.asking && m.ask.tries > 2 && len(m.addresses) == 0 {
		all = append(all, "no router answers")
	}
	if m.dhcp.problem != "" {
		all = append(all, "DHCPv6: "+m.dhcp.problem)
	}
	return strings.Join(all, "; ")
}

// release gives the addresses of a server back, and ends all work for good.
func (m *client6Machine) release(now time.Time) {
	if given := m.leasedAddresses(); m.running() && len(given) > 0 && m.dhcp.server != nil {
		m.dhcp.tokens.earn(now)
		m.releaseDHCP(now, given)
	}
	m.forget()
	m.over = true
}

// forget drops all that was learned.
func (m *client6Machine) forget() {
	m.addresses, m.routers, m.onLink, m.routes, m.resolvers = nil, nil, nil, nil, nil
	m.gateway, m.mtu, m.managed, m.other, m.refused = netip.Addr{}, 0, false, false, ""
	m.dhcp.stop()
}

// random returns a time of less than d.
func (m *client6Machine) random(d time.Duration) time.Duration {
	return time.Duration(m.rng.Int64N(int64(d)))
}

// retry6 is when a message is sent again (RFC 8415 clause 15).
type retry6 struct {
	due   time.Time
	wait  time.Duration // since the last one
	tries int
}

// again notes that a message is sent. Each wait is twice the one before, up to most,
// and all are off by up to a tenth.
func (r *retry6) again(now time.Time, rng *rand.Rand, first, most time.Duration) {
	spread := func(d time.Duration) time.Duration { return d + time.Duration((rng.Float64()*0.2-0.1)*float64(d)) }
	if r.wait == 0 {
		r.wait = spread(first)
	} else {
		r.wait += spread(r.wait)
	}
	if r.wait > most {
		r.wait = spread(most)
	}
	r.tries++
	r.due = now.Add(r.wait)
}

// bucket6 bounds what is sent, whatever routers, servers and links do (RFC 8415 clause
// 14.1): maxBurst at once, and one every sendEvery in the long run.
type bucket6 struct {
	tokens int
	filled time.Time // when tokens was last right
}

// earn gives the tokens of the time that has gone by.
func (b *bucket6) earn(now time.Time) {
	n := int(now.Sub(b.filled) / sendEvery)
	if n <= 0 {
		return
	}
	b.filled = b.filled.Add(time.Duration(n) * sendEvery)
	b.tokens = min(b.tokens+n, maxBurst)
}

func (b *bucket6) take() bool {
	if b.tokens <= 0 {
		return false
	}
	b.tokens--
	return true
}

// next returns when there is a token again.
func (b *bucket6) next() time.Time { return b.filled.Add(sendEvery) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// after returns the end of a lifetime that begins now.
func after(now time.Time, lifetime time.Duration) time.Time {
	return now.Add(min(lifetime, eternity))
}

// isGlobal reports whether an address can be a host's beyond its link.
func isGlobal(a netip.Addr) bool {
	return a.Is6() && a.IsGlobalUnicast() && !reserved.Contains(a)
}

// reserved holds ::, ::1 and IPv4 addresses in IPv6 form.
var reserved = netip.MustParsePrefix("::/64")

// noHosts are prefixes that no link and no route to somewhere holds any part of.
var noHosts = []netip.Prefix{reserved, netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8")}

// isSomewhere reports whether a prefix can be that of a link, or what a route leads to.
func isSomewhere(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is6() && !slices.ContainsFunc(noHosts, p.Overlaps)
}

// isResolver reports whether a name server can have an address, which may be a
// link-local one.
func isResolver(a netip.Addr) bool { return isGlobal(a) || a.Is6() && a.IsLinkLocalUnicast() }
