// Command weft is a virtual Ethernet switch and its clients in one binary:
// "weft run" is the daemon, and every other command that needs one talks to it
// over its control socket.
//
// It exits with 0 when done, 1 when it failed and 2 when it was called wrongly.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A second signal is not caught: it ends a command that hangs while ending.
	context.AfterFunc(ctx, stop)
	root := newRootCommand()
	return report(root.ErrOrStderr(), root.ExecuteContext(ctx))
}
