package uplink

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addresses reads those of an interface that others may talk to.
func (s *State) addresses(h *netlink.Handle, l netlink.Link) error {
	list, err := h.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	var four, six []netlink.Addr
	for _, a := range list {
		switch p, ok := prefixOf(a.IPNet); {
		case !ok || a.Scope >= unix.RT_SCOPE_HOST:
		case p.Addr().Is4():
			four = append(four, a)
		case a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0: // nobody's yet (RFC 4862 clause 5.4)
		case p.Addr().IsLinkLocalUnicast():
			s.LinkLocal = p.Addr() // the kernel names the oldest one last
		case a.Scope == unix.RT_SCOPE_UNIVERSE:
			six = append(six, a)
		}
	}
	// Those beyond the link first, each kind in the kernel's order, which has
	// secondary addresses behind their primary one.
	slices.SortStableFunc(four, func(a, b netlink.Addr) int { return cmp.Compare(a.Scope, b.Scope) })
	slices.Reverse(six) // also here the oldest one first: a new one is not to move all flows
	slices.SortStableFunc(six, best6)
	s.Addresses, s.Addresses6 = prefixesOf(four), prefixesOf(six)
	return nil
}

// best6 orders addresses by how well they serve for flows that last. Temporary ones
// change by the day (RFC 8981), deprecated ones are about to go (RFC 4862 clause
// 5.5.4), and unique local ones reach less far (RFC 4193).
func best6(a, b netlink.Addr) int {
	worst := func(a netlink.Addr) (n int) {
		if a.Flags&unix.IFA_F_TEMPORARY != 0 {
			n += 4
		}
		if a.Flags&unix.IFA_F_DEPRECATED != 0 {
			n += 2
		}
		if a.IP.IsPrivate() {
			n++
		}
		return n
	}
	return cmp.Compare(worst(a), worst(b))
}

func prefixesOf(list []netlink.Addr) (prefixes []netip.Prefix) {
	for _, a := range list {
		p, _ := prefixOf(a.IPNet)
		prefixes = append(prefixes, p)
	}
	return prefixes
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits), ok
}

// Addresses follows what addresses the host has, on all its interfaces.
type Addresses struct{ f *follower[[]netip.Addr] }

// FollowAddresses is as FollowHost. The addresses are of both families, in order;
// those of loopback and IPv6's link-local ones are left out, as they mean nothing
// to another machine.
func FollowAddresses(changed func([]netip.Addr)) (*Addresses, error) {
	const groups = unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR
	f, err := follow(groups, hostAddresses, changed)
	if err != nil {
		return nil, err
	}
	return &Addresses{f}, nil
}

// List returns the last addresses. It must not be changed.
func (a *Addresses) List() []netip.Addr { return *a.f.value.Load() }

// Close ends the following, and waits for a callback under way.
func (a *Addresses) Close() { a.f.close() }

func hostAddresses(h *netlink.Handle) ([]netip.Addr, error) {
	list, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var found []netip.Addr
	for _, a := range list {
		p, ok := prefixOf(a.IPNet)
		addr := p.Addr()
		if ok && !addr.IsLoopback() && (addr.Is4() || !addr.IsLinkLocalUnicast()) {
			found = append(found, addr)
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found), nil
}
