// Package afpacket works an existing network interface through a packet
// socket: a TPACKET_V2 ring to receive, sendmmsg to transmit, and the
// virtio-net header in both directions so that super-frames and partial
// checksums cross whole.
//
// The trap: a packet socket only copies what the interface receives. The
// host's own stack sees every frame too, unless something stops it there
// (package netdev's Quiet, package fastpath's guard).
package afpacket

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/mdlayher/packet"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
	"golang.org/x/sys/unix"
)

// socketBuffer bounds, in bytes, the super-frames that wait behind the ring
// and the frames that wait in a queue of the interface.
const socketBuffer = 8 << 20

// Port is a packet socket bound to one interface.
type Port struct {
	name   string
	fd     int // receives, and transmits straight to the driver, which reports what it drops
	queued int // transmits through the interface's queue: see needsQueue
	ring   ring
	arena  *ports.Arena // frames too long for a slot of the ring
	slots  [ports.MaxBurst]frame.Frame
	waiter ports.Waiter

	softTSO   atomic.Bool // the interface takes no TCP super-frames
	truncated atomic.Uint64
	overrun   atomic.Uint64 // long frames whose copy found no room in the queue
}

var (
	_ ports.Port      = (*Port)(nil)
	_ ports.Offloader = (*Port)(nil)
	_ ports.RxLoser   = (*Port)(nil)
)

// Open binds a packet socket to the interface name of the calling thread's
// network namespace, in promiscuous mode, with a receive ring of ringBytes
// (a multiple of the page size; DefaultRing where 0).
func Open(name string, ringBytes int) (*Port, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("packet socket on %s: %w", name, err)
	}
	p := &Port{name: name, fd: -1, queued: -1, arena: ports.NewArena()}
	if err := p.setup(ifi, ringBytes); err != nil {
		_ = p.free()
		return nil, fmt.Errorf("packet socket on %s: %w", name, err)
	}
	return p, nil
}

// listen makes the socket and takes its descriptor away from the library:
// a connection it keeps is registered with the runtime's poller, which would
// then wake a thread for every frame that arrives.
func listen(ifi *net.Interface) (int, error) {
	// Protocol 0 receives nothing; setup binds the receiving one to all.
	conn, err := packet.Listen(ifi, packet.Raw, 0, nil)
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	if e := raw.Control(func(f uintptr) { fd, err = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return -1, e
	}
	return fd, err
}

func (p *Port) setup(ifi *net.Interface, ringBytes int) (err error) {
	if p.fd, err = listen(ifi); err != nil {
		return err
	}
	if p.queued, err = listen(ifi); err != nil {
		return err
	}
	both := []option{
		{"PACKET_VNET_HDR", unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
		{"SO_SNDBUFFORCE", unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer},
	}
	if err := setOptions(p.queued, both); err != nil {
		return err
	}
	if err := setOptions(p.fd, append(both, []option{
		{"PACKET_VERSION", unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2},
		{"PACKET_RESERVE", unix.SOL_PACKET, unix.PACKET_RESERVE, frame.Headroom},
		// A frame longer than a slot waits whole in the socket's queue.
		{"PACKET_COPY_THRESH", unix.SOL_PACKET, unix.PACKET_COPY_THRESH, 1},
		{"PACKET_IGNORE_OUTGOING", unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1},
		{"PACKET_QDISC_BYPASS", unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1},
		{"SO_RCVBUFFORCE", unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer},
	}...)); err != nil {
		return err
	}
	if err := p.ring.open(p.fd, ringBytes); err != nil {
		return err
	}
	promisc := unix.PacketMreq{Ifindex: int32(ifi.Index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(p.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &promisc); err != nil {
		return fmt.Errorf("promiscuous mode: %w", err)
	}
	all := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}
	if err := unix.Bind(p.fd, all); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return p.waiter.Open(p.fd)
}

type option struct {
	name              string
	level, opt, value int
}

func setOptions(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.opt, o.value); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// Offloads reports that the kernel finishes whatever the interface cannot.
func (p *Port) Offloads() frame.Caps { return frame.CapAll }

// Recv implements ports.Port. The frames lie in the ring itself; their slots
// go back to the kernel at the next call.
func (p *Port) Recv(frames []*frame.Frame) (int, error) {
	p.ring.release()
	p.arena.Reset()
	for {
		if n := p.harvest(frames); n > 0 {
			return n, nil
		}
		if p.waiter.Stopped() {
			return 0, ports.ErrStopped
		}
		p.ring.release() // slots of frames that were lost
		if err := p.waiter.Wait(); err != nil {
			return 0, err
		}
	}
}

// harvest takes the filled slots of the ring in order.
func (p *Port) harvest(frames []*frame.Frame) int {
	n := 0
	for n < len(frames) {
		slot, ok := p.ring.next()
		if !ok {
			break
		}
		var f *frame.Frame
		switch {
		case slot.Status&unix.TP_STATUS_COPY != 0:
			space := p.arena.Space(frame.VirtioHeaderLen)
			if space == nil {
				return n // the frame opens the next burst
			}
			f = p.receive(space)
		case slot.Snaplen < slot.Len:
			p.overrun.Add(1)
		default:
			f = &p.slots[n]
			p.ring.frame(f, slot)
		}
		p.ring.advance()
		if f == nil {
			continue
		}
		if slot.Status&unix.TP_STATUS_VLAN_VALID != 0 {
			f.Tag = slot.tag()
		} else {
			f.PopTag()
		}
		frames[n] = f
		n++
	}
	return n
}

// receive reads the frame at the head of the socket's queue, nil where it is
// longer than any weft carries.
func (p *Port) receive(space []byte) *frame.Frame {
	n, errno := rawRecv(p.fd, space)
	if errno != 0 && errno != unix.EAGAIN {
		n, errno = rawRecv(p.fd, space) // an old error of the socket's came first
	}
	if errno != 0 || n < frame.VirtioHeaderLen {
		p.overrun.Add(1)
		return nil
	}
	if n >= len(space) {
		p.truncated.Add(1)
		return nil
	}
	f := p.arena.Take(n - frame.VirtioHeaderLen)
	f.Offload.DecodeVirtio((*[frame.VirtioHeaderLen]byte)(space))
	return f
}

// RxLosses implements ports.RxLoser.
func (p *Port) RxLosses() ports.RxLosses {
	return ports.RxLosses{
		Full:      p.ring.drops(p.fd) + p.overrun.Load(),
		Truncated: p.truncated.Load(),
	}
}

// Stop implements ports.Port.
func (p *Port) Stop() { p.waiter.Stop() }

// Close implements ports.Port.
func (p *Port) Close() error {
	return errors.Join(p.waiter.Close(), p.free())
}

// free gives back what setup took, as far as it came.
func (p *Port) free() error {
	p.ring.close()
	var errs []error
	for _, fd := range []int{p.fd, p.queued} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}
