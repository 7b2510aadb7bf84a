package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Format is the version of the report's JSON form.
const Format = 1

// Report is one run: what was measured where, and what follows from it.
type Report struct {
	Format       int           `json:"format"`
	Started      time.Time     `json:"started"`
	Finished     time.Time     `json:"finished"`
	Machine      Machine       `json:"machine"`
	Versions     Versions      `json:"versions"`
	Settings     Settings      `json:"settings"`
	Peers        []PeerInfo    `json:"peers"`
	Measurements []Measurement `json:"measurements"` // in the order they were made
	Rows         []Row         `json:"rows"`
	Outcomes     []Outcome     `json:"outcomes"`
}

// Machine says where a run took place.
type Machine struct {
	System    string `json:"system"` // kernel and its version
	Processor string `json:"processor"`
	CPUs      int    `json:"cpus"`       // those this process may use
	MemoryMiB int    `json:"memory_mib"` // 0 where unknown
	// Busy is the share of all CPUs, 0 to 1, that others used just before a
	// round, the worst of them. Figures of a busy machine mislead: its CPUs
	// are never halted, so a wake-up costs nothing, and a load whose thread
	// waits for its turn collapses whatever joins the hosts.
	Busy float64 `json:"busy"`
}

// Versions says what took part in a run.
type Versions struct {
	Weft string `json:"weft"`
	Go   string `json:"go"`
}

// Settings are the times of a run, in seconds.
type Settings struct {
	Rounds  int     `json:"rounds"`
	Measure float64 `json:"measure_seconds"`
	Warmup  float64 `json:"warmup_seconds"`
}

// PeerInfo names a peer of the run. Missing tells what it lacks on this
// machine; a peer that was measured has none.
type PeerInfo struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Missing string `json:"missing,omitempty"`
}

// Figure is one number with its name and unit.
type Figure struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
}

// Sample is what one run of a scenario yields: its own figure, in the unit of
// the scenario, and others that help to understand it.
type Sample struct {
	Value   float64  `json:"value"`
	Details []Figure `json:"details,omitempty"`
}

// Measurement is the sample of one scenario over one peer in one round, or the
// error that came instead.
type Measurement struct {
	Round    int    `json:"round"` // from 1
	Scenario string `json:"scenario"`
	Peer     string `json:"peer"`
	Error    string `json:"error,omitempty"`
	Sample
}

// Failures returns the measurements that ended with an error.
func (r *Report) Failures() []Measurement {
	var failed []Measurement
	for _, m := range r.Measurements {
		if m.Error != "" {
			failed = append(failed, m)
		}
	}
	return failed
}

// Save writes the report into the folder dir, which it makes where it is
// missing, and returns the path of the file. The name is the start of the run
// in UTC; a file of that name is not overwritten.
func (r *Report) Save(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("save report: %w", err)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", fmt.Errorf("save report: %w", err)
	}
	path := filepath.Join(dir, r.Started.UTC().Format("20060102-150405")+".json")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", fmt.Errorf("save report: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", fmt.Errorf("save report %s: %w", path, err)
	}
	return path, nil
}

// Load reads a report that Save wrote.
func Load(path string) (*Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("load report %s: %w", path, err)
	}
	if r.Format != Format {
		return nil, fmt.Errorf("load report %s: format %d, this version reads %d", path, r.Format, Format)
	}
	return &r, nil
}
