package afpacket

import (
	"runtime"
	"unsafe"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
	"golang.org/x/sys/unix"
)

// rawRecv reads one frame from the socket's queue. It does not tell the Go
// scheduler about the call, which never blocks.
func rawRecv(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// mmsghdr is struct mmsghdr of recvmmsg(2) on 64-bit machines.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// txChunk is how many frames one sendmmsg takes: enough to spread the price of
// the call, few enough that the descriptors below cost little to clear.
const txChunk = 16

// Send implements ports.Port: frames leave in chunks, each by one of the two
// sockets.
func (p *Port) Send(frames []*frame.Frame) (int, error) {
	sent := 0
	for sent < len(frames) {
		queued := p.needsQueue(frames[sent])
		end := sent + 1
		for end < len(frames) && end-sent < txChunk && p.needsQueue(frames[end]) == queued {
			end++
		}
		fd := p.fd
		if queued {
			fd = p.queued
		}
		n, errno := sendChunk(fd, frames[sent:end])
		sent += n
		if errno == 0 {
			continue
		}
		if !queued && frames[sent].Offload.IsSuper() && p.lacksTSO() {
			continue // again, by the other socket
		}
		return sent, ports.SendError(errno)
	}
	return sent, nil
}

// needsQueue reports whether a frame has to leave through the interface's
// queue, where the kernel cuts super-frames that the interface cannot take. A
// direct transmission drops them (net/core/dev.c, __dev_direct_xmit).
func (p *Port) needsQueue(f *frame.Frame) bool {
	return f.Offload.IsSuper() && (f.Offload.GSOType == frame.GSOUDPL4 || p.softTSO.Load())
}

// lacksTSO asks, once a direct transmission of a super-frame has failed,
// whether the interface is the reason, and remembers that it is. What an
// interface can do changes while it is up: the driver of a guest decides it.
func (p *Port) lacksTSO() bool {
	v, err := ethtoolGet(p.fd, p.name, unix.ETHTOOL_GTSO)
	lacks := err == nil && v == 0
	if lacks {
		p.softTSO.Store(true)
	}
	return lacks
}

// ethtoolValue is struct ethtool_value, ifreqData struct ifreq with a pointer.
type ethtoolValue struct{ cmd, data uint32 }

type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

func ethtoolGet(fd int, name string, cmd uint32) (uint32, error) {
	v := ethtoolValue{cmd: cmd}
	ifr := ifreqData{data: unsafe.Pointer(&v)}
	copy(ifr.name[:], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr)))
	runtime.KeepAlive(&v)
	if errno != 0 {
		return 0, errno
	}
	return v.data, nil
}

// sendChunk sends up to txChunk frames by one system call and returns how many
// were taken. What the kernel needs beside the frames lives on the stack, so
// any number of goroutines may send at once without a lock. All of it is filled
// in by index and used in one function: written through a pointer it would be
// allocated.
func sendChunk(fd int, frames []*frame.Frame) (int, unix.Errno) {
	var (
		msgs [txChunk]mmsghdr
		iovs [txChunk][4]unix.Iovec
		hdrs [txChunk][frame.VirtioHeaderLen]byte
		tags [txChunk][frame.TagLen]byte
	)
	for i, f := range frames {
		b, tagged := f.Bytes(), f.Tag.Present()
		f.Offload.EncodeVirtio(&hdrs[i], tagged)
		iovs[i][0].Base, iovs[i][0].Len = &hdrs[i][0], frame.VirtioHeaderLen
		pieces := 2
		if tagged {
			frame.PutTag(&tags[i], f.Tag)
			iovs[i][1].Base, iovs[i][1].Len = &b[0], 12
			iovs[i][2].Base, iovs[i][2].Len = &tags[i][0], frame.TagLen
			iovs[i][3].Base, iovs[i][3].Len = &b[12], uint64(len(b)-12)
			pieces = 4
		} else {
			iovs[i][1].Base, iovs[i][1].Len = &b[0], uint64(len(b))
		}
		msgs[i].hdr.Iov, msgs[i].hdr.Iovlen = &iovs[i][0], uint64(pieces)
	}
	for sent := 0; ; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[sent])), uintptr(len(frames)-sent), unix.MSG_DONTWAIT, 0, 0)
		// The kernel has read them through pointers that the compiler does not follow.
		runtime.KeepAlive(&iovs)
		runtime.KeepAlive(&hdrs)
		runtime.KeepAlive(&tags)
		if errno != 0 && errno != unix.EINTR {
			return sent, errno
		}
		if errno == 0 {
			sent += int(n)
		}
		if sent == len(frames) {
			return sent, 0
		}
	}
}
