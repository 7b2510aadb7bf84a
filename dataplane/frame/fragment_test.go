package frame_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// loose returns an IPv4 packet that may be fragmented, whatever drawPacket and
// its builder make of it.
func loose(f *frame.Frame, flags uint16) *frame.Frame {
	var p frame.Parsed
	p.Parse(f)
	ip := f.Bytes()[p.L3:]
	binary.BigEndian.PutUint16(ip[6:], flags)
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^slowSum(ip[:int(ip[0]&15)*4]))
	return f
}

// fragment returns all fragments of f, each in a buffer of its own, and looks at
// what holds for every fragment.
func fragment(t fataler, f *frame.Frame, mtu int) []*frame.Frame {
	t.Helper()
	var s frame.Fragmenter
	if !s.Start(f, mtu) {
		t.Fatalf("Start refused an MTU of %d for %x", mtu, f.Bytes()[:min(100, len(f.Bytes()))])
	}
	var whole, p frame.Parsed
	whole.Parse(f)
	var out []*frame.Frame
	for n := s.Left(); ; n-- {
		if s.Left() != n {
			t.Fatalf("%d fragments left, want %d", s.Left(), n)
		}
		one := new(frame.Frame)
		if !s.Next(one, make([]byte, frame.Headroom+whole.L3+mtu)) {
			break
		}
		p.Parse(one)
		ip := one.Bytes()[p.L3:]
		if one.Room() != frame.Headroom || one.Tag != f.Tag || one.Offload != (frame.Offload{}) || p.IPVersion != 4 ||
			p.L3 != whole.L3 || len(ip) > mtu || p.End != len(one.Bytes()) || slowSum(ip[:p.L4-p.L3]) != 0xffff {
			t.Fatalf("fragment %+v of %x", p, one.Bytes())
		}
		if n > 1 && (!p.MoreFragments || (p.End-p.L4)%8 != 0) || n == 1 && p.MoreFragments != whole.MoreFragments {
			t.Fatalf("%d left after it: %x", n-1, ip[:20])
		}
		out = append(out, one)
	}
	if s.Left() != 0 {
		t.Fatalf("Next gave up with %d fragments left", s.Left())
	}
	return out
}

// join puts the data of fragments in their places, behind the header of the
// first one. It fails on gaps and overlaps.
func join(t fataler, frames []*frame.Frame) []byte {
	t.Helper()
	var p frame.Parsed
	frames = slices.SortedFunc(slices.Values(frames), func(a, b *frame.Frame) int {
		var p, q frame.Parsed
		p.Parse(a)
		q.Parse(b)
		return int(p.FragOffset) - int(q.FragOffset)
	})
	p.Parse(frames[0])
	out := slices.Clone(frames[0].Bytes()[:p.L4])
	l3, l4, base := p.L3, p.L4, int(p.FragOffset)
	for i, f := range frames {
		p.Parse(f)
		if int(p.FragOffset) != base+len(out)-l4 || p.MoreFragments != (i < len(frames)-1) && i < len(frames)-1 {
			t.Fatalf("fragment %d is at %d, after %d bytes", i, p.FragOffset, base+len(out)-l4)
		}
		out = append(out, f.Bytes()[p.L4:p.End]...)
	}
	binary.BigEndian.PutUint16(out[l3+2:], uint16(len(out)-l3))
	ip := out[l3:l4]
	flags := binary.BigEndian.Uint16(ip[6:]) &^ 0x2000
	if p.MoreFragments {
		flags |= 0x2000
	}
	binary.BigEndian.PutUint16(ip[6:], flags)
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^slowSum(ip))
	return out
}

// TestFragmentReassembles is the property that matters: the fragments of any
// packet, and their fragments in turn, make the packet again, with its checksum
// complete.
func TestFragmentReassembles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawPacket(t, 3000)
		d.version, d.exts = 4, nil
		d.partial = rapid.Bool().Draw(t, "partial")
		d.ipOpts = drawOptions(t)
		whole := d
		whole.partial = false
		// The reserved bit, an offset and more to come must survive.
		flags := rapid.SampledFrom([]uint16{0, 0x8000, 0x0123, 0x2100}).Draw(t, "flags")
		if flags&0x2000 != 0 {
			whole.payload = whole.payload[:len(whole.payload)&^7]
			d.payload = whole.payload
			d.tcpOpts, whole.tcpOpts = nil, nil
			if d.protocol == frame.ProtoTCP {
				d.payload = append(d.payload, 1, 2, 3, 4)
				whole.payload = d.payload
			}
		}
		want := loose(whole.plain(), flags)
		f := loose(d.plain(), flags)
		if flags&0x1fff != 0 { // a later fragment has data where the checksum would be
			copy(f.Bytes(), want.Bytes())
			f.Offload = frame.Offload{}
		}
		f.Tag = frame.Tag{TPID: frame.TypeVLAN, TCI: 5}
		mtu := rapid.OneOf(rapid.IntRange(68, 200), rapid.IntRange(200, 4000)).Draw(t, "mtu")
		var pieces []*frame.Frame
		for _, one := range fragment(t, f, mtu) {
			pieces = append(pieces, fragment(t, one, rapid.IntRange(68, mtu).Draw(t, "second mtu"))...)
		}
		pieces = rapid.Permutation(pieces).Draw(t, "order")
		if got := join(t, pieces); !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("\ngot  %x\nwant %x", got, want.Bytes())
		}
	})
}

// drawOptions generates well-formed options, with and without the copied flag.
func drawOptions(t *rapid.T) []byte {
	var out []byte
	for range rapid.IntRange(0, 5).Draw(t, "options") {
		o := rapid.SampledFrom([][]byte{{1}, {0x94, 4, 0, 0}, {7, 7, 4, 0, 0, 0, 0}, {0x83, 7, 4, 1, 2, 3, 4}}).Draw(t, "option")
		out = append(out, o...)
	}
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return out
}

// TestFragmentOptions: the first fragment has all options, the others what has
// the copied flag (RFC 791 clause 3.1), in order, filled up with zeros.
func TestFragmentOptions(t *testing.T) {
	tests := []struct {
		name       string
		in, copied string
	}{
		{"none", "", ""},
		{"router alert", "94040000", "94040000"},
		{"record route", "07070400000000" + "00", ""},
		{"both", "07070400000000" + "94040000" + "00", "94040000"},
		{"loose source route behind no-ops", "01010101" + "83070401020304" + "00", "8307040102030400"},
		{"behind the end", "00" + "94040000" + "000000", ""},
		{"of length 1 before", "9401" + "94040000" + "0000", ""},
		{"beyond the header before", "9409" + "94040000" + "0000", ""},
		{"before a broken one", "94040000" + "9400ffff", "94040000"},
		{"in the last byte", "01010194", ""},
		{"all there is room for", "8328" + strings.Repeat("00", 38), "8328" + strings.Repeat("00", 38)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := loose(packet{version: 4, protocol: frame.ProtoUDP, ipOpts: unhex(t, tt.in), payload: counting(300)}.plain(), 0)
			for i, one := range fragment(t, f, 100) {
				want := tt.in
				if i > 0 {
					want = tt.copied
				}
				var p frame.Parsed
				p.Parse(one)
				if got := hex.EncodeToString(one.Bytes()[p.L3+20 : p.L4]); got != want {
					t.Errorf("fragment %d has options %s, want %s", i, got, want)
				}
			}
		})
	}
}

// TestFragmentGolden cuts 33 bytes behind a record route and a router alert for
// an MTU of 40: the first fragment has 28 bytes of header and room for 8 of
// data, the others lose the record route and have room for 16. The bytes were
// worked out by a program that shares nothing with this package.
func TestFragmentGolden(t *testing.T) {
	const ethernet = "02000000000b02000000000a0800"
	in := ethernet + "4700003dabcd00004011419ec0000201c63364070704040094040000" +
		"14e911510021000068656c6c6f2c20667261676d656e74656420776f726c642121"
	want := []string{
		ethernet + "47000024abcd2000401121b7c0000201c63364070704040094040000" + "14e9115100210000",
		ethernet + "46000028abcd200140112db6c0000201c633640794040000" + "68656c6c6f2c20667261676d656e7465",
		ethernet + "46000021abcd000340114dbbc0000201c633640794040000" + "6420776f726c642121",
	}
	got := fragment(t, newFrame(unhex(t, in)), 40)
	if len(got) != len(want) {
		t.Fatalf("%d fragments, want %d", len(got), len(want))
	}
	for i := range want {
		if hex.EncodeToString(got[i].Bytes()) != want[i] {
			t.Errorf("fragment %d\ngot  %x\nwant %s", i, got[i].Bytes(), want[i])
		}
	}
}

// TestFragmentWhole: a packet that fits stays as it is, without its padding.
func TestFragmentWhole(t *testing.T) {
	f := loose(packet{version: 4, protocol: frame.ProtoUDP, ipOpts: []byte{7, 4, 4, 0}, payload: counting(10), partial: true}.plain(), 0)
	n := len(f.Bytes())
	padded := newFrame(append(slices.Clone(f.Bytes()), make([]byte, 6)...))
	got := fragment(t, padded, n-14)
	if len(got) != 1 || !bytes.Equal(got[0].Bytes(), f.Bytes()) {
		t.Errorf("%d fragments, the first %x", len(got), got[0].Bytes())
	}
	if got := fragment(t, f, n-15); len(got) != 2 {
		t.Errorf("%d fragments for an MTU one less", len(got))
	}
	if f.Offload.Flags&frame.NeedsChecksum != 0 {
		t.Error("the partial checksum was not completed")
	}
}

func TestFragmentRefuses(t *testing.T) {
	base := packet{version: 4, protocol: frame.ProtoUDP, payload: counting(200)}
	long := base
	long.payload = counting(20000)
	lying := loose(base.plain(), 0)
	lying.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 34, CsumOffset: 4000}
	inHeader := loose(base.plain(), 0)
	inHeader.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 33, CsumOffset: 0}
	six := base
	six.version = 6
	arp := base.plain()
	arp.Bytes()[13] = 6
	options := base
	options.ipOpts = make([]byte, 40)
	tests := []struct {
		name string
		f    *frame.Frame
		mtu  int
		ok   bool
	}{
		{"as it should be", loose(base.plain(), 0), 100, true},
		{"DF", loose(base.plain(), 0x4000), 100, false},
		{"DF, and it fits", loose(base.plain(), 0x4000), 1500, false},
		{"IPv6", six.plain(), 100, false},
		{"ARP", arp, 100, false},
		{"a runt", newFrame([]byte{1, 2, 3}), 100, false},
		{"a super-frame", loose(base.super(50), 0), 100, false},
		{"offload that lies", lying, 100, false},
		{"checksum in the IP header", inHeader, 100, false},
		{"MTU of 28", loose(base.plain(), 0), 28, true},
		{"MTU of 27", loose(base.plain(), 0), 27, false},
		{"MTU of 0", loose(base.plain(), 0), 0, false},
		{"MTU below 0", loose(base.plain(), 0), -1, false},
		{"MTU of 68 with all options", loose(options.plain(), 0), 68, true},
		{"MTU of 67 with all options", loose(options.plain(), 0), 67, false},
		{"one of many, not of words of 8", loose(packet{version: 4, protocol: frame.ProtoUDP, payload: counting(201)}.plain(), 0x2000), 100, false},
		{"one that ends beyond 65535", loose(long.plain(), 0x1fff), 1500, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s, ready frame.Fragmenter
			if !ready.Start(loose(base.plain(), 0), 100) {
				t.Fatal("refused")
			}
			s = ready
			if s.Start(tt.f, tt.mtu) != tt.ok || (s.Left() > 0) != tt.ok {
				t.Errorf("Start returned %v, with %d fragments left", !tt.ok, s.Left())
			}
			if !tt.ok && s.Next(new(frame.Frame), make([]byte, 4000)) {
				t.Error("a fragment of nothing")
			}
		})
	}
}

// TestFragmentShortBuffer: a buffer too short loses no fragment.
func TestFragmentShortBuffer(t *testing.T) {
	f := loose(packet{version: 4, protocol: frame.ProtoUDP, payload: counting(200)}.plain(), 0)
	var s frame.Fragmenter
	s.Start(f, 100)
	left := s.Left()
	one := new(frame.Frame)
	// 20 bytes of header and 80 of data, a multiple of 8.
	if s.Next(one, make([]byte, frame.Headroom+14+99)) || s.Left() != left {
		t.Error("a fragment in a buffer too short")
	}
	if !s.Next(one, make([]byte, frame.Headroom+14+100)) || s.Left() != left-1 {
		t.Error("no fragment in a buffer of its size")
	}
}

// FuzzFragment takes any frame and MTU: whatever Start accepts comes out whole.
func FuzzFragment(f *testing.F) {
	for _, p := range []packet{
		{version: 4, protocol: frame.ProtoUDP, payload: counting(200)},
		{version: 4, protocol: frame.ProtoTCP, payload: counting(90), ipOpts: []byte{0x94, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0}, partial: true},
	} {
		l := loose(p.plain(), 0)
		f.Add(l.Bytes(), 100, l.Offload.Flags, l.Offload.CsumStart, l.Offload.CsumOffset)
	}
	f.Fuzz(func(t *testing.T, b []byte, mtu int, flags uint8, start, offset uint16) {
		if len(b) > 4000 {
			return
		}
		fr := newFrame(b)
		fr.Offload = frame.Offload{Flags: flags, CsumStart: start, CsumOffset: offset}
		var s frame.Fragmenter
		if mtu = min(mtu, 70000); !s.Start(fr, mtu) {
			return
		}
		var p frame.Parsed
		p.Parse(fr)
		got := join(t, fragment(t, fr, mtu))
		if !bytes.Equal(got[p.L4:], fr.Bytes()[p.L4:p.End]) {
			t.Fatalf("\ngot  %x\nwant %x", got, fr.Bytes())
		}
	})
}

func TestFragmentDoesNotAllocate(t *testing.T) {
	f := loose(packet{version: 4, protocol: frame.ProtoUDP, payload: counting(3000), ipOpts: []byte{0x94, 4, 0, 0}}.plain(), 0)
	var s frame.Fragmenter
	var one frame.Frame
	buf := make([]byte, 2000)
	mustNotAllocate(t, "Fragmenter", func() {
		s.Start(f, 1400)
		for s.Next(&one, buf) {
		}
	})
}
