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
	// Consumed: meant for the switch itself, as a BPDU is.
	Consumed

	// Runt: shorter than an Ethernet header (IEEE 802.3 clause 3).
	Runt
	// Oversized: longer than the network's MTU allows.
	Oversized
	// BadOffload: the virtio-net header contradicts the frame.
	BadOffload
	// BadSource: the source address is a group address or zero, which no
	// station can have (IEEE 802-2014 clause 8.2).
	BadSource
	// ReservedGroup: sent to 01:80:c2:00:00:00-0f, which no bridge
	// forwards unless told to (IEEE 802.1D-2004 clause 7.12.6).
	ReservedGroup
	// VLANDenied: the port is not in the frame's VLAN.
	VLANDenied
	// RateLimited: more than the port may send in.
	RateLimited
	// SourceDenied: the source is not among the addresses that the port is
	// locked to.
	SourceDenied
	// MACLimit: the source is unknown, and the port has as many as it may.
	MACLimit
	// StickyMAC: the source belongs to another port for good.
	StickyMAC
	// AddressOutside: the source has just been heard at the uplink, and ports
	// in VEPA or private mode keep it from moving that fast.
	AddressOutside
	// STPBlocked: the spanning tree keeps the port from forwarding.
	STPBlocked
	// BadBPDU: a BPDU that is not well-formed. It was Consumed before.
	BadBPDU
	// BadGroupMessage: an IGMP or MLD message that is not well-formed.
	BadGroupMessage
	// StormBroadcast: more broadcast frames than the port may send in.
	StormBroadcast
	// StormMulticast: more multicast frames than the port may send in.
	StormMulticast
	// StormUnknown: more frames to unknown addresses than the port may send in.
	StormUnknown
	// ServiceFull: meant for the switch itself, which has too many waiting.
	ServiceFull
	// GatewayAddress: the sender says that it is the network's gateway, by its
	// source address, in ARP or in neighbour discovery, which no guest is.
	GatewayAddress
	// RAGuard: a router advertisement or redirect, or what may hide one, from a port that
	// must not send any.
	RAGuard
	// DHCPGuard: what a DHCP server says, or may say, from such a port.
	DHCPGuard
	// BadPacket: an IP packet to the gateway that is not well-formed, or to an
	// address that no router may forward to (RFC 1812 clause 5.3.7).
	BadPacket
	// NoRoute: an IP packet for the gateway to pass on, which it does not do
	// from this network. Its sender is told by ICMP.
	NoRoute
	// NoService: to the gateway, which does not speak that protocol.
	NoService
	// SourceAddress: a packet to pass on whose source is not of the network it
	// comes from (RFC 2827).
	SourceAddress
	// TTLExceeded: a packet to pass on that has passed too many routers, by its TTL
	// or hop limit.
	TTLExceeded
	// TooBig: longer than the next network takes, and not to be fragmented. Its
	// sender is told.
	TooBig
	// Prohibited: to this machine, or to another network, where that is not
	// allowed.
	Prohibited
	// NoNeighbor: the station that a packet is for, or the next router, does not
	// answer ARP or neighbour solicitations, or too many packets wait for it to.
	NoNeighbor
	// NATFiltered: to an outside address and port that are in use, from somebody
	// who has not been talked to from there.
	NATFiltered
	// NATInvalid: contradicts what is known of its flow, as a forged RST does.
	NATInvalid
	// NATTableFull: of a new flow, when the network has as many as it may.
	NATTableFull
	// NATHostFull: of a new flow, when its station has as many as it may.
	NATHostFull
	// NATPortsFull: of a new flow, when no outside port is free for it.
	NATPortsFull
	// NATUnsupported: of a protocol without ports that another station talks to
	// the same host by.
	NATUnsupported
	// NATFragment: a fragment that overlaps others, lacks its first one, or is one
	// too many.
	NATFragment
	// SamePort: the destination is on the port the frame came from.
	SamePort
	// PortIsolated: source and destination are on isolated ports.
	PortIsolated
	// Reflected: the uplink has sent back what no port may get.
	Reflected
	// NoListener: no port has asked for the multicast group.
	NoListener
	// NoDestination: no other port is there to take the frame.
	NoDestination

	// RingFull: lost before weft saw it, for want of room.
	RingFull
	// Truncated: longer than any frame weft can carry.
	Truncated

	// EgressRateLimited: more than may be sent to the port.
	EgressRateLimited
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
	Forwarded:         "forwarded",
	Flooded:           "flooded",
	Consumed:          "consumed",
	Runt:              "runt",
	Oversized:         "oversized",
	BadOffload:        "bad-offload",
	BadSource:         "bad-source",
	ReservedGroup:     "reserved-group",
	VLANDenied:        "vlan-denied",
	RateLimited:       "rate-limited",
	SourceDenied:      "source-denied",
	MACLimit:          "mac-limit",
	StickyMAC:         "sticky-mac",
	AddressOutside:    "address-outside",
	STPBlocked:        "stp-blocked",
	BadBPDU:           "bad-bpdu",
	BadGroupMessage:   "bad-group-message",
	StormBroadcast:    "storm-broadcast",
	StormMulticast:    "storm-multicast",
	StormUnknown:      "storm-unknown",
	ServiceFull:       "service-full",
	GatewayAddress:    "gateway-address",
	RAGuard:           "ra-guard",
	DHCPGuard:         "dhcp-guard",
	BadPacket:         "bad-packet",
	NoRoute:           "no-route",
	NoService:         "no-service",
	SourceAddress:     "source-address",
	TTLExceeded:       "ttl-exceeded",
	TooBig:            "too-big",
	Prohibited:        "prohibited",
	NoNeighbor:        "no-neighbor",
	NATFiltered:       "nat-filtered",
	NATInvalid:        "nat-invalid",
	NATTableFull:      "nat-table-full",
	NATHostFull:       "nat-host-full",
	NATPortsFull:      "nat-ports-full",
	NATUnsupported:    "nat-unsupported",
	NATFragment:       "nat-fragment",
	SamePort:          "same-port",
	PortIsolated:      "isolated",
	Reflected:         "reflected",
	NoListener:        "no-listener",
	NoDestination:     "no-destination",
	RingFull:          "ring-full",
	Truncated:         "truncated",
	EgressRateLimited: "egress-rate-limited",
	EgressOversized:   "egress-oversized",
	EgressFull:        "egress-full",
	EgressDown:        "egress-down",
	EgressRefused:     "egress-refused",
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
