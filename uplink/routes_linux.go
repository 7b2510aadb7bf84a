package uplink

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/weft/weft/dataplane"
	"golang.org/x/sys/unix"
)

// ErrNoDefault means that the host has no default route by an interface, of either
// family.
var ErrNoDefault = errors.New("this host has no default route: name the uplink's interface")

// DefaultInterface returns the name of the interface that the default route of the
// main table leaves by, that of IPv4, else that of IPv6, or ErrNoDefault.
func DefaultInterface() (string, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return "", fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	routes, err := mainRoutes(h)
	if err != nil {
		return "", err
	}
	l, err := findLink(h, "", routes)
	if err != nil {
		return "", fmt.Errorf("find the interface of the default route: %w", err)
	}
	if l == nil {
		return "", ErrNoDefault
	}
	return l.Attrs().Name, nil
}

// mainRoutes returns the routes of the main table that the kernel may choose for a
// packet of no special kind, those of IPv4 first, and the one it prefers first among
// those to one destination.
func mainRoutes(h *netlink.Handle) ([]netlink.Route, error) {
	var all []netlink.Route
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		all = append(all, inOrder(list)...)
	}
	return all, nil
}

// inOrder is for the routes of one family.
func inOrder(list []netlink.Route) []netlink.Route {
	list = slices.DeleteFunc(list, func(r netlink.Route) bool {
		switch r.Type {
		case unix.RTN_UNICAST, unix.RTN_UNREACHABLE, unix.RTN_BLACKHOLE, unix.RTN_PROHIBIT, unix.RTN_THROW:
		default: // local, broadcast and multicast ones are no ways
			return true
		}
		if to := destination(&r).Addr(); to.Is6() && (to.IsLinkLocalUnicast() || to.IsLoopback() || to.IsMulticast()) {
			return true // each interface has its fe80::/64, and no packet for it is routed
		}
		return r.Tos != 0 || len(r.MultiPath) == 0 && r.Flags&unix.RTNH_F_DEAD != 0
	})
	slices.SortStableFunc(list, func(a, b netlink.Route) int { return cmp.Compare(uint32(a.Priority), uint32(b.Priority)) })
	return list
}

// destination returns where a route leads to; a default route's is 0.0.0.0/0 or ::/0.
func destination(r *netlink.Route) netip.Prefix {
	switch {
	case r.Dst == nil && r.Family == netlink.FAMILY_V6:
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	case r.Dst == nil:
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	p, _ := prefixOf(r.Dst)
	return p
}

// defaultIndex returns the interface of the best default route, of IPv4 where there
// is one, or 0.
func defaultIndex(routes []netlink.Route) int {
	return cmp.Or(defaultOf(routes, true), defaultOf(routes, false))
}

// defaultOf is defaultIndex for one family.
func defaultOf(routes []netlink.Route, v4 bool) int {
	for i := range routes {
		r := &routes[i]
		if to := destination(r); to.Bits() != 0 || to.Addr().Is4() != v4 {
			continue
		}
		if r.Type != unix.RTN_UNICAST {
			return 0
		}
		for _, hop := range r.MultiPath {
			if hop.Flags&unix.RTNH_F_DEAD == 0 {
				return hop.LinkIndex
			}
		}
		return r.LinkIndex
	}
	return 0
}

// routesBy returns what the host would send by the interface index, and what it
// would not: that is blocked, as the host has another way there or none. Only the
// route with the best metric counts for each destination. Without a default route
// by this interface there is none here: no route blocks as well. Of two with one
// metric the first counts: what IPv6 routers say of their own preference (RFC 4191)
// does not.
func routesBy(routes []netlink.Route, index int) []dataplane.Route {
	var list []dataplane.Route
	seen := map[netip.Prefix]bool{}
	for i := range routes {
		to := destination(&routes[i])
		if seen[to] {
			continue
		}
		seen[to] = true
		via, ok := hopBy(&routes[i], index)
		if ok || to.Bits() != 0 {
			list = append(list, dataplane.Route{Destination: to, Via: via, Blocked: !ok})
		}
	}
	slices.SortFunc(list, func(a, b dataplane.Route) int {
		return cmp.Or(a.Destination.Addr().Compare(b.Destination.Addr()), cmp.Compare(a.Destination.Bits(), b.Destination.Bits()))
	})
	return list
}

// hopBy returns the next hop of a route on the interface index, the zero Addr for
// the link itself; ok is false where it leads elsewhere or nowhere. A next hop of
// another family (RFC 5549) and a tunnel's wrapping are not done here.
func hopBy(r *netlink.Route, index int) (via netip.Addr, ok bool) {
	if r.Type != unix.RTN_UNICAST {
		return via, false
	}
	for _, hop := range r.MultiPath {
		if hop.LinkIndex == index && hop.Flags&unix.RTNH_F_DEAD == 0 && hop.Via == nil && hop.Encap == nil {
			via, _ = netip.AddrFromSlice(hop.Gw)
			return via.Unmap(), true
		}
	}
	if len(r.MultiPath) != 0 || r.LinkIndex != index || r.Via != nil || r.Encap != nil {
		return via, false
	}
	via, _ = netip.AddrFromSlice(r.Gw)
	return via.Unmap(), true
}
