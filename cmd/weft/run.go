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
			"one network, default: 192.168.122.0/24 with a gateway, DHCP and DNS, or another\n" +
			"/24 where this host uses that one, and this host in it by the interface weft0.\n" +
			"Its guests get out by NAT, with the address of this host where that can be shared:\n" +
			"the host's firewall does not see that, and \"weft status\" says which way it is.\n" +
			"Leases are kept in /var/lib/weft/leases.db, or where the file says.",
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
