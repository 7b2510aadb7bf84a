package snooping

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// change returns a copy of a frame's bytes, altered.
func change(f *frame.Frame, alter func([]byte)) *frame.Frame {
	b := slices.Clone(f.Bytes())
	alter(b)
	return wrap(b)
}

func TestWhatIsFlooded(t *testing.T) {
	l := newLab(t, Config{Querier: true}, 0, 7)
	l.run(time.Minute)
	data4, data6 := dataFrame("239.1.2.3"), dataFrame("ff0e::1")
	for _, tt := range []struct {
		name     string
		f        *frame.Frame
		restrict bool
	}{
		{"group", data4, true},
		{"224.0.0.251", dataFrame("224.0.0.251"), false},
		{"224.0.1.1", dataFrame("224.0.1.1"), true},
		{"225.0.0.1", dataFrame("225.0.0.1"), true},
		{"IPv6 group", data6, true},
		{"ff00::1", dataFrame("ff00::1"), false},
		{"ff01::1", dataFrame("ff01::1"), false},
		{"ff02::fb", dataFrame("ff02::fb"), false},
		{"solicited node", dataFrame("ff02::1:ff00:1"), false},
		{"ff12::1", dataFrame("ff12::1"), false},
		{"ff03::1", dataFrame("ff03::1"), true},
		{"ff05::2", dataFrame("ff05::2"), true},
		{"broadcast", change(data4, func(b []byte) { copy(b, "\xff\xff\xff\xff\xff\xff") }), false},
		{"IPv4 to an IPv6 MAC", change(data4, func(b []byte) { b[0], b[1] = 0x33, 0x33 }), false},
		{"IPv6 to an IPv4 MAC", change(data6, func(b []byte) { copy(b, "\x01\x00\x5e") }), false},
		{"neither", change(data4, func(b []byte) { b[1] = 0x80 }), false},
		{"ARP", change(data4, func(b []byte) { b[13] = 6 }), false},
		{"bad version", change(data4, func(b []byte) { b[14] = 0x65 }), false},
		{"bad version 6", change(data6, func(b []byte) { b[14] = 0x45 }), false},
		{"IPv4 unicast inside", change(data4, func(b []byte) { b[30] = 10 }), false},
		{"IPv6 unicast inside", change(data6, func(b []byte) { b[38] = 0xfe }), false},
		{"runt", wrap(data4.Bytes()[:33]), false},
		{"IPv6 runt", wrap(data6.Bytes()[:53]), false},
		{"nothing", wrap(nil), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, vlan := range []uint16{0, 7} {
				if _, restrict := l.Table().Ports(vlan, tt.f); restrict != tt.restrict {
					t.Errorf("VLAN %d: restricted: %v, want %v", vlan, restrict, tt.restrict)
				}
			}
			for _, vlan := range []uint16{1, 6, 8, 4095, 4096, 65535} {
				if _, restrict := l.Table().Ports(vlan, tt.f); restrict {
					t.Errorf("VLAN %d: restricted, where nobody asks", vlan)
				}
			}
		})
	}
}

func TestNilTable(t *testing.T) {
	var tab *Table
	if set, restrict := tab.Ports(0, dataFrame("239.1.2.3")); set != nil || restrict {
		t.Error("a nil Table restricts")
	}
	if tab.Routers(0, dataFrame("239.1.2.3")) != nil || New(Config{}).Table().Routers(0, wrap(nil)) != nil {
		t.Error("a nil Table has routers")
	}
}

// TestSameMAC: 224.1.2.3 and 239.129.2.3 share 01:00:5e:01:02:03.
func TestSameMAC(t *testing.T) {
	l := asked(t)
	l.receive(3, joinFrame("224.1.2.3"))
	l.receive(4, joinFrame("239.129.2.3"))
	l.wantPorts("224.1.2.3", 3)
	l.wantPorts("239.129.2.3", 4)
	l.wantPorts("225.1.2.3")
}

func TestOutOfRange(t *testing.T) {
	l := asked(t)
	before := l.Table()
	l.receive(MaxPorts, joinFrame("239.1.2.3"))
	l.receive(1, joinFrame("239.1.2.3"), 4096)
	if l.Table() != before || l.Stats().Reports != 0 {
		t.Error("a port or VLAN out of range was taken in")
	}
	l.receive(MaxPorts-1, joinFrame("239.1.2.3"))
	l.wantPorts("239.1.2.3", MaxPorts-1)
}

func TestTableIsTheSameWhileNothingChanges(t *testing.T) {
	l := asked(t)
	l.receive(3, joinFrame("239.1.2.3"))
	l.receive(7, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125))
	before := l.Table()
	for range 20 {
		l.receive(3, joinFrame("239.1.2.3"))
		l.receive(7, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125))
		l.receive(9, joinFrame("224.0.0.251"))
		l.run(time.Second)
		if l.Table() != before {
			t.Fatal("a new Table though nothing has changed")
		}
	}
}

// TestTableIsImmutable keeps each Table beside what it said when it was new.
func TestTableIsImmutable(t *testing.T) {
	l := asked(t)
	type moment struct {
		table *Table
		said  string
	}
	groups := []string{"239.1.2.3", "239.1.2.4", "ff0e::1"}
	say := func(tab *Table) (s string) {
		for _, g := range groups {
			set, restrict := tab.Ports(0, dataFrame(g))
			s += fmt.Sprint(portsOf(set), restrict, portsOf(tab.Routers(0, dataFrame(g))), " ")
		}
		return s
	}
	var history []moment
	for i, step := range []func(){
		func() {},
		func() { l.receive(3, joinFrame(groups[0])) },
		func() { l.receive(4, joinFrame(groups[0])) },
		func() { l.receive(90, joinFrame(groups[2])) },
		func() { l.receive(5, queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125)) },
		func() { l.AddPort(8) },
		func() { l.RemovePort(3) },
		func() { l.RemovePort(5) },
		func() { l.run(300 * time.Second) },
		func() { l.Configure(Config{Address: ownMAC}) },
	} {
		step()
		m := moment{l.Table(), say(l.Table())}
		if i > 0 && m.said == history[i-1].said {
			t.Errorf("step %d changed nothing: %s", i, m.said)
		}
		history = append(history, m)
	}
	for i, m := range history {
		if got := say(m.table); got != m.said {
			t.Errorf("the Table of step %d said %s and says %s", i, m.said, got)
		}
	}
}

// TestHashSpreads: groups that differ in few bits must not share a shard.
func TestHashSpreads(t *testing.T) {
	for name, group := range map[string]func(i int) [16]byte{
		"last byte":  func(i int) [16]byte { return [16]byte{0: 0xff, 15: byte(i)} },
		"first byte": func(i int) [16]byte { return [16]byte{0: 0xff, 2: byte(i)} },
		"IPv4": func(i int) [16]byte {
			return [16]byte{10: 0xff, 11: 0xff, 12: 239, 13: byte(i), 14: 1, 15: 2}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHash()
			var load [shardCount]int
			for i := range 256 {
				k := key{group: group(i)}
				load[h.shard(&k)]++
			}
			if most := slices.Max(load[:]); most > 64 {
				t.Errorf("%d of 256 groups share a shard", most)
			}
		})
	}
}
