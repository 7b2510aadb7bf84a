package dataplane

import (
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/ports"
	"github.com/weft/weft/stp"
)

// The life of a frame, in the order of the functions below:
//
//	run       a worker waits in its port's Recv for a burst
//	burst     loads the snapshot once and takes the frames one by one through
//	  admit     is it a frame that may enter at all?
//	  reserved  is it for the switch itself, or for nobody?
//	  classify  which VLAN is it in? (vlan.go)
//	  guard     limits, locks and the spanning tree, where the port has any
//	  learn     its source address is at this port
//	  group     to a group: who listens? (group.go)
//	  gateway   to the network itself: which service is it for? (gateway.go), or
//	            to be passed on to another network (router.go)
//	  lookup    to a station: which port is that at?
//	  policy    may it go there from here? (policy.go, snapshot.go)
//	  egress    queued for that port, or for all that may be reached
//	transmit  sends each egress port its share of the burst
//
// A frame is never copied on this way, and nothing is allocated, formatted or
// locked, but for a new flow; the time is read once a burst, and only where a rate is limited.
// transmit hands super-frames and partial checksums on as they are, except to
// a port that cannot finish them (finish.go).

// worker runs the pipeline for the frames that one port receives, on an OS
// thread of its own, to completion: no queue lies between receive and transmit.
type worker struct {
	network *Network
	port    *Port
	io      ports.Port

	in      [ports.MaxBurst]*frame.Frame
	out     [][]*frame.Frame // by egress port: its share of the burst
	touched []fdb.Port       // the egress ports whose share is not empty
	forms   *forms           // made once some port needs them
	finish  finisher
	opened  []*door      // to other networks, in this burst
	parsed  frame.Parsed // of the packet in hand, if it is the router's
	quoted  []byte       // its start as its sender knows it, if it may be refused
	changed bool         // it is not as its sender knows it any more
	nextHop *neighbor    // of the last packet to a station

	// Of the burst in hand.
	now  uint32 // the network's coarse clock
	time int64  // in ticks; only where the snapshot is timed

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
	w.prepare(s)
	size := 0
	for _, f := range frames {
		size += f.Len()
		seen := f
		if len(s.captures) != 0 {
			seen = new(frame.Frame)
			seen.Copy(f, nil) // the router may rewrite f
		}
		v := w.forward(s, f)
		if v.IsDrop() {
			w.port.counters.drops[v].Add(1)
		}
		if len(s.captures) != 0 {
			offer(s.captures, w.port, Received, seen, v)
		}
	}
	w.port.counters.rxFrames.Add(uint64(len(frames)))
	w.port.counters.rxBytes.Add(uint64(size))
	w.transmit(s)
	w.shutDoors()
	w.passes.Add(1)
}

// prepare reads the clocks and makes room for what the snapshot may need: once
// a worker, and again only when the network has changed.
func (w *worker) prepare(s *snapshot) {
	w.now = w.network.now.Load()
	if s.timed {
		w.time = w.network.sw.ticks()
	}
	if len(w.out) < len(s.out) {
		for len(w.out) < len(s.out) {
			w.out = append(w.out, make([]*frame.Frame, 0, ports.MaxBurst))
		}
		w.touched = make([]fdb.Port, 0, len(s.out))
	}
	if s.vlans {
		if w.forms == nil {
			w.forms = new(forms)
		}
		w.forms.reset()
	}
}

// forward decides about one frame and queues it.
func (w *worker) forward(s *snapshot, f *frame.Frame) Verdict {
	if v := admit(s, f); v.IsDrop() {
		return v
	}
	if f.Dst().IsLinkLocalGroup() && (s.stp || !s.wire) {
		if v := w.reserved(s, f); v != Forwarded {
			return v
		}
	}
	in := &s.in[w.port.index]
	vid, ok := in.vlans.classify(f)
	if !ok {
		return VLANDenied
	}
	var echo *ingress
	if in.uplink {
		echo = w.echo(s, f, vid)
	}
	if in.guarded {
		if v := w.guard(s, in, f, vid, echo == nil); v.IsDrop() {
			return v
		}
	}
	if echo != nil {
		return w.route(s, echo, f, vid)
	}
	if v := w.learn(f, vid); v.IsDrop() {
		return v
	}
	return w.route(s, in, f, vid)
}

// admit keeps out what no station may send.
func admit(s *snapshot, f *frame.Frame) Verdict {
	if len(f.Bytes()) < frame.HeaderLen {
		return Runt
	}
	if src := f.Src(); src.IsGroup() || src == (frame.MAC{}) {
		return BadSource
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

// reserved takes a frame to 01:80:c2:00:00:00-0f: a BPDU goes to the network's
// own spanning tree, if it has one.
func (w *worker) reserved(s *snapshot, f *frame.Frame) Verdict {
	switch {
	case s.stp && f.Dst() == stp.GroupAddress() && !f.Tag.Present():
		return w.punt(w.network.bpdus, w.port.bpdus, f, 0)
	case s.stp && f.Dst() == stp.GroupAddress():
		return ReservedGroup // else it could leave as a BPDU where its tag goes
	case s.wire:
		return Forwarded
	}
	return ReservedGroup
}

// guard applies what is set on few ports only. learn says that the frame is to
// be learned.
func (w *worker) guard(s *snapshot, in *ingress, f *frame.Frame, vid uint16, learn bool) Verdict {
	if in.guest {
		if v := s.gateway.vet(f, vid); v.IsDrop() {
			return v
		}
	}
	switch {
	case (in.guest || in.guard != Guard{}) && hasInnerPriorityTag(f):
		return VLANDenied
	case in.rate != nil && !in.rate.pass(w.time, f.Len()):
		return RateLimited
	case len(in.sources) > 0 && !slices.Contains(in.sources, f.Src()):
		return SourceDenied
	case in.guard.RA && advertises(f):
		return RAGuard
	case in.guard.DHCP && servesDHCP(f):
		return DHCPGuard
	case in.shares && w.isOutside(s, f, vid):
		return AddressOutside
	case in.blocked && in.learns && learn:
		w.learn(f, vid)
		return STPBlocked
	case in.blocked:
		return STPBlocked
	}
	return Forwarded
}

// isOutside reports whether the source of a frame has lately been heard at the
// uplink. What came from there was no echo, so the station is out there: a port
// must not take its address, whose own frames would count as echoes then.
func (w *worker) isOutside(s *snapshot, f *frame.Frame, vid uint16) bool {
	at, age, known := w.network.fdb.Seen(vid, f.Src(), w.now)
	return known && at == s.uplink && age <= echoTime
}

// echo returns what may become of a frame that has come in by the uplink,
// although a port of this network has sent it: nil where none has, or not
// lately. Such a frame must not be learned, or the uplink would take the address
// away.
func (w *worker) echo(s *snapshot, f *frame.Frame, vid uint16) *ingress {
	at, age, known := w.network.fdb.Seen(vid, f.Src(), w.now)
	if !known || age > echoTime || at == w.port.index || !s.has(at) {
		return nil
	}
	return &s.echoes[at]
}

// echoTime is how long the wire may take to send a frame back, in seconds. What
// comes later from an address was sent out there: its station has moved.
const echoTime = 2

// learn notes where the frame has come from.
func (w *worker) learn(f *frame.Frame, vid uint16) Verdict {
	switch w.network.fdb.Learn(vid, f.Src(), w.port.index, w.now) {
	case fdb.Denied:
		return MACLimit
	case fdb.StickyConflict:
		return StickyMAC
	}
	return Forwarded
}

// route finds out where a frame goes.
func (w *worker) route(s *snapshot, in *ingress, f *frame.Frame, vid uint16) Verdict {
	if s.vlans {
		w.forms.next()
	}
	if in.direct != noPort {
		return w.unicast(s, f, vid, in.direct)
	}
	dst := f.Dst()
	if dst.IsGroup() {
		return w.group(s, in, f, vid)
	}
	if s.gateway != nil && vid == s.gateway.vlan && dst == s.gateway.mac {
		return w.toGateway(s, in, f)
	}
	if out, known := w.network.fdb.Lookup(vid, dst); known && s.has(out) {
		return w.policy(s, in, f, vid, out)
	}
	if in.storm != nil && !in.storm.unknown.take(w.time, 1) {
		return StormUnknown
	}
	return w.flood(s, in, f, vid)
}

// policy queues a frame for the one port that its destination is at, if it may
// go there from here.
func (w *worker) policy(s *snapshot, in *ingress, f *frame.Frame, vid uint16, out fdb.Port) Verdict {
	if in.leaves(out) && in.detour.has(out) {
		out = s.uplink
	}
	switch {
	case in.leaves(out) && in.reach.has(out):
		return w.unicast(s, f, vid, out)
	case in.barred != Forwarded:
		return in.barred
	case out == in.self:
		return SamePort
	case s.has(out) && s.out[out].blocked:
		return STPBlocked
	}
	return PortIsolated
}

// unicast queues a frame for one port.
func (w *worker) unicast(s *snapshot, f *frame.Frame, vid uint16, out fdb.Port) Verdict {
	if !w.egress(s, f, vid, out) {
		return VLANDenied
	}
	return Forwarded
}

// flood queues a frame for every port that may be reached from here.
func (w *worker) flood(s *snapshot, in *ingress, f *frame.Frame, vid uint16) Verdict {
	v := NoDestination
	if in.barred != Forwarded {
		v = in.barred
	}
	for _, out := range in.flood {
		if in.leaves(out) && w.egress(s, f, vid, out) {
			v = Flooded
		}
	}
	return v
}

// egress adds a frame, in the form that the port's VLANs ask for, to the port's
// share of the burst. It reports whether the port takes it: is in the frame's
// VLAN, and if it is the host port, lets it in.
func (w *worker) egress(s *snapshot, f *frame.Frame, vid uint16, out fdb.Port) bool {
	if s.gateway != nil && out == s.gateway.host && !s.gateway.letsIn(f, vid) {
		return false
	}
	if s.vlans {
		if f = w.forms.of(f, vid, &s.out[out].vlans); f == nil {
			return false
		}
	}
	if len(w.out[out]) == 0 {
		w.touched = append(w.touched, out)
	}
	w.out[out] = append(w.out[out], f)
	return true
}

// transmit sends every egress port its share, in the order in which the ports
// were first met. What a port does not take is lost to that port alone.
func (w *worker) transmit(s *snapshot) {
	for _, out := range w.touched {
		e := &s.out[out]
		share := w.out[out]
		w.out[out] = share[:0]
		if e.rate != nil {
			share = w.police(s, e, share)
		}
		switch {
		case e.io == nil:
			s.lose(e, share, EgressDown)
		case e.maxLen < s.maxLen || e.caps != frame.CapAll:
			w.finish.send(s, e, share)
		default:
			s.send(e, share)
		}
	}
	w.touched = w.touched[:0]
}

// police returns the frames of a share that the port's rate lets pass.
func (w *worker) police(s *snapshot, e *egress, share []*frame.Frame) []*frame.Frame {
	passed := share[:0]
	for i, f := range share {
		if e.rate.pass(w.time, f.Len()) {
			passed = append(passed, f)
		} else {
			s.lose(e, share[i:i+1], EgressRateLimited)
		}
	}
	return passed
}

// send hands frames to a port and counts what became of them.
func (s *snapshot) send(e *egress, frames []*frame.Frame) {
	for len(frames) > 0 {
		burst := frames[:min(len(frames), ports.MaxBurst)]
		n, err := e.io.Send(burst)
		s.sent(e, burst[:n])
		frames = frames[n:]
		if n == len(burst) {
			continue
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
		s.lose(e, lost, verdict)
		frames = frames[len(lost):]
	}
}

func (s *snapshot) sent(e *egress, frames []*frame.Frame) {
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

func (s *snapshot) lose(e *egress, frames []*frame.Frame, v Verdict) {
	e.port.counters.drops[v].Add(uint64(len(frames)))
	if len(s.captures) != 0 {
		for _, f := range frames {
			offer(s.captures, e.port, Sent, f, v)
		}
	}
}
