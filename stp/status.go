package stp

import "time"

// Status is what a bridge knows of the tree, for people to read.
type Status struct {
	Bridge   BridgeID
	Root     BridgeID
	RootCost uint32 // of the path to the root, 0 where this bridge is the root
	RootPort PortID // 0 where this bridge is the root

	// MaxAge and ForwardDelay are those of the root, except that ForwardDelay
	// is 0 where this bridge does not wait. Hello is that of this bridge.
	Hello, MaxAge, ForwardDelay time.Duration

	// TopologyChanges counts the periods in which the topology changed;
	// SinceChange is the time since the last one ended, or since New, in seconds
	// (14.8.1.1.3).
	TopologyChanges uint64
	TopologyChange  bool // such a period is under way
	SinceChange     time.Duration
}

// Status returns what is true now.
func (b *Bridge) Status() Status {
	s := Status{
		Bridge:          b.id,
		Root:            b.root.root,
		RootCost:        b.root.cost,
		Hello:           time.Duration(b.designated.hello) * time.Second,
		MaxAge:          time.Duration(b.designated.maxAge) * time.Second,
		ForwardDelay:    time.Duration(b.fwdDelay()) * time.Second,
		TopologyChanges: b.changes,
		TopologyChange:  b.changing,
		SinceChange:     time.Duration(b.seconds-b.lastChange) * time.Second,
	}
	if b.rootPort != nil {
		s.RootPort = b.rootPort.number
	}
	return s
}

// Values of PortStatus.Inconsistent.
const (
	InconsistentBPDUGuard = "bpdu-guard" // a BPDU came; see PortConfig.BPDUGuard
	InconsistentRootGuard = "root-guard" // a better root, or way to it, is offered
	InconsistentSelfLoop  = "self-loop"  // what the port sends comes back to it
)

// PortStatus is what a port knows of the tree, for people to read.
type PortStatus struct {
	Up    bool // the link is
	State State
	Role  Role
	Cost  uint32 // of the port

	// Who is designated on the segment of the port, and what it is away from
	// the root. Zero where the port is Disabled.
	DesignatedBridge BridgeID
	DesignatedPort   uint16 // port identifier: 4 bits priority, 12 bits number
	DesignatedCost   uint32

	Inconsistent string // why the port is Discarding that could be more, or ""
	Edge         bool   // taken for one that leads to hosts only
	Version      string // what the port sends: "rstp" or "stp"

	Received, Sent uint64 // BPDUs since SetPort
	Malformed      uint64 // what Receive refused; not in Received
}

// PortStatus returns what is true now, and whether there is such a port.
func (b *Bridge) PortStatus(id PortID) (PortStatus, bool) {
	p := b.port(id)
	if p == nil {
		return PortStatus{}, false
	}
	s := PortStatus{
		Up:           p.up,
		State:        p.state(),
		Role:         p.role,
		Cost:         p.config.Cost,
		Inconsistent: p.inconsistent(),
		Edge:         p.operEdge,
		Version:      "stp",
		Received:     p.received,
		Sent:         p.sent,
		Malformed:    p.malformed,
	}
	if p.sendRSTP {
		s.Version = "rstp"
	}
	if p.held() {
		s.Role = RoleBackup
	}
	if p.infoIs != infoDisabled {
		s.DesignatedBridge, s.DesignatedPort, s.DesignatedCost = p.priority.bridge, p.priority.port, p.priority.cost
	}
	return s, true
}

func (p *port) inconsistent() string {
	switch {
	case p.guarded:
		return InconsistentBPDUGuard
	case p.held():
		return InconsistentSelfLoop
	case p.config.RootGuard && p.role == RoleAlternate:
		return InconsistentRootGuard
	}
	return ""
}
