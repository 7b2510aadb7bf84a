package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
)

func newPortCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "port",
		Short: "Show, add, change and remove ports",
	}
	cmd.AddCommand(newPortListCommand(a), newPortShowCommand(a), newPortAddCommand(a), newPortSetCommand(a), newPortRemoveCommand(a))
	return cmd
}

func newPortListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list [NETWORK]",
		Aliases:           []string{"ls"},
		Short:             "List ports with their counters",
		ValidArgsFunction: a.completeNames,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ports, err := a.client().Ports(cmd.Context(), optional(args))
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), ports, func(t *table) {
			t.row("NETWORK", "PORT", "TYPE", "MODE", "INTERFACE", "STATE",
				"RX-FRAMES", "RX-BYTES", "TX-FRAMES", "TX-BYTES", "DROPS")
			for _, p := range ports {
				t.row(p.Network, p.Name, p.Type, modeCell(p), p.Interface, stateCell(p),
					p.RX.Frames, humanBytes(p.RX.Bytes), p.TX.Frames, humanBytes(p.TX.Bytes), dropsOf(p))
			}
		})
	}
	return cmd
}

// modeCell marks the uplink, which has no mode of its own.
func modeCell(p api.Port) string {
	if p.Uplink {
		return "uplink"
	}
	return p.Mode
}

// stateCell adds to a state what else keeps frames from a port that is up.
func stateCell(p api.Port) string {
	if p.State != api.StateUp || p.STP == nil {
		return p.State
	}
	why := p.STP.Inconsistent
	if why == "" && p.STP.State != api.TreeForwarding {
		why = p.STP.State
	}
	return joinSet(named{p.State, true}, named{why, why != ""})
}

// optional returns the only argument, or "" without one.
func optional(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func dropsOf(p api.Port) (sum uint64) {
	for _, n := range p.Drops {
		sum += n
	}
	return sum
}

func newPortShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show NETWORK PORT",
		Short:             "Show a port, why it is not up, and what it dropped",
		ValidArgsFunction: a.completeNames,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := a.client().Port(cmd.Context(), args[0], args[1])
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), p, func(t *table) { fillPort(t, p) })
	}
	return cmd
}

func fillPort(t *table, p api.Port) {
	state := p.State
	if p.Detail != "" {
		state += " (" + p.Detail + ")"
	}
	t.field("Network", p.Network)
	t.field("Port", p.Name)
	t.field("Type", p.Type)
	t.field("Mode", modeText(p))
	t.field("Flags", flagsText(p))
	t.field("State", state)
	t.field("Interface", p.Interface)
	t.field("Namespace", p.Netns)
	t.field("MAC", p.MAC)
	t.field("Addresses", strings.Join(p.Addresses, ", "))
	t.field("MTU", p.MTU)
	t.field("Owner", p.Owner)
	t.field("Group", p.Group)
	t.field("Offloads", strings.Join(p.Offloads, ", "))
	fillPolicy(t, p)
	t.field("Received", fmt.Sprintf("%s, %s", count(p.RX.Frames, "frame"), humanBytes(p.RX.Bytes)))
	t.field("Sent", fmt.Sprintf("%s, %s", count(p.TX.Frames, "frame"), humanBytes(p.TX.Bytes)))
	t.field("Dropped", count(dropsOf(p), "frame"))
	for _, reason := range slices.Sorted(maps.Keys(p.Drops)) {
		t.field("  "+reason, p.Drops[reason])
	}
}

// fillPolicy shows what is not at its default.
func fillPolicy(t *table, p api.Port) {
	t.field("VLANs", vlanText(p.VLAN))
	if p.STP != nil {
		t.field("Spanning tree", treeText(p))
		t.field("Tree settings", treeSettings(*p.STP))
	}
	if p.Security.MaxMACs > 0 {
		limit := strconv.Itoa(p.Security.MaxMACs)
		if p.Security.Sticky {
			limit += ", sticky"
		}
		t.field("MAC limit", limit)
	}
	t.field("Sources", strings.Join(p.Security.Sources, ", "))
	t.field("Storm limits", stormText(p.Storm))
	t.field("Guard", joinSet(
		named{"no router advertisements in", p.Guard.RA},
		named{"no answers of DHCP servers in", p.Guard.DHCP},
	))
	t.field("Rate in", rateText(p.Rate.Ingress))
	t.field("Rate out", rateText(p.Rate.Egress))
}

func modeText(p api.Port) string {
	if p.Uplink {
		return p.Mode + " (uplink)"
	}
	return p.Mode
}

func flagsText(p api.Port) string {
	return joinSet(named{"hairpin", p.Hairpin}, named{"isolated", p.Isolated})
}

type named struct {
	name string
	on   bool
}

// joinSet lists the names that are on.
func joinSet(list ...named) string {
	var on []string
	for _, n := range list {
		if n.on {
			on = append(on, n.name)
		}
	}
	return strings.Join(on, ", ")
}

func vlanText(v *api.PortVLAN) string {
	switch {
	case v == nil:
		return "all, as they are"
	case v.Access != 0:
		return fmt.Sprintf("access %d", v.Access)
	case v.Native != 0:
		return fmt.Sprintf("trunk %s, native %d", strings.Join(v.Trunk, ","), v.Native)
	}
	return "trunk " + strings.Join(v.Trunk, ",")
}

// treeText says what the spanning tree has made of a port, and how one that is
// kept out comes back. The port has its part in a tree.
func treeText(p api.Port) string {
	s := p.STP
	why := s.Protocol
	switch s.Inconsistent {
	case "":
	case api.GuardBPDU:
		why = fmt.Sprintf("bpdu-guard: a BPDU came in; out until its link comes again, or: weft port set %s %s stp.bpdu_guard=false", p.Network, p.Name)
	case api.GuardRoot:
		why = "root-guard: a better root is behind this port; it comes back when that falls silent"
	case api.SelfLoop:
		why = "self-loop: what it sends comes back to it"
	default:
		why = s.Inconsistent
	}
	if s.State == "" {
		return ""
	}
	return fmt.Sprintf("%s, %s (%s)", s.Role, s.State, why)
}

func treeSettings(s api.PortSTP) string {
	return joinSet(
		named{"edge " + s.Edge, s.Edge != "auto"},
		named{fmt.Sprintf("priority %d", s.Priority), s.Priority != defaultTreePriority},
		named{fmt.Sprintf("cost %d", s.Cost), s.Cost != defaultTreeCost},
		named{"root guard", s.RootGuard},
		named{"BPDU guard", s.BPDUGuard},
	)
}

// What a port has where nobody says otherwise; see docs/reference.yaml.
const (
	defaultTreePriority = 128
	defaultTreeCost     = 2000
)

func stormText(s api.Storm) string {
	return joinSet(
		named{fmt.Sprintf("broadcast %d/s", s.Broadcast), s.Broadcast > 0},
		named{fmt.Sprintf("multicast %d/s", s.Multicast), s.Multicast > 0},
		named{fmt.Sprintf("unknown %d/s", s.Unknown), s.Unknown > 0},
	)
}

func rateText(r *api.Rate) string {
	if r == nil {
		return ""
	}
	return joinSet(
		named{humanRate(r.Average), true},
		named{"peak " + humanRate(r.Peak), r.Peak > 0},
		named{"burst " + humanSize(r.Burst), r.Burst > 0},
	)
}

func newPortAddCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NETWORK NAME [" + settingWord + "...]",
		Short: "Add a port while traffic runs",
		Long: "Add a port while traffic runs. It stays until it is removed, a configuration\n" +
			"without it is applied, or the daemon ends.\n\n" + settingsHelp(portSettings()),
		Example: "  weft port add lab vm1 --type tap --owner labuser\n" +
			"  weft port add lab lan --type raw --interface veth-a\n" +
			"  weft port add lab h1 --type internal --netns lab1 --address 10.0.0.1/24\n" +
			"  weft port add lab vm2 vlan.access=10 isolated=true --type tap",
		ValidArgsFunction: a.completeNames,
	}
	var spec api.PortSpec
	f := cmd.Flags()
	f.StringVar(&spec.Type, "type", "", "tap, raw or internal")
	f.StringVar(&spec.Mode, "mode", "", "what the port may reach (default bridge)")
	f.StringVar(&spec.Interface, "interface", "", "network interface (default the port's name)")
	f.StringVar(&spec.Netns, "netns", "", "internal: network namespace by name (default the host's)")
	f.StringVar(&spec.MAC, "mac", "", "internal: address of the interface (default derived from the names)")
	f.StringSliceVar(&spec.Addresses, "address", nil, "internal: IP address with prefix length; may be repeated")
	f.StringVar(&spec.Owner, "owner", "", "tap: user that may open it")
	f.StringVar(&spec.Group, "group", "", "tap: group that may open it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if spec.Type == "" {
			return usagef("%s--type is missing: say tap, raw or internal", where(cmd))
		}
		var err error
		if spec.Settings, err = settingsOfNewPort(cmd, args[2:]); err != nil {
			return err
		}
		spec.Name = args[1]
		p, err := a.client().AddPort(cmd.Context(), args[0], spec)
		if err == nil && p.State != api.StateUp && p.Detail != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "weft: port %q is added and %s: %s\n", p.Name, p.State, p.Detail)
		}
		return err
	}
	return cmd
}

func newPortRemoveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "rm NETWORK PORT",
		Aliases:           []string{"remove"},
		Short:             "Remove a port",
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.client().RemovePort(cmd.Context(), args[0], args[1])
		},
	}
}
