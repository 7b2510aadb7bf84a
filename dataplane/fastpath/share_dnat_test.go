package fastpath

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
)

// What the host's kernel translates for a container has no socket of the host: a
// port that it forwards, and one that it masquerades, go on while weft has flows by
// the same ports with another remote address.
func TestShareBesideNAT(t *testing.T) {
	porttest.RequireTool(t, "nft")
	forFamilies(t, testBesideNAT)
}

func testBesideNAT(t *testing.T, s *sharing) {
	container := s.container(t)
	s.attach(t, attachShare)
	for _, port := range []uint16{30080, 5000} {
		for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			s.SetUsed(protocol, port, s.addr("10.0.0.3"), true)
		}
	}
	asks(t, s.far, s.network("tcp"), ":0", container, ":80", s.endpoint("10.0.0.1", 30080))
	asks(t, container, s.network("udp"), s.endpoint("172.30.0.2", 5000), s.far, s.endpoint("10.0.0.2", 7), s.endpoint("10.0.0.2", 7))

	// The same remote address by chance: weft's. Nothing tells them apart.
	s.SetUsed(unix.IPPROTO_TCP, 30080, s.farAddr, true)
	if s.judge(t, s.tcp(t, 4444, 30080, "S")) != tcxRedirect {
		t.Error("weft does not get what is for its own flow")
	}
}

// container returns a namespace behind the host, whose kernel forwards port 30080
// to port 80 there, and masquerades what comes from there.
func (s *sharing) container(t *testing.T) *porttest.NS {
	ns := porttest.NewNS(t, "container")
	ns.Quiet(t)
	porttest.Veth(t, s.host, "c0", ns, "eth0")
	addresses(t, s.host, "c0", "172.30.0.1/24")
	addresses(t, ns, "eth0", "172.30.0.2/24")
	ns.Run(t, "ip", "route", "add", "default", "via", s.addr("172.30.0.1").String())
	s.host.Sysctl(t, "net.ipv4.ip_forward", "1")
	s.host.Sysctl(t, "net.ipv6.conf.all.forwarding", "1")
	ip := "ip"
	if s.v6 {
		ip = "ip6"
	}
	s.host.Run(t, "nft", fmt.Sprintf(`table %[1]s nat {
		chain pre { type nat hook prerouting priority -100; tcp dport 30080 dnat to %[2]s; }
		chain post { type nat hook postrouting priority 100; %[1]s saddr %[3]s masquerade; }
	}`, ip, s.endpoint("172.30.0.2", 80), s.prefix("172.30.0.0/24")))
	return ns
}

// asks fails unless a client gets the answer of a server, which listens in another
// namespace, at the address to.
func asks(t *testing.T, client *porttest.NS, network, from string, server *porttest.NS, listen, to string) {
	t.Helper()
	server.Do(func() { serve(t, network, listen) })
	d := net.Dialer{Timeout: 30 * time.Second}
	if strings.HasPrefix(network, "udp") {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))
	}
	var c net.Conn
	var err error
	client.Do(func() { c, err = d.Dial(network, to) })
	if err != nil {
		t.Fatalf("%s to %s: %v", network, to, err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, "weft?"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	if n, err := c.Read(b); string(b[:n]) != "weft?" {
		t.Errorf("%s to %s: %q, %v", network, to, b[:n], err)
	}
}

// serve answers the first words with the same.
func serve(t *testing.T, network, listen string) {
	if strings.HasPrefix(network, "udp") {
		p, err := net.ListenPacket(network, listen)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		go func() {
			b := make([]byte, 16)
			if n, peer, err := p.ReadFrom(b); err == nil {
				_, _ = p.WriteTo(b[:n], peer)
			}
		}()
		return
	}
	l, err := net.Listen(network, listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 16)
		n, _ := c.Read(b)
		fmt.Fprintf(c, "%s", b[:n])
	}()
}
