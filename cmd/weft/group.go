package main

import "github.com/spf13/cobra"

func newGroupCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "Show who listens to which multicast group",
	}
	cmd.AddCommand(newGroupListCommand(a))
	return cmd
}

func newGroupListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [NETWORK]",
		Aliases: []string{"ls"},
		Short:   "List ports that asked for a multicast group",
		Long: "List ports that asked for a multicast group by IGMP or MLD. A network knows of\n" +
			"them only while its snooping.enabled is true.",
		ValidArgsFunction: a.completeNames,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		groups, err := a.client().Groups(cmd.Context(), optional(args))
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), groups, func(t *table) {
			t.row("NETWORK", "VLAN", "GROUP", "PORT", "EXPIRES")
			for _, g := range groups {
				t.row(g.Network, vlanCell(g.VLAN), g.Group, g.Port, humanSeconds(g.ExpiresSeconds))
			}
		})
	}
	return cmd
}
