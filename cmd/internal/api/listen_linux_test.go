package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func socketPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "run", "weft.sock")
}

func listen(t *testing.T, path string) *Listener {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestListenModes(t *testing.T) {
	old := unix.Umask(0o077) // a tight umask must not shut the group out
	defer unix.Umask(old)
	path := socketPath(t)
	listen(t, path)
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("socket: mode %v, want 0660", info.Mode())
	}
}

func TestListenMakesItsDirectory(t *testing.T) {
	old := unix.Umask(0o022)
	defer unix.Umask(old)
	path := socketPath(t)
	listen(t, path)
	info, err := os.Stat(filepath.Dir(path))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("directory: %v, %v; want 0755", info.Mode(), err)
	}
}

// Between bind and chmod nobody else may connect, whatever the umask.
func TestSocketIsBornClosedToOthers(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, socketMode); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Lstat(path); info.Mode().Perm() != socketMode {
		t.Errorf("this kernel gives a new socket mode %v, want %v", info.Mode().Perm(), os.FileMode(socketMode))
	}
}

func TestListenRefusesASecond(t *testing.T) {
	path := socketPath(t)
	first := listen(t, path)
	_, err := Listen(path)
	want := fmt.Sprintf("socket %s is in use by another weft (pid %d): stop it, or name another socket with --socket", path, os.Getpid())
	if err == nil || err.Error() != want {
		t.Fatalf("got  %v\nwant %s", err, want)
	}
	if !errors.Is(err, ErrConflict) {
		t.Error("it is no conflict")
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the refused one hurt the first: %v", err)
	}
	conn.Close()
	first.Close()
	if err := first.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Close left the socket: %v", err)
	}
	listen(t, path)
}

// The lock alone says that a daemon is starting: it has no socket yet.
func TestListenRefusesAStartingOne(t *testing.T) {
	path := socketPath(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := lockSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err = Listen(path); err == nil || !strings.Contains(err.Error(), "in use by another weft: stop it") {
		t.Errorf("got %v", err)
	}
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	path := socketPath(t)
	stale(t, path)
	l := listen(t, path)
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// stale leaves what a killed daemon leaves: a socket that nobody listens at.
func stale(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// A program that knows nothing of the lock is not robbed of its socket.
func TestListenRefusesALiveStranger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(path); !errors.Is(err, ErrConflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("its socket is gone: %v", err)
	}
}

func TestListenKeepsAFileThatIsNoSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Listen(path)
	if err == nil || !strings.Contains(err.Error(), "no socket is in its place") {
		t.Errorf("got %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Error("the file was touched")
	}
	if lock, err := lockSocket(path); err != nil {
		t.Errorf("a refusal kept the lock: %v", err)
	} else {
		lock.Close()
	}
}

func TestListenPathLength(t *testing.T) {
	dir := t.TempDir() + "/"
	longest := dir + strings.Repeat("s", maxSocketPath-len(dir))
	listen(t, longest)
	_, err := Listen(longest + "s")
	if err == nil || !strings.Contains(err.Error(), "has 108 bytes and Unix sockets allow 107") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(longest + "s.lock"); !errors.Is(err, os.ErrNotExist) {
		t.Error("a refused path left a lock behind")
	}
}

// Many start at once over a stale socket: one wins, and the loser never
// removes the winner's socket.
func TestListenRace(t *testing.T) {
	path := socketPath(t)
	stale(t, path)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []*Listener
	for range 16 {
		wg.Go(func() {
			l, err := Listen(path)
			switch {
			case err == nil:
				mu.Lock()
				won = append(won, l)
				mu.Unlock()
			case !errors.Is(err, ErrConflict):
				t.Errorf("a loser got %v", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d listeners at one path", len(won))
	}
	defer won[0].Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the winner does not answer: %v", err)
	}
	conn.Close()
}
