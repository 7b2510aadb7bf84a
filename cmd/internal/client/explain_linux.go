package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// explain says in one line why nobody answered, and what to do.
func (c *Client) explain(err error) error {
	err = unwrapURL(err)
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf(`no weft answers at %s: start one with "weft run", or name its socket with --socket`, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to use %s: %s", c.socket, whoMay(c.socket))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("weft at %s does not answer in time: see its log", c.socket)
	}
	return fmt.Errorf("weft at %s: %w", c.socket, err)
}

// whoMay names the owners of the socket, or of what hides it.
func whoMay(socket string) string {
	info, err := os.Stat(socket)
	if err != nil {
		return "only who may enter its directory can; try sudo"
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "try sudo"
	}
	owner, group := strconv.Itoa(int(st.Uid)), strconv.Itoa(int(st.Gid))
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return fmt.Sprintf("user %q and group %q may; try sudo", owner, group)
}
