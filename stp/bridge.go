// Package stp is the Rapid Spanning Tree Protocol for one bridge (IEEE
// 802.1D-2004 clause 17). It cuts the loops of a network of bridges, and falls
// back to the protocol of 802.1D-1998 on a port where a neighbour speaks only
// that one.
//
// It is a state machine without a clock, a goroutine, a lock or a socket:
// events go in (a BPDU, a link that came or went, a second that passed), and an
// Output comes out. Nothing happens between the calls.
//
// The trap is the order in which an Output is carried out: Changed, then Flush,
// then BPDUs. An agreement tells the neighbour that it may forward because
// the ports here no longer do; sent too early, it makes the loop that it is
// there to prevent.
//
// Every link counts as point-to-point. On a segment that more than two bridges
// share, two neighbours may answer one proposal, and a loop may then last until
// their next BPDUs.
package stp

import (
	"cmp"
	"slices"
	"time"
)

// Bridge is the spanning tree of one bridge. It is not safe for concurrent use.
type Bridge struct {
	config Config // normalised
	id     BridgeID
	times  times // BridgeTimes, 17.18.4

	ports []*port // by number

	// What role selection found (17.18.6, 17.18.7). The designated priority
	// vector of a port is root, with the identifiers of bridge and port in it.
	root       vector
	rootPort   *port // nil where this bridge is the root
	designated times // designatedTimes, 17.19.5: the same on all ports
	reselect   bool  // a port's information changed since

	seconds    uint64 // ticks since New
	changing   bool   // some tcWhile runs
	changes    uint64 // how often that began
	lastChange uint64 // the last second in which changing was set

	out Output // of the call under way
}

// Output is what the owner has to do after a call, in this order: Changed,
// Flush, BPDUs. It belongs to the caller.
type Output struct {
	// Changed holds every port whose state is not the one reported last,
	// once, in the order of their numbers. A port begins as Discarding.
	Changed []PortChange

	// Flush holds the ports whose dynamic entries in the filtering database
	// are stale (17.19.7), in the order of their numbers. They go at once,
	// also where a neighbour speaks STP and 7.9.2 would be content to have them
	// age faster.
	Flush []PortID

	// BPDUs are to be sent in this order.
	BPDUs []BPDU
}

// PortChange is the new state of a port.
type PortChange struct {
	Port  PortID
	State State
}

// BPDU is a message to send: what Receive takes and AppendFrame wraps.
type BPDU struct {
	Port PortID
	Data []byte
}

// New returns a bridge without ports. Values of c out of range are moved to the
// nearest one in range; see Config.
func New(c Config) *Bridge {
	b := &Bridge{}
	b.configure(c)
	b.root = vector{root: b.id, bridge: b.id}
	b.designated = b.times
	return b
}

// Configure changes the bridge while it works. A change of Address makes
// neighbours wait until what the old one told them is too old: up to
// three hello times, and MaxAge where it was the root.
func (b *Bridge) Configure(c Config) Output {
	versions := b.config.ForceSTP
	b.configure(c)
	was := b.rootPort
	b.selectRoles()
	if was != nil && b.rootPort == nil {
		// A bridge that was made the root has agreed, on its former root port,
		// to a tree that it now leaves. That port has to ask first.
		b.setReRootTree()
	}
	if b.config.ForceSTP != versions {
		for _, p := range b.ports {
			p.checkRSTP()
		}
	}
	b.settle()
	for _, p := range b.ports {
		// A wait under the old delay is never longer than one under the new.
		p.fdWhile = min(p.fdWhile, b.listenDelay())
	}
	return b.finish()
}

func (b *Bridge) configure(c Config) {
	b.config = c.normal()
	b.id = newBridgeID(b.config.Priority, b.config.Address)
	b.times = times{
		maxAge: seconds(b.config.MaxAge),
		hello:  seconds(b.config.Hello),
		// Others are never told to wait for less than can be configured, also
		// where this bridge does not wait at all.
		forwardDelay: max(seconds(b.config.ForwardDelay), minDelay),
	}
}

// SetPort adds a port, which is down, or changes one while it works. An id out
// of range is ignored. Values of c out of range are moved to the nearest one in
// range.
func (b *Bridge) SetPort(id PortID, c PortConfig) Output {
	if id < 1 || id > MaxPort {
		return Output{}
	}
	p := b.port(id)
	if p == nil {
		p = newPort(b, id)
		b.ports = append(b.ports, p)
		slices.SortFunc(b.ports, func(x, y *port) int { return cmp.Compare(x.number, y.number) })
	}
	p.configure(c.normal())
	b.reselect = true
	return b.finish()
}

// RemovePort takes a port down and forgets it. Where it was not Discarding, it
// is so in the Output; its entries in the filtering database are the owner's.
func (b *Bridge) RemovePort(id PortID) Output {
	out := b.Down(id)
	b.ports = slices.DeleteFunc(b.ports, func(p *port) bool { return p.number == id })
	out.Flush = slices.DeleteFunc(out.Flush, func(p PortID) bool { return p == id })
	return out
}

// Up says that the link of a port came up.
func (b *Bridge) Up(id PortID) Output {
	p := b.port(id)
	if p == nil || p.up {
		return Output{}
	}
	p.up = true
	return b.finish()
}

// Down says that the link of a port went down. It ends what a BPDU guard did.
func (b *Bridge) Down(id PortID) Output {
	p := b.port(id)
	if p == nil || !p.up {
		return Output{}
	}
	p.up, p.guarded = false, false
	return b.finish()
}

// Receive takes a BPDU: the bytes that follow the LLC header, from the protocol
// identifier on. What follows the parameters of the BPDU is ignored. Receive
// keeps nothing of bpdu. What arrives on a port that is unknown, down or shut
// by its BPDU guard is ignored.
//
// The error is ErrMalformed where the bytes fail the checks of 9.3.4. Nothing
// but a counter has changed then.
func (b *Bridge) Receive(id PortID, bpdu []byte) (Output, error) {
	p := b.port(id)
	if p == nil || !p.enabled() {
		return Output{}, nil
	}
	m, ok := decode(bpdu)
	if !ok {
		p.malformed++
		return Output{}, ErrMalformed
	}
	p.received++
	// The hellos of a network at rest end here: without a look at other ports.
	if quiet := !p.hear(&m); quiet && !b.reselect && !p.step() {
		return Output{}, nil
	}
	return b.finish(), nil
}

// Tick says that a second has passed (17.22).
func (b *Bridge) Tick() Output {
	b.seconds++
	for _, p := range b.ports {
		p.tick()
	}
	return b.finish()
}

func (b *Bridge) port(id PortID) *port {
	i, ok := slices.BinarySearchFunc(b.ports, id, func(p *port, id PortID) int { return cmp.Compare(p.number, id) })
	if !ok {
		return nil
	}
	return b.ports[i]
}

// settle runs the machines until none has a transition left. The order is
// ours to choose (17.16). Selection of roles comes first, so that the
// standard's selected and updtInfo never keep another machine waiting and are
// not needed.
//
// The bound is for an error in this package only: no transition that the
// tests know takes ten rounds. What it leaves undone is done in
// the next second.
func (b *Bridge) settle() (rounds int) {
	for rounds = range maxRounds {
		again := false
		for _, p := range b.ports {
			p.refresh()
		}
		if b.reselect {
			b.selectRoles()
			again = true
		}
		for _, p := range b.ports {
			again = p.step() || again
		}
		if !again {
			break
		}
	}
	return rounds
}

// finish settles, sends what is to be sent and hands over the Output. Sending
// comes last: one BPDU then says what several transitions led to.
func (b *Bridge) finish() Output {
	b.settle()
	for _, p := range b.ports {
		p.transmit()
		if s := p.state(); s != p.reported {
			p.reported = s
			b.out.Changed = append(b.out.Changed, PortChange{p.number, s})
		}
		if p.flush {
			p.flush = false
			b.out.Flush = append(b.out.Flush, p.number)
		}
	}
	b.countChanges()
	out := b.out
	b.out = Output{}
	return out
}

// seconds returns d in whole seconds; d is in range.
func seconds(d time.Duration) uint16 {
	return uint16((d + time.Second/2) / time.Second)
}
