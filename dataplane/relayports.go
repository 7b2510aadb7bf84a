package dataplane

import (
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
)

// RelayFirst is the first of the gateway's ports that may stand for peers of sockets
// of this machine, up to 65535: Linux takes none of them by itself, so that the host at
// the same address does not either, unless its ip_local_port_range has been changed.
const RelayFirst = 61000

// RelayPorts says which of the gateway's TCP and UDP ports stand for such peers now.
// What guests send to them is for the inbox Outside, and all other ports are the
// host's, where it has the gateway's address too. The zero value is none. One
// goroutine at a time may change it, while any number look.
type RelayPorts struct{ tcp, udp relaySet }

type relaySet struct {
	n    atomic.Int32
	bits [(1<<16 - RelayFirst + 63) / 64]atomic.Uint64
}

// Set notes that a port from RelayFirst on is in use, or that it is not any more.
func (r *RelayPorts) Set(protocol uint8, port uint16, used bool) {
	s := r.of(protocol)
	if s == nil || port < RelayFirst || used == s.has(port) {
		return
	}
	i := port - RelayFirst
	if used {
		s.bits[i/64].Or(1 << (i % 64))
		s.n.Add(1)
	} else {
		s.bits[i/64].And(^(uint64(1) << (i % 64)))
		s.n.Add(-1)
	}
}

// Has reports whether a port is in use.
func (r *RelayPorts) Has(protocol uint8, port uint16) bool {
	if r == nil || port < RelayFirst {
		return false
	}
	s := r.of(protocol)
	return s != nil && s.has(port)
}

// HasAny reports whether a port of the protocol is in use.
func (r *RelayPorts) HasAny(protocol uint8) bool {
	if r == nil {
		return false
	}
	s := r.of(protocol)
	return s != nil && s.n.Load() > 0
}

func (r *RelayPorts) of(protocol uint8) *relaySet {
	switch protocol {
	case frame.ProtoTCP:
		return &r.tcp
	case frame.ProtoUDP:
		return &r.udp
	}
	return nil
}

func (s *relaySet) has(port uint16) bool {
	i := port - RelayFirst
	return s.bits[i/64].Load()&(1<<(i%64)) != 0
}
