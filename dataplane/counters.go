package dataplane

import "sync/atomic"

// counters of one port. What the port's own worker writes and what the workers
// of other ports write lie on cache lines of their own.
type counters struct {
	rxFrames, rxBytes atomic.Uint64
	_                 [48]byte
	txFrames, txBytes atomic.Uint64
	_                 [48]byte
	drops             [numVerdicts]atomic.Uint64
}

// Traffic counts one direction of a port, from the port's point of view: rx is
// what came from its attachment. A super-frame is one frame.
type Traffic struct {
	Frames, Bytes uint64
}

// Stats is a copy of a port's counters.
type Stats struct {
	Rx, Tx Traffic
	Drops  map[Verdict]uint64 // only reasons that occurred
}

func (c *counters) stats() Stats {
	s := Stats{
		Rx:    Traffic{Frames: c.rxFrames.Load(), Bytes: c.rxBytes.Load()},
		Tx:    Traffic{Frames: c.txFrames.Load(), Bytes: c.txBytes.Load()},
		Drops: map[Verdict]uint64{},
	}
	for v := range numVerdicts {
		if n := c.drops[v].Load(); n > 0 {
			s.Drops[v] = n
		}
	}
	return s
}
