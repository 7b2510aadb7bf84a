package nat

import "github.com/weft/weft/dataplane/frame"

// Verdict is what became of a packet in the table. Everything from Filtered on
// is a drop, to be counted by the caller under its name.
type Verdict uint8

const (
	// Translated: rewritten in place. It is to be sent on.
	Translated Verdict = iota
	// Held: a later fragment that came before its first. A copy is kept, and
	// there is nothing to send now.
	Held
	// NotMine: from outside, and no flow, mapping or publish has that
	// destination. The packet is untouched; the uplink's own host may want it.
	NotMine

	// Filtered: the mapping exists, but not for this sender.
	Filtered
	// Invalid: the packet contradicts its flow, or itself: a RST or ICMP error
	// out of window, TCP flags that cannot be, a truncated header or quote.
	Invalid
	// TableFull: as many flows as the zone may have.
	TableFull
	// HostFull: as many flows as one inside host may have.
	HostFull
	// PortsFull: no outside port is free, or there is no outside address.
	PortsFull
	// Unsupported: a protocol without ports, by which another inside host
	// talks to that address already.
	Unsupported
	// Fragmented: a fragment that overlaps another, is one too many, is a
	// first one without its whole transport header, or has no first one.
	Fragmented

	numVerdicts
)

var verdictNames = [numVerdicts]string{
	Translated:  "translated",
	Held:        "held",
	NotMine:     "not-mine",
	Filtered:    "nat-filtered",
	Invalid:     "nat-invalid",
	TableFull:   "nat-table-full",
	HostFull:    "nat-host-full",
	PortsFull:   "nat-ports-full",
	Unsupported: "nat-unsupported",
	Fragmented:  "nat-fragment",
}

// String returns the name under which the verdict is counted.
func (v Verdict) String() string {
	if v >= numVerdicts {
		return "unknown"
	}
	return verdictNames[v]
}

// IsDrop reports whether the packet goes nowhere, for good.
func (v Verdict) IsDrop() bool { return v >= Filtered }

// Result is what Outbound and Inbound say of a packet.
type Result struct {
	Verdict Verdict
	// Zone is that of the packet. It means nothing where Verdict is NotMine,
	// or a drop of a packet from outside.
	Zone Zone
	// Released are later fragments that were held for this first one. They
	// have been treated as it was, and follow it. Their memory is their own.
	Released []*frame.Frame
}
