package config

import (
	"net/netip"
	"strings"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/option"
)

func (r *report) dhcp(at place, n *Network) {
	d, gateway := &n.DHCP, n.Gateway()
	if badGateway(gateway) != "" {
		gateway = netip.Prefix{} // refused for itself: nothing can be held against it
	}
	r.ranges(at.sub("range"), d.Ranges, gateway)
	r.lease(at.sub("lease"), d.Lease)
	r.within(at.sub("max_leases"), d.MaxLeases, 0, maxLeases, " (0 means as many as the ranges hold)")
	r.router(at.sub("router"), d.Router, gateway)
	for i, a := range d.NTP {
		r.server(r.item(at.sub("ntp"), i, len(d.NTP)), a)
	}
	if len(d.NTP) > maxNTP {
		r.refuse(at.sub("ntp"), "has %d addresses: at most %d are possible", len(d.NTP), maxNTP)
	}
	r.search(at.sub("domain_search"), d.Search)
	if d.NextServer.IsValid() {
		r.server(at.sub("next_server"), d.NextServer)
	}
	r.header(at.sub("server_name"), d.ServerName, maxSname, "tftp-server")
	r.header(at.sub("bootfile"), d.Bootfile, maxBootfile, "bootfile-name")
	r.options(at.sub("options"), d.Options)
	r.path(at.sub("hosts_file"), d.HostsFile)
	r.reservations(at.sub("hosts"), n, gateway)
}

func (r *report) lease(at place, d time.Duration) {
	if d != InfiniteLease && (d < minLease || d > maxLease || d%time.Second != 0) {
		r.refuse(at, "%s "+badLease, FormatLease(d))
	}
}

// ranges checks each one, then those that are good against each other.
func (r *report) ranges(at place, list []Range, gateway netip.Prefix) {
	if len(list) > maxRanges {
		r.refuse(at, "has %d ranges: at most %d are possible", len(list), maxRanges)
		return
	}
	total := 0
	for i, v := range list {
		if why := badAddresses(v, gateway); why != "" {
			r.refuse(r.item(at, i, len(list)), "%v %s", v, why)
			continue
		}
		total += v.size()
		for _, o := range list[:i] {
			if v.overlaps(o) && badAddresses(o, gateway) == "" {
				r.refuse(r.item(at, i, len(list)), "%v overlaps %v: join the two, or shorten one", v, o)
				break
			}
		}
	}
	if total > maxLeases {
		r.refuse(at, "has %d addresses in all: at most %d are possible", total, maxLeases)
	}
}

// size returns the number of addresses in a good range.
func (r Range) size() int { return int(number(r.Last)) - int(number(r.First)) + 1 }

func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func (r Range) has(a netip.Addr) bool { return r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0 }

// badAddresses says why a range cannot be served, else empty.
func badAddresses(v Range, gateway netip.Prefix) string {
	subnet := gateway.Masked()
	switch {
	case !v.First.Is4() || !v.Last.Is4():
		return "is not a range of IPv4 addresses: write its first and its last one"
	case v.Last.Less(v.First):
		return "runs backwards: write it as " + Range{v.Last, v.First}.String()
	case !gateway.IsValid():
	case !subnet.Contains(v.First) || !subnet.Contains(v.Last):
		return "is not all in the subnet " + subnet.String() + " of the network: move it there"
	case v.has(subnet.Addr()):
		return "holds " + subnet.Addr().String() + ", the address of the whole subnet: begin behind it"
	case v.has(broadcast(subnet)):
		return "holds " + broadcast(subnet).String() + ", the broadcast address of the subnet: end before it"
	case v.has(gateway.Addr()):
		return "holds " + gateway.Addr().String() + ", the address of the gateway: write the ranges before and behind it"
	}
	return ""
}

// badClient says why an address cannot be that of a client, else empty.
func badClient(a netip.Addr, gateway netip.Prefix) string {
	subnet := gateway.Masked()
	switch {
	case !a.Is4():
		return "is not an IPv4 address, and DHCP gives no others: write one"
	case !gateway.IsValid():
	case !subnet.Contains(a):
		return "is not in the subnet " + subnet.String() + " of the network: choose one that is"
	case a == subnet.Addr():
		return "is the address of the whole subnet: choose another one"
	case a == broadcast(subnet):
		return "is the broadcast address of the subnet: choose another one"
	case a == gateway.Addr():
		return "is the address of the gateway: choose another one"
	}
	return ""
}

func (r *report) router(at place, s string, gateway netip.Prefix) {
	if s == RouterAuto || s == RouterNone {
		return
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		r.refuse(at, "%s is neither %s nor %s nor an address: write one of the three", quoted(s), RouterAuto, RouterNone)
		return
	}
	if why := badClient(a, gateway); why != "" && a != gateway.Addr() {
		r.refuse(at, "%v %s", a, why)
	}
}

// server checks the address of one that clients are told of.
func (r *report) server(at place, a netip.Addr) {
	if !a.Is4() || !isHostAddress(a) {
		r.refuse(at, "%v is not an IPv4 address of a host: write one such as 192.0.2.1", a)
	}
}

func (r *report) search(at place, list []string) {
	good := true
	for i, s := range list {
		if why := badName(s, nobodysNames); why != "" {
			r.refuse(r.item(at, i, len(list)), "%s %s", quoted(s), why)
			good = false
		}
	}
	if !good || len(list) == 0 {
		return
	}
	if _, err := option.Parse("domain-search", strings.Join(list, ",")); err != nil {
		r.refuse(at, "%v", err)
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

func (r *report) reservations(at place, n *Network, gateway netip.Prefix) {
	seen := map[string]int{}
	unique := func(in place, i int, what, value string) {
		if first, twice := seen[what+value]; twice {
			r.refuse(in, "%s is that of hosts[%d] already: give each client its own", quoted(value), first)
			return
		}
		seen[what+value] = i
	}
	for i := range n.DHCP.Hosts {
		h, in := &n.DHCP.Hosts[i], at.index(i)
		r.reservation(in, n, h, gateway)
		if h.MAC != (frame.MAC{}) {
			unique(in.sub("mac"), i, "mac ", h.MAC.String())
		}
		if len(h.ClientID) > 0 {
			unique(in.sub("client_id"), i, "client ", formatClientID(h.ClientID))
		}
		if h.Address.IsValid() {
			unique(in.sub("address"), i, "address ", h.Address.String())
		}
		if h.Name != "" {
			unique(in.sub("name"), i, "name ", h.Name)
		}
	}
}

// CheckReservation checks one that a command would add to n, by itself: the keys in
// the error are those of the reservation.
func (n *Network) CheckReservation(h DHCPHost) error {
	h.Name = strings.ToLower(h.Name)
	gateway := n.Gateway()
	if badGateway(gateway) != "" {
		return nil // nothing can be held against it
	}
	r := newReport("")
	r.reservation(place{network: n.Name}, n, &h, gateway)
	return r.err()
}

func (r *report) reservation(at place, n *Network, h *DHCPHost, gateway netip.Prefix) {
	switch {
	case h.MAC == frame.MAC{} && len(h.ClientID) == 0 && !r.refused[at.sub("mac")] && !r.refused[at.sub("client_id")]:
		r.refuse(at, "is for nobody: write the mac or the client_id of the client")
	case h.Ignore && (h.Address.IsValid() || h.Name != "" || h.Lease != 0):
		r.refuse(at.sub("ignore"), "is true, so the client gets nothing: remove its address, name and lease, or this")
	case h.Ignore:
	case !h.Address.IsValid() && h.Name == "" && h.Lease == 0 && !r.refused[at.sub("address")] && !r.refused[at.sub("name")] && !r.refused[at.sub("lease")]:
		r.refuse(at, "says nothing about the client: write an address, a name, a lease or ignore: true")
	}
	if h.MAC.IsGroup() {
		r.refuse(at.sub("mac"), "%v is a group address: a client has a unicast one, such as 02:00:00:00:00:01", h.MAC)
	}
	if l := len(h.ClientID); l > 0 && (l < minClientID || l > maxClientID) {
		r.refuse(at.sub("client_id"), "has %d bytes: give %d-%d", l, minClientID, maxClientID)
	}
	if h.Address.IsValid() {
		if why := badClient(h.Address, gateway); why != "" {
			r.refuse(at.sub("address"), "%v %s", h.Address, why)
		}
	}
	switch why := badLabel(h.Name); {
	case h.Name == "":
	case why != "":
		r.refuse(at.sub("name"), "%s %s", quoted(h.Name), why)
	case h.Name == n.DNS.Name:
		r.refuse(at.sub("name"), "%s is the name of the gateway: choose another one, or another dns.name", quoted(h.Name))
	}
	if h.Lease != 0 {
		r.lease(at.sub("lease"), h.Lease)
	}
}
