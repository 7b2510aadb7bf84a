package uplink

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/dataplane/frame"
)

// ClientState is where a client is in figure 5 of RFC 2131.
type ClientState uint8

const (
	ClientStopped    ClientState = iota // not begun, or the lease was given back
	ClientNoLink                        // waits for the link
	ClientInit                          // waits before it begins anew
	ClientSelecting                     // looks for a server
	ClientRequesting                    // has an offer and wants it
	ClientChecking                      // probes whether somebody else has the address
	ClientRebooting                     // asks whether the address from before holds here
	ClientBound                         // has an address
	ClientRenewing                      // asks its server for more time
	ClientRebinding                     // asks any server for more time
)

var clientStates = [...]string{"stopped", "no-link", "init", "selecting", "requesting", "checking", "rebooting", "bound", "renewing", "rebinding"}

// String returns the state's name in lower case.
func (s ClientState) String() string {
	if int(s) < len(clientStates) {
		return clientStates[s]
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// Times and counts of what is asked again.
const (
	firstRetry   = 4 * time.Second // RFC 2131 clause 4.1: doubled each time, to 64 s
	lastRetry    = 64 * time.Second
	requestTries = 4 // then the offer is given up: RFC 2131 clause 4.4.5 names 60 s
	rebootTries  = 2
	renewRetry   = time.Minute      // RFC 2131 clause 4.4.5: the least between two
	declineWait  = 10 * time.Second // RFC 2131 clause 3.1, step 5

	// steady is how long an address is held until a failure counts as the first
	// one again.
	steady = 2 * time.Minute

	// RFC 5227 would have an address probed for up to seven seconds. Stations of
	// today answer in less than a hundredth of one, and servers probe too.
	probeTries = 2
	probeWait  = 500 * time.Millisecond

	// Whatever servers and links do, no more messages are sent than these, at once
	// and in the long run.
	maxBurst  = 10
	sendEvery = 2 * time.Second
)

// clientMachine decides: an event and the time in; packets, the lease and when it
// wants to be called again out.
type clientMachine struct {
	cfg    ClientConfig
	rng    *rand.Rand
	accept func(Lease) error // nil: anything goes
	probes bool              // an address is probed before it is taken

	state ClientState
	due   time.Time // when the state has something to do
	tries int       // messages or probes of this state

	xid    uint32
	began  time.Time  // when the client began to ask, for the field secs
	asked  time.Time  // when the message was sent that a lease counts from
	want   netip.Addr // asked for first; zero: any
	offer  *Lease     // Requesting: what was chosen; Checking: what was acknowledged
	avoid  netip.Addr // a server that offered and then did not give
	failed int        // how often it has begun anew without an address in between
	least  time.Time  // before which it does not begin anew, whatever happens

	held          *Lease // what the client has, nil without
	since         time.Time
	renew, rebind time.Time // T1 and T2 of held; not used where it never ends

	tokens  int       // messages that may be sent at once
	refill  time.Time // when tokens was last right
	over    bool      // the lease was given back
	problem string
	out     []clientPacket
}

func newClientMachine(cfg ClientConfig, rng *rand.Rand) *clientMachine {
	return &clientMachine{cfg: cfg, rng: rng, tokens: maxBurst, want: cfg.Previous}
}

// start begins, for a client whose link has not gone down meanwhile.
func (m *clientMachine) start(now time.Time) {
	m.refill = now
	if m.state == ClientStopped && !m.over {
		m.begin(now)
	}
}

// begin asks for the address from before where there is one, else for any.
func (m *clientMachine) begin(now time.Time) {
	m.enter(ClientInit, now)
	if m.want.Is4() {
		m.enter(ClientRebooting, now)
	}
}

// enter changes the state. What it does first is due then.
func (m *clientMachine) enter(s ClientState, due time.Time) {
	m.state, m.due, m.tries = s, due, 0
}

// again begins anew after something went wrong: not before least, and the later
// the more often it has.
func (m *clientMachine) again(now time.Time, least time.Duration, problem string) {
	m.problem = problem
	m.offer = nil
	wait := time.Duration(0)
	if m.failed > 0 {
		wait = m.fuzz(min(time.Second<<min(m.failed-1, 10), lastRetry))
	}
	m.failed++
	m.least = now.Add(least)
	m.enter(ClientInit, now.Add(max(wait, least)))
}

// fuzz moves a time by up to a second, so that not all clients speak at once (RFC
// 2131 clause 4.1).
func (m *clientMachine) fuzz(d time.Duration) time.Duration {
	return d + time.Duration(m.rng.Int64N(int64(2*time.Second))) - time.Second
}

func (m *clientMachine) backoff() time.Duration {
	return m.fuzz(min(firstRetry<<min(m.tries, 10), lastRetry))
}

// never is later than anything is due.
const never = 1000 * time.Hour

// next returns when tick is to be called at the latest.
func (m *clientMachine) next(now time.Time) time.Time {
	due := m.due
	if m.idle() {
		due = now.Add(never)
	}
	if m.held != nil && !m.held.Expires.IsZero() && m.held.Expires.Before(due) {
		due = m.held.Expires
	}
	return due
}

// idle reports whether the state has nothing to do by itself.
func (m *clientMachine) idle() bool {
	return m.state == ClientStopped || m.state == ClientNoLink || m.state == ClientBound && m.held.Expires.IsZero()
}

// tick does what is due.
func (m *clientMachine) tick(now time.Time) {
	m.earn(now)
	m.expire(now)
	if m.idle() || now.Before(m.due) {
		return
	}
	if m.state != ClientChecking && m.tokens <= 0 {
		m.due = m.refill.Add(sendEvery)
		return
	}
	switch m.state {
	case ClientInit:
		m.xid, m.began = m.rng.Uint32(), now
		m.enter(ClientSelecting, now)
		m.discover(now)
	case ClientSelecting:
		m.discover(now)
	case ClientRequesting:
		m.request(now)
	case ClientChecking:
		m.check(now)
	case ClientRebooting:
		m.reboot(now)
	case ClientBound:
		m.began = now
		m.enter(ClientRenewing, now)
		m.extend(now)
	case ClientRenewing, ClientRebinding:
		m.extend(now)
	}
}

// earn gives the tokens of the time that has gone by.
func (m *clientMachine) earn(now time.Time) {
	n := int(now.Sub(m.refill) / sendEvery)
	if n <= 0 {
		return
	}
	m.refill = m.refill.Add(time.Duration(n) * sendEvery)
	m.tokens = min(m.tokens+n, maxBurst)
}

// expire takes away what is over.
func (m *clientMachine) expire(now time.Time) {
	if m.held == nil || m.held.Expires.IsZero() || now.Before(m.held.Expires) {
		return
	}
	m.lose(now)
	switch m.state {
	case ClientBound, ClientRenewing, ClientRebinding:
		m.again(now, 0, "no server has renewed the lease")
	}
}

// lose takes the address away, where there is one.
func (m *clientMachine) lose(now time.Time) {
	if m.held != nil && now.Sub(m.since) >= steady {
		m.failed = 0
	}
	m.held = nil
}

// send wants a message sent, to all where dst is zero.
func (m *clientMachine) send(now time.Time, src, dst netip.Addr, a ask) {
	m.tokens--
	m.tries++
	a.xid, a.seconds = m.xid, now.Sub(m.began)
	if !dst.IsValid() {
		dst = broadcastAddr
	}
	m.out = append(m.out, clientPacket{src: src, dst: dst, payload: m.cfg.encode(a)})
}

func (m *clientMachine) discover(now time.Time) {
	m.due = now.Add(m.backoff())
	if m.tries == 2 && m.problem == "" {
		m.problem = "no server answers"
	}
	m.send(now, netip.Addr{}, netip.Addr{}, ask{kind: dhcpv4.MessageTypeDiscover, requested: m.want})
}

func (m *clientMachine) request(now time.Time) {
	if m.tries == requestTries {
		m.avoid = m.offer.Server
		m.again(now, 0, fmt.Sprintf("server %s does not give what it has offered", m.offer.Server))
		return
	}
	if m.tries == 0 {
		m.asked = now // any of the requests may be the one that is answered
	}
	m.due = now.Add(m.backoff())
	m.send(now, netip.Addr{}, netip.Addr{}, ask{
		kind: dhcpv4.MessageTypeRequest, requested: m.offer.Address.Addr(), server: m.offer.Server,
	})
}

// reboot asks whether an address from before holds. A server that does not know
// it says nothing (RFC 2131 clause 4.3.2), so silence leads to a new one, while
// the old one is kept for as long as it was given.
func (m *clientMachine) reboot(now time.Time) {
	if m.tries == rebootTries {
		m.enter(ClientInit, now)
		return
	}
	if m.tries == 0 {
		m.xid, m.began, m.asked = m.rng.Uint32(), now, now
	}
	m.due = now.Add(m.backoff())
	m.send(now, netip.Addr{}, netip.Addr{}, ask{kind: dhcpv4.MessageTypeRequest, requested: m.want})
}

// check probes an address before it is taken.
func (m *clientMachine) check(now time.Time) {
	if m.tries == probeTries {
		m.bind(now, m.offer)
		return
	}
	m.tries++
	m.due = now.Add(probeWait)
	m.out = append(m.out, clientPacket{dst: m.offer.Address.Addr()})
}

// extend asks for more time: its server by T2, then all.
func (m *clientMachine) extend(now time.Time) {
	l := m.held
	var to netip.Addr
	end := l.Expires
	if now.Before(m.rebind) {
		to, end = l.Server, m.rebind
	} else if m.state == ClientRenewing {
		m.enter(ClientRebinding, now)
		m.problem = fmt.Sprintf("server %s does not renew the lease", l.Server)
	}
	// Half of what is left, but not so often; a short lease must not be lost by
	// one lost message.
	wait := max(end.Sub(now)/2, min(renewRetry, l.Duration/16), time.Second)
	m.due = now.Add(wait)
	if end.Before(m.due) {
		m.due = end
	}
	m.xid, m.asked = m.rng.Uint32(), now
	m.send(now, l.Address.Addr(), to, ask{kind: dhcpv4.MessageTypeRequest, client: l.Address.Addr()})
}

// conflict gives up an address that is being probed (RFC 2131 clause 4.4.1). One
// that is in use stays: RFC 5227 clause 2.4 lets a station defend it.
func (m *clientMachine) conflict(now time.Time, addr netip.Addr, mac frame.MAC) {
	if m.state != ClientChecking || addr != m.offer.Address.Addr() || mac == m.cfg.MAC {
		return
	}
	m.earn(now)
	m.xid, m.began = m.rng.Uint32(), now
	if m.tokens > 0 {
		m.send(now, netip.Addr{}, netip.Addr{}, ask{kind: dhcpv4.MessageTypeDecline, requested: addr, server: m.offer.Server})
	}
	m.want = netip.Addr{}
	m.again(now, declineWait, fmt.Sprintf("%s has the offered address %s", mac, addr))
}

// setLink notes whether the link is up.
func (m *clientMachine) setLink(now time.Time, up bool) {
	switch {
	case m.over:
	case up && m.state == ClientNoLink:
		m.problem = ""
		m.begin(now)
	case !up:
		m.offer = nil
		m.enter(ClientNoLink, now)
	}
}

// linkEvent is told that something about the link has changed, perhaps so briefly that
// setLink has seen nothing of it: who was waiting for a server may have one now.
func (m *clientMachine) linkEvent(now time.Time) {
	switch m.state {
	case ClientInit, ClientSelecting:
		begin := now
		if m.least.After(now) {
			begin = m.least
		}
		m.enter(ClientInit, begin)
	}
}

// release gives the lease back (RFC 2131 clause 4.4.6), and stops.
func (m *clientMachine) release(now time.Time) {
	if l := m.held; l != nil && m.state != ClientNoLink {
		m.xid, m.began = m.rng.Uint32(), now
		m.send(now, l.Address.Addr(), l.Server, ask{kind: dhcpv4.MessageTypeRelease, client: l.Address.Addr(), server: l.Server})
	}
	m.held, m.offer, m.over = nil, nil, true
	m.enter(ClientStopped, now)
}
