package sockets

import (
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// connection is a TCP connection of a guest with the one of the host that it goes on
// as. The way of one that a guest opens:
//
//	answer     its SYN has come: may there be one more? (inbox's goroutine)
//	begin      the stack has a request (a goroutine of the stack's)
//	dial       the host connects                         (from here on: a worker)
//	dialed     it has connected, or has not: then the guest is told
//	handshake  the guest's SYN is answered               (a goroutine of its own)
//	accepted   the guest's ACK has come
//	pump       data go both ways, until both are closed
//
// One from outside is accepted by a listener, call connects to the guest, called says
// whether that has worked, and it is pumped likewise.
type connection struct {
	job
	flow
	s        *Sockets
	phase    atomic.Uint32 // changed by the worker only
	closing  atomic.Bool   // it is open, but both sides have said that they have no more
	since    atomic.Int64  // of the phase, or of closing
	segments atomic.Pointer[tcp.Stats]

	request atomic.Pointer[tcp.ForwarderRequest] // until it is completed
	made    atomic.Pointer[handshake]            // what has become of it
	syn     []byte                               // the start of the guest's packet, for an ICMP error

	// The rest is the worker's.
	fd     int // -1 where there is none
	hold   *holding
	ep     tcpip.Endpoint
	notify waiter.Queue
	entry  waiter.Entry

	hostIn, hostOut           bool   // no system call has said EAGAIN since
	hostErr                   bool   // the socket has had an error
	pending                   []byte // from the guest, for the host
	fromGuestEnd, fromHostEnd bool   // there is no more, and the other side knows
	small                     small
}

// handshake is how one with a guest has ended.
type handshake struct {
	ep  tcpip.Endpoint
	err tcpip.Error
}

// Phases of a connection.
const (
	dialing uint32 = iota // the host connects
	greeting
	calling // connecting to the guest
	opened
	ended
)

func (s *Sockets) newConnection(t tuple) *connection {
	c := &connection{s: s, fd: -1}
	c.job.queue, c.job.runner = &s.queue, c
	c.tuple, c.peer, c.owner = t, t.remote, c
	c.since.Store(s.now.Load())
	return c
}

func (c *connection) enter(phase uint32) {
	if was := c.phase.Load(); was < opened && phase == opened {
		c.s.table.connected(&c.flow)
	}
	c.phase.Store(phase)
	c.since.Store(c.s.now.Load())
}

// run implements runner.
func (c *connection) run(w *worker, events event) {
	c.hostIn = c.hostIn || events&hostIn != 0
	c.hostOut = c.hostOut || events&hostOut != 0
	c.hostErr = c.hostErr || events&hostErr != 0
	phase := c.phase.Load()
	switch {
	case phase == ended:
		c.discard()
		return
	case events&kill != 0:
		c.reset()
		return
	case events&expired != 0:
		c.tooLate()
		return
	}
	switch phase {
	case dialing:
		if events&began != 0 {
			c.dial()
		} else if c.fd >= 0 {
			c.dialed()
		}
	case greeting:
		c.accepted()
	case calling:
		c.called()
	}
	if c.phase.Load() == opened && c.pump(w) {
		c.wake(guestEvent)
	}
}

// handshakeWithGuest answers the guest's SYN and waits for its ACK.
func (c *connection) handshakeWithGuest(r *tcp.ForwarderRequest) {
	defer c.s.handshakes.Done()
	h := &handshake{}
	h.ep, h.err = r.CreateEndpoint(&c.notify)
	r.Complete(false)
	c.made.Store(h)
	c.wake(guestEvent)
}

// accepted goes on once the guest has, or has not, acknowledged.
func (c *connection) accepted() {
	h := c.made.Swap(nil)
	switch {
	case h == nil: // something else has happened
	case h.err != nil:
		c.reset()
	default:
		c.ep = h.ep
		c.watch()
		c.open()
	}
}

// watch has the connection woken by what happens at its endpoint.
func (c *connection) watch() {
	c.entry = waiter.NewFunctionEntry(waiter.ReadableEvents|waiter.WritableEvents|waiter.EventHUp|waiter.EventErr,
		func(waiter.EventMask) { c.wake(guestEvent) })
	c.notify.EventRegister(&c.entry)
}

// open begins to pump. The guest is asked after a long silence whether it still knows
// the connection (RFC 5382 REQ-5 leaves that to a NAT).
func (c *connection) open() {
	if e, ok := c.ep.Stats().(*tcp.Stats); ok {
		c.segments.Store(e)
	}
	idle := tcpip.KeepaliveIdleOption(c.s.cfg.Load().Timeouts.TCP)
	_ = c.ep.SetSockOpt(&idle) // cannot fail
	c.ep.SocketOptions().SetKeepAlive(true)
	c.hostIn, c.hostOut = true, true
	c.syn = nil
	c.hold.keep()
	c.enter(opened)
}

// call connects to the guest, in the name of the peer or of the gateway.
func (c *connection) call() {
	ep, err := c.s.stack.stack.NewEndpoint(tcp.ProtocolNumber, familyOf(c.guest.Addr()).network(), &c.notify)
	if err != nil {
		c.reset()
		return
	}
	c.ep = ep
	ep.SocketOptions().SetReuseAddress(true) // the same port may talk to several guests
	c.watch()
	if err = ep.Bind(tcpip.FullAddress{NIC: nic, Addr: address(c.remote.Addr()), Port: c.remote.Port()}); err == nil {
		err = ep.Connect(tcpip.FullAddress{NIC: nic, Addr: address(c.guest.Addr()), Port: c.guest.Port()})
	}
	if _, started := err.(*tcpip.ErrConnectStarted); !started {
		c.reset()
	}
}

// called goes on once the guest has, or has not, answered.
func (c *connection) called() {
	if c.ep == nil {
		c.call()
		return
	}
	switch tcp.EndpointState(c.ep.State()) {
	case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
	case tcp.StateError, tcp.StateClose:
		c.reset()
	default:
		c.open()
	}
}

// tooLate ends a connection that has not come about in time or has to make room for
// others, or that does not come to its end. A guest whose SYN nobody has answered is
// told nothing, as it would hear nothing from the peer either: it asks again.
func (c *connection) tooLate() {
	if c.phase.Load() == dialing {
		c.finish(false)
		return
	}
	c.reset()
}

// evict implements loan.
func (c *connection) evict() { c.wake(expired) }

// lastUse implements loan.
func (c *connection) lastUse() int64 { return c.since.Load() }

// reset ends the connection, which either side is told by a RST.
func (c *connection) reset() {
	if c.fd >= 0 {
		resetOnClose(c.fd)
	}
	c.finish(true)
}

// finish gives back what the connection has. reset says that the guest gets a RST.
func (c *connection) finish(reset bool) {
	c.enter(ended)
	if c.fd >= 0 {
		c.s.ready.remove(c.fd)
		closeSocket(c.fd)
		c.fd = -1
	}
	c.hold.release()
	if c.ep != nil {
		c.notify.EventUnregister(&c.entry)
		if reset {
			c.ep.Abort()
		}
		c.ep.Close()
	}
	c.pending = nil
	if r := c.request.Swap(nil); r != nil {
		r.Complete(reset)
	}
	c.discard()
	t := &c.s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(&c.flow)
}

// discard ends what comes after the end.
func (c *connection) discard() {
	if h := c.made.Swap(nil); h != nil && h.err == nil {
		h.ep.Abort()
		h.ep.Close()
	}
	if r := c.request.Swap(nil); r != nil {
		r.Complete(true)
	}
}

// check implements owner.
func (c *connection) check(_ *flow, now int64, cfg *Config) bool {
	age := now - c.since.Load()
	switch phase := c.phase.Load(); {
	case phase < opened && age > dialTime,
		phase == opened && c.closing.Load() && age > seconds(cfg.Timeouts.Transitory):
		c.wake(expired)
	}
	return false // the worker takes it out
}

// end implements owner.
func (c *connection) end(*flow) bool {
	c.wake(kill)
	return false
}

// describe implements owner.
func (c *connection) describe(_ *flow, to *Flow) {
	switch c.phase.Load() {
	case dialing:
		to.State = "syn-sent"
	case greeting, calling:
		to.State = "syn-received"
	case opened:
		to.State = "established"
		if c.closing.Load() {
			to.State = "closing"
		}
	default:
		to.State = "closed"
	}
	if n := c.segments.Load(); n != nil {
		to.Packets = n.SegmentsReceived.Value() + n.SegmentsSent.Value()
	}
}

// dialTime is how long a connection may take to come about, in seconds.
const dialTime = 75
