package gateway

import (
	"encoding/binary"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// Lengths of the headers that the gateway writes, in bytes: IPv4 without options
// (RFC 791), UDP (RFC 768), ICMP (RFC 792).
const (
	ipLen  = 20
	udpLen = 8

	ttl = 64 // of what the gateway sends
)

// datagram is a UDP datagram for the gateway, with the MAC address of whoever
// has sent it. Its payload lies in a frame.
type datagram struct {
	mac      frame.MAC
	src, dst netip.AddrPort
	payload  []byte
}

// datagramOf reads a frame that the dataplane takes for one of a service. It
// returns false for one with a wrong length or checksum.
func datagramOf(f *frame.Frame) (datagram, bool) {
	var p frame.Parsed
	p.Parse(f)
	if p.Layer != frame.LayerTransport || p.Protocol != frame.ProtoUDP || p.IPVersion != 4 ||
		p.IsFragment() || f.Offload.IsSuper() || !intact(f, &p) {
		return datagram{}, false
	}
	b := f.Bytes()
	length := int(binary.BigEndian.Uint16(b[p.L4+4:]))
	if length < udpLen || p.L4+length > p.End {
		return datagram{}, false
	}
	return datagram{
		mac:     f.Src(),
		src:     netip.AddrPortFrom(addr4(b[p.L3+12:]), p.SrcPort),
		dst:     netip.AddrPortFrom(addr4(b[p.L3+16:]), p.DstPort),
		payload: b[p.Payload : p.L4+length],
	}, true
}

func addr4(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b[:4])) }

// intact reports whether the checksums of an IPv4 packet are right. A partial one
// is: the sender is on this machine, and nothing can have happened to it yet.
func intact(f *frame.Frame, p *frame.Parsed) bool {
	b := f.Bytes()
	if p.Layer < frame.LayerNetwork || !headerIntact(b, p) {
		return false
	}
	if f.Offload.Flags&(frame.NeedsChecksum|frame.ChecksumValid) != 0 || p.IsFragment() {
		return true
	}
	data := b[p.L4:p.End]
	switch {
	case p.Layer < frame.LayerTransport: // without a header of its protocol, or of another one
		return p.Protocol != frame.ProtoUDP && p.Protocol != frame.ProtoTCP && p.Protocol != frame.ProtoICMP
	case p.Protocol == frame.ProtoUDP:
		length := int(binary.BigEndian.Uint16(data[4:]))
		if length < udpLen || length > len(data) {
			return false
		}
		none := data[6] == 0 && data[7] == 0 // RFC 768
		return none || frame.Checksum(data[:length], pseudo(b[p.L3:], frame.ProtoUDP, length)) == 0
	case p.Protocol == frame.ProtoTCP:
		return frame.Checksum(data, pseudo(b[p.L3:], frame.ProtoTCP, len(data))) == 0
	}
	return frame.Checksum(data, 0) == 0 // ICMP
}

func headerIntact(b []byte, p *frame.Parsed) bool { return frame.Checksum(b[p.L3:p.L4], 0) == 0 }

func pseudo(ip []byte, protocol uint8, length int) uint64 {
	return frame.PseudoHeader(ip[12:16], ip[16:20], protocol, length)
}

// udpFrame makes the frame of a datagram that the gateway sends, with complete
// checksums. Dst is IPv4.
func (g *Gateway) udpFrame(to frame.MAC, srcPort uint16, dst netip.AddrPort, payload []byte) *frame.Frame {
	b := g.ipFrame(to, frame.ProtoUDP, dst.Addr(), udpLen+len(payload))
	udp := b[frame.Headroom+frame.HeaderLen+ipLen:]
	binary.BigEndian.PutUint16(udp[0:], srcPort)
	binary.BigEndian.PutUint16(udp[2:], dst.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	copy(udp[udpLen:], payload)
	ip := b[frame.Headroom+frame.HeaderLen:]
	sum := frame.Checksum(udp, pseudo(ip, frame.ProtoUDP, len(udp)))
	if sum == 0 {
		sum = 0xffff // RFC 768
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return framed(b)
}

// ipFrame returns the buffer of a frame with Ethernet and IPv4 headers and room
// for length bytes after them.
func (g *Gateway) ipFrame(to frame.MAC, protocol uint8, dst netip.Addr, length int) []byte {
	b := make([]byte, frame.Headroom+frame.HeaderLen+ipLen+length)
	g.putEthernet(b[frame.Headroom:], to, frame.TypeIPv4)
	ip := b[frame.Headroom+frame.HeaderLen:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(ipLen+length))
	ip[8], ip[9] = ttl, protocol
	src, to4 := g.cfg.Address.Addr().As4(), dst.As4()
	copy(ip[12:], src[:])
	copy(ip[16:], to4[:])
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:ipLen], 0))
	return b
}

func (g *Gateway) putEthernet(b []byte, to frame.MAC, etherType uint16) {
	copy(b, to[:])
	copy(b[6:], g.cfg.MAC[:])
	binary.BigEndian.PutUint16(b[12:], etherType)
}

func framed(b []byte) *frame.Frame {
	f := new(frame.Frame)
	f.Set(b, frame.Headroom)
	return f
}

var broadcast = frame.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
