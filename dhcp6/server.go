// Package dhcp6 is a DHCPv6 server (RFC 8415) for one network: addresses, delegated
// prefixes, and what a client wants to know besides. It is handed datagrams and hands
// datagrams back: it opens no socket.
//
// It is made as package dhcp is, and shares its store and package lease with it. Server
// is the outside: locks, the clock, the store, the log. What it does with a message is
// decided by engine, a state machine without any of these; see there for the order of
// things.
//
// The trap is time, as there; and here more so, as a client counts a lifetime from when
// it hears of it. So what a lease was of stays its client's for a while after the end
// that the server knows of.
//
// An identity association has one lease at a time: an address, or a prefix. What it had
// before a change of the configuration it is told to give up, and nobody else gets that
// before its time is over, since the client may not have heard. Temporary addresses
// there are none: whoever wants one makes it itself (RFC 8981). Messages by relays are
// dropped and counted: a network is one link.
package dhcp6

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// errClosed is returned by what a closed server can not do.
var errClosed = fmt.Errorf("dhcp6: the server is closed")

// Request is a UDP datagram to port 547.
type Request struct {
	Port      string // of the switch, that it came in by
	VLAN      uint16
	MAC       frame.MAC // of the frame's sender
	Src       netip.Addr
	Multicast bool   // it was sent to all servers
	Payload   []byte // borrowed for the call
}

// Reply is a UDP datagram from the gateway's port 547.
type Reply struct {
	VLAN    uint16
	MAC     frame.MAC // destination of the frame
	Dst     netip.AddrPort
	Payload []byte // the receiver's own
}

// Delegation is where a delegated prefix leads.
type Delegation struct {
	Prefix netip.Prefix
	Via    netip.Addr // link-local address of the client
}

// Env is what a server needs of the world. Now may be called from several
// goroutines at once; the others are called one after the other, and do not call the
// server.
type Env struct {
	Now    func() time.Time   // wall clock with monotonic reading; nil: time.Now
	Send   func([]Reply)      // never blocks for long
	Routes func([]Delegation) // gets all that are active whenever they change, those of the store with the first Tick
	Log    *slog.Logger       // nil: slog.Default

	// Holder says which machine has a name by the leases of IPv4, where one has it: so
	// nobody gets part of the traffic of a machine by taking its name in the family that
	// it does not use. It is not called by what Lookup and the like call, so that two
	// servers may ask each other. nil: nobody.
	Holder func(name string) (frame.MAC, bool)
}

// watchEvery is how often Tick looks at the clocks, and at a store that failed.
const watchEvery = time.Second

// Server serves the clients of one network. Its methods are safe for concurrent
// use. Those that read (Lookup, Reverse, Holder, Leases, Stats) never wait for the
// store.
type Server struct {
	network string
	store   Store
	env     Env
	log     *slog.Logger
	read    func() lease.Instant

	// work is held by who changes leases, for as long as that takes: deciding,
	// committing, sending. So there is one commit at a time, and nothing is
	// decided on what may yet be undone.
	work    sync.Mutex
	closed  bool
	watch   lease.JumpWatch
	failing bool          // the last commit failed
	retry   time.Duration // when it is tried again, where no client waits for it
	routes  []Delegation  // that Env.Routes has

	// mu is for the engine, and held only while that works. It is taken after
	// work.
	mu     sync.RWMutex
	engine *engine
}

// New returns a server that knows the leases of a network that store has. The
// error is one of the configuration or of the store.
func New(network string, cfg Config, store Store, env Env) (*Server, error) {
	if env.Now == nil {
		env.Now = time.Now
	}
	return newServer(network, cfg, store, env, lease.Clock{Now: env.Now, Start: env.Now()}.Read)
}

// newServer is New with both clocks in the caller's hand.
func newServer(network string, cfg Config, store Store, env Env, read func() lease.Instant) (*Server, error) {
	if env.Log == nil {
		env.Log = slog.Default()
	}
	s := &Server{network: network, store: store, env: env, read: read, log: env.Log.With("network", network)}
	set, err := newSettings(cfg)
	if err != nil {
		return nil, err
	}
	records, err := store.Load6(network)
	if err != nil {
		return nil, fmt.Errorf("dhcp6: leases of network %q: %w", network, err)
	}
	now := s.read()
	s.watch = lease.NewJumpWatch(now)
	s.engine = newEngine(set)
	s.engine.load(now, records)
	return s, nil
}

// Receive deals with all messages of a batch, commits their leases in one
// transaction, and then sends the replies: none that gives a lease leaves before
// that is stored. Messages may make something due: call Tick after it.
func (s *Server) Receive(batch []Request) {
	s.work.Lock()
	defer s.work.Unlock()
	if s.closed {
		return
	}
	messages := make([]*message, 0, len(batch))
	invalid := map[dhcp.MessageKey]uint64{}
	for i := range batch {
		m, outcome := parse(&batch[i])
		switch {
		case m != nil:
			m.foreign = s.elsewhere(m.wishedName(), m.mac)
			messages = append(messages, m)
		case outcome == outcomeRelay:
			invalid[dhcp.MessageKey{Type: "relay", Outcome: outcome}]++
		default:
			invalid[dhcp.MessageKey{Type: "invalid", Outcome: outcome}]++
		}
	}
	s.run(func(e *engine, now lease.Instant) {
		e.expire(now)
		for _, m := range messages {
			e.receive(now, m)
		}
		for key, n := range invalid {
			e.messages[key] += n
		}
	})
}

// elsewhere reports whether a name is that of another machine in the other family.
func (s *Server) elsewhere(name string, mac frame.MAC) bool {
	if name == "" || s.env.Holder == nil {
		return false
	}
	holder, ok := s.env.Holder(name)
	return ok && holder != mac
}

// Tick does what is due: leases and quarantines that end, a clock that was set. It
// returns when it is to be called again at the latest.
func (s *Server) Tick() (next time.Time) {
	s.work.Lock()
	defer s.work.Unlock()
	if s.closed {
		return s.env.Now().Add(time.Hour)
	}
	wait := watchEvery
	var now lease.Instant
	s.run(func(e *engine, n lease.Instant) {
		now = n
		if d, ok := s.watch.Jumped(now); ok {
			e.note(slog.LevelInfo, "dhcp6: the clock was set; leases go on", "by", d.Round(time.Millisecond))
			e.rewrite()
			s.retry = 0 // at once, also where the store failed a moment ago
		}
		e.expire(now)
	})
	if b, ok := s.engine.timers.Top(); ok {
		wait = min(wait, max(0, b.Due-now.Mono))
	}
	if len(s.engine.dirty) > 0 && !s.failing {
		wait = 0
	}
	return s.env.Now().Add(wait)
}

// Reconfigure changes the configuration and keeps the leases. A client whose lease is
// not allowed any more has it until it renews it, and then gets another in its place.
// After an error everything is as before.
func (s *Server) Reconfigure(cfg Config) error {
	s.work.Lock()
	defer s.work.Unlock()
	if s.closed {
		return errClosed
	}
	set, err := newSettings(cfg)
	if err != nil {
		return err
	}
	foreign := s.foreignNames()
	s.run(func(e *engine, now lease.Instant) { e.configure(now, set, foreign) })
	return nil
}

// foreignNames are those that leases here asked for and that clients have in the other
// family. It is asked without mu, which the other server may wait for.
func (s *Server) foreignNames() map[string]frame.MAC {
	foreign := map[string]frame.MAC{}
	if s.env.Holder == nil {
		return foreign
	}
	s.mu.RLock()
	waiting := s.engine.waiting()
	s.mu.RUnlock()
	for _, b := range waiting { // who holds work is the only one to change them
		if mac, ok := s.env.Holder(b.asked); ok {
			foreign[b.asked] = mac
		}
	}
	return foreign
}

// Release ends the lease or the quarantine of an address (a prefix of 128 bits) or of
// a delegated prefix at once, and frees its name. The client does not hear of it, and
// may go on using it until it asks again. The error is dhcp.ErrNoLease, or that of the
// store; then the lease is over here and is written later.
func (s *Server) Release(p netip.Prefix) error {
	s.work.Lock()
	defer s.work.Unlock()
	if s.closed {
		return errClosed
	}
	found := false
	s.retry = 0 // somebody waits for the answer
	err := s.run(func(e *engine, now lease.Instant) {
		b := e.bindings[p.Addr()]
		switch {
		case b == nil || b.prefix != p:
		case b.state == dhcp.Active:
			found = true
			name := b.name
			e.finish(now, b)
			e.partings.Free(name)
		case b.state == dhcp.Declined:
			found = true
			e.forget(b)
		}
	})
	if !found {
		return dhcp.ErrNoLease
	}
	return err
}

// Close ends the server. Nothing is sent, routed or committed afterwards.
func (s *Server) Close() error {
	s.work.Lock()
	defer s.work.Unlock()
	s.closed = true
	return nil
}
