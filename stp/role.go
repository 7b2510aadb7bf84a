package stp

// selectRoles is the Port Role Selection state machine (17.28), updtRolesTree
// (17.21.25), and then what the other machines do about an updtInfo or a
// selectedRole. Every port has its new role before any acts on it: a bridge
// does not agree to anything in the name of a port whose role is out of date.
func (b *Bridge) selectRoles() {
	b.reselect = false
	b.selectRoot()
	for _, p := range b.ports {
		p.selectRole()
	}
	for _, p := range b.ports {
		if p.updtInfo {
			p.updtInfo = false
			p.update()
		}
		p.adopt()
	}
}

// selectRoot takes the best of the bridge's own vector and the root path
// vectors of its ports. Ports that hear this bridge, and those under a root
// guard, do not stand for election.
func (b *Bridge) selectRoot() {
	b.root, b.rootPort = vector{root: b.id, bridge: b.id}, nil
	b.designated = b.times
	for _, p := range b.ports {
		if p.infoIs != infoReceived || p.config.RootGuard || p.hearsBridge() {
			continue
		}
		v := p.priority.via(p.config.Cost)
		order := v.compare(b.root)
		if order < 0 || order == 0 && b.rootPort != nil && p.id < b.rootPort.id {
			b.root, b.rootPort = v, p
		}
	}
	if b.rootPort != nil {
		b.designated = b.rootPort.times
		b.designated.messageAge++
		b.designated.hello = b.times.hello
	}
}

// hearsBridge tells whether the designated port of this segment is one of this
// bridge.
func (p *port) hearsBridge() bool {
	return p.priority.bridge.Address() == p.b.id.Address()
}

// designatedPriority is 17.19.4.
func (p *port) designatedPriority() vector {
	return vector{root: p.b.root.root, cost: p.b.root.cost, bridge: p.b.id, port: p.id}
}

func (p *port) selectRole() {
	mine := p.designatedPriority()
	switch {
	case p.infoIs == infoDisabled:
		p.selected = RoleDisabled
	case p.infoIs == infoAged:
		p.selected, p.updtInfo = RoleDesignated, true
	case p.infoIs == infoMine:
		p.selected = RoleDesignated
		p.updtInfo = p.priority != mine || p.times != p.b.designated
	case p == p.b.rootPort:
		p.selected = RoleRoot
	case mine.compare(p.priority) < 0:
		p.selected, p.updtInfo = RoleDesignated, true
	case p.hearsBridge():
		p.selected = RoleBackup
	default:
		p.selected = RoleAlternate
	}
}

// adopt enters the role that was selected (17.29).
func (p *port) adopt() {
	if p.role == p.selected {
		return
	}
	p.role, p.disputed = p.selected, false
	if p.role != RoleRoot && p.role != RoleDesignated {
		p.learn, p.forward = false, false
	}
}
