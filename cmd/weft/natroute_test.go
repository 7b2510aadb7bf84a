package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// TestRoute has the addresses of guests be known outside, and networks reach
// each other, without any translation.
func TestRoute(t *testing.T) {
	porttest.Require(t)
	t.Parallel() // it waits more than it works
	n := newInternet(t)
	host := porttest.NewNS(t, "host")
	host.Quiet(t)
	n.plug(t, host)
	// Guests 1 and 2 are routed, 3 is behind 2, 4 is translated, 5 is on its own.
	guests := make([]*porttest.NS, 6)
	for i := range guests[1:] {
		guests[i+1] = porttest.NewNS(t, fmt.Sprint("g", i+1))
		guests[i+1].Quiet(t)
	}
	for i, cidr := range map[int]string{1: "10.0.0.1/24", 2: "10.0.0.2/24", 4: "10.1.0.4/24", 5: "10.2.0.5/24"} {
		porttest.Veth(t, host, fmt.Sprint("p", i), guests[i], "eth0")
		guests[i].Addr(t, "eth0", cidr)
		gateway := strings.Join(strings.Split(cidr, ".")[:3], ".") + ".254"
		guests[i].Run(t, "ip", "route", "add", "default", "via", gateway)
		startEcho(t, guests[i], "0.0.0.0:22")
	}
	porttest.Veth(t, guests[2], "eth1", guests[3], "eth0")
	guests[2].Addr(t, "eth1", "10.5.0.2/24")
	guests[2].Sysctl(t, "net.ipv4.ip_forward", "1")
	guests[3].Addr(t, "eth0", "10.5.0.3/24")
	guests[3].Run(t, "ip", "route", "add", "default", "via", "10.5.0.2")
	startEcho(t, guests[3], "0.0.0.0:22")
	n.isp.Run(t, "ip", "route", "add", "10.0.0.0/24", "via", outsideAddress)
	n.isp.Run(t, "ip", "route", "add", "10.5.0.0/24", "via", outsideAddress)
	uplink := fmt.Sprintf("{interface: wan0, address: %s/24, gateway: %s}", outsideAddress, ispAddress)
	w := startWeft(t, host, fmt.Sprintf(`metrics: {listen: "off"}
lease_file: %s/leases.db
networks:
  lan:
    forward: route
    address: 10.0.0.254/24
    dns: {enabled: false}
    uplink: %s
    routes: [{to: 10.5.0.0/24, via: 10.0.0.2}, {to: 192.0.2.0/24, via: %s}]
    reach: [office]
    ports: {p1: {type: raw}, p2: {type: raw}}
  office:
    forward: nat
    address: 10.1.0.254/24
    dns: {enabled: false}
    uplink: %s
    reach: [lan]
    nat: {ports: 5000-5009}
    ports: {p4: {type: raw}}
  alone:
    forward: isolated
    address: 10.2.0.254/24
    dns: {enabled: false}
    ports: {p5: {type: raw}}
`, t.TempDir(), uplink, ispAddress, uplink))

	// sees fails the test unless a server sees a client under that address.
	sees := func(from *porttest.NS, server, client string) {
		t.Helper()
		for _, network := range []string{"tcp4", "udp4"} {
			seen, err := askEcho(from, network, server)
			if got, _, _ := strings.Cut(seen, ":"); err != nil || got != client {
				t.Errorf("%s from %s to %s: the server sees %q, %v; want %s", network, from.Name, server, seen, err, client)
			}
		}
	}
	t.Run("out and in", func(t *testing.T) {
		sees(guests[1], webAddress+":7", "10.0.0.1")
		sees(guests[1], farAddress+":7", "10.0.0.1")
		sees(n.web, "10.0.0.1:22", webAddress)
		sees(n.near, "10.0.0.1:22", nearAddress)
		porttest.TCPTransfer(t, guests[1], n.web, webAddress, 8<<20)
		porttest.TCPTransfer(t, n.web, guests[1], "10.0.0.1", 8<<20)
		out := n.web.Run(t, "traceroute", "-n", "-q", "1", "-N", "1", "-w", "5", "-m", "8", "10.0.0.1")
		if got, want := strings.Join(hops(out), " "), "203.0.113.1 "+outsideAddress+" 10.0.0.1"; got != want {
			t.Errorf("traceroute to the guest goes by %s, want %s", got, want)
		}
	})
	t.Run("behind a guest", func(t *testing.T) {
		sees(guests[3], webAddress+":7", "10.5.0.3")
		sees(n.web, "10.5.0.3:22", webAddress)
		sees(guests[1], "10.5.0.3:22", "10.0.0.1")
	})
	t.Run("beside a translated network", func(t *testing.T) {
		sees(guests[4], webAddress+":7", outsideAddress)
		seen, err := askEcho(guests[4], "tcp4", webAddress+":7")
		if err != nil || !strings.HasPrefix(seen, outsideAddress+":500") {
			t.Errorf("a port of 5000-5009: %s, %v", seen, err)
		}
		sees(guests[4], "10.0.0.1:22", "10.1.0.4") // untranslated, as reach says
		sees(guests[1], "10.1.0.4:22", "10.0.0.1")
		if _, err := quickEcho(n.web, "tcp", "10.1.0.4:22"); err == nil {
			t.Error("the outside reaches a translated network by its own address")
		}
	})
	t.Run("not in reach", func(t *testing.T) {
		for _, pair := range []struct {
			from *porttest.NS
			to   string
		}{{guests[1], "10.2.0.5:22"}, {guests[5], "10.0.0.1:22"}, {guests[5], "10.1.0.4:22"}, {guests[5], webAddress + ":7"}} {
			if _, err := quickEcho(pair.from, "tcp", pair.to); err == nil {
				t.Errorf("%s reaches %s", pair.from.Name, pair.to)
			}
		}
	})
	t.Run("proxy ARP", func(t *testing.T) {
		w.write(fmt.Sprintf(`metrics: {listen: "off"}
lease_file: %s/leases.db
networks:
  lan:
    forward: route
    address: 198.51.100.129/28
    dns: {enabled: false}
    uplink: {interface: wan0, address: %s/24, gateway: %s, proxy_arp: true}
    ports: {p1: {type: raw}}
`, t.TempDir(), outsideAddress, ispAddress))
		w.stop()
		w.start()
		guests[1].Run(t, "ip", "address", "flush", "dev", "eth0")
		guests[1].Addr(t, "eth0", "198.51.100.130/28")
		guests[1].Run(t, "ip", "route", "add", "default", "via", "198.51.100.129")
		porttest.Ping(t, guests[1], webAddress)
		sees(guests[1], webAddress+":7", "198.51.100.130")
		sees(n.near, "198.51.100.130:22", nearAddress)
		sees(n.web, "198.51.100.130:22", webAddress)
		if out, err := n.near.TryRun("busybox", "arping", "-c", "2", "-w", "2", "-I", "eth0", "198.51.100.200"); err == nil {
			t.Errorf("somebody answers ARP for an address that is not the network's:\n%s", out)
		}
	})
}
