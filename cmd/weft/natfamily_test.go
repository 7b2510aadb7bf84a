package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// family is a version of IP. Tests of both families write their addresses as those of
// IPv4, and use them as ip makes them.
type family string

const (
	family4 family = "IPv4"
	family6 family = "IPv6"
)

// ip returns an address as it is, or the one of IPv6 that stands for a.b.c.d: host d in
// the subnet 2001:db8:aabb:cc::/64, of documentation (RFC 3849), or for what is private
// in fd00:db8:a00:cc::/64 (RFC 4193). One of IPv6 stays as it is.
func (f family) ip(addr string) string {
	a := netip.MustParseAddr(addr)
	if f == family4 || !a.Is4() {
		return addr
	}
	switch {
	case a.IsUnspecified():
		return "::"
	case a.IsLoopback():
		return "::1"
	}
	b, to := a.As4(), [16]byte{0x20, 0x01, 0x0d, 0xb8}
	if b[0] == 10 {
		to[0], to[1] = 0xfd, 0
	}
	to[4], to[5], to[7], to[15] = b[0], b[1], b[2], b[3]
	return netip.AddrFrom16(to).String()
}

// bits returns the length of the prefix that stands for one of n bits.
func (f family) bits(n int) int {
	switch {
	case f == family4:
		return n
	case n > 24:
		return 96 + n
	case n > 16:
		return 40 + n
	}
	return 32 + n
}

// cidr is ip for an address with the length of its prefix.
func (f family) cidr(prefix string) string {
	p := netip.MustParsePrefix(prefix)
	return fmt.Sprint(f.ip(p.Addr().String()), "/", f.bits(p.Bits()))
}

// at returns where a server of an address is.
func (f family) at(addr string, port int) string {
	return net.JoinHostPort(f.ip(addr), fmt.Sprint(port))
}

// url returns what the web server of an address is called.
func (f family) url(addr string) string {
	if f == family6 {
		return "http://[" + f.ip(addr) + "]"
	}
	return "http://" + addr
}

// of returns what is another thing in each family.
func (f family) of(ipv4, ipv6 string) string {
	if f == family6 {
		return ipv6
	}
	return ipv4
}

// number is of for numbers.
func (f family) number(ipv4, ipv6 int) int {
	if f == family6 {
		return ipv6
	}
	return ipv4
}

// header is the length of a header of IP without anything optional.
func (f family) header() int { return f.number(20, 40) }

// ipv returns a command of iproute2 about the family.
func (f family) ipv(args ...string) []string { return append([]string{f.of("-4", "-6")}, args...) }

// prepare has a namespace send nothing by itself, as far as the family goes without: no
// other one is there, its addresses are usable at once, and routers advertise in vain.
func (f family) prepare(t *testing.T, ns *porttest.NS) {
	t.Helper()
	if f == family4 {
		ns.Quiet(t)
		return
	}
	for _, key := range []string{"accept_dad", "accept_ra", "router_solicitations", "accept_redirects"} {
		for _, which := range []string{"all", "default"} {
			ns.Sysctl(t, "net.ipv6.conf."+which+"."+key, "0")
		}
	}
}

// routes has a namespace forward, and answer every probe.
func (f family) routes(t *testing.T, ns *porttest.NS) {
	t.Helper()
	if f == family4 {
		ns.Sysctl(t, "net.ipv4.ip_forward", "1")
		ns.Sysctl(t, "net.ipv4.icmp_ratelimit", "0")
		return
	}
	ns.Sysctl(t, "net.ipv6.conf.all.forwarding", "1")
	ns.Sysctl(t, "net.ipv6.icmp.ratelimit", "0")
}

// hostOf returns the address of one with a port, or what has none as it is.
func hostOf(seen string) string {
	if host, _, err := net.SplitHostPort(seen); err == nil {
		return host
	}
	return strings.Trim(seen, "[]")
}

// TestFamilyAddresses says which addresses the tests of IPv6 have for those of IPv4.
func TestFamilyAddresses(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{family4.ip(webAddress), webAddress},
		{family6.ip(webAddress), "2001:db8:cb00:71::a"},
		{family6.ip("10.1.2.3"), "fd00:db8:a01:2::3"},
		{family6.ip("127.0.0.1"), "::1"},
		{family6.ip("fe80::1"), "fe80::1"},
		{family4.cidr("192.0.2.129/30"), "192.0.2.129/30"},
		{family6.cidr("192.0.2.129/30"), "2001:db8:c000:2::81/126"},
		{family6.cidr("10.0.0.0/24"), "fd00:db8:a00::/64"},
		{family6.cidr("198.18.0.1/32"), "2001:db8:c612::1/128"},
		{family6.at("0.0.0.0", 22), "[::]:22"},
		{family4.at(webAddress, 7), webAddress + ":7"},
		{hostOf("[fd00::1]:22"), "fd00::1"},
		{hostOf("fd00::1"), "fd00::1"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
