package nat

// State is how far a flow has come.
type State uint8

const (
	// PickedUp: TCP that was picked up in the middle, seen from one side so far.
	PickedUp State = iota
	// SynSent: one side has sent its SYN.
	SynSent
	// SynReceived: both have, and one is still unacknowledged.
	SynReceived
	// Established: both SYNs are acknowledged, or a connection picked up in
	// the middle has been seen from both sides.
	Established
	// FinWait: one side or both have sent a FIN.
	FinWait
	// TimeWait: both FINs are acknowledged.
	TimeWait
	// Closed: reset.
	Closed
	// Unreplied: not TCP, and the side that began has had no answer.
	Unreplied
	// Replied: not TCP, and both sides have sent.
	Replied

	numStates
)

var stateNames = [numStates]string{
	PickedUp:    "new",
	SynSent:     "syn-sent",
	SynReceived: "syn-received",
	Established: "established",
	FinWait:     "fin-wait",
	TimeWait:    "time-wait",
	Closed:      "closed",
	Unreplied:   "unreplied",
	Replied:     "replied",
}

// String returns the name of the state as people read it.
func (s State) String() string {
	if s >= numStates {
		return "unknown"
	}
	return stateNames[s]
}
