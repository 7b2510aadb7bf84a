package nat

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// RFC 5508, for ICMP. What the router alone shows is tested there.

// query and answer are an ICMP query of a kind and the message that answers it.
func query(kind uint8, src, dst string) packet {
	return packet{protocol: frame.ProtoICMP, kind: kind, src: src, dst: dst, data: 12}
}

func answer(kind uint8, src, dst string) packet { return query(kind, src, dst) }

// queriesOf returns the queries of the family of a test, and their answers.
func queriesOf(t *testing.T) map[uint8]uint8 {
	if isSix(t) {
		return map[uint8]uint8{icmpEcho: icmpEchoReply}
	}
	return map[uint8]uint8{icmpEcho: icmpEchoReply, icmpTimestamp: icmpTimestampReply}
}

func TestRFC5508REQ1(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for ask, reply := range queriesOf(t) {
			l := newLab(t, ZoneConfig{})
			a, b := l.mustOut(query(ask, guestA+":7", remoteA)), l.mustOut(query(ask, guestB+":7", remoteA))
			if a == b {
				t.Fatalf("type %d: two guests are both %s", ask, a)
			}
			l.mustIn(answer(reply, remoteA, b), guestB+":7")
			l.mustIn(answer(reply, remoteA, a), guestA+":7")
		}
	})
}

func TestRFC5508REQ1a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(echo(guestA+":7", remoteA))
		first := l.mustOut(echo(guestB+":7", remoteA))
		for _, dst := range []string{remoteB, router, remoteA} {
			if again := l.mustOut(echo(guestB+":7", dst)); again != first {
				t.Errorf("towards %s it is %s, before %s", dst, again, first)
			}
		}
	})
}

// queryLasts reports whether the answer to a query comes in so much later.
func queryLasts(t *testing.T, cfg ZoneConfig, seconds int) bool {
	l := newLab(t, cfg)
	out := l.mustOut(echo(guestA+":7", remoteA))
	l.wait(seconds)
	v, _ := l.in(answer(icmpEchoReply, remoteA, out))
	return v == Translated
}

func TestRFC5508REQ2(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		if !queryLasts(t, ZoneConfig{}, 60) {
			t.Error("gone within 60 s")
		}
	})
}

func TestRFC5508REQ2a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		cfg := ZoneConfig{Timeouts: Timeouts{ICMP: 100}}
		if !queryLasts(t, cfg, 100) || queryLasts(t, cfg, 101) {
			t.Error("100 s are not kept")
		}
	})
}

// refusedError makes an error about a datagram that left, lets spoil change it,
// and reports what becomes of it. It has to be untouched where it is dropped.
func refusedError(t *testing.T, spoil func(b []byte)) Verdict {
	t.Helper()
	l := newLab(t, ZoneConfig{})
	out := l.mustOut(udp(guestA+":5000", remoteA+":80"))
	f, _ := l.errorAbout(icmpUnreachable, router, outsideA, udp(out, remoteA+":80"), 0)
	b := bytes.Clone(f.Bytes())
	spoil(b)
	f, p := wireFrame(bytes.Clone(b))
	r := l.tab.Inbound(f, p, 1)
	if r.Verdict != Translated && !bytes.Equal(b, f.Bytes()) {
		t.Error("what is dropped has changed")
	}
	return r.Verdict
}

// Where things are in such an error without options.
func icmpAt(b []byte) int  { return 14 + headerLen(b[14:]) }
func quoteAt(b []byte) int { return icmpAt(b) + 8 }
func udpAt(b []byte) int   { return quoteAt(b) + headerLen(b[quoteAt(b):]) }

// headerLen returns the length of an IP header without options.
func headerLen(ip []byte) int {
	if ip[0]>>4 == 6 {
		return 40
	}
	return 20
}

// resummed has the error's own checksum put right.
func resummed(b []byte) {
	at, covers := icmpAt(b), []byte(nil)
	b[at+2], b[at+3] = 0, 0
	if b[14]>>4 == 6 {
		covers = append(bytes.Clone(b[22:54]), 0, frame.ProtoICMPv6, b[18], b[19])
	}
	binary.BigEndian.PutUint16(b[at+2:], ^naiveSum(append(covers, b[at:]...)))
}

func TestRFC5508REQ3(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		if v := refusedError(t, func(b []byte) { b[icmpAt(b)+2] ^= 1 }); v != Invalid {
			t.Errorf("a wrong checksum: %v", v)
		}
		if v := refusedError(t, func(b []byte) { b[len(b)-1] ^= 1 }); v != Invalid {
			t.Errorf("damaged at the end: %v", v)
		}
		if v := refusedError(t, resummed); v != Translated {
			t.Errorf("undamaged: %v", v)
		}
	})
}

func TestRFC5508REQ3a(t *testing.T) {
	v := refusedError(t, func(b []byte) {
		b[quoteAt(b)+8]-- // as a router that forgets the sum when it lowers the TTL
		resummed(b)
	})
	if v != Invalid {
		t.Errorf("%v", v)
	}
}

// quoting translates an error about a datagram of guestB, from outside, and
// compares with the one about what guestB sent. change is made to both.
func quoting(t *testing.T, change func(e *wireError)) *frame.Frame {
	t.Helper()
	l := newLab(t, ZoneConfig{})
	l.mustOut(udp(guestA+":5000", remoteA+":80"))
	made := func(src, dst string) *wireError {
		e := &wireError{kind: icmpUnreachable, code: 1, quoted: l.wire(udp(src, remoteA+":80"))}
		e.src, _ = end4(router)
		e.dst, _ = end4(dst)
		change(e)
		return e
	}
	f, p := made(l.mustOut(udp(guestB+":5000", remoteA+":80")), outsideA).frame()
	if r := l.tab.Inbound(f, p, 1); r.Verdict != Translated {
		t.Fatalf("%v", r.Verdict)
	}
	if want := made(guestB+":5000", guestB).bytes(); !bytes.Equal(f.Bytes(), want) {
		t.Errorf("got\n%x, want\n%x", f.Bytes(), want)
	}
	return f
}

func TestRFC5508REQ3b(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, options := range [][]byte{{1, 1, 1, 0}, {148, 4, 0, 0}, append([]byte{7, 39, 4}, make([]byte, 37)...)} {
			quoting(t, func(e *wireError) { e.quoted.ipOptions = options })
		}
	})
}

// TestRFC5508REQ3c has a wrong checksum in the quoted datagram. The error passes,
// and the quoted checksum is wrong by as much as before.
func TestRFC5508REQ3c(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		left := udp(l.mustOut(udp(guestB+":5000", remoteA+":80")), remoteA+":80")
		wrong := func(src, dst string, about packet) (*frame.Frame, *frame.Parsed) {
			f, _ := l.errorAbout(icmpUnreachable, src, dst, about, 0)
			b := bytes.Clone(f.Bytes())
			check := binary.BigEndian.Uint16(b[udpAt(b)+6:])
			binary.BigEndian.PutUint16(b[udpAt(b)+6:], ^naiveSum([]byte{byte(^check >> 8), byte(^check), 0x12, 0x34}))
			resummed(b)
			return wireFrame(b)
		}
		f, p := wrong(router, outsideA, left)
		if r := l.tab.Inbound(f, p, 1); r.Verdict != Translated {
			t.Fatalf("%v", r.Verdict)
		}
		if want, _ := wrong(router, guestB, udp(guestB+":5000", remoteA+":80")); !bytes.Equal(f.Bytes(), want.Bytes()) {
			t.Errorf("got\n%x, want\n%x", f.Bytes(), want.Bytes())
		}
	})
}

// TestRFC5508REQ3d has padding and extensions (RFC 4884) behind the quote: they
// are no part of the quoted packet, and stay as they are.
func TestRFC5508REQ3d(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		extension := []byte{0x20, 0, 0xdf, 0xff, 0, 8, 1, 1, 0xaa, 0xbb, 0xcc, 0xdd}
		f := quoting(t, func(e *wireError) { e.length, e.extension = 128, extension })
		b := f.Bytes()
		if padding := b[udpAt(b)+13 : quoteAt(b)+128]; !bytes.HasSuffix(b, extension) || len(bytes.Trim(padding, "\x00")) != 0 {
			t.Errorf("padding or extension has changed: %x", b[quoteAt(b):])
		}
	})
}
