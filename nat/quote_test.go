package nat

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// wireError is an ICMP error that the tests build around a packet.
type wireError struct {
	kind, code uint8
	src, dst   [4]byte
	quoted     wire
	keep       int    // bytes of the quoted packet, 0 for all
	words      uint8  // RFC 4884 length
	extension  []byte // what follows the quote
}

// bytes returns the frame's bytes. The ICMP message is summed up by the builder
// of the other tests, as the payload of a packet.
func (e wireError) bytes() []byte {
	inner := e.quoted.ip()
	if e.keep > 0 {
		inner = inner[:min(e.keep, len(inner))]
	}
	if e.words != 0 {
		inner = append(inner, make([]byte, max(0, int(e.words)*4-len(inner)))...)
	}
	outer := wire{protocol: frame.ProtoICMP, src: e.src, dst: e.dst, head: []byte{e.kind, e.code},
		sport: uint16(e.words), payload: append(inner, e.extension...)}
	return outer.bytes()
}

func (e wireError) frame() (*frame.Frame, *frame.Parsed) { return wireFrame(e.bytes()) }

// aboutUDP is a port unreachable about a DNS query.
func aboutUDP() wireError {
	return wireError{kind: 3, code: 3, src: [4]byte{198, 51, 100, 7}, dst: [4]byte{203, 0, 113, 5},
		quoted: wire{protocol: frame.ProtoUDP, src: [4]byte{203, 0, 113, 5}, dst: [4]byte{198, 51, 100, 7},
			sport: 1024, dport: 53, payload: []byte("query")}}
}

// TestQuoteIsARebuild translates the quoted packet, and compares with the error
// built anew about the translated one. Where the quote holds the transport
// checksum this is a full recompute of all three checksums.
func TestQuoteIsARebuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := wireError{kind: rapid.SampledFrom([]byte{3, 4, 11, 12}).Draw(t, "kind"), src: drawAddr(t, "from"), dst: drawAddr(t, "for")}
		e.quoted = drawWire(t, 200)
		e.quoted.tags = nil
		if e.quoted.protocol == frame.ProtoICMP {
			e.quoted.head[0] = rapid.SampledFrom([]byte{0, 8, 13, 14, 17}).Draw(t, "type")
		}
		header := 20 + len(e.quoted.ipOptions)
		whole := len(e.quoted.ip())
		e.keep = rapid.IntRange(header+8, whole).Draw(t, "keep")
		if e.kind != 4 && rapid.Bool().Draw(t, "extended") {
			e.words = uint8(max(32, (e.keep+3)/4))
			e.extension = rapid.SliceOfN(rapid.Byte(), 4, 40).Draw(t, "extension")
		}
		m := drawMove(t)
		f, p := e.frame()
		q, ok := parseQuote(f, p)
		if !ok {
			t.Fatalf("refused: %x", f.Bytes())
		}
		before := slices.Clone(f.Bytes())
		if m.destination {
			q.setDestination(f, p, wireEndpoint(m.to, m.port))
		} else {
			q.setSource(f, p, wireEndpoint(m.to, m.port))
		}
		moved := e
		moved.quoted = m.of(e.quoted)
		want := moved.bytes()
		// Padding may lie where the checksum would be, and half of one is no
		// checksum: the rebuilt one is no measure then, but the error's own is.
		padded := e.words != 0 && e.keep < header+18 || e.keep == header+17
		if padded && e.quoted.protocol == frame.ProtoTCP {
			checkWire(t, f.Bytes())
		} else if !bytes.Equal(f.Bytes(), want) {
			t.Fatalf("\ngot  %x\nwant %x", f.Bytes(), want)
		}
		back := m.back(e.quoted)
		if m.destination {
			q.setDestination(f, p, wireEndpoint(back.to, back.port))
		} else {
			q.setSource(f, p, wireEndpoint(back.to, back.port))
		}
		if !bytes.Equal(f.Bytes(), before) {
			t.Fatalf("back\ngot  %x\nwant %x", f.Bytes(), before)
		}
	})
}

// TestQuoteFields reads what an error is about.
func TestQuoteFields(t *testing.T) {
	src, dst := [4]byte{203, 0, 113, 5}, [4]byte{198, 51, 100, 7}
	tests := []struct {
		name   string
		quoted wire
		want   quote
	}{
		{"udp", wire{protocol: 17, sport: 1024, dport: 53},
			quote{Protocol: 17, Src: wireEndpoint(src, 1024), Dst: wireEndpoint(dst, 53)}},
		{"tcp", wire{protocol: 6, sport: 1024, dport: 443, head: []byte{16}},
			quote{Protocol: 6, Src: wireEndpoint(src, 1024), Dst: wireEndpoint(dst, 443), Seq: 0x11223344, HasSeq: true}},
		{"tcp behind options", wire{protocol: 6, sport: 1024, dport: 443, head: []byte{16}, ipOptions: []byte{0x94, 4, 0, 0}},
			quote{Protocol: 6, Src: wireEndpoint(src, 1024), Dst: wireEndpoint(dst, 443), Seq: 0x11223344, HasSeq: true}},
		{"echo", wire{protocol: 1, sport: 77, head: []byte{8, 0}},
			quote{Protocol: 1, Src: wireEndpoint(src, 77), Dst: wireEndpoint(dst, 77)}},
		{"other icmp", wire{protocol: 1, sport: 77, head: []byte{9, 0}},
			quote{Protocol: 1, Src: wireEndpoint(src, 0), Dst: wireEndpoint(dst, 0)}},
		{"gre", wire{protocol: protoGRE, sport: 77},
			quote{Protocol: protoGRE, Src: wireEndpoint(src, 0), Dst: wireEndpoint(dst, 0)}},
		{"first fragment", wire{protocol: 17, sport: 1024, dport: 53, flags: 0x2000},
			quote{Protocol: 17, Src: wireEndpoint(src, 1024), Dst: wireEndpoint(dst, 53)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := aboutUDP()
			e.quoted = tt.quoted
			e.quoted.src, e.quoted.dst, e.quoted.payload = src, dst, []byte("data")
			q, ok := parseQuote(e.frame())
			q.l3, q.l4, q.end = 0, 0, 0
			if !ok || q != tt.want {
				t.Errorf("%v\ngot  %+v\nwant %+v", ok, q, tt.want)
			}
		})
	}
}

// TestQuoteRefused has the errors that nothing may be learnt from.
func TestQuoteRefused(t *testing.T) {
	// resum makes the error's own checksum right again.
	resum := func(b []byte) []byte {
		b[36], b[37] = 0, 0
		binary.BigEndian.PutUint16(b[36:], ^naiveSum(b[34:]))
		return b
	}
	// cut shortens the frame and the outer packet to n bytes of quote.
	cut := func(b []byte, n int) []byte {
		b = b[:42+n]
		binary.BigEndian.PutUint16(b[16:], uint16(28+n))
		return resum(b)
	}
	// total writes another total length into the quoted IP header.
	total := func(b []byte, n int) []byte {
		binary.BigEndian.PutUint16(b[44:], uint16(n))
		b[52], b[53] = 0, 0
		binary.BigEndian.PutUint16(b[52:], ^naiveSum(b[42:62]))
		return resum(b)
	}
	gre := wire{protocol: protoGRE, payload: []byte("long enough")}
	plain := func(change func(e *wireError)) []byte {
		e := aboutUDP()
		change(&e)
		return e.bytes()
	}
	tests := []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"as it should be", aboutUDP().bytes(), true},
		{"time exceeded", plain(func(e *wireError) { e.kind = 11 }), true},
		{"parameter problem", plain(func(e *wireError) { e.kind = 12 }), true},
		{"28 bytes", plain(func(e *wireError) { e.keep = 28 }), true},
		{"redirect", plain(func(e *wireError) { e.kind = 5 }), false},
		{"echo request", plain(func(e *wireError) { e.kind = 8 }), false},
		{"27 bytes", plain(func(e *wireError) { e.keep = 27 }), false},
		{"no quote", cut(aboutUDP().bytes(), 0), false},
		{"19 bytes of the header", cut(aboutUDP().bytes(), 19), false},
		{"header with options cut", plain(func(e *wireError) { e.quoted.ipOptions = make([]byte, 40); e.keep = 59 }), false},
		{"options, no ports", plain(func(e *wireError) { e.quoted.ipOptions = make([]byte, 40); e.keep = 67 }), false},
		{"options, ports", plain(func(e *wireError) { e.quoted.ipOptions = make([]byte, 40); e.keep = 68 }), true},
		{"later fragment quoted", plain(func(e *wireError) { e.quoted.flags = 1 }), false},
		{"error about an error", plain(func(e *wireError) { e.quoted.protocol, e.quoted.head = 1, []byte{3, 3} }), false},
		{"error about an echo", plain(func(e *wireError) { e.quoted.protocol, e.quoted.head = 1, []byte{8, 0} }), true},
		{"8 bytes of GRE", plain(func(e *wireError) { e.quoted = gre; e.keep = 28 }), true},
		{"7 bytes of GRE", plain(func(e *wireError) { e.quoted = gre; e.keep = 27 }), false},
		{"7 bytes of GRE, all there is", total(plain(func(e *wireError) { e.quoted = gre; e.keep = 27 }), 27), true},
		{"inner length that cuts the ports", total(aboutUDP().bytes(), 27), false},
		{"inner length within the header", total(aboutUDP().bytes(), 19), false},
		{"inner length 0", total(aboutUDP().bytes(), 0), false},
		{"inner length beyond the quote", total(aboutUDP().bytes(), 65535), true},
		{"RFC 4884 length that cuts the ports", resum(func() []byte { b := aboutUDP().bytes(); b[39] = 6; return b }()), false},
		{"source quench has no such length", resum(func() []byte { b := aboutUDP().bytes(); b[34], b[39] = 4, 6; return b }()), true},
		{"RFC 4884 length beyond the end", resum(func() []byte { b := aboutUDP().bytes(); b[39] = 255; return b }()), true},
		{"inner checksum wrong", resum(func() []byte { b := aboutUDP().bytes(); b[42+10]++; return b }()), false},
		{"outer checksum wrong", func() []byte { b := aboutUDP().bytes(); b[36]++; return b }(), false},
		{"inner version 6", resum(func() []byte { b := aboutUDP().bytes(); b[42] = 0x65; return b }()), false},
		{"inner header length 4", resum(func() []byte { b := aboutUDP().bytes(); b[42] = 0x44; return b }()), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, p := wireFrame(tt.b)
			if p.Layer != frame.LayerTransport {
				t.Fatal("the test's own packet is broken")
			}
			if q, ok := parseQuote(f, p); ok != tt.ok {
				t.Errorf("%v: %+v", ok, q)
			}
		})
	}
}

// TestQuotePartial: the checksum of an error that the receiver's stack left to
// be completed must come out right, and one in a fragment follows by delta.
func TestQuotePartial(t *testing.T) {
	e := aboutUDP()
	f, p := e.frame()
	b := f.Bytes()
	b[36], b[37] = 0, 0
	f.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: uint16(p.L4), CsumOffset: 2}
	q, ok := parseQuote(f, p)
	if !ok {
		t.Fatal("refused")
	}
	q.setSource(f, p, wireEndpoint([4]byte{10, 0, 0, 1}, 5353))
	f.CompleteChecksum()
	e.quoted.src, e.quoted.sport = [4]byte{10, 0, 0, 1}, 5353
	if !bytes.Equal(f.Bytes(), e.bytes()) {
		t.Errorf("\ngot  %x\nwant %x", f.Bytes(), e.bytes())
	}
	if q.Src != wireEndpoint([4]byte{10, 0, 0, 1}, 5353) {
		t.Errorf("the quote's source is %v", q.Src)
	}

	// The first fragment of a long error: its checksum covers bytes that are
	// not here, so it is not checked, and yet kept in step.
	e = aboutUDP()
	e.quoted.payload = bytes.Repeat([]byte{1, 2, 3, 4}, 25)
	whole := e.bytes()
	f, p = wireFrame(whole[:34+80])
	binary.BigEndian.PutUint16(f.Bytes()[16:], 100)
	f.Bytes()[20] |= 0x20
	p.Parse(f)
	if q, ok = parseQuote(f, p); !ok {
		t.Fatal("a first fragment was refused")
	}
	q.setDestination(f, p, wireEndpoint([4]byte{10, 0, 0, 1}, 5353))
	e.quoted.dst, e.quoted.dport = [4]byte{10, 0, 0, 1}, 5353
	if want := e.bytes(); !bytes.Equal(f.Bytes()[34:], want[34:34+80]) {
		t.Errorf("\ngot  %x\nwant %x", f.Bytes()[34:], want[34:34+80])
	}
}

// TestQuoteEnd: what lies behind the quoted packet, or behind the quote, is not
// taken for a TCP checksum.
func TestQuoteEnd(t *testing.T) {
	for _, tt := range []struct {
		name         string
		total, words int
	}{{"inner total length", 37, 0}, {"RFC 4884 length", 40, 9}} {
		e := aboutUDP()
		e.quoted.protocol, e.quoted.head, e.quoted.payload = frame.ProtoTCP, []byte{16}, nil
		b := e.bytes()
		b[39] = byte(tt.words)
		binary.BigEndian.PutUint16(b[44:], uint16(tt.total))
		b[36], b[37], b[52], b[53] = 0, 0, 0, 0
		binary.BigEndian.PutUint16(b[52:], ^naiveSum(b[42:62]))
		binary.BigEndian.PutUint16(b[36:], ^naiveSum(b[34:]))
		f, p := wireFrame(b)
		q, ok := parseQuote(f, p)
		if !ok {
			t.Fatalf("%s: refused", tt.name)
		}
		q.setSource(f, p, wireEndpoint([4]byte{10, 0, 0, 1}, 5353))
		if !bytes.Equal(f.Bytes()[62+16:], b[62+16:]) || naiveSum(f.Bytes()[34:]) != 0xffff {
			t.Errorf("%s: %x", tt.name, f.Bytes())
		}
	}
}

// TestQuoteGolden: in, the error as it comes to the outside address; out, as
// the inside host is to see it. Worked out by a program of its own.
func TestQuoteGolden(t *testing.T) {
	for _, tt := range quoteGolden {
		t.Run(tt.name, func(t *testing.T) {
			in, err := hex.DecodeString(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			f, p := wireFrame(in)
			q, ok := parseQuote(f, p)
			if !ok {
				t.Fatal("refused")
			}
			inside := wireEndpoint([4]byte{192, 168, 122, 10}, tt.port)
			if tt.outbound { // an inside host complains about what came in
				outside := wireEndpoint([4]byte{203, 0, 113, 5}, tt.port)
				q.setDestination(f, p, outside)
				setSource(f, p, outside)
			} else {
				q.setSource(f, p, inside)
				setDestination(f, p, inside)
			}
			if got := hex.EncodeToString(f.Bytes()); got != tt.out {
				t.Errorf("\ngot  %s\nwant %s", got, tt.out)
			}
		})
	}
}

func TestIsICMPError(t *testing.T) {
	for kind := range 256 {
		w := wire{protocol: frame.ProtoICMP, head: []byte{byte(kind), 0}}
		want := kind == 3 || kind == 4 || kind == 11 || kind == 12
		if got := isICMPError(w.frame()); got != want {
			t.Errorf("type %d: %v", kind, got)
		}
	}
	w := wire{protocol: frame.ProtoICMP, head: []byte{3, 0}, flags: 1}
	if isICMPError(w.frame()) {
		t.Error("a later fragment is an error")
	}
	w = wire{protocol: frame.ProtoUDP, sport: 3 << 8}
	if isICMPError(w.frame()) {
		t.Error("UDP is an error")
	}
}

// FuzzQuote reads and rewrites whatever it is given, where the checksums are
// not in the way, and never leaves the quote.
func FuzzQuote(f *testing.F) {
	f.Add(aboutUDP().bytes()[34:], uint8(0))
	e := aboutUDP()
	e.quoted.protocol, e.quoted.head, e.words, e.extension = 6, []byte{16}, 32, make([]byte, 12)
	f.Add(e.bytes()[34:], uint8(7))
	e = aboutUDP()
	e.quoted.protocol, e.quoted.head, e.keep = 1, []byte{8, 0}, 28
	f.Add(e.bytes()[34:], uint8(3))
	f.Fuzz(func(t *testing.T, icmp []byte, padding uint8) {
		if len(icmp) > 2000 {
			return
		}
		b := append([]byte{2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 8, 0}, (&wire{protocol: 1, head: []byte{3, 0}}).ip()[:20]...)
		b = append(b, icmp...)
		binary.BigEndian.PutUint16(b[16:], uint16(20+len(icmp)))
		if len(icmp) >= 28 {
			ihl := int(b[42]&15) * 4
			if ihl >= 20 && 42+ihl <= len(b) {
				b[52], b[53] = 0, 0
				binary.BigEndian.PutUint16(b[52:], ^naiveSum(b[42:42+ihl]))
			}
			b[36], b[37] = 0, 0
			binary.BigEndian.PutUint16(b[36:], ^naiveSum(b[34:]))
		}
		end := len(b)
		b = append(b, bytes.Repeat([]byte{0xee}, int(padding))...)
		fr, p := wireFrame(b)
		q, ok := parseQuote(fr, p)
		if !ok {
			return
		}
		q.setSource(fr, p, wireEndpoint([4]byte{1, 2, 3, 4}, 5))
		q.setDestination(fr, p, wireEndpoint([4]byte{5, 6, 7, 8}, 9))
		out := fr.Bytes()
		if naiveSum(out[34:end]) != 0xffff || naiveSum(out[42:42+int(out[42]&15)*4]) != 0xffff {
			t.Fatalf("wrong checksums: %x", out)
		}
		if !bytes.Equal(out[:36], b[:36]) || !bytes.Equal(out[38:42], b[38:42]) || !bytes.Equal(out[min(end, 42+60+18):], b[min(end, 42+60+18):]) {
			t.Fatalf("something outside of the quoted headers changed: %x", out)
		}
		if again, ok := parseQuote(fr, p); !ok || again != q {
			t.Fatalf("%v\ngot  %+v\nwant %+v", ok, again, q)
		}
	})
}
