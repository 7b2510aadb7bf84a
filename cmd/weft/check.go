package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/weft/weft/cmd/internal/config"
)

func newCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a configuration",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.Load(args[0])
			if err != nil {
				return err
			}
			ports, owned := 0, false
			for _, n := range c.Networks {
				ports += len(n.Ports)
				for _, p := range n.Ports {
					owned = owned || p.Type == "tap" && p.Owner+p.Group != ""
				}
			}
			if owned {
				warnOfTun(cmd.ErrOrStderr(), "/dev/net/tun")
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %s, %s\n",
				args[0], count(len(c.Networks), "network"), count(ports, "port"))
			return err
		},
	}
}

// warnOfTun tells that owning a tap is not enough where a user cannot open the
// device that leads to it.
func warnOfTun(w io.Writer, device string) {
	info, err := os.Stat(device)
	switch {
	case err != nil:
		fmt.Fprintf(w, "weft: warning: %v: no tap can be opened: load the kernel's tun module\n", err)
	case info.Mode().Perm()&0o006 != 0o006:
		fmt.Fprintf(w, "weft: warning: %s has mode %04o: the owner of a tap may still not open it: make it 0666\n",
			device, info.Mode().Perm())
	}
}

func newInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Print a commented configuration to start from",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), config.Reference())
			return err
		},
	}
}
