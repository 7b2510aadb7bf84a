package stp

// hear is the Port Receive state machine (17.23) together with the part of Port
// Information (17.27) that a message starts. It tells whether anything changed
// that a machine of this or another port may wait for.
func (p *port) hear(m *message) bool {
	if p.config.BPDUGuard {
		p.guarded = true
		return true
	}
	changed := p.operEdge
	p.heard, p.operEdge = true, false
	p.edgeDelayWhile = migrateTime
	p.rcvdRSTP = p.rcvdRSTP || m.kind == typeRST
	p.rcvdSTP = p.rcvdSTP || m.kind != typeRST
	if m.kind == typeTCN {
		p.rcvdTcn = true
		return true
	}
	if p.own(m) {
		return p.loop() || changed
	}
	return p.record(m) || changed
}

// own tells whether this port has sent m itself.
func (p *port) own(m *message) bool {
	return m.vector.sameSource(vector{bridge: p.b.id, port: p.id})
}

// loop handles a BPDU of this very port. 9.3.4 drops it; but where BPDUs come
// back, frames do, and the hosts behind the port would be learned from their
// own echo. So a designated port is held until the echo ends. It goes on to
// send, to hear whether it does. On a port of another role the BPDU is an old one,
// or forged.
func (p *port) loop() (changed bool) {
	if p.role != RoleDesignated {
		return false
	}
	changed = p.loopWhile == 0
	p.loopWhile = 3 * p.b.times.hello
	return changed
}

// held tells whether the port is a designated one that hears itself.
func (p *port) held() bool { return p.loopWhile > 0 && p.role == RoleDesignated }

// migration is the state of the Port Protocol Migration machine (17.24).
type migration uint8

const (
	checkingRSTP migration = iota
	selectingSTP
	sensing
)

func (p *port) checkRSTP() {
	p.migration = checkingRSTP
	p.sendRSTP = !p.b.config.ForceSTP
	p.mdelayWhile = migrateTime
}

// stepMigration is the Port Protocol Migration state machine (17.24): what the
// neighbour speaks counts only where the last change is 3 s ago, or two bridges
// would follow each other for ever.
func (p *port) stepMigration() bool {
	switch {
	case p.migration != sensing && p.mdelayWhile == 0:
		p.migration = sensing
		p.rcvdRSTP, p.rcvdSTP = false, false
	case p.migration != sensing:
		return false
	case !p.b.config.ForceSTP && !p.sendRSTP && p.rcvdRSTP:
		p.checkRSTP()
	case p.sendRSTP && p.rcvdSTP:
		p.migration = selectingSTP
		p.sendRSTP = false
		p.mdelayWhile = migrateTime
	default:
		return false
	}
	return true
}

// stepEdge is the Bridge Detection state machine (17.25): a port whose proposal
// nobody answers leads to hosts.
func (p *port) stepEdge() bool {
	if p.operEdge || p.config.Edge != EdgeAuto || p.edgeDelayWhile > 0 || !p.sendRSTP || !p.proposing {
		return false
	}
	p.operEdge = true
	return true
}
