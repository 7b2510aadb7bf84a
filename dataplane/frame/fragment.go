package frame

import "encoding/binary"

// IPv4 flags and options (RFC 791 clause 3.1), and the unit of fragment offsets
// in bytes.
const (
	ipv4DontFragment  = 0x4000
	ipv4MoreFragments = 0x2000
	ipv4OffsetMask    = 0x1fff

	ipv4OptionEnd    = 0
	ipv4OptionNop    = 1
	ipv4OptionCopied = 0x80

	fragmentUnit = 8
)

// Fragmenter cuts an IPv4 packet into fragments that fit an MTU, one at a time
// (RFC 791 clause 3.2). The zero Fragmenter is ready for Start, and may be
// started anew at any time. It allocates nothing.
//
// The packet may be a fragment itself: its fragments say where they belong in
// the whole. The first one has all options, the others those with the copied
// flag.
type Fragmenter struct {
	tag  Tag
	hdr  Parsed // of the packet, and its bytes
	mtu  int
	next int // offset of the data that Next takes
	left int // fragments to come

	options    [40]byte // of the fragments behind the first
	optionsLen int
}

// Start makes s ready to cut f for an MTU of mtu bytes, which counts from the
// IP header. A partial checksum of f is completed first, in place: it covers
// what will be several frames. f must not change until the last Next. A packet
// that fits makes one fragment, which is the packet.
//
// It returns false, and s has no fragments, where f is not IPv4, must not be
// fragmented (DF), is a super-frame (its segments may be cut), fails
// CheckOffload or has a partial checksum in its IP header, is a fragment that
// RFC 791 rules out, or where the MTU has no room for the header and 8 bytes of
// data.
func (s *Fragmenter) Start(f *Frame, mtu int) bool {
	*s = Fragmenter{}
	if f.Offload.IsSuper() || !f.CheckOffload() {
		return false
	}
	s.hdr.Parse(f)
	h := &s.hdr
	if h.IPVersion != 4 || f.Offload.Flags&NeedsChecksum != 0 && int(f.Offload.CsumStart) < h.L4 {
		return false
	}
	ip := h.b[h.L3:h.L4]
	data := h.End - h.L4
	if binary.BigEndian.Uint16(ip[6:])&ipv4DontFragment != 0 || mtu < len(ip)+fragmentUnit ||
		int(h.FragOffset)+data > maxIPLen || h.MoreFragments && data%fragmentUnit != 0 {
		return false
	}
	f.CompleteChecksum()
	s.tag, s.mtu, s.next = f.Tag, mtu, h.L4
	s.copyOptions(ip[ipv4HeaderLen:])
	s.left = 1
	if rest := data - s.room(len(ip)); len(ip)+data > mtu {
		room := s.room(ipv4HeaderLen + s.optionsLen)
		s.left += (rest + room - 1) / room
	}
	return true
}

// Left returns how many fragments Next has still to make.
func (s *Fragmenter) Left() int { return s.left }

// Next writes the next fragment into buf, from buf[Headroom] on, and makes out
// that frame: tagged like the packet, without offloads and without Ethernet
// padding, borrowing buf. It returns false when there are no more, and where
// buf is too short; Left tells which. Headroom, the Ethernet header with its
// tags in band, and the MTU together are always enough.
func (s *Fragmenter) Next(out *Frame, buf []byte) bool {
	h := &s.hdr
	if s.left == 0 {
		return false
	}
	options := s.options[:s.optionsLen]
	if s.next == h.L4 {
		options = h.b[h.L3+ipv4HeaderLen : h.L4]
	}
	header := ipv4HeaderLen + len(options)
	n := h.End - s.next
	if s.left > 1 {
		n = s.room(header)
	}
	length := Headroom + h.L3 + header + n
	if len(buf) < length {
		return false
	}
	buf = buf[:length]
	b := buf[Headroom:]
	copy(b, h.b[:h.L3+ipv4HeaderLen])
	copy(b[h.L3+ipv4HeaderLen:], options)
	copy(b[h.L3+header:], h.b[s.next:s.next+n])
	s.left--
	s.putIP(b[h.L3:], header)
	s.next += n
	out.Set(buf, Headroom)
	out.Tag = s.tag
	return true
}

// putIP writes the fields of the IP header that differ in the fragment ip.
func (s *Fragmenter) putIP(ip []byte, header int) {
	h := &s.hdr
	ip[0] = 0x40 | uint8(header/4)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	flags := binary.BigEndian.Uint16(ip[6:]) &^ ipv4OffsetMask
	if s.left > 0 {
		flags |= ipv4MoreFragments
	}
	offset := int(h.FragOffset) + s.next - h.L4
	binary.BigEndian.PutUint16(ip[6:], flags|uint16(offset/fragmentUnit))
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], Checksum(ip[:header], 0))
}

// room returns the bytes of data of a fragment that is not the last one.
func (s *Fragmenter) room(header int) int { return (s.mtu - header) &^ (fragmentUnit - 1) }

// copyOptions takes the options that every fragment has, filled up with zeros
// to words of 4 bytes. What follows a broken option is none.
func (s *Fragmenter) copyOptions(options []byte) {
	n := 0
	for len(options) > 0 && options[0] != ipv4OptionEnd {
		length := 1
		if options[0] != ipv4OptionNop {
			if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
				break
			}
			length = int(options[1])
		}
		if options[0]&ipv4OptionCopied != 0 {
			n += copy(s.options[n:], options[:length])
		}
		options = options[length:]
	}
	s.optionsLen = (n + 3) &^ 3
}
