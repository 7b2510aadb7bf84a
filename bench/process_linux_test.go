package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell starts a script inside a new namespace of the lab.
func shell(ctx context.Context, t *testing.T, lab *Lab, script string) (*Process, error) {
	t.Helper()
	n, err := lab.Namespace("switch")
	if err != nil {
		t.Fatal(err)
	}
	return lab.start(ctx, n, "weft: ready", "/bin/sh", "-c", script)
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestProcessStartsInsideAndEndsWithTheLab(t *testing.T) {
	checkDescriptors(t)
	lab := newLab(t, IPv4)
	p, err := shell(t.Context(), t, lab, "echo starting >&2; echo 'weft: ready' >&2; exec sleep 600")
	if err != nil {
		t.Fatal(err)
	}
	inside, err := os.Stat("/run/netns/" + filepath.Base(lab.dir) + "-switch")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Stat("/proc/" + itoa(p.PID()) + "/ns/net")
	if err != nil || !os.SameFile(inside, own) {
		t.Errorf("the process is not inside the namespace (%v)", err)
	}
	if err := p.alive(); err != nil {
		t.Errorf("alive: %v", err)
	}
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	if !gone(p.PID()) {
		t.Errorf("process %d is still there", p.PID())
	}
	if p.alive() == nil {
		t.Error("alive after its end")
	}
}

func TestProcessThatEndsEarlySaysWhy(t *testing.T) {
	_, err := shell(t.Context(), t, newLab(t, IPv4), "echo 'weft: port \"h1\": no such interface' >&2; exit 3")
	if err == nil {
		t.Fatal("started")
	}
	for _, want := range []string{"ended before it was ready", "exit status 3", `port "h1": no such interface`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

func TestProcessKeepsOnlyTheLastLines(t *testing.T) {
	_, err := shell(t.Context(), t, newLab(t, IPv4), "i=0; while [ $i -lt 500 ]; do echo line $i. >&2; i=$((i+1)); done; exit 1")
	if err == nil || strings.Contains(err.Error(), "line 494.") || !strings.Contains(err.Error(), "line 495. |") ||
		!strings.Contains(err.Error(), "line 499.") {
		t.Errorf("error %v, want the last %d lines", err, tailLines)
	}
}

// A line longer than any buffer must not make the process wait for its reader.
func TestProcessMayWriteLongLines(t *testing.T) {
	p, err := shell(t.Context(), t, newLab(t, IPv4),
		"echo 'weft: ready' >&2; head -c 300000 /dev/zero >&2; echo over >&2; exit 0")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(60 * time.Second):
		t.Error("the process hangs in write")
	}
}

func TestProcessThatDoesNotExist(t *testing.T) {
	checkDescriptors(t)
	lab := newLab(t, IPv4)
	n, err := lab.Namespace("switch")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.start(t.Context(), n, "ready", "/no/such/weft", "run"); err == nil || !strings.Contains(err.Error(), "/no/such/weft") {
		t.Errorf("error %v", err)
	}
}

func TestProcessStartIsInterrupted(t *testing.T) {
	lab := newLab(t, IPv4)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	p, err := shell(ctx, t, lab, "exec sleep 600")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	if !gone(p.PID()) {
		t.Errorf("process %d is still there", p.PID())
	}
}

func TestStubbornProcessIsKilled(t *testing.T) {
	lab := newLab(t, IPv4)
	p, err := shell(t.Context(), t, lab, "trap '' TERM; echo 'weft: ready' >&2; while :; do sleep 0.1; done")
	if err != nil {
		t.Fatal(err)
	}
	p.grace = 200 * time.Millisecond
	if err := lab.Close(); err == nil || !strings.Contains(err.Error(), "within 200ms of SIGTERM and was killed") {
		t.Errorf("error %v, want one that tells of the kill", err)
	}
	if !gone(p.PID()) {
		t.Errorf("process %d is still there", p.PID())
	}
}

func TestCPUTimeOfProcess(t *testing.T) {
	p, err := shell(t.Context(), t, newLab(t, IPv4), "echo 'weft: ready' >&2; while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	machine, err := machineCPU()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		used, err := processCPU(p.PID())
		if err != nil {
			t.Fatal(err)
		}
		if used >= 100*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a busy process used %v", used)
		}
	}
	if now, err := machineCPU(); err != nil || now-machine < 50*time.Millisecond {
		t.Errorf("the machine was busy for %v meanwhile (%v)", now-machine, err)
	}
	now, peak, err := resident(p.PID())
	if err != nil || now <= 0.1 || now > 100 || peak < now {
		t.Errorf("memory %v MiB, peak %v MiB (%v)", now, peak, err)
	}
}

func TestParseProc(t *testing.T) {
	stat := "42 (we) ft (x) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 8 0 1000"
	if got, err := parseProcessCPU([]byte(stat)); err != nil || got != 2*time.Second {
		t.Errorf("process: %v, %v, want 150+50 ticks", got, err)
	}
	line := "cpu  100 10 20 99999 77777 3 4 5 50 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
	if got, err := parseMachineCPU([]byte(line)); err != nil || got != 1420*time.Millisecond {
		t.Errorf("machine: %v, %v, want 100+10+20+3+4+5 ticks", got, err)
	}
	status := "Name:\tweft\nVmHWM:\t   65536 kB\nVmRSS:\t   32768 kB\n"
	if got, err := statusMiB([]byte(status), "VmRSS"); err != nil || got != 32 {
		t.Errorf("VmRSS %v MiB, %v", got, err)
	}
	for name, err := range map[string]error{
		"short stat":  second(parseProcessCPU([]byte("42 (weft) S 1"))),
		"no number":   second(parseProcessCPU([]byte(strings.Replace(stat, "150", "x", 1)))),
		"short line":  second(parseMachineCPU([]byte("cpu 1 2 3"))),
		"wrong line":  second(parseMachineCPU([]byte("intr 1 2 3 4 5 6 7 8 9"))),
		"absent key":  second(statusMiB([]byte(status), "VmSwap")),
		"no such pid": second(processCPU(1 << 30)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, _, err := resident(1 << 30); err == nil {
		t.Error("memory of no process")
	}
}

func second[T any](_ T, err error) error { return err }

func TestMachineIsDescribed(t *testing.T) {
	m := thisMachine()
	if !strings.HasPrefix(m.System, "Linux ") || m.CPUs < 1 || m.MemoryMiB < 16 || m.Processor == "" {
		t.Errorf("machine %+v", m)
	}
}

// The bench may be killed without a chance to clean up: its processes go too.
func TestProcessGoesWithItsParent(t *testing.T) {
	if pidFile := os.Getenv("WEFT_BENCH_PID_FILE"); pidFile != "" {
		lab, err := NewLab(IPv4)
		if err != nil {
			t.Fatal(err)
		}
		defer lab.Close()
		n, err := lab.Namespace("orphan")
		if err != nil {
			t.Fatal(err)
		}
		p, err := lab.start(t.Context(), n, "ready", "/bin/sh", "-c", "echo ready >&2; exec sleep 600")
		if err != nil {
			t.Fatal(err)
		}
		report := filepath.Base(lab.dir) + " " + itoa(p.PID())
		if err := os.WriteFile(pidFile+".new", []byte(report), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(pidFile+".new", pidFile); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
	}
	orphanDies(t)
}

func orphanDies(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	parent := exec.Command(os.Args[0], "-test.run=^TestProcessGoesWithItsParent$")
	parent.Env = append(os.Environ(), "WEFT_BENCH_PID_FILE="+pidFile)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer parent.Wait()
	defer parent.Process.Kill()
	var fields []string
	for deadline := time.Now().Add(20 * time.Second); len(fields) != 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the parent did not get its process to run")
		}
		data, _ := os.ReadFile(pidFile)
		fields = strings.Fields(string(data))
	}
	// A killed run leaves its namespace; this test knows which it was.
	defer func() {
		syscall.Unmount("/run/netns/"+fields[0]+"-orphan", syscall.MNT_DETACH)
		os.Remove("/run/netns/" + fields[0] + "-orphan")
		os.RemoveAll(filepath.Join(os.TempDir(), fields[0]))
	}()
	parent.Process.Kill()
	pid := atoi(t, fields[1])
	for deadline := time.Now().Add(10 * time.Second); !gone(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d outlived its parent", pid)
		}
	}
}
