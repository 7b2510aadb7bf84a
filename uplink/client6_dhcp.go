package uplink

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// dhcp6State is what the client of DHCPv6 is at (RFC 8415 clause 18.2).
type dhcp6State uint8

const (
	dhcp6Off        dhcp6State = iota // nothing is to be asked
	dhcp6Soliciting                   // looks for a server
	dhcp6Requesting                   // has an offer and wants it
	dhcp6Confirming                   // asks whether the addresses from before hold here
	dhcp6Bound                        // has addresses
	dhcp6Renewing                     // asks its server for more time
	dhcp6Rebinding                    // asks any server for more time
	dhcp6Declining                    // says that somebody else has an address
	dhcp6Informing                    // asks for name servers only
	dhcp6Informed                     // has them
)

// exchange6 is what is sent in a state, and how often (RFC 8415 clause 7.6).
type exchange6 struct {
	kind        dhcpv6.MessageType
	first, most time.Duration // most 0: what servers say, or an hour
	tries       int           // 0: as long as it takes
}

var exchanges6 = [...]exchange6{
	dhcp6Soliciting: {dhcpv6.MessageTypeSolicit, time.Second, 0, 0},
	dhcp6Requesting: {dhcpv6.MessageTypeRequest, time.Second, 30 * time.Second, 10},
	dhcp6Confirming: {dhcpv6.MessageTypeConfirm, time.Second, 4 * time.Second, 0},
	dhcp6Renewing:   {dhcpv6.MessageTypeRenew, 10 * time.Second, 600 * time.Second, 0},
	dhcp6Rebinding:  {dhcpv6.MessageTypeRebind, 10 * time.Second, 600 * time.Second, 0},
	dhcp6Declining:  {dhcpv6.MessageTypeDecline, time.Second, 0, 4},
	dhcp6Informing:  {dhcpv6.MessageTypeInformationRequest, time.Second, 0, 0},
	dhcp6Informed:   {},
}

// Delays before the first message: SOL_MAX_DELAY, CNF_MAX_DELAY and INF_MAX_DELAY are
// all the same; and CNF_MAX_RD.
const (
	firstDelay6  = time.Second
	confirmFor   = 10 * time.Second
	refreshEvery = 24 * time.Hour   // IRT_DEFAULT
	refreshLeast = 10 * time.Minute // IRT_MINIMUM
)

// offer6 is what a server has offered.
type offer6 struct {
	server     []byte
	from       netip.Addr
	preference uint8
	addresses  []netip.Addr
}

// dhcp6 is the part of the machine that asks servers.
type dhcp6 struct {
	state dhcp6State
	retry6
	xid   dhcpv6.TransactionID
	began time.Time // when the first message of the exchange was sent
	end   time.Time // of the exchange; zero: it has none
	least time.Time // before which no server is looked for

	offer         *offer6
	server        []byte     // whose addresses these are; nil without
	from          netip.Addr // where it is, for people
	renew, rebind time.Time  // T1 and T2; zero: never
	declined      []netip.Addr
	dns           []netip.Addr

	since  time.Time // when there was an address; zero without
	failed int       // how often it has begun anew without one in between

	solMax, infMax time.Duration
	tokens         bucket6
	problem        string
}

// stop ends all exchanges.
func (d *dhcp6) stop() {
	*d = dhcp6{solMax: d.solMax, infMax: d.infMax, tokens: d.tokens, failed: d.failed, least: d.least}
}

// enterDHCP begins an exchange.
func (m *client6Machine) enterDHCP(now time.Time, s dhcp6State, delay time.Duration) {
	d := &m.dhcp
	d.state, d.retry6, d.end, d.offer = s, retry6{due: now.Add(delay)}, time.Time{}, nil
	n := m.rng.Uint32()
	d.xid = dhcpv6.TransactionID{byte(n >> 16), byte(n >> 8), byte(n)}
}

// manageDHCP begins what routers or the configuration want and nobody has begun. What
// has begun goes on, whatever routers say later.
func (m *client6Machine) manageDHCP(now time.Time) {
	d := &m.dhcp
	delay := max(m.random(firstDelay6), d.least.Sub(now))
	switch d.state {
	case dhcp6Off, dhcp6Informing, dhcp6Informed:
		if m.cfg.DHCP || m.managed {
			m.enterDHCP(now, dhcp6Soliciting, delay)
		} else if m.other && d.state == dhcp6Off {
			m.enterDHCP(now, dhcp6Informing, delay)
		}
	}
}

// reattachDHCP begins on a link that was down.
func (m *client6Machine) reattachDHCP(now time.Time) {
	d := &m.dhcp
	d.declined = nil
	if len(m.leasedAddresses()) > 0 && d.server != nil {
		m.enterDHCP(now, dhcp6Confirming, m.random(firstDelay6))
		return
	}
	d.stop()
}

// leasedAddresses returns what servers have given.
func (m *client6Machine) leasedAddresses() (all []netip.Addr) {
	for _, a := range m.addresses {
		if a.dhcp {
			all = append(all, a.addr)
		}
	}
	return all
}

// tickDHCP does what is due.
func (m *client6Machine) tickDHCP(now time.Time) {
	d := &m.dhcp
	if d.state == dhcp6Off {
		return
	}
	if !d.end.IsZero() && !now.Before(d.end) {
		m.overdue(now)
	}
	if now.Before(d.due) {
		return
	}
	switch {
	case d.state == dhcp6Bound:
		m.extendDHCP(now)
	case d.state == dhcp6Informed:
		m.enterDHCP(now, dhcp6Informing, m.random(firstDelay6))
		return
	case d.offer != nil && d.state == dhcp6Soliciting:
		m.request(now, d.offer)
	}
	if e := exchanges6[d.state]; e.tries > 0 && d.tries >= e.tries {
		m.overdue(now)
		return
	}
	m.sendDHCP(now)
}

// extendDHCP asks the server for more time, or any server where that is overdue too.
func (m *client6Machine) extendDHCP(now time.Time) {
	d := &m.dhcp
	if !d.rebind.IsZero() && !now.Before(d.rebind) {
		m.enterDHCP(now, dhcp6Rebinding, 0)
		return
	}
	m.enterDHCP(now, dhcp6Renewing, 0)
	d.end = d.rebind
}

// overdue ends an exchange that nobody has answered.
func (m *client6Machine) overdue(now time.Time) {
	d := &m.dhcp
	switch d.state {
	case dhcp6Requesting:
		m.lookAgain(now, 0, fmt.Sprintf("server %s does not give what it has offered", d.from))
	case dhcp6Renewing:
		d.problem = fmt.Sprintf("server %s does not renew the lease", d.from)
		m.enterDHCP(now, dhcp6Rebinding, 0)
	case dhcp6Confirming: // RFC 8415 clause 18.2.3: what was known holds on
		m.resume(now)
	case dhcp6Declining:
		m.declineEnds(now)
	}
}

// sendDHCP sends the message of the state.
func (m *client6Machine) sendDHCP(now time.Time) {
	d := &m.dhcp
	if !d.tokens.take() {
		d.due = d.tokens.next()
		return
	}
	e := exchanges6[d.state]
	ask := ask6{kind: e.kind, xid: d.xid}
	most := e.most
	switch d.state {
	case dhcp6Soliciting:
		most = d.solMax
		if d.tries == 2 && d.problem == "" {
			d.problem = "no server answers"
		}
	case dhcp6Informing:
		most = d.infMax
	case dhcp6Requesting:
		ask.server, ask.addresses = d.server, d.offer.addresses
	case dhcp6Declining:
		most = solicitLast
		ask.server, ask.addresses = d.server, d.declined
	case dhcp6Renewing:
		ask.server, ask.addresses = d.server, m.leasedAddresses()
	case dhcp6Confirming, dhcp6Rebinding:
		ask.addresses = m.leasedAddresses()
	}
	if d.tries == 0 {
		d.began = now
		if d.state == dhcp6Confirming {
			d.end = now.Add(confirmFor)
		}
	}
	ask.elapsed = now.Sub(d.began)
	d.again(now, m.rng, e.first, most)
	if d.state == dhcp6Soliciting && d.tries == 1 && d.wait < e.first { // RFC 8415 clause 18.2.1: never less
		d.wait = 2*e.first - d.wait
		d.due = now.Add(d.wait)
	}
	m.out = append(m.out, packet6{src: m.local.addr, dst: allServers, dhcp: m.cfg.encode(ask)})
}

// releaseDHCP gives addresses back. It is said once: nobody waits for an answer here.
func (m *client6Machine) releaseDHCP(now time.Time, given []netip.Addr) {
	d := &m.dhcp
	if m.local.state != dadAssigned || !d.tokens.take() {
		return
	}
	m.enterDHCP(now, dhcp6Off, 0)
	ask := ask6{kind: dhcpv6.MessageTypeRelease, xid: d.xid, server: d.server, addresses: given}
	m.out = append(m.out, packet6{src: m.local.addr, dst: allServers, dhcp: m.cfg.encode(ask)})
}

// request asks a server for what it has offered.
func (m *client6Machine) request(now time.Time, o *offer6) {
	m.enterDHCP(now, dhcp6Requesting, 0)
	m.dhcp.offer, m.dhcp.server, m.dhcp.from = o, o.server, o.from
}

// resume waits for T1.
func (m *client6Machine) resume(now time.Time) {
	d := &m.dhcp
	d.state, d.retry6, d.end, d.offer = dhcp6Bound, retry6{due: d.renew}, time.Time{}, nil
	if d.renew.IsZero() {
		d.due = now.Add(eternity)
	}
}

// expireDHCP looks for a server anew where the last address is over.
func (m *client6Machine) expireDHCP(now time.Time) {
	switch m.dhcp.state {
	case dhcp6Bound, dhcp6Renewing, dhcp6Rebinding, dhcp6Confirming:
		if len(m.leasedAddresses()) == 0 {
			m.lookAgain(now, 0, "no server has renewed the lease")
		}
	}
}

// lookAgain gives up what servers have given and looks for one: not before least, and
// the later the more often it has.
func (m *client6Machine) lookAgain(now time.Time, least time.Duration, problem string) {
	d := &m.dhcp
	if !d.since.IsZero() && now.Sub(d.since) >= steady {
		d.failed = 0
	}
	m.addresses = slices.DeleteFunc(m.addresses, func(a *address6) bool { return a.dhcp })
	wait := m.random(firstDelay6)
	if d.failed > 0 {
		wait += min(time.Second<<min(d.failed-1, 10), lastRetry)
	}
	d.failed++
	d.least = now.Add(least)
	d.problem, d.server, d.dns, d.since, d.declined = problem, nil, nil, time.Time{}, nil
	m.enterDHCP(now, dhcp6Soliciting, max(wait, least))
}

// decline says that an address that a server has given is somebody else's (RFC 8415
// clause 18.2.8).
func (m *client6Machine) decline(now time.Time, a *address6) {
	d := &m.dhcp
	m.addresses = slices.DeleteFunc(m.addresses, func(o *address6) bool { return o == a })
	declined := append(d.declined, a.addr)
	d.problem = fmt.Sprintf("%s has the address %s, which server %s has given", a.holder, a.addr, d.from)
	m.enterDHCP(now, dhcp6Declining, 0)
	d.declined = declined
}

// declineEnds goes on with the other addresses, or looks for some.
func (m *client6Machine) declineEnds(now time.Time) {
	if len(m.leasedAddresses()) == 0 {
		m.lookAgain(now, declineWait, m.dhcp.problem)
		return
	}
	m.dhcp.declined = nil
	m.resume(now)
}
