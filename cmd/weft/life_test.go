package main

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/client"
	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
)

// Whatever happens to the interface of a port, the port says so, forgets what
// it has learned, leaves the others alone, and comes back with the interface.
func TestRawInterfaceComesAndGoes(t *testing.T) {
	l := newLAN(t, 1500, "raw", "raw", "internal")
	works := func() {
		t.Helper()
		porttest.Ping(t, l.hosts[0], address(2))
		porttest.Ping(t, l.hosts[0], address(3))
	}
	gone := func(state string) {
		t.Helper()
		l.waitState("p2", state)
		if macs := l.fdbOf("p2"); len(macs) != 0 {
			t.Errorf("%s: addresses left at p2: %v", state, macs)
		}
		porttest.Ping(t, l.hosts[0], address(3))
	}
	works()
	l.host.Down(t, "p2")
	gone("down")
	l.host.Up(t, "p2")
	works()
	l.hosts[1].Down(t, "eth0")
	gone("no-carrier")
	l.hosts[1].Up(t, "eth0")
	works()
	frames := l.port("lan", "p2").RX.Frames
	l.host.Delete(t, "p2")
	gone("missing")
	porttest.Veth(t, l.host, "p2", l.hosts[1], "eth0")
	l.hosts[1].Addr(t, "eth0", "10.0.0.2/24")
	l.hosts[0].Run(t, "ip", "neigh", "flush", "all") // the new pair has new addresses
	works()
	if now := l.port("lan", "p2").RX.Frames; now <= frames {
		t.Errorf("counters started over: %d after %d", now, frames)
	}
	l.host.MTU(t, "p2", 1400)
	for end := time.Now().Add(60 * time.Second); l.port("lan", "p2").MTU != 1400; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("MTU shown: %d, want 1400", l.port("lan", "p2").MTU)
		}
	}
	if out, err := l.hosts[0].TryRun("ping", "-n", "-c", "1", "-w", "2", "-s", "1472", address(2)); err == nil {
		t.Errorf("1500 bytes crossed a link of 1400:\n%s", out)
	}
	waitDrops(t, l.weftProcess, "p2", "egress-oversized", 1)
}

func TestInternalInterfaceComesAndGoes(t *testing.T) {
	l := newLAN(t, 1500, "internal", "internal")
	porttest.Ping(t, l.hosts[0], address(2))
	mac := l.hosts[1].Link(t, "eth0").Attrs().HardwareAddr.String()
	l.hosts[1].Down(t, "eth0")
	l.waitState("p2", "down")
	l.hosts[1].Up(t, "eth0")
	l.waitState("p2", "up")
	porttest.Ping(t, l.hosts[0], address(2))
	// Deleted under weft, which makes it again, the same.
	l.hosts[1].Delete(t, "eth0")
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if porttest.TryPing(l.hosts[0], address(2), time.Second) == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the interface did not come back: %+v", l.port("lan", "p2"))
		}
	}
	if now := l.hosts[1].Link(t, "eth0").Attrs().HardwareAddr.String(); now != mac {
		t.Errorf("the interface came back as %s, was %s", now, mac)
	}
	if err := exec.Command("ip", "netns", "del", l.hosts[1].Name).Run(); err != nil {
		t.Fatal(err)
	}
	l.waitState("p2", "missing")
	if out, err := exec.Command("ip", "netns", "add", l.hosts[1].Name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l.waitState("p2", "up")
	// The hosts' own handles are of the old namespace: ask by name.
	if out, err := exec.Command("ip", "netns", "exec", l.hosts[1].Name, "ping", "-n", "-c", "1", "-w", "5", address(1)).CombinedOutput(); err != nil {
		t.Errorf("the new namespace does not reach p1: %v\n%s", err, out)
	}
}

// The host's stack neither speaks nor answers on a port's interface, even with
// an address there; and gets it back as it was.
func TestHostStackStaysOut(t *testing.T) {
	for _, tt := range []struct {
		name string
		wrap []string
	}{
		{"eBPF guard", nil},
		{"interface flags", []string{"setpriv", "--bounding-set", "-bpf,-sys_admin"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			porttest.Require(t)
			host, a, b := porttest.NewNS(t, "host"), porttest.NewNS(t, "a"), porttest.NewNS(t, "b")
			porttest.Veth(t, host, "pa", a, "eth0")
			porttest.Veth(t, host, "pb", b, "eth0")
			host.Addr(t, "pa", "10.0.0.100/24")
			a.Addr(t, "eth0", "10.0.0.1/24")
			b.Addr(t, "eth0", "10.0.0.2/24")
			w := newWeft(t, host, `{metrics: {listen: "off"}, networks: {lan: {ports: {pa: {type: raw}, pb: {type: raw}, vm1: {type: tap}}}}}`)
			before := linkLocals(t, host, "pa")
			w.Process = host.Start(t, "env", append(append([]string{}, tt.wrap...), w.bin, "run", "-c", w.config, "--socket", w.socket)...)
			w.WaitOutput(t, "weft: ready\n", 60*time.Second)
			if (tt.wrap != nil) != strings.Contains(w.Output(), "eBPF is not to be had") {
				t.Errorf("weft said:\n%s", w.Output())
			}
			porttest.Ping(t, a, "10.0.0.2")
			if err := porttest.TryPing(a, "10.0.0.100", 2*time.Second); err == nil {
				t.Error("the host answered on a port's interface")
			}
			for _, name := range []string{"pa", "pb", "vm1"} {
				if got := linkLocals(t, host, name); len(got) != 0 {
					t.Errorf("%s has link-local addresses %v", name, got)
				}
			}
			w.stop()
			if after := linkLocals(t, host, "pa"); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("link-local addresses were %v, are %v", before, after)
			}
			porttest.Ping(t, a, "10.0.0.100") // the host's again
			if out := host.Run(t, "tc", "filter", "show", "dev", "pa", "ingress"); out != "" {
				t.Errorf("left behind: %s", out)
			}
		})
	}
}

func linkLocals(t *testing.T, ns *porttest.NS, name string) []string {
	t.Helper()
	addrs, err := ns.Handle().AddrList(ns.Link(t, name), netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, a := range addrs {
		if a.IP.IsLinkLocalUnicast() {
			list = append(list, a.IP.String())
		}
	}
	return list
}

// A kill -9 takes no interface away; the next start takes them over, and a
// clean stop removes them.
func TestKillAndRestart(t *testing.T) {
	porttest.Require(t)
	host, h1 := porttest.NewNS(t, "host"), porttest.NewNS(t, "h1")
	w := startWeft(t, host, fmt.Sprintf(`
metrics: {listen: "off"}
networks:
  lan:
    ports:
      h1: {type: internal, netns: %s, address: 10.0.0.1/24}
      up0: {type: internal, address: 10.0.0.2/24}
      vm1: {type: tap, owner: daemon}
`, h1.Name))
	porttest.Ping(t, h1, "10.0.0.2")
	h1.Run(t, "ip", "route", "add", "10.9.0.0/16", "via", "10.0.0.2")
	indices := func() string {
		return fmt.Sprint(h1.Link(t, "h1").Attrs().Index, host.Link(t, "up0").Attrs().Index, host.Link(t, "vm1").Attrs().Index,
			h1.Link(t, "h1").Attrs().HardwareAddr)
	}
	before := indices()
	w.Kill()
	if now := indices(); now != before {
		t.Fatalf("interfaces after kill -9: %s, before: %s", now, before)
	}
	w.start()
	if now := indices(); now != before {
		t.Errorf("interfaces after restart: %s, before: %s", now, before)
	}
	porttest.Ping(t, h1, "10.0.0.2")
	if out := h1.Run(t, "ip", "route"); !strings.Contains(out, "10.9.0.0/16") {
		t.Errorf("the route is gone:\n%s", out)
	}
	w.stop()
	for ns, name := range map[*porttest.NS]string{h1: "h1", host: "up0"} {
		if _, err := ns.Handle().LinkByName(name); err == nil {
			t.Errorf("%s is left after a clean stop", name)
		}
	}
	if _, err := host.Handle().LinkByName("vm1"); err == nil {
		t.Error("vm1 is left after a clean stop")
	}
	if out := host.Run(t, "ls", "-A", w.socket[:strings.LastIndex(w.socket, "/")]); strings.Contains(out, "weft.sock\n") {
		t.Errorf("the socket is left: %s", out)
	}
}

// A real guest on a tap that weft made: reaches a namespace host, is noticed
// when it is killed, and another one takes its place.
func TestGuest(t *testing.T) {
	l := newLAN(t, 1500, "raw")
	l.do("port", "add", "lan", "vm1", "--type", "tap")
	l.waitState("vm1", "no-carrier")
	for _, device := range []string{"virtio-net-pci", "vmxnet3"} {
		t.Run(device, func(t *testing.T) {
			g := porttest.StartGuest(t, l.host, porttest.GuestConfig{
				Netdevs: []string{"tap,ifname=vm1,script=no,downscript=no"}, Address: "10.0.0.9/24", Device: device,
				MAC: "52:54:00:00:00:09", // the same, so that the host's ARP cache stays true
			})
			l.waitState("vm1", "up")
			porttest.Ping(t, l.hosts[0], "10.0.0.9")
			g.Run(t, "ping -c 1 -w 5 10.0.0.1")
			sum := l.hosts[0].Run(t, "sh", "-c", "curl -sS http://10.0.0.9/data | sha256sum")
			want := l.hosts[0].Run(t, "curl", "-sS", "http://10.0.0.9/data.sha256")
			if strings.Fields(sum)[0] != strings.Fields(want)[0] {
				t.Errorf("downloaded %s, want %s", sum, want)
			}
			if macs := l.fdbOf("vm1"); len(macs) != 1 || macs[0] != g.MAC.String() {
				t.Errorf("addresses at vm1: %v, want %s", macs, g.MAC)
			}
			g.Kill()
			l.waitState("vm1", "no-carrier")
			if macs := l.fdbOf("vm1"); len(macs) != 0 {
				t.Errorf("addresses left at vm1: %v", macs)
			}
		})
	}
}

// Ports are added and removed, and a file is applied, while a stream runs.
func TestChangesUnderTraffic(t *testing.T) {
	l := newLAN(t, 1500, "internal", "raw")
	porttest.Ping(t, l.hosts[0], address(2))
	stream := make(chan error, 1)
	go func() { stream <- porttest.TryTCPTransfer(l.hosts[0], l.hosts[1], address(2), 256<<20, time.Minute) }()
	for range 5 {
		l.do("port", "add", "lan", "extra", "--type", "internal")
		l.do("port", "rm", "lan", "extra")
	}
	yaml := fmt.Sprintf(`
metrics: {listen: "127.0.0.1:9820"}
networks:
  lan:
    fdb: {ageing: 60s}
    ports:
      p1: {type: internal, netns: %s, interface: eth0, address: 10.0.0.1/24}
      p2: {type: raw}
      new: {type: tap}
  other:
    ports: {x: {type: internal, interface: x0}}
`, l.hosts[0].Name)
	l.write(yaml)
	dry := l.do("apply", l.config, "--dry-run")
	for _, want := range []string{"ageing", "new", "other"} {
		if !strings.Contains(dry, want) {
			t.Errorf("the diff lacks %q:\n%s", want, dry)
		}
	}
	if _, err := l.host.Handle().LinkByName("x0"); err == nil {
		t.Error("--dry-run made an interface")
	}
	if done := l.do("apply", l.config); done != dry {
		t.Errorf("the diff was\n%s, done was\n%s", dry, done)
	}
	if again := l.do("apply", l.config); strings.Contains(again, "+") || strings.Contains(again, "~") {
		t.Errorf("applied again:\n%s", again)
	}
	l.waitState("new", "no-carrier")

	// All or nothing: one bad port, and nothing changes.
	before := l.do("port", "list", "-o", "json")
	l.write(yaml + "      y: {type: raw, interface: nothing}\n  third: {ports: {z: {type: internal, interface: z0}}}\n")
	l.write(strings.Replace(yaml, "  other:", "  third: {ports: {z: {type: internal, interface: z0}, y: {type: raw, interface: nothing}}}\n  other:", 1))
	l.fails(`network "third": port "y": interface "nothing" does not exist`, "apply", l.config)
	if _, err := l.host.Handle().LinkByName("z0"); err == nil {
		t.Error("half of a refused file was applied")
	}
	if nameLines(before) != nameLines(l.do("port", "list", "-o", "json")) {
		t.Error("ports changed with a refused file")
	}
	if err := <-stream; err != nil {
		t.Errorf("the stream beside all this: %v", err)
	}
}

// nameLines reduces a JSON listing to its names.
func nameLines(list string) string {
	var out []string
	for _, line := range strings.Split(list, "\n") {
		if strings.Contains(line, `"name"`) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, " ")
}

// Thirty-two ports come and go, over and over: no descriptor, no goroutine and
// no interface is left.
func TestPortsLeakNothing(t *testing.T) {
	l := newLAN(t, 1500, "internal")
	open := func() (fds, goroutines string) {
		fds = l.host.Run(t, "sh", "-c", fmt.Sprintf("ls /proc/%d/fd | wc -l", l.Pid()))
		return strings.TrimSpace(fds), strings.TrimSpace(l.host.Run(t, "sh", "-c", "curl -sS http://127.0.0.1:9820/metrics | grep ^go_goroutines"))
	}
	c := client.New(l.socket) // quicker than a process for each command
	defer c.Close()
	round := func() {
		for i := range 32 {
			spec := api.PortSpec{Name: fmt.Sprint("x", i), Type: []string{"internal", "tap"}[i%2]}
			if _, err := c.AddPort(t.Context(), "lan", spec); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 32 {
			if err := c.RemovePort(t.Context(), "lan", fmt.Sprint("x", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	round() // what is made once is made now
	fds, goroutines := open()
	for range 3 {
		round()
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		nowFDs, nowGoroutines := open()
		if nowFDs == fds && nowGoroutines == goroutines {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s descriptors and %s, were %s and %s", nowFDs, nowGoroutines, fds, goroutines)
		}
	}
	if out := l.host.Run(t, "ip", "-br", "link"); strings.Contains(out, "x0") || strings.Contains(out, "x1") {
		t.Errorf("interfaces left:\n%s", out)
	}
	l.Signal(t, syscall.SIGTERM)
	if err := l.Wait(t, 60*time.Second); err != nil {
		t.Error(err)
	}
}

// A port whose namespace is gone holds up no change of its network: it gets
// the new settings when it comes back.
func TestApplyBesideMissingPort(t *testing.T) {
	l := newLAN(t, 1500, "internal", "internal")
	if err := exec.Command("ip", "netns", "del", l.hosts[1].Name).Run(); err != nil {
		t.Fatal(err)
	}
	l.waitState("p2", "missing")
	yaml := func(address string) string {
		return fmt.Sprintf(`
metrics: {listen: "127.0.0.1:9820"}
networks:
  lan:
    mtu: 2000
    ports:
      p1: {type: internal, netns: %s, interface: eth0%s}
      p2: {type: internal, netns: %s, interface: eth0, address: 10.0.0.2/24}
`, l.hosts[0].Name, address, l.hosts[1].Name)
	}
	l.write(yaml(", address: 10.0.0.11/24"))
	if out := l.do("apply", l.config); !strings.Contains(out, "starts over") {
		t.Errorf("the change of p1 is not told:\n%s", out)
	}
	if mtu := l.hosts[0].Link(t, "eth0").Attrs().MTU; mtu != 2000 {
		t.Errorf("MTU of p1: %d", mtu)
	}
	addresses := func() string {
		return l.hosts[0].Run(t, "ip", "-4", "-br", "addr", "show", "eth0")
	}
	if out := addresses(); strings.Contains(out, "10.0.0.1/24") || !strings.Contains(out, "10.0.0.11/24") {
		t.Errorf("addresses after the change: %s", out)
	}
	l.write(yaml(""))
	l.do("apply", l.config)
	if out := addresses(); strings.Contains(out, "10.0.0") {
		t.Errorf("addresses after removal: %s", out)
	}
	if out, err := exec.Command("ip", "netns", "add", l.hosts[1].Name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l.waitState("p2", "up")
	if p := l.port("lan", "p2"); p.MTU != 2000 {
		t.Errorf("MTU of p2: %d", p.MTU)
	}
}

// What a killed weft has left and the next one does not use is told.
func TestOrphansAreTold(t *testing.T) {
	porttest.Require(t)
	host := porttest.NewNS(t, "host")
	w := startWeft(t, host, "metrics: {listen: \"off\"}\nnetworks: {lan: {ports: {vm1: {type: tap}, vm2: {type: tap}}}}\n")
	w.Kill()
	w.write("metrics: {listen: \"off\"}\nnetworks: {lan: {ports: {vm2: {type: tap}}}}\n")
	w.start()
	if out := w.do("status"); !strings.Contains(out, "ip link del vm1") || strings.Contains(out, "del vm2") {
		t.Errorf("status:\n%s", out)
	}
}

// Interfaces change hands within one apply; a refused apply leaves a guest's
// tap alone.
func TestInterfacesChangeHands(t *testing.T) {
	l := newLAN(t, 1500, "raw", "raw", "internal")
	apply := func(ports string) { l.write("networks:\n  lan:\n    ports:\n" + ports) }
	internal := fmt.Sprintf("      p3: {type: internal, netns: %s, interface: eth0, address: 10.0.0.3/24}\n", l.hosts[2].Name)
	apply("      p1: {type: raw, interface: p2}\n      p2: {type: raw, interface: p1}\n" + internal)
	l.do("apply", l.config)
	porttest.Ping(t, l.hosts[0], address(2))
	if p := l.port("lan", "p1"); p.Interface != "p2" || p.State != "up" {
		t.Errorf("after the swap: %+v", p)
	}
	apply("      p2: {type: raw, interface: p2}\n      vm1: {type: tap}\n" + internal)
	l.do("apply", l.config)
	porttest.Ping(t, l.hosts[1], address(3))

	fd := holdTap(t, l.host, "vm1")
	defer unix.Close(fd)
	l.waitState("vm1", "up")
	index := l.host.Link(t, "vm1").Attrs().Index
	held := holdTap(t, l.host, "held0")
	defer unix.Close(held)
	apply("      p2: {type: raw, interface: p2}\n      vm1: {type: tap, interface: vm9}\n      zz: {type: internal, interface: held0}\n" + internal)
	l.fails(`interface "held0" is held by another process`, "apply", l.config)
	l.waitState("vm1", "up")
	if now := l.host.Link(t, "vm1").Attrs().Index; now != index {
		t.Errorf("a refused apply made the guest's tap anew: %d, was %d", now, index)
	}
	if out := l.host.Run(t, "ip", "-br", "link"); strings.Contains(out, "vm9") {
		t.Errorf("left of the refused apply:\n%s", out)
	}
	porttest.Ping(t, l.hosts[1], address(3))
}

// What somebody puts in the place of an interface is not weft's to remove, and
// what returns under the same number is kept from the host's stack anew.
func TestReplacedInterfaces(t *testing.T) {
	l := newLAN(t, 1500, "raw", "internal")
	if err := exec.Command("ip", "netns", "del", l.hosts[1].Name).Run(); err != nil {
		t.Fatal(err)
	}
	l.waitState("p2", "missing")
	for _, args := range [][]string{
		{"netns", "add", l.hosts[1].Name},
		{"-n", l.hosts[1].Name, "link", "add", "eth0", "type", "veth", "peer", "name", "other"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil && args[0] != "-n" {
			t.Fatalf("%v: %s", err, out)
		}
	}
	// Whoever came first has the name: either is right.
	if p := l.port("lan", "p2"); p.State == "failed" {
		l.do("port", "rm", "lan", "p2")
		if out, err := exec.Command("ip", "-n", l.hosts[1].Name, "link", "show", "other").CombinedOutput(); err != nil {
			t.Errorf("weft removed a stranger's interface: %s", out)
		}
	}

	l.host.Delete(t, "p1")
	l.waitState("p1", "missing")
	for range 2 {
		l.host.Run(t, "ip", "link", "add", "p1", "index", "5000", "type", "veth", "peer", "name", "eth0", "netns", l.hosts[0].Name)
		l.host.Addr(t, "p1", "10.0.0.100/24")
		l.host.Up(t, "p1")
		l.hosts[0].Addr(t, "eth0", "10.0.0.1/24")
		l.hosts[0].Up(t, "eth0")
		l.waitState("p1", "up")
		if err := porttest.TryPing(l.hosts[0], "10.0.0.100", 2*time.Second); err == nil {
			t.Error("the host's stack answered on a port")
		}
		l.host.Delete(t, "p1")
		l.waitState("p1", "missing")
	}
}
