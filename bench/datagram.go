package bench

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	ethernetHead = 14
	udpHead      = 8
)

// ipHead is the length of the IP header of a family, without options.
func (f Family) ipHead() int {
	if f == IPv4 {
		return 20
	}
	return 40
}

// etherType is what the Ethernet header says of a family.
func (f Family) etherType() uint16 {
	if f == IPv4 {
		return unix.ETH_P_IP
	}
	return unix.ETH_P_IPV6
}

// udpStart is where the payload of a UDP datagram begins in its frame.
func (f Family) udpStart() int { return ethernetHead + f.ipHead() + udpHead }

// putUDP writes the headers in front of a payload that is at its place in the
// frame, and returns the length of the frame.
func putUDP(b []byte, dst, src net.HardwareAddr, from, to netip.AddrPort, payload int) int {
	length := udpHead + payload
	udp, sum := putIP(b, dst, src, from.Addr(), to.Addr(), length)
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
	udp[6], udp[7] = 0, 0
	check := ^sum16(sum, udp)
	if check == 0 {
		check = 0xffff // zero says that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(udp[6:], check)
	return familyOf(from.Addr()).udpStart() + payload
}

// putIP writes the Ethernet and the IP header of a UDP datagram with length bytes,
// and returns those bytes, and the sum of their pseudo-header.
func putIP(b []byte, dst, src net.HardwareAddr, from, to netip.Addr, length int) (rest []byte, sum uint32) {
	const hops = 64
	f := familyOf(from)
	copy(b, dst)
	copy(b[6:], src)
	binary.BigEndian.PutUint16(b[12:], f.etherType())
	ip := b[ethernetHead : ethernetHead+f.ipHead()]
	clear(ip)
	var addresses []byte
	if f == IPv4 {
		ip[0], ip[8], ip[9] = 0x45, hops, unix.IPPROTO_UDP
		binary.BigEndian.PutUint16(ip[2:], uint16(f.ipHead()+length))
		a, z := from.As4(), to.As4()
		addresses = ip[12:]
		copy(addresses, a[:])
		copy(addresses[4:], z[:])
		binary.BigEndian.PutUint16(ip[10:], ^sum16(0, ip))
	} else {
		ip[0], ip[6], ip[7] = 0x60, unix.IPPROTO_UDP, hops
		binary.BigEndian.PutUint16(ip[4:], uint16(length))
		a, z := from.As16(), to.As16()
		addresses = ip[8:]
		copy(addresses, a[:])
		copy(addresses[16:], z[:])
	}
	// The pseudo-header: both addresses, protocol, length (RFC 768, RFC 8200
	// clause 8.1).
	return b[ethernetHead+f.ipHead():][:length], uint32(sum16(unix.IPPROTO_UDP+uint32(length), addresses))
}

// sum16 adds up 16-bit words in ones' complement (RFC 1071).
func sum16(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) > 0 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
