package frame_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// fataler is what *testing.T and *rapid.T share here.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// segment returns all segments of f, each in a buffer of its own, and looks at
// what holds for any super-frame.
func segment(t fataler, f *frame.Frame) []*frame.Frame {
	t.Helper()
	before := slices.Clone(f.Bytes())
	var s frame.Segmenter
	if !s.Start(f) {
		t.Fatalf("Start refused %+v", f.Offload)
	}
	var out []*frame.Frame
	for n := s.Left(); ; n-- {
		if s.Left() != n {
			t.Fatalf("%d segments left, want %d", s.Left(), n)
		}
		one := new(frame.Frame)
		if !s.Next(one, make([]byte, frame.Headroom+f.SegmentLen())) {
			break
		}
		if one.Room() != frame.Headroom || len(one.Bytes()) > f.SegmentLen() {
			t.Fatalf("segment of %d bytes behind %d, want at most %d", len(one.Bytes()), one.Room(), f.SegmentLen())
		}
		out = append(out, one)
	}
	if s.Left() != 0 {
		t.Fatalf("Next gave up with %d segments left", s.Left())
	}
	if !bytes.Equal(before, f.Bytes()) {
		t.Fatalf("the super-frame was changed")
	}
	return out
}

// TestSegmentReassembles is the property that matters: the segments of any
// super-frame carry its payload, in order, under headers that are right.
func TestSegmentReassembles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPacket(t, 9000)
		size := rapid.OneOf(rapid.IntRange(80, 2000), rapid.IntRange(1, 65534)).Draw(t, "gso size")
		f := p.super(size)
		if !f.CheckOffload() {
			if p.protocol == frame.ProtoTCP && size >= 8 || len(p.payload) <= size {
				t.Fatalf("refused: %+v", f.Offload)
			}
			return
		}
		var payload []byte
		segments := segment(t, f)
		for i, one := range segments {
			checkSegment(t, p, one, i, len(payload), i == len(segments)-1)
			var h frame.Parsed
			h.Parse(one)
			if n := h.End - h.Payload; n > size || n < size && i < len(segments)-1 {
				t.Fatalf("segment %d of %d has %d bytes of payload", i, len(segments), n)
			}
			payload = append(payload, one.Bytes()[h.Payload:h.End]...)
		}
		if !bytes.Equal(payload, p.payload) {
			t.Fatalf("%d bytes of payload came out, not the %d that went in", len(payload), len(p.payload))
		}
	})
}

// checkSegment compares segment i of p, whose payload starts at offset, with
// the same packet built from scratch.
func checkSegment(t *rapid.T, p packet, one *frame.Frame, i, offset int, last bool) {
	t.Helper()
	var h frame.Parsed
	h.Parse(one)
	want := p
	want.payload = one.Bytes()[h.Payload:]
	want.id += uint16(i)
	want.seq += uint32(offset)
	if !last {
		want.flags &^= 0x09
	}
	if i > 0 {
		want.flags &^= 0x80
	}
	if w := want.build().bytes; !bytes.Equal(one.Bytes(), w) {
		t.Fatalf("segment %d\ngot  %x\nwant %x", i, one.Bytes(), w)
	}
}

// TestSegmentAgainstGopacket lets a decoder written by others verify every
// checksum and length.
func TestSegmentAgainstGopacket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPacket(t, 3000)
		p.ipOpts, p.tcpOpts = make([]byte, len(p.ipOpts)), make([]byte, len(p.tcpOpts))
		for i, one := range segment(t, p.super(rapid.IntRange(100, 1500).Draw(t, "gso size"))) {
			decoded := gopacket.NewPacket(one.Bytes(), layers.LayerTypeEthernet, gopacket.Default)
			if e := decoded.ErrorLayer(); e != nil {
				t.Fatalf("segment %d: %v", i, e.Error())
			}
			setNetworkLayer(decoded)
			err, wrong := decoded.VerifyChecksums()
			if err != nil || len(wrong) > 0 {
				t.Fatalf("segment %d: %v %v", i, err, wrong)
			}
			if udp, ok := decoded.TransportLayer().(*layers.UDP); ok && int(udp.Length) != 8+len(udp.Payload) {
				t.Fatalf("segment %d: UDP length %d for %d bytes", i, udp.Length, len(udp.Payload))
			}
		}
	})
}

// setNetworkLayer tells gopacket's transport layer where its addresses are.
func setNetworkLayer(p gopacket.Packet) {
	switch l := p.TransportLayer().(type) {
	case *layers.TCP:
		_ = l.SetNetworkLayerForChecksum(p.NetworkLayer())
	case *layers.UDP:
		_ = l.SetNetworkLayerForChecksum(p.NetworkLayer())
	}
}

func TestSegmentCount(t *testing.T) {
	tests := []struct{ payload, size, want int }{
		{0, 100, 1}, {1, 100, 1}, {99, 100, 1}, {100, 100, 1}, {101, 100, 2}, {200, 100, 2}, {201, 100, 3},
		{65535 - 40, 1448, 46}, {65535 - 40, 65534, 1}, {65535 - 40, 8, 8187},
	}
	for _, tt := range tests {
		p := packet{version: 4, protocol: frame.ProtoTCP, payload: counting(tt.payload)}
		if got := len(segment(t, p.super(tt.size))); got != tt.want {
			t.Errorf("%d bytes by %d: %d segments, want %d", tt.payload, tt.size, got, tt.want)
		}
	}
}

// TestSegmentWithoutIPLength: a kernel may leave the length of a TCP
// super-frame zero; the segments have theirs nevertheless.
func TestSegmentWithoutIPLength(t *testing.T) {
	for _, version := range []int{4, 6} {
		p := packet{version: version, protocol: frame.ProtoTCP, payload: counting(3000)}
		f := p.super(1000)
		want := segment(t, f)
		at := map[int]int{4: 16, 6: 18}[version]
		f.Bytes()[at], f.Bytes()[at+1] = 0, 0
		for i, one := range segment(t, f) {
			if !bytes.Equal(one.Bytes(), want[i].Bytes()) {
				t.Errorf("IPv%d segment %d differs from the one with a length", version, i)
			}
		}
	}
}

// TestSegmentUDPChecksumZero: 0 means no checksum, so it is sent as ffff.
func TestSegmentUDPChecksumZero(t *testing.T) {
	p := packet{version: 6, protocol: frame.ProtoUDP, payload: make([]byte, 8)}
	b := p.build()
	// The checksum with two bytes of zero; with itself in their place, the sum
	// is the one that has 0 as its checksum.
	copy(p.payload, b.bytes[b.l4+6:b.l4+8])
	one := segment(t, p.super(100))[0]
	if got := binary.BigEndian.Uint16(one.Bytes()[b.l4+6:]); got != 0xffff {
		t.Errorf("checksum %#04x, want 0xffff", got)
	}
}

// TestSegmentKeepsRoutingSeed: with a routing header the pseudo header names
// the final destination, which only the sender's partial sum knows.
func TestSegmentKeepsRoutingSeed(t *testing.T) {
	p := packet{version: 6, protocol: frame.ProtoTCP, payload: counting(300), exts: []extension{routing}}
	f := p.super(100)
	b := p.build()
	field := f.Bytes()[b.l4+16:]
	binary.BigEndian.PutUint16(field, ^frame.UpdateChecksum16(^binary.BigEndian.Uint16(field), 0, 0x1234))
	for i, one := range segment(t, f) {
		ip := slices.Clone(one.Bytes()[b.l3:])
		binary.BigEndian.PutUint16(ip[26:], 0x1234) // of the destination, was 0
		l4 := one.Bytes()[b.l4:]
		if check := ^slowSum(append(pseudo(ip, 6, len(l4)), l4...)); check != 0 {
			t.Errorf("segment %d: checksum is off by %#04x", i, check)
		}
	}
}

func TestSegmentRefuses(t *testing.T) {
	p := packet{version: 4, protocol: frame.ProtoTCP, payload: counting(300)}
	bad := p.super(100)
	bad.Offload.CsumStart++
	var s frame.Segmenter
	for name, f := range map[string]*frame.Frame{"a plain frame": p.plain(), "a bad super-frame": bad} {
		s.Start(p.super(100)) // must not go on with this one
		if s.Start(f) || s.Left() != 0 || s.Next(new(frame.Frame), make([]byte, 4096)) {
			t.Errorf("%s was segmented", name)
		}
	}
	if new(frame.Segmenter).Next(new(frame.Frame), make([]byte, 4096)) {
		t.Error("a segment without Start")
	}
}

func TestSegmentShortBuffer(t *testing.T) {
	f := packet{version: 4, protocol: frame.ProtoTCP, payload: counting(300)}.super(100)
	var s frame.Segmenter
	s.Start(f)
	out := new(frame.Frame)
	for _, n := range []int{0, frame.Headroom, frame.Headroom + f.SegmentLen() - 1} {
		if s.Next(out, make([]byte, n)) || s.Left() != 3 {
			t.Errorf("a segment in %d bytes, %d left", n, s.Left())
		}
	}
	if !s.Next(out, make([]byte, frame.Headroom+f.SegmentLen())) || len(out.Bytes()) != f.SegmentLen() {
		t.Error("no segment in a buffer that is long enough")
	}
}

// FuzzSegment holds for anything that CheckOffload accepts: it can be cut, the
// segments are as many and as long as said, and none needs anything more.
func FuzzSegment(f *testing.F) {
	for _, p := range []packet{
		{version: 4, protocol: frame.ProtoTCP, tcpOpts: make([]byte, 12), payload: counting(99)},
		{version: 6, protocol: frame.ProtoUDP, exts: []extension{hopByHop}, payload: counting(99)},
		{version: 6, protocol: frame.ProtoTCP, tags: []byte{0x81, 0, 0, 9}, payload: counting(99)},
	} {
		s := p.super(20)
		o := s.Offload
		f.Add(s.Bytes(), o.Flags, o.GSOType, o.HdrLen, o.GSOSize, o.CsumStart, o.CsumOffset)
		f.Add(s.Bytes(), o.Flags, uint8(0), o.HdrLen, uint16(0), o.CsumStart, o.CsumOffset)
	}
	f.Fuzz(func(t *testing.T, b []byte, flags, gso uint8, hdrLen, size, start, offset uint16) {
		fr := newFrame(b)
		fr.Offload = frame.Offload{Flags: flags, GSOType: gso, HdrLen: hdrLen, GSOSize: size, CsumStart: start, CsumOffset: offset}
		if fr.SegmentLen() > len(b) || fr.HeadersLen() > len(b) {
			t.Fatalf("segment of %d, headers of %d, in a frame of %d bytes", fr.SegmentLen(), fr.HeadersLen(), len(b))
		}
		if !fr.CheckOffload() {
			if new(frame.Segmenter).Start(fr) {
				t.Fatal("Start takes what CheckOffload refuses")
			}
			fr.CompleteChecksum()
			if !bytes.Equal(b, fr.Bytes()) {
				t.Fatal("CompleteChecksum changed what CheckOffload refuses")
			}
			return
		}
		if !fr.Offload.IsSuper() {
			fr.CompleteChecksum()
			if fr.Offload.Flags&frame.NeedsChecksum != 0 {
				t.Fatal("checksum not completed")
			}
			return
		}
		total := 0
		segments := segment(t, fr)
		for i, one := range segments {
			var p frame.Parsed
			p.Parse(one)
			if p.Layer != frame.LayerTransport || p.End != len(one.Bytes()) || p.Payload != fr.HeadersLen() {
				t.Fatalf("segment %d has other headers: %+v", i, p)
			}
			total += p.End - p.Payload
		}
		if total != len(b)-fr.HeadersLen() || len(segments) > 8192 || gso == frame.GSOUDPL4 && len(segments) > 128 {
			t.Fatalf("%d segments of %d bytes in all", len(segments), total)
		}
	})
}

func TestSegmentDoesNotAllocate(t *testing.T) {
	f := packet{version: 6, protocol: frame.ProtoTCP, tcpOpts: make([]byte, 12), payload: counting(60000)}.super(1428)
	buf := make([]byte, frame.Headroom+f.SegmentLen())
	var s frame.Segmenter
	var out frame.Frame
	n := 0
	mustNotAllocate(t, "Segmenter", func() {
		for s.Start(f); s.Next(&out, buf); {
			n++
		}
	})
	if n == 0 {
		t.Error("nothing segmented")
	}
}

func BenchmarkSegment(b *testing.B) {
	for _, version := range []int{4, 6} {
		b.Run(fmt.Sprintf("tcp%d", version), func(b *testing.B) {
			f := packet{version: version, protocol: frame.ProtoTCP, tcpOpts: make([]byte, 12), payload: counting(65160)}.super(1448)
			buf := make([]byte, frame.Headroom+f.SegmentLen())
			var s frame.Segmenter
			var out frame.Frame
			b.ReportAllocs()
			b.SetBytes(int64(len(f.Bytes())))
			for b.Loop() {
				for s.Start(f); s.Next(&out, buf); {
				}
			}
		})
	}
}
