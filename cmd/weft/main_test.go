package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/api/apitest"
	"github.com/weft/weft/cmd/internal/client"
)

// A program that the race detector is in waits a second at its end for other
// threads to report: no command of a client has any by then.
func TestMain(m *testing.M) {
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	testscript.Main(m, map[string]func(){"weft": main, "weft-flood": floodMain})
}

// TestScript holds what needs no daemon.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("WEFT_SOCKET", filepath.Join(env.WorkDir, "none.sock"))
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
	})
}

// TestClient holds the commands that ask a daemon. The one that answers keeps
// a switch in memory, described at apitest.Backend.
func TestClient(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/client",
		Setup: func(env *testscript.Env) error {
			socket := filepath.Join(env.WorkDir, "weft.sock")
			env.Setenv("WEFT_SOCKET", socket)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			l, err := api.Listen(socket)
			if err != nil {
				return err
			}
			b := apitest.New()
			env.Values["backend"] = b
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- api.Serve(ctx, l, api.Handler(b)) }()
			env.Defer(func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"inject":   inject,
			"captures": captures,
			"frames":   frames,
			"gateway":  gateway,
			"reserved": reserved,
			"uplink":   uplink,
			"ipv6":     ipv6,
			"flows":    flows,
		},
	})
}

// inject has n frames cross a port: inject NETWORK PORT FRAMES.
func inject(ts *testscript.TestScript, _ bool, args []string) {
	b := ts.Value("backend").(*apitest.Backend)
	var n int
	_, err := fmt.Sscan(args[2], &n)
	ts.Check(err)
	for i := range n {
		b.Inject(args[0], args[1], bytes.Repeat([]byte{byte(i)}, 60))
	}
}

// captures waits until n captures are under way: captures N. Or it ends them
// all: captures fail REASON.
func captures(ts *testscript.TestScript, _ bool, args []string) {
	b := ts.Value("backend").(*apitest.Backend)
	if args[0] == "fail" {
		b.FailCaptures(errors.New(args[1]))
		return
	}
	var n int
	_, err := fmt.Sscan(args[0], &n)
	ts.Check(err)
	for range 2000 {
		if b.Captures() == n {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	ts.Fatalf("%d captures, want %d", b.Captures(), n)
}

// gateway gives a network an address, DHCP and DNS: gateway NETWORK.
func gateway(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("backend").(*apitest.Backend).OpenGateway(args[0])
}

// ipv6 adds what there is of IPv6 to what gateway and uplink have given: ipv6 NETWORK.
func ipv6(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("backend").(*apitest.Backend).OpenIPv6(args[0])
}

// uplink has a network leave the switch, with a few flows: uplink NETWORK.
func uplink(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("backend").(*apitest.Backend).OpenUplink(args[0])
}

// flows gives a network n more of them: flows NETWORK N.
func flows(ts *testscript.TestScript, _ bool, args []string) {
	var n int
	_, err := fmt.Sscan(args[1], &n)
	ts.Check(err)
	ts.Value("backend").(*apitest.Backend).OpenFlows(args[0], n)
}

// reserved compares a reservation with the last that was asked for, as JSON:
// reserved NETWORK JSON.
func reserved(ts *testscript.TestScript, _ bool, args []string) {
	all := ts.Value("backend").(*apitest.Backend).Reservations(args[0])
	got, err := json.Marshal(all[len(all)-1])
	ts.Check(err)
	if string(got) != args[1] {
		ts.Fatalf("the daemon was asked for %s", got)
	}
}

// frames waits until a capture file is there, whole, and holds n frames:
// frames FILE N.
func frames(ts *testscript.TestScript, _ bool, args []string) {
	var want, got uint64
	_, err := fmt.Sscan(args[1], &want)
	ts.Check(err)
	for range 2000 {
		var file []byte
		if file, err = os.ReadFile(ts.MkAbs(args[0])); err == nil {
			got, _, err = client.CopyBlocks(io.Discard, bytes.NewReader(file))
		}
		if got == want && err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	ts.Fatalf("%s holds %d frames, want %d; %v", args[0], got, want, err)
}

func TestCaptureRefusesATerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	root := newRootCommand()
	root.SetOut(terminal)
	root.SetArgs([]string{"capture", "lab", "--socket", filepath.Join(t.TempDir(), "none")})
	err = root.ExecuteContext(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not for a terminal") || !errors.As(err, new(usageError)) {
		t.Errorf("got %v", err)
	}
}

func TestIsTerminal(t *testing.T) {
	for device, want := range map[string]bool{"/dev/null": false, "/dev/ptmx": true, os.Args[0]: false} {
		f, err := os.Open(device)
		if err != nil {
			t.Fatal(err)
		}
		if got := isTerminal(f); got != want {
			t.Errorf("%s: %v", device, got)
		}
		f.Close()
	}
}

func TestReport(t *testing.T) {
	for _, c := range []struct {
		err  error
		text string
		code int
	}{
		{nil, "", 0},
		{errors.New("it broke"), "weft: it broke\n", 1},
		{errors.New("a:1: one\na:2: two\n"), "weft: a:1: one\nweft: a:2: two\n", 1},
		{usagef("wrong: %w", os.ErrInvalid), "weft: wrong: invalid argument\n", 2},
		{fmt.Errorf("call: %w", context.Canceled), "weft: interrupted\n", 1},
	} {
		var out strings.Builder
		if code := report(&out, c.err); code != c.code || out.String() != c.text {
			t.Errorf("%v: %d %q, want %d %q", c.err, code, out.String(), c.code, c.text)
		}
	}
}

func TestWarnOfTun(t *testing.T) {
	device := filepath.Join(t.TempDir(), "tun")
	warn := func() string {
		var out strings.Builder
		warnOfTun(&out, device)
		return out.String()
	}
	if got := warn(); !strings.Contains(got, "no tap can be opened") {
		t.Errorf("without the device: %q", got)
	}
	for mode, want := range map[os.FileMode]string{
		0o666: "", 0o600: "has mode 0600", 0o664: "has mode 0664",
	} {
		if err := errors.Join(os.WriteFile(device, nil, 0o600), os.Chmod(device, mode)); err != nil {
			t.Fatal(err)
		}
		if got := warn(); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("mode %o: %q", mode, got)
		}
	}
}
