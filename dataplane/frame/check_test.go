package frame_test

import (
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

func TestCheckOffloadPlain(t *testing.T) {
	const n = 100 // length of the frame
	needs := func(start, offset uint16) frame.Offload {
		return frame.Offload{Flags: frame.NeedsChecksum, CsumStart: start, CsumOffset: offset}
	}
	tests := []struct {
		name string
		o    frame.Offload
		want bool
	}{
		{"nothing to do", frame.Offload{}, true},
		{"verified", frame.Offload{Flags: frame.ChecksumValid}, true},
		{"offsets that do not count", frame.Offload{CsumStart: 9999, CsumOffset: 9999, GSOSize: 9999}, true},
		{"header length of all", frame.Offload{HdrLen: n}, true},
		{"header length beyond the end", frame.Offload{HdrLen: n + 1}, false},
		{"checksum", needs(34, 16), true},
		{"checksum behind the Ethernet header", needs(14, 0), true},
		{"checksum start in the Ethernet header", needs(13, 16), false},
		{"checksum start 0", needs(0, 16), false},
		{"checksum at the end", needs(34, n-34-2), true},
		{"checksum half beyond the end", needs(34, n-34-1), false},
		{"start at the end", needs(n-2, 0), true},
		{"start beyond the end", needs(n-1, 0), false},
		{"sum of both above 16 bits", needs(34, 0xffff), false},
		{"GSO without a checksum", frame.Offload{GSOType: frame.GSOTCPv4, GSOSize: 10}, false},
		{"ECN alone", frame.Offload{GSOType: frame.GSOECN}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFrame(make([]byte, n))
			f.Offload = tt.o
			if got := f.CheckOffload(); got != tt.want {
				t.Errorf("got %v for %+v", got, tt.o)
			}
		})
	}
}

// TestCheckOffloadRoomForTag: EncodeVirtio adds 4 to CsumStart for a tag.
func TestCheckOffloadRoomForTag(t *testing.T) {
	f := newFrame(make([]byte, frame.MaxLen))
	f.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 65531}
	if !f.CheckOffload() {
		t.Error("65531 was refused")
	}
	f.Offload.CsumStart++
	if f.CheckOffload() {
		t.Error("65532 was taken")
	}
}

func TestCheckOffloadRunt(t *testing.T) {
	for n := range frame.HeaderLen {
		f := newFrame(make([]byte, n))
		f.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 14, GSOType: frame.GSOTCPv4, GSOSize: 100}
		if f.CheckOffload() || f.HeadersLen() != 0 || f.SegmentLen() != n {
			t.Errorf("%d bytes: ok %v, headers %d, segment %d", n, f.CheckOffload(), f.HeadersLen(), f.SegmentLen())
		}
	}
}

// TestCheckOffloadSuper starts from super-frames that are right, and makes one
// thing wrong at a time.
func TestCheckOffloadSuper(t *testing.T) {
	tcp4 := packet{version: 4, protocol: frame.ProtoTCP, tcpOpts: make([]byte, 12), payload: counting(3000)}
	tcp6 := packet{version: 6, protocol: frame.ProtoTCP, exts: []extension{hopByHop}, payload: counting(3000)}
	udp4 := packet{version: 4, protocol: frame.ProtoUDP, payload: counting(3000)}
	udp6 := packet{version: 6, protocol: frame.ProtoUDP, tags: []byte{0x81, 0, 0, 7}, payload: counting(3000)}
	gsoType := func(v uint8) func(*frame.Frame) { return func(f *frame.Frame) { f.Offload.GSOType = v } }
	size := func(v uint16) func(*frame.Frame) { return func(f *frame.Frame) { f.Offload.GSOSize = v } }
	set := func(at int, v byte) func(*frame.Frame) { return func(f *frame.Frame) { f.Bytes()[at] = v } }
	tests := []struct {
		name   string
		p      packet
		change func(*frame.Frame)
		want   bool
	}{
		{"tcp4", tcp4, size(1448), true},
		{"tcp4 with ECN", tcp4, gsoType(frame.GSOTCPv4 | frame.GSOECN), true},
		{"tcp4 of type tcp6", tcp4, gsoType(frame.GSOTCPv6), false},
		{"tcp4 of type udp", tcp4, gsoType(frame.GSOUDPL4), false},
		{"tcp4 without its last byte", tcp4, func(f *frame.Frame) { cut(f, 1) }, false},
		{"tcp4 padded", tcp4, func(f *frame.Frame) { f.Bytes()[17]-- }, false},
		{"tcp4 without IP length", tcp4, func(f *frame.Frame) { f.Bytes()[16], f.Bytes()[17] = 0, 0 }, true},
		{"tcp4 fragment", tcp4, set(14+6, 0x20), false},
		{"tcp4 later fragment", tcp4, set(14+7, 1), false},
		{"tcp4 with a data offset beyond the end", packet{version: 4, protocol: frame.ProtoTCP, payload: counting(9)}, set(34+12, 0xf0), false},
		{"tcp4 without a checksum", tcp4, func(f *frame.Frame) { f.Offload.Flags = 0 }, false},
		{"tcp4 with another checksum start", tcp4, func(f *frame.Frame) { f.Offload.CsumStart -= 20 }, false},
		{"tcp4 with the checksum of UDP", tcp4, func(f *frame.Frame) { f.Offload.CsumOffset = 6 }, false},
		{"tcp4 that is ICMP", tcp4, set(14+9, frame.ProtoICMP), false},
		{"size 0", tcp4, size(0), false},
		{"size 0 for no payload", packet{version: 4, protocol: frame.ProtoTCP}, size(0), false},
		{"size 7", tcp4, size(7), false},
		{"size 8", tcp4, size(8), true},
		{"size 7 for 7 bytes", packet{version: 4, protocol: frame.ProtoTCP, payload: counting(7)}, size(7), true},
		{"size above the payload", tcp4, size(65534), true},
		{"GSO_BY_FRAGS", tcp4, size(65535), false},
		{"no payload", packet{version: 4, protocol: frame.ProtoTCP}, size(1448), true},
		{"tcp6", tcp6, size(1448), true},
		{"tcp6 with ECN", tcp6, gsoType(frame.GSOTCPv6 | frame.GSOECN), true},
		{"tcp6 of type tcp4", tcp6, gsoType(frame.GSOTCPv4), false},
		{"tcp6 fragment", packet{version: 6, protocol: frame.ProtoTCP, exts: []extension{firstFrag}, payload: counting(3000)}, size(1448), false},
		{"tcp6 without IP length", tcp6, func(f *frame.Frame) { f.Bytes()[18], f.Bytes()[19] = 0, 0 }, true},
		{"udp4", udp4, size(1448), true},
		{"udp4 with ECN", udp4, gsoType(frame.GSOUDPL4 | frame.GSOECN), false},
		{"udp4 of type tcp", udp4, gsoType(frame.GSOTCPv4), false},
		{"udp4 fragmentation", udp4, gsoType(frame.GSOUDP), false},
		{"udp4 of unknown type", udp4, gsoType(2), false},
		{"udp4 that is ICMP", udp4, set(14+9, frame.ProtoICMP), false},
		{"udp4 with another length", udp4, set(34+5, 1), false},
		{"udp4 with the checksum of TCP", udp4, func(f *frame.Frame) { f.Offload.CsumOffset = 16 }, false},
		{"udp4 in 128 segments", packet{version: 4, protocol: frame.ProtoUDP, payload: counting(128)}, size(1), true},
		{"udp4 in 129 segments", packet{version: 4, protocol: frame.ProtoUDP, payload: counting(129)}, size(1), false},
		{"udp6 with an inner tag", udp6, size(1448), true},
		{"ARP", udp6, set(17, 0x06), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.p.super(1448)
			tt.change(f)
			if got := f.CheckOffload(); got != tt.want {
				t.Errorf("got %v for %+v", got, f.Offload)
			}
			if got := new(frame.Segmenter).Start(f); got != tt.want {
				t.Errorf("Start returned %v", got)
			}
		})
	}
}

// TestCheckOffloadAbove64K: a packet without an IP length must have one that
// could have been written.
func TestCheckOffloadAbove64K(t *testing.T) {
	for version, length := range map[int]int{4: 65535 - 20 - 20, 6: 65535 - 20} {
		for _, n := range []int{length, length + 1} {
			p := packet{version: version, protocol: frame.ProtoTCP, payload: counting(n)}
			f := p.super(1448)
			at := map[int]int{4: 16, 6: 18}[version]
			f.Bytes()[at], f.Bytes()[at+1] = 0, 0
			if got := f.CheckOffload(); got != (n == length) {
				t.Errorf("IPv%d with %d bytes of payload: %v", version, n, got)
			}
		}
	}
}

// cut takes the last n bytes of f away.
func cut(f *frame.Frame, n int) {
	o := f.Offload
	b := f.Bytes()
	*f = *newFrame(b[:len(b)-n])
	f.Offload = o
}

func TestHeadersLenAndSegmentLen(t *testing.T) {
	tests := []struct {
		name              string
		f                 *frame.Frame
		headers, segments int
	}{
		{"plain tcp4", packet{version: 4, protocol: frame.ProtoTCP, payload: counting(10)}.plain(), 54, 64},
		{"plain tcp4, a partial checksum", packet{version: 4, protocol: frame.ProtoTCP, payload: counting(10), partial: true}.plain(), 54, 64},
		{"super tcp4", packet{version: 4, protocol: frame.ProtoTCP, tcpOpts: make([]byte, 12), payload: counting(5000)}.super(1448), 66, 1514},
		{"super tcp6", packet{version: 6, protocol: frame.ProtoTCP, payload: counting(5000)}.super(1440), 74, 1514},
		{"super udp6 with a tag and an extension", packet{version: 6, protocol: frame.ProtoUDP, tags: []byte{0x81, 0, 0, 7}, exts: []extension{hopByHop}, payload: counting(5000)}.super(1000), 74, 1074},
		{"super tcp4 of one segment", packet{version: 4, protocol: frame.ProtoTCP, payload: counting(10)}.super(1448), 54, 64},
		{"later fragment", packet{version: 6, protocol: frame.ProtoTCP, exts: []extension{laterFrag}, payload: counting(10)}.super(5), 0, 92},
		{"no IP", newFrame(make([]byte, 60)), 0, 60},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.f.HeadersLen(); got != tt.headers {
				t.Errorf("HeadersLen %d, want %d", got, tt.headers)
			}
			if got := tt.f.SegmentLen(); got != tt.segments {
				t.Errorf("SegmentLen %d, want %d", got, tt.segments)
			}
			tt.f.Tag = frame.Tag{TPID: frame.TypeVLAN} // does not count
			if got := tt.f.SegmentLen(); got != tt.segments {
				t.Errorf("SegmentLen with a tag %d, want %d", got, tt.segments)
			}
		})
	}
}

func TestHeadersLenOfICMP(t *testing.T) {
	b := packet{version: 4, protocol: frame.ProtoUDP}.build()
	b.bytes[b.l3+9] = frame.ProtoICMP
	if got := newFrame(b.bytes).HeadersLen(); got != 0 {
		t.Errorf("got %d, want 0", got)
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	f := packet{version: 4, protocol: frame.ProtoTCP, payload: counting(3000)}.super(1448)
	ok, n := false, 0
	mustNotAllocate(t, "CheckOffload and SegmentLen", func() { ok, n = f.CheckOffload(), f.SegmentLen() })
	if !ok || n != 1502 {
		t.Errorf("ok %v, segment %d", ok, n)
	}
}

func BenchmarkCheckOffload(b *testing.B) {
	p := packet{version: 4, protocol: frame.ProtoTCP, payload: counting(3000)}
	partial := p
	partial.partial = true
	for name, f := range map[string]*frame.Frame{"plain": p.plain(), "partial": partial.plain(), "super": p.super(1448)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !f.CheckOffload() {
					b.Fatal("refused")
				}
			}
		})
	}
}
