package nat

import (
	"fmt"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// RFC 7857, which updates the others. Its clauses have no requirement numbers.

// TestRFC7857Clause2 walks the state machine of the clause, with the time that
// each state lasts.
func TestRFC7857Clause2(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		const transitory, open = 240, 7440
		for _, tt := range []struct {
			name  string
			steps []segmentOf
			lasts []uint32 // after each
		}{
			{"closed by the client first", then(begun, segmentOf{false, tcpFA, 101, 501, 0}, segmentOf{true, tcpACK, 501, 102, 9}, segmentOf{true, tcpFA, 510, 102, 0}, segmentOf{false, tcpACK, 102, 511, 0}),
				[]uint32{transitory, transitory, open, open, open, transitory, transitory}},
			{"closed by the server first", then(begun, segmentOf{true, tcpFA, 501, 101, 0}, segmentOf{false, tcpACK, 101, 502, 9}, segmentOf{false, tcpFA, 110, 502, 0}, segmentOf{true, tcpACK, 502, 111, 0}),
				[]uint32{transitory, transitory, open, open, open, transitory, transitory}},
			{"reset, and data after it", then(begun, segmentOf{true, tcpRST, 501, 0, 0}, segmentOf{true, tcpACK, 501, 101, 9}),
				[]uint32{transitory, transitory, open, transitory, open}},
			{"SYN from outside to an open mapping", []segmentOf{{true, tcpSYN, 500, 0, 0}, {false, tcpSA, 100, 501, 0}, {true, tcpACK, 501, 101, 0}},
				[]uint32{transitory, transitory, open}},
		} {
			l := newLab(t, ZoneConfig{Publish: []Publish{{Protocol: frame.ProtoTCP, First: 5000, Last: 5000, To: endpointOf(tcpIn)}}})
			for i, s := range tt.steps {
				if s.server {
					l.mustIn(tcp(tcpRe, tcpOut, s.flags, s.seq, s.ack, s.data), tcpIn)
				} else {
					l.mustOut(tcp(tcpIn, tcpRe, s.flags, s.seq, s.ack, s.data))
				}
				if left := l.only().Expires; left != tt.lasts[i] {
					t.Errorf("%s: %d s after step %d, want %d", tt.name, left, i, tt.lasts[i])
				}
				l.wait(7)
			}
		}
	})
}

// TestRFC7857Clause21 has four minutes for what opens and for what closes, by one
// setting.
func TestRFC7857Clause21(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, tt := range []struct {
			cfg  ZoneConfig
			want uint32
		}{{ZoneConfig{}, 240}, {ZoneConfig{Timeouts: Timeouts{TCPTransitory: 60}}, 60}} {
			l := newLab(t, tt.cfg)
			l.mustOut(syn(guestB+":1000", tcpRe))
			opening := l.only().Expires
			l.tab.Flush(func(*Flow) bool { return true })
			closeBoth(l)
			if closing := l.only().Expires; opening != tt.want || closing != tt.want {
				t.Errorf("opening lasts %d s, closing %d, want %d", opening, closing, tt.want)
			}
		}
	})
}

// TestRFC7857Clause22 has a reset pass, and the flow wait for four minutes.
func TestRFC7857Clause22(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		out := establish(l)
		l.mustIn(tcp(tcpRe, out, tcpRST, 501, 0, 0), tcpIn)
		l.wait(240)
		l.mustIn(tcp(tcpRe, out, tcpACK, 501, 101, 5), tcpIn) // it did not mean it
		if f := l.only(); f.State != Established {
			t.Errorf("%v", f.State)
		}
		l.mustIn(tcp(tcpRe, out, tcpRST, 506, 0, 0), tcpIn)
		l.wait(241)
		if n := len(l.flows()); n != 0 {
			t.Errorf("%d flows are left", n)
		}
	})
}

// TestRFC7857Clause3 shares a port in a symmetric zone, towards different remote
// endpoints only.
func TestRFC7857Clause3(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Symmetric: true, First: 40000, Last: 40000})
		a := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		if b := l.mustOut(udp(guestB+":5000", remoteB+":80")); a != b {
			t.Errorf("%s and %s", a, b)
		}
		l.mustIn(udp(remoteA+":80", a), guestA+":5000")
		l.mustIn(udp(remoteB+":80", a), guestB+":5000")
		l.wantOut(udp(guestB+":5000", remoteA+":80"), PortsFull)
		l.wantOut(udp(guestB+":6000", remoteA+":80"), PortsFull)
		plain := newLab(t, ZoneConfig{First: 40000, Last: 40000})
		plain.mustOut(udp(guestA+":5000", remoteA+":80"))
		plain.wantOut(udp(guestB+":5000", remoteB+":80"), PortsFull)
	})
}

// TestRFC7857Clause4 uses up the ports of a host's address. It gets none of
// another one, where there are.
func TestRFC7857Clause4(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLabAt(t, ZoneConfig{Addresses: addresses(outsideA, outsideB), First: 40000, Last: 40003}, outsideA, outsideB)
		for i := range 4 {
			l.mustOut(udp(guest(guestA, 1000+i), remoteA+":80"))
		}
		for i := range 4 {
			l.wantOut(udp(guest(guestA, 2000+i), guest(remoteB, 80+i)), PortsFull)
		}
		other := 0
		for i := range 60 {
			if v, _ := l.out(udp(fmt.Sprintf("10.1.8.%d:3000", i), remoteA+":80")); v == Translated {
				other++
			}
		}
		if other != 4 {
			t.Errorf("other hosts got %d ports of the other address", other)
		}
	})
}

// TestRFC7857Clause5 has one outside port be UDP's of one guest and TCP's of
// another.
func TestRFC7857Clause5(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		u, c := l.mustOut(udp(guestA+":5000", remoteA+":80")), l.mustOut(syn(guestB+":5000", remoteA+":80"))
		if u != c {
			t.Fatalf("%s and %s", u, c)
		}
		l.mustIn(udp(remoteA+":81", u), guestA+":5000")
		l.mustIn(syn(remoteA+":81", c), guestB+":5000")
		if own := l.mustOut(syn(guestA+":5000", remoteA+":80")); own == u {
			t.Errorf("TCP of guest A uses the mapping of its UDP")
		}
	})
}

// TestRFC7857Clause6 lets anybody in, by the protocol of the mapping only.
func TestRFC7857Clause6(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Filtering: None})
		u := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		c := l.mustOut(syn(guestA+":6000", remoteA+":80"))
		l.wantIn(syn(remoteB+":1", u), NotMine)
		l.wantIn(udp(remoteB+":1", c), NotMine)
		l.mustIn(udp(remoteB+":1", u), guestA+":5000")
		l.mustIn(syn(remoteB+":1", c), guestA+":6000")
	})
}

// TestRFC7857Clause7 has packets to a mapping that are refused: by the filter, and
// by a limit where there is none. They prolong nothing.
func TestRFC7857Clause7(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for want, cfg := range map[Verdict]ZoneConfig{Filtered: {}, HostFull: {Filtering: None, MaxPerHost: 1}, TableFull: {Filtering: None, MaxFlows: 1}} {
			l := newLab(t, cfg)
			out := l.mustOut(udp(guestA+":5000", remoteA+":80"))
			for range 3 {
				l.wait(100)
				l.wantIn(udp(remoteB+":80", out), want)
			}
			if f := l.only(); f.Expires != 0 || f.Packets != 1 {
				t.Errorf("%v: %+v", want, f)
			}
			l.wait(1)
			l.wantIn(udp(remoteA+":80", out), NotMine)
		}
	})
}

// TestRFC7857Clause71 has guests answer with errors and resets. They prolong
// nothing.
func TestRFC7857Clause71(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		out := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.mustIn(udp(remoteA+":80", out), guestA+":5000")
		l.wait(200)
		f, p := l.errorAbout(icmpUnreachable, guestA, remoteA, udp(remoteA+":80", guestA+":5000"), 0)
		if r := l.tab.Outbound(0, 0, f, p, l.now); r.Verdict != Translated {
			t.Fatalf("%v", r.Verdict)
		}
		if f := l.only(); f.Expires != 100 {
			t.Errorf("an error has prolonged the flow: %+v", f)
		}
		l = newLab(t, ZoneConfig{})
		out = establish(l)
		for range 3 {
			l.mustIn(tcp(tcpRe, out, tcpACK, 501, 101, 5), tcpIn)
			l.mustOut(tcp(tcpIn, tcpRe, tcpRST, 101, 0, 0))
			if f := l.only(); f.Expires > 240 {
				t.Errorf("a reset has prolonged the flow: %+v", f)
			}
			l.wait(80)
		}
		if f := l.only(); f.Expires != 0 {
			t.Errorf("later resets have prolonged the flow: %+v", f)
		}
	})
}

func TestRFC7857Clause8(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		for i := range 100 {
			for _, one := range []func(src, dst string) packet{udp, syn} {
				if got := rfcPort(l.mustOut(one(guest("10.1.5.7", 5000), guest(remoteA, 80+i)))); got != 5000 {
					t.Fatalf("a free port is not preserved: %d", got)
				}
			}
			if got := rfcPort(l.mustOut(udp(fmt.Sprintf("10.1.6.%d:5000", i), remoteA+":80"))); got&1 != 0 {
				t.Fatalf("port 5000 became %d", got)
			}
		}
	})
}

// TestRFC7857Clause9 preserves a port that is free, and chooses at random where it
// is not.
func TestRFC7857Clause9(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		for port := 5000; port < 5100; port++ {
			if got := rfcPort(l.mustOut(udp(guest(guestA, port), remoteA+":80"))); int(got) != port {
				t.Errorf("port %d, which is free, became %d", port, got)
			}
		}
		obfuscated(t)
	})
}

func TestRFC7857Clause11(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(echo(guestA+":7", remoteA))
		l.wait(30)
		l.mustOut(echo(guestA+":7", remoteB))
		for _, want := range []int{1, 1, 0} {
			if c := l.counters(0, ClassICMP); c.Mappings != want {
				t.Errorf("second %d: %d mappings, want %d", l.now, c.Mappings, want)
			}
			l.wait(31)
		}
	})
}
