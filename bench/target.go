package bench

import "strings"

// Target is what a peer shall reach in a scenario.
type Target struct {
	Scenario string  `json:"scenario"`
	Peer     string  `json:"peer"`
	Better   Better  `json:"better"` // Higher: Bound is a floor; Lower: a ceiling
	Bound    float64 `json:"bound"`
	// Absolute: Bound is in the unit of the scenario, not a ratio to the peer
	// that it compares with.
	Absolute bool `json:"absolute,omitempty"`
	// OfIPv4: Bound is a ratio to the same peer in the scenario's twin.
	OfIPv4 bool `json:"of_ipv4,omitempty"`
}

// Outcome is what became of a target. Value is nil where nothing was measured
// to judge by; such a target is not reached.
type Outcome struct {
	Target
	Unit    string   `json:"unit"`
	Value   *float64 `json:"value"`
	Reached bool     `json:"reached"`
}

// What a figure in IPv6 may fall short of that in IPv4.
const (
	ipv6Least = 0.9 // of a rate
	ipv6Most  = 1.1 // of a time, or of memory
)

// Targets returns what weft shall reach in this version. A 64-byte frame is one
// of the shortest that Ethernet has.
func Targets() []Target {
	var targets []Target
	for _, peer := range []string{peerRaw, peerInternal} {
		targets = append(targets,
			Target{Scenario: scenarioTCP, Peer: peer, Better: Higher, Bound: 0.6},
			Target{Scenario: scenarioFrames, Peer: peer, Better: Higher, Bound: 1.0},
			Target{Scenario: scenarioRTT, Peer: peer, Better: Lower, Bound: 1.5},
		)
	}
	targets = append(targets,
		Target{Scenario: scenarioMemory, Peer: peerEight, Better: Lower, Bound: 64, Absolute: true},
		Target{Scenario: scenarioDHCP, Peer: peerServices, Better: Higher, Bound: 5000, Absolute: true},
		Target{Scenario: scenarioDNS, Peer: peerServices, Better: Higher, Bound: 30, Absolute: true},
		Target{Scenario: scenarioLeases, Peer: peerServices, Better: Lower, Bound: 64, Absolute: true},
		Target{Scenario: scenarioBeside, Peer: peerServices, Better: Higher, Bound: 90, Absolute: true},
		Target{Scenario: scenarioNATTCP, Peer: peerNAT, Better: Higher, Bound: 0.8},
		Target{Scenario: scenarioNATFrames, Peer: peerNAT, Better: Higher, Bound: 1.3},
		Target{Scenario: scenarioNATConnections, Peer: peerNAT, Better: Higher, Bound: 0.7},
		Target{Scenario: scenarioNATMemory, Peer: peerNAT, Better: Lower, Bound: 256, Absolute: true})
	for _, s := range Scenarios() {
		for _, peer := range s.Peers {
			if s.Twin == "" || !strings.HasPrefix(peer, weftPrefix) {
				continue
			}
			t := Target{Scenario: s.Name, Peer: peer, Better: s.Better, Bound: ipv6Least, OfIPv4: true}
			if s.Better == Lower {
				t.Bound = ipv6Most
			}
			targets = append(targets, t)
		}
	}
	return targets
}

// judge compares the target with the medians of the report.
func (t Target) judge(r *Report) Outcome {
	o := Outcome{Target: t, Unit: t.unit(), Value: t.measured(r.find(t.Scenario, t.Peer))}
	switch {
	case o.Value == nil:
	case t.Better == Higher:
		o.Reached = *o.Value >= t.Bound
	default:
		o.Reached = *o.Value <= t.Bound
	}
	return o
}

// unit returns the unit of the bound.
func (t Target) unit() string {
	s := findScenario(Scenarios(), t.Scenario)
	switch {
	case t.OfIPv4:
		return "x " + IPv4.String()
	case s == nil:
		return "x " + Baseline
	case t.Absolute:
		return s.Unit
	}
	return "x " + s.baseline()
}

// measured returns what to compare the bound with, nil where a row lacks it.
func (t Target) measured(row *Row) *float64 {
	if row == nil {
		return nil
	}
	ratio := row.Ratio
	switch {
	case t.Absolute:
		return &row.Median
	case t.OfIPv4:
		ratio = row.OfIPv4
	}
	if ratio == nil {
		return nil
	}
	return &ratio.Median
}

// selected returns the targets that the given scenarios and peers can answer.
// One that compares the families needs both.
func selected(targets []Target, scenarios []Scenario, peers []Peer) []Target {
	var kept []Target
	for _, t := range targets {
		s := findScenario(scenarios, t.Scenario)
		if s == nil || !s.runsOn(t.Peer) || findPeer(peers, t.Peer) == nil {
			continue
		}
		if !t.OfIPv4 || findScenario(scenarios, s.Twin) != nil {
			kept = append(kept, t)
		}
	}
	return kept
}
