package dns

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// State is how an upstream does.
type State uint8

// An upstream is Failing from a query that it did not answer until one that it
// did: the others of its group are asked before it. One in a Loop asks this
// resolver in turn, and is not asked.
const (
	OK State = iota
	Failing
	Loop
)

func (s State) String() string {
	switch s {
	case Failing:
		return "failing"
	case Loop:
		return "loop"
	}
	return "ok"
}

const (
	failingPause = 10 * time.Second // until a failing upstream is tried again
	probePause   = 10 * time.Minute // until one that does not fail is probed again

	// aliveTime is how long an answer shows that it is a name that is slow, and not
	// the server: guests choose the names.
	aliveTime = 2 * time.Second

	tellPause = time.Minute // between two lines of the log on one upstream
)

// upstream is a server that queries are forwarded to, by all groups that name it.
type upstream struct {
	addr netip.AddrPort

	// Guarded by upstreams.mu.
	failing, loop bool
	probing       bool
	returned      bool   // the last probe came back to us
	token         string // of the last probe
	due           time.Time
	heard         time.Time // the last answer
	told          time.Time // when the log last had that it fails
	said          bool      // it has that of this failure
}

// upstreams are all servers of a resolver.
type upstreams struct {
	log *slog.Logger

	mu  sync.Mutex
	all map[netip.AddrPort]*upstream
}

// get returns the upstream of an address, with what is known of it.
func (us *upstreams) get(addr netip.AddrPort) *upstream {
	us.mu.Lock()
	defer us.mu.Unlock()
	u := us.all[addr]
	if u == nil {
		u = &upstream{addr: addr}
		us.all[addr] = u
	}
	return u
}

// reset forgets the upstreams that no group uses, and has the others probed: a
// change may have made a loop, or ended one.
func (us *upstreams) reset(r *routes) {
	used := map[*upstream]bool{}
	for _, g := range r.all() {
		for _, u := range g.upstreams {
			used[u] = true
		}
	}
	us.mu.Lock()
	defer us.mu.Unlock()
	for addr, u := range us.all {
		if !used[u] {
			delete(us.all, addr)
		}
		u.due = time.Time{}
	}
}

// order returns whom to ask: the one that answered last, then the others as they
// are listed, and then those that fail, in case all do.
func (us *upstreams) order(g *group) []*upstream {
	n := len(g.upstreams)
	good := min(int(g.good.Load()), max(n-1, 0))
	us.mu.Lock()
	defer us.mu.Unlock()
	var healthy, failing []*upstream
	for i := -1; i < n; i++ {
		at := i
		if i < 0 {
			at = good
		} else if i == good {
			continue
		}
		if at >= n {
			continue
		}
		switch u := g.upstreams[at]; {
		case u.loop:
		case u.failing:
			failing = append(failing, u)
		default:
			healthy = append(healthy, u)
		}
	}
	return append(healthy, failing...)
}

// failed notes that an upstream did not answer a query.
func (us *upstreams) failed(u *upstream, err error, now time.Time) {
	us.mu.Lock()
	if now.Sub(u.heard) < aliveTime {
		us.mu.Unlock()
		return
	}
	tell := !u.failing && !u.loop && now.Sub(u.told) >= tellPause
	if tell {
		u.told, u.said = now, true
	}
	u.failing = true
	u.due = now.Add(failingPause)
	us.mu.Unlock()
	if tell {
		us.log.Warn(fmt.Sprintf("upstream %v does not answer: others are asked first", u.addr), "error", err)
	}
}

// answered notes that an upstream works, and that a group had its answer from it.
func (us *upstreams) answered(u *upstream, g *group, now time.Time) {
	us.mu.Lock()
	u.heard = now
	was := u.failing && u.said
	u.said = false
	if u.failing {
		u.failing, u.due = false, now.Add(probePause)
	}
	us.mu.Unlock()
	if was {
		us.log.Info(fmt.Sprintf("upstream %v answers again", u.addr))
	}
	if g == nil {
		return
	}
	for i, other := range g.upstreams {
		if other == u {
			g.good.Store(int32(i))
		}
	}
}

func (us *upstreams) state(u *upstream) State {
	us.mu.Lock()
	defer us.mu.Unlock()
	switch {
	case u.loop:
		return Loop
	case u.failing:
		return Failing
	}
	return OK
}
