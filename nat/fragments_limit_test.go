package nat

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// heldBytes counts what is held, by looking at it.
func (r *fragments) heldBytes() (n int) {
	for _, a := range r.datagrams {
		for _, f := range a.held {
			n += f.Room() + len(f.Bytes()) + heldFrameBytes
		}
	}
	return n
}

// checkFragments counts everything anew, and holds it against the limits.
func checkFragments(t interface{ Fatalf(string, ...any) }, r *fragments) {
	type sum struct{ n, bytes int }
	counts := map[*pool]map[shareKey]sum{&r.waiting: {}, &r.decided: {}}
	for d, a := range r.datagrams {
		if d != a.key || a.verdict == Held != (a.pool == &r.waiting) || len(a.pieces) > maxPieces {
			t.Fatalf("%v: %+v", d, a)
		}
		held := 0
		for _, f := range a.held {
			held += f.Room() + len(f.Bytes()) + heldFrameBytes
		}
		if held != a.heldBytes {
			t.Fatalf("%d bytes are held, %d counted", held, a.heldBytes)
		}
		for level := range levels {
			key := d.share(level)
			s := counts[a.pool][key]
			counts[a.pool][key] = sum{s.n + 1, s.bytes + held}
		}
	}
	for p, want := range counts {
		if len(p.shares) != len(want) {
			t.Fatalf("%d shares, want %d", len(p.shares), len(want))
		}
		for key, w := range want {
			s := p.shares[key]
			if s == nil || s.order.Len() != w.n || s.bytes != w.bytes {
				t.Fatalf("share %v: %+v, want %v", key, s, w)
			}
			part := key.part()
			if w.n > p.entries/part || w.bytes > p.bytes/part {
				t.Fatalf("share %v has %v, above its limit", key, w)
			}
		}
	}
}

// TestFragmentsBounded floods with fragments that never become a datagram, of
// one source and of many, with and without a first one.
func TestFragmentsBounded(t *testing.T) {
	big := wire{protocol: frame.ProtoUDP, dst: [4]byte{192, 0, 2, 1}, noSum: true, payload: make([]byte, 12000)}
	for name, spread := range map[string]int{"one source": 1, "many sources": 3000} {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, first %v", name, first), func(t *testing.T) {
				r := newFragments()
				for i := range 9000 {
					w := big
					w.id = uint16(i)
					n := i % spread
					w.src = [4]byte{10, 9, byte(n >> 8), byte(n)}
					if first {
						f, p := fragmentOf(w, 0, 16)
						r.first(datagramOf(0, 0, p), f, p, [16]byte{}, 0, 1)
					} else {
						f, p := fragmentOf(w, 16, 16+1400*(1+i%8))
						r.later(datagramOf(0, 0, p), f, p, 1)
					}
				}
				checkFragments(t, r)
				limit := maxWaiting
				if first {
					limit = maxDecided
				}
				limit /= shareOf[levelSide]
				if spread == 1 {
					limit /= shareOf[levelSource] / shareOf[levelSide]
				}
				if n := len(r.datagrams); n > limit || first && n != limit {
					t.Errorf("%d datagrams, limit %d", n, limit)
				}
				if n := r.heldBytes(); n > maxHeldBytes/2 {
					t.Errorf("%d bytes are held", n)
				}
			})
		}
	}
}

// TestFragmentsShare: however one source floods, and however many outside ones
// do, the datagrams of another one come through out of order.
func TestFragmentsShare(t *testing.T) {
	for name, flood := range map[string]func(i int) (uint32, wire){
		"one guest": func(i int) (uint32, wire) { return 8, fragmented(uint16(i), 66) },
		"outside": func(i int) (uint32, wire) {
			w := fragmented(uint16(i), 66)
			w.src = [4]byte{172, 16, byte(i >> 8), byte(i)}
			return 0, w
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := &fragmentPath{r: newFragments(), m: wireMove{to: [4]byte{1, 2, 3, 4}}}
			good := fragmented(1, 1)
			f, p := fragmentOf(good, 16, 48)
			if v := x.take(f, p, 1); v != Held {
				t.Fatal(v)
			}
			for i := range 20000 {
				side, w := flood(i)
				w.payload, w.noSum = make([]byte, 1400), true
				f, p := fragmentOf(w, 16, 1408)
				if _, _, v := x.r.later(datagramOf(side, 0, p), f, p, 1); v != Held {
					t.Fatalf("flood %d: %v", i, v)
				}
			}
			f, p = fragmentOf(good, 0, 16)
			if v := x.take(f, p, 1); v != Translated || len(x.on) != 2 {
				t.Errorf("%v, and %d fragments came out", v, len(x.on))
			}
			checkFragments(t, x.r)
		})
	}
}

// TestFragmentsTooMuchHeld: one datagram that alone is more than its source may
// hold dies; the memory is free again.
func TestFragmentsTooMuchHeld(t *testing.T) {
	r := newFragments()
	w := fragmented(1, 1)
	w.payload = make([]byte, 60000)
	pad := bytes.Repeat([]byte{0}, 60000) // Ethernet padding is held, too
	var last Verdict
	for i := 1; i < 20 && last != Fragmented; i++ {
		f, _ := fragmentOf(w, i*8, i*8+8)
		f, p := wireFrame(append(slices.Clone(f.Bytes()), pad...))
		_, _, last = r.later(datagramOf(8, 0, p), f, p, 1)
		if n := r.heldBytes(); n > maxHeldBytes/16 {
			t.Fatalf("%d bytes are held", n)
		}
	}
	if last != Fragmented || r.heldBytes() != 0 {
		t.Errorf("%v, and %d bytes are held", last, r.heldBytes())
	}
	checkFragments(t, r)
}

// TestFragmentsConcurrent is for the race detector.
func TestFragmentsConcurrent(t *testing.T) {
	r := newFragments()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			x := &fragmentPath{r: r, m: wireMove{to: [4]byte{1, 2, 3, 4}}}
			for i := range 500 {
				for _, start := range []int{16, 0, 32} {
					f, p := fragmentOf(fragmented(uint16(i), byte(g/2)), start, start+16)
					x.take(f, p, uint32(1+i/100))
				}
				r.expire(uint32(1 + i/100))
			}
		})
	}
	wg.Wait()
	checkFragments(t, r)
}

// TestFragmentsExpireInParts: a call forgets so many, and calls often enough
// forget all, the ones that waited first among them.
func TestFragmentsExpireInParts(t *testing.T) {
	r := newFragments()
	for i := range 1500 {
		w := fragmented(uint16(i), byte(i))
		f, p := fragmentOf(w, 16, 32)
		r.later(datagramOf(uint32(i%5), 0, p), f, p, 1)
		f, p = fragmentOf(w, 0, 16)
		if i%2 == 0 {
			r.first(datagramOf(uint32(i%5), 0, p), f, p, [16]byte{}, 0, uint32(1+i/100))
		}
	}
	for now := uint32(2); now < 31; now++ {
		before := len(r.datagrams)
		if r.expire(now); len(r.datagrams) != before {
			t.Fatalf("%d of %d are left after %d s", len(r.datagrams), before, now-1)
		}
	}
	for calls := 0; len(r.datagrams) > 0; calls++ {
		before := len(r.datagrams)
		r.expire(31)
		if n := before - len(r.datagrams); n < 1 || n > 2*maxExpired || calls > 20 {
			t.Fatalf("call %d forgot %d of %d", calls, n, before)
		}
		checkFragments(t, r)
	}
}

// BenchmarkFragmentsExpire is the longest that one call can take.
func BenchmarkFragmentsExpire(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		r := newFragments()
		for i := range 2 * maxExpired {
			w := fragmented(uint16(i), byte(i))
			f, p := fragmentOf(w, 0, 16)
			r.first(datagramOf(uint32(i%3), 0, p), f, p, [16]byte{}, 0, 1)
			f, p = fragmentOf(w, 16, 32)
			r.later(datagramOf(uint32(3+i%3), 0, p), f, p, 1)
		}
		b.StartTimer()
		r.expire(100)
	}
}
