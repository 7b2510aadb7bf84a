package porttest

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// Process is a command that runs beside the test, inside a namespace. Its
// methods may be called by any goroutine.
type Process struct {
	name   string
	cmd    *exec.Cmd
	output lockedBuffer
	exited chan struct{}
	err    error // valid once exited is closed
}

// Start starts a command inside the namespace and kills it, with the children
// it made, at the end of the test. Its output is kept, and shown if the test
// has failed.
func (ns *NS) Start(t testing.TB, cmd string, args ...string) *Process {
	t.Helper()
	return ns.StartCmd(t, exec.Command(cmd, args...))
}

// StartCmd is Start for a command that the caller has set up: its environment,
// folder, standard input or extra files. Where Stdout or Stderr is set, Output
// lacks what goes there.
func (ns *NS) StartCmd(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{name: strings.Join(cmd.Args, " "), cmd: cmd, exited: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.output
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.output
	}
	// A group of its own makes children reachable. Pdeathsig ends the process
	// also where the test binary panics and runs no clean-up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second // for pipes that a grandchild holds open

	started := make(chan error)
	onOwnThread(func() { p.run(ns, started) })
	if err := <-started; err != nil {
		t.Fatalf("start %s in namespace %s: %v", p.name, ns.Name, err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("output of %s in namespace %s:\n%s", p.name, ns.Name, p.Output())
		}
	})
	return p
}

// run needs a thread of its own for as long as the process lives: Pdeathsig fires
// when the thread that started a process ends, so that thread must not be one
// which some other goroutine may take down.
func (p *Process) run(ns *NS, started chan<- error) {
	err := netns.Set(ns.handle)
	if err == nil {
		err = p.cmd.Start()
	}
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	p.killGroup() // children that it left behind
	close(p.exited)
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Output returns what the process has written so far.
func (p *Process) Output() string { return p.output.String() }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Signal sends a signal to the process alone.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("send %v to %s: %v", s, p.name, err)
	}
}

// Wait waits for the process to end by itself and returns its error, as
// exec.Cmd.Wait does. A process that outlives the timeout ends the test.
func (p *Process) Wait(t testing.TB, timeout time.Duration) error {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(timeout):
		t.Fatalf("%s still runs after %v; its output:\n%s", p.name, timeout, p.Output())
	}
	return p.err
}

// WaitOutput waits until the output holds text. It ends the test if the process
// ends before, or after the timeout.
func (p *Process) WaitOutput(t testing.TB, text string, timeout time.Duration) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for !strings.Contains(p.Output(), text) {
		select {
		case <-p.exited:
			if strings.Contains(p.Output(), text) {
				return
			}
			t.Fatalf("%s ended (%v) without %q; its output:\n%s", p.name, p.err, text, p.Output())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has not written %q in %v; its output:\n%s", p.name, text, timeout, p.Output())
		}
	}
}

// Kill kills the process and the children it made, and waits for its end. It
// does nothing to a process that has ended.
func (p *Process) Kill() {
	select {
	case <-p.exited: // its number may be another process's by now
	default:
		p.killGroup()
		<-p.exited
	}
}

func (p *Process) killGroup() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// lockedBuffer is a bytes.Buffer that is read while a process writes it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
