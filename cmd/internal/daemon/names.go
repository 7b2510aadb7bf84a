package daemon

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dns"
	"github.com/weft/weft/ndp"
)

// Names of the machines in a network: those of leases, of both families, and where
// dns.slaac is set those of leases for the addresses that their machines have made
// themselves. The latter nobody has been asked for: neighbour discovery shows which
// MAC has them. That no machine takes another's name is for the two servers to see to,
// which ask each other: see holder.

var _ dns.Names = (*services)(nil)

// Lookup implements dns.Names.
func (s *services) Lookup(name string) []netip.Addr {
	var list []netip.Addr
	if server := s.dhcp.Load(); server != nil {
		if a, ok := server.Lookup(name); ok {
			list = append(list, a)
		}
	}
	if server := s.dhcp6.Load(); server != nil {
		list = append(list, server.Lookup(name)...)
	}
	for _, a := range s.madeNames().byName[name] {
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// Reverse implements dns.Names.
func (s *services) Reverse(addr netip.Addr) (string, bool) {
	if server := s.dhcp.Load(); server != nil && addr.Is4() {
		return server.Reverse(addr)
	}
	if server := s.dhcp6.Load(); server != nil {
		if name, ok := server.Reverse(addr); ok {
			return name, true
		}
	}
	name, ok := s.madeNames().byAddress[addr]
	return name, ok
}

// holder returns the machine that has a name by the leases of IPv4, holder6 the one by
// those of IPv6.
func (s *services) holder(name string) (frame.MAC, bool) {
	if server := s.dhcp.Load(); server != nil {
		return server.Holder(name)
	}
	return frame.MAC{}, false
}

func (s *services) holder6(name string) (frame.MAC, bool) {
	if server := s.dhcp6.Load(); server != nil {
		return server.Holder(name)
	}
	return frame.MAC{}, false
}

// madeNames keeps what was put together last. It is made anew when somebody asks, at
// most once a second: leases and neighbours of a network may be many, and queries are
// more.
type madeNames struct {
	neighbors func() []dataplane.Neighbor
	seek      func([]netip.Addr)

	mu     sync.Mutex
	asked  time.Time
	last   *nameTable
	sought time.Time
}

const (
	namesLast = time.Second
	seekLast  = time.Minute // after which machines without a known address are sought again
	maxSeek   = 256         // of them at a time
)

// nameTable has the addresses that machines have made themselves. It never changes.
type nameTable struct {
	byName    map[string][]netip.Addr
	byAddress map[netip.Addr]string
}

// maxMade bounds the addresses of one name, and maxNames the names of one machine, which
// makes as many as it likes.
const (
	maxMade  = 16
	maxNames = 4
)

func (s *services) madeNames() *nameTable {
	m := &s.made
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil || time.Since(m.asked) >= namesLast {
		m.asked, m.last = time.Now(), &nameTable{}
		if s.slaac.Load() {
			names := s.namesByMAC()
			m.last = newNameTable(names, m.neighbors())
			if time.Since(m.sought) >= seekLast {
				m.sought = time.Now()
				m.seek(m.last.likely(names, s.madeOf()))
			}
		}
	}
	return m.last
}

// madeOf returns the subnets that machines make addresses of.
func (s *services) madeOf() (list []netip.Prefix) {
	if c := s.advertised.Load(); c != nil {
		for _, p := range c.Advertisement.Prefixes {
			if p.Autonomous {
				list = append(list, p.Prefix)
			}
		}
	}
	return list
}

// namesByMAC returns what machines are called by their leases: by those of IPv4 first.
func (s *services) namesByMAC() map[frame.MAC][]string {
	names := map[frame.MAC][]string{}
	add := func(mac frame.MAC, name string, state dhcp.State) {
		if state == dhcp.Active && name != "" && mac != (frame.MAC{}) && !slices.Contains(names[mac], name) && len(names[mac]) < maxNames {
			names[mac] = append(names[mac], name)
		}
	}
	if server := s.dhcp.Load(); server != nil {
		for _, l := range server.Leases() {
			add(l.MAC, l.Hostname, l.State)
		}
	}
	if server := s.dhcp6.Load(); server != nil {
		for _, l := range server.Leases() {
			add(l.MAC, l.Hostname, l.State)
		}
	}
	return names
}

// likely returns the addresses that machines with a name may have, where none of theirs is
// known: who has taken one long ago does not say so again, and weft may have been away.
// Only those can be guessed that are made of the MAC address (RFC 4291 appendix A).
func (t *nameTable) likely(names map[frame.MAC][]string, subnets []netip.Prefix) (list []netip.Addr) {
	for mac, of := range names {
		for _, p := range subnets {
			if len(t.byName[of[0]]) == 0 && p.Bits() == 64 && len(list) < maxSeek {
				list = append(list, ndp.FromPrefix(p, mac))
			}
		}
	}
	return list
}

// newNameTable gives the addresses of IPv6 that neighbours have to all names of their
// machines; the first one is that of the address. Link-local ones are of no use in DNS: they need an interface beside them.
func newNameTable(names map[frame.MAC][]string, neighbors []dataplane.Neighbor) *nameTable {
	t := &nameTable{byName: map[string][]netip.Addr{}, byAddress: map[netip.Addr]string{}}
	slices.SortFunc(neighbors, func(a, b dataplane.Neighbor) int { return a.Address.Compare(b.Address) })
	for _, n := range neighbors {
		if !n.Address.Is6() || n.Address.IsLinkLocalUnicast() {
			continue
		}
		for _, name := range names[n.MAC] {
			if len(t.byName[name]) >= maxMade {
				continue
			}
			t.byName[name] = append(t.byName[name], n.Address)
			if t.byAddress[n.Address] == "" {
				t.byAddress[n.Address] = name
			}
		}
	}
	return t
}
