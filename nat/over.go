package nat

import "github.com/weft/weft/dataplane/frame"

// A flow that is over, reset or closed by both sides, keeps its place for the
// transitory timeout, so that late packets find it. With many short connections
// that is most of a table. So a new flow that finds no room may take the place of
// one that is over: RFC 5382 clause 5 lets a NAT give up what it knows to be
// closed. So may one that began from outside and has not been answered yet, or a
// flood of SYNs to a published port would cut off the guest behind it. Flows that live
// are never given up.

// flowList chains flows of one host, oldest first.
type flowList struct{ head, tail *flow }

func (l *flowList) push(f *flow) {
	f.next = nil
	if l.tail != nil {
		l.tail.next = f
	} else {
		l.head = f
	}
	l.tail = f
}

func (l *flowList) pop() *flow {
	f := l.head
	if l.head = f.next; l.head == nil {
		l.tail = nil
	}
	f.next = nil
	return f
}

// hostList is a ring of hosts that have flows which are over.
type hostList struct{ head *host }

func (l *hostList) add(h *host) {
	if h.next != nil {
		return
	}
	if l.head == nil {
		h.prev, h.next, l.head = h, h, h
		return
	}
	h.prev, h.next = l.head.prev, l.head
	h.prev.next, h.next.prev = h, h
}

func (l *hostList) remove(h *host) {
	if h.next == nil {
		return
	}
	if h.next == h {
		l.head = nil
	} else {
		h.prev.next, h.next.prev = h.next, h.prev
		if l.head == h {
			l.head = h.next
		}
	}
	h.prev, h.next = nil, nil
}

// maxReclaim bounds how many flows are looked at, or given up, for a new one.
const maxReclaim = 64

// noteOver puts a flow that has just ended where reclaim finds it.
func (t *Table) noteOver(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.expires.Load() == 0 || !f.track.setQueued() {
		return
	}
	h := f.host
	t.trimOver(h)
	h.over.push(f)
	h.zone.over.add(h)
}

// trimOver takes flows that have gone, or come back to life, off the front of a
// host's list, so that it never holds more than have ended within a timeout.
func (t *Table) trimOver(h *host) {
	for n := 0; n < 4 && h.offered.head != nil && !h.offered.head.isOffered(); n++ {
		h.offered.pop().track.clearQueued()
	}
	for n := 0; n < 4 && h.over.head != nil; n++ {
		f := h.over.head
		if f.expires.Load() != 0 && f.track.over() {
			return
		}
		h.over.pop().track.clearQueued()
	}
	h.leaveRing()
}

// leaveRing takes a host out of zone.over that has nothing to give up.
func (h *host) leaveRing() {
	if h.over.head == nil && h.offered.head == nil {
		h.zone.over.remove(h)
	}
}

// reclaim gives up the oldest flow of a host that is over, or else that it was only
// offered, and reports whether there was one. The caller holds the lock.
func (t *Table) reclaim(h *host) bool {
	return t.giveUp(h, &h.over) || t.giveUp(h, &h.offered)
}

// giveUp does so for one of the host's lists.
func (t *Table) giveUp(h *host, l *flowList) bool {
	for n := 0; n < maxReclaim && l.head != nil; n++ {
		f := l.pop()
		f.track.clearQueued()
		if f.expires.Load() != 0 && (f.track.over() || f.isOffered()) {
			return t.drop(f)
		}
	}
	h.leaveRing()
	return false
}

// isOffered reports whether a flow that is known began from outside, and nobody inside
// has made it a connection yet.
func (f *flow) isOffered() bool {
	state := f.track.state.Load()
	if f.expires.Load() == 0 || state&flagInward == 0 {
		return false
	}
	if f.protocol == frame.ProtoTCP {
		return state&(flagSYNAcked*bothSides) != flagSYNAcked*bothSides &&
			(state&flagPicked == 0 || state&(flagSeen<<outward) == 0)
	}
	return state&(flagSeen<<outward) == 0
}

// reclaimAny does the same for all hosts of a zone in turn, with what is over alone
// where it is for a port: what was only offered has none of its own.
func (t *Table) reclaimAny(z *zone, give func(*Table, *host) bool) bool {
	for n := 0; n < maxReclaim && z.over.head != nil; n++ {
		h := z.over.head
		z.over.head = h.next
		if give(t, h) {
			return true
		}
	}
	return false
}

func (t *Table) reclaimOver(h *host) bool { return t.giveUp(h, &h.over) }
