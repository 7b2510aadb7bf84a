package dataplane

import (
	"slices"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/stp"
)

// Mode is how a port's frames reach the other ports of its network, in the
// words of macvlan and macvtap (drivers/net/macvlan.c of the kernel).
type Mode uint8

const (
	// Bridge: straight to every other port in this mode, and to the uplink.
	Bridge Mode = iota
	// VEPA: to the uplink only, even for a sibling. The relay behind the
	// uplink is to reflect what it should get (IEEE 802.1Qbg, reflective relay).
	VEPA
	// Private: as VEPA, but what the relay reflects from a sibling, or to
	// one, is dropped.
	Private
	// Passthrough: the port and the uplink are the two ends of a wire.
	Passthrough
)

// String returns the name of the mode.
func (m Mode) String() string {
	return [...]string{Bridge: "bridge", VEPA: "vepa", Private: "private", Passthrough: "passthrough"}[m]
}

// Policy says what a port's frames may do. The zero Policy is that of a plain
// port of a bridge. It is a value: nobody changes one that a port has.
type Policy struct {
	Mode     Mode
	Uplink   bool // the port is the network's way to the wire; its mode is Bridge
	Hairpin  bool // frames may leave by the port they came from
	Isolated bool // no frames from or to another isolated port
	VLAN     VLANs
	Security Security
	Storm    Storm
	Ingress  Rate // of what comes from the attachment
	Egress   Rate // of what goes to it
	STP      stp.PortConfig
}

// Security bounds the source addresses of a port.
type Security struct {
	MaxMACs int         // addresses learned at the port at a time; 0 = any number
	Sticky  bool        // what was learned stays at the port; needs MaxMACs
	Sources []frame.MAC // the only source addresses taken; none = all
}

// equal reports whether two policies are the same.
func (p Policy) equal(q Policy) bool {
	return p.Mode == q.Mode && p.Uplink == q.Uplink && p.Hairpin == q.Hairpin && p.Isolated == q.Isolated &&
		p.VLAN.equal(q.VLAN) && p.Security.MaxMACs == q.Security.MaxMACs && p.Security.Sticky == q.Security.Sticky &&
		slices.Equal(p.Security.Sources, q.Security.Sources) && p.Storm == q.Storm &&
		p.Ingress == q.Ingress && p.Egress == q.Egress && p.STP == q.STP
}

// The three functions below are the whole forwarding policy. Snapshots hold
// their answers as sets, so that no worker asks.

// mayReach reports whether frames from one port may leave by another, or by
// the same one.
func (p *Policy) mayReach(out *Policy) bool {
	switch {
	case p == out:
		return p.Hairpin
	case p.Isolated && out.Isolated:
		return false
	case p.Uplink || out.Uplink:
		return true
	}
	return p.Mode == Bridge && out.Mode == Bridge
}

// mustDetour reports whether frames for a station at another port go to the
// uplink, for the relay behind it to send them back.
func (p *Policy) mustDetour(out *Policy) bool {
	return p != out && !p.Uplink && !out.Uplink && (p.Mode != Bridge || out.Mode != Bridge) &&
		!(p.Isolated && out.Isolated)
}

// mayReturn reports whether a frame that port p has sent, and that comes back
// by the uplink, may go to port out. A port in bridge mode has got straight from
// another what it should have; one in VEPA mode has not. Nothing returns to
// where it came from (macvlan_multicast_rx in the kernel).
func (p *Policy) mayReturn(out *Policy) bool {
	switch {
	case p == out || out.Uplink || p.Isolated && out.Isolated:
		return false
	case out.Mode == VEPA:
		return p.Mode == VEPA || p.Mode == Bridge
	case out.Mode == Bridge:
		return p.Mode == VEPA
	}
	return false
}
