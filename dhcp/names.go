package dhcp

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// The header of option 81 (RFC 4702 section 2.1).
const (
	fqdnHeader  = 3 // flags and two codes without a meaning
	fqdnServer  = 0x01
	fqdnChanged = 0x02
	fqdnWire    = 0x04
	fqdnNone    = 0x08
)

// nameFor returns the name that a client's lease gets: that of its reservation,
// else the one that it asks for, else the one that this lease has. It is empty
// where that is no name, or somebody else's; why says so then.
func (e *engine) nameFor(now lease.Instant, c client, m *message, b *binding) (name, asked, why string) {
	asked = m.wishedName()
	said := len(m.fqdn) > 0 || len(m.hostname) > 0
	if !said && e.had(c, b) {
		asked = b.asked
	}
	if c.host != nil && c.host.Name != "" {
		other := e.names[c.host.Name]
		if other != nil && other != b && e.set.belongs(c.host, other.key, other.mac) && !m.vouchesFor(other.mac, other.port) {
			return "", asked, "its client was heard elsewhere"
		}
		return c.host.Name, asked, ""
	}
	name = asked
	if !said && e.had(c, b) && b.name != "" {
		name = b.name
	}
	switch {
	case name != "":
		why = e.refusal(now, c, m, name)
	case said:
		why = "it is no host name"
	}
	if why != "" {
		name = ""
	}
	return name, asked, why
}

// refusal says why a client may not take a name. It never takes one from
// another client, but takes it along when it moves to another address, and from
// another system behind the same MAC address.
func (e *engine) refusal(now lease.Instant, c client, m *message, name string) string {
	if lease.IsBanned(name) {
		return "programs trust it: it takes a reservation to have it"
	}
	if e.isReserved(name) {
		return "it is reserved"
	}
	if m.foreign && name == m.wishedName() {
		return "another client has it, by IPv6"
	}
	if b := e.names[name]; b != nil && !(c.succeeds(b.key, b.mac) && m.vouchesFor(b.mac, b.port)) {
		return "another client has it"
	}
	if p := e.partings.Keeper(now.Mono, name); p != nil && !(c.succeeds(p.Key, p.MAC) && m.vouchesFor(p.MAC, p.Port)) {
		return "another client had it a moment ago"
	}
	return ""
}

// succeeds reports whether a client may go on with the name of another identity:
// its own, or one with the same MAC address.
func (c client) succeeds(key string, mac frame.MAC) bool {
	return c.key == key || c.mac == mac && mac != frame.MAC{}
}

// regainNames gives leases the names back that they asked for, and that nobody
// keeps from them any more. The oldest lease comes first.
func (e *engine) regainNames(now lease.Instant) {
	var waiting []*binding
	for _, b := range e.bindings {
		if b.state == Active && b.name == "" && b.asked != "" {
			waiting = append(waiting, b)
		}
	}
	slices.SortFunc(waiting, func(a, b *binding) int {
		return cmp.Or(cmp.Compare(a.granted, b.granted), cmp.Compare(a.addr, b.addr))
	})
	for _, b := range waiting {
		p := e.partings.Keeper(now.Mono, b.asked)
		if lease.IsBanned(b.asked) || e.isReserved(b.asked) || e.names[b.asked] != nil || p != nil && !same(p.Key, p.MAC, b.key, b.mac) {
			continue
		}
		e.edit(b, func(b *binding) { b.name = b.asked })
		e.dirty[b.addr] = struct{}{}
	}
}

// isReserved reports whether a name belongs to the gateway, to a static DNS
// entry or to a reservation.
func (e *engine) isReserved(name string) bool {
	_, denied := e.set.denied[name]
	return denied || e.set.hostsByName[name] != nil
}

// takeName takes a name from the lease that has it, for that at b. It is one of
// the same machine, or the name is reserved now and was not then.
func (e *engine) takeName(name string, b *binding) {
	if other := e.names[name]; name != "" && other != nil && other != b {
		e.touch(other)
		e.edit(other, func(b *binding) { b.name = "" })
	}
}

// wishedName is the host part of what a client calls itself, in options 81 or 12.
func (m *message) wishedName() string {
	if len(m.fqdn) > fqdnHeader {
		return lease.HostPart(m.fqdn[fqdnHeader:], m.fqdn[0]&fqdnWire != 0)
	}
	return lease.HostPart(m.hostname, false)
}

// fqdnReply is what option 81 says in return: that the server has entered the
// name, or nothing.
func (e *engine) fqdnReply(m *message, name string) []byte {
	flags := m.fqdn[0] & fqdnWire
	if name == "" {
		return []byte{flags | fqdnNone, 255, 255}
	}
	flags |= fqdnServer
	if m.fqdn[0]&fqdnServer == 0 {
		flags |= fqdnChanged
	}
	out := []byte{flags, 255, 255}
	if flags&fqdnWire != 0 {
		return append(out, lease.FullName(name, e.set.Domain)...)
	}
	if e.set.Domain != "" {
		name += "." + e.set.Domain
	}
	return append(out, name...)
}

// lookup finds the address of a name: an active lease, else a reservation.
func (e *engine) lookup(name string) (netip.Addr, bool) {
	if b := e.names[name]; b != nil {
		return b.addr.addr(), true
	}
	if h := e.set.hostsByName[name]; h != nil && h.Address.IsValid() {
		return h.Address, true
	}
	return netip.Addr{}, false
}

// reverse is the inverse of lookup.
func (e *engine) reverse(addr netip.Addr) (string, bool) {
	a := toIP4(addr)
	if b := e.bindings[a]; b != nil && b.state == Active {
		return b.name, b.name != ""
	}
	if h := e.set.hostsByAddr[a]; h != nil && h.Name != "" && e.names[h.Name] == nil {
		return h.Name, true
	}
	return "", false
}

// holder returns the MAC address of who has a name, or had it a moment ago, or is to
// have it.
func (e *engine) holder(now lease.Instant, name string) (frame.MAC, bool) {
	if b := e.names[name]; b != nil {
		return b.mac, true
	}
	if h := e.set.hostsByName[name]; h != nil {
		return h.MAC, true
	}
	if p := e.partings.Keeper(now.Mono, name); p != nil {
		return p.MAC, true
	}
	return frame.MAC{}, false
}

// checkName takes away a name that a lease has no right to any more.
func (e *engine) checkName(b *binding) {
	if b.name == "" {
		return
	}
	h := e.set.hostsByName[b.name]
	_, denied := e.set.denied[b.name]
	mine := h != nil && e.set.belongs(h, b.key, b.mac)
	if !mine && (h != nil || denied || lease.IsBanned(b.name)) {
		if b.asked == "" {
			b.asked = b.name
		}
		b.name = ""
	}
}
