package gateway

import (
	"encoding/binary"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// Lengths of the headers that the gateway writes, in bytes: IPv4 without options
// (RFC 791), IPv6 without extension headers (RFC 8200), UDP (RFC 768).
const (
	ip4Len = 20
	ip6Len = 40
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
	if p.Layer != frame.LayerTransport || p.Protocol != frame.ProtoUDP ||
		p.IsFragment() || f.Offload.IsSuper() || !intact(f, &p) {
		return datagram{}, false
	}
	b := f.Bytes()
	length := int(binary.BigEndian.Uint16(b[p.L4+4:]))
	if length < udpLen || p.L4+length > p.End {
		return datagram{}, false
	}
	src, dst := endsOf(f, &p)
	return datagram{
		mac:     f.Src(),
		src:     netip.AddrPortFrom(src, p.SrcPort),
		dst:     netip.AddrPortFrom(dst, p.DstPort),
		payload: b[p.Payload : p.L4+length],
	}, true
}

// fields returns the addresses of an IP packet as they are in its header.
func fields(f *frame.Frame, p *frame.Parsed) (src, dst []byte) {
	ip := f.Bytes()[p.L3:]
	if p.IPVersion == 4 {
		return ip[12:16], ip[16:20]
	}
	return ip[8:24], ip[24:40]
}

// endsOf returns the addresses of an IP packet.
func endsOf(f *frame.Frame, p *frame.Parsed) (src, dst netip.Addr) {
	s, d := fields(f, p)
	src, _ = netip.AddrFromSlice(s)
	dst, _ = netip.AddrFromSlice(d)
	return src, dst
}

// intact reports whether the checksums of an IP packet are right. A partial one
// is: the sender is on this machine, and nothing can have happened to it yet.
func intact(f *frame.Frame, p *frame.Parsed) bool {
	b := f.Bytes()
	if p.Layer < frame.LayerNetwork || p.IPVersion == 4 && frame.Checksum(b[p.L3:p.L4], 0) != 0 {
		return false
	}
	if f.Offload.Flags&(frame.NeedsChecksum|frame.ChecksumValid) != 0 || p.IsFragment() {
		return true
	}
	data := b[p.L4:p.End]
	if p.Layer < frame.LayerTransport { // without a header of its protocol, or of another one
		return !hasChecksum(p)
	}
	pseudo := uint64(0)
	switch p.Protocol {
	case frame.ProtoUDP:
		length := int(binary.BigEndian.Uint16(data[4:]))
		if length < udpLen || length > len(data) {
			return false
		}
		if data[6] == 0 && data[7] == 0 { // none
			return p.IPVersion == 4 // RFC 768; RFC 8200 clause 8.1
		}
		data = data[:length]
		fallthrough
	case frame.ProtoTCP, frame.ProtoICMPv6:
		src, dst := fields(f, p)
		pseudo = frame.PseudoHeader(src, dst, p.Protocol, len(data))
	}
	return frame.Checksum(data, pseudo) == 0
}

// hasChecksum reports whether a packet is of a protocol with a checksum that intact
// knows.
func hasChecksum(p *frame.Parsed) bool {
	switch p.Protocol {
	case frame.ProtoUDP, frame.ProtoTCP:
		return true
	case frame.ProtoICMP:
		return p.IPVersion == 4
	case frame.ProtoICMPv6:
		return p.IPVersion == 6
	}
	return false
}

// udpFrame makes the frame of a datagram that the gateway sends, with complete
// checksums. Both addresses are of one family.
func (g *Gateway) udpFrame(to frame.MAC, src, dst netip.AddrPort, payload []byte) *frame.Frame {
	b, at := g.ipFrame(to, frame.ProtoUDP, src.Addr(), dst.Addr(), udpLen+len(payload))
	udp := b[at:]
	binary.BigEndian.PutUint16(udp[0:], src.Port())
	binary.BigEndian.PutUint16(udp[2:], dst.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	copy(udp[udpLen:], payload)
	sum := frame.Checksum(udp, frame.PseudoHeader(src.Addr().AsSlice(), dst.Addr().AsSlice(), frame.ProtoUDP, len(udp)))
	if sum == 0 {
		sum = 0xffff // RFC 768
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return framed(b)
}

// ipFrame returns the buffer of a frame with Ethernet and IP headers and room for length
// bytes after them, and where that room begins.
func (g *Gateway) ipFrame(to frame.MAC, protocol uint8, src, dst netip.Addr, length int) (b []byte, at int) {
	header, etherType := ip4Len, uint16(frame.TypeIPv4)
	if src.Is6() {
		header, etherType = ip6Len, frame.TypeIPv6
	}
	at = frame.Headroom + frame.HeaderLen + header
	b = make([]byte, at+length)
	g.putEthernet(b[frame.Headroom:], to, etherType)
	ip := b[frame.Headroom+frame.HeaderLen : at]
	if src.Is6() {
		ip[0], ip[6], ip[7] = 0x60, protocol, ttl
		binary.BigEndian.PutUint16(ip[4:], uint16(length))
		copy(ip[8:], src.AsSlice())
		copy(ip[24:], dst.AsSlice())
		return b, at
	}
	ip[0], ip[8], ip[9] = 0x45, ttl, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(ip4Len+length))
	copy(ip[12:], src.AsSlice())
	copy(ip[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip, 0))
	return b, at
}

// headersLen is how much of a packet the headers of IP and UDP take.
func headersLen(a netip.Addr) int {
	if a.Is4() {
		return ip4Len + udpLen
	}
	return ip6Len + udpLen
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
