package stp

// stepRole is the Port Role Transitions state machine (17.29), one transition
// at a time.
func (p *port) stepRole() bool {
	switch p.role {
	case RoleDisabled:
		p.fdWhile = p.b.listenDelay()
		return p.rest()
	case RoleRoot:
		return p.stepRoot()
	case RoleDesignated:
		return p.stepDesignated()
	}
	p.fdWhile = p.forwardDelay()
	if p.role == RoleBackup {
		p.rbWhile = 2 * p.b.designated.hello
	}
	return p.rest() || p.stepAgree()
}

// rest is what a port that forwards nothing need not be asked for.
func (p *port) rest() bool {
	if p.synced && p.rrWhile == 0 && !p.sync && !p.reRoot {
		return false
	}
	p.synced, p.rrWhile, p.sync, p.reRoot = true, 0, false, false
	return true
}

// stepAgree answers a proposal on a root, alternate or backup port (17.29.2,
// 17.29.4): first no other port may be part of a loop, then this one
// agrees.
func (p *port) stepAgree() bool {
	switch {
	case p.proposed && !p.agree:
		p.b.setSyncTree()
		p.proposed = false
	case !p.agree && p.b.allSynced(), p.proposed && p.agree:
		p.proposed, p.sync = false, false
		p.agree, p.newInfo = true, true
	default:
		return false
	}
	return true
}

// stepRoot is 17.29.2. A new root port forwards at once if no former one
// still does: that other one either waits for rrWhile, or stops because of
// reRoot.
func (p *port) stepRoot() bool {
	p.rrWhile = p.b.fwdDelay()
	if p.stepAgree() {
		return true
	}
	rapid := p.rbWhile == 0 && !p.b.config.ForceSTP && p.b.reRooted(p)
	ready := p.fdWhile == 0 || rapid
	switch {
	case !p.forward && !p.reRoot:
		p.b.setReRootTree()
	case p.forward && p.reRoot:
		p.reRoot = false
	case ready && !p.learn:
		p.fdWhile, p.learn = p.forwardDelay(), true
	case ready && !p.forward:
		p.fdWhile, p.forward = 0, true
	default:
		return false
	}
	return true
}

// stepDesignated is 17.29.3. The proposal comes before anything that
// forwards: without a delay, a neighbour would never be asked.
func (p *port) stepDesignated() bool {
	recent := p.reRoot && p.rrWhile > 0 // was the root port a moment ago
	ready := (p.fdWhile == 0 || p.agreed || p.operEdge) && !recent && !p.sync && !p.held()
	switch {
	case !p.forward && !p.agreed && !p.proposing && !p.operEdge:
		p.proposing, p.newInfo = true, true
		p.edgeDelayWhile = migrateTime
	case !p.synced && (!p.learn || p.agreed || p.operEdge), p.sync && p.synced:
		p.rrWhile, p.synced, p.sync = 0, true, false
	case p.reRoot && p.rrWhile == 0:
		p.reRoot = false
	case p.learn && p.mustDiscard(recent):
		p.learn, p.forward, p.disputed = false, false, false
		p.fdWhile = p.forwardDelay()
	case ready && !p.learn:
		p.fdWhile, p.learn = p.forwardDelay(), true
	case ready && !p.forward:
		p.fdWhile, p.forward = 0, true
		p.agreed = p.sendRSTP
	default:
		return false
	}
	return true
}

// mustDiscard is the condition of DESIGNATED_DISCARD, and of a port that hears
// itself.
func (p *port) mustDiscard(recent bool) bool {
	return !p.operEdge && (p.sync && !p.synced || recent || p.disputed || p.held())
}

// setSyncTree is 17.21.14.
func (b *Bridge) setSyncTree() {
	for _, p := range b.ports {
		p.sync = true
	}
}

// setReRootTree is 17.21.15.
func (b *Bridge) setReRootTree() {
	for _, p := range b.ports {
		p.reRoot = true
	}
}

// allSynced is 17.20.3: apart from the root port, each port discards, or its
// neighbour has agreed to what the bridge knows now, or it has none.
func (b *Bridge) allSynced() bool {
	for _, p := range b.ports {
		if p.role != RoleRoot && !p.synced {
			return false
		}
	}
	return true
}

// reRooted is 17.20.10: no other port was the root port lately.
func (b *Bridge) reRooted(root *port) bool {
	for _, p := range b.ports {
		if p != root && p.rrWhile > 0 {
			return false
		}
	}
	return true
}

// fwdDelay is FwdDelay (17.20.6), which this bridge may have been told to skip.
func (b *Bridge) fwdDelay() uint16 {
	if b.config.ForwardDelay == 0 {
		return 0
	}
	return b.designated.forwardDelay
}

// listenDelay is how long a port whose link came up listens. The standard waits
// for MaxAge. That is less than two forward delays for any that it
// permits (17.14), and more for the short ones that people set who want their
// ports to be quick.
func (b *Bridge) listenDelay() uint16 {
	return min(b.designated.maxAge, 2*b.fwdDelay())
}

// forwardDelay is 17.20.5. An RSTP neighbour answers within a hello time.
func (p *port) forwardDelay() uint16 {
	if p.sendRSTP {
		return min(p.b.fwdDelay(), p.b.designated.hello)
	}
	return p.b.fwdDelay()
}
