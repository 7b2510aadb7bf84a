package stp

import (
	"slices"
	"testing"
	"time"
)

// trunk is three bridges in a row, at rest for long enough that no topology
// change is under way. Port 1 leads down the row, port 2 up, port 3 to a host.
func trunk(t *testing.T, change ...func(*Config)) *network {
	n := newNetwork(t)
	for range 3 {
		n.add(change...)
	}
	n.connect(end{0, 1}, end{1, 2})
	n.connect(end{1, 1}, end{2, 2})
	for i, b := range n.bridges {
		n.apply(i, b.SetPort(3, PortConfig{Edge: EdgeYes}))
		n.apply(i, b.Up(3))
	}
	n.tick(120)
	n.checkTree()
	clear(n.flushed)
	return n
}

// TestChangeSpreads: a new link at one end of the row makes each port flush that is
// not the one where the news came from, and not an edge.
func TestChangeSpreads(t *testing.T) {
	n := trunk(t)
	before := n.bridges[0].Status()
	n.add()
	n.connect(end{2, 1}, end{3, 1})
	n.calm()
	n.checkTree()
	for _, e := range []end{{2, 2}, {1, 2}} {
		if n.flushed[e] == 0 {
			t.Errorf("port %v did not flush", e)
		}
	}
	for e := range n.flushed {
		if e.port == 3 || e == (end{0, 1}) || e == (end{1, 1}) {
			t.Errorf("port %v flushed", e)
		}
	}
	s := n.bridges[0].Status()
	if s.TopologyChange {
		t.Errorf("nothing to tell, but %+v", s) // its one port heard it
	}
	if s := n.bridges[1].Status(); !s.TopologyChange || s.TopologyChanges == 0 || s.SinceChange != 0 {
		t.Errorf("%+v", s)
	}
	n.tick(3)
	s = n.bridges[1].Status()
	if s.TopologyChange || s.SinceChange != time.Second {
		t.Errorf("after hello and a second: %+v", s)
	}
	if before.SinceChange < 90*time.Second {
		t.Errorf("the row was not at rest: %+v", before)
	}
}

// TestChangeSpreadsSTP is the same in the language of 1998: notifications up to
// the root, acknowledged, and the flag from there for as long as MaxAge and
// ForwardDelay together.
func TestChangeSpreadsSTP(t *testing.T) {
	n := trunk(t, forceSTP)
	root, leaf := n.bridges[0], n.bridges[2]
	changes := root.Status().TopologyChanges
	n.apply(2, leaf.SetPort(1, PortConfig{Edge: EdgeNo}))
	n.apply(2, leaf.Up(1))
	n.tick(36)
	if p, _ := leaf.PortStatus(1); p.State != Forwarding {
		t.Fatalf("%+v", p)
	}
	n.tick(6) // a hello for each bridge on the way
	if s := root.Status(); !s.TopologyChange || s.TopologyChanges != changes+1 {
		t.Fatalf("%+v", s)
	}
	if n.flushed[end{1, 2}] == 0 || n.flushed[end{2, 2}] == 0 {
		t.Errorf("flushed %v", n.flushed)
	}
	n.tick(40)
	if s := root.Status(); s.TopologyChange {
		t.Errorf("%+v", s)
	}
}

// TestEdgeIsNotFlushed: neither where the port was an edge all the time, nor where it
// became one, nor for what it missed as one.
func TestEdgeIsNotFlushed(t *testing.T) {
	for _, edge := range []Edge{EdgeYes, EdgeAuto} {
		b := New(Config{Address: addr(9), Priority: DefaultPriority}) // forwards before it knows
		for _, id := range []PortID{1, 2} {
			b.SetPort(id, PortConfig{Edge: EdgeNo})
			b.Up(id)
		}
		b.SetPort(3, PortConfig{Edge: edge})
		b.Up(3)
		for range 5 {
			b.Tick()
		}
		out := b.must(t, edit(t, 2, 4, flagRoleDesignated|flagTC))
		out2 := b.must(t, edit(t, 2, 4, flagRoleDesignated|flagTC))
		if !slices.Equal(append(out.Flush, out2.Flush...), []PortID{2, 2}) {
			t.Errorf("flushed %v and %v", out.Flush, out2.Flush)
		}
		out, err := b.Receive(3, edit(t, 2, 5, 0xff, 17, 0xff))
		if err != nil || slices.Contains(out.Flush, 3) || len(out.Flush) == 0 {
			t.Errorf("a bridge at port 3: flushed %v, %v", out.Flush, err)
		}
	}
}

// TestAcknowledge: a TCN is answered, once, and the answer ends the notifications.
func TestAcknowledge(t *testing.T) {
	b := New(Config{Address: addr(9), Priority: DefaultPriority, ForceSTP: true})
	b.SetPort(1, PortConfig{Edge: EdgeNo})
	b.Up(1)
	b.must(t, unhex(t, golden[0].bytes))
	var acks []bool
	for range 8 {
		for _, m := range next(t, b.Tick()) {
			acks = append(acks, m.has(flagTCAck))
		}
	}
	if !slices.Equal(acks, []bool{true, false, false, false}) {
		t.Errorf("acknowledged: %v", acks)
	}

	b.must(t, edit(t, 1, 4, 0)) // now there is a root, and a change to tell it of
	b.SetPort(2, PortConfig{Edge: EdgeNo})
	b.Up(2)
	tcns := func() (k int) {
		for _, m := range next(t, b.Tick()) {
			if m.kind == typeTCN {
				k++
			}
		}
		b.must(t, edit(t, 1, 4, 0))
		return k
	}
	for range 8 {
		if k := tcns(); k > 1 {
			t.Errorf("%d TCNs in a second", k)
		}
	}
	if k := tcns() + tcns(); k != 1 {
		t.Errorf("%d TCNs in a hello time", k)
	}
	b.must(t, edit(t, 1, 4, flagTCAck))
	if k := tcns() + tcns() + tcns(); k != 0 {
		t.Errorf("%d TCNs after the acknowledgement", k)
	}
}

// TestAgreementIsNoTCN: an STP root port has something to say only if the topology
// changed.
func TestAgreementIsNoTCN(t *testing.T) {
	b := New(config(9))
	b.SetPort(1, PortConfig{Edge: EdgeNo})
	b.Up(1)
	for range 5 {
		b.Tick()
		b.must(t, edit(t, 1, 4, 0))
	}
	if v, _ := b.PortStatus(1); v.Version != "stp" || v.Role != RoleRoot {
		t.Fatalf("%+v", v)
	}
	b.port(1).tcWhile = 0
	if ms := next(t, b.must(t, edit(t, 1, 4, 0, 16, 0x21))); len(ms) != 0 {
		t.Errorf("sent %+v", ms)
	}
}

// TestHoldCount: however often a port has to say something, it is 6 times at
// once and then once in a second (17.13.12). The last word is the right one.
func TestHoldCount(t *testing.T) {
	b := alone(PortConfig{Edge: EdgeNo})
	sent := 1 // by Up
	for i := range 100 {
		out := b.SetPort(1, PortConfig{Edge: EdgeNo, Priority: uint8(16 * (i % 2))})
		sent += len(out.BPDUs)
	}
	if sent != txHoldCount {
		t.Errorf("sent %d", sent)
	}
	ms := next(t, b.Tick())
	if len(ms) != 1 || ms[0].vector.port != 0x1001 {
		t.Errorf("a second later: %+v", ms)
	}
	if s, _ := b.PortStatus(1); s.Sent != txHoldCount+1 {
		t.Errorf("counted %d", s.Sent)
	}
	b.Down(1)
	if out := b.Up(1); len(out.BPDUs) != 1 { // a new link, a new count
		t.Errorf("sent %v", out.BPDUs)
	}
}

func TestHello(t *testing.T) {
	b := New(Config{Address: addr(9), ForwardDelay: 15 * time.Second, Hello: 3 * time.Second})
	b.SetPort(1, PortConfig{Edge: EdgeYes})
	b.Up(1)
	for second := 1; second <= 30; second++ {
		ms := next(t, b.Tick())
		if want := second%3 == 0; len(ms) > 1 || (len(ms) == 1) != want {
			t.Fatalf("in second %d: %+v", second, ms)
		}
	}
}

// TestQuietNetwork: nothing changes, nothing is flushed, and who is not
// designated is silent.
func TestQuietNetwork(t *testing.T) {
	n := newNetwork(t)
	for range 4 {
		n.add()
	}
	ring(n)
	n.tick(60)
	clear(n.flushed)
	for range 20 {
		for i, b := range n.bridges {
			out := b.Tick()
			if len(out.Changed) > 0 || len(out.Flush) > 0 {
				t.Fatalf("bridge %d: %+v", i, out)
			}
			for _, m := range out.BPDUs {
				if p, _ := b.PortStatus(m.Port); p.Role != RoleDesignated {
					t.Fatalf("a %v port of bridge %d sent % x", p.Role, i, m.Data)
				}
			}
			n.apply(i, out)
		}
		n.calm()
	}
	n.checkTree()
}

// TestRemovePort: it is Discarding in the end, and what it knew goes with it.
func TestRemovePort(t *testing.T) {
	n := trunk(t)
	b := n.bridges[1]
	out := b.RemovePort(2)
	if len(out.Changed) != 1 || out.Changed[0] != (PortChange{2, Discarding}) || slices.Contains(out.Flush, 2) {
		t.Errorf("%+v", out)
	}
	if _, ok := b.PortStatus(2); ok {
		t.Error("the port is still there")
	}
	if s := b.Status(); s.Root != s.Bridge || s.RootPort != 0 {
		t.Errorf("%+v", s)
	}
	for _, m := range b.Tick().BPDUs {
		if m.Port == 2 {
			t.Errorf("it sent % x", m.Data)
		}
	}
	if out := b.Up(2); out.BPDUs != nil {
		t.Errorf("it came up: %+v", out)
	}
}

func TestCounters(t *testing.T) {
	b := alone(PortConfig{Cost: 77})
	b.must(t, edit(t, 2))
	b.must(t, edit(t, 0))
	b.Receive(1, []byte{9})
	s, ok := b.PortStatus(1)
	if !ok || !s.Up || s.Cost != 77 || s.Received != 2 || s.Malformed != 1 || s.Sent == 0 {
		t.Errorf("%+v, %v", s, ok)
	}
	if s.DesignatedBridge != goldenVector.bridge || s.DesignatedPort != goldenVector.port || s.DesignatedCost != goldenVector.cost {
		t.Errorf("%+v", s)
	}
}

// TestQuietPathAllocatesNothing: a hello that says nothing new, and noise.
func TestQuietPathAllocatesNothing(t *testing.T) {
	b := alone(PortConfig{Edge: EdgeNo})
	hello, noise := edit(t, 2, 4, flagRoleDesignated), []byte{1, 2, 3, 4}
	b.must(t, hello)
	if n := testing.AllocsPerRun(100, func() {
		b.Receive(1, hello)
		b.Receive(1, noise)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
