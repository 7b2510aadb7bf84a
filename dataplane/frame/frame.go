// Package frame holds one Ethernet frame and what travels with it: its VLAN
// tag and its offload metadata. It is the ground floor of weft and imports the
// standard library only.
//
// A Frame is a window into a flat buffer with at least Headroom free bytes in
// front of it. It is owned by one worker at a time; nothing in this package is
// safe for concurrent use of the same Frame, except that several goroutines
// may read one that nobody changes.
//
// The trap: the bytes of a Frame never contain its outermost VLAN tag. PopTag
// moves it out on the way in, and the sending port writes it back in band. All
// offsets (Offload.CsumStart among them) are counted without it.
package frame

import "encoding/binary"

const (
	// Headroom is the free space in front of every received frame, in bytes:
	// room for a virtio-net header, VLAN tags and a tunnel header.
	Headroom = 128

	// HeaderLen is the length of an untagged Ethernet header, in bytes.
	HeaderLen = 14

	// TagLen is the length of one VLAN tag, in bytes.
	TagLen = 4

	// MaxLen is the longest frame weft carries, in bytes: an IP packet of
	// 65535 bytes, its Ethernet header and two tags.
	MaxLen = 65535 + HeaderLen + 2*TagLen
)

// EtherTypes that weft looks at (IEEE 802 numbers).
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
	TypeVLAN = 0x8100 // 802.1Q customer tag
	TypeIPv6 = 0x86dd
	TypeQinQ = 0x88a8 // 802.1ad service tag
)

// MAC is an Ethernet address.
type MAC [6]byte

// IsGroup reports whether m is a multicast or the broadcast address (the I/G
// bit of IEEE 802-2014 clause 8.2).
func (m MAC) IsGroup() bool { return m[0]&1 != 0 }

// IsLinkLocalGroup reports whether m is one of 01:80:c2:00:00:00-0f, which an
// 802.1D bridge never forwards (IEEE 802.1D-2004 table 7-10).
func (m MAC) IsLinkLocalGroup() bool {
	return m[0] == 0x01 && m[1] == 0x80 && m[2] == 0xc2 && m[3] == 0 && m[4] == 0 && m[5]&0xf0 == 0
}

// Uint64 returns the address as a number below 1<<48, big-endian.
func (m MAC) Uint64() uint64 {
	return uint64(binary.BigEndian.Uint16(m[0:2]))<<32 | uint64(binary.BigEndian.Uint32(m[2:6]))
}

// MACFromUint64 is the inverse of MAC.Uint64; it ignores the upper 16 bits.
func MACFromUint64(v uint64) (m MAC) {
	binary.BigEndian.PutUint16(m[0:2], uint16(v>>32))
	binary.BigEndian.PutUint32(m[2:6], uint32(v))
	return m
}

const hexDigits = "0123456789abcdef"

// String returns the address in the usual form, 02:00:00:00:00:01.
func (m MAC) String() string {
	b := make([]byte, 0, 17)
	for i, v := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, hexDigits[v>>4], hexDigits[v&15])
	}
	return string(b)
}

// Tag is the outermost VLAN tag of a frame. The zero Tag means untagged.
type Tag struct {
	TPID uint16 // TypeVLAN or TypeQinQ
	TCI  uint16 // priority (3 bits), drop eligible (1), VLAN id (12)
}

// Present reports whether the frame carries a tag, be it a priority tag.
func (t Tag) Present() bool { return t.TPID != 0 }

// VID returns the VLAN id, 0 for an untagged or priority-tagged frame.
func (t Tag) VID() uint16 { return t.TCI & 0x0fff }

// Frame is one Ethernet frame in a buffer that somebody else owns: the port
// that received it, until that port's next Recv.
type Frame struct {
	buf     []byte
	off     int
	Tag     Tag
	Offload Offload
}

// Set makes f the frame that starts at buf[off] and ends with buf, untagged and
// without offloads. buf[:off] is headroom. f borrows buf.
func (f *Frame) Set(buf []byte, off int) {
	f.buf, f.off = buf, off
	f.Tag, f.Offload = Tag{}, Offload{}
}

// Copy makes f a copy of src in mem, which it overwrites and grows at need, with
// Headroom in front. It returns the memory; f borrows it.
func (f *Frame) Copy(src *Frame, mem []byte) []byte {
	var headroom [Headroom]byte
	mem = append(append(mem[:0], headroom[:]...), src.Bytes()...)
	f.Set(mem, Headroom)
	f.Tag, f.Offload = src.Tag, src.Offload
	return mem
}

// Bytes returns the frame from its destination address to its end, without the
// outermost VLAN tag and without the frame check sequence.
func (f *Frame) Bytes() []byte { return f.buf[f.off:] }

// Room returns the number of free bytes in front of the frame.
func (f *Frame) Room() int { return f.off }

// Len returns the length of the frame with its tag, in bytes.
func (f *Frame) Len() int {
	n := len(f.buf) - f.off
	if f.Tag.Present() {
		n += TagLen
	}
	return n
}

// Dst returns the destination address. The frame must not be a runt.
func (f *Frame) Dst() MAC { return MAC(f.buf[f.off : f.off+6]) }

// Src returns the source address. The frame must not be a runt.
func (f *Frame) Src() MAC { return MAC(f.buf[f.off+6 : f.off+12]) }

// SetAddresses changes the destination and the source address. The frame must not be
// a runt.
func (f *Frame) SetAddresses(dst, src MAC) {
	copy(f.buf[f.off:], dst[:])
	copy(f.buf[f.off+6:], src[:])
}

// EtherType returns the type after the outermost tag. The frame must not be a
// runt. A value below 0x600 is an 802.3 length.
func (f *Frame) EtherType() uint16 {
	return binary.BigEndian.Uint16(f.buf[f.off+12 : f.off+14])
}

// PopTag moves an in-band outermost VLAN tag out of the bytes into f.Tag, and
// counts Offload.CsumStart and HdrLen without it from then on. It does nothing
// for an untagged frame, for one whose tag is out of band already, and for one
// too short to hold a tag and a type.
func (f *Frame) PopTag() {
	b := f.buf[f.off:]
	if f.Tag.Present() || len(b) < HeaderLen+TagLen {
		return
	}
	tpid := binary.BigEndian.Uint16(b[12:14])
	if tpid != TypeVLAN && tpid != TypeQinQ {
		return
	}
	f.Tag = Tag{TPID: tpid, TCI: binary.BigEndian.Uint16(b[14:16])}
	copy(b[TagLen:TagLen+12], b[:12])
	f.off += TagLen
	f.Offload.shift(-TagLen)
}

// PutTag writes t in its wire form.
func PutTag(b *[TagLen]byte, t Tag) {
	binary.BigEndian.PutUint16(b[0:2], t.TPID)
	binary.BigEndian.PutUint16(b[2:4], t.TCI)
}

// AppendWire appends the frame as it stands on the wire, tag in band, to b.
// A partial checksum stays partial.
func (f *Frame) AppendWire(b []byte) []byte {
	p := f.Bytes()
	if !f.Tag.Present() || len(p) < 12 {
		return append(b, p...)
	}
	var tag [TagLen]byte
	PutTag(&tag, f.Tag)
	b = append(b, p[:12]...)
	b = append(b, tag[:]...)
	return append(b, p[12:]...)
}

// PushTag moves f.Tag into the bytes, where it is payload from then on: the
// frame stands on the wire as before. It does nothing for a frame without a
// tag, or without room for one in front.
func (f *Frame) PushTag() {
	if !f.Tag.Present() || f.off < TagLen {
		return
	}
	f.off -= TagLen
	b := f.buf[f.off:]
	copy(b[:12], b[TagLen:TagLen+12])
	PutTag((*[TagLen]byte)(b[12:16]), f.Tag)
	f.Tag = Tag{}
	f.Offload.shift(TagLen)
}
