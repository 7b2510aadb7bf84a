package nat

import "sync/atomic"

// TCP is followed as far as a NAT must: RFC 5382 for the timers, RFC 7857 clause
// 2 for what ends a connection. What is in window is worked out as G. van Rooij
// describes in "Real Stateful TCP Packet Filtering in IP Filter": for each side,
// the end of what it has sent, the end of what the other side has room for, and
// the largest window it announced.
//
// A segment out of window is passed on, since its receiver knows better, but
// changes nothing: neither state nor timer. A reset out of window is not passed.

// Flags of track.state. Those with two bits are shifted by a direction: of the
// side that sends that way.
const (
	flagSeen     = 1 << 0  // has sent anything
	flagSYN      = 1 << 2  // has sent its SYN
	flagSYNAcked = 1 << 4  // its SYN is acknowledged
	flagFIN      = 1 << 6  // has sent its FIN
	flagFINAcked = 1 << 8  // its FIN is acknowledged
	flagRST      = 1 << 10 // has reset the connection
	flagScales   = 1 << 12 // its SYN had the window scale option

	flagPicked  = 1 << 14 // picked up in the middle: no scale is known
	flagInward  = 1 << 15 // the first packet came from outside
	flagQueued  = 1 << 16 // in host.over; changes under the table's lock
	scaleShift  = 20      // of the first window scale, 4 bits each
	bothSides   = 3       // of a flag with two bits
	maxScale    = 14      // RFC 7323 clause 2.3
	scaleBits   = 4
	maxUnscaled = 65535
)

const (
	// anyWindow is what is taken for the window where no scale is known.
	anyWindow = maxUnscaled << maxScale

	// resetWindow is the same for a reset, which should not get through as
	// easily. A true one carries the last number of its side, or one that was
	// acknowledged a moment ago.
	resetWindow = maxUnscaled << 4
)

// outcome is what a segment did to its flow.
type outcome uint8

const (
	idle     outcome = iota // pass it on, nothing changed
	active                  // it belongs to the flow: the timer starts anew
	ending                  // the same, and the flow is over by it
	reopens                 // a SYN on a flow that is over: begin anew
	rejected                // drop it
)

// before reports whether sequence number a comes before b.
func before(a, b uint32) bool { return int32(a-b) < 0 }

// raise moves a sequence number forwards.
func raise(v *atomic.Uint32, to uint32) {
	for {
		was := v.Load()
		if !before(was, to) || v.CompareAndSwap(was, to) {
			return
		}
	}
}

// begin makes t the track of a flow that a segment in direction d opens, or is
// the first one seen of.
func (t *track) begin(d direction, s *segment) {
	o := 1 - d
	flags := uint32(flagSeen << d)
	if d == inward {
		flags |= flagInward
	}
	t.windows.Store(0)
	t.announce(d, s.window)
	t.sent[d].Store(s.end)
	if s.isOpening() {
		flags |= flagSYN<<d | s.scaleFlags(d)
		t.limit[d].Store(s.end)
	} else {
		flags |= flagPicked
		if s.has(tcpFIN) {
			flags |= flagFIN << d
		}
		t.limit[d].Store(s.end + anyWindow)
		t.sent[o].Store(s.ack)
		t.limit[o].Store(s.ack + anyWindow)
	}
	t.state.Store(flags | t.state.Load()&flagQueued)
}

func (s *segment) scaleFlags(d direction) uint32 {
	if !s.hasScale {
		return 0
	}
	return flagScales<<d | uint32(s.scale)<<(scaleShift+scaleBits*d)
}

// announce notes the window in a header.
func (t *track) announce(d direction, window uint16) {
	for {
		was := t.windows.Load()
		if uint16(was>>(16*d)) >= window {
			return
		}
		if t.windows.CompareAndSwap(was, was&^(0xffff<<(16*d))|uint32(window)<<(16*d)) {
			return
		}
	}
}

// scale returns by how much the windows that side d announces are shifted.
func scale(state uint32, d direction) uint32 {
	switch {
	case state&flagPicked != 0:
		return maxScale
	case state&(flagScales*bothSides) != flagScales*bothSides:
		return 0
	}
	return state >> (scaleShift + scaleBits*d) & 0xf
}

// reach returns the largest window that side d ever announced, and not less
// than one without a scale.
func (t *track) reach(state uint32, d direction) uint32 {
	if state&flagPicked != 0 {
		return anyWindow
	}
	return max(t.windows.Load()>>(16*d)&0xffff<<scale(state, d), maxUnscaled)
}

// synchronised reports whether the numbers of both sides are known.
func synchronised(state uint32) bool {
	return state&flagPicked != 0 || state&(flagSYN*bothSides) == flagSYN*bothSides
}

// follow takes a segment in direction d into account.
func (t *track) follow(d direction, s *segment) outcome {
	state := t.state.Load()
	switch {
	case s.has(tcpRST):
		return t.reset(state, d, s)
	case s.isOpening() && isOver(state):
		return reopens
	case s.has(tcpSYN):
		return t.open(state, d, s)
	case !synchronised(state) || !t.inWindow(state, d, s):
		return idle
	}
	o := 1 - d
	if state&(flagFIN<<d) == 0 { // nothing comes after a FIN
		raise(&t.sent[d], s.end)
	}
	raise(&t.limit[o], s.ack+uint32(s.window)<<scale(state, d))
	t.announce(d, s.window)
	set := uint32(flagSeen<<d | flagSYNAcked<<o)
	if s.has(tcpFIN) {
		set |= flagFIN << d
	}
	if state&(flagFIN<<o) != 0 && s.ack == t.sent[o].Load() {
		set |= flagFINAcked << o
	}
	// A side that goes on after its reset did not send it, or to no effect: the
	// other side has found it a little out of place and asked again (RFC 5961
	// clause 3.2).
	return t.change(set, flagRST<<d)
}

// change sets and clears flags, and says what that makes of the flow.
func (t *track) change(set, clear uint32) outcome {
	for {
		was := t.state.Load()
		is := was&^clear | set
		if was != is && !t.state.CompareAndSwap(was, is) {
			continue
		}
		switch {
		case !isOver(is):
			return active
		case isOver(was):
			return idle // what comes late does not prolong it
		}
		return ending
	}
}

// inWindow reports whether a segment that is no SYN belongs to the flow.
func (t *track) inWindow(state uint32, d direction, s *segment) bool {
	o := 1 - d
	sent, answered := t.sent[d].Load(), t.sent[o].Load()
	return !before(t.limit[d].Load(), s.seq) &&
		!before(s.end, sent-t.reach(state, o)) &&
		!before(answered, s.ack) &&
		!before(s.ack, answered-t.reach(state, d))
}

// open handles SYNs of a flow that is not over.
func (t *track) open(state uint32, d direction, s *segment) outcome {
	o := 1 - d
	if state&flagPicked != 0 {
		return idle
	}
	answers := s.has(tcpACK)
	if answers && (state&(flagSYN<<o) == 0 || before(t.sent[o].Load(), s.ack) || before(s.ack, t.sent[o].Load()-maxUnscaled)) {
		return idle // it acknowledges what was never sent
	}
	switch {
	case state&(flagSYN<<d) == 0: // the second SYN: an answer, or a simultaneous opening
		t.announce(d, s.window)
		t.sent[d].Store(s.end)
		t.limit[d].Store(s.end + t.windows.Load()>>(16*o)&0xffff)
	case state&(flagSYN<<o) == 0: // the first SYN again, or another try with another number
		t.sent[d].Store(s.end)
		t.limit[d].Store(s.end)
		t.change(0, flagScales<<d|0xf<<(scaleShift+scaleBits*d))
	case s.end != t.sent[d].Load():
		return idle // its receiver asks what that is to be (RFC 5961 clause 4)
	}
	set := flagSeen<<d | flagSYN<<d | s.scaleFlags(d)
	if answers {
		raise(&t.limit[o], s.ack+uint32(s.window))
		set |= flagSYNAcked << o
	}
	return t.change(set, 0)
}

// reset handles a segment that ends the connection at once.
func (t *track) reset(state uint32, d direction, s *segment) outcome {
	o := 1 - d
	sent := t.sent[d].Load()
	switch {
	case synchronised(state):
		back, ahead := t.reach(state, o), t.limit[d].Load()
		if state&flagPicked != 0 {
			back, ahead = resetWindow, sent+resetWindow
		}
		if before(s.seq, sent-back) || before(ahead, s.seq) {
			return rejected
		}
		// One that is in the window by chance goes on to its receiver, who knows
		// better, and ends nothing here (RFC 5961 clause 3.2).
		if s.seq != sent {
			return idle
		}
	case state&(flagSYN<<d) == 0:
		// The answer to a SYN, which has no number of its own to be checked
		// (RFC 9293 clause 3.10.7.3).
		if !s.has(tcpACK) || s.ack != t.sent[o].Load() {
			return rejected
		}
	case s.seq != sent:
		// A side that has only sent its SYN so answers a segment of an old
		// connection. That is no end of this one (RFC 9293 clause 3.5.1).
		return idle
	}
	return t.change(flagRST<<d, 0)
}

// wasSent reports whether side d can have sent a segment that starts at seq.
func (t *track) wasSent(d direction, seq uint32) bool {
	state := t.state.Load()
	if state&((flagSeen|flagSYN)<<d) == 0 && state&flagPicked == 0 {
		return false
	}
	sent := t.sent[d].Load()
	return !before(sent, seq) && !before(seq, sent-t.reach(state, 1-d))
}

// isOver reports whether a flow in that state has ended.
func isOver(state uint32) bool {
	return state&(flagRST*bothSides) != 0 || state&(flagFINAcked*bothSides) == flagFINAcked*bothSides
}

func (t *track) over() bool { return isOver(t.state.Load()) }

// setQueued and clearQueued are called under the table's lock only, but other
// flags change beside.
func (t *track) setQueued() bool { return t.state.Or(flagQueued)&flagQueued == 0 }

func (t *track) clearQueued() { t.state.And(^uint32(flagQueued)) }

// tcpState names a state.
func tcpState(state uint32) State {
	has := func(flag uint32) bool { return state&flag == flag }
	switch {
	case state&(flagRST*bothSides) != 0:
		return Closed
	case has(flagFINAcked * bothSides):
		return TimeWait
	case state&(flagFIN*bothSides) != 0:
		return FinWait
	case has(flagPicked | flagSeen*bothSides), has(flagSYNAcked * bothSides):
		return Established
	case has(flagPicked):
		return PickedUp
	case has(flagSYN * bothSides):
		return SynReceived
	}
	return SynSent
}

// tcpTimer returns the timer of a state. A connection that one side has closed
// may go on for as long as the other one likes (RFC 7857 clause 2.1).
func tcpTimer(state uint32) timer {
	switch tcpState(state) {
	case Established:
		return timerEstablished
	case FinWait:
		if tcpState(state&^(flagFIN*bothSides)) == Established && state&(flagFIN*bothSides) != flagFIN*bothSides {
			return timerEstablished
		}
	}
	return timerTransitory
}
