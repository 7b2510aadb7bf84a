package sockets

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

func TestMain(m *testing.M) { porttest.CheckLeaks(m) }

// lab is a guest behind Sockets in a namespace "host", which has a neighbour "world". All
// have both families; what is asked for by the lab's own methods is of its side.
type lab struct {
	*side
	t           testing.TB
	s           *Sockets
	guest       *guest
	host, world *porttest.NS
	cfg         Config
}

var gatewayMAC = frame.MAC{2, 0, 0, 0, 0, 0xfe}

const patience = 60 * time.Second

// newMachine makes the host and the world of a lab.
func newMachine(t testing.TB, a *side) *lab {
	porttest.Require(t)
	l := &lab{side: a, t: t, host: porttest.NewNS(t, "host"), world: porttest.NewNS(t, "world")}
	porttest.Veth(t, l.host, "eth0", l.world, "eth0")
	for _, a := range sides() {
		l.host.Addr(t, "eth0", a.link.String())
		first, second := a.worldIP, a.worldIP2
		if a.fam == v6 { // what is added last is preferred
			first, second = second, first
		}
		l.world.Addr(t, "eth0", netip.PrefixFrom(first, a.link.Bits()).String())
		l.world.Addr(t, "eth0", netip.PrefixFrom(second, a.link.Bits()).String())
	}
	six := sides()[v6.index] // addresses of IPv6 are there a moment later
	l.eventually("the host has its address", func() bool { return has(t, l.host, six.hostIP) })
	l.eventually("the world has its addresses", func() bool { return has(t, l.world, six.worldIP) && has(t, l.world, six.worldIP2) })
	l.cfg = Config{MTU: 1500, MAC: gatewayMAC, Env: l.env()}
	l.cfg.Address, l.cfg.Address6 = sides()[0].subnet, []netip.Prefix{sides()[1].subnet}
	return l
}

// has reports whether a namespace takes an IPv6 address for its own.
func has(t testing.TB, ns *porttest.NS, a netip.Addr) bool {
	return strings.Contains(ns.Run(t, "ip", "-6", "route", "get", a.String()), "local "+a.String())
}

func newLab(t testing.TB, a *side, change ...func(*Config)) *lab {
	l := newMachine(t, a)
	l.guest = newGuest(t)
	for _, c := range change {
		c(&l.cfg)
	}
	var err error
	if l.s, err = open(l.guest, l.cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	l.guest.serve(l.s)
	t.Cleanup(func() {
		l.guest.stop()
		l.s.Close()
	})
	return l
}

// env opens the sockets of the machine in its namespace.
func (l *lab) env() Env {
	return Env{Socket: func(family, kind, protocol int) (fd int, err error) {
		l.host.Do(func() { fd, err = unix.Socket(family, kind, protocol) })
		return fd, err
	}}
}

func (l *lab) eventually(what string, cond func() bool) {
	l.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("%s: never", what)
		}
	}
}

// netOf names what package net is asked for.
func netOf(kind, addr string) string {
	if netip.MustParseAddrPort(addr).Addr().Is4() {
		return kind + "4"
	}
	return kind + "6"
}

// listen listens in a namespace.
func listen(t testing.TB, ns *porttest.NS, addr string) *net.TCPListener {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	var ln net.Listener
	var err error
	ns.Do(func() { ln, err = lc.Listen(context.Background(), netOf("tcp", addr), addr) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	return ln.(*net.TCPListener)
}

func addrOf(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	case *net.UDPAddr:
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	return netip.AddrPort{}
}

// dialFrom connects out of a namespace.
func dialFrom(t testing.TB, ns *porttest.NS, to string) *net.TCPConn {
	t.Helper()
	var c net.Conn
	var err error
	ns.Do(func() { c, err = net.DialTimeout(netOf("tcp", to), to, patience) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// udpIn opens a UDP socket in a namespace.
func udpIn(t testing.TB, ns *porttest.NS, addr string) *net.UDPConn {
	t.Helper()
	var c net.PacketConn
	var err error
	ns.Do(func() { c, err = net.ListenPacket(netOf("udp", addr), addr) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.UDPConn)
}

// guest is a host of the network, and the network: a Seat. What it does with frames:
// TCP and UDP go to a stack of its own, of all other protocols it keeps a copy.
type guest struct {
	t          testing.TB
	stack      *stack.Stack
	dispatcher stack.NetworkDispatcher
	out        chan sent
	done       chan struct{}
	loop       sync.WaitGroup
	supers     atomic.Int64 // frames from Sockets that stood for several segments
	deaf       atomic.Bool  // loses what comes
	mute       atomic.Bool  // loses what is sent
	headers    atomic.Bool  // sends each segment of IPv6 with an extension header

	mu    sync.Mutex
	icmp  [][]byte // IP packets
	parts reassembly
	all   func(*frame.Frame)
}

func newGuest(t testing.TB) *guest {
	g := &guest{t: t, out: make(chan sent, 8192), done: make(chan struct{})}
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	g.must(g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack))
	g.must(g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &moderate))
	g.must(g.stack.CreateNIC(nic, &guestLink{guest: g}))
	for _, a := range sides() {
		for _, ip := range []netip.Addr{a.guestAddr, a.otherGuest} {
			g.must(g.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
				Protocol: a.fam.network(), AddressWithPrefix: tcpip.AddressWithPrefix{Address: address(ip), PrefixLen: a.subnet.Bits()},
			}, stack.AddressProperties{}))
		}
	}
	g.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	return g
}

func (g *guest) must(err tcpip.Error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) serve(s *Sockets) {
	g.loop.Go(func() {
		for {
			select {
			case f := <-g.out:
				s.receive(f.frame, f.port)
			case <-g.done:
				return
			}
		}
	})
}

func (g *guest) stop() {
	g.stack.Destroy()
	close(g.done)
	g.loop.Wait()
}

// sent is a frame with the port of the switch that it comes in by.
type sent struct {
	frame *frame.Frame
	port  string
}

// send sends an IP packet, with what is still to be done to it.
func (g *guest) send(ip []byte, o frame.Offload) { g.sendBy("guest", ip, o) }

// sendBy is send by a port of the switch.
func (g *guest) sendBy(port string, ip []byte, o frame.Offload) {
	if g.mute.Load() {
		return
	}
	f := frameOf(ip)
	f.Offload = o
	select {
	case g.out <- sent{f, port}:
	default: // lost, as in any full queue
	}
}

// Inbox implements Seat: the lab has none.
func (g *guest) Inbox(dataplane.Service) *dataplane.Inbox { return nil }

// Resolve implements Seat.
func (g *guest) Resolve(frames []*frame.Frame) {
	if g.deaf.Load() {
		return
	}
	for _, f := range frames {
		g.take(f)
	}
}

func (g *guest) take(f *frame.Frame) {
	var p frame.Parsed
	p.Parse(f)
	switch {
	case !f.CheckOffload() || p.Layer < frame.LayerNetwork:
		g.t.Errorf("frame % x with %+v is damaged", f.Bytes(), f.Offload)
		return
	case f.SegmentLen()-frame.HeaderLen > 1500:
		g.t.Errorf("a packet of %d bytes", f.SegmentLen()-frame.HeaderLen)
	case !p.IsFragment() && !sound(f, &p):
		g.t.Errorf("a packet with wrong checksums: % x", f.Bytes())
	case p.IsFragment():
		g.checkParts(f, &p)
	}
	if f.Offload.IsSuper() {
		g.supers.Add(1)
	}
	ip := f.Bytes()[p.L3:p.End]
	fam := familyIn(ip)
	g.mu.Lock()
	if g.all != nil {
		g.all(f)
	}
	if p.Protocol == fam.icmp {
		g.icmp = append(g.icmp, append([]byte(nil), ip...))
	}
	g.mu.Unlock()
	if p.Protocol == fam.icmp {
		return
	}
	b := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(ip)})
	defer b.DecRef()
	g.dispatcher.DeliverNetworkPacket(fam.network(), b)
}

// checkParts checks a packet once all its fragments have come.
func (g *guest) checkParts(f *frame.Frame, p *frame.Parsed) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if whole := g.parts.add(f, p, "", 1); whole != nil {
		var p frame.Parsed
		if p.Parse(whole); !sound(whole, &p) {
			g.t.Errorf("a packet in fragments with wrong checksums: % x", whole.Bytes())
		}
	}
}

// nextICMP returns the next ICMP packet that the guest gets.
func (l *lab) nextICMP() []byte {
	l.t.Helper()
	var b []byte
	l.eventually("an ICMP message", func() bool {
		l.guest.mu.Lock()
		defer l.guest.mu.Unlock()
		if len(l.guest.icmp) > 0 {
			b, l.guest.icmp = l.guest.icmp[0], l.guest.icmp[1:]
		}
		return b != nil
	})
	return b
}

// dial connects from an address of the guest, without an error where that works.
func (g *guest) dial(to netip.AddrPort) (*gonet.TCPConn, tcpip.Endpoint, tcpip.Error) {
	return g.dialFrom(netip.AddrPortFrom(sides()[familyOf(to.Addr()).index].guestAddr, 0), to)
}

func (g *guest) dialFrom(from, to netip.AddrPort) (*gonet.TCPConn, tcpip.Endpoint, tcpip.Error) {
	wq := new(waiter.Queue)
	ep, err := g.stack.NewEndpoint(tcp.ProtocolNumber, familyOf(to.Addr()).network(), wq)
	if err != nil {
		return nil, nil, err
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	if err = ep.Bind(tcpip.FullAddress{NIC: nic, Addr: address(from.Addr()), Port: from.Port()}); err == nil {
		err = ep.Connect(tcpip.FullAddress{NIC: nic, Addr: address(to.Addr()), Port: to.Port()})
	}
	if _, started := err.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ready:
			err = ep.LastError()
		case <-time.After(patience):
			err = &tcpip.ErrTimeout{}
		}
	}
	if err != nil {
		ep.Close()
		return nil, nil, err
	}
	c := gonet.NewTCPConn(wq, ep)
	_ = c.SetDeadline(time.Now().Add(patience))
	return c, ep, nil
}

func (l *lab) dial(to netip.AddrPort) (*gonet.TCPConn, tcpip.Endpoint) {
	l.t.Helper()
	c, ep, err := l.guest.dial(to)
	if err != nil {
		l.t.Fatalf("connect to %s: %s", to, err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c, ep
}

// pair is a connection of the guest's and its other end in the world.
func (l *lab) pair() (*gonet.TCPConn, tcpip.Endpoint, *net.TCPConn) {
	l.t.Helper()
	ln := listen(l.t, l.world, at(l.worldIP, 0))
	c, ep := l.dial(addrOf(ln.Addr()))
	far, err := ln.AcceptTCP()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { far.Close() })
	_ = far.SetDeadline(time.Now().Add(patience))
	return c, ep, far
}

// routeFar has the host and the world think that the far network is behind the other.
func (l *lab) routeFar() {
	l.world.Sysctl(l.t, "net.ipv4.ip_forward", "1")
	l.world.Sysctl(l.t, "net.ipv6.conf.all.forwarding", "1")
	l.host.Run(l.t, "ip", "route", "add", l.farNet, "via", l.worldIP.String())
	l.world.Run(l.t, "ip", "route", "add", l.farNet, "via", l.hostIP.String())
}

// udp opens a port of the guest.
func (l *lab) udp(from netip.AddrPort) *gonet.UDPConn {
	l.t.Helper()
	c, err := gonet.DialUDP(l.guest.stack, &tcpip.FullAddress{NIC: nic, Addr: address(from.Addr()), Port: from.Port()}, nil, familyOf(from.Addr()).network())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// guestLink is the guest's interface.
type guestLink struct {
	link
	guest *guest
}

func (g *guestLink) Attach(d stack.NetworkDispatcher) {
	if d != nil {
		g.guest.dispatcher = d
	}
}

func (g *guestLink) MTU() uint32      { return 1500 }
func (g *guestLink) IsAttached() bool { return g.guest.dispatcher != nil }

func (g *guestLink) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	for _, p := range list.AsSlice() {
		var o outgoing
		o.fill(p)
		ip, offload := o.frame.Bytes()[frame.HeaderLen:], o.frame.Offload
		if g.guest.headers.Load() && familyIn(ip) == v6 {
			pad := options(1, 4, 0, 0, 0, 0)
			ip = extend(ip, []uint8{frame.ExtDestination}, pad)
			offload.CsumStart += uint16(len(pad))
			if offload.IsSuper() {
				offload.HdrLen += uint16(len(pad))
			}
		}
		g.guest.send(ip, offload)
	}
	return list.Len(), nil
}
