package bench

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Family is the version of IP that a scenario is in.
type Family uint8

// The two families. A figure of IPv6 is compared with that of IPv4, so both are
// measured by the same code, which asks for the family where it has to.
const (
	IPv4 Family = iota
	IPv6
)

func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return fmt.Sprintf("Family(%d)", uint8(f))
}

func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// unspecified returns the address that stands for any.
func (f Family) unspecified() netip.Addr {
	if f == IPv4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// addressAfter is the n-th address after one.
func addressAfter(a netip.Addr, n int) netip.Addr {
	b := a.As16()
	binary.BigEndian.PutUint32(b[12:], binary.BigEndian.Uint32(b[12:])+uint32(n))
	if a.Is4() {
		return netip.AddrFrom16(b).Unmap()
	}
	return netip.AddrFrom16(b)
}

// linkLocal is the link-local address of who has an IPv6 address: the last bits are
// the same.
func linkLocal(a netip.Addr) netip.Addr {
	b := a.As16()
	copy(b[:8], []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0})
	return netip.AddrFrom16(b)
}

// plan holds the addresses that the beds of a family have.
type plan struct {
	host    netip.Prefix // the first host, in its subnet; the others follow
	gateway netip.Prefix // of a host whose address is translated
	outside netip.Prefix // what it is translated to
	remote  netip.Addr   // the first of the addresses of the host outside

	// The services are those of a larger subnet, with leases for a hundred
	// thousand clients.
	server      netip.Prefix
	first, last netip.Addr
}

var plans = [...]plan{
	IPv4: {
		host:    netip.MustParsePrefix("10.0.0.1/24"),
		gateway: netip.MustParsePrefix("10.0.0.254/24"),
		outside: netip.MustParsePrefix("192.0.2.1/24"),
		remote:  netip.MustParseAddr("192.0.2.101"),
		server:  netip.MustParsePrefix("10.0.0.254/13"),
		first:   netip.MustParseAddr("10.1.0.0"),
		last:    netip.MustParseAddr("10.2.255.255"),
	},
	IPv6: {
		host:    netip.MustParsePrefix("2001:db8::1/64"),
		gateway: netip.MustParsePrefix("2001:db8::fe/64"),
		outside: netip.MustParsePrefix("2001:db8:1::1/64"),
		remote:  netip.MustParseAddr("2001:db8:1::65"),
		server:  netip.MustParsePrefix("2001:db8::fe/64"),
		first:   netip.MustParseAddr("2001:db8::1:0"),
		last:    netip.MustParseAddr("2001:db8::2:ffff"),
	},
}

func (f Family) plan() *plan { return &plans[f] }

// setting is a variable of the kernel for an interface, below net/ipv6/conf.
type setting struct{ name, value string }

// quiet keeps the kernel of a namespace from sending frames that nobody measures:
// no IPv6 where it is not wanted; where it is, no link-local address of its own
// accord, no solicitation of routers, no duplicate address detection, and what it
// has to say about its groups (RFC 3810 clause 9.11) said before anybody measures.
var quiet = [...][]setting{
	IPv4: {{"disable_ipv6", "1"}},
	IPv6: {
		{"disable_ipv6", "0"}, {"addr_gen_mode", "1"}, {"accept_ra", "0"}, {"accept_dad", "0"}, {"dad_transmits", "0"},
		{"mldv2_unsolicited_report_interval", "10"}, // milliseconds
	},
}

// gatewayKeys are the lines of weft's configuration that give a network a gateway.
func (f Family) gatewayKeys(gateway netip.Prefix) string {
	keys := "    address: " + gateway.String() + "\n"
	if f == IPv6 {
		keys += "    ra: {enabled: false}\n" // the hosts have all that it says
	}
	return keys
}
