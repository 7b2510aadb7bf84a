package daemon

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/porttest"
)

// bindTables are the same for both families.
var bindTables = []struct{ tcp, udp, addr, all, loopback string }{
	{"tcp4", "udp4", "192.0.2.7", "0.0.0.0", "127.0.0.1"},
	{"tcp6", "udp6", "2001:db8::7", "::", "::1"},
}

// bindHost is a host with the addresses of bindTables.
func bindHost(t *testing.T) *porttest.NS {
	t.Helper()
	porttest.Require(t)
	ns := porttest.NewNS(t, "host")
	ns.Sysctl(t, "net.ipv6.conf.lo.disable_ipv6", "0")
	ns.Run(t, "ip", "link", "set", "lo", "up")
	ns.Addr(t, "lo", "192.0.2.7/32")
	ns.Addr(t, "lo", "2001:db8::7/128")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // the kernel makes its route later
		if out, err := ns.TryRun("ip", "-6", "route", "get", "2001:db8::7"); err == nil && strings.Contains(out, "local") {
			return ns
		} else if time.Now().After(end) {
			t.Fatalf("no way to 2001:db8::7: %s", out)
		}
	}
}

// A port is taken by whoever would get what is for the address, and by nobody else.
func TestPortFree(t *testing.T) {
	ns := bindHost(t)
	for _, c := range bindTables {
		t.Run(c.tcp, func(t *testing.T) { ns.Do(func() { testPortFree(t, c.tcp, c.udp, c.addr, c.all, c.loopback) }) })
	}
}

func testPortFree(t *testing.T, tcp, udp, addr, all, loopback string) {
	for port, address := range map[string]string{"1001": addr, "1002": all, "1003": loopback} {
		l, err := net.Listen(tcp, net.JoinHostPort(address, port))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := net.ListenPacket(udp, net.JoinHostPort(address, port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	dual, err := net.Listen("tcp", ":1004")
	if err != nil {
		t.Fatal(err)
	}
	defer dual.Close()
	at := netip.MustParseAddr(addr)
	for _, protocol := range []uint8{frame.ProtoTCP, frame.ProtoUDP} {
		for port, want := range map[uint16]bool{1001: false, 1002: false, 1003: true, 1004: protocol == frame.ProtoUDP, 1005: true} {
			for range 2 { // to look takes nothing
				if got := portFree(heldPort{protocol, port, at}); got != want {
					t.Errorf("protocol %d port %d: %v, want %v", protocol, port, got, want)
				}
			}
		}
	}
	ended(t, tcp, net.JoinHostPort(addr, "1006"))
	if !portFree(heldPort{frame.ProtoTCP, 1006, at}) {
		t.Error("what waits of an ended connection has the port")
	}
}

// ended has a connection to a server there, which closes it first and so waits for what
// is left of it (RFC 9293 clause 3.6).
func ended(t *testing.T, tcp, addr string) {
	t.Helper()
	l, err := net.Listen(tcp, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial(tcp, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatal("the server has said something")
	}
}

// Every address of IPv6 is none of IPv4: who publishes at the one is in nobody's way at
// the other.
func TestFamiliesAreApart(t *testing.T) {
	bindHost(t).Do(func() {
		l, err := net.Listen("tcp4", "0.0.0.0:1007")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := tryHold(heldPort{frame.ProtoTCP, 1007, netip.IPv6Unspecified()}); err != nil {
			t.Error(err)
		}
		if tryHold(heldPort{frame.ProtoTCP, 1007, netip.IPv4Unspecified()}) == nil {
			t.Error("a port is free that somebody has")
		}
	})
}

// A held port is nobody else's, whatever they say, and hears nothing. The same port of
// the other family is not held.
func TestHold(t *testing.T) {
	ns := bindHost(t)
	for i, c := range bindTables {
		other := bindTables[1-i]
		t.Run(c.tcp, func(t *testing.T) { ns.Do(func() { testHold(t, c.tcp, c.addr, other.addr) }) })
	}
}

func testHold(t *testing.T, tcp, addr, other string) {
	for _, protocol := range []uint8{frame.ProtoTCP, frame.ProtoUDP} {
		at := heldPort{protocol, 1001, netip.MustParseAddr(addr)}
		fd, err := hold(at)
		if err != nil {
			t.Fatal(err)
		}
		if portFree(at) {
			t.Errorf("protocol %d: the port is free", protocol)
		}
		if !portFree(heldPort{protocol, 1001, netip.MustParseAddr(other)}) {
			t.Errorf("protocol %d: the port of %s is held too", protocol, other)
		}
		unix.Close(fd)
		if !portFree(at) {
			t.Errorf("protocol %d: the port is not free again", protocol)
		}
	}
	fd, err := hold(heldPort{frame.ProtoTCP, 1002, netip.MustParseAddr(addr)})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	end := net.JoinHostPort(addr, "1002")
	if l, err := net.Listen(tcp, end); err == nil { // which allows reuse
		l.Close()
		t.Error("another program listens at a held port")
	}
	if c, err := net.DialTimeout(tcp, end, time.Second); err == nil {
		c.Close()
		t.Error("a held port takes connections")
	}
}

// A host in which IPv6 is off lacks an address of the gateway, and hears of it.
func TestHostPortNotes(t *testing.T) {
	ns := bindHost(t)
	n := &parse(t, "a: {address: [192.0.2.7/24, '2001:db8::7/64'], host_port: lo}").Networks[0]
	for _, tt := range []struct{ off, want string }{{"0", ""}, {"1", "network a: the host has no address 2001:db8::7 on lo"}} {
		ns.Sysctl(t, "net.ipv6.conf.lo.disable_ipv6", tt.off)
		ns.Do(func() {
			if got := strings.Join(hostPortNotes(n), "; "); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("disable_ipv6 %s: %q, want %q", tt.off, got, tt.want)
			}
		})
	}
	n.HostPort = ""
	if got := hostPortNotes(n); got != nil {
		t.Errorf("without a host_port: %v", got)
	}
}
