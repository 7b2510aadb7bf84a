package config

import (
	"net/netip"
	"time"

	"github.com/weft/weft/dhcp/option"
)

func (r *report) dhcp(at place, n *Network) {
	d, gateways := &n.DHCP, n.gateways(ipv4)
	r.ranges(at.sub("range"), ipv4, d.Ranges, gateways)
	r.lease(at.sub("lease"), d.Lease)
	r.within(at.sub("max_leases"), d.MaxLeases, 0, maxLeases, " (0 means as many as the ranges hold)")
	r.router(at.sub("router"), d.Router, gateways)
	r.servers(at.sub("ntp"), ipv4, d.NTP)
	r.search(at.sub("domain_search"), d.Search, nobodysNames, "domain-search", option.MaxData)
	if d.NextServer.IsValid() {
		r.server(at.sub("next_server"), ipv4, d.NextServer)
	}
	r.header(at.sub("server_name"), d.ServerName, maxSname, "tftp-server")
	r.header(at.sub("bootfile"), d.Bootfile, maxBootfile, "bootfile-name")
	r.options(at.sub("options"), d.Options)
	r.path(at.sub("hosts_file"), d.HostsFile)
	hosts := make([]reserved, len(d.Hosts))
	for i := range d.Hosts {
		hosts[i] = d.Hosts[i].reserved()
	}
	r.reservations(at.sub("hosts"), n, hosts)
}

func (r *report) lease(at place, d time.Duration) {
	if d != InfiniteLease && (d < minLease || d > maxLease || d%time.Second != 0) {
		r.refuse(at, "%s "+badLease, FormatLease(d))
	}
}

// ranges checks each one, then those that are good against each other.
func (r *report) ranges(at place, f family, list []Range, gateways []netip.Prefix) {
	if len(list) > maxRanges {
		r.refuse(at, "has %d ranges: at most %d are possible", len(list), maxRanges)
		return
	}
	total := 0
	for i, v := range list {
		if why := badAddresses(v, f, gateways); why != "" {
			r.refuse(r.item(at, i, len(list)), "%v %s", v, why)
			continue
		}
		if total < maxLeases+1 { // a range of IPv6 may have more than an integer
			total += min(v.size(), maxLeases+1)
		}
		for _, o := range list[:i] {
			if v.overlaps(o) && badAddresses(o, f, gateways) == "" {
				r.refuse(r.item(at, i, len(list)), "%v overlaps %v: join the two, or shorten one", v, o)
				break
			}
		}
	}
	// Of IPv6 there are as many leases as max_leases lets there be, wherever they lie.
	if f == ipv4 && total > maxLeases {
		r.refuse(at, "has %d addresses in all: at most %d are possible", total, maxLeases)
	}
}

// badAddresses says why a range cannot be served, else empty.
func badAddresses(v Range, f family, gateways []netip.Prefix) string {
	in := holder(gateways, v.First)
	switch {
	case !f.has(v.First) || !f.has(v.Last):
		return "is not a range of " + f.String() + " addresses: write its first and its last one"
	case v.Last.Less(v.First):
		return "runs backwards: write it as " + Range{v.Last, v.First}.String()
	case len(gateways) == 0:
	case !in.IsValid() || !in.Contains(v.Last):
		return "is not all in " + subnetsText("the subnet", "one of the subnets", gateways) + " of the network: move it there"
	case v.isHuge():
		return "has more addresses than a subnet of 64 bits: shorten it"
	case v.has(in.Masked().Addr()):
		return "holds " + in.Masked().Addr().String() + ", " + f.subnetAddress() + ": begin behind it"
	case f == ipv4 && v.has(lastOf(in)):
		return "holds " + lastOf(in).String() + ", the broadcast address of the subnet: end before it"
	case v.has(in.Addr()):
		return "holds " + in.Addr().String() + ", the address of the gateway: write the ranges before and behind it"
	}
	return ""
}

// badClient says why an address cannot be that of a client, else empty.
func badClient(a netip.Addr, f family, gateways []netip.Prefix) string {
	in := holder(gateways, a)
	switch {
	case !f.has(a):
		return "is not an " + f.String() + " address, and " + f.dhcp() + " gives no others: write one"
	case len(gateways) == 0:
	case !in.IsValid():
		return "is not in " + subnetsText("the subnet", "any of the subnets", gateways) + " of the network: choose one that is"
	case a == in.Masked().Addr():
		return "is " + f.subnetAddress() + ": choose another one"
	case isBroadcast(a, in):
		return "is the broadcast address of the subnet: choose another one"
	case a == in.Addr():
		return "is the address of the gateway: choose another one"
	case isReserved(a, in):
		return "is one of those that are kept for anycast (RFC 2526): choose another one"
	}
	return ""
}

func (r *report) router(at place, s string, gateways []netip.Prefix) {
	if s == RouterAuto || s == RouterNone {
		return
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		r.refuse(at, "%s is neither %s nor %s nor an address: write one of the three", quoted(s), RouterAuto, RouterNone)
		return
	}
	if why := badClient(a, ipv4, gateways); why != "" && holder(gateways, a).Addr() != a {
		r.refuse(at, "%v %s", a, why)
	}
}

func (r *report) servers(at place, f family, list []netip.Addr) {
	for i, a := range list {
		r.server(r.item(at, i, len(list)), f, a)
	}
	if len(list) > maxNTP {
		r.refuse(at, "has %d addresses: at most %d are possible", len(list), maxNTP)
	}
}

// server checks the address of one that clients are told of.
func (r *report) server(at place, f family, a netip.Addr) {
	if !f.has(a) || !isHostAddress(a) {
		r.refuse(at, "%v is not an %v address of a host: write one such as %s", a, f, f.host())
	}
}

// header checks a text that has a field of its own in every message.
func (r *report) header(at place, s string, most int, name string) {
	switch {
	case len(s) > most:
		r.refuse(at, "has %d bytes, and its field takes %d: shorten it, or write it as %s in options", len(s), most, name)
	case !printable(s):
		r.refuse(at, "%s has characters that do not print: write it without them", quoted(s))
	}
}

func (r *report) options(at place, list []DHCPOption) {
	seen := map[uint8]string{}
	for _, o := range list {
		in := at.entry(o.Key)
		v, err := option.Parse(o.Key, o.Value)
		if err != nil {
			r.refuse(in, "%v%s", err, nearOption(o.Key))
			continue
		}
		if why := badOption(v, o.Value); why != "" {
			r.refuse(in, "%s", why)
			continue
		}
		if other, twice := seen[v.Code]; twice {
			r.refuse(in, "is option %d, as %s is: remove one of the two", v.Code, quoted(other))
			continue
		}
		seen[v.Code] = o.Key
	}
}
