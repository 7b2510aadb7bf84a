package lease

import (
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// NameTime is how long a name outlives its lease: so nobody gets the traffic of a
// machine by having its lease end, or by waiting for that.
const NameTime = 10 * time.Minute

// What is kept of names at once.
const (
	maxParted    = 65536
	maxPortNames = maxParted / 4 // of those behind one port
)

// Owner is who a name is or was given to.
type Owner struct {
	Key  string // of the client
	MAC  frame.MAC
	Port string // that the client was heard at
}

// parted is a name without a lease, and the client that it is kept for.
type parted struct {
	Owner
	until   time.Duration
	counted string // the port whose share it is of
}

// Partings are the names that are kept for clients without a lease.
type Partings struct {
	names map[string]*parted
	ports map[string]int
	queue []partedDue // each name once, about in order
}

type partedDue struct {
	name string
	due  time.Duration
}

// NewPartings returns none.
func NewPartings() Partings {
	return Partings{names: map[string]*parted{}, ports: map[string]int{}}
}

// Part keeps the name of a lease that ends at a time.
func (p *Partings) Part(end time.Duration, name string, was Owner) {
	if name == "" {
		return
	}
	x := p.names[name]
	if x == nil {
		if len(p.names) >= maxParted || p.ports[was.Port] >= maxPortNames {
			return
		}
		x = &parted{counted: was.Port}
		p.names[name] = x
		p.ports[was.Port]++
		p.queue = append(p.queue, partedDue{name: name, due: end + NameTime})
	}
	x.Owner, x.until = was, end+NameTime
}

// Free lets everybody have a name at once.
func (p *Partings) Free(name string) {
	if x := p.names[name]; x != nil {
		x.until = 0 // the queue forgets it
	}
}

// Keeper returns who a name is kept for, nil for nobody.
func (p *Partings) Keeper(now time.Duration, name string) *Owner {
	if x := p.names[name]; x != nil && now < x.until {
		return &x.Owner
	}
	return nil
}

// Forget drops names whose time is over.
func (p *Partings) Forget(now time.Duration) {
	for n := len(p.queue); n > 0 && p.queue[0].due <= now; n-- {
		head := p.queue[0]
		p.queue = p.queue[1:]
		x := p.names[head.name]
		if x.until > now {
			p.queue = append(p.queue, partedDue{name: head.name, due: x.until})
			continue
		}
		delete(p.names, head.name)
		if p.ports[x.counted]--; p.ports[x.counted] == 0 {
			delete(p.ports, x.counted)
		}
	}
}

// Consistent reports whether every name is waited for once.
func (p *Partings) Consistent() bool { return len(p.queue) == len(p.names) }
