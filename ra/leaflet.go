package ra

import (
	"net/netip"
	"slices"
	"time"

	"github.com/weft/weft/ndp"
)

// maxMessage is how long a message may be, in bytes: what every link of IPv6 carries
// (RFC 8200 clause 5), without the IPv6 header. What does not fit is sent in several
// (RFC 4861 clause 6.2.3).
const maxMessage = 1280 - 40

// maxGone bounds what is taken back of a kind. Of more, those are left out that hosts
// forget first.
const maxGone = 16

// maxLifetime is the longest one of a router (RFC 8319 clause 4).
const maxLifetime = 65535 * time.Second

// leaflet is what is advertised. It is guarded by its Advertiser.
type leaflet struct {
	is ndp.Advertisement

	// What was advertised, and must be taken back.
	prefixes []gone[ndp.Prefix]
	routes   []gone[ndp.Route]
	servers  []gone[netip.Addr]
	domains  []gone[string]
}

// gone is something that hosts may believe in until a time.
type gone[T any] struct {
	was   T
	until time.Time
}

// set makes the leaflet that of a configuration. It returns the prefixes that are newly
// gone.
func (l *leaflet) set(now time.Time, cfg Config) (lost []netip.Prefix) {
	was, is := l.is, sound(cfg)
	for _, p := range was.Prefixes {
		if !holds(is.Prefixes, p, samePrefix) {
			lost = append(lost, p.Prefix)
		}
	}
	l.prefixes = part(now, l.prefixes, was.Prefixes, is.Prefixes, samePrefix, func(p ndp.Prefix) time.Duration { return p.Valid })
	l.routes = part(now, l.routes, was.Routes, is.Routes, sameRoute, func(r ndp.Route) time.Duration { return r.Lifetime })
	l.servers = part(now, l.servers, was.DNS, is.DNS, same, func(netip.Addr) time.Duration { return was.DNSLifetime })
	l.domains = part(now, l.domains, was.Search, is.Search, same, func(string) time.Duration { return was.SearchLifetime })
	l.is = is
	return lost
}

func samePrefix(a, b ndp.Prefix) bool { return a.Prefix == b.Prefix }
func sameRoute(a, b ndp.Route) bool   { return a.Prefix == b.Prefix }
func same[T comparable](a, b T) bool  { return a == b }

func holds[T any](list []T, x T, same func(a, b T) bool) bool {
	return slices.ContainsFunc(list, func(y T) bool { return same(x, y) })
}

// sound is what may be advertised of a configuration, as RFC 4861 clause 6.2.1 bounds
// it: no prefix of link-local addresses, nothing preferred for longer than it is valid,
// a router that lasts until its next advertisement.
func sound(cfg Config) ndp.Advertisement {
	a := cfg.Advertisement
	if a.Lifetime != 0 {
		a.Lifetime = min(max(a.Lifetime, interval(cfg)), maxLifetime)
	}
	a.Prefixes, a.Routes = nil, slices.Clone(a.Routes)
	for _, p := range cfg.Advertisement.Prefixes {
		if p.Prefix = p.Prefix.Masked(); !p.Prefix.IsValid() || !p.Prefix.Addr().Is6() || p.Prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		p.Preferred = min(p.Preferred, p.Valid)
		a.Prefixes = append(a.Prefixes, p)
	}
	for i := range a.Routes {
		a.Routes[i].Prefix = a.Routes[i].Prefix.Masked()
	}
	a.DNS = slices.DeleteFunc(slices.Clone(a.DNS), func(s netip.Addr) bool { return !s.Is6() || s.Is4In6() })
	a.Search = slices.Clone(a.Search)
	return a
}

// part returns what is gone: of what was before, of what was advertised until now, and
// none of what is advertised from now on. Each has as long as it was last said to last:
// a host that hears nothing in that time has forgotten it (RFC 9096 clause 3.5).
func part[T any](now time.Time, before []gone[T], was, is []T, same func(a, b T) bool, life func(T) time.Duration) []gone[T] {
	all := slices.DeleteFunc(slices.Clone(before), func(g gone[T]) bool {
		return !g.until.After(now) || holds(is, g.was, same)
	})
	for _, x := range was {
		if !holds(is, x, same) {
			all = append(all, gone[T]{x, now.Add(life(x))})
		}
	}
	slices.SortStableFunc(all, func(a, b gone[T]) int { return b.until.Compare(a.until) })
	return all[:min(len(all), maxGone)]
}

// still returns what must still be taken back.
func still[T any](now time.Time, all []gone[T]) (list []T) {
	for _, g := range all {
		if g.until.After(now) {
			list = append(list, g.was)
		}
	}
	return list
}

// messages returns what is to be sent now.
func (l *leaflet) messages(now time.Time) [][]byte {
	is := l.is
	is.Prefixes = slices.Clone(is.Prefixes)
	for _, p := range still(now, l.prefixes) {
		p.Valid, p.Preferred = 0, 0 // RFC 9096 clause 3.5
		is.Prefixes = append(is.Prefixes, p)
	}
	is.Routes = slices.Clone(is.Routes)
	for _, r := range still(now, l.routes) {
		r.Lifetime = 0 // RFC 4191 clause 2.3
		is.Routes = append(is.Routes, r)
	}
	list := split(is)
	servers, domains := still(now, l.servers), still(now, l.domains)
	if len(servers)+len(domains) > 0 {
		list = append(list, split(l.bare(servers, domains))...)
	}
	return list
}

// bare is the leaflet with nothing but servers and domains that hosts must not use any
// more (RFC 8106 clauses 5.1 and 5.2). They need a message of their own: one has one
// lifetime for all.
func (l *leaflet) bare(servers []netip.Addr, domains []string) ndp.Advertisement {
	a := l.is
	a.Prefixes, a.Routes = nil, nil
	a.DNS, a.DNSLifetime, a.Search, a.SearchLifetime = servers, 0, domains, 0
	return a
}

// farewell is the last that hosts hear: that this is no router any more, leads nowhere,
// and answers no names. What they know of prefixes stays: the network goes on without
// its router, which may be back in a moment.
func (l *leaflet) farewell() [][]byte {
	a := l.bare(l.is.DNS, l.is.Search)
	a.Lifetime = 0
	a.Routes = slices.Clone(l.is.Routes)
	for i := range a.Routes {
		a.Routes[i].Lifetime = 0
	}
	return split(a)
}

// split makes messages that fit. Each has what belongs to the router itself, and as many
// of the options as there is room for, in order.
func split(a ndp.Advertisement) (list [][]byte) {
	if m := a.Message(); len(m) <= maxMessage {
		return [][]byte{m}
	}
	empty := a
	empty.Prefixes, empty.Routes, empty.DNS, empty.Search = nil, nil, nil, nil
	m := empty
	for _, add := range pieces(a) {
		with := m
		add(&with)
		if len(with.Message()) > maxMessage {
			list = append(list, m.Message())
			with = empty
			add(&with)
		}
		m = with
	}
	return append(list, m.Message())
}

// pieces are the options of an advertisement, one by one.
func pieces(a ndp.Advertisement) (list []func(*ndp.Advertisement)) {
	for _, p := range a.Prefixes {
		list = append(list, func(m *ndp.Advertisement) { m.Prefixes = append(slices.Clip(m.Prefixes), p) })
	}
	for _, r := range a.Routes {
		list = append(list, func(m *ndp.Advertisement) { m.Routes = append(slices.Clip(m.Routes), r) })
	}
	for _, s := range a.DNS {
		list = append(list, func(m *ndp.Advertisement) { m.DNS = append(slices.Clip(m.DNS), s) })
	}
	for _, s := range a.Search {
		list = append(list, func(m *ndp.Advertisement) { m.Search = append(slices.Clip(m.Search), s) })
	}
	return list
}
