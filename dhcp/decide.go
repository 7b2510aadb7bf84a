package dhcp

import (
	"log/slog"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/dhcp/lease"
)

// receive deals with one message.
func (e *engine) receive(now lease.Instant, m *message) {
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
func (e *engine) discover(now lease.Instant, c client, m *message, tries int) {
	a, ok := e.choose(c, m)
	if !ok {
		e.exhaust(now, m, "no address is free")
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
	if had && b.state == Active && b.expires-now.Mono > offerTime {
		e.propose(now, c, m, b)
		return
	}
	if !again && b.state != Active && e.full() {
		e.exhaust(now, m, "the maximum of leases is reached")
		return
	}
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

// exhaustedEvery is how often the log hears that there are no addresses. Guests
// can make a pool be full and not full as often as they like.
const exhaustedEvery = time.Minute

// exhaust tells the log once, until somebody gets an address again.
func (e *engine) exhaust(now lease.Instant, m *message, why string) {
	if !e.exhausted && now.Mono >= e.quiet {
		e.quiet = now.After(exhaustedEvery)
		e.exhausted = true
		e.note(slog.LevelWarn, "dhcp: a client gets no lease: "+why, "addresses", e.pool.Size(), "active", e.count[Active])
	}
	e.answered(m, outcomeExhausted)
}

// propose sends the offer, or the lease itself to who wants it so (RFC 4039). Not
// to one that has to give up another address for it: that waits until the client
// has said that it wants to, as the DISCOVER may be an old one.
func (e *engine) propose(now lease.Instant, c client, m *message, b *binding) {
	if m.rapid && (e.holds(c, b) || !e.elsewhere(c, b)) {
		e.grant(now, c, m, b)
		return
	}
	if !e.mayAnswer(now, m) {
		e.answered(m, outcomeLimited)
		return
	}
	name, _, _ := e.nameFor(now, c, m, b)
	e.reply(m, outcomeOffer, e.leaseReply(dhcpv4.MessageTypeOffer, c, m, b.addr, name), false)
}

// request tells apart the states that a client sends a DHCPREQUEST in (RFC 2131
// section 4.3.2, table 4).
func (e *engine) request(now lease.Instant, c client, m *message) {
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
func (e *engine) selected(now lease.Instant, c client, m *message) {
	b := e.bindings[m.requested]
	if b != nil && e.mayTake(c, b) && e.entitled(c, b.addr) {
		e.grant(now, c, m, b)
		return
	}
	e.refuse(now, m, "the address was not offered, or not any more")
}

// mayTake reports whether a client was offered an address and its probe is over,
// or has or had it, and nobody else is being offered it. One that has another
// address now did not ask just now for one that it had before: that message is
// an old one, and to grant it would end the lease that the client relies on.
func (e *engine) mayTake(c client, b *binding) bool {
	if b.offer != nil {
		return e.offeredTo(c, b) && !b.offer.probing
	}
	return e.had(c, b) && (b.state == Active || !e.elsewhere(c, b))
}

// renew is for clients that say they have an address: INIT-REBOOT (it is in
// option 50), RENEWING and REBINDING (in ciaddr).
func (e *engine) renew(now lease.Instant, c client, m *message, a ip4) {
	if !e.set.inSubnet(a) {
		e.refuse(now, m, "the address is not of this network")
		return
	}
	b := e.binding(a)
	may := e.mayTake(c, b)
	// A reservation is known also where its lease is not.
	may = may || b.vacant() && c.host != nil && e.set.hostsByAddr[a] == c.host && !e.elsewhere(c, b)
	switch {
	case may && e.entitled(c, a):
		e.grant(now, c, m, b)
	case may || e.had(c, b):
		e.refuse(now, m, "the address is not for this client any more")
	case m.client == 0 && e.knows(c):
		e.refuse(now, m, "the client has another address")
	case e.set.Authoritative:
		e.refuse(now, m, "the lease is not known")
	default:
		// It may be another server's (RFC 2131 section 4.3.2).
		e.answered(m, outcomeUnknown)
	}
}

// grant makes the lease and acknowledges it. The acknowledgement is sent when it
// is committed.
func (e *engine) grant(now lease.Instant, c client, m *message, b *binding) {
	if b.state != Active && !e.offeredTo(c, b) && e.full() {
		e.refuse(now, m, "the maximum of leases is reached")
		return
	}
	if !e.mayAnswer(now, m) {
		e.answered(m, outcomeLimited) // nothing is granted that the client does not hear of
		return
	}
	duration := e.set.duration(c, m)
	if e.holds(c, b) && !m.vouchesFor(b.mac, b.port) {
		e.extend(now, c, m, b, duration)
		return
	}
	renewal := e.holds(c, b)
	name, asked, why := e.nameFor(now, c, m, b)
	e.logGrant(now, c, m, b, name, why)
	e.touch(b)
	e.takeName(name, b)
	if other := e.offers[c.key]; other != nil && other != b {
		e.withdraw(other)
	}
	e.giveUp(now, c, m, b)
	e.edit(b, func(b *binding) {
		if !renewal {
			b.granted = now.Mono
		}
		b.state, b.key, b.mac, b.name, b.asked, b.port = Active, c.key, c.mac, name, asked, m.port
		b.expires, b.duration, b.offer = now.After(duration), duration, nil
	})
	e.exhausted = false
	e.reply(m, outcomeAck, e.leaseReply(dhcpv4.MessageTypeAck, c, m, b.addr, name), true)
}

// extend acknowledges a lease to who may not be its client: then the client loses
// nothing by it, neither its time nor its name, nor where it was heard.
func (e *engine) extend(now lease.Instant, c client, m *message, b *binding, duration time.Duration) {
	e.touch(b)
	e.edit(b, func(b *binding) {
		b.expires, b.offer = max(b.expires, now.After(duration)), nil
	})
	e.reply(m, outcomeAck, e.leaseReply(dhcpv4.MessageTypeAck, c, m, b.addr, b.name), true)
}

// knows reports whether a client has or had an address.
func (e *engine) knows(c client) (found bool) {
	e.each(c, func(*binding) { found = true })
	return found
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
func (e *engine) refuse(now lease.Instant, m *message, why string) {
	if m.relay == 0 && !e.sentFor(now, m.port).naks.Take(now.Mono, nakEvery, nakBurst) {
		e.answered(m, outcomeLimited)
		return
	}
	if e.tells(now, slog.LevelInfo) {
		mac, _ := m.ethernet()
		a := m.requested
		if m.client != 0 {
			a = m.client
		}
		e.note(slog.LevelInfo, "dhcp: client is refused: "+why, "address", a.addr(), "mac", mac, "port", m.port)
	}
	e.reply(m, outcomeNak, e.nak(m, why), false)
}

// decline sets an address aside that a client found in use (RFC 2131 section
// 4.3.3). Those behind one port can set aside as many as they can be offered;
// behind that, the client loses the address, and others may get it.
func (e *engine) decline(now lease.Instant, c client, m *message) {
	b := e.bindings[m.requested]
	if m.withServer && m.server != e.set.server {
		e.answered(m, outcomeOtherServer)
		return
	}
	if b == nil || !e.mayDecline(c, m, b) {
		e.answered(m, outcomeUnknown)
		return
	}
	e.part(now.Mono, b)
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
	if e.tells(now, slog.LevelWarn) {
		e.note(slog.LevelWarn, "dhcp: a client found its address in use", "address", b.addr.addr(), "mac", c.mac, "port", m.port)
	}
}

// mayDecline reports whether a message comes from the client that has an address,
// or is offered it.
func (e *engine) mayDecline(c client, m *message, b *binding) bool {
	if e.holds(c, b) {
		return m.isFrom(b.port)
	}
	return e.offeredTo(c, b) && m.isFrom(b.offer.port)
}

// release ends a lease (RFC 2131 section 4.3.4). The address stays that client's
// until it is needed.
func (e *engine) release(now lease.Instant, c client, m *message) {
	b := e.bindings[m.client]
	switch {
	case m.withServer && m.server != e.set.server:
		e.answered(m, outcomeOtherServer)
	case b == nil || !e.holds(c, b) || !m.isFrom(b.port) || toIP4(m.src) != m.client:
		e.answered(m, outcomeUnknown)
	default:
		if e.tells(now, slog.LevelInfo) {
			e.note(slog.LevelInfo, "dhcp: lease is released", "address", b.addr.addr(), "mac", c.mac, "name", b.name, "port", m.port)
		}
		e.finish(now, b)
		e.answered(m, outcomeReleased)
	}
}

// finish ends an active lease before its time.
func (e *engine) finish(now lease.Instant, b *binding) {
	e.edit(b, func(b *binding) { b.expires = now.Mono })
	e.end(now, b)
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
