package nat

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// The tests TestRFC… of this folder are those that docs/nat-rfc.md names, one for
// each requirement and letter. These are RFC 4787, for UDP.

func rfcPort(e string) uint16   { return netip.MustParseAddrPort(e).Port() }
func rfcHost(e string) [16]byte { return endpointOf(e).Addr }

func TestRFC4787REQ1(t *testing.T) {
	eachFamily(t, func(t *testing.T) { independent(t, udp) })
}

// independent has one inside endpoint talk to several remote ones. It has one
// outside endpoint, unless the zone is symmetric.
func independent(t *testing.T, one func(src, dst string) packet) {
	for _, symmetric := range []bool{false, true} {
		l := newLab(t, ZoneConfig{Symmetric: symmetric})
		l.mustOut(one(guestA+":5000", remoteA+":1")) // so that the port is not preserved
		seen := map[string]bool{}
		for _, dst := range []string{remoteA + ":1", remoteA + ":2", remoteB + ":1", remoteB + ":2"} {
			seen[l.mustOut(one(guestB+":5000", dst))] = true
			l.now += 50
		}
		if want := map[bool]int{false: 1, true: 2}[symmetric]; len(seen) < want || !symmetric && len(seen) != 1 {
			t.Errorf("symmetric %v: one inside endpoint was seen as %v", symmetric, seen)
		}
	}
}

func TestRFC4787REQ2(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		all := []string{"192.0.2.1", "192.0.2.7", "203.0.113.9"}
		l := newLabAt(t, ZoneConfig{Addresses: addresses(all...)}, all...)
		used := map[[16]byte]int{}
		for host := range 40 {
			src := fmt.Sprintf("10.1.2.%d", host)
			paired := rfcHost(l.mustOut(udp(src+":1000", remoteA+":53")))
			for i, p := range []packet{udp(src+":1001", remoteB+":53"), syn(src+":1002", remoteA+":80"), echo(src+":9", remoteB), {protocol: protoGRE, src: src, dst: fmt.Sprintf("203.0.113.%d", host)}} {
				if got := rfcHost(l.mustOut(p)); got != paired {
					t.Errorf("%s: flow %d has another address", src, i)
				}
			}
			used[paired]++
		}
		if len(used) != len(all) {
			t.Errorf("of %d addresses %d are used", len(all), len(used))
		}
	})
}

func TestRFC4787REQ3(t *testing.T) {
	eachFamily(t, func(t *testing.T) { notOverloaded(t, udp) })
}

// notOverloaded fills all ports. One more inside endpoint gets none, towards
// whatever destination; the others keep theirs.
func notOverloaded(t *testing.T, one func(src, dst string) packet) {
	l := newLab(t, ZoneConfig{First: 40000, Last: 40015})
	owner := map[string]string{}
	for i := range 16 {
		src := guest("10.1.3."+fmt.Sprint(i), 5000)
		out := l.mustOut(one(src, guest(remoteA, 1000+i)))
		if other, taken := owner[out]; taken {
			t.Fatalf("%s and %s are both %s", src, other, out)
		}
		owner[out] = src
	}
	for i := range 8 {
		l.wantOut(one("10.1.3.99:5000", guest(remoteB, 2000+i)), PortsFull)
	}
	for out, src := range owner {
		if again := l.mustOut(one(src, remoteB+":2000")); again != out {
			t.Errorf("%s was %s and is %s", src, out, again)
		}
	}
}

func TestRFC4787REQ3a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, tt := range []struct {
			first   uint16
			lowKept bool
		}{{0, false}, {1, true}} {
			l := newLab(t, ZoneConfig{First: tt.first, Last: 65535})
			for i := range 100 {
				for _, port := range []int{500, 5000} {
					got := rfcPort(l.mustOut(udp(guest("10.1.4."+fmt.Sprint(i), port), remoteA+":80")))
					if low, want := got < 1024, port < 1024 && tt.lowKept; low != want {
						t.Fatalf("range from %d: port %d of guest %d became %d", tt.first, port, i, got)
					}
				}
			}
		}
	})
}

func TestRFC4787REQ4(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		for i := range 200 {
			for _, port := range []int{5004, 5005} {
				if got := rfcPort(l.mustOut(udp(guest("10.1.5."+fmt.Sprint(i), port), remoteA+":80"))); int(got)&1 != port&1 {
					t.Fatalf("port %d of guest %d became %d", port, i, got)
				}
			}
		}
	})
}

// lasts reports whether a UDP mapping to a remote endpoint is there so long after
// its only packet.
func lasts(t *testing.T, cfg ZoneConfig, remote string, seconds int) bool {
	l := newLab(t, cfg)
	out := l.mustOut(udp(guestA+":5000", remote))
	l.wait(seconds)
	v, _ := l.in(udp(remote, out))
	return v == Translated
}

func TestRFC4787REQ5(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		if !lasts(t, ZoneConfig{}, remoteA+":5001", 121) {
			t.Error("gone after two minutes")
		}
	})
}

func TestRFC4787REQ5a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, port := range []int{7, 53, 123, 1023} {
			if !lasts(t, ZoneConfig{}, guest(remoteA, port), 300) {
				t.Errorf("a mapping to port %d lives shorter than others", port)
			}
		}
	})
}

func TestRFC4787REQ5b(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		cfg := ZoneConfig{Timeouts: Timeouts{UDP: 130}}
		if !lasts(t, cfg, remoteA+":5001", 130) || lasts(t, cfg, remoteA+":5001", 131) {
			t.Error("130 s are not kept")
		}
	})
}

func TestRFC4787REQ5c(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		if !lasts(t, ZoneConfig{}, remoteA+":5001", 300) || lasts(t, ZoneConfig{}, remoteA+":5001", 301) {
			t.Error("the default is not five minutes")
		}
	})
}

func TestRFC4787REQ6(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		out := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		for range 5 {
			l.wait(290)
			if again := l.mustOut(udp(guestA+":5000", remoteA+":80")); again != out {
				t.Fatalf("%s became %s", out, again)
			}
		}
		if c := l.counters(0, ClassUDP); c.Made != 1 {
			t.Errorf("the flow has ended, and begun again: %+v", c)
		}
	})
}

func TestRFC4787REQ6a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		out := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		for range 5 {
			l.wait(290)
			l.mustIn(udp(remoteA+":80", out), guestA+":5000")
		}
	})
}

func TestRFC4787REQ8(t *testing.T) {
	eachFamily(t, func(t *testing.T) { filtered(t, udp, ZoneConfig{}, Translated, Filtered) })
}

func TestRFC4787REQ8a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		filtered(t, udp, ZoneConfig{Filtering: None}, Translated, Translated)
		filtered(t, udp, ZoneConfig{Filtering: ByEndpoint}, Filtered, Filtered)
	})
}

// filtered has an address that is known, by another port, and a stranger send to
// a mapping.
func filtered(t *testing.T, one func(src, dst string) packet, cfg ZoneConfig, otherPort, stranger Verdict) {
	t.Helper()
	for src, want := range map[string]Verdict{remoteA + ":80": Translated, remoteA + ":81": otherPort, remoteB + ":80": stranger} {
		l := newLab(t, cfg)
		out := l.mustOut(one(guestA+":5000", remoteA+":80"))
		if v, dst := l.in(one(src, out)); v != want || v == Translated && dst != guestA+":5000" {
			t.Errorf("%v, from %s: %v to %s, want %v", cfg.Filtering, src, v, dst, want)
		}
	}
}

// hairpin takes a packet out and in again, as the router does with one to an
// outside address, and returns its ends then.
func (l *lab) hairpin(p packet) (src, dst string) {
	l.t.Helper()
	f, parsed := l.frame(p)
	if !l.tab.Owns(parsed.Dst()) {
		l.t.Fatalf("%s is not an outside address", p.dst)
	}
	out := l.tab.Outbound(0, 0, f, parsed, l.now)
	in := l.tab.Inbound(f, parsed, l.now)
	if out.Verdict != Translated || in.Verdict != Translated {
		l.t.Fatalf("%s -> %s: %v, %v", p.src, p.dst, out.Verdict, in.Verdict)
	}
	checkWire(l.t, f.Bytes())
	return source(f), destination(f)
}

func TestRFC4787REQ9a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Filtering: None})
		l.mustOut(udp("10.1.0.9:5000", remoteA+":80")) // so that the port is not preserved
		a, b := l.mustOut(udp(guestA+":5000", remoteA+":80")), l.mustOut(udp(guestB+":6000", remoteA+":80"))
		if src, dst := l.hairpin(udp(guestA+":5000", b)); src != a || dst != guestB+":6000" {
			t.Errorf("there: %s -> %s, want it from %s", src, dst, a)
		}
		if src, dst := l.hairpin(udp(guestB+":6000", a)); src != b || dst != guestA+":5000" {
			t.Errorf("back: %s -> %s, want it from %s", src, dst, b)
		}
	})
}

// payloads are what gateways of applications (ALGs) change, by port.
var payloads = map[int]string{
	21:   "PORT 10,1,0,1,19,136\r\n",
	53:   "\x00\x07\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x01\x00\x01",
	69:   "\x00\x01file\x00octet\x00",
	554:  "SETUP rtsp://host/ RTSP/1.0\r\nTransport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n",
	5060: "INVITE sip:b@host SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.1:5000\r\nContact: <sip:a@10.1.0.1:5000>\r\n\r\n",
}

// payloadKept sends what would interest an ALG, both ways.
func payloadKept(t *testing.T, protocol uint8) {
	for port, text := range payloads {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp("10.1.0.9:5000", remoteA+":80"))
		l.mustOut(syn("10.1.0.9:5000", remoteA+":80"))
		w := wire{six: l.six, protocol: protocol, head: []byte{tcpACK}, payload: []byte(text)}
		w.src, w.sport = end4(guestA + ":5000")
		w.dst, w.dport = end4(guest(remoteA, port))
		f, p := w.frame()
		if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Translated || string(f.Bytes()[p.Payload:p.End]) != text {
			t.Errorf("port %d out: %v, %q", port, r.Verdict, f.Bytes()[p.Payload:p.End])
		}
		w.src, w.dst, w.sport, w.dport = w.dst, netip.MustParseAddrPort(source(f)).Addr().As4(), w.dport, p.SrcPort
		f, p = w.frame()
		if r := l.tab.Inbound(f, p, 1); r.Verdict != Translated || string(f.Bytes()[p.Payload:p.End]) != text {
			t.Errorf("port %d in: %v, %q", port, r.Verdict, f.Bytes()[p.Payload:p.End])
		}
		if n := len(l.flows()); n != 3 {
			t.Errorf("port %d: %d flows: one was opened by what a packet says", port, n)
		}
	}
}

func TestRFC4787REQ10(t *testing.T) {
	eachFamily(t, func(t *testing.T) { payloadKept(t, frame.ProtoUDP) })
}

// TestRFC4787REQ11 has guests whose port is in use, and a table whose ports are
// used up: mapping and filtering are the same as ever.
func TestRFC4787REQ11(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{First: 40000, Last: 40003})
		mapped := map[string]string{}
		for i := range 5 {
			src := guest("10.1.6."+fmt.Sprint(i), 40000)
			if v, out := l.out(udp(src, remoteA+":80")); v == Translated {
				mapped[src] = out
			} else if i < 4 || v != PortsFull {
				t.Fatalf("guest %d: %v", i, v)
			}
			for src, out := range mapped {
				if again := l.mustOut(udp(src, guest(remoteA, 81+i))); again != out {
					t.Errorf("after %d guests %s is mapped to %s, before to %s", i+1, src, again, out)
				}
				l.mustIn(udp(guest(remoteA, 200+i), out), src)
				l.wantIn(udp(remoteB+":80", out), Filtered)
			}
		}
	})
}

// anyICMP sends ICMP messages of every type about a flow to the table, from
// outside or from inside.
func anyICMP(l *lab, outward bool, src, dst string, about packet) {
	l.t.Helper()
	for kind := range 256 {
		f, p := l.errorAbout(uint8(kind), src, dst, about, 0)
		if outward {
			l.tab.Outbound(0, 0, f, p, l.now)
		} else {
			l.tab.Inbound(f, p, l.now)
		}
	}
}

func TestRFC4787REQ12(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		out := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.mustIn(udp(remoteA+":80", out), guestA+":5000")
		l.wait(299)
		anyICMP(l, false, router, outsideA, udp(out, remoteA+":80"))
		anyICMP(l, true, guestA, remoteA, udp(remoteA+":80", guestA+":5000"))
		for _, f := range l.flows() {
			if f.Protocol == frame.ProtoUDP && (f.Expires != 1 || f.Packets != 2) {
				t.Errorf("the flow has changed: %+v", f)
			}
		}
		l.mustIn(udp(remoteA+":80", out), guestA+":5000")
	})
}

func TestRFC4787REQ12a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, cfg := range []ZoneConfig{{}, {Filtering: ByEndpoint}, {Symmetric: true}} {
			l := newLab(t, cfg)
			out := l.mustOut(udp(guestA+":5000", remoteA+":80"))
			for _, from := range []string{remoteA, remoteB, router, "8.8.8.8", "192.0.2.254"} {
				f, p := l.errorAbout(icmpTimeExceeded, from, outsideA, udp(out, remoteA+":80"), 8)
				if r := l.tab.Inbound(f, p, 1); r.Verdict != Translated {
					t.Errorf("%+v, from %s: %v", cfg, from, r.Verdict)
				}
			}
		}
	})
}

func TestRFC4787REQ12b(t *testing.T) {
	eachFamily(t, func(t *testing.T) { unreachable(t, udp) })
}

// unreachable translates destination unreachable with each code, both ways.
func unreachable(t *testing.T, one func(src, dst string) packet) {
	l := newLab(t, ZoneConfig{})
	l.mustOut(one("10.1.0.9:5000", remoteA+":80"))
	out := l.mustOut(one(guestA+":5000", remoteA+":80"))
	came := one(remoteA+":80", out)
	l.mustIn(came, guestA+":5000")
	for code := range uint8(16) {
		about := one(out, remoteA+":80")
		f, p := l.coded(icmpUnreachable, code, router, outsideA, about)
		if r := l.tab.Inbound(f, p, 1); r.Verdict != Translated {
			t.Fatalf("code %d in: %v", code, r.Verdict)
		}
		want, _ := l.coded(icmpUnreachable, code, router, guestA, one(guestA+":5000", remoteA+":80"))
		if !bytes.Equal(f.Bytes(), want.Bytes()) {
			t.Errorf("code %d in: got\n%x, want\n%x", code, f.Bytes(), want.Bytes())
		}
		f, p = l.coded(icmpUnreachable, code, guestA, remoteA, one(remoteA+":80", guestA+":5000"))
		if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Translated {
			t.Fatalf("code %d out: %v", code, r.Verdict)
		}
		want, _ = l.coded(icmpUnreachable, code, outsideA, remoteA, came)
		if !bytes.Equal(f.Bytes(), want.Bytes()) {
			t.Errorf("code %d out: got\n%x, want\n%x", code, f.Bytes(), want.Bytes())
		}
	}
}

// coded returns an ICMP error about a packet.
func (l *lab) coded(kind, code uint8, src, dst string, about packet) (*frame.Frame, *frame.Parsed) {
	f, p := l.frame(about)
	w := wire{six: l.six, protocol: frame.ProtoICMP, head: []byte{kind, code}, payload: f.Bytes()[p.L3:p.End]}
	w.src, _ = end4(src)
	w.dst, _ = end4(dst)
	return w.frame()
}
