package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
)

// uplinkWord is what a Use line calls the interface of an uplink.
const uplinkWord = "INTERFACE"

func newUplinkCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "uplink",
		Short: "Show where networks leave the switch",
	}
	cmd.AddCommand(newUplinkListCommand(a), newUplinkShowCommand(a))
	return cmd
}

func newUplinkListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List uplinks with their counters",
		Long: "List uplinks with their counters: those of networks that are translated or\n" +
			"routed. That of a bridge network is a port, which \"weft port list\" shows. Of the\n" +
			"addresses of a family the first one is shown; \"weft uplink show\" has all.",
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		uplinks, err := a.client().Uplinks(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), uplinks, func(t *table) {
			t.row("INTERFACE", "KIND", "STATE", "ADDRESS", "GATEWAY", "NETWORKS", "FLOWS",
				"RX-FRAMES", "RX-BYTES", "TX-FRAMES", "TX-BYTES", "DROPS")
			for _, u := range uplinks {
				cells := []any{u.Interface, strings.Join(u.Kinds, ","), u.State, firstOfEach(u.Addresses), firstOfEach(u.Gateways), strings.Join(u.Networks, ","), u.Flows}
				if u.Kind == api.UplinkSockets { // which carry no frames
					cells = append(cells, "-", "-", "-", "-", "-")
				} else {
					cells = append(cells, u.RX.Frames, humanBytes(u.RX.Bytes), u.TX.Frames, humanBytes(u.TX.Bytes), sumOf(u.Drops))
				}
				t.row(cells...)
			}
		})
	}
	return cmd
}

// firstOfEach has the first address of each family, and how many it leaves out.
func firstOfEach(list []string) string {
	var shown []string
	var four, six bool
	for _, a := range list {
		family := &four
		if strings.Contains(a, ":") {
			family = &six
		}
		if !*family {
			*family, shown = true, append(shown, a)
		}
	}
	if more := len(list) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("+%d", more))
	}
	return strings.Join(shown, ",")
}

func sumOf(counters map[string]uint64) (sum uint64) {
	for _, n := range counters {
		sum += n
	}
	return sum
}

func newUplinkShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show " + uplinkWord,
		Short:             "Show an uplink, why it is not up, and what it dropped",
		ValidArgsFunction: a.completeNames,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		uplinks, err := a.client().Uplinks(cmd.Context())
		if err != nil {
			return err
		}
		i := slices.IndexFunc(uplinks, func(u api.Uplink) bool { return uplinkName(u) == args[0] })
		if i < 0 {
			return fmt.Errorf("no network leaves by %q: see \"weft uplink list\"", args[0])
		}
		return out.print(cmd.OutOrStdout(), uplinks[i], func(t *table) { fillUplink(t, uplinks[i]) })
	}
	return cmd
}

// uplinkName is the dash of the list for sockets that follow no interface.
func uplinkName(u api.Uplink) string { return cmp.Or(u.Interface, "-") }

func fillUplink(t *table, u api.Uplink) {
	t.field("Interface", u.Interface)
	t.field("Kind", kindText(&u))
	t.field("State", stateText(&u))
	t.field("Address", strings.Join(u.Addresses, ", "))
	t.field("Gateway", strings.Join(u.Gateways, ", "))
	t.field("MAC", u.MAC)
	if u.Kind != api.UplinkSockets {
		t.field("MTU", u.MTU)
	}
	t.field("Networks", strings.Join(u.Networks, ", "))
	t.field("Flows", u.Flows)
	if u.Ports != nil {
		t.field("Ports", portsText(u.Ports))
	}
	if u.Kind == api.UplinkSockets {
		return // which carry no frames
	}
	t.field("Neighbours", u.Neighbors)
	t.field("Received", fmt.Sprintf("%s, %s", count(u.RX.Frames, "frame"), humanBytes(u.RX.Bytes)))
	t.field("Sent", fmt.Sprintf("%s, %s", count(u.TX.Frames, "frame"), humanBytes(u.TX.Bytes)))
	t.field("Dropped", count(sumOf(u.Drops), "frame"))
	for _, reason := range slices.Sorted(maps.Keys(u.Drops)) {
		t.field("  "+reason, u.Drops[reason])
	}
}

// portsText says what is left of the ports of an address that the host uses too.
func portsText(p *api.UsablePorts) string {
	return fmt.Sprintf("%s, less %d bound by sockets: %d free", p.Ranges, p.InUse, p.Free)
}

// stateText has the reason beside it: of a state that is not up, and else of the kind.
func stateText(u *api.Uplink) string {
	if u.Detail == "" {
		return u.State
	}
	return u.State + " (" + u.Detail + ")"
}

// kindText says in a clause whose addresses the outside sees.
func kindText(u *api.Uplink) string {
	kinds := strings.Join(u.Kinds, ", ")
	switch {
	case u.Kind == api.UplinkHost:
		return kinds + ", with the address of this host"
	case u.Kind == api.UplinkSockets:
		return kinds + " of this host"
	case len(u.Kinds) > 1:
		return kinds + ", with addresses of its own"
	}
	return kinds + ", with an address of its own"
}
