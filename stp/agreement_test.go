package stp

import "testing"

// between is a bridge with a root port, 1, and a designated port, 2, which
// forwards. What port 1 heard, root returns with another cost and flags.
type between struct {
	*Bridge
	t *testing.T
}

func (b between) root(flags uint8, cost uint32) (sent []message) {
	m := golden[2].m
	m.flags, m.vector.cost = flagRoleDesignated|flags, cost
	out := b.must(b.t, m.encode())
	for i, m := range next(b.t, out) {
		if out.BPDUs[i].Port == 1 {
			sent = append(sent, m)
		}
	}
	return sent
}

// agree has the neighbour of port 2 agree to what it was told.
func (b between) agree() {
	m := message{kind: typeRST, flags: flagRoleRoot | flagAgreement, times: times{0, 20, 2, 15}}
	m.vector = b.port(2).priority
	m.vector.cost += 2000
	m.vector.bridge = newBridgeID(0xf000, addr(77))
	if _, err := b.Receive(2, m.encode()); err != nil {
		b.t.Fatal(err)
	}
}

func (b between) expect(id PortID, state State) {
	b.t.Helper()
	if s, _ := b.PortStatus(id); s.State != state {
		b.t.Errorf("port %d is %v, not %v", id, s.State, state)
	}
}

func newBetween(t *testing.T, c PortConfig) between {
	b := between{alone(PortConfig{Edge: EdgeNo}), t}
	b.root(flagProposal, 5000)
	b.SetPort(2, c)
	b.Up(2)
	return b
}

func agreed(ms []message) bool {
	return len(ms) == 1 && ms[0].role() == flagRoleRoot && ms[0].has(flagAgreement)
}

// TestBetterProposal: an agreement to what was worse holds for what is better. The
// bridge agrees in turn, and nothing stops.
func TestBetterProposal(t *testing.T) {
	b := newBetween(t, PortConfig{Edge: EdgeNo})
	b.agree()
	b.expect(2, Forwarding)
	if ms := b.root(flagProposal, 4000); !agreed(ms) {
		t.Errorf("answered %+v", ms)
	}
	b.expect(1, Forwarding)
	b.expect(2, Forwarding)
}

// TestWorseProposal: what the neighbour behind said does not hold for it. The
// bridge stops that port, agrees, and asks anew.
func TestWorseProposal(t *testing.T) {
	b := newBetween(t, PortConfig{Edge: EdgeNo})
	b.agree()
	if ms := b.root(flagProposal, 6000); !agreed(ms) {
		t.Errorf("answered %+v", ms)
	}
	b.expect(1, Forwarding)
	b.expect(2, Discarding)
	b.agree()
	b.expect(2, Forwarding)
}

// TestWorseWithoutProposal: the designated port goes on, so nothing may be agreed to.
func TestWorseWithoutProposal(t *testing.T) {
	b := newBetween(t, PortConfig{Edge: EdgeNo})
	b.agree()
	for _, m := range b.root(flagTC, 6000) {
		if m.has(flagAgreement) {
			t.Errorf("agreed: %+v", m)
		}
	}
	b.expect(2, Forwarding)
	// When the question comes, the answer is true.
	if ms := b.root(flagProposal, 6000); !agreed(ms) {
		t.Errorf("answered %+v", ms)
	}
	b.expect(2, Discarding)
}

// TestProposalRepeated: it is answered each time, as the answer may get lost.
func TestProposalRepeated(t *testing.T) {
	b := newBetween(t, PortConfig{Edge: EdgeNo})
	for range 3 {
		if ms := b.root(flagProposal, 5000); !agreed(ms) {
			t.Errorf("answered %+v", ms)
		}
	}
	if ms := b.root(0, 5000); len(ms) != 0 {
		t.Errorf("nobody asked, and the answer was %+v", ms)
	}
}

// TestEdgeIsSynced: a port to a host is not asked, and not stopped.
func TestEdgeIsSynced(t *testing.T) {
	b := newBetween(t, PortConfig{Edge: EdgeYes})
	if ms := b.root(flagProposal, 6000); !agreed(ms) {
		t.Errorf("answered %+v", ms)
	}
	b.expect(2, Forwarding)
}

// TestBetterRoot: a better root appears at a third port. The former root port has to
// stop, but not who agreed to the worse one, and not a port that forwards
// because the time was over and nobody was there to agree (17.29.3).
func TestBetterRoot(t *testing.T) {
	for _, somebody := range []bool{true, false} {
		b := newBetween(t, PortConfig{Edge: EdgeNo})
		if somebody {
			b.agree()
		}
		for range 30 {
			b.Tick()
			b.root(0, 5000)
		}
		b.expect(2, Forwarding)
		b.SetPort(3, PortConfig{Edge: EdgeNo})
		b.Up(3)
		m := golden[2].m
		m.vector.root, m.vector.bridge = 1, 1
		out, err := b.Receive(3, m.encode())
		if err != nil {
			t.Fatal(err)
		}
		answered := false
		for i, m := range next(t, out) {
			answered = answered || out.BPDUs[i].Port == 3 && m.flags&^flagTC == flagRoleRoot|flagAgreement|flagLearning|flagForwarding
		}
		if !answered {
			t.Errorf("somebody=%v: answered %+v", somebody, next(t, out))
		}
		b.expect(1, Discarding)
		b.expect(2, Forwarding)
		b.expect(3, Forwarding)
	}
}

// TestSilenceIsNoAgreement: a BPDU without the flag takes the agreement back (17.21.9).
func TestSilenceIsNoAgreement(t *testing.T) {
	b := newBetween(t, PortConfig{Edge: EdgeNo})
	b.agree()
	m := message{kind: typeRST, flags: flagRoleRoot, times: times{0, 20, 2, 15}, vector: b.port(2).priority}
	m.vector.bridge = newBridgeID(0xf000, addr(77))
	if _, err := b.Receive(2, m.encode()); err != nil {
		t.Fatal(err)
	}
	if b.port(2).agreed {
		t.Error("the agreement still stands")
	}
	b.expect(2, Forwarding)
}

// TestFormerRootPort: the new root port forwards at once, and the former one,
// now designated, stops in the same call: both lead to the same place (17.29.2).
func TestFormerRootPort(t *testing.T) {
	b := newBetween(t, PortConfig{Edge: EdgeNo})
	b.expect(1, Forwarding)
	better := golden[2].m
	better.flags, better.vector.root = flagRoleDesignated, 1
	if _, err := b.Receive(2, better.encode()); err != nil {
		t.Fatal(err)
	}
	b.expect(2, Forwarding)
	b.expect(1, Discarding)
	if s, _ := b.PortStatus(1); s.Role != RoleDesignated {
		t.Errorf("%+v", s)
	}
}
