package dns

import (
	"sync/atomic"
	"time"
)

// Outcome is what became of a query.
type Outcome uint8

// Every query that is no nonsense has one of these.
const (
	Local       Outcome = iota // answered from what is known here
	NXDomain                   // known here not to exist
	Cached                     // answered from the cache
	Forwarded                  // answered by an upstream
	Refused                    // of a class or type that is not served, or nobody to ask
	Failed                     // no upstream knew; SERVFAIL as a rule
	Malformed                  // FORMERR
	Unsupported                // an opcode or EDNS version that is not served
	Dropped                    // not answered: too many in flight, or no query at all
	outcomes
)

func (o Outcome) String() string {
	names := [outcomes]string{"local", "nxdomain", "cached", "forwarded", "refused", "failed", "malformed", "unsupported", "dropped"}
	if o < outcomes {
		return names[o]
	}
	return "unknown"
}

// Stats is what a resolver has done since it was made.
type Stats struct {
	Queries      map[Outcome]uint64 // all outcomes are in it
	Latency      Histogram          // of answered queries
	CacheEntries int
	Upstreams    []Upstream // once for each domain that they are asked about
}

// Upstream is a server that queries are forwarded to.
type Upstream struct {
	Address string // with the port
	Domain  string // that it is asked about; empty: all that have none of their own
	State   State
}

// Histogram counts by size. Counts[i] is of what is at most Bounds[i] and above
// the bound before; the last one, without a bound, is of what is above them all.
type Histogram struct {
	Bounds []float64 // seconds, ascending
	Counts []uint64  // one more than Bounds
	Sum    float64   // seconds
	Count  uint64
}

// latencyBounds are those of Stats.Latency: a cached answer takes microseconds, a
// forwarded one up to queryDeadline.
var latencyBounds = [...]time.Duration{
	10 * time.Microsecond, 50 * time.Microsecond, 250 * time.Microsecond,
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second,
}

// counters are what Stats is made of.
type counters struct {
	queries [outcomes]atomic.Uint64
	latency [len(latencyBounds) + 1]atomic.Uint64
	sum     atomic.Int64 // nanoseconds
}

func (c *counters) dropped() { c.queries[Dropped].Add(1) }

func (c *counters) answered(o Outcome, took time.Duration) {
	c.queries[o].Add(1)
	took = max(took, 0) // the clock may be set back
	i := 0
	for i < len(latencyBounds) && took > latencyBounds[i] {
		i++
	}
	c.latency[i].Add(1)
	c.sum.Add(int64(took))
}

// Stats returns the counters. It is for any goroutine.
func (r *Resolver) Stats() Stats {
	s := r.snapshot.Load()
	out := Stats{Queries: map[Outcome]uint64{}, CacheEntries: s.cache.len()}
	for o := range outcomes {
		out.Queries[o] = r.stats.queries[o].Load()
	}
	for i := range r.stats.latency {
		n := r.stats.latency[i].Load()
		out.Latency.Counts = append(out.Latency.Counts, n)
		out.Latency.Count += n
	}
	for _, b := range latencyBounds {
		out.Latency.Bounds = append(out.Latency.Bounds, b.Seconds())
	}
	out.Latency.Sum = time.Duration(r.stats.sum.Load()).Seconds()
	for _, g := range s.routes.all() {
		for _, u := range g.upstreams {
			out.Upstreams = append(out.Upstreams, Upstream{u.addr.String(), g.domain, r.forwarder.upstreams.state(u)})
		}
	}
	return out
}
