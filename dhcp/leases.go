package dhcp

import (
	"net/netip"
	"slices"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// Lease is what a server knows about an address.
type Lease struct {
	Address  netip.Addr
	MAC      frame.MAC // of a declined address: who has it or found it in use
	ClientID []byte    // nil without
	Hostname string
	Granted  time.Time // zero where there was no grant
	Expires  time.Time // zero: never, or no lease
	State    State
	Kind     Kind
	Port     string // that the client was heard at last; empty after a restart
}

// Leases returns all leases, and all reservations of addresses that have none,
// sorted by address.
func (s *Server) Leases() []Lease {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, now := s.engine, s.read()
	leases := make([]Lease, 0, len(e.bindings)+len(e.set.hostsByAddr))
	for _, b := range e.bindings {
		leases = append(leases, e.lease(now, b))
	}
	for a, h := range e.set.hostsByAddr {
		if e.bindings[a] == nil {
			leases = append(leases, Lease{
				Address: h.Address, MAC: h.MAC, ClientID: slices.Clone(h.ClientID), Hostname: h.Name,
				State: Reserved, Kind: Static,
			})
		}
	}
	slices.SortFunc(leases, func(a, b Lease) int { return a.Address.Compare(b.Address) })
	return leases
}

func (e *engine) lease(now instant, b *binding) Lease {
	l := Lease{Address: b.addr.addr(), State: b.shown()}
	key, mac := b.key, b.mac
	if l.State == Offered {
		key, mac = b.offer.key, b.offer.mac
		l.Port, l.Expires = b.offer.port, now.wallAt(b.offer.due)
	} else {
		l.Hostname, l.Port = b.name, b.port
		l.Granted, l.Expires = now.wallAt(b.granted), now.wallAt(b.expires)
	}
	l.MAC, l.ClientID = mac, idOf(key)
	if h := e.set.hostsByAddr[b.addr]; h != nil && e.set.belongs(h, key, mac) {
		l.Kind = Static
	}
	return l
}

// belongs reports whether a reservation is for the client with that key and MAC
// address.
func (s *settings) belongs(h *Host, key string, mac frame.MAC) bool {
	return s.hostsByID[key] == h || h.MAC == mac && mac != frame.MAC{}
}

// Lookup finds the address of a host: of an active lease with that name, else of
// a reservation. The name is the host part in lower case.
func (s *Server) Lookup(name string) (netip.Addr, bool) {
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
