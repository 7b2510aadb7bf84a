package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
)

func newNetworkCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "network",
		Aliases: []string{"net"},
		Short:   "Show networks",
	}
	cmd.AddCommand(newNetworkListCommand(a), newNetworkShowCommand(a))
	return cmd
}

func newNetworkListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List networks",
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		networks, err := a.client().Networks(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), networks, func(t *table) {
			t.row("NETWORK", "FORWARD", "MTU", "PORTS", "UP", "FDB")
			for _, n := range networks {
				t.row(n.Name, n.Forward, n.MTU, n.Ports, n.Up, n.FDB.Entries)
			}
		})
	}
	return cmd
}

func newNetworkShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show NETWORK",
		Short:             "Show a network",
		ValidArgsFunction: a.completeNames,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, err := a.client().Network(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), n, func(t *table) { fillNetwork(t, n) })
	}
	return cmd
}

func fillNetwork(t *table, n api.Network) {
	ageing := "never"
	if n.FDB.AgeingSeconds > 0 {
		ageing = humanSeconds(n.FDB.AgeingSeconds)
	}
	t.field("Network", n.Name)
	t.field("Forward", n.Forward)
	t.field("MTU", n.MTU)
	t.field("Ports", fmt.Sprintf("%d, %d up", n.Ports, n.Up))
	t.field("FDB entries", fmt.Sprintf("%d of %d", n.FDB.Entries, n.FDB.Limit))
	t.field("FDB ageing", ageing)
	t.field("FDB moves", n.FDB.Moves)
	t.field("FDB evicted", n.FDB.Evicted)
}
