package sockets

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// refusals checks that whatever a guest sends is refused as by a network that is not
// there, at once.
func refusals(t *testing.T, l *lab, a *side) {
	t.Helper()
	guest, to := netip.AddrPortFrom(a.guestAddr, 7), netip.AddrPortFrom(a.worldIP, 80)
	l.guest.send(synPacket(a.guestAddr, to, 7), frame.Offload{})
	errorAbout(t, l.nextICMP(), noNetwork, a.gatewayIP, frame.ProtoTCP, guest, to)
	l.guest.send(udpPacket(a.guestAddr, to, 7, nil), frame.Offload{})
	errorAbout(t, l.nextICMP(), noNetwork, a.gatewayIP, frame.ProtoUDP, guest, to)
	l.guest.send(echoPacket(a.guestAddr, a.worldIP, 7, 1, nil), frame.Offload{})
	errorAbout(t, l.nextICMP(), noNetwork, a.gatewayIP, a.fam.icmp, guest, netip.AddrPortFrom(a.worldIP, 0))
	if n := l.s.Stats().Refused[NoSocket]; n != 0 {
		t.Errorf("%d sockets are said to be missing", n)
	}
	if err := l.s.Echo(); err != nil {
		t.Error(err)
	}
}

// A machine whose kernel has one family only refuses the other one at once, so that
// guests try the next address (RFC 8305), and the first one works.
func TestNoFamily(t *testing.T) { both(t, testNoFamily) }

func testNoFamily(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		socket := c.Env.Socket
		c.Env.Socket = func(family, kind, protocol int) (int, error) {
			if family == a.fam.domain {
				return -1, unix.EAFNOSUPPORT
			}
			return socket(family, kind, protocol)
		}
	})
	refusals(t, l, a)
	cfg := l.cfg
	cfg.Publish = []Publish{publish(frame.ProtoTCP, at(a.anywhere, 2200), at(a.guestAddr, 22), true)}
	if err := l.s.Reconfigure(cfg); err == nil || !strings.Contains(err.Error(), "this machine has no "+a.fam.name) {
		t.Errorf("listen: %v", err)
	}
	for _, other := range sides() {
		if other.fam != a.fam {
			l.side = other
			c, _, far := l.pair()
			exchange(t, c, far)
		}
	}
}

// The same where IPv6 is there but switched off.
func TestSwitchedOff(t *testing.T) {
	a := sides()[v6.index]
	l := newLab(t, a)
	l.host.Quiet(t)
	refusals(t, l, a)
}

// Where too many errors have been told already the guest hears by a reset.
func TestRefusedAtOnce(t *testing.T) { both(t, testRefusedAtOnce) }

func testRefusedAtOnce(t *testing.T, a *side) {
	l := newLab(t, a)
	for range errorRate {
		l.s.errors.take(l.s.now.Load())
	}
	l.s.errors.second = 1 << 40 // that second does not pass
	l.s.now.Store(1 << 40)
	_, _, err := l.guest.dial(netip.AddrPortFrom(a.far, 80))
	if _, ok := err.(*tcpip.ErrConnectionRefused); !ok {
		t.Errorf("connect: %v, want a reset", err)
	}
}

// A network may have one family only, and then does not publish for the other one.
func TestOneFamily(t *testing.T) { both(t, testOneFamily) }

func testOneFamily(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		if a.fam == v4 {
			c.Address6, c.MTU = nil, 1000 // which IPv6 has no links for
		} else {
			c.Address = netip.Prefix{}
		}
	})
	c, _, far := l.pair()
	exchange(t, c, far)
	for _, other := range sides() {
		if other.fam == a.fam {
			continue
		}
		cfg := l.cfg
		cfg.Publish = []Publish{publish(frame.ProtoTCP, at(a.anywhere, 2200), at(other.guestAddr, 22), true)}
		if err := l.s.Reconfigure(cfg); err == nil || !strings.Contains(err.Error(), "the network has no address of "+other.fam.name) {
			t.Errorf("publish: %v", err)
		}
		for _, ip := range [][]byte{
			udpPacket(other.guestAddr, netip.AddrPortFrom(other.worldIP, 9), 7, nil), synPacket(other.guestAddr, netip.AddrPortFrom(other.worldIP, 9), 7),
		} {
			l.guest.send(ip, frame.Offload{})
		}
		l.eventually("they are dropped", func() bool { return l.s.Stats().Bad == 2 })
	}
}

// Peers are seen as the address of the gateway's that is in the guest's own subnet.
func TestFacing(t *testing.T) {
	cfg := Config{MAC: gatewayMAC, Address: netip.MustParsePrefix("10.0.0.1/24")}
	for _, text := range []string{"fd00:a::1/64", "2001:db8:1::1/64"} {
		cfg.Address6 = append(cfg.Address6, netip.MustParsePrefix(text))
	}
	g := cfg.gateway()
	for guest, want := range map[string]string{
		"10.0.0.5": "10.0.0.1", "10.9.0.5": "10.0.0.1", "fd00:a::5": "fd00:a::1", "2001:db8:1::5": "2001:db8:1::1", "2001:db8:7::5": "fd00:a::1",
	} {
		if got := g.facing(netip.MustParseAddr(guest)); got.String() != want {
			t.Errorf("%s knows the gateway as %s, want %s", guest, got, want)
		}
	}
	for text, is := range map[string]bool{"10.0.0.1": true, "2001:db8:1::1": true, "fe80::ff:fe00:fe": true, "fe80::1": false, "10.0.0.2": false} {
		if g.is(netip.MustParseAddr(text)) != is {
			t.Errorf("%s is the gateway's: %v", text, !is)
		}
	}
	cfg.Address6 = nil
	if g := cfg.gateway(); g.is(netip.MustParseAddr("fe80::ff:fe00:fe")) || g.facing(netip.MustParseAddr("fd00:a::5")).IsValid() || g.is(netip.Addr{}) {
		t.Errorf("a gateway of IPv4 has %+v", g)
	}
}

// The gateway's own ports that stand for nobody are closed, also by its link-local name.
func TestGatewayPorts(t *testing.T) { both(t, testGatewayPorts) }

func testGatewayPorts(t *testing.T, a *side) {
	l := newLab(t, a)
	names := map[netip.Addr]netip.Addr{a.gatewayIP: a.guestAddr}
	if a.fam == v6 {
		names[ndp.LinkLocal(gatewayMAC)] = netip.MustParseAddr("fe80::5")
	}
	for name, guest := range names {
		to := netip.AddrPortFrom(name, 61000)
		l.guest.send(udpPacket(guest, to, 7, nil), frame.Offload{})
		errorAbout(t, l.nextICMP(), noPort, a.gatewayIP, frame.ProtoUDP, netip.AddrPortFrom(guest, 7), to)
	}
	_, _, err := l.guest.dial(netip.AddrPortFrom(a.gatewayIP, 61000))
	if _, ok := err.(*tcpip.ErrConnectionRefused); !ok {
		t.Errorf("connect: %v", err)
	}
}

// Segments get shorter where a router behind a guest says so, but not shorter than any
// link is.
func TestTooBigBehindGuest(t *testing.T) {
	a := sides()[v6.index]
	l := newLab(t, a)
	c, _, far := l.pair()
	exchange(t, c, far)
	longest := 0
	l.guest.mu.Lock()
	l.guest.all = func(f *frame.Frame) { longest = max(longest, f.SegmentLen()-frame.HeaderLen) }
	l.guest.mu.Unlock()
	for _, test := range []struct{ mtu, want int }{{0, 1500}, {600, 1500}, {1400, 1400}, {1279, 1400}, {1280, 1280}} {
		quoted := synPacket(a.worldIP, addrOf(c.LocalAddr()), addrOf(c.RemoteAddr()).Port())
		message := append(make([]byte, icmpLen), quoted...)
		message[0] = icmp6TooBig
		binary.BigEndian.PutUint32(message[4:], uint32(test.mtu))
		l.guest.send(icmpPacket(last(a.subnet, 77), a.worldIP, message), frame.Offload{})
		exchange(t, c, far) // after which it has been read
		l.guest.mu.Lock()
		longest = 0
		l.guest.mu.Unlock()
		data := content(1, 1<<20)
		go func() { _, _ = far.Write(data) }()
		if _, err := readFull(c, len(data)); err != nil {
			t.Fatal(err)
		}
		l.guest.mu.Lock()
		if longest > test.want || longest < test.want-40 { // gVisor leaves room for options
			t.Errorf("after %d: segments of %d bytes, want %d", test.mtu, longest, test.want)
		}
		l.guest.mu.Unlock()
	}
}

func readFull(c net.Conn, n int) (int, error) {
	got, b := 0, make([]byte, 64<<10)
	for got < n {
		m, err := c.Read(b)
		if got += m; err != nil {
			return got, err
		}
	}
	return got, nil
}

// A client on a link of the host, with an address of that link only, is served, and the
// guest sees the gateway.
func TestLinkLocalClient(t *testing.T) {
	a := sides()[v6.index]
	l := newLab(t, a, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoTCP, at(a.anywhere, 2200), at(a.guestAddr, 22), true), publish(frame.ProtoUDP, at(a.anywhere, 2200), at(a.guestAddr, 22), true)}
	})
	linkLocal := func(ns *porttest.NS) netip.Addr {
		return ndp.LinkLocal(frame.MAC(ns.Link(t, "eth0").Attrs().HardwareAddr)).WithZone("eth0")
	}
	to, own := at(linkLocal(l.host), 2200), at(linkLocal(l.world), 0)
	ln, server := l.server(a.guestAddr, 22), l.udp(netip.AddrPortFrom(a.guestAddr, 22))
	var client net.Conn
	l.eventually("the links have their addresses", func() bool { // once nobody else has claimed them (RFC 4862 clause 5.4)
		var err error
		l.world.Do(func() {
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(own)), Timeout: patience}
			client, err = d.Dial("tcp6", to)
		})
		return err == nil
	})
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(patience))
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	_ = in.SetDeadline(time.Now().Add(patience))
	exchange(t, client, in)
	if seen := addrOf(in.RemoteAddr()); seen.Addr() != a.gatewayIP {
		t.Errorf("the guest sees %s", seen)
	}
	var u net.Conn
	l.world.Do(func() {
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(own))}
		u, err = d.Dial("udp6", to)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	_ = u.SetDeadline(time.Now().Add(patience))
	if _, err := u.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_, from := receiveUDP(t, server)
	if _, err := server.WriteTo([]byte("y"), net4(from)); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Read(make([]byte, 1)); err != nil {
		t.Errorf("no answer: %v", err)
	}
	if from.Addr() != a.gatewayIP {
		t.Errorf("the guest sees %s", from)
	}
	for _, f := range l.s.Flows() {
		if f.Remote.Addr().Zone() == "" {
			t.Errorf("flow %+v has no zone", f)
		}
	}
}
