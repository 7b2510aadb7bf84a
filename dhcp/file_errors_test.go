package dhcp

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

func TestFileLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	f := openTestFile(t, path)
	_, err := OpenFile(path)
	want := "lease file " + path + ": another weft holds it: stop that one or set lease_file"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
	commit(t, f, "lan", fileRecords(0, 1)) // unharmed

	// What somebody else is writing at this moment is not judged.
	busy, err := os.Create(path + ".busy")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if err := unix.Flock(int(busy.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, err = OpenFile(busy.Name())
	oneLine(t, err, busy.Name(), "another weft holds it: stop that one or set lease_file")

	// One that ends meanwhile is waited for.
	done := make(chan error, 1)
	go func() {
		next, err := OpenFile(path)
		if err == nil {
			err = next.Close()
		}
		done <- err
	}()
	time.Sleep(2 * lockRetry)
	closeFile(t, f)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFileModes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "var", "lib", "leases.db")
	old := unix.Umask(0)
	defer unix.Umask(old)
	closeFile(t, openTestFile(t, path))
	for name, want := range map[string]fs.FileMode{
		filepath.Join(dir, "var"): 0o700 | fs.ModeDir, filepath.Join(dir, "var", "lib"): 0o700 | fs.ModeDir, path: 0o600,
	} {
		info, err := os.Stat(name)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", name, info.Mode(), err, want)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the file: %v %v", entries, err)
	}
	// A folder that is there stays as it is.
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	closeFile(t, openTestFile(t, path))
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// Two that start at once make one file.
func TestFileMadeTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	closeFile(t, openTestFile(t, path))
	f := openTestFile(t, path)
	commit(t, f, "lan", fileRecords(0, 1))
	if err := makeFile(path); err != nil { // that of the slower one
		t.Fatal(err)
	}
	closeFile(t, f)
	f = openTestFile(t, path)
	defer f.Close()
	wantRecords(t, f, "lan", fileRecords(0, 1))
}

func TestFileErrors(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	other := at("other.db")
	db, err := bbolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	newer := at("newer.db")
	f := openTestFile(t, newer)
	err = f.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketAbout).Put(keySchema, []byte("2")) })
	if err = errors.Join(err, f.Close(), os.Mkdir(at("folder"), 0o700), unix.Mkfifo(at("pipe"), 0o600), os.Symlink(at("nowhere/x"), at("dangling"))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, want string }{
		{other, "is no lease file: set lease_file to another one"},
		{newer, `is of version "2"; this weft knows "1": run the weft that wrote it, or set lease_file`},
		{at("folder"), "is a folder: set lease_file to a file in it"},
		{at("pipe"), "is not a regular file: set lease_file to another one"},
		{filepath.Join(other, "leases.db"), "its folder is a file: set lease_file"},
		{"/proc/leases.db", "lease file /proc/leases.db: "},
		{at("dangling"), "no such file"},
	} {
		before := fileContent(t, tt.path)
		f, err := OpenFile(tt.path)
		if err == nil {
			f.Close()
		}
		oneLine(t, err, tt.path, tt.want)
		if errors.Is(err, ErrCorrupt) || !bytes.Equal(before, fileContent(t, tt.path)) {
			t.Errorf("%s: %v; changed %v", tt.path, err, !bytes.Equal(before, fileContent(t, tt.path)))
		}
	}
}

// fileContent is that of a regular file, else nothing.
func fileContent(t *testing.T, path string) []byte {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func oneLine(t *testing.T, err error, path, want string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), "lease file "+path+": ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v, want %q", path, err, want)
	}
}

// Small file systems of the test's own: one that becomes read-only, one that is
// too small.
func mountSmall(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFileOnReadOnlySystem(t *testing.T) {
	dir := mountSmall(t, "1m")
	path := filepath.Join(dir, "leases.db")
	closeFile(t, openTestFile(t, path))
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, filepath.Join(dir, "more.db"), filepath.Join(dir, "sub", "leases.db")} {
		_, err := OpenFile(name)
		oneLine(t, err, name, "its file system is read-only: set lease_file to another one")
	}
}

// Where the disk is full, a commit fails, and all that was committed before and
// all that fits afterwards is there.
func TestFileOnFullSystem(t *testing.T) {
	dir := mountSmall(t, "512k")
	path := filepath.Join(dir, "leases.db")
	f := openTestFile(t, path)
	var err error
	n := 0
	for ; err == nil && n < 100_000; n += 100 {
		err = f.Commit("lan", fileRecords(n, n+100), nil)
	}
	oneLine(t, err, path, "no space is left on its file system")
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%v is not ENOSPC", err)
	}
	good := fileRecords(0, n-100)
	wantRecords(t, f, "lan", good)
	commit(t, f, "lan", nil, good[0].Address)
	closeFile(t, f)
	f = openTestFile(t, path)
	defer f.Close()
	wantRecords(t, f, "lan", good[1:])
	_, err = OpenFile(filepath.Join(dir, "more.db"))
	if err == nil || !strings.Contains(err.Error(), "no space is left") {
		// A file that small may still fit.
		t.Logf("another file: %v", err)
	}
}
