package stp

import (
	"cmp"
	"fmt"
	"math"

	"github.com/weft/weft/dataplane/frame"
)

// BridgeID is a bridge identifier (9.2.5): the priority in the upper 16 bits,
// the address below. The lower one is the better one.
type BridgeID uint64

func newBridgeID(priority uint16, address frame.MAC) BridgeID {
	return BridgeID(uint64(priority)<<48 | address.Uint64())
}

// Priority returns the upper 16 bits. The lower 12 of them are the system
// identifier extension of a bridge that runs one tree per VLAN.
func (id BridgeID) Priority() uint16 { return uint16(id >> 48) }

// Address returns the address of the bridge.
func (id BridgeID) Address() frame.MAC { return frame.MACFromUint64(uint64(id)) }

// String returns the form that bridges print: 8000.5254003203df.
func (id BridgeID) String() string {
	return fmt.Sprintf("%04x.%012x", id.Priority(), uint64(id)&(1<<48-1))
}

// vector is a spanning tree priority vector (17.6) without the receiving port.
type vector struct {
	root   BridgeID
	cost   uint32
	bridge BridgeID
	port   uint16 // port identifier: 4 bits priority, 12 bits number
}

// compare returns less than 0 where v is better than w, 0 where they are equal.
func (v vector) compare(w vector) int {
	return cmp.Or(
		cmp.Compare(v.root, w.root),
		cmp.Compare(v.cost, w.cost),
		cmp.Compare(v.bridge, w.bridge),
		cmp.Compare(v.port, w.port),
	)
}

// sameSource tells whether both come from one port of one bridge, whatever the
// priorities of these are now (17.6).
func (v vector) sameSource(w vector) bool {
	const number = 0x0fff
	return v.bridge.Address() == w.bridge.Address() && v.port&number == w.port&number
}

// superior tells whether v takes the place of w (17.6): it is better, or it is
// what the same port says now.
func (v vector) superior(w vector) bool {
	return v.compare(w) < 0 || v.sameSource(w)
}

// via returns the root path priority vector (17.6) of a port of that cost. A
// neighbour may claim any cost; the sum stays at the largest.
func (v vector) via(cost uint32) vector {
	if v.cost > math.MaxUint32-cost {
		v.cost = math.MaxUint32
	} else {
		v.cost += cost
	}
	return v
}

// times are the timer parameters of a BPDU (17.18.4) in whole seconds. The
// message age counts bridges rather than time.
type times struct {
	messageAge   uint16
	maxAge       uint16
	hello        uint16
	forwardDelay uint16
}
