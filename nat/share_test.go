package nat

import (
	"fmt"
	"testing"
)

// A flood of connections that nobody accepts cuts the guest behind a published port off
// from nothing: neither its own flows, nor those that it has answered.
func TestOfferedMakesRoom(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxPerHost: 20, Publish: []Publish{
			{Protocol: 6, First: 8080, Last: 8080, To: endpointOf(guestA + ":80")},
			{Protocol: 17, First: 8080, Last: 8080, To: endpointOf(guestA + ":80")},
		}})
		l.mustIn(udp(remoteA+":5000", outsideA+":8080"), guestA+":80")
		l.mustOut(udp(guestA+":80", remoteA+":5000"))
		for i := range 100 {
			l.mustIn(syn(guest(remoteB, 1024+i), outsideA+":8080"), guestA+":80")
		}
		for i := range 15 {
			l.mustOut(udp(guest(guestA, 3000+i), remoteB+":53"))
		}
		l.mustIn(udp(remoteA+":5000", outsideA+":8080"), guestA+":80")
		if n := len(l.flows()); n != 20 {
			t.Errorf("%d flows, want all 20 that there may be", n)
		}
		for i := range 4 {
			l.mustOut(udp(guest(guestA, 4000+i), remoteB+":53"))
		}
		l.wantOut(udp(guestA+":5000", remoteB+":53"), HostFull)
	})
}

// A place that packets come in by leaves flows and ports to the others, from however
// many addresses it sends, and a zone leaves ports to the others.
func TestShares(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T) {
		t.Run("flows", func(t *testing.T) {
			l := newLab(t, ZoneConfig{MaxFlows: 8192})
			l.via = 1
			l.mustOut(udp(guestB+":4000", remoteA+":80"))
			n := l.spray(0)
			if n != 4096 {
				t.Errorf("one place has %d flows, want half of 8192", n)
			}
			l.via = 1
			l.mustOut(udp(guestB+":5000", remoteA+":80"))
		})
		t.Run("ports", func(t *testing.T) {
			l := newLab(t, ZoneConfig{MaxFlows: 1 << 20, First: 10001, Last: 20000})
			l.via = 1
			l.mustOut(udp(guestB+":4000", remoteA+":80"))
			if n := l.spray(0); n != 2500 {
				t.Errorf("one place has %d ports, want a quarter of 10000", n)
			}
			l.via = 1
			l.mustOut(udp(guestB+":5000", remoteA+":80"))
		})
		t.Run("alone", func(t *testing.T) {
			l := newLab(t, ZoneConfig{MaxFlows: 1 << 20, First: 10001, Last: 20000})
			if n := l.spray(0); n != 10000 {
				t.Errorf("the only place has %d ports, want all 10000", n)
			}
		})
		t.Run("first", func(t *testing.T) {
			l := newLab(t, ZoneConfig{MaxFlows: 1 << 20, First: 10001, Last: 20000, Places: 2})
			if n := l.spray(0); n != 2500 {
				t.Errorf("the first of two places has %d ports, want a quarter of 10000", n)
			}
			l.via = 1
			l.mustOut(udp(guestB+":4000", remoteA+":80"))
			l = newLab(t, ZoneConfig{MaxFlows: 8192, Places: 2})
			if n := l.spray(0); n != 4096 {
				t.Errorf("the first of two places has %d flows, want half of 8192", n)
			}
		})
		t.Run("zones", func(t *testing.T) {
			l := newLab(t, ZoneConfig{MaxFlows: 1 << 20, First: 10001, Last: 20000})
			l.zone(1, ZoneConfig{MaxFlows: 1 << 20, First: 10001, Last: 20000})
			n := 0
			for via := range 8 {
				n += l.spray(uint16(via))
			}
			if n != 7500 {
				t.Errorf("one of two zones has %d ports, want three quarters of 10000", n)
			}
			if v, _ := l.outOf(1, udp(guestA+":5000", remoteA+":80")); v != Translated {
				t.Errorf("the other zone: %v", v)
			}
		})
	})
}

// spray sends from many addresses and ports, and returns how many flows that made.
func (l *lab) spray(via uint16) (made int) {
	l.via = via
	for host := range 32 {
		for port := range 512 {
			src := guest(fmt.Sprintf("10.9.%d.%d", via, host+1), 1024+port)
			if v, _ := l.out(udp(src, remoteA+":80")); v == Translated {
				made++
			}
		}
	}
	return made
}

// A port that is published no more is closed, also for those who have come in by it:
// what they have goes on, and nothing new begins.
func TestUnpublishedCloses(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		publish := ZoneConfig{Publish: []Publish{{Protocol: 17, First: 8080, Last: 8080, To: endpointOf(guestA + ":80")}}}
		l := newLab(t, publish)
		l.mustIn(udp(remoteA+":5000", outsideA+":8080"), guestA+":80")
		l.zone(0, ZoneConfig{})
		l.mustIn(udp(remoteA+":5000", outsideA+":8080"), guestA+":80")
		l.mustOut(udp(guestA+":80", remoteA+":5000"))
		l.wantIn(udp(remoteA+":5001", outsideA+":8080"), Filtered)
		if out := l.mustOut(udp(guestA+":80", remoteB+":53")); out == outsideA+":8080" {
			t.Errorf("a new flow of the guest has the port that was published")
		}
	})
}

// TestShareOfFamilies has each family have its own ports: what one has used up the
// other one does not miss.
func TestShareOfFamilies(t *testing.T) {
	t.Parallel()
	four, six := &lab{t: t, now: 1}, &lab{t: t, now: 1, six: true}
	four.tab = New(Config{Addresses: bothFamilies(outsideA)})
	six.tab = four.tab
	for z := range Zone(2) {
		four.zone(z, ZoneConfig{MaxFlows: 1 << 20, First: 10001, Last: 20000})
	}
	for _, l := range []*lab{four, six} {
		n := 0
		for via := range 8 {
			n += l.spray(uint16(via))
		}
		if n != 7500 {
			t.Errorf("IPv6 %v: one of two zones has %d ports, want three quarters of 10000", l.six, n)
		}
	}
}
