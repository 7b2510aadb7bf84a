package dataplane

import (
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

func TestSourceLock(t *testing.T) {
	l := newLab(t)
	a := l.stationWith(l.net, "a", frame.CapAll, Policy{Security: Security{Sources: []frame.MAC{mac("a"), mac("a2")}}})
	b := l.station(l.net, "b", frame.CapAll)
	for _, src := range []frame.MAC{mac("a"), mac("a2")} {
		f := ethernet(broadcast, src, "mine")
		a.send(f)
		b.expect(f)
	}
	a.send(ethernet(broadcast, b.mac, "forged"))
	a.drops(SourceDenied, 1)
	b.silent()
	for _, e := range l.net.FDB() {
		if e.MAC == b.mac {
			t.Errorf("a forged address was learned: %+v", e)
		}
	}
}

func TestMACLimit(t *testing.T) {
	l := newLab(t)
	a := l.stationWith(l.net, "a", frame.CapAll, Policy{Security: Security{MaxMACs: 2}})
	b := l.station(l.net, "b", frame.CapAll)
	for _, name := range []string{"a1", "a2", "a1"} {
		f := ethernet(broadcast, mac(name), name)
		a.send(f)
		b.expect(f)
	}
	a.send(ethernet(broadcast, mac("a3"), "one too many"))
	a.drops(MACLimit, 1)
	b.silent()
	// A higher limit holds at once, a lower one too.
	l.net.Reconfigure(l.net.Config(), map[string]Policy{"a": {Security: Security{MaxMACs: 3}}})
	f := ethernet(broadcast, mac("a3"), "room")
	a.send(f)
	b.expect(f)
	l.net.Reconfigure(l.net.Config(), map[string]Policy{"a": {Security: Security{MaxMACs: 1}}})
	if n := len(l.net.FDB()); n != 1 {
		t.Errorf("%d addresses after the limit was lowered to 1", n)
	}
}

func TestStickyMAC(t *testing.T) {
	l := newLab(t)
	a := l.stationWith(l.net, "a", frame.CapAll, Policy{Security: Security{MaxMACs: 1, Sticky: true}})
	b := l.station(l.net, "b", frame.CapAll)
	hello := ethernet(broadcast, a.mac, "hello")
	a.send(hello)
	b.expect(hello)
	b.send(ethernet(broadcast, a.mac, "stolen"))
	b.drops(StickyMAC, 1)
	a.silent()
	// The guest restarts, and its address is still its own.
	io := a.port
	io.Detach()
	b.send(ethernet(broadcast, a.mac, "stolen again"))
	b.drops(StickyMAC, 2)
	l.net.RemovePort("a")
	b.send(ethernet(broadcast, a.mac, "free now"))
	b.settle(3)
	if e := l.net.FDB(); len(e) != 1 || e[0].Port != "b" {
		t.Errorf("after the port was removed: %+v", e)
	}
}

// The choice about 01:80:c2:00:00:00-0f.
func TestReservedGroups(t *testing.T) {
	l := newLab(t)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	drops := uint64(0)
	for _, wire := range []bool{false, true, false} {
		cfg := l.net.Config()
		cfg.ForwardReserved = wire
		l.net.Reconfigure(cfg, nil)
		for last := range byte(16) {
			f := ethernet(frame.MAC{0x01, 0x80, 0xc2, 0, 0, last}, a.mac, "reserved")
			a.send(f)
			if wire {
				b.expect(f)
				continue
			}
			drops++
			a.drops(ReservedGroup, drops)
			b.silent()
		}
		beyond := ethernet(frame.MAC{0x01, 0x80, 0xc2, 0, 0, 0x10}, a.mac, "not reserved")
		a.send(beyond)
		b.expect(beyond)
	}
}
