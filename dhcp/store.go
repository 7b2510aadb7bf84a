package dhcp

import (
	"net/netip"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// State is what a lease is in.
type State uint8

// The states of a lease. A store holds Active, Expired and Declined ones only:
// an offer that is lost does no harm, and a reservation is configuration. The
// values are written to disk; they never change.
const (
	Offered  State = iota // kept for a client that was offered it, for a short time
	Active                // the client has it
	Expired               // its time is over, or it was released; it stays that client's until it is needed
	Declined              // somebody else was seen with it: quarantine
	Reserved              // configured for a client, which does not have it
)

func (s State) String() string {
	switch s {
	case Offered:
		return "offered"
	case Active:
		return "active"
	case Expired:
		return "expired"
	case Declined:
		return "declined"
	case Reserved:
		return "reserved"
	}
	return "unknown"
}

// Kind says where a lease comes from.
type Kind uint8

// The kinds of leases.
const (
	Dynamic Kind = iota // out of a range
	Static              // a reservation
)

func (k Kind) String() string {
	if k == Static {
		return "static"
	}
	return "dynamic"
}

// Record is a lease as a store keeps it, in wall-clock time.
type Record struct {
	Address  netip.Addr
	MAC      frame.MAC
	ClientID []byte // option 61, nil where the client sent none; not to be changed
	Hostname string // host part in lower case, empty where it has none
	Granted  time.Time
	Expires  time.Time     // zero: never
	Duration time.Duration // that was granted; Infinite for ever
	State    State
}

// Record6 is a lease of IPv6 as a store keeps it, in wall-clock time.
type Record6 struct {
	Prefix   netip.Prefix // of 128 bits: an address; else delegated
	DUID     []byte       // of the client; not to be changed
	IAID     uint32
	MAC      frame.MAC
	Via      netip.Addr // of a delegated prefix: the client's link-local address
	Hostname string     // host part in lower case, empty where it has none
	Granted  time.Time
	Expires  time.Time     // zero: never
	Duration time.Duration // that was granted; Infinite for ever
	State    State
}

// Store is what survives a restart. One store serves all networks, and several
// servers call it at once.
type Store interface {
	// Load returns the records of a network, in any order.
	Load(network string) ([]Record, error)

	// Commit writes and removes records of a network: all of them or none. They
	// are durable when it returns. It keeps nothing of its arguments. After an
	// error nobody knows whether the records were written; what is committed
	// next for the same addresses holds.
	Commit(network string, put []Record, remove []netip.Addr) error
}
