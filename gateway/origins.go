package gateway

import (
	"net/netip"
	"sync"

	"github.com/weft/weft/dataplane/frame"
)

// origin is where the packets of an address come from.
type origin struct {
	mac  frame.MAC
	port string // of the switch
}

// origins remembers where the addresses are that talk to the stack, which knows no
// ports.
type origins struct {
	mu  sync.Mutex
	all map[netip.Addr]origin
}

// maxOrigins bounds what is remembered. A flood of addresses makes all be
// forgotten, until their next packets.
const maxOrigins = 4096

// note remembers an origin. It tells whether all others have been forgotten, and
// whether this one is new.
func (o *origins) note(addr netip.Addr, from origin) (forgotten, changed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	was, known := o.all[addr]
	if !known && len(o.all) >= maxOrigins {
		clear(o.all)
		forgotten = true
	}
	o.all[addr] = from
	return forgotten, was.mac != from.mac
}

// of returns the port of an address, empty where it is not known.
func (o *origins) of(addr netip.Addr) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all[addr].port
}
