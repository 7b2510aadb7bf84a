package frame

import "encoding/binary"

// VirtioHeaderLen is the length of the virtio-net header that taps and packet
// sockets exchange, in bytes (struct virtio_net_hdr, include/uapi/linux/virtio_net.h).
const VirtioHeaderLen = 10

// Bits of Offload.Flags (virtio 1.2, clause 5.1.6).
const (
	// NeedsChecksum: the checksum at CsumStart+CsumOffset holds only the sum
	// of the pseudo header; whoever sends the frame to a medium completes it.
	NeedsChecksum = 1
	// ChecksumValid: whoever received the frame verified its checksum.
	ChecksumValid = 2
)

// Values of Offload.GSOType. GSOECN may be added to the TCP ones.
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOUDP   = 3 // UDP fragmentation, which kernels no longer produce
	GSOTCPv6 = 4
	GSOUDPL4 = 5 // UDP segmentation
	GSOECN   = 0x80
)

// Offload is the virtio-net header of a frame: what is still to be done to it
// before it may leave on a medium that cannot do it. Offsets are counted from
// the destination address of the frame, without its outermost VLAN tag.
type Offload struct {
	Flags      uint8
	GSOType    uint8
	HdrLen     uint16 // all headers of a super-frame; a hint, not to be trusted
	GSOSize    uint16 // payload bytes of one segment
	CsumStart  uint16 // where the checksum's coverage starts
	CsumOffset uint16 // where it is stored, from CsumStart
}

// Caps is a set of things a port can do itself.
type Caps uint8

const (
	// CapChecksum: the port completes partial checksums.
	CapChecksum Caps = 1 << iota
	// CapTSO4 and CapTSO6: the port takes TCP super-frames.
	CapTSO4
	CapTSO6
	// CapUSO: the port takes UDP super-frames (GSOUDPL4).
	CapUSO
)

// CapAll is what every kernel interface can do, if need be in software.
const CapAll = CapChecksum | CapTSO4 | CapTSO6 | CapUSO

// DecodeVirtio reads a virtio-net header as the kernel writes it, in the byte
// order of the machine.
func (o *Offload) DecodeVirtio(b *[VirtioHeaderLen]byte) {
	o.Flags, o.GSOType = b[0], b[1]
	o.HdrLen = binary.NativeEndian.Uint16(b[2:4])
	o.GSOSize = binary.NativeEndian.Uint16(b[4:6])
	o.CsumStart = binary.NativeEndian.Uint16(b[6:8])
	o.CsumOffset = binary.NativeEndian.Uint16(b[8:10])
}

// EncodeVirtio writes the header for a frame that leaves with its tag in band
// where tagged is true: the kernel counts csum_start with the tag's 4 bytes.
func (o *Offload) EncodeVirtio(b *[VirtioHeaderLen]byte, tagged bool) {
	w := *o
	if tagged {
		w.shift(TagLen)
	}
	b[0], b[1] = w.Flags, w.GSOType
	binary.NativeEndian.PutUint16(b[2:4], w.HdrLen)
	binary.NativeEndian.PutUint16(b[4:6], w.GSOSize)
	binary.NativeEndian.PutUint16(b[6:8], w.CsumStart)
	binary.NativeEndian.PutUint16(b[8:10], w.CsumOffset)
}

// shift moves the offsets by n bytes when a tag enters or leaves the frame.
// Offsets too small to shift are left for Frame.CheckOffload to refuse.
func (o *Offload) shift(n int) {
	if o.Flags&NeedsChecksum != 0 && int(o.CsumStart)+n >= 0 {
		o.CsumStart = uint16(int(o.CsumStart) + n)
	}
	if o.HdrLen != 0 && int(o.HdrLen)+n >= 0 {
		o.HdrLen = uint16(int(o.HdrLen) + n)
	}
}

// IsSuper reports whether the frame stands for several segments.
func (o *Offload) IsSuper() bool { return o.GSOType != GSONone }
