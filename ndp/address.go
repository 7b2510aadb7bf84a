package ndp

import (
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// Groups that every node, and every router, of a link listens to (RFC 4291 clause
// 2.7.1).
var (
	AllNodes   = netip.MustParseAddr("ff02::1")
	AllRouters = netip.MustParseAddr("ff02::2")
)

var (
	linkLocal     = netip.MustParsePrefix("fe80::/64")
	solicitedNode = netip.MustParseAddr("ff02::1:ff00:0").As16()
)

// LinkLocal returns the link-local address of an interface (RFC 4291 clause 2.5.6).
func LinkLocal(mac frame.MAC) netip.Addr { return FromPrefix(linkLocal, mac) }

// FromPrefix returns the address in a prefix of 64 bits whose interface identifier
// is the modified EUI-64 of a MAC address (RFC 4291 appendix A).
func FromPrefix(p netip.Prefix, mac frame.MAC) netip.Addr {
	a := p.Addr().As16()
	copy(a[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(a)
}

// SolicitedNode returns the group that whoever has an address listens to (RFC 4291
// clause 2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	group, b := solicitedNode, a.As16()
	copy(group[13:], b[13:])
	return netip.AddrFrom16(group)
}

// GroupMAC returns the MAC address of an IPv6 group (RFC 2464 clause 7).
func GroupMAC(group netip.Addr) frame.MAC {
	b := group.As16()
	return frame.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}
