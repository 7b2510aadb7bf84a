package uplink

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// dad is how far the check for duplicates of an address has come (RFC 4862 clause 5.4).
type dad uint8

const (
	dadTentative dad = iota // somebody else may have it
	dadAssigned
	dadDuplicate // somebody has
)

// address6 is an address of the client.
type address6 struct {
	addr             netip.Addr
	dhcp             bool // a server has given it; else made of a prefix
	preferred, valid time.Time

	state  dad
	due    time.Time // of what the check does next
	tries  int
	usable bool // it has passed, perhaps before it was checked again
	stale  bool // no router has said its prefix since the link is back
	holder frame.MAC
}

func (a *address6) problem() string {
	if a.addr.IsLinkLocalUnicast() {
		return fmt.Sprintf("%s has the address %s too: give the uplink another MAC address", a.holder, a.addr)
	}
	return fmt.Sprintf("%s has the address %s, which is not used", a.holder, a.addr)
}

// check begins to ask whether somebody else has an address. One that was in use stays so
// until somebody has.
func (m *client6Machine) check(now time.Time, a *address6, delay time.Duration) {
	a.state, a.tries, a.due = dadTentative, 0, now.Add(delay)
}

// tickAddress goes on with the check of an address.
func (m *client6Machine) tickAddress(now time.Time, a *address6) {
	if a.state != dadTentative || now.Before(a.due) {
		return
	}
	if a.tries == dadTransmits {
		a.state, a.usable = dadAssigned, true
		return
	}
	if !m.nd.take() {
		a.due = m.nd.next()
		return
	}
	a.tries++
	a.due = now.Add(m.retransmit)
	// The MAC address is not said: who has no address asks (RFC 4861 clause 4.3).
	m.out = append(m.out, packet6{
		src: netip.IPv6Unspecified(), dst: ndp.SolicitedNode(a.addr), message: ndp.Neighbor{Target: a.addr}.Solicitation(),
	})
}

// claimed is told that the station mac has an address, or begins to use it (RFC 4862
// clauses 5.4.3 and 5.4.4). Only one that is being checked is given up: one in use is
// defended.
func (m *client6Machine) claimed(now time.Time, addr netip.Addr, mac frame.MAC) {
	if !m.running() || mac == m.cfg.MAC {
		return
	}
	for _, a := range m.all() {
		if a.addr != addr || a.state != dadTentative {
			continue
		}
		a.state, a.usable, a.holder = dadDuplicate, false, mac
		switch {
		case a == m.local: // RFC 4862 clause 5.4.5: without it there is no IPv6
			m.forget()
			return
		case a.dhcp:
			m.decline(now, a)
		}
	}
}

// form takes an autonomous prefix of a router (RFC 4862 clause 5.5.3).
func (m *client6Machine) form(now time.Time, p ndp.Prefix) {
	if !p.Autonomous || p.Preferred > p.Valid || p.Prefix.Bits() != 64 {
		return
	}
	addr := ndp.FromPrefix(p.Prefix, m.cfg.MAC)
	for _, a := range m.addresses {
		if a.addr == addr && !a.dhcp {
			a.stale = false
			a.extend(now, p)
			return
		}
	}
	if p.Valid == 0 || m.made() == maxPrefixes {
		return
	}
	if err := m.refuses(m.prefixOf(addr)); err != nil {
		m.refused = err.Error()
		return
	}
	a := &address6{addr: addr, preferred: after(now, p.Preferred), valid: after(now, p.Valid)}
	m.addresses = append(m.addresses, a)
	m.check(now, a, m.random(solicitDelay)) // RFC 4862 clause 5.4.2: all hosts have heard the router at once
}

// extend sets the lifetimes anew. Nobody takes a valid address away at once: of two
// hours a prefix can not be robbed (RFC 4862 clause 5.5.3, e).
func (a *address6) extend(now time.Time, p ndp.Prefix) {
	a.preferred = after(now, p.Preferred)
	left := a.valid.Sub(now)
	switch {
	case p.Valid > twoHours || p.Valid > left:
		a.valid = after(now, p.Valid)
	case left > twoHours:
		a.valid = now.Add(twoHours)
	}
}

// made counts the addresses that are made of prefixes.
func (m *client6Machine) made() (n int) {
	for _, a := range m.addresses {
		if !a.dhcp {
			n++
		}
	}
	return n
}

// refuses returns what the caller has against an address, nil where it will do.
func (m *client6Machine) refuses(p netip.Prefix) error {
	if m.accept == nil {
		return nil
	}
	return m.accept(Lease6{Addresses: []netip.Prefix{p}})
}

// prefixOf returns an address as an uplink has it: with the prefix that it was made of
// where that is on the link, else alone (RFC 5942 clause 4).
func (m *client6Machine) prefixOf(a netip.Addr) netip.Prefix {
	p := netip.PrefixFrom(a, 64)
	if slices.ContainsFunc(m.onLink, func(o onLink6) bool { return o.prefix == p.Masked() }) {
		return p
	}
	return hostPrefix(a)
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
