package nat

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

func TestRewriteDoesNotAllocate(t *testing.T) {
	to := wireEndpoint([4]byte{192, 0, 2, 77}, 1024)
	for _, protocol := range []uint8{frame.ProtoTCP, frame.ProtoUDP, frame.ProtoICMP, 136, protoGRE} {
		w := wire{protocol: protocol, head: []byte{8, 0, 0, 0, 0}[:2], sport: 1, dport: 2}
		if protocol == frame.ProtoTCP {
			w.head = []byte{2, 2, 4, 5, 0xb4}
		}
		f, p := w.frame()
		mustNotAllocateHere(t, "setSource", func() { setSource(f, p, new(to)) })
		mustNotAllocateHere(t, "setDestination", func() { setDestination(f, p, new(to)) })
		mustNotAllocateHere(t, "ClampMSS", func() { ClampMSS(f, p, 1400) })
	}
}

// FuzzRewrite takes any frame: nothing but the fields of an end and checksums
// may change, and a rewrite there and back leaves an equal sum.
func FuzzRewrite(f *testing.F) {
	seeds := []wire{
		{protocol: frame.ProtoTCP, head: []byte{2, 2, 4, 5, 0xb4}}, {protocol: frame.ProtoUDP, payload: []byte("x")},
		{protocol: frame.ProtoICMP, head: []byte{8, 0}}, {protocol: 33}, {protocol: 136, flags: 0x2000}, {protocol: protoGRE, ipOptions: make([]byte, 8)},
	}
	for _, w := range seeds {
		f.Add(w.bytes(), uint8(0), uint16(34), uint16(6), uint32(0x01020304), uint16(99))
		w.six = true
		f.Add(w.bytes(), uint8(0), uint16(54), uint16(6), uint32(0x01020304), uint16(99))
	}
	f.Fuzz(func(t *testing.T, b []byte, flags uint8, start, offset uint16, addr uint32, port uint16) {
		fr, p := wireFrame(b)
		fr.Offload = frame.Offload{Flags: flags & frame.NeedsChecksum, CsumStart: start, CsumOffset: offset}
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], addr)
		w := wire{six: p.IPVersion == 6}
		to := w.endpoint(a, port)
		setSource(fr, p, &to)
		setDestination(fr, p, &to)
		ClampMSS(fr, p, port)
		changed := 0
		for i, v := range fr.Bytes() {
			if v != b[i] {
				changed++
			}
		}
		// Two addresses, two ports, two checksums, and as many MSS options as fit.
		if changed > 32+4+4+20 {
			t.Fatalf("%d bytes changed", changed)
		}
		if p.IPVersion != 0 && (p.Src() != to.Addr || p.Dst() != to.Addr) {
			t.Fatalf("the addresses are %v and %v", p.Src(), p.Dst())
		}
	})
}

func BenchmarkSetSource(b *testing.B) {
	for _, partial := range []bool{false, true} {
		b.Run(fmt.Sprintf("partial=%v", partial), func(b *testing.B) {
			w := wire{protocol: frame.ProtoTCP, head: []byte{16}, partial: partial}
			f, p := w.frame()
			to := wireEndpoint([4]byte{192, 0, 2, 77}, 1024)
			b.ReportAllocs()
			for b.Loop() {
				setSource(f, p, new(to))
			}
		})
	}
}
