package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// start serves h on a socket of its own and returns a connector to it and a
// function that ends it and returns what Serve did.
func start(t *testing.T, h http.Handler, limits timeouts) (dial func() net.Conn, stop func() error) {
	t.Helper()
	l := listen(t, socketPath(t))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, h, limits) }()
	t.Cleanup(cancel)
	dial = func() net.Conn {
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		return c
	}
	return dial, func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			return errors.New("Serve does not end")
		}
	}
}

func TestServeEndsCapturesAndLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	entered := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done() // as a capture does
	})
	limits := defaultTimeouts()
	limits.close = time.Hour // it has to end by being told, not by being cut off
	dial, stop := start(t, h, limits)
	c := dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	c.Close()
}

// A request that never ends is cut off, and delays the end no longer than that.
func TestServeCutsOffWhoeverWillNotEnd(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	})
	limits := defaultTimeouts()
	limits.close = 10 * time.Millisecond
	dial, stop := start(t, h, limits)
	defer close(release)
	c := dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("its connection is still open: %v", err)
	}
}

func TestServeReportsAListenerThatFails(t *testing.T) {
	l := listen(t, socketPath(t))
	l.Close()
	err := Serve(t.Context(), l, http.NotFoundHandler())
	if err == nil || !strings.Contains(err.Error(), "serve on ") {
		t.Errorf("got %v", err)
	}
}

// A client that sends nothing, or half a request, is cut off.
func TestServeCutsOffSilentClients(t *testing.T) {
	limits := timeouts{header: 50 * time.Millisecond, read: 50 * time.Millisecond, write: time.Second, idle: 50 * time.Millisecond}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	dial, stop := start(t, h, limits)
	for _, sent := range []string{
		"", "GET /v1/st", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
	} {
		c := dial()
		io.WriteString(c, sent)
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("after %q the server kept waiting: %v", sent, err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// quiet is a capture that says something only long after every timeout.
type quiet struct {
	Backend
	after time.Duration
}

func (quiet) Networks() []Network { return []Network{{Name: "lab"}} }

func (q quiet) Capture(ctx context.Context, _, _ string, w io.Writer, _ CaptureOptions) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(q.after):
	}
	_, err := io.WriteString(w, "late")
	return err
}

func TestCaptureOutlivesTheServersTimeouts(t *testing.T) {
	limits := timeouts{header: 30 * time.Millisecond, read: 30 * time.Millisecond, write: 30 * time.Millisecond, idle: 30 * time.Millisecond}
	dial, stop := start(t, Handler(quiet{after: 300 * time.Millisecond}), limits)
	c := dial()
	io.WriteString(c, "GET /v1/networks/lab/capture HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(answer), "late") {
		t.Errorf("answer %q, %v", answer, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// The header comes at once, before there is a frame to see.
func TestCaptureAnswersAtOnce(t *testing.T) {
	dial, stop := start(t, Handler(quiet{after: time.Hour}), defaultTimeouts())
	c := dial()
	io.WriteString(c, "GET /v1/networks/lab/capture HTTP/1.1\r\nHost: x\r\n\r\n")
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	if head := string(buf[:n]); err != nil || !strings.HasPrefix(head, "HTTP/1.1 200") ||
		!strings.Contains(head, "application/x-pcapng") || !strings.Contains(head, "Transfer-Encoding: chunked") {
		t.Errorf("answer %q, %v", head, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestCaptureHeadEnds(t *testing.T) {
	dial, stop := start(t, Handler(quiet{after: time.Hour}), defaultTimeouts())
	c := dial()
	io.WriteString(c, "HEAD /v1/networks/lab/capture HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Errorf("answer %q, %v", answer, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
