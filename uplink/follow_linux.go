package uplink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// gatherTime is how long changes are gathered before they are read: one
	// command often makes several.
	gatherTime = 50 * time.Millisecond
	// refreshTime bounds how long a notification that was never sent is missed.
	refreshTime = time.Minute
	// retryTime is when what could not be read is tried again.
	retryTime = time.Second
	// share bounds what reading may cost: one part in so many of a processor's
	// time, where the host has routes by the hundred thousand.
	share = 10
)

// follower keeps a value that is read by netlink, and reads it anew when the
// kernel tells of a change. Notifications say only that something happened: the
// value is always read as a whole, so that none that is lost does harm.
type follower[T any] struct {
	read    func(*netlink.Handle) (T, error)
	changed func(T)

	handle *netlink.Handle
	events *os.File
	value  atomic.Pointer[T]
	kick   chan struct{} // something happened since the last reading
	stop   chan struct{}
	loops  sync.WaitGroup
}

// follow reads the value once, and calls changed from a goroutine of its own with
// every later one that differs, until close. Groups are RTMGRP_ bits.
func follow[T any](groups uint32, read func(*netlink.Handle) (T, error), changed func(T)) (*follower[T], error) {
	f := &follower[T]{read: read, changed: changed, kick: make(chan struct{}, 1), stop: make(chan struct{})}
	var err error
	if f.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if f.events, err = subscribe(groups); err != nil { // before reading: no change is missed
		f.handle.Close()
		return nil, fmt.Errorf("watch the host's interfaces: %w", err)
	}
	first, err := f.consistent()
	if err != nil {
		f.handle.Close()
		f.events.Close()
		return nil, fmt.Errorf("read the host's interfaces: %w", err)
	}
	f.value.Store(&first)
	f.loops.Go(f.listen)
	f.loops.Go(f.work)
	return f, nil
}

// close ends the follower and waits for a callback under way.
func (f *follower[T]) close() {
	close(f.stop)
	f.events.Close()
	f.loops.Wait()
	f.handle.Close()
}

// subscribe opens a netlink socket that the runtime's poller waits on, so that
// closing it wakes its reader.
func subscribe(groups uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

func (f *follower[T]) listen() {
	buf := make([]byte, 64<<10)
	for {
		n, err := f.events.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err == nil && !matters(buf[:n]) {
			continue
		}
		select {
		case f.kick <- struct{}{}:
		default:
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !f.pause(retryTime) {
			return
		}
	}
}

// matters leaves out what happens all the time: the host's neighbours change as it
// talks to them, and only permanent ones are followed. That one goes is another
// message, RTM_DELNEIGH.
func matters(b []byte) bool {
	for len(b) >= unix.NLMSG_HDRLEN {
		length := int(binary.NativeEndian.Uint32(b))
		if length < unix.NLMSG_HDRLEN || length > len(b) {
			return true
		}
		body := b[unix.NLMSG_HDRLEN:length]
		if binary.NativeEndian.Uint16(b[4:]) != unix.RTM_NEWNEIGH || len(body) < unix.SizeofNdMsg {
			return true
		}
		if state := binary.NativeEndian.Uint16(body[8:]); state&unix.NUD_PERMANENT != 0 {
			return true
		}
		b = b[min(len(b), (length+3)&^3):]
	}
	return false
}

func (f *follower[T]) work() {
	next := time.NewTimer(refreshTime)
	defer next.Stop()
	wait := gatherTime
	for {
		select {
		case <-f.kick:
			if !f.pause(wait) {
				return
			}
		case <-next.C:
		case <-f.stop:
			return
		}
		start := time.Now()
		v, err := f.consistent()
		wait = max(gatherTime, share*time.Since(start))
		if err != nil {
			next.Reset(retryTime)
			continue
		}
		next.Reset(refreshTime)
		if old := f.value.Load(); !reflect.DeepEqual(*old, v) {
			f.value.Store(&v)
			if f.changed != nil {
				f.changed(v)
			}
		}
	}
}

// consistent reads the value until nothing has happened meanwhile; on a host
// where something always happens, four times.
func (f *follower[T]) consistent() (v T, err error) {
	for range 4 {
		select {
		case <-f.kick:
		default:
		}
		v, err = f.read(f.handle)
		if err == nil && len(f.kick) == 0 {
			break
		}
	}
	return v, err
}

// pause waits, and reports false where the follower ends.
func (f *follower[T]) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-f.stop:
		return false
	}
}
