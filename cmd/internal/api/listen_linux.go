package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultSocket is where the daemon of a machine is asked, unless somebody says
// otherwise.
const DefaultSocket = "/run/weft/weft.sock"

// maxSocketPath is the longest path that fits sun_path with its final zero
// (struct sockaddr_un, unix(7)), in bytes.
const maxSocketPath = 107

// socketMode lets the socket's owner and group in, nobody else.
const socketMode = 0o660

// Listener is the control socket of a running daemon.
type Listener struct {
	*net.UnixListener
	lock  *os.File
	close func() error
}

// Listen makes the control socket at path, mode 0660, and its directory where
// that is missing. A socket that a dead daemon left behind is replaced; one
// that somebody answers at is refused.
//
// The lock file beside it, path+".lock", stays when the socket goes: to remove
// it would let two daemons hold a lock on two files of the same name.
func Listen(path string) (*Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket %s: the path has %d bytes and Unix sockets allow %d: choose a shorter one",
			path, len(path), maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	lock, err := lockSocket(path)
	if err != nil {
		return nil, err
	}
	l, err := listenLocked(path)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &Listener{UnixListener: l, lock: lock, close: sync.OnceValue(func() error {
		// The listener unlinks its socket before the lock goes, so it can
		// never be the successor's.
		return errors.Join(l.Close(), lock.Close())
	})}, nil
}

// Close removes the socket. Later calls do nothing more.
func (l *Listener) Close() error { return l.close() }

func lockSocket(path string) (*os.File, error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("socket %s: lock it: %w", path, err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return lock, nil
	}
	lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		pid, _, _ := peer(path)
		return nil, inUse(path, pid)
	}
	return nil, fmt.Errorf("socket %s: lock it: %w", path, err)
}

// listenLocked is called with the lock held: any socket at path is stale, or
// that of a program which knows nothing of the lock.
func listenLocked(path string) (*net.UnixListener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("socket %s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("socket %s: a file that is no socket is in its place: move it away", path)
	default:
		pid, alive, err := peer(path)
		if alive {
			return nil, inUse(path, pid)
		}
		if err != nil {
			return nil, fmt.Errorf("socket %s: see who has it: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("socket %s: replace the stale one: %w", path, err)
		}
	}
	// bind gives the new file the mode that the descriptor has (unix_bind_bsd
	// in net/unix/af_unix.c), so it is never open to others, not even between
	// bind and the chmod that makes up for a tight umask.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), socketMode) }); cerr != nil {
			return cerr
		}
		return err
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on socket %s: %w", path, err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		l.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l.(*net.UnixListener), nil
}

// peer asks the kernel who listens at path. A full queue counts as alive: its
// pid is unknown then. The error is nil where nobody listens.
func peer(path string) (pid int, alive bool, err error) {
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return 0, false, nil
	case errors.Is(err, unix.EAGAIN):
		return 0, true, nil
	case err != nil:
		return 0, false, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, true, err
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(cerr, err); err != nil {
		return 0, true, err
	}
	return int(cred.Pid), true, nil
}

func inUse(path string, pid int) error {
	who := "another weft"
	if pid > 0 {
		who = fmt.Sprintf("another weft (pid %d)", pid)
	}
	return Mark(ErrConflict, fmt.Errorf("socket %s is in use by %s: stop it, or name another socket with --socket", path, who))
}
