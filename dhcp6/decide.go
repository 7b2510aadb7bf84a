package dhcp6

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// receive deals with one message.
func (e *engine) receive(now lease.Instant, m *message) {
	e.serial++
	if outcome := e.set.discard(m); outcome != "" {
		e.answered(m, outcome)
		return
	}
	c := e.set.identify(m)
	if c.host != nil && c.host.Ignore {
		e.answered(m, outcomeIgnored)
		return
	}
	if !m.multicast {
		// Nobody was told that it may be done so (RFC 8415 section 18.4).
		e.reply(m, outcomeMulticast, e.statusReply(m, dhcpStatusUseMulticast, "send to all DHCP servers"), false)
		return
	}
	switch m.kind {
	case dhcpv6.MessageTypeSolicit:
		e.solicit(now, c, m)
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		e.request(now, c, m)
	case dhcpv6.MessageTypeConfirm:
		e.confirm(m)
	case dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		e.giveBack(now, c, m)
	case dhcpv6.MessageTypeInformationRequest:
		e.reply(m, outcomeReply, e.informationReply(m), false)
	}
}

// discard says why a message is not dealt with (RFC 8415 section 16); empty where
// it is.
func (s *settings) discard(m *message) string {
	serverNeeded, unicast := false, false
	switch m.kind {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRebind:
		if m.server != nil {
			return outcomeMalformed
		}
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		serverNeeded, unicast = true, true
	case dhcpv6.MessageTypeInformationRequest:
		if len(m.ias) > 0 {
			return outcomeMalformed
		}
	default:
		return outcomeIgnored
	}
	switch {
	case m.duid == nil && m.kind != dhcpv6.MessageTypeInformationRequest, m.server == nil && serverNeeded:
		return outcomeMalformed
	case m.server != nil && !bytes.Equal(m.server, s.duid):
		return outcomeOtherServer
	case !m.multicast && !unicast:
		return outcomeMalformed
	case !m.src.IsLinkLocalUnicast() && (m.multicast || !s.onLink(m.src)):
		// Answers go to where a message comes from, and prefixes are routed there.
		return outcomeWrongSource
	}
	return ""
}

// solicit says what the client would get, or gives it that at once where it wants it
// so (RFC 8415 section 18.3.1).
func (e *engine) solicit(now lease.Instant, c client, m *message) {
	if len(m.ias) == 0 {
		e.answered(m, outcomeMalformed)
		return
	}
	n := len(e.journal)
	rapid := m.rapid && e.set.Rapid
	e.trying = !rapid
	r := e.assign(now, c, m)
	if rapid && r.given > 0 {
		e.reply(m, outcomeReply, e.leaseReply(m, dhcpv6.MessageTypeReply, &r), true)
		return
	}
	e.undo(n)
	e.trying = false
	reply := e.leaseReply(m, dhcpv6.MessageTypeAdvertise, &r)
	if r.given == 0 {
		e.exhaust(now, m, r.why, reply)
		return
	}
	e.reply(m, outcomeAdvertise, reply, false)
}

// exhaustedEvery is how often the log hears that there are no addresses. Guests
// can make a pool be full and not full as often as they like.
const exhaustedEvery = time.Minute

// exhaust tells a client that it gets nothing, and the log once, until somebody gets
// something again.
func (e *engine) exhaust(now lease.Instant, m *message, why string, reply Reply) {
	if why != "" && !e.exhausted && now.Mono >= e.quiet {
		e.quiet = now.After(exhaustedEvery)
		e.exhausted = true
		e.note(slog.LevelWarn, "dhcp6: a client gets no lease: "+why, "mac", m.mac, "port", m.port, "active", e.count[dhcp.Active])
	}
	e.reply(m, outcomeExhausted, reply, false)
}

// request is for clients that want leases, or go on with them (RFC 8415 sections
// 18.3.2, 18.3.4 and 18.3.5).
func (e *engine) request(now lease.Instant, c client, m *message) {
	if len(m.ias) == 0 {
		e.answered(m, outcomeMalformed)
		return
	}
	r := e.assign(now, c, m)
	reply := e.leaseReply(m, dhcpv6.MessageTypeReply, &r)
	switch {
	case r.given > 0:
		e.reply(m, outcomeReply, reply, true)
	case r.why != "":
		e.exhaust(now, m, r.why, reply)
	default:
		e.reply(m, outcomeNothing, reply, false)
	}
}

// assign deals with all identity associations of a message.
func (e *engine) assign(now lease.Instant, c client, m *message) (r result) {
	r.name, r.asked, r.refused = e.nameFor(now, c, m)
	r.duration = e.set.duration(c)
	for i := range m.ias {
		a := &m.ias[i]
		switch {
		case a.kind == optIATA:
			r.add(a, dhcpStatusNoAddrs, "no temporary addresses here")
		case m.kind == dhcpv6.MessageTypeRequest && e.offLink(a):
			r.add(a, dhcpStatusNotOnLink, "not of this link")
		case m.kind == dhcpv6.MessageTypeRenew && len(e.leases(c, a)) == 0:
			r.add(a, dhcpStatusNoBinding, "no lease is known")
		case m.kind == dhcpv6.MessageTypeRebind && len(e.leases(c, a)) == 0 && !e.known(now, c, m, a):
			r.zero(a)
		default:
			e.assignOne(now, c, m, a, &r)
		}
	}
	return r
}

// offLink reports whether a client has an address that is none of the network. Of
// prefixes nothing can be said, as they are for other links.
func (e *engine) offLink(a *ia) bool {
	return !a.delegates() && slices.ContainsFunc(a.claims, func(p netip.Prefix) bool { return !e.set.onLink(p.Addr()) })
}

// known reports whether a client that has lost its server may go on with what it
// says it has, although no lease is known of it: nobody else has it. To begin anew it
// needs another message.
func (e *engine) known(now lease.Instant, c client, m *message, a *ia) bool {
	p, ok := e.reserved(now, c, m, a)
	if ok {
		return a.claimed(p)
	}
	for _, pool := range e.poolsFor(a) {
		for _, x := range a.claims {
			if got, ok := e.claim(pool, a, x); ok && got == x {
				return true
			}
		}
	}
	return false
}

// assignOne gives an identity association its lease.
func (e *engine) assignOne(now lease.Instant, c client, m *message, a *ia, r *result) {
	x, ok := e.choose(now, c, m, a)
	if !ok {
		r.why = "nothing is free, or too much is behind its port"
		switch goesOn := m.kind == dhcpv6.MessageTypeRenew || m.kind == dhcpv6.MessageTypeRebind; {
		case goesOn:
			r.zero(a)
		case a.delegates():
			r.add(a, dhcpStatusNoPrefix, "no prefix is free")
		default:
			r.add(a, dhcpStatusNoAddrs, "no address is free")
		}
		return
	}
	e.give(now, c, m, a, x, r)
	r.lease(m, a, x)
}

// give makes the lease. The reply is sent when it is committed.
func (e *engine) give(now lease.Instant, c client, m *message, a *ia, x netip.Prefix, r *result) {
	b := e.binding(x)
	own := b.of(c.key, a)
	renewal := own && b.state == dhcp.Active
	until := now.After(r.duration)
	e.touch(b)
	if renewal && !m.vouchesFor(b.mac, b.port) {
		// Who may not be its client loses it nothing: neither time nor name, nor where
		// it was heard.
		e.edit(b, func(b *binding) { b.expires = max(b.expires, until) })
		return
	}
	e.logGive(now, c, m, b, x, renewal, r)
	e.takeName(r.name, c.key)
	e.edit(b, func(b *binding) {
		was := *b
		*b = binding{
			Ticket: b.Ticket, saved: b.saved, prefix: x, state: dhcp.Active, key: c.key, iaid: a.iaid, mac: m.mac, port: m.port,
			name: r.name, asked: r.asked, granted: now.Mono, expires: until, duration: r.duration,
		}
		if renewal {
			b.granted = was.granted
		}
		if was.state == dhcp.Active {
			// The reply to this may be lost, and the client believe the one before.
			b.expires = max(was.expires, until)
		}
		if a.delegates() {
			b.via = m.src
		}
	})
	for _, other := range e.leases(c, a) {
		if other != b && other.name != "" {
			e.touch(other)
			e.edit(other, func(b *binding) { b.name = "" })
		}
	}
	if !e.trying {
		e.exhausted = false
	}
}

// duration is how long a client's lease is to be.
func (s *settings) duration(c client) time.Duration {
	if c.host != nil && c.host.Lease != 0 {
		return c.host.Lease
	}
	return s.Lease
}

// confirm says whether the addresses of a client that has moved fit this link (RFC
// 8415 section 18.3.3).
func (e *engine) confirm(m *message) {
	addresses, good := 0, true
	for i := range m.ias {
		if a := &m.ias[i]; !a.delegates() {
			addresses += len(a.claims)
			good = good && !e.offLink(a)
		}
	}
	switch {
	case addresses == 0:
		e.answered(m, outcomeUnknown)
	case good:
		e.reply(m, outcomeReply, e.statusReply(m, dhcpStatusSuccess, ""), false)
	default:
		e.reply(m, outcomeNotOnLink, e.statusReply(m, dhcpStatusNotOnLink, "not of this link"), false)
	}
}

// giveBack ends leases: the client needs them no more, or found their addresses in
// use (RFC 8415 sections 18.3.7 and 18.3.8). A prefix is in use by nobody.
func (e *engine) giveBack(now lease.Instant, c client, m *message) {
	declines, outcome := m.kind == dhcpv6.MessageTypeDecline, outcomeUnknown
	var r result
	for i := range m.ias {
		a, found := &m.ias[i], false
		for _, b := range e.leases(c, a) {
			if b.state != dhcp.Active || !a.claimed(b.prefix) || declines && a.delegates() || !m.isFrom(b.mac, b.port) {
				continue
			}
			found = true
			if declines {
				outcome = e.decline(now, m, b)
				continue
			}
			outcome = outcomeReleased
			if e.tells(now, slog.LevelInfo) {
				e.note(slog.LevelInfo, "dhcp6: lease is released", "address", shown(b.prefix), "mac", c.mac, "name", b.name, "port", m.port)
			}
			e.finish(now, b)
		}
		if !found {
			r.add(a, dhcpStatusNoBinding, "no lease is known")
		}
	}
	e.reply(m, outcome, e.statusReply(m, dhcpStatusSuccess, "", r.options...), false)
}

// finish ends an active lease before its time.
func (e *engine) finish(now lease.Instant, b *binding) {
	e.edit(b, func(b *binding) { b.expires = now.Mono })
	e.end(now, b, now.Mono)
}

// decline sets an address aside. Those behind one port can set aside as many as
// their share; behind that, the client loses the address, and others may get it.
func (e *engine) decline(now lease.Instant, m *message, b *binding) string {
	e.part(now.Mono, b)
	if u := e.ports[m.port]; u != nil && u.declined >= share(e.capacity(0)) {
		e.forget(b)
		return outcomeLimited
	}
	e.edit(b, func(b *binding) {
		*b = binding{
			Ticket: b.Ticket, saved: b.saved, prefix: b.prefix, state: dhcp.Declined, mac: m.mac, port: m.port,
			granted: now.Mono, expires: now.After(quarantineTime), duration: quarantineTime,
		}
	})
	e.dirty[b.prefix] = struct{}{}
	if e.tells(now, slog.LevelWarn) {
		e.note(slog.LevelWarn, "dhcp6: a client found its address in use", "address", shown(b.prefix), "mac", m.mac, "port", m.port)
	}
	return outcomeDeclined
}

// answered counts a message that gets no answer.
func (e *engine) answered(m *message, outcome string) {
	e.answers = append(e.answers, answer{key: dhcp.MessageKey{Type: typeName(m.kind), Outcome: outcome}})
}

// reply sends an answer; a durable one when the journal is committed.
func (e *engine) reply(m *message, outcome string, r Reply, durable bool) {
	e.answers = append(e.answers, answer{Reply: r, key: dhcp.MessageKey{Type: typeName(m.kind), Outcome: outcome}, send: true, durable: durable})
}

// quarantineTime is how long nobody gets an address that was found in use.
const quarantineTime = 10 * time.Minute

// logGive tells of a lease that is about to be given, and of what the client does not
// get. A renewal is worth a line to who looks for one only.
func (e *engine) logGive(now lease.Instant, c client, m *message, b *binding, x netip.Prefix, renewal bool, r *result) {
	level, text := slog.LevelInfo, "dhcp6: lease is given"
	if renewal {
		level, text = slog.LevelDebug, "dhcp6: lease is renewed"
	}
	if e.tells(now, level) {
		e.noteOfLease(level, text, "address", shown(x), "mac", c.mac, "name", r.name, "lease", leaseTime(r.duration), "port", m.port)
	}
	if r.refused != "" && !(renewal && b.name == "" && b.asked == r.asked) && e.tells(now, slog.LevelInfo) {
		e.noteOfLease(slog.LevelInfo, "dhcp6: the client does not get its name: "+r.refused, "name", m.told(), "address", shown(x), "mac", c.mac)
	}
	if renewal || c.host == nil || !c.host.Address.IsValid() || x.Bits() != 128 || c.host.Address == x.Addr() {
		return
	}
	if holder := e.bindings[c.host.Address]; holder != nil && e.tells(now, slog.LevelWarn) {
		e.noteOfLease(slog.LevelWarn, "dhcp6: the client does not get its reserved address: it is not free", "reserved", c.host.Address,
			"mac", c.mac, "address", shown(x), "holder", holder.mac, "state", holder.state)
	}
}

// leaseTime is a duration for the log.
func leaseTime(d time.Duration) string {
	if d == dhcp.Infinite {
		return "infinite"
	}
	return d.String()
}
