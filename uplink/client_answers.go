package uplink

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// bind takes a lease.
func (m *clientMachine) bind(now time.Time, l *Lease) {
	if m.held == nil || m.held.Address != l.Address {
		m.since = now
	} else if now.Sub(m.since) >= steady {
		m.failed = 0
	}
	m.held, m.offer, m.problem, m.avoid = l, nil, "", netip.Addr{}
	m.want = l.Address.Addr()
	if l.Duration == 0 {
		m.enter(ClientBound, now)
		return
	}
	l.Expires = m.asked.Add(l.Duration)
	renew, rebind := l.renew, l.rebind
	if rebind <= 0 || rebind >= l.Duration {
		rebind = l.Duration * 7 / 8
	}
	if renew <= 0 || renew >= rebind {
		if renew = l.Duration / 2; renew >= rebind {
			renew = rebind / 2
		}
		renew -= time.Duration(m.rng.Int64N(int64(renew / 16))) // RFC 2131 clause 4.4.5 wants it to vary
	}
	m.renew, m.rebind = m.asked.Add(renew), m.asked.Add(rebind)
	m.enter(ClientBound, m.renew)
}

// receive takes a message, which may be an answer.
func (m *clientMachine) receive(now time.Time, r *reply) {
	if r.xid != m.xid || r.mac != m.cfg.MAC || !isHost(r.server) {
		return
	}
	switch r.kind {
	case dhcpv4.MessageTypeOffer:
		if m.state == ClientSelecting {
			m.offered(now, r)
		}
	case dhcpv4.MessageTypeAck:
		m.acknowledged(now, r)
	case dhcpv4.MessageTypeNak:
		m.refused(now, r)
	}
}

// offered takes the first offer that will do, of a server that has not let the
// client down if there is another one.
func (m *clientMachine) offered(now time.Time, r *reply) {
	if r.server == m.avoid && m.tries < 2 {
		return
	}
	if l := m.read(r); l != nil {
		m.offer = l
		m.enter(ClientRequesting, now)
	}
}

// read returns the lease of an OFFER or an ACK, nil where it is unfit.
func (m *clientMachine) read(r *reply) *Lease {
	l, err := leaseOf(r)
	if err == nil && m.accept != nil {
		err = m.accept(l.clone())
	}
	if err != nil {
		m.problem = fmt.Sprintf("server %s: %v", r.server, err)
		return nil
	}
	return l
}

// answers reports whether a message is of a server that was asked.
func (m *clientMachine) answers(r *reply) bool {
	switch m.state {
	case ClientRequesting:
		return r.server == m.offer.Server
	case ClientRenewing:
		return r.server == m.held.Server
	case ClientRebinding:
		return true
	case ClientRebooting:
		return m.tries > 0
	}
	return false
}

func (m *clientMachine) acknowledged(now time.Time, r *reply) {
	if !m.answers(r) || r.yours != m.asks() {
		return
	}
	l := m.read(r)
	switch {
	case l == nil:
	case !m.probes || m.held != nil && m.held.Address.Addr() == l.Address.Addr():
		m.bind(now, l)
	default:
		m.offer = l
		m.enter(ClientChecking, now)
	}
}

// asks returns the address that the client asks for.
func (m *clientMachine) asks() netip.Addr {
	switch m.state {
	case ClientRequesting:
		return m.offer.Address.Addr()
	case ClientRebooting:
		return m.want
	}
	return m.held.Address.Addr()
}

// refused begins anew without the address (RFC 2131 clause 4.4.5 and 3.2).
func (m *clientMachine) refused(now time.Time, r *reply) {
	if !m.answers(r) {
		return
	}
	problem := fmt.Sprintf("server %s refuses %s", r.server, m.asks())
	if text := r.text(); text != "" {
		problem += " (" + text + ")"
	}
	m.want, m.avoid = netip.Addr{}, netip.Addr{}
	if m.state == ClientRequesting {
		m.avoid = r.server // what is held was asked of another one, and stays
	} else {
		m.lose(now)
	}
	m.again(now, 0, problem)
}
