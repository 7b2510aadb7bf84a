package netdev

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// addrGenNone is the IPv6 address generation mode without link-local
// addresses, IN6_ADDR_GEN_MODE_NONE of include/uapi/linux/if_link.h.
const addrGenNone = 1

// Quiet takes from the interface index, in the calling thread's namespace,
// what makes the host's own stack speak on it: its link-local IPv6 address and
// the making of new ones. With deaf it also turns off ARP and neighbour
// discovery, for where package fastpath's guard cannot keep the stack from
// listening. None of this is a sysctl.
//
// The returned function gives back what was taken; it does nothing for an
// interface that is gone.
func Quiet(index int, deaf bool) (restore func(), err error) {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return nil, fmt.Errorf("interface %d: %w", index, err)
	}
	mode, hasIPv6 := addrGenMode(l.Attrs().Name)
	if hasIPv6 && mode != addrGenNone {
		if err := setAddrGenMode(index, addrGenNone); err != nil {
			return nil, fmt.Errorf("turn off link-local addresses: %w", err)
		}
	}
	removed, err := removeLinkLocal(l)
	if err != nil {
		return nil, err
	}
	deaf = deaf && l.Attrs().RawFlags&unix.IFF_NOARP == 0
	if deaf {
		if err := netlink.LinkSetARPOff(l); err != nil {
			return nil, fmt.Errorf("turn off ARP: %w", err)
		}
	}
	return func() {
		if deaf {
			_ = netlink.LinkSetARPOn(l)
		}
		if hasIPv6 && mode != addrGenNone {
			_ = setAddrGenMode(index, mode)
		}
		for i := range removed {
			_ = netlink.AddrReplace(l, &removed[i])
		}
	}, nil
}

// addrGenMode reads how the interface makes its IPv6 addresses; ok is false
// where the kernel or the interface has no IPv6.
func addrGenMode(name string) (mode uint8, ok bool) {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + name + "/addr_gen_mode")
	if err != nil {
		return 0, false
	}
	v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 8)
	return uint8(v), err == nil
}

func removeLinkLocal(l netlink.Link) ([]netlink.Addr, error) {
	addrs, err := netlink.AddrList(l, netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var removed []netlink.Addr
	for _, a := range addrs {
		if !a.IP.IsLinkLocalUnicast() {
			continue
		}
		if err := netlink.AddrDel(l, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return removed, fmt.Errorf("remove address %s: %w", a.IP, err)
		}
		// A link-local address is made without duplicate detection the
		// second time: it was this interface's before.
		removed = append(removed, netlink.Addr{IPNet: a.IPNet, Scope: a.Scope, Flags: unix.IFA_F_NODAD})
	}
	return removed, nil
}

// setAddrGenMode sends RTM_NEWLINK with IFLA_AF_SPEC/AF_INET6/ADDR_GEN_MODE,
// which the netlink library has no call for ("ip link set … addrgenmode").
func setAddrGenMode(index int, mode uint8) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	inet6 := spec.AddRtAttr(unix.AF_INET6, nil)
	inet6.AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, nl.Uint8Attr(mode))
	req.AddData(spec)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// HostAddresses returns the addresses beyond link-local that the host has on
// the interface, in the calling thread's namespace.
func HostAddresses(index int) ([]net.IP, error) {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return nil, err
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	var ips []net.IP
	for _, a := range addrs {
		if !a.IP.IsLinkLocalUnicast() {
			ips = append(ips, a.IP)
		}
	}
	return ips, nil
}
