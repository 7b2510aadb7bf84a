package nat

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// wire describes a packet that the tests build byte by byte, with sums of their own:
// building it anew with other addresses is the full recompute that translations are
// measured by. One of IPv6 has the addresses that as6 makes, and ICMPv6 messages
// for those of ICMP.
type wire struct {
	six       bool
	tags      []byte // in band
	ipOptions []byte // of IPv6, in a header of destination options
	id        uint16
	flags     uint16 // flags and fragment offset, as IPv4 has them
	protocol  uint8
	src, dst  [4]byte
	sport     uint16 // or the identifier of an ICMP message
	dport     uint16
	head      []byte // TCP: flags and options; ICMP: type and code
	payload   []byte
	noSum     bool // UDP without a checksum
	partial   bool
}

const (
	protoSCTP = 132
	protoGRE  = 47
)

// as6 returns the IPv6 address that stands for an IPv4 one where a test is run for
// both families. All of its words but two follow from it.
func as6(a [4]byte) [16]byte {
	return [16]byte{0x20, 1, 0xd, 0xb8, a[0], a[1], a[2], a[3], a[3], a[1], a[2], a[0], a[0], a[1], a[2], a[3]}
}

// as6Kind returns the type of ICMPv6 that stands for one of ICMP: errors, queries and
// redirects for the same, and for anything else a message between neighbours.
func as6Kind(kind uint8) uint8 {
	if k, ok := map[uint8]uint8{icmpUnreachable: 1, icmpSourceQuench: 2, icmpTimeExceeded: 3, icmpParameter: 4,
		icmpEcho: 128, icmpEchoReply: 129, 5: 137}[kind]; ok {
		return k
	}
	return 133 + kind%4
}

// endpoint returns an end of the packet.
func (w *wire) endpoint(addr [4]byte, port uint16) Endpoint {
	if w.six {
		return Endpoint{Addr: as6(addr), Port: port}
	}
	return wireEndpoint(addr, port)
}

// wireEndpoint makes an Endpoint without the help of the package.
func wireEndpoint(addr [4]byte, port uint16) Endpoint {
	e := Endpoint{Port: port}
	e.Addr[10], e.Addr[11] = 0xff, 0xff
	copy(e.Addr[12:], addr[:])
	return e
}

// checkAt returns where the transport checksum is, -1 for none.
func (w *wire) checkAt() int {
	switch w.protocol {
	case frame.ProtoTCP:
		return 16
	case frame.ProtoUDP, 136, 33:
		return 6
	case 135:
		return 4
	case frame.ProtoICMP:
		return 2
	}
	return -1
}

// transport returns the transport header and payload with a checksum of zero.
func (w *wire) transport() []byte {
	b := binary.BigEndian.AppendUint16(nil, w.sport)
	b = binary.BigEndian.AppendUint16(b, w.dport)
	switch w.protocol {
	case frame.ProtoTCP:
		b = append(b, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88)
		b = append(b, uint8(5+(len(w.head)-1)/4)<<4, w.head[0], 0x20, 0, 0, 0, 0, 0)
		b = append(b, w.head[1:]...)
	case frame.ProtoUDP, 136:
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(w.payload)))
		b = append(b, 0, 0)
	case 33:
		b = append(b, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9)
	case 135:
		b = append([]byte{59, 1, 5, 0, 0, 0}, b...)
		b = append(b, 1, 2, 3, 4, 5, 6)
	case frame.ProtoICMP:
		kind := w.head[0]
		if w.six {
			kind = as6Kind(kind)
		}
		b = append([]byte{kind, w.head[1], 0, 0}, binary.BigEndian.AppendUint16(nil, w.sport)...)
		b = append(b, 0, 7)
	default:
		b = append(b, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4)
	}
	return append(b, w.payload...)
}

// pseudo returns the pseudo header that the transport checksum starts with.
func (w *wire) pseudo(length int) []byte {
	if w.protocol == frame.ProtoICMP && !w.six {
		return nil
	}
	b := append(w.src[:len(w.src):len(w.src)], w.dst[:]...)
	if w.six {
		src, dst := as6(w.src), as6(w.dst)
		b = append(src[:], dst[:]...)
	}
	b = append(b, 0, w.number())
	return binary.BigEndian.AppendUint16(b, uint16(length))
}

// ip returns the packet from its IP header on.
func (w *wire) ip() []byte {
	t := w.transport()
	if at := w.checkAt(); at >= 0 && !w.noSum {
		check := naiveSum(w.pseudo(len(t)))
		if !w.partial {
			check = ^naiveSum(append(w.pseudo(len(t)), t...))
			if check == 0 && (w.protocol == frame.ProtoUDP || w.protocol == 136) {
				check = 0xffff
			}
		}
		binary.BigEndian.PutUint16(t[at:], check)
	}
	if w.six {
		return w.ip6(t)
	}
	h := []byte{uint8(0x45 + len(w.ipOptions)/4), 0, 0, 0, 0, 0, 0, 0, 64, w.protocol, 0, 0}
	h = append(append(append(h, w.src[:]...), w.dst[:]...), w.ipOptions...)
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(t)))
	binary.BigEndian.PutUint16(h[4:], w.id)
	binary.BigEndian.PutUint16(h[6:], w.flags)
	binary.BigEndian.PutUint16(h[10:], ^naiveSum(h))
	return append(h, t...)
}

// number is the protocol as the IP header has it.
func (w *wire) number() uint8 {
	if w.six && w.protocol == frame.ProtoICMP {
		return frame.ProtoICMPv6
	}
	return w.protocol
}

// ip6 returns the packet from its IPv6 header on. The fragment header comes before the
// destination options, which so are in the part that is cut.
func (w *wire) ip6(transport []byte) []byte {
	next, rest := w.number(), transport
	if n := len(w.ipOptions); n > 0 {
		blocks := (2 + n + 7) / 8
		h := append([]byte{next, byte(blocks - 1)}, w.ipOptions...)
		h = append(h, make([]byte, blocks*8-len(h))...)
		next, rest = frame.ExtDestination, append(h, rest...)
	}
	if w.flags&0x3fff != 0 {
		h := binary.BigEndian.AppendUint16([]byte{next, 0}, w.flags<<3|w.flags>>13&1)
		h = binary.BigEndian.AppendUint32(h, uint32(w.id))
		next, rest = frame.ExtFragment, append(h, rest...)
	}
	h := []byte{0x60, 0, 0, 0, 0, 0, next, 64}
	src, dst := as6(w.src), as6(w.dst)
	h = append(append(h, src[:]...), dst[:]...)
	binary.BigEndian.PutUint16(h[4:], uint16(len(rest)))
	return append(h, rest...)
}

// bytes returns the frame's bytes.
func (w *wire) bytes() []byte {
	b := []byte{2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa}
	b = append(b, w.tags...)
	if w.six {
		b = append(b, 0x86, 0xdd)
	} else {
		b = append(b, 8, 0)
	}
	return append(b, w.ip()...)
}

// frame returns the packet as a frame, and how it parses.
func (w *wire) frame() (*frame.Frame, *frame.Parsed) {
	f, p := wireFrame(w.bytes())
	if w.partial {
		f.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: uint16(p.L4), CsumOffset: uint16(w.checkAt())}
	}
	return f, p
}

// super returns the packet as a super-frame of segments of size bytes.
func (w *wire) super(size int) (*frame.Frame, *frame.Parsed) {
	w.partial = true
	f, p := w.frame()
	f.Offload.GSOSize, f.Offload.HdrLen, f.Offload.GSOType = uint16(size), uint16(p.Payload), frame.GSOTCPv4
	if w.six {
		f.Offload.GSOType = frame.GSOTCPv6
	}
	if w.protocol == frame.ProtoUDP {
		f.Offload.GSOType = frame.GSOUDPL4
	}
	return f, p
}

func wireFrame(b []byte) (*frame.Frame, *frame.Parsed) {
	f, p := new(frame.Frame), new(frame.Parsed)
	f.Set(append(make([]byte, frame.Headroom), b...), frame.Headroom)
	p.Parse(f)
	return f, p
}

// naiveSum is RFC 1071 as its text has it.
func naiveSum(b []byte) uint16 {
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

// wireMove is one translation.
type wireMove struct {
	destination bool
	to          [4]byte
	port        uint16
}

// of returns the packet as it is to be after the translation.
func (m wireMove) of(w wire) wire {
	ports := w.protocol == frame.ProtoTCP || w.protocol == frame.ProtoUDP
	query := w.protocol == frame.ProtoICMP && (slices.Contains([]byte{0, 8}, w.head[0]) ||
		!w.six && slices.Contains([]byte{13, 14}, w.head[0]))
	if m.destination {
		w.dst = m.to
	} else {
		w.src = m.to
	}
	switch {
	case query, ports && !m.destination:
		w.sport = m.port
	case ports:
		w.dport = m.port
	}
	return w
}

// apply translates f.
func (m wireMove) apply(f *frame.Frame, p *frame.Parsed) {
	to := m.endpoint(p)
	if m.destination {
		setDestination(f, p, &to)
	} else {
		setSource(f, p, &to)
	}
}

// endpoint returns where a packet moves to.
func (m wireMove) endpoint(p *frame.Parsed) Endpoint {
	w := wire{six: p.IPVersion == 6}
	return w.endpoint(m.to, m.port)
}

// back returns the translation that undoes m for w.
func (m wireMove) back(w wire) wireMove {
	if m.destination {
		r := wireMove{true, w.dst, w.dport}
		if w.protocol == frame.ProtoICMP {
			r.port = w.sport
		}
		return r
	}
	return wireMove{false, w.src, w.sport}
}

// checkWire looks at every checksum of a whole packet on the wire, by summing
// it all up.
func checkWire(t interface {
	Helper()
	Fatalf(string, ...any)
}, b []byte) {
	t.Helper()
	at := 12
	for b[at] == 0x81 {
		at += 4
	}
	ip := b[at+2:]
	if ip[0]>>4 == 6 {
		checkWire6(t, ip)
		return
	}
	ihl, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if naiveSum(ip[:ihl]) != 0xffff {
		t.Fatalf("IP header checksum is wrong: %x", ip[:ihl])
	}
	w := wire{protocol: ip[9], src: [4]byte(ip[12:16]), dst: [4]byte(ip[16:20])}
	body := ip[ihl:total]
	c := w.checkAt()
	if c < 0 || w.protocol == frame.ProtoUDP && body[6] == 0 && body[7] == 0 {
		return
	}
	if naiveSum(append(w.pseudo(len(body)), body...)) != 0xffff {
		t.Fatalf("transport checksum is wrong: %x", ip[:min(total, 100)])
	}
}

// checkWire6 is checkWire of a packet with destination options at most.
func checkWire6(t interface {
	Helper()
	Fatalf(string, ...any)
}, ip []byte) {
	t.Helper()
	next, body := ip[6], ip[40:40+int(binary.BigEndian.Uint16(ip[4:]))]
	for next == frame.ExtDestination {
		next, body = body[0], body[(int(body[1])+1)*8:]
	}
	w := wire{six: true, protocol: next}
	if next == frame.ProtoICMPv6 {
		w.protocol = frame.ProtoICMP
	}
	if c := w.checkAt(); c < 0 || next == frame.ProtoUDP && body[6] == 0 && body[7] == 0 {
		return
	}
	sum := binary.BigEndian.AppendUint16(append(slices.Clone(ip[8:40]), 0, next), uint16(len(body)))
	if naiveSum(append(sum, body...)) != 0xffff {
		t.Fatalf("transport checksum is wrong: %x", ip[:min(len(ip), 140)])
	}
}

// mustNotAllocateHere fails the test if fn allocates.
func mustNotAllocateHere(t *testing.T, name string, fn func()) {
	t.Helper()
	if n := testing.AllocsPerRun(100, fn); n != 0 {
		t.Errorf("%s: %v allocations a call, want 0", name, n)
	}
}
