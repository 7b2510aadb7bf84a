package config

import (
	"net/netip"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/weft/weft/dataplane/frame"
)

func raKeys() []key[RA] {
	return []key[RA]{
		value("enabled", truths(), func(a *RA) *bool { return &a.Enabled }),
		value("interval", durations(), func(a *RA) *time.Duration { return &a.Interval }),
		value("lifetime", routerLifetimes(), func(a *RA) *time.Duration { return &a.Lifetime }),
		value("preference", words(), func(a *RA) *string { return &a.Preference }),
		value("managed", words(), func(a *RA) *string { return &a.Managed }),
		value("other", words(), func(a *RA) *string { return &a.Other }),
		value("mtu", advertisedMTUs(), func(a *RA) *int { return &a.MTU }),
		value("hop_limit", integers(), func(a *RA) *int { return &a.HopLimit }),
		value("valid", lifetimes(), func(a *RA) *time.Duration { return &a.Valid }),
		value("preferred", lifetimes(), func(a *RA) *time.Duration { return &a.Preferred }),
		value("autonomous", truths(), func(a *RA) *bool { return &a.Autonomous }),
		orAuto("rdnss", addresses(), func(a *RA) *[]netip.Addr { return &a.RDNSS }, func(a *RA) *bool { return &a.RDNSSAuto }),
		orAuto("dnssl", domainNames(), func(a *RA) *[]string { return &a.DNSSL }, func(a *RA) *bool { return &a.DNSSLAuto }),
		list("routes", subnets(), func(a *RA) *[]netip.Prefix { return &a.Routes }),
	}
}

func dhcp6Keys() []key[DHCP6] {
	return []key[DHCP6]{
		unpaired(filled(list("range", ranges(), func(d *DHCP6) *[]Range { return &d.Ranges })), func(d *DHCP6) []Range { return d.Ranges }),
		value("lease", leases(), func(d *DHCP6) *time.Duration { return &d.Lease }),
		value("max_leases", integers(), func(d *DHCP6) *int { return &d.MaxLeases }),
		value("rapid_commit", truths(), func(d *DHCP6) *bool { return &d.Rapid }),
		value("stateless", truths(), func(d *DHCP6) *bool { return &d.Stateless }),
		list("ntp", addresses(), func(d *DHCP6) *[]netip.Addr { return &d.NTP }),
		list("domain_search", domainNames(), func(d *DHCP6) *[]string { return &d.Search }),
		named("options", optionKeys(), joined("", labels(), func(o *DHCP6Option) *string { return &o.Value }),
			func(o *DHCP6Option) *string { return &o.Key }, func(d *DHCP6) *[]DHCP6Option { return &d.Options }),
		table("delegate", delegateKeys(), func(d *DHCP6) *[]Delegate { return &d.Delegate }),
		table("hosts", dhcp6HostKeys(), func(d *DHCP6) *[]DHCP6Host { return &d.Hosts }),
	}
}

func delegateKeys() []key[Delegate] {
	return []key[Delegate]{
		terse(value("prefix", subnets(), func(d *Delegate) *netip.Prefix { return &d.Prefix })),
		value("length", integers(), func(d *Delegate) *int { return &d.Length }),
	}
}

func dhcp6HostKeys() []key[DHCP6Host] {
	return []key[DHCP6Host]{
		value("duid", duids(), func(h *DHCP6Host) *[]byte { return &h.DUID }),
		terse(value("mac", macs(), func(h *DHCP6Host) *frame.MAC { return &h.MAC })),
		terse(value("address", addresses(), func(h *DHCP6Host) *netip.Addr { return &h.Address })),
		terse(value("name", domainNames(), func(h *DHCP6Host) *string { return &h.Name })),
		value("lease", leases(), func(h *DHCP6Host) *time.Duration { return &h.Lease }),
		value("ignore", onlyTrue(), func(h *DHCP6Host) *bool { return &h.Ignore }),
	}
}

func guardKeys() []key[Guard] {
	return []key[Guard]{
		value("ra", truths(), func(g *Guard) *bool { return &g.RA }),
		value("dhcp", truths(), func(g *Guard) *bool { return &g.DHCP }),
	}
}

// inboundKey has one word for both families, or a map with one for each.
func inboundKey() key[Network] {
	k := mapping("inbound", []key[Inbound]{
		value("ipv4", words(), func(i *Inbound) *string { return &i.IPv4 }),
		value("ipv6", words(), func(i *Inbound) *string { return &i.IPv6 }),
	}, func(n *Network) *Inbound { return &n.Inbound })
	decode := k.decode
	k.decode = func(r *report, n ast.Node, at place, into, def *Network) {
		if _, ok := n.(ast.MapNode); ok {
			decode(r, n, at, into, def)
			return
		}
		var word string
		if decodeValue(r, n, at, noError, &word); word != "" {
			into.Inbound = Inbound{word, word}
		}
	}
	return k
}

// asking is a key that asks for an IPv6 address where the network has none: that a
// file has it says that it is meant. A patch asks by what it changes.
func asking(means func(n *Network) bool, k key[Network]) key[Network] {
	decode := k.decode
	k.decode = func(r *report, n ast.Node, at place, into, def *Network) {
		decode(r, n, at, into, def)
		into.ULA = into.ULA || def == nil && means(into)
	}
	return k
}

// orAuto is a list that has the word auto in its place, and none for an empty one.
func orAuto[T, V any](name string, f form[V], field func(*T) *[]V, auto func(*T) *bool) key[T] {
	k := list(name, f, field)
	decode, write := k.decode, k.write
	k.decode = func(r *report, n ast.Node, at place, into, def *T) {
		word := ""
		if s, ok := n.(*ast.StringNode); ok {
			word = s.Value
		}
		*auto(into), *field(into) = word == autoText, nil
		if word != autoText && word != noneText {
			decode(r, n, at, into, def)
		}
	}
	k.write = func(from *T) output {
		switch {
		case *auto(from):
			return words().output(autoText)
		case len(*field(from)) == 0:
			return words().output(noneText)
		}
		return write(from)
	}
	k.reset = func(into, def *T) { *auto(into), *field(into) = *auto(def), *field(def) }
	return k
}

func hasIPv4(n *Network) bool { return len(n.addressesOf(ipv4)) > 0 }

func hasIPv6(n *Network) bool { return len(n.addressesOf(ipv6)) > 0 }
