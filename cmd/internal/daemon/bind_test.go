package daemon

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/porttest"
)

// A port is taken by whoever would get what is for the address, and by nobody else.
func TestPortFree(t *testing.T) {
	porttest.Require(t)
	ns := porttest.NewNS(t, "host")
	ns.Run(t, "ip", "link", "set", "lo", "up")
	ns.Addr(t, "lo", "192.0.2.7/32")
	ns.Do(func() {
		for _, address := range []string{"192.0.2.7:1001", "0.0.0.0:1002", "127.0.0.1:1003"} {
			l, err := net.Listen("tcp4", address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c, err := net.ListenPacket("udp4", address)
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
		for _, protocol := range []uint8{frame.ProtoTCP, frame.ProtoUDP} {
			for port, want := range map[uint16]bool{1001: false, 1002: false, 1003: true, 1004: protocol == frame.ProtoUDP, 1005: true} {
				for range 2 { // to look takes nothing
					if got := portFree(heldPort{protocol, port}, netip.MustParseAddr("192.0.2.7")); got != want {
						t.Errorf("protocol %d port %d: %v, want %v", protocol, port, got, want)
					}
				}
			}
		}
		ended(t, "192.0.2.7:1006")
		if !portFree(heldPort{frame.ProtoTCP, 1006}, netip.MustParseAddr("192.0.2.7")) {
			t.Error("what waits of an ended connection has the port")
		}
	})
}

// ended has a connection to a server there, which closes it first and so waits for what
// is left of it (RFC 9293 clause 3.6).
func ended(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp4", addr)
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

// A held port is nobody else's, whatever they say, and hears nothing.
func TestHold(t *testing.T) {
	porttest.Require(t)
	ns := porttest.NewNS(t, "host")
	ns.Run(t, "ip", "link", "set", "lo", "up")
	ns.Addr(t, "lo", "192.0.2.7/32")
	ns.Do(func() {
		addr := netip.MustParseAddr("192.0.2.7")
		for _, protocol := range []uint8{frame.ProtoTCP, frame.ProtoUDP} {
			at := heldPort{protocol, 1001}
			fd, err := hold(at, addr)
			if err != nil {
				t.Fatal(err)
			}
			if portFree(at, addr) {
				t.Errorf("protocol %d: the port is free", protocol)
			}
			unix.Close(fd)
			if !portFree(at, addr) {
				t.Errorf("protocol %d: the port is not free again", protocol)
			}
		}
		fd, err := hold(heldPort{frame.ProtoTCP, 1002}, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if l, err := net.Listen("tcp4", "192.0.2.7:1002"); err == nil { // which allows reuse
			l.Close()
			t.Error("another program listens at a held port")
		}
		if c, err := net.DialTimeout("tcp4", "192.0.2.7:1002", time.Second); err == nil {
			c.Close()
			t.Error("a held port takes connections")
		}
	})
}
