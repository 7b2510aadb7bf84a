package stp

import (
	"testing"
	"time"
)

func forceSTP(c *Config) { c.ForceSTP = true }

// version returns what a port sends.
func (n *network) version(e end) string {
	s, _ := n.bridges[e.bridge].PortStatus(e.port)
	return s.Version
}

// next returns the BPDUs that an event makes a bridge send, decoded.
func next(t *testing.T, out Output) (ms []message) {
	t.Helper()
	for _, b := range out.BPDUs {
		m, ok := decode(b.Data)
		if !ok {
			t.Fatalf("sent % x", b.Data)
		}
		ms = append(ms, m)
	}
	return ms
}

// TestMigration: a neighbour of 1998 does not hear RST BPDUs. Once 3 s have
// passed since the link came up, what it says itself makes the port speak
// its language (17.24), and the port listens and learns as that one does.
func TestMigration(t *testing.T) {
	n := newNetwork(t)
	n.add()
	n.add(forceSTP)
	n.connect(end{0, 1}, end{1, 1})
	n.calm()
	n.tick(2)
	if v := n.version(end{0, 1}); v != "rstp" {
		t.Errorf("it speaks %s too early", v)
	}
	n.tick(2)
	if v := n.version(end{0, 1}); v != "stp" {
		t.Errorf("it speaks %s", v)
	}
	if root := n.bridges[1].Status().Root; root != n.bridges[0].id {
		t.Errorf("the STP bridge follows %v", root)
	}
	n.tick(15)
	n.expect(end{0, 1}, RoleDesignated, Discarding)
	n.expect(end{1, 1}, RoleRoot, Discarding)
	n.tick(2)
	n.expect(end{0, 1}, RoleDesignated, Learning)
	n.tick(13)
	n.expect(end{0, 1}, RoleDesignated, Learning)
	n.tick(4)
	n.checkTree()
}

// TestMigrationBack has the neighbour replaced by one that speaks RSTP, with no
// more than a switch between that hides it.
func TestMigrationBack(t *testing.T) {
	n := newNetwork(t)
	n.add()
	n.add(forceSTP)
	n.connect(end{0, 1}, end{1, 1})
	n.tick(60)
	if v := n.version(end{0, 1}); v != "stp" {
		t.Fatalf("it speaks %s", v)
	}
	c := n.bridges[1].config
	c.ForceSTP = false
	n.deaf[1] = false
	n.apply(1, n.bridges[1].Configure(c))
	n.apply(1, n.bridges[1].Down(1))
	n.apply(1, n.bridges[1].Up(1))
	n.calm()
	if v := n.version(end{0, 1}); v != "rstp" {
		t.Errorf("it speaks %s", v)
	}
	n.checkTree()
}

// TestForceSTPSpeaksIt also while its neighbour speaks RSTP, and turns with the
// setting.
func TestForceSTPSpeaksIt(t *testing.T) {
	stp, rstp := config(9), config(9)
	stp.ForceSTP = true
	b := New(stp)
	b.SetPort(1, PortConfig{})
	ups := b.Up(1).BPDUs
	if len(ups) != 1 || len(ups[0].Data) != lenConfig || ups[0].Data[4] != 0 {
		t.Fatalf("sent %+v", ups)
	}
	inferior := edit(t, 2, 5, 0xff, 17, 0xff)
	for i, c := range []Config{stp, rstp, stp} {
		b.Configure(c)
		for range 10 {
			out, err := b.Receive(1, inferior)
			ms := next(t, out)
			if err != nil || len(ms) != 1 || (ms[0].kind == typeRST) != (i == 1) {
				t.Fatalf("step %d: sent %+v, %v", i, ms, err)
			}
			for _, m := range next(t, b.Tick()) {
				if (m.kind == typeRST) != (i == 1) {
					t.Fatalf("step %d: sent %+v", i, m)
				}
			}
		}
	}
}

// TestEarlySTP: what a neighbour said in the first 3 s does not count, as it may
// have been about to migrate itself.
func TestEarlySTP(t *testing.T) {
	b := alone(PortConfig{Edge: EdgeNo})
	b.Tick()
	b.must(t, edit(t, 1, 5, 0xff, 17, 0xff))
	for range 10 {
		b.Tick()
		if s, _ := b.PortStatus(1); s.Version != "rstp" {
			t.Fatalf("speaks %s", s.Version)
		}
	}
}

// TestForceSTPAgreesToNothing: an agreement opens no port of a bridge that must wait.
func TestForceSTPAgreesToNothing(t *testing.T) {
	c := config(9)
	c.ForceSTP = true
	b := New(c)
	b.SetPort(1, PortConfig{})
	b.Up(1)
	m := message{kind: typeRST, flags: flagRoleRoot | flagAgreement, times: times{0, 20, 2, 15},
		vector: vector{root: b.id, cost: 2000, bridge: newBridgeID(0xf000, addr(77)), port: 1}}
	b.must(t, m.encode())
	b.check(t, RoleDesignated, Discarding, false, "")
}

// TestListenAndLearn takes both delays twice: alone on the link, where it takes
// MaxAge to be sure that nobody is there, or two delays if they are shorter.
func TestListenAndLearn(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name          string
		config        Config
		listen, learn int // seconds
	}{
		{"RSTP", Config{ForwardDelay: 15 * s}, 20, 2},
		{"STP", Config{ForwardDelay: 15 * s, ForceSTP: true}, 20, 15},
		{"RSTP, quick", Config{ForwardDelay: 4 * s}, 8, 2},
		{"STP, quick", Config{ForwardDelay: 4 * s, ForceSTP: true}, 8, 4},
		{"RSTP, lazy hello", Config{ForwardDelay: 4 * s, Hello: 10 * s}, 8, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := New(c.config)
			b.SetPort(1, PortConfig{Edge: EdgeNo})
			b.Up(1)
			for second := 1; second <= c.listen+c.learn+1; second++ {
				b.Tick()
				want := Discarding
				if second >= c.listen {
					want = Learning
				}
				if second >= c.listen+c.learn {
					want = Forwarding
				}
				if p, _ := b.PortStatus(1); p.State != want {
					t.Fatalf("after %d s: %v", second, p.State)
				}
			}
		})
	}
}

// TestNoDelay is libvirt's delay='0': who is designated or root forwards at
// once, and loops are cut all the same.
func TestNoDelay(t *testing.T) {
	for _, stp := range []bool{false, true} {
		n := newNetwork(t)
		for range 3 {
			n.add(func(c *Config) { c.ForwardDelay, c.ForceSTP = 0, stp })
		}
		l := n.wire(end{0, 1}, end{1, 1})
		n.plug(l)
		n.expect(end{0, 1}, RoleDesignated, Forwarding) // before any BPDU arrived
		n.expect(end{1, 1}, RoleDesignated, Forwarding)
		n.calm()
		n.expect(end{1, 1}, RoleRoot, Forwarding)
		n.connect(end{1, 2}, end{2, 1})
		n.connect(end{2, 2}, end{0, 2})
		n.calm()
		n.checkTree()
		n.expectBlocked(end{2, 1})
		if s := n.bridges[0].Status(); s.ForwardDelay != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// TestNoDelayTellsOthers two seconds: it is not for this bridge to say that
// nobody waits. Nor may another one say so.
func TestNoDelayTellsOthers(t *testing.T) {
	b := New(Config{Address: addr(9)})
	b.SetPort(1, PortConfig{})
	out := b.Up(1)
	if ms := next(t, out); len(ms) != 1 || ms[0].times != (times{0, 20, 2, 2}) {
		t.Errorf("sent %+v", ms)
	}
	if d := out.BPDUs[0].Data; d[33] != 2 || d[34] != 0 {
		t.Errorf("sent % x", d)
	}
	slow := New(config(9))
	slow.SetPort(1, PortConfig{})
	slow.Up(1)
	slow.Receive(1, edit(t, 1, 33, 0, 5, 0, 6, 0))
	if s := slow.Status(); s.RootPort != 1 || s.ForwardDelay != 2*time.Second {
		t.Errorf("%+v", s)
	}
}

// TestInferiorHello is an STP bridge that takes itself for the root: it is told
// otherwise at once, and from then on at each hello.
func TestInferiorHello(t *testing.T) {
	b := New(Config{})
	b.SetPort(1, PortConfig{Edge: EdgeNo})
	b.Up(1)
	for range 4 {
		b.Tick()
	}
	out, err := b.Receive(1, unhex(t, golden[1].bytes))
	if ms := next(t, out); err != nil || len(ms) != 1 || ms[0].kind != typeConfig || ms[0].vector.root != b.id {
		t.Errorf("answered %+v, %v", ms, err)
	}
}

// TestMessageAge: it counts the bridges, and who is too far away is not heard.
func TestMessageAge(t *testing.T) {
	c := config(9)
	c.Hello = 4 * time.Second
	b := New(c)
	b.SetPort(1, PortConfig{})
	b.SetPort(2, PortConfig{})
	b.Up(1)
	b.Up(2)
	passedOn := func(bpdu []byte) (got times) {
		out := b.must(t, bpdu)
		for i, m := range next(t, out) {
			if out.BPDUs[i].Port == 2 {
				got = m.times
			}
		}
		return got
	}
	if got := passedOn(edit(t, 1, 27, 7)); got != (times{8, 20, 4, 15}) {
		t.Errorf("passed on: %+v", got)
	}
	if got := passedOn(edit(t, 1, 27, 7, 33, 9)); got != (times{8, 20, 4, 9}) {
		t.Errorf("passed on of a root that changed its delay: %+v", got)
	}
	if root := b.Status().Root; root != goldenVector.root {
		t.Errorf("the root is %v", root)
	}
	// An RST BPDU that is too old takes back what the port said before.
	b.Receive(1, edit(t, 2, 27, 20, 29, 20))
	if s := b.Status(); s.Root != s.Bridge {
		t.Errorf("the root is %v", s.Root)
	}
}
