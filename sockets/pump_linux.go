package sockets

import (
	"io"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// turn is how many bytes a connection may move each way before others have theirs.
const turn = 1 << 20

// pump moves data both ways, as far as both sides take them. Neither side is read
// while the other one does not take what has been read: so its window closes, and no
// more is kept than the buffers hold. It returns true where there is more to do.
func (c *connection) pump(w *worker) (again bool) {
	more, alive := c.toHost(w)
	if !alive {
		return false
	}
	moreToGuest, alive := c.toGuest()
	if !alive {
		return false
	}
	switch state := tcp.EndpointState(c.ep.State()); {
	case c.fromGuestEnd && c.fromHostEnd:
		if state == tcp.StateTimeWait || state == tcp.StateClose || state == tcp.StateError {
			c.finish(false) // the guest has all, or will never
		}
		return false
	case state == tcp.StateError && (c.fromGuestEnd || !c.hostOut),
		c.hostErr && c.hostIn && !c.fromHostEnd && !moreToGuest && hasError(c.fd):
		c.reset() // one side is gone, while nobody reads from it
		return false
	}
	return more || moreToGuest
}

// toHost moves data from the guest. alive is false once the connection has ended.
func (c *connection) toHost(w *worker) (more, alive bool) {
	for moved := 0; moved < turn; {
		if !c.flush() {
			return false, c.phase.Load() == opened
		}
		if c.fromGuestEnd || !c.hostOut {
			return false, true
		}
		g := &w.gather
		g.start(c)
		res, err := c.ep.Read(g, tcpip.ReadOptions{})
		if res.Count > 0 {
			err = nil
			moved += res.Count
			c.flow.bytes.Add(uint64(res.Count))
			c.ep.ModerateRecvBuf(res.Count)
			g.finish()
		}
		if g.err != nil {
			c.reset()
			return false, false
		}
		switch err.(type) {
		case nil:
		case *tcpip.ErrWouldBlock, *tcpip.ErrBadBuffer: // nothing is there, or nothing taken
			return false, true
		case *tcpip.ErrClosedForReceive:
			c.fromGuestEnd = true
			c.noteClosing()
			_ = unix.Shutdown(c.fd, unix.SHUT_WR) // where that fails, reading will
			return false, true
		default:
			c.reset()
			return false, false
		}
	}
	return true, true
}

// flush writes what the host has not taken yet. It returns false while there is some.
func (c *connection) flush() bool {
	for len(c.pending) > 0 {
		if !c.hostOut {
			return false
		}
		n, err := unix.Write(c.fd, c.pending)
		switch {
		case err == unix.EAGAIN:
			c.hostOut = false
		case err == unix.EINTR:
		case err != nil:
			c.reset()
			return false
		default:
			c.pending = c.pending[n:]
		}
	}
	c.pending = nil
	return true
}

// gather collects the segments of a guest, to be written by one system call. Long ones
// go past it.
type gather struct {
	c   *connection
	mem []byte
	err error
}

const (
	gatherLen = 64 << 10
	gatherMin = 16 << 10 // is long
)

func (g *gather) start(c *connection) {
	if g.mem == nil {
		g.mem = make([]byte, 0, gatherLen)
	}
	g.c, g.mem, g.err = c, g.mem[:0], nil
}

// Write implements io.Writer for tcpip.Endpoint.Read, which keeps what is not taken.
func (g *gather) Write(b []byte) (int, error) {
	switch {
	case g.err != nil || !g.c.hostOut:
		return 0, io.ErrShortWrite
	case len(b) >= gatherMin && len(g.mem) == 0:
		n := g.write(b)
		if n < len(b) {
			return n, io.ErrShortWrite
		}
		return n, nil
	case len(g.mem)+len(b) > gatherLen:
		return 0, io.ErrShortWrite
	}
	g.mem = append(g.mem, b...)
	return len(b), nil
}

// write returns how much the host has taken.
func (g *gather) write(b []byte) int {
	n, err := unix.Write(g.c.fd, b)
	for err == unix.EINTR {
		n, err = unix.Write(g.c.fd, b)
	}
	switch {
	case err == unix.EAGAIN:
		g.c.hostOut = false
	case err != nil:
		g.err = err
	case n < len(b):
		g.c.hostOut = false // the kernel tells when there is room again
	}
	return max(n, 0)
}

// finish writes what has been collected. The rest is the connection's to keep.
func (g *gather) finish() {
	if g.err != nil || len(g.mem) == 0 {
		return
	}
	if n := g.write(g.mem); g.err == nil && n < len(g.mem) {
		g.c.pending = append([]byte(nil), g.mem[n:]...)
	}
}

// toGuest moves data from the host.
func (c *connection) toGuest() (more, alive bool) {
	for moved := 0; moved < turn; {
		if c.fromHostEnd || !c.hostIn {
			return false, true
		}
		src := hostReader{fd: c.fd}
		n, err := c.ep.Write(&src, tcpip.WriteOptions{})
		moved += int(n)
		c.flow.bytes.Add(uint64(n))
		c.small.wrote(int(n), c.ep)
		switch err.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			return false, true // the guest's side is full
		default:
			c.reset()
			return false, false
		}
		switch {
		case src.err != nil:
			c.reset()
			return false, false
		case src.empty:
			c.hostIn = false
			return false, true
		case src.end:
			c.fromHostEnd = true
			c.noteClosing()
			_ = c.ep.Shutdown(tcpip.ShutdownWrite) // where that fails, it is gone, and tells
			return false, true
		}
	}
	return true, true
}

// noteClosing says that the connection may take only so long to end from now on, where
// both sides have said that they have no more.
func (c *connection) noteClosing() {
	if c.fromGuestEnd && c.fromHostEnd {
		c.closing.Store(true)
		c.since.Store(c.s.now.Load())
	}
}

// hostReader reads a socket of the host right into the buffers of the stack.
type hostReader struct {
	fd         int
	first      [1]byte // where ahead is set: read to find out about the end
	ahead      bool
	empty, end bool
	err        error
}

// Len implements tcpip.Payloader. The stack takes buffers of that size: one byte must
// not cost 64 KiB.
func (s *hostReader) Len() int {
	if n, err := unix.IoctlGetInt(s.fd, unix.TIOCINQ); err == nil && n > 0 {
		return n
	}
	s.ahead = s.receive(s.first[:]) == 1 // which tells apart what the number does not
	if s.ahead {
		return 1
	}
	return 0
}

// Read implements io.Reader.
func (s *hostReader) Read(b []byte) (int, error) {
	switch {
	case len(b) == 0:
		return 0, nil
	case s.ahead:
		s.ahead = false
		return copy(b, s.first[:]), nil
	}
	if n := s.receive(b); n > 0 {
		return n, nil
	}
	return 0, io.EOF
}

func (s *hostReader) receive(b []byte) int {
	n, err := unix.Read(s.fd, b)
	for err == unix.EINTR {
		n, err = unix.Read(s.fd, b)
	}
	switch {
	case err == unix.EAGAIN:
		s.empty = true
	case err != nil:
		s.err = err
	case n == 0:
		s.end = true
	}
	return max(n, 0)
}

// small bounds what lies in the buffers of the stack by number, as each segment costs
// some 500 bytes beside its data: a server that sends single bytes to a guest that does
// not read would fill our memory otherwise. After many short writes the buffer shrinks;
// it grows again as the guest acknowledges.
type small struct{ writes, bytes int }

const (
	smallWrites = 256
	smallMean   = 1 << 10
	smallBuffer = 4 << 10
)

func (m *small) wrote(n int, ep tcpip.Endpoint) {
	if n == 0 {
		return
	}
	m.writes++
	m.bytes += n
	if m.writes < smallWrites {
		return
	}
	if m.bytes < smallWrites*smallMean {
		ep.SocketOptions().SetSendBufferSize(smallBuffer, false) // "true" would end the growing
	}
	*m = small{}
}
