package uplink

import (
	"context"
	crand "crypto/rand"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// Client6Config is what an IPv6 client says of itself, and what it asks for.
type Client6Config struct {
	MAC  frame.MAC // of which its addresses are made
	DHCP bool      // asks for an address by DHCPv6 even where no router says that there are any
	DUID []byte    // how servers know the client; nil: by its MAC address (RFC 8415 clause 11.4)
}

// Client6Env is what an IPv6 client needs of the world. Send and Accept are called one
// after the other and must not call the client.
type Client6Env struct {
	// Now never goes back, and runs on while the machine sleeps, as lifetimes do.
	// nil: such a clock of the kernel's.
	Now func() time.Time

	Inbox  ClientInbox          // what comes in of neighbour discovery, and for UDP port 546
	Send   func([]*frame.Frame) // complete frames
	Accept func(Lease6) error   // may refuse an address, the only one of the lease; nil: anything goes
	Log    *slog.Logger         // nil: slog.Default

	// OnChange is told, from Run's goroutine, what the uplink is to be from now on.
	OnChange func(Lease6)
}

// Client6 gets the addresses and routes of an uplink: of routers, by their
// advertisements (RFC 4861, RFC 4862), and of DHCPv6 servers where routers say so (RFC
// 8415). It answers no neighbour: whoever has its frames does that. What it decides is
// decided by client6Machine, which knows neither a clock nor a wire. It is safe for
// concurrent use.
type Client6 struct {
	cfg  Client6Config
	env  Client6Env
	wake chan struct{} // what is to be done next has changed

	mu      sync.Mutex // guards what follows
	machine *client6Machine
	logged  time.Time // when a problem was logged last
	logging string    // which
	told    Lease6    // what OnChange was told last
	toldAt  time.Time // Run's own, as told
}

// NewClient6 returns a client whose link is up. It does nothing until it runs.
func NewClient6(cfg Client6Config, env Client6Env) *Client6 {
	if env.Now == nil {
		env.Now = sleeplessClock()
	}
	if env.Log == nil {
		env.Log = slog.Default()
	}
	cfg.DUID = slices.Clone(cfg.DUID)
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	c := &Client6{cfg: cfg, env: env, wake: make(chan struct{}, 1)}
	c.machine = newClient6Machine(cfg, rand.New(rand.NewChaCha8(seed)))
	c.machine.accept = env.Accept
	return c
}

// What routers say may change with each of their messages, and anybody on the link can
// send these: so often at most is a change passed on, and a problem logged.
const (
	tellEvery = 200 * time.Millisecond
	logEvery  = 10 * time.Second
)

// Run works until ctx is done. It keeps the addresses then: who does not want them any
// more calls Release before. It is called once.
func (c *Client6) Run(ctx context.Context) {
	c.step(func(m *client6Machine, now time.Time) { m.start(now) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := c.step((*client6Machine).tick)
		timer.Reset(min(wait, c.tell(), maxSleep))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.wake:
		case m := <-c.env.Inbox.Messages():
			c.receive(m)
		}
	}
}

// receive takes one message of the inbox, which may be anything.
func (c *Client6) receive(m *dataplane.Message) {
	defer c.env.Inbox.Done(m)
	f := &m.Frame
	var p frame.Parsed
	p.Parse(f)
	if p.Layer != frame.LayerTransport || p.IPVersion != 6 || f.Src() == c.cfg.MAC {
		return
	}
	if p.Protocol == frame.ProtoICMPv6 {
		if ndp.Valid(f, &p) {
			c.discover(f, &p)
		}
		return
	}
	if payload, ok := reply6Of(f, &p, ndp.LinkLocal(c.cfg.MAC)); ok {
		if r := parseReply6(payload, c.cfg.iaid()); r != nil {
			r.from = netip.AddrFrom16(p.Src())
			c.step(func(m *client6Machine, now time.Time) { m.receive(now, r) })
		}
	}
}

// discover takes a valid message of neighbour discovery.
func (c *Client6) discover(f *frame.Frame, p *frame.Parsed) {
	message, src := f.Bytes()[p.L4:p.End], netip.AddrFrom16(p.Src())
	switch message[0] {
	case ndp.RouterAdvertisement:
		if a, err := ndp.ParseAdvertisement(message); err == nil {
			c.step(func(m *client6Machine, now time.Time) { m.advertised(now, src, &a) })
		}
	case ndp.NeighborSolicitation:
		if !src.IsUnspecified() {
			return // it asks where somebody is, not whether
		}
		fallthrough
	case ndp.NeighborAdvertisement:
		target, mac := ndp.ParseNeighbor(message).Target, f.Src()
		c.step(func(m *client6Machine, now time.Time) { m.claimed(now, target, mac) })
	}
}

// step lets the machine take one event, and does what it wants done. It returns
// how long nothing needs doing then.
func (c *Client6) step(event func(*client6Machine, time.Time)) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, now := c.machine, c.env.Now()
	event(m, now)
	if problem := m.problem(); problem == "" {
		c.logging = ""
	} else if problem != c.logging && (c.logged.IsZero() || now.Sub(c.logged) >= logEvery) {
		c.logging, c.logged = problem, now
		c.env.Log.Warn("uplink: ipv6: "+problem, "state", m.state(now).String())
	}
	var frames []*frame.Frame
	for i := range m.out {
		frames = append(frames, m.out[i].frame6(c.cfg.MAC))
	}
	m.out = m.out[:0]
	if len(frames) > 0 {
		c.env.Send(frames)
	}
	return max(m.next(now).Sub(now), 0)
}

// tell tells of a change, and returns how long it must wait with the next one. It is
// called by Run only, without c.mu.
func (c *Client6) tell() time.Duration {
	lease, _ := c.Lease()
	if lease.sameAs(&c.told) {
		return maxSleep
	}
	now := c.env.Now()
	if wait := c.toldAt.Add(tellEvery).Sub(now); wait > 0 {
		return wait
	}
	c.told, c.toldAt = lease, now
	c.env.Log.Info("uplink: ipv6: changed", "addresses", lease.Addresses, "routes", len(lease.Routes), "mtu", lease.MTU)
	if c.env.OnChange != nil {
		c.env.OnChange(lease)
	}
	return maxSleep
}

// Lease returns what the client has, false where there is no address among it.
func (c *Client6) Lease() (Lease6, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.machine.lease(c.env.Now())
	return l, len(l.Addresses) > 0
}

// Client6Status says for people what a client is at.
type Client6Status struct {
	State   Client6State
	Router  netip.Addr // of the default route; zero: none
	Server  netip.Addr // of DHCPv6; zero: none
	Expires time.Time  // of the first address, by the wall clock; zero without one, and of one that never ends
	Problem string     // what is wrong, empty where nothing is
}

// Status returns what the client is at.
func (c *Client6) Status() Client6Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, now := c.machine, c.env.Now()
	s := Client6Status{State: m.state(now), Router: m.gateway, Server: m.dhcp.from, Problem: m.problem()}
	if ranked := m.ranked(now); len(ranked) > 0 {
		if left := ranked[0].valid.Sub(now); left < eternity/2 {
			s.Expires = time.Now().Add(left).Round(time.Second)
		}
	}
	return s
}

// String is as short as a line of a table: "ready until 2026-01-02 15:04:05".
func (s Client6Status) String() string {
	text := s.State.String()
	if !s.Expires.IsZero() {
		text += " until " + s.Expires.Format(time.DateTime)
	}
	if s.Problem != "" {
		text += ": " + s.Problem
	}
	return text
}

// SetLink says whether the link is up. While it is down nothing is sent, and lifetimes
// go on; once it is up, all is asked for anew, and what nobody says there is dropped.
func (c *Client6) SetLink(up bool) {
	c.event(func(m *client6Machine, now time.Time) { m.setLink(now, up) })
}

// LinkEvent says that something about the link has changed, which may have been down in
// between. A client that waits for a router or a server looks for one at once then.
func (c *Client6) LinkEvent() { c.event((*client6Machine).linkEvent) }

// Release gives back what a server has given, and ends all work of the client for good.
func (c *Client6) Release() { c.event((*client6Machine).release) }

// event is step for those who are not Run.
func (c *Client6) event(f func(*client6Machine, time.Time)) {
	c.step(f)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
