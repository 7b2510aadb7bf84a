package snooping

import (
	"slices"
	"testing"
	"time"
)

func TestElection(t *testing.T) {
	for _, tt := range []struct {
		name, src, general string
		response           uint16
		silent             bool
	}{
		{"any router over IPv4", "192.0.2.1", "0.0.0.0", 100, true},
		{"a switch over IPv4", "0.0.0.0", "0.0.0.0", 100, false},
		{"a lower address over IPv6", low6, "::", 10000, true},
		{"a higher address over IPv6", high6, "::", 10000, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{Querier: true}, 0)
			l.run(100 * time.Second)
			first := byte(inIPv4)
			if is6(tt.general) {
				first = inIPv6
			}
			l.take()
			l.receive(7, queryFrame(tt.src, tt.general, tt.response, 2, 125))
			l.wantPorts(map[bool]string{true: "ff0e::1", false: "239.1.1.1"}[is6(tt.general)], 7)
			want := []int{158, 283}
			if tt.silent {
				want = []int{355} // 255 s after the only one of the other
			}
			if got := l.times(first, 256*time.Second); !slices.Equal(got, want) {
				t.Errorf("own queries at %v, want %v", got, want)
			}
			if s := l.status(0, familyOf(tt.general)); !s.Own {
				t.Errorf("the querier is %v", s.Querier)
			}
		})
	}
}

func TestLowestQuerierWins(t *testing.T) {
	l := newLab(t, Config{}, 0)
	for _, tt := range []struct{ src, want string }{
		{"192.0.2.5", "192.0.2.5"}, {"192.0.2.9", "192.0.2.5"}, {"192.0.2.3", "192.0.2.3"}, {"0.0.0.0", "192.0.2.3"},
	} {
		l.receive(1, queryFrame(tt.src, "0.0.0.0", 100, 2, 125))
		if got := l.status(0, IPv4).Querier.String(); got != tt.want {
			t.Errorf("after a query from %s the querier is %s, want %s", tt.src, got, tt.want)
		}
	}
	l.run(255 * time.Second)
	l.receive(1, queryFrame("192.0.2.9", "0.0.0.0", 100, 2, 125))
	if got := l.status(0, IPv4).Querier.String(); got != "192.0.2.9" {
		t.Errorf("with all others silent the querier is %s", got)
	}
}

func TestTakeOverExtendsNoOthers(t *testing.T) {
	l := asked(t)
	l.receive(3, joinFrame("239.1.2.3"))
	l.receive(3, leaveFrame("239.1.2.3"))
	l.run(2 * time.Second)
	l.receive(7, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125))
	l.receive(3, joinFrame("ff0e::1"))
	l.receive(3, leaveFrame("ff0e::1"))
	l.run(time.Second)
	l.RemovePort(7)
	l.run(time.Second)
	l.wantPorts("239.1.2.3") // was asked about, and nobody answered
	l.run(2 * time.Second)
	l.wantPorts("ff0e::1") // the same over IPv6, where nothing changed
	l.receive(3, joinFrame("ff0e::1"))
	l.receive(7, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125))
	l.run(258 * time.Second)
	l.wantPorts("ff0e::1", 3)
	l.run(2 * time.Second)
	l.wantPorts("ff0e::1")
}

// TestTakeOver: what was restricted stays so when the querier dies, and loses
// no member that answers the new one.
func TestTakeOver(t *testing.T) {
	l := asked(t)
	l.receive(7, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125))
	l.receive(3, joinFrame("239.1.2.3"))
	l.run(255 * time.Second) // here it asks
	l.run(10 * time.Second)  // beyond the 260 s of the membership
	l.wantPorts("239.1.2.3", 3)
	l.receive(3, joinFrame("239.1.2.3"))
	l.run(2 * time.Second)
	l.wantPorts("239.1.2.3", 3)
}

func TestAdoptsLongerTimes(t *testing.T) {
	for _, tt := range []struct {
		code byte
		want time.Duration
	}{
		{20, 260 * time.Second},    // shorter than ours: ours is safe
		{0x99, 810 * time.Second},  // 25<<4 = 400 s
		{0xff, 7210 * time.Second}, // 31744 s: bounded to an hour
	} {
		l := newLab(t, Config{Querier: true}, 0)
		l.receive(7, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, tt.code))
		l.receive(3, joinFrame("239.1.2.3"))
		if got := l.Groups()[0].Expires; got != tt.want {
			t.Errorf("code %#x: a membership lasts %v, want %v", tt.code, got, tt.want)
		}
		l.RemovePort(7)
		l.run(time.Second)
		l.receive(3, joinFrame("239.1.2.3"))
		if got := l.Groups()[0].Expires; got != 260*time.Second {
			t.Errorf("code %#x, in charge again: a membership lasts %v", tt.code, got)
		}
	}
}
