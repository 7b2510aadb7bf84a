package frame

import "encoding/binary"

// TCP flags (RFC 9293 clause 3.1, byte 13 of the header).
const (
	tcpFIN = 0x01
	tcpPSH = 0x08
	tcpCWR = 0x80 // RFC 3168 clause 6.1.2
)

// Segmenter cuts a super-frame into the packets that it stands for, one at a
// time, for a port that cannot do so itself. The zero Segmenter is ready for
// Start, and may be started anew at any time. It allocates nothing.
//
// What it does to the headers is what Linux does (tcp_gso_segment,
// __udp_gso_segment, inet_gso_segment): each segment has the super-frame's
// headers with IP and UDP lengths of its own, IPv4 identification and TCP
// sequence number counted on, FIN and PSH on the last segment only, CWR on the
// first only, and complete checksums. The transport checksum starts from the
// partial one of the super-frame, not from the addresses, which a routing
// header may have changed.
type Segmenter struct {
	tag  Tag
	hdr  Parsed // of the super-frame, and its bytes
	size int    // payload bytes of a segment
	next int    // offset of the payload that Next takes
	left int    // segments to come
	num  int    // segments made
	seed uint64 // sum of the pseudo header, without its length
}

// Start makes s ready to cut f, which must not change until the last Next. It
// returns false, and s has no segments, where f is no super-frame or fails
// CheckOffload.
func (s *Segmenter) Start(f *Frame) bool {
	*s = Segmenter{}
	if !f.Offload.IsSuper() || !f.CheckOffload() {
		return false
	}
	s.tag, s.size = f.Tag, int(f.Offload.GSOSize)
	s.hdr.Parse(f)
	h := &s.hdr
	s.next = h.Payload
	// A super-frame may have no payload, and is one segment then.
	s.left = max(1, (h.End-h.Payload+s.size-1)/s.size)
	partial := binary.BigEndian.Uint16(h.b[h.L4+int(f.Offload.CsumOffset):])
	s.seed = uint64(partial) + uint64(^uint16(h.End-h.L4))
	return true
}

// Left returns how many segments Next has still to make.
func (s *Segmenter) Left() int { return s.left }

// Next writes the next segment into buf, from buf[Headroom] on, and makes out
// that frame: tagged like the super-frame, without offloads, borrowing buf. It
// returns false when there are no more, and where buf is shorter than Headroom
// and the super-frame's SegmentLen together; Left tells which.
func (s *Segmenter) Next(out *Frame, buf []byte) bool {
	h := &s.hdr
	n := min(s.size, h.End-s.next)
	if s.left == 0 || len(buf) < Headroom+h.Payload+n {
		return false
	}
	buf = buf[:Headroom+h.Payload+n]
	b := buf[Headroom:]
	copy(b, h.b[:h.Payload])
	copy(b[h.Payload:], h.b[s.next:s.next+n])
	s.left--
	s.putIP(b)
	if h.Protocol == ProtoTCP {
		s.putTCP(b[h.L4:])
	} else {
		s.putUDP(b[h.L4:])
	}
	s.next += n
	s.num++
	out.Set(buf, Headroom)
	out.Tag = s.tag
	return true
}

// putIP writes the fields of the IP header that differ in segment b.
func (s *Segmenter) putIP(b []byte) {
	h := &s.hdr
	if h.IPVersion == 6 {
		binary.BigEndian.PutUint16(b[h.L3+4:], uint16(len(b)-h.L3-ipv6HeaderLen))
		return
	}
	ip := b[h.L3:]
	header := ip[:int(ip[0]&0xf)*4]
	binary.BigEndian.PutUint16(header[2:], uint16(len(ip)))
	id := binary.BigEndian.Uint16(header[4:])
	binary.BigEndian.PutUint16(header[4:], id+uint16(s.num))
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], Checksum(header, 0))
}

// putTCP writes the fields of a TCP header that differ, and its checksum. b is
// the header and the payload of the segment.
func (s *Segmenter) putTCP(b []byte) {
	seq := binary.BigEndian.Uint32(b[4:]) + uint32(s.next-s.hdr.Payload)
	binary.BigEndian.PutUint32(b[4:], seq)
	if s.left > 0 {
		b[13] &^= tcpFIN | tcpPSH
	}
	if s.num > 0 {
		b[13] &^= tcpCWR
	}
	b[tcpCsumOffset], b[tcpCsumOffset+1] = 0, 0
	binary.BigEndian.PutUint16(b[tcpCsumOffset:], Checksum(b, s.seed+uint64(len(b))))
}

// putUDP does for UDP what putTCP does for TCP.
func (s *Segmenter) putUDP(b []byte) {
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	b[udpCsumOffset], b[udpCsumOffset+1] = 0, 0
	check := Checksum(b, s.seed+uint64(len(b)))
	if check == 0 {
		check = 0xffff // 0 says that there is no checksum (RFC 768)
	}
	binary.BigEndian.PutUint16(b[udpCsumOffset:], check)
}
