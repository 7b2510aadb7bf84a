package uplink

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/porttest"
)

// rawWire6 is a packet socket on one end of a veth pair, and stands in for a dataplane:
// it answers neighbours that ask for the link-local address.
type rawWire6 struct {
	conn     *porttest.RawConn
	messages chan *dataplane.Message

	mu   sync.Mutex
	told Lease6
}

func (w *rawWire6) Messages() <-chan *dataplane.Message { return w.messages }
func (w *rawWire6) Done(*dataplane.Message)             {}

func (w *rawWire6) receive(ctx context.Context) {
	for ctx.Err() == nil {
		b := w.conn.Recv(50 * time.Millisecond)
		if b == nil {
			continue
		}
		m := new(dataplane.Message)
		m.Frame.Set(append(make([]byte, frame.Headroom), b...), frame.Headroom)
		m.Frame.Offload.Flags = frame.ChecksumValid // of a veth pair it may be partial
		var p frame.Parsed
		p.Parse(&m.Frame)
		if ndp.Valid(&m.Frame, &p) {
			w.answer(&m.Frame, &p)
		} else if p.Layer != frame.LayerTransport || p.DstPort != client6Port {
			continue
		}
		w.messages <- m
	}
}

func (w *rawWire6) answer(f *frame.Frame, p *frame.Parsed) {
	message, src := f.Bytes()[p.L4:p.End], netip.AddrFrom16(p.Src())
	if message[0] == ndp.NeighborSolicitation && ndp.ParseNeighbor(message).Target == own6 && !src.IsUnspecified() {
		n := ndp.Neighbor{Target: own6, MAC: clientMAC, Solicited: true, Override: true}
		w.conn.Send(ndp.Packet(clientMAC, f.Src(), own6, src, n.Advertisement()).Bytes())
	}
}

// dnsmasq6 starts the router and server that most home networks and libvirt have, and a
// client that is joined to it.
func dnsmasq6(t *testing.T, prepare func(*porttest.NS), arguments ...string) (*porttest.Process, *rawWire6, *Client6, *atomic.Int64) {
	t.Helper()
	porttest.Require(t)
	porttest.RequireTool(t, "dnsmasq")
	ours, theirs := porttest.NewNS(t, "client"), porttest.NewNS(t, "server")
	ours.Quiet(t) // the machine's own stack is no part of this
	porttest.Veth(t, ours, "c0", theirs, "s0")
	theirs.Addr(t, "s0", "2001:db8:a::1/64")
	if prepare != nil {
		prepare(theirs)
	}
	dir := t.TempDir()
	// Before dnsmasq can answer, the interface has to have its link-local address.
	for end := time.Now().Add(20 * time.Second); strings.Contains(theirs.Run(t, "ip", "-6", "addr", "show", "dev", "s0"), "tentative"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server's address stays tentative")
		}
	}
	server := theirs.Start(t, "dnsmasq", append([]string{"--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--user=root", "--port=0",
		"--pid-file=" + filepath.Join(dir, "pid"), "--dhcp-leasefile=" + filepath.Join(dir, "leases"), "--interface=s0", "--bind-interfaces",
		"--log-dhcp", "--enable-ra", "--dhcp-option=option6:dns-server,[2001:db8:a::53]"}, arguments...)...)
	server.WaitOutput(t, "started", 10*time.Second)

	ctx, cancel := context.WithCancel(t.Context())
	w := &rawWire6{conn: ours.RawConn(t, "c0"), messages: make(chan *dataplane.Message, 64)}
	skip := new(atomic.Int64)
	c := NewClient6(Client6Config{MAC: clientMAC}, Client6Env{
		Inbox: w, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(skip.Load())) },
		Send: func(frames []*frame.Frame) {
			for _, f := range frames {
				w.conn.Send(f.Bytes())
			}
		},
		OnChange: func(l Lease6) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = l
		},
	})
	var running sync.WaitGroup
	running.Go(func() { w.receive(ctx) })
	running.Go(func() { c.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return server, w, c, skip
}

func until6(t *testing.T, c *Client6, server *porttest.Process, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			l, _ := c.Lease()
			t.Fatalf("%s: %s; %+v\n%s", what, c.Status(), l, server.Output())
		}
	}
}

// An address that the client makes, with name servers by DHCPv6 beside it.
func TestClient6WithDnsmasqStateless(t *testing.T) {
	server, w, c, _ := dnsmasq6(t, nil, "--dhcp-range=2001:db8:a::,ra-stateless,64,10m", "--ra-param=s0,mtu:1400,high,60,1800")
	until6(t, c, server, "not informed", func() bool { l, ok := c.Lease(); return ok && c.Status().Server.IsValid() && len(l.DNS) > 0 })
	l, _ := c.Lease()
	if !slices.Equal(l.Addresses, []netip.Prefix{addressA}) || l.MTU != 1400 || !slices.Equal(l.DNS, []netip.Addr{netip.MustParseAddr("2001:db8:a::53")}) ||
		len(l.Routes) != 1 || l.Routes[0].Destination != default6 || l.Routes[0].Via != c.Status().Router || !c.Status().Router.IsLinkLocalUnicast() {
		t.Errorf("lease %+v", l)
	}
	until6(t, c, server, "not told", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.told.sameAs(&l)
	})
	if out := server.Output(); strings.Contains(out, "DHCPSOLICIT") {
		t.Errorf("it has asked for an address:\n%s", out)
	}
}

// An address that the server has: more time for it from there and from any, whether it
// holds after the link was down, and back.
func TestClient6WithDnsmasqStateful(t *testing.T) {
	server, _, c, skip := dnsmasq6(t, nil, "--dhcp-range=2001:db8:a::1:100,2001:db8:a::1:1ff,64,10m", "--dhcp-authoritative")
	until6(t, c, server, "no lease", func() bool { _, ok := c.Lease(); return ok })
	first, _ := c.Lease()
	if len(first.Addresses) != 1 || first.Addresses[0].Bits() != 128 || !netip.MustParsePrefix("2001:db8:a::1:100/120").Contains(first.Addresses[0].Addr()) {
		t.Errorf("lease %+v", first)
	}
	if want := []dataplane.Route{{Destination: prefixA}, {Destination: default6, Via: c.Status().Router}}; !slices.Equal(first.Routes, want) {
		t.Errorf("routes %+v, want %+v", first.Routes, want)
	}
	expires := c.Status().Expires // of the wall clock: what is skipped is missing
	later := func(what, logged string, by time.Duration) {
		t.Helper()
		skip.Add(int64(by))
		c.SetLink(true) // it is; this only wakes
		server.WaitOutput(t, logged, 20*time.Second)
		until6(t, c, server, what, func() bool { return c.Status().Expires.After(expires.Add(-by/2)) && c.Status().Problem == "" })
	}
	later("not renewed", "DHCPRENEW", 5*time.Minute+20*time.Second)
	later("not rebound", "DHCPREBIND", 9*time.Minute)
	c.SetLink(false)
	c.SetLink(true)
	server.WaitOutput(t, "DHCPCONFIRM", 20*time.Second)
	until6(t, c, server, "not confirmed", func() bool { _, ok := c.Lease(); return ok && c.Status().Problem == "" })
	if l, _ := c.Lease(); !slices.Equal(l.Addresses, first.Addresses) {
		t.Errorf("first %v, now %v", first.Addresses, l.Addresses)
	}
	c.Release()
	server.WaitOutput(t, "DHCPRELEASE", 20*time.Second)
}

// The kernel on the other end has the address that the client would make.
func TestClient6WithDuplicate(t *testing.T) {
	server, _, c, _ := dnsmasq6(t, func(theirs *porttest.NS) { theirs.Addr(t, "s0", addressA.String()) }, "--dhcp-range=2001:db8:a::,ra-only,64,10m")
	until6(t, c, server, "not noticed", func() bool { return strings.Contains(c.Status().Problem, "which is not used") })
	if l, ok := c.Lease(); ok || len(l.Routes) == 0 {
		t.Errorf("lease %+v", l)
	}
}
