package main

import "github.com/spf13/cobra"

func newNeighborCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "neighbor",
		Aliases: []string{"neigh", "neighbour"},
		Short:   "Show which address is at which MAC",
	}
	cmd.AddCommand(newNeighborListCommand(a))
	return cmd
}

func newNeighborListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [" + neighborWord + "]",
		Aliases: []string{"ls"},
		Short:   "List neighbours of gateways and uplinks",
		Long: "List neighbours of gateways and uplinks, as ARP and neighbour discovery have shown\n" +
			"them: the hosts of a network, and what is next to an uplink, which is named by its\n" +
			"interface. The gateway learns of hosts that it has something to send to or that\n" +
			"look for it: those that speak to each other only need not be here.",
		Example: "  weft neighbor list lab\n" +
			"  weft neighbor list eth0 -o json",
		ValidArgsFunction: a.completeNames,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		list, err := a.client().Neighbors(cmd.Context(), optional(args))
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), list, func(t *table) {
			t.row("NETWORK", "ADDRESS", "MAC", "STATE")
			for _, n := range list {
				t.row(n.Network, n.Address, n.MAC, n.State)
			}
		})
	}
	return cmd
}

// neighborWord is what a Use line calls a network or the interface of an uplink.
const neighborWord = "NETWORK|" + uplinkWord
