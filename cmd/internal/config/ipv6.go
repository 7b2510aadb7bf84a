package config

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// Values of RA.Managed and RA.Other.
const (
	FlagAuto  = "auto" // as DHCP6 has something to tell
	FlagTrue  = "true"
	FlagFalse = "false"
)

// Values of RA.Preference (RFC 4191 section 2.1).
const (
	PreferenceLow    = "low"
	PreferenceMedium = "medium"
	PreferenceHigh   = "high"
)

// Values of RA.MTU that are no number of bytes.
const (
	MTUAuto = 0  // that of the network
	MTUNone = -1 // guests have that of their interface
)

// LifetimeAuto as RA.Lifetime is three intervals where the network goes on
// outside, and zero where it goes nowhere.
const LifetimeAuto = time.Duration(-1)

// What applies to router advertisements where a file says nothing. The lifetimes
// of prefixes are those of RFC 9096 section 3.2: an address lives on for as long
// after weft is gone for good.
const (
	DefaultRAInterval = 600 * time.Second
	DefaultHopLimit   = 64
	DefaultValid      = 90 * time.Minute
	DefaultPreferred  = 45 * time.Minute
)

// RA is what a network's router advertisements say (RFC 4861 section 6.2.1). It
// matters where the network has an IPv6 address.
type RA struct {
	Enabled    bool
	Interval   time.Duration // between two, 4s-1800s in whole seconds
	Lifetime   time.Duration // as a default router: LifetimeAuto, 0 for none, else Interval-9000s
	Preference string        // PreferenceLow, PreferenceMedium or PreferenceHigh
	Managed    string        // addresses by DHCPv6: FlagAuto, FlagTrue or FlagFalse
	Other      string        // all else by DHCPv6: as Managed
	MTU        int           // MTUAuto, MTUNone, or 1280 up to that of the network
	HopLimit   int           // of the packets of guests, 0-255; 0 leaves it to them

	Valid      time.Duration // of prefixes, Interval-365d in whole seconds, or InfiniteLease
	Preferred  time.Duration // the same, up to Valid; 0 where no new flow should use them
	Autonomous bool          // guests make addresses themselves (RFC 4862); then all subnets are of 64 bits

	RDNSS     []netip.Addr // DNS servers, in this order (RFC 8106); the gateway's addresses where RDNSSAuto is set
	RDNSSAuto bool
	DNSSL     []string // domains that guests append to a name; that of DNS where DNSSLAuto is set
	DNSSLAuto bool

	Routes []netip.Prefix // that lead here besides the default one (RFC 4191); sorted
}

// isSet reports whether anything is meant to be advertised that is not by default.
func (a *RA) isSet() bool { return a.Enabled && !reflect.DeepEqual(*a, defaultRA()) }

func defaultRA() RA {
	return RA{
		Enabled: true, Interval: DefaultRAInterval, Lifetime: LifetimeAuto, Preference: PreferenceMedium,
		Managed: FlagAuto, Other: FlagAuto, HopLimit: DefaultHopLimit, Valid: DefaultValid, Preferred: DefaultPreferred,
		Autonomous: true, RDNSSAuto: true, DNSSLAuto: true,
	}
}

// DHCP6 is the server of a network for IPv6 (RFC 8415). Nothing of it matters
// where Enabled reports false.
type DHCP6 struct {
	Ranges    []Range       // of the dynamic leases; sorted, disjoint, each inside one subnet
	Lease     time.Duration // the valid lifetime, 2m-365d in whole seconds, or InfiniteLease
	MaxLeases int           // 0-1048576; 0 means as many as there can be
	Rapid     bool          // two messages do where the client asks for that
	Stateless bool          // nothing but what is told to those who have addresses (RFC 8415 section 6.1)

	NTP     []netip.Addr  // servers of the time
	Search  []string      // domains that clients append to a name
	Options []DHCP6Option // sorted by code; they override the fields above

	Hosts    []DHCP6Host // sorted by address, then MAC and DUID
	Delegate []Delegate  // sorted
}

// Enabled reports whether there is anything to serve.
func (d *DHCP6) Enabled() bool {
	return d.Stateless || len(d.Ranges) > 0 || len(d.Hosts) > 0 || len(d.Delegate) > 0
}

// DHCP6Host is a reservation, as DHCPHost is one.
type DHCP6Host struct {
	DUID    []byte        // as the client sends it, 3-130 bytes; nil where only MAC counts
	MAC     frame.MAC     // zero where only DUID counts
	Address netip.Addr    // zero for a dynamic one
	Name    string        // one label in lower case; empty for that of the client
	Lease   time.Duration // 0 for that of the network
	Ignore  bool          // the client gets no answer, and none of the three above
}

// DHCP6Option is an option for every client that asks for it.
type DHCP6Option struct {
	Key   string // its number or name
	Value string // as in a file; several values have commas between them

	Code uint16 // what Normalize makes of the two
	Data []byte
}

// Delegate is a pool of prefixes for routers among the guests (RFC 8415 section
// 6.3), each of Length bits.
type Delegate struct {
	Prefix netip.Prefix
	Length int // that of Prefix up to 64
}

func defaultDHCP6() DHCP6 { return DHCP6{Lease: DefaultLease, Rapid: true} }

// Values of Inbound.
const (
	InboundOpen      = "open"      // anybody outside
	InboundPublished = "published" // nobody, but for what NAT.Publish has
)

// Inbound says who may open flows from outside to addresses of a network that are
// not translated to those of the uplink.
type Inbound struct{ IPv4, IPv6 string } // InboundOpen or InboundPublished

// defaultInbound lets nobody in over IPv6, as RFC 6092 recommends. Routed networks
// of IPv4 have always been open.
func defaultInbound() Inbound { return Inbound{InboundOpen, InboundPublished} }

// Gateway6 returns the gateway's IPv6 addresses with their subnets, in the order of
// the file.
func (n *Network) Gateway6() []netip.Prefix { return n.addressesOf(ipv6) }

// fill makes what a command put in look as what a file holds.
func (d *DHCP6) fill() {
	for i := range d.Hosts {
		d.Hosts[i].Name = strings.ToLower(d.Hosts[i].Name)
	}
	for i := range d.Options {
		o := &d.Options[i]
		o.Code, o.Data, _ = parseOption6(o.Key, o.Value) // zero where it is bad, which Validate refuses
	}
}

func (d *DHCP6) sort() {
	slices.SortStableFunc(d.Ranges, compareRange)
	slices.SortStableFunc(d.Hosts, func(a, b DHCP6Host) int {
		return cmp.Or(a.Address.Compare(b.Address), compareMAC(a.MAC, b.MAC), slices.Compare(a.DUID, b.DUID), strings.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(d.Options, func(a, b DHCP6Option) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), strings.Compare(a.Key, b.Key))
	})
	slices.SortStableFunc(d.Delegate, func(a, b Delegate) int {
		return cmp.Or(comparePrefix(a.Prefix, b.Prefix), cmp.Compare(a.Length, b.Length))
	})
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func (d DHCP6) clone() DHCP6 {
	d.Ranges, d.Hosts, d.Delegate = slices.Clone(d.Ranges), slices.Clone(d.Hosts), slices.Clone(d.Delegate)
	for i := range d.Hosts {
		d.Hosts[i].DUID = slices.Clone(d.Hosts[i].DUID)
	}
	d.NTP, d.Search, d.Options = slices.Clone(d.NTP), slices.Clone(d.Search), slices.Clone(d.Options)
	for i := range d.Options {
		d.Options[i].Data = slices.Clone(d.Options[i].Data)
	}
	return d
}

func (a RA) clone() RA {
	a.RDNSS, a.DNSSL, a.Routes = slices.Clone(a.RDNSS), slices.Clone(a.DNSSL), slices.Clone(a.Routes)
	return a
}

func (a *RA) sort() { slices.SortStableFunc(a.Routes, comparePrefix) }
