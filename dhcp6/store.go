package dhcp6

import (
	"net/netip"

	"github.com/weft/weft/dhcp"
)

// Store is what survives a restart: dhcp.File is one. One store serves all networks,
// and several servers call it at once.
type Store interface {
	// Load6 returns the records of a network, in any order.
	Load6(network string) ([]dhcp.Record6, error)

	// Commit6 writes and removes records of a network: all of them or none. They
	// are durable when it returns. It keeps nothing of its arguments. After an
	// error nobody knows whether the records were written; what is committed
	// next for the same prefixes holds.
	Commit6(network string, put []dhcp.Record6, remove []netip.Prefix) error
}

var _ Store = (*dhcp.File)(nil)
