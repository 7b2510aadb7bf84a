package dhcp6

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// The flags of option 39 (RFC 4704 section 4.1).
const (
	fqdnServer  = 0x01 // S: the server enters the address
	fqdnChanged = 0x02 // O: other than the client wants it
	fqdnNone    = 0x04 // N: the server enters nothing
)

// nameFor returns the name that a client's leases get: that of its reservation, else
// the one that it asks for, else the one that it has. It is empty where that is no
// name, or somebody else's; refused says why then.
func (e *engine) nameFor(now lease.Instant, c client, m *message) (name, asked, refused string) {
	asked = m.wishedName()
	said := len(m.fqdn) > 1
	if c.host != nil && c.host.Name != "" {
		for _, other := range e.names[c.host.Name] {
			if e.set.belongs(c.host, other.key, other.mac) && !m.vouchesFor(other.mac, other.port) {
				return "", asked, "its client was heard elsewhere"
			}
		}
		return c.host.Name, asked, ""
	}
	name = asked
	if !said {
		for _, b := range e.clients[c.key] {
			if b.state == dhcp.Active && cmp.Or(b.name, b.asked) != "" {
				asked, name = b.asked, cmp.Or(b.name, b.asked)
			}
		}
	}
	switch {
	case name != "":
		refused = e.refusal(now, c, m, name)
	case said:
		refused = "it is no host name"
	}
	if refused != "" {
		name = ""
	}
	return name, asked, refused
}

// refusal says why a client may not take a name. It never takes one from another
// client, but from another system behind the same MAC address.
func (e *engine) refusal(now lease.Instant, c client, m *message, name string) string {
	switch {
	case lease.IsBanned(name):
		return "programs trust it: it takes a reservation to have it"
	case e.isReserved(name):
		return "it is reserved"
	case m.foreign && name == m.wishedName():
		return "another client has it, by IPv4"
	}
	for _, b := range e.names[name] {
		if b.key != c.key && b.mac != c.mac || !m.vouchesFor(b.mac, b.port) {
			return "another client has it"
		}
	}
	if p := e.partings.Keeper(now.Mono, name); p != nil && (p.Key != c.key && p.MAC != c.mac || !m.vouchesFor(p.MAC, p.Port)) {
		return "another client had it a moment ago"
	}
	return ""
}

// isReserved reports whether a name belongs to the gateway, to a static DNS
// entry or to a reservation.
func (e *engine) isReserved(name string) bool {
	_, denied := e.set.denied[name]
	return denied || e.set.hostsByName[name] != nil
}

// takeName takes a name from the leases of other clients. They are of the same
// machine, or the name is reserved now and was not then.
func (e *engine) takeName(name, key string) {
	for _, other := range slices.Clone(e.names[name]) {
		if other.key != key {
			e.touch(other)
			e.edit(other, func(b *binding) { b.name = "" })
		}
	}
}

// told is the name that a client asked for, for the log, or what it sent in place of
// one.
func (m *message) told() string {
	if wished := m.wishedName(); wished != "" || len(m.fqdn) == 0 {
		return wished
	}
	raw := m.fqdn[1:]
	return string(raw[:min(len(raw), lease.MaxLabel)])
}

// fqdnReply is what option 39 says in return: that the server has entered the name,
// or nothing.
func (e *engine) fqdnReply(m *message, name string) []byte {
	if name == "" {
		return []byte{fqdnNone}
	}
	flags := byte(fqdnServer)
	if m.fqdn[0]&fqdnServer == 0 {
		flags |= fqdnChanged
	}
	return append([]byte{flags}, lease.FullName(name, e.set.Domain)...)
}

// settleName takes from a binding that is about to be attached a name that is none,
// or that it has no right to any more.
func (e *engine) settleName(b *binding) {
	if !lease.IsHostLabel(b.name) {
		b.name = ""
	}
	if b.name == "" {
		return
	}
	h := e.set.hostsByName[b.name]
	_, denied := e.set.denied[b.name]
	mine := h != nil && e.set.belongs(h, b.key, b.mac)
	stolen := slices.ContainsFunc(e.names[b.name], func(other *binding) bool { return other.key != b.key })
	if b.state == dhcp.Active && stolen || !mine && (h != nil || denied || lease.IsBanned(b.name)) {
		b.asked, b.name = cmp.Or(b.asked, b.name), ""
	}
}

// waiting returns the leases that asked for a name and have none, the oldest first.
func (e *engine) waiting() (all []*binding) {
	for _, b := range e.bindings {
		if b.state == dhcp.Active && b.name == "" && b.asked != "" {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b *binding) int {
		return cmp.Or(cmp.Compare(a.granted, b.granted), a.prefix.Addr().Compare(b.prefix.Addr()))
	})
	return all
}

// regainNames gives leases the names back that they asked for, and that nobody keeps
// from them any more; foreign are those of the other family's clients.
func (e *engine) regainNames(now lease.Instant, foreign map[string]frame.MAC) {
	for _, b := range e.waiting() {
		p := e.partings.Keeper(now.Mono, b.asked)
		mac, other := foreign[b.asked]
		another := func(x *binding) bool { return x.key != b.key }
		if lease.IsBanned(b.asked) || e.isReserved(b.asked) || slices.ContainsFunc(e.names[b.asked], another) ||
			p != nil && p.Key != b.key || other && mac != b.mac {
			continue
		}
		e.edit(b, func(b *binding) { b.name = b.asked })
		e.dirty[b.prefix] = struct{}{}
	}
}

// lookup finds the addresses of a name: those of active leases, else of a
// reservation.
func (e *engine) lookup(name string) (addrs []netip.Addr) {
	for _, b := range e.names[name] {
		if e.set.onLink(b.prefix.Addr()) {
			addrs = append(addrs, b.prefix.Addr())
		}
	}
	if h := e.set.hostsByName[name]; len(addrs) == 0 && h != nil && h.Address.IsValid() {
		addrs = append(addrs, h.Address)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

// reverse is the inverse of lookup.
func (e *engine) reverse(a netip.Addr) (string, bool) {
	if b := e.bindings[a]; b != nil && b.state == dhcp.Active {
		return b.name, b.named() && e.set.onLink(a)
	}
	if h := e.set.hostsByAddr[a]; h != nil && h.Name != "" && len(e.names[h.Name]) == 0 {
		return h.Name, true
	}
	return "", false
}

// holder returns the MAC address of who has a name, or had it a moment ago, or is to
// have it.
func (e *engine) holder(now lease.Instant, name string) (frame.MAC, bool) {
	if l := e.names[name]; len(l) > 0 {
		return l[0].mac, true
	}
	if h := e.set.hostsByName[name]; h != nil {
		return h.MAC, true
	}
	if p := e.partings.Keeper(now.Mono, name); p != nil {
		return p.MAC, true
	}
	return frame.MAC{}, false
}
