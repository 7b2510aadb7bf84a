package uplink

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/nat"
	"golang.org/x/sys/unix"
)

// takenTime is how often the host's sockets are read: the kernel tells of none
// that is bound. Until then package fastpath's share gives such a socket what is
// for it all the same.
const takenTime = 2 * time.Second

// TakenPorts are the ports of some addresses that are not weft's.
type TakenPorts struct {
	TCP, UDP nat.PortSet // what the host uses or may use: bound ports and the ranges
	// What its sockets use at this moment, but for connections by ephemeral
	// ports. It is for a port that somebody asks for by its number.
	BoundTCP, BoundUDP nat.PortSet
	Kernel             nat.PortSet // what the kernel keeps for programs: both ranges
}

// Of returns the ports of a protocol, nil for one that is neither TCP nor UDP.
func (p *TakenPorts) Of(protocol uint8) *nat.PortSet {
	switch protocol {
	case unix.IPPROTO_TCP:
		return &p.TCP
	case unix.IPPROTO_UDP:
		return &p.UDP
	}
	return nil
}

// Taken follows which ports of some addresses, of both families, the host uses or may
// use, whichever of them it is at: its ephemeral range, which both families share, what it has set aside (ip_local_port_range and ip_local_reserved_ports of
// the kernel's ip-sysctl.rst), and the ports of its sockets, those of weft's own
// process among them.
type Taken struct {
	changed func(*TakenPorts)

	addrs  atomic.Pointer[[]netip.Addr]
	ports  atomic.Pointer[TakenPorts]
	diag   *diag
	bounds *os.File // ip_local_port_range
	aside  *os.File // ip_local_reserved_ports
	kick   chan struct{}
	stop   chan struct{}
	loop   sync.WaitGroup
}

// FollowTaken reads the ports of addrs, and again every two seconds until Close.
// Changed may be nil; it gets all that differ from those before, from a goroutine
// of its own, and must not call Close. Without addresses, those of any are taken; a
// zero one does not count.
func FollowTaken(addrs []netip.Addr, changed func(*TakenPorts)) (*Taken, error) {
	t := &Taken{changed: changed, kick: make(chan struct{}, 1), stop: make(chan struct{})}
	t.setAddresses(addrs)
	ports, err := t.open()
	if err != nil {
		t.closeFiles()
		return nil, err
	}
	t.ports.Store(ports)
	t.loop.Go(t.work)
	return t, nil
}

func (t *Taken) open() (*TakenPorts, error) {
	// The files of a network namespace, whoever reads them later.
	var err error
	if t.bounds, err = os.Open("/proc/sys/net/ipv4/ip_local_port_range"); err != nil {
		return nil, err
	}
	if t.aside, err = os.Open("/proc/sys/net/ipv4/ip_local_reserved_ports"); err != nil {
		return nil, err
	}
	if t.diag, err = openDiag(); err != nil {
		return nil, err
	}
	return t.read()
}

func (t *Taken) closeFiles() {
	for _, f := range []*os.File{t.bounds, t.aside} {
		if f != nil {
			f.Close()
		}
	}
	if t.diag != nil {
		t.diag.close()
	}
}

// Ports returns the last ports. They must not be changed.
func (t *Taken) Ports() *TakenPorts { return t.ports.Load() }

// SetAddresses changes the addresses. Their ports come by the callback.
func (t *Taken) SetAddresses(addrs []netip.Addr) {
	if !t.setAddresses(addrs) {
		return
	}
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// setAddresses reports whether they are others than before.
func (t *Taken) setAddresses(addrs []netip.Addr) bool {
	var list []netip.Addr
	for _, a := range addrs {
		if a.IsValid() {
			list = append(list, a.Unmap())
		}
	}
	old := t.addrs.Swap(&list)
	return old == nil || !slices.Equal(*old, list)
}

// Close ends the following, and waits for a callback under way.
func (t *Taken) Close() {
	close(t.stop)
	t.loop.Wait()
	t.closeFiles()
}

func (t *Taken) work() {
	timer := time.NewTimer(takenTime)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-t.kick:
		case <-t.stop:
			return
		}
		start := time.Now()
		ports, err := t.read()
		timer.Reset(max(takenTime, share*time.Since(start)))
		if err == nil && *ports != *t.ports.Load() {
			t.ports.Store(ports)
			if t.changed != nil {
				t.changed(ports)
			}
		}
	}
}

func (t *Taken) read() (*TakenPorts, error) {
	p := new(TakenPorts)
	first, last, err := t.ephemeral()
	if err != nil {
		return nil, err
	}
	if err := t.diag.ports(&p.BoundTCP, unix.IPPROTO_TCP, *t.addrs.Load(), first, last); err != nil {
		return nil, err
	}
	if err := t.diag.ports(&p.BoundUDP, unix.IPPROTO_UDP, *t.addrs.Load(), first, last); err != nil {
		return nil, err
	}
	reserved, err := contents(t.aside)
	if err != nil {
		return nil, err
	}
	p.Kernel.AddRange(first, last)
	if err := addList(&p.Kernel, reserved); err != nil {
		return nil, fmt.Errorf("%s: %w", t.aside.Name(), err)
	}
	p.TCP, p.UDP = p.Kernel, p.Kernel
	for i := range p.Kernel {
		p.TCP[i] |= p.BoundTCP[i]
		p.UDP[i] |= p.BoundUDP[i]
	}
	return p, nil
}

// ephemeral returns the range that the kernel gives ports from by itself.
func (t *Taken) ephemeral() (first, last uint16, err error) {
	text, err := contents(t.bounds)
	if err != nil {
		return 0, 0, err
	}
	if n, _ := fmt.Sscan(text, &first, &last); n != 2 || first == 0 || last < first {
		return 0, 0, fmt.Errorf("%s is %q: not a range of ports", t.bounds.Name(), text)
	}
	return first, last, nil
}

// contents reads a file of /proc/sys from its beginning. Such a file is read in
// one call or not in full.
func contents(f *os.File) (string, error) {
	for size := 4096; ; size *= 4 {
		b := make([]byte, size)
		n, err := f.ReadAt(b, 0)
		if err != nil && err != io.EOF {
			return "", err
		}
		if n < size {
			return string(bytes.TrimSpace(b[:n])), nil
		}
	}
}

// addList adds a list such as "8080,9000-9010".
func addList(set *nat.PortSet, list string) error {
	if list == "" {
		return nil
	}
	for item := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(item, "-")
		first, err := strconv.ParseUint(from, 10, 16)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil {
			return fmt.Errorf("%q is not a list of ports", list)
		}
		set.AddRange(uint16(first), uint16(last))
	}
	return nil
}
