package main

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
)

// listenWord is what a Use line calls where a published port is reached.
const listenWord = "LISTEN"

func newPublishCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "publish",
		Short: "Show and change ports by which guests are reached from outside",
	}
	cmd.AddCommand(newPublishListCommand(a), newPublishAddCommand(a), newPublishRemoveCommand(a))
	return cmd
}

func newPublishListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [NETWORK]",
		Aliases: []string{"ls"},
		Short:   "List published ports",
		Long: "List published ports. TAKEN are those that a program of this host has: it gets\n" +
			"the connections that others begin there, until it ends. OUTSIDE is LISTEN with\n" +
			"the address that others write: that of the socket or of the uplink, or of a guest\n" +
			"that is known outside by one of its own, or as nat.ipv6 translates that.",
		ValidArgsFunction: a.completeNames,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		list, err := a.client().Publishes(cmd.Context(), optional(args))
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), list, func(t *table) {
			t.row("NETWORK", "PROTO", "LISTEN", "TO", "FLOWS", "TAKEN", "OUTSIDE")
			for _, p := range list {
				t.row(p.Network, p.Protocol, p.Listen, p.To, p.Flows, p.Taken, p.Outside)
			}
		})
	}
	return cmd
}

// addProtocol gives a command the flag for the protocol of a published port.
func addProtocol(cmd *cobra.Command) *choice {
	protocol := &choice{"tcp", []string{"tcp", "udp"}}
	cmd.Flags().Var(protocol, "protocol", "protocol of the port")
	// It fails for a flag that does not exist, and this does.
	_ = cmd.RegisterFlagCompletionFunc("protocol", cobra.FixedCompletions(protocol.among, cobra.ShellCompDirectiveNoFileComp))
	return protocol
}

func newPublishAddCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NETWORK " + listenWord + " [TO]",
		Short: "Publish a port of a guest",
		Long: "Publish a port of a guest. LISTEN is a port of the uplink, or a range such as\n" +
			"8000-8009; the guest sees who connects. With an address of this host before it,\n" +
			"such as 127.0.0.1:19888 or [::1]:19888, it is a socket of this host, and the guest\n" +
			"sees the gateway. TO is the guest's address and port, for a range the first one.\n" +
			"An address of IPv6 is in brackets, in both places.\n\n" +
			"What QEMU takes as hostfwd is one argument that stands for both. A port stays\n" +
			"published until it is removed, a configuration without it is applied, or the\n" +
			"daemon ends.",
		Example: "  weft publish add lab 19888 10.0.0.10:22\n" +
			"  weft publish add lab 127.0.0.1:5353 10.0.0.10:53 --protocol udp\n" +
			"  weft publish add lab 443 [2001:db8:1::10]:443\n" +
			"  weft publish add lab [::1]:8080 [2001:db8:1::10]:80\n" +
			"  weft publish add lab tcp::19888-10.0.0.10:22",
		ValidArgsFunction: a.completeNames,
	}
	protocol := addProtocol(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f := forward{protocol: protocol.value, listen: args[1], to: optional(args[2:])}
		for _, end := range args[1:] {
			if err := bracketed(end); err != nil {
				return usagef("%s%w", where(cmd), err)
			}
		}
		switch {
		case isForward(args[1]) && f.to != "":
			return usagef("%s%q says where to already: drop %q", where(cmd), args[1], f.to)
		case isForward(args[1]):
			var err error
			if f, err = forwardOf(cmd, args[1]); err != nil {
				return err
			}
			if f.to == "" {
				return usagef("%s%q names no guest: write its address, such as %s-10.0.0.10:22", where(cmd), args[1], f.qemu())
			}
		case f.to == "":
			return usagef("%sTO is missing: say the guest's address and port, such as 10.0.0.10:22", where(cmd))
		}
		return a.client().AddPublish(cmd.Context(), args[0], api.PublishSpec{Protocol: f.protocol, Listen: f.listen, To: f.to})
	}
	return cmd
}

func newPublishRemoveCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm NETWORK " + listenWord + " [TO]",
		Aliases: []string{"remove", "del"},
		Short:   "Take a published port away",
		Long: "Take a published port away. LISTEN and TO are as \"weft publish list\" shows them.\n" +
			"Without TO it is all that is published there: of both families, or of several\n" +
			"guests with addresses of their own.",
		ValidArgsFunction: a.completeNames,
	}
	protocol := addProtocol(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f := forward{protocol: protocol.value, listen: args[1], to: optional(args[2:])}
		for _, end := range args[1:] {
			if err := bracketed(end); err != nil {
				return usagef("%s%w", where(cmd), err)
			}
		}
		if isForward(args[1]) {
			to := f.to
			var err error
			if f, err = forwardOf(cmd, args[1]); err != nil {
				return err
			}
			if f.to != "" && to != "" {
				return usagef("%s%q says where to already: drop %q", where(cmd), args[1], to)
			}
			f.to = cmp.Or(f.to, to)
		}
		return a.client().RemovePublish(cmd.Context(), args[0], f.protocol, f.listen, f.to)
	}
	return cmd
}

// A forward is what is published, in the words of api.Publish.
type forward struct{ protocol, listen, to string }

// isForward tells QEMU's form, hostfwd=[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT,
// from where weft listens, which begins with a digit or a bracket.
func isForward(text string) bool {
	return slices.ContainsFunc([]string{"hostfwd=", "tcp:", "udp:", ":"}, func(p string) bool { return strings.HasPrefix(text, p) })
}

// bracketed refuses an address of IPv6 that stands without brackets, in the words of
// a command rather than as a strange form of QEMU's.
func bracketed(end string) error {
	if err := config.Unbracketed(end); err != nil {
		return err
	}
	if a, err := netip.ParseAddr(end); err == nil && a.Is6() && !isForward(end) {
		return fmt.Errorf("%q: write an IPv6 address in brackets and its port behind them, such as [2001:db8::1]:80", end)
	}
	return nil
}

// forwardOf reads QEMU's form as the argument of a command that has --protocol. The
// guest may be left out, as in QEMU's hostfwd_remove: to is empty then.
func forwardOf(cmd *cobra.Command, text string) (forward, error) {
	f, err := parseForward(text)
	if err != nil {
		return f, usagef("%s%q: %w", where(cmd), text, err)
	}
	if flag := cmd.Flags().Lookup("protocol"); flag.Changed && flag.Value.String() != f.protocol {
		return f, usagef("%s%q is of %s: drop --protocol %s", where(cmd), text, f.protocol, flag.Value)
	}
	return f, nil
}

func parseForward(text string) (f forward, err error) {
	protocol, rest, _ := strings.Cut(strings.TrimPrefix(text, "hostfwd="), ":")
	if f.protocol = protocol; protocol == "" {
		f.protocol = "tcp" // as QEMU has it
	}
	if f.protocol != "tcp" && f.protocol != "udp" {
		return f, fmt.Errorf("protocol %q: say tcp or udp", protocol)
	}
	host, guest, hasGuest := strings.Cut(rest, "-")
	addr, port, err := splitEnd(host)
	if err != nil {
		return f, err
	}
	// An address of zeroes is every address to QEMU: no single socket.
	if f.listen = port; addr.IsValid() && !addr.IsUnspecified() {
		f.listen = net.JoinHostPort(addr.String(), port)
	}
	if !hasGuest {
		return f, nil
	}
	if addr, port, err = splitEnd(guest); err != nil || !addr.IsValid() {
		return f, err
	}
	f.to = net.JoinHostPort(addr.String(), port)
	return f, nil
}

// splitEnd reads [ADDRESS]:PORT; the zero address stands for none.
func splitEnd(text string) (addr netip.Addr, port string, err error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 || i == len(text)-1 {
		return addr, "", fmt.Errorf("%q has no port: write it as [tcp|udp]:[HOSTADDR]:HOSTPORT-GUESTADDR:GUESTPORT", text)
	}
	port = text[i+1:]
	host, inner := text[:i], strings.HasPrefix(text, "[")
	if inner && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	switch addr, err = netip.ParseAddr(host); {
	case host == "" && !inner:
		return netip.Addr{}, port, nil
	case !inner && strings.Contains(host, ":"): // where it ends could be anywhere
		return netip.Addr{}, "", fmt.Errorf("%q: write an IPv6 address in brackets, such as [2001:db8::1]:%s", text, port)
	case err != nil || addr.Zone() != "":
		return netip.Addr{}, "", fmt.Errorf("%q is no IP address", host)
	}
	return addr, port, nil
}

// qemu returns the host's half in QEMU's form.
func (f forward) qemu() string {
	host, port, err := net.SplitHostPort(f.listen)
	if err != nil {
		host, port = "", f.listen
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return f.protocol + ":" + host + ":" + port
}

// publishedPorts returns those that a command about one protocol can take away.
func publishedPorts(cmd *cobra.Command, list []api.Publish) []string {
	var found []string
	if cmd.Name() != "rm" {
		return nil // what is added is not there yet
	}
	for _, p := range list {
		if p.Protocol == cmd.Flag("protocol").Value.String() {
			found = append(found, p.Listen)
		}
	}
	return found
}
