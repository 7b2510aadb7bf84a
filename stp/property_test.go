package stp

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// chooser returns 0 to n-1. That of rapid likes small networks and makes what
// fails smaller; the uniform one meets the large networks.
type chooser func(what string, n int) int

// everyWay runs a property with choosers of both kinds.
func everyWay(t *testing.T, property func(rapid.TB, chooser)) {
	t.Run("rapid", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			property(t, func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) })
		})
	})
	for seed := range uint64(150) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			property(t, func(_ string, n int) int { return r.IntN(n) })
		})
	}
}

// randomNetwork makes up to 8 bridges and up to 14 links, also parallel ones,
// ones from a bridge to itself and plugs that return everything. All are down.
func randomNetwork(t rapid.TB, choose chooser, delay time.Duration, stp bool) *network {
	n := newNetwork(t)
	n.random = rand.New(rand.NewPCG(uint64(choose("seed", 1<<30)), 0))
	for i := range 1 + choose("bridges", 8) {
		priority := uint16(choose("priority", 4)) << 12
		force := stp && choose("stp", 2) == 0
		n.add(func(c *Config) {
			c.Priority, c.ForwardDelay, c.ForceSTP = priority, delay, force
			c.Address[4] = byte(i * 37) // the order is not that of the indices
		})
	}
	used := make([]PortID, len(n.bridges))
	next := func() end {
		i := choose("bridge", len(n.bridges))
		used[i]++
		return end{i, used[i]}
	}
	for range 1 + choose("links", 14) {
		a := next()
		b := a
		if choose("echo", 20) > 0 {
			b = next()
		}
		n.wire(a, b)
		for _, e := range []end{a, b} {
			n.apply(e.bridge, n.bridges[e.bridge].SetPort(e.port, randomPort(choose)))
		}
	}
	return n
}

func randomPort(choose chooser) PortConfig {
	return PortConfig{
		Cost:     1000 * uint32(1+choose("cost", 4)),
		Priority: uint8(16 * choose("port priority", 3)),
		Edge:     []Edge{EdgeAuto, EdgeNo}[choose("edge", 2)],
	}
}

// some lets some of the BPDUs arrive, but rarely all.
func (n *network) some(choose chooser) {
	for range choose("deliveries", 30) {
		n.deliver()
	}
}

// disturb does one thing to the network.
func (n *network) disturb(choose chooser) {
	l := n.links[choose("link", len(n.links))]
	e := l.ends[0]
	b := n.bridges[e.bridge]
	switch event := choose("event", 10); {
	case event == 0:
		n.apply(e.bridge, b.SetPort(e.port, randomPort(choose)))
	case event == 1:
		c := b.config
		c.Priority = uint16(choose("priority", 4)) << 12
		n.apply(e.bridge, b.Configure(c))
	case event == 2:
		n.calm()
		n.tick(1 + choose("ticks", 40))
	case l.up:
		n.unplug(l)
	default:
		n.plug(l)
	}
	n.some(choose)
}

// improve does one thing to the network that makes no information worse.
func (n *network) improve(choose chooser) {
	l := n.links[choose("link", len(n.links))]
	e := l.ends[0]
	b := n.bridges[e.bridge]
	switch event := choose("event", 10); {
	case event == 0:
		n.calm()
		n.tick(1 + choose("ticks", 40))
	case !l.up:
		n.plug(l)
	case event < 6:
		c := b.port(e.port).config
		c.Cost = (c.Cost + 1) / 2
		n.apply(e.bridge, b.SetPort(e.port, c))
	default:
		c := b.config
		c.Priority = max(c.Priority, 0x1000) - 0x1000
		n.apply(e.bridge, b.Configure(c))
	}
	n.some(choose)
}

// converged lets every timer of the standard run out twice.
func (n *network) converged() {
	n.t.Helper()
	n.tick(140)
	n.checkTree()
	n.checkCosts()
	for _, l := range n.links {
		if l.up && l.echo() && n.states[l.ends[0]] != Discarding {
			n.t.Fatalf("port %v hears itself and is %v", l.ends[0], n.states[l.ends[0]])
		}
	}
}

// noLoop is what holds at every moment.
func noLoop(n *network) {
	if l := n.loop(); l != nil {
		n.t.Fatalf("link %v closes a loop:\n%v", l.ends, n)
	}
}

// TestNeverLoops holds among RSTP bridges that lose no message, as long as what
// they tell each other gets better: links come up, costs fall, a better root
// appears; in any order, and with any BPDU still under way.
//
// It does not hold where information gets worse, and the standard does not say
// that it does. The news that the root is gone may chase older news around a
// ring, and an agreement that is on its way does not say to what. Such a loop ends
// with the next BPDUs; what remains in the end TestConverges checks.
func TestNeverLoops(t *testing.T) {
	everyWay(t, func(t rapid.TB, choose chooser) {
		n := randomNetwork(t, choose, 15*time.Second, false)
		n.always = noLoop
		for range 1 + choose("events", 40) {
			n.improve(choose)
		}
		n.converged()
	})
}

// TestConverges: whatever happened, the network is a tree in the end.
func TestConverges(t *testing.T) {
	kinds := map[string]struct {
		delay time.Duration
		stp   bool
	}{
		"rstp":         {15 * time.Second, false},
		"mixed":        {15 * time.Second, true},
		"quick":        {2 * time.Second, true},
		"no delay":     {0, false},
		"no delay stp": {0, true},
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t rapid.TB, choose chooser) {
				n := randomNetwork(t, choose, kinds[name].delay, kinds[name].stp)
				for range 1 + choose("events", 40) {
					n.disturb(choose)
				}
				n.converged()
			})
		})
	}
}
