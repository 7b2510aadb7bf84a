package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readyTimeout = 15 * time.Second
	stopTimeout  = 10 * time.Second
	tailLines    = 5 // of standard error, kept for the error message
)

// Process is a program that the lab has started.
type Process struct {
	name  string
	grace time.Duration // that stop leaves it
	pid   int
	done  chan struct{} // closed when it has ended
	err   error         // how it ended, to be read after done
	mu    sync.Mutex
	tail  []string // guarded by mu
}

// PID returns the number of the process.
func (p *Process) PID() int { return p.pid }

// start runs a program inside the namespace and waits until it has printed a
// line that contains ready on its standard error. The lab ends it.
func (l *Lab) start(ctx context.Context, n *Namespace, ready string, argv ...string) (*Process, error) {
	p := &Process{name: strings.Join(argv, " "), grace: stopTimeout, done: make(chan struct{})}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// A group of its own: an interrupt from the terminal is ours to
		// pass on, once its load has stopped.
		Setpgid: true,
		// It goes with us, also where we are killed.
		Pdeathsig: syscall.SIGTERM,
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	isReady := make(chan struct{})
	started := make(chan error, 1)
	ended := n.Go(func() error {
		if err := cmd.Start(); err != nil {
			started <- err
			return err
		}
		p.pid = cmd.Process.Pid
		started <- nil
		p.follow(stderr, ready, isReady)
		// This thread waits because Pdeathsig counts from the end of the
		// thread that forked, not of the process.
		return cmd.Wait()
	})
	go func() {
		p.err = <-ended
		select {
		case started <- p.err: // it never came to a start
		default:
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	l.later(p.stop)
	return p, p.await(ctx, isReady)
}

// follow reads standard error to its end, and closes isReady at the first line
// that contains ready.
func (p *Process) follow(stderr io.Reader, ready string, isReady chan struct{}) {
	seen := false
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if !seen && strings.Contains(lines.Text(), ready) {
			seen = true
			close(isReady)
		}
		p.mu.Lock()
		p.tail = append(p.tail, lines.Text())
		p.tail = p.tail[max(0, len(p.tail)-tailLines):]
		p.mu.Unlock()
	}
	// A line too long for the scanner must not make the program block.
	io.Copy(io.Discard, stderr)
}

func (p *Process) await(ctx context.Context, isReady <-chan struct{}) error {
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case <-isReady:
		return nil
	case <-p.done:
		select {
		case <-isReady: // and ended at once; alive tells of it
			return nil
		default:
		}
		return fmt.Errorf("%s ended before it was ready: %v%s", p.name, p.err, p.said())
	case <-timeout.C:
		return fmt.Errorf("%s was not ready after %v%s", p.name, readyTimeout, p.said())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// said returns the last lines of standard error for an error message.
func (p *Process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tail) == 0 {
		return ""
	}
	return "; it said: " + strings.Join(p.tail, " | ")
}

// alive returns an error where the process has ended by itself.
func (p *Process) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended while it was measured: %v%s", p.name, p.err, p.said())
	default:
		return nil
	}
}

// stop asks the process to end, and kills it where it does not.
func (p *Process) stop() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	// The number cannot be another's: it is freed by Wait, after which done
	// is closed, but for an instant in which the signal finds nothing.
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	timeout := time.NewTimer(p.grace)
	defer timeout.Stop()
	select {
	case <-p.done:
		return nil
	case <-timeout.C:
	}
	syscall.Kill(p.pid, syscall.SIGKILL)
	<-p.done
	return fmt.Errorf("%s did not end within %v of SIGTERM and was killed", p.name, p.grace)
}
