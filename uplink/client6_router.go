package uplink

import (
	"net/netip"
	"slices"
	"time"

	"github.com/weft/weft/ndp"
)

// router6 is a default router (RFC 4861 clause 5.1).
type router6 struct {
	addr       netip.Addr
	preference ndp.Preference
	until      time.Time
	stale      bool
}

// onLink6 is a prefix whose addresses are reached without a router.
type onLink6 struct {
	prefix netip.Prefix
	until  time.Time
	stale  bool
}

// route6 is a route that a router has said it has (RFC 4191).
type route6 struct {
	prefix     netip.Prefix
	via        netip.Addr
	preference ndp.Preference
	until      time.Time
	stale      bool
}

// resolver6 is a name server that a router has named (RFC 8106).
type resolver6 struct {
	addr  netip.Addr
	until time.Time
	stale bool
}

// advertised takes a valid advertisement of a router (RFC 4861 clause 6.3.4).
func (m *client6Machine) advertised(now time.Time, from netip.Addr, a *ndp.Advertisement) {
	if !m.running() || m.local.state == dadDuplicate || !from.IsLinkLocalUnicast() || from == m.local.addr {
		return
	}
	m.expire(now)
	if m.unconfirmed { // and by this one not for all that others have said
		m.unconfirmed, m.purge = false, now.Add(settle)
		m.mtu, m.managed, m.other = 0, false, false
	}
	m.refused = ""
	m.managed, m.other = m.managed || a.Managed, m.other || a.Other
	if a.MTU >= minMTU6 && a.MTU <= 0xffff {
		m.mtu = int(a.MTU)
	}
	if a.Retransmit > 0 {
		m.retransmit = min(max(a.Retransmit, leastRetransmit), mostRetransmit)
	}
	m.setRouter(now, from, a.Preference, a.Lifetime)
	for _, p := range a.Prefixes {
		if isSomewhere(p.Prefix) {
			m.setOnLink(now, p)
			m.form(now, p)
		}
	}
	for _, r := range a.Routes {
		m.setRoute(now, from, r)
	}
	for _, addr := range a.DNS {
		m.setResolver(now, addr, a.DNSLifetime)
	}
	m.choose(now)
	if len(m.routers) > 0 {
		m.asking = false
	}
	if m.local.state == dadAssigned {
		m.manageDHCP(now)
	}
}

// setRouter notes for how long a router is a default one.
func (m *client6Machine) setRouter(now time.Time, from netip.Addr, preference ndp.Preference, lifetime time.Duration) {
	i := slices.IndexFunc(m.routers, func(r router6) bool { return r.addr == from })
	r := router6{addr: from, preference: preference, until: after(now, lifetime)}
	m.routers = put(m.routers, i, r, lifetime, maxRouters)
}

// setOnLink notes for how long a prefix is on the link. That it is not said to be says
// nothing (RFC 4861 clause 6.3.4).
func (m *client6Machine) setOnLink(now time.Time, p ndp.Prefix) {
	if !p.OnLink {
		return
	}
	i := slices.IndexFunc(m.onLink, func(o onLink6) bool { return o.prefix == p.Prefix })
	m.onLink = put(m.onLink, i, onLink6{prefix: p.Prefix, until: after(now, p.Valid)}, p.Valid, maxPrefixes)
}

// setRoute notes a route. That to everywhere is the router's own preference and
// lifetime in another place (RFC 4191 clause 3.1).
func (m *client6Machine) setRoute(now time.Time, from netip.Addr, r ndp.Route) {
	if r.Prefix.Bits() == 0 {
		m.setRouter(now, from, r.Preference, r.Lifetime)
		return
	}
	if !isSomewhere(r.Prefix) {
		return
	}
	i := slices.IndexFunc(m.routes, func(o route6) bool { return o.prefix == r.Prefix && o.via == from })
	route := route6{prefix: r.Prefix, via: from, preference: r.Preference, until: after(now, r.Lifetime)}
	m.routes = put(m.routes, i, route, r.Lifetime, maxRoutes6)
}

func (m *client6Machine) setResolver(now time.Time, addr netip.Addr, lifetime time.Duration) {
	if !isResolver(addr) {
		return
	}
	i := slices.IndexFunc(m.resolvers, func(r resolver6) bool { return r.addr == addr })
	m.resolvers = put(m.resolvers, i, resolver6{addr: addr, until: after(now, lifetime)}, lifetime, maxResolvers)
}

// put replaces element i of a list, or adds one where i is negative and there is room,
// or takes it away where its lifetime is zero.
func put[T any](list []T, i int, v T, lifetime time.Duration, most int) []T {
	switch {
	case lifetime <= 0 && i >= 0:
		return slices.Delete(list, i, i+1)
	case i >= 0:
		list[i] = v
	case lifetime > 0 && len(list) < most:
		return append(list, v)
	}
	return list
}

// choose picks the router of the best preference (RFC 4191 clause 3.2). Among equals the
// one in use stays, for flows go through it. Without any, routers are asked again.
func (m *client6Machine) choose(now time.Time) {
	var best *router6
	for i := range m.routers {
		r := &m.routers[i]
		if best == nil || r.preference > best.preference || r.preference == best.preference && r.addr == m.gateway {
			best = r
		}
	}
	switch {
	case best != nil:
		m.gateway = best.addr
	case m.gateway.IsValid():
		m.gateway = netip.Addr{}
		m.asking, m.ask = true, retry6{due: now.Add(m.random(solicitDelay))}
	}
}

// stale marks all that routers have said, but for addresses.
func (m *client6Machine) stale() {
	for i := range m.routers {
		m.routers[i].stale = true
	}
	for i := range m.onLink {
		m.onLink[i].stale = true
	}
	for i := range m.routes {
		m.routes[i].stale = true
	}
	for i := range m.resolvers {
		m.resolvers[i].stale = true
	}
}

// expire takes away what is over.
func (m *client6Machine) expire(now time.Time) {
	purge := !m.purge.IsZero() && !now.Before(m.purge)
	if purge {
		m.purge = time.Time{}
	}
	gone := func(until time.Time, stale bool) bool { return !now.Before(until) || purge && stale }
	m.routers = slices.DeleteFunc(m.routers, func(r router6) bool { return gone(r.until, r.stale) })
	m.onLink = slices.DeleteFunc(m.onLink, func(o onLink6) bool { return gone(o.until, o.stale) })
	m.routes = slices.DeleteFunc(m.routes, func(r route6) bool { return gone(r.until, r.stale) })
	m.resolvers = slices.DeleteFunc(m.resolvers, func(r resolver6) bool { return gone(r.until, r.stale) })
	m.addresses = slices.DeleteFunc(m.addresses, func(a *address6) bool { return gone(a.valid, a.stale) })
	m.choose(now)
	m.expireDHCP(now)
}

// ends tells when the lifetimes end.
func (m *client6Machine) ends(now time.Time, tell func(time.Time)) {
	for _, r := range m.routers {
		tell(r.until)
	}
	for _, o := range m.onLink {
		tell(o.until)
	}
	for _, r := range m.routes {
		tell(r.until)
	}
	for _, r := range m.resolvers {
		tell(r.until)
	}
	for _, a := range m.addresses {
		tell(a.valid)
		if a.preferred.After(now) {
			tell(a.preferred)
		}
	}
}
