package porttest

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// alive reports whether a process runs; one that waits to be reaped does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// gone waits for a process that was killed to go.
func gone(pid int) bool {
	for range 100 {
		if !alive(pid) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func TestStartKillsAtCleanup(t *testing.T) {
	Require(t)
	var parent, child int
	r := record(func(t testing.TB) {
		ns := NewNS(t, "kill")
		p := ns.Start(t, "sh", "-c", "sleep 1000 & echo child $!; wait")
		p.WaitOutput(t, "\n", 10*time.Second)
		parent = p.Pid()
		child, _ = strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(p.Output(), "child ")))
		if !alive(parent) || !alive(child) {
			t.Fatalf("not running: %d, %d", parent, child)
		}
	})
	if r.failed != "" {
		t.Fatal(r.failed)
	}
	if !gone(parent) || !gone(child) {
		t.Errorf("survived the test: parent %v, child %v", alive(parent), alive(child))
	}
}

// A process that has ended may leave children that hold its pipes.
func TestOrphansDie(t *testing.T) {
	Require(t)
	ns := NewNS(t, "orphn")
	p := ns.Start(t, "sh", "-c", "sleep 1000 & echo child $!")
	_ = p.Wait(t, 30*time.Second)
	child, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(p.Output(), "child ")))
	if err != nil {
		t.Fatal(err)
	}
	if !gone(child) {
		t.Errorf("orphan %d runs on", child)
	}
}

func TestStartRunsInside(t *testing.T) {
	Require(t)
	ns := NewNS(t, "in")
	var home, inside string
	home, _ = os.Readlink("/proc/self/ns/net")
	p := ns.Start(t, "readlink", "/proc/self/ns/net")
	if err := p.Wait(t, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if inside = strings.TrimSpace(p.Output()); inside == home || !strings.HasPrefix(inside, "net:") {
		t.Errorf("ran in %s, home is %s", inside, home)
	}
}

func TestProcessEnds(t *testing.T) {
	Require(t)
	ns := NewNS(t, "end")
	p := ns.Start(t, "sh", "-c", "trap 'echo caught; exit 4' TERM; echo ready; while :; do sleep 0.05; done")
	p.WaitOutput(t, "ready", 10*time.Second)
	p.Signal(t, syscall.SIGTERM)
	if err := p.Wait(t, 10*time.Second); err == nil || !strings.Contains(err.Error(), "exit status 4") {
		t.Errorf("ended with %v", err)
	}
	if !strings.Contains(p.Output(), "caught") {
		t.Errorf("output %q", p.Output())
	}
	p.Kill() // of a process that has ended: nothing
}

func TestWaitOutputFails(t *testing.T) {
	Require(t)
	tests := map[string]struct {
		script, want string
	}{
		"ends":  {"echo other", "ended"},
		"stays": {"echo other; sleep 1000", "has not written"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := record(func(t testing.TB) {
				NewNS(t, "out").Start(t, "sh", "-c", tt.script).WaitOutput(t, "ready", time.Second)
			})
			if !strings.Contains(r.failed, tt.want) || !strings.Contains(r.failed, "other") {
				t.Errorf("failed with %q", r.failed)
			}
		})
	}
}

func TestStartFails(t *testing.T) {
	Require(t)
	r := record(func(t testing.TB) { NewNS(t, "miss").Start(t, "no-such-command") })
	if !strings.Contains(r.failed, "no-such-command") {
		t.Errorf("failed with %q", r.failed)
	}
}

func TestStartCmdKeepsOwnOutput(t *testing.T) {
	Require(t)
	var own strings.Builder
	cmd := exec.Command("sh", "-c", "echo to stdout; echo to stderr >&2")
	cmd.Stdout = &own
	p := NewNS(t, "own").StartCmd(t, cmd)
	if err := p.Wait(t, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if own.String() != "to stdout\n" || p.Output() != "to stderr\n" {
		t.Errorf("own %q, kept %q", own.String(), p.Output())
	}
}
