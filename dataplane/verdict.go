package dataplane

// Verdict is what became of a frame, with the reason. Everything from Runt on
// is a drop, and each drop is counted under its name at one port: where the
// frame came in, or, for the Egress ones, where it should have left.
type Verdict uint8

const (
	// Forwarded: sent to the one port that the FDB names.
	Forwarded Verdict = iota
	// Flooded: sent to every port that the ingress port may reach.
	Flooded

	// Runt: shorter than an Ethernet header (IEEE 802.3 clause 3).
	Runt
	// Oversized: longer than the network's MTU allows.
	Oversized
	// BadOffload: the virtio-net header contradicts the frame.
	BadOffload
	// BadSource: the source address is a group address or zero, which no
	// station can have (IEEE 802-2014 clause 8.2).
	BadSource
	// ReservedGroup: sent to 01:80:c2:00:00:00-0f, which never crosses a
	// bridge (IEEE 802.1D-2004 clause 7.12.6).
	ReservedGroup
	// SamePort: the destination is on the port the frame came from.
	SamePort
	// NoDestination: no other port is there to take the frame.
	NoDestination

	// RingFull: lost before weft saw it, for want of room.
	RingFull
	// Truncated: longer than any frame weft can carry.
	Truncated

	// EgressOversized: longer than the MTU of the interface it should leave by.
	EgressOversized
	// EgressFull: the receiver's queue had no room.
	EgressFull
	// EgressDown: the interface was down, without carrier or gone.
	EgressDown
	// EgressRefused: the kernel would not take the frame.
	EgressRefused

	numVerdicts
)

var verdictNames = [numVerdicts]string{
	Forwarded:       "forwarded",
	Flooded:         "flooded",
	Runt:            "runt",
	Oversized:       "oversized",
	BadOffload:      "bad-offload",
	BadSource:       "bad-source",
	ReservedGroup:   "reserved-group",
	SamePort:        "same-port",
	NoDestination:   "no-destination",
	RingFull:        "ring-full",
	Truncated:       "truncated",
	EgressOversized: "egress-oversized",
	EgressFull:      "egress-full",
	EgressDown:      "egress-down",
	EgressRefused:   "egress-refused",
}

// String returns the name under which the verdict is counted.
func (v Verdict) String() string {
	if v >= numVerdicts {
		return "unknown"
	}
	return verdictNames[v]
}

// IsDrop reports whether the frame went nowhere.
func (v Verdict) IsDrop() bool { return v >= Runt }
