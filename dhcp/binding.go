package dhcp

import (
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// binding is what is known about one address: whose it is, and to whom it is
// offered meanwhile. These are two things. An address whose lease is over stays
// that client's while it is offered to another, until that one takes it.
//
// There is one for each address that somebody has or had, so it is kept small.
type binding struct {
	lease.Ticket
	addr    ip4
	state   State // Offered: nobody has it, and offer is set; Active; Expired; Declined
	touched bool  // it is in the journal
	mac     frame.MAC
	key     string        // of the client, empty where there is none
	name    string        // host part, empty without
	asked   string        // the name that the client asked for, also where it did not get it
	port    string        // of the last message; empty after a restart
	granted time.Duration // as all times here: since the server began
	expires time.Duration // the end, also of a quarantine; forever for an infinite lease

	// duration is what the client was promised last. It bounds what a
	// clock that is wrong can make of the stored lease.
	duration time.Duration

	offer   *offer
	sibling *binding // the next one of this client

	kin, kinBefore *binding // others with this MAC address
}

// vacant reports whether there is nothing left to know.
func (b *binding) vacant() bool { return b.state == Offered && b.offer == nil }

// owned reports whether the address is or was a client's.
func (b *binding) owned() bool { return b.key != "" && (b.state == Active || b.state == Expired) }

// shown is the state that people see.
func (b *binding) shown() State {
	if b.offer != nil && b.state != Active {
		return Offered
	}
	return b.state
}

// portUse counts what the clients behind one port keep from all others without
// having a lease.
type portUse struct {
	offers, probes, declined int
}

// attach enters a binding everywhere it is looked for. What it says does
// not change until it is detached.
func (e *engine) attach(b *binding) {
	b.Place, b.kin, b.kinBefore = lease.NotQueued, nil, nil
	if b.vacant() {
		return
	}
	e.bindings[b.addr] = b
	e.pool.take(b.addr)
	if b.owned() {
		b.sibling = e.clients[b.key]
		e.clients[b.key] = b
		e.addKin(b)
	}
	if b.state == Active && b.name != "" {
		e.names[b.name] = b
	}
	if b.state == Declined {
		e.use(b.port).declined++
		e.setAside[b.mac]++
	}
	if o := b.offer; o != nil {
		e.offers[o.key] = b
		e.use(o.port).offers++
		if o.probing {
			e.use(o.port).probes++
			e.probing++
		}
		if b.state != Active {
			e.held++
		}
	}
	e.count[b.shown()]++
	e.enqueue(b)
}

// enqueue puts a binding where its next event is waited for. A lease that is over
// waits to be needed, unless its address is reserved or in no range any more.
func (e *engine) enqueue(b *binding) {
	due := b.expires
	switch {
	case b.state == Expired && b.offer == nil:
		if e.inRange(b.addr) {
			e.idle.Push(b, b.expires)
		}
		return
	case b.offer != nil && (b.state == Expired || b.state == Offered):
		due = b.offer.due
	case b.offer != nil:
		due = min(due, b.offer.due)
	}
	if due != lease.Forever {
		e.timers.Push(b, due)
	}
}

// detach is the inverse of attach.
func (e *engine) detach(b *binding) {
	if b.vacant() {
		return
	}
	delete(e.bindings, b.addr)
	if e.set.hostsByAddr[b.addr] == nil && !e.set.blocked(b.addr) {
		e.pool.give(b.addr)
	}
	if b.owned() {
		e.unchain(b)
		e.removeKin(b)
	}
	if e.names[b.name] == b {
		delete(e.names, b.name)
	}
	if b.state == Declined {
		e.use(b.port).declined--
		e.drop(b.port)
		e.setBack(b.mac)
	}
	if o := b.offer; o != nil {
		if e.offers[o.key] == b {
			delete(e.offers, o.key)
		}
		u := e.use(o.port)
		u.offers--
		if o.probing {
			u.probes--
			e.probing--
		}
		e.drop(o.port)
		if b.state != Active {
			e.held--
		}
	}
	e.count[b.shown()]--
	if b.Place == lease.NotQueued {
		return
	}
	if b.state == Expired && b.offer == nil {
		e.idle.Remove(b)
	} else {
		e.timers.Remove(b)
	}
}

// setBack counts one address less that is in quarantine because of a MAC address.
func (e *engine) setBack(mac frame.MAC) {
	if e.setAside[mac]--; e.setAside[mac] == 0 {
		delete(e.setAside, mac)
	}
}

// unchain takes a binding out of those of its client.
func (e *engine) unchain(b *binding) {
	if head := e.clients[b.key]; head == b {
		if b.sibling == nil {
			delete(e.clients, b.key)
		} else {
			e.clients[b.key] = b.sibling
		}
	} else {
		for head.sibling != b {
			head = head.sibling
		}
		head.sibling = b.sibling
	}
	b.sibling = nil
}

func (e *engine) use(port string) *portUse {
	u := e.ports[port]
	if u == nil {
		u = &portUse{}
		e.ports[port] = u
	}
	return u
}

// drop forgets a port that keeps nothing.
func (e *engine) drop(port string) {
	if *e.ports[port] == (portUse{}) {
		delete(e.ports, port)
	}
}
