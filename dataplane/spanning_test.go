package dataplane

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/stp"
)

// treeLab is two networks with a spanning tree each, joined by two wires, and a
// host at each.
type treeLab struct {
	*lab
	t     *testing.T
	nets  [2]*Network
	ends  [2][2]*station // by wire and network
	hosts [2]*station
}

var treeConfig = STPConfig{Enabled: true, Priority: 0x8000, Hello: 2 * time.Second, MaxAge: 20 * time.Second, ForwardDelay: 15 * time.Second}

func newTreeLab(t *testing.T) *treeLab {
	l := &treeLab{lab: newLab(t), t: t}
	for i := range l.nets {
		cfg := testConfig
		cfg.Address, cfg.STP = mac(fmt.Sprint("net", i)), treeConfig
		l.nets[i] = l.network(fmt.Sprint("net", i), cfg)
		l.hosts[i] = l.stationWith(l.nets[i], fmt.Sprint("host", i), frame.CapAll, Policy{STP: stp.PortConfig{Edge: stp.EdgeYes}})
	}
	for w := range l.ends {
		l.plug(w)
	}
	return l
}

// plug joins the networks by wire w, which has no frames of its own.
func (l *treeLab) plug(w int) {
	for i, n := range l.nets {
		l.ends[w][i] = l.station(n, fmt.Sprint("wire", w), frame.CapAll)
	}
	pump := func(from, to *station) {
		for {
			f, ok := from.io.Next()
			if !ok {
				return
			}
			to.io.Inject(f)
		}
	}
	go pump(l.ends[w][0], l.ends[w][1])
	go pump(l.ends[w][1], l.ends[w][0])
}

// states returns the states of the ends of wire w.
func (l *treeLab) states(w int) [2]stp.State {
	var s [2]stp.State
	for i, end := range l.ends[w] {
		st, ok := end.port.STP()
		if !ok {
			l.t.Fatal("a port without a spanning tree")
		}
		s[i] = st.State
	}
	return s
}

// open reports whether wire w carries frames.
func (l *treeLab) open(w int) bool {
	return l.states(w) == [2]stp.State{stp.Forwarding, stp.Forwarding}
}

func (l *treeLab) eventuallyOpen(w int, want bool) {
	l.t.Helper()
	eventually(l.t, func() bool { return l.open(w) == want }, func() {
		l.t.Errorf("wire %d: %v, want forwarding %v", w, l.states(w), want)
	})
}

// once sends a broadcast and fails unless the other host gets it once.
func (l *treeLab) once(what string) {
	l.t.Helper()
	f := ethernet(broadcast, l.hosts[0].mac, what)
	l.hosts[0].send(f)
	l.expect(l.hosts[1], f)
	// A copy would be on the heels of what comes next.
	answer := ethernet(l.hosts[0].mac, l.hosts[1].mac, what+", answered")
	l.hosts[1].send(answer)
	l.expect(l.hosts[0], answer)
	for got, ok := l.hosts[1].io.Poll(); ok; got, ok = l.hosts[1].io.Poll() {
		if string(got.Bytes) == string(f) {
			l.t.Errorf("%s: received twice", what)
		}
	}
}

// expect waits for a frame among the BPDUs that a host gets too.
func (l *treeLab) expect(host *station, want []byte) {
	l.t.Helper()
	for {
		got := host.next()
		if !parsed(got.Bytes).Dst().IsLinkLocalGroup() {
			if string(got.Bytes) != string(want) {
				l.t.Fatalf("%s received\n% x, want\n% x", host.mac, got.Bytes, want)
			}
			return
		}
	}
}

func TestSpanningTreeCutsALoop(t *testing.T) {
	l := newTreeLab(t)
	l.eventuallyOpen(0, true)
	eventually(t, func() bool { return l.states(1) == [2]stp.State{stp.Forwarding, stp.Discarding} }, func() {
		t.Errorf("wire 1: %v", l.states(1)) // net0 is the root, so the far end blocks
	})
	l.once("through the loop")
	blocked := l.ends[1][1]
	blocked.drops(STPBlocked, 1) // the broadcast, sent by the other end
	blocked.send(ethernet(broadcast, mac("x"), "into a blocked port"))
	blocked.drops(STPBlocked, 2)
	for _, e := range slices.Concat(l.nets[0].FDB(), l.nets[1].FDB()) {
		if e.MAC == mac("x") {
			t.Errorf("learned at a blocked port: %+v", e)
		}
	}
	for i, n := range l.nets {
		st, ok := n.STP()
		if !ok || st.Root.Address() != mac("net0") || (i == 0) != (st.RootPort == 0) || n.PortOfTree(st.RootPort) != []string{"", "wire0"}[i] {
			t.Errorf("network %d: %v %+v", i, ok, st)
		}
	}

	// The wire in use breaks: what was learned there is forgotten, the other
	// one takes over without a tick of the clock.
	l.nets[0].RemovePort("wire0")
	l.ends[0][1].port.Detach()
	l.eventuallyOpen(1, true)
	l.once("by the other wire")
	unicast := ethernet(l.hosts[1].mac, l.hosts[0].mac, "learned anew")
	l.hosts[0].send(unicast)
	l.expect(l.hosts[1], unicast)
}

// Switched off while it runs, the tree blocks nothing; switched on, it begins.
func TestSpanningTreeSwitch(t *testing.T) {
	l := newTreeLab(t)
	l.nets[0].RemovePort("wire1")
	l.eventuallyOpen(0, true)
	for _, n := range l.nets {
		cfg := n.Config()
		cfg.STP.Enabled = false
		n.Reconfigure(cfg, nil)
		if _, ok := n.STP(); ok {
			t.Error("a spanning tree that was switched off has a state")
		}
	}
	if _, ok := l.ends[0][0].port.STP(); ok {
		t.Error("so has a port")
	}
	l.once("without a tree")
	bpdu := stp.AppendFrame(nil, mac("x"), []byte{0, 0, 0, 0})
	l.hosts[0].send(bpdu)
	l.hosts[0].drops(ReservedGroup, 1)
	for _, n := range l.nets {
		cfg := n.Config()
		cfg.STP.Enabled = true
		n.Reconfigure(cfg, nil)
	}
	l.eventuallyOpen(0, true)
	l.once("with a tree again")
}

// The settings of the network and of a port reach the tree while it runs.
func TestSpanningTreeReconfigure(t *testing.T) {
	l := newTreeLab(t)
	l.eventuallyOpen(0, true)
	cfg := l.nets[1].Config()
	cfg.STP.Priority = 0
	l.nets[1].Reconfigure(cfg, map[string]Policy{"wire0": {STP: stp.PortConfig{Priority: 240, Cost: 7}}})
	eventually(t, func() bool {
		st, _ := l.nets[0].STP()
		return st.Root.Address() == mac("net1") && l.nets[0].PortOfTree(st.RootPort) == "wire1"
	}, func() { st, _ := l.nets[0].STP(); t.Errorf("%+v", st) })
	l.eventuallyOpen(1, true)
	l.eventuallyOpen(0, false)
	l.once("with another root")
	if st, _ := l.ends[0][1].port.STP(); st.Cost != 7 {
		t.Errorf("cost %d, want 7", st.Cost)
	}
}

// A BPDU shuts a guarded port; one that is no BPDU does nothing but count.
func TestBPDUs(t *testing.T) {
	l := newTreeLab(t)
	l.nets[0].RemovePort("wire1")
	l.eventuallyOpen(0, true)
	host, group := l.hosts[0], stp.GroupAddress()
	for i, bad := range [][]byte{
		stp.AppendFrame(nil, host.mac, []byte{0, 0, 9, 0}),
		append(append(group[:], host.mac[:]...), 0, 3, 0x42, 0x42, 4),
		ethernet(group, host.mac, "no BPDU at all"),
	} {
		host.send(bad)
		host.drops(BadBPDU, uint64(i+1))
	}
	if st, _ := host.port.STP(); st.State != stp.Forwarding {
		t.Errorf("malformed BPDUs have changed the port: %+v", st)
	}
	// With a tag it is none, not even where such frames pass: it could lose the
	// tag on its way.
	for i, wire := range []bool{false, true} {
		cfg := l.nets[0].Config()
		cfg.ForwardReserved = wire
		l.nets[0].Reconfigure(cfg, nil)
		host.send(tagged(stp.AppendFrame(nil, host.mac, []byte{0, 0, 0, 0}), 0))
		host.drops(ReservedGroup, uint64(i+1))
	}

	l.nets[0].Reconfigure(l.nets[0].Config(), map[string]Policy{"host0": {STP: stp.PortConfig{Edge: stp.EdgeYes, BPDUGuard: true}}})
	l.once("a guard alone")
	topologyChange := []byte{0, 0, 0, 0x80}
	host.send(stp.AppendFrame(nil, host.mac, topologyChange))
	eventually(t, func() bool { st, _ := host.port.STP(); return st.Inconsistent == stp.InconsistentBPDUGuard }, func() { t.Error("the guard sleeps") })
	f := ethernet(broadcast, host.mac, "from a shut port")
	host.send(f)
	host.drops(STPBlocked, 1)
	l.nets[0].Reconfigure(l.nets[0].Config(), map[string]Policy{"host0": {STP: stp.PortConfig{Edge: stp.EdgeYes}}})
	l.once("open again")
}

// Learning, a port learns and forwards nothing. Forwarding a delay later, it has
// been told of nothing twice.
func TestSpanningTreeLearns(t *testing.T) {
	l := newLab(t)
	cfg := testConfig
	cfg.Address, cfg.STP = mac("net"), treeConfig
	n := l.network("tree", cfg)
	a := l.stationWith(n, "a", frame.CapAll, Policy{STP: stp.PortConfig{Edge: stp.EdgeNo}})
	b := l.stationWith(n, "b", frame.CapAll, Policy{STP: stp.PortConfig{Edge: stp.EdgeYes}})
	state := func() stp.State { return treeState(a) }
	f := ethernet(broadcast, a.mac, "hello")
	a.send(f)
	a.drops(STPBlocked, 1)
	if state() != stp.Discarding || len(n.FDB()) != 0 {
		t.Fatalf("%v, FDB %+v", state(), n.FDB())
	}
	for range 100 {
		if n.tick(); state() == stp.Learning {
			break
		}
	}
	a.send(f)
	a.drops(STPBlocked, 2)
	if state() != stp.Learning || len(n.FDB()) != 1 {
		t.Fatalf("%v, FDB %+v", state(), n.FDB())
	}
	l.drain(b)
	for range 100 {
		if n.tick(); state() == stp.Forwarding {
			break
		}
	}
	l.drain(b)
	a.send(f)
	b.expect(f)
}

func treeState(s *station) stp.State {
	st, _ := s.port.STP()
	return st.State
}

// A guest's flood of BPDUs costs no more than so many of them.
func TestBPDUFlood(t *testing.T) {
	l := newTreeLab(t)
	host := l.hosts[0]
	for range 20 * bpduRate {
		host.send(stp.AppendFrame(nil, host.mac, []byte{0, 0, 0, 0x80}))
	}
	eventually(t, func() bool { return host.port.counters.rxFrames.Load() == 20*bpduRate }, func() { t.Error("frames are missing") })
	if n := host.port.Stats().Drops[ServiceFull]; n < 10*bpduRate { // a slow machine earns more
		t.Errorf("%d of %d dropped", n, 20*bpduRate)
	}
}
