package main

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/weft/weft/ports/porttest"
)

// withHostPort are settings of a network that this machine is in.
const withHostPort = "address: 10.0.0.254/24\nmac: \"52:54:00:00:00:fe\"\nhost_port: weft0\n"

// The host and the guests reach each other, whatever their offloads and MTU.
func TestHostPort(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		t.Run(fmt.Sprint("MTU ", mtu), func(t *testing.T) {
			kinds := []string{"internal", "raw", "raw-off"}
			s := newServed(t, mtu, withHostPort, kinds...)
			link := s.host.Link(t, "weft0").Attrs()
			if link.HardwareAddr.String() != gatewayMAC || link.MTU != mtu {
				t.Errorf("weft0 has MAC %v and MTU %d", link.HardwareAddr, link.MTU)
			}
			if got := addressesOf(t, s.host, "weft0"); got != gatewayAddress+"/24" {
				t.Errorf("addresses of weft0: %s", got)
			}
			for i, kind := range kinds {
				t.Run(kind, func(t *testing.T) { reachTheHost(t, s.host, s.hosts[i], address(i+1)) })
			}
			porttest.TCPTransfer(t, s.hosts[0], s.hosts[1], address(2), 4<<20)
			if p := s.port("lan", "host"); p.Interface != "weft0" || p.RX.Bytes/max(p.RX.Frames, 1) < 4000 {
				t.Errorf("super-frames of the host did not cross whole: %+v", p)
			}
		})
	}
}

// reachTheHost tries every way between the host and a guest.
func reachTheHost(t *testing.T, host, guest *porttest.NS, addr string) {
	porttest.Ping(t, host, addr)
	porttest.Ping(t, guest, gatewayAddress)
	for from, to := range map[*porttest.NS]string{host: addr, guest: gatewayAddress} {
		for _, size := range []string{"5000", "20000"} {
			from.Run(t, "ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", "-s", size, to)
		}
	}
	porttest.TCPTransfer(t, host, guest, addr, 8<<20)
	porttest.TCPTransfer(t, guest, host, gatewayAddress, 8<<20)
	for _, size := range []int{100, 5000, 30000} {
		echoUDP(t, host, guest, addr, size)
		echoUDP(t, guest, host, gatewayAddress, size)
	}
	for from, to := range map[*porttest.NS]string{host: addr, guest: gatewayAddress} {
		for _, network := range []string{"udp", "tcp"} {
			if err := dialled(from, network, to+":9"); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("%s from %s to a closed port of %s: %v", network, from.Name, to, err)
			}
		}
	}
	if mac := macOf(t, guest, gatewayAddress); mac != gatewayMAC {
		t.Errorf("the gateway is at %s", mac)
	}
	// The gateway has no IPv6 yet, and the host is at no other address.
	if err := porttest.TryPing(guest, linkLocals(t, host, "weft0")[0]+"%eth0", 2*time.Second); err == nil {
		t.Error("the host answers at its link-local address")
	}
}

// echoUDP has a datagram of that size go there and come back.
func echoUDP(t *testing.T, from, to *porttest.NS, addr string, size int) {
	t.Helper()
	var server net.PacketConn
	var client net.Conn
	var err error
	to.Do(func() { server, err = net.ListenPacket("udp4", addr+":0") })
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
	from.Do(func() { client, err = net.Dial("udp4", server.LocalAddr().String()) })
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

func addressesOf(t *testing.T, ns *porttest.NS, name string) string {
	t.Helper()
	list, err := ns.Handle().AddrList(ns.Link(t, name), netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range list {
		all = append(all, a.IPNet.String())
	}
	return strings.Join(all, " ")
}

// A kill leaves the interface where it is, and the next weft goes on with it; a
// clean stop takes it away.
func TestHostPortComesAndGoes(t *testing.T) {
	s := newServed(t, 1500, withHostPort, "raw")
	porttest.Ping(t, s.host, address(1))
	s.host.Run(t, "ip", "route", "add", "10.9.0.0/16", "via", address(1))
	index := s.host.Link(t, "weft0").Attrs().Index
	s.Kill()
	if now := s.host.Link(t, "weft0").Attrs().Index; now != index {
		t.Fatalf("after kill -9 the interface has index %d, before %d", now, index)
	}
	s.start()
	if now := s.host.Link(t, "weft0").Attrs().Index; now != index {
		t.Errorf("after the restart the interface has index %d, before %d", now, index)
	}
	if out := s.host.Run(t, "ip", "route"); !strings.Contains(out, "10.9.0.0/16") {
		t.Errorf("the route is gone:\n%s", out)
	}
	if got := addressesOf(t, s.host, "weft0"); got != gatewayAddress+"/24" {
		t.Errorf("addresses of weft0: %s", got)
	}
	porttest.Ping(t, s.host, address(1))
	porttest.TCPTransfer(t, s.hosts[0], s.host, gatewayAddress, 1<<20)

	// Somebody deletes it under weft, which makes it again.
	s.host.Delete(t, "weft0")
	eventually(t, "weft0 is there again", func() bool {
		_, err := s.host.Handle().LinkByName("weft0")
		return err == nil && porttest.TryPing(s.host, address(1), time.Second) == nil
	})
	s.stop()
	if out := s.host.Run(t, "ip", "-br", "link"); strings.Contains(out, "weft0") {
		t.Errorf("left after a clean stop:\n%s", out)
	}
}

// With the host's own stack behind the same address, the network's services are
// still weft's, and it is weft that answers a ping.
func TestHostPortSharesTheAddress(t *testing.T) {
	s := newServed(t, 1500, withHostPort, "internal", "raw-off")
	s.host.Sysctl(t, "net.ipv4.icmp_echo_ignore_all", "1")
	for _, h := range s.hosts {
		h.Run(t, "ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", gatewayAddress)
		h.Run(t, "ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", "-s", "5000", gatewayAddress)
	}
	// The host neither answers ARP nor hears what is only the gateway's.
	at := s.host.RawConn(t, "weft0")
	forget(t, s.hosts[0])
	s.hosts[0].Run(t, "busybox", "arping", "-c", "3", "-I", "eth0", gatewayAddress)
	s.hosts[0].Run(t, "ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", gatewayAddress)
	dig(t, s.hosts[0], "gateway")
	dig(t, s.hosts[0], "gateway", "+tcp")
	if f := at.RecvMatch(500*time.Millisecond, func(f []byte) bool { return isOwnOfGateway(t, f) }); f != nil {
		t.Errorf("the host has got % x", f)
	}
	// Its own ping is its own business.
	porttest.Ping(t, s.host, address(1))
}

// isOwnOfGateway reports whether a frame is an ARP request for the gateway, a
// ping of it or a DNS query to it.
func isOwnOfGateway(t *testing.T, f []byte) bool {
	t.Helper()
	gateway := net.ParseIP(gatewayAddress).To4()
	switch etherType := string(f[12:14]); {
	case etherType == "\x08\x06" && len(f) >= 42:
		return f[21] == 1 && bytes.Equal(f[38:42], gateway)
	case etherType == "\x08\x00" && len(f) >= 42 && bytes.Equal(f[30:34], gateway):
		dnsPort := f[36] == 0 && f[37] == 53
		return f[23] == 1 && f[34] == 8 || (f[23] == 6 || f[23] == 17) && dnsPort
	}
	return false
}

// A host that forwards is not made a router for guests: what they send elsewhere
// by the gateway's MAC address ends in weft.
func TestHostPortIsNoRouter(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := layServed(t, 1500, "internal", "raw")
	outside := porttest.NewNS(t, "out")
	porttest.Veth(t, s.host, "wan0", outside, "eth0")
	outside.Addr(t, "eth0", elsewhere+"/24")
	outside.Run(t, "ip", "route", "add", "10.0.0.0/24", "dev", "eth0")
	s.host.Addr(t, "wan0", "203.0.113.1/24")
	s.host.Sysctl(t, "net.ipv4.ip_forward", "1")
	s.write(s.yaml(withHostPort))
	s.start()
	porttest.Ping(t, s.host, elsewhere)
	atPort, atWire := s.host.RawConn(t, "weft0"), outside.RawConn(t, "eth0")
	for _, h := range s.hosts {
		h.Run(t, "ip", "route", "add", "default", "via", gatewayAddress)
		for _, to := range []string{elsewhere, "203.0.113.1"} { // the second is the host's own
			out, err := h.TryRun("ping", "-n", "-c", "3", "-i", "0.2", "-w", "3", to)
			if err == nil || !strings.Contains(out, "From "+gatewayAddress) {
				t.Errorf("a ping of %s from %s: %v\n%s", to, h.Name, err, out)
			}
		}
		_ = dialled(h, "udp", elsewhere+":9")
		_ = dialled(h, "tcp", elsewhere+":9")
	}
	for what, conn := range map[string]*porttest.RawConn{"the host port": atPort, "the wire outside": atWire} {
		f := conn.RecvMatch(500*time.Millisecond, func(f []byte) bool {
			return len(f) >= 34 && f[12] == 8 && f[13] == 0 && bytes.HasPrefix(f[26:], []byte{10, 0, 0}) && bytes.HasPrefix(f[30:], []byte{203, 0, 113})
		})
		if f != nil {
			t.Errorf("%s has got % x", what, f)
		}
	}
	waitDrops(t, s.weftProcess, "p1", "no-route", 3) // ping stops at the first error
	waitDrops(t, s.weftProcess, "p1", "prohibited", 1)
}

// Nothing of the host changes but that it has one more interface: no setting of
// its network, no rule of its firewall, and no socket at the services' ports.
func TestHostStaysUntouched(t *testing.T) {
	s := layServed(t, 1500, "internal", "internal")
	if _, err := exec.LookPath("nft"); err != nil {
		t.Fatal(err)
	}
	s.write(s.yaml(withHostPort + "dhcp: {range: 10.0.0.100-10.0.0.199}\ndns: {domain: lab}\n"))
	sysctls := func() []string {
		var list []string
		for _, line := range strings.Split(s.host.Run(t, "sysctl", "-a", "-r", `^net\.`), "\n") {
			if !strings.Contains(line, ".weft0.") {
				list = append(list, line)
			}
		}
		return list
	}
	rules := func() string { return s.host.Run(t, "nft", "list", "ruleset") }
	settings, firewall := sysctls(), rules()
	if len(settings) < 100 {
		t.Fatalf("only %d settings", len(settings))
	}
	s.start()
	porttest.Ping(t, s.host, address(1))
	if lease := leaseOf(t, s.hosts[0], ""); lease == "" {
		t.Error("no lease")
	}
	dig(t, s.hosts[0], "gateway.lab", "+tcp")
	unchanged := func(when string) {
		t.Helper()
		if now := sysctls(); !slices.Equal(now, settings) {
			for _, line := range now {
				if !slices.Contains(settings, line) {
					t.Errorf("%s: %s", when, line)
				}
			}
		}
		if now := rules(); now != firewall {
			t.Errorf("%s the firewall is\n%s\nwas\n%s", when, now, firewall)
		}
	}
	unchanged("while weft runs")
	for _, list := range []string{"-lnup", "-lntp", "-nap"} {
		out := s.host.Run(t, "ss", "-H", list)
		if bad := regexp.MustCompile(`:(53|67|68) +\S+:`).FindString(out); bad != "" {
			t.Errorf("a socket of the host is at %s:\n%s", bad, out)
		}
	}
	if out := s.host.Run(t, "ss", "-H", "-lnup"); strings.TrimSpace(out) != "" {
		t.Errorf("UDP sockets of the host:\n%s", out)
	}
	// The interface's own settings are what any tap has in this host.
	s.host.Run(t, "ip", "tuntap", "add", "other0", "mode", "tap")
	own := func(name string) string {
		out := s.host.Run(t, "sysctl", "-a", "-r", `^net\.ipv[46]\.(conf|neigh)\.`+name+`\.`)
		return strings.ReplaceAll(out, "."+name+".", ".X.")
	}
	if weft, other := own("weft0"), own("other0"); weft != other {
		t.Errorf("settings of weft0:\n%s\nof a plain tap:\n%s", weft, other)
	}
	s.host.Delete(t, "other0")
	s.stop()
	unchanged("after weft")
}

// hostDnsmasq runs a dnsmasq in the host, and says all that it hears.
func hostDnsmasq(t *testing.T, ns *porttest.NS, args ...string) *porttest.Process {
	t.Helper()
	p := ns.Start(t, "dnsmasq", append([]string{
		"--no-daemon", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--log-facility=-", "--log-queries", "--log-dhcp",
		"--no-resolv", "--no-hosts", "--bind-interfaces",
	}, args...)...)
	p.WaitOutput(t, "started, version", 30*time.Second)
	return p
}

// Servers of the host's on the host port hear nothing while weft serves the
// network, and are the network's when it does not.
func TestServersOfTheHost(t *testing.T) {
	on := withHostPort + "dhcp: {range: 10.0.0.100-10.0.0.109, probe: false}\ndns: {hosts: {name.test: 10.0.0.70}}\n"
	off := withHostPort + "dns: {enabled: false}\n"
	s := newServed(t, 1500, on, "internal", "raw")
	host := hostDnsmasq(t, s.host, "--interface=weft0", "--except-interface=lo", "--dhcp-range=10.0.0.200,10.0.0.209,255.255.255.0",
		"--dhcp-leasefile="+s.file("leases"), "--dhcp-authoritative", "--no-ping", "--address=/name.test/10.0.0.71")
	heard := func() bool { return regexp.MustCompile(`DHCP(DISCOVER|REQUEST)|query\[`).MatchString(host.Output()) }
	// answer says whose answers the guests get.
	answer := func(lease, addr string) {
		t.Helper()
		for i, h := range s.hosts {
			if got := leaseOf(t, h, ""); !strings.HasPrefix(got, lease) {
				t.Errorf("lease of host %d: %q, want %s…", i+1, got, lease)
			}
			for _, by := range []string{"+notcp", "+tcp"} {
				if a := dig(t, h, "name.test", by); len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " "+addr) {
					t.Errorf("host %d, %s, want %s:\n%s", i+1, by, addr, a.raw)
				}
			}
		}
	}
	answer("10.0.0.10", "10.0.0.70")
	time.Sleep(500 * time.Millisecond) // for what would still be on its way
	if heard() {
		t.Errorf("the host's dnsmasq has heard guests:\n%s", host.Output())
	}
	index := s.host.Link(t, "weft0").Attrs().Index
	s.apply(off)
	if now := s.host.Link(t, "weft0").Attrs().Index; now != index {
		t.Fatal("weft0 was made anew")
	}
	answer("10.0.0.20", "10.0.0.71")
	s.apply(on)
	answer("10.0.0.10", "10.0.0.70")
}
