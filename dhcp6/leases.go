package dhcp6

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// Lease is what a server knows about an address or a delegated prefix.
type Lease struct {
	Prefix   netip.Prefix // of 128 bits: an address; not valid: a reservation of a name only
	DUID     []byte       // nil in quarantine
	IAID     uint32
	MAC      frame.MAC // of a declined address: who found it in use
	Hostname string
	Granted  time.Time // zero where there was no grant
	Expires  time.Time // zero: never, or no lease
	State    dhcp.State
	Kind     dhcp.Kind
	Source   string // of a reservation: dhcp.SourceConfig; empty without
	Port     string // that the client was heard at last; empty after a restart
}

// Leases returns all leases, and all reservations whose client does not have what
// is reserved, sorted by prefix; those of a name only come last. A lease whose subnet
// is gone is none of them until that comes back.
func (s *Server) Leases() []Lease {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, now := s.engine, s.read()
	leases := make([]Lease, 0, len(e.bindings)+len(e.set.Hosts))
	for _, b := range e.bindings {
		if !e.away(b) {
			leases = append(leases, e.lease(now, b))
		}
	}
	for i := range e.set.Hosts {
		if h := &e.set.Hosts[i]; !e.fulfilled(h) {
			l := Lease{MAC: h.MAC, DUID: slices.Clone(h.DUID), Hostname: h.Name, State: dhcp.Reserved, Kind: dhcp.Static, Source: dhcp.SourceConfig}
			if h.Address.IsValid() {
				l.Prefix = netip.PrefixFrom(h.Address, 128)
			}
			leases = append(leases, l)
		}
	}
	slices.SortFunc(leases, func(a, b Lease) int {
		if a.Prefix.IsValid() != b.Prefix.IsValid() {
			return -a.Prefix.Addr().Compare(b.Prefix.Addr())
		}
		return cmp.Or(comparePrefixes(a.Prefix, b.Prefix), cmp.Compare(a.State, b.State), bytes.Compare(a.MAC[:], b.MAC[:]), bytes.Compare(a.DUID, b.DUID))
	})
	return leases
}

// fulfilled reports whether the client of a reservation has what is reserved, or
// had it last. Its lease stands for it then.
func (e *engine) fulfilled(h *Host) bool {
	if h.Address.IsValid() {
		b := e.bindings[h.Address]
		return b != nil && e.set.belongs(h, b.key, b.mac)
	}
	if h.Name != "" {
		return slices.ContainsFunc(e.names[h.Name], func(b *binding) bool { return !e.away(b) && e.set.belongs(h, b.key, b.mac) })
	}
	return slices.ContainsFunc(e.clients[string(h.DUID)], func(b *binding) bool { return b.state == dhcp.Active && !e.away(b) })
}

// away reports whether a lease is of an address in no subnet that there is now. One of
// a prefix that is not delegated any more still leads to its client.
func (e *engine) away(b *binding) bool {
	_, stray := e.strays[b]
	return stray && !b.delegates()
}

func (e *engine) lease(now lease.Instant, b *binding) Lease {
	l := Lease{
		Prefix: b.prefix, IAID: b.iaid, MAC: b.mac, Hostname: b.name, State: b.state, Port: b.port,
		Granted: now.WallAt(b.granted), Expires: now.WallAt(b.expires),
	}
	if b.key == "" {
		return l
	}
	l.DUID = []byte(b.key)
	h := e.set.hostsByAddr[b.prefix.Addr()]
	if h == nil && b.state == dhcp.Active && !b.delegates() {
		h = e.set.identify(&message{duid: l.DUID, mac: b.mac}).host
		if h != nil && h.Address.IsValid() {
			h = nil // it has another address for the time being
		}
	}
	if e.set.belongs(h, b.key, b.mac) {
		l.Kind, l.Source = dhcp.Static, dhcp.SourceConfig
	}
	return l
}

// Lookup finds the addresses of a host: of active leases with that name, else of a
// reservation. The name is the host part in lower case.
func (s *Server) Lookup(name string) []netip.Addr {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.lookup(name)
}

// Reverse is the inverse of Lookup.
func (s *Server) Reverse(addr netip.Addr) (name string, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.reverse(addr)
}

// Holder returns the MAC address of the machine that has a name, or had it a moment
// ago, or that it is reserved for; zero where that is known by its DUID only. It is for
// the Env.Holder of the other family's server.
func (s *Server) Holder(name string) (frame.MAC, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.holder(s.read(), name)
}
