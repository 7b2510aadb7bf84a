package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft/weft/bench"
)

// newBenchCommand returns `weft bench`, which measures this binary beside the
// kernel bridge on the user's own machine.
func newBenchCommand() *cobra.Command {
	o := bench.Options{Rounds: 3, Timing: bench.Timing{Warmup: 500 * time.Millisecond, Measure: 2 * time.Second}}
	var output string
	var quick bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure weft beside the kernel bridge",
		Long: `Measure weft beside the kernel bridge, in network namespaces of its own.

Prints a table of medians and of their ratios to the kernel bridge in the same
run, those in IPv6 to IPv4 too, and whether weft's targets are reached. It takes
root and about ten minutes. The figures of a machine that is busy with other
things mislead.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if quick {
				o.Rounds, o.Timing = 1, bench.Timing{Warmup: 100 * time.Millisecond, Measure: 300 * time.Millisecond}
			}
			return runBench(cmd, o, output)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "keep the raw data as a JSON file in this folder")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often to go through all measurements")
	f.DurationVar(&o.Timing.Measure, "duration", o.Timing.Measure, "of one measurement, without its warm-up")
	f.BoolVar(&quick, "quick", false, "one round of 0.3 s each: shows that it works, its figures say nothing")
	f.StringSliceVar(&o.Families, "family", nil, "measure only in these families: ipv4, ipv6")
	f.StringSliceVar(&o.Peers, "peer", nil, "measure only these peers")
	f.StringSliceVar(&o.Scenarios, "scenario", nil, "measure only these scenarios")
	cmd.MarkFlagsMutuallyExclusive("quick", "rounds")
	cmd.MarkFlagsMutuallyExclusive("quick", "duration")
	return cmd
}

func runBench(cmd *cobra.Command, o bench.Options, output string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	o.Weft, o.Version, o.Progress = self, version(), cmd.ErrOrStderr()
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	// An interrupt must find its way here, or namespaces stay behind.
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := bench.Run(ctx, o)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if err := report.WriteTable(cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if output != "" {
		path, err := report.Save(output)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "raw data:", path)
	}
	if n := len(report.Failures()); n > 0 {
		return fmt.Errorf("bench: %d measurements failed; the table names them", n)
	}
	return nil
}
