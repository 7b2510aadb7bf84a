package nat

import (
	"sync"

	"github.com/weft/weft/dataplane/frame"
)

// fragmentSeconds is how long the fragments of one datagram may take, from the
// first one that came: RFC 4787 REQ-14 asks for a limit and names none; this is
// twice the timer of RFC 791 clause 3.2.
const fragmentSeconds = 30

// datagram names one fragmented datagram by what all its fragments have in their
// headers before they are translated: of IPv4 with the protocol (RFC 791 clause 3.2),
// of IPv6 without, since there only the first fragment's counts (RFC 8200 clause
// 4.5).
type datagram struct {
	Side     uint32 // the zone it comes from + 1, or 0 for outside
	Src, Dst [16]byte
	ID       uint32
	Via      uint16 // where it came in from inside
	Protocol uint8
}

// datagramOf returns the datagram that p is a fragment of. It must be called
// before the packet is rewritten.
func datagramOf(side uint32, via uint16, p *frame.Parsed) datagram {
	d := datagram{Side: side, Via: via, Src: p.Src(), Dst: p.Dst(), ID: p.FragID}
	if p.IPVersion == 4 {
		d.Protocol = p.Protocol
	}
	return d
}

// fragments remembers for the later fragments of each datagram what became of
// the first one, which alone has the ports, and holds copies of those that come
// before it (RFC 4787 REQ-14). It reassembles nothing.
//
// A fragment that overlaps another one kills the datagram: which of the two
// counts is up to the receiver, and so an attacker's choice. One that lies
// exactly where another did is a duplicate, and is dropped alone. A datagram
// that is complete is forgotten, so that its identification may come again at
// once.
//
// Memory is bounded, see pool. The lock is its own: fragments are rare.
type fragments struct {
	mu        sync.Mutex
	datagrams map[datagram]*assembly
	waiting   pool // first fragment not seen: verdict is Held
	decided   pool
}

func newFragments() *fragments {
	return &fragments{
		datagrams: map[datagram]*assembly{},
		waiting:   newPool(maxWaiting, maxHeldBytes),
		decided:   newPool(maxDecided, 0),
	}
}

// first notes the first fragment f of d: the zone, and the address that f and
// all later ones are translated to. It returns the fragments of d held before,
// translated: those from outside to that destination, those from inside to that
// source. ok is false, and f must be dropped, where d had a first fragment
// already, and where f overlaps another one.
func (r *fragments) first(d datagram, f *frame.Frame, p *frame.Parsed, to [16]byte, z Zone, now uint32) (held []*frame.Frame, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.find(d, now)
	if a != nil && a.verdict != Held {
		r.put(a, f, p) // a duplicate, or an overlap
		return nil, false
	}
	a, held = r.decide(a, d, Translated, now)
	a.to, a.zone = to, z
	if !r.put(a, f, p) {
		r.kill(a)
		return nil, false
	}
	if a.complete() {
		r.remove(a)
	}
	for _, h := range held {
		translateHeld(d.Side, h, to)
	}
	return held, true
}

// translateHeld rewrites the address of a later fragment.
func translateHeld(side uint32, f *frame.Frame, to [16]byte) {
	var p frame.Parsed
	p.Parse(f)
	if side == 0 {
		setDestination(f, &p, &Endpoint{Addr: to})
	} else {
		setSource(f, &p, &Endpoint{Addr: to})
	}
}

// refuse notes that the first fragment of d got the verdict v, a drop or
// NotMine. The later ones get it too, and those held before are dropped.
func (r *fragments) refuse(d datagram, v Verdict, now uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.find(d, now)
	if a != nil && a.verdict != Held {
		return // the first one that came decides
	}
	r.decide(a, d, v, now)
}

// later returns what becomes of a fragment that is not the first of its
// datagram. Translated: rewrite its address with to. Held: f was copied, and
// first will return the copy. Fragmented: drop it. Another verdict is the one
// that refuse was given.
func (r *fragments) later(d datagram, f *frame.Frame, p *frame.Parsed, now uint32) (to [16]byte, z Zone, v Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.find(d, now)
	if a == nil {
		a = &assembly{key: d, born: now, verdict: Held}
		r.enter(a, &r.waiting)
	}
	if a.verdict != Translated && a.verdict != Held {
		return to, 0, a.verdict
	}
	if !r.put(a, f, p) {
		return to, 0, Fragmented
	}
	if a.verdict == Held {
		return to, 0, r.hold(a, f)
	}
	to, z = a.to, a.zone
	if a.complete() {
		r.remove(a)
	}
	return to, z, Translated
}

// expire forgets datagrams whose time is over, a bounded number of each pool at
// a time. One that waited for its first fragment may stand behind younger ones,
// and be forgotten up to thirty seconds later; find does not return it.
func (r *fragments) expire(now uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range [...]*pool{&r.waiting, &r.decided} {
		for range maxExpired {
			a := p.oldest()
			if a == nil || !a.expired(now) {
				break
			}
			r.remove(a)
		}
	}
}

// find returns the assembly of d, or nil.
func (r *fragments) find(d datagram, now uint32) *assembly {
	a := r.datagrams[d]
	if a != nil && a.expired(now) {
		r.remove(a)
		return nil
	}
	return a
}

// decide gives d the verdict of its first fragment. waits is its assembly so
// far, or nil. It returns the decided one, and what the other held.
func (r *fragments) decide(waits *assembly, d datagram, v Verdict, now uint32) (a *assembly, held []*frame.Frame) {
	a = waits
	if a == nil {
		a = &assembly{key: d, born: now}
	} else {
		r.remove(a)
		held = a.release()
	}
	a.verdict = v
	r.enter(a, &r.decided)
	return a, held
}

// put adds the fragment f to what is known of a, and reports whether it may
// pass.
func (r *fragments) put(a *assembly, f *frame.Frame, p *frame.Parsed) bool {
	if a.verdict != Translated && a.verdict != Held {
		return false
	}
	is := pieceRefused
	if !f.Offload.IsSuper() {
		is = a.put(int(p.FragOffset), int(p.FragOffset)+fragmentLen(f, p), p.MoreFragments)
	}
	switch is {
	case pieceFits:
		return true
	case pieceClashes:
		r.kill(a)
	case pieceRefused:
		if len(a.pieces) == 0 {
			r.remove(a) // nothing is known of it: an entry would be a gift
		}
	}
	return false
}

// fragmentLen returns how much data a fragment has. In the first one of IPv6, extension
// headers may be part of that.
func fragmentLen(f *frame.Frame, p *frame.Parsed) int {
	if p.IPVersion == 6 && p.FragOffset == 0 {
		if c, _ := chainOf(f, p); c.data != 0 {
			return p.End - p.L3 - c.data
		}
	}
	return p.End - p.L4
}

// kill makes the rest of a datagram be dropped, for as long as it could have
// taken.
func (r *fragments) kill(a *assembly) {
	if a.pool != nil {
		r.remove(a)
	}
	a.release()
	a.verdict, a.pieces = Fragmented, nil
	r.enter(a, &r.decided)
}

// hold keeps a copy of f until the first fragment comes.
func (r *fragments) hold(a *assembly, f *frame.Frame) Verdict {
	n := frame.Headroom + len(f.Bytes()) + heldFrameBytes
	if !r.makeRoom(a, 0, n) {
		r.kill(a)
		return Fragmented
	}
	c := new(frame.Frame)
	c.Copy(f, make([]byte, 0, frame.Headroom+len(f.Bytes())))
	a.held = append(a.held, c)
	a.pool.grow(a, n)
	return Held
}

// enter puts a into a pool that has room for it then.
func (r *fragments) enter(a *assembly, into *pool) {
	a.pool = into
	r.makeRoom(a, 1, 0)
	into.insert(a)
	r.datagrams[a.key] = a
}

// makeRoom makes the oldest datagrams that share a limit with a go, until a may
// grow by that much. It returns false where a itself would have to go.
func (r *fragments) makeRoom(a *assembly, entries, bytes int) bool {
	for {
		victim := a.pool.victim(a, entries, bytes)
		if victim == nil {
			return true
		}
		if victim == a {
			return false
		}
		r.remove(victim)
	}
}

// remove forgets a and what it holds counts for.
func (r *fragments) remove(a *assembly) {
	a.pool.remove(a)
	delete(r.datagrams, a.key)
}
