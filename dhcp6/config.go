package dhcp6

import (
	"net/netip"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
)

// Config says what a server gives to whom. It is passive, and comparable by
// reflect.DeepEqual; a Server takes a copy.
type Config struct {
	MAC   frame.MAC      // of the gateway: the server's DUID is made of it (DUID-LL)
	Links []netip.Prefix // the gateway's IPv6 addresses with their subnets

	// Ranges are disjoint, and each is inside one of Links and not bigger than a /64;
	// none: reservations only. A client's address is chosen by its DUID and IAID, so
	// that it returns also where the store is lost.
	//
	// Those behind one port of the switch do not get the last quarter of the addresses
	// (and of the prefixes to delegate), unless they have less than their share: a
	// quarter, but in a small range up to half. A DUID costs nothing, so nothing else
	// bounds what one guest takes from the others.
	Ranges    []dhcp.Range
	Lease     time.Duration // the valid lifetime, in whole seconds, or dhcp.Infinite; 0 where nothing is given away
	MaxLeases int           // of addresses and prefixes together; 0: as many as there are
	Rapid     bool          // a client that asks for it gets its lease by two messages in place of four

	Hosts    []Host // reservations
	Delegate []Pool // disjoint, also from Links

	DNS    []netip.Addr
	Domain string
	Search []string // empty: Domain
	NTP    []netip.Addr

	Options []Option // instead of what the fields above make; one without data is not sent
	Names   []string // that no client may take, in lower case
}

// Host is a reservation: what one client gets, known by its DUID or by its MAC
// address, which is that of its frames or the one in its DUID. One of these is set.
type Host struct {
	DUID    []byte
	MAC     frame.MAC
	Address netip.Addr    // zero: one out of the ranges
	Name    string        // host part in lower case; empty: what the client asks for
	Lease   time.Duration // 0: as everybody else
	Ignore  bool          // the client gets no answer at all
}

// Pool is a prefix that others are delegated out of. A client that wishes for a
// smaller one gets that, down to a /64, and nobody else gets the rest of its Length.
type Pool struct {
	Prefix netip.Prefix
	Length int // of a delegated prefix, in bits
}

// Option is one by number, as it stands in a message.
type Option struct {
	Code uint16
	Data []byte
}
