package nat

import (
	"maps"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

const protoESP = 50

// partners is what a table says by ChangedOther.
type partners struct {
	used  map[otherPeer]bool
	calls int
}

func newPartnersLab(t reporter) (*lab, *partners) {
	s := &partners{used: map[otherPeer]bool{}}
	tab := New(Config{Addresses: addresses(outsideA, outsideB), ChangedOther: func(protocol uint8, remote netip.Addr, used bool) {
		k := otherPeer{protocol, remote.As16()}
		if !remote.Is4() || s.used[k] == used {
			t.Errorf("protocol %d with %s was said to be %v", protocol, remote, used)
		}
		s.calls++
		s.used[k] = used
		if !used {
			delete(s.used, k)
		}
	}})
	return &lab{t: t, tab: tab, now: 1}, s
}

func other(protocol uint8, src, dst string) packet {
	return packet{protocol: protocol, src: src, dst: dst, data: 20}
}

// wants fails unless these are said to be in use: those with remoteA and remoteB.
func (s *partners) wants(t *testing.T, what string, calls int, a, b []uint8) {
	t.Helper()
	want := map[otherPeer]bool{}
	for _, protocol := range a {
		want[otherPeer{protocol, endpointOf(remoteA).Addr}] = true
	}
	for _, protocol := range b {
		want[otherPeer{protocol, endpointOf(remoteB).Addr}] = true
	}
	if !maps.Equal(s.used, want) || s.calls != calls {
		t.Errorf("%s: %v after %d calls, want %v after %d", what, s.used, s.calls, want, calls)
	}
}

// TestChangedOther has flows of two zones, each at an outside address of its own,
// come and go in each way that there is.
func TestChangedOther(t *testing.T) {
	l, s := newPartnersLab(t)
	l.zone(0, ZoneConfig{Addresses: addresses(outsideA)})
	l.zone(1, ZoneConfig{Addresses: addresses(outsideB)})
	l.outOf(0, other(protoGRE, guestA, remoteA))
	l.outOf(1, other(protoGRE, guestA, remoteA))
	s.wants(t, "two zones", 1, []uint8{protoGRE}, nil)
	l.outOf(0, other(protoESP, guestA, remoteA))
	l.outOf(0, other(protoGRE, guestA, remoteB))
	s.wants(t, "each protocol and remote address", 3, []uint8{protoGRE, protoESP}, []uint8{protoGRE})

	l.wantOut(other(protoGRE, guestB, remoteA), Unsupported)
	l.wantIn(other(protoSCTP, remoteA, outsideA), NotMine)
	for _, p := range []packet{syn(guestA+":1000", remoteA+":80"), udp(guestA+":1000", remoteA+":53"), echo(guestA+":7", remoteA)} {
		l.mustOut(p)
	}
	l.mustIn(other(protoGRE, remoteA, outsideA), guestA+":0")
	s.wants(t, "nothing new", 3, []uint8{protoGRE, protoESP}, []uint8{protoGRE})

	l.tab.RemoveZone(0)
	s.wants(t, "a zone gone", 5, []uint8{protoGRE}, nil)
	l.tab.SetAddresses(addresses(outsideA))
	s.wants(t, "an address gone", 6, nil, nil)

	l.zone(0, ZoneConfig{})
	l.outOf(0, other(protoGRE, guestA, remoteA))
	if n := l.tab.Flush(func(*Flow) bool { return true }); n != 1 {
		t.Errorf("%d flows flushed", n)
	}
	s.wants(t, "flushed", 8, nil, nil)
	l.outOf(0, other(protoGRE, guestA, remoteA))
	l.now += DefaultTimeouts.Other + 1
	l.outOf(0, other(protoGRE, guestB, remoteA)) // takes the place of one that is over
	s.wants(t, "taken over", 11, []uint8{protoGRE}, nil)
	l.wait(int(DefaultTimeouts.Other) + 1)
	s.wants(t, "expired", 12, nil, nil)
	if l.tab.others.flows != nil {
		t.Errorf("left: %v", l.tab.others.flows)
	}
}

// TestChangedOtherAgrees compares what was said with the flows that there are, after
// whatever happens.
func TestChangedOtherAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, s := newPartnersLab(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			z := Zone(rapid.IntRange(0, 2).Draw(t, "zone"))
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				all := [][]string{{outsideA}, {outsideB}, {outsideA, outsideB}}
				l.tab.SetAddresses(addresses(rapid.SampledFrom(all).Draw(t, "addresses")...))
			case 1:
				l.tab.RemoveZone(z)
			case 2:
				l.wait(rapid.IntRange(0, 700).Draw(t, "seconds"))
			case 3:
				l.zone(z, ZoneConfig{Addresses: addresses(outsideA, outsideB), MaxFlows: 3})
			default:
				from := rapid.SampledFrom([]string{guestA, guestB}).Draw(t, "from")
				to := rapid.SampledFrom([]string{remoteA, remoteB}).Draw(t, "to")
				l.outOf(z, other(rapid.SampledFrom([]uint8{protoGRE, protoESP, protoSCTP}).Draw(t, "protocol"), from, to))
			}
			l.sweep() // what is over counts until it is looked at
			want := map[otherPeer]bool{}
			for _, f := range l.flows() {
				want[otherPeer{f.Protocol, f.Remote.Addr}] = true
			}
			if !maps.Equal(s.used, want) {
				t.Fatalf("said to be in use are %v, and flows are with %v", s.used, want)
			}
		}
	})
}
