package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
	"github.com/weft/weft/dhcp/option"
)

// Bounds of a configuration.
const (
	maxPool    = 1 << 24
	maxSName   = 63 // with the zero byte that ends it: 64
	maxFile    = 127
	minMTU     = 68 // RFC 2132 section 5.1
	maxHostsIn = 1 << 20
)

// settings is a Config made ready to be looked up in. It never changes.
type settings struct {
	Config
	server  ip4
	subnet  ip4
	mask    ip4
	options map[uint8][]byte
	order   []uint8 // options for a client that asks for nothing in particular

	hosts       []*Host
	fromFile    map[*Host]struct{}
	hostsByID   map[string]*Host
	hostsByMAC  map[frame.MAC]*Host
	hostsByAddr map[ip4]*Host
	hostsByName map[string]*Host
	denied      map[string]struct{} // names
}

// newSettings checks a configuration and takes a copy. The reservations of file
// are those of the hosts file, from these lines: one that contradicts the
// configuration or the lines before it is left out, and problems tells why.
func newSettings(cfg Config, file []Host, lines []int) (s *settings, problems []error, err error) {
	if err := check(&cfg); err != nil {
		return nil, nil, err
	}
	bits := cfg.Server.Bits()
	s = &settings{
		Config:      cfg,
		server:      toIP4(cfg.Server.Addr()),
		mask:        ip4(^uint64(0) << (32 - bits)),
		fromFile:    map[*Host]struct{}{},
		hostsByID:   map[string]*Host{},
		hostsByMAC:  map[frame.MAC]*Host{},
		hostsByAddr: map[ip4]*Host{},
		hostsByName: map[string]*Host{},
		denied:      map[string]struct{}{},
	}
	s.subnet = s.server & s.mask
	s.Ranges, s.NTP, s.Search = slices.Clone(cfg.Ranges), slices.Clone(cfg.NTP), slices.Clone(cfg.Search)
	s.Hosts, s.Options, s.Names = slices.Clone(cfg.Hosts), slices.Clone(cfg.Options), slices.Clone(cfg.Names)
	for _, name := range s.Names {
		s.denied[name] = struct{}{}
	}
	for i := range s.Hosts {
		if err := s.addHost(&s.Hosts[i]); err != nil {
			return nil, nil, err
		}
	}
	for i := range file {
		h := file[i]
		if err := s.addHost(&h); err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: %w", cfg.HostsFile, lines[i], err))
			continue
		}
		s.fromFile[&h] = struct{}{}
	}
	return s, problems, s.makeOptions()
}

func check(cfg *Config) error {
	p := cfg.Server
	if !p.IsValid() || !p.Addr().Is4() || p.Bits() < 1 || p.Bits() > 30 {
		return fmt.Errorf("dhcp: server %s: an IPv4 address with its subnet, of 1 to 30 bits, is needed", p)
	}
	switch {
	case cfg.Lease != Infinite && (cfg.Lease < time.Second || cfg.Lease%time.Second != 0 || cfg.Lease/time.Second >= infiniteOnTheWire):
		return fmt.Errorf("dhcp: lease %s: whole seconds from 1s on, or infinite, are needed", cfg.Lease)
	case cfg.MaxLeases < 0:
		return fmt.Errorf("dhcp: max leases %d: a positive number is needed, or 0 for as many as there are addresses", cfg.MaxLeases)
	case cfg.MTU != 0 && (cfg.MTU < minMTU || cfg.MTU > math.MaxUint16):
		return fmt.Errorf("dhcp: mtu %d: it must be %d to %d", cfg.MTU, minMTU, math.MaxUint16)
	case len(cfg.ServerName) > maxSName:
		return fmt.Errorf("dhcp: server name %q: it must be at most %d bytes long", cfg.ServerName, maxSName)
	case len(cfg.Bootfile) > maxFile:
		return fmt.Errorf("dhcp: boot file %q: its name must be at most %d bytes long", cfg.Bootfile, maxFile)
	case len(cfg.Hosts) > maxHostsIn:
		return fmt.Errorf("dhcp: %d reservations: at most %d are possible", len(cfg.Hosts), maxHostsIn)
	}
	return checkRanges(cfg)
}

func checkRanges(cfg *Config) error {
	size := uint64(0)
	sorted := slices.SortedFunc(slices.Values(cfg.Ranges), func(a, b Range) int { return a.First.Compare(b.First) })
	for i, r := range sorted {
		name := fmt.Sprintf("dhcp: range %s-%s", r.First, r.Last)
		switch {
		case !r.First.Is4() || !r.Last.Is4() || r.Last.Less(r.First):
			return fmt.Errorf("%s: two IPv4 addresses are needed, the lower one first", name)
		case !cfg.Server.Contains(r.First) || !cfg.Server.Contains(r.Last):
			return fmt.Errorf("%s: it is outside the subnet %s", name, cfg.Server.Masked())
		case i > 0 && !sorted[i-1].Last.Less(r.First):
			return fmt.Errorf("%s: it overlaps %s-%s", name, sorted[i-1].First, sorted[i-1].Last)
		}
		size += uint64(toIP4(r.Last)-toIP4(r.First)) + 1
	}
	if size > maxPool {
		return fmt.Errorf("dhcp: the ranges hold %d addresses: at most %d are possible", size, maxPool)
	}
	return nil
}

// addHost adds a reservation: all of it or nothing.
func (s *settings) addHost(h *Host) error {
	who := h.MAC.String()
	if h.MAC == (frame.MAC{}) {
		who = fmt.Sprintf("client identifier %x", h.ClientID)
	}
	a, key := toIP4(h.Address), keyOfID(h.ClientID)
	switch {
	case h.MAC == frame.MAC{} && len(h.ClientID) == 0:
		return errors.New("reservation: a MAC address or a client identifier is needed")
	case h.Address.IsValid() && (!s.inSubnet(a) || s.blocked(a)):
		return fmt.Errorf("reservation of %s: %s is not an address for a client of %s", who, h.Address, s.Server.Masked())
	case h.Address.IsValid() && s.hostsByAddr[a] != nil:
		return fmt.Errorf("reservation of %s: %s is reserved already", who, h.Address)
	case h.MAC != frame.MAC{} && s.hostsByMAC[h.MAC] != nil:
		return fmt.Errorf("reservation of %s: it has one already", who)
	case len(h.ClientID) > 0 && s.hostsByID[key] != nil:
		return fmt.Errorf("reservation of %s: it has one already", who)
	case h.Name != "" && !lease.IsHostLabel(h.Name):
		return fmt.Errorf("reservation of %s: %q is not a name: letters in lower case, digits, hyphens and underscores are needed", who, h.Name)
	case h.Name != "" && s.hostsByName[h.Name] != nil:
		return fmt.Errorf("reservation of %s: the name %s is reserved already", who, h.Name)
	}
	s.hosts = append(s.hosts, h)
	if h.MAC != (frame.MAC{}) {
		s.hostsByMAC[h.MAC] = h
	}
	if len(h.ClientID) > 0 {
		s.hostsByID[key] = h
	}
	if h.Address.IsValid() {
		s.hostsByAddr[a] = h
	}
	if h.Name != "" {
		s.hostsByName[h.Name] = h
	}
	return nil
}

// inSubnet reports whether an address belongs to the network.
func (s *settings) inSubnet(a ip4) bool { return a&s.mask == s.subnet }

// blocked reports whether an address of the subnet can not be a client's: the
// gateway's, the subnet's own and its broadcast address.
func (s *settings) blocked(a ip4) bool {
	return a == s.server || a == s.subnet || a == s.subnet|^s.mask
}

// makeOptions encodes what does not depend on the lease.
func (s *settings) makeOptions() error {
	s.options = map[uint8][]byte{}
	set := func(code uint8, data []byte) {
		if len(data) == 0 {
			return
		}
		if _, ok := s.options[code]; !ok {
			s.order = append(s.order, code)
		}
		s.options[code] = data
	}
	set(optNetmask, s.mask.append(nil))
	set(optRouter, wireAddresses(s.Router))
	set(optDNS, wireAddresses(s.DNS))
	set(optDomain, []byte(s.Domain))
	set(optBroadcast, (s.subnet | ^s.mask).append(nil))
	if s.MTU != 0 {
		set(optMTU, binary.BigEndian.AppendUint16(nil, uint16(s.MTU)))
	}
	set(optNTP, wireAddresses(s.NTP...))
	if len(s.Search) > 0 {
		o, err := option.Parse(strconv.Itoa(optSearch), strings.Join(s.Search, ","))
		if err != nil {
			return fmt.Errorf("dhcp: domain search %s: %w", strings.Join(s.Search, ","), err)
		}
		set(optSearch, o.Data)
	}
	for _, o := range s.Options {
		if slices.Contains(ownOptions, o.Code) {
			return fmt.Errorf("dhcp: option %d is set by the server itself: leave it out", o.Code)
		}
		set(o.Code, o.Data)
		if len(o.Data) == 0 {
			delete(s.options, o.Code) // not to be sent at all
		}
	}
	return nil
}

// ownOptions are those of the protocol itself, which no setting replaces.
var ownOptions = []uint8{0, optRequested, optLease, optOverload, optType, optServerID, optPRL, optMaxSize, optClientID, optAgent, 255}

func (a ip4) append(b []byte) []byte { return binary.BigEndian.AppendUint32(b, uint32(a)) }

func wireAddresses(addrs ...netip.Addr) (data []byte) {
	for _, a := range addrs {
		if a.IsValid() && a.Is4() {
			data = toIP4(a).append(data)
		}
	}
	return data
}
