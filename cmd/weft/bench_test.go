package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft/weft/bench"
)

// benchCommand runs `weft bench` and returns what it wrote.
func benchCommand(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := newBenchCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

// The kernel's own peers do: the running binary is a test, not weft.
func TestBenchQuick(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	stdout, stderr, err := benchCommand(t, "--quick", "--peer", "direct,bridge", "--scenario", "rtt", "-o", dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"machine ", "rtt: UDP round trip", "\n  direct ", "\n  bridge "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("standard output lacks %q:\n%s", want, stdout)
		}
	}
	if !strings.Contains(stderr, "2/2  round 1  rtt") || !strings.Contains(stderr, dir) {
		t.Errorf("standard error:\n%s", stderr)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("results: %v, %v", entries, err)
	}
	report, err := bench.Load(filepath.Join(dir, entries[0].Name()))
	if err != nil || len(report.Measurements) != 2 || report.Settings.Rounds != 1 {
		t.Errorf("report %+v, %v", report, err)
	}
}

func TestBenchRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		`peer "ovs" does not exist: there are direct, bridge`: {"--peer", "ovs"},
		`scenario "tcp9" does not exist: there are tcp1`:      {"--scenario", "tcp9"},
		`family "ipx" does not exist: there are ipv4, ipv6`:   {"--family", "ipx"},
		"none of these scenarios is in IPv6":                  {"--family", "ipv6", "--scenario", "rtt"},
		"rounds: 0, wanted 1 or more":                         {"--rounds", "0"},
		"duration: -1s":                                       {"--duration", "-1s"},
		"[quick rounds]":                                      {"--quick", "--rounds", "2"},
		"unknown command":                                     {"now"},
	} {
		stdout, _, err := benchCommand(t, args...)
		if err == nil || !strings.Contains(err.Error(), want) || stdout != "" {
			t.Errorf("%v: error %v, want %q; output %q", args, err, want, stdout)
		}
	}
}
