package ports

import (
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

func TestWaiter(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	var w Waiter
	if err := w.Open(pipe[0]); err != nil {
		t.Fatal(err)
	}
	for range 2 { // at once, and after a while in which the wait blocks for good
		go func() {
			time.Sleep(30 * time.Millisecond)
			_, _ = unix.Write(pipe[1], []byte{1})
		}()
		if err := w.Wait(); err != nil {
			t.Errorf("readable: %v", err)
		}
		_, _ = unix.Read(pipe[0], make([]byte, 1))
	}
	unix.Close(pipe[1])
	if err := w.Wait(); err != ErrDown {
		t.Errorf("hung up: %v", err)
	}
	go w.Stop()
	for w.Wait() != ErrStopped {
	}
	w.Stop()
	if err := w.Wait(); err != ErrStopped || !w.Stopped() {
		t.Errorf("stopped: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestSendError(t *testing.T) {
	for errno, want := range map[unix.Errno]error{
		unix.EAGAIN: ErrFull, unix.ENOBUFS: ErrFull, unix.ENETDOWN: ErrDown, unix.EIO: ErrDown,
		unix.EBADFD: ErrDown, unix.EMSGSIZE: ErrRefused, unix.EINVAL: ErrRefused,
	} {
		if got := SendError(errno); got != want {
			t.Errorf("%v: %v, want %v", errno, got, want)
		}
	}
}

func TestArena(t *testing.T) {
	a := NewArena()
	var frames []*frame.Frame
	for i := range 3 {
		space := a.Space(frame.VirtioHeaderLen)
		copy(space[frame.VirtioHeaderLen:], []byte{byte(i), 1, 2, 3})
		f := a.Take(4)
		frames = append(frames, f)
		if f.Room() != frame.Headroom {
			t.Errorf("frame %d has %d bytes of headroom", i, f.Room())
		}
	}
	for i, f := range frames {
		if b := f.Bytes(); len(b) != 4 || b[0] != byte(i) {
			t.Errorf("frame %d: % x", i, b)
		}
	}
	a.Reset()
	for n := 0; a.Space(0) != nil; n++ {
		if n > MaxBurst {
			t.Fatal("the arena is never full")
		}
		a.Take(40)
	}
	a.Reset()
	long := 0
	for a.Space(0) != nil {
		a.Take(frame.MaxLen)
		long++
	}
	if long < 2 {
		t.Errorf("room for %d super-frames", long)
	}
}
