package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/client"
)

func newStatusCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the daemon at a glance",
	}
	out := addOutput(cmd)
	wait := cmd.Flags().Duration("wait", 0, "how long to wait for a daemon that is starting")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := awaitStatus(cmd.Context(), a.client(), *wait)
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), s, func(t *table) {
			fastpath := s.Fastpath.State
			if s.Fastpath.Reason != "" {
				fastpath += " (" + s.Fastpath.Reason + ")"
			}
			t.field("Version", s.Version)
			t.field("Running", fmt.Sprintf("pid %d, for %s", s.PID, humanSeconds(s.UptimeSeconds)))
			t.field("Socket", s.Socket)
			t.field("Metrics", s.MetricsListen)
			t.field("Fast path", fastpath)
			t.field("Networks", s.Networks)
			t.field("Ports", s.Ports)
			t.field("Uplinks", cmp.Or(strings.Join(s.Uplinks, ", "), "none"))
			for _, note := range s.Notes {
				t.field("Note", note)
			}
		})
	}
	return cmd
}

// awaitStatus asks until the daemon answers, for as long as wait.
func awaitStatus(ctx context.Context, c *client.Client, wait time.Duration) (api.Status, error) {
	for end := time.Now().Add(wait); ; {
		s, err := c.Status(ctx)
		if err == nil || !time.Now().Before(end) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
