package sockets

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/gateway"
	"github.com/weft/weft/ports/porttest"
	"github.com/weft/weft/ports/tap"
)

// network is a guest of the kernel's in a network of the real dataplane, with the host
// and the world of lab.
type network struct {
	*lab
	inner *porttest.NS // the guest
}

func newNetwork(t testing.TB, a *side, change ...func(*Config)) *network {
	n := &network{lab: newMachine(t, a), inner: porttest.NewNS(t, "guest")}
	sw := dataplane.New()
	t.Cleanup(sw.Close)
	lan, err := sw.AddNetwork("lan", dataplane.NetworkConfig{
		Address: gatewayMAC, MTU: 1500, FDB: fdb.Config{Limit: 100, Ageing: time.Minute},
		Gateway: dataplane.GatewayConfig{Address: n.cfg.Address, Address6: n.cfg.Address6},
	})
	if err != nil {
		t.Fatal(err)
	}
	relay := new(dataplane.RelayPorts)
	if err := lan.SetRouting(dataplane.RoutingConfig{Sockets: true, Relay: relay}); err != nil {
		t.Fatal(err)
	}
	n.plug(lan)
	g, err := gateway.New(lan.Gateway(), gateway.Config{MAC: gatewayMAC, Address: n.cfg.Address, Address6: n.cfg.Address6, MTU: 1500})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	n.cfg.Relay, n.cfg.Local = relay, func(to netip.Addr) bool { return to == a.hostIP }
	for _, c := range change {
		c(&n.cfg)
	}
	if n.s, err = New(lan.Gateway(), n.cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.s.Close)
	return n
}

// plug connects the guest to the network by a tap.
func (n *network) plug(lan *dataplane.Network) {
	t := n.t
	var io *tap.Port
	var err error
	n.inner.Do(func() { io, err = tap.Open("eth0") })
	if err != nil {
		t.Fatal(err)
	}
	p, err := lan.AddPort("guest", dataplane.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	p.Attach(io, 1500, func(err error) { t.Errorf("the guest's port: %v", err) })
	n.inner.Up(t, "eth0")
	for _, a := range sides() {
		n.inner.Addr(t, "eth0", netip.PrefixFrom(a.guestAddr, a.subnet.Bits()).String())
		n.inner.Run(t, "ip", "route", "add", "default", "via", a.gatewayIP.String())
	}
}

// A guest of the kernel's transfers through the pipeline, pings, and is reached.
func TestNetwork(t *testing.T) { both(t, testNetwork) }

func testNetwork(t *testing.T, a *side) {
	n := newNetwork(t, a, func(c *Config) {
		c.Publish = []Publish{
			publish(frame.ProtoTCP, at(a.anywhere, 2200), at(a.guestAddr, 22), true),
			publish(frame.ProtoTCP, at(a.loopback, 2201), at(a.guestAddr, 22), false),
			publish(frame.ProtoUDP, at(a.loopback, 5300), at(a.guestAddr, 53), true),
		}
	})
	porttest.Ping(t, n.inner, a.worldIP.String())
	porttest.TCPTransfer(t, n.inner, n.world, a.worldIP.String(), 64<<20)
	if out, err := n.inner.TryRun("ping", "-n", "-c", "1", "-s", "5000", "-W", "20", a.worldIP.String()); err != nil {
		t.Errorf("%s: %v", out, err)
	}
	ln := listen(t, n.inner, at(a.guestAddr, 22))
	for _, client := range []struct {
		ns   *porttest.NS
		to   string
		keep bool
	}{{n.world, at(a.hostIP, 2200), true}, {n.host, at(a.hostIP, 2200), false}, {n.host, at(a.loopback, 2201), false}} {
		far := dialFrom(t, client.ns, client.to)
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if seen := addrOf(c.RemoteAddr()); client.keep != (seen == addrOf(far.LocalAddr())) || !client.keep && seen.Addr() != a.gatewayIP {
			t.Errorf("%s: the guest sees %s", client.to, seen)
		}
		exchange(t, far, c)
		c.Close()
	}
	server, local := udpIn(t, n.inner, at(a.guestAddr, 53)), udpIn(t, n.host, at(a.loopback, 0))
	echoes(server)
	for _, size := range []int{1, 1400, 5000} {
		if _, err := local.WriteToUDPAddrPort(make([]byte, size), netip.AddrPortFrom(a.loopback, 5300)); err != nil {
			t.Fatal(err)
		}
		if got, from := receiveUDP(t, local); len(got) != size || from.Port() != 5300 {
			t.Errorf("%d bytes from %s, want %d", len(got), from, size)
		}
	}
	var refused error
	n.inner.Do(func() { _, refused = net.DialTimeout("tcp", at(a.worldIP, 9), patience) })
	if refused == nil {
		t.Error("a closed port answers")
	}
}

// How fast one connection is, each way.
func BenchmarkTCP(b *testing.B) {
	for _, a := range sides() {
		for _, way := range []string{"out", "in"} {
			b.Run(a.fam.name+" "+way, func(b *testing.B) { benchmarkTCP(b, a, way == "out") })
		}
	}
}

func benchmarkTCP(b *testing.B, a *side, out bool) {
	n := newNetwork(b, a)
	ln := listen(b, n.world, at(a.worldIP, 0))
	c := dialFrom(b, n.inner, ln.Addr().String())
	far, err := ln.AcceptTCP()
	if err != nil {
		b.Fatal(err)
	}
	defer far.Close()
	var from, to net.Conn = c, far
	if !out {
		from, to = far, c
	}
	buf := make([]byte, 128<<10)
	b.SetBytes(1 << 20)
	b.ResetTimer()
	go func() {
		for {
			if _, err := from.Write(buf); err != nil {
				return
			}
		}
	}()
	if _, err := io.CopyN(io.Discard, to, int64(b.N)<<20); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
}
