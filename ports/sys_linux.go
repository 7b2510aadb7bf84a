package ports

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// SendError maps the error number of a failed transmission to the contract's
// reasons.
func SendError(errno unix.Errno) error {
	switch errno {
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
		return ErrFull
	case unix.ENETDOWN, unix.ENXIO, unix.ENODEV, unix.EIO, unix.EBADFD:
		return ErrDown
	}
	return ErrRefused
}

// Waiter blocks the receiving thread of a descriptor until there is something
// to read or the port is stopped. Closing a descriptor does not wake a thread
// that polls it, so stopping goes through an eventfd.
//
// Wait is called by one goroutine; Stop and Stopped by any.
type Waiter struct {
	stopped atomic.Bool
	fds     [2]unix.PollFd
}

// Open makes the waiter watch fd, which stays the caller's.
func (w *Waiter) Open(fd int) error {
	ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	w.fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	w.fds[1] = unix.PollFd{Fd: int32(ev), Events: unix.POLLIN}
	return nil
}

// Wait returns nil when fd is readable, ErrStopped after Stop, and ErrDown when
// the kernel reports an error on fd. It is the one blocking call of a port's
// thread, and the one that tells the Go scheduler so: unix.Poll releases the
// processor, which the non-blocking reads and writes around it do not.
func (w *Waiter) Wait() error {
	for !w.stopped.Load() {
		if _, err := unix.Poll(w.fds[:], -1); err != nil {
			if err == unix.EINTR {
				continue
			}
			return fmt.Errorf("poll: %w", err)
		}
		switch {
		case w.fds[1].Revents != 0:
			return ErrStopped
		case w.fds[0].Revents&unix.POLLIN != 0:
			return nil
		case w.fds[0].Revents != 0:
			return ErrDown
		}
	}
	return ErrStopped
}

// Stop ends the present and every later Wait.
func (w *Waiter) Stop() {
	w.stopped.Store(true)
	one := [8]byte{1}
	// The counter stays non-zero for good; a second write that would
	// overflow it fails harmlessly.
	_, _ = unix.Write(int(w.fds[1].Fd), one[:])
}

// Stopped reports whether Stop was called.
func (w *Waiter) Stopped() bool { return w.stopped.Load() }

// Close frees the eventfd. No Wait or Stop may be under way or follow.
func (w *Waiter) Close() error { return unix.Close(int(w.fds[1].Fd)) }
