package netdev

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
)

// Subnet is a range of addresses that this host reaches by an interface.
type Subnet struct {
	Prefix    netip.Prefix
	Interface string
}

// Subnets returns the subnets of both families that this host has addresses in or routes to,
// but those of interfaces whose alias begins with a prefix. The default route is
// not among them.
func Subnets(alias string) ([]Subnet, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		if a := l.Attrs(); !strings.HasPrefix(a.Alias, alias) {
			names[a.Index] = a.Name
		}
	}
	var list []Subnet
	add := func(n *net.IPNet, index int) {
		name, known := names[index]
		if n == nil || !known {
			return
		}
		addr, ok := netip.AddrFromSlice(n.IP)
		addr = addr.Unmap()
		bits, _ := n.Mask.Size()
		if ok && bits > 0 && (addr.Is4() || !addr.IsLinkLocalUnicast() && !addr.IsMulticast()) { // which every link has
			list = append(list, Subnet{netip.PrefixFrom(addr, bits).Masked(), name})
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		addrs, err := netlink.AddrList(nil, family)
		if err != nil {
			return nil, fmt.Errorf("list addresses: %w", err)
		}
		for _, a := range addrs {
			add(a.IPNet, a.LinkIndex)
		}
		routes, err := netlink.RouteList(nil, family)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			add(r.Dst, r.LinkIndex)
		}
	}
	return list, nil
}
