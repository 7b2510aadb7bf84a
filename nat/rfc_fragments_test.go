package nat

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// RFC 4787 REQ-14: fragments.

// pieces cuts a datagram in three, and takes them through the table in an order.
// It returns the datagram put together again, nil where a piece is missing.
func (l *lab) pieces(inward bool, id uint16, p packet, order ...int) []byte {
	l.t.Helper()
	w := l.wire(p)
	w.id = id
	n := len(w.transport())
	cuts := []int{0, 1480, 2960, n}
	var got []*frame.Frame
	for _, i := range order {
		f, parsed := fragmentOf(w, cuts[i], cuts[i+1])
		var r Result
		if inward {
			r = l.tab.Inbound(f, parsed, l.now)
		} else {
			r = l.tab.Outbound(0, 0, f, parsed, l.now)
		}
		if r.Verdict == Translated {
			got = append(append(got, f), r.Released...)
		} else if r.Verdict != Held {
			l.t.Fatalf("piece %d of %v: %v", i, order, r.Verdict)
		}
	}
	if len(got) != len(order) {
		return nil
	}
	return reassemble(got)
}

// bothWays sends a datagram of guestB in pieces out, and one to it in, and
// compares with those translated whole.
func (l *lab) bothWays(id uint16, order ...int) {
	l.t.Helper()
	out := l.mustOut(udp(guestB+":5000", remoteA+":80"))
	for _, tt := range []struct {
		inward     bool
		sent, want packet
	}{
		{false, udp(guestB+":5000", remoteA+":80"), udp(out, remoteA+":80")},
		{true, udp(remoteA+":80", out), udp(remoteA+":80", guestB+":5000")},
	} {
		tt.sent.data, tt.want.data = 4000, 4000
		want := l.wire(tt.want)
		want.id = id
		if got := l.pieces(tt.inward, id, tt.sent, order...); !bytes.Equal(got, want.ip()) {
			l.t.Errorf("inward %v, order %v: %d bytes came out, or wrong ones", tt.inward, order, len(got))
		}
	}
}

func TestRFC4787REQ14(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		for i, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
			l.bothWays(uint16(i), order...)
		}
	})
}

// TestRFC4787REQ14a has one guest, and hosts outside, send fragments that never
// become whole. The memory that they take is bounded, and others go on: whole
// packets, fragments in order, and out of order those of another guest, however
// long they wait.
func TestRFC4787REQ14a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		flood := func(i int) {
			for _, inward := range []bool{false, true} {
				p := udp(guestA+":5000", fmt.Sprintf("198.51.%d.%d:80", i>>8&0xff, i&0xff))
				if inward {
					p.src, p.dst = p.dst, outsideA+":5000"
				}
				p.data = 4000
				w := l.wire(p)
				w.id = uint16(i)
				f, parsed := fragmentOf(w, 1480*(i&1), 1480*(i&1)+1480)
				if inward {
					l.tab.Inbound(f, parsed, l.now)
				} else {
					l.tab.Outbound(0, 0, f, parsed, l.now)
				}
			}
		}
		waits := udp(guestB+":5000", remoteB+":80")
		waits.data = 4000
		w := l.wire(waits)
		for round := range 4 {
			w.id = uint16(round)
			f, p := fragmentOf(w, 1480, 4008)
			if r := l.tab.Outbound(0, 0, f, p, l.now); r.Verdict != Held {
				t.Fatalf("round %d: %v", round, r.Verdict)
			}
			for i := range 1500 {
				flood(1500*round + i)
			}
			l.mustIn(udp(remoteA+":80", l.mustOut(udp(guestA+":5000", remoteA+":80"))), guestA+":5000")
			l.bothWays(uint16(round), 0, 1, 2)
			f, p = fragmentOf(w, 0, 1480)
			if r := l.tab.Outbound(0, 0, f, p, l.now); r.Verdict != Translated || len(r.Released) != 1 {
				t.Errorf("round %d: %v, and %d fragments that waited for it", round, r.Verdict, len(r.Released))
			}
		}
		if n := l.tab.frags.heldBytes(); n > 5<<20 {
			t.Errorf("%d bytes are held", n)
		}
		if n := len(l.tab.frags.datagrams); n > 6000 {
			t.Errorf("%d datagrams are known", n)
		}
	})
}
