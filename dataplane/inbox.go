package dataplane

import (
	"github.com/weft/weft/dataplane/frame"
)

// inbox is the bounded queue of one service of a network: copies of the frames
// that are meant for the switch itself. A worker never waits for room in it.
type inbox struct {
	free, queue chan *message
}

// message is the copy of one frame.
type message struct {
	port  *Port
	vid   uint16
	frame frame.Frame
	mem   []byte
}

const (
	// inboxLen is how many messages may wait, portShare how many of them from
	// one port: a guest that sends nothing else leaves room for the others.
	inboxLen  = 128
	portShare = 16

	// messageLen bounds the copy, in bytes: more than a jumbo frame.
	messageLen = 16 << 10
)

func newInbox() *inbox {
	b := &inbox{free: make(chan *message, inboxLen), queue: make(chan *message, inboxLen)}
	for range inboxLen {
		b.free <- &message{}
	}
	return b
}

// put copies a frame into the queue and reports whether it had room.
func (b *inbox) put(p *Port, f *frame.Frame, vid uint16) bool {
	if p.waiting.Load() >= portShare || f.Len() > messageLen {
		return false
	}
	select {
	case m := <-b.free:
		p.waiting.Add(1)
		m.port, m.vid = p, vid
		m.mem = m.frame.Copy(f, m.mem)
		b.queue <- m // as many places as messages: never blocks
		return true
	default:
		return false
	}
}

// done gives the memory of a message back.
func (b *inbox) done(m *message) {
	m.port.waiting.Add(-1)
	m.port = nil
	b.free <- m
}

// How many messages a port may send to a service, a second and at once: a bridge
// sends six BPDUs a second at the most (802.1D-2004 table 17-1), a host one report
// for many groups.
const (
	bpduRate   = 50
	reportRate = 200
)

// punt copies a frame to a service, as far as the port's share goes. This is the
// one place that reads the time for a single frame: such frames are few.
func (w *worker) punt(to *inbox, share *bucket, f *frame.Frame, vid uint16) Verdict {
	if !share.take(w.network.sw.ticks(), 1) || !to.put(w.port, f, vid) {
		return ServiceFull
	}
	return Consumed
}
