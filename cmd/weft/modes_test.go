package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/client"
	"github.com/weft/weft/ports/porttest"
)

// The tests in this file hold weft's forwarding policy against the kernel's: the
// same topology twice, and each must let the same pass.

// sharedNIC is two hosts, e1 and e2, that reach a wire by one interface. Behind
// the wire is a relay, a kernel bridge, and on that an external host.
type sharedNIC struct {
	host              *porttest.NS // has the interface, wire0
	relay, e1, e2, ex *porttest.NS
	reflective        bool // from the start
	setModes          func(t *testing.T, m1, m2 string)
}

const externalHost = 9

// newSharedNIC makes all but what lies between wire0 and the two hosts.
func newSharedNIC(t *testing.T, reflective bool) *sharedNIC {
	t.Helper()
	n := &sharedNIC{reflective: reflective}
	for _, ns := range []struct {
		to    **porttest.NS
		label string
	}{{&n.host, "host"}, {&n.relay, "relay"}, {&n.e1, "e1"}, {&n.e2, "e2"}, {&n.ex, "ex"}} {
		*ns.to = porttest.NewNS(t, ns.label)
		(*ns.to).Quiet(t)
	}
	porttest.Veth(t, n.host, "wire0", n.relay, "wire1")
	porttest.Veth(t, n.ex, "eth0", n.relay, "ex1")
	n.ex.Addr(t, "eth0", address(externalHost)+"/24")
	n.relay.Run(t, "ip", "link", "add", "br0", "type", "bridge")
	n.relay.Run(t, "ip", "link", "set", "wire1", "master", "br0")
	n.relay.Run(t, "ip", "link", "set", "ex1", "master", "br0")
	n.relay.Up(t, "br0")
	if reflective {
		n.reflect(t)
	}
	return n
}

// reflect makes a reflective relay of the bridge (IEEE 802.1Qbg).
func (n *sharedNIC) reflect(t *testing.T) {
	t.Helper()
	n.relay.Run(t, "bridge", "link", "set", "dev", "wire1", "hairpin", "on")
}

// withMacvlan puts the hosts on wire0 by the kernel's macvlan.
func (n *sharedNIC) withMacvlan(t *testing.T) *sharedNIC {
	t.Helper()
	for i, ns := range []*porttest.NS{n.e1, n.e2} {
		addMacvlan(t, n.host, ns, "bridge")
		ns.Addr(t, "eth0", address(i+1)+"/24")
	}
	n.setModes = func(t *testing.T, m1, m2 string) {
		n.e1.Run(t, "ip", "link", "set", "eth0", "type", "macvlan", "mode", m1)
		n.e2.Run(t, "ip", "link", "set", "eth0", "type", "macvlan", "mode", m2)
	}
	return n
}

// addMacvlan makes eth0 of a namespace out of wire0 of another.
func addMacvlan(t *testing.T, lower, ns *porttest.NS, mode string) {
	t.Helper()
	lower.Run(t, "ip", "link", "add", "eth0", "link", "wire0", "netns", ns.Name, "type", "macvlan", "mode", mode)
	ns.Up(t, "eth0")
}

// withWeft puts the hosts on wire0 by weft, which is told of a relay that
// reflects: ports in mode bridge alone do not suggest one.
func (n *sharedNIC) withWeft(t *testing.T) (*sharedNIC, *weftProcess) {
	t.Helper()
	told := ""
	if n.reflective {
		told = ", reflective: true"
	}
	w := startWeft(t, n.host, fmt.Sprintf(`
metrics: {listen: "off"}
networks:
  lan:
    forward: bridge
    uplink: {interface: wire0%s}
    ports:
      e1: {type: internal, netns: %s, interface: eth0, address: %s/24}
      e2: {type: internal, netns: %s, interface: eth0, address: %s/24}
`, told, n.e1.Name, address(1), n.e2.Name, address(2)))
	n.setModes = func(t *testing.T, m1, m2 string) {
		w.set("e1", "mode="+m1)
		w.set("e2", "mode="+m2)
	}
	return n, w
}

// set is "weft port set" in network lan.
func (w *weftProcess) set(port string, settings ...string) {
	w.t.Helper()
	w.do(append([]string{"port", "set", "lan", port}, settings...)...)
}

// now asks for a port of network lan without a process of its own.
func (w *weftProcess) now(port string) api.Port {
	w.t.Helper()
	c := client.New(w.socket)
	defer c.Close()
	p, err := c.Port(w.t.Context(), "lan", port)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// route is one host's way to another.
type route struct {
	name string
	from *porttest.NS
	to   int
}

func (n *sharedNIC) routes() []route {
	return []route{{"e1>e2", n.e1, 2}, {"e2>e1", n.e2, 1}, {"e1>ex", n.e1, externalHost}, {"ex>e2", n.ex, 2}}
}

// pings tries all routes at once and returns the names of those that carry a
// ping. No host knows an address of another before, so that each needs ARP too.
// Those in want get far more time than a ping takes; the others cost patience.
func pings(t *testing.T, routes []route, want string, patience time.Duration) string {
	t.Helper()
	for _, r := range routes {
		if _, err := r.from.TryRun("ip", "neigh", "flush", "dev", "eth0"); err != nil {
			t.Error(err)
		}
	}
	answered := make([]string, len(routes))
	var all sync.WaitGroup
	for i, r := range routes {
		all.Go(func() {
			timeout := patience
			if strings.Contains(want, r.name) {
				timeout = 10 * time.Second
			}
			if porttest.TryPing(r.from, address(r.to), timeout) == nil {
				answered[i] = r.name
			}
		})
	}
	all.Wait()
	return strings.Join(strings.Fields(strings.Join(answered, " ")), " ")
}

// samePings requires that two labs let the same pings pass, and that it is the
// ones wanted: two broken labs are the same too. Where all should pass it asks
// several times, for an FDB that is led astray forgets at random.
func samePings(t *testing.T, what, want string, kernel, weft []route) {
	t.Helper()
	rounds := 1
	if len(strings.Fields(want)) == len(kernel) {
		rounds = 4
	}
	for range rounds {
		var k, w string
		var both sync.WaitGroup
		both.Go(func() { k = pings(t, kernel, want, pingPatience) })
		w = pings(t, weft, want, pingPatience)
		both.Wait()
		t.Logf("%-18s kernel [%s] weft [%s]", what, k, w)
		if k != w {
			t.Errorf("%s: through the kernel pass [%s], through weft [%s]", what, k, w)
		} else if k != want {
			t.Errorf("%s: [%s] pass, want [%s]", what, k, want)
		}
		if k != want || w != want {
			return
		}
	}
}

// pingPatience is what a ping that must not be answered costs.
const pingPatience = 2 * time.Second

// broadcastOf sends a broadcast from e1 and returns how many copies each other
// host gets: pings show neither a second copy nor what finds no way back. own
// is what has come back to e1.
func (n *sharedNIC) broadcastOf(t *testing.T, id byte) (copies string, own int) {
	t.Helper()
	e1, e2, ex := n.e1.RawConn(t, "eth0"), n.e2.RawConn(t, "eth0"), n.ex.RawConn(t, "eth0")
	frame := append(bytes.Repeat([]byte{0xff}, 6), n.e1.Link(t, "eth0").Attrs().HardwareAddr...)
	frame = append(append(frame, 0x88, 0xb5, id), make([]byte, 60)...)
	e1.Send(frame)
	count := func(c *porttest.RawConn) (got int) {
		for c.RecvMatch(100*time.Millisecond, func(f []byte) bool { return bytes.Equal(f, frame) }) != nil {
			got++
		}
		return got
	}
	return fmt.Sprintf("e2 %d ex %d", count(e2), count(ex)), count(e1)
}

// All pairs of modes, with a relay that reflects and one that does not.
func TestModesLikeMacvlan(t *testing.T) {
	porttest.Require(t)
	for _, reflective := range []bool{true, false} {
		t.Run(fmt.Sprintf("reflective relay %v", reflective), func(t *testing.T) {
			t.Parallel() // nearly all of the time goes into waiting for no answer
			kernel := newSharedNIC(t, reflective).withMacvlan(t)
			weft, _ := newSharedNIC(t, reflective).withWeft(t)
			modes := []string{"bridge", "vepa", "private"}
			for _, m1 := range modes {
				for _, m2 := range modes {
					kernel.setModes(t, m1, m2)
					weft.setModes(t, m1, m2)
					want := "e1>ex ex>e2"
					if m1 == "bridge" && m2 == "bridge" || reflective && m1 != "private" && m2 != "private" {
						want = "e1>e2 e2>e1 " + want
					}
					samePings(t, m1+" and "+m2, want, kernel.routes(), weft.routes())
					k, _ := kernel.broadcastOf(t, 1)
					w, own := weft.broadcastOf(t, 2)
					if k != w || own != 0 || !strings.Contains(w, "ex 1") {
						t.Errorf("%s and %s: copies of a broadcast: [%s] by the kernel, [%s] by weft, and %d back to e1", m1, m2, k, w, own)
					}
				}
			}
		})
	}
}

// A passthrough port and the wire are one cable: any address, and nobody else.
func TestPassthroughLikeMacvlan(t *testing.T) {
	porttest.Require(t)
	for _, kind := range []string{"macvlan", "weft"} {
		t.Run(kind, func(t *testing.T) {
			host, e1, e2, ex := porttest.NewNS(t, "host"), porttest.NewNS(t, "e1"), porttest.NewNS(t, "e2"), porttest.NewNS(t, "ex")
			for _, ns := range []*porttest.NS{host, e1, e2, ex} {
				ns.Quiet(t)
			}
			porttest.Veth(t, host, "wire0", ex, "eth0")
			ex.Addr(t, "eth0", address(externalHost)+"/24")
			if kind == "macvlan" {
				addMacvlan(t, host, e1, "passthru")
				e1.Addr(t, "eth0", address(1)+"/24")
				if out, err := host.TryRun("ip", "link", "add", "m2", "link", "wire0", "type", "macvlan", "mode", "passthru"); err == nil {
					t.Errorf("the kernel takes a second one: %s", out)
				}
			} else {
				passthroughOfWeft(t, host, e1, e2)
			}
			porttest.Ping(t, e1, address(externalHost))
			porttest.Ping(t, ex, address(1))
			porttest.TCPTransfer(t, e1, ex, address(externalHost), 4<<20)
			foreignAddresses(t, e1.RawConn(t, "eth0"), ex.RawConn(t, "eth0"))
		})
	}
}

// passthroughOfWeft starts weft with one passthrough port, which is the only
// port that it takes.
func passthroughOfWeft(t *testing.T, host, e1, e2 *porttest.NS) {
	t.Helper()
	yaml := fmt.Sprintf("metrics: {listen: \"off\"}\nnetworks:\n  lan:\n    forward: bridge\n    uplink: {interface: wire0}\n    ports:\n"+
		"      e1: {type: internal, netns: %s, interface: eth0, address: %s/24, mode: passthrough}\n", e1.Name, address(1))
	w := startWeft(t, host, yaml)
	second := "add lan e2 --type internal --interface eth0 --netns " + e2.Name
	w.fails(`passthrough`, append([]string{"port"}, strings.Fields(second)...)...)
	w.fails(`"e1" is passthrough already`, append([]string{"port"}, strings.Fields(second+" mode=passthrough")...)...)
	w.write(yaml + fmt.Sprintf("      e2: {type: internal, netns: %s, interface: eth0, mode: passthrough}\n", e2.Name))
	out, err := host.TryRun(w.bin, "check", w.config)
	if err == nil || !strings.Contains(out, `weft.yaml:8: `) || !strings.Contains(out, `port "e1" is passthrough already`) || strings.Count(out, "\n") != 1 {
		t.Errorf("weft check of two passthrough ports: %v\n%s", err, out)
	}
	if _, err := e2.Handle().LinkByName("eth0"); err == nil {
		t.Error("a refused port has made its interface")
	}
}

// foreignAddresses sends frames from and to addresses that neither end has,
// the same each time: what has learned them at one end must not care.
func foreignAddresses(t *testing.T, a, b *porttest.RawConn) {
	t.Helper()
	for i, ends := range [][2]*porttest.RawConn{{a, b}, {b, a}, {a, b}} {
		frame := append([]byte{2, 0xfe, 0, 0, 0, 1, 2, 0xfe, 0, 0, 0, 2, 0x88, 0xb5, byte(i)}, make([]byte, 60)...)
		ends[0].Send(frame)
		if got := ends[1].RecvMatch(5*time.Second, func(f []byte) bool { return bytes.Equal(f, frame) }); got == nil {
			t.Errorf("frame %d between foreign addresses did not cross", i)
		}
	}
}

// weft as the reflective relay for macvlans in VEPA mode.
func TestHairpinRelay(t *testing.T) {
	porttest.Require(t)
	host, lower := porttest.NewNS(t, "host"), porttest.NewNS(t, "lower")
	e := []*porttest.NS{porttest.NewNS(t, "e1"), porttest.NewNS(t, "e2")}
	porttest.Veth(t, host, "p1", lower, "wire0")
	for i, ns := range e {
		ns.Quiet(t)
		addMacvlan(t, lower, ns, "vepa")
		ns.Addr(t, "eth0", address(i+1)+"/24")
	}
	w := startWeft(t, host, `{metrics: {listen: "off"}, networks: {lan: {ports: {p1: {type: raw}}}}}`)
	routes := []route{{"1>2", e[0], 2}, {"2>1", e[1], 1}}
	expect := func(when, want string) {
		t.Helper()
		if got := pings(t, routes, want, time.Second); got != want {
			t.Errorf("%s: [%s] pass, want [%s]", when, got, want)
		}
	}
	expect("as it starts", "")
	waitDrops(t, w, "p1", "no-destination", 1)
	w.set("p1", "hairpin=true")
	expect("with hairpin", "1>2 2>1")
	porttest.TCPTransfer(t, e[0], e[1], address(2), 16<<20)
	if p := w.now("p1"); p.RX.Bytes/max(p.RX.Frames, 1) < 4000 {
		t.Errorf("super-frames did not come back whole: %d bytes in %d frames", p.RX.Bytes, p.RX.Frames)
	}
	w.set("p1", "hairpin=false")
	if porttest.TryPing(e[0], address(2), time.Second) == nil { // who is known by now
		t.Error("a frame came back without hairpin")
	}
	waitDrops(t, w, "p1", "same-port", 1)
	expect("without hairpin", "")
}

// Of three hosts two are isolated.
func TestIsolatedLikeBridge(t *testing.T) {
	l := newLAN(t, 1500, "internal", "raw", "raw")
	relay := porttest.NewNS(t, "relay")
	relay.Run(t, "ip", "link", "add", "br0", "type", "bridge")
	relay.Up(t, "br0")
	var kernel []*porttest.NS
	for i := range 3 {
		h := porttest.NewNS(t, fmt.Sprint("k", i+1))
		kernel = append(kernel, h)
		name := fmt.Sprint("p", i+1)
		porttest.Veth(t, relay, name, h, "eth0")
		h.Addr(t, "eth0", address(i+1)+"/24")
		relay.Run(t, "ip", "link", "set", name, "master", "br0")
	}
	allWays := func(hosts []*porttest.NS) (list []route) {
		for i, from := range hosts {
			for j := range hosts {
				if i != j {
					list = append(list, route{fmt.Sprintf("%d>%d", i+1, j+1), from, j + 1})
				}
			}
		}
		return list
	}
	for _, c := range []struct{ name, kernel, weft, want string }{
		{"none isolated", "off", "isolated=false", "1>2 1>3 2>1 2>3 3>1 3>2"},
		{"1 and 2 isolated", "on", "isolated=true", "1>3 2>3 3>1 3>2"},
		{"none any more", "off", "isolated=", "1>2 1>3 2>1 2>3 3>1 3>2"},
	} {
		for _, port := range []string{"p1", "p2"} {
			relay.Run(t, "bridge", "link", "set", "dev", port, "isolated", c.kernel)
			l.set(port, c.weft)
		}
		samePings(t, c.name, c.want, allWays(kernel), allWays(l.hosts))
	}
	// Also who knows the other's address already does not reach it any more.
	l.set("p1", "isolated=true")
	l.set("p2", "isolated=true")
	if porttest.TryPing(l.hosts[0], address(2), time.Second) == nil {
		t.Error("1 reaches 2 by an address that it has known before")
	}
	waitDrops(t, l.weftProcess, "p1", "isolated", 1)
}

// Guests and the wire are peers, and super-frames cross between all of them.
func TestSeveralGuestsShareANIC(t *testing.T) {
	porttest.Require(t)
	n, w := newSharedNIC(t, false).withWeft(t)
	for _, mode := range []string{"bridge", "vepa"} {
		t.Run(mode, func(t *testing.T) {
			n.setModes(t, mode, mode)
			if mode == "vepa" {
				n.reflect(t)
			}
			porttest.TCPTransfer(t, n.e1, n.e2, address(2), 16<<20)
			porttest.TCPTransfer(t, n.e1, n.ex, address(externalHost), 16<<20)
			porttest.TCPTransfer(t, n.ex, n.e2, address(2), 16<<20)
			for _, name := range []string{"e1", "e2", "uplink"} {
				if p := w.now(name); p.RX.Bytes/max(p.RX.Frames, 1) < 4000 {
					t.Errorf("super-frames did not cross whole: %s has %d bytes in %d frames", name, p.RX.Bytes, p.RX.Frames)
				}
			}
		})
	}
}
