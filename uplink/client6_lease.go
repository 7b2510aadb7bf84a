package uplink

import (
	"net/netip"
	"slices"
	"time"

	"github.com/weft/weft/dataplane"
)

// Lease6 is what routers and DHCPv6 servers have given an uplink.
type Lease6 struct {
	// Addresses are of global scope. The first is the one to speak from: those that
	// are preferred come before deprecated ones, and those of the Internet before
	// unique local ones. An address has the length of its prefix where that is on the
	// link, else 128.
	Addresses []netip.Prefix

	// Routes are the prefixes on the link that no address has, what routers lead to
	// beside the default route (RFC 4191), and the default route. The next hops are
	// link-local.
	Routes []dataplane.Route

	DNS []netip.Addr // name servers; they may be link-local
	MTU int          // 0: not said
}

// sameAs reports whether an uplink is the same by both leases.
func (l *Lease6) sameAs(o *Lease6) bool {
	return slices.Equal(l.Addresses, o.Addresses) && slices.Equal(l.Routes, o.Routes) && slices.Equal(l.DNS, o.DNS) && l.MTU == o.MTU
}

var (
	everywhere6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	uniqueLocal = netip.MustParsePrefix("fc00::/7") // RFC 4193
)

// lease returns what holds now.
func (m *client6Machine) lease(now time.Time) (l Lease6) {
	for _, a := range m.ranked(now) {
		same := func(p netip.Prefix) bool { return p.Addr() == a.addr }
		if slices.ContainsFunc(l.Addresses, same) {
			continue
		}
		if a.dhcp {
			l.Addresses = append(l.Addresses, hostPrefix(a.addr))
		} else {
			l.Addresses = append(l.Addresses, m.prefixOf(a.addr))
		}
	}
	m.addRoutes(&l)
	l.DNS = slices.Clone(m.dhcp.dns)
	for _, r := range m.resolvers {
		if len(l.DNS) < maxResolvers && !slices.Contains(l.DNS, r.addr) {
			l.DNS = append(l.DNS, r.addr)
		}
	}
	l.MTU = m.mtu
	return l
}

// ranked returns the addresses that can be used, the best first.
func (m *client6Machine) ranked(now time.Time) (all []*address6) {
	for _, a := range m.addresses {
		if a.usable && now.Before(a.valid) {
			all = append(all, a)
		}
	}
	rank := func(a *address6) (n int) {
		if !now.Before(a.preferred) {
			n += 2
		}
		if uniqueLocal.Contains(a.addr) {
			n++
		}
		return n
	}
	slices.SortStableFunc(all, func(a, b *address6) int { return rank(a) - rank(b) })
	return all
}

// addRoutes adds one route for each destination: the link before all routers, and among
// routers the one of the best preference.
func (m *client6Machine) addRoutes(l *Lease6) {
	for _, o := range m.onLink {
		if !slices.ContainsFunc(l.Addresses, func(a netip.Prefix) bool { return a.Masked() == o.prefix }) {
			l.Routes = append(l.Routes, dataplane.Route{Destination: o.prefix})
		}
	}
	for i, r := range m.routes {
		onLink := slices.ContainsFunc(m.onLink, func(o onLink6) bool { return o.prefix == r.prefix })
		worse := false
		for j, o := range m.routes {
			worse = worse || o.prefix == r.prefix && (o.preference > r.preference || o.preference == r.preference && j < i)
		}
		if !onLink && !worse {
			l.Routes = append(l.Routes, dataplane.Route{Destination: r.prefix, Via: r.via})
		}
	}
	if m.gateway.IsValid() {
		l.Routes = append(l.Routes, dataplane.Route{Destination: everywhere6, Via: m.gateway})
	}
}
