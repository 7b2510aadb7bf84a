package dataplane

import (
	"sync/atomic"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// Direction says on which side of a port a frame was captured.
type Direction uint8

const (
	// Received by the switch from the port's attachment.
	Received Direction = iota
	// Sent by the switch to it, or meant to be.
	Sent
)

// Record is the copy of a captured frame.
type Record struct {
	Time      time.Time
	Port      string
	Direction Direction
	Verdict   Verdict
	Frame     frame.Frame // whole, its memory belongs to the record
	mem       []byte
}

// Capture copies frames out of the pipeline into a bounded queue. A frame that
// finds the queue full is missed, never waited for.
type Capture struct {
	network *Network
	port    string // empty: the whole network
	ended   chan struct{}
	free    chan *Record
	queue   chan *Record
	waiting atomic.Int64 // bytes in the queue
	missed  atomic.Uint64
}

// captureLen and captureBytes are how many frames, and how many bytes of them,
// may wait in a capture's queue.
const (
	captureLen   = 512
	captureBytes = 4 << 20
)

// Capture starts to copy what the port of that name receives and sends, also if
// the port goes and another of that name comes. Where the name is empty it
// copies what any port receives, and once more, with the reason, what is lost
// on the way out. Close the capture after use.
func (n *Network) Capture(port string) *Capture {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &Capture{
		network: n,
		port:    port,
		ended:   make(chan struct{}),
		free:    make(chan *Record, captureLen),
		queue:   make(chan *Record, captureLen),
	}
	for range captureLen {
		c.free <- &Record{}
	}
	// A new slice: the present snapshot holds the old one.
	n.captures = append(n.captures[:len(n.captures):len(n.captures)], c)
	n.swap()
	return c
}

// Ended is closed when the network is removed.
func (c *Capture) Ended() <-chan struct{} { return c.ended }

// Records delivers the captured frames in order. Each goes back with Done.
func (c *Capture) Records() <-chan *Record { return c.queue }

// Done gives the memory of a record back.
func (c *Capture) Done(r *Record) {
	c.waiting.Add(-int64(len(r.mem)))
	if cap(r.mem) > 16<<10 {
		r.mem = nil // else each record would come to keep a super-frame's
	}
	c.free <- r
}

// Missed returns how many frames found the queue full.
func (c *Capture) Missed() uint64 { return c.missed.Load() }

// Close ends the capture. Records is not closed.
func (c *Capture) Close() {
	n := c.network
	n.mu.Lock()
	defer n.mu.Unlock()
	var rest []*Capture
	for _, other := range n.captures {
		if other != c {
			rest = append(rest, other)
		}
	}
	n.captures = rest
	n.swap()
	n.grace()
}

// wants reports whether the capture asked for this side of this port.
func (c *Capture) wants(p *Port, d Direction, v Verdict) bool {
	if c.port != "" {
		return c.port == p.name
	}
	return d == Received || v.IsDrop()
}

// offer copies a frame to every capture that wants it.
func offer(captures []*Capture, p *Port, d Direction, f *frame.Frame, v Verdict) {
	for _, c := range captures {
		if c.wants(p, d, v) {
			c.take(p, d, f, v)
		}
	}
}

func (c *Capture) take(p *Port, d Direction, f *frame.Frame, v Verdict) {
	if c.waiting.Load() > captureBytes {
		c.missed.Add(1)
		return
	}
	select {
	case r := <-c.free:
		r.Time, r.Port, r.Direction, r.Verdict = time.Now(), p.name, d, v
		r.mem = r.Frame.Copy(f, r.mem)
		c.waiting.Add(int64(len(r.mem)))
		c.queue <- r // as many places as records: never blocks
	default:
		c.missed.Add(1)
	}
}
