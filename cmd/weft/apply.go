package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func newApplyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Make a configuration the running one, all of it or nothing",
		Long: "Make a configuration the running one, all of it or nothing, and print what changes.\n" +
			"Ports that do not change keep running.",
	}
	dryRun := cmd.Flags().Bool("dry-run", false, "only print what would change")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := os.ReadFile(args[0])
		if err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
		changes, err := a.client().Apply(cmd.Context(), args[0], text, *dryRun)
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			changes = []string{"no changes"}
		}
		for _, line := range changes {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}
