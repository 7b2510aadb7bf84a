package sockets

import (
	"container/list"
	"sync"

	"golang.org/x/sys/unix"
)

// Budget bounds the descriptors that guests have this process open, over all networks:
// a process has only so many, and without one it can neither be asked about anything
// nor take in a port. Published ports are not in it, as it is not a guest who asks for
// them.
//
// A guest has addresses at will, so that a user is a port of the switch. One of them
// has a quarter at the most, and one network three quarters where there are several.
// Where all is used up, a user with less gets what the user with the most has not used
// for longest.
//
// Its lock comes after those of tables: nothing of a network is locked under it.
type Budget struct {
	mu       sync.Mutex
	max      int
	used     int
	networks map[*Sockets]int
	users    map[user]*account
}

// user is who has descriptors: a port of a network, the empty one for what comes from
// outside.
type user struct {
	of   *Sockets
	port string
}

// account is what a user has.
type account struct {
	user
	held  int
	loose list.List // of *holding: what may be taken away
}

// holding is one descriptor of a user. nil holds nothing.
type holding struct {
	budget *Budget
	of     *account // nil once it is given back
	loose  *list.Element
	lent   loan
}

// loan is what a descriptor is used for.
type loan interface {
	// lastUse is in seconds of the network's clock.
	lastUse() int64
	// evict closes the descriptor, at once or soon. It may be so already.
	evict()
}

// NewBudget returns half of what the process may have open. (Go has raised that to the
// hard limit at its start.) The other half is for all else.
func NewBudget() *Budget {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		limit.Cur = 1024 // what POSIX systems have by custom
	}
	return newBudget(int(min(limit.Cur, mostDescriptors) / 2))
}

// mostDescriptors is what the kernel allows a process unless it is told otherwise
// (fs.nr_open).
const mostDescriptors = 1 << 20

func newBudget(most int) *Budget {
	return &Budget{max: max(most, 4), networks: map[*Sockets]int{}, users: map[user]*account{}}
}

// join says that a network has a part in the budget from now on.
func (b *Budget) join(s *Sockets) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.networks[s] = 0
}

// leave is the inverse. The network has given everything back.
func (b *Budget) leave(s *Sockets) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.networks, s)
}

// spareTime is for how long a user's own descriptor has not been used before it makes
// room for another one of the same user, in seconds.
const spareTime = 30

// take gives a user one more descriptor to open, nil where it may have none. No table
// may be locked.
func (b *Budget) take(u user) *holding {
	b.mu.Lock()
	a := b.users[u]
	if a == nil {
		a = &account{user: u}
		b.users[u] = a
	}
	var victim *holding
	room := true
	switch {
	case a.held >= b.max/4:
		victim = a.oldest()
		room = victim != nil && u.of.now.Load()-victim.lent.lastUse() >= spareTime
	case b.used >= b.max, len(b.networks) > 1 && b.networks[u.of] >= b.max/4*3:
		victim = b.fromBiggest(a)
		room = victim != nil
	}
	if !room {
		b.forget(a)
		b.mu.Unlock()
		return nil
	}
	var lent loan
	if victim != nil {
		lent = victim.lent
		b.giveBack(victim)
		b.users[u] = a // it was perhaps the last one of the same user
	}
	h := &holding{budget: b, of: a}
	a.held++
	b.used++
	b.networks[u.of]++
	b.mu.Unlock()
	if lent != nil {
		lent.evict()
	}
	return h
}

// fromBiggest returns what is taken away for a user, from the user with the most, of
// the network with the most. It returns nil where nobody has more than that user has.
func (b *Budget) fromBiggest(a *account) *holding {
	more := func(o, than *account) bool {
		if o.of == than.of {
			return o.held > than.held
		}
		return b.networks[o.of] > b.networks[than.of]
	}
	own := b.used < b.max // the network's own share is all that is full
	var biggest *account
	for _, o := range b.users {
		if o.loose.Len() > 0 && more(o, a) && (biggest == nil || more(o, biggest)) && (!own || o.of == a.of) {
			biggest = o
		}
	}
	if biggest == nil {
		return nil
	}
	return biggest.oldest()
}

// sample is of how many descriptors the one is taken that was not used for longest: to
// keep all in order would cost something for every datagram.
const sample = 16

// oldest returns what has not been used for about the longest, nil where nothing may
// be taken away. What it passes over comes last the next time.
func (a *account) oldest() *holding {
	var oldest *holding
	var since int64
	for range min(sample, a.loose.Len()) {
		h := a.loose.Front().Value.(*holding)
		a.loose.MoveToBack(h.loose)
		if used := h.lent.lastUse(); oldest == nil || used < since {
			oldest, since = h, used
		}
	}
	return oldest
}

// giveBack ends a holding. b.mu is held.
func (b *Budget) giveBack(h *holding) {
	a := h.of
	if a == nil {
		return
	}
	if h.loose != nil {
		a.loose.Remove(h.loose)
	}
	h.of, h.loose, h.lent = nil, nil, nil
	a.held--
	b.used--
	b.networks[a.of]--
	b.forget(a)
}

// forget drops an account that holds nothing. b.mu is held.
func (b *Budget) forget(a *account) {
	if a.held == 0 {
		delete(b.users, a.user)
	}
}

// lend says what the descriptor is used for: it may be taken away from now on.
func (h *holding) lend(to loan) {
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	if h.of != nil && h.loose == nil {
		h.lent = to
		h.loose = h.of.loose.PushBack(h)
	}
}

// keep says that it may not be taken away any more.
func (h *holding) keep() {
	if h == nil {
		return
	}
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	if h.loose != nil {
		h.of.loose.Remove(h.loose)
		h.loose, h.lent = nil, nil
	}
}

// release gives it back, once its descriptor is closed.
func (h *holding) release() {
	if h == nil {
		return
	}
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	h.budget.giveBack(h)
}
