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
	Guard    Guard
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

// Guard keeps a port from answering in the place of those who configure the stations of
// a network.
type Guard struct {
	RA   bool // it sends no router advertisements and no redirects (RFC 6105)
	DHCP bool // nor anything that a server of DHCP or DHCPv6 says (RFC 7610)
}

// equal reports whether two policies are the same.
func (p Policy) equal(q Policy) bool {
	return p.Mode == q.Mode && p.Uplink == q.Uplink && p.Hairpin == q.Hairpin && p.Isolated == q.Isolated &&
		p.VLAN.equal(q.VLAN) && p.Security.MaxMACs == q.Security.MaxMACs && p.Security.Sticky == q.Security.Sticky &&
		slices.Equal(p.Security.Sources, q.Security.Sources) && p.Storm == q.Storm && p.Guard == q.Guard &&
		p.Ingress == q.Ingress && p.Egress == q.Egress && p.STP == q.STP
}

// class is what the policies of two ports can differ in as far as it matters to
// whom their frames may go. There are few classes, however many ports.
type class struct {
	mode     Mode
	uplink   bool
	isolated bool
}

func (p *Policy) class() class { return class{p.Mode, p.Uplink, p.Isolated} }

// The three functions below, of two different ports, are the whole forwarding
// policy. Snapshots hold their answers as sets, so that no worker asks.

// mayReach reports whether frames from one port may leave by another.
func (c class) mayReach(out class) bool {
	switch {
	case c.isolated && out.isolated:
		return false
	case c.uplink || out.uplink:
		return true
	}
	return c.mode == Bridge && out.mode == Bridge
}

// mustDetour reports whether frames for a station at another port go to the
// uplink, for the relay behind it to send them back.
func (c class) mustDetour(out class) bool {
	return !c.uplink && !out.uplink && (c.mode != Bridge || out.mode != Bridge) && !(c.isolated && out.isolated)
}

// mayReturn reports whether a frame that one port has sent, and that comes back
// by the uplink, may go to another. A port in bridge mode has got straight from
// another what it should have; one in VEPA mode has not (macvlan_multicast_rx in
// the kernel).
func (c class) mayReturn(out class) bool {
	switch {
	case out.uplink || c.isolated && out.isolated:
		return false
	case out.mode == VEPA:
		return c.mode == VEPA || c.mode == Bridge
	case out.mode == Bridge:
		return c.mode == VEPA
	}
	return false
}
