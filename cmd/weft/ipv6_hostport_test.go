package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/porttest"
)

// hosting are settings of a network that this machine is in by both families.
const hosting = both + "host_port: weft0\nra: {lifetime: 1800s}\n"

// global6 returns the addresses of an interface that are not link-local.
func global6(t *testing.T, ns *porttest.NS, name string) string {
	t.Helper()
	list, err := ns.Handle().AddrList(ns.Link(t, name), netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range list {
		if !a.IP.IsLinkLocalUnicast() {
			all = append(all, a.IPNet.String())
		}
	}
	return strings.Join(all, " ")
}

// The host and the guests reach each other by IPv6, whatever their offloads and MTU.
func TestHostPort6(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		t.Run(fmt.Sprint("MTU ", mtu), func(t *testing.T) {
			t.Parallel()
			kinds := []string{"internal", "raw", "raw-off"}
			s := layServed6(t, mtu, kinds...)
			s.write(s.yaml(hosting))
			s.start()
			if got := global6(t, s.host, "weft0"); got != gateway6+"/64" {
				t.Errorf("addresses of weft0: %s", got)
			}
			for i, kind := range kinds {
				t.Run(kind, func(t *testing.T) { reachTheHost6(t, s.host, s.hosts[i]) })
			}
		})
	}
}

// reachTheHost6 tries every way between the host and a guest.
func reachTheHost6(t *testing.T, host, guest *porttest.NS) {
	addr := address6(t, guest, subnet6)
	porttest.Ping(t, host, addr)
	porttest.Ping(t, guest, gateway6)
	porttest.Ping(t, guest, gatewayLocal+"%eth0")
	for from, to := range map[*porttest.NS]string{host: addr, guest: gateway6} {
		from.Run(t, "ping", "-6", "-n", "-c", "3", "-i", "0.2", "-w", "20", "-s", "5000", to)
		from.Run(t, "ping", "-6", "-n", "-c", "3", "-i", "0.2", "-w", "20", "-s", "20000", to)
		for _, network := range []string{"udp", "tcp"} {
			if err := dialled(from, network, net.JoinHostPort(to, "9")); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s from %s to a closed port of %s: %v", network, from.Name, to, err)
			}
		}
	}
	porttest.TCPTransfer(t, host, guest, addr, 8<<20)
	porttest.TCPTransfer(t, guest, host, gateway6, 8<<20)
	for _, size := range []int{100, 5000, 30000} {
		echoUDP6(t, host, guest, addr, size)
		echoUDP6(t, guest, host, gateway6, size)
	}
}

// echoUDP6 has a datagram of that size go there and come back.
func echoUDP6(t *testing.T, from, to *porttest.NS, addr string, size int) {
	t.Helper()
	var server net.PacketConn
	var client net.Conn
	var err error
	to.Do(func() { server, err = net.ListenPacket("udp6", net.JoinHostPort(addr, "0")) })
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, peer, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(buf[:n], peer)
		}
	}()
	from.Do(func() { client, err = net.Dial("udp6", server.LocalAddr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sent, got := bytes.Repeat([]byte("weft"), size/4), make([]byte, 1<<16)
	for range 10 { // nothing sends a lost datagram again
		if _, err := client.Write(sent); err != nil {
			t.Fatal(err)
		}
		_ = client.SetReadDeadline(time.Now().Add(3 * time.Second))
		if n, err := client.Read(got); err == nil {
			if !bytes.Equal(got[:n], sent) {
				t.Errorf("%d bytes from %s came back as %d others", size, from.Name, n)
			}
			return
		}
	}
	t.Errorf("%d bytes by UDP from %s to %s do not come back", size, from.Name, addr)
}

// Nothing else of the host gets through, and nothing of the network gets at it: no
// advertisement changes its routes, it answers at no other address, and passes
// nothing on.
func TestHostPortIsNoWayIn6(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := layServed6(t, 1500, "raw", "raw")
	outside := porttest.NewNS(t, "out")
	porttest.Veth(t, s.host, "wan0", outside, "eth0")
	outside.Addr(t, "eth0", "2001:db8:f::9/64")
	outside.Run(t, "ip", "-6", "route", "add", subnet6, "dev", "eth0")
	s.host.Addr(t, "wan0", "2001:db8:f::1/64")
	s.host.Addr(t, "lo", "2001:db8:77::1/128")
	s.host.Sysctl(t, "net.ipv6.conf.all.forwarding", "1")
	s.host.Sysctl(t, "net.ipv6.conf.default.accept_ra", "2") // although it is a router
	s.write(s.yaml(hosting))
	atGuest := s.hosts[1].RawConn(t, "eth0")
	s.start()
	atPort, atWire := s.host.RawConn(t, "weft0"), outside.RawConn(t, "eth0")
	h := s.hosts[0]
	address6(t, h, subnet6)
	hasRoute(t, h, "default", "via "+gatewayLocal)
	porttest.Ping(t, s.host, address6(t, s.hosts[1], subnet6))
	porttest.Ping(t, s.host, "2001:db8:f::9")

	configured := func() string {
		return s.host.Run(t, "ip", "-6", "route", "show", "table", "all", "dev", "weft0") + global6(t, s.host, "weft0")
	}
	before := configured()
	if strings.Contains(before, "default") {
		t.Errorf("the host has a route by its own port:\n%s", before)
	}
	advertiseRogue(t, h)
	solicit(t, h) // and weft's own
	for _, to := range []string{"2001:db8:77::1", "2001:db8:f::1", "2001:db8:f::9"} {
		isNotReached(t, h, to)
	}
	if now := configured(); now != before {
		t.Errorf("the host has\n%s\nhad\n%s", now, before)
	}
	for what, conn := range map[string]*porttest.RawConn{"the host port": atPort, "the wire outside": atWire} {
		if f := conn.RecvMatch(500*time.Millisecond, beside6); f != nil {
			t.Errorf("%s has got % x", what, f)
		}
	}
	if f := atGuest.RecvMatch(0, foreign6); f != nil {
		t.Errorf("from the host a guest has got % x", f)
	}
	waitDrops(t, s.weftProcess, "p1", "prohibited", 1)
	waitDrops(t, s.weftProcess, "p1", "no-route", 1)
}

// advertiseRogue makes a guest a router, to all and to the host port's own address.
func advertiseRogue(t *testing.T, guest *porttest.NS) {
	t.Helper()
	mac, conn := frame.MAC(guest.Link(t, "eth0").Attrs().HardwareAddr), guest.RawConn(t, "eth0")
	for range 3 {
		conn.Send(rogueRA(mac, ndp.GroupMAC(ndp.AllNodes), ndp.AllNodes))
		conn.Send(rogueRA(mac, frame.MAC{0x52, 0x54, 0, 0, 0, 0xfe}, netip.MustParseAddr(gatewayLocal)))
	}
}

// isNotReached checks that the gateway refuses what a guest sends to an address, and
// that nobody says to have it.
func isNotReached(t *testing.T, guest *porttest.NS, to string) {
	t.Helper()
	eventually(t, "the gateway refuses a packet to "+to, func() bool {
		out, err := guest.TryRun("ping", "-6", "-n", "-c", "1", "-w", "2", to)
		if err == nil {
			t.Fatalf("a guest reaches %s:\n%s", to, out)
		}
		return strings.Contains(out, "From "+gateway6)
	})
	if err := dialled(guest, "tcp", net.JoinHostPort(to, "9")); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a guest reaches %s by TCP: %v", to, err)
	}
	if out, err := guest.TryRun("ndisc6", "-1", "-r", "1", "-w", "500", to, "eth0"); err == nil {
		t.Errorf("somebody answers for %s:\n%s", to, out)
	}
}

// beside6 reports whether a frame is a router advertisement, or from a guest to one of
// the host's other addresses or beyond.
func beside6(f []byte) bool {
	if len(f) < 55 || f[12] != 0x86 || f[13] != 0xdd {
		return false
	}
	src, _ := netip.AddrFromSlice(f[22:38])
	dst, _ := netip.AddrFromSlice(f[38:54])
	return f[20] == 58 && f[54] == ndp.RouterAdvertisement ||
		netip.MustParsePrefix(subnet6).Contains(src) && !netip.MustParsePrefix(subnet6).Contains(dst) && !dst.IsMulticast()
}

// rogueRA is an advertisement of another router, for a subnet of its own.
func rogueRA(src, dst frame.MAC, to netip.Addr) []byte {
	a := ndp.Advertisement{HopLimit: 64, Lifetime: time.Hour, Preference: ndp.High, MAC: src, MTU: 1280, Prefixes: []ndp.Prefix{{
		Prefix: netip.MustParsePrefix(rogueSubnet), OnLink: true, Autonomous: true, Valid: time.Hour, Preferred: time.Hour,
	}}}
	return bytes.Clone(ndp.Packet(src, dst, ndp.LinkLocal(src), to, a.Message()).Bytes())
}

const rogueSubnet = "2001:db8:bad::/64"

// foreign6 reports whether a frame is one of IPv6 that has left by the host port from
// another address than the gateway's.
func foreign6(f []byte) bool {
	if len(f) < 54 || f[12] != 0x86 || f[13] != 0xdd || !bytes.Equal(f[6:12], []byte{0x52, 0x54, 0, 0, 0, 0xfe}) {
		return false
	}
	src, _ := netip.AddrFromSlice(f[22:38])
	return src != netip.MustParseAddr(gateway6) && src != netip.MustParseAddr(gatewayLocal)
}

// Servers of the host's on the host port hear nothing while weft serves the network,
// nor do guests hear them, and they are the network's when it does not.
func TestServersOfTheHost6(t *testing.T) {
	t.Parallel()
	on := hosting + "dhcp6: {range: \"2001:db8:1::1000-2001:db8:1::100f\"}\ndns: {hosts: {name.test: \"2001:db8:1::70\"}}\n"
	off := hosting + "dns: {enabled: false}\n"
	s := newServed6(t, on, "raw")
	h := s.hosts[0]
	address6(t, h, subnet6)
	host := hostDnsmasq(t, s.host, "--interface=weft0", "--except-interface=lo", "--dhcp-range=2001:db8:1::2000,2001:db8:1::200f,64,1h",
		"--dhcp-leasefile="+s.file("leases"), "--address=/name.test/2001:db8:1::71")
	answer := func(lease, name string) {
		t.Helper()
		if c := newRawClient6(t, h, 1); !strings.HasPrefix(c.obtain().address, lease) {
			t.Errorf("lease %s, want %s…", c.address, lease)
		}
		for _, by := range []string{"+notcp", "+tcp"} {
			if a := dig(t, h, "@"+gateway6, "name.test", "AAAA", by); len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " "+name) {
				t.Errorf("%s, want %s:\n%s", by, name, a.raw)
			}
		}
	}
	answer("2001:db8:1::10", "2001:db8:1::70")
	time.Sleep(500 * time.Millisecond) // for what would still be on its way
	if out := host.Output(); strings.Contains(out, "DHCPSOLICIT") || strings.Contains(out, "query[") {
		t.Errorf("the host's dnsmasq has heard guests:\n%s", out)
	}
	s.apply(off)
	answer("2001:db8:1::20", "2001:db8:1::71")
	s.apply(on)
	answer("2001:db8:1::10", "2001:db8:1::70")
}
