package frame

import "encoding/binary"

const (
	// minTCPGSOSize is what a kernel's smallest MSS of 48 leaves with 40 bytes
	// of options (TCP_MIN_GSO_SIZE, include/net/tcp.h). It bounds what one
	// super-frame can grow to.
	minTCPGSOSize = 8

	// maxUDPSegments is UDP_MAX_SEGMENTS (include/linux/udp.h).
	maxUDPSegments = 128

	// gsoByFrags has a meaning of its own in the kernel, which therefore takes
	// it from nobody (GSO_BY_FRAGS, include/linux/skbuff.h).
	gsoByFrags = 0xffff
)

// CheckOffload reports whether the Offload of f is consistent with its bytes.
// A frame that fails must be dropped: no port can send it.
//
// Every frame: HdrLen is within the frame. With NeedsChecksum, CsumStart is
// behind the Ethernet header and leaves room for a tag's 4 bytes in its 16 bits,
// and the checksum field is within the frame.
//
// A super-frame also has NeedsChecksum, for the transport header that its bytes
// hold; a known type (GSOUDP is not: Linux hands it to no one any more), with
// GSOECN for TCP only; the IP version of that type; complete headers, no
// fragment, and length fields that end where the frame does (a TCP packet may
// leave the IP length zero); GSOSize above zero and below 65535. TCP payload
// that needs several segments has GSOSize of at least 8; UDP payload makes at
// most 128 segments.
//
// The order is that of virtio_net_hdr_to_skb (include/linux/virtio_net.h),
// which refuses most of the same.
func (f *Frame) CheckOffload() bool {
	o, n := &f.Offload, len(f.Bytes())
	if int(o.HdrLen) > n {
		return false
	}
	if o.Flags&NeedsChecksum == 0 {
		return !o.IsSuper()
	}
	start := int(o.CsumStart)
	if start < HeaderLen || start > 0xffff-TagLen || start+int(o.CsumOffset)+2 > n {
		return false
	}
	if !o.IsSuper() {
		return true
	}
	var p Parsed
	p.Parse(f)
	return p.checkSuper(o)
}

// checkSuper holds what a super-frame must meet beyond a plain frame.
func (p *Parsed) checkSuper(o *Offload) bool {
	if p.Layer != LayerTransport || p.IsFragment() || p.End != len(p.b) ||
		int(o.CsumStart) != p.L4 || o.GSOSize == 0 || o.GSOSize == gsoByFrags {
		return false
	}
	switch o.GSOType {
	case GSOTCPv4, GSOTCPv4 | GSOECN:
		return p.IPVersion == 4 && p.checkTCPSuper(o)
	case GSOTCPv6, GSOTCPv6 | GSOECN:
		return p.IPVersion == 6 && p.checkTCPSuper(o)
	case GSOUDPL4:
		return p.checkUDPSuper(o)
	}
	return false
}

func (p *Parsed) checkTCPSuper(o *Offload) bool {
	return p.Protocol == ProtoTCP && o.CsumOffset == tcpCsumOffset &&
		(o.GSOSize >= minTCPGSOSize || p.End-p.Payload <= int(o.GSOSize))
}

func (p *Parsed) checkUDPSuper(o *Offload) bool {
	return p.Protocol == ProtoUDP && o.CsumOffset == udpCsumOffset &&
		int(binary.BigEndian.Uint16(p.b[p.L4+4:])) == p.End-p.L4 &&
		p.End-p.Payload <= int(o.GSOSize)*maxUDPSegments
}

// HeadersLen returns the length of the Ethernet, IP and TCP or UDP headers in
// bytes, tags in band included: what each segment of a super-frame repeats. It
// is 0 where these headers are not all there.
func (f *Frame) HeadersLen() int {
	var p Parsed
	p.Parse(f)
	if p.Layer != LayerTransport || p.Protocol != ProtoTCP && p.Protocol != ProtoUDP {
		return 0
	}
	return p.Payload
}

// SegmentLen returns the length in bytes, without the outermost tag, of the
// longest packet on the wire that f stands for: len(f.Bytes()) for a plain
// frame, at most that for a super-frame. A link carries f where this is not
// above its MTU and HeaderLen together.
func (f *Frame) SegmentLen() int {
	n := len(f.Bytes())
	if !f.Offload.IsSuper() {
		return n
	}
	headers := f.HeadersLen()
	if headers == 0 {
		return n
	}
	return min(headers+int(f.Offload.GSOSize), n)
}
