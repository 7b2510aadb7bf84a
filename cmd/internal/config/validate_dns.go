package config

import (
	"net/netip"
	"slices"
	"strings"
)

// kinds of names, for badName.
type nameKind uint8

const (
	hostNames    nameKind = iota // RFC 1123 section 2.1, and inner underscores, which machines have anyway
	nobodysNames                 // with underscores at the beginning too, as services have them
)

// badName says why s, in lower case, is no name of DNS, else empty.
func badName(s string, kind nameKind) string {
	if s == "" || len(s) > maxDNSName {
		return "is not a name: write one of 1-253 characters"
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return "is an address, where a name belongs"
	}
	for label := range strings.SplitSeq(s, ".") {
		if kind == nobodysNames {
			label = strings.ReplaceAll(label, "_", "x")
		}
		if badLabel(label) != "" {
			return "is not a name: it has labels of 1-63 letters, digits and inner hyphens and underscores with dots between"
		}
	}
	return ""
}

// badLabel says why s is no name of a host without a domain, else empty.
func badLabel(s string) string {
	bad := strings.ContainsFunc(s, func(c rune) bool { return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') })
	switch {
	case strings.Contains(s, "."):
		return "has a dot: write the name alone, dns.domain is appended to it"
	case s == "", len(s) > maxLabel, bad, strings.ContainsAny(s[:1]+s[len(s)-1:], "-_"):
		return "is not a name of a host: give 1-63 letters, digits and inner hyphens and underscores"
	}
	return ""
}

func (r *report) dns(at place, n *Network) {
	d := &n.DNS
	if why := badLabel(d.Name); why != "" {
		r.refuse(at.sub("name"), "%s %s", quoted(d.Name), why)
	}
	if why := badName(d.Domain, nobodysNames); d.Domain != "" && why != "" {
		r.refuse(at.sub("domain"), "%s %s", quoted(d.Domain), why)
	} else if len(d.Domain) > maxDomain {
		r.refuse(at.sub("domain"), "has %d characters, and names stand before it: at most %d are possible", len(d.Domain), maxDomain)
	}
	r.upstreams(at.sub("upstream"), d.Upstream, "")
	r.within(at.sub("cache"), d.Cache, 0, maxCache, " answers (0 means none)")
	r.path(at.sub("hosts_file"), d.HostsFile)
	r.domains(at.sub("domains"), d.Domains)
	r.dnsHosts(at.sub("hosts"), d)
	r.texts(at.sub("txt"), d.TXT)
	r.services(at.sub("srv"), d.SRV)
}

// upstreams checks the servers of a domain, or of all other names.
func (r *report) upstreams(at place, list []string, domain string) {
	seen := map[netip.AddrPort]bool{}
	for i, s := range list {
		in := r.item(at, i, len(list))
		a, err := parseUpstream(s)
		switch {
		case s == UpstreamNone && domain != "":
			r.refuse(in, "is for upstream only: write [] for a domain whose names are known here alone")
		case s == UpstreamNone && len(list) > 1:
			r.refuse(in, "stands beside others: write it alone, or remove it")
		case s == UpstreamNone:
		case s == UpstreamHost && slices.Index(list, s) != i, s != UpstreamHost && seen[a]:
			r.refuse(in, "%s is there already: write it once", quoted(s))
		case s == UpstreamHost:
		case err != nil:
			r.refuse(in, "%s is not a server: write %s, %s, an address such as 192.0.2.53, or one with its port, 192.0.2.53:5353",
				quoted(s), UpstreamHost, UpstreamNone)
		case a.Addr().IsUnspecified() || a.Addr().IsMulticast() || a.Port() == 0:
			r.refuse(in, "%s is not an address of one server", quoted(s))
		default:
			seen[a] = true
		}
	}
}

const dnsPort = 53

// parseUpstream reads an address with or without a port.
func parseUpstream(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a.Unmap(), dnsPort), nil
	}
	a, err := netip.ParseAddrPort(s)
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), err
}

// loops refuses to forward to a gateway whose own resolver answers there: it,
// or one that asks it, would ask itself. Loops by other ways show at run time.
func (r *report) loops(c *Config) {
	gateways := map[netip.AddrPort]string{}
	for i := range c.Networks {
		n := &c.Networks[i]
		for _, a := range n.Addresses {
			if n.DNS.Enabled && a.IsValid() {
				gateways[netip.AddrPortFrom(a.Addr(), dnsPort)] = n.Name
			}
		}
	}
	check := func(at place, list []string) {
		for i, s := range list {
			if a, err := parseUpstream(s); err == nil && gateways[a] != "" {
				r.refuse(r.item(at, i, len(list)), "%s is the gateway of network %s, where weft itself answers: that is a loop, name another server",
					quoted(s), quoted(gateways[a]))
			}
		}
	}
	for i := range c.Networks {
		n := &c.Networks[i]
		at := place{network: n.Name, key: "dns"}
		check(at.sub("upstream"), n.DNS.Upstream)
		for _, d := range n.DNS.Domains {
			check(at.sub("domains").entry(d.Name), d.Upstream)
		}
	}
}

func (r *report) domains(at place, list []DNSDomain) {
	seen := map[string]bool{}
	for _, d := range list {
		in := at.entry(d.Name)
		r.recordName(in, d.Name, nobodysNames, seen)
		r.upstreams(in, d.Upstream, d.Name)
	}
}

// recordName checks a name that a map has once.
func (r *report) recordName(at place, s string, kind nameKind, seen map[string]bool) {
	if why := badName(s, kind); why != "" {
		r.refuse(at, "%s %s", quoted(s), why)
	} else if seen[s] {
		r.refuse(at, "is there already: remove one of them")
	}
	seen[s] = true
}

func (r *report) dnsHosts(at place, d *DNS) {
	seen := map[string]bool{}
	for _, h := range d.Hosts {
		in := at.entry(h.Name)
		r.recordName(in, h.Name, hostNames, seen)
		if h.Name == d.Name || d.Domain != "" && h.Name == d.Name+"."+d.Domain {
			r.refuse(in, "is the name of the gateway: choose another one, or another dns.name")
		}
		if len(h.Addresses) == 0 || len(h.Addresses) > maxRecords {
			r.refuse(in, "has %d addresses: give 1-%d", len(h.Addresses), maxRecords)
			continue
		}
		for i, a := range h.Addresses {
			switch {
			case !a.IsValid() || a.Is4In6() || a.Zone() != "":
				r.refuse(r.item(in, i, len(h.Addresses)), "%v is not an address: write one such as 192.0.2.1", a)
			case slices.Index(h.Addresses, a) != i:
				r.refuse(r.item(in, i, len(h.Addresses)), "%v is there already: write it once", a)
			}
		}
	}
}

func (r *report) texts(at place, list []DNSText) {
	seen := map[string]bool{}
	for _, t := range list {
		in := at.entry(t.Name)
		r.recordName(in, t.Name, nobodysNames, seen)
		if len(t.Values) == 0 || len(t.Values) > maxRecords {
			r.refuse(in, "has %d texts: give 1-%d", len(t.Values), maxRecords)
		}
		total := 0
		for i, v := range t.Values {
			total += len(v)
			if v == "" || len(v) > maxText {
				r.refuse(r.item(in, i, len(t.Values)), "has %d bytes: give 1-%d", len(v), maxText)
			}
		}
		if total > maxTexts {
			r.refuse(in, "has %d bytes in all: at most %d are possible", total, maxTexts)
		}
	}
}

func (r *report) services(at place, list []DNSService) {
	type service struct {
		name, target string
		port         int
	}
	seen, of := map[service]bool{}, map[string]int{}
	for i, s := range list {
		in := at.index(i)
		r.serviceName(in.sub("name"), s.Name)
		if of[s.Name]++; of[s.Name] == maxRecords+1 {
			r.refuse(in, "%s is there more than %d times: remove some", quoted(s.Name), maxRecords)
		}
		switch why := badName(s.Target, hostNames); {
		case s.Target == "":
			r.refuse(in.sub("target"), "is missing: write the name of the host that has the service")
		case why != "":
			r.refuse(in.sub("target"), "%s %s", quoted(s.Target), why)
		}
		r.within(in.sub("port"), s.Port, 1, 65535, "")
		r.within(in.sub("priority"), s.Priority, 0, 65535, "")
		r.within(in.sub("weight"), s.Weight, 0, 65535, "")
		if k := (service{s.Name, s.Target, s.Port}); seen[k] {
			r.refuse(in, "%s at %s port %d is there already: write it once", quoted(s.Name), quoted(s.Target), s.Port)
		} else {
			seen[k] = true
		}
	}
}

// serviceName checks one as RFC 2782 makes it, _service._protocol.domain.
func (r *report) serviceName(at place, s string) {
	const form = "such as _ldap._tcp.lab"
	labels := strings.SplitN(s, ".", 3)
	switch why := badName(s, nobodysNames); {
	case s == "":
		r.refuse(at, "is missing: write that of the service, "+form)
	case why != "":
		r.refuse(at, "%s %s", quoted(s), why)
	case len(labels) < 2 || labels[0][0] != '_' || labels[1][0] != '_':
		r.refuse(at, "%s is not a name of a service: write it with the protocol, "+form, quoted(s))
	}
}
