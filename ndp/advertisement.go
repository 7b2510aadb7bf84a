package ndp

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// Infinite is a lifetime without an end.
const Infinite = time.Duration(math.MaxInt64)

// Preference is that of a router or a route (RFC 4191 clause 2.1).
type Preference int8

const (
	Low    Preference = -1
	Medium Preference = 0
	High   Preference = 1
)

// Advertisement is a router advertisement (RFC 4861 clause 4.2). Durations are in
// whole seconds, but Reachable and Retransmit in milliseconds; 0 there means that the
// router does not say.
type Advertisement struct {
	HopLimit       uint8 // that hosts use; 0: it does not say
	Managed, Other bool  // DHCPv6 has addresses, or has other information
	Preference     Preference
	Lifetime       time.Duration // as a default router, up to 65535 s; 0: it is none

	Reachable, Retransmit time.Duration

	MAC frame.MAC // of the router; zero: it does not say
	MTU uint32    // of the link; 0: it does not say

	Prefixes []Prefix
	Routes   []Route

	DNS            []netip.Addr
	DNSLifetime    time.Duration
	Search         []string // domains, without a dot at the end
	SearchLifetime time.Duration
}

// Prefix is one of the link's (RFC 4861 clause 4.6.2).
type Prefix struct {
	Prefix           netip.Prefix
	OnLink           bool // its addresses are reached without a router
	Autonomous       bool // hosts make addresses of it
	Valid, Preferred time.Duration
}

// Route is where the router leads beside the default route (RFC 4191 clause 2.3).
type Route struct {
	Prefix     netip.Prefix
	Preference Preference
	Lifetime   time.Duration
}

const (
	flagManaged = 0x80
	flagOther   = 0x40

	flagOnLink     = 0x80
	flagAutonomous = 0x40
)

// Message returns the advertisement from its ICMPv6 type on. Its checksum is for
// Packet to fill in. Names that are none are left out.
func (a *Advertisement) Message() []byte {
	b := make([]byte, advertisementLen, 256)
	b[0], b[4] = RouterAdvertisement, a.HopLimit
	if a.Lifetime != 0 { // RFC 4191 clause 2.2
		b[5] = a.Preference.bits()
	}
	if a.Managed {
		b[5] |= flagManaged
	}
	if a.Other {
		b[5] |= flagOther
	}
	binary.BigEndian.PutUint16(b[6:], uint16(min(a.Lifetime/time.Second, math.MaxUint16)))
	binary.BigEndian.PutUint32(b[8:], uint32(a.Reachable/time.Millisecond))
	binary.BigEndian.PutUint32(b[12:], uint32(a.Retransmit/time.Millisecond))
	b = appendLinkLayer(b, optionSource, a.MAC)
	if a.MTU != 0 {
		b = binary.BigEndian.AppendUint32(append(b, optionMTU, 1, 0, 0), a.MTU)
	}
	for _, p := range a.Prefixes {
		b = p.append(b)
	}
	for _, r := range a.Routes {
		b = r.append(b)
	}
	b = appendDNS(b, a.DNS, a.DNSLifetime)
	return appendSearch(b, a.Search, a.SearchLifetime)
}

func (p Prefix) append(b []byte) []byte {
	flags := byte(0)
	if p.OnLink {
		flags |= flagOnLink
	}
	if p.Autonomous {
		flags |= flagAutonomous
	}
	b = append(b, optionPrefix, 4, byte(p.Prefix.Bits()), flags)
	b = appendSeconds(appendSeconds(b, p.Valid), p.Preferred)
	a := p.Prefix.Masked().Addr().As16()
	return append(append(b, 0, 0, 0, 0), a[:]...)
}

// append writes the whole address: it is shorter for few prefixes that routes have.
func (r Route) append(b []byte) []byte {
	b = appendSeconds(append(b, optionRoute, 3, byte(r.Prefix.Bits()), r.Preference.bits()), r.Lifetime)
	a := r.Prefix.Masked().Addr().As16()
	return append(b, a[:]...)
}

func appendDNS(b []byte, servers []netip.Addr, lifetime time.Duration) []byte {
	if len(servers) == 0 {
		return b
	}
	b = appendSeconds(append(b, optionDNS, byte(1+2*len(servers)), 0, 0), lifetime)
	for _, s := range servers {
		a := s.As16()
		b = append(b, a[:]...)
	}
	return b
}

func appendSearch(b []byte, domains []string, lifetime time.Duration) []byte {
	var names []byte
	for _, d := range domains {
		names = appendName(names, d)
	}
	if len(names) == 0 {
		return b
	}
	for len(names)%unit != 0 {
		names = append(names, 0)
	}
	b = appendSeconds(append(b, optionSearch, byte(1+len(names)/unit), 0, 0), lifetime)
	return append(b, names...)
}

// appendName adds a domain name as the DNS has it (RFC 1035 clause 3.1), nothing for
// what is none.
func appendName(b []byte, name string) []byte {
	start := len(b)
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 {
			return b[:start]
		}
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

func appendSeconds(b []byte, d time.Duration) []byte {
	s := uint32(math.MaxUint32)
	if d != Infinite {
		s = uint32(min(d/time.Second, math.MaxUint32-1))
	}
	return binary.BigEndian.AppendUint32(b, s)
}

func secondsAt(b []byte, at int) time.Duration {
	s := uint32At(b, at)
	if s == math.MaxUint32 {
		return Infinite
	}
	return time.Duration(s) * time.Second
}

// bits are those of RFC 4191 clause 2.1.
func (p Preference) bits() byte { return byte(p&3) << 3 }

// preferenceOf reads them. The reserved value means medium for a router; of a route it
// says that the option does not count.
func preferenceOf(b byte) (p Preference, ok bool) {
	switch b >> 3 & 3 {
	case 1:
		return High, true
	case 3:
		return Low, true
	case 0:
		return Medium, true
	}
	return Medium, false
}

var errTooMuch = errors.New("router advertisement: more options of one kind than anybody needs")

// maxOptions bounds the prefixes, routes, servers and domains that are read.
const maxOptions = 64

// ParseAdvertisement reads a valid router advertisement, from its ICMPv6 type on.
// What makes no sense in an option is left out with it.
func ParseAdvertisement(m []byte) (Advertisement, error) {
	a := Advertisement{
		HopLimit: m[4], Managed: m[5]&flagManaged != 0, Other: m[5]&flagOther != 0,
		Lifetime:   time.Duration(binary.BigEndian.Uint16(m[6:])) * time.Second,
		Reachable:  time.Duration(uint32At(m, 8)) * time.Millisecond,
		Retransmit: time.Duration(uint32At(m, 12)) * time.Millisecond,
	}
	a.Preference, _ = preferenceOf(m[5])
	options := m[advertisementLen:]
	a.MAC = linkLayer(options, optionSource)
	for len(options) > 0 {
		n := int(options[1]) * unit
		a.read(options[:n])
		options = options[n:]
	}
	if max(len(a.Prefixes), len(a.Routes), len(a.DNS), len(a.Search)) > maxOptions {
		return Advertisement{}, errTooMuch
	}
	return a, nil
}

func (a *Advertisement) read(o []byte) {
	switch o[0] {
	case optionMTU:
		a.MTU = uint32At(o, 4)
	case optionPrefix:
		a.readPrefix(o)
	case optionRoute:
		a.readRoute(o)
	case optionDNS:
		a.DNSLifetime = secondsAt(o, 4)
		for at := unit; at < len(o); at += 16 {
			if s := netip.AddrFrom16([16]byte(o[at:])); !s.IsUnspecified() && !s.IsMulticast() {
				a.DNS = append(a.DNS, s)
			}
		}
	case optionSearch:
		a.SearchLifetime = secondsAt(o, 4)
		a.Search = append(a.Search, names(o[unit:])...)
	}
}

func (a *Advertisement) readPrefix(o []byte) {
	p := netip.PrefixFrom(netip.AddrFrom16([16]byte(o[16:])), int(o[2]))
	if !p.IsValid() || p.Addr().IsMulticast() || p.Addr().IsLinkLocalUnicast() {
		return // RFC 4861 clause 6.3.4, RFC 4862 clause 5.5.3
	}
	a.Prefixes = append(a.Prefixes, Prefix{
		Prefix: p.Masked(), OnLink: o[3]&flagOnLink != 0, Autonomous: o[3]&flagAutonomous != 0,
		Valid: secondsAt(o, 4), Preferred: secondsAt(o, 8),
	})
}

func (a *Advertisement) readRoute(o []byte) {
	var addr [16]byte
	copy(addr[:], o[unit:])
	p := netip.PrefixFrom(netip.AddrFrom16(addr), int(o[2]))
	preference, ok := preferenceOf(o[3])
	if !p.IsValid() || !ok || p.Bits() > (len(o)-unit)*8 || p.Addr().IsMulticast() {
		return
	}
	a.Routes = append(a.Routes, Route{Prefix: p.Masked(), Preference: preference, Lifetime: secondsAt(o, 4)})
}

// names reads domain names up to the first byte that cannot be of one.
func names(b []byte) (list []string) {
	var labels []string
	for len(b) > 0 {
		n := int(b[0])
		if n > 63 || n >= len(b) && n > 0 {
			return list
		}
		if n > 0 {
			labels = append(labels, string(b[1:1+n]))
		} else if len(labels) > 0 {
			list = append(list, strings.Join(labels, "."))
			labels = nil
		}
		b = b[1+n:]
	}
	return list
}
