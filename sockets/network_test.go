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

var gatewayMAC = frame.MAC{2, 0, 0, 0, 0, 0xfe}

// network is a guest of the kernel's in a network of the real dataplane, with the host
// and the world of lab.
type network struct {
	*lab
	inner *porttest.NS // the guest, 10.0.0.5
}

func newNetwork(t testing.TB, change ...func(*Config)) *network {
	porttest.Require(t)
	l := &lab{t: t, host: porttest.NewNS(t, "host"), world: porttest.NewNS(t, "world")}
	n := &network{lab: l, inner: porttest.NewNS(t, "guest")}
	for _, ns := range []*porttest.NS{l.host, l.world, n.inner} {
		ns.Quiet(t)
	}
	porttest.Veth(t, l.host, "eth0", l.world, "eth0")
	l.host.Addr(t, "eth0", "198.51.100.1/24")
	l.world.Addr(t, "eth0", "198.51.100.2/24")

	sw := dataplane.New()
	t.Cleanup(sw.Close)
	address := netip.MustParsePrefix("10.0.0.1/24")
	lan, err := sw.AddNetwork("lan", dataplane.NetworkConfig{
		Address: gatewayMAC, MTU: 1500, FDB: fdb.Config{Limit: 100, Ageing: time.Minute},
		Gateway: dataplane.GatewayConfig{Address: address},
	})
	if err != nil {
		t.Fatal(err)
	}
	relay := new(dataplane.RelayPorts)
	if err := lan.SetRouting(dataplane.RoutingConfig{Sockets: true, Relay: relay}); err != nil {
		t.Fatal(err)
	}
	n.plug(lan)
	g, err := gateway.New(lan.Gateway(), gateway.Config{MAC: gatewayMAC, Address: address, MTU: 1500})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	l.cfg = Config{Address: address, MTU: 1500, Relay: relay, Env: l.env(), Local: func(a netip.Addr) bool { return a == hostIP }}
	for _, c := range change {
		c(&l.cfg)
	}
	if l.s, err = New(lan.Gateway(), l.cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.s.Close)
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
	n.inner.Addr(t, "eth0", "10.0.0.5/24")
	n.inner.Up(t, "eth0")
	n.inner.Run(t, "ip", "route", "add", "default", "via", "10.0.0.1")
}

// A guest of the kernel's transfers through the pipeline, pings, and is reached.
func TestNetwork(t *testing.T) {
	n := newNetwork(t, func(c *Config) {
		c.Publish = []Publish{
			publish(frame.ProtoTCP, "0.0.0.0:2200", "10.0.0.5:22", true),
			publish(frame.ProtoTCP, "127.0.0.1:2201", "10.0.0.5:22", false),
			publish(frame.ProtoUDP, "127.0.0.1:5300", "10.0.0.5:53", true),
		}
	})
	porttest.Ping(t, n.inner, "198.51.100.2")
	porttest.TCPTransfer(t, n.inner, n.world, "198.51.100.2", 64<<20)
	if out, err := n.inner.TryRun("ping", "-n", "-c", "1", "-s", "5000", "-W", "20", "198.51.100.2"); err != nil {
		t.Errorf("%s: %v", out, err)
	}
	ln := listen(t, n.inner, "10.0.0.5:22")
	for _, client := range []struct {
		ns   *porttest.NS
		to   string
		keep bool
	}{{n.world, "198.51.100.1:2200", true}, {n.host, "198.51.100.1:2200", false}, {n.host, "127.0.0.1:2201", false}} {
		far := dialFrom(t, client.ns, client.to)
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if seen := addrOf(c.RemoteAddr()); client.keep != (seen == addrOf(far.LocalAddr())) || !client.keep && seen.Addr() != gatewayIP {
			t.Errorf("%s: the guest sees %s", client.to, seen)
		}
		exchange(t, far, c)
		c.Close()
	}
	server, local := udpIn(t, n.inner, "10.0.0.5:53"), udpIn(t, n.host, "127.0.0.1:0")
	echoes(server)
	for _, size := range []int{1, 1400, 5000} {
		if _, err := local.WriteToUDPAddrPort(make([]byte, size), netip.MustParseAddrPort("127.0.0.1:5300")); err != nil {
			t.Fatal(err)
		}
		if got, from := receiveUDP(t, local); len(got) != size || from.Port() != 5300 {
			t.Errorf("%d bytes from %s, want %d", len(got), from, size)
		}
	}
	var refused error
	n.inner.Do(func() { _, refused = net.DialTimeout("tcp4", "198.51.100.2:9", patience) })
	if refused == nil {
		t.Error("a closed port answers")
	}
}

// How fast one connection is, each way.
func BenchmarkTCP(b *testing.B) {
	for _, out := range []bool{true, false} {
		name := "in"
		if out {
			name = "out"
		}
		b.Run(name, func(b *testing.B) {
			n := newNetwork(b)
			ln := listen(b, n.world, "198.51.100.2:0")
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
		})
	}
}
