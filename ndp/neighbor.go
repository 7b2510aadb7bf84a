package ndp

import (
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// Neighbor is what a neighbour solicitation or advertisement says (RFC 4861 clauses
// 4.3 and 4.4).
type Neighbor struct {
	Target netip.Addr
	MAC    frame.MAC // of whoever asks, or has the target; zero where it is not said

	// Of an advertisement.
	Router    bool // the sender is a router
	Solicited bool // it answers a solicitation
	Override  bool // what was known before does not hold
}

const (
	flagRouter    = 0x80
	flagSolicited = 0x40
	flagOverride  = 0x20
)

// ParseNeighbor reads a valid message, from its ICMPv6 type on.
func ParseNeighbor(message []byte) Neighbor {
	n := Neighbor{Target: netip.AddrFrom16([16]byte(message[targetAt:]))}
	if message[0] == NeighborSolicitation {
		n.MAC = linkLayer(message[neighborLen:], optionSource)
		return n
	}
	n.MAC = linkLayer(message[neighborLen:], optionTarget)
	flags := message[4]
	n.Router, n.Solicited, n.Override = flags&flagRouter != 0, flags&flagSolicited != 0, flags&flagOverride != 0
	return n
}

// Solicitation returns the message that asks for a target. Its checksum is for Packet
// to fill in.
func (n Neighbor) Solicitation() []byte {
	return appendLinkLayer(n.header(NeighborSolicitation), optionSource, n.MAC)
}

// Advertisement returns the message that says where a target is, without a checksum
// too.
func (n Neighbor) Advertisement() []byte {
	b := n.header(NeighborAdvertisement)
	if n.Router {
		b[4] |= flagRouter
	}
	if n.Solicited {
		b[4] |= flagSolicited
	}
	if n.Override {
		b[4] |= flagOverride
	}
	return appendLinkLayer(b, optionTarget, n.MAC)
}

func (n Neighbor) header(kind byte) []byte {
	b := make([]byte, neighborLen, neighborLen+unit)
	b[0] = kind
	target := n.Target.As16()
	copy(b[targetAt:], target[:])
	return b
}

// Solicitation returns a router solicitation, with the sender's MAC address where it
// is not zero: a sender without an address does not give it.
func Solicitation(mac frame.MAC) []byte {
	b := make([]byte, solicitationLen, solicitationLen+unit)
	b[0] = RouterSolicitation
	return appendLinkLayer(b, optionSource, mac)
}

// ParseSolicitation returns the MAC address that the sender of a valid router
// solicitation gives, zero where it gives none.
func ParseSolicitation(message []byte) frame.MAC {
	return linkLayer(message[solicitationLen:], optionSource)
}

// ParseTarget returns the target of a neighbour message that need not be valid, but
// has at least its header.
func ParseTarget(message []byte) netip.Addr {
	return netip.AddrFrom16([16]byte(message[targetAt:]))
}
