package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/ports/porttest"
)

// The tests in lab_test.go, life_test.go, refuse_test.go and load_test.go run
// weft as its users do: the binary, as a process, in a namespace that stands
// for the host, with real interfaces around it.

// weftProcess is a running daemon.
type weftProcess struct {
	*porttest.Process
	t      *testing.T
	host   *porttest.NS
	bin    string
	socket string
	config string // file
}

// startWeft starts the daemon with a configuration and waits until it is ready.
func startWeft(t *testing.T, host *porttest.NS, yaml string) *weftProcess {
	t.Helper()
	w := newWeft(t, host, yaml)
	w.start()
	return w
}

func newWeft(t *testing.T, host *porttest.NS, yaml string) *weftProcess {
	t.Helper()
	bin, err := exec.LookPath("weft") // this test binary under another name
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := &weftProcess{t: t, host: host, bin: bin, socket: filepath.Join(dir, "weft.sock"), config: filepath.Join(dir, "weft.yaml")}
	w.write(yaml)
	return w
}

func (w *weftProcess) write(yaml string) {
	w.t.Helper()
	if err := os.WriteFile(w.config, []byte(yaml), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *weftProcess) start() {
	w.t.Helper()
	w.Process = w.host.Start(w.t, w.bin, "run", "-c", w.config, "--socket", w.socket)
	w.WaitOutput(w.t, "weft: ready\n", 60*time.Second)
}

// stop ends the daemon cleanly.
func (w *weftProcess) stop() {
	w.t.Helper()
	w.Signal(w.t, syscall.SIGTERM)
	if err := w.Wait(w.t, 60*time.Second); err != nil {
		w.t.Fatalf("weft ended with %v:\n%s", err, w.Output())
	}
}

// do runs a client command and returns its output.
func (w *weftProcess) do(args ...string) string {
	w.t.Helper()
	return w.host.Run(w.t, w.bin, append(args, "--socket", w.socket)...)
}

// fails runs a client command that must fail with one line that holds text.
func (w *weftProcess) fails(text string, args ...string) {
	w.t.Helper()
	out, err := w.host.TryRun(w.bin, append(args, "--socket", w.socket)...)
	if err == nil || !strings.Contains(out, text) || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "weft: ") {
		w.t.Errorf("weft %s: want one line with %q, got %v:\n%s", strings.Join(args, " "), text, err, out)
	}
}

// query runs a client command with -o json into v.
func (w *weftProcess) query(v any, args ...string) {
	w.t.Helper()
	out := w.do(append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		w.t.Fatalf("weft %s: %v in:\n%s", strings.Join(args, " "), err, out)
	}
}

func (w *weftProcess) port(network, name string) api.Port {
	w.t.Helper()
	var list []api.Port
	w.query(&list, "port", "list")
	for _, p := range list {
		if p.Network == network && p.Name == name {
			return p
		}
	}
	w.t.Fatalf("no port %s/%s in %+v", network, name, list)
	panic("unreachable")
}

// waitState waits until a port of network lan is in a state.
func (w *weftProcess) waitState(name, state string) {
	w.t.Helper()
	var p api.Port
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if p = w.port("lan", name); p.State == state {
			return
		}
	}
	w.t.Fatalf("port %s is %s (%s), want %s\n%s", name, p.State, p.Detail, state, w.Output())
}

// fdbOf returns the addresses known at a port of network lan.
func (w *weftProcess) fdbOf(port string) []string {
	w.t.Helper()
	var list []api.FDBEntry
	w.query(&list, "fdb", "list", "lan")
	var macs []string
	for _, e := range list {
		if e.Port == port {
			macs = append(macs, e.MAC)
		}
	}
	return macs
}

// lan is a weft with namespace hosts on one network, 10.0.0.1 and up.
type lan struct {
	*weftProcess
	hosts []*porttest.NS
}

// newLAN starts weft with one port for each kind: "internal", "raw", or
// "raw-off" for a veth pair whose offloads are off. Hosts have eth0.
func newLAN(t *testing.T, mtu int, kinds ...string) *lan {
	t.Helper()
	porttest.Require(t)
	l := &lan{}
	host := porttest.NewNS(t, "host")
	yaml := fmt.Sprintf("metrics: {listen: \"127.0.0.1:9820\"}\nnetworks:\n  lan:\n    mtu: %d\n    ports:\n", mtu)
	for i, kind := range kinds {
		h := porttest.NewNS(t, fmt.Sprint("h", i+1))
		l.hosts = append(l.hosts, h)
		name := fmt.Sprint("p", i+1)
		if kind == "internal" {
			yaml += fmt.Sprintf("      %s: {type: internal, netns: %s, interface: eth0, address: 10.0.0.%d/24}\n", name, h.Name, i+1)
			continue
		}
		options := []porttest.VethOption{porttest.VethMTU(mtu)}
		if kind == "raw-off" {
			options = append(options, porttest.VethOffloadsOff())
		}
		porttest.Veth(t, host, name, h, "eth0", options...)
		h.Addr(t, "eth0", fmt.Sprintf("10.0.0.%d/24", i+1))
		yaml += fmt.Sprintf("      %s: {type: raw}\n", name)
	}
	l.weftProcess = startWeft(t, host, yaml)
	return l
}

func address(host int) string { return fmt.Sprintf("10.0.0.%d", host) }
