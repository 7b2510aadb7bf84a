package tap

import (
	"sync/atomic"
	"unsafe"

	"github.com/weft/weft/ports"
	"golang.org/x/sys/unix"
)

type losses struct{ truncated atomic.Uint64 }

// RxLosses implements ports.RxLoser. A tap's own queue overflows on the
// sender's side, where the kernel counts it as the interface's tx_dropped.
func (p *Port) RxLosses() ports.RxLosses {
	return ports.RxLosses{Truncated: p.losses.truncated.Load()}
}

// rawRead and rawWritev do not tell the Go scheduler about the call: the
// descriptor never blocks, and the detour costs a third of the throughput.

func rawRead(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

// rawWritev writes the pieces as one frame; a nil piece is left out.
func rawWritev(fd int, a, b, c, d []byte) unix.Errno {
	var iov [4]unix.Iovec
	n := 0
	for _, piece := range [4][]byte{a, b, c, d} {
		if len(piece) > 0 {
			iov[n].Base = &piece[0]
			iov[n].SetLen(len(piece))
			n++
		}
	}
	_, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(n))
	return errno
}
