package bench

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// measured returns a measurement with one detail.
func measured(round int, scenario, peer string, value float64) Measurement {
	return Measurement{Round: round, Scenario: scenario, Peer: peer, Sample: Sample{
		Value: value, Details: []Figure{{"twice", "x", 2 * value}},
	}}
}

func failed(round int, scenario, peer, text string) Measurement {
	return Measurement{Round: round, Scenario: scenario, Peer: peer, Error: text}
}

// sampleReport has a noisy second round, a failure, a missing peer, and one
// target of each fate. It uses the names of real scenarios and peers.
func sampleReport() *Report {
	r := &Report{
		Format:   Format,
		Machine:  Machine{System: "Linux 6.18 x86_64", Processor: "Example CPU", CPUs: 2, MemoryMiB: 4096},
		Versions: Versions{Weft: "v0.1.0", Go: "go1.26"},
		Settings: Settings{Rounds: 3, Measure: 2, Warmup: 0.5},
		Peers: []PeerInfo{
			{Name: Baseline, About: "kernel bridge"},
			{Name: peerRaw, About: "weft raw"},
			{Name: peerInternal, About: "weft internal", Missing: "no weft binary was given"},
			{Name: peerEight, About: "weft 8"},
			{Name: peerMasquerade, About: "kernel NAT"},
			{Name: peerNAT, About: "weft NAT"},
		},
		Measurements: []Measurement{
			measured(1, scenarioTCP, Baseline, 10), measured(1, scenarioTCP, peerRaw, 7),
			measured(2, scenarioTCP, Baseline, 4), measured(2, scenarioTCP, peerRaw, 2),
			measured(3, scenarioTCP, Baseline, 11), failed(3, scenarioTCP, peerRaw, "weft ended"),
			measured(1, scenarioTCP+inIPv6, Baseline, 8), measured(1, scenarioTCP+inIPv6, peerRaw, 6),
			measured(2, scenarioTCP+inIPv6, Baseline, 4), measured(2, scenarioTCP+inIPv6, peerRaw, 2),
			measured(3, scenarioTCP+inIPv6, Baseline, 11), measured(3, scenarioTCP+inIPv6, peerRaw, 9),
			measured(1, scenarioRTT, Baseline, 80), measured(1, scenarioRTT, peerRaw, 128),
			measured(1, scenarioRTT+inIPv6, peerRaw, 160),
			failed(1, scenarioFrames, Baseline, "no bridge"), measured(1, scenarioFrames, peerRaw, 400),
			measured(1, scenarioMemory, peerEight, 41.5),
			measured(1, scenarioNATTCP, peerMasquerade, 8), measured(1, scenarioNATTCP, peerNAT, 7.2),
		},
	}
	r.summarise(Scenarios(), Targets())
	return r
}

func TestSummariseRows(t *testing.T) {
	r := sampleReport()
	want := []Row{
		{Scenario: scenarioTCP, Peer: Baseline, Unit: "Gbit/s", Rounds: 3, Median: 10, Min: 4, Max: 11, Spread: 0.7,
			Ratio: &Ratio{1, 1, 1}, Details: []Figure{{"twice", "x", 20}}},
		{Scenario: scenarioTCP, Peer: peerRaw, Unit: "Gbit/s", Rounds: 2, Median: 4.5, Min: 2, Max: 7, Spread: 5 / 4.5,
			Ratio: &Ratio{0.6, 0.5, 0.7}, Details: []Figure{{"twice", "x", 9}}},
		{Scenario: scenarioTCP + inIPv6, Peer: Baseline, Unit: "Gbit/s", Rounds: 3, Median: 8, Min: 4, Max: 11, Spread: 7.0 / 8,
			Ratio: &Ratio{1, 1, 1}, OfIPv4: &Ratio{1, 0.8, 1}, Details: []Figure{{"twice", "x", 16}}},
		{Scenario: scenarioTCP + inIPv6, Peer: peerRaw, Unit: "Gbit/s", Rounds: 3, Median: 6, Min: 2, Max: 9, Spread: 7.0 / 6,
			Ratio: &Ratio{0.75, 0.5, 9.0 / 11}, OfIPv4: &Ratio{(6.0/7 + 1) / 2, 6.0 / 7, 1}, Details: []Figure{{"twice", "x", 12}}},
		{Scenario: scenarioFrames, Peer: peerRaw, Unit: "kframes/s", Rounds: 1, Median: 400, Min: 400, Max: 400,
			Details: []Figure{{"twice", "x", 800}}},
		{Scenario: scenarioRTT, Peer: Baseline, Unit: "us", Rounds: 1, Median: 80, Min: 80, Max: 80,
			Ratio: &Ratio{1, 1, 1}, Details: []Figure{{"twice", "x", 160}}},
		{Scenario: scenarioRTT, Peer: peerRaw, Unit: "us", Rounds: 1, Median: 128, Min: 128, Max: 128,
			Ratio: &Ratio{1.6, 1.6, 1.6}, Details: []Figure{{"twice", "x", 256}}},
		{Scenario: scenarioRTT + inIPv6, Peer: peerRaw, Unit: "us", Rounds: 1, Median: 160, Min: 160, Max: 160,
			OfIPv4: &Ratio{1.25, 1.25, 1.25}, Details: []Figure{{"twice", "x", 320}}},
		{Scenario: scenarioMemory, Peer: peerEight, Unit: "MiB", Rounds: 1, Median: 41.5, Min: 41.5, Max: 41.5,
			Details: []Figure{{"twice", "x", 83}}},
		{Scenario: scenarioNATTCP, Peer: peerMasquerade, Unit: "Gbit/s", Rounds: 1, Median: 8, Min: 8, Max: 8, Against: peerMasquerade,
			Ratio: &Ratio{1, 1, 1}, Details: []Figure{{"twice", "x", 16}}},
		{Scenario: scenarioNATTCP, Peer: peerNAT, Unit: "Gbit/s", Rounds: 1, Median: 7.2, Min: 7.2, Max: 7.2, Against: peerMasquerade,
			Ratio: &Ratio{0.9, 0.9, 0.9}, Details: []Figure{{"twice", "x", 14.4}}},
	}
	if diff := cmp.Diff(want, r.Rows, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := r.Failures(); len(got) != 2 || got[0].Error != "weft ended" || got[1].Error != "no bridge" {
		t.Errorf("failures %+v", got)
	}
}

func TestOutcomes(t *testing.T) {
	r := sampleReport()
	type short struct {
		Value   float64
		Reached bool
		Unit    string
	}
	want := map[string]short{
		scenarioTCP + " " + peerRaw:            {0.6, true, "x bridge"}, // exactly on the bound
		scenarioFrames + " " + peerRaw:         {math.NaN(), false, "x bridge"},
		scenarioRTT + " " + peerRaw:            {1.6, false, "x bridge"},
		scenarioTCP + " " + peerInternal:       {math.NaN(), false, "x bridge"},
		scenarioFrames + " " + peerInternal:    {math.NaN(), false, "x bridge"},
		scenarioRTT + " " + peerInternal:       {math.NaN(), false, "x bridge"},
		scenarioMemory + " " + peerEight:       {41.5, true, "MiB"},
		scenarioDHCP + " " + peerServices:      {math.NaN(), false, "exchanges/s"},
		scenarioDNS + " " + peerServices:       {math.NaN(), false, "kanswers/s"},
		scenarioLeases + " " + peerServices:    {math.NaN(), false, "MiB"},
		scenarioBeside + " " + peerServices:    {math.NaN(), false, "%"},
		scenarioNATTCP + " " + peerNAT:         {0.9, true, "x kernel-masquerade"},
		scenarioNATFrames + " " + peerNAT:      {math.NaN(), false, "x kernel-masquerade"},
		scenarioNATConnections + " " + peerNAT: {math.NaN(), false, "x kernel-masquerade"},
		scenarioNATMemory + " " + peerNAT:      {math.NaN(), false, "MiB"},

		scenarioTCP + inIPv6 + " " + peerRaw: {(6.0/7 + 1) / 2, true, "x IPv4"},
		scenarioRTT + inIPv6 + " " + peerRaw: {1.25, false, "x IPv4"},
	}
	for peer, scenarios := range map[string][]string{
		peerRaw: {scenarioFrames}, peerInternal: {scenarioTCP, scenarioFrames, scenarioRTT}, peerServices: {scenarioDHCP, scenarioDNS},
		peerNAT:        {scenarioNATTCP, scenarioNATFrames, scenarioNATConnections, scenarioNATMemory},
		peerNATHost:    {scenarioNATTCP, scenarioNATFrames, scenarioNATConnections},
		peerNATSockets: {scenarioNATTCP, scenarioNATFrames, scenarioNATConnections},
	} {
		for _, s := range scenarios {
			want[s+inIPv6+" "+peer] = short{math.NaN(), false, "x IPv4"}
		}
	}
	got := map[string]short{}
	for _, o := range r.Outcomes {
		s := short{math.NaN(), o.Reached, o.Unit}
		if o.Value != nil {
			s.Value = *o.Value
		}
		got[o.Scenario+" "+o.Peer] = s
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestJudgeDirections(t *testing.T) {
	r := &Report{Rows: []Row{{Scenario: "s", Peer: "p", Unit: "MiB", Median: 10, Ratio: &Ratio{Median: 2}, OfIPv4: &Ratio{Median: 3}}, {Scenario: "s", Peer: "alone", Ratio: &Ratio{Median: 2}}}}
	for _, c := range []struct {
		target Target
		want   bool
	}{
		{Target{"s", "p", Higher, 1.9, false, false}, true},
		{Target{"s", "p", Higher, 2.1, false, false}, false},
		{Target{"s", "p", Lower, 2.1, false, false}, true},
		{Target{"s", "p", Lower, 1.9, false, false}, false},
		{Target{"s", "p", Lower, 9, true, false}, false},
		{Target{"s", "p", Lower, 10, true, false}, true},
		{Target{"s", "q", Lower, 10, true, false}, false},
		{Target{"s", "p", Higher, 2.9, false, true}, true},
		{Target{"s", "p", Higher, 3.1, false, true}, false},
		{Target{"s", "p", Lower, 2.9, false, true}, false},
		{Target{"s", "alone", Higher, 1, false, true}, false},
		{Target{"x", "p", Higher, 0, false, false}, false},
	} {
		if got := c.target.judge(r).Reached; got != c.want {
			t.Errorf("%+v: reached %v, want %v", c.target, got, c.want)
		}
	}
}

// Every target names a scenario and a peer that are there and go together; and
// the ones of this version are those that were agreed on.
func TestTargetsAreMeasurable(t *testing.T) {
	targets := Targets()
	if got := selected(targets, Scenarios(), Peers("")); len(got) != len(targets) {
		t.Errorf("only %d of %d targets can be measured", len(got), len(targets))
	}
	only := selected(targets, []Scenario{*findScenario(Scenarios(), scenarioRTT)}, Peers(""))
	if len(only) != 2 || only[0].Scenario != scenarioRTT || only[1].Scenario != scenarioRTT {
		t.Errorf("targets of one scenario: %+v", only)
	}
	both := selected(targets, []Scenario{*findScenario(Scenarios(), scenarioRTT), *findScenario(Scenarios(), scenarioRTT+inIPv6)}, Peers(""))
	if len(both) != 4 || !both[2].OfIPv4 || both[2].Better != Lower || both[2].Bound != 1.1 {
		t.Errorf("targets of one scenario in both families: %+v", both)
	}
	if got := selected(targets, []Scenario{*findScenario(Scenarios(), scenarioRTT+inIPv6)}, Peers("")); got != nil {
		t.Errorf("targets of IPv6 with nothing to compare with: %+v", got)
	}
	if got := selected(targets, Scenarios(), []Peer{direct{}, kernelBridge{}}); got != nil {
		t.Errorf("targets without weft: %+v", got)
	}
}

func TestScenariosNameKnownPeers(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Scenarios() {
		if seen[s.Name] || s.About == "" || s.Unit == "" || (s.Better != Higher && s.Better != Lower) {
			t.Errorf("scenario %+v is not complete or not unique", s)
		}
		seen[s.Name] = true
		for _, p := range s.Peers {
			if findPeer(Peers(""), p) == nil {
				t.Errorf("scenario %s runs on peer %q, which does not exist", s.Name, p)
			}
		}
		if twin := findScenario(Scenarios(), s.Twin); s.Twin != "" && (twin == nil || s.Family != IPv6 || twin.Family != IPv4 ||
			s.Name != twin.Name+"-ipv6" || s.Unit != twin.Unit || s.About == twin.About || s.baseline() != twin.baseline() ||
			!slices.Equal(s.Peers, twin.Peers)) {
			t.Errorf("scenario %+v is not the twin of %+v", s, twin)
		}
		if findPeer(Peers(""), s.baseline()) == nil {
			t.Errorf("scenario %s compares with peer %q, which does not exist", s.Name, s.Against)
		}
	}
}

func TestPick(t *testing.T) {
	peers, scenarios, err := Options{Rounds: 1, Timing: Timing{Measure: 1}, Peers: []string{peerRaw, peerDirect}}.pick(Peers(""), Scenarios())
	if err != nil || len(scenarios) != len(Scenarios()) {
		t.Fatalf("pick: %d scenarios, %v", len(scenarios), err)
	}
	if len(peers) != 2 || peers[0].Name() != peerDirect || peers[1].Name() != peerRaw {
		t.Errorf("peers are not in the order of the run: %v", peers)
	}
	_, _, err = Options{Rounds: 0, Peers: []string{"brdge"}, Scenarios: []string{"tcp9"}, Families: []string{"ipx"}}.pick(Peers(""), Scenarios())
	want := `rounds: 0, wanted 1 or more
duration: 0s after 0s of warm-up, wanted more than 0
peer "brdge" does not exist: there are direct, bridge, weft-raw, weft-internal, weft-8ports, weft-services, dnsmasq, kernel-masquerade, weft-nat, weft-nat-host, weft-nat-sockets
scenario "tcp9" does not exist: there are tcp1, tcp1-ipv6, frames64, frames64-ipv6, rtt, rtt-ipv6, memory, dhcp, dhcp-ipv6, dns, dns-ipv6, leases64k, beside, nat-tcp, nat-tcp-ipv6, nat-frames64, nat-frames64-ipv6, nat-connections, nat-connections-ipv6, nat-memory, nat-memory-ipv6
family "ipx" does not exist: there are ipv4, ipv6`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestPickFamily(t *testing.T) {
	o := Options{Rounds: 1, Timing: Timing{Measure: 1}, Families: []string{"ipv6"}}
	_, scenarios, err := o.pick(Peers(""), Scenarios())
	if err != nil || len(scenarios) < 9 || slices.ContainsFunc(scenarios, func(s Scenario) bool { return s.Family != IPv6 }) {
		t.Errorf("scenarios in IPv6: %d, %v", len(scenarios), err)
	}
	o.Scenarios = []string{scenarioRTT}
	_, _, err = o.pick(Peers(""), Scenarios())
	if want := `none of these scenarios is in IPv6: the others end in "-ipv6"`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	o.Families = []string{"ipv4"}
	if _, scenarios, err = o.pick(Peers(""), Scenarios()); err != nil || len(scenarios) != 1 {
		t.Errorf("%d scenarios, %v", len(scenarios), err)
	}
}

// The families of a scenario alternate, peer by peer, and so does which is first.
func TestEachGoesRoundByRound(t *testing.T) {
	scenarios := []Scenario{
		{Name: "s", Peers: []string{peerDirect, Baseline}}, {Name: "s6", Twin: "s", Family: IPv6, Peers: []string{peerDirect, Baseline}},
		{Name: "t", Peers: []string{Baseline}}, {Name: "u6", Twin: "u", Family: IPv6, Peers: []string{Baseline}},
	}
	var got []string
	each(3, scenarios, []Peer{direct{}, kernelBridge{}}, func(round int, s Scenario, p Peer) bool {
		got = append(got, string(rune('0'+round))+s.Name+" "+p.Name())
		return len(got) < 14
	})
	want := []string{
		"1s direct", "1s6 direct", "1s bridge", "1s6 bridge", "1t bridge", "1u6 bridge",
		"2s6 direct", "2s direct", "2s6 bridge", "2s bridge", "2t bridge", "2u6 bridge",
		"3s direct", "3s6 direct",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestLeftOverSurvivesJoin(t *testing.T) {
	left := &leftOverError{errors.New("namespace x is busy")}
	if got := leftOver(errors.Join(context.Canceled, left)); got != error(left) {
		t.Errorf("left over %v", got)
	}
	if got := leftOver(context.Canceled); got != nil {
		t.Errorf("left over of a clean end: %v", got)
	}
}
