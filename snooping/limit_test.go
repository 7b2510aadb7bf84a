package snooping

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// flood joins n groups from a port, the first of them given.
func (l *lab) flood(port uint16, first, n int) {
	const perReport = 64
	for i := 0; i < n; i += perReport {
		var list []rec
		for j := i; j < min(i+perReport, n); j++ {
			list = append(list, rec{kind: changeToExclude, group: numbered(first + j)})
		}
		l.receive(port, reportFrame(list...))
	}
}

func numbered(i int) string { return fmt.Sprintf("239.1.%d.%d", i>>8, i&0xff) }

func TestPortLimit(t *testing.T) {
	l := asked(t)
	l.receive(2, joinFrame("239.200.0.1"))
	l.flood(1, 0, MaxPortGroups)
	if n := l.Stats(); n.Groups != MaxPortGroups+1 || n.Refused != 0 {
		t.Fatalf("up to the limit: %+v", n)
	}
	l.wantPorts("239.99.0.1")
	l.flood(1, MaxPortGroups, 1)
	if n := l.Stats(); n.Groups != MaxPortGroups+1 || n.Refused != 1 {
		t.Fatalf("beyond the limit: %+v", n)
	}
	l.wantPorts(numbered(MaxPortGroups), 1) // what could not be recorded
	l.wantPorts("239.99.0.1", 1)            // gets there with the rest
	l.wantPorts("239.200.0.1", 1, 2)
	l.wantPorts("ff0e::1") // another domain
	if s := l.status(0, IPv4); !slices.Equal(s.Open, []uint16{1}) || s.Routers != nil {
		t.Errorf("status: %+v", s)
	}
	l.receive(1, joinFrame(numbered(5))) // known, and so no more than before
	l.receive(2, joinFrame("239.200.0.2"))
	if n := l.Stats(); n.Refused != 1 {
		t.Errorf("a join that needs no room, and one of another port: %+v", n)
	}
	l.run(260 * time.Second)
	l.wantPorts("239.99.0.1")
	l.wantPorts("239.200.0.1")
	if n := l.Stats(); n.Groups != 0 {
		t.Errorf("in the end: %+v", n)
	}
}

func TestNetworkLimit(t *testing.T) {
	l := asked(t)
	const ports = MaxGroups / MaxPortGroups
	l.receive(100, joinFrame("239.200.0.1"))
	for p := range ports {
		l.flood(uint16(p), p*MaxPortGroups, MaxPortGroups)
	}
	if n := l.Stats(); n.Groups != MaxGroups || n.Refused != 1 {
		t.Fatalf("four ports that flood: %+v", n)
	}
	l.wantPorts("239.200.0.1", ports-1, 100) // evicted by nobody
	l.receive(101, joinFrame("239.200.0.1")) // needs no new group
	l.wantPorts("239.200.0.1", ports-1, 100, 101)
	l.receive(102, joinFrame("239.200.0.2"))
	l.wantPorts("239.200.0.2", ports-1, 102)
	l.receive(102, joinFrame("ff0e::1"))
	l.wantPorts("ff0e::1", 102)
	l.RemovePort(0)
	l.receive(102, joinFrame("239.200.0.2"))
	if n := l.Stats(); n.Groups != MaxGroups-MaxPortGroups+1 || n.Refused != 3 {
		t.Errorf("with room again: %+v", n)
	}
	l.run(259 * time.Second)
	l.receive(102, joinFrame("239.200.0.2"))
	l.run(2 * time.Second)
	l.wantPorts("239.200.0.2", 102)
	l.wantPorts("239.200.0.3")
}

func TestRefusedIsNotARouter(t *testing.T) {
	l := asked(t)
	l.receive(5, queryFrame("0.0.0.0", "0.0.0.0", 100, 2, 125))
	l.flood(1, 0, MaxPortGroups+1)
	l.wantPorts("239.99.0.1", 1, 5)
	if r := portsOf(l.Table().Routers(0, joinFrame("239.1.2.3"))); !slices.Equal(r, []uint16{5}) {
		t.Errorf("reports go to %v, want 5", r)
	}
}

func TestAddPortDoesNotHideRefusal(t *testing.T) {
	l := asked(t)
	l.flood(1, 0, MaxPortGroups+1)
	l.AddPort(1)
	l.run(100 * time.Second)
	l.wantPorts("239.99.0.1", 1)
}

// TestGroupsOutliveSilence: a domain is not forgotten while it has groups, also
// where a shorter interval has made it look silent.
func TestGroupsOutliveSilence(t *testing.T) {
	l := newLab(t, Config{Querier: true, Interval: MaxInterval})
	l.receive(3, joinFrame("239.1.2.3"))
	l.Configure(Config{Querier: true, Address: ownMAC, Interval: MinInterval})
	l.run(time.Minute)
	l.check()
	l.wantPorts("239.1.2.3", 3)
}

// TestChurn joins and leaves as fast as one port can: the groups of others, and
// what is counted, stay as they are.
func TestChurn(t *testing.T) {
	l := asked(t)
	l.receive(2, joinFrame("239.200.0.1"))
	for i := range 20 {
		l.flood(1, i*500, 500)
		l.RemovePort(1)
	}
	l.wantPorts("239.200.0.1", 2)
	if n := l.Stats(); n.Groups != 1 || n.Memberships != 1 || l.joined[1] != 0 {
		t.Errorf("after all: %+v, %d of port 1", n, l.joined[1])
	}
	for range 20 {
		l.receive(1, joinFrame("239.200.0.1"))
		l.receive(1, leaveFrame("239.200.0.1"))
		l.run(time.Second)
	}
	if q := l.take(); len(q) > 20 {
		t.Errorf("%d queries in 20 s for one group", len(q))
	}
	l.wantPorts("239.200.0.1", 1, 2)
}
