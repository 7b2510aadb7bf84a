package bench

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	writeSize = 128 << 10 // bytes handed to the kernel in one call, as iperf3 does
	readSize  = 512 << 10 // enough for whatever has piled up meanwhile
)

// startTCP sends on the given number of streams, as fast as they go.
func startTCP(from, to *Host, streams int) (*traffic, error) {
	t := &traffic{}
	listener, err := t.open(to, func() (int, error) { return listen(to, streams) })
	if err != nil {
		return nil, err
	}
	for range streams {
		if err := t.stream(from, to, listener); err != nil {
			return nil, errors.Join(err, t.stop())
		}
	}
	return t, nil
}

func listen(h *Host, backlog int) (int, error) {
	fd, err := socket(unix.SOCK_STREAM, netip.AddrPortFrom(h.Address, tcpPort))
	if err != nil {
		return -1, err
	}
	if err := unix.Listen(fd, backlog); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", h.Address, err)
	}
	return fd, nil
}

// stream connects one stream and starts its two ends.
func (t *traffic) stream(from, to *Host, listener int) error {
	out, err := t.open(from, func() (int, error) { return dial(from, to) })
	if err != nil {
		return err
	}
	in, err := t.open(to, func() (int, error) { return accept(listener) })
	if err != nil {
		return err
	}
	t.spawn(to, func() error { return t.drain(in) })
	t.spawn(from, func() error { return t.pump(out) })
	return nil
}

// dialTries bounds the time of a connection attempt to dialTries * ioTimeout:
// connect(2) gives up at the send timeout, and goes on when it is called again.
const dialTries = 50

func dial(from, to *Host) (int, error) {
	fd, err := socket(unix.SOCK_STREAM, netip.AddrPortFrom(from.Address, 0))
	if err != nil {
		return -1, err
	}
	peer := sockaddr(netip.AddrPortFrom(to.Address, tcpPort))
	for range dialTries {
		err = unix.Connect(fd, peer)
		if err == unix.EISCONN {
			err = nil
		}
		if err != unix.EINPROGRESS && err != unix.EALREADY && err != unix.EINTR {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect %s: %w", to.Address, err)
	}
	return fd, nil
}

func accept(listener int) (int, error) {
	for range dialTries {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err == nil {
			timeout := unix.NsecToTimeval(ioTimeout.Nanoseconds())
			// Timeouts are not inherited from the listener by promise.
			return fd, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
		}
		if !retry(err) {
			return -1, fmt.Errorf("accept: %w", err)
		}
	}
	return -1, errors.New("accept: nobody connected")
}

func (t *traffic) pump(fd int) error {
	b := make([]byte, writeSize)
	for !t.stopping.Load() {
		n, err := unix.Write(fd, b)
		if n > 0 {
			t.sent.Add(uint64(n))
		}
		if err != nil && !retry(err) {
			return fmt.Errorf("send stream: %w", err)
		}
	}
	return nil
}

func (t *traffic) drain(fd int) error {
	b := make([]byte, readSize)
	for !t.stopping.Load() {
		n, err := unix.Read(fd, b)
		switch {
		case n > 0:
			t.received.Add(uint64(n))
		case err == nil:
			return errors.New("receive stream: it ended")
		case !retry(err):
			return fmt.Errorf("receive stream: %w", err)
		}
	}
	return nil
}
