package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Before each round Run watches the idle machine for busyTime, 50 units of its
// CPU time, once the kernel has had quietTime to take down what there was.
const (
	quietTime = 200 * time.Millisecond
	busyTime  = 500 * time.Millisecond
)

// Options say what to measure and how long.
type Options struct {
	Rounds    int       // at least 1; 3 or more for figures to be shown
	Timing    Timing    // of each measurement
	Families  []string  // ipv4, ipv6; empty: both
	Peers     []string  // names; empty: all
	Scenarios []string  // names; empty: all
	Weft      string    // path of the binary to measure; empty: none
	Version   string    // of that binary, for the report
	Progress  io.Writer // gets a line for each measurement; nil: nobody
}

// Run measures and returns the report. A peer that is missing and a measurement
// that fails are named in the report and do not end the run. An error means
// that there is no report: the options make no sense, or ctx has ended. Nothing
// that Run made is left then either. Only one Run at a time is of use.
func Run(ctx context.Context, o Options) (*Report, error) {
	peers, scenarios, err := o.pick(Peers(o.Weft), Scenarios())
	if err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	// A generator that never blocks keeps its P. The goroutine that holds the
	// watch needs one whatever the machine has.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + 8))

	r := &Report{
		Format: Format, Started: time.Now().UTC(), Machine: thisMachine(), Versions: Versions{Weft: o.Version, Go: runtime.Version()},
		Settings: Settings{o.Rounds, o.Timing.Measure.Seconds(), o.Timing.Warmup.Seconds()},
	}
	available := r.enlist(peers, o.Progress)
	if len(available) == 0 {
		return nil, fmt.Errorf("no peer can be measured: %s: %s", r.Peers[0].Name, r.Peers[0].Missing)
	}
	if err := r.measure(ctx, o, available, scenarios); err != nil {
		return nil, err
	}
	r.Finished = time.Now().UTC()
	r.summarise(scenarios, selected(Targets(), scenarios, peers))
	return r, nil
}

// pick returns the peers and scenarios that the options name.
func (o Options) pick(peers []Peer, scenarios []Scenario) ([]Peer, []Scenario, error) {
	var errs []error
	if o.Rounds < 1 {
		errs = append(errs, fmt.Errorf("rounds: %d, wanted 1 or more", o.Rounds))
	}
	if o.Timing.Measure <= 0 || o.Timing.Warmup < 0 {
		errs = append(errs, fmt.Errorf("duration: %v after %v of warm-up, wanted more than 0", o.Timing.Measure, o.Timing.Warmup))
	}
	peers, err := choose("peer", peers, o.Peers, Peer.Name)
	errs = append(errs, err)
	scenarios, err = choose("scenario", scenarios, o.Scenarios, func(s Scenario) string { return s.Name })
	errs = append(errs, err)
	families, err := choose("family", []Family{IPv4, IPv6}, o.Families, func(f Family) string { return strings.ToLower(f.String()) })
	scenarios = slices.DeleteFunc(scenarios, func(s Scenario) bool { return !slices.Contains(families, s.Family) })
	if errs = append(errs, err); errors.Join(errs...) == nil && len(scenarios) == 0 {
		return nil, nil, fmt.Errorf("none of these scenarios is in %s: the others end in %q", families[0], inIPv6)
	}
	return peers, scenarios, errors.Join(errs...)
}

// choose returns those of all whose names are wanted, in the order of all.
func choose[T any](kind string, all []T, wanted []string, name func(T) string) ([]T, error) {
	if len(wanted) == 0 {
		return all, nil
	}
	left := make(map[string]bool)
	for _, w := range wanted {
		left[w] = true
	}
	var chosen []T
	var names []string
	for _, v := range all {
		names = append(names, name(v))
		if left[name(v)] {
			chosen = append(chosen, v)
			delete(left, name(v))
		}
	}
	for _, w := range wanted {
		if left[w] {
			return nil, fmt.Errorf("%s %q does not exist: there are %s", kind, w, strings.Join(names, ", "))
		}
	}
	return chosen, nil
}

// enlist notes all peers in the report and returns those that are available.
func (r *Report) enlist(peers []Peer, progress io.Writer) []Peer {
	var available []Peer
	for _, p := range peers {
		info := PeerInfo{Name: p.Name(), About: p.About()}
		if err := p.Available(); err != nil {
			info.Missing = err.Error()
			fmt.Fprintf(progress, "missing: %s: %s\n", info.Name, info.Missing)
		} else {
			available = append(available, p)
		}
		r.Peers = append(r.Peers, info)
	}
	return available
}

// measure goes round by round through the scenarios, and in each through the
// peers, in both families where there are, so that what is compared is measured
// one right after the other.
func (r *Report) measure(ctx context.Context, o Options, peers []Peer, scenarios []Scenario) error {
	total := 0
	each(o.Rounds, scenarios, peers, func(int, Scenario, Peer) bool { total++; return true })
	var ended error
	watched := 0
	each(o.Rounds, scenarios, peers, func(round int, s Scenario, p Peer) bool {
		if watched < round {
			watched = round
			if ended = r.watch(ctx); ended != nil {
				return false
			}
		}
		sample, err := once(ctx, s, p, o.Timing)
		if ctx.Err() != nil {
			ended = errors.Join(context.Cause(ctx), leftOver(err))
			return false
		}
		m := Measurement{Round: round, Scenario: s.Name, Peer: p.Name(), Sample: sample}
		outcome := number(sample.Value) + " " + s.Unit
		if err != nil {
			m.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
			m.Sample = Sample{}
			outcome = "failed: " + m.Error
		}
		r.Measurements = append(r.Measurements, m)
		fmt.Fprintf(o.Progress, "%3d/%d  round %d  %-20s %-17s %s\n",
			len(r.Measurements), total, round, s.Name, p.Name(), outcome)
		return true
	})
	return ended
}

// watch keeps in the report how busy others make the machine, at the worst.
func (r *Report) watch(ctx context.Context) error {
	if err := sleep(ctx, quietTime); err != nil {
		return err
	}
	share, err := busy(ctx, busyTime)
	r.Machine.Busy = max(r.Machine.Busy, share)
	return err
}

// each calls f in the order of the run, until it returns false. The families of a
// scenario take turns at being the first, so that a drift favours neither.
func each(rounds int, scenarios []Scenario, peers []Peer, f func(int, Scenario, Peer) bool) {
	for round := 1; round <= rounds; round++ {
		for _, twins := range paired(scenarios) {
			if round%2 == 0 {
				slices.Reverse(twins)
			}
			for _, p := range peers {
				for _, s := range twins {
					if s.runsOn(p.Name()) && !f(round, s, p) {
						return
					}
				}
			}
		}
	}
}

// paired puts scenarios together that are twins.
func paired(scenarios []Scenario) [][]Scenario {
	var groups [][]Scenario
	for _, s := range scenarios {
		if last := len(groups) - 1; last >= 0 && s.Twin == groups[last][0].Name {
			groups[last] = append(groups[last], s)
		} else {
			groups = append(groups, []Scenario{s})
		}
	}
	return groups
}

// once sets up a peer, runs one scenario over it and takes everything down.
// Nothing of one measurement is there in the next.
func once(ctx context.Context, s Scenario, p Peer, timing Timing) (sample Sample, err error) {
	lab, err := NewLab(s.Family)
	if err != nil {
		return Sample{}, err
	}
	defer func() {
		if closeErr := lab.Close(); closeErr != nil {
			err = errors.Join(err, &leftOverError{closeErr})
		}
	}()
	bed, err := p.Setup(ctx, lab)
	if err != nil {
		return Sample{}, err
	}
	ready := settle
	if bed.ready != nil {
		ready = bed.ready
	}
	if err := ready(ctx, bed.Hosts); err != nil {
		return Sample{}, errors.Join(err, bed.alive())
	}
	sample, err = s.Run(ctx, bed, timing)
	return sample, errors.Join(err, bed.alive())
}

// alive returns an error where the process that switches has ended.
func (b *Bed) alive() error {
	if b.Switch == nil {
		return nil
	}
	return b.Switch.alive()
}

// leftOverError tells what could not be taken down.
type leftOverError struct{ err error }

func (e *leftOverError) Error() string { return "clean up: " + e.err.Error() }
func (e *leftOverError) Unwrap() error { return e.err }

// leftOver returns the part of err that an interrupted user must still see.
func leftOver(err error) error {
	var left *leftOverError
	if errors.As(err, &left) {
		return left
	}
	return nil
}
