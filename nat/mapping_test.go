package nat

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

func guest(host string, port int) string { return fmt.Sprintf("%s:%d", host, port) }

// TestEndpointIndependentMapping is RFC 4787 REQ-1 and RFC 5382 REQ-1: one
// outside endpoint, whatever the destination.
func TestEndpointIndependentMapping(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		for name, one := range map[string]func(src, dst string) packet{"udp": udp, "tcp": syn} {
			t.Run(name, func(t *testing.T) {
				l.t = t
				first := l.mustOut(one(guestB+":5000", remoteA+":80"))
				for _, dst := range []string{remoteA + ":81", remoteB + ":80"} {
					if src := l.mustOut(one(guestB+":5000", dst)); src != first {
						t.Errorf("towards %s it is %s, not %s", dst, src, first)
					}
				}
			})
		}
		if first, other := l.mustOut(udp(guestA+":5000", remoteA+":80")), outsideA+":5000"; first == other {
			t.Errorf("two inside endpoints have %s", first)
		}
	})
}

// TestFiltering is RFC 4787 REQ-8 and RFC 5382 REQ-3, for what else may be set.
func TestFiltering(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		const known, otherPort, stranger = remoteA + ":80", remoteA + ":81", remoteB + ":80"
		for _, tt := range []struct {
			name string
			cfg  ZoneConfig
			want map[string]Verdict
		}{
			{"by address", ZoneConfig{}, map[string]Verdict{known: Translated, otherPort: Translated, stranger: Filtered}},
			{"by endpoint", ZoneConfig{Filtering: ByEndpoint}, map[string]Verdict{known: Translated, otherPort: Filtered, stranger: Filtered}},
			{"none", ZoneConfig{Filtering: None}, map[string]Verdict{known: Translated, otherPort: Translated, stranger: Translated}},
			{"symmetric", ZoneConfig{Symmetric: true, Filtering: None}, map[string]Verdict{known: Translated, otherPort: Filtered, stranger: Filtered}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				for src, want := range tt.want {
					l := newLab(t, tt.cfg)
					outside := l.mustOut(udp(guestA+":5000", known))
					if v, dst := l.in(udp(src, outside)); v != want || v == Translated && dst != guestA+":5000" {
						t.Errorf("from %s: %v to %s, want %v", src, v, dst, want)
					}
					if want == Translated && src != known {
						l.mustOut(udp(guestA+":5000", src))
						if f := l.flows(); len(f) != 2 || f[0].FromOutside == f[1].FromOutside {
							t.Errorf("flows: %v", f)
						}
					}
				}
			})
		}
	})
}

// TestFilterForgets has a remote address lose its right with the last flow.
func TestFilterForgets(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		outside := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.wait(200)
		l.mustOut(udp(guestA+":5000", remoteB+":80"))
		l.wait(150)
		l.wantIn(udp(remoteA+":81", outside), Filtered)
		l.mustIn(udp(remoteB+":81", outside), guestA+":5000")
	})
}

func TestNotMine(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.mustOut(packet{protocol: protoGRE, src: guestA, dst: remoteA})
		l.wantIn(udp(remoteA+":80", outsideA+":5001"), NotMine)
		l.wantIn(syn(remoteA+":80", outsideA+":5000"), NotMine)
		l.wantIn(tcp(remoteA+":80", outsideA+":22", tcpRST, 1, 0, 0), NotMine)
		l.wantIn(packet{protocol: protoGRE, src: remoteB, dst: outsideA}, NotMine)
		l.wantIn(packet{protocol: protoSCTP, src: remoteA, dst: outsideA}, NotMine)
		l.wantIn(echo(remoteA+":7", outsideA), NotMine)
		l.wantIn(packet{protocol: frame.ProtoICMP, kind: icmpEchoReply, src: remoteA, dst: outsideA + ":7"}, NotMine)
	})
}

// TestPortPreserved, with the range class and parity where it cannot be (RFC
// 4787 REQ-3 and REQ-4).
func TestPortPreserved(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{First: 1, Last: 65535})
		for _, port := range []int{5000, 5001, 80, 81} {
			if src := l.mustOut(udp(guest(guestA, port), remoteA+":80")); src != guest(outsideA, port) {
				t.Errorf("port %d became %s", port, src)
			}
			src := l.mustOut(udp(guest(guestB, port), remoteA+":80"))
			got := netip.MustParseAddrPort(src).Port()
			if int(got) == port || int(got)&1 != port&1 || (got < 1024) != (port < 1024) {
				t.Errorf("port %d, which is in use, became %d", port, got)
			}
		}
	})
}

// TestPortRange keeps to the range, to the last port of it.
func TestPortRange(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, one := range []func(src, dst string) packet{udp, syn, echo} {
			l := newLab(t, ZoneConfig{First: 40000, Last: 40009})
			seen := map[string]bool{}
			for i := range 10 {
				src := l.mustOut(one(guest(guestA, 100+i), remoteA+":0"))
				port := netip.MustParseAddrPort(src).Port()
				if seen[src] || port < 40000 || port > 40009 {
					t.Errorf("flow %d got %s", i, src)
				}
				seen[src] = true
			}
			l.wantOut(one(guestA+":200", remoteB+":0"), PortsFull)
			c := l.counters(0, classOf(one(guestA, remoteA).protocol))
			if c.PortsFull != 1 || c.Flows != 10 || c.Mappings != 10 {
				t.Errorf("counters %+v", c)
			}
			l.mustOut(one(guestA+":100", remoteB+":1")) // an old mapping goes on
		}
	})
}

// TestPortReuse has the port that was freed first be used first (RFC 6888
// REQ-8), and one that was freed a moment ago rather than none.
func TestPortReuse(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{First: 40000, Last: 40007})
		for i := range 8 {
			l.mustOut(udp(guest(guestA, 40000+i), remoteA+":80"))
			l.now++
		}
		l.now = 302 // the first one lives to 301
		for i := range 8 {
			want := guest(outsideA, 40000+i)
			l.sweep()
			if src := l.mustOut(udp(guest(guestB, 40000+1000+i), remoteA+":80")); src != want {
				t.Errorf("new flow %d got %s, not %s", i, src, want)
			}
			l.now++
		}
	})
}

// TestSymmetric gives each destination a port of its own, and shares ports.
func TestSymmetric(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Symmetric: true})
		first := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		second := l.mustOut(udp(guestA+":5000", remoteB+":80"))
		if first != outsideA+":5000" || second == first {
			t.Errorf("%s towards one, %s towards the other", first, second)
		}
		if other := l.mustOut(udp(guestB+":5000", remoteB+":81")); other != first {
			t.Errorf("the port is not shared: %s", other)
		}
		l.mustIn(udp(remoteA+":80", first), guestA+":5000")
		l.mustIn(udp(remoteB+":81", first), guestB+":5000")
		l.wantIn(udp(remoteB+":80", first), Filtered)
	})
}

func TestSymmetricExhaustion(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Symmetric: true, First: 40000, Last: 40009})
		for i := range 10 {
			l.mustOut(udp(guest(guestA, 100+i), remoteA+":80"))
		}
		l.wantOut(udp(guestA+":200", remoteA+":80"), PortsFull)
		for i := range 10 {
			l.mustOut(udp(guest(guestA, 100+i), remoteB+":80"))
		}
		if c := l.counters(0, ClassUDP); c.Flows != 20 || c.Mappings != 10 {
			t.Errorf("%d flows share %d ports", c.Flows, c.Mappings)
		}
		l.wait(301)
		if c := l.counters(0, ClassUDP); c.Flows != 0 || c.Mappings != 0 {
			t.Errorf("%d flows and %d ports are left", c.Flows, c.Mappings)
		}
	})
}

// TestPairedPooling is RFC 4787 REQ-2: an inside host keeps one of several
// addresses. All of them are used.
func TestPairedPooling(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		all := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}
		l := newLabAt(t, ZoneConfig{Addresses: addresses(all[1:]...)}, all...)
		used := map[string]int{}
		for host := range 60 {
			src := fmt.Sprintf("10.1.1.%d", host)
			first := l.mustOut(udp(src+":5000", remoteA+":80"))
			addr, _, _ := strings.Cut(first, ":")
			for i, p := range []packet{udp(src+":5001", remoteB+":1"), syn(src+":5002", remoteA+":80"), echo(src+":7", remoteA)} {
				if got := l.mustOut(p); !strings.HasPrefix(got, addr+":") {
					t.Errorf("%s has %s, and %s with flow %d", src, addr, got, i)
				}
			}
			used[addr]++
		}
		if len(used) != 3 || used[all[0]] != 0 {
			t.Errorf("hosts by address: %v", used)
		}
	})
}

func TestOtherProtocols(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		for _, protocol := range []uint8{protoGRE, protoSCTP, 50, 136} {
			p := packet{protocol: protocol, src: guestA, dst: remoteA}
			if src := l.mustOut(p); src != outsideA+":0" {
				t.Errorf("protocol %d left as %s", protocol, src)
			}
			l.mustIn(packet{protocol: protocol, src: remoteA, dst: outsideA}, guestA+":0")
			l.wantOut(packet{protocol: protocol, src: guestB, dst: remoteA}, Unsupported)
			l.mustOut(packet{protocol: protocol, src: guestB, dst: remoteB})
		}
		if c := l.counters(0, ClassOther); c.Flows != 8 || c.Unsupported != 4 || c.Mappings != 0 {
			t.Errorf("counters %+v", c)
		}
		l.wait(601)
		l.mustOut(packet{protocol: protoGRE, src: guestB, dst: remoteA})
	})
}

// TestEcho is RFC 5508 REQ-1 and the rule of requests and replies.
func TestEcho(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		src := l.mustOut(echo(guestA+":7", remoteA))
		same := l.mustOut(echo(guestA+":7", remoteB))
		other := l.mustOut(echo(guestB+":7", remoteA))
		if src != same || src == other {
			t.Errorf("identifiers %s and %s of one guest, %s of another", src, same, other)
		}
		reply := packet{protocol: frame.ProtoICMP, kind: icmpEchoReply, src: remoteA, dst: src, data: 9}
		l.mustIn(reply, guestA+":7")
		reply.src = "198.51.100.3"
		l.wantIn(reply, Filtered)
		l.zone(0, ZoneConfig{Filtering: None})
		l.wantIn(reply, Filtered)
		l.wantIn(echo(remoteA+src[strings.Index(src, ":"):], outsideA), NotMine)
		l.wantOut(packet{protocol: frame.ProtoICMP, kind: icmpEchoReply, src: guestA, dst: remoteA + ":7"}, Invalid)
		l.wantOut(packet{protocol: frame.ProtoICMP, kind: 5, src: guestA, dst: remoteA}, Invalid)
		l.wantIn(packet{protocol: frame.ProtoICMP, kind: 5, src: remoteA, dst: outsideA}, map[bool]Verdict{false: Invalid, true: NotMine}[l.six])
		l.wantIn(packet{protocol: frame.ProtoICMP, kind: 9, src: remoteA, dst: outsideA}, NotMine)
		if l.six {
			return // it has no timestamps
		}
		stamp := packet{protocol: frame.ProtoICMP, kind: icmpTimestamp, src: guestA + ":2000", dst: remoteA, data: 12}
		src = l.mustOut(stamp)
		l.mustIn(packet{protocol: frame.ProtoICMP, kind: icmpTimestampReply, src: remoteA, dst: src, data: 12}, guestA+":2000")
	})
}

// TestHairpin is RFC 4787 REQ-9: two guests talk by their outside endpoints, and
// each sees that of the other.
func TestHairpin(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Filtering: None})
		a := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		b := l.mustOut(udp(guestB+":5000", remoteA+":80"))
		f, p := l.frame(udp(guestA+":5000", b))
		if !l.tab.Owns(p.Dst()) || l.tab.Owns(p.Src()) {
			t.Fatal("the table does not know its own address")
		}
		for _, r := range []Result{l.tab.Outbound(0, 0, f, p, 1), l.tab.Inbound(f, p, 1)} {
			if r.Verdict != Translated || r.Zone != 0 {
				t.Fatalf("%+v", r)
			}
		}
		checkWire(t, f.Bytes())
		if source(f) != a || destination(f) != guestB+":5000" {
			t.Errorf("it arrived as %s -> %s", source(f), destination(f))
		}
	})
}

// TestHeaderCutShort has packets that lack what is to be translated.
func TestHeaderCutShort(t *testing.T) {
	l := newLab(t, ZoneConfig{})
	for _, protocol := range []uint8{frame.ProtoTCP, frame.ProtoUDP, frame.ProtoICMP} {
		w := wire{protocol: protocol, src: [4]byte{10, 1, 0, 1}, dst: [4]byte{198, 51, 100, 1}, head: []byte{tcpSYN, 0}}
		whole := w.bytes()
		whole = whole[:14+20+6]
		whole[17] = 26
		f, p := wireFrame(whole)
		if p.Layer != frame.LayerNetwork {
			t.Fatal("the test's packet is whole")
		}
		if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Invalid {
			t.Errorf("protocol %d out: %v", protocol, r.Verdict)
		}
		if r := l.tab.Inbound(f, p, 1); r.Verdict != Invalid {
			t.Errorf("protocol %d in: %v", protocol, r.Verdict)
		}
	}
}
