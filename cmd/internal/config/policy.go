package config

import (
	"slices"
	"strconv"

	"github.com/weft/weft/dataplane/frame"
)

// Values of Policy.Mode, in the words of macvtap. All but ModeBridge need a
// network with an uplink.
const (
	ModeBridge      = "bridge"      // to every other port, as learned
	ModeVEPA        = "vepa"        // to the uplink only; a relay there sends back what is for a sibling
	ModePrivate     = "private"     // to the uplink only, and never to a sibling
	ModePassthrough = "passthrough" // the port and the uplink are the ends of a wire
)

// Values of PortSTP.Edge.
const (
	EdgeAuto  = "auto"  // an edge until a BPDU says otherwise
	EdgeTrue  = "true"  // forwards at once
	EdgeFalse = "false" // waits, as towards another bridge
)

// Policy says what the frames of a port may do. All of it can change while the
// port runs.
type Policy struct {
	Mode     string // ModeBridge, ModeVEPA, ModePrivate or ModePassthrough
	Hairpin  bool   // frames may leave by the port they came from; only with ModeBridge
	Isolated bool   // no frames from or to another isolated port
	VLAN     VLAN
	STP      PortSTP
	Security Security
	Guard    Guard
	Storm    Storm
	Rate     Rates
}

// VLAN says which VLANs (IEEE 802.1Q) a port is in: Access alone, or Trunk
// with or without Native. The zero VLAN is a port that carries every VLAN as
// it is.
type VLAN struct {
	Access uint16      // 1-4094, the only VLAN of the port, untagged there; 0 for none
	Trunk  []VLANRange // tagged; sorted, apart from each other
	Native uint16      // 1-4094, the VLAN of the trunk that is untagged; 0 for none
}

// VLANRange is First, Last and all between.
type VLANRange struct{ First, Last uint16 }

func (v VLANRange) has(id uint16) bool { return v.First <= id && id <= v.Last }

// isSet reports whether the port is in chosen VLANs, and not in all.
func (v *VLAN) isSet() bool { return v.Access != 0 || v.Native != 0 || len(v.Trunk) > 0 }

// only returns the VLANs that the port is in; none where that is any VLAN, or
// where v is bad, which is refused for itself.
func (v *VLAN) only() []VLANRange {
	switch {
	case v.Access != 0 && len(v.Trunk) > 0, v.Access > maxVLAN, slices.ContainsFunc(v.Trunk, isBadRange):
		return nil
	case v.Access != 0:
		return []VLANRange{{v.Access, v.Access}}
	}
	return v.Trunk
}

// String returns the range as in a file, "10" or "20-30".
func (v VLANRange) String() string {
	first := strconv.Itoa(int(v.First))
	if v.First == v.Last {
		return first
	}
	return first + "-" + strconv.Itoa(int(v.Last))
}

// PortSTP is a port's part in the spanning tree of its network. Normalize takes
// one with an empty Edge for one that nobody filled, and a zero in it for the
// default.
type PortSTP struct {
	Edge      string // EdgeAuto, EdgeTrue or EdgeFalse
	Priority  int    // 0-240 in steps of 16
	Cost      int    // of the path by this port, 1-200000000
	RootGuard bool   // the root of the tree is never behind this port
	BPDUGuard bool   // a BPDU shuts the port
}

// Security bounds the source addresses of a port.
type Security struct {
	MaxMACs int         // learned at a time, 0-65536, up to FDB.PortLimit where that is set; 0 means any number
	Sticky  bool        // what was learned stays at the port; needs MaxMACs
	Sources []frame.MAC // the only ones taken, at most 64, sorted; none means all
}

// Guard keeps guests of a port from speaking for the network (RFC 6105, RFC 7610):
// what they send of it is a counted drop.
type Guard struct {
	RA   bool // router advertisements, and redirects
	DHCP bool // answers of a DHCP server, of both families
}

// Storm bounds what a port may send in of the frames that are flooded: frames
// per second, 0-100000000, 0 for no limit.
type Storm struct {
	Broadcast int
	Multicast int
	Unknown   int // to unicast addresses that no port is known for
}

// Rates are the limits of the two directions of a port.
type Rates struct {
	Ingress Rate // from the attachment into the network
	Egress  Rate // from the network to the attachment
}

// Rate is a limit of one direction.
type Rate struct {
	Average uint64 // bits per second, 8000-1000000000000; 0 for no limit
	Peak    uint64 // bits per second within a burst, at least Average; 0 for no limit
	Burst   int    // bytes at once after a pause, up to 1 GiB; Normalize fills a 0 beside Average
}

func defaultPolicy() Policy {
	p := Policy{}
	p.fill()
	return p
}

func (p *Policy) fill() {
	if p.Mode == "" {
		p.Mode = ModeBridge
	}
	p.STP.fill()
	p.Rate.Ingress.fill()
	p.Rate.Egress.fill()
}

// fill needs a sign of what was never filled: 0 is a good priority.
func (s *PortSTP) fill() {
	if s.Edge != "" {
		return
	}
	s.Edge = EdgeAuto
	if s.Priority == 0 {
		s.Priority = 128 // IEEE 802.1D-2004 table 17-2
	}
	if s.Cost == 0 {
		s.Cost = 2000 // a link of 10 Gbit/s, table 17-3
	}
}

func (r *Rate) fill() {
	if r.Burst == 0 {
		r.Burst = defaultBurst(r.Average)
	}
}

// defaultBurst returns what average carries in 250 ms, but two super-frames at
// the least. What exceeds a rate is dropped, not queued: much less leaves TCP a
// fraction of the rate, and below one super-frame, which it sends at once, it
// stalls.
func defaultBurst(average uint64) int {
	if average == 0 {
		return 0
	}
	return int(min(max(average/8/4, minDefaultBurst), maxBurst))
}

// unfill takes the burst out that Normalize has put in, so that it follows a
// change of the average.
func (r *Rate) unfill() {
	if r.Burst == defaultBurst(r.Average) {
		r.Burst = 0
	}
}

func (p *Policy) sort() {
	p.VLAN.Trunk = mergeRanges(p.VLAN.Trunk)
	slices.SortStableFunc(p.Security.Sources, compareMAC)
}

// mergeRanges sorts list and returns it with those joined that touch. It joins
// none where one is bad, for Validate to see.
func mergeRanges(list []VLANRange) []VLANRange {
	slices.SortStableFunc(list, func(a, b VLANRange) int {
		if a.First != b.First {
			return int(a.First) - int(b.First)
		}
		return int(a.Last) - int(b.Last)
	})
	if slices.ContainsFunc(list, isBadRange) {
		return list
	}
	var out []VLANRange
	for _, v := range list {
		if last := len(out) - 1; last >= 0 && v.First <= out[last].Last+1 {
			out[last].Last = max(out[last].Last, v.Last)
			continue
		}
		out = append(out, v)
	}
	return out
}
