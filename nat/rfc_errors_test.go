package nat

import (
	"bytes"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// RFC 5508 from REQ-4 on: errors on their way through, and all other messages.

// crossing is an error about one packet on its way through the table.
type crossing struct {
	name        string
	fromOutside bool
	kind, code  uint8
	src         string // who sends the error: remote, guestB or a router
	one         func(src, dst string) packet
}

// translated makes the flow of guestB, with a port that is not preserved, and
// returns the error after its translation, and as it had to become: about the
// packet as the receiver knows it, to whoever sent that, from wantSrc.
func (c crossing) translated(t *testing.T, wantSrc string) (got, want *frame.Frame) {
	t.Helper()
	l := newLab(t, ZoneConfig{})
	l.mustOut(c.one(guestA+":5000", remoteA+":80"))
	out := l.mustOut(c.one(guestB+":5000", remoteA+":80"))
	came := c.one(remoteA+":80", out)
	if came.protocol == frame.ProtoICMP {
		came = answer(icmpEchoReply, remoteA, out)
	}
	l.mustIn(came, guestB+":5000")
	var p *frame.Parsed
	var r Result
	if c.fromOutside {
		got, p = l.coded(c.kind, c.code, c.src, outsideA, c.one(out, remoteA+":80"))
		want, _ = l.coded(c.kind, c.code, wantSrc, guestB, c.one(guestB+":5000", remoteA+":80"))
		r = l.tab.Inbound(got, p, 1)
	} else {
		seen := came
		seen.dst = guestB + ":5000"
		got, p = l.coded(c.kind, c.code, c.src, remoteA, seen)
		want, _ = l.coded(c.kind, c.code, wantSrc, remoteA, came)
		r = l.tab.Outbound(0, 0, got, p, 1)
	}
	if r.Verdict != Translated {
		t.Fatalf("%s: %v", c.name, r.Verdict)
	}
	return got, want
}

func crossings(fromOutside bool, src string) (all []crossing) {
	for name, one := range map[string]func(src, dst string) packet{"udp": udp, "tcp": syn,
		"icmp": func(src, dst string) packet {
			host, _ := end4(dst)
			return echo(src, wireEndpoint(host, 0).AddrPort().Addr().String())
		}} {
		all = append(all, crossing{name, fromOutside, icmpUnreachable, 3, src, one})
	}
	return all
}

// checkQuote compares the quoted packets, checksums included.
func checkQuote(t *testing.T, fromOutside bool, src, wantSrc string) {
	t.Helper()
	for _, c := range crossings(fromOutside, src) {
		got, want := c.translated(t, wantSrc)
		if !bytes.Equal(got.Bytes()[quoteAt(got.Bytes()):], want.Bytes()[quoteAt(got.Bytes()):]) {
			t.Errorf("%s: the quote is\n%x, want\n%x", c.name, got.Bytes()[quoteAt(got.Bytes()):], want.Bytes()[quoteAt(got.Bytes()):])
		}
		checkWire(t, got.Bytes())
	}
}

func checkCodes(t *testing.T, fromOutside bool, src, wantSrc string) {
	t.Helper()
	for _, kind := range []uint8{icmpUnreachable, icmpTimeExceeded, icmpParameter} {
		for code := range uint8(16) {
			for _, c := range crossings(fromOutside, src) {
				c.kind, c.code = kind, code
				got, want := c.translated(t, wantSrc)
				at := icmpAt(got.Bytes())
				if head := got.Bytes()[at : at+2]; !bytes.Equal(head, want.Bytes()[at:at+2]) || head[1] != code {
					t.Errorf("%s: type %d code %d became %x", c.name, kind, code, head)
				}
			}
		}
	}
}

func TestRFC5508REQ4(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		for name, about := range map[string]packet{
			"port never used":     udp(outsideA+":5001", remoteA+":80"),
			"remote never talked": udp(outsideA+":5000", remoteB+":80"),
			"protocol never used": syn(outsideA+":5000", remoteA+":80"),
			"query never sent":    echo(outsideA+":5000", remoteA),
		} {
			f, p := l.errorAbout(icmpUnreachable, router, outsideA, about, 0)
			before := bytes.Clone(f.Bytes())
			if r := l.tab.Inbound(f, p, 1); r.Verdict != NotMine || !bytes.Equal(before, f.Bytes()) {
				t.Errorf("%s: %v", name, r.Verdict)
			}
		}
	})
}

func TestRFC5508REQ4a(t *testing.T) {
	eachFamily(t, func(t *testing.T) { checkQuote(t, true, router, router) })
}
func TestRFC5508REQ4b(t *testing.T) {
	eachFamily(t, func(t *testing.T) { checkCodes(t, true, router, router) })
}

func TestRFC5508REQ4c(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, c := range crossings(true, router) {
			got, _ := c.translated(t, router)
			quoted, _ := wireFrame(append(make([]byte, 14), got.Bytes()[quoteAt(got.Bytes()):]...))
			if to := addrOf(destination(got)); to != guestB || to != addrOf(source(quoted)) || addrOf(source(got)) != router {
				t.Errorf("%s: %x", c.name, got.Bytes())
			}
		}
	})
}

func TestRFC5508REQ5(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		for name, about := range map[string]packet{
			"port never used":     udp(remoteA+":80", guestA+":5001"),
			"remote never talked": udp(remoteB+":80", guestA+":5000"),
			"guest never talked":  udp(remoteA+":80", guestB+":5000"),
			"protocol never used": syn(remoteA+":80", guestA+":5000"),
		} {
			f, p := l.errorAbout(icmpUnreachable, guestA, remoteA, about, 0)
			before := bytes.Clone(f.Bytes())
			if r := l.tab.Outbound(0, 0, f, p, 1); !r.Verdict.IsDrop() || !bytes.Equal(before, f.Bytes()) {
				t.Errorf("%s: %v", name, r.Verdict)
			}
		}
	})
}

func TestRFC5508REQ5a(t *testing.T) {
	eachFamily(t, func(t *testing.T) { checkQuote(t, false, guestB, outsideA) })
}
func TestRFC5508REQ5b(t *testing.T) {
	eachFamily(t, func(t *testing.T) { checkCodes(t, false, guestB, outsideA) })
}

// TestRFC5508REQ5c has the guest send the error itself, and a router before it
// that has no flow of its own.
func TestRFC5508REQ5c(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, from := range []string{guestB, "10.1.77.1"} {
			for _, c := range crossings(false, from) {
				got, _ := c.translated(t, outsideA)
				if addrOf(source(got)) != outsideA || addrOf(destination(got)) != remoteA {
					t.Errorf("%s, from %s: %s to %s", c.name, from, source(got), destination(got))
				}
			}
		}
	})
}

func TestRFC5508REQ6(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for ask, reply := range queriesOf(t) {
			l := newLab(t, ZoneConfig{})
			out := l.mustOut(query(ask, guestA+":7", remoteA))
			l.mustIn(answer(reply, remoteA, out), guestA+":7")
			l.wait(59)
			f, p := l.errorAbout(icmpTimeExceeded, router, outsideA, query(ask, out, remoteA), 0)
			in := l.tab.Inbound(f, p, l.now)
			f, p = l.errorAbout(icmpUnreachable, guestA, remoteA, answer(reply, remoteA, guestA+":7"), 0)
			away := l.tab.Outbound(0, 0, f, p, l.now)
			if in.Verdict != Translated || away.Verdict != Translated {
				t.Errorf("type %d: %v, %v", ask, in.Verdict, away.Verdict)
			}
			if f := l.only(); f.Expires != 1 || f.Packets != 2 {
				t.Errorf("type %d: the session has changed: %+v", ask, f)
			}
		}
	})
}

// TestRFC5508REQ7a has guestB refuse what guestA sent to its outside endpoint.
func TestRFC5508REQ7a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, one := range []func(src, dst string) packet{udp, syn} {
			l := newLab(t, ZoneConfig{Filtering: None})
			l.mustOut(one("10.1.0.9:5000", remoteA+":80")) // so that ports are not preserved
			a, b := l.mustOut(one(guestA+":5000", remoteA+":80")), l.mustOut(one(guestB+":5000", remoteA+":80"))
			l.hairpin(one(guestA+":5000", b))
			f, p := l.errorAbout(icmpUnreachable, guestB, outsideA, one(a, guestB+":5000"), 0)
			if out, in := l.tab.Outbound(0, 0, f, p, 1), l.tab.Inbound(f, p, 1); out.Verdict != Translated || in.Verdict != Translated {
				t.Fatalf("%v, %v", out.Verdict, in.Verdict)
			}
			l.wantError(f, icmpUnreachable, outsideA, guestA, one(guestA+":5000", b), 0)
		}
	})
}

// TestRFC5508REQ10b has what a NAT may support: timestamps and parameter problems
// are translated; redirects, address masks and router discovery stay where they
// are.
func TestRFC5508REQ10b(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		redirected := NotMine
		if !l.six {
			redirected = Invalid
			out := l.mustOut(query(icmpTimestamp, guestA+":9", remoteA))
			l.mustIn(answer(icmpTimestampReply, remoteA, out), guestA+":9")
		}
		left := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		for kind, want := range map[uint8]Verdict{icmpParameter: Translated, 5: redirected, 9: NotMine, 10: NotMine, 17: NotMine, 18: NotMine} {
			f, p := l.errorAbout(kind, router, outsideA, udp(left, remoteA+":80"), 0)
			if r := l.tab.Inbound(f, p, 1); r.Verdict != want {
				t.Errorf("type %d in: %v, want %v", kind, r.Verdict, want)
			}
			f, p = l.errorAbout(kind, guestA, remoteA, udp(remoteA+":80", guestA+":5000"), 0)
			if r := l.tab.Outbound(0, 0, f, p, 1); (r.Verdict == Translated) != (want == Translated) {
				t.Errorf("type %d out: %v", kind, r.Verdict)
			}
		}
	})
}

// TestRFC5508REQ11 has messages that are neither query nor error, and types that
// nobody has defined: none passes, in either direction.
func TestRFC5508REQ11(t *testing.T) {
	known := map[int]bool{icmpEcho: true, icmpEchoReply: true, icmpTimestamp: true, icmpTimestampReply: true,
		icmpUnreachable: true, icmpSourceQuench: true, icmpTimeExceeded: true, icmpParameter: true}
	for kind := range 256 {
		if known[kind] {
			continue
		}
		l := newLab(t, ZoneConfig{})
		p := packet{protocol: frame.ProtoICMP, kind: uint8(kind), src: guestA + ":7", dst: remoteA}
		if v, _ := l.out(p); v != Invalid {
			t.Errorf("type %d out: %v", kind, v)
		}
		p.src, p.dst = remoteA+":7", outsideA
		if v, _ := l.in(p); v != NotMine && v != Invalid {
			t.Errorf("type %d in: %v", kind, v)
		}
		if n := len(l.flows()); n != 0 {
			t.Errorf("type %d has made %d flows", kind, n)
		}
	}
}
