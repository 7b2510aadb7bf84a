package sockets

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller tells jobs what happens to their sockets. It is edge-triggered: a job hears of
// a change once, and has to remember it until a system call says EAGAIN.
//
// Its own descriptor waits in Go's poller, so that no thread is blocked in epoll_wait.
type poller struct {
	file *os.File
	conn syscall.RawConn

	mu   sync.Mutex
	jobs map[int32]*job
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // tells os.NewFile that it can be waited for
		unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), jobs: map[int32]*job{}}
	if p.conn, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return p, nil
}

// add has j hear about fd, beginning with what is so already.
func (p *poller) add(fd int, j *job) error {
	p.mu.Lock()
	p.jobs[int32(fd)] = j
	p.mu.Unlock()
	err := p.control(unix.EPOLL_CTL_ADD, fd)
	if err != nil {
		p.forget(fd)
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// remove must come before fd is closed. What has been heard already may still arrive,
// even at the next job with that descriptor: jobs must not take an event for a proof.
func (p *poller) remove(fd int) {
	_ = p.control(unix.EPOLL_CTL_DEL, fd)
	p.forget(fd)
}

func (p *poller) forget(fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.jobs, int32(fd))
}

func (p *poller) control(op, fd int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}
	var err error
	if cerr := p.conn.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), op, fd, &e) }); cerr != nil {
		return cerr
	}
	return err
}

// run hands out events until the poller is closed.
func (p *poller) run() {
	var events [256]unix.EpollEvent
	_ = p.conn.Read(func(epoll uintptr) bool {
		for {
			n, err := unix.EpollWait(int(epoll), events[:], 0)
			if err != nil && err != unix.EINTR {
				return true
			}
			if n <= 0 {
				return false // wait for more
			}
			p.tell(events[:n])
		}
	})
}

func (p *poller) tell(events []unix.EpollEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		e := &events[i]
		j := p.jobs[e.Fd]
		if j == nil {
			continue
		}
		var what event
		if e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP) != 0 {
			what |= hostIn
		}
		if e.Events&unix.EPOLLOUT != 0 {
			what |= hostOut
		}
		if e.Events&unix.EPOLLERR != 0 {
			what |= hostErr | hostIn | hostOut
		}
		j.wake(what)
	}
}

func (p *poller) close() { p.file.Close() }
