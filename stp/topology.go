package stp

// changeState is the state of the Topology Change machine (17.31).
type changeState uint8

const (
	changeInactive changeState = iota
	changeLearning
	changeActive
)

// stepChange is the Topology Change state machine (17.31).
func (p *port) stepChange() bool {
	active := p.role == RoleRoot || p.role == RoleDesignated
	switch p.change {
	case changeInactive:
		if p.learn {
			p.change = changeLearning
			return true
		}
	case changeLearning:
		p.rcvdTc, p.rcvdTcn, p.rcvdTcAck, p.tcProp = false, false, false, false
		switch {
		case active && p.forward && !p.operEdge: // DETECTED
			p.newTcWhile()
			p.setTcPropTree()
			p.newInfo = true
			p.change = changeActive
			return true
		case !active && !p.learn: // INACTIVE
			p.flush = true
			p.tcWhile, p.tcAck = 0, false
			p.change = changeInactive
			return true
		}
	case changeActive:
		if !active || p.operEdge {
			p.change = changeLearning
			return true
		}
		return p.notified()
	}
	return false
}

// notified is what leads from the state ACTIVE back to it.
func (p *port) notified() bool {
	switch {
	case p.rcvdTc, p.rcvdTcn:
		if p.rcvdTcn {
			p.newTcWhile()
		}
		p.rcvdTc, p.rcvdTcn = false, false
		p.tcAck = p.tcAck || p.role == RoleDesignated
		p.setTcPropTree()
	case p.tcProp:
		p.newTcWhile()
		p.flush, p.tcProp = true, false
	case p.rcvdTcAck:
		p.tcWhile, p.rcvdTcAck = 0, false
	default:
		return false
	}
	return true
}

// newTcWhile is 17.21.7.
func (p *port) newTcWhile() {
	switch {
	case p.tcWhile > 0:
	case p.sendRSTP:
		p.tcWhile = p.b.designated.hello + 1
		p.newInfo = true
	default:
		p.tcWhile = p.b.designated.maxAge + p.b.designated.forwardDelay
	}
}

// setTcPropTree is 17.21.18.
func (p *port) setTcPropTree() {
	for _, q := range p.b.ports {
		q.tcProp = q.tcProp || q != p
	}
}

// countChanges keeps what 14.8.1.1.3 wants to know.
func (b *Bridge) countChanges() {
	was := b.changing
	b.changing = false
	for _, p := range b.ports {
		b.changing = b.changing || p.tcWhile > 0
	}
	if b.changing {
		b.lastChange = b.seconds
		if !was {
			b.changes++
		}
	}
}
