package porttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// missing says what this machine or process lacks for the tests of ports, or
// returns nil.
func missing() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	if err := canUnshare(); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	tun.Close()
	for _, tool := range []string{"ip", "ping"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	return nil
}

// canUnshare tries a new network namespace on a thread that it throws away.
func canUnshare() error {
	done := make(chan error)
	onOwnThread(func() { done <- unix.Unshare(unix.CLONE_NEWNET) })
	return <-done
}
