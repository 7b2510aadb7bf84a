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

//go:generate go tool bpf2go -tags linux -target bpfel,bpfeb -type family share bpf/share.c -- -O2 -Wall -Werror -I/usr/include/x86_64-linux-gnu

// Share is a set of programs that let weft and the host have the same addresses of
// one interface, the NIC: one of IPv4, one of IPv6. Whose a frame is stands in
// bpf/share.c.
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

// Attach gives weft its part of the frames that come to the interface nic: they
// come out of the tap shadow, and what is written into that leaves on nic. Both
// are indexes in the calling thread's namespace. The shadow has to be up, and
// carries nothing else from then on. Nothing is weft's before SetAddresses, and
// then only copies of what both may want, until SetUsed and SetPrefixes say more.
//
// All of it goes with the process. Where the kernel has no tcx (before Linux
// 6.6), filters of the older kind stay behind a killed one until the next
// Attach; no frame is weft's then but those for ports that were.
func (s *Share) Attach(nic, shadow int) (*Attachment, error) {
	return s.attach(nic, shadow, attachShare)
}

// attacher puts a program on one side of an interface, and returns what takes it
// off again.
type attacher func(index int, p *ebpf.Program, at ebpf.AttachType) (func() error, error)

func (s *Share) attach(nic, shadow int, put attacher) (*Attachment, error) {
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

// SetAddresses changes the shared addresses. Without one of a family, as with one
// of the other family in its place, every frame of that family is the host's. So
// is it with one of IPv6 that begins with 32 zero bits, which no interface has.
func (a *Attachment) SetAddresses(v4, v6 netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.table == nil {
		return
	}
	setShared(&a.table.V4, v4, 4)
	setShared(&a.table.V6, v6, 6)
}

// setShared writes the first word last: while it is zero there is no address, so
// that no frame meets half of one.
func setShared(f *shareFamily, addr netip.Addr, version uint8) {
	words, is := inPacket(addr)
	if is != version {
		words = [4]uint32{}
	}
	if atomic.LoadUint32(&f.Address[0]) == words[0] && [3]uint32(f.Address[1:]) == [3]uint32(words[1:]) {
		return
	}
	atomic.StoreUint32(&f.Address[0], 0)
	for i := len(words) - 1; i >= 0; i-- {
		atomic.StoreUint32(&f.Address[i], words[i])
	}
}

// inPacket returns an address as it stands in a packet, one of IPv4 in the first
// word, and the version of its protocol, 0 for none.
func inPacket(addr netip.Addr) (words [4]uint32, version uint8) {
	switch addr = addr.Unmap(); {
	case addr.Is4():
		b := addr.As4()
		return [4]uint32{binary.NativeEndian.Uint32(b[:])}, 4
	case addr.Is6():
		b := addr.As16()
		for i := range words {
			words[i] = binary.NativeEndian.Uint32(b[4*i:])
		}
		return words, 6
	}
	return words, 0
}

// SetUsed says whether weft has flows between a port of TCP or UDP, an identifier
// of ICMP or ICMPv6 echo, or 0 for a protocol without ports, and a remote address:
// then what comes from there for the port is weft's. With the zero Addr, it says
// whether a port of TCP or UDP is open to all, of both families; with 0.0.0.0 or ::,
// of that one. These make no system call.
//
// There is room for 262144 pairs. It reports false where one more found none: it
// is not noted, and the host gets what is for it.
func (a *Attachment) SetUsed(protocol uint8, port uint16, remote netip.Addr, used bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.table == nil {
		return true
	}
	words, version := inPacket(remote)
	if version == 0 || remote.IsUnspecified() {
		if version != 6 {
			a.table.V4.setOpen(protocol, port, used)
		}
		if version != 4 {
			a.table.V6.setOpen(protocol, port, used)
		}
		return true
	}
	return a.setPeer(sharePeer{Remote: words, Port: port, Protocol: protocol, Version: version}, used)
}

// setOpen and setPeer change what SetUsed has said. mu is held.
func (f *shareFamily) setOpen(protocol uint8, port uint16, open bool) {
	var bits *[len(f.Tcp)]uint32
	switch protocol {
	case unix.IPPROTO_TCP:
		bits = &f.Tcp
	case unix.IPPROTO_UDP:
		bits = &f.Udp
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
// them is weft's, but for the addresses in but, which the host has, and for
// link-local ones of IPv6. The shared addresses stay under their own rules. On an
// error some of it may hold.
func (a *Attachment) SetPrefixes(prefixes []netip.Prefix, but []netip.Addr) error {
	next := map[netip.Prefix]bool{} // true: weft's
	for _, p := range prefixes {
		if p.IsValid() && !p.Addr().Is4In6() {
			next[p.Masked()] = true
		}
	}
	for _, addr := range but {
		if addr = addr.Unmap().WithZone(""); addr.IsValid() {
			next[netip.PrefixFrom(addr, addr.BitLen())] = false
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
	words, version := inPacket(p.Addr())
	return &sharePrefix{Bits: uint32(32 + p.Bits()), Version: uint32(version), Address: words}
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
