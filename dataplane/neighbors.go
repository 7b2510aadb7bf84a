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

	mu    sync.Mutex // guards every change of the shards, and the fields below
	known int
	held  int // frames that wait
}

// neighbor is one station.
type neighbor struct {
	mac  atomic.Uint64 // with neighborKnown; 0 while it is sought
	used atomic.Uint32 // when a packet was last sent there

	// Guarded by neighbors.mu. Times are of the network's coarse clock.
	heard, asked uint32
	tries        int
	held         []*frame.Frame
}

const (
	neighborShards = 64
	neighborKnown  = 1 << 48

	maxNeighbors = 16384
	maxHeld      = 16  // packets that wait for one station
	maxHeldInAll = 512 // and for all: at most 32 MiB of super-frames

	// A station is believed for reachableTime seconds after it was heard (RFC 4861
	// clause 10 has the figure), then asked while packets go there, and given up
	// when it does not answer maxTries times, a second apart. One that nobody needs
	// is forgotten after neighborAge.
	reachableTime = 30
	maxTries      = 3
	neighborAge   = 600
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

func (t *neighbors) get(a netip.Addr) *neighbor { return (*t.shard(a).Load())[a] }

// lookup returns the MAC address of a station.
func (t *neighbors) lookup(a netip.Addr, now uint32) (frame.MAC, bool) {
	n := t.get(a)
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

// await keeps a copy of a frame until its station is known. ask says that somebody
// has to ask for it now.
func (t *neighbors) await(a netip.Addr, f *frame.Frame, now uint32) (v Verdict, ask bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.get(a)
	if n == nil {
		if n = t.add(a); n == nil {
			return NoNeighbor, false
		}
	}
	if n.mac.Load() == 0 && n.tries == 0 {
		n.asked, n.tries, ask = now, 1, true
	}
	if len(n.held) == maxHeld || t.held == maxHeldInAll {
		return NoNeighbor, ask
	}
	c := new(frame.Frame)
	c.Copy(f, nil)
	n.held = append(n.held, c)
	t.held++
	return Consumed, ask
}

// add makes an entry, nil where there is no room. t.mu is held.
func (t *neighbors) add(a netip.Addr) *neighbor {
	if t.known >= maxNeighbors {
		return nil
	}
	n := &neighbor{}
	t.change(a, func(m map[netip.Addr]*neighbor) { m[a] = n })
	t.known++
	return n
}

// remove forgets a station; what waits for it is lost. t.mu is held.
func (t *neighbors) remove(a netip.Addr, n *neighbor) {
	t.change(a, func(m map[netip.Addr]*neighbor) { delete(m, a) })
	t.known--
	t.held -= len(n.held)
	n.held = nil
}

func (t *neighbors) change(a netip.Addr, edit func(map[netip.Addr]*neighbor)) {
	s := t.shard(a)
	m := maps.Clone(*s.Load())
	edit(m)
	s.Store(&m)
}

// learn notes that a station says where it is. One that nobody has asked for is
// noted where asks is set: it has asked for this host itself, and will be answered
// (RFC 826). learn returns what has waited.
func (t *neighbors) learn(a netip.Addr, mac frame.MAC, asks bool, now uint32) []*frame.Frame {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.get(a)
	if n == nil && asks {
		n = t.add(a)
	}
	if n == nil {
		return nil
	}
	n.mac.Store(mac.Uint64() | neighborKnown)
	n.heard, n.tries = now, 0
	held := n.held
	n.held = nil
	t.held -= len(held)
	return held
}

// question is an ARP request that is due: to one station, or to all where mac is
// zero.
type question struct {
	addr netip.Addr
	mac  frame.MAC
}

// tick is called once a second. It returns whom to ask.
func (t *neighbors) tick(now uint32) []question {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == 0 {
		return nil
	}
	var due []question
	for i := range t.shards {
		for a, n := range *t.shards[i].Load() {
			if q, ok := t.look(a, n, now); ok {
				due = append(due, q)
			}
		}
	}
	return due
}

// look says whether a station is to be asked, or forgets it. t.mu is held.
func (t *neighbors) look(a netip.Addr, n *neighbor, now uint32) (question, bool) {
	mac := n.mac.Load()
	wanted := mac == 0 || now-n.heard >= reachableTime && now-n.used.Load() <= recently
	switch {
	case mac != 0 && now-n.heard >= neighborAge && !wanted, wanted && n.tries >= maxTries && n.asked != now:
		t.remove(a, n)
		return question{}, false
	case !wanted || n.asked == now:
		return question{}, false
	}
	n.asked = now
	n.tries++
	q := question{addr: a}
	if mac != 0 && n.tries < maxTries {
		q.mac = frame.MACFromUint64(mac) // the last try asks all: it may have moved
	}
	return q, true
}

// flush forgets all stations.
func (t *neighbors) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.shards {
		t.shards[i].Store(&map[netip.Addr]*neighbor{})
	}
	t.known, t.held = 0, 0
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
