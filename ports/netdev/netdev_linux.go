// Package netdev looks after the kernel interface under a port: it finds it,
// sets it up, keeps the host's stack off it, claims it for one weft and
// reports what becomes of it.
//
// Functions take the name of a network namespace as made by "ip netns add";
// the empty name is the namespace weft runs in.
package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

// ErrMissing means that the interface or its namespace does not exist.
var ErrMissing = errors.New("does not exist")

// namespaces is where "ip netns" keeps its names.
const namespaces = "/run/netns/"

// Do runs fn in the namespace ns. Inside, fn stays on one OS thread; goroutines
// that it starts are elsewhere. The error wraps ErrMissing where ns is missing.
func Do(ns string, fn func() error) error {
	if ns == "" {
		return fn()
	}
	target, err := netns.GetFromPath(namespaces + ns)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("network namespace %q %w", ns, ErrMissing)
		}
		return fmt.Errorf("network namespace %q: %w", ns, err)
	}
	defer target.Close()
	done := make(chan error, 1)
	go func() { done <- inside(target, ns, fn) }()
	return <-done
}

// inside runs fn in the namespace target, on a goroutine that ends with it.
func inside(target netns.NsHandle, name string, fn func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		return fmt.Errorf("own network namespace: %w", err)
	}
	defer home.Close()
	if err := netns.Set(target); err != nil {
		return fmt.Errorf("enter network namespace %q: %w", name, err)
	}
	err = fn()
	// A thread that cannot be brought back stays locked, so that the runtime
	// ends it with the goroutine: nobody else may land in that namespace.
	if netns.Set(home) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// NamespaceID identifies the namespace behind a name, so that one made anew
// under the same name is told apart. The error wraps ErrMissing.
func NamespaceID(ns string) (uint64, error) {
	path := "/proc/thread-self/ns/net"
	if ns != "" {
		path = namespaces + ns
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("network namespace %q %w", ns, ErrMissing)
	}
	return st.Ino, nil
}

// Info is what weft needs to know of an interface.
type Info struct {
	Name    string
	Index   int
	Kind    string // as the kernel names it: veth, tuntap, bridge, …; "device" for hardware
	MTU     int
	MAC     frame.MAC
	Up      bool // administratively
	Carrier bool
	Alias   string
	Master  string // the bridge, bond or VRF that owns it, if any

	netlink.Link
}

// Find describes the interface name in namespace ns. The error wraps
// ErrMissing where there is none.
func Find(ns, name string) (Info, error) {
	var info Info
	err := Do(ns, func() error {
		l, err := netlink.LinkByName(name)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			return fmt.Errorf("interface %q %w", name, ErrMissing)
		}
		if err != nil {
			return fmt.Errorf("interface %q: %w", name, err)
		}
		info = describe(l)
		if index := l.Attrs().MasterIndex; index != 0 {
			info.Master = fmt.Sprintf("interface %d", index)
			if m, err := netlink.LinkByIndex(index); err == nil {
				info.Master = fmt.Sprintf("%s %q", m.Type(), m.Attrs().Name)
			}
		}
		return nil
	})
	return info, err
}

func describe(l netlink.Link) Info {
	a := l.Attrs()
	info := Info{
		Name: a.Name, Index: a.Index, Kind: l.Type(), MTU: a.MTU, Alias: a.Alias, Link: l,
		Up:      a.Flags&net.FlagUp != 0,
		Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
	}
	if len(a.HardwareAddr) == len(info.MAC) {
		info.MAC = frame.MAC(a.HardwareAddr)
	}
	return info
}

// Settings is how weft wants an interface that it made. Zero fields are left
// as they are.
type Settings struct {
	MAC       frame.MAC
	MTU       int
	Alias     string
	Addresses []netip.Prefix
	Up        bool

	// Fixed says that the addresses of IPv6 are certain: the link is not asked whether
	// somebody has them. Where this machine has IPv6 turned off there, it is done
	// without them.
	Fixed bool
}

// Configure brings the interface name in namespace ns into the wanted state.
// Addresses are added, never removed.
func Configure(ns, name string, want Settings) error {
	return Do(ns, func() error {
		l, err := netlink.LinkByName(name)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			return fmt.Errorf("interface %q %w", name, ErrMissing)
		}
		if err != nil {
			return fmt.Errorf("interface %q: %w", name, err)
		}
		if err := configure(l, want); err != nil {
			return fmt.Errorf("interface %q: %w", name, err)
		}
		return nil
	})
}

func configure(l netlink.Link, want Settings) error {
	a := l.Attrs()
	if want.MAC != (frame.MAC{}) && a.HardwareAddr.String() != want.MAC.String() {
		if err := netlink.LinkSetHardwareAddr(l, want.MAC[:]); err != nil {
			return fmt.Errorf("set address %s: %w", want.MAC, err)
		}
	}
	if want.MTU != 0 && a.MTU != want.MTU {
		if err := netlink.LinkSetMTU(l, want.MTU); err != nil {
			return fmt.Errorf("set MTU %d: %w", want.MTU, err)
		}
	}
	if want.Alias != "" && a.Alias != want.Alias {
		if err := netlink.LinkSetAlias(l, want.Alias); err != nil {
			return fmt.Errorf("set alias: %w", err)
		}
	}
	for _, p := range want.Addresses {
		addr := netlinkAddr(p)
		if want.Fixed && p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		err := netlink.AddrReplace(l, addr)
		if want.Fixed && p.Addr().Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP)) {
			continue // IPv6 is off: net.ipv6.conf.*.disable_ipv6, or ipv6.disable at boot
		}
		if err != nil {
			return fmt.Errorf("add address %s: %w", p, err)
		}
	}
	if want.Up {
		if err := netlink.LinkSetUp(l); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	return nil
}

func netlinkAddr(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}}
}

// RemoveAddresses takes addresses from the interface name in namespace ns. One
// that is not there, and an interface that is not there, are no error.
func RemoveAddresses(ns, name string, addresses []netip.Prefix) error {
	if len(addresses) == 0 {
		return nil
	}
	err := Do(ns, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		for _, p := range addresses {
			if err := netlink.AddrDel(l, netlinkAddr(p)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return fmt.Errorf("remove address %s: %w", p, err)
			}
		}
		return nil
	})
	return ignoreMissing(fmt.Errorf("interface %q: %w", name, err), err)
}

// ignoreMissing returns nil where cause is nil or tells of something that does
// not exist, else err.
func ignoreMissing(err, cause error) error {
	if cause == nil || errors.Is(cause, ErrMissing) || errors.As(cause, new(netlink.LinkNotFoundError)) {
		return nil
	}
	return err
}

// Aliased returns the names of the interfaces in the calling thread's namespace
// whose alias starts with prefix, with their aliases.
func Aliased(prefix string) (map[string]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	found := map[string]string{}
	for _, l := range links {
		if a := l.Attrs(); strings.HasPrefix(a.Alias, prefix) {
			found[a.Name] = a.Alias
		}
	}
	return found, nil
}

// Delete removes the interface name from namespace ns. A missing one is no
// error.
func Delete(ns, name string) error {
	err := Do(ns, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	})
	return ignoreMissing(fmt.Errorf("delete interface %q: %w", name, err), err)
}

// Claim makes the calling process the only weft on the interface index until
// the returned function is called or the process ends, however it ends: the
// claim is an abstract Unix socket, which belongs to the network namespace
// just as the interface does.
func Claim(index int) (release func(), err error) {
	l, err := net.Listen("unix", fmt.Sprintf("@weft/interface/%d", index))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, errors.New("is in use by another weft: stop that one or name another interface")
	}
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	return func() { l.Close() }, nil
}

// Usable says why the interface cannot be a port, or nil.
func Usable(info Info) error {
	if info.Kind == "bridge" || info.Kind == "openvswitch" {
		return fmt.Errorf("is a %s itself: name one of its members or a veth into it", info.Kind)
	}
	if info.Master != "" {
		return fmt.Errorf("belongs to %s: release it with \"ip link set %s nomaster\"", info.Master, info.Name)
	}
	if info.Attrs().EncapType != "ether" || info.Attrs().Flags&net.FlagLoopback != 0 {
		return fmt.Errorf("carries no Ethernet (%s)", info.Attrs().EncapType)
	}
	return nil
}
