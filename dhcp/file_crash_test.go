package dhcp

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// crashVariable holds the path of the file that this process is to write to
// until it is killed.
const crashVariable = "WEFT_DHCP_CRASH_FILE"

const crashNetworks = 3

// crashStep is what the n-th commit of the crashing process does to a network:
// four records more, the four of five commits ago less, and its number at an
// address that is always there.
func crashStep(n int) (put []Record, remove []Record) {
	number := fileRecord(0)
	number.Hostname = fmt.Sprint(n)
	put = append(fileRecords(4*n, 4*n+4), number)
	if n > 5 {
		remove = fileRecords(4*(n-5), 4*(n-5)+4)
	}
	return put, remove
}

// crashState is what a network has after the n-th commit.
func crashState(n int) []Record {
	if n == 0 {
		return nil
	}
	put, _ := crashStep(n)
	return append(put[4:], fileRecords(4*max(1, n-4), 4*n+4)...)
}

// TestCrashingProcess is the process that is killed: it says what it has
// committed, after the fact.
func TestCrashingProcess(t *testing.T) {
	path := os.Getenv(crashVariable)
	if path == "" {
		t.Skip("it is run by TestFileSurvivesKill")
	}
	f := openTestFile(t, path)
	var wg sync.WaitGroup
	for i := range crashNetworks {
		name := fmt.Sprint("net", i)
		wg.Go(func() {
			for n := crashNumber(t, f, name) + 1; ; n++ {
				put, gone := crashStep(n)
				var c []Record
				c = append(c, put...)
				if err := f.Commit(name, c, addresses(gone)); err != nil {
					t.Error(err)
					return
				}
				fmt.Fprintf(os.Stderr, "committed %s %d\n", name, n)
			}
		})
	}
	wg.Wait()
}

// crashNumber is the number of the last commit that the file has of a network.
func crashNumber(t *testing.T, f *File, network string) (n int) {
	got, err := f.Load(network)
	if err != nil {
		t.Error(err)
	}
	if len(got) > 0 {
		fmt.Sscan(got[0].Hostname, &n)
	}
	return n
}

// Whatever was said to be committed before a SIGKILL is there afterwards, and
// beyond it at most the one commit that was under way, whole.
func TestFileSurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	said := make([]int, crashNetworks)
	for range 15 {
		killWhileItCommits(t, path, said)
		f := openTestFile(t, path) // the lock went with the process
		for i := range said {
			name := fmt.Sprint("net", i)
			n := crashNumber(t, f, name)
			if n != said[i] && n != said[i]+1 {
				t.Fatalf("%s is at commit %d, %d was said to be the last", name, n, said[i])
			}
			got, err := f.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if want := crashState(n); len(got)+len(want) > 0 && !cmp.Equal(want, got, sameRecords) {
				t.Fatalf("%s after commit %d: %s", name, n, cmp.Diff(want, got, sameRecords))
			}
			said[i] = n
		}
		closeFile(t, f)
	}
	if said[0] < 15 {
		t.Errorf("%d commits: nothing was tested", said[0])
	}
}

// killWhileItCommits starts the process, kills it some time after its first
// commit, and notes what it said.
func killWhileItCommits(t *testing.T, path string, said []int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashingProcess$")
	cmd.Env = append(os.Environ(), crashVariable+"="+path)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for started := false; ; started = true {
		// A line that the kill has cut off was not said.
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var network, n int
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "committed net%d %d", &network, &n); err != nil {
			t.Fatalf("it said %q", line)
		}
		said[network] = n
		if !started {
			time.AfterFunc(time.Duration(rand.IntN(40_000))*time.Microsecond, func() { cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("it ended by itself: %v", err)
	}
}

// A kill says nothing of what the kernel had not written yet: for that each
// commit waits for the disk.
func TestFileWaitsForTheDisk(t *testing.T) {
	f := openTestFile(t, filepath.Join(t.TempDir(), "leases.db"))
	defer f.Close()
	if f.db.NoSync || f.db.NoGrowSync {
		t.Error("bbolt does not wait for the disk")
	}
}
