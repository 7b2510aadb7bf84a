// Package dhcp is a DHCPv4 server (RFC 2131) for one network. It is handed
// datagrams and hands datagrams back: it opens no socket.
//
// Server is the outside: locks, the clock, the store, the log. What it does with
// a message is decided by engine, a state machine without any of these; see
// there for the order of things.
//
// The trap is time. A client has an address for as long as it was told, from the
// moment it asked, whatever the server's clock, store or configuration do
// meanwhile. So leases end by the monotonic clock and when the last
// acknowledgement said, which leaves only after its lease is stored, and an
// address whose lease is over stays its client's until nothing else is free.
package dhcp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// ErrNoLease says that nobody has a lease of an address.
var ErrNoLease = errors.New("no lease")

// errClosed is returned by what a closed server can not do.
var errClosed = errors.New("dhcp: the server is closed")

// Request is a UDP datagram to port 67.
type Request struct {
	Port     string // of the switch, that it came in by
	VLAN     uint16
	MAC      frame.MAC // of the frame's sender
	Src, Dst netip.Addr
	Payload  []byte // borrowed for the call
}

// Reply is a UDP datagram from Server:67.
type Reply struct {
	VLAN    uint16
	MAC     frame.MAC // destination of the frame; ff:ff:ff:ff:ff:ff for a broadcast
	Dst     netip.AddrPort
	Payload []byte // the receiver's own
}

// Env is what a server needs of the world. Now may be called from several
// goroutines at once; Send and Probe are called one after the other.
type Env struct {
	Now   func() time.Time                   // wall clock with monotonic reading; nil: time.Now
	Send  func([]Reply)                      // never blocks for long and does not call the server
	Probe func(addr netip.Addr, vlan uint16) // sends one ARP probe (RFC 5227); answers come back through Heard, which it may call itself
	Log   *slog.Logger                       // nil: slog.Default

	// Holder says which machine has a name by the leases of IPv6, where one has it: so
	// nobody gets part of the traffic of a machine by taking its name in the family that
	// it does not use. It is not called by what Lookup and the like call, so that two
	// servers may ask each other. nil: nobody.
	Holder func(name string) (frame.MAC, bool)
}

// Times of what Tick looks after.
const (
	watchEvery = time.Second     // the clocks, and a store that failed
	hostsEvery = 2 * time.Second // the hosts file
)

// Server serves the clients of one network. Its methods are safe for concurrent
// use. Those that read (Lookup, Reverse, Leases, Stats) and Heard never wait for
// the store.
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
	parser  parser
	batch   []*message
	watch   lease.JumpWatch
	hosts   hostsFile
	failing bool          // the last commit failed
	retry   time.Duration // when it is tried again, where no client waits for it

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
	s.hosts.load(cfg.HostsFile, s.log)
	set, err := s.settings(cfg)
	if err != nil {
		return nil, err
	}
	records, err := store.Load(network)
	if err != nil {
		return nil, fmt.Errorf("dhcp: leases of network %q: %w", network, err)
	}
	now := s.read()
	s.watch = lease.NewJumpWatch(now)
	s.engine = newEngine(set)
	s.engine.load(now, records)
	return s, nil
}

// settings joins a configuration and the hosts file.
func (s *Server) settings(cfg Config) (*settings, error) {
	set, problems, err := newSettings(cfg, s.hosts.hosts, s.hosts.lines)
	for _, p := range problems {
		s.log.Warn("dhcp: a line of the hosts file is left out", "error", p)
	}
	return set, err
}

// Receive deals with all messages of a batch, commits their leases in one
// transaction, and then sends the replies: no acknowledgement leaves before its
// lease is stored. Messages may make something due: call Tick after it.
func (s *Server) Receive(batch []Request) {
	s.work.Lock()
	defer s.work.Unlock()
	if s.closed {
		return
	}
	s.batch = s.batch[:0]
	invalid := uint64(0)
	for i := range batch {
		if m := s.parser.parse(&batch[i]); m != nil {
			m.foreign = s.elsewhere(m)
			s.batch = append(s.batch, m)
		} else {
			invalid++
		}
	}
	s.run(func(e *engine, now lease.Instant) {
		e.expire(now)
		for _, m := range s.batch {
			e.receive(now, m)
		}
		if invalid > 0 {
			e.messages[MessageKey{Type: "invalid", Outcome: outcomeMalformed}] += invalid
		}
	})
	clear(s.batch)
}

// elsewhere reports whether the name that a client asks for is that of another machine
// in the other family.
func (s *Server) elsewhere(m *message) bool {
	name := m.wishedName()
	if name == "" || s.env.Holder == nil {
		return false
	}
	mac, _ := m.ethernet()
	holder, ok := s.env.Holder(name)
	return ok && holder != mac
}

// Tick does what is due: probes and offers, leases and quarantines that end, a
// hosts file that changed, a clock that was set. It returns when it is to be
// called again at the latest.
func (s *Server) Tick() (next time.Time) {
	s.work.Lock()
	defer s.work.Unlock()
	if s.closed {
		return s.env.Now().Add(time.Hour)
	}
	s.rereadHosts()
	wait := watchEvery
	var now lease.Instant
	s.run(func(e *engine, n lease.Instant) {
		now = n
		if d, ok := s.watch.Jumped(now); ok {
			e.note(slog.LevelInfo, "dhcp: the clock was set; leases go on", "by", d.Round(time.Millisecond))
			e.rewrite()
			s.retry = 0 // at once, also where the store failed a moment ago
		}
		e.expire(now)
	})
	if due, ok := s.engine.nextDue(); ok {
		wait = min(wait, max(0, due-now.Mono))
	}
	if len(s.engine.dirty) > 0 && !s.failing {
		wait = 0
	}
	return s.env.Now().Add(wait)
}

// Heard says that an ARP packet, that came by a port, gave mac as the owner of
// addr.
func (s *Server) Heard(addr netip.Addr, mac frame.MAC, port string) {
	if !addr.Is4() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine.hear(toIP4(addr), mac, port)
}

// Reconfigure changes the configuration and keeps the leases. A client whose
// lease is not allowed any more has it until it renews it, and then hears that
// it has to begin anew. After an error everything is as before.
func (s *Server) Reconfigure(cfg Config) error {
	s.work.Lock()
	defer s.work.Unlock()
	if s.closed {
		return errClosed
	}
	if cfg.HostsFile != s.hosts.path {
		was := s.hosts
		s.hosts = hostsFile{}
		s.hosts.load(cfg.HostsFile, s.log)
		set, err := s.settings(cfg)
		if err != nil {
			s.hosts = was
			return err
		}
		s.configure(set)
		return nil
	}
	set, err := s.settings(cfg)
	if err != nil {
		return err
	}
	s.configure(set)
	return nil
}

func (s *Server) configure(set *settings) {
	s.run(func(e *engine, now lease.Instant) { e.configure(now, set) })
}

// Release ends the lease or the quarantine of an address at once, and frees its
// name. The client does not hear of it, and may go on using the address until it asks again. The
// error is ErrNoLease, or that of the store; then the lease is over here and is
// written later.
func (s *Server) Release(addr netip.Addr) error {
	s.work.Lock()
	defer s.work.Unlock()
	if s.closed {
		return errClosed
	}
	found := false
	s.retry = 0 // somebody waits for the answer
	err := s.run(func(e *engine, now lease.Instant) {
		b := e.bindings[toIP4(addr)]
		switch {
		case b == nil:
		case b.state == Active:
			found = true
			name := b.name
			e.finish(now, b)
			e.partings.Free(name)
		case b.state == Declined:
			found = true
			e.forget(b)
		}
	})
	if !found {
		return ErrNoLease
	}
	return err
}

// Close ends the server. Nothing is sent or committed afterwards.
func (s *Server) Close() error {
	s.work.Lock()
	defer s.work.Unlock()
	s.closed = true
	return nil
}
