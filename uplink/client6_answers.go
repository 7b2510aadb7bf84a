package uplink

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// firstChoice is the preference of a server that is taken at once (RFC 8415 clause
// 18.2.1).
const firstChoice = 255

// Bounds of SOL_MAX_RT and INF_MAX_RT (RFC 8415 clauses 21.24 and 21.25).
const (
	leastMaxRT = time.Minute
	mostMaxRT  = 24 * time.Hour
)

// receive takes a message of a server, which may be an answer.
func (m *client6Machine) receive(now time.Time, r *reply6) {
	d := &m.dhcp
	if !m.running() || exchanges6[d.state].kind == 0 || d.tries == 0 || r.xid != d.xid ||
		!bytes.Equal(r.client, m.cfg.duid()) || r.server == nil {
		return
	}
	m.expire(now)
	if r.solMax >= leastMaxRT && r.solMax <= mostMaxRT {
		d.solMax = r.solMax
	}
	if r.infMax >= leastMaxRT && r.infMax <= mostMaxRT {
		d.infMax = r.infMax
	}
	switch {
	case r.kind == dhcpv6.MessageTypeAdvertise:
		if d.state == dhcp6Soliciting {
			m.offered(now, r)
		}
	case d.state == dhcp6Soliciting:
		if r.rapid {
			m.granted(now, r)
		}
	case d.state == dhcp6Rebinding:
		m.granted(now, r)
	case d.state == dhcp6Confirming:
		m.confirmed(now, r)
	case d.state == dhcp6Informing:
		m.informed(now, r)
	case !bytes.Equal(r.server, d.server):
	case d.state == dhcp6Declining:
		m.declineEnds(now)
	default:
		m.granted(now, r)
	}
}

// offered notes the offer of the best server; those that answer after the first wait are
// taken as they come (RFC 8415 clause 18.2.9).
func (m *client6Machine) offered(now time.Time, r *reply6) {
	d := &m.dhcp
	code, text := r.iaStatus()
	o := &offer6{server: r.server, from: r.from, preference: r.preference}
	for _, l := range r.leased() {
		if err := m.refuses(hostPrefix(l.addr)); err != nil {
			d.problem = fmt.Sprintf("server %s: %v", r.from, err)
		} else if l.valid > 0 {
			o.addresses = append(o.addresses, l.addr)
		}
	}
	if code != iana.StatusSuccess {
		d.problem = saying(fmt.Sprintf("server %s offers no address: %s", r.from, code), text)
		return
	}
	if len(o.addresses) == 0 {
		return
	}
	if d.offer == nil || o.preference > d.offer.preference {
		d.offer = o
	}
	if r.preference == firstChoice || d.tries > 1 {
		m.request(now, d.offer)
	}
}

// granted takes what a server gives, or its refusal (RFC 8415 clause 18.2.10.1).
func (m *client6Machine) granted(now time.Time, r *reply6) {
	d := &m.dhcp
	code, text := r.iaStatus()
	switch {
	case code == iana.StatusSuccess:
		m.bind(now, r)
		return
	case code == iana.StatusNoBinding && (d.state == dhcp6Renewing || d.state == dhcp6Rebinding):
		m.request(now, &offer6{server: r.server, from: r.from, addresses: m.leasedAddresses()})
		return
	}
	problem := saying(fmt.Sprintf("server %s refuses: %s", r.from, code), text)
	switch code {
	case iana.StatusNoAddrsAvail, iana.StatusNotOnLink, iana.StatusNoBinding:
		if d.state == dhcp6Requesting {
			m.lookAgain(now, 0, problem)
			return
		}
	}
	d.problem = problem // and the server is asked again in its time
}

// bind takes the addresses of a server.
func (m *client6Machine) bind(now time.Time, r *reply6) {
	d := &m.dhcp
	given := r.leased()
	if len(given) == 0 && d.state != dhcp6Requesting {
		return
	}
	for _, l := range given {
		i := slices.IndexFunc(m.addresses, func(a *address6) bool { return a.dhcp && a.addr == l.addr })
		switch {
		case i >= 0 && l.valid == 0:
			m.addresses = slices.Delete(m.addresses, i, i+1)
		case i >= 0:
			m.addresses[i].preferred, m.addresses[i].valid = after(now, l.preferred), after(now, l.valid)
		case l.valid > 0 && len(m.leasedAddresses()) < maxLeased && m.refuses(hostPrefix(l.addr)) == nil:
			a := &address6{addr: l.addr, dhcp: true, preferred: after(now, l.preferred), valid: after(now, l.valid)}
			m.addresses = append(m.addresses, a)
			m.check(now, a, 0)
		}
	}
	if len(m.leasedAddresses()) == 0 {
		m.lookAgain(now, 0, fmt.Sprintf("server %s gives no address that will do", r.from))
		return
	}
	d.server, d.from, d.dns, d.problem = r.server, r.from, r.dns, ""
	if d.since.IsZero() {
		d.since = now
	}
	m.setTimes(now, r.ia.T1, r.ia.T2)
	m.resume(now)
}

// setTimes says when more time is asked for. Where the server leaves that to the client,
// or makes no sense, it is half and four fifths of what the first address to go has
// (RFC 8415 clause 21.4).
func (m *client6Machine) setTimes(now time.Time, t1, t2 time.Duration) {
	d := &m.dhcp
	preferred, valid := eternity, eternity
	for _, a := range m.addresses {
		if !a.dhcp {
			continue
		}
		valid = min(valid, a.valid.Sub(now))
		if left := a.preferred.Sub(now); left > 0 {
			preferred = min(preferred, left)
		}
	}
	preferred = min(preferred, valid)
	if t2 == 0 || t2 < infinite6 && t2 >= valid {
		t2 = preferred * 4 / 5
	}
	if t1 == 0 || t1 > t2 || t1 < infinite6 && t1 >= valid {
		t1 = min(preferred/2, t2)
	}
	d.renew, d.rebind = time.Time{}, time.Time{}
	if t1 < infinite6 && preferred < eternity {
		d.renew = now.Add(t1)
	}
	if t2 < infinite6 && preferred < eternity {
		d.rebind = now.Add(t2)
	}
}

// confirmed is told whether the addresses hold on this link (RFC 8415 clause 18.2.10.3).
func (m *client6Machine) confirmed(now time.Time, r *reply6) {
	switch r.status {
	case iana.StatusSuccess:
		m.resume(now)
	case iana.StatusNotOnLink:
		m.lookAgain(now, 0, fmt.Sprintf("server %s says that the address is not for this link", r.from))
	}
}

// informed takes what is no address (RFC 8415 clause 18.2.10.4).
func (m *client6Machine) informed(now time.Time, r *reply6) {
	d := &m.dhcp
	if r.status != iana.StatusSuccess {
		d.problem = saying(fmt.Sprintf("server %s refuses: %s", r.from, r.status), r.text)
		return
	}
	refresh := refreshEvery
	if r.refresh > 0 {
		refresh = min(max(r.refresh, refreshLeast), eternity)
	}
	d.dns, d.from, d.problem = r.dns, r.from, ""
	d.state, d.retry6, d.end = dhcp6Informed, retry6{due: now.Add(refresh)}, time.Time{}
}

// saying adds what a server says to people.
func saying(problem, text string) string {
	if text == "" {
		return problem
	}
	return problem + " (" + text + ")"
}
