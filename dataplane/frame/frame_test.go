package frame_test

import (
	"bytes"
	"net"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

func TestMAC(t *testing.T) {
	tests := []struct {
		mac              frame.MAC
		text             string
		number           uint64
		group, linkLocal bool
	}{
		{frame.MAC{}, "00:00:00:00:00:00", 0, false, false},
		{frame.MAC{0x02, 0x1f, 0xa0, 0x0b, 0xcc, 0xfe}, "02:1f:a0:0b:cc:fe", 0x021fa00bccfe, false, false},
		{frame.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "ff:ff:ff:ff:ff:ff", 0xffffffffffff, true, false},
		{frame.MAC{0x33, 0x33, 0, 0, 0, 1}, "33:33:00:00:00:01", 0x333300000001, true, false},
		{frame.MAC{0x01, 0x80, 0xc2, 0, 0, 0}, "01:80:c2:00:00:00", 0x0180c2000000, true, true},
		{frame.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0f}, "01:80:c2:00:00:0f", 0x0180c200000f, true, true},
		{frame.MAC{0x01, 0x80, 0xc2, 0, 0, 0x10}, "01:80:c2:00:00:10", 0x0180c2000010, true, false},
		{frame.MAC{0x01, 0x80, 0xc2, 0, 1, 0}, "01:80:c2:00:01:00", 0x0180c2000100, true, false},
	}
	for _, tt := range tests {
		if tt.mac.String() != tt.text || tt.mac.Uint64() != tt.number {
			t.Errorf("%v: number %#x, want %s %#x", tt.mac, tt.mac.Uint64(), tt.text, tt.number)
		}
		if tt.mac.IsGroup() != tt.group || tt.mac.IsLinkLocalGroup() != tt.linkLocal {
			t.Errorf("%v: group %v, link-local %v", tt.mac, tt.mac.IsGroup(), tt.mac.IsLinkLocalGroup())
		}
	}
}

func TestMACNumberRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Uint64().Draw(t, "number")
		m := frame.MACFromUint64(v)
		if m.Uint64() != v&0xffffffffffff {
			t.Fatalf("%#x became %#x", v, m.Uint64())
		}
		if hw, err := net.ParseMAC(m.String()); err != nil || frame.MAC(hw) != m {
			t.Fatalf("%v parses as %v: %v", m, hw, err)
		}
	})
}

func TestFrame(t *testing.T) {
	buf := append(make([]byte, 10), packet{version: 6, protocol: frame.ProtoUDP}.build().bytes...)
	f := frame.Frame{Tag: frame.Tag{TPID: frame.TypeQinQ, TCI: 1}, Offload: frame.Offload{GSOType: 1}}
	f.Set(buf, 10)
	if f.Tag.Present() || f.Offload != (frame.Offload{}) {
		t.Errorf("Set left %+v %+v", f.Tag, f.Offload)
	}
	if f.Dst() != macB || f.Src() != macA || f.EtherType() != frame.TypeIPv6 {
		t.Errorf("dst %v src %v type %#x", f.Dst(), f.Src(), f.EtherType())
	}
	if f.Room() != 10 || f.Len() != len(buf)-10 || &f.Bytes()[0] != &buf[10] {
		t.Errorf("room %d len %d", f.Room(), f.Len())
	}
	f.Tag = frame.Tag{TPID: frame.TypeVLAN, TCI: 0xe123}
	if f.Len() != len(buf)-6 || f.Tag.VID() != 0x123 {
		t.Errorf("with a tag: len %d, VLAN %#x", f.Len(), f.Tag.VID())
	}
}

func TestPopTag(t *testing.T) {
	rest := []byte{0x08, 0x00, 1, 2, 3}
	address := append(macB[:], macA[:]...)
	wire := func(parts ...[]byte) []byte { return append(bytes.Clone(address), bytes.Join(parts, nil)...) }
	tests := []struct {
		name string
		in   []byte
		tag  frame.Tag
		out  []byte
	}{
		{"untagged", wire(rest), frame.Tag{}, wire(rest)},
		{"802.1Q", wire([]byte{0x81, 0, 0xe0, 7}, rest), frame.Tag{TPID: 0x8100, TCI: 0xe007}, wire(rest)},
		{"802.1ad", wire([]byte{0x88, 0xa8, 0, 7}, rest), frame.Tag{TPID: 0x88a8, TCI: 7}, wire(rest)},
		{"priority tag", wire([]byte{0x81, 0, 0, 0}, rest), frame.Tag{TPID: 0x8100}, wire(rest)},
		{"two tags", wire([]byte{0x88, 0xa8, 0, 7, 0x81, 0, 0, 8}, rest), frame.Tag{TPID: 0x88a8, TCI: 7}, wire([]byte{0x81, 0, 0, 8}, rest)},
		{"shortest", wire([]byte{0x81, 0, 0, 7, 8, 0}), frame.Tag{TPID: 0x8100, TCI: 7}, wire([]byte{8, 0})},
		{"tag without a type", wire([]byte{0x81, 0, 0, 7, 8}), frame.Tag{}, wire([]byte{0x81, 0, 0, 7, 8})},
		{"runt", address[:5], frame.Tag{}, address[:5]},
		{"empty", nil, frame.Tag{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFrame(tt.in)
			length := f.Len()
			f.PopTag()
			if f.Tag != tt.tag || !bytes.Equal(f.Bytes(), tt.out) || f.Len() != length {
				t.Errorf("tag %+v, %x (len %d), want %+v, %x (len %d)", f.Tag, f.Bytes(), f.Len(), tt.tag, tt.out, length)
			}
			if got := f.AppendWire(nil); !bytes.Equal(got, tt.in) {
				t.Errorf("on the wire %x, want %x", got, tt.in)
			}
		})
	}
}

// TestPopTagKeepsOutOfBand: the kernel has taken the outermost tag out already;
// the one in the bytes is an inner one.
func TestPopTagKeepsOutOfBand(t *testing.T) {
	f := packet{version: 4, protocol: frame.ProtoTCP, tags: []byte{0x81, 0, 0, 7}, partial: true}.plain()
	outer := frame.Tag{TPID: frame.TypeQinQ, TCI: 5}
	f.Tag = outer
	start := f.Offload.CsumStart
	f.PopTag()
	if f.Tag != outer || f.EtherType() != frame.TypeVLAN || f.Offload.CsumStart != start {
		t.Errorf("tag %+v type %#x start %d", f.Tag, f.EtherType(), f.Offload.CsumStart)
	}
}

// TestPopTagShiftsOffload: a checksum completed without the tag is the one that
// the packet would have had with it.
func TestPopTagShiftsOffload(t *testing.T) {
	p := packet{version: 4, protocol: frame.ProtoTCP, tags: []byte{0x81, 0, 0, 7}, payload: counting(99), partial: true}
	f := p.plain()
	f.Offload.HdrLen = 58
	f.PopTag()
	if f.Offload.CsumStart != 34 || f.Offload.HdrLen != 54 || f.Offload.CsumOffset != 16 {
		t.Errorf("%+v", f.Offload)
	}
	f.CompleteChecksum()
	p.partial = false
	if got, want := f.AppendWire(nil), p.build().bytes; !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// TestPopTagOfLies: offsets inside the tag are still lies without it.
func TestPopTagOfLies(t *testing.T) {
	for start := range uint16(18) {
		f := packet{version: 4, protocol: frame.ProtoTCP, tags: []byte{0x81, 0, 0, 7}, partial: true}.plain()
		f.Offload.CsumStart = start
		f.PopTag()
		if f.CheckOffload() {
			t.Errorf("checksum start %d in the tag became %d, and passed", start, f.Offload.CsumStart)
		}
	}
}

// TestPopTagKeepsShortOffsets: they do not wrap to something large.
func TestPopTagKeepsShortOffsets(t *testing.T) {
	f := packet{version: 4, protocol: frame.ProtoTCP, tags: []byte{0x81, 0, 0, 7}, partial: true}.plain()
	f.Offload.CsumStart, f.Offload.HdrLen = 3, 2
	f.PopTag()
	if f.Offload.CsumStart != 3 || f.Offload.HdrLen != 2 {
		t.Errorf("%+v", f.Offload)
	}
}

// TestWireRoundTrip: popping a tag and writing it back changes nothing.
func TestWireRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "frame")
		if rapid.Bool().Draw(t, "tagged") && len(b) >= 14 {
			copy(b[12:], rapid.SampledFrom([][]byte{{0x81, 0}, {0x88, 0xa8}}).Draw(t, "tag"))
		}
		f := newFrame(b)
		f.PopTag()
		prefix := []byte("before")
		if got := f.AppendWire(prefix); !bytes.Equal(got, append(prefix, b...)) {
			t.Fatalf("got %x, want %x", got, b)
		}
		if f.Len() != len(b) {
			t.Fatalf("len %d, want %d", f.Len(), len(b))
		}
	})
}

func TestFrameDoesNotAllocate(t *testing.T) {
	tagged := packet{version: 4, protocol: frame.ProtoTCP, tags: []byte{0x81, 0, 0, 7}, payload: counting(1400)}.build().bytes
	buf := append(make([]byte, frame.Headroom), tagged...)
	out := make([]byte, 0, frame.MaxLen)
	var f frame.Frame
	mustNotAllocate(t, "PopTag and AppendWire", func() {
		copy(buf[frame.Headroom:], tagged)
		f.Set(buf, frame.Headroom)
		f.PopTag()
		out = f.AppendWire(out[:0])
	})
	if !bytes.Equal(out, tagged) {
		t.Error("frame has changed")
	}
}

func BenchmarkPopTag(b *testing.B) {
	buf := packet{version: 4, protocol: frame.ProtoTCP, tags: []byte{0x81, 0, 0, 7}}.build().bytes
	var f frame.Frame
	b.ReportAllocs()
	for b.Loop() {
		f.Set(buf, 0)
		f.PopTag()
		copy(buf, buf[4:16]) // undo
		buf[12], buf[13] = 0x81, 0
	}
}

// Pushing a tag changes nothing on the wire, and popping it gives the frame back.
func TestPushTag(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		body := rapid.SliceOfN(rapid.Byte(), frame.HeaderLen, 200).Draw(rt, "bytes")
		tag := frame.Tag{TPID: rapid.SampledFrom([]uint16{frame.TypeVLAN, frame.TypeQinQ}).Draw(rt, "TPID"), TCI: rapid.Uint16().Draw(rt, "TCI")}
		var f frame.Frame
		f.Set(append(make([]byte, frame.Headroom), body...), frame.Headroom)
		f.Tag = tag
		f.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 34, CsumOffset: 16, HdrLen: 54, GSOType: frame.GSOTCPv4, GSOSize: 1448}
		before, offload, wire, length := f.Tag, f.Offload, f.AppendWire(nil), f.Len()
		f.PushTag()
		if f.Tag.Present() || f.Offload.CsumStart != 38 || f.Offload.HdrLen != 58 {
			rt.Fatalf("tag %v, %+v", f.Tag, f.Offload)
		}
		if got := f.AppendWire(nil); !bytes.Equal(got, wire) || f.Len() != length || f.Room() != frame.Headroom-frame.TagLen {
			rt.Fatalf("on the wire % x, was % x", got, wire)
		}
		f.PushTag() // no tag left: nothing happens
		if !bytes.Equal(f.Bytes(), wire) {
			rt.Fatal("pushed twice")
		}
		f.PopTag()
		if f.Tag != before || f.Offload != offload || !bytes.Equal(f.Bytes(), body) {
			rt.Fatalf("popped: %v, %+v, % x", f.Tag, f.Offload, f.Bytes())
		}
		f.Set(append([]byte(nil), body...), 0)
		f.Tag = tag
		if f.PushTag(); f.Tag != tag || !bytes.Equal(f.Bytes(), body) {
			rt.Fatal("a tag was pushed where there is no room")
		}
	})
}

// A copy has the frame's bytes, tag and offloads, and nothing of its memory; the
// memory given is used again where it is large enough.
func TestCopy(t *testing.T) {
	var src, dst frame.Frame
	src.Set([]byte("....the bytes of some frame"), 4)
	src.Tag, src.Offload = frame.Tag{TPID: frame.TypeVLAN, TCI: 7}, frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 34}
	mem := dst.Copy(&src, nil)
	copy(src.Bytes(), "THE")
	if string(dst.Bytes()) != "the bytes of some frame" || dst.Room() != frame.Headroom || dst.Tag != src.Tag || dst.Offload != src.Offload {
		t.Errorf("%q with %v, %+v and %d bytes in front", dst.Bytes(), dst.Tag, dst.Offload, dst.Room())
	}
	src.Set([]byte("shorter"), 0)
	if again := dst.Copy(&src, mem); &again[0] != &mem[0] || string(dst.Bytes()) != "shorter" || dst.Tag.Present() {
		t.Errorf("the second time %q with %v", dst.Bytes(), dst.Tag)
	}
	if n := testing.AllocsPerRun(100, func() { mem = dst.Copy(&src, mem) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
