package dataplane

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/ports"
	"github.com/weft/weft/ports/memport"
)

func TestFloodThenLearn(t *testing.T) {
	l := newLab(t)
	a, b, c := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll), l.station(l.net, "c", frame.CapAll)

	unknown := ethernet(b.mac, a.mac, "to an unknown address")
	a.send(unknown)
	b.expect(unknown)
	c.expect(unknown)
	a.silent()

	answer := ethernet(a.mac, b.mac, "answer")
	b.send(answer)
	a.expect(answer)
	known := ethernet(b.mac, a.mac, "now known")
	a.send(known)
	b.expect(known)
	c.silent()

	all := ethernet(broadcast, c.mac, "to all")
	c.send(all)
	a.expect(all)
	b.expect(all)
	c.silent()

	if got := a.port.Stats(); got.Rx.Frames != 2 || got.Tx.Frames != 2 ||
		got.Rx.Bytes != uint64(len(unknown)+len(known)) || len(got.Drops) != 0 {
		t.Errorf("counters of a: %+v", got)
	}
}

// Multicast must never be taken for a known destination, nor be lost.
func TestMulticastFloods(t *testing.T) {
	l := newLab(t)
	a, b, c := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll), l.station(l.net, "c", frame.CapAll)
	for _, dst := range []frame.MAC{{0x33, 0x33, 0, 0, 0, 1}, {0x01, 0x00, 0x5e, 0, 0, 0xfb}, {0x01, 0x80, 0xc2, 0, 0, 0x10}} {
		f := ethernet(dst, a.mac, "group")
		a.send(f)
		b.expect(f)
		c.expect(f)
	}
}

func TestMACMove(t *testing.T) {
	l := newLab(t)
	a, b, c := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll), l.station(l.net, "c", frame.CapAll)
	roaming := mac("roam")
	first := ethernet(broadcast, roaming, "at b")
	b.send(first)
	a.expect(first)
	c.expect(first)
	second := ethernet(broadcast, roaming, "at c")
	c.send(second)
	a.expect(second)
	b.expect(second)
	f := ethernet(roaming, a.mac, "follow")
	a.send(f)
	c.expect(f)
	b.silent()
	if got := l.net.FDBStats().Moved; got != 1 {
		t.Errorf("moves = %d, want 1", got)
	}
}

func TestVLANsLearnIndependently(t *testing.T) {
	l := newLab(t)
	a, b, c := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll), l.station(l.net, "c", frame.CapAll)
	b10 := tagged(ethernet(broadcast, b.mac, "in 10"), 10)
	b.send(b10)
	a.expect(b10)
	c.expect(b10)
	in10 := tagged(ethernet(b.mac, a.mac, "known in 10"), 10)
	a.send(in10)
	b.expect(in10)
	c.silent()
	in20 := tagged(ethernet(b.mac, a.mac, "unknown in 20"), 20)
	a.send(in20)
	b.expect(in20)
	c.expect(in20)
	qinq := tagged(tagged(ethernet(broadcast, a.mac, "two tags"), 7), 10)
	a.send(qinq)
	b.expect(qinq)
	c.expect(qinq)
}

func TestStaticEntry(t *testing.T) {
	l := newLab(t)
	a, b, c := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll), l.station(l.net, "c", frame.CapAll)
	pinned := mac("pin")
	if err := l.net.AddStatic(0, pinned, "b"); err != nil {
		t.Fatal(err)
	}
	claim := ethernet(broadcast, pinned, "I am here")
	c.send(claim)
	a.expect(claim)
	b.expect(claim)
	f := ethernet(pinned, a.mac, "to the pinned one")
	a.send(f)
	b.expect(f)
	c.silent()
	if err := l.net.AddStatic(0, pinned, "nobody"); err == nil {
		t.Error("a static entry for a port that is not there was accepted")
	}
	l.net.RemovePort("b")
	l.station(l.net, "d", frame.CapAll) // takes b's place in the tables
	for _, e := range l.net.FDB() {
		if e.MAC == pinned {
			t.Errorf("entry %+v outlives its port", e)
		}
	}
}

func TestNetworksAreSeparate(t *testing.T) {
	l := newLab(t)
	other := l.network("other", testConfig)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	x := l.station(other, "x", frame.CapAll)
	f := ethernet(broadcast, a.mac, "mine")
	a.send(f)
	b.expect(f)
	x.silent()
	if n := len(other.FDB()); n != 0 {
		t.Errorf("the other network learned %d addresses", n)
	}
}

func TestIngressDrops(t *testing.T) {
	long := make([]byte, 1501)
	tests := []struct {
		name    string
		bytes   []byte
		offload frame.Offload
		want    Verdict
	}{
		{"runt", make([]byte, 13), frame.Offload{}, Runt},
		{"empty", nil, frame.Offload{}, Runt},
		{"group source", ethernet(broadcast, frame.MAC{1}, ""), frame.Offload{}, BadSource},
		{"zero source", ethernet(broadcast, frame.MAC{}, ""), frame.Offload{}, BadSource},
		{"BPDU", ethernet(frame.MAC{0x01, 0x80, 0xc2}, mac("a"), ""), frame.Offload{}, ReservedGroup},
		{"LLDP", ethernet(frame.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0e}, mac("a"), ""), frame.Offload{}, ReservedGroup},
		{"oversized", ethernet(broadcast, mac("a"), string(long)), frame.Offload{}, Oversized},
		{"oversized, tagged", tagged(ethernet(broadcast, mac("a"), string(long)), 5), frame.Offload{}, Oversized},
		{"checksum beyond the end", ethernet(broadcast, mac("a"), "x"), frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 14, CsumOffset: 60}, BadOffload},
		{"super-frame of nothing", ethernet(broadcast, mac("a"), "x"), frame.Offload{GSOType: frame.GSOTCPv4, GSOSize: 1000}, BadOffload},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
			a.sendOffload(tt.bytes, tt.offload)
			a.drops(tt.want, 1)
			good := ethernet(broadcast, a.mac, "still forwarding")
			a.send(good)
			b.expect(good)
		})
	}
}

func TestLongestFrame(t *testing.T) {
	l := newLab(t)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	full := ethernet(broadcast, a.mac, string(make([]byte, 1500)))
	for _, f := range [][]byte{full, tagged(full, 5), tagged(tagged(full, 5), 6)} {
		a.send(f)
		b.expect(f)
	}
}

func TestDropsWithoutDestination(t *testing.T) {
	l := newLab(t)
	a := l.station(l.net, "a", frame.CapAll)
	a.send(ethernet(broadcast, a.mac, "anybody?"))
	a.drops(NoDestination, 1)
	a.send(ethernet(a.mac, mac("hub"), "to a neighbour behind the same port"))
	a.drops(SamePort, 1)
}

// A port that is down is no destination: a flood to it is not a loss.
func TestFloodPassesDownPortsOver(t *testing.T) {
	l := newLab(t)
	a, down := l.station(l.net, "a", frame.CapAll), l.station(l.net, "down", frame.CapAll)
	down.port.Detach()
	a.send(ethernet(broadcast, a.mac, "anybody?"))
	a.drops(NoDestination, 1)
	if got := down.port.Stats().Drops; len(got) != 0 {
		t.Errorf("drops at the port that is down: %v", got)
	}
}

// A frame that the kernel refuses is lost alone; the rest of the burst goes on.
func TestRefusedFrameIsLostAlone(t *testing.T) {
	l := newLab(t)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	b.port.Detach()
	picky := &refusing{Port: memport.New(frame.CapAll)}
	b.port.Attach(picky, 1500, func(error) {})
	a.port.Detach() // so that all three frames make one burst
	w := &worker{network: l.net, port: a.port}
	var burst []*frame.Frame
	for _, payload := range []string{"good", "bad", "good"} {
		f := &frame.Frame{}
		f.Set(ethernet(broadcast, a.mac, payload), 0)
		burst = append(burst, f)
	}
	w.burst(burst)
	if got := b.port.Stats(); got.Tx.Frames != 2 || got.Drops[EgressRefused] != 1 {
		t.Errorf("counters: %+v", got)
	}
}

// refusing is a port whose kernel does not like the payload "bad".
type refusing struct{ *memport.Port }

func (r *refusing) Send(frames []*frame.Frame) (int, error) {
	for i, f := range frames {
		if string(f.Bytes()[14:]) == "bad" {
			return i, ports.ErrRefused
		}
	}
	return len(frames), nil
}

func TestEgressMTU(t *testing.T) {
	l := newLab(t)
	a, b, c := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll), l.station(l.net, "c", frame.CapAll)
	b.port.SetMTU(1000)
	f := ethernet(broadcast, a.mac, string(make([]byte, 1200)))
	a.send(f)
	c.expect(f)
	b.drops(EgressOversized, 1)
	b.silent()
}

// A station that does not read loses its own frames and delays nobody.
func TestStuckPort(t *testing.T) {
	l := newLab(t)
	a, stuck, c := l.station(l.net, "a", frame.CapAll), l.station(l.net, "stuck", frame.CapAll), l.station(l.net, "c", frame.CapAll)
	const n = 5000
	for i := range n {
		f := ethernet(broadcast, a.mac, fmt.Sprint(i))
		a.send(f)
		c.expect(f)
	}
	got := stuck.port.Stats()
	if got.Tx.Frames+got.Drops[EgressFull] != n || got.Drops[EgressFull] == 0 {
		t.Errorf("of %d frames %d were sent and %d dropped", n, got.Tx.Frames, got.Drops[EgressFull])
	}
}

func TestDetachForgetsAndRecovers(t *testing.T) {
	l := newLab(t)
	a, b, c := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll), l.station(l.net, "c", frame.CapAll)
	hello := ethernet(broadcast, b.mac, "hello")
	b.send(hello)
	a.expect(hello)
	c.expect(hello)
	b.port.Detach()
	b.port.Detach() // again: nothing to do
	if n := len(l.net.FDB()); n != 0 {
		t.Errorf("%d entries left of a port that is down", n)
	}
	f := ethernet(b.mac, a.mac, "where are you?")
	a.send(f)
	c.expect(f) // flooded: the address is unknown again
	if err := l.net.AddStatic(0, b.mac, "b"); err != nil {
		t.Fatal(err)
	}
	a.send(f)
	b.drops(EgressDown, 1)

	again := newStationIO(l, b)
	a.send(f)
	again.expect(f)
	if got := again.port.Stats().Rx.Frames; got != 1 {
		t.Errorf("counters did not survive: rx = %d, want 1", got)
	}
}

func TestReconfigureLive(t *testing.T) {
	l := newLab(t)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	a.port.SetMTU(9000)
	b.port.SetMTU(9000)
	jumbo := ethernet(broadcast, a.mac, string(make([]byte, 9000)))
	a.send(jumbo)
	a.drops(Oversized, 1)
	cfg := testConfig
	cfg.MTU, cfg.FDB.Limit = 9000, 2
	l.net.Reconfigure(cfg, nil)
	a.send(jumbo)
	b.expect(jumbo)
	for i := range 50 {
		f := ethernet(broadcast, mac(fmt.Sprint(i)), "")
		a.send(f)
		b.expect(f)
	}
	if n := len(l.net.FDB()); n > 2 {
		t.Errorf("%d entries, limit 2", n)
	}
}

func TestFlush(t *testing.T) {
	l := newLab(t)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	for _, s := range []*station{a, b} {
		s.send(ethernet(broadcast, s.mac, ""))
	}
	a.next()
	b.next()
	if n, err := l.net.FlushFDB("a"); n != 1 || err != nil {
		t.Errorf("flush of a: %d, %v", n, err)
	}
	if got := l.net.FDB(); len(got) != 1 || got[0].Port != "b" || got[0].Kind != fdb.Dynamic {
		t.Errorf("after flush of a: %+v", got)
	}
	if n, err := l.net.FlushFDB(""); n != 1 || err != nil {
		t.Errorf("flush: %d, %v", n, err)
	}
	if _, err := l.net.FlushFDB("nobody"); err == nil {
		t.Error("flush of a missing port succeeded")
	}
}

func TestAgeing(t *testing.T) {
	l := newLab(t)
	n := l.network("short", NetworkConfig{MTU: 1500, FDB: fdb.Config{Limit: 100, Ageing: time.Second}})
	a, b := l.station(n, "a", frame.CapAll), l.station(n, "b", frame.CapAll)
	a.send(ethernet(broadcast, a.mac, ""))
	b.next()
	if len(n.FDB()) != 1 {
		t.Fatal("not learned")
	}
	eventually(t, func() bool { return len(n.FDB()) == 0 }, func() { t.Error("not aged") })
}
