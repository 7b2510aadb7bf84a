// Package ra advertises a router to the hosts of one link (RFC 4861 clause 6.2, RFC
// 4191, RFC 8106, RFC 9096). It is told of solicitations and hands messages back: it
// opens no socket, and looks at no packet.
//
// Advertiser is the outside: a goroutine, the lock, the clock. When something is to be
// sent is decided by schedule, and what by leaflet, neither of which waits for
// anything.
//
// A solicitation is answered to its sender alone where that has an address. RFC 4861
// clause 6.2.6 allows both, and wants three seconds between two advertisements to all
// nodes: of guests that boot one after another, most would wait for that long, and all
// others would be woken by each. Answers to one are bounded instead: there is a fixed
// number of places, and one place for a MAC address. Who has no address yet, or finds no
// place, is answered with an advertisement to all, of which one serves any number.
//
// The trap: Env.Send is called by a goroutine of the Advertiser's own, and by Close,
// which waits for that one: Send must not call Close.
package ra

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// Config is what is advertised, and how often. Compare it with reflect.DeepEqual.
type Config struct {
	Advertisement ndp.Advertisement

	// Interval is the longest time between two advertisements to all nodes
	// (MaxRtrAdvInterval), 4 s to 1800 s: what is beyond is taken for the nearest.
	Interval time.Duration
}

// Env is what an Advertiser needs of the world.
type Env struct {
	// Send sends a message, whose checksum is to be filled in, from the router's
	// link-local address. It never blocks for long, and is not called by two at once.
	Send func(dst netip.Addr, mac frame.MAC, message []byte)

	Now  func() time.Time                        // nil: time.Now
	Rand func(below time.Duration) time.Duration // evenly from [0, below), which is positive; nil: math/rand/v2
	Log  *slog.Logger                            // nil: slog.Default
}

// Solicitation is a valid router solicitation.
type Solicitation struct {
	Src netip.Addr // unspecified where the sender has no address yet
	MAC frame.MAC  // of the frame's sender: where the answer goes, whatever the message says
}

// Stats count since New.
type Stats struct {
	Multicast, Unicast uint64 // messages sent to all nodes, and to one
	Received           uint64 // solicitations
	Refused            uint64 // of those: from an address that none can be sent to
}

// Advertiser advertises one router. Its methods are safe for concurrent use.
type Advertiser struct {
	env  Env
	wake chan struct{} // something may be due earlier
	stop chan struct{}
	done sync.WaitGroup
	once sync.Once // Close or Withdraw

	mu       sync.Mutex
	cfg      Config // as given
	leaflet  leaflet
	schedule schedule
	stats    Stats
}

// New starts to advertise, at once.
func New(cfg Config, env Env) *Advertiser {
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Rand == nil {
		env.Rand = rand.N[time.Duration]
	}
	if env.Log == nil {
		env.Log = slog.Default()
	}
	a := &Advertiser{env: env, wake: make(chan struct{}, 1), stop: make(chan struct{}), cfg: cfg}
	a.leaflet.set(env.Now(), cfg)
	a.schedule = newSchedule(env.Now(), interval(cfg), env.Rand)
	a.done.Add(1)
	go a.run()
	return a
}

// Reconfigure advertises something else, soon and a few times, as RFC 4861 clause
// 6.2.4 does for what changes. What was advertised and is not any more is taken back
// for as long as hosts may believe in it. It does nothing where cfg is as before.
func (a *Advertiser) Reconfigure(cfg Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if reflect.DeepEqual(cfg, a.cfg) {
		return
	}
	a.cfg = cfg
	now := a.env.Now()
	for _, p := range a.leaflet.set(now, cfg) {
		a.env.Log.Info("router advertisements: a prefix is gone, and hosts are told", "prefix", p)
	}
	a.schedule.restart(now, interval(cfg))
	a.hurry()
}

// Receive takes a solicitation. It never blocks for long.
func (a *Advertiser) Receive(s Solicitation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Received++
	if !s.answerable() {
		a.stats.Refused++
		return
	}
	if a.schedule.solicited(a.env.Now(), s) {
		a.hurry()
	}
}

// answerable reports whether an answer may go where the solicitation comes from.
func (s Solicitation) answerable() bool {
	return s.Src.Is6() && !s.Src.Is4In6() && !s.Src.IsMulticast() && !s.MAC.IsGroup() && s.MAC != frame.MAC{}
}

// Stats returns what has been counted.
func (a *Advertiser) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Close ends the advertising, and tells all nodes that the router is none any more
// (RFC 4861 clause 6.2.5). It does so at once, also where the last advertisement was
// less than MIN_DELAY_BETWEEN_RAS ago: a router that waits may be gone before. There is
// one such message only. Nothing is sent when Close has returned.
func (a *Advertiser) Close() { a.end((*leaflet).farewell) }

// Withdraw is Close for a network that is without a router for good: hosts are told to
// give up all that was advertised, their addresses too.
func (a *Advertiser) Withdraw() {
	a.end(func(l *leaflet) [][]byte {
		now := a.env.Now()
		l.set(now, Config{Advertisement: ndp.Advertisement{HopLimit: l.is.HopLimit, MAC: l.is.MAC}})
		return l.messages(now)
	})
}

// end ends the advertising with some last words.
func (a *Advertiser) end(words func(*leaflet) [][]byte) {
	a.once.Do(func() {
		close(a.stop)
		a.done.Wait()
		a.mu.Lock()
		messages := words(&a.leaflet)
		a.stats.Multicast += uint64(len(messages))
		a.mu.Unlock()
		a.send(ndp.AllNodes, allNodesMAC, messages)
	})
}

func (a *Advertiser) hurry() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

var allNodesMAC = ndp.GroupMAC(ndp.AllNodes)

// run sends what is due until Close.
func (a *Advertiser) run() {
	defer a.done.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-a.wake:
		case <-a.stop:
			return
		}
		timer.Reset(a.advertise())
	}
}

// advertise sends what is due, and returns how long nothing will be.
func (a *Advertiser) advertise() time.Duration {
	a.mu.Lock()
	now := a.env.Now()
	all, some := a.schedule.due(now)
	var messages [][]byte
	if all || len(some) > 0 {
		messages = a.leaflet.messages(now)
	}
	if all {
		a.stats.Multicast += uint64(len(messages))
	}
	a.stats.Unicast += uint64(len(some) * len(messages))
	wait := a.schedule.next().Sub(now)
	a.mu.Unlock()
	if all {
		a.send(ndp.AllNodes, allNodesMAC, messages)
	}
	for _, s := range some {
		a.send(s.Src, s.MAC, messages)
	}
	return max(wait, 0)
}

func (a *Advertiser) send(dst netip.Addr, mac frame.MAC, messages [][]byte) {
	for _, m := range messages {
		a.env.Send(dst, mac, m)
	}
}
