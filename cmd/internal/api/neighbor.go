package api

// Neighbor is an address on a link and the MAC that it was last known to have: of the
// hosts of a network as its gateway knows them, or of what is next to an uplink.
type Neighbor struct {
	Network string `json:"network"` // or the interface of an uplink
	Address string `json:"address"`
	MAC     string `json:"mac"`   // empty while it is not known
	State   string `json:"state"` // one of NeighborStates
}

// Values of Neighbor.State, in the words of RFC 4861 section 7.3.2.
const (
	NeighborReachable  = "reachable"  // its MAC is known
	NeighborIncomplete = "incomplete" // it has been asked for, and has not answered
)

// NeighborStates returns all values of Neighbor.State.
func NeighborStates() []string { return []string{NeighborReachable, NeighborIncomplete} }
