package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
)

func newNetworkCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "network",
		Aliases: []string{"net"},
		Short:   "Show and change networks",
	}
	cmd.AddCommand(newNetworkListCommand(a), newNetworkShowCommand(a), newNetworkSetCommand(a))
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
		uplinks, err := a.client().Uplinks(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), networks, func(t *table) {
			t.row("NETWORK", "FORWARD", "UPLINK", "MTU", "PORTS", "UP", "FDB", "GATEWAY", "HOST-PORT", "DHCP", "DNS", "RA", "DHCP6")
			for _, n := range networks {
				t.row(n.Name, n.Forward, uplinkCell(n, uplinks), n.MTU, n.Ports, n.Up, n.FDB.Entries,
					firstOfEach(n.Addresses), n.HostPort, onOff(n.DHCP != nil), onOff(n.DNS != nil), onOff(n.RA != nil), onOff(n.DHCP6 != nil))
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
		ports, err := a.client().Ports(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		cfg, err := a.configured(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		uplinks, err := a.client().Uplinks(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), n, func(t *table) { fillNetwork(t, n, cfg, ports, uplinkOf(uplinks, n.Name)) })
	}
	return cmd
}

// configured returns a network of the running configuration, an empty one where it
// went in the meantime.
func (a *app) configured(ctx context.Context, network string) (*config.Network, error) {
	text, err := a.client().Config(ctx)
	if err != nil {
		return nil, err
	}
	c, err := config.Parse("configuration of weft", text)
	if err != nil {
		return nil, err
	}
	return cmp.Or(c.Network(network), &config.Network{}), nil
}

func fillNetwork(t *table, n api.Network, cfg *config.Network, ports []api.Port, uplink *api.Uplink) {
	ageing := "never"
	if n.FDB.AgeingSeconds > 0 {
		ageing = humanSeconds(n.FDB.AgeingSeconds)
	}
	t.field("Network", n.Name)
	t.field("Forward", n.Forward)
	fillRouting(t, n, cfg, uplink)
	t.field("Wire", wireText(n, ports))
	t.field("MAC", n.MAC)
	t.field("MTU", n.MTU)
	t.field("Reserved groups", reservedText(n))
	t.field("Ports", fmt.Sprintf("%d, %d up", n.Ports, n.Up))
	t.field("FDB entries", fmt.Sprintf("%d of %d", n.FDB.Entries, n.FDB.Limit))
	t.field("FDB ageing", ageing)
	t.field("FDB moves", n.FDB.Moves)
	t.field("FDB evicted", n.FDB.Evicted)
	fillTree(t, n.STP)
	t.field("Snooping", snoopingText(n.Snooping))
	fillGateway(t, n, cfg)
	if n.STP.Enabled {
		fillTreePorts(t, ports)
	}
}

// wireText names the two ends where a passthrough port makes a wire of its
// network.
func wireText(n api.Network, ports []api.Port) string {
	i := slices.IndexFunc(ports, func(p api.Port) bool { return p.Mode == api.ModePassthrough })
	if i < 0 || n.Uplink == "" {
		return ""
	}
	return ports[i].Name + " - " + n.Uplink
}

// reservedText says which frames between neighbours on one cable cross.
func reservedText(n api.Network) string {
	switch {
	case n.ReservedGroups == api.ReservedSwitch:
		return "01:80:c2:00:00:00-0f are never forwarded"
	case n.ReservedGroups == api.ReservedWire && n.STP.Enabled:
		return "01:80:c2:00:00:01-0f are forwarded, 00 is taken by the spanning tree"
	case n.ReservedGroups == api.ReservedWire:
		return "01:80:c2:00:00:00-0f are forwarded"
	}
	return n.ReservedGroups
}

func fillTree(t *table, s api.NetworkSTP) {
	if !s.Enabled {
		t.field("Spanning tree", "off")
		return
	}
	t.field("Spanning tree", fmt.Sprintf("on, hello %ds, max age %ds, forward delay %ds",
		s.HelloSeconds, s.MaxAgeSeconds, s.ForwardDelaySeconds))
	t.field("Bridge ID", s.BridgeID)
	if s.RootID == s.BridgeID {
		t.field("Root ID", "this network")
	} else {
		t.field("Root ID", s.RootID)
		t.field("Root port", s.RootPort)
		t.field("Root cost", s.RootCost)
	}
	t.field("Topology changes", s.TopologyChanges)
}

// fillTreePorts adds a table of the parts that ports have in the spanning tree.
func fillTreePorts(t *table, ports []api.Port) {
	if len(ports) == 0 {
		return
	}
	t.gap()
	t.row("PORT", "ROLE", "STATE", "COST", "PRIORITY", "PROTOCOL")
	for _, p := range ports {
		if s := p.STP; s != nil {
			state := joinSet(named{s.State, s.State != ""}, named{s.Inconsistent, s.Inconsistent != ""})
			t.row(p.Name, s.Role, state, s.Cost, s.Priority, s.Protocol)
		}
	}
}

func snoopingText(s api.NetworkSnooping) string {
	if !s.Enabled {
		return "off"
	}
	asks := "no queries of its own"
	if s.Querier {
		asks = "queries every " + humanSeconds(int64(s.IntervalSeconds))
	}
	return joinSet(
		named{"on", true},
		named{asks, true},
		named{s.State, s.State != ""},
		named{count(s.Groups, "group"), true},
	)
}
