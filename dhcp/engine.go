package dhcp

import (
	"log/slog"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// engine is the state machine. It has no clock, no lock, no store and no socket:
// a message or a moment goes in, and what is to be done comes out in its
// outbox. Server carries that out.
//
//	receive -> identify -> discover -> choose -> offer (probe) -> reply
//	                       request  -> entitled -> grant -> journal -> reply
//	                       decline, release, inform
//
// A grant goes to the journal with what was before. The owner commits it and
// then calls settle, which either makes it final or takes all of it back. What
// nobody relies on (a release, a quarantine) is only marked as dirty: it is
// committed with the rest, and holds also where that failed.
type engine struct {
	set  *settings
	pool *pool

	bindings map[ip4]*binding
	clients  map[string]*binding    // by the client's key: the first of its bindings
	macs     map[frame.MAC]*binding // the first of those with a MAC address
	away     map[ip4]*binding       // leases of addresses outside the subnet that there is now
	offers   map[string]*binding    // by the key of the client they were made to
	names    map[string]*binding    // of active leases
	ports    map[string]*portUse
	setAside map[frame.MAC]int      // addresses in quarantine because of one
	sent     map[string]*broadcasts // by port
	partings lease.Partings

	timers lease.Queue[*binding] // what ends by itself
	idle   lease.Queue[*binding] // leases that are over, the longest first, to be used again

	count   [Reserved + 1]int // bindings by the state shown
	held    int               // offers on addresses without an active lease
	probing int

	journal []saved
	dirty   map[ip4]struct{} // addresses whose record in the store is not what is known here

	outbox
	messages  map[MessageKey]uint64
	exhausted bool
	quiet     time.Duration // until when the log is not told of it again
	doubted   time.Duration // the same of answers that are not believed
	telling   lease.Telling
}

// saved is a binding as it was before.
type saved struct {
	b      *binding
	before binding
}

// outbox is what is to be done after the engine's work.
type outbox struct {
	answers []answer
	probes  []probe
	notes   []note
}

// answer is a message that was dealt with, and what the client is told.
type answer struct {
	Reply
	key     MessageKey
	send    bool // there is a Reply
	durable bool // it depends on the journal
}

type probe struct {
	addr ip4
	vlan uint16
}

// note is a line for the log.
type note struct {
	level   slog.Level
	text    string
	durable bool // it depends on the journal
	attrs   []any
}

func newEngine(set *settings) *engine {
	e := &engine{
		messages: map[MessageKey]uint64{}, dirty: map[ip4]struct{}{}, away: map[ip4]*binding{},
		sent: map[string]*broadcasts{}, partings: lease.NewPartings(),
	}
	e.reset(set)
	return e
}

// reset empties all that bindings are found by.
func (e *engine) reset(set *settings) {
	e.set = set
	e.pool = newPool(set.Ranges)
	for a := range set.hostsByAddr {
		e.pool.take(a)
	}
	for _, a := range []ip4{set.server, set.subnet, set.subnet | ^set.mask} {
		e.pool.take(a)
	}
	e.bindings, e.clients = map[ip4]*binding{}, map[string]*binding{}
	e.offers, e.names = map[string]*binding{}, map[string]*binding{}
	e.ports, e.setAside, e.macs = map[string]*portUse{}, map[frame.MAC]int{}, map[frame.MAC]*binding{}
	e.timers, e.idle = nil, nil
	e.count, e.held, e.probing = [Reserved + 1]int{}, 0, 0
}

// touch enters a binding in the journal, before it is changed.
func (e *engine) touch(b *binding) {
	if b.touched {
		return
	}
	e.journal = append(e.journal, saved{b: b, before: *b})
	b.touched = true
}

// edit changes a binding and everything it is found by.
func (e *engine) edit(b *binding, change func(b *binding)) {
	e.detach(b)
	change(b)
	e.attach(b)
}

// binding returns that of an address, a vacant one where nothing is known of it.
func (e *engine) binding(a ip4) *binding {
	if b := e.bindings[a]; b != nil {
		return b
	}
	return &binding{addr: a, Ticket: lease.Ticket{Place: lease.NotQueued}}
}

// settle ends the work whose journal was committed, or was not.
func (e *engine) settle(committed bool) {
	if committed {
		for _, c := range e.journal {
			c.b.touched = false
		}
	} else {
		e.undo()
	}
	clear(e.journal)
	e.journal = e.journal[:0]
}

// undo makes everything as it was. First all are taken out and then all put
// back, as one may have what another had before, a name for instance.
func (e *engine) undo() {
	for _, c := range e.journal {
		if b := e.bindings[c.b.addr]; b != nil {
			e.detach(b)
		}
	}
	for _, c := range e.journal {
		*c.b = c.before
		if o := c.b.offer; o != nil && e.offers[o.key] != nil {
			c.b.offer = nil // the client was offered another one since
		}
		e.attach(c.b)
	}
}

// noteOfLease is note for what is only true once the journal is committed.
func (e *engine) noteOfLease(level slog.Level, text string, attrs ...any) {
	e.notes = append(e.notes, note{level: level, text: text, attrs: attrs, durable: true})
}

// answered counts a message that gets no reply.
func (e *engine) answered(m *message, outcome string) {
	e.answers = append(e.answers, answer{key: MessageKey{Type: typeName(m.kind), Outcome: outcome}})
}

// reply counts a message and answers it.
func (e *engine) reply(m *message, outcome string, r Reply, durable bool) {
	e.answers = append(e.answers, answer{
		Reply: r, key: MessageKey{Type: typeName(m.kind), Outcome: outcome}, send: true, durable: durable,
	})
}

func (e *engine) note(level slog.Level, text string, attrs ...any) {
	e.notes = append(e.notes, note{level: level, text: text, attrs: attrs})
}

// maxDue bounds how many events one call deals with, so that those who wait for
// the state never wait long.
const maxDue = 4096

// expire does what is due. It reports whether something may be left.
func (e *engine) expire(now lease.Instant) (more bool) {
	e.endTelling(now)
	e.partings.Forget(now.Mono)
	for range maxDue {
		b, ok := e.timers.Top()
		if !ok || b.Due > now.Mono {
			return false
		}
		switch {
		case b.offer != nil && b.offer.due <= now.Mono:
			e.offerDue(now, b)
		case b.state == Active:
			if e.tells(now, slog.LevelInfo) {
				e.note(slog.LevelInfo, "dhcp: lease is over", "address", b.addr.addr(), "mac", b.mac, "name", b.name)
			}
			e.end(now, b)
		default: // a quarantine
			e.forget(b)
		}
	}
	return true
}

// end makes an active lease one that is over. The store hears of it, although
// it has the time, so that a lease that it has as active and over is one that
// ended while the server was away. An address that nobody can be given any more
// is forgotten.
func (e *engine) end(now lease.Instant, b *binding) {
	e.part(now.Mono, b)
	if b.offer == nil && !e.useful(b.addr) {
		e.forget(b)
		return
	}
	e.edit(b, func(b *binding) { b.state = Expired })
	e.dirty[b.addr] = struct{}{}
}

// part keeps the name of a lease that ends at a time.
func (e *engine) part(end time.Duration, b *binding) {
	e.partings.Part(end, b.name, lease.Owner{Key: b.key, MAC: b.mac, Port: b.port})
}

// useful reports whether there is still somebody who can get an address.
func (e *engine) useful(a ip4) bool {
	return e.pool.contains(a) || e.set.hostsByAddr[a] != nil
}

// forget leaves of a binding nothing but an offer. That the store forgets too
// is not urgent: what it holds is over there as well.
func (e *engine) forget(b *binding) {
	e.edit(b, func(b *binding) {
		b.state, b.key, b.name, b.asked, b.mac, b.port = Offered, "", "", "", frame.MAC{}, ""
		b.granted, b.expires, b.duration = 0, 0, 0
	})
	e.dirty[b.addr] = struct{}{}
}

// nextDue is when expire has something to do again.
func (e *engine) nextDue() (time.Duration, bool) {
	if b, ok := e.timers.Top(); ok {
		return b.Due, true
	}
	return 0, false
}
