package dhcp

import (
	"log/slog"
	"slices"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// Times of offers and probes.
const (
	offerTime      = 30 * time.Second
	probeTime      = 300 * time.Millisecond
	quarantineTime = 10 * time.Minute

	// maxTries is how many addresses are tried one after another for one
	// DISCOVER, where each turns out to be in use.
	maxTries = 8
)

// How much is kept at once for clients that did not answer yet, and by those
// behind one port. Who makes up a client for every message fills his port's
// share and no more.
const (
	maxOffers     = 16384
	maxProbes     = 8192
	minPortOffers = 16
	maxPortOffers = maxOffers / 4
	maxPortProbes = maxProbes / 4
)

// offer keeps an address for a client: first while it is probed, then until the
// client asks for it. It is not stored. After a restart the client begins
// anew, and nobody relied on it.
type offer struct {
	key     string
	mac     frame.MAC
	port    string
	due     time.Duration // the end of the probe, then of the offer
	probing bool
	tries   int
	message *message // to be answered after the probe

	heard []claim // who answered the probe: one of each port
}

// claim is an answer to a probe.
type claim struct {
	mac  frame.MAC
	port string
}

const (
	maxClaims = 4 // ports whose answers to one probe are kept

	// maxAnswered is how many addresses one MAC address keeps from the others by
	// answering for them. No honest host has more; a guest that claims all would
	// leave none.
	maxAnswered = 4

	// doubtEvery is how often the log hears of answers that are not believed.
	doubtEvery = time.Minute
)

// share is how many offers those behind one port may keep: a quarter of the
// addresses, but in a small pool never more than half.
func (e *engine) share() int {
	n := max(e.pool.Size(), len(e.set.hostsByAddr))
	return min(max(minPortOffers, n/4), max(1, n/2), maxPortOffers)
}

// mayOffer reports whether a port may keep one more address.
func (e *engine) mayOffer(port string, probing bool) bool {
	var u portUse
	if known := e.ports[port]; known != nil {
		u = *known
	}
	if len(e.offers) >= maxOffers || u.offers >= e.share() {
		return false
	}
	return !probing || e.probing < maxProbes && u.probes < maxPortProbes
}

// full reports whether no further client may get a lease.
func (e *engine) full() bool {
	return e.set.MaxLeases > 0 && e.count[Active]+e.held >= e.set.MaxLeases
}

// keep makes an offer, in place of another one of that client. What the client
// holds as an active lease needs none.
func (e *engine) keep(now lease.Instant, b *binding, o *offer) {
	o.due = now.After(offerTime)
	if o.probing {
		o.due = now.After(probeTime)
		e.probes = append(e.probes, probe{addr: b.addr, vlan: o.message.vlan})
	} else {
		o.message = nil
	}
	if other := e.offers[o.key]; other != nil && other != b {
		e.withdraw(other)
	}
	e.edit(b, func(b *binding) { b.offer = o })
}

// withdraw ends an offer. An address that nobody can be given any more is
// forgotten.
func (e *engine) withdraw(b *binding) {
	e.edit(b, func(b *binding) { b.offer = nil })
	if b.state == Expired && !e.useful(b.addr) {
		e.forget(b)
	}
}

// offerDue is called when the time of an offer, or of its probe, is over.
func (e *engine) offerDue(now lease.Instant, b *binding) {
	o := b.offer
	if !o.probing {
		e.withdraw(b)
		return
	}
	m := o.message
	c, ok := e.set.identify(m)
	switch {
	case !ok || c.host != nil && c.host.Ignore:
		e.withdraw(b)
	case e.inUse(now, b):
		if o.tries+1 >= maxTries {
			e.answered(m, outcomeConflict)
			return
		}
		e.discover(now, c, m, o.tries+1)
	default:
		o := *o // the binding's is in the queue by its time
		o.probing, o.heard = false, nil
		e.keep(now, b, &o)
		e.propose(now, c, m, b)
	}
}

// inUse deals with an address that somebody answers for who should not have it.
// It reports whether somebody does, who is believed.
func (e *engine) inUse(now lease.Instant, b *binding) bool {
	if len(b.offer.heard) == 0 {
		return false
	}
	i := slices.IndexFunc(b.offer.heard, func(x claim) bool { return e.believes(b, x) })
	if i < 0 {
		e.doubt(now, b)
		return false
	}
	x := b.offer.heard[i]
	e.edit(b, func(b *binding) {
		b.offer = nil
		if b.wasOf(x) {
			// Its last client is still there: its clock or ours was wrong.
			// It has the address for no longer than it was promised.
			b.state, b.name, b.expires = Active, "", now.After(b.duration)
			return
		}
		b.quarantine(now, x.mac, x.port)
	})
	e.dirty[b.addr] = struct{}{}
	if e.tells(now, slog.LevelWarn) {
		e.note(slog.LevelWarn, "dhcp: address is in use by somebody without a lease", "address", b.addr.addr(), "mac", x.mac, "port", x.port)
	}
	return true
}

// wasOf reports whether the last client of an address answers for it.
func (b *binding) wasOf(x claim) bool {
	return b.state == Expired && b.mac == x.mac && (b.port == "" || b.port == x.port)
}

// believes reports whether an answer to a probe counts: not where one host, or
// those behind one port, keep too many addresses from all others that way.
func (e *engine) believes(b *binding, x claim) bool {
	if b.wasOf(x) {
		return true
	}
	u := e.ports[x.port]
	return e.setAside[x.mac] < maxAnswered && (u == nil || u.declined < e.share())
}

// doubt tells the log that answers are not believed.
func (e *engine) doubt(now lease.Instant, b *binding) {
	if now.Mono < e.doubted {
		return
	}
	e.doubted = now.After(doubtEvery)
	x := b.offer.heard[0]
	e.note(slog.LevelWarn, "dhcp: an address is offered although somebody answers for it: that one answers for too many", "address", b.addr.addr(), "mac", x.mac, "port", x.port)
}

// quarantine makes that nobody gets an address for a while.
func (b *binding) quarantine(now lease.Instant, mac frame.MAC, port string) {
	b.state, b.key, b.name, b.asked, b.mac, b.port = Declined, "", "", "", mac, port
	b.granted, b.expires, b.duration = now.Mono, now.After(quarantineTime), quarantineTime
}

// heard takes notice of who answers for an address. An answer from the client
// it is kept for is none: it had the address before.
func (e *engine) hear(a ip4, mac frame.MAC, port string) {
	b := e.bindings[a]
	if b == nil || b.offer == nil || !b.offer.probing || b.offer.mac == mac || mac == (frame.MAC{}) {
		return
	}
	// The last answer of each port, but for one that is believed: so nobody
	// hides the answer of another.
	x := claim{mac: mac, port: port}
	i := slices.IndexFunc(b.offer.heard, func(x claim) bool { return x.port == port })
	switch {
	case i >= 0 && !e.believes(b, b.offer.heard[i]):
		b.offer.heard[i] = x
	case i < 0 && len(b.offer.heard) < maxClaims:
		b.offer.heard = append(b.offer.heard, x)
	}
}
