package porttest

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// leakPatience is how long threads and connections may take to wind down after
// the last test.
const leakPatience = 3 * time.Second

// CheckLeaks runs the tests of a package and ends the process: with a failure
// where they leave goroutines or file descriptors behind. It is all that a
// TestMain needs. Options name goroutines to overlook.
func CheckLeaks(m *testing.M, options ...goleak.Option) {
	warmUp()
	before := openFiles()
	code := m.Run()
	if code == 0 {
		for _, err := range leaks(before, leakPatience, options...) {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// warmUp makes the runtime open the descriptors that it opens once and keeps:
// those of its network poller.
func warmUp() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
}

// leaks looks until nothing is left over or the patience is at an end.
func leaks(before map[string]string, patience time.Duration, options ...goleak.Option) (found []error) {
	if err := goleak.Find(options...); err != nil {
		found = append(found, err)
	}
	deadline := time.Now().Add(patience)
	for {
		err := leakedFiles(before, openFiles())
		if err == nil {
			return found
		}
		if time.Now().After(deadline) {
			return append(found, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// leakedFiles names every descriptor of after that before lacks, and every one
// that now stands for something else.
func leakedFiles(before, after map[string]string) error {
	var extra []string
	for fd, target := range after {
		if before[fd] != target {
			extra = append(extra, fd+" -> "+target)
		}
	}
	if len(extra) == 0 {
		return nil
	}
	sort.Strings(extra)
	return fmt.Errorf("leaked file descriptors: %s", strings.Join(extra, ", "))
}

// openFiles maps the open descriptors of the process to what they stand for.
func openFiles() map[string]string {
	const dir = "/proc/self/fd"
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return files
	}
	for _, e := range entries {
		// The descriptor that read the folder is closed by now.
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			files[e.Name()] = target
		}
	}
	return files
}
