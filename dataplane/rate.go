package dataplane

import (
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// Rate bounds one direction of a port. What exceeds it is dropped, not delayed:
// no queue lies between receive and transmit. Bytes are those of the frames,
// tags included; a super-frame counts as the one frame it is.
type Rate struct {
	Average uint64 // bits per second; 0 = no limit
	Burst   int    // bytes that may pass at once after a pause
	Peak    uint64 // bits per second within a burst; 0 = no limit
}

// Storm bounds what a port may send in of the frames that are flooded, in
// frames per second; 0 = no limit. As many may come at once after a pause.
type Storm struct {
	Broadcast int
	Multicast int
	Unknown   int // unicast to an address that the FDB does not know
}

// ticks is the number of units of a bucket's time in a second: fine enough for
// one byte at 100 Gbit/s, and good for 18 years in 63 bits.
const ticks = 16e9

// bucket is a token bucket, kept as the generic cell rate algorithm does (ITU-T
// I.371 annex A): all its state is the time at which it will be full again, so
// that any number of workers may take from it.
type bucket struct {
	full  atomic.Int64 // in ticks
	rate  uint64       // tokens per second
	depth int64        // how far full may lie ahead, in ticks
}

func newBucket(rate, depth uint64) *bucket {
	return &bucket{rate: rate, depth: int64(min(float64(depth)*ticks/float64(rate), 1<<62))}
}

// take takes n tokens at a time, in ticks, and reports whether there were any.
// A bucket that is not empty gives more than it holds and owes the rest, so
// that a super-frame passes however small the bucket. A nil bucket has no limit.
func (b *bucket) take(now int64, n int) bool {
	if b == nil {
		return true
	}
	cost := int64((uint64(n)*ticks + b.rate - 1) / b.rate) // rounded up: never more than the rate
	for {
		full := b.full.Load()
		if full-now >= b.depth {
			return false
		}
		if b.full.CompareAndSwap(full, max(full, now)+cost) {
			return true
		}
	}
}

// empty reports whether a bucket has nothing to give.
func (b *bucket) empty(now int64) bool { return b.full.Load()-now >= b.depth }

// policer is a Rate at work.
type policer struct {
	average *bucket
	peak    *bucket // nil without one
}

// The bucket of the peak rate holds what that carries in peakTime, in seconds,
// and peakBurst bytes at the least: a super-frame and one more. A sender that is
// held to it still sends in bursts.
const (
	peakTime  = 0.05
	peakBurst = 2 * frame.MaxLen
)

func newPolicer(r Rate) *policer {
	if r.Average == 0 {
		return nil
	}
	p := &policer{average: newBucket(r.Average, 8*uint64(max(r.Burst, 1)))}
	if r.Peak != 0 {
		p.peak = newBucket(r.Peak, max(8*peakBurst, uint64(float64(r.Peak)*peakTime)))
	}
	return p
}

// pass reports whether a frame of n bytes may pass. One that may not takes
// nothing from either bucket, but for two workers at once.
func (p *policer) pass(now int64, n int) bool {
	return !p.average.empty(now) && p.peak.take(now, 8*n) && p.average.take(now, 8*n)
}

// stormGuard is a Storm at work; the buckets without a limit are nil.
type stormGuard struct {
	broadcast, multicast, unknown *bucket

	// vital is for what IPv6 does not work without: see isVital.
	vital *bucket
}

// vitalRate is how many such frames a port may send a second whatever its limits are. A
// router that looks for all of a /24 sends as many.
const vitalRate = 256

func newStormGuard(s Storm) *stormGuard {
	if s == (Storm{}) {
		return nil
	}
	one := func(rate int) *bucket {
		if rate == 0 {
			return nil
		}
		return newBucket(uint64(rate), uint64(rate))
	}
	return &stormGuard{one(s.Broadcast), one(s.Multicast), one(s.Unknown), one(vitalRate)}
}

// group returns Forwarded, or the reason why a frame to a group is one too many. Those
// that are vital have a limit of their own first, so that no other multicast of the port
// takes their place.
func (g *stormGuard) group(now int64, f *frame.Frame) Verdict {
	switch dst := f.Dst(); {
	case dst == broadcast:
		if !g.broadcast.take(now, 1) {
			return StormBroadcast
		}
	case g.multicast != nil && isVital(f) && g.vital.take(now, 1):
	case !g.multicast.take(now, 1):
		return StormMulticast
	}
	return Forwarded
}

// isVital reports whether a frame to a group is of neighbour discovery, which is to IPv6
// what ARP is to IPv4, or of MLD, which tells a switch where groups go.
func isVital(f *frame.Frame) bool {
	if f.EtherType() != frame.TypeIPv6 || isPlain(f) {
		return false
	}
	var p frame.Parsed
	p.Parse(f)
	return ndp.Is(f, &p) || isMLD(f, &p)
}

// isMLD reports whether a packet is of MLD (RFC 2710, RFC 3810), by its type.
func isMLD(f *frame.Frame, p *frame.Parsed) bool {
	if !isICMP(p) || p.IPVersion != 6 || p.Layer < frame.LayerTransport {
		return false
	}
	switch f.Bytes()[p.L4] {
	case mldQuery, 131, 132, mldv2Report:
		return true
	}
	return false
}
