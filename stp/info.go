package stp

// refresh is the part of the Port Information state machine (17.27) that needs
// no message: links that come and go, and information that grew too old.
func (p *port) refresh() {
	switch {
	case !p.enabled() && p.infoIs != infoDisabled:
		p.proposing, p.proposed, p.agree, p.agreed = false, false, false, false
		p.rcvdInfoWhile, p.loopWhile = 0, 0
		p.infoIs = infoDisabled
	case p.enabled() && p.infoIs == infoDisabled:
		p.infoIs = infoAged
		p.begin()
	case p.infoIs == infoReceived && p.rcvdInfoWhile == 0:
		p.infoIs = infoAged
	default:
		return
	}
	p.b.reselect = true
}

// begin puts the machines of 17.23 to 17.26 into the state in which they wait
// for a link.
func (p *port) begin() {
	p.checkRSTP()
	p.edgeDelayWhile = migrateTime
	p.heard = false
	p.operEdge = p.config.Edge == EdgeYes
	p.helloWhen, p.txCount = 0, 0
	p.rcvdTc, p.rcvdTcn, p.rcvdTcAck, p.tcProp = false, false, false, false
}

// update is the state UPDATE of Port Information: the port says what the bridge
// knows now. What the neighbour agreed to still holds for better information.
func (p *port) update() {
	mine := p.designatedPriority()
	p.proposing, p.proposed = false, false
	p.agreed = p.agreed && p.infoIs == infoMine && mine.compare(p.priority) <= 0
	p.synced = p.synced && p.agreed
	p.priority, p.times = mine, p.b.designated
	p.infoIs = infoMine
	p.newInfo = true
}

// record is rcvInfo (17.21.8) and the states that it leads to. It tells whether
// anything changed that a machine may wait for.
func (p *port) record(m *message) bool {
	order := m.vector.compare(p.priority)
	switch {
	case m.role() != flagRoleDesignated && order < 0:
		return false // OTHER
	case m.role() != flagRoleDesignated:
		tc := p.setTcFlags(m)
		return p.recordAgreement(m) || tc
	case order == 0 && m.times == p.times: // REPEATED_DESIGNATED
		p.setTcFlags(m)
		p.recordProposal(m)
		p.updtRcvdInfoWhile()
		return p.proposed || p.rcvdTc || p.rcvdTcAck || p.rcvdInfoWhile == 0
	case m.vector.superior(p.priority):
		p.recordSuperior(m)
		return true
	}
	p.recordDispute(m)
	return true
}

// recordSuperior is the state SUPERIOR_DESIGNATED.
func (p *port) recordSuperior(m *message) {
	p.agreed, p.proposing = false, false
	p.recordProposal(m)
	p.setTcFlags(m)
	p.agree = p.agree && p.infoIs == infoReceived && m.vector.compare(p.priority) <= 0
	p.priority, p.times = m.vector, m.times
	p.updtRcvdInfoWhile()
	p.infoIs = infoReceived
	p.b.reselect = true
}

// recordProposal is 17.21.11.
func (p *port) recordProposal(m *message) {
	p.proposed = p.proposed || m.has(flagProposal)
}

// recordAgreement is 17.21.9, with one condition more: who agrees must know the
// root that this port told of last. An answer to an older proposal may still be
// on its way, and says nothing about the new tree.
func (p *port) recordAgreement(m *message) (changed bool) {
	if m.vector.root != p.priority.root {
		return false
	}
	agreed := m.has(flagAgreement) && !p.b.config.ForceSTP
	changed = agreed != p.agreed || agreed && p.proposing
	p.agreed = agreed
	p.proposing = p.proposing && !agreed
	return changed
}

// recordDispute is the state INFERIOR_DESIGNATED: two ports want to be
// designated. Where the other one already learns, it does not hear this one,
// and this one has to give way; the effect is that of the later 802.1Q, as
// what 802.1D-2004 writes in 17.21.10 would take a dispute for an agreement.
//
// The answer is not in the standard of 2004 but in that of 1998 (8.6.1). A
// bridge whose link came up later than this one hears so at once, and not at
// the next hello, who is the root.
func (p *port) recordDispute(m *message) {
	if m.kind == typeRST && m.has(flagLearning) {
		p.disputed, p.agreed = true, false
	}
	p.newInfo = true
}

// updtRcvdInfoWhile is 17.21.23: how long the information may go unrepeated.
func (p *port) updtRcvdInfoWhile() {
	p.rcvdInfoWhile = 0
	if p.times.messageAge+1 <= p.times.maxAge {
		p.rcvdInfoWhile = 3 * p.times.hello
	}
}

// setTcFlags is 17.21.17.
func (p *port) setTcFlags(m *message) bool {
	p.rcvdTc = p.rcvdTc || m.has(flagTC)
	p.rcvdTcAck = p.rcvdTcAck || m.has(flagTCAck)
	return p.rcvdTc || p.rcvdTcAck
}
