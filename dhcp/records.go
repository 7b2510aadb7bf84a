package dhcp

import (
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// record is a binding as it is stored. Duration covers what is left also where
// that is more than the last promise.
func (b *binding) record(now lease.Instant) Record {
	r := Record{
		Address: b.addr.addr(), MAC: b.mac, ClientID: idOf(b.key), Hostname: b.name,
		Granted: now.WallAt(b.granted), Expires: now.WallAt(b.expires),
		Duration: b.duration, State: b.state,
	}
	switch {
	case b.expires == lease.Forever:
		r.Duration = Infinite
	case b.state == Active:
		r.Duration = max(b.duration, b.expires-now.Mono)
	}
	return r
}

// load enters what the store has. It is called once, on an engine that is empty.
func (e *engine) load(now lease.Instant, records []Record) {
	for i := range records {
		b := restore(now, &records[i])
		if b == nil || e.bindings[b.addr] != nil || b.state == Expired && !e.useful(b.addr) {
			e.dirty[toIP4(records[i].Address)] = struct{}{}
			continue
		}
		if !e.set.inSubnet(b.addr) {
			over := !records[i].Expires.IsZero() && !records[i].Expires.After(now.Wall)
			if !e.keepAway(b, !over) {
				e.dirty[b.addr] = struct{}{}
			}
			continue
		}
		e.settleName(b)
		if b.state == Expired {
			e.part(b.expires, b)
		}
		e.attach(b)
	}
	delete(e.dirty, 0)
}

// graceTime is how long a lease lasts that ended while the server was away. What
// the server sent before may still be on its way, and if it was the clock that
// went forward, a client is about to use an address of which nobody says yet, by
// ARP, that it has it. A message that takes longer is taken for lost.
const graceTime = 30 * time.Second

// restore makes a binding of a record; nil where the record says nothing that
// still matters. A lease lasts as long as the wall clock says, but never longer
// than it was granted for: a clock that went back gives nobody more.
func restore(now lease.Instant, r *Record) *binding {
	b := &binding{
		addr: toIP4(r.Address), Ticket: lease.Ticket{Place: lease.NotQueued}, state: r.State, mac: r.MAC, name: r.Hostname,
		duration: r.Duration, expires: lease.Forever,
		granted: min(now.Mono, now.Mono+r.Granted.Sub(now.Wall)),
	}
	if !r.Expires.IsZero() {
		b.expires = now.After(min(r.Expires.Sub(now.Wall), r.Duration))
	}
	switch {
	case r.ClientID != nil:
		b.key = keyOfID(r.ClientID)
	case r.MAC != (frame.MAC{}):
		b.key = keyOfMAC(r.MAC)
	}
	over := b.expires <= now.Mono
	switch {
	case b.addr == 0:
		return nil
	case r.State == Declined && !over:
		b.key, b.name, b.expires = "", "", min(b.expires, now.After(quarantineTime))
		return b
	case b.key == "":
		return nil
	case r.State == Active:
		if over {
			b.expires = now.After(graceTime)
		}
		return b
	case r.State == Expired:
		b.expires = min(b.expires, now.Mono)
		return b
	}
	return nil
}

// settleName takes from a binding that is about to be attached a name that is
// none, or that is another's by now.
func (e *engine) settleName(b *binding) {
	if !lease.IsHostLabel(b.name) || b.state == Active && e.names[b.name] != nil {
		b.name = ""
	}
	e.checkName(b)
}

// rewrite has all times in the store written anew, after the clock was set.
func (e *engine) rewrite() {
	for a, b := range e.bindings {
		if b.state == Active && b.expires != lease.Forever || b.state == Declined {
			e.dirty[a] = struct{}{}
		}
	}
	for a, b := range e.away {
		if b.expires != lease.Forever {
			e.dirty[a] = struct{}{}
		}
	}
}

// keepAway puts a lease aside whose address is not of the subnet that there is
// now: it counts for nothing, unless that comes back.
func (e *engine) keepAway(b *binding, lasts bool) bool {
	if b.state != Active || !lasts {
		return false
	}
	b.offer = nil
	e.away[b.addr] = b
	return true
}

// configure has the engine go on with other settings.
func (e *engine) configure(now lease.Instant, set *settings) {
	all := make([]*binding, 0, len(e.bindings)+len(e.away))
	for _, b := range e.bindings {
		all = append(all, b)
	}
	for _, b := range e.away {
		all = append(all, b)
	}
	clear(e.away)
	e.reset(set)
	for _, b := range all {
		b.sibling = nil
		if !set.inSubnet(b.addr) {
			if !e.keepAway(b, b.expires > now.Mono) {
				e.dirty[b.addr] = struct{}{}
			}
			continue
		}
		if b.offer != nil && !e.stillOffered(b.offer, b.addr) {
			b.offer = nil
		}
		if b.state == Expired && b.offer == nil && !e.useful(b.addr) {
			e.dirty[b.addr] = struct{}{}
			continue
		}
		name := b.name
		e.settleName(b)
		if b.name != name {
			e.dirty[b.addr] = struct{}{}
		}
		e.attach(b)
	}
	e.regainNames(now)
}

// stillOffered reports whether an offer may stand under new settings: that of a
// reserved address to its client, or that of another to who has no reservation.
func (e *engine) stillOffered(o *offer, a ip4) bool {
	h := e.set.hostsByAddr[a]
	return h != nil && e.set.belongs(h, o.key, o.mac) || e.inRange(a)
}
