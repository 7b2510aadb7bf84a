package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/client"
)

func newCaptureCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "capture NETWORK[/PORT]",
		Short: "Record the frames of a network or a port",
		Long: "Record the frames of a network or a port as pcapng until ctrl-C. A dropped frame\n" +
			"carries the reason as its comment. In place of a network the interface of an\n" +
			"uplink may stand, as \"weft uplink list\" has it, but for sockets.",
		Example: "  weft capture lab -w lab.pcapng\n" +
			"  weft capture lab/vm1 -w - | tcpdump -n -r -\n" +
			"  weft capture eth0 -w - | tcpdump -n -r -",
		ValidArgsFunction: a.completeNames,
	}
	file := cmd.Flags().StringP("write", "w", "-", "file to write; - is standard output")
	snaplen := cmd.Flags().Int("snaplen", 0, "bytes to keep of each frame (default all)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		network, port, cut := strings.Cut(args[0], "/")
		if network == "" || cut && port == "" {
			return usagef("%q names no port: write NETWORK or NETWORK/PORT", args[0])
		}
		if *snaplen < 0 || *snaplen > api.MaxSnaplen {
			return usagef("--snaplen %d: say a number from 1 to %d, or 0 for all", *snaplen, api.MaxSnaplen)
		}
		if stdout, ok := cmd.OutOrStdout().(*os.File); *file == "-" && ok && isTerminal(stdout) {
			return usagef("a capture is not for a terminal: name a file with -w, or a pipe")
		}
		stream, err := a.client().Capture(cmd.Context(), network, port, api.CaptureOptions{Snaplen: *snaplen})
		if err != nil {
			return err
		}
		defer stream.Close()
		return record(cmd, *file, args[0], stream)
	}
	return cmd
}

// record writes stream to a file, which it makes only now that there is
// something to record.
func record(cmd *cobra.Command, file, what string, stream io.Reader) (err error) {
	out := cmd.OutOrStdout()
	if file != "-" {
		f, cerr := os.Create(file)
		if cerr != nil {
			return fmt.Errorf("write capture: %w", cerr)
		}
		out = f
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "weft: capturing %s, ctrl-C ends it\n", what)
	n, missed, err := client.CopyBlocks(out, stream)
	fmt.Fprintf(cmd.ErrOrStderr(), "weft: %s captured\n", count(n, "frame"))
	if missed > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "weft: %s missed: capture one port, or less of each with --snaplen\n", count(missed, "frame"))
	}
	switch {
	case errors.Is(err, context.Canceled):
		return nil // ctrl-C: what was asked for
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("weft ended while it was capturing: the file is whole up to here")
	case err != nil:
		return fmt.Errorf("capture %s: %w", what, err)
	}
	return nil
}
