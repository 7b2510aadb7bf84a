package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// short is long enough for every load to move something.
var short = Timing{Warmup: 50 * time.Millisecond, Measure: 100 * time.Millisecond}

func TestRunKernelPeers(t *testing.T) {
	checkDescriptors(t)
	var progress bytes.Buffer
	r, err := Run(t.Context(), Options{
		Rounds: 2, Timing: short, Peers: []string{peerDirect, Baseline}, Progress: &progress, Version: "v1.2.3",
	})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, m := range r.Measurements {
		order = append(order, itoa(m.Round)+" "+m.Scenario+" "+m.Peer)
		if m.Error != "" || m.Value <= 0 {
			t.Errorf("%s over %s: %v, %s", m.Scenario, m.Peer, m.Value, m.Error)
		}
	}
	var want []string
	for round, turn := range [][2]string{{"", inIPv6}, {inIPv6, ""}} {
		for _, s := range []string{scenarioTCP, scenarioFrames, scenarioRTT} {
			for _, peer := range []string{peerDirect, Baseline} {
				want = append(want, itoa(round+1)+" "+s+turn[0]+" "+peer, itoa(round+1)+" "+s+turn[1]+" "+peer)
			}
		}
	}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("order, want A B A B (-want +got):\n%s", diff)
	}
	if len(r.Rows) != 12 || r.Outcomes != nil || r.Finished.Before(r.Started) {
		t.Errorf("%d rows, outcomes %v", len(r.Rows), r.Outcomes)
	}
	if r.Versions.Weft != "v1.2.3" || !strings.HasPrefix(r.Versions.Go, "go1") || r.Machine.Busy < 0 || r.Machine.Busy > 1 {
		t.Errorf("versions %+v, machine %+v", r.Versions, r.Machine)
	}
	if lines := strings.Count(progress.String(), "\n"); lines != 24 || !strings.Contains(progress.String(), "24/24  round 2  rtt") {
		t.Errorf("progress:\n%s", &progress)
	}
	path, err := r.Save(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Load(path); err != nil || cmp.Diff(r, again) != "" {
		t.Errorf("a real report does not survive its file: %v\n%s", err, cmp.Diff(r, again))
	}
}

func TestRunWeftPeers(t *testing.T) {
	checkDescriptors(t)
	r, err := Run(t.Context(), Options{
		Rounds: 1, Timing: short, Weft: useStandIn(t),
		Peers: []string{Baseline, peerRaw, peerInternal, peerEight}, Scenarios: []string{scenarioRTT, scenarioRTT + inIPv6, scenarioMemory},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Failures() {
		t.Errorf("%s over %s: %s", m.Scenario, m.Peer, m.Error)
	}
	if len(r.Rows) != 7 || len(r.Outcomes) != 5 {
		t.Errorf("%d rows, %d outcomes", len(r.Rows), len(r.Outcomes))
	}
	for _, o := range r.Outcomes {
		if o.Value == nil || *o.Value <= 0 {
			t.Errorf("outcome without a value: %+v", o)
		}
	}
	if m := r.find(scenarioMemory, peerEight); m == nil || m.Median < 1 || m.Median > 1000 {
		t.Errorf("memory %+v", m)
	}
}

// All peers that translate, in all that they are compared in; flows by the million
// have their own test.
func TestRunNATPeers(t *testing.T) {
	if err := (masquerade{}).Available(); err != nil {
		t.Skip(err)
	}
	checkDescriptors(t)
	r, err := Run(t.Context(), Options{
		Rounds: 1, Timing: short, Weft: useStandIn(t),
		Peers: []string{peerMasquerade, peerNAT, peerNATHost, peerNATSockets},
		Scenarios: []string{
			scenarioNATTCP, scenarioNATTCP + inIPv6, scenarioNATFrames, scenarioNATFrames + inIPv6,
			scenarioNATConnections, scenarioNATConnections + inIPv6,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Failures() {
		t.Errorf("%s over %s: %s", m.Scenario, m.Peer, m.Error)
	}
	if len(r.Rows) != 24 || len(r.Outcomes) != 12 {
		t.Errorf("%d rows, %d outcomes", len(r.Rows), len(r.Outcomes))
	}
	for _, row := range r.Rows {
		if six := strings.HasSuffix(row.Scenario, inIPv6); six != (row.OfIPv4 != nil) {
			t.Errorf("row %+v", row)
		}
		if row.Against != peerMasquerade || row.Ratio == nil || row.Peer == peerMasquerade && row.Ratio.Median != 1 {
			t.Errorf("row %+v", row)
		}
	}
}

func TestRunNamesWhatIsMissing(t *testing.T) {
	var progress bytes.Buffer
	r, err := Run(t.Context(), Options{
		Rounds: 1, Timing: short, Weft: "/no/such/weft", Progress: &progress,
		Peers: []string{peerDirect, peerRaw}, Scenarios: []string{scenarioRTT},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Measurements) != 1 || !strings.Contains(r.Peers[1].Missing, "/no/such/weft") {
		t.Errorf("measurements %v, peers %+v", r.Measurements, r.Peers)
	}
	if len(r.Outcomes) != 1 || r.Outcomes[0].Reached || r.Outcomes[0].Value != nil {
		t.Errorf("the target of a missing peer: %+v", r.Outcomes)
	}
	if !strings.Contains(progress.String(), "missing: weft-raw: ") {
		t.Errorf("progress:\n%s", &progress)
	}
	_, err = Run(t.Context(), Options{Rounds: 1, Timing: short, Peers: []string{peerRaw}})
	if err == nil || !strings.Contains(err.Error(), "weft-raw: no weft binary was given") {
		t.Errorf("with no peer at all: %v", err)
	}
}

// A switch that dies at its start costs its own figures, nobody else's.
func TestRunGoesOnAfterAFailure(t *testing.T) {
	checkDescriptors(t)
	broken := filepath.Join(t.TempDir(), "weft")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho 'weft: out of luck' >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), Options{
		Rounds: 2, Timing: short, Weft: broken, Peers: []string{Baseline, peerRaw}, Scenarios: []string{scenarioRTT},
	})
	if err != nil {
		t.Fatal(err)
	}
	failed := r.Failures()
	if len(failed) != 2 || failed[0].Peer != peerRaw || !strings.Contains(failed[0].Error, "out of luck") ||
		strings.Contains(failed[0].Error, "\n") {
		t.Errorf("failures %+v", failed)
	}
	if row := r.find(scenarioRTT, Baseline); row == nil || row.Rounds != 2 {
		t.Errorf("the others' row: %+v", row)
	}
}

// deadSwitch joins its hosts well, by a process that ends while it is measured.
type deadSwitch struct{ direct }

func (d deadSwitch) Setup(ctx context.Context, lab *Lab) (*Bed, error) {
	bed, err := d.direct.Setup(ctx, lab)
	if err != nil {
		return nil, err
	}
	bed.Switch, err = lab.start(ctx, bed.Hosts[0].NS, "ready", "/bin/sh", "-c", "echo ready >&2; echo panic >&2; exit 2")
	return bed, errors.Join(err, waitDone(bed.Switch))
}

func waitDone(p *Process) error {
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("it lives on")
	}
}

func TestOnceNoticesADeadSwitch(t *testing.T) {
	s := Scenario{Name: "s", Run: func(context.Context, *Bed, Timing) (Sample, error) { return Sample{Value: 1}, nil }}
	_, err := once(t.Context(), s, deadSwitch{}, short)
	if err == nil || !strings.Contains(err.Error(), "ended while it was measured: exit status 2; it said: ready | panic") {
		t.Errorf("error %v", err)
	}
}

func TestRunIsInterrupted(t *testing.T) {
	checkDescriptors(t)
	before := namespaces(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	time.AfterFunc(time.Second, func() { cancel(cause) })
	r, err := Run(ctx, Options{
		Rounds: 1, Timing: Timing{Measure: time.Hour}, Weft: useStandIn(t), Peers: []string{peerRaw}, Scenarios: []string{scenarioTCP},
	})
	if r != nil || !errors.Is(err, cause) {
		t.Errorf("report %v, error %v", r, err)
	}
	if left := leftOver(err); left != nil {
		t.Errorf("not cleaned up: %v", left)
	}
	if diff := cmp.Diff(before, namespaces(t)); diff != "" {
		t.Errorf("namespaces (-before +after):\n%s", diff)
	}
}

// namespaces lists what the labs of this process have made and not removed.
func namespaces(t *testing.T) []string {
	t.Helper()
	return traces(t, labPrefix())
}
