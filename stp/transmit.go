package stp

// transmit is the Port Transmit state machine (17.26). What the hold count
// keeps back goes out with the state of then, in one of the next seconds.
func (p *port) transmit() {
	if !p.enabled() {
		p.newInfo = false
		return
	}
	if p.helloWhen == 0 { // TRANSMIT_PERIODIC
		p.newInfo = p.newInfo || p.role == RoleDesignated || p.role == RoleRoot && p.tcWhile > 0
		p.helloWhen = p.b.designated.hello
	}
	if !p.newInfo || p.txCount >= txHoldCount {
		return
	}
	switch {
	case p.sendRSTP:
		p.send(typeRST, p.flags())
	case p.role == RoleDesignated:
		flags := p.flags() & flagTC
		if p.tcAck {
			flags |= flagTCAck
		}
		p.send(typeConfig, flags)
	case p.role == RoleRoot && p.tcWhile > 0:
		// The standard sends a TCN for any newInfo. Here an agreement, which
		// an STP neighbour does not know, is no change of the topology.
		p.send(typeTCN, 0)
	default:
		p.newInfo = false
	}
}

func (p *port) send(kind, flags uint8) {
	m := message{kind: kind, flags: flags, vector: p.designatedPriority(), times: p.b.designated}
	p.b.out.BPDUs = append(p.b.out.BPDUs, BPDU{Port: p.number, Data: m.encode()})
	p.newInfo = false
	if kind != typeTCN {
		p.tcAck = false
	}
	p.txCount++
	p.helloWhen = p.b.designated.hello
	p.sent++
}

// flags returns those of an RST BPDU (17.21.20).
func (p *port) flags() (f uint8) {
	switch p.role {
	case RoleRoot:
		f = flagRoleRoot
	case RoleDesignated:
		f = flagRoleDesignated
	case RoleAlternate, RoleBackup:
		f = flagRoleAlternate
	}
	for _, x := range [...]struct {
		set  bool
		flag uint8
	}{
		{p.tcWhile > 0, flagTC},
		{p.proposing, flagProposal},
		{p.learn, flagLearning},
		{p.forward, flagForwarding},
		{p.agree, flagAgreement},
	} {
		if x.set {
			f |= x.flag
		}
	}
	return f
}
