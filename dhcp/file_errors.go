package dhcp

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

var (
	errLocked     = errors.New("another weft holds it: stop that one or set lease_file")
	errNotOurs    = errors.New("is no lease file: set lease_file to another one")
	errNotRegular = errors.New("is not a regular file: set lease_file to another one")
)

func damaged(err error) error { return fmt.Errorf("%w (%w)", ErrCorrupt, err) }

// remedies are what the errors of a file system ask for.
var remedies = []struct {
	err  error
	text string
}{
	{unix.EISDIR, "is a folder: set lease_file to a file in it"},
	{unix.ENOTDIR, "its folder is a file: set lease_file"},
	{unix.EROFS, "its file system is read-only: set lease_file to another one"},
	{unix.ENOSPC, "no space is left on its file system: make room there, or set lease_file"},
	{unix.EDQUOT, "the disk quota is used up: make room there, or set lease_file"},
	{fs.ErrPermission, "may not be written: run weft as who may, or set lease_file"},
}

// fileError says what to do about an error.
func fileError(path string, err error) error {
	if errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: move it away to start without leases: mv %s %s.bad", err, path, path)
	}
	for _, r := range remedies {
		if errors.Is(err, r.err) {
			return &remedyError{r.text, err}
		}
	}
	return err
}

// remedyError says what to do in place of what the system said, and keeps that
// for errors.Is.
type remedyError struct {
	text string
	err  error
}

func (e *remedyError) Error() string { return e.text }
func (e *remedyError) Unwrap() error { return e.err }
