package dataplane

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/memport"
	"github.com/weft/weft/snooping"
)

// igmp builds an IGMPv2 message (RFC 2236 clause 2) as a host sends it.
func igmp(src frame.MAC, kind byte, dst, group [4]byte) []byte {
	b := append([]byte{0x01, 0x00, 0x5e, dst[1] & 0x7f, dst[2], dst[3]}, src[:]...)
	b = append(b, 0x08, 0x00)
	ip := []byte{0x46, 0xc0, 0, 32, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 9, dst[0], dst[1], dst[2], dst[3], 0x94, 4, 0, 0}
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip, 0))
	m := []byte{kind, 0, 0, 0, group[0], group[1], group[2], group[3]}
	binary.BigEndian.PutUint16(m[2:], frame.Checksum(m, 0))
	return append(append(append(b, ip...), m...), make([]byte, 14)...)
}

// toGroup builds a UDP datagram to a group.
func toGroup(src frame.MAC, group [4]byte) []byte {
	b := append([]byte{0x01, 0x00, 0x5e, group[1] & 0x7f, group[2], group[3]}, src[:]...)
	b = append(b, 0x08, 0x00, 0x45, 0, 0, 28, 0, 0, 0, 0, 4, 17, 0, 0, 10, 0, 0, 1, group[0], group[1], group[2], group[3])
	binary.BigEndian.PutUint16(b[24:], frame.Checksum(b[14:34], 0))
	return append(b, make([]byte, 26)...)
}

var group1, group2 = [4]byte{239, 1, 2, 3}, [4]byte{239, 1, 2, 4}

const reportV2, leaveV2 = 0x16, 0x17

// TestListeners: traffic to a group goes to those who have joined it, once there
// was time to ask, and to all where nobody snoops.
func TestListeners(t *testing.T) {
	l := newLab(t)
	a, b, c := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll), l.station(l.net, "c", frame.CapAll)
	cfg := l.net.Config()
	cfg.Address = mac("net")
	cfg.Snooping = SnoopingConfig{Enabled: true, Querier: true, Interval: 10 * time.Second}
	l.sleep(0)
	l.net.Reconfigure(cfg, nil)
	f := toGroup(a.mac, group1)
	a.send(f)
	b.expect(f)
	c.expect(f)

	l.net.tick()
	if q := b.next(); snooping.Parse(parsed(q.Bytes)) != snooping.Querier {
		t.Fatalf("no query but % x", q.Bytes)
	}
	b.send(igmp(b.mac, reportV2, group1, group1))
	eventually(t, func() bool { return len(l.net.Listeners()) == 1 }, func() { t.Error("the report was not taken in") })
	if got := l.net.Listeners()[0]; got.Port != "b" || got.VLAN != 0 || got.Group.String() != "239.1.2.3" || got.Expires <= 0 {
		t.Errorf("listener %+v", got)
	}
	if l.net.Restricts() {
		t.Error("restricts before anybody could answer")
	}
	l.sleep(8 * time.Second)
	l.net.tick() // restricts from now on
	if !l.net.Restricts() {
		t.Error("does not restrict")
	}
	l.drain(a, b, c)
	a.send(f)
	b.expect(f)
	a.send(toGroup(a.mac, group2))
	a.drops(NoListener, 1)
	all := toGroup(a.mac, [4]byte{224, 0, 0, 251})
	a.send(all)
	b.expect(all)
	c.expect(all) // and nothing before it

	// A port that is new gets everything until its hosts were asked.
	d := l.station(l.net, "d", frame.CapAll)
	a.send(f)
	b.expect(f)
	d.expect(f)
	for range 2 {
		l.net.tick()
		l.sleep(8 * time.Second)
	}
	l.net.tick()
	b.send(igmp(b.mac, reportV2, group1, group1))
	b.settle(2)
	l.drain(a, b, c, d)
	a.send(f)
	b.expect(f)
	d.silent()

	b.send(igmp(b.mac, leaveV2, [4]byte{224, 0, 0, 2}, group1))
	b.settle(3)
	for range 5 {
		l.sleep(2 * time.Second)
		l.net.tick()
	}
	l.drain(a, b, c)
	a.send(f)
	a.drops(NoListener, 2)
	b.silent()
	cfg.Snooping.Enabled = false
	l.net.Reconfigure(cfg, nil)
	a.send(f)
	b.expect(f)
	c.expect(f)
	if l.net.Groups() != 0 || l.net.Listeners() != nil {
		t.Error("groups are known where nobody snoops")
	}
}

// sleep has the network's state machines believe that time has passed. From the
// first call on, only this moves their clock.
func (l *lab) sleep(d time.Duration) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	now := l.net.clock() + d
	l.net.clock = func() time.Duration { return now }
}

// drain throws away what has reached the stations.
func (l *lab) drain(list ...*station) {
	for _, s := range list {
		for ok := true; ok; {
			_, ok = s.io.Poll()
		}
	}
}

// An inbox takes so many messages and no more, and keeps little memory.
func TestInboxBounds(t *testing.T) {
	const most = 8
	b := newInbox(inboxSize{inboxReport, most, 2})
	for i := range 2 * most {
		p := &Port{}
		if got := b.put(p, wrap(make([]byte, frame.Headroom+60)), 0); got != (i < most) {
			t.Fatalf("message %d of different ports: taken %v", i, got)
		}
	}
	m := b.Poll()
	b.Done(m)
	if !b.put(&Port{}, wrap(make([]byte, frame.Headroom+keptLen)), 0) {
		t.Fatal("no room for a long frame")
	}
	for m = b.Poll(); m.long == nil; m = b.Poll() {
		b.Done(m)
	}
	b.Done(m)
	if m.long != nil || cap(m.mem) > keptLen || len(b.spare) != 0 {
		t.Error("a message keeps the memory of a long frame")
	}
	if !b.put(&Port{}, wrap(make([]byte, frame.Headroom+60)), 0) {
		t.Error("no room after a message was done")
	}
}

// The inbox Outside keeps memory for some long frames, and allocates for none of those
// that come one after another.
func TestInboxSpare(t *testing.T) {
	b := newInbox(inboxSize{inboxOutside, 2 * keptLong, 2 * keptLong})
	p, f := &Port{}, wrap(make([]byte, frame.Headroom+frame.MaxLen))
	var waiting []*Message
	for range 2 * keptLong {
		if !b.put(p, f, 0) {
			t.Fatal("no room")
		}
		waiting = append(waiting, b.Poll())
	}
	for _, m := range waiting {
		b.Done(m)
		if cap(m.mem) > keptLen || m.long != nil {
			t.Fatal("a message keeps the memory of a long frame")
		}
	}
	if len(b.spare) != keptLong {
		t.Errorf("memory for %d long frames is kept, want %d", len(b.spare), keptLong)
	}
	if n := testing.AllocsPerRun(100, func() {
		b.put(p, f, 0)
		b.Done(b.Poll())
	}); n != 0 {
		t.Errorf("%v allocations for a long frame", n)
	}
}

func parsed(b []byte) *frame.Frame {
	f := wrap(append(make([]byte, frame.Headroom), b...))
	f.PopTag()
	return f
}

// A malformed message is dropped, and changes nothing; so is one too many.
func TestBadGroupMessage(t *testing.T) {
	l := newLab(t)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	bad := igmp(a.mac, reportV2, group1, group1)
	bad[len(bad)-15]++ // the group, and so the checksum
	a.send(bad)
	b.expect(bad) // it is no switch's business
	cfg := l.net.Config()
	cfg.Snooping = SnoopingConfig{Enabled: true}
	l.net.Reconfigure(cfg, nil)
	a.send(bad)
	a.drops(BadGroupMessage, 1)
	b.silent()
	if l.net.Groups() != 0 {
		t.Error("a malformed report was taken in")
	}
	// The control side is busy: a port fills its share of the inbox, no more.
	l.net.mu.Lock()
	good := igmp(a.mac, reportV2, group1, group1)
	for range 50 {
		a.send(good)
	}
	eventually(t, func() bool { return a.port.counters.rxFrames.Load() == 52 }, func() { t.Error("frames are missing") })
	full := a.port.counters.drops[ServiceFull].Load()
	l.net.mu.Unlock()
	if full != 50-16 {
		t.Errorf("%d messages found no room, want %d", full, 50-16)
	}
	eventually(t, func() bool { return a.port.waiting[inboxReport].Load() == 0 }, func() { t.Error("messages still wait") })
	a.send(good)
	a.settle(53)
	if got := a.port.Stats().Drops[ServiceFull]; got != full {
		t.Errorf("%d messages found no room in an empty inbox", got-full)
	}
}

// Reports go to routers only, queries to all.
func TestReportsGoToRouters(t *testing.T) {
	l := newLab(t)
	a, b, c := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll), l.station(l.net, "c", frame.CapAll)
	cfg := l.net.Config()
	cfg.Snooping = SnoopingConfig{Enabled: true}
	l.net.Reconfigure(cfg, nil)
	query := igmp(c.mac, 0x11, [4]byte{224, 0, 0, 1}, [4]byte{})
	c.send(query)
	a.expect(query)
	b.expect(query)
	eventually(t, func() bool { return len(l.net.groups.Load().Routers(0, parsed(query))) > 0 }, func() { t.Error("no router known") })
	report := igmp(a.mac, reportV2, group1, group1)
	a.send(report)
	c.expect(report)
	b.silent()
	if eventually(t, func() bool { return l.net.Groups() == 1 }, func() { t.Error("the report was not taken in") }); len(l.net.Listeners()) != 1 {
		t.Errorf("listeners %+v", l.net.Listeners())
	}
	a.port.Detach()
	if n := l.net.Groups(); n != 0 {
		t.Errorf("%d groups after the link of the only listener went", n)
	}
	a.io = memport.New(frame.CapAll)
	a.port.Attach(a.io, 1500, func(error) {})
	c.port.Detach() // and no router is left
	a.send(report)
	a.drops(NoListener, 1)
}

// A listener whose port is reached by way of the uplink is heard of there.
func TestListenersBehindTheRelay(t *testing.T) {
	l := newPolicyLab(t, "vepa", "vepa", "uplink")
	cfg := l.net.Config()
	cfg.Address = mac("net")
	cfg.Snooping = SnoopingConfig{Enabled: true, Querier: true, Interval: 10 * time.Second}
	l.sleep(0)
	l.net.Reconfigure(cfg, nil)
	l.net.tick()
	l.send(l.b, igmp(l.b.mac, reportV2, group1, group1))
	eventually(t, func() bool { return l.net.Groups() == 1 }, func() { t.Error("the report was not taken in") })
	l.sleep(8 * time.Second)
	l.net.tick()
	l.drain(l.a, l.b, l.u)
	f := toGroup(l.a.mac, group1)
	l.send(l.a, f)
	if !l.u.receives(f) || l.b.receives(f) {
		t.Error("not by way of the uplink")
	}
	l.send(l.u, f)
	if !l.b.receives(f) || l.a.receives(f) {
		t.Error("what comes back does not reach the listener, and it alone")
	}
	l.send(l.a, toGroup(l.a.mac, group2))
	l.a.drops(NoListener, 1)
}

// A message of a port that has lost its link is of nobody.
func TestReportOfAGonePort(t *testing.T) {
	l := newLab(t)
	a := l.station(l.net, "a", frame.CapAll)
	cfg := l.net.Config()
	cfg.Snooping = SnoopingConfig{Enabled: true}
	l.net.Reconfigure(cfg, nil)
	a.port.Detach()
	l.net.receiveReport(&Message{port: a.port, Frame: *parsed(igmp(a.mac, reportV2, group1, group1))})
	if n := l.net.Groups(); n != 0 {
		t.Errorf("%d groups", n)
	}
	l.net.RemovePort("a")
	l.net.receiveReport(&Message{port: a.port, Frame: *parsed(igmp(a.mac, reportV2, group1, group1))})
	if got := l.net.Listeners(); len(got) != 0 {
		t.Errorf("listeners %+v", got)
	}
}

// Queries reach a port in the form of its VLAN, and the report counts there.
func TestListenersOfVLANs(t *testing.T) {
	l := newLab(t)
	cfg := l.net.Config()
	cfg.Snooping = SnoopingConfig{Enabled: true, Querier: true, Interval: 10 * time.Second}
	l.net.Reconfigure(cfg, nil)
	a := l.stationWith(l.net, "a", frame.CapAll, Policy{VLAN: access(10)})
	trunk := l.stationWith(l.net, "trunk", frame.CapAll, Policy{VLAN: vlans(0, [2]uint16{10, 10})})
	l.net.tick()
	for s, vid := range map[*station]uint16{a: 0, trunk: 10} {
		if q := parsed(s.next().Bytes); snooping.Parse(q) != snooping.Querier || q.Tag.VID() != vid {
			t.Errorf("%s was asked with tag %v: % x", s.port.name, q.Tag, q.Bytes())
		}
	}
	trunk.send(tagged(igmp(trunk.mac, reportV2, group1, group1), 10))
	eventually(t, func() bool { return len(l.net.Listeners()) == 1 }, func() { t.Error("the report was not taken in") })
	if got := l.net.Listeners()[0]; got.VLAN != 10 || got.Port != "trunk" {
		t.Errorf("listener %+v", got)
	}
}
