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
		return nil, loadError("share", err)
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
	if err != nil {
		return nil, loadError("share", err)
	}
	return &objs, nil
}

// Attachment is a Share at work on one NIC. Its methods may be called by any
// goroutine, also after Close.
type Attachment struct {
	objs  *shareObjects
	links []func() error // how to detach, in order

	mu     sync.Mutex
	table  *shareShare           // memory that the programs read; nil once closed
	routed map[netip.Prefix]bool // what weft_share_routed has
}

// Attach gives weft its part of the frames for addr that come to the interface
// nic: they come out of the tap shadow, and what is written into that leaves on
// nic. Both are indexes in the calling thread's namespace. The shadow has to be
// up, and carries nothing else from then on. At first nothing is weft's but
// copies of what both may want.
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
	a := &Attachment{objs: objs, routed: map[netip.Prefix]bool{}}
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
		v = inPacket(addr)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.table != nil {
		atomic.StoreUint32(&a.table.Address, v)
	}
}

// inPacket returns an IPv4 address as it stands in a packet.
func inPacket(addr netip.Addr) uint32 {
	b := addr.As4()
	return binary.NativeEndian.Uint32(b[:])
}

// SetUsed says whether weft has flows between a port of TCP or UDP, an identifier
// of ICMP echo, or 0 for a protocol without ports, and a remote address: then what
// comes from there for the port is weft's. With the zero Addr, it says whether a
// port of TCP or UDP is open to all, which makes no system call. Other kinds of
// addresses are ignored.
//
// There is room for 262144 pairs. It reports false where one more found none: it
// is not noted, and the host gets what is for it.
func (a *Attachment) SetUsed(protocol uint8, port uint16, remote netip.Addr, used bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	remote = remote.Unmap()
	switch {
	case a.table == nil:
	case !remote.IsValid():
		a.setOpen(protocol, port, used)
	case remote.Is4():
		return a.setPeer(sharePeer{Remote: inPacket(remote), Port: port, Protocol: protocol}, used)
	}
	return true
}

// setOpen and setPeer change what SetUsed has said. mu is held.
func (a *Attachment) setOpen(protocol uint8, port uint16, open bool) {
	var bits *[len(a.table.Tcp)]uint32
	switch protocol {
	case unix.IPPROTO_TCP:
		bits = &a.table.Tcp
	case unix.IPPROTO_UDP:
		bits = &a.table.Udp
	default:
		return
	}
	word, bit := &bits[port/32], uint32(1)<<(port%32)
	if open {
		atomic.OrUint32(word, bit)
	} else {
		atomic.AndUint32(word, ^bit)
	}
}

func (a *Attachment) setPeer(peer sharePeer, used bool) bool {
	if !used {
		_ = a.objs.WeftSharePeers.Delete(&peer) // there may have been none
		return true
	}
	return a.objs.WeftSharePeers.Put(&peer, uint8(1)) == nil
}

// maxRouted is how many prefixes and exceptions SetPrefixes takes. The map has
// room for twice as many, as the new ones come before the old ones go.
const maxRouted = 4096

// SetPrefixes says which addresses are behind weft: what comes in by the NIC for
// them is weft's, but for the addresses in but, which the host has. The shared
// address stays under its own rules. What is IPv6 is ignored. On an error some of
// it may hold.
func (a *Attachment) SetPrefixes(prefixes []netip.Prefix, but []netip.Addr) error {
	next := map[netip.Prefix]bool{} // true: weft's
	for _, p := range prefixes {
		if p.Addr().Is4() {
			next[p.Masked()] = true
		}
	}
	for _, addr := range but {
		if addr.Is4() {
			next[netip.PrefixFrom(addr, 32)] = false
		}
	}
	if len(next) > maxRouted {
		return fmt.Errorf("share: %d subnets and routes behind weft: at most %d are possible", len(next), maxRouted)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.table == nil {
		return nil
	}
	var errs []error
	// No address of the host's is weft's in between: exceptions come first and go
	// last.
	for _, weft := range []bool{false, true} {
		for p, is := range next {
			if is == weft {
				errs = append(errs, a.setRouted(p, weft))
			}
		}
	}
	for _, weft := range []bool{true, false} {
		for p, is := range a.routed {
			if _, stays := next[p]; is == weft && !stays {
				errs = append(errs, a.dropRouted(p))
			}
		}
	}
	return errors.Join(errs...)
}

// setRouted and dropRouted change weft_share_routed. mu is held.
func (a *Attachment) setRouted(p netip.Prefix, weft bool) error {
	if was, there := a.routed[p]; there && was == weft {
		return nil
	}
	v := uint8(0)
	if weft {
		v = 1
	}
	if err := a.objs.WeftShareRouted.Put(keyOf(p), v); err != nil {
		return fmt.Errorf("share: route %s to weft: %w", p, err)
	}
	a.routed[p] = weft
	return nil
}

func (a *Attachment) dropRouted(p netip.Prefix) error {
	if err := a.objs.WeftShareRouted.Delete(keyOf(p)); err != nil {
		return fmt.Errorf("share: do not route %s to weft: %w", p, err)
	}
	delete(a.routed, p)
	return nil
}

func keyOf(p netip.Prefix) *sharePrefix {
	return &sharePrefix{Bits: uint32(p.Bits()), Address: inPacket(p.Addr())}
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
