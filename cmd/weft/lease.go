package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
)

// leaseWord is what a Use line calls the address or prefix, MAC, host name, client
// identifier or DUID of a lease.
const leaseWord = "WHO"

func newLeaseCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lease",
		Short: "Show, reserve and release addresses of DHCP and DHCPv6",
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
			"was heard last since weft has been running. A prefix that DHCPv6 has delegated to\n" +
			"a router is a lease too. Where a client of DHCPv6 does not tell its MAC, its DUID\n" +
			"is behind its name in \"weft lease show\".",
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
			if l.IAID == nil && !strings.Contains(l.Address, ":") {
				t.field("Client ID", l.ClientID)
			} else {
				t.field("DUID", l.ClientID)
			}
			if l.IAID != nil {
				t.field("IAID", *l.IAID)
			}
			t.field("State", l.State)
			t.field("Kind", l.Kind)
			t.field("Expires", expiresText(l, time.Now()))
			t.field("Port", l.Port)
		})
	}
	return cmd
}

const leaseHelp = leaseWord + " is its address or prefix, MAC, host name, client identifier or DUID. Of several\n" +
	"that fit, the one that is active is meant; where there is no such one, or several,\n" +
	"name it by its address."

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
		Long: "Reserve an address, a name or a time of leases for a client, which --mac,\n" +
			"--client-id or, in DHCPv6, --duid names. It stays until it is removed, a\n" +
			"configuration without it is applied, or the daemon ends. What the client has stays\n" +
			"until it renews.\n\n" +
			"A reservation is of DHCP or of DHCPv6, as its address is of IPv4 or IPv6. One\n" +
			"without an address is of DHCPv6 with --duid, else of DHCP.",
		Example: "  weft lease add lab --mac 52:54:00:00:00:01 --address 10.0.0.10 --name web\n" +
			"  weft lease add lab --client-id 01:52:54:00:00:00:02 --address 10.0.0.11 --lease 12h\n" +
			"  weft lease add lab --mac 52:54:00:00:00:03 --name printer --lease infinite\n" +
			"  weft lease add lab --mac 52:54:00:00:00:01 --address 2001:db8:1::10 --name web\n" +
			"  weft lease add lab --duid 00:04:8f:2e:10:5b --address 2001:db8:1::11",
		ValidArgsFunction: a.completeNames,
	}
	var spec api.LeaseSpec
	f := cmd.Flags()
	f.StringVar(&spec.MAC, "mac", "", "MAC of the client")
	f.StringVar(&spec.ClientID, "client-id", "", "client identifier in its place: text, or hexadecimal such as 01:02:03")
	f.StringVar(&spec.DUID, "duid", "", "DUID of a client of DHCPv6 in its place, hexadecimal such as 00:01:02")
	f.StringVar(&spec.Address, "address", "", "IPv4 or IPv6 address (default one of the ranges)")
	f.StringVar(&spec.Name, "name", "", "host name (default what the client calls itself)")
	f.Var((*leaseTime)(&spec.LeaseSeconds), "lease", "time of its leases, such as 12h or 7d, or infinite (default the network's)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkReservation(&spec); err != nil {
			return usagef("%s%w", where(cmd), err)
		}
		return a.client().AddLease(cmd.Context(), args[0], spec)
	}
	return cmd
}

// checkReservation refuses what says too little, or too much. Whether an address and
// an identifier are good is for the daemon to judge.
func checkReservation(s *api.LeaseSpec) error {
	var who []string
	for _, flag := range []struct{ name, value string }{{"--mac", s.MAC}, {"--client-id", s.ClientID}, {"--duid", s.DUID}} {
		if flag.value != "" {
			who = append(who, flag.name)
		}
	}
	address, _ := netip.ParseAddr(s.Address)
	switch {
	case len(who) == 0:
		return errors.New("--mac, --client-id or --duid is missing: it says for which client")
	case len(who) > 1:
		return fmt.Errorf("%s in one reservation: drop all but one", strings.Join(who, " and "))
	case s.Address == "" && s.Name == "" && s.LeaseSeconds == 0:
		return errors.New("--address, --name or --lease is missing: it says what is reserved")
	case s.DUID != "" && address.Is4():
		return fmt.Errorf("--duid is of DHCPv6, and %s an IPv4 address: say --client-id, or an IPv6 address", address)
	case s.ClientID != "" && address.Is6():
		return fmt.Errorf("--client-id is of DHCP, and %s an IPv6 address: say --duid, or an IPv4 address", address)
	}
	return nil
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
