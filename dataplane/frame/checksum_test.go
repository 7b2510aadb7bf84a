package frame_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

func TestChecksum(t *testing.T) {
	tests := []struct {
		name    string
		b       []byte
		initial uint64
		want    uint16
	}{
		{"RFC 1071 clause 3", []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0, 0x220d},
		{"nothing", nil, 0, 0xffff},
		{"one byte", []byte{0x12}, 0, ^uint16(0x1200)},
		{"initial only", nil, 0x1_2345, ^uint16(0x2346)},
		{"initial of 64 bits", nil, 0xffff_0001_0000_0002, ^uint16(3)},
		{"a carry in the last step", nil, 0xffff_ffff_0001_0000, ^uint16(1)},
		{"all ones", bytes.Repeat([]byte{0xff}, 1000), 0, 0},
		{"all ones and an odd one", bytes.Repeat([]byte{0xff}, 65535), 0, 0x00ff},
		{"carry out of every word", append(bytes.Repeat([]byte{0xff}, 64), 0, 1), 0, 0xfffe},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := frame.Checksum(tt.b, tt.initial); got != tt.want {
				t.Errorf("got %#04x, want %#04x", got, tt.want)
			}
		})
	}
}

// TestChecksumEveryLength meets every tail of the unrolled loop.
func TestChecksumEveryLength(t *testing.T) {
	b := counting(300)
	for i := range b {
		b[i] |= 0xc0 // for many carries
	}
	for n := range b {
		if got, want := frame.Checksum(b[:n], 0), ^slowSum(b[:n]); got != want {
			t.Errorf("%d bytes: got %#04x, want %#04x", n, got, want)
		}
	}
}

func TestChecksumProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		initial := rapid.Uint32().Draw(t, "initial")
		head := binary.BigEndian.AppendUint32(nil, initial)
		if got, want := frame.Checksum(b, uint64(initial)), ^slowSum(append(head, b...)); got != want {
			t.Fatalf("got %#04x, want %#04x", got, want)
		}
	})
}

func TestPseudoHeader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.SampledFrom([]int{4, 6}).Draw(t, "version")
		n := map[int]int{4: 4, 6: 16}[version]
		addresses := rapid.SliceOfN(rapid.Byte(), 2*n, 2*n).Draw(t, "addresses")
		protocol := rapid.Uint8().Draw(t, "protocol")
		length := rapid.IntRange(0, 65535).Draw(t, "length")
		ip := append(make([]byte, map[int]int{4: 12, 6: 8}[version]), addresses...)
		ip[0] = byte(version << 4)
		want := ^slowSum(pseudo(ip, protocol, length))
		got := frame.Checksum(nil, frame.PseudoHeader(addresses[:n], addresses[n:], protocol, length))
		if got != want {
			t.Fatalf("got %#04x, want %#04x", got, want)
		}
	})
}

// TestPseudoHeaderMapped: a mapped address sums up like the address it holds.
func TestPseudoHeaderMapped(t *testing.T) {
	b := packet{version: 4, protocol: frame.ProtoTCP}.build()
	p := parse(b.bytes)
	src, dst := p.Src(), p.Dst()
	sum := frame.PseudoHeader(src[:], dst[:], p.Protocol, p.End-p.L4)
	if got := frame.Checksum(b.bytes[p.L4:p.End], sum); got != 0 {
		t.Errorf("the checksum of a good packet is %#04x, want 0", got)
	}
}

// TestUpdateChecksum replaces words as NAT does and compares with a full
// recompute. The example of RFC 1624 clause 4 is the one that RFC 1141 gets wrong.
func TestUpdateChecksum(t *testing.T) {
	if got := frame.UpdateChecksum16(0xdd2f, 0x5555, 0x3285); got != 0x0000 {
		t.Errorf("RFC 1624 clause 4: got %#04x, want 0", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 8, 64).Draw(t, "bytes")
		b[0] |= 1 // words that are all zero have the sum 0, which no update finds
		check := frame.Checksum(b, 0)
		at := 2 * rapid.IntRange(1, len(b)/2-2).Draw(t, "word")
		if rapid.Bool().Draw(t, "32 bits") {
			before, after := binary.BigEndian.Uint32(b[at:]), rapid.Uint32().Draw(t, "after")
			binary.BigEndian.PutUint32(b[at:], after)
			check = frame.UpdateChecksum32(check, before, after)
		} else {
			before, after := binary.BigEndian.Uint16(b[at:]), rapid.Uint16().Draw(t, "after")
			binary.BigEndian.PutUint16(b[at:], after)
			check = frame.UpdateChecksum16(check, before, after)
		}
		if want := frame.Checksum(b, 0); check != want {
			t.Fatalf("got %#04x, want %#04x", check, want)
		}
	})
}

// TestUpdatePartialChecksum follows the rule that UpdateChecksum16 states: an
// address is replaced while the checksum is still partial.
func TestUpdatePartialChecksum(t *testing.T) {
	p := packet{version: 4, protocol: frame.ProtoTCP, payload: counting(99), partial: true}
	f, b := p.plain(), p.build()
	source, field := f.Bytes()[b.l3+12:], f.Bytes()[b.l4+16:]
	before, after := binary.BigEndian.Uint32(source), uint32(0xc6336401)
	binary.BigEndian.PutUint32(source, after)
	partial := ^frame.UpdateChecksum32(^binary.BigEndian.Uint16(field), before, after)
	binary.BigEndian.PutUint16(field, partial)
	f.CompleteChecksum()
	l4 := f.Bytes()[b.l4:]
	if got := ^slowSum(append(pseudo(f.Bytes()[b.l3:], p.protocol, len(l4)), l4...)); got != 0 {
		t.Errorf("checksum is off by %#04x", got)
	}
}

// TestCompleteChecksum: a partial checksum, completed, is the packet that was
// built with a full one, and nothing else changes.
func TestCompleteChecksum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPacket(t, 2000)
		want := p.build().bytes
		p.partial = true
		f := p.plain()
		f.CompleteChecksum()
		if !bytes.Equal(f.Bytes(), want) {
			t.Fatalf("got  %x\nwant %x", f.Bytes(), want)
		}
		if f.Offload != (frame.Offload{}) {
			t.Fatalf("left over: %+v", f.Offload)
		}
	})
}

func TestCompleteChecksumZero(t *testing.T) {
	for _, tt := range []struct {
		protocol uint8
		want     uint16
	}{{frame.ProtoUDP, 0xffff}, {frame.ProtoTCP, 0}} {
		p := packet{version: 4, protocol: tt.protocol, payload: make([]byte, 8)}
		b := p.build()
		at := b.l4 + b.csumOffset
		copy(p.payload, b.bytes[at:at+2]) // what makes the sum all ones
		p.partial = true
		f := p.plain()
		f.CompleteChecksum()
		if got := binary.BigEndian.Uint16(f.Bytes()[at:]); got != tt.want {
			t.Errorf("protocol %d: checksum %#04x, want %#04x", tt.protocol, got, tt.want)
		}
	}
}

// TestCompleteChecksumLeavesAlone what is not its business.
func TestCompleteChecksumLeavesAlone(t *testing.T) {
	p := packet{version: 4, protocol: frame.ProtoTCP, payload: counting(99), partial: true}
	lying := p.plain()
	lying.Offload.CsumOffset = 9999
	complete := p.plain()
	complete.Offload = frame.Offload{Flags: frame.ChecksumValid}
	for name, f := range map[string]*frame.Frame{"a lie": lying, "a super-frame": p.super(50), "a complete one": complete} {
		before, offload := slices.Clone(f.Bytes()), f.Offload
		f.CompleteChecksum()
		if !bytes.Equal(before, f.Bytes()) || f.Offload != offload {
			t.Errorf("%s was changed", name)
		}
	}
}

// TestCompleteChecksumKeepsFlags: only NeedsChecksum goes.
func TestCompleteChecksumKeepsFlags(t *testing.T) {
	f := packet{version: 6, protocol: frame.ProtoUDP, partial: true}.plain()
	f.Offload.Flags |= frame.ChecksumValid
	f.CompleteChecksum()
	if f.Offload.Flags != frame.ChecksumValid {
		t.Errorf("flags %#x", f.Offload.Flags)
	}
}

func TestChecksumDoesNotAllocate(t *testing.T) {
	f := packet{version: 4, protocol: frame.ProtoUDP, payload: counting(1000), partial: true}.plain()
	offload := f.Offload
	mustNotAllocate(t, "CompleteChecksum", func() {
		f.Offload = offload
		f.CompleteChecksum()
	})
	if f.Offload.Flags != 0 {
		t.Error("not completed")
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{20, 64, 1460, 65535} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := counting(n)
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				frame.Checksum(data, 0)
			}
		})
	}
}

func BenchmarkUpdateChecksum32(b *testing.B) {
	check := uint16(0x1234)
	for b.Loop() {
		check = frame.UpdateChecksum32(check, 0x0a000001, 0xc6336401)
	}
}
