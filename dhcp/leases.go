package dhcp

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
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
	Source   string // of a reservation: SourceConfig or SourceFile; empty without
	Port     string // that the client was heard at last; empty after a restart
}

// Where a reservation is written.
const (
	SourceConfig = "config" // Config.Hosts
	SourceFile   = "file"   // Config.HostsFile
)

// Leases returns all leases, and all reservations whose client does not have what
// is reserved, sorted by address; those of a name only come last.
func (s *Server) Leases() []Lease {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, now := s.engine, s.read()
	leases := make([]Lease, 0, len(e.bindings)+len(e.set.hosts))
	for _, b := range e.bindings {
		leases = append(leases, e.lease(now, b))
	}
	for _, h := range e.set.hosts {
		if !e.fulfilled(h) {
			leases = append(leases, Lease{
				Address: h.Address, MAC: h.MAC, ClientID: slices.Clone(h.ClientID), Hostname: h.Name,
				State: Reserved, Kind: Static, Source: e.set.source(h),
			})
		}
	}
	slices.SortFunc(leases, func(a, b Lease) int {
		if a.Address.IsValid() != b.Address.IsValid() {
			return -a.Address.Compare(b.Address)
		}
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.State, b.State), bytes.Compare(a.MAC[:], b.MAC[:]), bytes.Compare(a.ClientID, b.ClientID))
	})
	return leases
}

// fulfilled reports whether the client of a reservation has what is reserved, or
// had it last. Its lease stands for it then.
func (e *engine) fulfilled(h *Host) (yes bool) {
	if h.Address.IsValid() {
		b := e.bindings[toIP4(h.Address)]
		if b == nil {
			return false
		}
		key, mac := b.user()
		return e.set.belongs(h, key, mac)
	}
	mine := func(b *binding) { yes = yes || b.state == Active && e.set.reservation(b.key, b.mac) == h }
	e.each(client{key: keyOfMAC(h.MAC), mac: h.MAC}, mine)
	if len(h.ClientID) > 0 {
		e.each(client{key: keyOfID(h.ClientID)}, mine)
	}
	return yes
}

// user is who has an address, or is offered it.
func (b *binding) user() (key string, mac frame.MAC) {
	if b.shown() == Offered {
		return b.offer.key, b.offer.mac
	}
	return b.key, b.mac
}

func (e *engine) lease(now lease.Instant, b *binding) Lease {
	l := Lease{Address: b.addr.addr(), State: b.shown()}
	key, mac := b.user()
	if l.State == Offered {
		l.Port, l.Expires = b.offer.port, now.WallAt(b.offer.due)
	} else {
		l.Hostname, l.Port = b.name, b.port
		l.Granted, l.Expires = now.WallAt(b.granted), now.WallAt(b.expires)
	}
	l.MAC, l.ClientID = mac, idOf(key)
	h := e.set.hostsByAddr[b.addr]
	if h == nil && l.State == Active {
		h = e.set.reservation(key, mac) // of a name only
	}
	if h != nil && e.set.belongs(h, key, mac) && (h.Address.IsValid() == (e.set.hostsByAddr[b.addr] == h)) {
		l.Kind, l.Source = Static, e.set.source(h)
	}
	return l
}

// reservation returns that of a client, nil without one.
func (s *settings) reservation(key string, mac frame.MAC) *Host {
	if h := s.hostsByID[key]; h != nil {
		return h
	}
	return s.hostsByMAC[mac]
}

func (s *settings) source(h *Host) string {
	if _, ok := s.fromFile[h]; ok {
		return SourceFile
	}
	return SourceConfig
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

// Holder returns the MAC address of the machine that has a name, or had it a moment
// ago, or that it is reserved for; zero where that is known by its client identifier
// only. It is for the Env.Holder of the other family's server.
func (s *Server) Holder(name string) (frame.MAC, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.holder(s.read(), name)
}

// Reverse is the inverse of Lookup.
func (s *Server) Reverse(addr netip.Addr) (name string, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.reverse(addr)
}
