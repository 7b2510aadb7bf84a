package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/client"
)

// app holds the global flags.
type app struct{ socket string }

func (a *app) client() *client.Client { return client.New(a.socket) }

func newRootCommand() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:           "weft",
		Short:         "A virtual Ethernet switch in user space",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&a.socket, "socket", cmp.Or(os.Getenv("WEFT_SOCKET"), api.DefaultSocket),
		"control socket of the daemon; WEFT_SOCKET sets it too")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef(`%w (see "%s --help")`, err, cmd.CommandPath())
	})
	root.SetHelpCommand(newHelpCommand())
	root.AddCommand(
		newRunCommand(a), newCheckCommand(), newInitCommand(), newApplyCommand(a), newConfigCommand(a),
		newStatusCommand(a), newNetworkCommand(a), newPortCommand(a), newFDBCommand(a), newGroupCommand(a), newNeighborCommand(a), newLeaseCommand(a),
		newFlowCommand(a), newPublishCommand(a), newUplinkCommand(a),
		newCaptureCommand(a), newBenchCommand(), newVersionCommand(),
	)
	root.InitDefaultCompletionCmd()
	checkArguments(root)
	return root
}

// newHelpCommand replaces cobra's, which takes any topic for a success.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND] [SUBCOMMAND]",
		Short: "Describe a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("no help for %q: there is no such command", strings.Join(args, " "))
			}
			return topic.Help()
		},
	}
}

// checkArguments gives every command below c the check of its arguments: a
// command group takes the name of a command, any other what its Use line says.
func checkArguments(c *cobra.Command) {
	for _, sub := range c.Commands() {
		checkArguments(sub)
	}
	if !c.HasSubCommands() {
		c.Args = argumentsOfUse
		return
	}
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return nil
	}
	if c.RunE == nil {
		c.RunE = func(cmd *cobra.Command, _ []string) error {
			return usagef("%sname a command: %s", where(cmd), strings.Join(subcommands(cmd), ", "))
		}
	}
}

// argumentsOfUse counts the words of the Use line: FILE is needed, [FILE] is
// not, and what ends in dots may be repeated. So the help can never say one
// thing and the program another.
func argumentsOfUse(cmd *cobra.Command, args []string) error {
	words := strings.Fields(cmd.Use)[1:]
	needed := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w[0] == '[' })
	if len(args) < len(needed) {
		if argumentName(words, len(args)) == settingWord {
			return missingSettings(cmd)
		}
		return usagef("%s%s is missing: usage: %s", where(cmd), needed[len(args)], cmd.UseLine())
	}
	if len(args) > len(words) && argumentName(words, len(args)-1) == "" {
		return usagef("%s%q is one argument too many: usage: %s", where(cmd), args[len(words)], cmd.UseLine())
	}
	if i := slices.Index(args, ""); i >= 0 {
		return usagef("%s%s is empty: usage: %s", where(cmd), argumentName(words, i), cmd.UseLine())
	}
	return nil
}

// argumentName returns what the words of a Use line call argument i, without
// brackets and dots; "" where there is no such argument.
func argumentName(words []string, i int) string {
	last := len(words) - 1
	if i > last {
		if last < 0 || !strings.Contains(words[last], "...") {
			return ""
		}
		i = last
	}
	return strings.Trim(words[i], "[].")
}

func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return usagef("%sunknown command %q: did you mean %q?", where(cmd), name, near[0])
	}
	return usagef("%sunknown command %q: there are %s", where(cmd), name, strings.Join(subcommands(cmd), ", "))
}

// where says which command an error is about, after the name of the program.
func where(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return ""
	}
	_, path, _ := strings.Cut(cmd.CommandPath(), " ")
	return path + ": "
}

func subcommands(cmd *cobra.Command) []string {
	var all []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			all = append(all, c.Name())
		}
	}
	return all
}

// usageError is a command that was called wrongly.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// report prints err, each of its lines with the name of the program before it,
// and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	text := err.Error()
	if errors.Is(err, context.Canceled) {
		text = "interrupted"
	}
	for line := range strings.Lines(text) {
		fmt.Fprintf(w, "weft: %s\n", strings.TrimRight(line, "\n"))
	}
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

// completeNames completes the arguments NETWORK, PORT, WHO, LISTEN and INTERFACE of
// a command from the running daemon; where none answers there is nothing to offer.
// Of KEY=VALUE it knows the keys itself.
func (a *app) completeNames(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	var found []string
	switch argumentName(strings.Fields(cmd.Use)[1:], len(args)) {
	case neighborWord:
		networks, _ := a.client().Networks(ctx)
		for _, n := range networks {
			found = append(found, n.Name)
		}
		uplinks, _ := a.client().Uplinks(ctx)
		for _, u := range uplinks {
			if u.Kind != api.UplinkSockets {
				found = append(found, u.Interface)
			}
		}
	case "NETWORK", "NETWORK[/PORT":
		networks, _ := a.client().Networks(ctx)
		for _, n := range networks {
			found = append(found, n.Name)
		}
	case "PORT":
		ports, _ := a.client().Ports(ctx, args[0])
		for _, p := range ports {
			found = append(found, p.Name)
		}
	case leaseWord:
		leases, _ := a.client().Leases(ctx, args[0])
		found = leaseNames(cmd, leases)
	case listenWord:
		list, _ := a.client().Publishes(ctx, args[0])
		found = publishedPorts(cmd, list)
	case uplinkWord:
		uplinks, _ := a.client().Uplinks(ctx)
		for _, u := range uplinks {
			found = append(found, uplinkName(u))
		}
	case settingWord:
		return completeSetting(settingsOf(cmd), typed)
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
