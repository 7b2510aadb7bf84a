package dhcp6

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// Bounds of a configuration.
const (
	maxHosts = 1 << 20
	maxLinks = 64
	maxPools = 256

	infiniteOnTheWire = 1<<32 - 1 // seconds (RFC 8415 section 7.7)
)

// settings is a Config made ready to be looked up in. It never changes.
type settings struct {
	Config
	duid    []byte // of the server
	options map[uint16][]byte
	order   []uint16 // options for a client that asks for nothing in particular

	hostsByDUID map[string]*Host
	hostsByMAC  map[frame.MAC]*Host
	hostsByAddr map[netip.Addr]*Host
	hostsByName map[string]*Host
	denied      map[string]struct{} // names
}

// newSettings checks a configuration and takes a copy.
func newSettings(cfg Config) (*settings, error) {
	if err := check(&cfg); err != nil {
		return nil, err
	}
	s := &settings{
		Config:      cfg,
		duid:        append([]byte{0, duidLL, 0, hwEthernet}, cfg.MAC[:]...),
		hostsByDUID: map[string]*Host{},
		hostsByMAC:  map[frame.MAC]*Host{},
		hostsByAddr: map[netip.Addr]*Host{},
		hostsByName: map[string]*Host{},
		denied:      map[string]struct{}{},
	}
	s.Links, s.Ranges, s.Hosts, s.Delegate = slices.Clone(cfg.Links), slices.Clone(cfg.Ranges), slices.Clone(cfg.Hosts), slices.Clone(cfg.Delegate)
	s.DNS, s.Search, s.NTP, s.Options, s.Names = slices.Clone(cfg.DNS), slices.Clone(cfg.Search), slices.Clone(cfg.NTP), slices.Clone(cfg.Options), slices.Clone(cfg.Names)
	for _, name := range s.Names {
		s.denied[name] = struct{}{}
	}
	for i := range s.Hosts {
		if err := s.addHost(&s.Hosts[i]); err != nil {
			return nil, err
		}
	}
	return s, s.makeOptions()
}

func check(cfg *Config) error {
	gives := len(cfg.Ranges)+len(cfg.Hosts)+len(cfg.Delegate) > 0
	switch {
	case len(cfg.Links) == 0 || len(cfg.Links) > maxLinks:
		return fmt.Errorf("dhcp6: %d addresses of the server: 1 to %d IPv6 addresses with their subnets are needed", len(cfg.Links), maxLinks)
	case !goodLease(cfg.Lease) && (cfg.Lease != 0 || gives):
		return fmt.Errorf("dhcp6: lease %s: whole seconds from 1s on, or infinite, are needed", cfg.Lease)
	case cfg.MaxLeases < 0:
		return fmt.Errorf("dhcp6: max leases %d: a positive number is needed, or 0 for as many as there are addresses", cfg.MaxLeases)
	case len(cfg.Hosts) > maxHosts:
		return fmt.Errorf("dhcp6: %d reservations: at most %d are possible", len(cfg.Hosts), maxHosts)
	case len(cfg.Delegate) > maxPools:
		return fmt.Errorf("dhcp6: %d prefixes to delegate from: at most %d are possible", len(cfg.Delegate), maxPools)
	}
	for _, p := range cfg.Links {
		if !isUnicast6(p.Addr()) {
			return fmt.Errorf("dhcp6: server %s: an IPv6 address with its subnet is needed", p)
		}
	}
	if err := checkRanges(cfg); err != nil {
		return err
	}
	return checkPools(cfg)
}

func goodLease(d time.Duration) bool {
	return d == dhcp.Infinite || d >= time.Second && d%time.Second == 0 && d/time.Second < infiniteOnTheWire
}

// isUnicast6 reports whether an address can be one of a machine that others reach.
func isUnicast6(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.Zone() == "" && (a.IsGlobalUnicast() || a.IsPrivate())
}

func checkRanges(cfg *Config) error {
	sorted := slices.SortedFunc(slices.Values(cfg.Ranges), func(a, b dhcp.Range) int { return a.First.Compare(b.First) })
	for i, r := range sorted {
		name := fmt.Sprintf("dhcp6: range %s-%s", r.First, r.Last)
		if !isUnicast6(r.First) || !isUnicast6(r.Last) || r.Last.Less(r.First) {
			return fmt.Errorf("%s: two IPv6 addresses are needed, the lower one first", name)
		}
		inside := func(p netip.Prefix) bool { return p.Contains(r.First) && p.Contains(r.Last) }
		switch {
		case !slices.ContainsFunc(cfg.Links, inside):
			return fmt.Errorf("%s: it is inside no subnet of the server", name)
		case toNumber(r.Last).minus(toNumber(r.First)).hi != 0:
			return fmt.Errorf("%s: it is bigger than a /64: make it smaller", name)
		case i > 0 && !sorted[i-1].Last.Less(r.First):
			return fmt.Errorf("%s: it overlaps %s-%s", name, sorted[i-1].First, sorted[i-1].Last)
		}
	}
	return nil
}

func checkPools(cfg *Config) error {
	for i, d := range cfg.Delegate {
		p := d.Prefix
		if !isUnicast6(p.Addr()) || p != p.Masked() {
			return fmt.Errorf("dhcp6: delegate %s: an IPv6 prefix is needed, without bits behind its length", p)
		}
		if d.Length < p.Bits() || d.Length > maxDelegated || d.Length-p.Bits() > 63 {
			return fmt.Errorf("dhcp6: delegate %s: length %d: it must be %d to %d", p, d.Length, p.Bits(), min(maxDelegated, p.Bits()+63))
		}
		for _, l := range cfg.Links {
			if p.Overlaps(l) {
				return fmt.Errorf("dhcp6: delegate %s: it overlaps the subnet %s of the server: take another part of the prefix", p, l.Masked())
			}
		}
		for _, other := range cfg.Delegate[:i] {
			if p.Overlaps(other.Prefix) {
				return fmt.Errorf("dhcp6: delegate %s: it overlaps %s", p, other.Prefix)
			}
		}
	}
	return nil
}

// addHost adds a reservation.
func (s *settings) addHost(h *Host) error {
	who := h.MAC.String()
	if h.MAC == (frame.MAC{}) {
		who = "DUID " + hex.EncodeToString(h.DUID)
	}
	switch {
	case h.MAC == frame.MAC{} && len(h.DUID) == 0:
		return errors.New("dhcp6: reservation: a DUID or a MAC address is needed")
	case len(h.DUID) > 0 && !goodDUID(h.DUID):
		return fmt.Errorf("dhcp6: reservation of %s: a DUID has %d to %d bytes", who, minDUID, maxDUID)
	case h.Lease != 0 && !goodLease(h.Lease):
		return fmt.Errorf("dhcp6: reservation of %s: lease %s: whole seconds from 1s on, or infinite, are needed", who, h.Lease)
	case h.Address.IsValid() && (!isUnicast6(h.Address) || !s.onLink(h.Address) || s.blocked(h.Address)):
		return fmt.Errorf("dhcp6: reservation of %s: %s is not an address for a client of this network", who, h.Address)
	case h.Address.IsValid() && s.hostsByAddr[h.Address] != nil:
		return fmt.Errorf("dhcp6: reservation of %s: %s is reserved already", who, h.Address)
	case h.MAC != frame.MAC{} && s.hostsByMAC[h.MAC] != nil, len(h.DUID) > 0 && s.hostsByDUID[string(h.DUID)] != nil:
		return fmt.Errorf("dhcp6: reservation of %s: it has one already", who)
	case h.Name != "" && !lease.IsHostLabel(h.Name):
		return fmt.Errorf("dhcp6: reservation of %s: %q is not a name: letters in lower case, digits, hyphens and underscores are needed", who, h.Name)
	case h.Name != "" && s.hostsByName[h.Name] != nil:
		return fmt.Errorf("dhcp6: reservation of %s: the name %s is reserved already", who, h.Name)
	}
	if h.MAC != (frame.MAC{}) {
		s.hostsByMAC[h.MAC] = h
	}
	if len(h.DUID) > 0 {
		s.hostsByDUID[string(h.DUID)] = h
	}
	if h.Address.IsValid() {
		s.hostsByAddr[h.Address] = h
	}
	if h.Name != "" {
		s.hostsByName[h.Name] = h
	}
	return nil
}

// onLink reports whether an address belongs to the network.
func (s *settings) onLink(a netip.Addr) bool {
	return slices.ContainsFunc(s.Links, func(p netip.Prefix) bool { return p.Contains(a) })
}

// anycast64 is the first of the last addresses of a /64 that are no machine's own
// (RFC 2526 section 2), of which there are anycasts.
const (
	anycast64 = 0xfdffffffffffff80
	anycasts  = 128
)

// blocked reports whether an address of a subnet can not be a client's: the
// gateway's, and those that all routers of a subnet have (RFC 4291 section 2.6.1) or
// are to have.
func (s *settings) blocked(a netip.Addr) bool {
	for _, p := range s.Links {
		if !p.Contains(a) {
			continue
		}
		if a == p.Addr() || a == p.Masked().Addr() && p.Bits() < 127 {
			return true
		}
		if n := toNumber(a); p.Bits() == 64 && n.lo >= anycast64 && n.lo < anycast64+anycasts {
			return true
		}
	}
	return false
}

// eachBlocked visits the addresses that are blocked.
func (s *settings) eachBlocked(visit func(netip.Addr)) {
	for _, p := range s.Links {
		visit(p.Addr())
		first := p.Masked().Addr()
		if p.Bits() < 127 {
			visit(first)
		}
		if p.Bits() == 64 {
			for i := range uint64(anycasts) {
				visit(number{toNumber(first).hi, anycast64 + i}.addr())
			}
		}
	}
}
