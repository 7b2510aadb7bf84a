package sockets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

var errPermission error = unix.EPERM

func publish(protocol uint8, listen, to string, keep bool) Publish {
	return Publish{Protocol: protocol, Listen: netip.MustParseAddrPort(listen), To: netip.MustParseAddrPort(to), KeepSource: keep}
}

// server listens in the guest.
func (l *lab) server(addr netip.Addr, port uint16) *gonet.TCPListener {
	l.t.Helper()
	ln, err := gonet.ListenTCP(l.guest.stack, tcpip.FullAddress{NIC: nic, Addr: address(addr), Port: port}, familyOf(addr).network())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { ln.Close() })
	return ln
}

// exchange sends something each way.
func exchange(t testing.TB, a, b net.Conn) {
	t.Helper()
	for _, way := range [2][2]net.Conn{{a, b}, {b, a}} {
		if _, err := way[0].Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(way[1], make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
}

// A client gets to the guest, who sees where it is, or the gateway, which it always does
// where the two are of different families.
func TestPublishTCP(t *testing.T) { crossing(t, testPublishTCP) }

func testPublishTCP(t *testing.T, a, in *side) {
	same := a.fam == in.fam
	l := newLab(t, a, func(c *Config) {
		c.Publish = []Publish{
			publish(frame.ProtoTCP, at(a.anywhere, 2200), at(in.guestAddr, 22), true),
			publish(frame.ProtoTCP, at(a.anywhere, 2201), at(in.guestAddr, 22), false),
			publish(frame.ProtoTCP, at(a.loopback, 2202), at(in.guestAddr, 22), true),
		}
	})
	ln := l.server(in.guestAddr, 22)
	for _, test := range []struct {
		ns    *porttest.NS
		keeps bool
		to    string
	}{
		{l.world, same, at(a.hostIP, 2200)}, {l.world, false, at(a.hostIP, 2201)},
		{l.host, false, at(a.hostIP, 2200)}, {l.host, false, at(a.loopback, 2200)}, {l.host, false, at(a.loopback, 2202)},
	} {
		far := dialFrom(t, test.ns, test.to)
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		seen := addrOf(c.RemoteAddr())
		switch {
		case test.keeps && seen != addrOf(far.LocalAddr()):
			t.Errorf("%s: the guest sees %s, want %s", test.to, seen, far.LocalAddr())
		case !test.keeps && (seen.Addr() != in.gatewayIP || seen.Port() < dataplane.RelayFirst):
			t.Errorf("%s: the guest sees %s, want the gateway", test.to, seen)
		}
		exchange(t, c, far)
		if l.s.table.relays.Has(frame.ProtoTCP, seen.Port()) == test.keeps {
			t.Errorf("%s: the guest's answers to %s do not come to us, or another's do", test.to, seen)
		}
		v := l.s.Flows()
		if len(v) != 1 || !v[0].FromOutside || v[0].Remote != addrOf(far.LocalAddr()) || v[0].Seen != seen || v[0].Local.String() != test.to || v[0].Guest.String() != at(in.guestAddr, 22) {
			t.Errorf("flows %+v", v)
		}
		far.Close()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the guest reads %v", err)
		}
		c.Close()
		l.eventually("the flow is over", func() bool { return len(l.s.Flows()) == 0 })
	}
	l.s.table.mu.Lock()
	defer l.s.table.mu.Unlock()
	if l.s.table.relays.HasAny(frame.ProtoTCP) {
		t.Error("ports of the gateway are left")
	}
}

// A port of both families is two sockets: one of [::] is for IPv6 only.
func TestListenOneFamily(t *testing.T) { both(t, testListenOneFamily) }

func testListenOneFamily(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		for _, protocol := range []uint8{frame.ProtoTCP, frame.ProtoUDP} {
			for _, a := range sides() {
				c.Publish = append(c.Publish, publish(protocol, at(a.anywhere, 2200), at(a.guestAddr, 22), true))
			}
		}
	})
	ln := l.server(a.guestAddr, 22)
	far := dialFrom(t, l.world, at(a.hostIP, 2200))
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = in.SetDeadline(time.Now().Add(patience))
	exchange(t, far, in)
	cfg := l.cfg
	cfg.Publish = []Publish{publish(frame.ProtoTCP, at(a.hostIP, 2200), at(a.guestAddr, 22), true)}
	for _, other := range sides() {
		if other.fam != a.fam { // which stays as it is, while the other one gets narrower
			cfg.Publish = append(cfg.Publish, publish(frame.ProtoTCP, at(other.anywhere, 2200), at(other.guestAddr, 22), true))
		}
	}
	if err := l.s.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(l.listening(), "tcp"); n != 2 {
		t.Errorf("listening at %s", l.listening())
	}
	in.Close()
}

// A client whose guest refuses is refused; a guest cannot be entered by the relay's
// ports from inside.
func TestPublishRefused(t *testing.T) { both(t, testPublishRefused) }

func testPublishRefused(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoTCP, at(a.anywhere, 2200), at(a.guestAddr, 23), true)}
	})
	var far net.Conn
	var err error
	l.world.Do(func() { far, err = net.DialTimeout("tcp", at(a.hostIP, 2200), patience) })
	if err == nil { // the reset has not come yet
		defer far.Close()
		_ = far.SetDeadline(time.Now().Add(patience))
		_, err = far.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the client gets %v, want a reset", err)
	}
	l.eventually("the flow is over", func() bool { return len(l.s.Flows()) == 0 })
	_, _, refusal := l.guest.dial(netip.AddrPortFrom(a.gatewayIP, dataplane.RelayFirst))
	if _, ok := refusal.(*tcpip.ErrConnectionRefused); !ok {
		t.Errorf("connect to the relay: %v", refusal)
	}
}

// One guest reaches another's published port by this machine's address.
func TestPublishHairpin(t *testing.T) { both(t, testPublishHairpin) }

func testPublishHairpin(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoTCP, at(a.anywhere, 2200), at(a.guestAddr, 22), true)}
		c.Local = func(to netip.Addr) bool { return to == a.hostIP }
		c.Allowed = func(to netip.Addr) bool { return to != a.hostIP }
	})
	ln := l.server(a.guestAddr, 22)
	c, _ := l.dial(netip.AddrPortFrom(a.hostIP, 2200))
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = in.SetDeadline(time.Now().Add(patience))
	exchange(t, c, in)
	if seen := addrOf(in.RemoteAddr()); seen.Addr() != a.gatewayIP {
		t.Errorf("seen from %s", seen)
	}
	in.Close()
	// And nothing else of this machine, whoever listens there.
	listen(t, l.host, at(a.hostIP, 2201))
	udpIn(t, l.host, at(a.hostIP, 2200))
	guest, to := netip.AddrPortFrom(a.guestAddr, 7), netip.AddrPortFrom(a.hostIP, 2200)
	for _, port := range []uint16{2201, 2199} {
		to := netip.AddrPortFrom(a.hostIP, port)
		l.guest.send(synPacket(a.guestAddr, to, 7), frame.Offload{})
		errorAbout(t, l.nextICMP(), prohibited, a.gatewayIP, frame.ProtoTCP, guest, to)
	}
	l.guest.send(udpPacket(a.guestAddr, to, 7, nil), frame.Offload{})
	errorAbout(t, l.nextICMP(), prohibited, a.gatewayIP, frame.ProtoUDP, guest, to)
	l.guest.send(echoPacket(a.guestAddr, a.hostIP, 7, 1, nil), frame.Offload{})
	errorAbout(t, l.nextICMP(), prohibited, a.gatewayIP, a.fam.icmp, guest, netip.AddrPortFrom(a.hostIP, 0))
}

// The same for UDP: clients are told apart, are answered from the address that they
// have asked, and what the guest sends itself leaves by the same port.
func TestPublishUDP(t *testing.T) {
	for _, keep := range []bool{true, false} {
		crossing(t, func(t *testing.T, a, in *side) { testPublishUDP(t, a, in, keep) })
	}
}

func testPublishUDP(t *testing.T, a, in *side, keep bool) {
	l := newLab(t, a, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoUDP, at(a.anywhere, 5300), at(in.guestAddr, 53), keep)}
	})
	keep = keep && a.fam == in.fam
	l.host.Addr(t, "eth0", netip.PrefixFrom(a.hostIP2, a.link.Bits()).String())
	server := l.udp(netip.AddrPortFrom(in.guestAddr, 53))
	one, two := udpIn(t, l.world, at(a.worldIP, 0)), udpIn(t, l.world, at(a.worldIP2, 0))
	seen := map[netip.AddrPort]bool{}
	for i, client := range []*net.UDPConn{one, two, one, two} {
		to := netip.AddrPortFrom(a.hostIP2, 5300)
		if _, err := client.WriteToUDPAddrPort([]byte{byte(i)}, to); err != nil {
			t.Fatal(err)
		}
		got, from := receiveUDP(t, server)
		if len(got) != 1 || got[0] != byte(i) {
			t.Fatalf("received % x", got)
		}
		if local := addrOf(client.LocalAddr()); keep && from != local || !keep && (from.Addr() != in.gatewayIP || from.Port() < dataplane.RelayFirst) {
			t.Errorf("keep %v: the guest sees %s for %s", keep, from, local)
		}
		seen[from] = true
		if _, err := server.WriteTo([]byte{byte(10 + i)}, net4(from)); err != nil {
			t.Fatal(err)
		}
		if got, from := receiveUDP(t, client); got[0] != byte(10+i) || from != to {
			t.Errorf("keep %v: the client gets % x from %s, want it from %s", keep, got, from, to)
		}
	}
	if len(seen) != 2 {
		t.Errorf("two clients are seen as %v", seen)
	}
	other := udpIn(t, l.world, at(in.worldIP2, 0))
	if _, err := server.WriteTo([]byte("mine"), net4(addrOf(other.LocalAddr()))); err != nil {
		t.Fatal(err)
	}
	if _, from := receiveUDP(t, other); (from.Port() == 5300) != (a.fam == in.fam) || from.Addr() != in.hostIP && from.Addr() != in.hostIP2 {
		t.Errorf("what the guest sends comes from %s", from)
	}
	if a.fam != in.fam {
		testCrossingErrors(t, l, in, one, server)
	}
}

// testCrossingErrors has a client of the other family go: what its machine says about
// that the guest hears in words of its own family, and by the name that it knows. It also
// has long datagrams cross, which one family carries and the other does not.
func testCrossingErrors(t *testing.T, l *lab, in *side, client *net.UDPConn, server *gonet.UDPConn) {
	to := netip.AddrPortFrom(l.hostIP2, 5300)
	data := content(5, 5000)
	if _, err := client.WriteToUDPAddrPort(data, to); err != nil {
		t.Fatal(err)
	}
	got, from := receiveUDP(t, server)
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes have come", len(got))
	}
	if _, err := server.WriteTo(data, net4(from)); err != nil {
		t.Fatal(err)
	}
	if got, _ := receiveUDP(t, client); !bytes.Equal(got, data) {
		t.Errorf("%d bytes have come back", len(got))
	}
	if in.fam == v4 { // what is longer than the guest's family can carry is lost
		for _, n := range []int{v6.mostInDatagram, 1} {
			if _, err := client.WriteToUDPAddrPort(make([]byte, n), to); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := receiveUDP(t, server); len(got) != 1 {
			t.Errorf("%d bytes have come", len(got))
		}
		for _, f := range l.s.Flows() {
			if f.Seen == from && f.Bytes > uint64(v6.mostInDatagram) {
				t.Errorf("flow %+v counts what was lost", f)
			}
		}
	}
	guest := netip.AddrPortFrom(in.guestAddr, 53)
	l.host.MTU(t, "eth0", 1300)
	l.guest.send(whole(udpPacket(in.guestAddr, from, 53, make([]byte, 1400))), frame.Offload{})
	b := l.nextICMP()
	errorAbout(t, b, tooBig, in.gatewayIP, frame.ProtoUDP, guest, from)
	if mtu, want := binary.BigEndian.Uint32(l4(b)[4:]), uint32(1300+in.fam.header-l.fam.header); mtu != want {
		t.Errorf("the path's MTU is said to be %d, want %d", mtu, want)
	}
	if in.fam == v6 { // what is so short that a guest need not make it shorter may be cut
		l.host.MTU(t, "eth0", 1000)
		l.guest.send(udpPacket(in.guestAddr, from, 53, make([]byte, 1200)), frame.Offload{})
		if got, _ := receiveUDP(t, client); len(got) != 1200 {
			t.Errorf("%d bytes have come back", len(got))
		}
	}
	client.Close()
	if _, err := server.WriteTo([]byte("x"), net4(from)); err != nil {
		t.Fatal(err)
	}
	errorAbout(t, l.nextICMP(), noPort, in.gatewayIP, frame.ProtoUDP, guest, from)
}

// What cannot be opened is said, and nothing has changed.
func TestListenErrors(t *testing.T) { both(t, testListenErrors) }

func testListenErrors(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoTCP, at(a.anywhere, 2200), at(a.guestAddr, 22), true), publish(frame.ProtoUDP, at(a.anywhere, 2300), at(a.guestAddr, 23), true)}
	})
	listen(t, l.host, at(a.anywhere, 2205))
	udpIn(t, l.host, at(a.loopback, 2205))
	before := l.listening()
	for _, test := range []struct {
		publish Publish
		want    string
	}{
		{publish(frame.ProtoTCP, at(a.anywhere, 2205), at(a.guestAddr, 22), true), "publish tcp " + at(a.anywhere, 2205) + ": address already in use: end the program"},
		{Publish{frame.ProtoTCP, netip.MustParseAddrPort(at(a.anywhere, 2203)), 5, netip.MustParseAddrPort(at(a.guestAddr, 1)), true}, "publish tcp " + at(a.anywhere, 2205) + ": address already in use"},
		{publish(frame.ProtoUDP, at(a.anywhere, 2205), at(a.guestAddr, 22), true), "publish udp " + at(a.anywhere, 2205) + ": address already in use"},
		{publish(frame.ProtoTCP, at(last(a.link, 77), 80), at(a.guestAddr, 22), true), "publish tcp " + at(last(a.link, 77), 80) + ": cannot assign requested address: give this machine"},
		{publish(47, at(a.anywhere, 1), at(a.guestAddr, 22), true), "protocol 47 has no ports"},
		{Publish{Protocol: frame.ProtoTCP, Listen: netip.MustParseAddrPort(at(a.anywhere, 65530)), Count: 7, To: netip.MustParseAddrPort(at(a.guestAddr, 1))}, "within 1-65535"},
		{publish(frame.ProtoTCP, "[::ffff:127.0.0.1]:80", at(a.guestAddr, 22), true), "nor IPv4-mapped"},
		{publish(frame.ProtoTCP, "[fe80::1]:80", at(a.guestAddr, 22), true), "neither link-local"},
		{publish(frame.ProtoTCP, at(a.anywhere, 80), "[fe80::1]:80", true), "neither link-local"},
		{publish(frame.ProtoTCP, at(a.anywhere, 80), at(a.anywhere, 80), true), "neither link-local"},
		{publish(frame.ProtoTCP, at(a.anywhere, 2200), at(a.guestAddr, 22), true), "published twice"},
	} {
		cfg := l.cfg
		cfg.Publish = append([]Publish{publish(frame.ProtoTCP, at(a.anywhere, 2200), at(a.otherGuest, 22), true), publish(frame.ProtoTCP, at(a.loopback, 2300), at(a.otherGuest, 22), true)}, test.publish)
		err := l.s.Reconfigure(cfg)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: error %v, want %q", test.publish, err, test.want)
		}
		if now := l.listening(); now != before {
			t.Errorf("%v: listening at %s, before at %s", test.publish, now, before)
		}
	}
	if to := l.s.listeners[listenKey{frame.ProtoTCP, netip.MustParseAddrPort(at(a.anywhere, 2200))}].target().to; to.String() != at(a.guestAddr, 22) {
		t.Errorf("it leads to %s", to)
	}
	cfg := l.cfg
	cfg.Env.Socket = func(int, int, int) (int, error) { return -1, unix.EMFILE }
	cfg.Publish = []Publish{publish(frame.ProtoTCP, at(a.anywhere, 2210), at(a.guestAddr, 22), true)}
	if _, err := New(l.guest, cfg, l.s.log); err == nil || !strings.Contains(err.Error(), "raise the limit of open files") {
		t.Errorf("New: %v", err)
	}
}

func (l *lab) listening() string {
	return l.host.Run(l.t, "sh", "-c", "ss -Hlntu | awk '{print $1,$5}' | sort")
}

// Ports come and go while a transfer runs, which is not disturbed; an address is
// narrowed at the same port.
func TestReconfigure(t *testing.T) { both(t, testReconfigure) }

func testReconfigure(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoTCP, at(a.anywhere, 2200), at(a.guestAddr, 22), true)}
	})
	ln := l.server(a.guestAddr, 22)
	c, _, far := l.pair()
	pub := dialFrom(t, l.world, at(a.hostIP, 2200))
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = in.SetDeadline(time.Now().Add(patience))
	stop, data := make(chan struct{}), make([]byte, 32<<10)
	var sent, got int64
	var all sync.WaitGroup
	all.Go(func() {
		for {
			n, err := c.Write(data)
			if sent += int64(n); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-stop:
				_ = c.CloseWrite()
				return
			default:
			}
		}
	})
	all.Go(func() { got, _ = io.Copy(io.Discard, far) })
	for i := range 20 {
		cfg := l.cfg
		cfg.Publish = []Publish{publish(frame.ProtoTCP, at(a.hostIP, 2200), at(a.guestAddr, 22), true), publish(frame.ProtoUDP, at(a.anywhere, uint16(3000+i)), at(a.guestAddr, 53), true)}
		if i%2 == 1 {
			cfg.Publish = l.cfg.Publish
		}
		if err := l.s.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		want := len(cfg.Publish)
		if n := len(strings.Split(strings.TrimSpace(l.listening()), "\n")); n != want {
			t.Fatalf("%d sockets listen, want %d: %s", n, want, l.listening())
		}
		exchange(t, pub, in)
	}
	close(stop)
	all.Wait()
	if sent != got || sent == 0 {
		t.Errorf("%d bytes sent, %d received", sent, got)
	}
	cfg := l.cfg
	cfg.Publish = nil
	cfg.Allowed = func(netip.Addr) bool { return false } // which is about guests, not their clients
	if err := l.s.Reconfigure(cfg); err != nil || strings.TrimSpace(l.listening()) != "" {
		t.Errorf("%v: %s still listens", err, l.listening())
	}
	exchange(t, pub, in)
	in.Close()
}

// A UDP port that leads elsewhere from now on does so for the clients that it has, too.
func TestRetarget(t *testing.T) { both(t, testRetarget) }

func testRetarget(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoUDP, at(a.anywhere, 5300), at(a.guestAddr, 53), true)}
	})
	one, two := l.udp(netip.AddrPortFrom(a.guestAddr, 53)), l.udp(netip.AddrPortFrom(a.otherGuest, 54))
	client := udpIn(t, l.world, at(a.worldIP, 0))
	for i, server := range []net.PacketConn{one, two, one} {
		cfg := l.cfg
		cfg.Publish = []Publish{publish(frame.ProtoUDP, at(a.anywhere, 5300), []string{at(a.guestAddr, 53), at(a.otherGuest, 54)}[i%2], true)}
		if err := l.s.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := client.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort(at(a.hostIP, 5300))); err != nil {
			t.Fatal(err)
		}
		_, from := receiveUDP(t, server)
		if _, err := server.WriteTo([]byte("y"), net4(from)); err != nil {
			t.Fatal(err)
		}
		if _, from := receiveUDP(t, client); from.Port() != 5300 {
			t.Errorf("answered from %s", from)
		}
	}
}

// Close ends what runs, in whatever state it is, and leaves nothing.
func TestClose(t *testing.T) { both(t, testClose) }

func testClose(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoTCP, at(a.anywhere, 2200), at(a.guestAddr, 22), true), publish(frame.ProtoUDP, at(a.anywhere, 2200), at(a.guestAddr, 22), true)}
	})
	c, _, far := l.pair()
	go func() { _, _ = io.Copy(far, far) }()
	go func() { _, _ = c.Write(make([]byte, 64<<20)) }()
	other := udpIn(t, l.world, at(a.worldIP, 0))
	u := l.udp(netip.AddrPortFrom(a.guestAddr, 5000))
	_, _ = u.WriteTo([]byte("x"), net4(addrOf(other.LocalAddr())))
	receiveUDP(t, other)
	ln := listen(t, l.world, at(a.worldIP, 0))
	l.guest.deaf.Store(true) // so that handshakes do not end
	for i := range 50 {
		l.guest.send(synPacket(a.guestAddr, addrOf(ln.Addr()), uint16(1000+i)), frame.Offload{})
	}
	client := dialFrom(t, l.world, at(a.hostIP, 2200))
	l.eventually("handshakes begin", func() bool {
		n := 0
		for _, f := range l.s.Flows() {
			if f.State == "syn-received" {
				n++
			}
		}
		return n > 40
	})
	l.s.Close()
	l.s.Close()
	if v := l.s.Flows(); len(v) != 0 {
		t.Errorf("flows %+v", v)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the client is still connected")
	}
	if err := l.s.Reconfigure(l.cfg); err == nil {
		t.Error("a closed one listens")
	}
	if got := strings.TrimSpace(l.listening()); got != "" {
		t.Errorf("still listening at %s", got)
	}
}
