package nat

import (
	"testing"
)

// TestTableFull counts and drops the new flow, never an old one (RFC 6888
// REQ-4 is the same for each host).
func TestTableFull(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxFlows: 3, Filtering: None})
		outside := l.mustOut(udp(guestA+":5000", remoteA+":1"))
		l.mustOut(udp(guestA+":5000", remoteA+":2"))
		l.mustOut(syn(guestB+":5000", remoteA+":3"))
		l.wantOut(udp(guestB+":5000", remoteA+":4"), TableFull)
		l.wantIn(udp(remoteB+":4", outside), TableFull)
		l.mustOut(udp(guestA+":5000", remoteA+":1"))
		if c := l.counters(0, ClassUDP); c.TableFull != 2 || c.Flows != 2 || c.Made != 2 {
			t.Errorf("counters %+v", c)
		}
		l.zone(1, ZoneConfig{MaxFlows: 1})
		if v, _ := l.outOf(1, udp(guestB+":5000", remoteA+":4")); v != Translated {
			t.Errorf("another zone: %v", v)
		}
		l.wait(301)
		l.mustOut(udp(guestB+":5000", remoteA+":4"))
		if c := l.counters(0, ClassUDP); c.Expired != 2 {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestHostFull(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxPerHost: 2, Filtering: None})
		outside := l.mustOut(udp(guestA+":5000", remoteA+":1"))
		l.mustOut(udp(guestA+":5001", remoteA+":2"))
		l.wantOut(udp(guestA+":5000", remoteA+":3"), HostFull)
		l.wantOut(packet{protocol: protoGRE, src: guestA, dst: remoteA}, HostFull)
		l.wantIn(udp(remoteB+":4", outside), HostFull)
		l.mustOut(udp(guestB+":5000", remoteA+":3"))
		if c := l.counters(0, ClassUDP); c.HostFull != 2 {
			t.Errorf("counters %+v", c)
		}
		l.zone(0, ZoneConfig{MaxPerHost: 1})
		l.wantOut(udp(guestA+":5000", remoteA+":3"), HostFull)
		l.mustOut(udp(guestA+":5000", remoteA+":1"))
		l.wait(301)
		l.mustOut(udp(guestA+":5000", remoteA+":3"))
	})
}

// reset makes a TCP flow that is over.
func (l *lab) reset(src, dst string) {
	l.t.Helper()
	outside := l.mustOut(syn(src, dst))
	l.mustIn(tcp(dst, outside, tcpRST|tcpACK, 0, 101, 0), src)
}

// TestReclaim lets new flows take the place of those that are over, oldest
// first, and of no others.
func TestReclaim(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxPerHost: 3})
		l.reset(guestA+":1", remoteA+":1")
		l.reset(guestA+":2", remoteA+":1")
		l.mustOut(syn(guestA+":3", remoteA+":1"))
		l.mustOut(syn(guestA+":4", remoteA+":1"))
		if len(l.flows()) != 3 {
			t.Fatalf("flows: %v", l.flows())
		}
		for _, f := range l.flows() {
			if f.Inside == l.endpoint(guestA+":1") {
				t.Error("the younger one had to go")
			}
		}
		l.mustOut(syn(guestA+":5", remoteA+":1"))
		l.wantOut(syn(guestA+":6", remoteA+":1"), HostFull)
		l.reset(guestB+":1", remoteA+":1")
		l.wantOut(syn(guestA+":6", remoteA+":1"), HostFull)
	})
}

// TestReclaimBelowLimit makes no flow while a limit that was lowered is exceeded,
// though one that was over has gone.
func TestReclaimBelowLimit(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp(guestA+":1", remoteA+":1"))
		l.mustOut(udp(guestA+":2", remoteA+":1"))
		l.reset(guestA+":3", remoteA+":1")
		l.zone(0, ZoneConfig{MaxPerHost: 2})
		l.wantOut(udp(guestA+":4", remoteA+":1"), HostFull)
		l.reset(guestB+":3", remoteA+":1")
		l.zone(0, ZoneConfig{MaxFlows: 2})
		l.wantOut(udp(guestB+":4", remoteA+":1"), TableFull)
		if len(l.flows()) != 2 {
			t.Errorf("%v", l.flows())
		}
	})
}

// TestReclaimComesBack does not give up a flow that began anew after its end.
func TestReclaimComesBack(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxFlows: 2})
		l.reset(guestA+":1", remoteA+":1")
		outside := l.mustOut(syn(guestA+":1", remoteA+":1"))
		if f := l.only(); f.State != SynSent || f.Packets != 1 {
			t.Fatalf("%+v", f)
		}
		l.mustOut(syn(guestB+":1", remoteA+":1"))
		l.wantOut(syn(guestB+":2", remoteA+":1"), TableFull)
		l.mustIn(tcp(remoteA+":1", outside, tcpRST|tcpACK, 0, 101, 0), guestA+":1")
		l.mustOut(syn(guestB+":2", remoteA+":1"))
		l.wantOut(syn(guestB+":3", remoteA+":1"), TableFull)
	})
}

// TestReclaimZone takes turns among hosts.
func TestReclaimZone(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxFlows: 4})
		for _, src := range []string{guestA + ":1", guestA + ":2", guestB + ":1", guestB + ":2"} {
			l.reset(src, remoteA+":1")
		}
		l.mustOut(udp("10.1.0.3:1", remoteA+":1"))
		l.mustOut(udp("10.1.0.3:2", remoteA+":1"))
		left := map[[16]byte]int{}
		for _, f := range l.flows() {
			left[f.Inside.Addr]++
		}
		if left[l.endpoint(guestA).Addr] != 1 || left[l.endpoint(guestB).Addr] != 1 {
			t.Errorf("flows: %v", l.flows())
		}
		l.mustOut(udp("10.1.0.3:3", remoteA+":1"))
		l.mustOut(udp("10.1.0.3:4", remoteA+":1"))
		l.wantOut(udp("10.1.0.3:5", remoteA+":1"), TableFull)
	})
}

// TestReclaimPorts gives up flows that are over where all ports are in use.
func TestReclaimPorts(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{First: 40000, Last: 40003})
		for i := range 4 {
			l.reset(guest(guestA, 40000+i), remoteA+":1")
		}
		for i := range 4 {
			l.mustOut(syn(guest(guestB, 50000+i), remoteA+":1"))
		}
		l.wantOut(syn(guestB+":50009", remoteA+":1"), PortsFull)
	})
}

// TestOverBounded keeps no flow that has gone in a host's list of those that are
// over.
func TestOverBounded(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp(guestA+":9", remoteA+":9"))
		for i := range 3000 {
			l.reset(guest(guestA, 1024+i%5000), remoteA+":1")
			if i%10 == 0 {
				l.wait(100)
				l.mustOut(udp(guestA+":9", remoteA+":9"))
			}
		}
		n := 0
		for f := l.tab.zone(0).hosts[l.endpoint(guestA).Addr].over.head; f != nil; f = f.next {
			n++
		}
		if n > 40 {
			t.Errorf("%d flows are in the list, where 30 are over", n)
		}
		l.wait(1000)
		if len(l.tab.zone(0).hosts) != 0 || l.tab.zone(0).over.head != nil {
			t.Error("a host without flows is left")
		}
	})
}
