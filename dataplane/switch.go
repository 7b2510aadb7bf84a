// Package dataplane is the switch: networks, their ports, and the pipeline that
// takes bursts of frames from one port to others.
//
// A Switch holds networks, each an L2 domain of its own with its own FDB. A
// port is added to a network by name and keeps its counters for as long as it
// is there; the I/O under it (a ports.Port) is attached and detached as its
// interface comes and goes. pipeline.go is the heart and reads from top to
// bottom as a frame travels.
//
// Control calls are safe for concurrent use and may block for as long as a
// burst takes; none of them is needed for frames to flow.
package dataplane

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/nat"
)

var (
	// ErrExists is returned for a name that is taken.
	ErrExists = errors.New("already exists")
	// ErrTooMany is returned when a network has MaxPorts ports.
	ErrTooMany = fmt.Errorf("a network takes at most %d ports", MaxPorts)
)

// Switch is a set of networks.
type Switch struct {
	mu       sync.Mutex
	networks map[string]*Network
	uplinks  map[string]*Uplink
	zones    map[nat.Zone]bool // that networks have, those included that are being removed
	workers  atomic.Int32
	now      atomic.Uint32 // the coarse clock, in seconds

	start time.Time
	stop  chan struct{}
	done  chan struct{}
}

// uptime is the time since the switch was made.
func (sw *Switch) uptime() time.Duration { return time.Since(sw.start) }

// ticks is the same for the buckets of rate.go.
func (sw *Switch) ticks() int64 { return int64(sw.uptime()) * (ticks / int64(time.Second)) }

// New returns a switch without networks. Close it after use.
func New() *Switch {
	sw := &Switch{
		networks: map[string]*Network{},
		uplinks:  map[string]*Uplink{},
		zones:    map[nat.Zone]bool{0: true}, // that of uplinks
		start:    time.Now(),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	sw.now.Store(clockStart)
	go sw.housekeep()
	return sw
}

// AddNetwork makes a network without ports.
func (sw *Switch) AddNetwork(name string, cfg NetworkConfig) (*Network, error) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if sw.networks[name] != nil {
		return nil, fmt.Errorf("network %q: %w", name, ErrExists)
	}
	n := makeNetwork(sw, name, cfg)
	n.zone = sw.takeZone()
	n.start()
	sw.networks[name] = n
	return n, nil
}

// takeZone returns a number that no other network has behind an uplink. sw.mu is held.
func (sw *Switch) takeZone() nat.Zone {
	z := nat.Zone(1)
	for sw.zones[z] {
		z++
	}
	sw.zones[z] = true
	return z
}

// RemoveNetwork removes a network with all its ports. It does nothing where
// there is none of that name.
func (sw *Switch) RemoveNetwork(name string) {
	sw.mu.Lock()
	n := sw.networks[name]
	delete(sw.networks, name)
	sw.mu.Unlock()
	if n == nil {
		return
	}
	_ = n.SetRouting(RoutingConfig{}) // to lead nowhere is always possible
	n.remove()
	sw.mu.Lock()
	defer sw.mu.Unlock()
	delete(sw.zones, n.zone)
}

// Network returns the network of that name, or nil.
func (sw *Switch) Network(name string) *Network {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	return sw.networks[name]
}

// Networks returns all networks, sorted by name.
func (sw *Switch) Networks() []*Network {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	list := make([]*Network, 0, len(sw.networks))
	for _, n := range sw.networks {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b *Network) int { return strings.Compare(a.name, b.name) })
	return list
}

// all returns the networks, with those that uplinks are.
func (sw *Switch) all() []*Network {
	list := sw.Networks()
	for _, u := range sw.Uplinks() {
		list = append(list, u.network)
	}
	return list
}

// Close removes all networks and ends the switch's own goroutine.
func (sw *Switch) Close() {
	for _, n := range sw.Networks() {
		sw.RemoveNetwork(n.name)
	}
	for _, u := range sw.Uplinks() {
		sw.RemoveUplink(u.Name())
	}
	close(sw.stop)
	<-sw.done
}

// housekeep advances the coarse clock that workers read, and ages the FDBs. It
// takes no lock that a change of a network may hold for long.
func (sw *Switch) housekeep() {
	defer close(sw.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-sw.stop:
			return
		case t := <-tick.C:
			now := clockStart + uint32(t.Sub(sw.start)/time.Second)
			sw.now.Store(now)
			for _, n := range sw.all() {
				n.now.Store(now)
				n.fdb.Age(now)
			}
		}
	}
}

// clockStart keeps the coarse clock, in seconds, away from zero.
const clockStart = 1

// procStep is by how much GOMAXPROCS grows, so that it seldom does: each
// change stops the world for a moment.
const procStep = 8

// reserveProcs gives every worker a processor of the Go scheduler's, beside
// those of the machine's cores. A busy worker does not hand its processor over
// in system calls; with fewer of them than workers, the goroutines of the
// control side would wait for 20 ms at a time. With enough of them the kernel
// shares the cores out, in far smaller slices.
func (sw *Switch) reserveProcs(workers int32) {
	want := runtime.NumCPU() + (int(workers)+procStep)/procStep*procStep
	if runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
}
