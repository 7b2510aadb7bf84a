package nat

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
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
	length     int    // RFC 4884: of the quote with its padding, in bytes
	extension  []byte // what follows the quote
}

// bytes returns the frame's bytes. The ICMP message is summed up by the builder
// of the other tests, as the payload of a packet.
func (e wireError) bytes() []byte {
	inner := e.quoted.ip()
	if e.keep > 0 {
		inner = inner[:min(e.keep, len(inner))]
	}
	inner = append(inner, make([]byte, max(0, e.length-len(inner)))...)
	field := uint16(e.length / 4)
	if e.quoted.six {
		field = uint16(e.length/8) << 8
	}
	outer := wire{six: e.quoted.six, protocol: frame.ProtoICMP, src: e.src, dst: e.dst, head: []byte{e.kind, e.code},
		sport: field, payload: append(inner, e.extension...)}
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
			types := []byte{0, 8, 13, 14, 17}
			if e.quoted.six {
				types = types[:2]
			}
			e.quoted.head[0] = rapid.SampledFrom(types).Draw(t, "type")
		}
		header := e.quoted.headerLen()
		whole := len(e.quoted.ip())
		e.keep = rapid.IntRange(header+8, whole).Draw(t, "keep")
		if has4884(e.kind, e.quoted.six) && rapid.Bool().Draw(t, "extended") {
			e.length = max(128, (e.keep+7)/8*8)
			e.extension = rapid.SliceOfN(rapid.Byte(), 4, 40).Draw(t, "extension")
		}
		m := drawMove(t)
		f, p := e.frame()
		q, ok := parseQuote(f, p)
		if !ok {
			t.Fatalf("refused: %x", f.Bytes())
		}
		before := slices.Clone(f.Bytes())
		m.applyQuoted(&q, f, p)
		moved := e
		moved.quoted = m.of(e.quoted)
		want := moved.bytes()
		// Padding may lie where the checksum would be, and half of one is no
		// checksum: the rebuilt one is no measure then, but the error's own is.
		padded := e.length != 0 && e.keep < header+18 || e.keep == header+17
		if padded && e.quoted.protocol == frame.ProtoTCP {
			checkWire(t, f.Bytes())
		} else if !bytes.Equal(f.Bytes(), want) {
			t.Fatalf("\ngot  %x\nwant %x", f.Bytes(), want)
		}
		back := m.back(e.quoted)
		back.applyQuoted(&q, f, p)
		if !bytes.Equal(f.Bytes(), before) {
			t.Fatalf("back\ngot  %x\nwant %x", f.Bytes(), before)
		}
	})
}

// headerLen returns the length of the headers before the transport header.
func (w *wire) headerLen() int { return len(w.ip()) - len(w.transport()) }

// has4884 reports whether a type of error has a length of the quote in its header.
func has4884(kind uint8, six bool) bool {
	return kind != icmpSourceQuench && (!six || kind != icmpParameter)
}

// applyQuoted translates the quoted packet.
func (m wireMove) applyQuoted(q *quote, f *frame.Frame, p *frame.Parsed) {
	if m.destination {
		q.setDestination(f, p, m.endpoint(p))
	} else {
		q.setSource(f, p, m.endpoint(p))
	}
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
			quote{Protocol: 1, Src: wireEndpoint(src, 77), Dst: wireEndpoint(dst, 77), Asks: true}},
		{"other icmp", wire{protocol: 1, sport: 77, head: []byte{9, 0}},
			quote{Protocol: 1, Src: wireEndpoint(src, 0), Dst: wireEndpoint(dst, 0)}},
		{"gre", wire{protocol: protoGRE, sport: 77},
			quote{Protocol: protoGRE, Src: wireEndpoint(src, 0), Dst: wireEndpoint(dst, 0)}},
		{"first fragment", wire{protocol: 17, sport: 1024, dport: 53, flags: 0x2000},
			quote{Protocol: 17, Src: wireEndpoint(src, 1024), Dst: wireEndpoint(dst, 53)}},
	}
	eachFamily(t, func(t *testing.T) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				e, want := aboutUDP(), tt.want
				e.quoted = tt.quoted
				e.quoted.src, e.quoted.dst, e.quoted.payload, e.quoted.six = src, dst, []byte("data"), isSix(t)
				want.Protocol = e.quoted.number()
				want.Src, want.Dst = e.quoted.endpoint(src, want.Src.Port), e.quoted.endpoint(dst, want.Dst.Port)
				q, ok := parseQuote(e.frame())
				q.l3, q.l4, q.end = 0, 0, 0
				if !ok || q != want {
					t.Errorf("%v\ngot  %+v\nwant %+v", ok, q, want)
				}
			})
		}
	})
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
	for _, tt := range slices.Concat(quoteGolden, quoteGolden6) {
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
			inside := EndpointOf(netip.AddrPortFrom(netip.MustParseAddr(tt.inside), tt.port))
			if tt.outbound { // an inside host complains about what came in
				outside := EndpointOf(netip.AddrPortFrom(netip.MustParseAddr(tt.outside), tt.port))
				q.setDestination(f, p, outside)
				setSource(f, p, new(outside))
			} else {
				q.setSource(f, p, inside)
				setDestination(f, p, new(inside))
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
