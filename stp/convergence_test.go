package stp

import (
	"testing"
	"time"
)

// TestTwoBridges is the handshake of 17.10 message by message: both propose, the
// worse bridge agrees, both ends forward.
func TestTwoBridges(t *testing.T) {
	n := newNetwork(t)
	n.add()
	n.add()
	l := n.connect(end{0, 1}, end{1, 1})
	for side, queue := range l.queue {
		if m, ok := decode(queue[0]); !ok || len(queue) != 1 || m.flags != flagProposal|flagRoleDesignated {
			t.Errorf("towards %d: %d BPDUs, flags %#x", side, len(queue), m.flags)
		}
	}
	n.calm()
	n.expect(end{0, 1}, RoleDesignated, Forwarding)
	n.expect(end{1, 1}, RoleRoot, Forwarding)
	n.checkTree()
	s := n.bridges[1].Status()
	if s.Bridge != newBridgeID(0x8000, addr(1)) || s.Root != newBridgeID(0x8000, addr(0)) || s.RootCost != DefaultCost || s.RootPort != 1 {
		t.Errorf("%+v", s)
	}
	if s := n.bridges[0].Status(); s.Root != s.Bridge || s.RootCost != 0 || s.RootPort != 0 {
		t.Errorf("%+v", s)
	}
}

// TestLateNeighbour has the first proposal of the root lost, because the other
// end was not up yet. The other end hears at once who is the root.
func TestLateNeighbour(t *testing.T) {
	n := newNetwork(t)
	n.add()
	n.add()
	l := n.wire(end{0, 1}, end{1, 1})
	n.apply(0, n.bridges[0].Up(1)) // l.up is false: nothing gets through
	l.up = true
	n.apply(1, n.bridges[1].Up(1))
	n.calm()
	n.expect(end{1, 1}, RoleRoot, Forwarding)
	n.checkTree()
}

// ring connects bridge i by port 1 to port 2 of the next one.
func ring(n *network) {
	for i := range n.bridges {
		n.connect(end{i, 1}, end{(i + 1) % len(n.bridges), 2})
		n.calm()
	}
}

func TestRingWithoutTick(t *testing.T) {
	for _, size := range []int{3, 4, 5, 8} {
		n := newNetwork(t)
		n.always = noLoop
		for range size {
			n.add()
		}
		ring(n)
		n.checkTree()
		n.checkCosts()
		if size == 4 { // both ways to bridge 2 cost the same; that by 1 wins
			n.expectBlocked(end{2, 1})
		}
	}
}

// TestFailoverWithoutTick cuts each link of a ring in turn; the blocked one
// takes over from the messages alone.
func TestFailoverWithoutTick(t *testing.T) {
	for cut := range 5 {
		n := newNetwork(t)
		for range 5 {
			n.add()
		}
		ring(n)
		n.tick(5)
		n.unplug(n.links[cut])
		n.calm()
		n.checkTree()
		n.tick(60)
		n.plug(n.links[cut])
		n.calm()
		n.checkTree()
	}
}

// TestRootPortFails has the bridge itself switch over: in one call.
func TestRootPortFails(t *testing.T) {
	n := newNetwork(t)
	for range 3 {
		n.add()
	}
	ring(n)
	n.expect(end{2, 1}, RoleRoot, Forwarding)
	n.expect(end{2, 2}, RoleAlternate, Discarding)
	n.apply(2, n.bridges[2].Down(1))
	n.expect(end{2, 1}, RoleDisabled, Discarding)
	n.expect(end{2, 2}, RoleRoot, Forwarding)
}

// TestRootDies takes the root away where everybody has an alternative to it.
func TestRootDies(t *testing.T) {
	n := newNetwork(t)
	for range 4 {
		n.add()
	}
	ring(n)
	n.unplug(n.links[0])
	n.unplug(n.links[3])
	n.calm()
	n.tick(1)
	n.checkTree()
	if root := n.bridges[3].Status().Root; root != n.bridges[1].id {
		t.Errorf("bridge 3 follows %v", root)
	}
}

// TestSilentRoot has the BPDUs of the root stop while its link is up: what it
// said lives for three hello times (17.21.23).
func TestSilentRoot(t *testing.T) {
	n := newNetwork(t)
	n.add()
	n.add()
	n.connect(end{0, 1}, end{1, 1})
	n.calm()
	for second := 1; second <= 6; second++ {
		n.apply(1, n.bridges[1].Tick())
		if s := n.bridges[1].Status(); (s.Root == s.Bridge) != (second == 6) {
			t.Fatalf("after %d s the root is %v", second, s.Root)
		}
	}
	n.expect(end{1, 1}, RoleDesignated, Forwarding)
}

// TestParallelLinks: of equal links, the neighbour takes the one with the lower
// port identifier at the better bridge, and then the cheaper one.
func TestParallelLinks(t *testing.T) {
	n := newNetwork(t)
	n.add()
	n.add()
	n.connect(end{0, 2}, end{1, 1})
	n.connect(end{0, 1}, end{1, 2})
	n.calm()
	n.expectBlocked(end{1, 1})
	n.apply(0, n.bridges[0].SetPort(1, PortConfig{Priority: 16}))
	n.calm()
	n.expectBlocked(end{1, 2})
	n.apply(1, n.bridges[1].SetPort(2, PortConfig{Cost: 1}))
	n.calm()
	n.expectBlocked(end{1, 1})
}

// TestSameSource has two ports hear one and the same port: the receiving one
// with the lower identifier becomes the root port (17.6).
func TestSameSource(t *testing.T) {
	b := New(config(5))
	hello := message{kind: typeRST, flags: flagRoleDesignated, times: times{0, 20, 2, 15},
		vector: vector{root: 1, bridge: 1, port: 1}}
	for _, id := range []PortID{1, 2, 3} {
		b.SetPort(id, PortConfig{Priority: [...]uint8{0, 64, 32, 32}[id]})
		b.Up(id)
	}
	for _, id := range []PortID{3, 1, 2} {
		if _, err := b.Receive(id, hello.encode()); err != nil {
			t.Fatal(err)
		}
	}
	if s := b.Status(); s.RootPort != 2 {
		t.Errorf("root port %d", s.RootPort)
	}
}

// TestBridgeToItself connects two ports of one bridge.
func TestBridgeToItself(t *testing.T) {
	n := newNetwork(t)
	n.always = noLoop
	n.add()
	l := n.connect(end{0, 7}, end{0, 3})
	n.calm()
	n.expect(end{0, 3}, RoleDesignated, Forwarding)
	n.expect(end{0, 7}, RoleBackup, Discarding)
	n.tick(100)
	n.expect(end{0, 7}, RoleBackup, Discarding)
	if s, _ := n.bridges[0].PortStatus(7); s.DesignatedPort != 3 || s.Inconsistent != "" {
		t.Errorf("%+v", s)
	}
	n.unplug(l)
	n.calm()
	n.expect(end{0, 7}, RoleDisabled, Discarding)
}

// TestRecentBackup: who hears itself no more has to wait before it becomes the
// root port, as the hub between may still be a loop (17.17.5).
func TestRecentBackup(t *testing.T) {
	n := newNetwork(t)
	n.add()
	n.connect(end{0, 1}, end{0, 2})
	n.calm()
	n.expect(end{0, 2}, RoleBackup, Discarding)
	root := message{kind: typeRST, flags: flagRoleDesignated, times: times{0, 20, 2, 15}, vector: vector{bridge: 0, port: 1}}
	out, _ := n.bridges[0].Receive(2, root.encode())
	n.apply(0, out)
	n.expect(end{0, 2}, RoleRoot, Discarding)
	n.apply(0, n.bridges[0].Tick())
	n.apply(0, n.bridges[0].Tick())
	n.expect(end{0, 2}, RoleRoot, Learning)
}

// TestPlugThatReturnsAll is a port that hears itself: held while the echo lasts,
// though it sends, and back 3 hello times after it. Without an echo the port
// would have been an edge after 3 s.
func TestPlugThatReturnsAll(t *testing.T) {
	for _, delay := range []time.Duration{0, 15 * time.Second} {
		n := newNetwork(t)
		n.add(func(c *Config) { c.ForwardDelay = delay })
		n.connect(end{0, 1}, end{0, 1})
		n.calm()
		for range 60 {
			n.expect(end{0, 1}, RoleBackup, Discarding)
			n.tick(1)
		}
		if s, _ := n.bridges[0].PortStatus(1); s.Inconsistent != InconsistentSelfLoop {
			t.Errorf("%+v", s)
		}
		n.links[0].up = false // the echo stops, the link does not
		n.tick(5)
		n.expect(end{0, 1}, RoleBackup, Discarding)
		n.tick(1)
		n.expect(end{0, 1}, RoleDesignated, Forwarding)
		if s, _ := n.bridges[0].PortStatus(1); s.Inconsistent != "" {
			t.Errorf("%+v", s)
		}
	}
}

// TestEchoEndsWithTheLink: the next link begins without suspicion.
func TestEchoEndsWithTheLink(t *testing.T) {
	b := alone(PortConfig{Edge: EdgeYes})
	echo := b.Tick().BPDUs
	for len(echo) == 0 {
		echo = b.Tick().BPDUs
	}
	b.must(t, echo[0].Data)
	b.check(t, RoleBackup, Discarding, false, InconsistentSelfLoop)
	b.Down(1)
	b.Up(1)
	b.check(t, RoleDesignated, Forwarding, true, "")
}

// TestDisabledForgets: nothing of one link is left on the next.
func TestDisabledForgets(t *testing.T) {
	n := newNetwork(t)
	n.add()
	n.add()
	l := n.connect(end{0, 1}, end{1, 1})
	n.calm()
	n.unplug(l)
	n.expect(end{1, 1}, RoleDisabled, Discarding)
	if s := n.bridges[1].Status(); s.Root != s.Bridge {
		t.Errorf("the root is still %v", s.Root)
	}
	if s, _ := n.bridges[1].PortStatus(1); s.DesignatedBridge != 0 || s.Up {
		t.Errorf("%+v", s)
	}
	if out, err := n.bridges[1].Receive(1, unhex(t, golden[2].bytes)); err != nil || out.BPDUs != nil {
		t.Errorf("a port that is down received: %+v, %v", out, err)
	}
	n.tick(10)
	n.plug(l)
	n.calm()
	n.checkTree()
}
