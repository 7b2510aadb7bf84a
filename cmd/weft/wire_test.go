package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/ports/porttest"
)

// The tests in this file are about what neighbours on a cable say to each other
// and a bridge does not pass on: a guest's BPDUs, and LLDP.

// guarded is a weft whose port g1 leads to a kernel bridge, with a host behind
// it, at address(2). weft's own host has address(1).
type guarded struct {
	*weftProcess
	near, far *porttest.NS
	side      kernelBridge
}

func newGuarded(t *testing.T, priority int, stp string) *guarded {
	t.Helper()
	porttest.Require(t)
	g := &guarded{near: porttest.NewNS(t, "near"), far: porttest.NewNS(t, "far")}
	host, side := porttest.NewNS(t, "host"), porttest.NewNS(t, "side")
	g.near.Quiet(t)
	g.far.Quiet(t)
	g.side = newKernelBridge(t, side, priority)
	porttest.Veth(t, side, "h2", g.far, "eth0")
	g.far.Addr(t, "eth0", address(2)+"/24")
	g.side.add(t, "h2")
	porttest.Veth(t, host, "g1", side, "r1")
	g.side.add(t, "r1")
	g.weftProcess = startWeft(t, host, fmt.Sprintf(`
metrics: {listen: "off"}
networks:
  lan:
    stp: {enabled: true, hello: 1s, max_age: 6s, forward_delay: 2s}
    ports:
      h1: {type: internal, netns: %s, interface: eth0, address: %s/24, stp: {edge: true}}
      g1: {type: raw, stp: {%s}}
`, g.near.Name, address(1), stp))
	return g
}

// waitGuard waits until a guard, or none, holds port g1.
func waitGuard(t *testing.T, w *weftProcess, guard string) api.PortSTP {
	t.Helper()
	var st api.PortSTP
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if st = *w.peek("lan", "g1").STP; st.Inconsistent == guard {
			return st
		}
	}
	t.Fatalf("g1: %+v, want inconsistent %q", st, guard)
	return st
}

// counts waits until a port has counted n drops for a reason.
func (w *weftProcess) counts(port, reason string, n int) bool {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if w.peek("lan", port).Drops[reason] >= uint64(n) {
			return true
		}
	}
	return false
}

// shut checks that port g1 is out of service for a while, and says why.
func (g *guarded) shut(guard string) {
	g.t.Helper()
	if st := waitGuard(g.t, g.weftProcess, guard); st.State != "discarding" {
		g.t.Errorf("g1: %+v, want it discarding", st)
	}
	var shown api.Port
	if g.query(&shown, "port", "show", "lan", "g1"); shown.STP.Inconsistent != guard || shown.STP.State != "discarding" {
		g.t.Errorf("port show: %+v", shown.STP)
	}
	if out := g.do("port", "show", "lan", "g1"); !strings.Contains(out, guard) {
		g.t.Errorf("port show does not speak of %s:\n%s", guard, out)
	}
	for end := time.Now().Add(30 * time.Second); g.side.state(g.t, "h2")+g.side.state(g.t, "r1") != "forwardingforwarding"; {
		if time.Now().After(end) {
			g.t.Fatal("the guest does not forward")
		}
		time.Sleep(50 * time.Millisecond)
	}
	conns := []*porttest.RawConn{g.near.RawConn(g.t, "eth0"), g.far.RawConn(g.t, "eth0")}
	for i := range 20 {
		conns[0].Send(broadcast(i))
		conns[1].Send(broadcast(i))
		time.Sleep(60 * time.Millisecond) // over a hello
	}
	for i, c := range conns {
		if f := c.RecvMatch(200*time.Millisecond, func(f []byte) bool { return f[12] == 0x88 && f[13] == 0xb5 }); f != nil {
			g.t.Errorf("%s got a broadcast through the guard", []string{"the near host", "the far host"}[i])
		}
	}
	if drops := g.peek("lan", "g1").Drops; drops["stp-blocked"] < 20 {
		g.t.Errorf("drops of g1: %v", drops)
	}
	var lan api.Network
	if g.query(&lan, "network", "show", "lan"); lan.STP.RootID != lan.STP.BridgeID {
		g.t.Errorf("the guest has become the root: %+v", lan.STP)
	}
	if st := waitGuard(g.t, g.weftProcess, guard); st.State != "discarding" {
		g.t.Errorf("after a while g1 is %+v", st)
	}
}

// open waits until port g1 carries frames.
func (g *guarded) open() {
	g.t.Helper()
	r := ring{weftProcess: g.weftProcess}
	r.reach(g.near, 2)
	r.reach(g.far, 1)
}

// A guest that turns out to be a bridge is shut out, until the guard or the
// cable is taken off.
func TestBPDUGuard(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, 4096, "edge: true, bpdu_guard: true")
	g.shut("bpdu-guard")
	g.do("port", "set", "lan", "g1", "stp.bpdu_guard=false")
	waitGuard(t, g.weftProcess, "")
	g.open()
	g.do("port", "set", "lan", "g1", "stp.bpdu_guard=true")
	waitGuard(t, g.weftProcess, "bpdu-guard")
	g.side.ns.Run(t, "ip", "link", "set", "br0", "type", "bridge", "stp_state", "0")
	time.Sleep(2 * time.Second)
	waitGuard(t, g.weftProcess, "bpdu-guard") // not just for as long as BPDUs come
	g.side.ns.Down(t, "r1")
	g.waitState("g1", "no-carrier")
	g.side.ns.Up(t, "r1")
	waitGuard(t, g.weftProcess, "")
	g.open()
}

// A bridge behind a guest's port may be there, but not as the root.
func TestRootGuard(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, 4096, "root_guard: true")
	g.shut("root-guard")
	g.side.ns.Run(t, "ip", "link", "set", "br0", "type", "bridge", "priority", "61440")
	waitGuard(t, g.weftProcess, "")
	g.open()
	g.side.ns.Run(t, "ip", "link", "set", "br0", "type", "bridge", "priority", "4096")
	if st := waitGuard(t, g.weftProcess, "root-guard"); st.State != "discarding" {
		t.Errorf("g1: %+v, want it discarding", st)
	}
	g.do("port", "set", "lan", "g1", "stp.root_guard=false")
	g.open()
	var lan api.Network
	if g.query(&lan, "network", "show", "lan"); lan.STP.RootPort != "g1" {
		t.Errorf("without the guard: %+v", lan.STP)
	}
}

// bpdu returns a frame with a BPDU. The length is that of the LLC header and the
// BPDU, whatever comes after them.
func bpdu(payload ...byte) []byte {
	f := []byte{0x01, 0x80, 0xc2, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, byte(3 + len(payload)), 0x42, 0x42, 0x03}
	f = append(f, payload...)
	return append(f, make([]byte, max(0, 60-len(f)))...)
}

// rst returns an RST BPDU of a bridge of the highest priority, changed by edit.
func rst(edit func(b []byte)) []byte {
	b := make([]byte, 36)
	b[2], b[3], b[4] = 2, 2, 0x3c // designated, learning, forwarding
	b[12], b[24] = 9, 9           // last byte of the root and of the bridge
	b[25], b[26] = 0x80, 1
	b[29], b[31], b[33] = 20, 2, 15 // max age, hello time, forward delay
	edit(b)
	return b
}

// malformedBPDUs returns frames to the group of BPDUs that are none.
func malformedBPDUs() [][]byte {
	config := rst(func(b []byte) { b[2], b[3], b[27] = 0, 0, 20 }) // message age
	tooLong := bpdu(rst(func([]byte) {})...)
	tooLong[12] = 1 // 256 bytes more
	noLLC := bpdu(rst(func([]byte) {})...)
	noLLC[14] = 0xaa
	return [][]byte{
		bpdu(),
		bpdu(0, 0, 2),
		bpdu(rst(func([]byte) {})[:35]...),
		bpdu(rst(func(b []byte) { b[1] = 1 })...),
		bpdu(rst(func(b []byte) { b[3] = 0x55 })...),
		bpdu(config...),
		bpdu(config[:34]...),
		tooLong,
		noLLC,
		bpdu()[:14],
		append([]byte{0x01, 0x80, 0xc2, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0x88, 0xb5}, make([]byte, 46)...),
	}
}

// A guest's malformed BPDUs are counted and do nothing, not even to a guard.
func TestMalformedBPDUs(t *testing.T) {
	porttest.Require(t)
	host, near, guest := porttest.NewNS(t, "host"), porttest.NewNS(t, "near"), porttest.NewNS(t, "guest")
	porttest.Veth(t, host, "g1", guest, "eth0")
	guest.Addr(t, "eth0", address(2)+"/24")
	w := startWeft(t, host, fmt.Sprintf(`
metrics: {listen: "off"}
networks:
  lan:
    stp: {enabled: true}
    ports:
      h1: {type: internal, netns: %s, interface: eth0, address: %s/24, stp: {edge: true}}
      g1: {type: raw, stp: {edge: true, bpdu_guard: true}}
`, near.Name, address(1)))
	porttest.Ping(t, guest, address(1))
	before := waitGuard(t, w, "")
	conn := guest.RawConn(t, "eth0")
	bad := malformedBPDUs()
	for i, f := range bad {
		conn.Send(f)
		if !w.counts("g1", "bad-bpdu", i+1) {
			t.Fatalf("BPDU %d was not counted: % x", i, f)
		}
	}
	if after := waitGuard(t, w, ""); after != before || after.State != "forwarding" {
		t.Errorf("g1 was %+v, is %+v", before, after)
	}
	porttest.Ping(t, guest, address(1))
	conn.Send(bpdu(rst(func([]byte) {})...))
	waitGuard(t, w, "bpdu-guard") // a good one does get there
	if n := w.peek("lan", "g1").Drops["bad-bpdu"]; n != uint64(len(bad)) {
		t.Errorf("%d bad BPDUs, want %d", n, len(bad))
	}
}

// lldpDaemon is a running lldpd.
type lldpDaemon struct {
	*porttest.Process
	ns     *porttest.NS
	socket string
}

// startLLDP starts an lldpd that speaks every second on eth0, as a host of that
// name. It has a /run of its own, so that it and one of the machine do not meet.
func startLLDP(t *testing.T, ns *porttest.NS, name string) *lldpDaemon {
	t.Helper()
	d := &lldpDaemon{ns: ns, socket: "/run/" + ns.Name + ".lldpd"}
	d.Process = ns.Start(t, "unshare", "--mount", "sh", "-c",
		"mount -t tmpfs none /run && mkdir /run/lldpd && exec lldpd -d -L /bin/true -I eth0 -u "+d.socket)
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, err = d.tryCtl("configure", "system", "hostname", name); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	d.ctl(t, "configure", "lldp", "tx-interval", "1")
	d.ctl(t, "resume")
	return d
}

func (d *lldpDaemon) tryCtl(args ...string) (string, error) {
	args = append([]string{"--mount", "--target", fmt.Sprint(d.Pid()), "lldpcli", "-u", d.socket}, args...)
	return d.ns.TryRun("nsenter", args...)
}

func (d *lldpDaemon) ctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := d.tryCtl(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// waitNeighbours waits until the daemon hears whom it should.
func (d *lldpDaemon) waitNeighbours(t *testing.T, want ...string) {
	t.Helper()
	var names []string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if names = d.neighbours(t); slices.Equal(names, want) {
			return
		}
	}
	t.Errorf("neighbours of %s: %v, want %v", d.ns.Name, names, want)
}

// neighbours returns the names of those that the daemon hears.
func (d *lldpDaemon) neighbours(t *testing.T) (names []string) {
	t.Helper()
	type list[T any] []T // what "json0" writes where there may be several
	var v struct {
		LLDP list[struct {
			Interface list[struct {
				Chassis list[struct{ Name list[struct{ Value string }] }]
			}]
		}]
	}
	out := d.ctl(t, "-f", "json0", "show", "neighbors", "summary")
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v in:\n%s", err, out)
	}
	for _, l := range v.LLDP {
		for _, i := range l.Interface {
			names = append(names, i.Chassis[0].Name[0].Value)
		}
	}
	return names
}

// Two hosts hear each other's LLDP through a network that is a wire, and only
// through that.
func TestLLDPAcrossAWire(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1500, "raw", "raw")
	d1, d2 := startLLDP(t, l.hosts[0], "one"), startLLDP(t, l.hosts[1], "two")
	waitDrops(t, l.weftProcess, "p1", "reserved-group", 3)
	waitDrops(t, l.weftProcess, "p2", "reserved-group", 3)
	d1.waitNeighbours(t)
	d2.waitNeighbours(t)

	l.do("network", "set", "lan", "reserved_groups=wire")
	d1.waitNeighbours(t, "two")
	d2.waitNeighbours(t, "one")
	before := l.peek("lan", "p1").Drops["reserved-group"]
	time.Sleep(2 * time.Second)
	if n := l.peek("lan", "p1").Drops["reserved-group"]; n != before {
		t.Errorf("reserved-group went from %d to %d on a wire", before, n)
	}

	// With a spanning tree, it is the BPDUs alone that do not cross.
	l.do("network", "set", "lan", "stp.enabled=true")
	d1.waitNeighbours(t, "two")
	conn := l.hosts[1].RawConn(t, "eth0")
	if f := conn.RecvMatch(30*time.Second, func(f []byte) bool { return f[0] == 1 && f[12] == 0x88 && f[13] == 0xcc }); f == nil {
		t.Error("no LLDP crosses a wire with a spanning tree")
	}

	l.do("network", "set", "lan", "stp.enabled=false", "reserved_groups=switch")
	d1.waitNeighbours(t) // they are forgotten after 4 s
	d2.waitNeighbours(t)
}
