// Package tap opens tap devices by their descriptor, and makes the persistent
// ones that QEMU opens itself.
//
// The descriptor side is the cheaper one: a frame written to it costs less
// than one sent on a packet socket, and the reader's queue pushes back instead
// of losing (docs/architecture.md). Weft uses it wherever the other side of
// the tap is a network stack; where the other side is QEMU, QEMU holds the
// descriptor and weft works the interface with a packet socket.
package tap

import (
	"fmt"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
	"golang.org/x/sys/unix"
)

// Port is the descriptor side of a tap device.
type Port struct {
	fd      int
	caps    frame.Caps
	arena   *ports.Arena
	waiter  ports.Waiter
	drained bool // nothing was queued when the last burst ended
	losses  losses
}

var (
	_ ports.Port      = (*Port)(nil)
	_ ports.Offloader = (*Port)(nil)
	_ ports.RxLoser   = (*Port)(nil)
)

// Open attaches to the tap device name in the calling thread's network
// namespace and makes it where it is missing. The device is persistent: it
// outlives the descriptor and the process until Remove.
//
// The error wraps unix.EBUSY where another process holds the tap, and
// unix.EINVAL where name is an interface but not a single-queue tap.
func Open(name string) (*Port, error) {
	fd, err := openTap(name)
	if err != nil {
		return nil, err
	}
	p := &Port{fd: fd, arena: ports.NewArena()}
	if err := p.setup(); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tap %s: %w", name, err)
	}
	return p, nil
}

// Transient has the tap go with its descriptor: nothing of it outlives the process.
func (p *Port) Transient() error {
	if err := unix.IoctlSetInt(p.fd, unix.TUNSETPERSIST, 0); err != nil {
		return fmt.Errorf("TUNSETPERSIST: %w", err)
	}
	return nil
}

// openTap returns a descriptor of the tap name, made if need be.
func openTap(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("tap %s: TUNSETIFF: %w", name, err)
	}
	return fd, nil
}

func (p *Port) setup() error {
	// A tap that another program left may have a longer header set.
	if err := unix.IoctlSetPointerInt(p.fd, unix.TUNSETVNETHDRSZ, frame.VirtioHeaderLen); err != nil {
		return fmt.Errorf("TUNSETVNETHDRSZ: %w", err)
	}
	var err error
	if p.caps, err = setOffload(p.fd); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(p.fd, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("TUNSETPERSIST: %w", err)
	}
	return p.waiter.Open(p.fd)
}

// TUN_F_USO4 and TUN_F_USO6 came with Linux 6.2 (include/uapi/linux/if_tun.h).
const tunUSO = 0x20 | 0x40

// setOffload tells the kernel what frames the reader understands, and returns
// what that means for frames in the other direction: the kernel takes all
// kinds of super-frames that it may also hand out.
func setOffload(fd int) (frame.Caps, error) {
	const tso = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tso|tunUSO) == nil {
		return frame.CapAll, nil
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tso); err != nil {
		return 0, fmt.Errorf("TUNSETOFFLOAD: %w", err)
	}
	return frame.CapAll &^ frame.CapUSO, nil
}

// Offloads returns what the kernel's side of the tap takes.
func (p *Port) Offloads() frame.Caps { return p.caps }

// Recv implements ports.Port.
func (p *Port) Recv(frames []*frame.Frame) (int, error) {
	p.arena.Reset()
	for {
		if p.drained { // the last read said so: spare another
			if err := p.waiter.Wait(); err != nil {
				return 0, err
			}
		}
		n, err := p.read(frames)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// read takes what is queued without blocking.
func (p *Port) read(frames []*frame.Frame) (int, error) {
	count := 0
	p.drained = false
	for count < len(frames) {
		space := p.arena.Space(frame.VirtioHeaderLen)
		if space == nil {
			break
		}
		n, errno := rawRead(p.fd, space)
		switch {
		case errno == unix.EAGAIN:
			p.drained = true
			return count, nil
		case errno == unix.EINTR:
			continue
		case errno != 0:
			if count > 0 {
				return count, nil // the next read meets the error again
			}
			return 0, ports.ErrDown
		case n >= len(space):
			p.losses.truncated.Add(1)
			continue
		case n < frame.VirtioHeaderLen:
			continue
		}
		f := p.arena.Take(n - frame.VirtioHeaderLen)
		f.Offload.DecodeVirtio((*[frame.VirtioHeaderLen]byte)(space))
		f.PopTag()
		frames[count] = f
		count++
	}
	return count, nil
}

// Send implements ports.Port: one write a frame, tag and header gathered from
// pieces so that the frame itself stays as it is.
func (p *Port) Send(frames []*frame.Frame) (int, error) {
	var hdr [frame.VirtioHeaderLen]byte
	var tag [frame.TagLen]byte
	for i, f := range frames {
		b := f.Bytes()
		f.Offload.EncodeVirtio(&hdr, f.Tag.Present())
		var errno unix.Errno
		if f.Tag.Present() {
			frame.PutTag(&tag, f.Tag)
			errno = rawWritev(p.fd, hdr[:], b[:12], tag[:], b[12:])
		} else {
			errno = rawWritev(p.fd, hdr[:], b, nil, nil)
		}
		if errno != 0 {
			return i, ports.SendError(errno)
		}
	}
	return len(frames), nil
}

// Stop implements ports.Port.
func (p *Port) Stop() { p.waiter.Stop() }

// Close implements ports.Port. The device stays: see Remove.
func (p *Port) Close() error {
	err := p.waiter.Close()
	if e := unix.Close(p.fd); err == nil {
		err = e
	}
	return err
}
