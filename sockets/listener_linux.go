package sockets

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

// listener is a published port: of TCP a socket that accepts, of UDP a mapping.
type listener struct {
	job
	s   *Sockets
	key listenKey
	to  atomic.Pointer[target]

	mu sync.Mutex // guards fd while it is used
	fd int        // -1 once it is closed

	stalled atomic.Bool // clients wait for a socket that the machine has not had
	mapping *mapping    // of UDP; then fd is the mapping's
}

// backlog is how many clients may wait to be accepted.
const backlog = 512

// listen opens a socket. Nobody hears of it before begin.
func (s *Sockets) listen(key listenKey, to target) (*listener, error) {
	kind, protocol := unix.SOCK_STREAM, unix.IPPROTO_TCP
	if key.protocol == frame.ProtoUDP {
		kind, protocol = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	}
	fam := familyOf(key.at.Addr())
	fd, err := s.env.open(fam, kind, protocol)
	if err != nil {
		return nil, listenError(key, err)
	}
	l := &listener{s: s, key: key, fd: fd}
	l.job.queue, l.job.runner = &s.queue, l
	l.to.Store(&to)
	if key.protocol == frame.ProtoUDP {
		err = bindUDP(fd, key.at)
		_ = unix.SetsockoptInt(fd, fam.level, fam.receiveInfo, 1)
	} else {
		// Connections that wait for their end at the port are no reason not to listen.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		if err = unix.Bind(fd, toSockaddr(key.at)); err == nil {
			err = unix.Listen(fd, backlog)
		}
	}
	if err != nil {
		closeSocket(fd)
		return nil, listenError(key, err)
	}
	if key.protocol == frame.ProtoUDP {
		m := s.newMapping(frame.ProtoUDP, fam, to.to, fd)
		m.published, m.keep, m.local = true, to.keep, key.at
		l.mapping = m
	}
	return l, nil
}

// listenError says which port cannot be listened at, and what to do.
func listenError(key listenKey, err error) error {
	remedy := ""
	switch err {
	case unix.EADDRINUSE:
		remedy = ": end the program that has it (ss -lnp shows it), or choose another port"
	case unix.EADDRNOTAVAIL:
		remedy = ": give this machine the address, or listen at one that it has"
	case unix.EAFNOSUPPORT:
		remedy = ": this machine has no " + familyOf(key.at.Addr()).name + ", so listen at an address of the other family"
	case unix.EACCES, unix.EPERM:
		remedy = ": give this process CAP_NET_BIND_SERVICE, or choose a port from net.ipv4.ip_unprivileged_port_start on"
	case unix.EMFILE, unix.ENFILE:
		remedy = ": publish fewer ports, or raise the limit of open files"
	}
	return fmt.Errorf("publish %s: %w%s", key, err, remedy)
}

// begin takes clients from now on.
func (l *listener) begin() {
	if l.mapping != nil {
		l.s.table.mu.Lock()
		l.mapping.publish()
		l.s.table.mu.Unlock()
		_ = l.s.ready.add(l.mapping.fd, &l.mapping.job) // fails for want of memory only: then it stays silent
		return
	}
	_ = l.s.ready.add(l.fd, &l.job)
}

// publish makes the mapping that of what its guest sends itself from the published
// port, so that peers of both ways see one port, where both are of one family. The table
// is locked.
func (m *mapping) publish() {
	if m.family != familyOf(m.guest.Addr()) {
		return
	}
	k := inside{m.protocol, m.guest}
	if other := m.s.table.mappings[k]; other == nil || !other.published {
		m.s.table.mappings[k] = m // the other one goes with its flows
	}
}

func (l *listener) target() target { return *l.to.Load() }

// retarget leads new clients elsewhere. Connections go on; the flows of UDP, which is
// one socket for all, end.
func (l *listener) retarget(to target) {
	if was := l.to.Swap(&to); *was == to || l.mapping == nil {
		return
	}
	m := l.mapping
	t := &l.s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	m.abandon()
	m.guest, m.keep = to.to, to.keep
	m.publish()
}

// abandon ends all flows of the mapping. The table is locked.
func (m *mapping) abandon() {
	for _, f := range m.flows {
		m.s.table.remove(f)
	}
	clear(m.flows)
	clear(m.peers)
	m.unmap()
}

func (l *listener) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fd < 0
}

// close frees the port. Connections go on.
func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd < 0 {
		return
	}
	if l.mapping != nil {
		t := &l.s.table
		t.mu.Lock()
		l.mapping.abandon()
		l.mapping.gone = true
		t.mu.Unlock()
		l.mapping.close()
	} else {
		l.s.ready.remove(l.fd)
		closeSocket(l.fd)
	}
	l.fd = -1
}

// run implements runner.
func (l *listener) run(*worker, event) {
	if l.mapping != nil {
		return
	}
	for range 64 {
		fd, client, err := l.accept()
		switch {
		case err == unix.ECONNABORTED || err == unix.EINTR: // the next one, then
		case err == unix.EMFILE || err == unix.ENFILE:
			l.s.counters.refused[NoSocket].Add(1)
			l.stalled.Store(true) // sweep comes back to it
			return
		case err != nil:
			return
		default:
			l.s.accepted(fd, client, l.target())
		}
	}
	l.wake(hostIn)
}

func (l *listener) accept() (int, netip.AddrPort, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd < 0 {
		return -1, netip.AddrPort{}, unix.EBADF
	}
	fd, from, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	return fd, fromSockaddr(from), nil
}

// accepted leads a client to its guest.
func (s *Sockets) accepted(fd int, client netip.AddrPort, to target) {
	tuneTCP(fd)
	local := localAddr(fd)
	c := s.newConnection(tuple{frame.ProtoTCP, to.to, client})
	c.peer, c.from, c.fd = client, outside, fd
	c.flow.local = local
	c.phase.Store(calling)
	if c.hold = s.budget.take(user{s, outside}); c.hold == nil {
		s.counters.refused[NoSocket].Add(1)
	}
	if c.hold == nil || !s.admitClient(&c.flow, to.keep && s.maySee(to.to.Addr(), client.Addr(), local.Addr())) {
		resetOnClose(fd)
		closeSocket(fd)
		c.hold.release()
		return
	}
	c.hold.lend(c)
	if s.ready.add(fd, &c.job) != nil {
		c.wake(kill)
		return
	}
	c.wake(guestEvent)
}

// admitClient is admit for a flow from outside, which it gives a name that the guest
// sees.
func (s *Sockets) admitClient(f *flow, keep bool) bool {
	t := &s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	reason, ok := t.admit(f.protocol, f.guest.Addr(), f.from)
	if ok && (!keep || t.flows[f.tuple] != nil) {
		if f.relay, ok = t.takeRelay(f.protocol); ok {
			f.remote = netip.AddrPortFrom(s.gateway.facing(f.guest.Addr()), f.relay)
		} else {
			reason = PortsFull
		}
	}
	if !ok {
		s.counters.refused[reason].Add(1)
		return false
	}
	s.take(f)
	return true
}
