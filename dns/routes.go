package dns

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

const port = 53

// group is where the queries of a domain go.
type group struct {
	domain    string // as it is written; empty for what belongs to no other
	labels    int
	local     bool // nowhere: what is not known here does not exist
	upstreams []*upstream
	good      atomic.Int32 // the upstream that answered last
}

// rest reports whether a group is for what belongs to no domain.
func (g *group) rest() bool { return g.domain == "" }

// same reports whether two groups ask the same servers in the same order.
func (g *group) same(o *group) bool {
	return g.domain == o.domain && g.local == o.local && slices.Equal(g.upstreams, o.upstreams)
}

// routes finds the group of a name. It does not change once it is built.
type routes struct {
	domains map[string]*group // by name in wire form
	depth   int               // labels of the longest of them
	rest    *group
}

// find returns the group of the longest domain that the name is in.
func (r *routes) find(q *query) *group {
	for i := max(0, q.labels-r.depth); i < q.labels; i++ {
		if g := r.domains[string(q.name[q.starts[i]:q.length])]; g != nil {
			return g
		}
	}
	return r.rest
}

// isLocal reports whether a name is inside a local-only domain.
func (r *routes) isLocal(name string) bool {
	for ok := true; ok; name, ok = parent(name) {
		if g := r.domains[name]; g != nil {
			return g.local
		}
	}
	return false
}

// all returns the groups, that of the rest first.
func (r *routes) all() []*group {
	groups := slices.SortedFunc(maps.Values(r.domains), func(a, b *group) int {
		return strings.Compare(a.domain, b.domain)
	})
	return append([]*group{r.rest}, groups...)
}

// local-only without being told so: the names that no server outside knows
// (RFC 6761 clauses 6.3 and 6.4, RFC 7686 clause 2).
var specialDomains = [...]string{"invalid", "localhost", "onion"}

// buildRoutes makes the routes of a configuration. A group that asks the same
// servers as its predecessor stays the same one, and with it what is cached of
// it; changed says whether any did not.
func buildRoutes(cfg *Config, host []netip.AddrPort, old *routes, up *upstreams, log *slog.Logger) (next *routes, changed bool) {
	if old == nil {
		old = &routes{}
	}
	next = &routes{domains: map[string]*group{}}
	settle := func(g, was *group, list []string) *group {
		for _, addr := range resolveUpstreams(cfg, list, host, log) {
			g.upstreams = append(g.upstreams, up.get(addr))
		}
		if was != nil && g.same(was) {
			return was
		}
		changed = true
		return g
	}
	next.rest = settle(&group{}, old.rest, cfg.Upstream)
	for key, d := range domainLists(cfg, log) {
		g := &group{domain: d.name, labels: countLabels(key), local: len(d.list) == 0}
		next.domains[key] = settle(g, old.domains[key], d.list)
		next.depth = max(next.depth, g.labels)
	}
	return next, changed || len(old.domains) != len(next.domains)
}

// domainList is a domain as it is written, and its upstreams.
type domainList struct {
	name string
	list []string
}

// domainLists are the domains of a configuration, with those that go without
// saying, by name in wire form. What is said comes before what goes without.
func domainLists(cfg *Config, log *slog.Logger) map[string]domainList {
	out := map[string]domainList{}
	add := func(name string, list []string) {
		key, ok := wireName(name)
		if !ok || key == rootName {
			log.Warn(fmt.Sprintf("%q cannot be a domain: give labels of 1 to 63 letters, digits and hyphens, with dots between them", name))
			return
		}
		out[key] = domainList{name, list}
	}
	for _, name := range specialDomains {
		add(name, nil)
	}
	if cfg.Domain != "" {
		add(cfg.Domain, nil)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Domains)) {
		add(name, cfg.Domains[name])
	}
	return out
}

// resolveUpstreams turns what the configuration says into addresses, each once.
func resolveUpstreams(cfg *Config, list []string, host []netip.AddrPort, log *slog.Logger) []netip.AddrPort {
	var out []netip.AddrPort
	add := func(addr netip.AddrPort) {
		own := func(p netip.Prefix) bool { return p.Addr() == addr.Addr() && addr.Port() == port }
		switch {
		case slices.ContainsFunc(cfg.Gateway, own):
			log.Warn(fmt.Sprintf("upstream %v is this resolver itself: left out", addr))
		case !slices.Contains(out, addr):
			out = append(out, addr)
		}
	}
	for _, text := range list {
		if text == "host" {
			for _, addr := range host {
				add(addr)
			}
			continue
		}
		addr, err := parseUpstream(text)
		if err != nil {
			log.Warn(err.Error())
			continue
		}
		add(addr)
	}
	return out
}

// parseUpstream reads ADDRESS or ADDRESS:PORT.
func parseUpstream(text string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(text)
	if err == nil {
		return netip.AddrPortFrom(addr.Unmap(), port), nil
	}
	both, err := netip.ParseAddrPort(text)
	if err != nil || both.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("upstream %q is no address: give one, as 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:53", text)
	}
	return netip.AddrPortFrom(both.Addr().Unmap(), both.Port()), nil
}
