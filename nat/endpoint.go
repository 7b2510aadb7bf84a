package nat

import "net/netip"

// Endpoint is one end of a flow.
type Endpoint struct {
	// Addr is an IP address, an IPv4 one as ::ffff:a.b.c.d.
	Addr [16]byte
	// Port is that of TCP and UDP, the identifier of an ICMP query, and 0 for
	// every other protocol.
	Port uint16
}

// EndpointOf returns the endpoint of an address and port.
func EndpointOf(a netip.AddrPort) Endpoint {
	return Endpoint{Addr: a.Addr().As16(), Port: a.Port()}
}

// AddrPort is the inverse of EndpointOf: an IPv4 address comes as one.
func (e Endpoint) AddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(e.Addr).Unmap(), e.Port)
}
