package snooping

import (
	"reflect"
	"testing"
	"time"
)

// What workers call for each frame to a group must not allocate.
func TestNoAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	l := asked(t)
	for _, group := range bothFamilies {
		l.receive(3, joinFrame(group))
	}
	tab := l.Table()
	for name, f := range hotFrames() {
		if n := testing.AllocsPerRun(1000, func() { Parse(f) }); n != 0 {
			t.Errorf("Parse, %s: %v allocations", name, n)
		}
		if n := testing.AllocsPerRun(1000, func() { tab.Ports(0, f); tab.Routers(0, f) }); n != 0 {
			t.Errorf("Ports, %s: %v allocations", name, n)
		}
	}
}

// TestOneChangeCopiesLittle: a flood of joins to new groups must not have the
// whole Table copied for each.
func TestOneChangeCopiesLittle(t *testing.T) {
	l := asked(t)
	for p := range uint16(3) {
		l.flood(p, int(p)*MaxPortGroups, MaxPortGroups)
	}
	before := l.Table()
	l.receive(9, joinFrame("239.200.0.1"))
	after := l.Table()
	copied := 0
	for i := range shardCount {
		if reflect.ValueOf(before.shards[i]).Pointer() != reflect.ValueOf(after.shards[i]).Pointer() {
			copied += len(after.shards[i])
		}
	}
	if copied == 0 || copied > MaxGroups/16 {
		t.Errorf("%d of %d groups were copied for one", copied, MaxGroups)
	}
}

func BenchmarkPorts(b *testing.B) {
	s := New(Config{Querier: true, Address: ownMAC})
	s.SetVLANs([]uint16{0})
	s.Tick(1)
	s.Receive(3, 0, joinFrame("239.1.2.3"), 1)
	s.Tick(time.Minute)
	tab := s.Table()
	for name, f := range hotFrames() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if Parse(f) == None {
					tab.Ports(0, f)
				}
			}
		})
	}
}
