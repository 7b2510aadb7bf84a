// Package memport is a port in memory, without a kernel: the switch on one side
// and a program on the other. Tests build topologies of them; benchmarks of the
// pipeline run on them.
package memport

import (
	"sync"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
)

// queueLen is how many frames wait in either direction.
const queueLen = 1024

// Port is both ends. The switch uses the methods of ports.Port; the station
// uses Inject and Next.
type Port struct {
	caps    frame.Caps
	in      queue // from the station to the switch
	out     queue // from the switch to the station
	current [ports.MaxBurst]frame.Frame
}

// Frame is a frame as the station sees it: tag in band, offloads beside it.
// CsumStart is counted with the tag.
type Frame struct {
	Bytes   []byte
	Offload frame.Offload
}

var (
	_ ports.Port      = (*Port)(nil)
	_ ports.Offloader = (*Port)(nil)
)

// New returns a port whose station can do what caps says.
func New(caps frame.Caps) *Port {
	p := &Port{caps: caps}
	p.in.init()
	p.out.init()
	return p
}

// Inject makes the station send f, which the port copies. It returns false
// where the queue is full or the port is stopped.
func (p *Port) Inject(f Frame) bool {
	return p.in.put(append([]byte(nil), f.Bytes...), f.Offload)
}

// Next returns the next frame sent to the station, and false once the port is
// stopped and drained. It blocks until there is one.
func (p *Port) Next() (Frame, bool) { return p.out.take(true) }

// Poll is Next without blocking: false where no frame is waiting.
func (p *Port) Poll() (Frame, bool) { return p.out.take(false) }

// Offloads implements ports.Offloader.
func (p *Port) Offloads() frame.Caps { return p.caps }

// Recv implements ports.Port.
func (p *Port) Recv(frames []*frame.Frame) (int, error) {
	n := 0
	for !p.in.isStopped() && n < min(len(frames), ports.MaxBurst) {
		got, ok := p.in.take(n == 0)
		if !ok {
			break
		}
		buf := make([]byte, frame.Headroom+len(got.Bytes))
		copy(buf[frame.Headroom:], got.Bytes)
		f := &p.current[n]
		f.Set(buf, frame.Headroom)
		f.Offload = got.Offload
		f.PopTag()
		frames[n] = f
		n++
	}
	if n == 0 {
		return 0, ports.ErrStopped
	}
	return n, nil
}

// Send implements ports.Port.
func (p *Port) Send(frames []*frame.Frame) (int, error) {
	for i, f := range frames {
		off := f.Offload
		if f.Tag.Present() {
			var hdr [frame.VirtioHeaderLen]byte
			f.Offload.EncodeVirtio(&hdr, true)
			off.DecodeVirtio(&hdr)
		}
		if !p.out.put(f.AppendWire(nil), off) {
			return i, ports.ErrFull
		}
	}
	return len(frames), nil
}

// Stop implements ports.Port. It also ends Next.
func (p *Port) Stop() {
	p.in.stop()
	p.out.stop()
}

// Close implements ports.Port.
func (p *Port) Close() error { return nil }

// queue is a bounded queue of frames.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond
	frames  []Frame
	stopped bool
}

func (q *queue) init() { q.filled.L = &q.mu }

func (q *queue) put(b []byte, o frame.Offload) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped || len(q.frames) == queueLen {
		return false
	}
	q.frames = append(q.frames, Frame{Bytes: b, Offload: o})
	q.filled.Signal()
	return true
}

func (q *queue) take(wait bool) (Frame, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for wait && len(q.frames) == 0 && !q.stopped {
		q.filled.Wait()
	}
	if len(q.frames) == 0 {
		return Frame{}, false
	}
	f := q.frames[0]
	q.frames = q.frames[1:]
	return f, true
}

func (q *queue) isStopped() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stopped
}

func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.filled.Broadcast()
}
