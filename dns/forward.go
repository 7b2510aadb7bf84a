package dns

import (
	"bytes"
	"context"
	"net/netip"
	"sync"
	"time"

	wire "github.com/miekg/dns"
)

const (
	maxFlights = 512  // questions that are asked at a time
	maxJoined  = 256  // queries that wait for one of them
	maxWaiting = 4096 // for all of them

	// portShare is the part of each of these that one port may have: a guest whose
	// questions nobody answers leaves room for the others.
	portShare = 4

	queryDeadline = 5 * time.Second // of a question, all its attempts together
	attemptTime   = 2 * time.Second // of one attempt at one upstream
	maxRounds     = 3               // through the upstreams of a group
)

// waiter is a query whose answer is on its way.
type waiter struct {
	asker
	port  string // that it came in by
	reply func([]byte)
	start time.Time
}

// flightKey is what makes two queries wait for the same answer.
type flightKey struct {
	question
	group *group
}

// forwarder asks upstreams. Every goroutine of a resolver is one of its own.
type forwarder struct {
	env       *Env
	stats     *counters
	upstreams *upstreams

	deadline, attempt time.Duration

	ctx   context.Context
	close context.CancelFunc
	tasks sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	flights map[flightKey][]waiter // the first of them has begun it
	waiting int
	shares  map[string]share // by port; none that has nothing
}

// share is what a port has under way.
type share struct {
	flights int // that its queries have begun
	waiting int // queries
}

func newForwarder(env *Env, stats *counters) *forwarder {
	f := &forwarder{
		env: env, stats: stats, deadline: queryDeadline, attempt: attemptTime,
		upstreams: &upstreams{log: env.Log, all: map[netip.AddrPort]*upstream{}},
		flights:   map[flightKey][]waiter{}, shares: map[string]share{},
	}
	f.ctx, f.close = context.WithCancel(context.Background())
	return f
}

// stop ends everything that is under way and waits for it. No reply comes after it.
func (f *forwarder) stop() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.close()
	f.tasks.Wait()
}

// start runs a task with the deadline of a question; not after stop.
func (f *forwarder) start(task func(context.Context)) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.startLocked(task)
}

func (f *forwarder) startLocked(task func(context.Context)) bool {
	if f.closed {
		return false
	}
	f.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(f.ctx, f.deadline)
		defer cancel()
		task(ctx)
	})
	return true
}

// forward has a query wait for its answer, and asks for it where nobody does yet.
// It returns false for one too many, which costs no goroutine and keeps nothing.
// What w says of the query itself is filled in here.
func (f *forwarder) forward(q *query, g *group, c *cache, w waiter) bool {
	key := flightKey{question{string(q.key()), q.kind, q.do, q.flags&bitCD != 0}, g}
	f.mu.Lock()
	defer f.mu.Unlock()
	waiters, flying := f.flights[key]
	if !f.hasRoom(waiters, w.port) {
		return false
	}
	if !flying && !f.startLocked(func(ctx context.Context) { f.fly(ctx, key, c) }) {
		return false
	}
	w.asker = q.asker
	w.question = bytes.Clone(q.question) // the query is only borrowed
	f.flights[key] = append(waiters, w)
	f.waiting++
	mine := f.shares[w.port]
	mine.waiting++
	if !flying {
		mine.flights++
	}
	f.shares[w.port] = mine
	return true
}

// hasRoom reports whether one more query of a port may wait for a flight; for a
// new one where nobody does.
func (f *forwarder) hasRoom(waiters []waiter, port string) bool {
	mine := f.shares[port]
	if len(waiters) == 0 && (len(f.flights) >= maxFlights || mine.flights >= maxFlights/portShare) {
		return false
	}
	if len(waiters) >= maxJoined || f.waiting >= maxWaiting || mine.waiting >= maxWaiting/portShare {
		return false
	}
	joined := 0
	for i := range waiters {
		if waiters[i].port == port {
			joined++
		}
	}
	return joined < maxJoined/portShare
}

// land ends a flight and returns who has waited for it.
func (f *forwarder) land(key flightKey) []waiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiters := f.flights[key]
	delete(f.flights, key)
	f.waiting -= len(waiters)
	for i := range waiters {
		port := waiters[i].port
		its := f.shares[port]
		its.waiting--
		if i == 0 {
			its.flights--
		}
		if f.shares[port] = its; its == (share{}) {
			delete(f.shares, port)
		}
	}
	return waiters
}

// fly asks a question and answers all who wait.
func (f *forwarder) fly(ctx context.Context, key flightKey, c *cache) {
	e := f.ask(ctx, key)
	c.put(e) // before the flight ends, so that nobody asks in between
	waiters := f.land(key)
	if f.ctx.Err() != nil {
		return
	}
	outcome := Forwarded
	if e.rcode != wire.RcodeSuccess && e.rcode != wire.RcodeNameError {
		outcome = Failed
	}
	for i := range waiters {
		w := &waiters[i]
		b := e.reply(&w.asker, 0)
		f.stats.answered(outcome, f.env.Now().Sub(w.start))
		w.reply(b)
	}
}

// ask goes through the upstreams of a group until one knows. One that says it
// cannot help is not asked again; one that says nothing is, if there is time.
func (f *forwarder) ask(ctx context.Context, key flightKey) *entry {
	result := &entry{question: key.question, rcode: wire.RcodeServerFailure}
	said := map[*upstream]bool{}
	for range maxRounds {
		for _, u := range f.upstreams.order(key.group) {
			if said[u] {
				continue
			}
			e, err := f.exchange(ctx, u, key.question)
			switch {
			case err != nil && ctx.Err() != nil:
				return result // it did not have the time of an attempt
			case err != nil:
				f.upstreams.failed(u, err, f.env.Now())
			case e.rcode == wire.RcodeSuccess || e.rcode == wire.RcodeNameError:
				f.upstreams.answered(u, key.group, f.env.Now())
				e.group = key.group
				return e
			default:
				f.upstreams.answered(u, nil, f.env.Now())
				said[u], result = true, e
			}
		}
	}
	return result
}
