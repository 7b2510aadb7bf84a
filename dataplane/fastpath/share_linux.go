package fastpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

//go:generate go tool bpf2go -tags linux -target bpfel,bpfeb share bpf/share.c -- -O2 -Wall -Werror -I/usr/include/x86_64-linux-gnu

// Share is a set of programs that let weft and the host have one address of one
// interface, the NIC. Whose a frame is stands in bpf/share.c.
type Share struct {
	spec *ebpf.CollectionSpec
}

// LoadShare makes sure that the kernel takes the programs. It fails without
// CAP_BPF and CAP_NET_ADMIN, and where the kernel lacks what they call; the
// error says which. There is nothing to close.
func LoadShare() (*Share, error) {
	// Maps counted against RLIMIT_MEMLOCK before Linux 5.11.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("load share: %w", err)
	}
	spec, err := loadShare()
	if err != nil {
		return nil, fmt.Errorf("load share: %w", err)
	}
	s := &Share{spec: spec}
	objs, err := s.load()
	if err != nil {
		return nil, err
	}
	return s, objs.Close()
}

// load loads the programs with a table of their own.
func (s *Share) load() (*shareObjects, error) {
	var objs shareObjects
	err := s.spec.LoadAndAssign(&objs, nil)
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("load share: it takes CAP_BPF and CAP_NET_ADMIN: %w", err)
	case err != nil:
		return nil, fmt.Errorf("load share: %w", err)
	}
	return &objs, nil
}

// Attachment is a Share at work on one NIC. Its methods may be called by any
// goroutine, also after Close.
type Attachment struct {
	objs  *shareObjects
	links []func() error // how to detach, in order

	mu    sync.Mutex
	table *shareShare // memory that the programs read; nil once closed
}

// Attach gives weft its part of the frames for addr that come to the interface
// nic: they come out of the tap shadow, and what is written into that leaves on
// nic. Both are indexes in the calling thread's namespace. The shadow has to be
// up, and carries nothing else from then on. At first no port is weft's.
//
// All of it goes with the process. Where the kernel has no tcx (before Linux
// 6.6), filters of the older kind stay behind a killed one until the next
// Attach; no frame is weft's then but those for ports that were.
func (s *Share) Attach(nic, shadow int, addr netip.Addr) (*Attachment, error) {
	return s.attach(nic, shadow, addr, attachShare)
}

// attacher puts a program on one side of an interface, and returns what takes it
// off again.
type attacher func(index int, p *ebpf.Program, at ebpf.AttachType) (func() error, error)

func (s *Share) attach(nic, shadow int, addr netip.Addr, put attacher) (*Attachment, error) {
	objs, err := s.load()
	if err != nil {
		return nil, err
	}
	a := &Attachment{objs: objs}
	if a.table, err = mapShare(objs.WeftShare); err != nil {
		return nil, errors.Join(fmt.Errorf("attach share: %w", err), a.Close())
	}
	atomic.StoreUint32(&a.table.Nic, uint32(nic))
	atomic.StoreUint32(&a.table.Shadow, uint32(shadow))
	a.SetAddress(addr)
	// The NIC comes last: its frames need the rest.
	for _, at := range []struct {
		index   int
		program *ebpf.Program
		side    ebpf.AttachType
	}{
		{shadow, objs.WeftShareSeal, ebpf.AttachTCXEgress},
		{shadow, objs.WeftShareOut, ebpf.AttachTCXIngress},
		{nic, objs.WeftShareIn, ebpf.AttachTCXIngress},
	} {
		detach, err := put(at.index, at.program, at.side)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("attach share to interface %d: %w", at.index, err), a.Close())
		}
		a.links = append([]func() error{detach}, a.links...)
	}
	return a, nil
}

func attachShare(index int, p *ebpf.Program, at ebpf.AttachType) (func() error, error) {
	l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: at})
	if errors.Is(err, ebpf.ErrNotSupported) {
		return attachShareFilter(index, p, at)
	}
	if err != nil {
		return nil, err
	}
	return l.Close, nil
}

// attachShareFilter is for kernels without tcx.
func attachShareFilter(index int, p *ebpf.Program, at ebpf.AttachType) (func() error, error) {
	parent := uint32(netlink.HANDLE_MIN_INGRESS)
	if at == ebpf.AttachTCXEgress {
		parent = netlink.HANDLE_MIN_EGRESS
	}
	return attachFilter(index, p, parent, "weft_share")
}

// SetAddress changes the shared address. The zero Addr, as any that is not
// IPv4, makes every frame the host's.
func (a *Attachment) SetAddress(addr netip.Addr) {
	var v uint32
	if addr = addr.Unmap(); addr.Is4() {
		b := addr.As4()
		v = binary.NativeEndian.Uint32(b[:]) // as it stands in the packet
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.table != nil {
		atomic.StoreUint32(&a.table.Address, v)
	}
}

// SetUsed says whether weft maps a port of TCP or UDP, or an identifier of ICMP
// echo (protocol 1). Others are ignored. It makes no system call.
func (a *Attachment) SetUsed(protocol uint8, port uint16, used bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.table == nil {
		return
	}
	var bits *[len(a.table.Tcp)]uint32
	switch protocol {
	case unix.IPPROTO_TCP:
		bits = &a.table.Tcp
	case unix.IPPROTO_UDP:
		bits = &a.table.Udp
	case unix.IPPROTO_ICMP:
		bits = &a.table.Echo
	default:
		return
	}
	word, bit := &bits[port/32], uint32(1)<<(port%32)
	if used {
		atomic.OrUint32(word, bit)
	} else {
		atomic.AndUint32(word, ^bit)
	}
}

// Close gives every frame back to the host. An interface that is gone by now is
// no error.
func (a *Attachment) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, detach := range a.links {
		errs = append(errs, detach())
	}
	a.links = nil
	if a.table != nil {
		errs = append(errs, unmapShare(a.table))
		a.table = nil
	}
	return errors.Join(append(errs, a.objs.Close())...)
}
