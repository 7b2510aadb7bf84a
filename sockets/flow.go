package sockets

import (
	"container/list"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/dataplane"
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
	peer  netip.AddrPort // who it is: tuple.remote, but where the gateway stands for it
	from  string         // the port of the switch that it was begun by, or outside
	relay uint16         // the gateway's port that stands for the peer, else 0
	via   netip.Addr     // this machine's address that the peer of a published port talks to
	owner owner

	// Guarded by table.mu.
	local      netip.AddrPort // of the host's socket
	at         int            // in table.list
	connecting *list.Element  // in entrance.connecting: a connection that has not come about yet

	packets, bytes atomic.Uint64
	used           atomic.Int64
}

// outside stands for a port of the switch where something has begun from outside.
const outside = ""

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

// How many connections may be on their way, in all, by one port of the switch and of
// one address: each holds a goroutine, or a socket that the kernel sends SYNs for. A
// guest has addresses at will, so that where there are too many the oldest one of the
// port with the most goes, for it has the least hope.
const (
	maxConnecting     = 4096
	maxPortConnecting = maxConnecting / 2
	maxHostConnecting = 1024
)

// leastShared is the size of a table from which on one port, or all that is outside,
// may fill only half of it: smaller ones are too small to be divided.
const leastShared = 4096

// table knows all flows.
type table struct {
	mu         sync.Mutex
	flows      map[tuple]*flow
	list       []*flow // the same, in some order
	mappings   map[inside]*mapping
	hosts      map[netip.Addr]*host
	entrances  map[string]*entrance
	relays     *dataplane.RelayPorts
	nextRelay  uint16
	ephemeral  struct{ first, last uint16 } // ports that the machine takes by itself
	echoes     map[uint16]bool              // identifiers of raw sockets
	connecting int
	now        [3]int // flows by protocol: see slotOf

	max, maxPerHost int
}

// inside is an endpoint of a guest.
type inside struct {
	protocol uint8
	guest    netip.AddrPort
}

// host counts what one guest has.
type host struct{ flows, connecting int }

// entrance counts what was begun by one port of the switch, or from outside.
type entrance struct {
	flows      int
	connecting list.List // of *flow, oldest first
}

func (t *table) init(relays *dataplane.RelayPorts) {
	t.flows, t.mappings = map[tuple]*flow{}, map[inside]*mapping{}
	t.hosts, t.entrances = map[netip.Addr]*host{}, map[string]*entrance{}
	t.echoes = map[uint16]bool{}
	t.relays, t.nextRelay = relays, dataplane.RelayFirst
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

// admit says whether a guest may have one more flow, begun by a port of the switch or
// from outside. t.mu is held.
func (t *table) admit(protocol uint8, guest netip.Addr, from string) (Reason, bool) {
	h, e := t.hosts[guest], t.entrances[from]
	switch {
	case len(t.flows) >= t.max:
		return TableFull, false
	case h != nil && h.flows >= t.maxPerHost, e != nil && t.max >= leastShared && e.flows >= t.max/2:
		return HostFull, false
	case protocol == frame.ProtoTCP && h != nil && h.connecting >= maxHostConnecting:
		return Connecting, false
	}
	return 0, true
}

// crowded returns the connection that has to go before there may be another one on its
// way, nil where none has to. t.mu is held.
func (t *table) crowded(from string) *flow {
	e := t.entrances[from]
	switch {
	case e != nil && e.connecting.Len() >= maxPortConnecting:
	case t.connecting >= maxConnecting:
		for _, o := range t.entrances {
			if e == nil || o.connecting.Len() > e.connecting.Len() {
				e = o
			}
		}
	default:
		return nil
	}
	return e.connecting.Front().Value.(*flow)
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
	e := t.entrances[f.from]
	if e == nil {
		e = &entrance{}
		t.entrances[f.from] = e
	}
	e.flows++
	if f.protocol == frame.ProtoTCP {
		h.connecting++
		t.connecting++
		f.connecting = e.connecting.PushBack(f)
	}
}

// remove is the inverse of insert; what is not in the table any more does not matter.
// t.mu is held.
func (t *table) remove(f *flow) {
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
		t.relays.Set(f.protocol, f.relay, false)
	}
	t.settle(f)
	if h := t.hosts[f.guest.Addr()]; h.flows == 1 {
		delete(t.hosts, f.guest.Addr())
	} else {
		h.flows--
	}
	if e := t.entrances[f.from]; e.flows == 1 {
		delete(t.entrances, f.from)
	} else {
		e.flows--
	}
}

// settle notes that a connection is not on its way any more. t.mu is held.
func (t *table) settle(f *flow) {
	if f.connecting == nil {
		return
	}
	t.entrances[f.from].connecting.Remove(f.connecting)
	t.hosts[f.guest.Addr()].connecting--
	t.connecting--
	f.connecting = nil
}

// connected notes that a connection has come about.
func (t *table) connected(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle(f)
}

// takeRelay returns a port of the gateway's that no other flow has. Those that were
// free for longest come first, but any that the host, which may have the gateway's
// address too, does not take by itself are better. t.mu is held.
func (t *table) takeRelay(protocol uint8) (uint16, bool) {
	const ports = 1<<16 - dataplane.RelayFirst
	for _, any := range [2]bool{false, true} {
		if !any && t.ephemeral.first <= dataplane.RelayFirst && t.ephemeral.last == 1<<16-1 {
			continue // there is none
		}
		for range ports {
			port := t.nextRelay
			if t.nextRelay++; t.nextRelay < dataplane.RelayFirst { // after the last one
				t.nextRelay = dataplane.RelayFirst
			}
			hosts := port >= t.ephemeral.first && port <= t.ephemeral.last
			if hosts == any && !t.relays.Has(protocol, port) {
				t.relays.Set(protocol, port, true)
				return port, true
			}
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
			t.remove(f)
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
		if l.stalled.Swap(false) {
			l.wake(hostIn)
		}
	}
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
