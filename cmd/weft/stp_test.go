package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/client"
	"github.com/weft/weft/ports/porttest"
)

// The tests in this file close a loop between weft and a bridge that others
// wrote, or a second weft, and then cut it.

// ring is two bridges that two cables join: weft's network lan has l1 and l2,
// the other bridge has r1 and r2. Each bridge has a host, address(1) at weft.
type ring struct {
	*weftProcess
	near, far *porttest.NS // the hosts; each has eth0
	side      *porttest.NS // has r1, r2, and h2 to the far host
	peer      bridge
}

// bridge is the one at the other side of a ring.
type bridge interface {
	add(t *testing.T, port string)          // an interface of the ring's side
	state(t *testing.T, port string) string // in weft's words
}

// newRing closes the ring. Who is at the far side may need settings in weft's
// file, too: networks, written as there.
func newRing(t *testing.T, host, side *porttest.NS, peer bridge, stp, networks string) *ring {
	t.Helper()
	r := &ring{near: porttest.NewNS(t, "near"), far: porttest.NewNS(t, "far"), side: side, peer: peer}
	r.near.Quiet(t)
	r.far.Quiet(t)
	porttest.Veth(t, side, "h2", r.far, "eth0")
	r.far.Addr(t, "eth0", address(2)+"/24")
	peer.add(t, "h2")
	for _, n := range []string{"1", "2"} {
		porttest.Veth(t, host, "l"+n, side, "r"+n)
		peer.add(t, "r"+n)
	}
	r.weftProcess = startWeft(t, host, fmt.Sprintf(`
metrics: {listen: "off"}
networks:
  lan:
    stp: {enabled: true, %s}
    ports:
      l1: {type: raw}
      l2: {type: raw}
      h1: {type: internal, netns: %s, interface: eth0, address: %s/24}
%s`, stp, r.near.Name, address(1), networks))
	return r
}

// peek returns a port without running a client for it: under the race detector a
// process takes a second to end, and some tests look every few milliseconds.
func (w *weftProcess) peek(network, port string) api.Port {
	w.t.Helper()
	c := client.New(w.socket)
	defer c.Close()
	p, err := c.Port(w.t.Context(), network, port)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// blocked returns those ends of the cables that do not forward.
func (r *ring) blocked() (ends []string) {
	r.t.Helper()
	for _, end := range []string{"l1", "l2"} {
		if r.peek("lan", end).STP.State != "forwarding" {
			ends = append(ends, end)
		}
	}
	for _, end := range []string{"r1", "r2"} {
		if r.peer.state(r.t, end) != "forwarding" {
			ends = append(ends, end)
		}
	}
	return ends
}

// settle waits until one end alone is blocked, and the hosts reach each other,
// and returns how long that took. The broadcasts that it sends meanwhile must not
// find a loop.
func (r *ring) settle(want string) time.Duration {
	r.t.Helper()
	near := r.near.RawConn(r.t, "eth0")
	before, start := r.crossed(), time.Now()
	var ends []string
	for end := start.Add(60 * time.Second); !slices.Equal(ends, []string{want}); ends = r.blocked() {
		if time.Now().After(end) {
			r.t.Fatalf("blocked: %v, want %s", ends, want)
		}
		near.Send(broadcast(0))
		time.Sleep(100 * time.Millisecond)
	}
	r.reach(r.near, 2)
	r.reach(r.far, 1)
	n, took := r.crossed()-before, time.Since(start)
	r.t.Logf("settled after %v; until then %d frames came by the cables", took.Round(time.Millisecond), n)
	if n > 500 {
		r.t.Errorf("%d frames came by the cables: a loop", n)
	}
	return took
}

// crossed returns how many frames have come to weft by the cables.
func (r *ring) crossed() uint64 {
	r.t.Helper()
	return r.peek("lan", "l1").RX.Frames + r.peek("lan", "l2").RX.Frames
}

// reach pings a host until it answers. ping gives up by itself when it is told
// that the host is not there.
func (r *ring) reach(from *porttest.NS, host int) {
	r.t.Helper()
	var err error
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); {
		if _, err = from.TryRun("ping", "-n", "-q", "-c", "1", "-i", "0.02", "-w", "60", address(host)); err == nil {
			return
		}
	}
	r.t.Fatal(err)
}

// broadcast returns a frame to all that tells its number.
func broadcast(i int) []byte {
	return append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, byte(i)}, make([]byte, 60)...)
}

// noStorm sends broadcasts from one host to the other. Each has to arrive once,
// and none may go on and on.
func (r *ring) noStorm() {
	r.t.Helper()
	const count = 20
	near, far := r.near.RawConn(r.t, "eth0"), r.far.RawConn(r.t, "eth0")
	before := r.crossed()
	for i := range count {
		near.Send(broadcast(i))
	}
	got := [count]int{}
	for range 1000 { // a storm would feed this loop for ever
		f := far.RecvMatch(500*time.Millisecond, func(f []byte) bool { return f[12] == 0x88 && f[13] == 0xb5 })
		if f == nil {
			break
		}
		got[f[14]]++
	}
	for i, n := range got {
		if n != 1 {
			r.t.Errorf("broadcast %d arrived %d times", i, n)
		}
	}
	// What the blocked end gets is one copy each, and there are some BPDUs.
	if n := r.crossed() - before; n > 2*count {
		r.t.Errorf("%d broadcasts made %d frames come back by the cables", count, n)
	}
}

// run takes the ring through its life: closed, cut, and closed again. Of two
// cables the first is in use, and the second blocked at the bridge that is not
// the root. The way round, and then the way back, has a limit, far above what a
// busy machine takes: what they took is printed.
func (r *ring) run(blocked string, limit time.Duration) {
	r.t.Helper()
	r.settle(blocked)
	var lan api.Network
	r.query(&lan, "network", "show", "lan")
	if root := lan.STP.RootID == lan.STP.BridgeID; root != (blocked == "r2") || root != (lan.STP.RootPort == "") {
		r.t.Errorf("%s is blocked, but weft says: %+v", blocked, lan.STP)
	}
	r.noStorm()
	if blocked == "l2" {
		waitDrops(r.t, r.weftProcess, "l2", "stp-blocked", 20)
	}
	start := time.Now()
	r.side.Down(r.t, "r1")
	r.reach(r.near, 2)
	took := time.Since(start)
	r.t.Logf("failover took %v", took)
	if took > limit {
		r.t.Errorf("failover took %v, want at most %v", took, limit)
	}
	r.side.Up(r.t, "r1")
	if took := r.settle(blocked); took > limit {
		r.t.Errorf("the way back took %v, want at most %v", took, limit)
	}
	r.noStorm()
}

// kernelBridge is a bridge of Linux, br0, with its spanning tree on. That is the
// one of 802.1D-1998.
type kernelBridge struct{ ns *porttest.NS }

// newKernelBridge has the shortest times that the kernel takes. A delay of none
// becomes one of 2 s as soon as its spanning tree is on.
func newKernelBridge(t *testing.T, ns *porttest.NS, priority int) kernelBridge {
	t.Helper()
	ns.Quiet(t)
	ns.Run(t, "ip", "link", "add", "br0", "type", "bridge", "forward_delay", "200", "hello_time", "100",
		"max_age", "600", "priority", fmt.Sprint(priority), "stp_state", "1")
	ns.Up(t, "br0")
	return kernelBridge{ns}
}

func (b kernelBridge) add(t *testing.T, port string) {
	t.Helper()
	b.ns.Run(t, "ip", "link", "set", port, "master", "br0")
}

func (b kernelBridge) state(t *testing.T, port string) string {
	t.Helper()
	var links []struct{ State string }
	out := b.ns.Run(t, "bridge", "-j", "link", "show", "dev", port)
	if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 {
		t.Fatalf("state of %s: %v\n%s", port, err, out)
	}
	return links[0].State
}

// A neighbour that speaks STP only. Where it is the one to find another way, two
// forward delays pass before that.
func TestSpanningTreeWithKernelBridge(t *testing.T) {
	for _, tt := range []struct {
		name     string
		priority int // of the kernel's; weft has 32768
		delay    int // of weft, in seconds
		blocked  string
	}{
		{"weft is the root", 61440, 2, "r2"},
		{"weft is the root, without delay", 61440, 0, "r2"}, // it tells others 2 s
		{"the kernel is the root", 4096, 2, "l2"},
		{"the kernel is the root, without delay", 4096, 0, "l2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // nearly all of the time is waiting
			porttest.Require(t)
			host, side := porttest.NewNS(t, "host"), porttest.NewNS(t, "side")
			stp := fmt.Sprintf("forward_delay: %ds, hello: 1s, max_age: 6s", tt.delay)
			r := newRing(t, host, side, newKernelBridge(t, side, tt.priority), stp, "")
			r.run(tt.blocked, time.Minute)
			r.speak("stp")
			if tt.blocked == "l2" {
				r.waitOfHostPort(tt.delay)
			}
		})
	}
}

// speak checks what weft speaks to the other bridge.
func (r *ring) speak(protocol string) {
	r.t.Helper()
	for _, name := range []string{"l1", "l2"} {
		if p := r.peek("lan", name); p.STP.Protocol != protocol || p.Drops["bad-bpdu"] != 0 {
			r.t.Errorf("%s: %+v, drops %v", name, p.STP, p.Drops)
		}
	}
}

// waitOfHostPort checks how long a port waits that may lead to a bridge: the
// root's delay twice, or not at all where weft has none.
func (r *ring) waitOfHostPort(delay int) {
	r.t.Helper()
	r.do("port", "set", "lan", "h1", "stp.edge=false")
	r.near.Down(r.t, "eth0")
	r.waitState("h1", "down")
	r.near.Up(r.t, "eth0")
	start := time.Now()
	for r.peek("lan", "h1").STP.State != "forwarding" && time.Since(start) < 30*time.Second {
		time.Sleep(20 * time.Millisecond)
	}
	took := time.Since(start)
	r.t.Logf("a port that may lead to a bridge forwards after %v", took)
	// Twice the root's 2 s would be too long for a weft without delay.
	if least := time.Duration(delay) * time.Second; took < least || took > 3*time.Second+5*least {
		r.t.Errorf("a port that may lead to a bridge forwards after %v, with a delay of %d s", took, delay)
	}
}

// openVSwitch is a bridge of Open vSwitch, br0, in user space, with RSTP.
type openVSwitch struct {
	ns       *porttest.NS
	database string
}

// newOpenVSwitch starts daemons of its own, which know nothing of a switch that
// the machine may have.
func newOpenVSwitch(t *testing.T, ns *porttest.NS, priority int) *openVSwitch {
	t.Helper()
	ns.Quiet(t)
	dir := t.TempDir()
	start := func(name string, args ...string) *porttest.Process {
		cmd := exec.Command(name, args...)
		cmd.Env = os.Environ()
		for _, v := range []string{"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"} {
			cmd.Env = append(cmd.Env, v+"="+dir)
		}
		return ns.StartCmd(t, cmd)
	}
	file, socket := filepath.Join(dir, "conf.db"), filepath.Join(dir, "db.sock")
	if out, err := exec.Command("ovsdb-tool", "create", file, "/usr/share/openvswitch/vswitch.ovsschema").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	start("ovsdb-server", file, "--remote=punix:"+socket, "--unixctl="+filepath.Join(dir, "db.ctl"))
	o := &openVSwitch{ns: ns, database: "unix:" + socket}
	start("ovs-vswitchd", o.database, "--disable-system", "--unixctl="+filepath.Join(dir, "switch.ctl"))
	o.ctl(t, "init", "--", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev",
		"rstp_enable=true", "other_config:rstp-forward-delay=4", fmt.Sprintf("other_config:rstp-priority=%d", priority))
	return o
}

// ctl waits until the switch has done what it is told.
func (o *openVSwitch) ctl(t *testing.T, args ...string) string {
	t.Helper()
	return o.ns.Run(t, "ovs-vsctl", append([]string{"--db=" + o.database, "--timeout=60", "--retry"}, args...)...)
}

func (o *openVSwitch) add(t *testing.T, port string) {
	t.Helper()
	o.ctl(t, "add-port", "br0", port)
}

func (o *openVSwitch) state(t *testing.T, port string) string {
	t.Helper()
	status := o.ctl(t, "get", "port", port, "rstp_status")
	_, state, _ := strings.Cut(status, "rstp_port_state=")
	state, _, _ = strings.Cut(state, "}")
	state, _, _ = strings.Cut(state, ",")
	return strings.ToLower(strings.TrimSpace(state))
}

// A neighbour with an RSTP of its own.
func TestSpanningTreeWithOpenVSwitch(t *testing.T) {
	for _, tt := range []struct {
		name     string
		priority int
		blocked  string
	}{
		{"weft is the root", 61440, "r2"},
		{"Open vSwitch is the root", 4096, "l2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			porttest.Require(t)
			host, side := porttest.NewNS(t, "host"), porttest.NewNS(t, "side")
			r := newRing(t, host, side, newOpenVSwitch(t, side, tt.priority), "forward_delay: 4s", "")
			r.run(tt.blocked, 30*time.Second)
			r.speak("rstp")
		})
	}
}

// farNetwork is a second network of the same weft, "far".
type farNetwork struct{ ring *ring }

func (*farNetwork) add(*testing.T, string) {} // its ports stand in the file

func (f *farNetwork) state(t *testing.T, port string) string {
	t.Helper()
	return f.ring.peek("far", port).STP.State
}

// Two networks of one weft. RSTP needs no delay: it is at its default, or none.
// An agreement makes it quicker than the two hello times that it waits otherwise.
func TestSpanningTreeOfTwoNetworks(t *testing.T) {
	for _, tt := range []struct{ name, delay, priority, farPriority, blocked string }{
		{"lan is the root, default delay", "15s", "4096", "8192", "r2"},
		{"far is the root, without delay", "0s", "8192", "4096", "l2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			porttest.Require(t)
			host := porttest.NewNS(t, "host")
			f := &farNetwork{}
			stp := "forward_delay: " + tt.delay + ", priority: "
			f.ring = newRing(t, host, host, f, stp+tt.priority, fmt.Sprintf(`
  far:
    stp: {enabled: true, %s}
    ports: {r1: {type: raw}, r2: {type: raw}, h2: {type: raw}}
`, stp+tt.farPriority))
			// Whoever waits for timers takes 30 s: twice the default delay.
			f.ring.run(tt.blocked, 20*time.Second)
			f.ring.speak("rstp")
		})
	}
}
