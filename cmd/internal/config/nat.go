package config

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Values of Uplink.Address that are no address.
const (
	AddressAuto    = "auto"    // AddressHost where that is possible, else AddressSockets
	AddressHost    = "host"    // that of the host, shared with it
	AddressSockets = "sockets" // none: flows leave by ordinary sockets of the host
	AddressDHCP    = "dhcp"    // what a DHCP server out there gives
	AddressNone    = "none"    // none of IPv4
)

// Values of Uplink.Address6 that are no address.
const (
	AddressSLAAC = "slaac" // what the routers out there advertise, and DHCPv6 where they say so
	AddressDHCP6 = "dhcp6" // the same, and DHCPv6 where they do not say so
)

// Values of NAT.IPv6 that are no prefix.
const (
	NATMasquerade = "masquerade" // from the address of the uplink, as IPv4
	NATRoute      = "route"      // as it is; see Network.Inbound
)

// ReachHost in Network.Reach is this host.
const ReachHost = "host"

// Values of NAT.Mapping.
const (
	MappingEndpointIndependent = "endpoint-independent" // an inside port has one outside port for all
	MappingSymmetric           = "symmetric"            // and here one for each destination
)

// Values of NAT.Filtering: who may answer by an outside port.
const (
	FilterAddress  = "address"  // the addresses that were talked to
	FilterEndpoint = "endpoint" // those, from the port that was talked to
	FilterNone     = "none"     // anybody
)

// Values of Publish.Protocol.
const (
	TCP = "tcp"
	UDP = "udp"
)

// What applies to NAT where a file says nothing. The times are those of RFC 4787
// REQ-5, RFC 5382 REQ-5 and RFC 5508 REQ-2, which are lower bounds there.
const (
	DefaultFirstPort       = 1024
	DefaultLastPort        = 65535
	DefaultMaxFlows        = 65536
	DefaultMaxFlowsPerHost = 8192

	DefaultUDPTimeout           = 300 * time.Second
	DefaultTCPTimeout           = 7440 * time.Second
	DefaultTCPTransitoryTimeout = 240 * time.Second
	DefaultICMPTimeout          = 60 * time.Second
	DefaultOtherTimeout         = 600 * time.Second
)

// Route is a way to a subnet that is neither the network's own nor in Reach. Via
// is a station of the network, or one in the subnet of the uplink, where that has
// an address in the file.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// NAT is how a network with ForwardNAT is translated (RFC 4787, 5382, 5508).
type NAT struct {
	PortRange         // of outside ports, 1-65535
	Addresses []Range // outside ones in place of the uplink's own, of its family; sorted, disjoint
	IPv6      string  // NATMasquerade, NATRoute, or a prefix that the network's own is translated to (RFC 6296)

	Mapping   string // MappingEndpointIndependent or MappingSymmetric
	Filtering string // FilterAddress, FilterEndpoint or FilterNone

	MaxFlows        int // of the network, 1-4194304
	MaxFlowsPerHost int // of one inside host, 1-MaxFlows; more is as much as that
	Timeouts        Timeouts

	Publish []Publish // sorted by protocol and listen
}

// PortRange is First, Last and all ports between.
type PortRange struct{ First, Last int }

// Timeouts say how long a flow lives without a packet, in whole seconds.
type Timeouts struct {
	UDP           time.Duration
	TCP           time.Duration // of an established connection
	TCPTransitory time.Duration // of one that opens or closes
	ICMP          time.Duration // of an echo
	Other         time.Duration // of any other protocol
}

// Publish makes a port of an inside host known outside.
type Publish struct {
	Protocol string // TCP or UDP
	Listen   Listen
	To       netip.AddrPort // in a subnet of the network; the port is that of Listen.First
}

// Listen is a range of outside ports. With Addr it is a listening socket of this
// host there, and the inside host sees the gateway as the source; without, it is
// at the uplink, and the source is kept.
type Listen struct {
	Addr        netip.Addr
	First, Last int
}

// Forwards reports whether the network's frames go on by IP: with ForwardNAT and
// ForwardRoute.
func (n *Network) Forwards() bool { return n.Forward == ForwardNAT || n.Forward == ForwardRoute }

// L3Uplink returns the uplink of a network that Forwards, and false for all others.
// An empty Interface is that of the host's default route. Networks of the same
// Interface share one uplink, and are the same in all else, which Validate sees
// to; those of AddressSockets have none to share.
func (n *Network) L3Uplink() (Uplink, bool) {
	if !n.Forwards() {
		return Uplink{}, false
	}
	filled := *n
	filled.fillUplink()
	return filled.Uplink, true
}

// Prefix returns the IPv4 address that the file gives the uplink, zero where it
// gives none.
func (u Uplink) Prefix() netip.Prefix { return prefixOf(ipv4, u.Address) }

// Prefix6 is Prefix for IPv6.
func (u Uplink) Prefix6() netip.Prefix { return prefixOf(ipv6, u.Address6) }

// Prefix6 returns the outside prefix, zero where IPv6 is a word.
func (n *NAT) Prefix6() netip.Prefix { return prefixOf(ipv6, n.IPv6) }

// prefixOf returns a prefix of that family, zero for a word and for another one.
func prefixOf(f family, s string) netip.Prefix {
	if p, err := netip.ParsePrefix(s); err == nil && f.has(p.Addr()) {
		return p
	}
	return netip.Prefix{}
}

// of returns the address and the gateway that the file gives the uplink of one
// family, zero where it gives none.
func (u Uplink) of(f family) (address netip.Prefix, gateway netip.Addr) {
	if f == ipv6 {
		return u.Prefix6(), u.Gateway6
	}
	return u.Prefix(), u.Gateway
}

// Owned reports whether the interface is weft's alone, with addresses of its own.
func (u Uplink) Owned() bool {
	return u.Address == AddressDHCP || u.Prefix().IsValid() || u.Address6 != ""
}

func defaultNAT() NAT {
	return NAT{
		PortRange: PortRange{DefaultFirstPort, DefaultLastPort},
		IPv6:      NATMasquerade,
		Mapping:   MappingEndpointIndependent, Filtering: FilterAddress,
		MaxFlows: DefaultMaxFlows, MaxFlowsPerHost: DefaultMaxFlowsPerHost,
		Timeouts: Timeouts{
			UDP: DefaultUDPTimeout, TCP: DefaultTCPTimeout, TCPTransitory: DefaultTCPTransitoryTimeout,
			ICMP: DefaultICMPTimeout, Other: DefaultOtherTimeout,
		},
	}
}

// fillUplink gives the uplink of a network that forwards an address, and takes it
// from one that no longer does, where nothing else was said of the uplink.
func (n *Network) fillUplink() {
	switch {
	case n.Forwards() && n.Uplink.Address == "" && n.Uplink.Address6 != "":
		n.Uplink.Address = AddressNone
	case n.Forwards() && n.Uplink.Address == "":
		n.Uplink.Address = AddressAuto
	case n.Forward == ForwardIsolated && n.Uplink == Uplink{Address: AddressAuto}:
		n.Uplink = Uplink{}
	}
}

func (n *NAT) sort() {
	slices.SortStableFunc(n.Addresses, compareRange)
	slices.SortStableFunc(n.Publish, func(a, b Publish) int {
		return cmp.Or(strings.Compare(a.Protocol, b.Protocol), a.Listen.Addr.Compare(b.Listen.Addr),
			cmp.Compare(a.Listen.First, b.Listen.First), cmp.Compare(a.Listen.Last, b.Listen.Last), a.To.Compare(b.To))
	})
}

func compareRange(a, b Range) int { return cmp.Or(a.First.Compare(b.First), a.Last.Compare(b.Last)) }

func compareRoute(a, b Route) int {
	return cmp.Or(comparePrefix(a.To, b.To), a.Via.Compare(b.Via))
}

func (n NAT) clone() NAT {
	n.Addresses, n.Publish = slices.Clone(n.Addresses), slices.Clone(n.Publish)
	return n
}
