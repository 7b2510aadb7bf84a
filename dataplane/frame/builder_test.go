package frame_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

var (
	macA = frame.MAC{0x02, 0, 0, 0, 0, 0x0a}
	macB = frame.MAC{0x02, 0, 0, 0, 0, 0x0b}
)

// extension is an IPv6 extension header: its own number, and its bytes, of
// which the builder fills in the first (the number of the next one).
type extension struct {
	number uint8
	body   []byte
}

// packet describes a TCP or UDP packet to be built byte by byte. The zero
// values of most fields are what a test does not care about.
type packet struct {
	version  int    // 4 or 6
	protocol uint8  // frame.ProtoTCP or frame.ProtoUDP
	tags     []byte // in-band tags, 4 bytes each
	ipOpts   []byte // IPv4 options
	exts     []extension
	tcpOpts  []byte
	flags    uint8  // of TCP
	id       uint16 // of IPv4
	seq      uint32
	payload  []byte
	partial  bool // only the pseudo header's sum in the checksum field
}

// built is a packet's bytes and where its parts are.
type built struct {
	bytes           []byte
	l3, l4, payload int
	csumOffset      int
}

func (p packet) build() built {
	b := append(macB[:], macA[:]...)
	b = append(b, p.tags...)
	etherType := uint16(frame.TypeIPv4)
	if p.version == 6 {
		etherType = frame.TypeIPv6
	}
	out := built{l3: len(b) + 2}
	b = binary.BigEndian.AppendUint16(b, etherType)
	transport, csumOffset := p.transport()
	if p.version == 6 {
		b = p.appendIPv6(b, len(transport))
	} else {
		b = p.appendIPv4(b, len(transport))
	}
	out.l4, out.csumOffset = len(b), csumOffset
	out.bytes = append(b, transport...)
	out.payload = len(out.bytes) - len(p.payload)
	seed := slowSum(pseudo(out.bytes[out.l3:], p.protocol, len(transport)))
	field := out.bytes[out.l4+csumOffset:]
	binary.BigEndian.PutUint16(field, seed)
	if !p.partial {
		binary.BigEndian.PutUint16(field, slowFinish(out.bytes[out.l4:], csumOffset))
	}
	return out
}

func (p packet) transport() (b []byte, csumOffset int) {
	b = binary.BigEndian.AppendUint16(nil, 40000)
	b = binary.BigEndian.AppendUint16(b, 443)
	if p.protocol == frame.ProtoUDP {
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(p.payload)))
		return append(append(b, 0, 0), p.payload...), 6
	}
	b = binary.BigEndian.AppendUint32(b, p.seq)
	b = binary.BigEndian.AppendUint32(b, 0x11223344)
	b = append(b, uint8(5+len(p.tcpOpts)/4)<<4, p.flags, 0x20, 0, 0, 0, 0, 0)
	b = append(b, p.tcpOpts...)
	return append(b, p.payload...), 16
}

func (p packet) appendIPv4(b []byte, length int) []byte {
	h := []byte{uint8(0x45 + len(p.ipOpts)/4), 0, 0, 0, 0, 0, 0x40, 0, 64, p.protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	h = append(h, p.ipOpts...)
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+length))
	binary.BigEndian.PutUint16(h[4:], p.id)
	binary.BigEndian.PutUint16(h[10:], ^slowSum(h))
	return append(b, h...)
}

func (p packet) appendIPv6(b []byte, length int) []byte {
	next := p.protocol
	var chain []byte
	for _, e := range slices.Backward(p.exts) {
		body := slices.Clone(e.body)
		body[0] = next
		chain = append(body, chain...)
		next = e.number
	}
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(chain)+length))
	b = append(b, next, 64)
	for _, last := range []byte{1, 2} {
		b = append(b, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last)
	}
	return append(b, chain...)
}

// pseudo returns the pseudo header for the IP header at the start of ip.
func pseudo(ip []byte, protocol uint8, length int) []byte {
	addresses := ip[12:20]
	if ip[0]>>4 == 6 {
		addresses = ip[8:40]
	}
	b := binary.BigEndian.AppendUint32(slices.Clone(addresses), uint32(length))
	return append(b, 0, 0, 0, protocol)
}

// slowSum is RFC 1071 as its text has it, the reference for the fast one.
func slowSum(b []byte) uint16 {
	var s uint32
	for i, v := range b {
		if i%2 == 0 {
			s += uint32(v) << 8
		} else {
			s += uint32(v)
		}
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// slowFinish is the checksum of b, whose field at offset holds the sum of the
// pseudo header.
func slowFinish(b []byte, offset int) uint16 {
	check := ^slowSum(b)
	if check == 0 && offset == 6 {
		return 0xffff
	}
	return check
}

// plain returns the packet as a frame with Headroom in front of it.
func (p packet) plain() *frame.Frame {
	b := p.build()
	f := newFrame(b.bytes)
	if p.partial {
		f.Offload = frame.Offload{
			Flags: frame.NeedsChecksum, CsumStart: uint16(b.l4), CsumOffset: uint16(b.csumOffset),
		}
	}
	return f
}

// super returns the packet as a super-frame of segments of size bytes.
func (p packet) super(size int) *frame.Frame {
	p.partial = true
	f := p.plain()
	f.Offload.GSOSize = uint16(size)
	f.Offload.HdrLen = uint16(p.build().payload)
	switch {
	case p.protocol == frame.ProtoUDP:
		f.Offload.GSOType = frame.GSOUDPL4
	case p.version == 6:
		f.Offload.GSOType = frame.GSOTCPv6
	default:
		f.Offload.GSOType = frame.GSOTCPv4
	}
	return f
}

func newFrame(b []byte) *frame.Frame {
	f := new(frame.Frame)
	f.Set(append(make([]byte, frame.Headroom), b...), frame.Headroom)
	return f
}

// counting returns n bytes that differ from their neighbours.
func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + i>>8)
	}
	return b
}

// drawPacket generates a well-formed packet of at most maxPayload bytes.
func drawPacket(t *rapid.T, maxPayload int) packet {
	p := packet{
		version:  rapid.SampledFrom([]int{4, 6}).Draw(t, "version"),
		protocol: rapid.SampledFrom([]uint8{frame.ProtoTCP, frame.ProtoUDP}).Draw(t, "protocol"),
		flags:    rapid.Uint8().Draw(t, "flags"),
		id:       rapid.Uint16().Draw(t, "id"),
		seq:      rapid.Uint32().Draw(t, "seq"),
		tags:     rapid.SampledFrom([][]byte{nil, {0x81, 0, 0, 7}, {0x88, 0xa8, 0, 7, 0x81, 0, 0, 8}}).Draw(t, "tags"),
	}
	// Payload from a seed: rapid is slow at drawing 64 KiB byte by byte.
	p.payload = counting(rapid.IntRange(0, maxPayload).Draw(t, "payload length"))
	mix := rapid.Byte().Draw(t, "payload mix")
	for i := range p.payload {
		p.payload[i] = p.payload[i]*5 ^ mix
	}
	words := func(name string) []byte {
		return rapid.SliceOfN(rapid.Byte(), 40, 40).Draw(t, name)[:4*rapid.IntRange(0, 10).Draw(t, name+" words")]
	}
	p.tcpOpts = words("TCP options")
	if p.version == 4 {
		p.ipOpts = words("IP options")
		return p
	}
	for _, e := range []extension{hopByHop, routing, destination} {
		if rapid.Bool().Draw(t, "extension") {
			p.exts = append(p.exts, e)
		}
	}
	return p
}

var (
	hopByHop    = extension{0, []byte{0, 0, 5, 2, 0, 0, 1, 0}}                           // router alert
	routing     = extension{43, append([]byte{0, 2, 0, 0}, make([]byte, 20)...)}         // type 0 with no segments left
	destination = extension{60, []byte{0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}} // padding
	authHeader  = extension{51, append([]byte{0, 4, 0, 0}, make([]byte, 20)...)}         // RFC 4302, in words less 2
	atomic      = extension{44, []byte{0, 0, 0, 0, 0, 0, 0, 9}}
	firstFrag   = extension{44, []byte{0, 0, 0, 1, 0, 0, 0, 9}}
	laterFrag   = extension{44, []byte{0, 0, 0x05, 0xa8, 0, 0, 0, 9}} // at 1448, the last one
)

// mustNotAllocate fails the test if fn allocates.
func mustNotAllocate(t *testing.T, name string, fn func()) {
	t.Helper()
	if n := testing.AllocsPerRun(100, fn); n != 0 {
		t.Errorf("%s: %v allocations a call, want 0", name, n)
	}
}
