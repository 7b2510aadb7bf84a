package snooping

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// asked returns a lab whose querier has asked, and got no answer.
func asked(t *testing.T) *lab {
	t.Helper()
	l := newLab(t, Config{Querier: true}, 0)
	l.run(time.Minute)
	l.take()
	return l
}

var bothFamilies = []string{"239.1.2.3", "ff0e::1:2"}

func TestMembershipExpires(t *testing.T) {
	for _, group := range bothFamilies {
		t.Run(group, func(t *testing.T) {
			l := asked(t)
			l.wantPorts(group)
			l.receive(3, joinFrame(group))
			l.run(100 * time.Second)
			l.receive(70, joinFrame(group))
			l.wantPorts(group, 3, 70)
			l.run(159 * time.Second)
			l.wantPorts(group, 3, 70)
			l.run(time.Second)
			l.wantPorts(group, 70) // 260 s
			l.receive(70, joinFrame(group))
			l.run(259 * time.Second)
			l.wantPorts(group, 70)
			l.run(time.Second)
			l.wantPorts(group)
			if n := l.Stats(); n.Groups != 0 || n.Memberships != 0 || n.Reports != 3 {
				t.Errorf("in the end: %+v", n)
			}
		})
	}
}

func TestLifetimeFollowsInterval(t *testing.T) {
	for _, tt := range []struct{ interval, want time.Duration }{
		{0, 260 * time.Second},
		{60 * time.Second, 130 * time.Second},
		{10 * time.Second, 25 * time.Second},
	} {
		l := newLab(t, Config{Querier: true, Interval: tt.interval}, 0)
		l.run(time.Minute)
		l.receive(1, joinFrame("239.1.2.3"))
		l.run(tt.want - time.Second)
		l.wantPorts("239.1.2.3", 1)
		l.run(time.Second)
		l.wantPorts("239.1.2.3")
	}
}

func TestLeave(t *testing.T) {
	for _, group := range bothFamilies {
		leaves := map[string]func(*lab){
			"leave or done": func(l *lab) { l.receive(3, leaveFrame(group)) },
			"to include":    func(l *lab) { l.receive(3, reportFrame(rec{kind: changeToInclude, group: group})) },
			"block":         func(l *lab) { l.receive(3, reportFrame(rec{blockSources, group, []string{sourceOf(group)}, 0})) },
		}
		for name, leave := range leaves {
			t.Run(group+" "+name, func(t *testing.T) {
				l := asked(t)
				l.receive(3, joinFrame(group))
				l.receive(4, joinFrame(group))
				leave(l)
				l.wantPorts(group, 3, 4)
				l.run(time.Second) // the first query
				leave(l)           // changes nothing
				l.run(2 * time.Second)
				l.wantPorts(group, 3, 4)
				l.run(time.Second)
				l.wantPorts(group, 4)
				l.run(time.Minute)
				l.wantPorts(group, 4)
				if q := l.take(); len(q) != 2 || q[0].Port != 3 || q[1].Port != 3 {
					t.Errorf("queries, of which 2 are due, to port 3: %v", q)
				}
			})
		}
	}
}

func TestLeaveAnswered(t *testing.T) {
	for _, group := range bothFamilies {
		t.Run(group+" somebody else stays", func(t *testing.T) {
			l := asked(t)
			l.receive(3, joinFrame(group))
			l.receive(3, leaveFrame(group))
			l.run(3 * time.Second)
			l.receive(3, reportFrame(rec{kind: modeIsExclude, group: group}))
			l.run(200 * time.Second)
			l.wantPorts(group, 3)
		})
		t.Run(group+" answered before it was asked", func(t *testing.T) {
			l := asked(t)
			l.receive(3, joinFrame(group))
			l.receive(3, leaveFrame(group))
			l.receive(3, joinFrame(group))
			l.run(20 * time.Second)
			l.wantPorts(group, 3)
			if q := l.take(); len(q) != 0 {
				t.Errorf("queries: %v", q)
			}
		})
	}
}

func sourceOf(group string) string {
	if is6(group) {
		return "2001:db8::1"
	}
	return "198.51.100.1"
}

func TestLeaveTwice(t *testing.T) {
	l := asked(t)
	for range 2 {
		l.receive(3, joinFrame("239.1.2.3"))
		l.receive(3, leaveFrame("239.1.2.3"))
		l.run(2 * time.Second)
	}
	if q := l.take(); len(q) != 4 {
		t.Errorf("%d queries, want 2 for each leave", len(q))
	}
	l.run(2 * time.Second)
	l.wantPorts("239.1.2.3")
}

// TestLeaveBeforeAnElection: who was about to ask is no longer in charge, and
// does not come back to it later.
func TestLeaveBeforeAnElection(t *testing.T) {
	l := asked(t)
	l.receive(3, joinFrame("239.1.2.3"))
	l.receive(3, leaveFrame("239.1.2.3"))
	l.receive(7, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125))
	l.run(5 * time.Second)
	l.RemovePort(7)
	l.run(5 * time.Second)
	for _, q := range l.take() {
		if q.Port == 3 {
			t.Errorf("asked: %v", q)
		}
	}
	l.wantPorts("239.1.2.3", 3)
}

func TestOrderOfQueries(t *testing.T) {
	l := asked(t)
	for i, group := range []string{"239.0.0.4", "239.0.0.3", "239.0.0.2", "239.0.0.1"} {
		port := uint16(i/2 + 1)
		for _, vlan := range []uint16{9, 0} {
			l.receive(port, joinFrame(group), vlan)
			l.receive(port, leaveFrame(group), vlan)
		}
	}
	before := l.Stats().Sent
	l.run(time.Second)
	type line struct {
		vlan  uint16
		port  int
		group byte
	}
	var got []line
	for _, q := range l.take() {
		got = append(got, line{q.VLAN, q.Port, q.Frame[33]})
	}
	want := []line{{0, 1, 3}, {0, 1, 4}, {0, 2, 1}, {0, 2, 2}, {9, -1, 1}, {9, 1, 3}, {9, 1, 4}, {9, 2, 1}, {9, 2, 2}}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if n := l.Stats().Sent - before; n != uint64(len(want)) {
		t.Errorf("counted %d of %d queries", n, len(want))
	}
}

func TestLeaveOfStrangers(t *testing.T) {
	l := asked(t)
	l.receive(3, joinFrame("239.1.2.3"))
	before := l.Table()
	l.receive(4, leaveFrame("239.1.2.3"))
	l.receive(3, leaveFrame("239.1.2.4"))
	l.run(10 * time.Second)
	if l.Table() != before || len(l.take()) != 0 {
		t.Error("leaves of others made a difference")
	}
}

func TestRecords(t *testing.T) {
	for _, group := range bothFamilies {
		source := []string{sourceOf(group)}
		for _, tt := range []struct {
			name   string
			record rec
			in     bool // from outside the group
			stays  bool // from inside it
		}{
			{"is include", rec{modeIsInclude, group, source, 0}, true, true},
			{"is include nothing", rec{modeIsInclude, group, nil, 0}, false, false},
			{"is exclude", rec{modeIsExclude, group, source, 0}, true, true},
			{"is exclude nothing", rec{modeIsExclude, group, nil, 0}, true, true},
			{"to include", rec{changeToInclude, group, source, 0}, true, true},
			{"to include nothing", rec{changeToInclude, group, nil, 0}, false, false},
			{"to exclude", rec{changeToExclude, group, source, 1}, true, true},
			{"to exclude nothing", rec{changeToExclude, group, nil, 0}, true, true},
			{"allow", rec{allowSources, group, source, 0}, true, true},
			{"allow nothing", rec{allowSources, group, nil, 0}, false, true},
			{"block", rec{blockSources, group, source, 0}, false, false},
			{"block nothing", rec{blockSources, group, nil, 0}, false, true},
			{"unknown", rec{7, group, source, 0}, false, true},
		} {
			t.Run(group+" "+tt.name, func(t *testing.T) {
				l := asked(t)
				l.receive(3, joinFrame(group))
				l.receive(4, reportFrame(tt.record))
				l.receive(3, reportFrame(tt.record))
				var want []uint16
				if l.run(5 * time.Second); tt.stays {
					want = append(want, 3)
				}
				if tt.in {
					want = append(want, 4)
				}
				l.wantPorts(group, want...)
			})
		}
	}
}

func TestRecordsInOneReport(t *testing.T) {
	l := asked(t)
	l.receive(1, joinFrame("239.0.0.3"))
	l.receive(1, reportFrame(
		rec{changeToExclude, "239.0.0.1", []string{"10.0.0.1", "10.0.0.2"}, 2},
		rec{kind: changeToExclude, group: "224.0.0.251"},
		rec{kind: changeToInclude, group: "239.0.0.3"},
		rec{allowSources, "232.0.0.2", []string{"10.0.0.1"}, 0},
	))
	l.run(5 * time.Second)
	l.wantPorts("239.0.0.1", 1)
	l.wantPorts("232.0.0.2", 1)
	l.wantPorts("239.0.0.3")
	l.wantFlood("224.0.0.251")
	if n := l.Stats().Groups; n != 2 {
		t.Errorf("%d groups, want 2: those that are flooded need no room", n)
	}
}

func TestIGMPv1HostStays(t *testing.T) {
	l := asked(t)
	v1 := packet{src: host4, dst: "239.1.2.3", noAlert: true, body: body(0x12, 0, addrBytes("239.1.2.3"))}.frame()
	l.receive(3, v1)
	l.receive(3, joinFrame("239.1.2.3"))
	l.receive(3, leaveFrame("239.1.2.3")) // a v1 host may still be there
	l.receive(7, queryFrame("192.0.2.1", "239.1.2.3", 10, 2, 125))
	l.RemovePort(7) // which was a querier, and asked about it
	l.run(30 * time.Second)
	l.wantPorts("239.1.2.3", 3)
	l.run(229 * time.Second)
	l.receive(3, joinFrame("239.1.2.3"))
	l.run(time.Second)
	l.receive(3, leaveFrame("239.1.2.3")) // 260 s later there is none
	l.run(5 * time.Second)
	l.wantPorts("239.1.2.3")
}

func TestGroups(t *testing.T) {
	l := asked(t)
	l.receive(9, joinFrame("239.1.2.3"), 5)
	l.run(10 * time.Second)
	l.receive(3, reportFrame(rec{kind: modeIsExclude, group: "239.1.2.3"}), 5)
	l.receive(3, joinFrame("ff0e::1"))
	l.receive(3, joinFrame("232.1.2.3"))
	l.run(10 * time.Second)
	want := []Group{
		{0, netip.MustParseAddr("232.1.2.3"), 2, []uint16{3}, 250 * time.Second},
		{0, netip.MustParseAddr("ff0e::1"), 1, []uint16{3}, 250 * time.Second},
		{5, netip.MustParseAddr("239.1.2.3"), 2, []uint16{3, 9}, 250 * time.Second},
	}
	if got := l.Groups(); !slices.EqualFunc(got, want, func(a, b Group) bool {
		return a.VLAN == b.VLAN && a.Addr == b.Addr && a.Version == b.Version &&
			slices.Equal(a.Ports, b.Ports) && a.Expires == b.Expires
	}) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestVLANsAreApart(t *testing.T) {
	l := newLab(t, Config{Querier: true}, 0, 5, 4095)
	l.run(time.Minute)
	l.receive(1, joinFrame("239.1.2.3"), 5)
	l.receive(2, joinFrame("239.1.2.3"), 4095)
	l.wantPortsIn(0, "239.1.2.3")
	l.wantPortsIn(5, "239.1.2.3", 1)
	l.wantPortsIn(4095, "239.1.2.3", 2)
}

func TestRemovePort(t *testing.T) {
	l := asked(t)
	for _, group := range bothFamilies {
		l.receive(3, joinFrame(group))
		l.receive(4, joinFrame(group))
	}
	l.receive(3, queryFrame("fe80::1", "::", 10000, 2, 125))
	l.receive(3, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125))
	l.RemovePort(3)
	for _, group := range bothFamilies {
		l.wantPorts(group, 4)
		if r := l.Table().Routers(0, joinFrame(group)); len(portsOf(r)) != 0 {
			t.Errorf("reports of %s still go to %v", group, portsOf(r))
		}
	}
	for _, family := range []Family{IPv4, IPv6} {
		if s := l.status(0, family); !s.Own {
			t.Errorf("the querier of family %d is still %v", family, s.Querier)
		}
	}
	before := l.Table()
	l.RemovePort(3)
	l.RemovePort(MaxPorts)
	if l.Table() != before {
		t.Error("a port that has nothing left something")
	}
}

func TestAddPort(t *testing.T) {
	l := asked(t)
	l.run(30 * time.Second)
	l.receive(3, joinFrame("239.1.2.3"))
	l.AddPort(8)
	l.AddPort(MaxPorts)
	l.wantPorts("239.1.2.3", 3, 8)
	l.wantPorts("239.9.9.9", 8)
	if r := portsOf(l.Table().Routers(0, joinFrame("239.1.2.3"))); r != nil {
		t.Errorf("reports go to %v, want nowhere", r)
	}
	l.run(time.Second)
	if q := l.take(); len(q) != 2 || q[0].Port != 8 || q[1].Port != 8 {
		t.Errorf("queries at once: %v", q)
	}
	l.receive(8, joinFrame("239.1.2.3"))
	l.run(10 * time.Second) // to the end of the time for an answer
	l.wantPorts("239.9.9.9", 8)
	l.run(time.Second)
	l.wantPorts("239.1.2.3", 3, 8)
	l.wantPorts("239.9.9.9")
	l.run(21 * time.Second) // 31250 ms after the first
	if q := l.take(); len(q) != 2 || q[0].Port != 8 {
		t.Errorf("queries later: %v", q)
	}
	l.AddPort(9)
	l.RemovePort(9)
	l.wantPorts("239.9.9.9")
	l.run(time.Second)
	if q := l.take(); len(q) != 0 {
		t.Errorf("queries to a port that is gone: %v", q)
	}
}

func TestAddPortUnderAnotherQuerier(t *testing.T) {
	l := asked(t)
	l.receive(1, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125))
	l.take()
	l.AddPort(8)
	l.run(time.Second)
	for _, q := range l.take() {
		if q.Frame[0] == 0x01 {
			t.Errorf("asked over IPv4, where another is in charge: %v", q)
		}
	}
	l.run(124 * time.Second)
	l.wantPorts("239.9.9.9", 1, 8) // until that asks, and is answered
	l.receive(1, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125))
	l.run(11 * time.Second)
	l.wantPorts("239.9.9.9", 1)
}
