package config

import (
	"net/netip"
	"strconv"

	"github.com/weft/weft/dhcp/option"
)

func (r *report) dhcp6(at place, n *Network) {
	d := &n.DHCP6
	for i, v := range d.Ranges[:min(len(d.Ranges), maxRanges)] {
		r.outsideULA(r.item(at.sub("range"), i, len(d.Ranges)), n, v.First)
	}
	r.ranges(at.sub("range"), ipv6, d.Ranges, n.gateways(ipv6))
	r.lease(at.sub("lease"), d.Lease)
	r.within(at.sub("max_leases"), d.MaxLeases, 0, maxLeases, " (0 means as many as there can be)")
	if in := at.sub("stateless"); d.Stateless && (len(d.Ranges) > 0 || len(d.Hosts) > 0 || len(d.Delegate) > 0) {
		r.refuse(in, "is true, so nobody gets an address: remove range, hosts and delegate, or this, as who has an address is answered anyway")
	}
	r.servers(at.sub("ntp"), ipv6, d.NTP)
	r.search(at.sub("domain_search"), d.Search, hostNames, string(names6), option.MaxData)
	r.options6(at.sub("options"), d.Options)
	r.delegate(at.sub("delegate"), n)
	hosts := make([]reserved, len(d.Hosts))
	for i := range d.Hosts {
		hosts[i] = d.Hosts[i].reserved()
	}
	r.reservations(at.sub("hosts"), n, hosts)
}

// options6 checks each one, and that a message has room for all of them.
func (r *report) options6(at place, list []DHCP6Option) {
	seen, total := map[uint16]string{}, 0
	for _, o := range list {
		in := at.entry(o.Key)
		code, data, err := parseOption6(o.Key, o.Value)
		if err != nil {
			r.refuse(in, "%v", err)
			continue
		}
		if other, twice := seen[code]; twice {
			r.refuse(in, "is option %d, as %s is: remove one of the two", code, quoted(other))
			continue
		}
		seen[code] = o.Key
		total += len(data)
	}
	if total > maxOptions6 {
		r.refuse(at, "has %d bytes in all: at most %d fit into a message", total, maxOptions6)
	}
}

// delegate checks the pools of prefixes for others.
func (r *report) delegate(at place, n *Network) {
	list := n.DHCP6.Delegate
	if len(list) > maxPools {
		r.refuse(at, "has %d pools: at most %d are possible", len(list), maxPools)
		return
	}
	uplink := n.Uplink.Prefix6()
	for i, d := range list {
		in := at.index(i)
		prefix := in.sub("prefix")
		if why := badDelegate(d.Prefix); why != "" {
			r.refuse(prefix, "%s", why)
			continue
		}
		switch {
		case d.Length == 0 && !r.refused[in.sub("length")]:
			r.refuse(in.sub("length"), "is missing: write that of the prefixes which are handed out, such as %d", min(max(d.Prefix.Bits(), 56), slaacSubnet))
		case d.Length != 0 && (d.Length < d.Prefix.Bits() || d.Length > slaacSubnet):
			r.refuse(in.sub("length"), "%d is out of range: give %s", d.Length, fromTo(d.Prefix.Bits(), slaacSubnet))
		}
		if o := overlapping(n.gateways(ipv6), d.Prefix); o.IsValid() {
			r.refuse(prefix, "%v overlaps the network's own subnet %v: choose another one", d.Prefix, o.Masked())
		} else if uplink.IsValid() && uplink.Overlaps(d.Prefix) {
			r.refuse(prefix, "%v overlaps the subnet of the uplink, %v: choose another one", d.Prefix, uplink.Masked())
		}
		for _, o := range list[:i] {
			if o.Prefix.IsValid() && o.Prefix.Overlaps(d.Prefix) {
				r.refuse(prefix, "%v overlaps the pool %v: join the two, or choose another one", d.Prefix, o.Prefix)
				break
			}
		}
	}
}

func fromTo(first, last int) string {
	if first == last {
		return strconv.Itoa(first)
	}
	return strconv.Itoa(first) + "-" + strconv.Itoa(last)
}

// badDelegate says why a prefix cannot be handed out in parts, else empty.
func badDelegate(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "is missing: write what is handed out in parts, such as 2001:db8:100::/48"
	case !ipv6.has(p.Addr()):
		return p.String() + " is not of IPv6: write such a prefix, as 2001:db8:100::/48"
	case p != p.Masked():
		return p.String() + " has bits behind its prefix length: write " + p.Masked().String()
	case !isHostAddress(p.Addr()):
		return p.String() + " is neither global (2000::/3) nor unique local (fc00::/7): write another one"
	case p.Bits() < minSubnet6 || p.Bits() > slaacSubnet:
		return p.String() + " has no room for networks of others: give a prefix length of 16-64"
	}
	return ""
}

// delegated returns the good pools.
func (n *Network) delegated() []netip.Prefix {
	var out []netip.Prefix
	for _, d := range n.DHCP6.Delegate {
		if badDelegate(d.Prefix) == "" {
			out = append(out, d.Prefix)
		}
	}
	return out
}
