package nat

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// TestClampMSS has the options where they may be, and where they lie.
func TestClampMSS(t *testing.T) {
	tests := []struct {
		name      string
		flags     byte
		in, out   []byte
		unchanged bool
	}{
		{"syn", 2, []byte{2, 4, 5, 0xb4}, []byte{2, 4, 5, 0x14}, false},
		{"syn-ack", 0x12, []byte{2, 4, 5, 0xb4}, []byte{2, 4, 5, 0x14}, false},
		{"behind a no-op, odd", 2, []byte{1, 2, 4, 5, 0xb4, 1, 1, 1}, []byte{1, 2, 4, 5, 0x14, 1, 1, 1}, false},
		{"odd, the high byte too", 2, []byte{1, 2, 4, 0xff, 0xff, 1, 1, 1}, []byte{1, 2, 4, 5, 0x14, 1, 1, 1}, false},
		{"behind another", 2, []byte{3, 3, 7, 2, 4, 0x23, 0, 0}, []byte{3, 3, 7, 2, 4, 5, 0x14, 0}, false},
		{"twice", 2, []byte{2, 4, 5, 0xb4, 2, 4, 0x23, 0}, []byte{2, 4, 5, 0x14, 2, 4, 5, 0x14}, false},
		{"no syn", 0x10, []byte{2, 4, 5, 0xb4}, nil, true},
		{"equal", 2, []byte{2, 4, 5, 0x14}, nil, true},
		{"smaller", 2, []byte{2, 4, 2, 0x18}, nil, true},
		{"none", 2, nil, nil, true},
		{"other options", 2, []byte{1, 3, 3, 7}, nil, true},
		{"behind the end", 2, []byte{0, 2, 4, 5, 0xb4, 0, 0, 0}, nil, true},
		{"behind an end that has a length", 2, []byte{0, 2, 2, 4, 5, 0xb4, 0, 0}, nil, true},
		{"of length 3", 2, []byte{2, 3, 5, 0xb4}, nil, true},
		{"of length 5", 2, []byte{2, 5, 5, 0xb4, 1, 0, 0, 0}, nil, true},
		{"beyond the header", 2, []byte{1, 1, 2, 4}, nil, true},
		{"length 0 before", 2, []byte{9, 0, 2, 4, 5, 0xb4, 0, 0}, nil, true},
		{"length 1 before", 2, []byte{9, 1, 2, 4, 5, 0xb4, 0, 0}, nil, true},
		{"in the last byte", 2, []byte{1, 1, 1, 2}, nil, true},
	}
	for _, tt := range tests {
		for _, partial := range []bool{false, true} {
			w := wire{protocol: frame.ProtoTCP, src: [4]byte{10, 0, 0, 1}, dst: [4]byte{10, 0, 0, 2}, partial: partial,
				head: append([]byte{tt.flags}, tt.in...), payload: []byte("fast open")}
			for _, w.six = range []bool{false, true} {
				w.head = append([]byte{tt.flags}, tt.in...)
				f, p := w.frame()
				if got := ClampMSS(f, p, 1300); got == tt.unchanged {
					t.Errorf("%s, partial %v, IPv6 %v: %v", tt.name, partial, w.six, got)
				}
				if !tt.unchanged {
					w.head = append([]byte{tt.flags}, tt.out...)
				}
				if !bytes.Equal(f.Bytes(), w.bytes()) {
					t.Errorf("%s, partial %v, IPv6 %v\ngot  %x\nwant %x", tt.name, partial, w.six, f.Bytes(), w.bytes())
				}
			}
		}
	}
}

// TestClampMSSKeepsChecksum draws the options: whatever is done to them, the
// checksum is that of the bytes, and nothing outside of the options changes.
func TestClampMSSKeepsChecksum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWire(t, 40, frame.ProtoTCP)
		option := rapid.SampledFrom([][]byte{{1}, {2, 4, 0xff, 0xff}, {2, 4, 5, 0xb4}, {3, 3, 7}, {4, 2}})
		var options []byte
		for _, o := range rapid.SliceOfN(option, 0, 9).Draw(t, "options") {
			options = append(options, o...)
		}
		for len(options)%4 != 0 {
			options = append(options, 0)
		}
		w.head = append([]byte{w.head[0] | 2}, options...)
		w.partial = rapid.Bool().Draw(t, "partial")
		mss := rapid.Uint16().Draw(t, "mss")
		f, p := w.frame()
		before := slices.Clone(f.Bytes())
		changed := ClampMSS(f, p, mss)
		if changed == bytes.Equal(before, f.Bytes()) {
			t.Fatalf("said %v", changed)
		}
		if w.partial {
			f.CompleteChecksum()
		}
		checkWire(t, f.Bytes())
		h := f.Bytes()[p.L4:p.Payload]
		for at := 20; at < len(h) && h[at] != 0; {
			switch {
			case h[at] == 1:
				at++
			case h[at] == 2 && binary.BigEndian.Uint16(h[at+2:]) > mss:
				t.Fatalf("%x at %d above %d", h, at, mss)
			default:
				at += int(h[at+1])
			}
		}
	})
}

// TestClampMSSTunnel: a partial checksum elsewhere is not the SYN's.
func TestClampMSSTunnel(t *testing.T) {
	w := wire{protocol: frame.ProtoTCP, head: []byte{2, 2, 4, 5, 0xb4}, payload: make([]byte, 40)}
	f, p := w.frame()
	f.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: uint16(p.Payload), CsumOffset: 16}
	if !ClampMSS(f, p, 1400) {
		t.Fatal("not clamped")
	}
	checkWire(t, f.Bytes())
}

// TestClampMSSOthers: what is not a TCP header is left alone.
func TestClampMSSOthers(t *testing.T) {
	for _, w := range []wire{
		{protocol: frame.ProtoUDP, payload: make([]byte, 40)},
		{protocol: frame.ProtoTCP, head: []byte{2, 2, 4, 5, 0xb4}, flags: 1},
		{protocol: frame.ProtoICMP, head: []byte{2, 0}, payload: []byte{0, 0, 0, 0, 0x60, 2, 0, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4}},
	} {
		f, p := w.frame()
		if ClampMSS(f, p, 100) || !bytes.Equal(f.Bytes(), w.bytes()) {
			t.Errorf("protocol %d was clamped", w.protocol)
		}
	}
}

// TestClampMSSOfIPv6: the header is the same, and its checksum too.
func TestClampMSSOfIPv6(t *testing.T) {
	tcp := (&wire{protocol: frame.ProtoTCP, head: []byte{2, 2, 4, 5, 0xb4}}).transport()
	b := append([]byte{2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(tcp)), 6, 64}, make([]byte, 32)...)
	b = append(b, tcp...)
	pseudo := []byte{0, byte(len(tcp)), 0, 6} // the addresses are zero
	binary.BigEndian.PutUint16(b[54+16:], ^naiveSum(append(pseudo, tcp...)))
	f, p := wireFrame(b)
	if !ClampMSS(f, p, 1200) {
		t.Fatal("not clamped")
	}
	if sum := naiveSum(append(pseudo, f.Bytes()[54:]...)); sum != 0xffff {
		t.Errorf("the sum is %#x", sum)
	}
}
