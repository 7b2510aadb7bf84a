package stp

import (
	"errors"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// ErrMalformed is what Receive returns for bytes that are not a BPDU.
var ErrMalformed = errors.New("malformed BPDU")

const (
	// MaxPort is the largest PortID: 12 bits of a port identifier (9.2.7).
	MaxPort = 4095

	// DefaultCost is the path cost of a port that sets none: that of a link of
	// 10 Gbit/s (table 17-3).
	DefaultCost = 2000

	// MaxCost is the largest path cost of a port (table 17-3).
	MaxCost = 200_000_000

	// DefaultPriority is what 802.1D recommends for a bridge (table 17-2).
	// Config does not apply it: a priority of 0 is a valid one.
	DefaultPriority = 0x8000

	// DefaultHello and DefaultMaxAge hold where Config is silent (table 17-1).
	DefaultHello  = 2 * time.Second
	DefaultMaxAge = 20 * time.Second

	migrateTime = 3 // seconds, table 17-1
	txHoldCount = 6 // BPDUs per port and second, and in one burst; table 17-1
	maxRounds   = 100

	// The ranges of what a BPDU carries, in seconds: those of table 17-1, and
	// what other bridges permit beyond it. The standard has hellos of at most 2,
	// and forward delays of at least 4.
	minHello, maxHello = 1, 10
	minAge, maxAge     = 6, 40
	minDelay, maxDelay = 2, 30
)

// Config is what can be set on a bridge, also while it works. Fractions of a
// second are rounded. The standard wants 2*(ForwardDelay-1s) >= MaxAge >=
// 2*(Hello+1s) (17.14); this is not enforced, as others do not.
type Config struct {
	// Address is that of the bridge: unique in the network. The lowest of
	// Priority and Address together is the root.
	Address frame.MAC

	// Priority is 0 to 61440 in steps of 4096. Others are rounded down.
	Priority uint16

	// Hello is the time between BPDUs: 1 to 10 s. 0 means DefaultHello.
	Hello time.Duration

	// MaxAge is how old information may get, in seconds and in bridges that it
	// crossed: 6 to 40 s. 0 means DefaultMaxAge.
	MaxAge time.Duration

	// ForwardDelay is how long a port listens, and again how long it learns,
	// where no handshake with the neighbour makes that needless: 2 to 30 s.
	// That of the root counts in the whole network.
	//
	// 0 or less means that this bridge does not wait, whoever is the root: a
	// port is Forwarding as soon as it is designated or root. A loop then
	// lasts until BPDUs have gone round it. Others are told 2 s.
	ForwardDelay time.Duration

	// ForceSTP makes the bridge send only what 802.1D-1998 knows, and wait as
	// it says (17.13.4: Force Protocol Version 0).
	ForceSTP bool
}

func (c Config) normal() Config {
	c.Priority &= 0xf000
	if c.Hello == 0 {
		c.Hello = DefaultHello
	}
	if c.MaxAge == 0 {
		c.MaxAge = DefaultMaxAge
	}
	c.Hello = clamp(c.Hello, minHello*time.Second, maxHello*time.Second)
	c.MaxAge = clamp(c.MaxAge, minAge*time.Second, maxAge*time.Second)
	if c.ForwardDelay > 0 {
		c.ForwardDelay = clamp(c.ForwardDelay, minDelay*time.Second, maxDelay*time.Second)
	}
	c.ForwardDelay = max(c.ForwardDelay, 0)
	return c
}

// PortID is the number of a port, 1 to MaxPort. Where a bridge hears itself, the
// lower number wins.
type PortID uint16

// PortConfig is what can be set on a port. The zero value is usable.
type PortConfig struct {
	// Cost of a frame that comes in here: 1 to MaxCost. 0 means DefaultCost.
	Cost uint32

	// Priority is 0 to 240 in steps of 16; others are rounded down. Of links
	// that are equal otherwise, the neighbour takes the one that is lower here.
	Priority uint8

	Edge Edge

	// RootGuard keeps the port from becoming the root port: it is Discarding
	// while a neighbour there claims to be nearer to the root.
	RootGuard bool

	// BPDUGuard shuts the port at the first BPDU, until Down or until SetPort
	// turns the guard off.
	BPDUGuard bool
}

func (c PortConfig) normal() PortConfig {
	c.Priority &= 0xf0
	if c.Cost == 0 {
		c.Cost = DefaultCost
	}
	c.Cost = min(c.Cost, MaxCost)
	if c.Edge > EdgeNo {
		c.Edge = EdgeAuto
	}
	return c
}

// Edge says whether a port leads to hosts only. Such a port forwards at once,
// and no topology changes with it.
type Edge uint8

const (
	EdgeAuto Edge = iota // where no BPDU comes for 3 s after the link (17.25)
	EdgeYes              // until a BPDU comes
	EdgeNo
)

func clamp[T interface{ ~int64 | ~uint16 }](v, low, high T) T {
	return min(max(v, low), high)
}
