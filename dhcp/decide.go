package dhcp

import (
	"log/slog"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// receive deals with one message.
func (e *engine) receive(now instant, m *message) {
	c, ok := e.set.identify(m)
	switch {
	case !ok:
		e.answered(m, outcomeMalformed)
	case m.relay != 0 && !e.set.inSubnet(m.relay):
		// This network has one subnet, and a relay stands in the one that it
		// asks for (RFC 2131 section 4.3.1).
		e.answered(m, outcomeWrongSubnet)
	case c.host != nil && c.host.Ignore:
		e.answered(m, outcomeIgnored)
	case m.kind == dhcpv4.MessageTypeDiscover:
		e.discover(now, c, m, 0)
	case m.kind == dhcpv4.MessageTypeRequest:
		e.request(now, c, m)
	case m.kind == dhcpv4.MessageTypeDecline:
		e.decline(now, c, m)
	case m.kind == dhcpv4.MessageTypeRelease:
		e.release(now, c, m)
	case m.kind == dhcpv4.MessageTypeInform:
		e.inform(c, m)
	default:
		e.answered(m, outcomeIgnored)
	}
}

// discover offers an address (RFC 2131 section 4.3.1). It asks by ARP first
// whether somebody uses it, unless the client held it last.
func (e *engine) discover(now instant, c client, m *message, tries int) {
	a, ok := e.choose(c, m)
	if !ok {
		e.exhaust(m, "no address is free")
		return
	}
	b := e.binding(a)
	again := e.offeredTo(c, b)
	if again && b.offer.probing {
		b.offer.message = m // the client asked again meanwhile
		e.answered(m, outcomeProbing)
		return
	}
	had := e.had(c, b)
	if had && b.state == Active && b.expires-now.mono > offerTime {
		e.propose(now, c, m, b)
		return
	}
	if !again && b.state != Active && e.full() {
		e.exhaust(m, "the maximum of leases is reached")
		return
	}
	e.exhausted = false
	probing := e.set.Probe && !had && !again
	if !again && !e.mayOffer(m.port, probing) {
		e.answered(m, outcomeLimited)
		return
	}
	e.keep(now, b, &offer{key: c.key, mac: c.mac, port: m.port, probing: probing, tries: tries, message: m})
	if !probing {
		e.propose(now, c, m, b)
	}
}

// exhaust tells the log once, until somebody gets an address again.
func (e *engine) exhaust(m *message, why string) {
	if !e.exhausted {
		e.note(slog.LevelWarn, "dhcp: a client gets no lease: "+why, "addresses", e.pool.size, "active", e.count[Active])
	}
	e.exhausted = true
	e.answered(m, outcomeExhausted)
}

// propose sends the offer, or the lease itself to who wants it so (RFC 4039).
func (e *engine) propose(now instant, c client, m *message, b *binding) {
	if m.rapid {
		e.grant(now, c, m, b)
		return
	}
	e.reply(m, outcomeOffer, e.leaseReply(dhcpv4.MessageTypeOffer, c, m, b.addr, e.nameFor(c, m, b)), false)
}

// request tells apart the states that a client sends a DHCPREQUEST in (RFC 2131
// section 4.3.2, table 4).
func (e *engine) request(now instant, c client, m *message) {
	switch {
	case m.withServer && m.server != e.set.server:
		// SELECTING, and it selected another server.
		if b := e.offers[c.key]; b != nil {
			e.withdraw(b)
		}
		e.answered(m, outcomeOtherServer)
	case m.client != 0:
		e.renew(now, c, m, m.client)
	case m.requested == 0:
		e.answered(m, outcomeMalformed)
	case m.withServer:
		e.selected(now, c, m)
	default:
		e.renew(now, c, m, m.requested)
	}
}

// selected grants what the client was offered. It also does so to one that asks
// again because the answer was lost.
func (e *engine) selected(now instant, c client, m *message) {
	b := e.bindings[m.requested]
	if b != nil && e.mayTake(c, b) && e.entitled(c, b.addr) {
		e.grant(now, c, m, b)
		return
	}
	e.refuse(m, "the address was not offered, or not any more")
}

// mayTake reports whether a client was offered an address and its probe is over,
// or has or had it, and nobody else is being offered it.
func (e *engine) mayTake(c client, b *binding) bool {
	if b.offer != nil {
		return e.offeredTo(c, b) && !b.offer.probing
	}
	return e.had(c, b)
}

// renew is for clients that say they have an address: INIT-REBOOT (it is in
// option 50), RENEWING and REBINDING (in ciaddr).
func (e *engine) renew(now instant, c client, m *message, a ip4) {
	if !e.set.inSubnet(a) {
		e.refuse(m, "the address is not of this network")
		return
	}
	b := e.binding(a)
	may := e.mayTake(c, b)
	// A reservation is known also where its lease is not.
	may = may || b.vacant() && c.host != nil && e.set.hostsByAddr[a] == c.host
	switch {
	case may && e.entitled(c, a):
		e.grant(now, c, m, b)
	case may || e.had(c, b):
		e.refuse(m, "the address is not for this client any more")
	case e.clients[c.key] != nil && m.client == 0:
		e.refuse(m, "the client has another address")
	case e.set.Authoritative:
		e.refuse(m, "the lease is not known")
	default:
		// It may be another server's (RFC 2131 section 4.3.2).
		e.answered(m, outcomeUnknown)
	}
}

// grant makes the lease and acknowledges it. The acknowledgement is sent when it
// is committed.
func (e *engine) grant(now instant, c client, m *message, b *binding) {
	if b.state != Active && !e.offeredTo(c, b) && e.full() {
		e.refuse(m, "the maximum of leases is reached")
		return
	}
	name := e.nameFor(c, m, b)
	e.touch(b)
	e.takeName(name, b)
	if other := e.offers[c.key]; other != nil && other != b {
		e.withdraw(other)
	}
	duration := e.set.duration(c, m)
	e.edit(b, func(b *binding) {
		expires := now.after(duration)
		if e.holds(c, b) {
			// The client has the address for as long as it was promised before,
			// in case it never hears of the shorter time.
			expires = max(expires, b.expires)
		} else {
			b.granted = now.mono
		}
		b.state, b.key, b.mac, b.name, b.port = Active, c.key, c.mac, name, m.port
		b.expires, b.duration, b.offer = expires, duration, nil
	})
	e.exhausted = false
	e.reply(m, outcomeAck, e.leaseReply(dhcpv4.MessageTypeAck, c, m, b.addr, name), true)
}

// minLease is the shortest time that a client gets by asking for it.
const minLease = 2 * time.Minute

// duration is how long a client's lease is to be: what is configured, or less
// where it wants less.
func (s *settings) duration(c client, m *message) time.Duration {
	d := s.Lease
	if c.host != nil && c.host.Lease != 0 {
		d = c.host.Lease
	}
	if m.lease != 0 {
		d = min(d, max(m.lease, minLease))
	}
	return d
}

// refuse sends a DHCPNAK: the client is to begin anew.
func (e *engine) refuse(m *message, why string) {
	e.reply(m, outcomeNak, e.nak(m, why), false)
}

// decline sets an address aside that a client found in use (RFC 2131 section
// 4.3.3). Those behind one port can set aside as many as they can be offered;
// behind that, the client loses the address, and others may get it.
func (e *engine) decline(now instant, c client, m *message) {
	b := e.bindings[m.requested]
	if m.withServer && m.server != e.set.server {
		e.answered(m, outcomeOtherServer)
		return
	}
	if b == nil || !e.holds(c, b) && !e.offeredTo(c, b) {
		e.answered(m, outcomeUnknown)
		return
	}
	if b.offer != nil {
		e.withdraw(b)
	}
	if u := e.ports[m.port]; u != nil && u.declined >= e.share() {
		e.forget(b)
		e.answered(m, outcomeLimited)
		return
	}
	e.edit(b, func(b *binding) { b.quarantine(now, c.mac, m.port) })
	e.dirty[b.addr] = struct{}{}
	e.answered(m, outcomeDeclined)
	e.note(slog.LevelWarn, "dhcp: a client found its address in use", "address", b.addr.addr(), "mac", c.mac)
}

// release ends a lease (RFC 2131 section 4.3.4). The address stays that client's
// until it is needed.
func (e *engine) release(now instant, c client, m *message) {
	b := e.bindings[m.client]
	switch {
	case m.withServer && m.server != e.set.server:
		e.answered(m, outcomeOtherServer)
	case b == nil || !e.holds(c, b):
		e.answered(m, outcomeUnknown)
	default:
		e.finish(now, b)
		e.answered(m, outcomeReleased)
	}
}

// finish ends an active lease before its time.
func (e *engine) finish(now instant, b *binding) {
	e.edit(b, func(b *binding) { b.expires = now.mono })
	e.end(b)
	e.dirty[b.addr] = struct{}{}
}

// inform tells a client with an address of its own what it asks for (RFC 2131
// section 4.3.5).
func (e *engine) inform(c client, m *message) {
	if m.client == 0 && m.src.Is4() {
		m.client = toIP4(m.src) // some forget to fill it in
	}
	if !e.set.inSubnet(m.client) || e.set.blocked(m.client) {
		e.answered(m, outcomeWrongSubnet)
		return
	}
	e.reply(m, outcomeAck, e.informReply(c, m), false)
}
