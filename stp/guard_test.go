package stp

import (
	"testing"
	"time"
)

// alone returns a bridge of priority 0x8000 with one port, which is up.
func alone(c PortConfig) *Bridge {
	b := New(config(9))
	b.SetPort(1, c)
	b.Up(1)
	return b
}

func (b *Bridge) must(t *testing.T, bpdu []byte) Output {
	t.Helper()
	out, err := b.Receive(1, bpdu)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// check compares what can be seen of port 1.
func (b *Bridge) check(t *testing.T, role Role, state State, edge bool, inconsistent string) {
	t.Helper()
	s, _ := b.PortStatus(1)
	if s.Role != role || s.State != state || s.Edge != edge || s.Inconsistent != inconsistent {
		t.Errorf("%v %v edge=%v %q; want %v %v edge=%v %q",
			s.Role, s.State, s.Edge, s.Inconsistent, role, state, edge, inconsistent)
	}
}

func TestEdgeYes(t *testing.T) {
	b := New(config(9))
	b.SetPort(1, PortConfig{Edge: EdgeYes})
	out := b.Up(1)
	if len(out.Changed) != 1 || out.Changed[0] != (PortChange{1, Forwarding}) {
		t.Errorf("changed %v", out.Changed)
	}
	ms := next(t, out)
	if len(ms) != 1 || ms[0].flags != flagRoleDesignated|flagLearning|flagForwarding {
		t.Errorf("sent %+v", ms)
	}
	if s := b.Status(); s.TopologyChange || s.TopologyChanges != 0 {
		t.Errorf("a host changed the topology: %+v", s)
	}
	// A bridge turns up there: no edge any more, until the link goes.
	b.must(t, edit(t, 2, 5, 0xff, 17, 0xff))
	b.check(t, RoleDesignated, Forwarding, false, "")
	for range 60 {
		b.Tick()
	}
	b.check(t, RoleDesignated, Forwarding, false, "")
	b.Down(1)
	b.Up(1)
	b.check(t, RoleDesignated, Forwarding, true, "")
	b.must(t, edit(t, 2))
	b.check(t, RoleRoot, Forwarding, false, "")
}

func TestEdgeAuto(t *testing.T) {
	b := alone(PortConfig{})
	for second := range 3 {
		b.check(t, RoleDesignated, Discarding, false, "")
		if second == 2 {
			if out := b.Tick(); len(out.Changed) != 1 || out.Changed[0].State != Forwarding {
				t.Errorf("changed %v", out.Changed)
			}
			break
		}
		b.Tick()
	}
	b.check(t, RoleDesignated, Forwarding, true, "")
	if s := b.Status(); s.TopologyChanges != 0 {
		t.Errorf("a host changed the topology: %+v", s)
	}
	// Any BPDU, be it an inferior one, starts the 3 s again.
	b = alone(PortConfig{})
	b.Tick()
	b.Tick()
	b.must(t, edit(t, 2, 5, 0xff, 17, 0xff))
	b.Tick()
	b.Tick()
	b.check(t, RoleDesignated, Discarding, false, "")
	b.Tick()
	b.check(t, RoleDesignated, Forwarding, true, "")
}

// TestEdgeChangesLive has the setting work on a port that is up, where no
// bridge was heard.
func TestEdgeChangesLive(t *testing.T) {
	b := alone(PortConfig{Edge: EdgeNo})
	b.SetPort(1, PortConfig{Edge: EdgeYes})
	b.check(t, RoleDesignated, Forwarding, true, "")
	b.SetPort(1, PortConfig{Edge: EdgeNo})
	b.check(t, RoleDesignated, Forwarding, false, "")

	b = alone(PortConfig{Edge: EdgeNo})
	b.must(t, edit(t, 2, 5, 0xff, 17, 0xff))
	b.SetPort(1, PortConfig{Edge: EdgeYes})
	b.check(t, RoleDesignated, Discarding, false, "")
	b.SetPort(1, PortConfig{Edge: EdgeYes, Cost: 7})
	b.check(t, RoleDesignated, Discarding, false, "")
}

func TestBPDUGuard(t *testing.T) {
	guard := PortConfig{Edge: EdgeYes, BPDUGuard: true}
	b := alone(guard)
	if _, err := b.Receive(1, []byte{0, 0}); err == nil {
		t.Error("noise was a BPDU")
	}
	b.check(t, RoleDesignated, Forwarding, true, "")
	out := b.must(t, edit(t, 2, 5, 0xff, 17, 0xff)) // an inferior one does
	if len(out.BPDUs) != 0 || len(out.Changed) != 1 || out.Changed[0].State != Discarding || len(out.Flush) != 1 {
		t.Errorf("%+v", out)
	}
	b.check(t, RoleDisabled, Discarding, true, InconsistentBPDUGuard)
	for range 60 {
		if out := b.Tick(); len(out.BPDUs) != 0 || len(out.Changed) != 0 {
			t.Fatalf("%+v", out)
		}
	}
	b.must(t, edit(t, 2))
	b.SetPort(1, PortConfig{Edge: EdgeYes, BPDUGuard: true, Cost: 7})
	b.Up(1) // it is up
	b.check(t, RoleDisabled, Discarding, true, InconsistentBPDUGuard)
	if s, _ := b.PortStatus(1); s.Received != 1 || s.Malformed != 1 {
		t.Errorf("%+v", s)
	}

	b.Down(1)
	b.Up(1)
	b.check(t, RoleDesignated, Forwarding, true, "")
	b.must(t, unhex(t, golden[0].bytes)) // a TCN does, too
	b.check(t, RoleDisabled, Discarding, true, InconsistentBPDUGuard)
	if out := b.SetPort(1, PortConfig{Edge: EdgeYes}); len(out.BPDUs) != 1 {
		t.Errorf("%+v", out)
	}
	b.check(t, RoleDesignated, Forwarding, true, "")
}

func TestRootGuard(t *testing.T) {
	n := newNetwork(t)
	n.add()
	n.add()
	n.wire(end{1, 1}, end{0, 1})
	n.apply(1, n.bridges[1].SetPort(1, PortConfig{RootGuard: true}))
	n.plug(n.links[0])
	n.tick(60)
	n.expect(end{1, 1}, RoleAlternate, Discarding)
	n.bridges[1].check(t, RoleAlternate, Discarding, false, InconsistentRootGuard)
	if s := n.bridges[1].Status(); s.Root != s.Bridge || s.RootPort != 0 {
		t.Errorf("%+v", s)
	}
	// Without the guard it is the root port.
	n.apply(1, n.bridges[1].SetPort(1, PortConfig{}))
	n.calm()
	n.expect(end{1, 1}, RoleRoot, Forwarding)
	// The guard comes back, and the offending bridge leaves it at that.
	n.apply(1, n.bridges[1].SetPort(1, PortConfig{RootGuard: true}))
	n.calm()
	n.expect(end{1, 1}, RoleAlternate, Discarding)
	n.links[0].up = false
	n.tick(5)
	n.expect(end{1, 1}, RoleAlternate, Discarding)
	n.tick(1)
	n.bridges[1].check(t, RoleDesignated, Discarding, false, "")
	n.tick(3)
	n.bridges[1].check(t, RoleDesignated, Forwarding, true, "")
}

// TestRootGuardLetsOthersIn: an inferior bridge behind the guard is welcome.
func TestRootGuardLetsOthersIn(t *testing.T) {
	n := newNetwork(t)
	n.add()
	n.add()
	n.wire(end{0, 1}, end{1, 1})
	n.apply(0, n.bridges[0].SetPort(1, PortConfig{RootGuard: true}))
	n.plug(n.links[0])
	n.calm()
	n.checkTree()
	n.bridges[0].check(t, RoleDesignated, Forwarding, false, "")
}

// TestForgedEcho: who sends a port its own BPDUs stops that port, and no other.
func TestForgedEcho(t *testing.T) {
	b := alone(PortConfig{Edge: EdgeYes})
	b.SetPort(2, PortConfig{Edge: EdgeYes})
	b.Up(2)
	echo := golden[2].m
	echo.vector = vector{root: b.id, bridge: b.id, port: 1}
	b.must(t, echo.encode())
	b.check(t, RoleBackup, Discarding, false, InconsistentSelfLoop)
	if s, _ := b.PortStatus(2); s.State != Forwarding {
		t.Errorf("%+v", s)
	}
	// A better claim beside the echo makes a root port, which is not held.
	b.must(t, edit(t, 2))
	b.check(t, RoleRoot, Forwarding, false, "")
	b.must(t, echo.encode())
	b.check(t, RoleRoot, Forwarding, false, "")

	b = alone(PortConfig{})
	b.must(t, edit(t, 2))
	b.must(t, echo.encode())
	b.Configure(Config{Address: addr(9), ForwardDelay: 15 * time.Second})
	b.check(t, RoleDesignated, Discarding, false, "")
}

// TestForgedSelf: who speaks for another port of this bridge, and claims to know
// a better root, does not become the way to it.
func TestForgedSelf(t *testing.T) {
	b := alone(PortConfig{Edge: EdgeYes})
	forged := golden[2].m
	forged.vector = vector{root: 1, bridge: b.id, port: 9}
	b.must(t, forged.encode())
	b.check(t, RoleBackup, Discarding, false, "")
	if s := b.Status(); s.Root != s.Bridge {
		t.Errorf("%+v", s)
	}
}

// TestDispute is a link that works one way only: the neighbour does not hear that
// this port is better, and forwards. So this one must not (17.21.10).
func TestDispute(t *testing.T) {
	b := alone(PortConfig{Edge: EdgeNo})
	deaf := edit(t, 2, 4, flagRoleDesignated|flagLearning|flagForwarding, 5, 0xff, 17, 0xff)
	for range 30 {
		b.Tick()
	}
	b.check(t, RoleDesignated, Forwarding, false, "")
	for range 60 {
		b.must(t, deaf)
		b.check(t, RoleDesignated, Discarding, false, "")
		b.Tick()
		b.Tick()
	}
	for range 4 {
		b.Tick()
	}
	b.check(t, RoleDesignated, Forwarding, false, "")
	// What is held against a port ends with the link.
	b.must(t, deaf)
	b.must(t, deaf)
	b.Down(1)
	b.Up(1)
	for range 20 {
		b.check(t, RoleDesignated, Discarding, false, "")
		b.Tick()
	}
	b.check(t, RoleDesignated, Learning, false, "")
	b.Tick()
	b.Tick()
	deaf[4] = flagRoleDesignated // it hears: no reason to stop
	b.must(t, deaf)
	b.check(t, RoleDesignated, Forwarding, false, "")
}

// TestStaleAgreement: an answer to what this port said before it knew a better root
// does not open it.
func TestStaleAgreement(t *testing.T) {
	b := alone(PortConfig{Edge: EdgeNo})
	b.SetPort(2, PortConfig{Edge: EdgeNo})
	b.Up(2)
	agreement := message{kind: typeRST, flags: flagRoleRoot | flagAgreement, times: times{0, 20, 2, 15},
		vector: vector{root: b.id, cost: 2000, bridge: newBridgeID(0xf000, addr(77)), port: 1}}
	if _, err := b.Receive(2, edit(t, 2)); err != nil {
		t.Fatal(err)
	}
	b.must(t, agreement.encode())
	b.check(t, RoleDesignated, Discarding, false, "")
	agreement.vector.root, agreement.vector.cost = goldenVector.root, goldenVector.cost+4000
	b.must(t, agreement.encode())
	b.check(t, RoleDesignated, Forwarding, false, "")
}

// TestMadeRoot: the bridge that becomes the root by its configuration has its
// former root port ask before it forwards again.
func TestMadeRoot(t *testing.T) {
	n := newNetwork(t)
	n.add()
	n.add()
	n.connect(end{0, 1}, end{1, 1})
	n.calm()
	n.expect(end{1, 1}, RoleRoot, Forwarding)
	c := n.bridges[1].config
	c.Priority = 0
	n.apply(1, n.bridges[1].Configure(c))
	n.expect(end{1, 1}, RoleDesignated, Discarding)
	n.calm()
	n.expect(end{1, 1}, RoleDesignated, Forwarding)
	n.checkTree()
}

// TestDelayShortened: a port does not wait longer than the new delay says.
func TestDelayShortened(t *testing.T) {
	for _, c := range []struct {
		delay time.Duration
		ticks int
	}{{0, 0}, {2 * time.Second, 6}} {
		b := alone(PortConfig{Edge: EdgeNo})
		b.Tick()
		b.check(t, RoleDesignated, Discarding, false, "")
		b.Configure(Config{Address: addr(9), ForwardDelay: c.delay})
		for range c.ticks {
			b.check(t, RoleDesignated, max(Discarding, b.port(1).state()), false, "")
			b.Tick()
		}
		b.check(t, RoleDesignated, Forwarding, false, "")
	}
}
