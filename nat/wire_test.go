package nat

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// wire describes an IPv4 packet that the tests build byte by byte, with sums of
// their own: building it anew with other addresses is the full recompute that
// translations are measured by.
type wire struct {
	tags      []byte // in band
	ipOptions []byte
	id        uint16
	flags     uint16 // flags and fragment offset
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

// endpoint makes an Endpoint without the help of the package.
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
	case frame.ProtoICMP:
		b = append([]byte{w.head[0], w.head[1], 0, 0}, binary.BigEndian.AppendUint16(nil, w.sport)...)
		b = append(b, 0, 7)
	default:
		b = append(b, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4)
	}
	return append(b, w.payload...)
}

// pseudo returns the pseudo header that the transport checksum starts with.
func (w *wire) pseudo(length int) []byte {
	if w.protocol == frame.ProtoICMP {
		return nil
	}
	b := append(w.src[:len(w.src):len(w.src)], w.dst[:]...)
	b = append(b, 0, w.protocol)
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
	h := []byte{uint8(0x45 + len(w.ipOptions)/4), 0, 0, 0, 0, 0, 0, 0, 64, w.protocol, 0, 0}
	h = append(append(append(h, w.src[:]...), w.dst[:]...), w.ipOptions...)
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(t)))
	binary.BigEndian.PutUint16(h[4:], w.id)
	binary.BigEndian.PutUint16(h[6:], w.flags)
	binary.BigEndian.PutUint16(h[10:], ^naiveSum(h))
	return append(h, t...)
}

// bytes returns the frame's bytes.
func (w *wire) bytes() []byte {
	b := []byte{2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa}
	b = append(b, w.tags...)
	b = append(b, 8, 0)
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
	query := w.protocol == frame.ProtoICMP && slices.Contains([]byte{0, 8, 13, 14}, w.head[0])
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
	if m.destination {
		setDestination(f, p, wireEndpoint(m.to, m.port))
	} else {
		setSource(f, p, wireEndpoint(m.to, m.port))
	}
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

func drawAddr(t *rapid.T, name string) [4]byte {
	edge := rapid.SampledFrom([]uint32{0, 0xffffffff, 0xffff0000, 0x0000ffff, 0x0a000001})
	v := rapid.OneOf(rapid.Uint32(), edge).Draw(t, name)
	return [4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}

func drawPort(t *rapid.T, name string) uint16 {
	return rapid.OneOf(rapid.Uint16(), rapid.SampledFrom([]uint16{0, 1, 0xffff})).Draw(t, name)
}

func drawMove(t *rapid.T) wireMove {
	return wireMove{rapid.Bool().Draw(t, "destination"), drawAddr(t, "to"), drawPort(t, "to port")}
}

// drawWire generates a whole packet of one of the protocols.
func drawWire(t *rapid.T, maxPayload int, protocols ...uint8) wire {
	if len(protocols) == 0 {
		protocols = []uint8{frame.ProtoTCP, frame.ProtoUDP, frame.ProtoICMP, 136, 33, protoSCTP, protoGRE}
	}
	w := wire{
		tags:     rapid.SampledFrom([][]byte{nil, {0x81, 0, 0, 7}}).Draw(t, "tags"),
		id:       rapid.Uint16().Draw(t, "id"),
		protocol: rapid.SampledFrom(protocols).Draw(t, "protocol"),
		src:      drawAddr(t, "src"), dst: drawAddr(t, "dst"),
		sport: drawPort(t, "sport"), dport: drawPort(t, "dport"),
		payload: make([]byte, rapid.IntRange(0, maxPayload).Draw(t, "payload")),
	}
	words := func(name string) []byte {
		n := 4 * rapid.IntRange(0, 10).Draw(t, name)
		return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name+" bytes")
	}
	w.ipOptions = words("ip options")
	mix := rapid.Byte().Draw(t, "mix")
	for i := range w.payload {
		w.payload[i] = byte(i*5+i>>8) * mix
	}
	switch w.protocol {
	case frame.ProtoTCP:
		w.head = append([]byte{rapid.Byte().Draw(t, "flags")}, words("tcp options")...)
	case frame.ProtoICMP:
		w.head = []byte{rapid.SampledFrom([]byte{0, 8, 13, 14, 9, 17, 40}).Draw(t, "type"), 0}
	case frame.ProtoUDP:
		w.noSum = rapid.IntRange(0, 3).Draw(t, "no sum") == 0
	}
	return w
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

// mustNotAllocateHere fails the test if fn allocates.
func mustNotAllocateHere(t *testing.T, name string, fn func()) {
	t.Helper()
	if n := testing.AllocsPerRun(100, fn); n != 0 {
		t.Errorf("%s: %v allocations a call, want 0", name, n)
	}
}
