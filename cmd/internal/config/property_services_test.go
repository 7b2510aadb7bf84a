package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// Texts that YAML could take for something else; the first is none.
var (
	files = []string{"", "/a", "/var/lib/x y.db", "/é", "/#1", "/a: b", `/q"'`, "/[]{}", "/a,b"}
	odd   = []string{"", "x", "true", "null", "~", "10", "0x1", "a b", "a,b", "a: b", "#", `q"'`, `\`, "é", "[", "{}", "- x", "1e3", "*", "&", "%"}
)

func anyList[V any](t *rapid.T, label string, least, most int, one func(i int) V) []V {
	var out []V
	for i := range rapid.IntRange(least, most).Draw(t, label) {
		out = append(out, one(i))
	}
	return out
}

func anyLease(t *rapid.T) time.Duration {
	return rapid.OneOf(rapid.Just(InfiniteLease),
		rapid.Map(rapid.IntRange(120, 365*24*3600), func(s int) time.Duration { return time.Duration(s) * time.Second })).Draw(t, "lease")
}

// anyServices draws a gateway in 172.16.0.0/16, or in that of another number,
// and what is behind it.
func anyServices(t *rapid.T, n *Network, number int) {
	bits := rapid.IntRange(16, 30).Draw(t, "bits")
	base, size := uint32(0xac100000)+uint32(number)<<16, uint32(1)<<(32-bits)
	at := func(i uint32) netip.Addr {
		v := base + i
		return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
	}
	gateway := rapid.Uint32Range(1, size-2).Draw(t, "gateway address")
	n.Addresses = []netip.Prefix{netip.PrefixFrom(at(gateway), bits)}
	if rapid.Bool().Draw(t, "host_port") {
		n.HostPort = rapid.SampledFrom([]string{"weft", "é", "{", "10", "null", "a'b"}).Draw(t, "name") + fmt.Sprint(number)
	} else {
		n.VLAN = rapid.Uint16Range(0, 4094).Draw(t, "vlan")
	}
	// Numbers of addresses of clients.
	free := rapid.SliceOfNDistinct(rapid.Uint32Range(1, size-2).Filter(func(i uint32) bool { return i != gateway }),
		0, min(8, int(size)-3), rapid.ID[uint32]).Draw(t, "free")
	d := &n.DHCP
	for i, a := range free {
		h := DHCPHost{MAC: anyMAC(t), Address: at(a), Name: fmt.Sprintf("h%d-%d", i, number)}
		h.MAC[5] = byte(i)
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			h.ClientID = append([]byte{byte(i), 0}, rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "client_id")...)
		case 1:
			h.MAC = [6]byte{}
			h.ClientID = []byte(rapid.SampledFrom(odd[1:7]).Draw(t, "text") + "x" + fmt.Sprint(i))
		case 2:
			h.Name, h.Lease = "", anyLease(t)
		case 3:
			h.Address = netip.Addr{}
		case 4:
			h.Address, h.Name, h.Ignore = netip.Addr{}, "", true
		}
		d.Hosts = append(d.Hosts, h)
	}
	slices.Sort(free)
	for i := 0; i+1 < len(free); i += 2 {
		if first, last := free[i], free[i+1]; gateway < first || last < gateway {
			if rapid.IntRange(0, 3).Draw(t, "single") == 0 {
				last = first
			}
			d.Ranges = append(d.Ranges, Range{at(first), at(last)})
		}
	}
	d.Router = rapid.SampledFrom([]string{"auto", "none", at(gateway).String()}).Draw(t, "router")
	anyDHCP(t, d)
	anyDNS(t, &n.DNS)
}

func anyDHCP(t *rapid.T, d *DHCP) {
	d.Lease = anyLease(t)
	d.MaxLeases = rapid.IntRange(0, maxLeases).Draw(t, "max_leases")
	d.Authoritative = rapid.Bool().Draw(t, "authoritative")
	d.Probe, d.NoOverride = rapid.Bool().Draw(t, "probe"), rapid.Bool().Draw(t, "no_override")
	d.HostsFile = rapid.SampledFrom(files).Draw(t, "hosts_file")
	d.NTP = anyList(t, "ntp", 0, 2, func(int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, 2, 3}) })
	d.Search = anyList(t, "search", 0, 2, func(i int) string { return fmt.Sprintf("s%d.example", i) })
	if rapid.Bool().Draw(t, "next") {
		d.NextServer = netip.AddrFrom4([4]byte{10, 9, 9, 9})
	}
	d.ServerName = rapid.SampledFrom(odd).Draw(t, "server_name")
	d.Bootfile = rapid.SampledFrom(odd).Draw(t, "bootfile")
	if rapid.Bool().Draw(t, "options") {
		d.Options = []DHCPOption{{Key: rapid.SampledFrom([]string{"ntp-server", "42", "option:ntp-server"}).Draw(t, "key"), Value: "10.0.0.1,10.0.0.2"},
			{Key: "root-path", Value: rapid.SampledFrom(odd[1:]).Draw(t, "value")}}
	}
}

func anyDNS(t *rapid.T, d *DNS) {
	servers := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"host", "10.0.0.53", "10.0.0.53:5353", "fd00::53", "[fd00::53]:5353"}), 0, 3, rapid.ID[string])
	d.Enabled, d.ForwardPlain = rapid.Bool().Draw(t, "dns"), rapid.Bool().Draw(t, "forward_plain")
	d.Name = rapid.SampledFrom([]string{"gateway", "10", "true", "gw-1"}).Draw(t, "gateway's name")
	d.Domain = rapid.SampledFrom([]string{"", "lab", "null", "a_b.lab", "1"}).Draw(t, "domain")
	if d.Upstream = servers.Draw(t, "upstream"); len(d.Upstream) == 0 {
		d.Upstream = rapid.SampledFrom([][]string{nil, {"none"}}).Draw(t, "no upstream")
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"corp.example", "lab", "10.in-addr.arpa", "true"}), 0, 3, rapid.ID[string]).Draw(t, "domains") {
		e := DNSDomain{Name: name}
		if list := servers.Draw(t, "servers"); len(list) > 0 {
			e.Upstream = list
		}
		d.Domains = append(d.Domains, e)
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"web", "web.lab", "null", "1", "a-b", "a_b"}), 0, 3, rapid.ID[string]).Draw(t, "hosts") {
		d.Hosts = append(d.Hosts, DNSHost{name, rapid.SliceOfNDistinct(rapid.SampledFrom([]netip.Addr{
			netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("::"),
		}), 1, 3, rapid.ID[netip.Addr]).Draw(t, "addresses")})
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"web", "_dmarc.lab", "null"}), 0, 3, rapid.ID[string]).Draw(t, "txt") {
		d.TXT = append(d.TXT, DNSText{name, rapid.SliceOfN(rapid.SampledFrom(odd[1:]), 1, 3).Draw(t, "texts")})
	}
	d.SRV = anyList(t, "srv", 0, 3, func(i int) DNSService {
		number := rapid.IntRange(0, 65535)
		return DNSService{"_ldap._tcp.lab", "dc" + fmt.Sprint(i), 389, number.Draw(t, "priority"), number.Draw(t, "weight")}
	})
	d.HostsFile = rapid.SampledFrom(files).Draw(t, "names file")
	d.Cache = rapid.IntRange(0, maxCache).Draw(t, "cache")
}
