package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
)

// leaseWord is what a Use line calls the address, MAC, host name or client identifier
// of a lease.
const leaseWord = "WHO"

func newLeaseCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lease",
		Short: "Show, reserve and release addresses of DHCP",
	}
	cmd.AddCommand(newLeaseListCommand(a), newLeaseShowCommand(a), newLeaseAddCommand(a), newLeaseRemoveCommand(a), newLeaseReleaseCommand(a))
	return cmd
}

func newLeaseListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [NETWORK]",
		Aliases: []string{"ls"},
		Short:   "List leases and reservations",
		Long: "List leases and reservations. A lease that is expired is kept for its client\n" +
			"while nobody else needs the address; one that is reserved waits for its client.\n" +
			"Those of a network that is taken away come back with it. PORT is where the client\n" +
			"was heard last since weft has been running.",
		ValidArgsFunction: a.completeNames,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		leases, err := a.client().Leases(cmd.Context(), optional(args))
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), leases, func(t *table) {
			now := time.Now()
			t.row("NETWORK", "ADDRESS", "MAC", "HOSTNAME", "STATE", "KIND", "EXPIRES", "PORT")
			for _, l := range leases {
				t.row(l.Network, l.Address, l.MAC, l.Hostname, l.State, l.Kind, expiresCell(l, now), l.Port)
			}
		})
	}
	return cmd
}

// expiresCell is empty where there is nothing left to expire.
func expiresCell(l api.Lease, now time.Time) string {
	switch {
	case l.Expires == nil && l.State == api.LeaseReserved:
		return ""
	case l.Expires == nil:
		return "never"
	case !l.Expires.After(now):
		return ""
	}
	return humanLeft(l.Expires.Sub(now))
}

// humanLeft is humanSeconds without the seconds of what lasts for minutes.
func humanLeft(d time.Duration) string {
	n := int64(d / time.Second)
	if n >= 60 && n < 60*60 {
		return fmt.Sprintf("%dm", n/60)
	}
	return humanSeconds(n)
}

func newLeaseShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show NETWORK " + leaseWord,
		Short:             "Show a lease or reservation",
		Long:              "Show a lease or reservation.\n\n" + leaseHelp,
		ValidArgsFunction: a.completeNames,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l, err := a.client().Lease(cmd.Context(), args[0], args[1])
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), l, func(t *table) {
			t.field("Network", l.Network)
			t.field("Address", l.Address)
			t.field("MAC", l.MAC)
			t.field("Host name", l.Hostname)
			t.field("Client ID", l.ClientID)
			t.field("State", l.State)
			t.field("Kind", l.Kind)
			t.field("Expires", expiresText(l, time.Now()))
			t.field("Port", l.Port)
		})
	}
	return cmd
}

const leaseHelp = leaseWord + " is its address, MAC, host name or client identifier. Of several that fit, the\n" +
	"one that is active is meant; where there is no such one, name it by its address."

// expiresText is expiresCell with the time of day, and what is past.
func expiresText(l api.Lease, now time.Time) string {
	if l.Expires == nil {
		return expiresCell(l, now)
	}
	at := l.Expires.Local().Format(time.RFC3339)
	if left := l.Expires.Sub(now); left > 0 {
		return fmt.Sprintf("%s (in %s)", at, humanLeft(left))
	}
	return fmt.Sprintf("%s (%s ago)", at, humanLeft(now.Sub(*l.Expires)))
}

func newLeaseAddCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NETWORK",
		Short: "Reserve an address or a name for a client",
		Long: "Reserve an address, a name or a time of leases for a client, which --mac or\n" +
			"--client-id names. It stays until it is removed, a configuration without it is\n" +
			"applied, or the daemon ends. What the client has stays until it renews.",
		Example: "  weft lease add lab --mac 52:54:00:00:00:01 --address 10.0.0.10 --name web\n" +
			"  weft lease add lab --client-id 01:52:54:00:00:00:02 --address 10.0.0.11 --lease 12h\n" +
			"  weft lease add lab --mac 52:54:00:00:00:03 --name printer --lease infinite",
		ValidArgsFunction: a.completeNames,
	}
	var spec api.LeaseSpec
	f := cmd.Flags()
	f.StringVar(&spec.MAC, "mac", "", "MAC of the client")
	f.StringVar(&spec.ClientID, "client-id", "", "client identifier in its place: text, or hexadecimal such as 01:02:03")
	f.StringVar(&spec.Address, "address", "", "IPv4 address (default one of the ranges)")
	f.StringVar(&spec.Name, "name", "", "host name (default what the client calls itself)")
	f.Var((*leaseTime)(&spec.LeaseSeconds), "lease", "time of its leases, such as 12h or 7d, or infinite (default the network's)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case spec.MAC == "" && spec.ClientID == "":
			return usagef("%s--mac or --client-id is missing: it says for which client", where(cmd))
		case spec.MAC != "" && spec.ClientID != "":
			return usagef("%s--mac and --client-id in one reservation: drop one", where(cmd))
		case spec.Address == "" && spec.Name == "" && spec.LeaseSeconds == 0:
			return usagef("%s--address, --name or --lease is missing: it says what is reserved", where(cmd))
		}
		return a.client().AddLease(cmd.Context(), args[0], spec)
	}
	return cmd
}

// leaseTime is a flag for a number of seconds, written as a lease time is in the
// configuration file.
type leaseTime int64

func (l *leaseTime) Type() string { return "duration" }

func (l *leaseTime) String() string {
	if *l == 0 {
		return ""
	}
	return leaseTimeText(int64(*l))
}

func (l *leaseTime) Set(s string) error {
	d, err := config.ParseLease(s)
	switch {
	case err != nil:
		return err
	case d == config.InfiniteLease:
		*l = api.LeaseForever
		return nil
	case d <= 0 || d%time.Second != 0 || d/time.Second >= api.LeaseForever:
		return fmt.Errorf("%q is no whole number of seconds: write such as 90m, 12h or 7d, or infinite", s)
	}
	*l = leaseTime(d / time.Second)
	return nil
}

// leaseTimeText shows how long leases are when they are given out.
func leaseTimeText(seconds int64) string {
	if seconds == api.LeaseForever {
		return config.FormatLease(config.InfiniteLease)
	}
	return config.FormatLease(time.Duration(seconds) * time.Second)
}

func newLeaseRemoveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NETWORK " + leaseWord,
		Aliases: []string{"remove", "del"},
		Short:   "Remove a reservation",
		Long: "Remove a reservation. What its client has by it stays until it renews; to end\n" +
			"a lease use \"weft lease release\".\n\n" + leaseHelp,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.client().RemoveLease(cmd.Context(), args[0], args[1])
		},
	}
}

func newLeaseReleaseCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "release NETWORK " + leaseWord,
		Short: "End a lease as if its client had given it back",
		Long: "End a lease as if its client had given it back. The client is not told: it goes\n" +
			"on with the address until it renews, so end it where the client is gone.\n\n" + leaseHelp,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.client().ReleaseLease(cmd.Context(), args[0], args[1])
		},
	}
}

// leaseNames returns the addresses and host names of those leases that a
// command does something to.
func leaseNames(cmd *cobra.Command, leases []api.Lease) []string {
	var found []string
	for _, l := range leases {
		if cmd.Name() == "rm" && l.Kind != api.LeaseStatic || cmd.Name() == "release" && l.State == api.LeaseReserved {
			continue
		}
		found = append(found, l.Address, l.Hostname)
	}
	return slices.DeleteFunc(found, func(name string) bool { return name == "" })
}
