package dhcp

import (
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// A name outlives its lease for a while: so nobody gets the traffic of a machine
// by having its lease end, or by waiting for that.
const (
	nameTime     = 10 * time.Minute
	maxParted    = 65536
	maxPortNames = maxParted / 4 // of those behind one port
)

// parted is a name without a lease, and the client that it is kept for.
type parted struct {
	key   string
	mac   frame.MAC
	port  string // that the client was heard at
	until time.Duration

	counted string // the port whose share it is of
}

// partings are the names that are kept for clients without a lease.
type partings struct {
	names map[string]*parted
	ports map[string]int
	queue []partedDue // each name once, about in order
}

type partedDue struct {
	name string
	due  time.Duration
}

func newPartings() partings {
	return partings{names: map[string]*parted{}, ports: map[string]int{}}
}

// part keeps the name of a lease that ends at a time.
func (p *partings) part(end time.Duration, b *binding) {
	if b.name == "" {
		return
	}
	x := p.names[b.name]
	if x == nil {
		if len(p.names) >= maxParted || p.ports[b.port] >= maxPortNames {
			return
		}
		x = &parted{counted: b.port}
		p.names[b.name] = x
		p.ports[b.port]++
		p.queue = append(p.queue, partedDue{name: b.name, due: end + nameTime})
	}
	x.key, x.mac, x.port, x.until = b.key, b.mac, b.port, end+nameTime
}

// free lets everybody have a name at once.
func (p *partings) free(name string) {
	if x := p.names[name]; x != nil {
		x.until = 0 // the queue forgets it
	}
}

// keeper returns who a name is kept for, nil for nobody.
func (p *partings) keeper(now time.Duration, name string) *parted {
	if x := p.names[name]; x != nil && now < x.until {
		return x
	}
	return nil
}

// forget drops names whose time is over.
func (p *partings) forget(now time.Duration) {
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
