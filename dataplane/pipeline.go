package dataplane

import (
	"runtime"
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/ports"
)

// The life of a frame, in the order of the functions below:
//
//	run       a worker waits in its port's Recv for a burst
//	burst     loads the snapshot once and takes the frames one by one through
//	  admit     is it a frame that may enter at all?
//	  learn     its source address is at this port
//	  lookup    which port is its destination at?
//	  policy    may it go there from here?
//	  egress    queued for that port, or for all that may be reached
//	transmit  sends each egress port its share of the burst
//
// A frame is never copied on this way, and nothing is allocated, formatted,
// timed or locked. transmit hands super-frames and partial checksums on as they
// are, except to a port that cannot finish them (finish.go).

// worker runs the pipeline for the frames that one port receives, on an OS
// thread of its own, to completion: no queue lies between receive and transmit.
type worker struct {
	network *Network
	port    *Port
	io      ports.Port

	in      [ports.MaxBurst]*frame.Frame
	out     [][]*frame.Frame // by egress port: its share of the burst
	touched []fdb.Port       // the egress ports whose share is not empty
	finish  finisher

	// passes is odd while a burst is under way: see Network.grace.
	passes atomic.Uint64
	done   chan struct{}
	failed func(error)
}

// run receives until the port is stopped or its interface fails.
func (w *worker) run() {
	defer close(w.done)
	runtime.LockOSThread() // for good: the thread ends with the worker
	for {
		n, err := w.io.Recv(w.in[:])
		if err != nil {
			if err != ports.ErrStopped {
				w.failed(err)
			}
			return
		}
		w.burst(w.in[:n])
	}
}

// burst takes received frames through the pipeline.
func (w *worker) burst(frames []*frame.Frame) {
	w.passes.Add(1)
	s := w.network.snapshot.Load()
	now := w.network.now.Load()
	if len(w.out) < len(s.ports) {
		w.grow(len(s.ports))
	}
	size := 0
	for _, f := range frames {
		size += f.Len()
		v := w.forward(s, f, now)
		if v.IsDrop() {
			w.port.counters.drops[v].Add(1)
		}
		if len(s.captures) != 0 {
			offer(s.captures, w.port, Received, f, v)
		}
	}
	w.port.counters.rxFrames.Add(uint64(len(frames)))
	w.port.counters.rxBytes.Add(uint64(size))
	w.transmit(s)
	w.passes.Add(1)
}

// grow makes room for the shares of n egress ports: once a worker, and again
// only when ports are added.
func (w *worker) grow(n int) {
	for len(w.out) < n {
		w.out = append(w.out, make([]*frame.Frame, 0, ports.MaxBurst))
	}
	w.touched = make([]fdb.Port, 0, n)
}

// forward decides about one frame and queues it.
func (w *worker) forward(s *snapshot, f *frame.Frame, now uint32) Verdict {
	if v := admit(s, f); v.IsDrop() {
		return v
	}
	w.network.fdb.Learn(f.Tag.VID(), f.Src(), w.port.index, now)
	dst := f.Dst()
	if !dst.IsGroup() {
		if out, known := w.network.fdb.Lookup(f.Tag.VID(), dst); known {
			return w.policy(s, f, out)
		}
	}
	return w.flood(s, f)
}

// admit keeps out what no station may send.
func admit(s *snapshot, f *frame.Frame) Verdict {
	if len(f.Bytes()) < frame.HeaderLen {
		return Runt
	}
	if src := f.Src(); src.IsGroup() || src == (frame.MAC{}) {
		return BadSource
	}
	if f.Dst().IsLinkLocalGroup() {
		return ReservedGroup
	}
	if f.Offload.Flags|f.Offload.GSOType != 0 && !f.CheckOffload() {
		return BadOffload
	}
	if tooLong(f, s.maxLen) {
		return Oversized
	}
	return Forwarded
}

// tooLong reports whether the longest packet that f stands for exceeds max
// bytes. A second tag does not count, as the first does not: an MTU is about
// what the tags carry (IEEE 802.3 clause 3.2.7, envelope frames).
func tooLong(f *frame.Frame, max int) bool {
	n := f.SegmentLen()
	if n <= max {
		return false
	}
	if t := f.EtherType(); t == frame.TypeVLAN || t == frame.TypeQinQ {
		n -= frame.TagLen
	}
	return n > max
}

// policy queues a frame for the one port that its destination is at, if it may
// go there from here.
func (w *worker) policy(s *snapshot, f *frame.Frame, out fdb.Port) Verdict {
	if int(out) >= len(s.ports) || s.ports[out].port == nil {
		return w.flood(s, f) // the entry is of a port younger or older than s
	}
	if !s.reach[w.port.index].has(out) {
		return SamePort
	}
	w.egress(f, out)
	return Forwarded
}

// flood queues a frame for every port that may be reached from here.
func (w *worker) flood(s *snapshot, f *frame.Frame) Verdict {
	flood := s.flood[w.port.index]
	if len(flood) == 0 {
		return NoDestination
	}
	for _, out := range flood {
		w.egress(f, out)
	}
	return Flooded
}

// egress adds a frame to a port's share of the burst.
func (w *worker) egress(f *frame.Frame, out fdb.Port) {
	if len(w.out[out]) == 0 {
		w.touched = append(w.touched, out)
	}
	w.out[out] = append(w.out[out], f)
}

// transmit sends every egress port its share, in the order in which the ports
// were first met. What a port does not take is lost to that port alone.
func (w *worker) transmit(s *snapshot) {
	for _, out := range w.touched {
		e := &s.ports[out]
		share := w.out[out]
		w.out[out] = share[:0]
		switch {
		case e.io == nil:
			w.lose(s, e, share, EgressDown)
		case e.maxLen < s.maxLen || e.caps != frame.CapAll:
			w.finish.send(w, s, e, share)
		default:
			w.send(s, e, share)
		}
	}
	w.touched = w.touched[:0]
}

// send hands frames to a port and counts what became of them.
func (w *worker) send(s *snapshot, e *egress, frames []*frame.Frame) {
	for len(frames) > 0 {
		n, err := e.io.Send(frames)
		w.sent(s, e, frames[:n])
		frames = frames[n:]
		if len(frames) == 0 {
			return
		}
		// A queue that is full stays so for the rest of the burst, and a
		// port that is down too: their frames are given up together.
		lost := frames
		verdict := EgressFull
		switch err {
		case ports.ErrDown:
			verdict = EgressDown
		case ports.ErrRefused:
			verdict, lost = EgressRefused, frames[:1]
		}
		w.lose(s, e, lost, verdict)
		frames = frames[len(lost):]
	}
}

func (w *worker) sent(s *snapshot, e *egress, frames []*frame.Frame) {
	size := 0
	for _, f := range frames {
		size += f.Len()
		if len(s.captures) != 0 {
			offer(s.captures, e.port, Sent, f, Forwarded)
		}
	}
	e.port.counters.txFrames.Add(uint64(len(frames)))
	e.port.counters.txBytes.Add(uint64(size))
}

func (w *worker) lose(s *snapshot, e *egress, frames []*frame.Frame, v Verdict) {
	e.port.counters.drops[v].Add(uint64(len(frames)))
	if len(s.captures) != 0 {
		for _, f := range frames {
			offer(s.captures, e.port, Sent, f, v)
		}
	}
}
