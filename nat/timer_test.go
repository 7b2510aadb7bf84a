package nat

import (
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// timed is one row of a test of timers: a flow that is refreshed by nothing for
// so long, and what is sent after that.
type timed struct {
	name    string
	open    func(l *lab) string     // returns the outside endpoint
	probe   func(out string) packet // from outside; it comes in for as long as the flow is there
	inside  string
	seconds int
}

func establish(l *lab) string {
	l.t.Helper()
	const in, re = guestA + ":5000", remoteA + ":80"
	out := l.mustOut(tcp(in, re, tcpSYN, 100, 0, 0))
	l.mustIn(tcp(re, out, tcpSYN|tcpACK, 500, 101, 0), in)
	l.mustOut(tcp(in, re, tcpACK, 101, 501, 0))
	return out
}

func closeBoth(l *lab) string {
	l.t.Helper()
	const in, re = guestA + ":5000", remoteA + ":80"
	out := establish(l)
	l.mustOut(tcp(in, re, tcpFIN|tcpACK, 101, 501, 0))
	l.mustIn(tcp(re, out, tcpFIN|tcpACK, 501, 102, 0), in)
	l.mustOut(tcp(in, re, tcpACK, 102, 502, 0))
	return out
}

var timedFlows = []timed{
	{"udp", func(l *lab) string { return l.mustOut(udp(guestA+":5000", remoteA+":80")) },
		func(out string) packet { return udp(remoteA+":80", out) }, guestA + ":5000", 300},
	{"icmp", func(l *lab) string { return l.mustOut(echo(guestA+":5000", remoteA)) },
		func(out string) packet {
			return packet{protocol: frame.ProtoICMP, kind: icmpEchoReply, src: remoteA, dst: out}
		}, guestA + ":5000", 60},
	{"other", func(l *lab) string { return l.mustOut(packet{protocol: protoGRE, src: guestA, dst: remoteA}) },
		func(string) packet { return packet{protocol: protoGRE, src: remoteA, dst: outsideA} }, guestA + ":0", 600},
	{"tcp opening", func(l *lab) string { return l.mustOut(syn(guestA+":5000", remoteA+":80")) },
		func(out string) packet { return tcp(remoteA+":80", out, tcpSYN|tcpACK, 500, 101, 0) }, guestA + ":5000", 240},
	{"tcp established", establish,
		func(out string) packet { return tcp(remoteA+":80", out, tcpACK, 501, 101, 1) }, guestA + ":5000", 7440},
	{"tcp half closed", func(l *lab) string {
		out := establish(l)
		l.mustOut(tcp(guestA+":5000", remoteA+":80", tcpFIN|tcpACK, 101, 501, 0))
		return out
	}, func(out string) packet { return tcp(remoteA+":80", out, tcpACK, 501, 102, 1) }, guestA + ":5000", 7440},
	{"tcp closed", closeBoth,
		func(out string) packet { return tcp(remoteA+":80", out, tcpACK, 502, 102, 0) }, guestA + ":5000", 240},
	{"tcp reset", func(l *lab) string {
		out := establish(l)
		l.mustOut(tcp(guestA+":5000", remoteA+":80", tcpRST, 101, 0, 0))
		return out
	}, func(out string) packet { return tcp(remoteA+":80", out, tcpACK, 501, 101, 1) }, guestA + ":5000", 240},
	{"tcp picked up", func(l *lab) string { return l.mustOut(tcp(guestA+":5000", remoteA+":80", tcpACK, 100, 500, 10)) },
		func(out string) packet { return tcp(remoteA+":80", out, tcpACK, 500, 110, 1) }, guestA + ":5000", 240},
}

// TestTimeouts holds each flow for its time, to the second, and not a second
// longer; before a sweep as well as after it.
func TestTimeouts(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, tt := range timedFlows {
			for _, swept := range []bool{false, true} {
				for late := range 2 {
					l := newLab(t, ZoneConfig{})
					out := tt.open(l)
					if left := l.only().Expires; int(left) != tt.seconds {
						t.Errorf("%s: %d seconds are left, want %d", tt.name, left, tt.seconds)
					}
					l.now += uint32(tt.seconds + late)
					if swept {
						l.sweep()
					}
					v, dst := l.in(tt.probe(out))
					if held := v == Translated && dst == tt.inside; held != (late == 0) {
						t.Errorf("%s: %d seconds later, swept %v: %v to %s", tt.name, tt.seconds+late, swept, v, dst)
					}
				}
			}
		}
	})
}

// TestConfiguredTimeouts holds new timers from the next packet on.
func TestConfiguredTimeouts(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Timeouts: Timeouts{UDP: 130}})
		out := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		if l.only().Expires != 130 {
			t.Errorf("%+v", l.only())
		}
		l.zone(0, ZoneConfig{Timeouts: Timeouts{UDP: 1000}})
		l.mustIn(udp(remoteA+":80", out), guestA+":5000")
		if l.only().Expires != 1000 {
			t.Errorf("%+v", l.only())
		}
	})
}

// TestRefreshDay runs a day on the clock: what sends often enough stays, in
// either direction, and what does not goes.
func TestRefreshDay(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T) {
		const day = 24 * 3600
		for _, tt := range timedFlows {
			l := newLab(t, ZoneConfig{})
			out := tt.open(l)
			lives := tt.name != "tcp closed" && tt.name != "tcp reset"
			if tt.name == "tcp opening" {
				continue // the answer would make it another row
			}
			for at, n := 0, 0; at < day; at, n = at+tt.seconds, n+1 {
				l.wait(tt.seconds)
				v, _ := l.in(tt.probe(out))
				if v == Translated && tt.name == "tcp picked up" {
					tt.seconds = 7440 // established by that
				}
				if want := lives || n == 0; want != (v == Translated) {
					t.Fatalf("%s: after %d s: %v", tt.name, at+tt.seconds, v)
				}
			}
			l.wait(tt.seconds + 1)
			if len(l.flows()) != 0 {
				t.Errorf("%s: it is there for ever: %v", tt.name, l.flows())
			}
		}
	})
}

// TestIdleDay has a hundred flows of each kind, and no packets: each kind goes
// at its time, and its mappings with it.
func TestIdleDay(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		for i := range 100 {
			l.mustOut(udp(guest(guestA, 2000+i), remoteA+":80"))
			l.mustOut(syn(guest(guestA, 2000+i), remoteA+":80"))
			l.mustOut(echo(guest(guestA, 2000+i), remoteA))
		}
		l.mustOut(packet{protocol: protoGRE, src: guestA, dst: remoteA})
		left := func() (n [NumClasses]int) {
			for c := range NumClasses {
				k := l.counters(0, c)
				n[c] = k.Flows
				if c != ClassOther && k.Mappings != k.Flows {
					t.Fatalf("%v: %d flows have %d mappings", c, k.Flows, k.Mappings)
				}
			}
			return n
		}
		for _, step := range []struct {
			second uint32
			want   [NumClasses]int
		}{
			{61, [NumClasses]int{100, 100, 100, 1}}, {62, [NumClasses]int{100, 100, 0, 1}},
			{241, [NumClasses]int{100, 100, 0, 1}}, {242, [NumClasses]int{0, 100, 0, 1}},
			{301, [NumClasses]int{0, 100, 0, 1}}, {302, [NumClasses]int{0, 0, 0, 1}},
			{601, [NumClasses]int{0, 0, 0, 1}}, {602, [NumClasses]int{}}, {86400, [NumClasses]int{}},
		} {
			for l.now < step.second {
				l.wait(int(min(60, step.second-l.now)))
			}
			if got := left(); got != step.want {
				t.Errorf("second %d: %v are left, want %v", step.second, got, step.want)
			}
		}
	})
}

// TestSweepIsWhole finds every flow within the calls of five seconds.
func TestSweepIsWhole(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		for i := range 5000 {
			l.mustOut(udp(guest(guestA, 2000+i), remoteA+":80"))
		}
		l.now = 302
		for range sweepCalls {
			l.tab.Expire(l.now)
		}
		if c := l.counters(0, ClassUDP); c.Flows != 0 || c.Expired != 5000 {
			t.Errorf("%+v", c)
		}
	})
}

// TestClockBehind has a worker whose clock is a second behind others.
func TestClockBehind(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.now = 100
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.now = 99
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.mustOut(udp(guestA+":5000", remoteA+":81"))
		l.sweep()
		if len(l.flows()) != 2 {
			t.Errorf("%v", l.flows())
		}
	})
}

// TestListedWhileAlive lists and flushes no flow whose time is over, be it swept
// or not.
func TestListedWhileAlive(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(echo(guestA+":5000", remoteA))
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.now += 61
		l.mustOut(udp(guestB+":5000", remoteA+":80"))
		if len(l.flows()) != 2 {
			t.Errorf("%v", l.flows())
		}
		if n := l.tab.Flush(func(*Flow) bool { return true }); n != 2 {
			t.Errorf("%d were flushed", n)
		}
	})
}
