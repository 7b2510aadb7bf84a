package snooping

import (
	"slices"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

const (
	low6  = "fe80::1"              // below the address of ownMAC
	high6 = "fe80::ffff:ffff:ffff" // above it
)

// times returns when general queries of a family were sent, in seconds since
// the lab's start.
func (l *lab) times(family byte, d time.Duration) (at []int) {
	start := l.clock
	for l.clock < start+d {
		l.run(time.Second)
		for _, q := range l.take() {
			if q.Frame[0] == family && q.Port == -1 {
				at = append(at, int((l.clock-time.Hour)/time.Second))
			}
		}
	}
	return at
}

const (
	inIPv4 = 0x01 // the first byte of a frame
	inIPv6 = 0x33
)

func TestQuerySchedule(t *testing.T) {
	l := newLab(t, Config{Querier: true, Interval: 100 * time.Second}, 0)
	if got, want := l.times(inIPv4, 330*time.Second), []int{1, 26, 126, 226, 326}; !slices.Equal(got, want) {
		t.Errorf("IPv4: %v, want %v", got, want)
	}
	l = newLab(t, Config{Querier: true}, 0)
	if got, want := l.times(inIPv6, 290*time.Second), []int{1, 33, 158, 283}; !slices.Equal(got, want) {
		t.Errorf("IPv6: %v, want %v", got, want)
	}
}

// At a short interval the second query waits for the answers to the first.
func TestStartWaitsForAnswers(t *testing.T) {
	l := newLab(t, Config{Querier: true, Interval: 10 * time.Second}, 0)
	if got, want := l.times(inIPv6, 30*time.Second), []int{1, 7, 17, 27}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestQueriesGoWhereSomebodyIs(t *testing.T) {
	l := newLab(t, Config{Querier: true}, 3, 4096)
	l.run(time.Second)
	if q := l.take(); len(q) != 2 || q[0].VLAN != 3 || q[1].VLAN != 3 {
		t.Errorf("at first: %v", q)
	}
	l.receive(1, joinFrame("239.1.2.3"), 9)
	l.run(time.Second)
	if q := l.take(); len(q) != 1 || q[0].VLAN != 9 || q[0].Frame[0] != inIPv4 {
		t.Errorf("where an IGMP host is: %v", q)
	}
	for range 2 {
		l.receive(1, leaveFrame("239.9.9.9"), 10) // was heard, and joined nothing
		l.run(200 * time.Second)
	}
	if s := l.status(10, IPv4); !s.Own || !s.Restricted {
		t.Errorf("where a host was heard: %+v", s)
	}
	l.Table()
	l.SetVLANs(nil)
	l.run(530 * time.Second) // the group lasts 260, and the domain as long
	l.take()
	l.run(300 * time.Second)
	if q := l.take(); len(q) != 0 || len(l.Status()) != 0 {
		t.Errorf("where nobody is: %v, %v", q, l.Status())
	}
	for _, vlan := range []uint16{3, 9, 10} {
		if _, restrict := l.Table().Ports(vlan, dataFrame("239.1.2.3")); restrict {
			t.Errorf("VLAN %d restricts, which is forgotten", vlan)
		}
	}
}

func TestRestrictsOnlyAfterAnAnswer(t *testing.T) {
	l := newLab(t, Config{Querier: true}, 0)
	l.receive(3, joinFrame("239.1.2.3"))
	l.run(11 * time.Second) // asked in the first
	l.wantFlood("239.1.2.3")
	l.run(time.Second)
	l.wantPorts("239.1.2.3", 3)
	l.wantPorts("ff0e::1")
	l.Configure(Config{Address: ownMAC})
	l.wantFlood("239.1.2.3")
	l.wantFlood("ff0e::1")
	l.run(time.Hour)
	if q := l.take(); len(q) != 2 {
		t.Errorf("%d queries, want the 2 from before", len(q))
	}
	l.Configure(Config{Querier: true, Address: ownMAC})
	l.run(11 * time.Second)
	l.wantFlood("239.1.2.3")
	l.run(time.Second)
	l.wantPorts("239.1.2.3")
}

func TestConfigureTwiceChangesNothing(t *testing.T) {
	l := asked(t)
	before := l.Table()
	for range 5 {
		l.Configure(Config{Querier: true, Address: ownMAC})
		l.Configure(Config{Querier: true, Address: ownMAC, Interval: DefaultInterval})
		l.SetVLANs([]uint16{0})
		l.run(2 * time.Second)
	}
	if len(l.take()) != 0 || l.Table() != before {
		t.Error("the same configuration made a difference")
	}
	l.Configure(Config{Querier: true, Address: ownMAC, Interval: time.Minute})
	if got, want := l.times(inIPv4, 100*time.Second), []int{71, 86, 146}; !slices.Equal(got, want) {
		t.Errorf("with a new interval: %v, want %v", got, want)
	}
}

func TestConfigureWithoutQuerier(t *testing.T) {
	l := newLab(t, Config{}, 0)
	l.Configure(Config{Address: ownMAC, Interval: time.Minute})
	l.receive(3, joinFrame("239.1.2.3"))
	if got := l.Groups()[0].Expires; got != 130*time.Second {
		t.Errorf("a membership lasts %v, want 130 s", got)
	}
}

func TestConfigureKeepsMembers(t *testing.T) {
	l := newLab(t, Config{Querier: true, Interval: 10 * time.Second}, 0)
	l.run(30 * time.Second)
	l.receive(3, joinFrame("239.1.2.3"))
	l.run(20 * time.Second) // of 25
	l.Configure(Config{Querier: true, Address: ownMAC})
	l.run(10 * time.Second)
	l.wantPorts("239.1.2.3", 3)
	l.run(2 * time.Second) // the new query got no answer
	l.wantPorts("239.1.2.3")
}

func TestForeignQuerierAlone(t *testing.T) {
	for _, tt := range []struct {
		src, general, group string
		response            uint16
	}{
		{"192.0.2.1", "0.0.0.0", "239.1.2.3", 100},
		{low6, "::", "ff0e::1", 10000},
		{high6, "::", "ff0e::1", 10000},
		{"0.0.0.0", "0.0.0.0", "239.1.2.3", 100}, // a neighbouring switch
	} {
		t.Run(tt.src, func(t *testing.T) {
			l := newLab(t, Config{}, 0)
			l.receive(3, joinFrame(tt.group))
			l.receive(7, queryFrame(tt.src, tt.general, tt.response, 2, 125))
			l.run(10 * time.Second)
			l.wantFlood(tt.group)
			l.run(time.Second)
			l.wantPorts(tt.group, 3, 7)
			if r := portsOf(l.Table().Routers(0, joinFrame(tt.group))); !slices.Equal(r, []uint16{7}) {
				t.Errorf("reports go to %v, want 7", r)
			}
			s := l.status(0, familyOf(tt.group))
			if s.Own || s.Querier.String() != tt.src || !s.Restricted || !slices.Equal(s.Routers, []uint16{7}) {
				t.Errorf("status: %+v", s)
			}
			l.run(243 * time.Second)
			l.wantPorts(tt.group, 3, 7)
			l.run(time.Second) // 255 s after its query
			l.wantFlood(tt.group)
			if r := l.Table().Routers(0, joinFrame(tt.group)); r != nil || len(l.take()) != 0 {
				t.Errorf("reports still go to %v", portsOf(r))
			}
		})
	}
}

func familyOf(group string) Family {
	if is6(group) {
		return IPv6
	}
	return IPv4
}

func TestSlowQuerier(t *testing.T) {
	l := newLab(t, Config{}, 0)
	l.receive(7, queryFrame("192.0.2.1", "0.0.0.0", 0x8f, 2, 125)) // 24.8 s
	l.receive(3, joinFrame("239.1.2.3"))
	if got, want := l.Groups()[0].Expires, 274800*time.Millisecond; got != want {
		t.Errorf("a membership lasts %v, want %v", got, want)
	}
	l.run(25 * time.Second)
	l.wantFlood("239.1.2.3")
	l.run(time.Second)
	l.wantPorts("239.1.2.3", 3, 7)

	l = newLab(t, Config{}, 0)
	l.receive(7, queryFrame("192.0.2.1", "0.0.0.0", 0x8f, 2, 125))
	l.receive(7, queryFrame("192.0.2.1", "0.0.0.0", 50, 2, 125)) // asks for haste
	l.run(5 * time.Second)
	l.wantFlood("239.1.2.3")
	l.run(time.Second)
	l.wantPorts("239.1.2.3", 7)
}

func TestSwitchGoes(t *testing.T) {
	l := newLab(t, Config{}, 0)
	l.receive(7, queryFrame("0.0.0.0", "0.0.0.0", 100, 2, 125))
	l.run(20 * time.Second)
	l.wantPorts("239.1.2.3", 7)
	l.RemovePort(7)
	l.wantFlood("239.1.2.3")
}

func TestForeignSpecificQuery(t *testing.T) {
	const group = "239.1.2.3"
	for _, tt := range []struct {
		name  string
		query *frame.Frame
		after time.Duration // 0: it changes nothing
	}{
		{"of the querier", queryFrame("192.0.2.1", group, 10, 2, 125), 3 * time.Second},
		{"slow", queryFrame("192.0.2.1", group, 50, 2, 125), 11 * time.Second},
		{"too quick", queryFrame("192.0.2.1", group, 0, 2, 125), 3 * time.Second},
		{"of v2", packet{src: "192.0.2.1", dst: group, body: body(0x11, 10, addrBytes(group))}.frame(), 3 * time.Second},
		{"suppressed", queryFrame("192.0.2.1", group, 10, 10, 125), 0},
		{"for a source", queryFrame("192.0.2.1", group, 10, 2, 125, "10.0.0.1"), 0},
		{"of another", queryFrame("192.0.2.2", group, 10, 2, 125), 0},
		{"of a switch", queryFrame("0.0.0.0", group, 10, 2, 125), 0},
		{"for another", queryFrame("192.0.2.1", "239.1.2.4", 10, 2, 125), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, Config{Querier: true}, 0)
			l.receive(7, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125))
			l.run(20 * time.Second)
			l.receive(3, joinFrame(group))
			l.receive(3, leaveFrame(group)) // not for us to ask
			l.receive(7, tt.query)
			if tt.after == 0 {
				l.run(200 * time.Second)
				l.wantPorts(group, 3, 7)
				return
			}
			l.run(tt.after - time.Second)
			l.wantPorts(group, 3, 7)
			l.run(time.Second)
			l.wantPorts(group, 7)
		})
	}
}

// TestSpecificQueryOfALoser: over IPv6 this querier stays in charge before a
// higher address, and asks itself.
func TestSpecificQueryOfALoser(t *testing.T) {
	l := asked(t)
	l.receive(7, queryFrame(high6, "::", 10000, 2, 125))
	l.receive(3, joinFrame("ff0e::1"))
	l.receive(7, queryFrame(high6, "ff0e::1", 1000, 2, 125))
	l.run(200 * time.Second)
	l.wantPorts("ff0e::1", 3, 7)
}

func TestSpecificQueryDoesNotStartRestriction(t *testing.T) {
	l := newLab(t, Config{}, 0)
	l.receive(7, queryFrame("192.0.2.1", "239.1.2.3", 10, 2, 125))
	l.run(time.Minute)
	l.wantFlood("239.1.2.3") // nobody has been asked for other groups
}

func TestRouters(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frame *frame.Frame
		group string
	}{
		{"PIM", packet{src: host4, dst: "224.0.0.13", protocol: 103, body: []byte{0x20, 0, 0, 0}}.frame(), "239.1.2.3"},
		{"PIM over IPv6", packet{src: host6, dst: "ff02::d", protocol: 103, body: []byte{0x20, 0, 0, 0}}.frame(), "ff0e::1"},
		{"advertisement", packet{src: host4, dst: "224.0.0.106", body: body(0x30, 20, []byte{0, 125, 0, 2})}.frame(), "239.1.2.3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := asked(t)
			l.receive(130, tt.frame)
			l.receive(2, joinFrame(tt.group))
			l.wantPorts(tt.group, 2, 130)
			if s := l.status(0, familyOf(tt.group)); !s.Own || !slices.Equal(s.Routers, []uint16{130}) {
				t.Errorf("status: %+v", s)
			}
			other := map[bool]string{true: "239.1.2.3", false: "ff0e::1"}[is6(tt.group)]
			l.wantPorts(other)
			l.run(254 * time.Second)
			l.wantPorts(tt.group, 2, 130)
			l.run(time.Second)
			l.wantPorts(tt.group, 2)
		})
	}
}

func TestOwnQueryComesBack(t *testing.T) {
	l := asked(t)
	before := l.Table()
	for _, family := range []Family{IPv4, IPv6} {
		l.receive(7, wrap(l.general(l.domain(0, family), -1).Frame))
	}
	if l.Table() != before || l.Stats().Queries != 0 {
		t.Error("our own query was taken for that of another")
	}
}

// TestNeighbouringSwitches joins two Snoopers that both query from 0.0.0.0 by a
// link at port 0 of each. Each must learn of the other's listeners.
func TestNeighbouringSwitches(t *testing.T) {
	a := newLab(t, Config{Querier: true, Address: frame.MAC{2, 0, 0, 0, 0, 1}}, 0)
	b := newLab(t, Config{Querier: true, Address: frame.MAC{2, 0, 0, 0, 0, 2}}, 0)
	exchange := func() {
		for _, side := range []struct{ from, to *lab }{{a, b}, {b, a}} {
			side.from.run(time.Second)
			for _, q := range side.from.take() {
				if q.Port <= 0 {
					side.to.receive(0, wrap(q.Frame))
				}
			}
		}
	}
	for range 60 {
		exchange()
	}
	for _, group := range bothFamilies {
		// A report goes to router ports: over the link, if that is one.
		a.receive(5, joinFrame(group))
		a.wantPorts(group, linked(a, group, 5)...)
		if slices.Contains(portsOf(a.Table().Routers(0, joinFrame(group))), 0) {
			b.receive(0, joinFrame(group))
		}
		b.wantPorts(group, 0)
	}
	if s := b.status(0, IPv6); s.Own || a.status(0, IPv6).Own == s.Own {
		t.Errorf("over IPv6 both are in charge, or none is: %+v", s)
	}
}

// linked adds port 0 to those expected where a has seen a query there: over
// IPv6 it has the lower address, and so hears none.
func linked(a *lab, group string, ports ...uint16) []uint16 {
	if slices.Contains(a.status(0, familyOf(group)).Routers, 0) {
		return append([]uint16{0}, ports...)
	}
	return ports
}
