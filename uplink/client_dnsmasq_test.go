package uplink

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/porttest"
)

// rawWire is a packet socket on one end of a veth pair.
type rawWire struct {
	conn     *porttest.RawConn
	messages chan *dataplane.Message
	server   atomic.Pointer[frame.MAC] // whoever answered last
}

func (w *rawWire) Messages() <-chan *dataplane.Message { return w.messages }
func (w *rawWire) Done(*dataplane.Message)             {}

func (w *rawWire) receive(ctx context.Context) {
	for ctx.Err() == nil {
		b := w.conn.Recv(50 * time.Millisecond)
		if b == nil {
			continue
		}
		m := new(dataplane.Message)
		m.Frame.Set(append(make([]byte, frame.Headroom), b...), frame.Headroom)
		m.Frame.Offload.Flags = frame.ChecksumValid // of a veth pair it may be partial
		if _, ok := replyOf(&m.Frame); ok {
			mac := m.Frame.Src()
			w.server.Store(&mac)
			w.messages <- m
		}
	}
}

func (w *rawWire) env(now func() time.Time) ClientEnv {
	return ClientEnv{
		Inbox: w, Now: now, Log: slog.New(slog.DiscardHandler),
		Send: func(frames []*frame.Frame) {
			for _, f := range frames {
				w.conn.Send(f.Bytes())
			}
		},
		Resolve: func(frames []*frame.Frame) {
			for _, f := range frames {
				b := f.Bytes()
				copy(b, w.server.Load()[:])
				w.conn.Send(b)
			}
		},
	}
}

// The server that most home networks and libvirt have: a lease, more time for it,
// a reboot, a release.
func TestClientWithDnsmasq(t *testing.T) {
	porttest.Require(t)
	porttest.RequireTool(t, "dnsmasq")
	ours, theirs := porttest.NewNS(t, "client"), porttest.NewNS(t, "server")
	porttest.Veth(t, ours, "c0", theirs, "s0")
	theirs.Addr(t, "s0", "192.0.2.1/24")
	dir := t.TempDir()
	server := theirs.Start(t, "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--user=root", "--port=0",
		"--pid-file="+filepath.Join(dir, "pid"), "--dhcp-leasefile="+filepath.Join(dir, "leases"), "--interface=s0", "--bind-interfaces",
		"--dhcp-authoritative", "--no-ping", "--log-dhcp", "--dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,10m",
		"--dhcp-option=26,1400", "--dhcp-option=6,192.0.2.1,192.0.2.2", "--dhcp-option=3,192.0.2.9",
		"--dhcp-option=121,0.0.0.0/0,192.0.2.7,10.0.0.0/8,192.0.2.8")
	server.WaitOutput(t, "started", 10*time.Second)

	ctx, cancel := context.WithCancel(t.Context())
	w := &rawWire{conn: ours.RawConn(t, "c0"), messages: make(chan *dataplane.Message, 16)}
	done := make(chan struct{})
	go func() { w.receive(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	var skip atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(skip.Load())) }
	c := NewClient(ClientConfig{MAC: clientMAC, Hostname: "gate"}, w.env(now))
	stopped := make(chan struct{})
	go func() { c.Run(ctx); close(stopped) }()
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %s", what, c.Status())
			}
		}
	}

	until("no lease", func() bool { _, ok := c.Lease(); return ok })
	first, _ := c.Lease()
	addr := netip.MustParseAddr
	if !netip.MustParsePrefix("192.0.2.48/28").Contains(first.Address.Addr()) || first.Address.Bits() != 24 || first.Gateway != addr("192.0.2.7") || first.MTU != 1400 ||
		!slices.Equal(first.DNS, []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")}) ||
		!slices.Equal(first.Routes, []LeaseRoute{{netip.MustParsePrefix("10.0.0.0/8"), addr("192.0.2.8")}}) || first.Duration != 10*time.Minute {
		t.Errorf("lease %+v", first)
	}
	// From now on the server answers to the address, and nobody here does ARP.
	theirs.Run(t, "ip", "neigh", "replace", first.Address.Addr().String(), "lladdr", clientMAC.String(), "dev", "s0")

	skip.Add(int64(5*time.Minute + 20*time.Second)) // after T1
	c.SetLink(true)                                 // it is; this only wakes
	until("not renewed", func() bool { l, ok := c.Lease(); return ok && l.Expires.Sub(first.Expires) > 4*time.Minute })
	skip.Add(int64(9 * time.Minute)) // after T2
	renewed, _ := c.Lease()
	c.SetLink(true)
	until("not rebound", func() bool { l, ok := c.Lease(); return ok && l.Expires.Sub(renewed.Expires) > 7*time.Minute })
	rebound, _ := c.Lease()
	c.SetLink(false)
	c.SetLink(true)
	until("not rebooted", func() bool { l, ok := c.Lease(); return ok && l.Expires.After(rebound.Expires) })
	if l, _ := c.Lease(); l.Address != first.Address {
		t.Errorf("first %v, now %v", first.Address, l.Address)
	}
	c.Release()
	server.WaitOutput(t, "DHCPRELEASE", 10*time.Second)
	cancel()
	<-stopped
}
