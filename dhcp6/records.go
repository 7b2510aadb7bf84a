package dhcp6

import (
	"cmp"
	"slices"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// graceTime is how long nobody else gets what a lease was of that is over. Lifetimes
// count from when a message arrives (RFC 8415 section 21.6), so a client has its lease
// longer than the server knows, by as long as the reply was on its way. One that takes
// longer is taken for lost. For a lease that ended while the server was away it counts
// from when the server is back, as it may be the clock that went forward.
const graceTime = 30 * time.Second

// record is a binding as it is stored. Duration covers what is left also where that
// is more than the last promise.
func (b *binding) record(now lease.Instant) dhcp.Record6 {
	r := dhcp.Record6{
		Prefix: b.prefix, MAC: b.mac, IAID: b.iaid, Via: b.via, Hostname: b.name,
		Granted: now.WallAt(b.granted), Expires: now.WallAt(b.expires),
		Duration: b.duration, State: b.state,
	}
	if b.key != "" {
		r.DUID = []byte(b.key)
	}
	switch {
	case b.expires == lease.Forever:
		r.Duration = dhcp.Infinite
	case b.state == dhcp.Active:
		r.Duration = max(b.duration, b.expires-now.Mono)
	}
	return r
}

// load enters what the store has. It is called once, on an engine that is empty.
func (e *engine) load(now lease.Instant, records []dhcp.Record6) {
	for i := range records {
		b := restore(now, &records[i])
		if b == nil || len(e.bindings) >= e.most && b.state == dhcp.Expired || e.bindings[b.prefix.Addr()] != nil {
			e.dirty[records[i].Prefix] = struct{}{}
			continue
		}
		e.settleName(b)
		if b.state == dhcp.Expired {
			e.part(b.expires, b)
		}
		e.attach(b)
	}
}

// restore makes a binding of a record; nil where the record says nothing that
// still matters. A lease lasts as long as the wall clock says, but never longer
// than it was granted for: a clock that went back gives nobody more.
func restore(now lease.Instant, r *dhcp.Record6) *binding {
	b := &binding{
		Ticket: lease.Ticket{Place: lease.NotQueued}, prefix: r.Prefix, state: r.State, key: string(r.DUID), iaid: r.IAID, mac: r.MAC,
		via: r.Via, name: r.Hostname, duration: r.Duration, expires: lease.Forever,
		granted: min(now.Mono, now.Mono+r.Granted.Sub(now.Wall)),
	}
	if !r.Expires.IsZero() {
		b.expires = now.After(min(r.Expires.Sub(now.Wall), r.Duration))
	}
	over := b.expires <= now.Mono
	switch {
	case !r.Prefix.IsValid() || !isUnicast6(r.Prefix.Addr()) || r.Prefix != r.Prefix.Masked():
		return nil
	case r.State == dhcp.Declined && !over && !b.delegates():
		b.key, b.name, b.expires = "", "", min(b.expires, now.After(quarantineTime))
		return b
	case !goodDUID(r.DUID) || b.delegates() && !r.Via.IsLinkLocalUnicast():
		return nil
	case r.State == dhcp.Active:
		b.expires = max(b.expires, now.Mono) // what it was of is kept from now on
		return b
	case r.State == dhcp.Expired:
		b.expires = min(b.expires, now.Mono)
		b.free = b.expires + graceTime
		return b
	}
	return nil
}

// rewrite has all times in the store written anew, after the clock was set.
func (e *engine) rewrite() {
	for _, b := range e.bindings {
		if b.state == dhcp.Active && b.expires != lease.Forever || b.state == dhcp.Declined {
			e.dirty[b.prefix] = struct{}{}
		}
	}
}

// configure has the engine go on with other settings. A lease that these do not allow
// stays its client's until it ends or is renewed: then the client gets another, and
// hears that this one is over.
func (e *engine) configure(now lease.Instant, set *settings, foreign map[string]frame.MAC) {
	all := make([]*binding, 0, len(e.bindings))
	for _, b := range e.bindings {
		all = append(all, b)
	}
	// The oldest first, so that it has the name that two have a right to.
	slices.SortFunc(all, func(a, b *binding) int {
		return cmp.Or(cmp.Compare(a.granted, b.granted), a.prefix.Addr().Compare(b.prefix.Addr()))
	})
	e.reset(set)
	for _, b := range all {
		name := b.name
		e.settleName(b)
		if b.name != name {
			e.dirty[b.prefix] = struct{}{}
		}
		e.attach(b)
	}
	e.regainNames(now, foreign)
}
