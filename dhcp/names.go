package dhcp

import (
	"bytes"
	"net/netip"
	"strings"
)

// banned are names that programs look for without being asked to, and trust. Who
// answers to one of them gets the traffic of the others; it takes a reservation
// to have it.
var banned = map[string]struct{}{"localhost": {}, "wpad": {}, "isatap": {}}

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
// where that is no name, or somebody else's.
func (e *engine) nameFor(c client, m *message, b *binding) string {
	if c.host != nil && c.host.Name != "" {
		return c.host.Name
	}
	name := m.wishedName()
	if name == "" && e.had(c, b) && len(m.fqdn) == 0 && len(m.hostname) == 0 {
		name = b.name
	}
	if name == "" || !e.mayHave(c, name) {
		return ""
	}
	return name
}

// mayHave reports whether a client may take a name. It never takes one from
// another client, but takes it along when it moves to another address.
func (e *engine) mayHave(c client, name string) bool {
	if _, ok := banned[name]; ok || e.isReserved(name) {
		return false
	}
	other := e.names[name]
	return other == nil || e.had(c, other)
}

// isReserved reports whether a name belongs to the gateway, to a static DNS
// entry or to a reservation.
func (e *engine) isReserved(name string) bool {
	_, denied := e.set.denied[name]
	return denied || e.set.hostsByName[name] != nil
}

// takeName takes a name from the lease that has it, for that at b. Only a
// reservation can take one from another client, and then the other one had it
// before the reservation came.
func (e *engine) takeName(name string, b *binding) {
	if other := e.names[name]; name != "" && other != nil && other != b {
		e.touch(other)
		e.edit(other, func(b *binding) { b.name = "" })
	}
}

// wishedName is the host part of what a client calls itself, in options 81 or 12.
func (m *message) wishedName() string {
	raw := m.hostname
	if len(m.fqdn) > fqdnHeader {
		raw = m.fqdn[fqdnHeader:]
		if m.fqdn[0]&fqdnWire != 0 {
			if n := int(raw[0]); n < len(raw) {
				raw = raw[1 : 1+n]
			}
		}
	}
	raw = bytes.TrimRight(raw, "\x00")
	label, _, _ := bytes.Cut(raw, []byte("."))
	if len(label) > 63 {
		return ""
	}
	if name := strings.ToLower(string(label)); isHostLabel(name) {
		return name
	}
	return ""
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
	full := name
	if e.set.Domain != "" {
		full += "." + e.set.Domain
	}
	out := []byte{flags, 255, 255}
	if flags&fqdnWire == 0 {
		return append(out, full...)
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(full, "."), ".") {
		out = append(append(out, byte(len(label))), label...)
	}
	return append(out, 0)
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

// checkName takes away a name that a lease has no right to any more.
func (e *engine) checkName(b *binding) {
	if b.name == "" {
		return
	}
	h := e.set.hostsByName[b.name]
	_, denied := e.set.denied[b.name]
	_, ban := banned[b.name]
	mine := h != nil && e.set.belongs(h, b.key, b.mac)
	if !mine && (h != nil || denied || ban) {
		b.name = ""
	}
}
