package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
)

// shownFlows is how many flows a command shows where it is told no number: more
// are no use on a terminal, and a network may have a million.
const shownFlows = 1000

func newFlowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "flow",
		Short: "Show and end tracked connections",
	}
	cmd.AddCommand(newFlowListCommand(a), newFlowShowCommand(a), newFlowFlushCommand(a))
	return cmd
}

// flowFlag is a flag for one key of a filter, whose words and errors are those of
// the control interface.
type flowFlag struct {
	filter     *api.FlowFilter
	key, value string
	kind       string
}

func (f *flowFlag) Type() string   { return f.kind }
func (f *flowFlag) String() string { return f.value }

func (f *flowFlag) Set(s string) error {
	f.value = s
	return f.filter.Set(f.key, s)
}

// addFlowFilter gives a command the flags that choose flows.
func addFlowFilter(cmd *cobra.Command) *api.FlowFilter {
	filter := &api.FlowFilter{}
	for _, f := range []struct{ key, kind, usage string }{
		{"protocol", "tcp|udp|icmp|icmpv6|N", "only flows of this protocol, by name or number"},
		{"address", "address", "only flows with an end that has this address, or is in this prefix"},
		{"port", "number", "only flows with this port at an end, with --address at the same one"},
		{"state", "state", "only flows in this state: " + strings.Join(api.FlowStates(), ", ")},
	} {
		cmd.Flags().Var(&flowFlag{filter: filter, key: f.key, kind: f.kind}, f.key, f.usage)
	}
	for flag, words := range map[string][]string{"protocol": api.ProtocolNames(), "state": api.FlowStates()} {
		// It fails for a flag that does not exist, and these do.
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	return filter
}

const flowHelp = "A flow is shown as whoever opened it sends. TRANSLATED is what becomes of its\n" +
	"source, or of its destination where it came in by a published port; both, source\n" +
	"first, where a guest reaches another by its published port, and by a socket of\n" +
	"this host. The port of an ICMP echo is its identifier. --address and --port look\n" +
	"at all ends, before and after translation. Flows are sorted by network, protocol\n" +
	"and source; those of IPv6 follow those of IPv4 in a table of their own."

func newFlowListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [NETWORK]",
		Aliases: []string{"ls"},
		Short:   "List tracked connections, one a line",
		Long:    "List tracked connections, one a line.\n\n" + flowHelp,
		Example: "  weft flow list lab --protocol tcp --state established\n" +
			"  weft flow list --address 10.0.0.0/28 --limit 100000 -o json\n" +
			"  weft flow list lab --address 2001:db8:1::/64 --protocol icmpv6",
	}
	a.showFlows(cmd, func(t *table, flows []api.Flow) {
		slices.SortFunc(flows, byPlace)
		short, long := byFamily(flows)
		if len(short) > 0 || len(long) == 0 {
			listFlows(t, short)
		}
		if len(short) > 0 && len(long) > 0 {
			t.gap()
		}
		if len(long) > 0 {
			listFlows(t, long)
		}
	})
	return cmd
}

func listFlows(t *table, flows []*api.Flow) {
	t.row("NETWORK", "PROTO", "STATE", "SOURCE", "DESTINATION", "TRANSLATED", "PACKETS", "BYTES", "EXPIRES")
	for _, f := range flows {
		t.row(f.Network, f.Protocol, f.State, f.Original.Source, f.Original.Destination, translatedCell(f),
			f.Packets, humanBytes(f.Bytes), expiryCell(f))
	}
}

// byFamily has the flows of IPv6 apart: three of its addresses a line would make the
// columns of all others as wide as their own.
func byFamily(flows []api.Flow) (short, long []*api.Flow) {
	for i := range flows {
		if f := &flows[i]; strings.Count(f.Original.Source, ":") > 1 {
			long = append(long, f)
		} else {
			short = append(short, f)
		}
	}
	return short, long
}

// byPlace orders flows by their network, protocol and source, then by where they go.
func byPlace(a, b api.Flow) int {
	return cmp.Or(
		strings.Compare(a.Network, b.Network), strings.Compare(a.Protocol, b.Protocol),
		compareEnds(a.Original.Source, b.Original.Source), compareEnds(a.Original.Destination, b.Original.Destination),
	)
}

// compareEnds has 10.0.0.9 before 10.0.0.10, and what is no end, such as one without a
// port, by its text.
func compareEnds(a, b string) int {
	x, err := netip.ParseAddrPort(a)
	y, err2 := netip.ParseAddrPort(b)
	if err != nil || err2 != nil {
		return strings.Compare(a, b)
	}
	return x.Compare(y)
}

// expiryCell is empty for a flow that its sockets keep: it ends when they do.
func expiryCell(f *api.Flow) string {
	if f.ExpiresSeconds == 0 && f.State == api.FlowEstablished {
		return ""
	}
	return humanSeconds(f.ExpiresSeconds)
}

// translatedCell holds the ends that are not what they were: none where the flow
// is routed, both where a guest reaches another by its published port.
func translatedCell(f *api.Flow) string {
	source, destination := f.Translated.Source, f.Translated.Destination
	return strings.ReplaceAll(joinSet(
		named{source, source != f.Original.Source},
		named{destination, destination != f.Original.Destination},
	), " ", "")
}

func newFlowShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show [NETWORK]",
		Short:   "Show tracked connections in full",
		Long:    "Show tracked connections in full.\n\n" + flowHelp,
		Example: "  weft flow show lab --address 10.0.0.10 --port 22",
	}
	a.showFlows(cmd, func(t *table, flows []api.Flow) {
		slices.SortFunc(flows, byPlace)
		for i := range flows {
			if i > 0 {
				t.gap()
			}
			fillFlow(t, &flows[i])
		}
	})
	return cmd
}

func fillFlow(t *table, f *api.Flow) {
	path := "user space"
	if f.Offloaded {
		path = "kernel"
	}
	t.field("Network", f.Network)
	t.field("Protocol", f.Protocol)
	t.field("State", f.State)
	t.field("Source", f.Original.Source)
	t.field("Destination", f.Original.Destination)
	t.field("Translated source", f.Translated.Source)
	t.field("Translated destination", f.Translated.Destination)
	t.field("Passed", fmt.Sprintf("%s, %s", count(f.Packets, "packet"), humanBytes(f.Bytes)))
	if expires := expiryCell(f); expires != "" {
		t.field("Expires", "in "+expires)
	}
	t.field("Path", path)
}

// showFlows makes cmd print the flows that its flags choose by fill, and tell how
// many it leaves out.
func (a *app) showFlows(cmd *cobra.Command, fill func(*table, []api.Flow)) {
	cmd.ValidArgsFunction = a.completeNames
	filter := addFlowFilter(cmd)
	limit := cmd.Flags().Int("limit", shownFlows, fmt.Sprintf("most flows to show, 1-%d", api.MaxFlowLimit))
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *limit < 1 || *limit > api.MaxFlowLimit {
			return usagef("--limit %d: say a number from 1 to %d", *limit, api.MaxFlowLimit)
		}
		filter.Network = optional(args)
		flows, total, err := a.client().Flows(cmd.Context(), *filter, *limit)
		if err != nil {
			return err
		}
		if err := out.print(cmd.OutOrStdout(), flows, func(t *table) { fill(t, flows) }); err != nil {
			return err
		}
		if more := total - len(flows); more > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "weft: %d more: use --limit or a filter\n", more)
		}
		return nil
	}
}

func newFlowFlushCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "flush [NETWORK]",
		Short: "Forget tracked connections",
		Long: "Forget tracked connections: all of a network, those that flags choose, or with\n" +
			"--all those of every network. The guests are not told. What one sends next begins\n" +
			"a new flow, perhaps from another port, which the other side may refuse.",
		Example: "  weft flow flush lab --address 10.0.0.10\n" +
			"  weft flow flush --all",
		ValidArgsFunction: a.completeNames,
	}
	filter := addFlowFilter(cmd)
	all := cmd.Flags().Bool("all", false, "forget every flow of every network")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		filter.Network = optional(args)
		switch {
		case filter.Empty() && !*all:
			return usagef("%sname a network, choose flows by --address or another flag, or say --all", where(cmd))
		case !filter.Empty() && *all:
			return usagef("%s--all is every flow of every network: drop it, or what chooses", where(cmd))
		}
		n, err := a.client().FlushFlows(cmd.Context(), *filter)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d forgotten\n", n)
		return err
	}
	return cmd
}
