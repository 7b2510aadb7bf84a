package sockets

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// gatewayAddresses are those of the network's gateway, in whose name guests are told of
// errors and see peers that they may not see as they are.
type gatewayAddresses struct {
	addresses []netip.Prefix // with their subnets
	link      netip.Addr     // the link-local one, where there is IPv6
}

func (c *Config) gateway() gatewayAddresses {
	var g gatewayAddresses
	if c.Address.IsValid() {
		g.addresses = append(g.addresses, c.Address)
	}
	g.addresses = append(g.addresses, c.Address6...)
	if len(c.Address6) > 0 && c.MAC != (frame.MAC{}) {
		g.link = ndp.LinkLocal(c.MAC)
	}
	return g
}

// is reports whether an address is the gateway's own.
func (g *gatewayAddresses) is(a netip.Addr) bool {
	return a == g.link && a.IsValid() || slices.ContainsFunc(g.addresses, func(own netip.Prefix) bool { return own.Addr() == a })
}

// contains reports whether an address is in one of the gateway's subnets.
func (g *gatewayAddresses) contains(a netip.Addr) bool {
	return slices.ContainsFunc(g.addresses, func(own netip.Prefix) bool { return own.Contains(a) })
}

// facing returns the address by which a guest knows the gateway: the one in the guest's
// subnet, else the first of its family. It is invalid where there is none.
func (g *gatewayAddresses) facing(guest netip.Addr) (a netip.Addr) {
	for _, own := range g.addresses {
		switch {
		case own.Contains(guest):
			return own.Addr()
		case !a.IsValid() && own.Addr().Is4() == guest.Is4():
			a = own.Addr()
		}
	}
	return a
}

// String returns the addresses with their subnets.
func (g *gatewayAddresses) String() string {
	texts := make([]string, len(g.addresses))
	for i, own := range g.addresses {
		texts[i] = own.String()
	}
	return strings.Join(texts, ",")
}
