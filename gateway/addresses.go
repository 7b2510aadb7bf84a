package gateway

import (
	"net/netip"
	"strings"

	"github.com/weft/weft/ndp"
)

// addresses are all that a gateway has, with their subnets: the IPv4 one first, then
// the link-local one of IPv6 and the others.
type addresses []netip.Prefix

// linkLocal are the addresses of one link (RFC 4291 clause 2.5.6).
var linkLocal = netip.MustParsePrefix("fe80::/10")

func (c *Config) addresses() (all addresses) {
	if c.Address.IsValid() {
		all = append(all, c.Address)
	}
	if len(c.Address6) > 0 {
		all = append(all, netip.PrefixFrom(ndp.LinkLocal(c.MAC), linkLocal.Bits()))
	}
	return append(all, c.Address6...)
}

// has reports whether an address is the gateway's own.
func (all addresses) has(a netip.Addr) bool {
	for _, p := range all {
		if p.Addr() == a {
			return true
		}
	}
	return false
}

// reach reports whether an address is that of another station on the gateway's link.
func (all addresses) reach(a netip.Addr) bool {
	on := false
	for _, p := range all {
		if p.Addr() == a {
			return false
		}
		on = on || p.Contains(a)
	}
	return on
}

// toward returns the address that the gateway speaks to another one from: one of the
// same subnet, else the first of the family, which is the link-local one for IPv6.
func (all addresses) toward(a netip.Addr) (from netip.Addr) {
	for _, p := range all {
		if p.Contains(a) {
			return p.Addr()
		}
		if !from.IsValid() && p.Addr().Is4() == a.Is4() {
			from = p.Addr()
		}
	}
	return from
}

// link is the gateway's link-local address, zero without IPv6.
func (all addresses) link() netip.Addr { return all.toward(ndp.AllNodes) }

// families says which ones there are addresses of.
func (all addresses) families() (v4, v6 bool) {
	for _, p := range all {
		v4, v6 = v4 || p.Addr().Is4(), v6 || p.Addr().Is6()
	}
	return v4, v6
}

// String lists those that were configured.
func (all addresses) String() string {
	var list []string
	for _, p := range all {
		if !p.Addr().IsLinkLocalUnicast() {
			list = append(list, p.String())
		}
	}
	return strings.Join(list, ", ")
}
