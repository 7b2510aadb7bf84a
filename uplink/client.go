package uplink

import (
	"context"
	crand "crypto/rand"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
)

// ClientConfig is what a DHCP client says of itself, and what it asks for.
type ClientConfig struct {
	MAC      frame.MAC
	Hostname string // empty: none
	ClientID []byte // value of option 61; nil: Ethernet and the MAC address

	// Previous is an address that the client had before, which it asks for first
	// (RFC 2131 clause 3.2). Zero: none.
	Previous netip.Addr
}

// ClientEnv is what a DHCP client needs of the world. Send, Resolve, Probe and
// Accept are called one after the other and must not call the client.
type ClientEnv struct {
	// Now never goes back, and runs on while the machine sleeps, as a lease does.
	// nil: such a clock of the kernel's.
	Now func() time.Time

	Inbox   ClientInbox           // what comes in for UDP port 68
	Send    func([]*frame.Frame)  // complete frames
	Resolve func([]*frame.Frame)  // the destination MAC address is to be filled in
	Probe   func(addr netip.Addr) // sends one ARP probe (RFC 5227); who answers is told by Conflict. nil: an address is taken unseen
	Accept  func(Lease) error     // may refuse what a server offers; nil: anything goes
	Log     *slog.Logger          // nil: slog.Default

	// OnChange is told, from Run's goroutine, what the uplink is to be from now
	// on, and by false that it has no address any more. A lease that only lasts
	// longer than before is no change.
	OnChange func(lease Lease, ok bool)
}

// ClientInbox is the part of a dataplane.Inbox that a client reads.
type ClientInbox interface {
	Messages() <-chan *dataplane.Message
	Done(*dataplane.Message)
}

var _ ClientInbox = (*dataplane.Inbox)(nil)

// Client gets the address of an uplink by DHCP and keeps it (RFC 2131 clause 4.4).
// What it decides is decided by clientMachine, which knows neither a clock nor a
// wire. It is safe for concurrent use.
type Client struct {
	cfg  ClientConfig
	env  ClientEnv
	wake chan struct{} // what is to be done next has changed

	mu      sync.Mutex // guards machine
	machine *clientMachine

	told Lease // what OnChange was told last, the zero Lease where none; Run's own
}

// NewClient returns a client whose link is up. It does nothing until it runs.
func NewClient(cfg ClientConfig, env ClientEnv) *Client {
	if env.Now == nil {
		env.Now = sleeplessClock()
	}
	if env.Log == nil {
		env.Log = slog.Default()
	}
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	c := &Client{cfg: cfg, env: env, wake: make(chan struct{}, 1)}
	c.machine = newClientMachine(cfg, rand.New(rand.NewChaCha8(seed)))
	c.machine.accept, c.machine.probes = env.Accept, env.Probe != nil
	return c
}

// maxSleep bounds how long Run waits: a timer stands still while the machine
// sleeps, and leases do not.
const maxSleep = 30 * time.Second

// Run works until ctx is done. It keeps the lease then: who does not want it any
// more calls Release before. It is called once.
func (c *Client) Run(ctx context.Context) {
	c.step(func(m *clientMachine, now time.Time) { m.start(now) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := c.step((*clientMachine).tick)
		c.tell()
		timer.Reset(min(wait, maxSleep))
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
func (c *Client) receive(m *dataplane.Message) {
	defer c.env.Inbox.Done(m)
	payload, ok := replyOf(&m.Frame)
	if !ok {
		return
	}
	r := parseReply(payload)
	if r == nil {
		return
	}
	c.step(func(m *clientMachine, now time.Time) { m.receive(now, r) })
}

// step lets the machine take one event, and does what it wants done. It returns
// how long nothing needs doing then.
func (c *Client) step(event func(*clientMachine, time.Time)) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, now := c.machine, c.env.Now()
	problem := m.problem
	event(m, now)
	if m.problem != problem && m.problem != "" {
		c.env.Log.Warn("uplink: dhcp: "+m.problem, "state", m.state.String())
	}
	for _, p := range m.out {
		c.perform(p)
	}
	m.out = m.out[:0]
	return max(m.next(now).Sub(now), 0)
}

// perform sends what the machine wants sent. c.mu is held.
func (c *Client) perform(p clientPacket) {
	switch {
	case p.payload == nil:
		c.env.Probe(p.dst)
	case p.dst == broadcastAddr:
		c.env.Send([]*frame.Frame{requestFrame(c.cfg.MAC, broadcastMAC, p)})
	default:
		c.env.Resolve([]*frame.Frame{requestFrame(c.cfg.MAC, frame.MAC{}, p)})
	}
}

// tell tells of a change. It is called by Run only, without c.mu.
func (c *Client) tell() {
	lease, ok := c.Lease()
	if lease.sameAs(&c.told) {
		return
	}
	c.told = lease
	if ok {
		c.env.Log.Info("uplink: dhcp: address", "address", lease.Address, "gateway", lease.Gateway, "server", lease.Server, "lease", lease.Duration)
	} else {
		c.env.Log.Warn("uplink: dhcp: the address is gone")
	}
	if c.env.OnChange != nil {
		c.env.OnChange(lease, ok)
	}
}

// Lease returns what the client has, false where that is nothing.
func (c *Client) Lease() (Lease, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.machine.held == nil {
		return Lease{}, false
	}
	return c.machine.held.clone(), true
}

// ClientStatus says for people what a client is at.
type ClientStatus struct {
	State   ClientState
	Expires time.Time // of the lease, by the wall clock; zero without a lease, and of one that never ends
	Problem string    // what was wrong last, empty once there is an address
}

// Status returns what the client is at.
func (c *Client) Status() ClientStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.machine
	s := ClientStatus{State: m.state, Problem: m.problem}
	if m.held != nil && !m.held.Expires.IsZero() {
		s.Expires = time.Now().Add(m.held.Expires.Sub(c.env.Now())).Round(time.Second)
	}
	return s
}

// String is as short as a line of a table: "bound until 15:04:05".
func (s ClientStatus) String() string {
	text := s.State.String()
	if !s.Expires.IsZero() {
		text += " until " + s.Expires.Format(time.DateTime)
	}
	if s.Problem != "" {
		text += ": " + s.Problem
	}
	return text
}

// SetLink says whether the link is up. While it is down nothing is sent, and the
// lease goes on; once it is up, the server is asked whether that still holds here.
func (c *Client) SetLink(up bool) {
	c.event(func(m *clientMachine, now time.Time) { m.setLink(now, up) })
}

// LinkEvent says that something about the link has changed, which may have been down in
// between. A client that waits for a server looks for one at once then.
func (c *Client) LinkEvent() { c.event((*clientMachine).linkEvent) }

// Conflict says that another station, mac, has said that it has addr.
func (c *Client) Conflict(addr netip.Addr, mac frame.MAC) {
	c.event(func(m *clientMachine, now time.Time) { m.conflict(now, addr, mac) })
}

// Release gives the lease back, and ends all work of the client for good.
func (c *Client) Release() {
	c.event((*clientMachine).release)
}

// event is step for those who are not Run.
func (c *Client) event(f func(*clientMachine, time.Time)) {
	c.step(f)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
