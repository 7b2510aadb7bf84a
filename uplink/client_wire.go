package uplink

import (
	"encoding/binary"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// Lengths of the headers that the client writes, in bytes: IPv4 without options
// (RFC 791), UDP (RFC 768).
const (
	ipLen  = 20
	udpLen = 8

	ttl = 64

	serverPort = 67
	clientPort = 68
)

var (
	broadcastMAC  = frame.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	broadcastAddr = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// clientPacket is what a client wants sent: a message to a server, or where
// payload is nil an ARP probe for dst.
type clientPacket struct {
	src, dst netip.Addr // src zero: the client has no address
	payload  []byte
}

// requestFrame makes the frame of a message, with complete checksums.
func requestFrame(from, to frame.MAC, p clientPacket) *frame.Frame {
	b := make([]byte, frame.Headroom+frame.HeaderLen+ipLen+udpLen+len(p.payload))
	e := b[frame.Headroom:]
	copy(e, to[:])
	copy(e[6:], from[:])
	binary.BigEndian.PutUint16(e[12:], frame.TypeIPv4)
	ip := e[frame.HeaderLen:]
	ip[0], ip[8], ip[9] = 0x45, ttl, frame.ProtoUDP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	if p.src.IsValid() {
		copy(ip[12:], p.src.AsSlice())
	}
	copy(ip[16:], p.dst.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:ipLen], 0))
	udp := ip[ipLen:]
	binary.BigEndian.PutUint16(udp[0:], clientPort)
	binary.BigEndian.PutUint16(udp[2:], serverPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	copy(udp[udpLen:], p.payload)
	sum := frame.Checksum(udp, frame.PseudoHeader(ip[12:16], ip[16:20], frame.ProtoUDP, len(udp)))
	if sum == 0 {
		sum = 0xffff // RFC 768
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	f := new(frame.Frame)
	f.Set(b, frame.Headroom)
	return f
}

// replyOf returns the payload of a whole datagram from a server's port to a
// client's, with right lengths and checksums. It lies in the frame.
func replyOf(f *frame.Frame) ([]byte, bool) {
	var p frame.Parsed
	p.Parse(f)
	if p.Layer != frame.LayerTransport || p.IPVersion != 4 || p.Protocol != frame.ProtoUDP ||
		p.IsFragment() || f.Offload.IsSuper() || p.SrcPort != serverPort || p.DstPort != clientPort {
		return nil, false
	}
	b := f.Bytes()
	length := int(binary.BigEndian.Uint16(b[p.L4+4:]))
	if length < udpLen || p.L4+length > p.End || frame.Checksum(b[p.L3:p.L4], 0) != 0 {
		return nil, false
	}
	udp := b[p.L4 : p.L4+length]
	// Without a checksum, or one that a host of this machine has left to others.
	open := udp[6] == 0 && udp[7] == 0 || f.Offload.Flags&(frame.NeedsChecksum|frame.ChecksumValid) != 0
	if !open && frame.Checksum(udp, frame.PseudoHeader(b[p.L3+12:p.L3+16], b[p.L3+16:p.L3+20], frame.ProtoUDP, length)) != 0 {
		return nil, false
	}
	return udp[udpLen:], true
}
