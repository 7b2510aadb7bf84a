package dataplane

import (
	"hash/maphash"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
)

// neighbors knows at which MAC address the stations of a network's subnet are, as
// any router does (RFC 1122 clause 2.3.2). Packets for a station that is not known
// yet wait, some of them, until it has answered.
//
// Workers read without a lock: a shard is a map that nobody changes, behind a
// pointer. Stations come and go seldom, so that a change may copy its shard.
type neighbors struct {
	seed   maphash.Seed
	shards [neighborShards]atomic.Pointer[map[netip.Addr]*neighbor]

	watch atomic.Bool // stations of IPv6 are kept; see GatewayConfig

	mu    sync.Mutex // guards every change of the shards, and the fields below
	known int
	held  int // frames that wait
}

// neighbor is one station.
type neighbor struct {
	addr netip.Addr
	mac  atomic.Uint64 // with neighborKnown; 0 while it is sought, and once it is forgotten
	used atomic.Uint32 // when a packet was last sent there

	// Guarded by neighbors.mu. Times are of the network's coarse clock.
	heard, asked uint32
	tries        int
	held         []held
	seeker       *Port // by which the packet came that it is sought for; then nil
	fixed        bool  // see fix
	watched      bool  // asked from time to time, though nobody needs it

	// claim is where another station says to be that has this address. It is
	// believed once the one that is known has been asked and is silent: a single
	// forged message takes nobody's traffic (RFC 5227 clause 2.4 has the same
	// thought).
	claim uint64
}

// held is a packet that waits, and the port that it has come in by.
type held struct {
	frame *frame.Frame
	from  *Port
}

const (
	neighborShards = 64
	neighborKnown  = 1 << 48

	maxNeighbors = 16384
	maxSought    = 256 // stations at a time for the packets of one port
	maxHeld      = 16  // packets that wait for one station
	maxHeldInAll = 512 // and for all: at most 32 MiB of super-frames

	// A station is believed for reachableTime seconds after it was heard (RFC 4861
	// clause 10 has the figure), then asked while packets go there, and given up
	// when it does not answer maxTries times, a second apart. One that nobody needs
	// is forgotten after neighborAge, or when there is no room for another.
	reachableTime = 30
	maxTries      = 3
	neighborAge   = 600
	watchTime     = 300 // after which one that is watched is asked
	recently      = 5
)

func newNeighbors() *neighbors {
	t := &neighbors{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].Store(&map[netip.Addr]*neighbor{})
	}
	return t
}

func (t *neighbors) shard(a netip.Addr) *atomic.Pointer[map[netip.Addr]*neighbor] {
	return &t.shards[maphash.Comparable(t.seed, a)%neighborShards]
}

// at returns the MAC address of a station, to which a packet goes now. n may be nil.
func (n *neighbor) at(now uint32) (frame.MAC, bool) {
	if n == nil {
		return frame.MAC{}, false
	}
	mac := n.mac.Load()
	if mac == 0 {
		return frame.MAC{}, false
	}
	if n.used.Load() != now {
		n.used.Store(now)
	}
	return frame.MACFromUint64(mac), true
}

// get returns a station; nil where it is neither known nor sought.
func (t *neighbors) get(a netip.Addr) *neighbor { return (*t.shard(a).Load())[a] }

// await keeps a copy of a frame, which has come in by a port, until its station is
// known: Consumed. If that is so by now, it returns Forwarded and the MAC address.
// ask says that somebody has to ask for the station now.
func (t *neighbors) await(a netip.Addr, f *frame.Frame, from *Port, now uint32) (mac frame.MAC, v Verdict, ask bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.get(a)
	if n == nil {
		if n = t.seek(a, from, now); n == nil {
			return mac, NoNeighbor, false
		}
		ask = true
	}
	if known := n.mac.Load(); known != 0 {
		return frame.MACFromUint64(known), Forwarded, false
	}
	if len(n.held) == maxHeld || t.held == maxHeldInAll {
		return mac, NoNeighbor, ask
	}
	c := new(frame.Frame)
	c.Copy(f, nil)
	n.held = append(n.held, held{c, from})
	t.held++
	return mac, Consumed, ask
}

// seek makes an entry of a station that is not known, unless packets of the port are
// for too many of those already: somebody who tries all addresses of a large subnet
// leaves room for others. t.mu is held.
func (t *neighbors) seek(a netip.Addr, from *Port, now uint32) *neighbor {
	if from.sought.Load() >= maxSought {
		return nil
	}
	n := t.add(a, now)
	if n != nil {
		n.asked, n.tries, n.seeker = now, 1, from
		n.used.Store(now)
		from.sought.Add(1)
	}
	return n
}

// expect has a station asked for in the seconds that follow, unless it is known. One that
// is sought already has that time anew: it may have begun just now to take its address.
func (t *neighbors) expect(a netip.Addr, from *Port, now uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.get(a)
	if n == nil {
		n = t.seek(a, from, now)
	}
	if n != nil && n.mac.Load() == 0 {
		n.tries = 0
	}
}

// add makes an entry, nil where there is no room. t.mu is held.
func (t *neighbors) add(a netip.Addr, now uint32) *neighbor {
	s := t.shard(a)
	if t.known >= maxNeighbors && !t.evict(s, now) {
		return nil
	}
	n := &neighbor{addr: a}
	m := maps.Clone(*s.Load())
	m[a] = n
	s.Store(&m)
	t.known++
	return n
}

// evict forgets the station of a shard that has been of use to nobody for longest, and
// reports whether there was one. t.mu is held.
func (t *neighbors) evict(s *atomic.Pointer[map[netip.Addr]*neighbor], now uint32) bool {
	var oldest netip.Addr
	before := now - min(now, recently)
	for a, n := range *s.Load() {
		if used := n.used.Load(); n.mac.Load() != 0 && used < before && !n.fixed {
			oldest, before = a, used
		}
	}
	if !oldest.IsValid() {
		return false
	}
	t.remove(s, oldest)
	return true
}

// remove forgets stations of a shard; what waits for them is lost. t.mu is held.
func (t *neighbors) remove(s *atomic.Pointer[map[netip.Addr]*neighbor], gone ...netip.Addr) {
	m := maps.Clone(*s.Load())
	for _, a := range gone {
		t.forget(m[a])
		delete(m, a)
	}
	t.known -= len(gone)
	s.Store(&m)
}

// forget is for one that has been taken out: a worker may still hold it, as the next
// hop of its last packet. t.mu is held.
func (t *neighbors) forget(n *neighbor) {
	n.mac.Store(0)
	t.settle(n, NoNeighbor)
}

// settle ends the search for a station. It returns what has waited, which is counted
// under v, if that is a drop. t.mu is held.
func (t *neighbors) settle(n *neighbor, v Verdict) []held {
	if n.seeker != nil {
		n.seeker.sought.Add(-1)
		n.seeker = nil
	}
	waited := n.held
	n.held = nil
	t.held -= len(waited)
	for _, h := range waited {
		if v.IsDrop() {
			h.from.counters.drops[v].Add(1)
		}
	}
	return waited
}

// learn notes that a station says where it is. One that nobody has asked for is
// noted where asks is set: it has asked for this host itself, and will be answered
// (RFC 826). learn returns what has waited.
func (t *neighbors) learn(a netip.Addr, mac frame.MAC, asks bool, now uint32) []held {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.get(a)
	if n == nil && asks {
		n = t.add(a, now)
	}
	if n == nil || n.fixed {
		return nil
	}
	at := mac.Uint64() | neighborKnown
	if was := n.mac.Load(); was != 0 && was != at {
		if n.claim == 0 {
			n.tries = 0
		}
		n.claim = at
		return nil
	}
	n.mac.Store(at)
	n.heard, n.tries, n.claim = now, 0, 0
	return t.settle(n, Forwarded)
}

// question is an ARP request or neighbour solicitation that is due: to one station, or
// to all where mac is zero.
type question struct {
	addr netip.Addr
	mac  frame.MAC
}

// tick is called once a second. It returns whom to ask.
func (t *neighbors) tick(now uint32) []question {
	var due []question
	for i := range t.shards {
		due = t.tickShard(&t.shards[i], now, due)
	}
	return due
}

func (t *neighbors) tickShard(s *atomic.Pointer[map[netip.Addr]*neighbor], now uint32, due []question) []question {
	t.mu.Lock()
	defer t.mu.Unlock()
	var gone []netip.Addr
	for a, n := range *s.Load() {
		if n.watched = t.watch.Load() && a.Is6(); n.isOver(now) {
			gone = append(gone, a)
		} else if mac, ask := n.ask(now); ask {
			due = append(due, question{a, mac})
		}
	}
	if len(gone) > 0 {
		t.remove(s, gone...)
	}
	return due
}

// isWanted reports whether a station has to say where it is.
func (n *neighbor) isWanted(now uint32) bool {
	return n.mac.Load() == 0 || n.claim != 0 || now-n.heard >= reachableTime && now-n.used.Load() <= recently && !n.fixed ||
		n.watched && now-n.heard >= watchTime && !n.fixed
}

// isOver reports whether a station is to be forgotten: it does not answer, or nobody
// has needed it for long.
func (n *neighbor) isOver(now uint32) bool {
	if n.isWanted(now) {
		return n.tries >= maxTries && n.asked != now
	}
	return now-n.heard >= neighborAge && !n.fixed
}

// ask reports whether to ask a station now: it alone, or all where mac is zero.
func (n *neighbor) ask(now uint32) (mac frame.MAC, yes bool) {
	if !n.isWanted(now) {
		n.tries = 0
		return mac, false
	}
	if n.asked == now {
		return mac, false
	}
	if n.claim != 0 && n.tries > 0 { // it was asked a second ago
		n.mac.Store(n.claim)
		n.heard, n.tries, n.claim = now, 0, 0
		return mac, false
	}
	n.asked = now
	n.tries++
	if known := n.mac.Load(); known != 0 && n.tries < maxTries {
		mac = frame.MACFromUint64(known) // the last try asks all: it may have moved
	}
	return mac, true
}

// flush forgets some stations.
func (t *neighbors) flush(which func(netip.Addr) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.shards {
		var gone []netip.Addr
		for a := range *t.shards[i].Load() {
			if which(a) {
				gone = append(gone, a)
			}
		}
		if len(gone) > 0 {
			t.remove(&t.shards[i], gone...)
		}
	}
}

// Neighbor is a station that a network's gateway knows.
type Neighbor struct {
	Address netip.Addr
	MAC     frame.MAC // zero while it is sought
}

func (t *neighbors) all() []Neighbor {
	var list []Neighbor
	for i := range t.shards {
		for a, n := range *t.shards[i].Load() {
			e := Neighbor{Address: a}
			if mac := n.mac.Load(); mac != 0 {
				e.MAC = frame.MACFromUint64(mac)
			}
			list = append(list, e)
		}
	}
	return list
}
