package uplink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

// State is what an interface of the host is at one moment. States may be compared
// by reflect.DeepEqual; their slices are never changed.
type State struct {
	Name     string // the one asked for, or that of the default route; empty: there is none
	Index    int    // 0: there is no such interface
	MAC      frame.MAC
	MTU      int
	Up       bool   // administratively
	Carrier  bool   // its link is there
	Ethernet bool   // its frames have Ethernet headers; also those of wireless ones
	Link     string // what its frames are, as the kernel says: ether, none, ppp, …
	Master   string // the bridge, bond or VRF that owns it, if any

	Addresses  []netip.Prefix    // of IPv4, with the length of their subnets; the primary one first
	Addresses6 []netip.Prefix    // the global ones of IPv6 that are usable, the best one first; see best6
	LinkLocal  netip.Addr        // that of IPv6, without a zone; zero: there is none that is usable
	Routes     []dataplane.Route // how the host sees the interface as a way, of both families; see routesBy
	Neighbors  []Neighbor        // the permanent ones of both families
}

// Neighbor is a station on the link whose MAC address the administrator has set.
type Neighbor struct {
	Addr netip.Addr
	MAC  frame.MAC
}

// Host follows one interface of the host.
type Host struct{ f *follower[State] }

// FollowHost follows the interface of that name, whichever it is at the moment;
// the empty name means the interface of the default route: that of IPv4, else that
// of IPv6. Where there is none
// the state says so, which is no error.
//
// Changed may be nil. It gets every later state from one goroutine, about 50 ms
// after the change, and must not call Close.
func FollowHost(name string, changed func(State)) (*Host, error) {
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_NEIGH | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE |
		unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE
	f, err := follow(groups, func(h *netlink.Handle) (State, error) { return readState(h, name) }, changed)
	if err != nil {
		return nil, err
	}
	return &Host{f}, nil
}

// State returns the last state.
func (h *Host) State() State { return *h.f.value.Load() }

// Close ends the following, and waits for a callback under way.
func (h *Host) Close() { h.f.close() }

func readState(h *netlink.Handle, name string) (State, error) {
	routes, err := mainRoutes(h)
	if err != nil {
		return State{}, err
	}
	l, err := findLink(h, name, routes)
	if l == nil || err != nil {
		return State{Name: name}, err
	}
	s := describe(l)
	if a := l.Attrs(); a.MasterIndex != 0 {
		s.Master = fmt.Sprintf("interface %d", a.MasterIndex)
		if m, err := h.LinkByIndex(a.MasterIndex); err == nil {
			s.Master = fmt.Sprintf("%s %q", m.Type(), m.Attrs().Name)
		}
	}
	if err = s.addresses(h, l); err != nil {
		return State{}, err
	}
	s.Routes = routesBy(routes, s.Index)
	s.Neighbors, err = neighbors(h, s.Index)
	return s, err
}

// findLink returns nil where there is no such interface.
func findLink(h *netlink.Handle, name string, routes []netlink.Route) (netlink.Link, error) {
	var l netlink.Link
	var err error
	if name != "" {
		l, err = h.LinkByName(name)
	} else if index := defaultIndex(routes); index != 0 {
		l, err = h.LinkByIndex(index)
	}
	if errors.As(err, new(netlink.LinkNotFoundError)) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	return l, err
}

func describe(l netlink.Link) State {
	a := l.Attrs()
	s := State{
		Name: a.Name, Index: a.Index, MTU: a.MTU, Link: a.EncapType,
		Up:       a.Flags&net.FlagUp != 0,
		Carrier:  a.RawFlags&unix.IFF_LOWER_UP != 0,
		Ethernet: a.EncapType == "ether" && a.Flags&net.FlagLoopback == 0,
	}
	if len(a.HardwareAddr) == len(s.MAC) {
		s.MAC = frame.MAC(a.HardwareAddr)
	}
	return s
}

func neighbors(h *netlink.Handle, index int) ([]Neighbor, error) {
	list, err := h.NeighList(index, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	var found []Neighbor
	for _, n := range list {
		addr, ok := netip.AddrFromSlice(n.IP)
		if ok && n.State&unix.NUD_PERMANENT != 0 && len(n.HardwareAddr) == len(frame.MAC{}) {
			found = append(found, Neighbor{addr.Unmap(), frame.MAC(n.HardwareAddr)})
		}
	}
	slices.SortFunc(found, func(a, b Neighbor) int { return a.Addr.Compare(b.Addr) })
	return found, nil
}
