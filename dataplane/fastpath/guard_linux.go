// Package fastpath loads weft's eBPF programs and keeps them attached.
//
// The guard keeps the host's stack from seeing what a port receives. The share
// lets weft and the host have one address of one interface. Programs live in
// bpf/; "make generate" compiles them, and the objects are committed, so that a
// build needs no clang.
package fastpath

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

//go:generate go tool bpf2go -tags linux -target bpfel,bpfeb guard bpf/guard.c -- -O2 -Wall -Werror -I/usr/include/x86_64-linux-gnu

// Guard is a loaded guard program. It may be attached to any number of
// interfaces of one namespace.
type Guard struct {
	objs guardObjects

	mu       sync.Mutex
	attached map[int]*guarded // by interface
}

// guarded is an interface with the guard: the kernel takes the program once.
type guarded struct {
	times  int
	detach func() error
}

// LoadGuard loads the program. It fails without CAP_BPF or CAP_SYS_ADMIN and
// where the kernel has no eBPF; the error says which.
func LoadGuard() (*Guard, error) {
	g := &Guard{attached: map[int]*guarded{}}
	if err := loadGuardObjects(&g.objs, nil); err != nil {
		return nil, loadError("guard", err)
	}
	return g, nil
}

// loadError says in a few words why the kernel has not taken a program: a library's
// words about memory that may be locked lead astray.
func loadError(what string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("load %s: weft lacks CAP_BPF or CAP_NET_ADMIN: %w", what, unix.EPERM)
	case errors.Is(err, unix.EACCES): // the verifier, at some length
		return fmt.Errorf("load %s: the kernel refuses the program, as some do without CAP_PERFMON: %w", what, unix.EACCES)
	}
	return fmt.Errorf("load %s: %w", what, err)
}

// Close unloads the program. Attachments by tcx keep their own reference.
func (g *Guard) Close() error { return g.objs.Close() }

// Attach puts the guard on the receive side of interface index and returns
// what takes it off again, once. It may be attached several times, and is there
// until the last one is taken off. A tcx attachment (Linux 6.6) also goes with the
// process; the older clsact filter stays behind a killed one, and the next
// Attach replaces it.
func (g *Guard) Attach(index int) (detach func() error, err error) {
	return g.attach(index, g.attachNew)
}

func (g *Guard) attach(index int, with func(int) (func() error, error)) (func() error, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := g.attached[index]
	if at == nil {
		detach, err := with(index)
		if err != nil {
			return nil, err
		}
		at = &guarded{detach: detach}
		g.attached[index] = at
	}
	at.times++
	return func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if at.times--; at.times > 0 {
			return nil
		}
		delete(g.attached, index)
		return at.detach()
	}, nil
}

// attachNew attaches the program, where it is not yet.
func (g *Guard) attachNew(index int) (func() error, error) {
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: index,
		Program:   g.objs.WeftGuard,
		Attach:    ebpf.AttachTCXIngress,
	})
	if err == nil {
		return l.Close, nil
	}
	if !errors.Is(err, ebpf.ErrNotSupported) {
		return nil, fmt.Errorf("attach guard: %w", err)
	}
	return g.attachClsact(index)
}

// filterPriority sets weft's filter apart from other programs' on the same
// interface. The lowest priority runs last.
const filterPriority = 0xc000

func (g *Guard) attachClsact(index int) (func() error, error) {
	detach, err := attachFilter(index, g.objs.WeftGuard, netlink.HANDLE_MIN_INGRESS, "weft_guard")
	if err != nil {
		return nil, fmt.Errorf("attach guard: %w", err)
	}
	return detach, nil
}

// attachFilter puts a program on the side of an interface that parent names,
// where there is no tcx, in place of what weft has left there.
func attachFilter(index int, p *ebpf.Program, parent uint32, name string) (func() error, error) {
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("add clsact: %w", err)
	}
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: parent, Handle: 1,
			Protocol: unix.ETH_P_ALL, Priority: filterPriority,
		},
		Fd: p.FD(), Name: name, DirectAction: true,
	}
	if err := netlink.FilterReplace(filter); err != nil {
		return nil, fmt.Errorf("add filter: %w", err)
	}
	return func() error {
		if err := netlink.FilterDel(filter); !errors.Is(err, unix.ENODEV) {
			return err
		}
		return nil // gone with its interface
	}, nil
}
