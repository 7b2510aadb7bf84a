package bench

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// packets is a set of datagrams or frames, each with a buffer of its own, for one
// system call.
type packets struct {
	messages []message
	vectors  []unix.Iovec
	buffers  [][]byte
	n        int // that wait to be sent
}

func newPackets(n, size int) *packets {
	p := &packets{messages: make([]message, n), vectors: make([]unix.Iovec, n), buffers: make([][]byte, n)}
	for i := range p.messages {
		p.buffers[i] = make([]byte, size)
		p.vectors[i].Base = &p.buffers[i][0]
		p.messages[i].header.Iov = &p.vectors[i]
		p.messages[i].header.SetIovlen(1)
	}
	return p
}

// address has all of them sent to an IPv6 address, by the interface that the socket
// is bound to where that is link-local.
func (p *packets) address(to netip.AddrPort) {
	name := &unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&name.Port))[:], to.Port())
	for i := range p.messages {
		p.messages[i].header.Name = (*byte)(unsafe.Pointer(name))
		p.messages[i].header.Namelen = unix.SizeofSockaddrInet6
	}
}

// full reports whether no more can wait.
func (p *packets) full() bool { return p.n == len(p.messages) }

// next returns the buffer of the next one to send.
func (p *packets) next() []byte { return p.buffers[p.n] }

// add has the first length bytes of that buffer wait to be sent.
func (p *packets) add(length int) {
	p.vectors[p.n].SetLen(length)
	p.n++
}

// flush sends what waits, over and over as retry says until stopped says no.
func (p *packets) flush(fd int, stopped func() bool) error {
	for sent := 0; sent < p.n; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&p.messages[sent])), uintptr(p.n-sent), 0, 0, 0)
		if errno == 0 {
			sent += int(n)
		} else if !retry(errno) || stopped() {
			p.n = 0
			return errno
		}
	}
	p.n = 0
	return nil
}

// receive waits for one, takes what has come with it, and returns how many they
// are.
func (p *packets) receive(fd int) (int, error) {
	for i := range p.vectors {
		p.vectors[i].SetLen(len(p.buffers[i]))
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&p.messages[0])), uintptr(len(p.messages)), unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// received returns the i-th that receive took.
func (p *packets) received(i int) []byte { return p.buffers[i][:p.messages[i].length] }
