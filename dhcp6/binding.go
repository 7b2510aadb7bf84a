package dhcp6

import (
	"net/netip"
	"slices"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// binding is what is known about one address or one delegated prefix. There is one
// for each that somebody has or had.
type binding struct {
	lease.Ticket
	prefix  netip.Prefix // of 128 bits: an address
	state   dhcp.State   // Offered: nothing is known; Active; Expired; Declined
	saved   uint64       // the message in whose journal it is
	key     string       // the client's DUID; empty where it is in quarantine
	iaid    uint32
	mac     frame.MAC     // of the frames of the last message
	name    string        // host part, empty without
	asked   string        // the name that the client asked for, also where it did not get it
	port    string        // of the last message; empty after a restart
	via     netip.Addr    // of a prefix: the client's link-local address
	granted time.Duration // as all times here: since the server began
	expires time.Duration // the end, also of a quarantine; lease.Forever for an infinite lease
	free    time.Duration // when another client may have what this one had; of Expired only

	// duration is what the client was promised last. It bounds what a
	// clock that is wrong can make of the stored lease.
	duration time.Duration
}

func (b *binding) vacant() bool    { return b.state == dhcp.Offered }
func (b *binding) delegates() bool { return b.prefix.Bits() != 128 }

// of reports whether a lease is of one identity association.
func (b *binding) of(key string, a *ia) bool {
	return b.key == key && b.iaid == a.iaid && b.delegates() == a.delegates() && (b.state == dhcp.Active || b.state == dhcp.Expired)
}

// named reports whether names lead to the address.
func (b *binding) named() bool { return b.state == dhcp.Active && b.name != "" && !b.delegates() }

// portUse counts what the clients behind one port keep from all others: addresses
// of the ranges and prefixes, with those in quarantine.
type portUse struct {
	taken    [2]int // by kind
	declined int
}

// kindOf is the index of what is counted apart.
func kindOf(delegates bool) int {
	if delegates {
		return 1
	}
	return 0
}

// attach enters a binding everywhere it is looked for. What it says does not change
// until it is detached.
func (e *engine) attach(b *binding) {
	b.Place = lease.NotQueued
	if b.vacant() {
		return
	}
	e.bindings[b.prefix.Addr()] = b
	p := e.poolOf(b.prefix)
	if p != nil {
		p.take(b.prefix.Addr())
	}
	if b.key != "" {
		e.clients[b.key] = append(e.clients[b.key], b)
	}
	if b.named() {
		e.names[b.name] = append(e.names[b.name], b)
	}
	e.recount(b, p, 1)
	if b.state == dhcp.Active && b.delegates() {
		e.routes[b] = struct{}{}
		e.rerouted = e.rerouted || !e.trying
	}
	if p == nil && (b.delegates() || !e.set.onLink(b.prefix.Addr())) {
		e.strays[b] = struct{}{}
	}
	if q, due := e.queueOf(b, p); q != nil {
		q.Push(b, due)
	}
}

// queueOf says where a binding waits, and for when: one that is over to be needed,
// or to be forgotten where nobody can be given it any more; others for their end.
func (e *engine) queueOf(b *binding, p *pool) (*lease.Queue[*binding], time.Duration) {
	switch {
	case b.state == dhcp.Expired && e.kept(b.prefix):
		return nil, 0
	case b.state == dhcp.Expired && p != nil:
		return &p.idle, b.free
	case b.state == dhcp.Expired:
		return &e.timers, b.free
	case b.expires == lease.Forever:
		return nil, 0
	}
	return &e.timers, b.expires
}

// detach is the inverse of attach.
func (e *engine) detach(b *binding) {
	if b.vacant() {
		return
	}
	delete(e.bindings, b.prefix.Addr())
	p := e.poolOf(b.prefix)
	if p != nil && !e.kept(b.prefix) {
		p.give(b.prefix.Addr())
	}
	if b.key != "" {
		drop(e.clients, b.key, b)
	}
	if b.named() {
		drop(e.names, b.name, b)
	}
	e.recount(b, p, -1)
	if _, ok := e.routes[b]; ok {
		delete(e.routes, b)
		e.rerouted = e.rerouted || !e.trying
	}
	delete(e.strays, b)
	if q, _ := e.queueOf(b, p); q != nil {
		q.Remove(b)
	}
}

// drop takes a binding out of a list, and the list where it was the last.
func drop(lists map[string][]*binding, key string, b *binding) {
	l := lists[key]
	if i := slices.Index(l, b); i >= 0 {
		l = slices.Delete(l, i, i+1)
	}
	if len(l) == 0 {
		delete(lists, key)
		return
	}
	lists[key] = l
}

// recount counts a binding, or takes it out of the counts. Of those that somebody has,
// a reserved one takes nothing from others.
func (e *engine) recount(b *binding, p *pool, by int) {
	e.count[b.state] += by
	if b.state == dhcp.Expired || p == nil || e.kept(b.prefix) {
		return
	}
	kind := kindOf(b.delegates())
	e.taken[kind] += by
	u := e.ports[b.port]
	if u == nil {
		u = &portUse{}
		e.ports[b.port] = u
	}
	u.taken[kind] += by
	if b.state == dhcp.Declined {
		u.declined += by
	}
	if *u == (portUse{}) {
		delete(e.ports, b.port)
	}
}

// kept reports whether an address is in no range, whatever the ranges say: it is
// reserved, or none for a client.
func (e *engine) kept(p netip.Prefix) bool {
	return p.Bits() == 128 && (e.set.hostsByAddr[p.Addr()] != nil || e.set.blocked(p.Addr()))
}

// poolOf returns the pool that something is a place of, nil without one.
func (e *engine) poolOf(x netip.Prefix) *pool {
	for _, p := range e.pools {
		if p.holds(x) {
			return p
		}
	}
	return nil
}
