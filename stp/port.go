package stp

// State is what a port does with frames (7.4). BPDUs pass in each.
type State uint8

const (
	Discarding State = iota // neither learns nor forwards; also a port that is down
	Learning                // learns addresses, forwards nothing
	Forwarding
)

func (s State) String() string {
	return [...]string{"discarding", "learning", "forwarding"}[s]
}

// Role is the part of a port in the tree (17.7).
type Role uint8

const (
	RoleDisabled   Role = iota // down, or shut by a guard
	RoleRoot                   // the way to the root
	RoleDesignated             // the way to the root for those behind it
	RoleAlternate              // another way to the root, in reserve
	RoleBackup                 // leads to a port of this very bridge
)

func (r Role) String() string {
	return [...]string{"disabled", "root", "designated", "alternate", "backup"}[r]
}

// infoIs is the origin of a port's priority vector (17.19.10).
type infoIs uint8

const (
	infoDisabled infoIs = iota
	infoAged
	infoMine
	infoReceived
)

// port holds the variables of 17.19 under the names that they have there, as
// far as Go allows. learning and forwarding are learn and forward: the owner
// has carried them out before a BPDU leaves.
type port struct {
	b      *Bridge
	number PortID
	config PortConfig
	id     uint16 // port identifier

	up      bool // the link is
	guarded bool // shut by the BPDU guard
	heard   bool // a BPDU came since the link did

	// Port Information (17.27)
	infoIs   infoIs
	priority vector // portPriority
	times    times  // portTimes
	updtInfo bool

	// Port Role Transitions (17.29)
	role, selected   Role // selected is selectedRole
	learn, forward   bool
	proposing        bool // this port asks its neighbour to agree
	proposed         bool // the neighbour asks
	agree, agreed    bool // what this port, and its neighbour, has agreed to
	sync, synced     bool
	reRoot, disputed bool

	// Topology Change (17.31)
	change                      changeState
	rcvdTc, rcvdTcn, rcvdTcAck  bool
	tcProp, tcAck, flush        bool
	migration                   migration // Port Protocol Migration (17.24)
	sendRSTP, rcvdRSTP, rcvdSTP bool
	operEdge                    bool // Bridge Detection (17.25)
	newInfo                     bool // Port Transmit (17.26)

	// Timers (17.17), in seconds, 0 = expired. loopWhile is ours: a BPDU of
	// this very port came back to it.
	edgeDelayWhile, fdWhile, helloWhen, mdelayWhile uint16
	rbWhile, rcvdInfoWhile, rrWhile, tcWhile        uint16
	loopWhile, txCount                              uint16

	reported                  State // what the owner knows
	received, sent, malformed uint64
}

// newPort returns a port that is down, as BEGIN leaves it (17.18.1).
func newPort(b *Bridge, number PortID) *port {
	p := &port{b: b, number: number, newInfo: true, synced: true}
	p.checkRSTP()
	return p
}

func (p *port) configure(c PortConfig) {
	was := p.config
	p.config = c
	p.id = uint16(c.Priority)<<8 | uint16(p.number)
	if !c.BPDUGuard {
		p.guarded = false
	}
	if c.Edge == was.Edge {
		return
	}
	// The standard looks at AdminEdge only while the link is down (17.25). Who
	// sets it on a port that is up should not have to pull the cable.
	switch c.Edge {
	case EdgeYes:
		p.operEdge = !p.heard
	case EdgeNo:
		p.operEdge = false
	}
}

// enabled is portEnabled (17.19.18).
func (p *port) enabled() bool { return p.up && !p.guarded }

// tick is the Port Timers state machine (17.22).
func (p *port) tick() {
	for _, t := range [...]*uint16{
		&p.edgeDelayWhile, &p.fdWhile, &p.helloWhen, &p.mdelayWhile, &p.rbWhile,
		&p.rcvdInfoWhile, &p.rrWhile, &p.tcWhile, &p.loopWhile, &p.txCount,
	} {
		if *t > 0 {
			*t--
		}
	}
}

// step gives each machine that looks at this port one transition and tells
// whether there was any. Port Transmit is not among them; see Bridge.finish.
func (p *port) step() bool {
	a := p.stepMigration()
	b := p.stepEdge()
	c := p.stepRole()
	d := p.stepChange()
	return a || b || c || d
}

// state is what the Port State Transition machine (17.30) leads to.
func (p *port) state() State {
	switch {
	case p.forward:
		return Forwarding
	case p.learn:
		return Learning
	}
	return Discarding
}
