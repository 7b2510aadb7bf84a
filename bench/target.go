package bench

// Target is what a peer shall reach in a scenario.
type Target struct {
	Scenario string  `json:"scenario"`
	Peer     string  `json:"peer"`
	Better   Better  `json:"better"` // Higher: Bound is a floor; Lower: a ceiling
	Bound    float64 `json:"bound"`
	// Absolute: Bound is in the unit of the scenario, not a ratio to the peer
	// that it compares with.
	Absolute bool `json:"absolute,omitempty"`
}

// Outcome is what became of a target. Value is nil where nothing was measured
// to judge by; such a target is not reached.
type Outcome struct {
	Target
	Unit    string   `json:"unit"`
	Value   *float64 `json:"value"`
	Reached bool     `json:"reached"`
}

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
	return append(targets,
		Target{Scenario: scenarioMemory, Peer: peerEight, Better: Lower, Bound: 64, Absolute: true},
		Target{Scenario: scenarioDHCP, Peer: peerServices, Better: Higher, Bound: 5000, Absolute: true},
		Target{Scenario: scenarioDNS, Peer: peerServices, Better: Higher, Bound: 30, Absolute: true},
		Target{Scenario: scenarioLeases, Peer: peerServices, Better: Lower, Bound: 64, Absolute: true},
		Target{Scenario: scenarioBeside, Peer: peerServices, Better: Higher, Bound: 90, Absolute: true},
		Target{Scenario: scenarioNATTCP, Peer: peerNAT, Better: Higher, Bound: 0.8},
		Target{Scenario: scenarioNATFrames, Peer: peerNAT, Better: Higher, Bound: 1.3},
		Target{Scenario: scenarioNATConnections, Peer: peerNAT, Better: Higher, Bound: 0.7},
		Target{Scenario: scenarioNATMemory, Peer: peerNAT, Better: Lower, Bound: 256, Absolute: true})
}

// judge compares the target with the medians of the report.
func (t Target) judge(r *Report) Outcome {
	o := Outcome{Target: t, Unit: "x " + Baseline}
	row := r.find(t.Scenario, t.Peer)
	if s := findScenario(Scenarios(), t.Scenario); s != nil {
		if o.Unit = "x " + s.baseline(); t.Absolute {
			o.Unit = s.Unit
		}
	}
	switch {
	case row != nil && t.Absolute:
		o.Unit, o.Value = row.Unit, &row.Median
	case row != nil && row.Ratio != nil:
		o.Value = &row.Ratio.Median
	default:
		return o
	}
	if t.Better == Higher {
		o.Reached = *o.Value >= t.Bound
	} else {
		o.Reached = *o.Value <= t.Bound
	}
	return o
}

// selected returns the targets that the given scenarios and peers can answer.
func selected(targets []Target, scenarios []Scenario, peers []Peer) []Target {
	var kept []Target
	for _, t := range targets {
		s := findScenario(scenarios, t.Scenario)
		if s != nil && s.runsOn(t.Peer) && findPeer(peers, t.Peer) != nil {
			kept = append(kept, t)
		}
	}
	return kept
}
