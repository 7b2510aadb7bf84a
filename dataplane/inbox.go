package dataplane

import (
	"github.com/weft/weft/dataplane/frame"
)

// Inbox is the bounded queue of one service of a network: copies of the frames
// that are meant for the switch itself. A worker never waits for room in it.
// Several goroutines may take messages out.
type Inbox struct {
	inboxSize
	free, queue chan *Message
	spare       chan []byte // memory for long frames; nil: none is kept
}

// Message is the copy of one frame.
type Message struct {
	Frame frame.Frame
	VLAN  uint16

	port *Port
	mem  []byte // stays with the message
	long []byte // in its place, of a long frame
}

// Port returns the name of the port that the frame has come in by.
func (m *Message) Port() string { return m.port.name }

// inboxKind tells the inboxes of a network apart.
type inboxKind uint8

const (
	inboxBPDU inboxKind = iota
	inboxReport
	inboxStation
	inboxDHCP
	inboxDNS
	inboxOutside
	inboxClient
	inboxDHCPv6
	inboxSolicit
	inboxClient6

	numInboxes
)

// inboxSize is how many messages may wait, and how many of them from one port:
// a guest that sends nothing else leaves room for the others.
type inboxSize struct {
	kind       inboxKind
	len, share int32
}

// keptLen bounds the memory that a message keeps once it is done, in bytes. Of what is
// longer the inbox Outside keeps some, for super-frames come one after another there,
// and to allocate for each of them costs more than to copy it: 4 MiB in a network at
// the most, as a frame has no more than frame.MaxLen.
const (
	keptLen  = 2 << 10
	keptLong = 64
)

func newInbox(size inboxSize) *Inbox {
	b := &Inbox{inboxSize: size}
	if size.kind == inboxOutside {
		b.spare = make(chan []byte, keptLong)
	}
	b.free, b.queue = make(chan *Message, size.len), make(chan *Message, size.len)
	for range size.len {
		b.free <- &Message{}
	}
	return b
}

// put copies a frame into the queue and reports whether it had room.
func (b *Inbox) put(p *Port, f *frame.Frame, vid uint16) bool {
	if p.waiting[b.kind].Load() >= b.share {
		return false
	}
	select {
	case m := <-b.free:
		p.waiting[b.kind].Add(1)
		m.port, m.VLAN = p, vid
		b.fill(m, f)
		b.queue <- m // as many places as messages: never blocks
		return true
	default:
		return false
	}
}

// fill copies a frame into a message.
func (b *Inbox) fill(m *Message, f *frame.Frame) {
	if frame.Headroom+len(f.Bytes()) <= keptLen {
		m.mem = m.Frame.Copy(f, m.mem)
		return
	}
	select {
	case m.long = <-b.spare:
	default:
	}
	m.long = m.Frame.Copy(f, m.long)
}

// Messages is where messages can be waited for. Each goes back with Done.
func (b *Inbox) Messages() <-chan *Message { return b.queue }

// Poll returns the next message, nil where none waits.
func (b *Inbox) Poll() *Message {
	select {
	case m := <-b.queue:
		return m
	default:
		return nil
	}
}

// Done gives the memory of a message back.
func (b *Inbox) Done(m *Message) {
	m.port.waiting[b.kind].Add(-1)
	m.port = nil
	if m.long != nil {
		m.Frame = frame.Frame{}
		select {
		case b.spare <- m.long:
		default:
		}
		m.long = nil
	}
	b.free <- m
}

// How many messages a port may send to a service, a second and at once: a bridge
// sends six BPDUs a second at the most (802.1D-2004 table 17-1), a host one report
// for many groups. Of packets that have no way to go, only some are answered, as
// RFC 1812 clause 4.3.2.8 asks.
const (
	bpduRate       = 50
	reportRate     = 200
	unroutableRate = 10
	answerRate     = 200 // of echo, ARP and neighbour discovery, where no service does it
	strangerRate   = 200 // stations that ask for the gateway, and that it does not know
)

// punt copies a frame to a service, as far as the port's share goes. This is the
// one place that reads the time for a single frame: such frames are few.
func (w *worker) punt(to *Inbox, share *bucket, f *frame.Frame, vid uint16) Verdict {
	if share != nil && !share.take(w.network.sw.ticks(), 1) || !to.put(w.port, f, vid) {
		return ServiceFull
	}
	return Consumed
}
