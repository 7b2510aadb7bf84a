package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/dhcp/option"
)

// ra checks what a network advertises. The lengths of its subnets are checked with
// its addresses.
func (r *report) ra(at place, n *Network) {
	a := &n.RA
	interval := at.sub("interval")
	r.seconds(interval, a.Interval, minInterval, maxInterval, "")
	if !r.refused[interval] {
		r.lifetimes(at, a)
	}
	r.word(at.sub("preference"), a.Preference, PreferenceLow, PreferenceMedium, PreferenceHigh)
	r.word(at.sub("managed"), a.Managed, FlagAuto, FlagTrue, FlagFalse)
	r.word(at.sub("other"), a.Other, FlagAuto, FlagTrue, FlagFalse)
	mtu := place{network: at.network, key: "mtu"}
	if a.MTU != MTUAuto && a.MTU != MTUNone && n.MTU >= minMTU6 && !r.refused[mtu] && (a.MTU < minMTU6 || a.MTU > n.MTU) {
		r.refuse(at.sub("mtu"), "%d is out of range: give %d-%d (the mtu of the network), or auto, or none", a.MTU, minMTU6, n.MTU)
	}
	r.within(at.sub("hop_limit"), a.HopLimit, 0, 255, " (0 leaves it to the guests)")
	r.rdnss(at.sub("rdnss"), a.RDNSS)
	r.dnssl(at.sub("dnssl"), a.DNSSL)
	r.advertised(at.sub("routes"), n)
}

// lifetimes checks those that hold for longer than an interval, so that what an
// advertisement said does not end before the next one (RFC 4861 section 6.2.1).
func (r *report) lifetimes(at place, a *RA) {
	even := a.Lifetime%time.Second == 0
	if a.Lifetime > 0 && (a.Lifetime < a.Interval || a.Lifetime > maxLifetime*time.Second || !even) {
		r.refuse(at.sub("lifetime"), "%v is out of range: give %s (here %v), or auto", a.Lifetime, routerLifetime, a.Interval)
	}
	valid, preferred := at.sub("valid"), at.sub("preferred")
	bad := func(d time.Duration) bool {
		return d != InfiniteLease && (d < a.Interval || d > maxLease || d%time.Second != 0)
	}
	const give = " is out of range: give the interval up to 365d in whole seconds (here from %v on), or infinite"
	if bad(a.Valid) {
		r.refuse(valid, "%s"+give, formatLifetime(a.Valid), a.Interval)
	}
	switch {
	case a.Preferred != 0 && bad(a.Preferred):
		r.refuse(preferred, "%s"+give+", or 0s", formatLifetime(a.Preferred), a.Interval)
	case a.Preferred > a.Valid && !r.refused[valid]:
		r.refuse(preferred, "%s is above valid, %s, when the address is gone: lower it, or raise that", formatLifetime(a.Preferred), formatLifetime(a.Valid))
	}
}

func (r *report) rdnss(at place, list []netip.Addr) {
	if len(list) > maxRDNSS {
		r.refuse(at, "has %d addresses: at most %d are possible", len(list), maxRDNSS)
		return
	}
	for i, a := range list {
		in := r.item(at, i, len(list))
		switch {
		case !ipv6.has(a) || !isHostAddress(a) && !a.IsLinkLocalUnicast():
			r.refuse(in, "%v is not an IPv6 address of a host: write one such as %s", a, ipv6.host())
		case slices.Index(list, a) != i:
			r.refuse(in, "%v is there already: write it once", a)
		}
	}
}

func (r *report) dnssl(at place, list []string) {
	if len(list) > maxDNSSL {
		r.refuse(at, "has %d domains: at most %d are possible", len(list), maxDNSSL)
		return
	}
	r.search(at, list, hostNames, string(names6), maxDNSSLBytes)
}

// advertised checks the routes that lead here.
func (r *report) advertised(at place, n *Network) {
	list := n.RA.Routes
	if len(list) > maxAdvertised {
		r.refuse(at, "has %d routes: at most %d are possible", len(list), maxAdvertised)
		return
	}
	for i, p := range list {
		in := r.item(at, i, len(list))
		switch why := badSubnet(p); {
		case why != "":
			r.refuse(in, "%s", why)
		case !p.Addr().Is6():
			r.refuse(in, "%v is of IPv4, and advertisements are of IPv6: write a subnet of that", p)
		case p.Bits() == 0:
			r.refuse(in, "%v is what lifetime and preference are for: remove it here", p)
		case slices.Index(list, p) != i:
			r.refuse(in, "%v is there already: write it once", p)
		case slices.ContainsFunc(n.gateways(ipv6), func(g netip.Prefix) bool { return g.Masked() == p }):
			r.refuse(in, "%v is the network's own subnet, which is on the link: remove it", p)
		}
	}
}

// search checks a list of domains that clients append to a name, in the form of an
// option of DHCP, which has that many bytes at most.
func (r *report) search(at place, list []string, kind nameKind, name string, most int) {
	good := true
	for i, s := range list {
		if why := badName(s, kind); why != "" {
			r.refuse(r.item(at, i, len(list)), "%s %s", quoted(s), why)
			good = false
		}
	}
	if !good || len(list) == 0 {
		return
	}
	o, err := option.Parse(name, strings.Join(list, ","))
	if err == nil && len(o.Data) > most {
		err = fmt.Errorf("has %d bytes: at most %d fit into a message", len(o.Data), most)
	}
	if err != nil {
		r.refuse(at, "%v", err)
	}
}
