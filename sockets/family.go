package sockets

import (
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// family is what differs between IPv4 and IPv6: all else is the same code.
type family struct {
	index     int // in tables of both
	name      string
	etherType uint16 // also the protocol's number in the guests' stack

	// Of a packet (RFC 791, RFC 8200): lengths and offsets in bytes.
	header    int // the length of an IP header without options or extension headers
	hops      int // where the time to live or hop limit is
	addresses int // where the source address is, which the destination follows
	size      int // of an address

	// Of ICMP (RFC 792, RFC 4443).
	icmp            uint8 // the protocol
	echo, echoReply byte
	errorLen        int // of a packet with an error, at the most: RFC 1812 clause 4.3.2.3, RFC 4443 clause 2.4(c)
	leastMTU        int // of any link: RFC 791 clause 3.1, RFC 8200 clause 5

	// Of sockets (ip(7), ipv6(7)): the names and forms of what both have.
	domain, level  int
	receiveErrors  int
	discoverMTU    int // IP_PMTUDISC_DO and so on have the same values in both
	mtu            int
	hopLimit       int
	packetInfo     int // a struct in_pktinfo or in6_pktinfo
	receiveInfo    int // says that datagrams come with one
	infoLen        int // of that structure
	infoAddress    int // where our address is in it
	fromICMP       byte
	offender       int // where whoever says so is, in a struct sockaddr of the family
	anywhere       netip.Addr
	mostInDatagram int // bytes of UDP payload
}

var v4 = &family{
	index: 0, name: "IPv4", etherType: frame.TypeIPv4,
	header: 20, hops: 8, addresses: 12, size: 4,
	icmp: frame.ProtoICMP, echo: 8, echoReply: 0, errorLen: 576, leastMTU: 68,
	domain: unix.AF_INET, level: unix.IPPROTO_IP,
	receiveErrors: unix.IP_RECVERR, discoverMTU: unix.IP_MTU_DISCOVER, mtu: unix.IP_MTU, hopLimit: unix.IP_TTL,
	packetInfo: unix.IP_PKTINFO, receiveInfo: unix.IP_PKTINFO, infoLen: unix.SizeofInet4Pktinfo, infoAddress: 4, // ipi_spec_dst
	fromICMP: unix.SO_EE_ORIGIN_ICMP, offender: 4, anywhere: netip.IPv4Unspecified(),
	mostInDatagram: maxLength - 20 - udpLen,
}

var v6 = &family{
	index: 1, name: "IPv6", etherType: frame.TypeIPv6,
	header: 40, hops: 7, addresses: 8, size: 16,
	icmp: frame.ProtoICMPv6, echo: 128, echoReply: 129, errorLen: 1280, leastMTU: 1280,
	domain: unix.AF_INET6, level: unix.IPPROTO_IPV6,
	receiveErrors: unix.IPV6_RECVERR, discoverMTU: unix.IPV6_MTU_DISCOVER, mtu: unix.IPV6_MTU, hopLimit: unix.IPV6_UNICAST_HOPS,
	packetInfo: unix.IPV6_PKTINFO, receiveInfo: unix.IPV6_RECVPKTINFO, infoLen: unix.SizeofInet6Pktinfo, infoAddress: 0,
	fromICMP: unix.SO_EE_ORIGIN_ICMP6, offender: 8, anywhere: netip.IPv6Unspecified(),
	mostInDatagram: maxLength - udpLen, // its length field does not count the header
}

// familyOf returns the family of an address. An IPv4-mapped one is of IPv6, and no
// host's: see isHost.
func familyOf(a netip.Addr) *family {
	if a.Is4() {
		return v4
	}
	return v6
}

// familyIn returns the family of a packet that begins with an IP header.
func familyIn(ip []byte) *family {
	if ip[0]>>4 == 4 {
		return v4
	}
	return v6
}

// source returns the source address of a packet.
func (a *family) source(ip []byte) netip.Addr { return a.address(ip[a.addresses:]) }

// destination returns the destination address of a packet.
func (a *family) destination(ip []byte) netip.Addr { return a.address(ip[a.addresses+a.size:]) }

// address returns the address that b begins with.
func (a *family) address(b []byte) netip.Addr {
	if a == v4 {
		return netip.AddrFrom4([4]byte(b))
	}
	return netip.AddrFrom16([16]byte(b))
}

// pseudo is the sum of the pseudo header of so many bytes of a protocol.
func (a *family) pseudo(ip []byte, protocol uint8, length int) uint64 {
	src, dst := ip[a.addresses:a.addresses+a.size], ip[a.addresses+a.size:a.addresses+2*a.size]
	return frame.PseudoHeader(src, dst, protocol, length)
}

// pseudoICMP is that of an ICMP message: IPv4 has none (RFC 792, RFC 4443 clause 2.3).
func (a *family) pseudoICMP(ip []byte, length int) uint64 {
	if a == v4 {
		return 0
	}
	return a.pseudo(ip, a.icmp, length)
}

// isEcho reports whether a protocol with flows is that of echo messages.
func isEcho(protocol uint8) bool {
	return protocol == frame.ProtoICMP || protocol == frame.ProtoICMPv6
}

// isHost reports whether an address may be one host's that can be reached from another
// link: neither of this network, of the host itself or of the link, nor of a group or
// reserved. An IPv4-mapped one would get at IPv4 past all that is said about it.
func isHost(a netip.Addr) bool {
	if a.Is4() {
		b := a.As4()
		return b[0] != 0 && b[0] != 127 && b[0] < 224
	}
	return a.Is6() && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// network is the family's protocol in the guests' stack.
func (a *family) network() tcpip.NetworkProtocolNumber {
	return tcpip.NetworkProtocolNumber(a.etherType)
}
