package sockets

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// tuple names a flow as its guest sees it.
type tuple struct {
	protocol uint8
	guest    netip.AddrPort // the port of ICMP: the identifier of the echo
	remote   netip.AddrPort // the port of ICMP: 0
}

// flow is what a guest and one remote endpoint say to each other. A connection is one;
// a mapping has many.
type flow struct {
	tuple
	peer    netip.AddrPort // who it is: tuple.remote, but where the gateway stands for it
	outside bool           // it was begun from outside
	relay   uint16         // the gateway's port that stands for the peer, else 0
	via     netip.Addr     // this machine's address that the peer of a published port talks to
	owner   owner

	local netip.AddrPort // of the host's socket; guarded by table.mu, as is at
	at    int            // in table.list

	packets, bytes atomic.Uint64
	used           atomic.Int64
}

// owner is the job that a flow belongs to.
type owner interface {
	// describe adds what the flow does not know itself.
	describe(f *flow, to *Flow)
	// check looks at the flow every few seconds, and reports whether it is over: then
	// it is taken out of the table. It is called with the table locked.
	check(f *flow, now int64, c *Config) (over bool)
	// end ends the flow. Where it reports true, it is over at once.
	end(f *flow) (over bool)
}

func (f *flow) count(bytes int, now int64) {
	f.packets.Add(1)
	f.bytes.Add(uint64(bytes))
	f.used.Store(now)
}

// Reason says why there is no flow.
type Reason uint8

const (
	TableFull  Reason = iota // as many flows as there may be
	HostFull                 // as many as one guest may have
	Connecting               // too many connections of which the other end is not heard of yet
	PortsFull                // no port of the gateway is free
	NoSocket                 // the machine gives no more sockets
	Prohibited               // guests may not go there

	numReasons
)

// String returns the reason as counters name it.
func (r Reason) String() string {
	return [numReasons]string{"table-full", "host-full", "connecting", "ports-full", "no-socket", "prohibited"}[r]
}

// How many connections may be on their way, in all and of one guest: each holds a
// goroutine, or a socket that the kernel sends SYNs for.
const (
	maxConnecting     = 4096
	maxHostConnecting = 1024
)

// table knows all flows.
type table struct {
	mu         sync.Mutex
	flows      map[tuple]*flow
	list       []*flow // the same, in some order
	mappings   map[inside]*mapping
	hosts      map[netip.Addr]*host
	relays     map[relay]bool
	nextRelay  uint16
	echoes     map[uint16]bool // identifiers of raw sockets
	connecting int
	now        [3]int // flows by protocol: see slotOf

	max, maxPerHost int
}

// inside is an endpoint of a guest.
type inside struct {
	protocol uint8
	guest    netip.AddrPort
}

type relay struct {
	protocol uint8
	port     uint16
}

// host counts what one guest has.
type host struct{ flows, connecting int }

func (t *table) init() {
	t.flows, t.mappings = map[tuple]*flow{}, map[inside]*mapping{}
	t.hosts, t.relays = map[netip.Addr]*host{}, map[relay]bool{}
	t.echoes = map[uint16]bool{}
	t.nextRelay = relayFirst
}

func (t *table) limit(flows, perHost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.max, t.maxPerHost = flows, perHost
}

// find returns a flow, nil where there is none.
func (t *table) find(k tuple) *flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.flows[k]
}

// admit says whether a guest may have one more flow. t.mu is held.
func (t *table) admit(protocol uint8, guest netip.Addr) (Reason, bool) {
	h := t.hosts[guest]
	switch {
	case len(t.flows) >= t.max:
		return TableFull, false
	case h != nil && h.flows >= t.maxPerHost:
		return HostFull, false
	case protocol == frame.ProtoTCP && (t.connecting >= maxConnecting || h != nil && h.connecting >= maxHostConnecting):
		return Connecting, false
	}
	return 0, true
}

// insert takes in a flow that has been admitted. t.mu is held.
func (t *table) insert(f *flow) {
	t.flows[f.tuple] = f
	f.at = len(t.list)
	t.list = append(t.list, f)
	t.now[slotOf(f.protocol)]++
	h := t.hosts[f.guest.Addr()]
	if h == nil {
		h = &host{}
		t.hosts[f.guest.Addr()] = h
	}
	h.flows++
	if f.protocol == frame.ProtoTCP {
		h.connecting++
		t.connecting++
	}
}

// remove is the inverse of insert. connecting says that a connection has not come
// about. t.mu is held.
func (t *table) remove(f *flow, connecting bool) {
	if t.flows[f.tuple] != f {
		return
	}
	delete(t.flows, f.tuple)
	last := t.list[len(t.list)-1]
	t.list[f.at], last.at = last, f.at
	t.list[len(t.list)-1] = nil
	t.list = t.list[:len(t.list)-1]
	t.now[slotOf(f.protocol)]--
	if f.relay != 0 {
		delete(t.relays, relay{f.protocol, f.relay})
	}
	h := t.hosts[f.guest.Addr()]
	h.flows--
	if connecting {
		h.connecting--
		t.connecting--
	}
	if h.flows == 0 {
		delete(t.hosts, f.guest.Addr())
	}
}

// connected notes that a connection has come about.
func (t *table) connected(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hosts[f.guest.Addr()].connecting--
	t.connecting--
}

// The gateway's ports that stand for peers: see dataplane.RelayFirst.
const (
	relayFirst = 61000
	relayLast  = 65535
)

// takeRelay returns a port of the gateway's that no other flow has. Those that were
// free for longest come first. t.mu is held.
func (t *table) takeRelay(protocol uint8) (uint16, bool) {
	for range relayLast - relayFirst + 1 {
		r := relay{protocol, t.nextRelay}
		if t.nextRelay++; t.nextRelay < relayFirst { // after the last one
			t.nextRelay = relayFirst
		}
		if !t.relays[r] {
			t.relays[r] = true
			return r.port, true
		}
	}
	return 0, false
}

// sweepShare is how many flows are looked at while the table is locked.
const sweepShare = 1024

// each calls do for every flow, with the table locked for some at a time: a flow that
// comes or goes meanwhile may be left out. What do reports to be over is taken out.
func (t *table) each(do func(*flow) (over bool)) (taken int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.list) - 1; i >= 0; i-- {
		if i%sweepShare == 0 {
			t.mu.Unlock()
			t.mu.Lock()
		}
		if i >= len(t.list) {
			continue
		}
		if f := t.list[i]; do(f) {
			t.remove(f, false)
			taken++
		}
	}
	return taken
}

// sweep ends what has been silent for too long.
func (s *Sockets) sweep(now int64) {
	cfg := s.cfg.Load()
	if cfg == nil {
		return
	}
	s.table.each(func(f *flow) bool {
		over := f.owner.check(f, now, cfg)
		if over {
			s.counters.expired[slotOf(f.protocol)].Add(1)
		}
		return over
	})
	s.reconfigure.Lock()
	defer s.reconfigure.Unlock()
	for _, l := range s.listeners {
		l.wake(hostIn) // it may have had no socket for a client
	}
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
