package uplink

import (
	"encoding/binary"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

const (
	ip6Len = 40 // RFC 8200 clause 3

	hopLimit6 = 64

	server6Port = 547 // RFC 8415 clause 7.2
	client6Port = 546
)

// allServers is where DHCPv6 servers and relays of a link listen (RFC 8415 clause 7.1).
var allServers = netip.MustParseAddr("ff02::1:2")

// packet6 is what an IPv6 client wants sent to a group: a message of neighbour
// discovery, or where that is nil one to the DHCPv6 servers.
type packet6 struct {
	src, dst      netip.Addr
	message, dhcp []byte
}

// frame6 makes the frame of a packet, with complete checksums.
func (p *packet6) frame6(from frame.MAC) *frame.Frame {
	if p.message != nil {
		return ndp.Packet(from, ndp.GroupMAC(p.dst), p.src, p.dst, p.message)
	}
	f := new(frame.Frame)
	f.Set(make([]byte, frame.Headroom+frame.HeaderLen+ip6Len+udpLen+len(p.dhcp)), frame.Headroom)
	f.SetAddresses(ndp.GroupMAC(p.dst), from)
	b := f.Bytes()
	binary.BigEndian.PutUint16(b[12:], frame.TypeIPv6)
	ip := b[frame.HeaderLen:]
	udp := ip[ip6Len:]
	ip[0], ip[6], ip[7] = 0x60, frame.ProtoUDP, hopLimit6
	binary.BigEndian.PutUint16(ip[4:], uint16(len(udp)))
	copy(ip[8:], p.src.AsSlice())
	copy(ip[24:], p.dst.AsSlice())
	binary.BigEndian.PutUint16(udp[0:], client6Port)
	binary.BigEndian.PutUint16(udp[2:], server6Port)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	copy(udp[udpLen:], p.dhcp)
	sum := frame.Checksum(udp, frame.PseudoHeader(ip[8:24], ip[24:40], frame.ProtoUDP, len(udp)))
	if sum == 0 {
		sum = 0xffff // RFC 8200 clause 8.1
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return f
}

// reply6Of returns the payload of a whole datagram to a DHCPv6 client's port at the
// address that it asks from, with right length and checksum: servers answer to that
// address only (RFC 8415 clause 18.3.10). It lies in the frame.
func reply6Of(f *frame.Frame, p *frame.Parsed, own netip.Addr) ([]byte, bool) {
	if p.Layer != frame.LayerTransport || p.IPVersion != 6 || p.Protocol != frame.ProtoUDP ||
		p.IsFragment() || f.Offload.IsSuper() || p.DstPort != client6Port || netip.AddrFrom16(p.Dst()) != own {
		return nil, false
	}
	b := f.Bytes()
	length := int(binary.BigEndian.Uint16(b[p.L4+4:]))
	if length < udpLen || p.L4+length > p.End {
		return nil, false
	}
	udp := b[p.L4 : p.L4+length]
	// IPv6 has no datagram without a checksum (RFC 8200 clause 8.1), but one may come
	// that a host of this machine has left to others to complete.
	open := f.Offload.Flags&(frame.NeedsChecksum|frame.ChecksumValid) != 0
	if !open && frame.Checksum(udp, frame.PseudoHeader(b[p.L3+8:p.L3+24], b[p.L3+24:p.L3+40], frame.ProtoUDP, length)) != 0 {
		return nil, false
	}
	return udp[udpLen:], true
}
