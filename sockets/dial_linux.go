package sockets

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// answer takes a TCP packet that belongs to no connection. It returns false where the
// stack is to answer with a RST.
func (s *Sockets) answer(id stack.TransportEndpointID, p *stack.PacketBuffer) bool {
	h := header.TCP(p.TransportHeader().Slice())
	const which = header.TCPFlagSyn | header.TCPFlagAck | header.TCPFlagRst
	if len(h) < header.TCPMinimumSize || h.Flags()&which != header.TCPFlagSyn {
		return false
	}
	t := tuple{frame.ProtoTCP, addrPort(id.RemoteAddress, id.RemotePort), addrPort(id.LocalAddress, id.LocalPort)}
	if s.table.find(t) != nil {
		return true // once more, as the host has not connected yet
	}
	if s.gateway.is(t.remote.Addr()) {
		return false
	}
	quoted := append(append([]byte(nil), p.NetworkHeader().Slice()...), h[:header.TCPMinimumSize]...)
	if !s.mayReach(frame.ProtoTCP, t.remote) {
		s.counters.refused[Prohibited].Add(1)
		s.tell(quoted, prohibited)
		return true
	}
	c := s.newConnection(t)
	c.syn, c.from = quoted, s.from
	if !s.admit(&c.flow) {
		return true // the guest asks again, perhaps when there is room
	}
	if !s.stack.forwarder.Load().HandlePacket(id, p) {
		c.wake(kill)
		return false
	}
	return true
}

// admit takes a connection in, where there may be one more.
func (s *Sockets) admit(f *flow) bool {
	t := &s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	reason, ok := t.admit(f.protocol, f.guest.Addr(), f.from)
	if !ok {
		s.counters.refused[reason].Add(1)
		return false
	}
	s.take(f)
	return true
}

// makeRoom ends a connection that is on its way, where that has to be. The table is
// locked.
func (s *Sockets) makeRoom(from string) {
	t := &s.table
	if f := t.crowded(from); f != nil {
		s.counters.refused[Connecting].Add(1)
		t.remove(f)
		f.owner.(*connection).wake(expired)
	}
}

// take puts a flow in the table, which is locked.
func (s *Sockets) take(f *flow) {
	f.used.Store(s.now.Load())
	if f.protocol == frame.ProtoTCP {
		s.makeRoom(f.from)
	}
	s.table.insert(f)
	s.counters.made[slotOf(f.protocol)].Add(1)
	if f.protocol == frame.ProtoTCP {
		s.stack.resize(s, s.table.now[slotOf(frame.ProtoTCP)])
	}
}

// begin is given the request of a connection that has been admitted.
func (s *Sockets) begin(r *tcp.ForwarderRequest) {
	id := r.ID()
	f := s.table.find(tuple{frame.ProtoTCP, addrPort(id.RemoteAddress, id.RemotePort), addrPort(id.LocalAddress, id.LocalPort)})
	if f == nil {
		r.Complete(true) // it has been flushed
		return
	}
	c, ok := f.owner.(*connection)
	if !ok || !c.request.CompareAndSwap(nil, r) {
		r.Complete(true)
		return
	}
	c.wake(began)
}

// dial begins to connect to the peer.
func (c *connection) dial() {
	if c.hold = c.s.budget.take(user{c.s, c.from}); c.hold == nil {
		c.s.counters.refused[NoSocket].Add(1)
		c.finish(false) // the guest asks again, perhaps when there is one
		return
	}
	c.hold.lend(c)
	fd, err := c.s.env.open(familyOf(c.peer.Addr()), unix.SOCK_STREAM, unix.IPPROTO_TCP)
	if err == unix.EAFNOSUPPORT {
		c.refused(err)
		return
	}
	if err != nil {
		c.s.counters.refused[NoSocket].Add(1)
		c.reset()
		return
	}
	c.fd = fd
	tuneTCP(fd)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, synRetries) // every kernel knows it
	err = c.s.env.Connect(fd, c.peer)
	if err != nil && err != unix.EINPROGRESS {
		c.refused(err)
		return
	}
	// Only now, as a socket that does not connect yet is said to be hung up.
	if c.s.ready.add(fd, &c.job) != nil {
		c.reset()
		return
	}
	c.dialed()
}

// dialed goes on once the host has connected, or has not.
func (c *connection) dialed() {
	errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		c.reset()
		return
	case errno != 0:
		c.refused(unix.Errno(errno))
		return
	}
	if _, err := unix.Getpeername(c.fd); err != nil {
		return // not yet
	}
	r := c.request.Swap(nil)
	if r == nil || c.s.closing.Load() {
		if r != nil {
			r.Complete(true)
		}
		c.reset()
		return
	}
	c.setLocal()
	c.enter(greeting)
	c.s.handshakes.Add(1)
	go c.handshakeWithGuest(r)
}

// synRetries is how often the kernel sends a SYN again, which is 15 seconds in all: who
// asks for longer is the guest.
const synRetries = 3

// refused tells the guest why the host cannot connect: as the network would, where it
// is the network's fault. A guest that tries one family after the other (RFC 8305) hears
// of it in any case.
func (c *connection) refused(err error) {
	if err == unix.ETIMEDOUT {
		c.tooLate()
		return
	}
	e, known := reasonOf(familyOf(c.peer.Addr()), err)
	told := known && c.s.tell(c.syn, e)
	c.finish(!told)
}

// tuneTCP prepares a socket of the host. What a guest has held back it has held back
// already; and a peer that is gone should not be kept for ever, nor a NAT on the way
// forget one that is there.
func tuneTCP(fd int) {
	for _, o := range [...]struct{ level, option, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 120},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 30},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 8},
	} {
		_ = unix.SetsockoptInt(fd, o.level, o.option, o.value) // every kernel knows them
	}
}

// setLocal notes the address that the host has in the connection.
func (c *connection) setLocal() {
	t := &c.s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	c.local = localAddr(c.fd)
}

func localAddr(fd int) netip.AddrPort {
	a, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return fromSockaddr(a)
}

// fromSockaddr returns the address of a struct sockaddr. Zones have the number of the
// interface for a name.
func fromSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 {
			a = a.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
		}
		return netip.AddrPortFrom(a, uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func toSockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	to := new(unix.SockaddrInet6)
	setSockaddr6(to, a)
	return to
}

func setSockaddr6(to *unix.SockaddrInet6, a netip.AddrPort) {
	to.Addr, to.Port, to.ZoneId = a.Addr().As16(), int(a.Port()), 0
	if zone := a.Addr().Zone(); zone != "" {
		n, _ := strconv.ParseUint(zone, 10, 32) // fromSockaddr has made it
		to.ZoneId = uint32(n)
	}
}

func resetOnClose(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

func closeSocket(fd int) { _ = unix.Close(fd) }

// hasError reports whether a socket has an error that nobody has been told yet.
func hasError(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLERR != 0
}

// orMachine fills in what is not given.
func (e Env) orMachine() Env {
	if e.Socket == nil {
		e.Socket = unix.Socket
	}
	if e.Connect == nil {
		e.Connect = func(fd int, to netip.AddrPort) error { return unix.Connect(fd, toSockaddr(to)) }
	}
	if e.PortRange == nil {
		e.PortRange = portRange
	}
	return e
}

// open opens a socket of one family only: what comes by IPv4 is another socket's. (A raw
// one has never heard of the other.)
func (e Env) open(fam *family, kind, protocol int) (int, error) {
	fd, err := e.Socket(fam.domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err == nil && fam == v6 && kind != unix.SOCK_RAW {
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			closeSocket(fd)
		}
	}
	return fd, err
}

// portRange reads it, which is for IPv6 too; where that fails, it is Linux's own.
func portRange() (first, last uint16) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(b), &first, &last)
	}
	if err != nil {
		return 32768, 60999
	}
	return first, last
}
