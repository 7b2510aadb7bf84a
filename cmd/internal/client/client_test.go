package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/pcapgo"
	"go.uber.org/goleak"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/api/apitest"
	"github.com/weft/weft/cmd/internal/client"
)

// serve answers at a socket by h until the test ends.
func serve(t *testing.T, h http.Handler) (*client.Client, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "weft.sock")
	l, err := api.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, h) }()
	c := client.New(socket)
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t)
	})
	return c, socket
}

func TestEveryCall(t *testing.T) {
	b := apitest.New()
	c, _ := serve(t, api.Handler(b))
	ctx := t.Context()

	s, err := c.Status(ctx)
	want(t, "status", err, s.Version, "v0.0.0-test")
	networks, err := c.Networks(ctx)
	want(t, "networks", err, networks, b.Networks())
	network, err := c.Network(ctx, "lab")
	want(t, "network", err, network, b.Networks()[0])

	added, err := c.AddPort(ctx, "lab", api.PortSpec{
		Name: "h1", Type: "internal", Netns: "lab1", MAC: "02:00:00:00:00:01", Addresses: []string{"10.0.0.1/24"},
	})
	want(t, "add port", err, added.Interface, "h1")
	port, err := c.Port(ctx, "lab", "h1")
	want(t, "port", err, port, added)
	ports, err := c.Ports(ctx, "lab")
	want(t, "ports", err, ports[0], added)
	want(t, "remove port", c.RemovePort(ctx, "lab", "h1"), 0, 0)
	ports, err = c.Ports(ctx, "")
	want(t, "ports of all", err, len(ports), 2)

	want(t, "add fdb", c.AddFDB(ctx, "lab", api.FDBSpec{MAC: "02:00:00:00:00:02", VLAN: 5, Port: "lan"}), 0, 0)
	entries, err := c.FDB(ctx, "lab")
	want(t, "fdb", err, entries[1], api.FDBEntry{Network: "lab", MAC: "02:00:00:00:00:02", VLAN: 5, Port: "lan", Kind: "static"})
	want(t, "remove fdb", c.RemoveFDB(ctx, "lab", "02:00:00:00:00:02", 5), 0, 0)
	flushed, err := c.FlushFDB(ctx, "lab", "lan")
	want(t, "flush port", err, flushed, 0)
	flushed, err = c.FlushFDB(ctx, "lab", "")
	want(t, "flush network", err, flushed, 1)

	set, err := c.SetNetwork(ctx, "lab", []byte(`{"mtu": "9000", "stp": {"enabled": true}}`))
	want(t, "set network", err, set, b.Networks()[0])
	want(t, "set network", err, set.MTU, 9000)
	port, err = c.SetPort(ctx, "lab", "vm1", []byte(`{"mode": "vepa", "vlan": {"trunk": [10, "20-30"]}}`))
	want(t, "set port", err, port.VLAN, &api.PortVLAN{Trunk: []string{"10", "20-30"}})
	port, err = c.SetPort(ctx, "lab", "vm1", []byte(`{"vlan": null}`))
	want(t, "reset port", err, port.VLAN, (*api.PortVLAN)(nil))
	want(t, "reset port", err, port.Mode, "vepa")
	added, err = c.AddPort(ctx, "lab", api.PortSpec{Name: "vm2", Type: "tap", Settings: []byte(`{"isolated": true}`)})
	want(t, "add port with settings", err, added.Isolated, true)

	b.Join("lab", 0, "ff05::1", "lan")
	groups, err := c.Groups(ctx, "lab")
	want(t, "groups", err, groups, []api.Group{
		{Network: "lab", Group: "ff05::1", Port: "lan", ExpiresSeconds: 260},
		{Network: "lab", VLAN: 10, Group: "239.1.1.1", Port: "vm1", ExpiresSeconds: 260},
	})
	groups, err = c.Groups(ctx, "")
	want(t, "groups of all", err, len(groups), 2)

	b.OpenGateway("lab")
	network, err = c.Network(ctx, "lab")
	want(t, "network with services", err, network, b.Networks()[0])
	want(t, "add lease", c.AddLease(ctx, "lab", api.LeaseSpec{MAC: "02:00:00:00:00:0b", Address: "10.0.0.11", Name: "tv", LeaseSeconds: 60}), 0, 0)
	want(t, "reservations", nil, b.Reservations("lab"), []api.LeaseSpec{{MAC: "02:00:00:00:00:0b", Address: "10.0.0.11", Name: "tv", LeaseSeconds: 60}})
	lease, err := c.Lease(ctx, "lab", "02:00:00:00:00:0b")
	want(t, "lease", err, lease, api.Lease{Network: "lab", MAC: "02:00:00:00:00:0b", Address: "10.0.0.11", Hostname: "tv", Kind: "static", State: "reserved"})
	leases, err := c.Leases(ctx, "lab")
	want(t, "leases", err, leases[1], lease)
	want(t, "release lease", c.ReleaseLease(ctx, "lab", "web"), 0, 0)
	want(t, "remove lease", c.RemoveLease(ctx, "lab", "tv"), 0, 0)
	leases, err = c.Leases(ctx, "")
	want(t, "leases of all", err, len(leases), 3)
	want(t, "expiry", err, leases[1].Expires != nil && leases[1].Expires.Before(time.Now()), true)

	changes, err := c.Apply(ctx, "f.yaml", []byte("networks: {b: {}}"), true)
	want(t, "dry run", err, changes, []string{`- network "lab"`, `+ network "b"`})
	config, err := c.Config(ctx)
	want(t, "config", err, string(config), "networks:\n  lab: {}\n")
	_, err = c.Apply(ctx, "f.yaml", []byte("networks: {b: {}}"), false)
	want(t, "apply", err, b.Networks()[0].Name, "b")
}

func want(t *testing.T, what string, err error, got, want any) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestErrorsCrossTheSocket(t *testing.T) {
	c, _ := serve(t, api.Handler(apitest.New()))
	ctx := t.Context()
	_, notFound := c.Port(ctx, "lab", "vm9")
	_, conflict := c.AddPort(ctx, "lab", api.PortSpec{Name: "vm1", Type: "tap"})
	_, invalid := c.Apply(ctx, "f.yaml", []byte("networks: {bad: {}}"), false)
	_, unknown := c.SetPort(ctx, "lab", "vm1", []byte(`{"colour": "red"}`))
	_, nowhere := c.SetNetwork(ctx, "nil", []byte(`{}`))
	_, noGroups := c.Groups(ctx, "nil")
	_, noLease := c.Lease(ctx, "lab", "a/../b")
	noRelease := c.ReleaseLease(ctx, "lab", "..")
	odd := c.RemovePort(ctx, "a/b?c", "..") // escaped, so it is a name like any other
	for _, e := range []struct {
		got  error
		kind error
		text string
	}{
		{notFound, api.ErrNotFound, `network "lab": port "vm9" does not exist`},
		{conflict, api.ErrConflict, `network "lab": port "vm1" exists already`},
		{invalid, api.ErrInvalid, "f.yaml:2: first\nf.yaml:3: second"},
		{odd, api.ErrNotFound, `network "a/b?c" does not exist`},
		{unknown, api.ErrInvalid, `port "vm1": unknown key "colour"`},
		{nowhere, api.ErrNotFound, `network "nil" does not exist`},
		{noLease, api.ErrNotFound, `network "lab": nobody has a lease as "a/../b"`},
		{noRelease, api.ErrNotFound, `network "lab": nobody has a lease as ".."`},
		{noGroups, api.ErrNotFound, `network "nil" does not exist`},
	} {
		if !errors.Is(e.got, e.kind) || e.got.Error() != e.text {
			t.Errorf("got %v\nwant %v: %s", e.got, e.kind, e.text)
		}
	}
	if errors.Is(notFound, api.ErrConflict) || errors.Is(conflict, api.ErrInvalid) {
		t.Error("kinds are mixed up")
	}
}

func TestAnswerOfAStranger(t *testing.T) {
	c, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status" {
			io.WriteString(w, "<html>")
			return
		}
		http.Error(w, "teapot", http.StatusTeapot)
	}))
	if _, err := c.Networks(t.Context()); err == nil || err.Error() != "weft answers 418 I'm a teapot without a reason" {
		t.Errorf("got %v", err)
	}
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "read its answer") {
		t.Errorf("got %v", err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, socket := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "no", "dir"), stale} {
		_, err := client.New(socket).Status(t.Context())
		text := "no weft answers at " + socket + `: start one with "weft run", or name its socket with --socket`
		if err == nil || err.Error() != text {
			t.Errorf("got  %v\nwant %s", err, text)
		}
	}
}

// TestNoPermission runs its second half as nobody: root may do anything.
func TestNoPermission(t *testing.T) {
	if socket := os.Getenv("WEFT_TEST_NOBODY"); socket != "" {
		_, err := client.New(socket).Status(t.Context())
		io.WriteString(os.Stdout, err.Error()+"\n")
		return
	}
	if os.Getuid() != 0 {
		t.Fatal("this test changes its user: run it as root")
	}
	// Neither t.TempDir nor the test's binary can be reached by nobody.
	dir, err := os.MkdirTemp("", "weft-client-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, program := filepath.Join(dir, "s"), filepath.Join(dir, "test")
	text, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = errors.Join(os.WriteFile(program, text, 0o755), os.Chmod(dir, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := api.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	run := func() string {
		cmd := exec.Command(program, "-test.run=^TestNoPermission$")
		cmd.Dir = dir
		cmd.Env = []string{"WEFT_TEST_NOBODY=" + socket}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("as nobody: %v\n%s", err, out)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		return line
	}
	if got, want := run(), "no permission to use "+socket+`: user "root" and group "root" may; try sudo`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	hidden := filepath.Join(dir, "hidden")
	if err := os.Mkdir(hidden, 0o700); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(hidden, "s")
	if got := run(); !strings.HasSuffix(got, "only who may enter its directory can; try sudo") {
		t.Errorf("got %s", got)
	}
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func TestCapture(t *testing.T) {
	b := apitest.New()
	c, _ := serve(t, api.Handler(b))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := c.Capture(ctx, "lab", "vm1", api.CaptureOptions{Snaplen: 20})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	eventually(t, "the capture runs", func() bool { return b.Captures() == 1 })
	b.Inject("lab", "lan", bytes.Repeat([]byte{0xee}, 60)) // another port's
	b.Inject("lab", "vm1", bytes.Repeat([]byte{0xaa}, 60))
	ng, err := pcapgo.NewNgReader(stream, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	data, info, err := ng.ReadPacketData()
	if err != nil || info.Length != 60 || !bytes.Equal(data, bytes.Repeat([]byte{0xaa}, 20)) {
		t.Errorf("frame %x of %d bytes, %v", data, info.Length, err)
	}
	cancel()
	if _, err := io.ReadAll(stream); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
	eventually(t, "the daemon forgets the capture", func() bool { return b.Captures() == 0 })
}

func TestCaptureEndedByTheDaemon(t *testing.T) {
	b := apitest.New()
	c, _ := serve(t, api.Handler(b))
	stream, err := c.Capture(t.Context(), "lab", "", api.CaptureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	eventually(t, "the capture runs", func() bool { return b.Captures() == 1 })
	b.FailCaptures(errors.New("network \"lab\" is gone"))
	var file bytes.Buffer
	if _, _, err := client.CopyBlocks(&file, stream); err == nil || err.Error() != `network "lab" is gone` {
		t.Errorf("got %v", err)
	}
	if file.Len() == 0 {
		t.Error("what came before the error is lost")
	}
}

func TestCaptureOfNothing(t *testing.T) {
	c, _ := serve(t, api.Handler(apitest.New()))
	if _, err := c.Capture(t.Context(), "lab", "vm9", api.CaptureOptions{}); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
