package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Connections go from every client's address, by every port of a range, to some of
// the addresses outside, in turn: 32000 of them until one comes again, which is
// within every limit of weft's defaults and of the kernel's.
const (
	connWindow    = 128 // under way at once
	connFirstPort = 20000
	connPorts     = 1000
	connRemotes   = 4

	// connPatience is how long one may take: two SYNs may be lost, which are sent
	// again after 1 s and 3 s (RFC 6298).
	connPatience = 5 * time.Second
)

// connections is a load of TCP connections that are made, accepted, closed by the
// server and then by the client: so the client's ports are free at once, and what
// lingers (TIME-WAIT) does so at the server.
type connections struct {
	traffic
	from, to *Host
	failed   atomic.Uint64

	epoll   int
	next    int                 // number of the next connection
	pending map[int32]time.Time // sockets, since when
}

// startConnections makes connections between two hosts, as fast as they go.
func startConnections(from, to *Host) (*connections, error) {
	c := &connections{from: from, to: to, pending: make(map[int32]time.Time, connWindow)}
	listener, err := c.open(to, func() (int, error) {
		fd, err := socket(unix.SOCK_STREAM, netip.AddrPortFrom(to.family().unspecified(), connPort))
		if err != nil {
			return -1, err
		}
		if err := unix.Listen(fd, connWindow*8); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("listen on %s: %w", to.Address, err)
		}
		return fd, nil
	})
	if err != nil {
		return nil, err
	}
	c.epoll, err = c.open(from, func() (int, error) { return unix.EpollCreate1(unix.EPOLL_CLOEXEC) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), c.stop())
	}
	c.spawn(to, func() error { return c.serve(listener) })
	c.spawn(from, c.connect)
	return c, nil
}

// serve accepts connections and closes them.
func (c *connections) serve(listener int) error {
	for !c.stopping.Load() {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err == nil {
			unix.Close(fd)
		} else if !retry(err) && err != unix.ECONNABORTED {
			return fmt.Errorf("accept: %w", err)
		}
	}
	return nil
}

// connect keeps the window full until the load stops.
func (c *connections) connect() error {
	defer func() {
		for fd := range c.pending {
			unix.Close(int(fd))
		}
	}()
	events := make([]unix.EpollEvent, connWindow)
	looked := time.Now()
	for !c.stopping.Load() {
		// No more tries than places: where none succeeds, the load shall still end.
		for tries := 0; tries < connWindow && len(c.pending) < connWindow; tries++ {
			if err := c.begin(); err != nil {
				return err
			}
		}
		n, err := unix.EpollWait(c.epoll, events, int(ioTimeout.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll: %w", err)
		}
		for i := range max(n, 0) {
			c.finish(events[i].Fd)
		}
		if now := time.Now(); now.Sub(looked) > ioTimeout {
			looked = now
			c.giveUp(now)
		}
	}
	return nil
}

// begin sends the SYN of the next connection.
func (c *connections) begin() error {
	local, remote := c.pair(c.next)
	c.next++
	fd, err := unix.Socket(familyOf(local.Addr()).domain(), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	c.sent.Add(1)
	// The address may still be another one's, of the round before.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, sockaddr(local))
	}
	if err == nil {
		err = unix.Connect(fd, sockaddr(remote))
	}
	switch err {
	case nil, unix.EINPROGRESS:
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EINTR:
		c.failed.Add(1)
		unix.Close(fd)
		return nil
	default:
		unix.Close(fd)
		return fmt.Errorf("connect %s to %s: %w", local, remote, err)
	}
	c.pending[int32(fd)] = time.Now()
	err = unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// pair returns the ends of the i-th connection.
func (c *connections) pair(i int) (local, remote netip.AddrPort) {
	port := connFirstPort + i/(natClients*connRemotes)%connPorts
	return netip.AddrPortFrom(addressAfter(c.from.Address, i%natClients), uint16(port)),
		netip.AddrPortFrom(addressAfter(c.to.Address, i/natClients%connRemotes), connPort)
}

// finish closes a connection that the server has closed, or that came to nothing.
func (c *connections) finish(fd int32) {
	var b [1]byte
	if n, err := unix.Read(int(fd), b[:]); n == 0 && err == nil {
		c.received.Add(1)
	} else {
		c.failed.Add(1)
	}
	unix.Close(int(fd))
	delete(c.pending, fd)
}

// giveUp closes what has taken too long.
func (c *connections) giveUp(now time.Time) {
	for fd, began := range c.pending {
		if now.Sub(began) > connPatience {
			c.failed.Add(1)
			unix.Close(int(fd))
			delete(c.pending, fd)
		}
	}
}

func runNATConnections(ctx context.Context, bed *Bed, timing Timing) (Sample, error) {
	load, err := startConnections(bed.Hosts[0], bed.Hosts[1])
	if err != nil {
		return Sample{}, err
	}
	w, err := observe(ctx, bed, &load.traffic, timing)
	if err = errors.Join(err, load.stop()); err != nil {
		return Sample{}, err
	}
	if w.received == 0 {
		return Sample{}, errNothing
	}
	return Sample{
		Value:   float64(w.received) / w.seconds,
		Details: append([]Figure{{"failed", "connections", float64(load.failed.Load())}}, w.cpu("kconnection", float64(w.received)/1e3)...),
	}, nil
}
