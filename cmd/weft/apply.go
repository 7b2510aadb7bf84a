package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func newConfigCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the running configuration",
		Long: "Print the running configuration, with what was changed by command, as YAML that\n" +
			"\"weft apply\" and \"weft run -c\" take.",
		Example: "  weft config > weft.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := a.client().Config(cmd.Context())
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}

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
