package dhcp

import (
	"math"
	"net/netip"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/option"
)

// Infinite is the duration of a lease that never ends.
const Infinite = time.Duration(math.MaxInt64)

// Config says what a server gives to whom. It is passive, and comparable by
// reflect.DeepEqual; a Server takes a copy.
type Config struct {
	Server netip.Prefix // the gateway's address and the subnet, IPv4

	Ranges    []Range       // disjoint and inside the subnet; none: reservations only
	Lease     time.Duration // in whole seconds, or Infinite
	MaxLeases int           // 0: as many as there are addresses

	Authoritative bool // a client that asks for what is not known here is told so
	Probe         bool // ARP asks whether an address is in use before it is offered
	NoOverride    bool // the header fields for boot file and server name never hold options

	Hosts     []Host // reservations
	HostsFile string // more of them, in the format of dnsmasq's dhcp-hostsfile; read again when it changes

	Router     netip.Addr // zero: none
	DNS        netip.Addr // zero: none
	NTP        []netip.Addr
	Domain     string
	Search     []string
	MTU        int // 0: none
	NextServer netip.Addr
	ServerName string
	Bootfile   string

	Options []option.Option // instead of what the fields above make; one without data is not sent
	Names   []string        // that no client may take, in lower case
}

// Range is the addresses from First to Last, both included.
type Range struct {
	First, Last netip.Addr
}

// Host is a reservation: what one client gets, known by its client identifier or
// its MAC address. One of these is set.
type Host struct {
	MAC      frame.MAC
	ClientID []byte        // value of option 61
	Address  netip.Addr    // zero: one out of the ranges
	Name     string        // host part in lower case; empty: what the client asks for
	Lease    time.Duration // 0: as everybody else
	Ignore   bool          // the client gets no answer at all
}
