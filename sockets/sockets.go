// Package sockets lets guests out by ordinary sockets of this machine, and lets
// clients in by listening ones. It needs no privilege, no address of its own and no
// interface: what the machine itself can reach, guests can.
//
// A guest's packets for elsewhere arrive in the inbox dataplane.Outside. A TCP
// connection ends here, in gVisor's network stack, and goes on as a connection of the
// host (stack.go, connection.go); a guest's UDP port or echo identifier has one socket
// of the host, whomever it talks to (mapping.go). What comes back is made into packets
// again, and the dataplane finds the guest's MAC address.
//
// IPv4 and IPv6 go the same ways, and family.go has what differs. What a guest sends by
// one family leaves by that family, or the guest hears at once that it cannot. Only at
// published ports, where two sockets meet, they may be of different families.
//
// Who works on what: one goroutine takes packets out of the inbox; one hears from the
// kernel which sockets are ready; a few workers move data. A flow costs no goroutine
// while it is open, only while a guest's handshake lasts. Every job, which is one
// connection, mapping or listener, is in the hands of one worker at a time, so that
// descriptors are closed by nobody else.
//
// The trap: the TCP of a guest and that of the host are two connections. What the
// guest has had acknowledged is not yet at its destination.
package sockets

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
)

// Seat is the place in a network, as *dataplane.Gateway has it.
type Seat interface {
	Inbox(dataplane.Service) *dataplane.Inbox
	// Resolve sends untagged packets of IPv4 and IPv6 to stations, whose MAC addresses it fills
	// in, and keeps none of them.
	Resolve([]*frame.Frame)
}

// Config is what Reconfigure can change, and what the flows of a network may be.
type Config struct {
	// Address and Address6 are the gateway's, with the subnets: of IPv4, zero where
	// there is none, and of IPv6, global or unique local. Where there is one of IPv6
	// the gateway also has the link-local address of MAC. All are fixed.
	Address  netip.Prefix
	Address6 []netip.Prefix
	MAC      frame.MAC

	MTU int // of the network, in bytes; fixed
	Env Env // fixed

	// Budget bounds the sockets of all networks of the process; nil: one for this
	// network alone. Relay is told which ports of the gateway stand for peers; nil:
	// nobody is. Both are fixed.
	Budget *Budget
	Relay  *dataplane.RelayPorts

	// Allowed says where guests may go; nil: everywhere. Addresses of the machine
	// are asked about as any others. Loopback, groups, link-local and IPv4-mapped
	// addresses and the subnets themselves are out of the question.
	Allowed func(netip.Addr) bool
	// Local says which addresses are this machine's. nil: none is known.
	Local func(netip.Addr) bool

	Filtering  Filtering
	MaxFlows   int // 0: 65536
	MaxPerHost int // 0: as MaxFlows
	Timeouts   Timeouts
	Publish    []Publish
}

// Timeouts say how long what is silent lasts. Zero ones have the value in brackets.
type Timeouts struct {
	UDP  time.Duration // [300 s] RFC 4787 REQ-5
	ICMP time.Duration // [60 s] RFC 5508 REQ-2
	// TCP is how long a connection is idle before the guest is asked whether it
	// still knows it [7440 s]. A connection of two that live does not end.
	TCP time.Duration
	// Transitory is how long a connection may take to end [240 s].
	Transitory time.Duration
}

// Filtering says who may answer a guest's UDP port (RFC 4787 clause 5).
type Filtering uint8

const (
	ByAddress  Filtering = iota // the addresses that it has talked to
	ByEndpoint                  // these with their ports
	Anybody
)

// Env is what a program takes from its machine. The zero value is the machine.
type Env struct {
	// Socket opens a socket, as socket(2) does; non-blocking and close-on-exec are
	// among the flags of kind.
	Socket func(family, kind, protocol int) (int, error)
	// Connect begins a connection, as connect(2) does on a non-blocking socket.
	Connect func(fd int, to netip.AddrPort) error
	// PortRange returns the ports that the machine itself takes for connections
	// (net.ipv4.ip_local_port_range).
	PortRange func() (first, last uint16)
}

// Sockets is the way out of one network. It is safe for concurrent use.
type Sockets struct {
	seat    Seat
	log     *slog.Logger
	env     Env
	gateway gatewayAddresses
	mtu     int

	cfg   atomic.Pointer[Config]
	now   atomic.Int64 // seconds, from 1 on
	table table
	stack *guestStack
	queue queue
	ready *poller
	echo  [2]echoKind // by family.index

	budget *Budget
	raws   *Budget // of raw sockets

	reassembly reassembly // of the inbox's goroutine, as is from
	from       string     // the port by which the packet in hand has come in
	joined     bool       // it has come in fragments
	errors     bucket     // of ICMP errors
	counters   counters
	ipID       atomic.Uint32

	reconfigure sync.Mutex // held by Reconfigure and Close; guards listeners
	listeners   map[listenKey]*listener

	stop       chan struct{}
	loops      sync.WaitGroup // ended by stop
	handshakes sync.WaitGroup // goroutines that wait for a guest
	workers    sync.WaitGroup
	closing    atomic.Bool
}

// New opens the listening sockets of cfg and starts. It fails where one of them
// cannot be opened.
func New(seat Seat, cfg Config, log *slog.Logger) (*Sockets, error) {
	s, err := open(seat, cfg, log)
	if err != nil {
		return nil, err
	}
	s.loops.Add(1)
	go s.serve(seat.Inbox(dataplane.Outside))
	return s, nil
}

// open is New without the inbox.
func open(seat Seat, cfg Config, log *slog.Logger) (*Sockets, error) {
	s := &Sockets{
		seat: seat, log: log, env: cfg.Env.orMachine(), gateway: cfg.gateway(), mtu: cfg.MTU,
		listeners: map[listenKey]*listener{}, stop: make(chan struct{}),
	}
	if s.budget, s.raws = cfg.Budget, newBudget(maxRaw); s.budget == nil {
		s.budget = NewBudget()
	}
	s.now.Store(1)
	s.table.init(orElse(cfg.Relay, new(dataplane.RelayPorts)))
	s.table.ephemeral.first, s.table.ephemeral.last = s.env.PortRange()
	s.queue.init()
	s.probeEcho()
	var err error
	if s.ready, err = newPoller(); err != nil {
		return nil, err
	}
	if s.stack, err = newGuestStack(s); err != nil {
		s.ready.close()
		return nil, err
	}
	s.budget.join(s)
	s.start()
	if err := s.Reconfigure(cfg); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Sockets) start() {
	for range min(max(runtime.GOMAXPROCS(0), 2), 4) {
		s.workers.Add(1)
		go s.work()
	}
	s.loops.Add(2)
	go func() {
		defer s.loops.Done()
		s.ready.run()
	}()
	go s.tick()
}

// Reconfigure opens and closes listening sockets, and ends flows to where guests may
// not go any more. All other flows go on. After an error everything is as before.
func (s *Sockets) Reconfigure(cfg Config) error {
	wanted, err := cfg.listeners(&s.gateway)
	if err != nil {
		return err
	}
	cfg.setDefaults()
	s.reconfigure.Lock()
	defer s.reconfigure.Unlock()
	if s.closing.Load() {
		return fmt.Errorf("the sockets of %s are closed", &s.gateway)
	}
	if err := s.relisten(wanted); err != nil {
		return err
	}
	s.cfg.Store(&cfg)
	s.table.limit(cfg.MaxFlows, cfg.MaxPerHost)
	s.endForbidden()
	return nil
}

func (c *Config) setDefaults() {
	c.Timeouts.UDP = orElse(c.Timeouts.UDP, 300*time.Second)
	c.Timeouts.ICMP = orElse(c.Timeouts.ICMP, time.Minute)
	c.Timeouts.TCP = orElse(c.Timeouts.TCP, 7440*time.Second)
	c.Timeouts.Transitory = orElse(c.Timeouts.Transitory, 240*time.Second)
	c.MaxFlows = orElse(c.MaxFlows, 65536)
	c.MaxPerHost = orElse(c.MaxPerHost, c.MaxFlows)
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Close ends all flows, the connections of both sides by a reset.
func (s *Sockets) Close() {
	s.reconfigure.Lock()
	closed := s.closing.Swap(true)
	s.reconfigure.Unlock()
	if closed {
		return
	}
	close(s.stop)
	s.ready.close()
	s.loops.Wait()
	for key, l := range s.listeners {
		l.close()
		delete(s.listeners, key)
	}
	s.Flush(nil)
	s.stack.close(&s.handshakes) // after which no job is given any more
	s.queue.close()
	s.workers.Wait()
	s.stack.wait()
	s.budget.leave(s)
}

// tick is the clock of all timeouts.
func (s *Sockets) tick() {
	defer s.loops.Done()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
			s.sweep(s.now.Add(1))
			s.complain()
		}
	}
}
