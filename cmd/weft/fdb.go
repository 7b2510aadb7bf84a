package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
)

func newFDBCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fdb",
		Short: "Show and change the MAC tables",
	}
	cmd.AddCommand(newFDBListCommand(a), newFDBShowCommand(a), newFDBAddCommand(a), newFDBDeleteCommand(a), newFDBFlushCommand(a))
	return cmd
}

func newFDBListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list [NETWORK]",
		Aliases:           []string{"ls"},
		Short:             "List known addresses",
		ValidArgsFunction: a.completeNames,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		entries, err := a.client().FDB(cmd.Context(), optional(args))
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), entries, func(t *table) { fillFDB(t, entries) })
	}
	return cmd
}

func newFDBShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show NETWORK MAC",
		Short:             "Show where an address is, in every VLAN",
		ValidArgsFunction: a.completeNames,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		mac, err := net.ParseMAC(args[1])
		if err != nil || len(mac) != 6 {
			return usagef("%q is no MAC address: write it like 52:54:00:00:00:01", args[1])
		}
		entries, err := a.client().FDB(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		entries = slices.DeleteFunc(entries, func(e api.FDBEntry) bool { return e.MAC != mac.String() })
		if len(entries) == 0 {
			return fmt.Errorf("network %q: %s is not known", args[0], mac)
		}
		return out.print(cmd.OutOrStdout(), entries, func(t *table) { fillFDB(t, entries) })
	}
	return cmd
}

func fillFDB(t *table, entries []api.FDBEntry) {
	t.row("NETWORK", "VLAN", "MAC", "PORT", "KIND", "AGE")
	for _, e := range entries {
		age := ""
		if e.Kind == "dynamic" {
			age = humanSeconds(e.AgeSeconds)
		}
		t.row(e.Network, vlanCell(e.VLAN), e.MAC, e.Port, e.Kind, age)
	}
}

// vlanCell is empty for untagged.
func vlanCell(vlan uint16) string {
	if vlan == 0 {
		return ""
	}
	return strconv.Itoa(int(vlan))
}

func newFDBAddCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NETWORK MAC PORT",
		Short: "Add a static entry",
		Long: "Add a static entry. Without --vlan it belongs to the VLAN in which the port's\n" +
			"untagged frames are: its vlan.access or vlan.native, else to none.",
		Example: "  weft fdb add lab 52:54:00:00:00:01 vm1\n" +
			"  weft fdb add lab 52:54:00:00:00:01 vm1 --vlan 20",
		ValidArgsFunction: a.completeNames,
	}
	vlan := cmd.Flags().Uint16("vlan", 0, "VLAN, 1-4094 (default that of the port's untagged frames)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.client().AddFDB(cmd.Context(), args[0], api.FDBSpec{MAC: args[1], VLAN: *vlan, Port: args[2]})
	}
	return cmd
}

func newFDBDeleteCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "del NETWORK MAC",
		Aliases:           []string{"rm", "delete"},
		Short:             "Remove a static or dynamic entry",
		ValidArgsFunction: a.completeNames,
	}
	vlan := cmd.Flags().Uint16("vlan", 0, "VLAN as \"weft fdb list\" shows it, 0-4094; 0 means untagged")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.client().RemoveFDB(cmd.Context(), args[0], args[1], *vlan)
	}
	return cmd
}

func newFDBFlushCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "flush NETWORK [PORT]",
		Short:             "Forget the dynamic entries of a network or a port",
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.client().FlushFDB(cmd.Context(), args[0], optional(args[1:]))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d forgotten\n", n)
			return err
		},
	}
}
