package nat

// A flow that is over, reset or closed by both sides, keeps its place for the
// transitory timeout, so that late packets find it. With many short connections
// that is most of a table. So a new flow that finds no room may take the place of
// one that is over: RFC 5382 clause 5 lets a NAT give up what it knows to be
// closed. Flows that live are never given up.

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
	for n := 0; n < 4 && h.over.head != nil; n++ {
		f := h.over.head
		if f.expires.Load() != 0 && f.track.over() {
			return
		}
		h.over.pop().track.clearQueued()
	}
	if h.over.head == nil {
		h.zone.over.remove(h)
	}
}

// reclaim gives up the oldest flow of a host that is over, and reports whether
// there was one. The caller holds the lock.
func (t *Table) reclaim(h *host) bool {
	for n := 0; n < maxReclaim && h.over.head != nil; n++ {
		f := h.over.pop()
		f.track.clearQueued()
		if f.expires.Load() != 0 && f.track.over() {
			return t.drop(f)
		}
	}
	if h.over.head == nil {
		h.zone.over.remove(h)
	}
	return false
}

// reclaimAny does the same for all hosts of a zone in turn.
func (t *Table) reclaimAny(z *zone) bool {
	for n := 0; n < maxReclaim && z.over.head != nil; n++ {
		h := z.over.head
		z.over.head = h.next
		if t.reclaim(h) {
			return true
		}
	}
	return false
}
