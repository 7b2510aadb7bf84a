package bench

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// message is struct mmsghdr (include/linux/socket.h).
type message struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// burst is a set of datagrams of one length for one system call. All share one
// payload, whose bytes say nothing.
type burst struct {
	messages []message
	vector   unix.Iovec
}

func newBurst(datagrams, payload int) *burst {
	b := &burst{messages: make([]message, datagrams)}
	data := make([]byte, payload)
	b.vector.Base = &data[0]
	b.vector.SetLen(payload)
	for i := range b.messages {
		b.messages[i].header.Iov = &b.vector
		b.messages[i].header.SetIovlen(1)
	}
	return b
}

// send sends the burst on a connected socket and returns how many datagrams the
// kernel took.
func (b *burst) send(fd int) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&b.messages[0])), uintptr(len(b.messages)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// receive waits for one datagram, takes what has come with it, and returns how
// many they are.
func (b *burst) receive(fd int) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&b.messages[0])), uintptr(len(b.messages)), unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// socketDrops returns how many datagrams found the socket's buffer full: index
// SK_MEMINFO_DROPS of SO_MEMINFO (include/uapi/linux/sock_diag.h).
func socketDrops(fd int) (uint32, error) {
	const drops = 8
	var info [drops + 1]uint32
	length := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("socket drops: %w", errno)
	}
	return info[drops], nil
}
