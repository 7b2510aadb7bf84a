package main

import (
	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/daemon"
)

func newRunCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the switch in the foreground",
		Long: "Run the switch in the foreground until SIGINT or SIGTERM. Without a file it runs\n" +
			"one network, default, that has no ports yet.",
	}
	file := cmd.Flags().StringP("config", "c", "", "configuration file")
	fastpath := &choice{"auto", []string{"auto", "on", "off"}}
	cmd.Flags().Var(fastpath, "fastpath", "switch in the kernel where it is able")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return daemon.Run(cmd.Context(), daemon.Options{
			ConfigFile: *file,
			Socket:     a.socket,
			Fastpath:   fastpath.value,
			Version:    version(),
			Stderr:     cmd.ErrOrStderr(),
		})
	}
	return cmd
}
