package nat

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// TestFragmentsReassemble cuts datagrams anywhere, sends the pieces in any
// order, duplicates among them, and puts together what comes out: it is the
// datagram, translated, once.
func TestFragmentsReassemble(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWire(t, 600, frame.ProtoUDP, frame.ProtoTCP, frame.ProtoICMP, protoGRE)
		w.tags = nil
		w.payload = append(w.payload, make([]byte, 16)...)
		x := &fragmentPath{r: newFragments(), m: drawMove(t)}
		x.m.destination = false
		if w.protocol == frame.ProtoICMP {
			w.head[0] = 8
		}
		n, head := len(w.transport()), 64
		if w.six { // extension headers are cut with the rest
			n, head = len(w.ip())-40, 64+w.headerLen()-40
		}
		cuts := []int{0, n}
		for _, c := range rapid.SliceOfN(rapid.IntRange(0, n/8), 1, 12).Draw(t, "cuts") {
			// The first fragment has the whole TCP header: the table asks for it.
			if (c*8 >= head || w.protocol != frame.ProtoTCP && c*8 > head-64) && c > 0 && !slices.Contains(cuts, c*8) {
				cuts = append(cuts, c*8)
			}
		}
		slices.Sort(cuts)
		var order []int
		for i := range len(cuts) - 1 {
			order = append(order, i)
		}
		if len(order) == 1 {
			return // no fragment
		}
		order = rapid.Permutation(order).Draw(t, "order")
		// A duplicate, before the last one: afterwards it is a datagram anew.
		duplicate := rapid.IntRange(0, len(order)-2).Draw(t, "duplicate")
		sent := slices.Insert(slices.Clone(order), duplicate+1, order[duplicate])
		for i, piece := range sent {
			f, p := fragmentOf(w, cuts[piece], cuts[piece+1])
			v := x.take(f, p, 1)
			if isDuplicate := i == duplicate+1; isDuplicate != (v == Fragmented) {
				t.Fatalf("piece %d of %v: %v", i, sent, v)
			}
			for i := range f.Bytes() { // what is held must be a copy
				if v == Held {
					f.Bytes()[i] = 0xcc
				}
			}
		}
		moved := x.m.of(w)
		if got, want := reassemble(x.on), moved.ip(); !bytes.Equal(got, want) {
			t.Fatalf("%v\ngot  %x\nwant %x", sent, got, want)
		}
		for _, f := range x.on {
			var p frame.Parsed
			p.Parse(f)
			if p.Src() != x.m.endpoint(&p).Addr || !w.six && naiveSum(f.Bytes()[p.L3:p.L4]) != 0xffff {
				t.Fatalf("a fragment passed as it was: %x", f.Bytes())
			}
		}
		if len(x.r.datagrams) != 0 {
			t.Fatalf("%d datagrams are left", len(x.r.datagrams))
		}
		checkFragments(t, x.r)
	})
}

// TestFragmentsAnyPieces sends pieces at random: whatever passes belongs to one
// datagram without overlaps, and is translated.
func TestFragmentsAnyPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := fragmented(1, 1)
		w.six = rapid.Bool().Draw(t, "IPv6")
		x := &fragmentPath{r: newFragments(), m: wireMove{to: [4]byte{203, 0, 113, 9}, port: 7}}
		var seen []piece
		dead := false
		for range rapid.IntRange(1, 14).Draw(t, "pieces") {
			start := rapid.IntRange(0, 5).Draw(t, "start") * 8
			end := min(start+8*rapid.IntRange(1, 6).Draw(t, "length"), 48)
			if start == 0 && end == 48 {
				continue // no fragment
			}
			f, p := fragmentOf(w, start, end)
			before := len(x.on)
			v := x.take(f, p, 1)
			one := piece{uint16(start), uint16(end)}
			clash := slices.ContainsFunc(seen, func(o piece) bool { return o != one && o.start < one.end && one.start < o.end })
			switch {
			case dead || clash:
				dead = true
				if v != Fragmented || len(x.on) != before {
					t.Fatalf("%v after %v: %v", one, seen, v)
				}
			case slices.Contains(seen, one):
				if v != Fragmented {
					t.Fatalf("duplicate %v after %v: %v", one, seen, v)
				}
			default:
				seen = append(seen, one)
				if v == Fragmented {
					t.Fatalf("%v after %v: %v", one, seen, v)
				}
			}
			if len(x.r.datagrams) == 0 { // complete: a new one begins
				seen = nil
			}
			checkFragments(t, x.r)
		}
		for _, f := range x.on {
			var p frame.Parsed
			if p.Parse(f); p.Src() != x.m.endpoint(&p).Addr {
				t.Fatalf("untranslated: %x", f.Bytes())
			}
		}
	})
}

// TestFragmentsRefused has single datagrams that must not pass, by their pieces
// in bytes: one of each row's pieces is dropped, and with kill all after it.
func TestFragmentsRefused(t *testing.T) {
	type step struct {
		start, end int
		more       bool
		want       Verdict
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"in order", []step{{0, 8, true, Translated}, {8, 16, true, Translated}, {16, 21, false, Translated}}},
		{"overlap by 8 bytes", []step{{0, 16, true, Translated}, {8, 24, true, Fragmented}, {24, 30, false, Fragmented}}},
		{"overlap before the first", []step{{16, 32, true, Held}, {24, 40, false, Fragmented}, {0, 16, true, Fragmented}}},
		{"first over a held one", []step{{8, 24, true, Held}, {0, 16, true, Fragmented}, {24, 30, false, Fragmented}}},
		{"second first, longer", []step{{0, 8, true, Translated}, {0, 16, true, Fragmented}, {16, 20, false, Fragmented}}},
		{"second first, the same", []step{{0, 8, true, Translated}, {0, 8, true, Fragmented}, {8, 16, false, Translated}}},
		{"within another", []step{{0, 32, true, Translated}, {8, 16, true, Fragmented}, {32, 40, false, Fragmented}}},
		{"around another", []step{{0, 8, true, Translated}, {16, 24, true, Translated}, {8, 32, true, Fragmented}, {8, 16, true, Fragmented}}},
		{"two ends", []step{{0, 8, true, Translated}, {16, 24, false, Translated}, {24, 32, false, Fragmented}, {8, 16, true, Fragmented}}},
		{"behind the end", []step{{0, 8, true, Translated}, {16, 24, false, Translated}, {24, 32, true, Fragmented}, {8, 16, true, Fragmented}}},
		{"end before what was seen", []step{{0, 8, true, Translated}, {24, 32, true, Translated}, {16, 24, false, Fragmented}}},
		{"the last, then the same as one of many", []step{{0, 8, true, Translated}, {16, 24, false, Translated}, {16, 24, true, Fragmented}, {8, 16, true, Fragmented}}},
		{"not a multiple of 8", []step{{8, 15, true, Fragmented}, {0, 8, true, Translated}}},
		{"no data", []step{{8, 8, true, Fragmented}, {8, 8, false, Fragmented}, {0, 8, true, Translated}}},
		{"longer than any packet", []step{{65504, 65536, false, Fragmented}, {0, 8, true, Translated}}},
		{"longer than any of IPv4", []step{{65504, 65516, false, Fragmented}, {0, 8, true, Translated}}},
		{"as long as any packet", []step{{65504, 65515, false, Held}, {0, 8, true, Translated}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := &fragmentPath{r: newFragments(), m: wireMove{to: [4]byte{203, 0, 113, 9}, port: 7}}
			for i, s := range tt.steps {
				w := fragmented(7, 1)
				w.flags = uint16(s.start / 8)
				if s.more {
					w.flags |= 0x2000
				}
				b := w.bytes()[:34]
				b = append(b, make([]byte, s.end-s.start)...)
				binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
				f, p := wireFrame(b)
				if v := x.take(f, p, 1); v != s.want {
					t.Errorf("step %d, %+v: %v, want %v", i, s, v, s.want)
				}
			}
			checkFragments(t, x.r)
		})
	}
}

// TestFragmentsSuper: a super-frame is never a fragment.
func TestFragmentsSuper(t *testing.T) {
	x := &fragmentPath{r: newFragments()}
	f, p := fragmentOf(fragmented(1, 1), 16, 48)
	f.Offload.GSOType = frame.GSOUDPL4
	if v := x.take(f, p, 1); v != Fragmented || len(x.r.datagrams) != 0 {
		t.Errorf("%v, %d datagrams", v, len(x.r.datagrams))
	}
}

// TestFragmentsFromOutside: what was held from outside gets its destination.
func TestFragmentsFromOutside(t *testing.T) {
	r := newFragments()
	w := fragmented(1, 1)
	f, p := fragmentOf(w, 16, 48)
	if _, _, v := r.later(datagramOf(0, 0, p), f, p, 1); v != Held {
		t.Fatal(v)
	}
	to := [4]byte{192, 168, 122, 10}
	f, p = fragmentOf(w, 0, 16)
	held, ok := r.first(datagramOf(0, 0, p), f, p, wireEndpoint(to, 0).Addr, 3, 1)
	if !ok || len(held) != 1 {
		t.Fatalf("%v, %d held", ok, len(held))
	}
	w.dst = to
	want, _ := fragmentOf(w, 16, 48)
	if !bytes.Equal(held[0].Bytes(), want.Bytes()) || held[0].Room() < frame.Headroom {
		t.Errorf("room %d\ngot  %x\nwant %x", held[0].Room(), held[0].Bytes(), want.Bytes())
	}
}

// TestFragmentsKeepApart: side, addresses, identification and protocol each
// make a datagram another.
func TestFragmentsKeepApart(t *testing.T) {
	r := newFragments()
	f, p := fragmentOf(fragmented(1, 1), 0, 16)
	d := datagramOf(1, 0, p)
	if _, ok := r.first(d, f, p, [16]byte{1}, 3, 1); !ok {
		t.Fatal("refused")
	}
	others := []datagram{d, d, d, d, d}
	others[0].Side++
	others[1].Src[15]++
	others[2].Dst[15]++
	others[3].ID++
	others[4].Protocol++
	f, p = fragmentOf(fragmented(1, 1), 16, 32)
	for i, o := range others {
		if _, _, v := r.later(o, f, p, 1); v != Held {
			t.Errorf("other %d: %v", i, v)
		}
	}
	if to, z, v := r.later(d, f, p, 1); v != Translated || z != 3 || to != [16]byte{1} {
		t.Errorf("%v %v %v", to, z, v)
	}
}

// TestFragmentsRefuse: the later fragments share the fate of the first.
func TestFragmentsRefuse(t *testing.T) {
	for _, v := range []Verdict{NotMine, Filtered, PortsFull} {
		r := newFragments()
		later := func() Verdict {
			f, p := fragmentOf(fragmented(1, 1), 16, 32)
			_, _, v := r.later(datagramOf(0, 0, p), f, p, 1)
			return v
		}
		_, p := fragmentOf(fragmented(1, 1), 0, 16)
		if got := later(); got != Held {
			t.Fatal(got)
		}
		r.refuse(datagramOf(0, 0, p), v, 1)
		if got := later(); got != v {
			t.Errorf("later: %v, want %v", got, v)
		}
		checkFragments(t, r)
		if n := r.heldBytes(); n != 0 {
			t.Errorf("%d bytes are held", n)
		}
		f, p := fragmentOf(fragmented(1, 1), 0, 16)
		if _, ok := r.first(datagramOf(0, 0, p), f, p, [16]byte{}, 0, 1); ok {
			t.Error("a second first fragment passed")
		}
		r.refuse(datagramOf(0, 0, p), Invalid, 2)
		if got := later(); got != v {
			t.Errorf("later, after a second refusal: %v, want %v", got, v)
		}
	}
}

// TestFragmentsExpire: thirty seconds from the first piece, whichever it was.
func TestFragmentsExpire(t *testing.T) {
	w := fragmented(1, 1)
	for _, firstFirst := range []bool{true, false} {
		for _, sweep := range []bool{true, false} {
			x := &fragmentPath{r: newFragments(), m: wireMove{to: [4]byte{1, 2, 3, 4}}}
			cuts := [][2]int{{0, 16}, {16, 32}, {32, 48}}
			if !firstFirst {
				cuts[0], cuts[1] = cuts[1], cuts[0]
			}
			take := func(i int, now uint32) Verdict {
				if sweep {
					x.r.expire(now)
				}
				f, p := fragmentOf(w, cuts[i][0], cuts[i][1])
				return x.take(f, p, now)
			}
			take(0, 100)
			if v := take(1, 129); v != Translated {
				t.Errorf("first=%v sweep=%v: after 29 s %v", firstFirst, sweep, v)
			}
			if v := take(2, 130); v != Held {
				t.Errorf("first=%v sweep=%v: after 30 s %v", firstFirst, sweep, v)
			}
			x.r.expire(130 + fragmentSeconds)
			if len(x.r.datagrams) != 0 || x.r.heldBytes() != 0 {
				t.Errorf("%d datagrams and %d bytes are left", len(x.r.datagrams), x.r.heldBytes())
			}
			checkFragments(t, x.r)
		}
	}
}

// TestFragmentsIdentificationAgain: a complete datagram's identification is
// free at once, in order and out of order.
func TestFragmentsIdentificationAgain(t *testing.T) {
	x := &fragmentPath{r: newFragments(), m: wireMove{to: [4]byte{1, 2, 3, 4}}}
	for round := range 10 {
		for i := range 3 {
			i = (i + round) % 3
			f, p := fragmentOf(fragmented(9, 1), i*16, i*16+16)
			if v := x.take(f, p, 1); v == Fragmented {
				t.Fatalf("round %d: %v", round, v)
			}
		}
		if len(x.on) != 3*(round+1) {
			t.Fatalf("round %d: %d fragments came out", round, len(x.on))
		}
	}
}

// TestFragmentsManyPieces: maxPieces pass, one more kills.
func TestFragmentsManyPieces(t *testing.T) {
	x := &fragmentPath{r: newFragments(), m: wireMove{to: [4]byte{1, 2, 3, 4}}}
	w := fragmented(1, 1)
	w.payload = make([]byte, 8*(maxPieces+2))
	for i := range maxPieces + 2 {
		f, p := fragmentOf(w, i*8, i*8+8)
		if v := x.take(f, p, 1); (v == Translated) != (i < maxPieces) {
			t.Fatalf("piece %d: %v", i, v)
		}
	}
}
