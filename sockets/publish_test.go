package sockets

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

var errPermission error = unix.EPERM

func publish(protocol uint8, listen, to string, keep bool) Publish {
	return Publish{Protocol: protocol, Listen: netip.MustParseAddrPort(listen), To: netip.MustParseAddrPort(to), KeepSource: keep}
}

// server listens in the guest.
func (l *lab) server(port uint16) *gonet.TCPListener {
	l.t.Helper()
	ln, err := gonet.ListenTCP(l.guest.stack, tcpip.FullAddress{NIC: nic, Addr: address(guestAddr), Port: port}, ipv4.ProtocolNumber)
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

// A client gets to the guest, who sees where it is, or the gateway.
func TestPublishTCP(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Publish = []Publish{
			publish(frame.ProtoTCP, "0.0.0.0:2200", "10.0.0.5:22", true),
			publish(frame.ProtoTCP, "0.0.0.0:2201", "10.0.0.5:22", false),
			publish(frame.ProtoTCP, "127.0.0.1:2202", "10.0.0.5:22", true),
		}
	})
	ln := l.server(22)
	for _, test := range []struct {
		world, keeps bool
		to           string
	}{
		{true, true, "198.51.100.1:2200"}, {true, false, "198.51.100.1:2201"},
		{false, false, "198.51.100.1:2200"}, {false, false, "127.0.0.1:2200"}, {false, false, "127.0.0.1:2202"},
	} {
		ns := l.host
		if test.world {
			ns = l.world
		}
		far := dialFrom(t, ns, test.to)
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		seen := addrOf(c.RemoteAddr())
		switch {
		case test.keeps && seen != addrOf(far.LocalAddr()):
			t.Errorf("%s: the guest sees %s, want %s", test.to, seen, far.LocalAddr())
		case !test.keeps && (seen.Addr() != gatewayIP || seen.Port() < dataplane.RelayFirst):
			t.Errorf("%s: the guest sees %s, want the gateway", test.to, seen)
		}
		exchange(t, c, far)
		if l.s.table.relays.Has(frame.ProtoTCP, seen.Port()) == test.keeps {
			t.Errorf("%s: the guest's answers to %s do not come to us, or another's do", test.to, seen)
		}
		v := l.s.Flows()
		if len(v) != 1 || !v[0].FromOutside || v[0].Remote != addrOf(far.LocalAddr()) || v[0].Seen != seen || v[0].Local.String() != test.to || v[0].Guest.String() != "10.0.0.5:22" {
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

// A client whose guest refuses is refused; a guest cannot be entered by the relay's
// ports from inside.
func TestPublishRefused(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoTCP, "0.0.0.0:2200", "10.0.0.5:23", true)}
	})
	var far net.Conn
	var err error
	l.world.Do(func() { far, err = net.DialTimeout("tcp4", "198.51.100.1:2200", patience) })
	if err == nil { // the reset has not come yet
		defer far.Close()
		_ = far.SetDeadline(time.Now().Add(patience))
		_, err = far.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the client gets %v, want a reset", err)
	}
	l.eventually("the flow is over", func() bool { return len(l.s.Flows()) == 0 })
	_, _, refusal := l.guest.dial(netip.AddrPortFrom(gatewayIP, dataplane.RelayFirst))
	if _, ok := refusal.(*tcpip.ErrConnectionRefused); !ok {
		t.Errorf("connect to the relay: %v", refusal)
	}
}

// One guest reaches another's published port by this machine's address.
func TestPublishHairpin(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoTCP, "0.0.0.0:2200", "10.0.0.5:22", true)}
		c.Local = func(a netip.Addr) bool { return a == hostIP }
		c.Allowed = func(a netip.Addr) bool { return a != hostIP }
	})
	ln := l.server(22)
	c, _ := l.dial(netip.AddrPortFrom(hostIP, 2200))
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = in.SetDeadline(time.Now().Add(patience))
	exchange(t, c, in)
	if seen := addrOf(in.RemoteAddr()); seen.Addr() != gatewayIP {
		t.Errorf("seen from %s", seen)
	}
	in.Close()
	// And nothing else of this machine, whoever listens there.
	listen(t, l.host, "198.51.100.1:2201")
	udpIn(t, l.host, "198.51.100.1:2200")
	for _, ip := range [][]byte{
		synPacket(guestAddr, netip.AddrPortFrom(hostIP, 2201), 7), synPacket(guestAddr, netip.AddrPortFrom(hostIP, 2199), 7),
		udpPacket(guestAddr, netip.AddrPortFrom(hostIP, 2200), 7, nil), echoPacket(guestAddr, hostIP, 7, 1, nil),
	} {
		l.guest.send(ip, frame.Offload{})
		errorAbout(t, l.nextICMP(), 3, 13, gatewayIP, ip[9], hostIP, [4]byte(ip[ipLen:]))
	}
}

// The same for UDP: clients are told apart, are answered from the address that they
// have asked, and what the guest sends itself leaves by the same port.
func TestPublishUDP(t *testing.T) {
	for _, keep := range []bool{true, false} {
		l := newLab(t, func(c *Config) {
			c.Publish = []Publish{publish(frame.ProtoUDP, "0.0.0.0:5300", "10.0.0.5:53", keep)}
		})
		l.host.Addr(t, "eth0", "198.51.100.9/24")
		server := l.udp(netip.AddrPortFrom(guestAddr, 53))
		a, b := udpIn(t, l.world, "198.51.100.2:0"), udpIn(t, l.world, "198.51.100.3:0")
		seen := map[netip.AddrPort]bool{}
		for i, client := range []*net.UDPConn{a, b, a, b} {
			to := netip.MustParseAddrPort("198.51.100.9:5300")
			if _, err := client.WriteToUDPAddrPort([]byte{byte(i)}, to); err != nil {
				t.Fatal(err)
			}
			got, from := receiveUDP(t, server)
			if len(got) != 1 || got[0] != byte(i) {
				t.Fatalf("received % x", got)
			}
			if local := addrOf(client.LocalAddr()); keep && from != local || !keep && (from.Addr() != gatewayIP || from.Port() < dataplane.RelayFirst) {
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
		other := udpIn(t, l.world, "198.51.100.3:0")
		if _, err := server.WriteTo([]byte("mine"), net4(addrOf(other.LocalAddr()))); err != nil {
			t.Fatal(err)
		}
		if _, from := receiveUDP(t, other); from.Port() != 5300 {
			t.Errorf("what the guest sends comes from %s", from)
		}
	}
}

// What cannot be opened is said, and nothing has changed.
func TestListenErrors(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoTCP, "0.0.0.0:2200", "10.0.0.5:22", true), publish(frame.ProtoUDP, "0.0.0.0:2300", "10.0.0.5:23", true)}
	})
	listen(t, l.host, "0.0.0.0:2205")
	udpIn(t, l.host, "127.0.0.1:2205")
	before := l.listening()
	for _, test := range []struct {
		publish Publish
		want    string
	}{
		{publish(frame.ProtoTCP, "0.0.0.0:2205", "10.0.0.5:22", true), "publish tcp 0.0.0.0:2205: address already in use: end the program"},
		{Publish{frame.ProtoTCP, netip.MustParseAddrPort("0.0.0.0:2203"), 5, netip.MustParseAddrPort("10.0.0.5:1"), true}, "publish tcp 0.0.0.0:2205: address already in use"},
		{publish(frame.ProtoUDP, "0.0.0.0:2205", "10.0.0.5:22", true), "publish udp 0.0.0.0:2205: address already in use"},
		{publish(frame.ProtoTCP, "198.51.100.77:80", "10.0.0.5:22", true), "publish tcp 198.51.100.77:80: cannot assign requested address: give this machine"},
		{publish(47, "0.0.0.0:1", "10.0.0.5:22", true), "protocol 47 has no ports"},
		{Publish{Protocol: frame.ProtoTCP, Listen: netip.MustParseAddrPort("0.0.0.0:65530"), Count: 7, To: netip.MustParseAddrPort("10.0.0.5:1")}, "within 1-65535"},
		{publish(frame.ProtoTCP, "[::]:80", "10.0.0.5:22", true), "IPv4"},
		{publish(frame.ProtoTCP, "0.0.0.0:2200", "10.0.0.5:22", true), "published twice"},
	} {
		cfg := l.cfg
		cfg.Publish = append([]Publish{publish(frame.ProtoTCP, "0.0.0.0:2200", "10.0.0.6:22", true), publish(frame.ProtoTCP, "127.0.0.1:2300", "10.0.0.6:22", true)}, test.publish)
		err := l.s.Reconfigure(cfg)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: error %v, want %q", test.publish, err, test.want)
		}
		if now := l.listening(); now != before {
			t.Errorf("%v: listening at %s, before at %s", test.publish, now, before)
		}
	}
	if to := l.s.listeners[listenKey{frame.ProtoTCP, netip.MustParseAddrPort("0.0.0.0:2200")}].target().to; to.String() != "10.0.0.5:22" {
		t.Errorf("it leads to %s", to)
	}
	cfg := l.cfg
	cfg.Env.Socket = func(int, int, int) (int, error) { return -1, unix.EMFILE }
	cfg.Publish = []Publish{publish(frame.ProtoTCP, "0.0.0.0:2210", "10.0.0.5:22", true)}
	if _, err := New(l.guest, cfg, l.s.log); err == nil || !strings.Contains(err.Error(), "raise the limit of open files") {
		t.Errorf("New: %v", err)
	}
}

func (l *lab) listening() string {
	return l.host.Run(l.t, "sh", "-c", "ss -Hlntu | awk '{print $1,$5}' | sort")
}

// Ports come and go while a transfer runs, which is not disturbed; an address is
// narrowed at the same port.
func TestReconfigure(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoTCP, "0.0.0.0:2200", "10.0.0.5:22", true)}
	})
	ln := l.server(22)
	c, _, far := l.pair()
	pub := dialFrom(t, l.world, "198.51.100.1:2200")
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
		cfg.Publish = []Publish{publish(frame.ProtoTCP, "198.51.100.1:2200", "10.0.0.5:22", true), publish(frame.ProtoUDP, fmt.Sprintf("0.0.0.0:%d", 3000+i), "10.0.0.5:53", true)}
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
func TestRetarget(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoUDP, "0.0.0.0:5300", "10.0.0.5:53", true)}
	})
	one, two := l.udp(netip.AddrPortFrom(guestAddr, 53)), l.udp(netip.AddrPortFrom(otherGuest, 54))
	client := udpIn(t, l.world, "198.51.100.2:0")
	for i, server := range []net.PacketConn{one, two, one} {
		cfg := l.cfg
		cfg.Publish = []Publish{publish(frame.ProtoUDP, "0.0.0.0:5300", []string{"10.0.0.5:53", "10.0.0.6:54"}[i%2], true)}
		if err := l.s.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := client.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("198.51.100.1:5300")); err != nil {
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
func TestClose(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Publish = []Publish{publish(frame.ProtoTCP, "0.0.0.0:2200", "10.0.0.5:22", true), publish(frame.ProtoUDP, "0.0.0.0:2200", "10.0.0.5:22", true)}
	})
	c, _, far := l.pair()
	go func() { _, _ = io.Copy(far, far) }()
	go func() { _, _ = c.Write(make([]byte, 64<<20)) }()
	other := udpIn(t, l.world, "198.51.100.2:0")
	u := l.udp(netip.AddrPortFrom(guestAddr, 5000))
	_, _ = u.WriteTo([]byte("x"), net4(addrOf(other.LocalAddr())))
	receiveUDP(t, other)
	ln := listen(t, l.world, "198.51.100.2:0")
	l.guest.deaf.Store(true) // so that handshakes do not end
	for i := range 50 {
		l.guest.send(synPacket(guestAddr, addrOf(ln.Addr()), uint16(1000+i)), frame.Offload{})
	}
	client := dialFrom(t, l.world, "198.51.100.1:2200")
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
