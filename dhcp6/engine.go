package dhcp6

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// engine is the state machine. It has no clock, no lock, no store and no socket:
// a message or a moment goes in, and what is to be done comes out in its
// outbox. Server carries that out.
//
//	receive -> identify -> solicit                 -> assign, and all of it undone -> reply
//	                       request, renew, rebind  -> assign: choose -> give -> journal -> reply
//	                       confirm, release, decline, information
//
// Nothing is kept for a client that was only advertised something: what it gets when
// it asks for that is decided then. So who solicits without end fills nothing.
//
// What is given goes to the journal with what was before. The owner commits it and
// then calls settle, which either makes it final or takes all of it back. What
// nobody relies on (a release, a quarantine) is only marked as dirty: it is
// committed with the rest, and holds also where that failed.
type engine struct {
	set   *settings
	pools []*pool // that of the addresses first
	most  int     // bindings

	bindings map[netip.Addr]*binding // by its first address
	clients  map[string][]*binding   // by DUID
	names    map[string][]*binding   // of active leases of addresses: each one client's
	routes   map[*binding]struct{}   // active leases of prefixes
	strays   map[*binding]struct{}   // leases in no pool of now, that others of now may overlap
	ports    map[string]*portUse
	partings lease.Partings

	timers lease.Queue[*binding] // what ends by itself

	count [dhcp.Reserved + 1]int // bindings by state
	taken [2]int                 // active and in quarantine, out of the pools, by kind

	serial  uint64 // of the message that is dealt with
	trying  bool   // what is done is undone
	journal []saved
	dirty   map[netip.Prefix]struct{} // whose record in the store is not what is known here

	outbox
	rerouted  bool
	messages  map[dhcp.MessageKey]uint64
	exhausted bool
	quiet     time.Duration // until when the log is not told of it again
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
	notes   []note
}

// answer is a message that was dealt with, and what the client is told.
type answer struct {
	Reply
	key     dhcp.MessageKey
	send    bool // there is a Reply
	durable bool // it depends on the journal
}

// note is a line for the log.
type note struct {
	level   slog.Level
	text    string
	durable bool // it depends on the journal
	attrs   []any
}

// maxBindings bounds what is known at once, also of leases that are over: ranges may
// have room for more than any memory.
const maxBindings = 1 << 17

func newEngine(set *settings) *engine {
	e := &engine{
		messages: map[dhcp.MessageKey]uint64{}, dirty: map[netip.Prefix]struct{}{}, partings: lease.NewPartings(), most: maxBindings,
	}
	e.reset(set)
	return e
}

// reset empties all that bindings are found by.
func (e *engine) reset(set *settings) {
	e.set = set
	e.pools = []*pool{set.addressPool()}
	for _, d := range set.Delegate {
		e.pools = append(e.pools, newPrefixPool(d))
	}
	for a := range set.hostsByAddr {
		e.pools[0].take(a)
	}
	set.eachBlocked(e.pools[0].take)
	e.bindings, e.clients, e.names = map[netip.Addr]*binding{}, map[string][]*binding{}, map[string][]*binding{}
	e.routes, e.strays, e.ports = map[*binding]struct{}{}, map[*binding]struct{}{}, map[string]*portUse{}
	e.timers, e.rerouted = nil, true
	e.count, e.taken = [dhcp.Reserved + 1]int{}, [2]int{}
}

// touch enters a binding in the journal, before it is changed.
func (e *engine) touch(b *binding) {
	if b.saved == e.serial {
		return
	}
	e.journal = append(e.journal, saved{b: b, before: *b})
	b.saved = e.serial
}

// edit changes a binding and everything it is found by.
func (e *engine) edit(b *binding, change func(b *binding)) {
	e.detach(b)
	change(b)
	e.attach(b)
}

// binding returns that of an address or prefix, a vacant one where nothing is known.
func (e *engine) binding(p netip.Prefix) *binding {
	if b := e.bindings[p.Addr()]; b != nil {
		return b
	}
	return &binding{prefix: p, Ticket: lease.Ticket{Place: lease.NotQueued}}
}

// settle ends the work whose journal was committed, or was not.
func (e *engine) settle(committed bool) {
	if !committed {
		e.undo(0)
	}
	clear(e.journal)
	e.journal = e.journal[:0]
}

// undo makes everything as it was when the journal had n entries. First all are
// taken out and then all put back, as one may have what another had before, a name
// for instance; and the last change of a binding is taken back first.
func (e *engine) undo(n int) {
	changes := e.journal[n:]
	for _, c := range changes {
		if b := e.bindings[c.b.prefix.Addr()]; b != nil {
			e.detach(b)
		}
	}
	for i := len(changes) - 1; i >= 0; i-- {
		*changes[i].b = changes[i].before
	}
	for _, c := range changes {
		if e.bindings[c.b.prefix.Addr()] != c.b {
			e.attach(c.b)
		}
	}
	clear(changes)
	e.journal = e.journal[:n]
}

// note tells the log, but for what is only tried.
func (e *engine) note(level slog.Level, text string, attrs ...any) {
	if !e.trying {
		e.notes = append(e.notes, note{level: level, text: text, attrs: attrs})
	}
}

// noteOfLease is note for what is only true once the journal is committed.
func (e *engine) noteOfLease(level slog.Level, text string, attrs ...any) {
	if !e.trying {
		e.notes = append(e.notes, note{level: level, text: text, attrs: attrs, durable: true})
	}
}

// tells reports whether a line about a client is to be written now.
func (e *engine) tells(now lease.Instant, level slog.Level) bool {
	if e.trying {
		return false
	}
	e.endTelling(now)
	return e.telling.Tells(level)
}

// endTelling says at the end of a second what was left out in it.
func (e *engine) endTelling(now lease.Instant) {
	if n := e.telling.End(now); n > 0 {
		e.note(slog.LevelInfo, "dhcp6: lines about clients were left out", "lines", n)
	}
}

// maxDue bounds how many events one call deals with, so that those who wait for
// the state never wait long.
const maxDue = 4096

// expire does what is due.
func (e *engine) expire(now lease.Instant) {
	e.endTelling(now)
	e.partings.Forget(now.Mono)
	for range maxDue {
		b, ok := e.timers.Top()
		if !ok || b.Due > now.Mono {
			return
		}
		if b.state != dhcp.Active { // a quarantine, or nobody can be given it any more
			e.forget(b)
			continue
		}
		if e.tells(now, slog.LevelInfo) {
			e.note(slog.LevelInfo, "dhcp6: lease is over", "address", shown(b.prefix), "mac", b.mac, "name", b.name)
		}
		e.end(now, b, b.expires+graceTime)
	}
}

// end makes an active lease one that is over, whose place another client may have
// from free on. The store hears of it, although it has the time, so that a lease
// that it has as active and over is one that ended while the server was away.
func (e *engine) end(now lease.Instant, b *binding, free time.Duration) {
	e.part(now.Mono, b)
	e.edit(b, func(b *binding) { b.state, b.free = dhcp.Expired, free })
	e.dirty[b.prefix] = struct{}{}
}

// part keeps the name of a lease that ends at a time.
func (e *engine) part(end time.Duration, b *binding) {
	if b.named() || b.state == dhcp.Expired && !b.delegates() {
		e.partings.Part(end, b.name, lease.Owner{Key: b.key, MAC: b.mac, Port: b.port})
	}
}

// forget leaves nothing of a binding. That the store forgets too is not urgent: what
// it holds is over there as well.
func (e *engine) forget(b *binding) {
	e.edit(b, func(b *binding) {
		*b = binding{prefix: b.prefix, saved: b.saved, Ticket: b.Ticket}
	})
	e.dirty[b.prefix] = struct{}{}
}

// shown is a prefix for people: of an address without its length.
func shown(p netip.Prefix) string {
	if p.Bits() == 128 {
		return p.Addr().String()
	}
	return p.String()
}
