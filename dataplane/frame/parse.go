package frame

import "encoding/binary"

// IP protocol numbers that weft looks at (IANA).
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
)

const (
	ipv4HeaderLen = 20 // RFC 791, without options
	ipv6HeaderLen = 40 // RFC 8200, without extension headers
	tcpHeaderLen  = 20 // RFC 9293, without options
	udpHeaderLen  = 8  // RFC 768
	icmpHeaderLen = 8  // RFC 792 and RFC 4443: type to the end of the second word

	maxIPLen = 0xffff // both length fields have 16 bits

	// maxInnerTags is how many in-band tags Parse walks over, beside the one
	// that PopTag took out.
	maxInnerTags = 2
)

// Layer says how far the headers of a frame could be read.
type Layer uint8

const (
	// LayerNone: a runt, without a complete Ethernet header.
	LayerNone Layer = iota
	// LayerLink: EtherType and L3 are valid.
	LayerLink
	// LayerNetwork: a complete IP header whose length the frame holds; the
	// addresses, IPVersion, Protocol, the fragment fields, L4 and End are
	// valid. Protocol is an extension header's number where the chain is
	// broken or too long, and L4 is the offset of that header.
	LayerNetwork
	// LayerTransport: a complete TCP, UDP, ICMP or ICMPv6 header; Payload is
	// valid, and for TCP and UDP so are the ports.
	LayerTransport
)

// Parsed is where the headers of one frame are. It is meant to be reused, and
// refers to the frame's bytes: it is good for as long as they are. Offsets are
// in bytes from the frame's destination address. Fields that Layer does not
// promise are zero.
type Parsed struct {
	b []byte

	Layer     Layer
	IPVersion uint8  // 4, 6, or 0 without IP
	Protocol  uint8  // after the extension headers
	EtherType uint16 // after all tags

	SrcPort, DstPort uint16

	// FragOffset counts bytes; FragID is 0 where IsFragment is false.
	MoreFragments bool
	FragOffset    uint16
	FragID        uint32

	L3      int // the IP header, or what follows the Ethernet header and tags
	L4      int // the transport header, or a later fragment's data
	Payload int // what follows the transport header with its options
	End     int // of the IP packet; Ethernet padding may follow
}

// IsFragment reports whether the packet is one of several fragments. It is
// false for an IPv6 atomic fragment, a whole packet (RFC 6946).
func (p *Parsed) IsFragment() bool { return p.MoreFragments || p.FragOffset != 0 }

// Src returns the IP source address, IPv4 ones as ::ffff:a.b.c.d, and the zero
// address without IP. An IPv6 packet may carry the mapped form as well: a key
// made of addresses needs IPVersion beside them.
func (p *Parsed) Src() [16]byte {
	switch p.IPVersion {
	case 4:
		return mapped(p.b[p.L3+12 : p.L3+16])
	case 6:
		return [16]byte(p.b[p.L3+8 : p.L3+24])
	}
	return [16]byte{}
}

// Dst returns the IP destination address in the form of Src.
func (p *Parsed) Dst() [16]byte {
	switch p.IPVersion {
	case 4:
		return mapped(p.b[p.L3+16 : p.L3+20])
	case 6:
		return [16]byte(p.b[p.L3+24 : p.L3+40])
	}
	return [16]byte{}
}

// mapped returns an IPv4 address in its IPv6 form (RFC 4291 clause 2.5.5.2).
func mapped(v4 []byte) (a [16]byte) {
	a[10], a[11] = 0xff, 0xff
	copy(a[12:], v4[:4])
	return a
}

// Parse fills p from f. It never fails: Layer tells how far it came. It checks
// no checksum, and trusts no length field beyond the end of the frame.
func (p *Parsed) Parse(f *Frame) {
	b := f.Bytes()
	*p = Parsed{b: b}
	if len(b) < HeaderLen {
		return
	}
	p.Layer = LayerLink
	p.EtherType, p.L3 = binary.BigEndian.Uint16(b[12:14]), HeaderLen
	for range maxInnerTags {
		if p.EtherType != TypeVLAN && p.EtherType != TypeQinQ || len(b) < p.L3+TagLen {
			break
		}
		p.EtherType = binary.BigEndian.Uint16(b[p.L3+2:])
		p.L3 += TagLen
	}
	switch p.EtherType {
	case TypeIPv4:
		p.parseIPv4(f.Offload.IsSuper())
	case TypeIPv6:
		p.parseIPv6(f.Offload.IsSuper())
	}
}

// parseIPv4 reads the header at L3. A super-frame may leave its total length
// zero, to be had from the frame's (iph_totlen, include/linux/ip.h).
func (p *Parsed) parseIPv4(super bool) {
	h := p.b[p.L3:]
	if len(h) < ipv4HeaderLen || h[0]>>4 != 4 {
		return
	}
	length, total := int(h[0]&0xf)*4, int(binary.BigEndian.Uint16(h[2:4]))
	if total == 0 && super && len(h) <= maxIPLen {
		total = len(h)
	}
	if length < ipv4HeaderLen || total < length || total > len(h) {
		return
	}
	p.Layer, p.IPVersion, p.Protocol = LayerNetwork, 4, h[9]
	p.L4, p.End = p.L3+length, p.L3+total
	p.setFragment(binary.BigEndian.Uint16(h[6:8])<<3, h[6]&0x20 != 0,
		uint32(binary.BigEndian.Uint16(h[4:6])))
	p.parseTransport()
}

// parseIPv6 reads the header at L3 and walks over the extension headers.
func (p *Parsed) parseIPv6(super bool) {
	h := p.b[p.L3:]
	if len(h) < ipv6HeaderLen || h[0]>>4 != 6 {
		return
	}
	payload := int(binary.BigEndian.Uint16(h[4:6]))
	if payload == 0 && super && len(h)-ipv6HeaderLen <= maxIPLen {
		payload = len(h) - ipv6HeaderLen
	}
	if payload > len(h)-ipv6HeaderLen {
		return
	}
	p.Layer, p.IPVersion, p.Protocol = LayerNetwork, 6, h[6]
	p.L4 = p.L3 + ipv6HeaderLen
	p.End = p.L4 + payload
	for range MaxExtensions {
		if !p.skipExtension() {
			break
		}
	}
	p.parseTransport()
}

// skipExtension moves Protocol and L4 past one extension header. It returns
// false where there is none, where it is cut short, and after the fragment
// header of a later fragment: what follows that is data.
func (p *Parsed) skipExtension() bool {
	h := p.b[p.L4:p.End]
	length := ExtensionLen(p.Protocol, h)
	if length == 0 || p.FragOffset != 0 {
		return false
	}
	if p.Protocol == ExtFragment {
		p.setFragment(binary.BigEndian.Uint16(h[2:4])&^7, h[3]&1 != 0,
			binary.BigEndian.Uint32(h[4:8]))
	}
	p.Protocol = h[0]
	p.L4 += length
	return true
}

func (p *Parsed) setFragment(offset uint16, more bool, id uint32) {
	if offset == 0 && !more {
		return
	}
	p.FragOffset, p.MoreFragments, p.FragID = offset, more, id
}

// parseTransport reads the header at L4, which later fragments lack.
func (p *Parsed) parseTransport() {
	if p.FragOffset != 0 {
		return
	}
	h := p.b[p.L4:p.End]
	length := 0
	switch p.Protocol {
	case ProtoTCP:
		if len(h) >= tcpHeaderLen {
			length = int(h[12]>>4) * 4
		}
		if length < tcpHeaderLen {
			return
		}
	case ProtoUDP:
		length = udpHeaderLen
	case ProtoICMP, ProtoICMPv6:
		if (p.Protocol == ProtoICMP) != (p.IPVersion == 4) {
			return
		}
		length = icmpHeaderLen
	default:
		return
	}
	if length > len(h) {
		return
	}
	p.Layer, p.Payload = LayerTransport, p.L4+length
	if p.Protocol == ProtoTCP || p.Protocol == ProtoUDP {
		p.SrcPort = binary.BigEndian.Uint16(h[0:2])
		p.DstPort = binary.BigEndian.Uint16(h[2:4])
	}
}
