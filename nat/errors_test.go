package nat

import (
	"bytes"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// errorAbout returns an ICMP error of a kind, from one address to another, about
// a packet: all of it, or its IP header and so many bytes.
func (l *lab) errorAbout(kind uint8, src, dst string, about packet, keep int) (*frame.Frame, *frame.Parsed) {
	f, p := l.frame(about)
	inner := f.Bytes()[p.L3:p.End]
	if keep > 0 {
		inner = inner[:p.L4-p.L3+keep]
	}
	w := wire{six: l.six, protocol: frame.ProtoICMP, head: []byte{kind, 3}, payload: inner}
	w.src, _ = end4(src)
	w.dst, _ = end4(dst)
	return w.frame()
}

// wantError compares an error that was translated with the one that would have
// been sent about the packet as the receiver knows it.
func (l *lab) wantError(f *frame.Frame, kind uint8, src, dst string, about packet, keep int) {
	l.t.Helper()
	want, _ := l.errorAbout(kind, src, dst, about, keep)
	if !bytes.Equal(f.Bytes(), want.Bytes()) {
		l.t.Errorf("got\n%x, want\n%x", f.Bytes(), want.Bytes())
	}
}

const router = "203.0.113.77"

// TestErrorFromOutside is RFC 5508 REQ-4, with the inner packet of each protocol
// whole and cut to what RFC 792 asks for.
func TestErrorFromOutside(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, kind := range []uint8{icmpUnreachable, icmpSourceQuench, icmpTimeExceeded, icmpParameter} {
			for _, inside := range []packet{udp(guestB+":5000", remoteA+":80"), syn(guestB+":5000", remoteA+":80"),
				echo(guestB+":5000", remoteA), {protocol: protoGRE, src: guestB, dst: remoteA}} {
				for _, keep := range []int{0, 8} {
					l := newLab(t, ZoneConfig{})
					l.mustOut(udp(guestA+":5000", remoteA+":80"))
					l.mustOut(syn(guestA+":5000", remoteA+":80"))
					l.mustOut(echo(guestA+":5000", remoteA))
					left := inside
					left.src = l.mustOut(inside)
					if inside.protocol == protoGRE {
						left.src = outsideA
					}
					before := l.flows()
					l.now += 10
					f, p := l.errorAbout(kind, router, outsideA, left, keep)
					if r := l.tab.Inbound(f, p, l.now); r.Verdict != Translated {
						t.Fatalf("type %d about protocol %d: %v", kind, inside.protocol, r.Verdict)
					}
					l.wantError(f, kind, router, guestB, inside, keep)
					for i, f := range l.flows() {
						if f != before[i] {
							t.Errorf("the flow has changed: %+v, %+v", before[i], f)
						}
					}
				}
			}
		}
	})
}

// TestErrorFromInside is RFC 5508 REQ-5: from the endpoint itself, and from a
// router before it.
func TestErrorFromInside(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, from := range []string{guestB, "10.9.9.9"} {
			for _, one := range []packet{udp(remoteA+":80", ""), tcp(remoteA+":80", "", tcpSA, 500, 101, 0)} {
				l := newLab(t, ZoneConfig{})
				first := syn(guestB+":5000", remoteA+":80")
				if one.protocol == frame.ProtoUDP {
					first = udp(guestB+":5000", remoteA+":80")
				}
				came := one
				came.dst = l.mustOut(first)
				l.mustIn(came, guestB+":5000")
				seen := one
				seen.dst = guestB + ":5000"
				f, p := l.errorAbout(icmpUnreachable, from, remoteA, seen, 0)
				if r := l.tab.Outbound(0, 0, f, p, l.now); r.Verdict != Translated {
					t.Fatalf("about protocol %d: %v", one.protocol, r.Verdict)
				}
				l.wantError(f, icmpUnreachable, outsideA, remoteA, came, 0)
			}
		}
	})
}

// TestErrorHairpin is RFC 5508 REQ-7: an error about a packet that one guest sent
// to the outside endpoint of another.
func TestErrorHairpin(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Filtering: None})
		a := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		b := l.mustOut(udp(guestB+":5000", remoteA+":80"))
		f, p := l.frame(udp(guestA+":5000", b))
		l.tab.Outbound(0, 0, f, p, 1)
		l.tab.Inbound(f, p, 1)
		f, p = l.errorAbout(icmpUnreachable, guestB, outsideA, udp(a, guestB+":5000"), 0)
		out := l.tab.Outbound(0, 0, f, p, 1)
		in := l.tab.Inbound(f, p, 1)
		if out.Verdict != Translated || in.Verdict != Translated {
			t.Fatalf("%v and %v", out.Verdict, in.Verdict)
		}
		l.wantError(f, icmpUnreachable, outsideA, guestA, udp(guestA+":5000", b), 0)
	})
}

// TestErrorForged has errors about what was never sent (RFC 5927), and about
// flows of others.
func TestErrorForged(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		establish(l)
		l.mustOut(tcp(tcpIn, tcpRe, tcpACK, 101, 501, 700))
		data := func(seq uint32) packet { return tcp(tcpOut, tcpRe, tcpACK, seq, 501, 10) }
		wrongPort := data(101)
		wrongPort.dst = remoteA + ":81"
		for name, tt := range map[string]struct {
			about packet
			keep  int
			want  Verdict
		}{
			"the SYN":             {tcp(tcpOut, tcpRe, tcpSYN, 100, 0, 0), 0, Translated},
			"the data":            {data(101), 8, Translated},
			"the next ACK":        {data(801), 8, Translated},
			"ahead":               {data(802), 8, Invalid},
			"far behind":          {data(1<<32 + 801 - 65537), 8, Invalid},
			"cut short":           {data(101), 7, Invalid},
			"another port":        {wrongPort, 8, NotMine},
			"a UDP flow":          {udp(tcpOut, tcpRe), 0, NotMine},
			"an echo":             {echo(tcpOut, remoteA), 0, NotMine},
			"the other direction": {tcp(tcpRe, tcpOut, tcpACK, 501, 101, 0), 0, NotMine},
		} {
			f, p := l.errorAbout(icmpUnreachable, router, outsideA, tt.about, tt.keep)
			before := bytes.Clone(f.Bytes())
			if r := l.tab.Inbound(f, p, l.now); r.Verdict != tt.want {
				t.Errorf("%s: %v, want %v", name, r.Verdict, tt.want)
			}
			if tt.want != Translated && !bytes.Equal(before, f.Bytes()) {
				t.Errorf("%s: it has changed", name)
			}
		}
		for name, tt := range map[string]struct {
			about packet
			want  Verdict
		}{
			"the SYN-ACK": {tcp(tcpRe, tcpIn, tcpSA, 500, 101, 0), Translated},
			"ahead":       {tcp(tcpRe, tcpIn, tcpACK, 502, 101, 0), Invalid},
			"no flow":     {tcp(tcpRe, guestB+":1", tcpACK, 502, 101, 0), Invalid},
		} {
			f, p := l.errorAbout(icmpUnreachable, guestA, remoteA, tt.about, 0)
			if r := l.tab.Outbound(0, 0, f, p, l.now); r.Verdict != tt.want {
				t.Errorf("from inside, %s: %v, want %v", name, r.Verdict, tt.want)
			}
		}
		l.now += 7441
		f, p := l.errorAbout(icmpUnreachable, router, outsideA, data(101), 8)
		if r := l.tab.Inbound(f, p, l.now); r.Verdict != NotMine {
			t.Errorf("about a flow whose time is over: %v", r.Verdict)
		}
	})
}

// TestErrorBeforeAnswer has a SYN that no host answers, and an error about a
// segment of the side that has sent none.
func TestErrorBeforeAnswer(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(syn(tcpIn, tcpRe))
		f, p := l.errorAbout(icmpUnreachable, router, outsideA, syn(tcpOut, tcpRe), 8)
		if r := l.tab.Inbound(f, p, 1); r.Verdict != Translated {
			t.Error(r.Verdict)
		}
		f, p = l.errorAbout(icmpUnreachable, guestA, remoteA, tcp(tcpRe, tcpIn, tcpSA, 0, 0, 0), 8)
		if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Invalid {
			t.Error(r.Verdict)
		}
	})
}
