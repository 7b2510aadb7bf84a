package nat

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// FuzzQuote reads and rewrites whatever it is given, where the checksums are
// not in the way, and never leaves the quote.
func FuzzQuote(f *testing.F) {
	for _, six := range []bool{false, true} {
		of := func(change func(e *wireError)) []byte {
			e := aboutUDP()
			e.quoted.six = six
			change(&e)
			b := e.bytes()
			return b[icmpAt(b):]
		}
		f.Add(of(func(*wireError) {}), uint8(0), six)
		f.Add(of(func(e *wireError) {
			e.quoted.protocol, e.quoted.head, e.length, e.extension = 6, []byte{16}, 128, make([]byte, 12)
		}), uint8(7), six)
		f.Add(of(func(e *wireError) {
			e.quoted.protocol, e.quoted.head, e.keep = 1, []byte{8, 0}, e.quoted.headerLen()+8
		}), uint8(3), six)
		f.Add(of(func(e *wireError) { e.quoted.ipOptions, e.quoted.flags = make([]byte, 12), 0x2000 }), uint8(3), six)
	}
	f.Fuzz(func(t *testing.T, icmp []byte, padding uint8, six bool) {
		if len(icmp) > 2000 {
			return
		}
		outer := wire{six: six, protocol: frame.ProtoICMP, head: []byte{3, 0}}
		b := outer.bytes()
		at := icmpAt(b)
		b = append(b[:at:at], icmp...)
		lengthAt, length := 16, len(b)-14
		if six {
			lengthAt, length = 18, len(icmp)
		}
		binary.BigEndian.PutUint16(b[lengthAt:], uint16(length))
		if !six && len(icmp) >= 28 {
			if n := int(b[42]&15) * 4; n >= 20 && 42+n <= len(b) {
				b[52], b[53] = 0, 0
				binary.BigEndian.PutUint16(b[52:], ^naiveSum(b[42:42+n]))
			}
		}
		if len(icmp) >= 8 {
			resumOuter(b, at)
		}
		end := len(b)
		b = append(b, bytes.Repeat([]byte{0xee}, int(padding))...)
		fr, p := wireFrame(b)
		q, ok := parseQuote(fr, p)
		if !ok {
			return
		}
		q.setSource(fr, p, outer.endpoint([4]byte{1, 2, 3, 4}, 5))
		q.setDestination(fr, p, outer.endpoint([4]byte{5, 6, 7, 8}, 9))
		checkRewritten(t, b, fr.Bytes(), at, end, &q)
		if again, ok := parseQuote(fr, p); !ok || again != q {
			t.Fatalf("%v\ngot  %+v\nwant %+v", ok, again, q)
		}
	})
}

// pseudo returns what the checksum of an ICMP message covers before it.
func pseudo(b []byte, length int) []byte {
	if b[14]>>4 == 4 {
		return nil
	}
	return binary.BigEndian.AppendUint16(append(bytes.Clone(b[22:54]), 0, frame.ProtoICMPv6), uint16(length))
}

func resumOuter(b []byte, at int) {
	b[at+2], b[at+3] = 0, 0
	binary.BigEndian.PutUint16(b[at+2:], ^naiveSum(append(pseudo(b, len(b)-at), b[at:]...)))
}

// checkRewritten compares an error before and after both ends of its quote are
// translated.
func checkRewritten(t *testing.T, before, out []byte, at, end int, q *quote) {
	t.Helper()
	if naiveSum(append(pseudo(out, end-at), out[at:end]...)) != 0xffff {
		t.Fatalf("wrong checksum: %x", out)
	}
	if quoted := out[at+8:]; quoted[0]>>4 == 4 && naiveSum(quoted[:int(quoted[0]&15)*4]) != 0xffff {
		t.Fatalf("wrong checksum of the quoted header: %x", out)
	}
	last := min(end, q.l4+18)
	if !bytes.Equal(out[:at+2], before[:at+2]) || !bytes.Equal(out[at+4:at+8], before[at+4:at+8]) || !bytes.Equal(out[last:], before[last:]) ||
		out[14]>>4 == 6 && !bytes.Equal(out[at+8+40:q.l4], before[at+8+40:q.l4]) {
		t.Fatalf("something outside of the quoted headers changed: %x", out)
	}
}

// TestICMPv6Types has messages of each type, from both sides, to a masqueraded guest
// and to a tracked one: none but errors and queries is translated, whatever is open.
func TestICMPv6Types(t *testing.T) {
	for kind := range 256 {
		for name, cfg := range map[string]ZoneConfig{"masqueraded": {}, "tracked": {Prefixes: identity, Open: true}} {
			l := &lab{t: t, now: 1, six: true}
			l.tab = New(Config{Addresses: l.addresses(outsideA)})
			l.zone(0, cfg)
			at := addrOf(l.mustOut(udp(guestA+":5000", remoteA+":80")))
			message := func(src, dst string, about packet) (*frame.Frame, *frame.Parsed) {
				f, _ := l.errorAbout(icmpUnreachable, src, dst, about, 0)
				f.Bytes()[54] = byte(kind)
				resumOuter(f.Bytes(), 54)
				return wireFrame(f.Bytes())
			}
			isError, isQuery := kind >= 1 && kind <= 4, kind == 128
			f, p := message(guestA, remoteA, udp(remoteA+":80", guestA+":5000"))
			if r := l.tab.Outbound(0, 0, f, p, 1); (r.Verdict == Translated) != (isError || isQuery) || r.Verdict != Translated && r.Verdict != Invalid {
				t.Errorf("type %d out, %s: %v", kind, name, r.Verdict)
			}
			l.tab.Flush(func(f *Flow) bool { return f.Protocol == frame.ProtoICMPv6 })
			f, p = message(remoteA, at, udp(at+":5000", remoteA+":80"))
			want := NotMine
			if cfg.Open {
				want = Filtered
			}
			if isError || isQuery && cfg.Open {
				want = Translated
			}
			if r := l.tab.Inbound(f, p, 1); r.Verdict != want {
				t.Errorf("type %d in, %s: %v, want %v", kind, name, r.Verdict, want)
			}
		}
	}
}

// TestQuoteRefused6 has the errors of IPv6 that nothing may be learnt from.
func TestQuoteRefused6(t *testing.T) {
	of := func(change func(e *wireError)) []byte {
		e := aboutUDP()
		e.quoted.six = true
		change(&e)
		return e.bytes()
	}
	patched := func(change func(b []byte)) []byte {
		b := of(func(*wireError) {})
		change(b)
		resumOuter(b, 54)
		return b
	}
	for _, tt := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"as it should be", of(func(*wireError) {}), true},
		{"too big", of(func(e *wireError) { e.kind = icmpSourceQuench }), true},
		{"48 bytes", of(func(e *wireError) { e.keep = 48 }), true},
		{"47 bytes", of(func(e *wireError) { e.keep = 47 }), false},
		{"39 bytes", of(func(e *wireError) { e.keep = 39 }), false},
		{"behind options", of(func(e *wireError) { e.quoted.ipOptions, e.keep = make([]byte, 6), 56 }), true},
		{"options cut short", of(func(e *wireError) { e.quoted.ipOptions, e.keep = make([]byte, 6), 47 }), false},
		{"a first fragment", of(func(e *wireError) { e.quoted.flags = 0x2000 }), true},
		{"a later fragment", of(func(e *wireError) { e.quoted.flags = 0x2001 }), false},
		{"an error about an error", of(func(e *wireError) { e.quoted.protocol, e.quoted.head = 1, []byte{11, 0} }), false},
		{"an error about a redirect", of(func(e *wireError) { e.quoted.protocol, e.quoted.head = 1, []byte{5, 0} }), false},
		{"an error about an echo", of(func(e *wireError) { e.quoted.protocol, e.quoted.head = 1, []byte{8, 0} }), true},
		{"a length that cuts the ports", patched(func(b []byte) { b[58] = 5 }), false},
		{"a length of 48 bytes", patched(func(b []byte) { b[58] = 6 }), true},
		{"an MTU is no length", patched(func(b []byte) { b[54], b[58] = 2, 5 }), true},
		{"inner length that cuts the ports", patched(func(b []byte) { b[62+5] = 7 }), false},
		{"inner version 4", patched(func(b []byte) { b[62] = 0x45 }), false},
		{"an IPv4 address in the quote", patched(func(b []byte) { v4 := wireEndpoint([4]byte{1, 2, 3, 4}, 0).Addr; copy(b[62+8:], v4[:]) }), false},
		{"a wrong checksum", func() []byte { b := of(func(*wireError) {}); b[56]++; return b }(), false},
		{"a checksum without the addresses", func() []byte {
			b := of(func(*wireError) {})
			b[56], b[57] = 0, 0
			binary.BigEndian.PutUint16(b[56:], ^naiveSum(b[54:]))
			return b
		}(), false},
	} {
		f, p := wireFrame(tt.b)
		if p.Layer != frame.LayerTransport {
			t.Fatalf("%s: the test's own packet is broken", tt.name)
		}
		if q, ok := parseQuote(f, p); ok != tt.ok {
			t.Errorf("%s: %v, %+v", tt.name, ok, q)
		}
	}
}
