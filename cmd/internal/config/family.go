package config

import (
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
)

// family is one of the two versions of IP. What is checked of an address is
// checked in one place for both; where they differ, that place asks.
type family int

const (
	ipv4 family = 4
	ipv6 family = 6
)

// familyOf returns that of a valid address. An IPv4 address in IPv6 form is of
// neither.
func familyOf(a netip.Addr) family {
	switch {
	case a.Is4():
		return ipv4
	case a.Is6() && !a.Is4In6():
		return ipv6
	}
	return 0
}

func (f family) has(a netip.Addr) bool { return familyOf(a) == f }

func (f family) String() string {
	if f == ipv6 {
		return "IPv6"
	}
	return "IPv4"
}

// other is the one that f is not.
func (f family) other() family { return ipv4 + ipv6 - f }

// dhcp is the name of the service that gives addresses of the family.
func (f family) dhcp() string {
	if f == ipv6 {
		return "DHCPv6"
	}
	return "DHCP"
}

// host is an address of one, for messages.
func (f family) host() string {
	if f == ipv6 {
		return "2001:db8::1"
	}
	return "192.0.2.1"
}

// outside is an address of an uplink, for messages.
func (f family) outside() string {
	if f == ipv6 {
		return "2001:db8::2/64"
	}
	return "192.0.2.2/24"
}

// addressesOf returns those of the gateway that are of the family.
func (n *Network) addressesOf(f family) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range n.Addresses {
		if f.has(a.Addr()) {
			out = append(out, a)
		}
	}
	return out
}

// gateways returns those that are good; the others are refused for themselves, and
// nothing can be held against them.
func (n *Network) gateways(f family) []netip.Prefix {
	if len(n.Addresses) > maxAddresses+1 {
		return nil
	}
	return slices.DeleteFunc(n.addressesOf(f), func(p netip.Prefix) bool { return badGateway(p) != "" })
}

// holder returns which of the prefixes an address is in, zero for none.
func holder(list []netip.Prefix, a netip.Addr) netip.Prefix {
	for _, p := range list {
		if p.Contains(a) {
			return p
		}
	}
	return netip.Prefix{}
}

// overlapping returns which of the prefixes have an address in common with p.
func overlapping(list []netip.Prefix, p netip.Prefix) netip.Prefix {
	for _, o := range list {
		if o.Overlaps(p) {
			return o
		}
	}
	return netip.Prefix{}
}

// subnetsText names the subnets of a list for people, "10.0.0.0/24", with what
// stands before one of them or before several.
func subnetsText(one, several string, list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.Masked().String()
	}
	if len(list) == 1 {
		return one + " " + texts[0]
	}
	return several + " " + strings.Join(texts, ", ")
}

// lastOf returns the last address of a subnet, which of IPv4 reaches all of it.
func lastOf(subnet netip.Prefix) netip.Addr {
	b := subnet.Masked().Addr().AsSlice()
	for i := subnet.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b) // of the length that it had
	return last
}

// whole returns the first and the last address of a subnet.
func whole(subnet netip.Prefix) Range { return Range{subnet.Masked().Addr(), lastOf(subnet)} }

// isHostAddress reports whether an address may be that of a host in a network: of
// IPv4 (RFC 6890) not of "this network", loopback, multicast or reserved; of IPv6
// global unicast or unique local (RFC 4291 section 2.4, RFC 4193). Those for
// documentation are as good as any in a lab.
func isHostAddress(a netip.Addr) bool {
	switch familyOf(a) {
	case ipv4:
		first := a.As4()[0]
		return first != 0 && first != 127 && first < 224
	case ipv6:
		first := a.As16()[0]
		return first&0xe0 == 0x20 || first&0xfe == 0xfc
	}
	return false
}

// isBroadcast reports whether an IPv4 address reaches all of a subnet; one of two
// addresses has no such (RFC 3021).
func isBroadcast(a netip.Addr, subnet netip.Prefix) bool {
	return a.Is4() && subnet.Bits() < 31 && a == lastOf(subnet)
}

// isSubnet reports whether an address is that of the subnet: of IPv4 that of
// nobody, of IPv6 that of all routers in it (RFC 4291 section 2.6.1). A link of
// two has no such (RFC 3021, RFC 6164).
func isSubnet(a netip.Addr, subnet netip.Prefix) bool {
	return a.BitLen()-subnet.Bits() > 1 && a == subnet.Masked().Addr()
}

// subnetAddress names that address for people.
func (f family) subnetAddress() string {
	if f == ipv6 {
		return "the address of all routers of the subnet (RFC 4291 section 2.6.1)"
	}
	return "the address of the whole subnet"
}

// size returns the number of addresses in a range that does not run backwards, or
// the largest number that there is.
func (r Range) size() int {
	first, last := r.First.As16(), r.Last.As16()
	low, borrow := bits.Sub64(number(last[8:]), number(first[8:]), 0)
	high, _ := bits.Sub64(number(last[:8]), number(first[:8]), borrow)
	if high != 0 || low >= math.MaxInt {
		return math.MaxInt
	}
	return int(low) + 1
}

// isHuge reports whether a range that does not run backwards has more addresses
// than a subnet of 64 bits.
func (r Range) isHuge() bool {
	first, last := r.First.As16(), r.Last.As16()
	_, borrow := bits.Sub64(number(last[8:]), number(first[8:]), 0)
	high, _ := bits.Sub64(number(last[:8]), number(first[:8]), borrow)
	return high != 0
}

// isReserved reports whether an address is one of the last ones of its subnet of 64
// bits, which are for anycast (RFC 2526 section 2).
func isReserved(a netip.Addr, subnet netip.Prefix) bool {
	const first, most = 0xfdffffffffffff80, 128
	b := a.As16()
	return a.Is6() && subnet.Bits() == slaacSubnet && number(b[8:])-first < most
}

func number(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

func (r Range) has(a netip.Addr) bool { return r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0 }

func (r Range) overlaps(o Range) bool {
	return r.First.Compare(o.Last) <= 0 && o.First.Compare(r.Last) <= 0
}
