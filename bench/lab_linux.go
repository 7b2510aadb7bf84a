package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Lab owns what one measurement makes on the machine: a folder, named network
// namespaces and what is in them, processes. It is used by one goroutine.
type Lab struct {
	family Family // of the addresses of its hosts
	dir    string
	undo   []func() error // run last to first
}

// labPrefix begins the names of everything that the labs of this process make,
// so that what a killed run has left can be told from what a running one needs.
func labPrefix() string { return fmt.Sprintf("weft-bench-%d-", os.Getpid()) }

// NewLab returns an empty lab for measurements in a family. The caller closes it.
func NewLab(f Family) (*Lab, error) {
	if _, err := os.Stat("/proc/sys/net/ipv6"); f == IPv6 && err != nil {
		return nil, errors.New("this kernel has no IPv6: leave it out by --family ipv4")
	}
	dir, err := os.MkdirTemp("", labPrefix()+"*")
	if err != nil {
		return nil, fmt.Errorf("make lab: %w", err)
	}
	l := &Lab{family: f, dir: dir}
	l.later(func() error { return os.RemoveAll(dir) })
	return l, nil
}

// Close ends the processes of the lab, removes its namespaces, and returns all
// errors that this met. The lab is empty then.
func (l *Lab) Close() error {
	var errs []error
	for len(l.undo) > 0 {
		last := len(l.undo) - 1
		errs = append(errs, l.undo[last]())
		l.undo = l.undo[:last]
	}
	return errors.Join(errs...)
}

func (l *Lab) later(f func() error) { l.undo = append(l.undo, f) }

// path returns the path of a file in the lab's folder.
func (l *Lab) path(name string) string { return filepath.Join(l.dir, name) }

// Namespace is a named network namespace, whose kernel sends nothing of its own
// accord.
type Namespace struct {
	Name   string // as `ip netns` shows it; unique on the machine
	family Family // of the lab
	handle netns.NsHandle
	links  *netlink.Handle
}

// Namespace makes a namespace with lo up. Its Name is name behind a prefix of
// the lab's own.
func (l *Lab) Namespace(name string) (*Namespace, error) {
	n := &Namespace{Name: filepath.Base(l.dir) + "-" + name, family: l.family}
	err := <-onThread(func() (err error) {
		n.handle, err = netns.NewNamed(n.Name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make namespace %s: %w", n.Name, err)
	}
	l.later(func() error { return netns.DeleteNamed(n.Name) })
	l.later(func() error { return n.handle.Close() })
	if n.links, err = netlink.NewHandleAt(n.handle); err != nil {
		return nil, fmt.Errorf("namespace %s: netlink: %w", n.Name, err)
	}
	l.later(func() error { n.links.Close(); return nil })
	for _, scope := range []string{"all", "default"} {
		for _, s := range quiet[l.family] {
			if err := n.sysctl("net/ipv6/conf/"+scope+"/"+s.name, s.value); err != nil {
				return nil, err
			}
		}
	}
	return n, up(n, "lo")
}

// onThread runs f on an OS thread of its own, which ends with it: whatever f
// does to the thread's namespace stays there.
func onThread(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so the runtime ends the thread
		done <- f()
	}()
	return done
}

// Go runs f on an OS thread of its own inside the namespace. The channel yields
// its error once.
func (n *Namespace) Go(f func() error) <-chan error {
	return onThread(func() error {
		if err := unix.Setns(int(n.handle), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace %s: %w", n.Name, err)
		}
		return f()
	})
}

// sysctl sets a variable of the namespace, name being its path below /proc/sys.
// It does nothing where the kernel has no such variable.
func (n *Namespace) sysctl(name, value string) error {
	return <-n.Go(func() error {
		err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("namespace %s: %w", n.Name, err)
		}
		return nil
	})
}

// address gives an interface of the namespace an address, which it has at once.
func (n *Namespace) address(name string, prefix netip.Prefix) error {
	link, err := n.links.LinkByName(name)
	if err == nil {
		mask := net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())
		address := &netlink.Addr{IPNet: &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: mask}}
		if prefix.Addr().Is6() {
			address.Flags = unix.IFA_F_NODAD
		}
		err = n.links.AddrReplace(link, address)
	}
	if err != nil {
		return fmt.Errorf("address %s on %s in %s: %w", prefix, name, n.Name, err)
	}
	return nil
}

// station gives an interface of the namespace the address of a machine: in IPv6
// with a link-local one beside it, since that is what a kernel asks from who has
// the address that it forwards a packet to, or whether a neighbour is still there.
func (n *Namespace) station(name string, prefix netip.Prefix) error {
	if prefix.Addr().Is6() {
		if err := n.address(name, netip.PrefixFrom(linkLocal(prefix.Addr()), 64)); err != nil {
			return err
		}
	}
	return n.address(name, prefix)
}

// usable waits until no address of an interface is tentative. Some are where
// weft has given it the address, until the kernel gets to seeing that nobody wants
// duplicates detected.
func (n *Namespace) usable(ctx context.Context, name string) error {
	tentative := func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 }
	for deadline := time.Now().Add(meetTimeout); ; {
		link, err := n.links.LinkByName(name)
		var addresses []netlink.Addr
		if err == nil {
			addresses, err = n.links.AddrList(link, unix.AF_INET6)
		}
		if err != nil {
			return fmt.Errorf("addresses of %s in %s: %w", name, n.Name, err)
		}
		if !slices.ContainsFunc(addresses, tentative) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("addresses of %s in %s are tentative after %v", name, n.Name, meetTimeout)
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// Host is a network namespace that stands for a machine with one interface.
type Host struct {
	NS        *Namespace
	Interface string
	Address   netip.Addr
	mac       net.HardwareAddr // known once the lab has settled
	cpu       int              // that the load's threads run on
}

// Go runs f like Namespace.Go, on the host's own CPU. Where the scheduler
// chose, a ping would go there and back on one CPU in one round and wake a
// halted one in the next: five times as long.
func (h *Host) Go(f func() error) <-chan error {
	return h.NS.Go(func() error {
		if err := pin(h.cpu); err != nil {
			return err
		}
		return f()
	})
}

// family returns the family of the host's address, which is the lab's.
func (h *Host) family() Family { return familyOf(h.Address) }

// prefix returns the host's address in its subnet, which all hosts share.
func (h *Host) prefix() netip.Prefix {
	return netip.PrefixFrom(h.Address, h.family().plan().host.Bits())
}

// hosts makes n namespaces h1 to hn with the addresses that the plan has for
// them, and names an interface that they do not have yet. Neighbours run on
// different CPUs where the machine has more than one. n is below 255.
func (l *Lab) hosts(n int) ([]*Host, error) {
	cpus, err := allowedCPUs()
	if err != nil {
		return nil, err
	}
	var hosts []*Host
	first := l.family.plan().host.Addr()
	for i := range n {
		ns, err := l.Namespace(fmt.Sprintf("h%d", i+1))
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, &Host{NS: ns, Interface: "eth0", cpu: cpus[i%len(cpus)], Address: addressAfter(first, i)})
	}
	return hosts, nil
}

// hostsBeside makes n hosts and one more namespace for what joins them.
func (l *Lab) hostsBeside(name string, n int) ([]*Host, *Namespace, error) {
	hosts, err := l.hosts(n)
	if err != nil {
		return nil, nil, err
	}
	ns, err := l.Namespace(name)
	return hosts, ns, err
}

// settle gives the hosts their addresses, pins every host as a permanent
// neighbour of every other, so that neither ARP nor neighbour discovery is
// measured, and waits until the first reaches all others.
func settle(ctx context.Context, hosts []*Host) error {
	links := make([]netlink.Link, len(hosts))
	for i, h := range hosts {
		link, err := h.NS.links.LinkByName(h.Interface)
		if err != nil {
			return fmt.Errorf("host %s: interface %s: %w", h.Address, h.Interface, err)
		}
		if err := h.NS.station(h.Interface, h.prefix()); err != nil {
			return err
		}
		links[i], h.mac = link, link.Attrs().HardwareAddr
	}
	for i, h := range hosts {
		for _, other := range hosts {
			if other == h {
				continue
			}
			err := h.NS.links.NeighSet(&netlink.Neigh{
				LinkIndex: links[i].Attrs().Index, State: netlink.NUD_PERMANENT,
				IP: other.Address.AsSlice(), HardwareAddr: other.mac,
			})
			if err != nil {
				return fmt.Errorf("host %s: neighbour %s: %w", h.Address, other.Address, err)
			}
		}
	}
	for _, h := range hosts {
		if err := h.NS.usable(ctx, h.Interface); err != nil {
			return err
		}
	}
	for _, other := range hosts[1:] {
		if err := reach(ctx, hosts[0], other, 5*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// veth joins two namespaces by a veth pair with the kernel's defaults, up.
func veth(a *Namespace, nameA string, b *Namespace, nameB string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = nameA
	err := a.links.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: netlink.NsFd(b.handle)})
	if err != nil {
		return fmt.Errorf("make veth %s in %s: %w", nameA, a.Name, err)
	}
	return errors.Join(up(a, nameA), up(b, nameB))
}

// bridge makes a kernel bridge over interfaces of the namespace, up, with the
// kernel's defaults: no spanning tree, so it forwards at once.
func bridge(n *Namespace, name string, ports []string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	br := &netlink.Bridge{LinkAttrs: attrs}
	if err := n.links.LinkAdd(br); err != nil {
		return fmt.Errorf("make bridge %s in %s: %w", name, n.Name, err)
	}
	for _, port := range ports {
		link, err := n.links.LinkByName(port)
		if err == nil {
			err = n.links.LinkSetMaster(link, br)
		}
		if err != nil {
			return fmt.Errorf("put %s into bridge %s in %s: %w", port, name, n.Name, err)
		}
	}
	return up(n, name)
}

func up(n *Namespace, name string) error {
	link, err := n.links.LinkByName(name)
	if err == nil {
		err = n.links.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set %s up in %s: %w", name, n.Name, err)
	}
	return nil
}

// probeVeth makes and removes a veth pair; its error says what is missing.
func probeVeth() error {
	return probe(func(n *Namespace) error { return veth(n, "a", n, "b") })
}

// probeBridge makes and removes a kernel bridge.
func probeBridge() error {
	return probe(func(n *Namespace) error { return bridge(n, "br0", nil) })
}

func probe(f func(*Namespace) error) error {
	lab, err := NewLab(IPv4)
	if err != nil {
		return err
	}
	n, err := lab.Namespace("probe")
	if err == nil {
		err = f(n)
	}
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w (it takes root)", err)
	}
	return errors.Join(err, lab.Close())
}
