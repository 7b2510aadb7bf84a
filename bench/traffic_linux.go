package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The load's ports on every host.
const (
	tcpPort   = 5001
	floodPort = 5002
	pingPort  = 5003
	probePort = 5004
	connPort  = 5005
	idlePort  = 5006
)

// ioTimeout bounds every blocking call of a generator, so that it sees in time
// that it shall stop.
const ioTimeout = 100 * time.Millisecond

// traffic is a running load: threads inside the namespaces of hosts, their
// sockets and what they have moved so far.
type traffic struct {
	sent, received atomic.Uint64 // bytes of a stream, frames of a flood, pings
	stopping       atomic.Bool
	threads        []<-chan error
	sockets        []int
}

// spawn runs f on a thread of the host until stop is called.
func (t *traffic) spawn(h *Host, f func() error) {
	t.threads = append(t.threads, h.Go(f))
}

// open runs f, which returns a socket, on a thread of the host. The traffic owns
// the socket.
func (t *traffic) open(h *Host, f func() (int, error)) (int, error) {
	fd := -1
	err := <-h.Go(func() (err error) {
		fd, err = f()
		return err
	})
	if err != nil {
		return -1, err
	}
	t.sockets = append(t.sockets, fd)
	return fd, nil
}

// stop ends the load, waits for its threads, closes its sockets and returns
// what went wrong. It may be called while the load is half set up.
func (t *traffic) stop() error {
	t.stopping.Store(true)
	var errs []error
	for _, thread := range t.threads {
		errs = append(errs, <-thread)
	}
	for _, fd := range t.sockets {
		unix.Close(fd)
	}
	t.threads, t.sockets = nil, nil
	return errors.Join(errs...)
}

// retry reports whether a failed call is to be made again: it ran into its
// timeout, a signal of the Go runtime broke it off, or what we sent found no
// room or nobody for the moment.
func retry(err error) bool {
	switch err {
	case unix.EAGAIN, unix.EINTR, unix.ENOBUFS, unix.ECONNREFUSED:
		return true
	}
	return false
}

// socket opens a blocking socket with ioTimeout, bound to local.
func socket(kind int, local netip.AddrPort) (int, error) {
	fd, err := unix.Socket(familyOf(local.Addr()).domain(), kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	timeout := unix.NsecToTimeval(ioTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(fd, sockaddr(local)),
	)
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind %s: %w", local, err)
	}
	return fd, nil
}

// udp opens a UDP socket between two addresses and one port.
func udp(from, to *Host, port uint16) (int, error) {
	fd, err := socket(unix.SOCK_DGRAM, netip.AddrPortFrom(from.Address, port))
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(to.Address, port))); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect %s: %w", to.Address, err)
	}
	return fd, nil
}

// domain returns the kind of a family's sockets.
func (f Family) domain() int {
	if f == IPv4 {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// sockaddr returns an address for the kernel. Its zone, where there is one, is the
// number of an interface.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	zone, _ := strconv.ParseUint(a.Addr().Zone(), 10, 32)
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: uint32(zone)}
}

// reach sends pings until the first is answered.
func reach(ctx context.Context, from, to *Host, timeout time.Duration) error {
	t, err := startPings(from, to, probePort)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(timeout)
	for err == nil && t.received.Load() == 0 {
		if time.Now().After(deadline) {
			err = fmt.Errorf("%s does not reach %s within %v", from.Address, to.Address, timeout)
			break
		}
		err = sleep(ctx, time.Millisecond)
	}
	return errors.Join(err, t.stop())
}

// pingPong is a load of one datagram at a time, there and back.
type pingPong struct {
	traffic
	pings []ping // by the pinging thread; others after stop
	lost  int    // unanswered within ioTimeout; likewise
}

type ping struct {
	at  time.Time
	rtt time.Duration
}

// startPingPong bounces the shortest datagrams between two hosts.
func startPingPong(from, to *Host) (*pingPong, error) { return startPings(from, to, pingPort) }

func startPings(from, to *Host, port uint16) (*pingPong, error) {
	p := &pingPong{pings: make([]ping, 0, 1<<16)}
	there, err := p.open(from, func() (int, error) { return udp(from, to, port) })
	if err != nil {
		return nil, err
	}
	back, err := p.open(to, func() (int, error) { return udp(to, from, port) })
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	p.spawn(to, func() error { return p.echo(back) })
	p.spawn(from, func() error { return p.ping(there) })
	return p, nil
}

func (p *pingPong) echo(fd int) error {
	b := make([]byte, minPayload)
	for !p.stopping.Load() {
		n, err := unix.Read(fd, b)
		if err == nil {
			_, err = unix.Write(fd, b[:n])
		}
		if err != nil && !retry(err) {
			return fmt.Errorf("echo: %w", err)
		}
	}
	return nil
}

// ping numbers its datagrams, so that a late answer is not taken for the next.
func (p *pingPong) ping(fd int) error {
	out, in := make([]byte, minPayload), make([]byte, minPayload)
	for seq := uint64(1); !p.stopping.Load(); seq++ {
		binary.BigEndian.PutUint64(out, seq)
		start := time.Now()
		p.sent.Add(1)
		if _, err := unix.Write(fd, out); err != nil && !retry(err) {
			return fmt.Errorf("ping: %w", err)
		}
		answered, err := p.answer(fd, in, seq, start.Add(ioTimeout))
		if err != nil {
			return err
		}
		if !answered {
			// The last one stays unanswered where the echo has stopped.
			if !p.stopping.Load() {
				p.lost++
			}
			continue
		}
		p.pings = append(p.pings, ping{start, time.Since(start)})
		p.received.Add(1)
	}
	return nil
}

// answer waits for the echo of seq, until a read times out or deadline passes.
func (p *pingPong) answer(fd int, b []byte, seq uint64, deadline time.Time) (bool, error) {
	for {
		n, err := unix.Read(fd, b)
		switch {
		case err == nil && n == len(b) && binary.BigEndian.Uint64(b) == seq:
			return true, nil
		case err != nil && !retry(err):
			return false, fmt.Errorf("ping: %w", err)
		case err == unix.EAGAIN || time.Now().After(deadline):
			return false, nil
		}
	}
}

// between returns the round trips, in microseconds, of the pings that were sent
// between two instants. It is called after stop.
func (p *pingPong) between(from, to time.Time) []float64 {
	var rtts []float64
	for _, g := range p.pings {
		if !g.at.Before(from) && g.at.Before(to) {
			rtts = append(rtts, float64(g.rtt.Nanoseconds())/1e3)
		}
	}
	return rtts
}
