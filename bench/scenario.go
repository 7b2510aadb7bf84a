package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Names of the scenarios that other files speak of.
const (
	scenarioTCP    = "tcp1"
	scenarioFrames = "frames64"
	scenarioRTT    = "rtt"
	scenarioMemory = "memory"
	scenarioDHCP   = "dhcp"
	scenarioDNS    = "dns"
	scenarioLeases = "leases64k"
	scenarioBeside = "beside"

	scenarioNATTCP         = "nat-tcp"
	scenarioNATFrames      = "nat-frames64"
	scenarioNATConnections = "nat-connections"
	scenarioNATMemory      = "nat-memory"

	// inIPv6 ends the name of a scenario that is another's twin.
	inIPv6 = "-ipv6"
)

// Better says which way a figure improves.
type Better string

// The two ways.
const (
	Higher Better = "higher"
	Lower  Better = "lower"
)

// Timing holds the times of one measurement.
type Timing struct {
	Warmup  time.Duration // under load, before anything is counted
	Measure time.Duration
}

// Scenario is one load and the figure that it yields.
type Scenario struct {
	Name   string // short, unique and the same from one version to the next
	About  string
	Unit   string
	Better Better
	Family Family
	Peers  []string // names of the peers it is run on

	// Against names the peer that ratios refer to; empty: Baseline.
	Against string

	// Twin names the same scenario in IPv4, which a figure in IPv6 is compared
	// with, peer by peer; empty: this one is in IPv4.
	Twin string

	// Run puts the load on a bed whose hosts reach one another. It leaves no
	// thread and no socket behind, after an error too.
	Run func(ctx context.Context, bed *Bed, timing Timing) (Sample, error)
}

// baseline returns the name of the peer that ratios refer to.
func (s *Scenario) baseline() string {
	if s.Against == "" {
		return Baseline
	}
	return s.Against
}

func (s *Scenario) runsOn(peer string) bool { return slices.Contains(s.Peers, peer) }

// Scenarios returns every scenario that this version knows. One of IPv6 follows
// its twin.
func Scenarios() []Scenario {
	pairs := []string{peerDirect, Baseline, peerRaw, peerInternal}
	servers := []string{peerServices, peerDnsmasq}
	translators := []string{peerMasquerade, peerNAT, peerNATHost, peerNATSockets}
	var all []Scenario
	only := func(s Scenario) { all = append(all, s) }
	both := func(s Scenario, about string) {
		twin := s
		twin.Name, twin.About, twin.Family, twin.Twin = s.Name+inIPv6, about, IPv6, s.Name
		all = append(all, s, twin)
	}
	both(Scenario{Name: scenarioTCP, About: "one TCP stream, offloads on", Unit: "Gbit/s", Better: Higher, Peers: pairs, Run: runTCP},
		"one TCP stream in IPv6, offloads on")
	both(Scenario{Name: scenarioFrames, About: "64-byte frames delivered, one sender", Unit: "kframes/s", Better: Higher, Peers: pairs, Run: runFrames},
		"the same datagrams in IPv6, frames of 84 bytes")
	both(Scenario{Name: scenarioRTT, About: "UDP round trip, p50", Unit: "us", Better: Lower, Peers: pairs, Run: runRTT},
		"UDP round trip in IPv6, p50")
	only(Scenario{Name: scenarioMemory, About: "resident memory with 8 ports, after traffic", Unit: "MiB", Better: Lower, Peers: []string{peerEight}, Run: runMemory})
	both(Scenario{Name: scenarioDHCP, About: "DHCP: DISCOVER, OFFER, REQUEST and ACK", Unit: "exchanges/s", Better: Higher, Peers: servers, Run: runDHCP},
		"DHCPv6: SOLICIT, ADVERTISE, REQUEST and REPLY")
	both(Scenario{Name: scenarioDNS, About: "DNS: answers out of the cache", Unit: "kanswers/s", Better: Higher, Peers: servers, Run: runDNS},
		"DNS over IPv6: IPv6 addresses out of the cache")
	only(Scenario{Name: scenarioLeases, About: "resident memory for 65536 leases", Unit: "MiB", Better: Lower, Peers: []string{peerServices}, Run: runLeases})
	only(Scenario{Name: scenarioBeside, About: "TCP stream beside 500 leases and 3000 answers a second, of the same alone", Unit: "%", Better: Higher,
		Peers: []string{peerServices}, Run: runBeside})
	both(Scenario{Name: scenarioNATTCP, About: "one TCP stream to the world outside, translated", Unit: "Gbit/s", Better: Higher,
		Peers: translators, Against: peerMasquerade, Run: runTCP},
		"one TCP stream in IPv6 to the world outside, translated")
	both(Scenario{Name: scenarioNATFrames, About: "64-byte frames delivered outside, one flow, translated", Unit: "kframes/s", Better: Higher,
		Peers: translators, Against: peerMasquerade, Run: runNATFrames},
		"the same datagrams in IPv6, frames of 84 bytes, translated")
	both(Scenario{Name: scenarioNATConnections, About: "TCP connections made and closed, translated", Unit: "connections/s", Better: Higher,
		Peers: translators, Against: peerMasquerade, Run: runNATConnections},
		"TCP connections in IPv6 made and closed, translated")
	both(Scenario{Name: scenarioNATMemory, About: "resident memory with 1000000 translated flows", Unit: "MiB", Better: Lower,
		Peers: []string{peerNAT}, Run: runNATMemory},
		"resident memory with 1000000 translated flows in IPv6")
	return all
}

func findScenario(scenarios []Scenario, name string) *Scenario {
	for i := range scenarios {
		if scenarios[i].Name == name {
			return &scenarios[i]
		}
	}
	return nil
}

var errNothing = errors.New("nothing arrived while measuring")

func runTCP(ctx context.Context, bed *Bed, timing Timing) (Sample, error) {
	load, err := startTCP(bed.Hosts[0], bed.Hosts[1], 1)
	if err != nil {
		return Sample{}, err
	}
	w, err := observe(ctx, bed, load, timing)
	if err = errors.Join(err, load.stop()); err != nil {
		return Sample{}, err
	}
	if w.received == 0 {
		return Sample{}, errNothing
	}
	gigabytes := float64(w.received) / 1e9
	return Sample{
		Value:   gigabytes * 8 / w.seconds,
		Details: w.cpu("GB", gigabytes),
	}, nil
}

func runFrames(ctx context.Context, bed *Bed, timing Timing) (Sample, error) {
	load, err := startFlood(bed.Hosts[0], bed.Hosts[1])
	if err != nil {
		return Sample{}, err
	}
	return measureFlood(ctx, bed, load, timing)
}

// measureFlood counts what arrives of a flood, and ends it.
func measureFlood(ctx context.Context, bed *Bed, load *flood, timing Timing) (Sample, error) {
	w, err := observe(ctx, bed, &load.traffic, timing)
	if err = errors.Join(err, load.stop()); err != nil {
		return Sample{}, err
	}
	if w.received == 0 {
		return Sample{}, errNothing
	}
	details := []Figure{
		{"offered", "kframes/s", float64(w.sent) / w.seconds / 1e3},
		{"socket drops", "kframes/s", float64(load.overflow) / w.total / 1e3},
	}
	return Sample{
		Value:   float64(w.received) / w.seconds / 1e3,
		Details: append(details, w.cpu("Mframe", float64(w.received)/1e6)...),
	}, nil
}

func runRTT(ctx context.Context, bed *Bed, timing Timing) (Sample, error) {
	load, err := startPingPong(bed.Hosts[0], bed.Hosts[1])
	if err != nil {
		return Sample{}, err
	}
	w, err := observe(ctx, bed, &load.traffic, timing)
	if err = errors.Join(err, load.stop()); err != nil {
		return Sample{}, err
	}
	rtts := load.between(w.from, w.to)
	if len(rtts) == 0 {
		return Sample{}, errNothing
	}
	slices.Sort(rtts)
	return Sample{
		Value: percentile(rtts, 50),
		Details: append([]Figure{
			{"p99", "us", percentile(rtts, 99)},
			{"p99.9", "us", percentile(rtts, 99.9)},
			{"max", "us", rtts[len(rtts)-1]},
			{"lost", "pings", float64(load.lost)},
		}, w.cpu("Mping", float64(len(rtts))/1e6)...),
	}, nil
}

// runMemory streams between the first half of the hosts and the second, all at
// once, and then looks at how much memory the switch holds.
func runMemory(ctx context.Context, bed *Bed, timing Timing) (Sample, error) {
	if bed.Switch == nil {
		return Sample{}, errors.New("the peer has no process to look at")
	}
	half := len(bed.Hosts) / 2
	var loads []*traffic
	var err error
	for i := 0; i < half && err == nil; i++ {
		var load *traffic
		if load, err = startTCP(bed.Hosts[i], bed.Hosts[half+i], 1); err == nil {
			loads = append(loads, load)
		}
	}
	if err == nil {
		err = sleep(ctx, timing.Warmup+timing.Measure)
	}
	for i, load := range loads {
		err = errors.Join(err, load.stop())
		if err == nil && load.received.Load() == 0 {
			err = fmt.Errorf("stream %d: %w", i+1, errNothing)
		}
	}
	if err != nil {
		return Sample{}, err
	}
	now, peak, err := resident(bed.Switch.PID())
	if err != nil {
		return Sample{}, err
	}
	return Sample{Value: now, Details: []Figure{{"peak", "MiB", peak}}}, nil
}
