package nat

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// RFC 6092: what it recommends to gateways that let outside only answer, as far as the
// table does it. All is tested with addresses that stay as they are, of IPv6.

// simple returns a lab as such a gateway is.
func simple(t *testing.T, cfg ZoneConfig) *lab {
	t.Helper()
	cfg.Prefixes = identity
	l := &lab{t: t, now: 1, six: true}
	l.tab = New(Config{Addresses: l.addresses(outsideA)})
	l.zone(0, cfg)
	return l
}

func TestRFC6092REC4(t *testing.T) {
	for _, left := range []byte{0, 1} {
		l := simple(t, ZoneConfig{Open: true})
		f, p := wireFrame(routed(0, left, [4]byte{203, 0, 113, 9}))
		if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Invalid {
			t.Errorf("%d segments left, out: %v", left, r.Verdict)
		}
		if r := l.tab.Inbound(f, p, 1); r.Verdict != Invalid {
			t.Errorf("%d segments left, in: %v", left, r.Verdict)
		}
	}
}

func TestRFC6092REC10(t *testing.T) {
	for _, kind := range []uint8{icmpUnreachable, icmpSourceQuench} { // of ICMPv6: unreachable, and too big
		l := simple(t, ZoneConfig{})
		l.mustOut(packet{protocol: protoSCTP, src: guestA, dst: remoteA})
		for dst, want := range map[string]Verdict{remoteA: Translated, remoteB: Filtered} {
			f, p := l.errorAbout(kind, router, guestA, packet{protocol: protoSCTP, src: guestA, dst: dst}, 0)
			if r := l.tab.Inbound(f, p, 1); r.Verdict != want {
				t.Errorf("type %d about a packet to %s: %v, want %v", as6Kind(kind), dst, r.Verdict, want)
			}
		}
	}
}

// TestRFC6092REC11 has protocols without ports be known by their addresses.
func TestRFC6092REC11(t *testing.T) {
	for _, protocol := range []uint8{protoGRE, protoSCTP, 33, protoMobility, 139, 253} {
		l := simple(t, ZoneConfig{})
		l.mustOut(packet{protocol: protocol, src: guestA, dst: remoteA})
		l.mustIn(packet{protocol: protocol, src: remoteA, dst: guestA}, guestA+":0")
		l.wantIn(packet{protocol: protocol, src: remoteB, dst: guestA}, Filtered)
		l.wantIn(packet{protocol: protocol, src: remoteA, dst: guestB}, Filtered)
	}
}

// idles reports whether a flow is let in so long after its only packet.
func idles(t *testing.T, out, in packet, seconds int) bool {
	l := simple(t, ZoneConfig{})
	l.mustOut(out)
	l.wait(seconds)
	v, _ := l.in(in)
	return v == Translated
}

func TestRFC6092REC12(t *testing.T) {
	out, in := packet{protocol: protoGRE, src: guestA, dst: remoteA}, packet{protocol: protoGRE, src: remoteA, dst: guestA}
	if !idles(t, out, in, 300) {
		t.Error("gone within five minutes")
	}
}

func TestRFC6092REC14(t *testing.T) {
	out, in := udp(guestA+":5000", remoteA+":5001"), udp(remoteA+":5001", guestA+":5000")
	if !idles(t, out, in, 300) || idles(t, out, in, 301) {
		t.Error("the default is not five minutes")
	}
}

func TestRFC6092REC16(t *testing.T) {
	l := simple(t, ZoneConfig{})
	for range 4 {
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.wait(290)
	}
	l.mustIn(udp(remoteA+":80", guestA+":5000"), guestA+":5000")
	if c := l.counters(0, ClassUDP); c.Made != 1 {
		t.Errorf("the flow has ended, and begun again: %+v", c)
	}
}

// TestRFC6092REC17 has filtering by address unless it is said otherwise, and by
// endpoint of the guest alone where it is.
func TestRFC6092REC17(t *testing.T) { simpleFilter(t, udp) }
func TestRFC6092REC33(t *testing.T) { simpleFilter(t, syn) }

func simpleFilter(t *testing.T, one func(src, dst string) packet) {
	for filtering, stranger := range map[Filtering]Verdict{ByAddress: Filtered, None: Translated} {
		for src, want := range map[string]Verdict{remoteA + ":81": Translated, remoteB + ":80": stranger} {
			l := simple(t, ZoneConfig{Filtering: filtering})
			l.wantIn(one(src, guestA+":5000"), Filtered)
			l.mustOut(one(guestA+":5000", remoteA+":80"))
			l.wantIn(one(src, guestA+":5001"), Filtered)
			l.wantIn(one(src, guestA+":5000"), want)
		}
	}
}

// errorsPass has the two errors that must pass do so about a flow, and none end it.
func errorsPass(t *testing.T, out, in packet) {
	for _, kind := range []uint8{icmpUnreachable, icmpSourceQuench} {
		l := simple(t, ZoneConfig{})
		l.mustOut(out)
		f, p := l.errorAbout(kind, router, guestA, out, 0)
		before := bytes.Clone(f.Bytes())
		if r := l.tab.Inbound(f, p, 1); r.Verdict != Translated || !bytes.Equal(before, f.Bytes()) {
			t.Errorf("type %d: %v, or it has changed", as6Kind(kind), r.Verdict)
		}
		for kind := range 256 { // of any type
			f, p := l.errorAbout(uint8(kind), router, guestA, out, 0)
			f.Bytes()[54] = byte(kind)
			resummed(f.Bytes())
			l.tab.Inbound(f, p, 1)
		}
		v, _ := l.in(in)
		if n := len(l.flows()); n != 1 || v != Translated {
			t.Errorf("after errors: %d flows, the answer is %v", n, v)
		}
	}
}

func TestRFC6092REC18(t *testing.T) {
	errorsPass(t, udp(guestA+":5000", remoteA+":80"), udp(remoteA+":80", guestA+":5000"))
}

func TestRFC6092REC19(t *testing.T) { TestRFC6092REC18(t) }

// TestRFC6092REC20 keeps UDP and UDP-Lite apart.
func TestRFC6092REC20(t *testing.T) {
	l := simple(t, ZoneConfig{})
	l.mustOut(packet{protocol: protoUDPLite, src: guestA, dst: remoteA})
	l.wantIn(udp(remoteA+":80", guestA+":5000"), Filtered)
	l.mustIn(packet{protocol: protoUDPLite, src: remoteA, dst: guestA}, guestA+":0")
	l = simple(t, ZoneConfig{})
	l.mustOut(udp(guestA+":5000", remoteA+":80"))
	l.wantIn(packet{protocol: protoUDPLite, src: remoteA, dst: guestA}, Filtered)
}

// TestRFC6092REC21 has an authentication header before UDP: the flow is that of the
// UDP, and the packet stays as it is.
func TestRFC6092REC21(t *testing.T) {
	l := simple(t, ZoneConfig{})
	f, _ := l.frame(udp(guestA+":5000", remoteA+":80"))
	b := append(bytes.Clone(f.Bytes()[:54]), frame.ProtoUDP, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9)
	b = append(b, f.Bytes()[54:]...)
	b[19], b[20] = b[19]+24, frame.ExtAuth
	f, p := wireFrame(bytes.Clone(b))
	if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Translated || !bytes.Equal(f.Bytes(), b) {
		t.Errorf("%v, or it has changed", r.Verdict)
	}
	l.mustIn(udp(remoteA+":80", guestA+":5000"), guestA+":5000")
}

// TestRFC6092REC22 has ESP, and TestRFC6092REC25 its flows be known by addresses and
// protocol, whatever the index of the security parameters.
func TestRFC6092REC22(t *testing.T) { TestRFC6092REC25(t) }

func TestRFC6092REC25(t *testing.T) {
	const esp = 50
	l := simple(t, ZoneConfig{})
	l.mustOut(packet{protocol: esp, src: guestA + ":1", dst: remoteA + ":2"})
	l.mustIn(packet{protocol: esp, src: remoteA + ":7", dst: guestA + ":8"}, guestA+":0")
	l.mustOut(packet{protocol: esp, src: guestB + ":1", dst: remoteA + ":2"}) // a second one to the same peer
	l.mustIn(packet{protocol: esp, src: remoteA + ":9", dst: guestB + ":9"}, guestB+":0")
}

func TestRFC6092REC23(t *testing.T) {
	errorsPass(t, packet{protocol: 50, src: guestA, dst: remoteA}, packet{protocol: 50, src: remoteA, dst: guestA})
}

func TestRFC6092REC24(t *testing.T) {
	l := simple(t, ZoneConfig{})
	for _, src := range []string{guestA, guestB} {
		l.mustOut(udp(src+":500", remoteA+":500"))
		l.mustIn(udp(remoteA+":500", src+":500"), src+":500")
	}
}

func TestRFC6092REC31(t *testing.T) {
	for _, e := range validExchanges {
		t.Run(e.name, func(t *testing.T) {
			l := simple(t, ZoneConfig{})
			for i, s := range e.segments {
				if s.server {
					l.mustIn(tcp(tcpRe, tcpIn, s.flags, s.seq, s.ack, s.data), tcpIn)
				} else if src := l.mustOut(tcp(tcpIn, tcpRe, s.flags, s.seq, s.ack, s.data)); src != tcpIn {
					t.Fatalf("segment %d left as %s", i, src)
				}
			}
			if f := l.only(); f.State.String() != e.state {
				t.Errorf("the flow is %v, want %s", f.State, e.state)
			}
		})
	}
}

// TestRFC6092REC32 has data far beyond the window of a connection that was picked up
// in the middle: it belongs to it, and keeps it.
func TestRFC6092REC32(t *testing.T) {
	l := simple(t, ZoneConfig{})
	l.mustOut(tcp(tcpIn, tcpRe, tcpACK, 101, 501, 10))
	l.mustIn(tcp(tcpRe, tcpIn, tcpACK, 501, 111, 10), tcpIn)
	l.wait(7000)
	l.mustIn(tcp(tcpRe, tcpIn, tcpACK, 501+1<<29, 111, 10), tcpIn)
	if f := l.only(); f.State != Established || f.Expires != 7440 {
		t.Errorf("%+v", f)
	}
	l.wait(7000)
	if n := len(l.flows()); n != 1 {
		t.Error("data beyond the window has not kept the flow")
	}
}

func TestRFC6092REC35(t *testing.T) {
	l := simple(t, ZoneConfig{})
	l.mustOut(syn(tcpIn, tcpRe))
	opening := l.only().Expires
	l.mustIn(tcp(tcpRe, tcpIn, tcpSA, 500, 101, 0), tcpIn)
	l.mustOut(tcp(tcpIn, tcpRe, tcpACK, 101, 501, 0))
	if open := l.only().Expires; opening < 4*60 || open < 2*3600+4*60 {
		t.Errorf("opening lasts %d s, established %d", opening, open)
	}
}

func TestRFC6092REC36(t *testing.T) {
	errorsPass(t, syn(tcpIn, tcpRe), tcp(tcpRe, tcpIn, tcpSA, 500, 101, 0))
}

func TestRFC6092REC37(t *testing.T) { TestRFC6092REC36(t) }

// TestRFC6092REC49 is the transparent mode: any flow in any direction.
func TestRFC6092REC49(t *testing.T) {
	l := simple(t, ZoneConfig{Open: true})
	for i, p := range []packet{udp(remoteA+":80", guestA+":5000"), syn(remoteA+":80", guestA+":5000"), echo(remoteA+":7", guestA), {protocol: protoSCTP, src: remoteA, dst: guestA}} {
		if v, dst := l.in(p); v != Translated || addrOf(dst) != guestA {
			t.Errorf("packet %d: %v to %s", i, v, dst)
		}
	}
}

// TestShareOfAddresses has a guest send from addresses without end: neither the flows
// of the others nor their fragments suffer.
func TestShareOfAddresses(t *testing.T) {
	for name, cfg := range map[string]ZoneConfig{"tracked": {MaxFlows: 8192, Prefixes: identity}, "masqueraded": {MaxFlows: 8192}} {
		l := &lab{t: t, now: 1, six: true}
		l.tab = New(Config{Addresses: l.addresses(outsideA)})
		l.zone(0, cfg)
		l.via = 1
		l.mustOut(udp(guestB+":5000", remoteA+":80"))
		l.via = 0
		made := 0
		for i := range 9000 {
			if v, _ := l.out(udp(fmt.Sprintf("10.1.%d.%d:4000", 1+i/250, i%250), remoteA+":80")); v == Translated {
				made++
			}
		}
		if made != 4096 {
			t.Errorf("%s: one port of the switch has %d flows, want half of 8192", name, made)
		}
		waits := l.wire(udp(guestB+":5000", remoteB+":80"))
		waits.payload = make([]byte, 40)
		f, p := fragmentOf(waits, 24, 48)
		if r := l.tab.Outbound(0, 1, f, p, 1); r.Verdict != Held {
			t.Fatalf("%s: %v", name, r.Verdict)
		}
		for i := range 6000 {
			w := l.fragmented(uint16(i), 1)
			w.src = [4]byte{10, 1, byte(1 + i/250), byte(i % 250)}
			w.payload, w.noSum = make([]byte, 1400), true
			f, p := fragmentOf(w, 16, 1408)
			l.tab.Outbound(0, 0, f, p, 1)
		}
		f, p = fragmentOf(waits, 0, 24)
		if r := l.tab.Outbound(0, 1, f, p, 1); r.Verdict != Translated || len(r.Released) != 1 {
			t.Errorf("%s: %v, and %d fragments that waited for it", name, r.Verdict, len(r.Released))
		}
		l.mustOut(udp(guestB+":5001", remoteA+":80"))
	}
}
