package nat

import (
	"bytes"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// TestFragmentsThrough sends datagrams in pieces, in and out, in any order of
// three, and compares with the datagram translated whole.
func TestFragmentsThrough(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		cuts := [][2]int{{0, 24}, {24, 40}, {40, 48}}
		for _, inward := range []bool{false, true} {
			for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}} {
				l := newLab(t, ZoneConfig{})
				l.mustOut(udp(guestA+":5000", remoteA+":80"))
				outside := l.mustOut(udp(guestB+":5000", remoteA+":80"))
				whole, want := udp(guestB+":5000", remoteA+":80"), udp(outside, remoteA+":80")
				translate := func(f *frame.Frame, p *frame.Parsed) Result { return l.tab.Outbound(0, 0, f, p, l.now) }
				if inward {
					whole, want = udp(remoteA+":80", outside), udp(remoteA+":80", guestB+":5000")
					translate = func(f *frame.Frame, p *frame.Parsed) Result { return l.tab.Inbound(f, p, l.now) }
				}
				whole.data, want.data = 40, 40
				var got []*frame.Frame
				for _, i := range order {
					f, p := fragmentOf(l.wire(whole), cuts[i][0], cuts[i][1])
					r := translate(f, p)
					switch r.Verdict {
					case Translated:
						got = append(append(got, f), r.Released...)
					case Held:
					default:
						t.Fatalf("inward %v, order %v: %v", inward, order, r.Verdict)
					}
				}
				w := l.wire(want)
				if len(got) != 3 || !bytes.Equal(reassemble(got), w.ip()) {
					t.Errorf("inward %v, order %v: %d frames\n%x, want\n%x", inward, order, len(got), reassemble(got), w.ip())
				}
			}
		}
	})
}

// TestFragmentsDropped gives later fragments the verdict of the first one.
func TestFragmentsDropped(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxPerHost: 1})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		parts := func(p packet) (first, second func() (*frame.Frame, *frame.Parsed)) {
			p.data = 40
			w := l.wire(p)
			return func() (*frame.Frame, *frame.Parsed) { return fragmentOf(w, 0, 24) },
				func() (*frame.Frame, *frame.Parsed) { return fragmentOf(w, 24, 48) }
		}
		tiny := udp(guestA+":5000", remoteA+":81")
		tiny.data = 40
		tw := l.wire(tiny)
		tw.id = 5
		part, _ := fragmentOf(tw, 0, 24)
		at := icmpAt(part.Bytes())
		if l.six {
			at += 8 // the fragment header
		}
		b := bytes.Clone(part.Bytes())[:at+4]
		if b[17] = byte(at + 4 - 14); l.six {
			b[17], b[19] = 0, 12
		}
		f, p := wireFrame(b)
		if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Fragmented {
			t.Errorf("a first fragment without its ports: %v", r.Verdict)
		}
		first, second := parts(udp(guestA+":5001", remoteA+":81"))
		for _, part := range []func() (*frame.Frame, *frame.Parsed){first, second} {
			f, p = part()
			if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != HostFull {
				t.Errorf("beyond the limit: %v", r.Verdict)
			}
		}
		first, second = parts(udp(remoteA+":80", outsideA+":7777"))
		f, p = first()
		if r := l.tab.Inbound(f, p, 1); r.Verdict != NotMine {
			t.Errorf("for the uplink's host: %v", r.Verdict)
		}
		f, p = second()
		if r := l.tab.Inbound(f, p, 1); r.Verdict != NotMine {
			t.Errorf("for the uplink's host, later: %v", r.Verdict)
		}
		first, _ = parts(udp(guestA+":5000", remoteA+":80"))
		f, p = first()
		l.tab.Outbound(0, 0, f, p, 1)
		f, p = first()
		if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Fragmented {
			t.Errorf("a first one again: %v", r.Verdict)
		}
	})
}

// TestFragmentsOfTCP follows a segment of which the first fragment tells the
// start only.
func TestFragmentsOfTCP(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		establish(l)
		whole := tcp(tcpIn, tcpRe, tcpACK, 101, 501, 40)
		f, p := l.frame(whole)
		w := l.wire(whole)
		data := f.Bytes()[p.L4:p.End]
		first, fp := fragmentOf(w, 0, 24)
		copy(first.Bytes()[fp.L4:], data[:20])
		fp.Parse(first)
		second, sp := fragmentOf(w, 24, 60)
		for _, one := range []struct {
			f *frame.Frame
			p *frame.Parsed
		}{{first, fp}, {second, sp}} {
			if r := l.tab.Outbound(0, 0, one.f, one.p, 1); r.Verdict != Translated {
				t.Fatal(r.Verdict)
			}
		}
		l.now += 100
		l.mustIn(tcp(tcpRe, tcpOut, tcpACK, 501, 141, 0), tcpIn)
		l.tab.tick(l.now)
		if l.only().Expires != 7440 {
			t.Errorf("%+v", l.only())
		}
	})
}

// TestFragmentedError translates no ICMP error in pieces: none is as long as that
// (RFC 1812 clause 4.3.2.3).
func TestFragmentedError(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		w := wire{six: l.six, protocol: frame.ProtoICMP, src: [4]byte{203, 0, 113, 77}, dst: [4]byte{192, 0, 2, 1}, head: []byte{3, 3}, payload: make([]byte, 40)}
		f, p := fragmentOf(w, 0, 40)
		if r := l.tab.Inbound(f, p, 1); r.Verdict != NotMine {
			t.Errorf("in: %v", r.Verdict)
		}
		f, p = fragmentOf(w, 0, 40)
		if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Invalid {
			t.Errorf("out: %v", r.Verdict)
		}
	})
}

// TestFragmentsExpireWithTable has Expire forget fragments too.
func TestFragmentsExpireWithTable(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		f, p := fragmentOf(l.fragmented(1, 1), 24, 48)
		if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Held {
			t.Fatal(r.Verdict)
		}
		l.now += fragmentSeconds
		l.tab.Expire(l.now)
		if n := len(l.tab.frags.datagrams); n != 0 {
			t.Errorf("%d datagrams are left", n)
		}
	})
}
