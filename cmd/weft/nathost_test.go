package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// routedHost is a host whose address weft shares: guests 1 and 2 are known outside by
// their own addresses, 3 is behind 2, and 4 is translated. The host routes nothing.
type routedHost struct {
	*internet
	host   *porttest.NS
	guests [5]*porttest.NS // the first one is none
	w      *weftProcess
	dir    string
}

func newRoutedHost(t *testing.T) *routedHost {
	t.Helper()
	l := &routedHost{internet: newInternet(t), host: porttest.NewNS(t, "host"), dir: t.TempDir()}
	l.host.Quiet(t)
	l.host.Sysctl(t, "net.ipv4.ip_forward", "0")
	l.plug(t, l.host)
	addressHost(t, l.host, outsideAddress)
	for i := range l.guests[1:] {
		l.guests[i+1] = porttest.NewNS(t, fmt.Sprint("g", i+1))
		l.guests[i+1].Quiet(t)
	}
	for i, cidr := range map[int]string{1: "10.0.0.1/24", 2: "10.0.0.2/24", 4: "10.1.0.4/24"} {
		porttest.Veth(t, l.host, fmt.Sprint("p", i), l.guests[i], "eth0")
		l.guests[i].Addr(t, "eth0", cidr)
		l.guests[i].Run(t, "ip", "route", "add", "default", "via", cidr[:strings.LastIndex(cidr, ".")]+".254")
	}
	porttest.Veth(t, l.guests[2], "eth1", l.guests[3], "eth0")
	l.guests[2].Addr(t, "eth1", "10.5.0.2/24")
	l.guests[2].Sysctl(t, "net.ipv4.ip_forward", "1")
	l.guests[3].Addr(t, "eth0", "10.5.0.3/24")
	l.guests[3].Run(t, "ip", "route", "add", "default", "via", "10.5.0.2")
	for _, g := range l.guests[1:] {
		startEcho(t, g, "0.0.0.0:22")
	}
	for _, subnet := range []string{"10.0.0.0/24", "10.5.0.0/24"} {
		l.isp.Run(t, "ip", "route", "add", subnet, "via", outsideAddress)
	}
	l.w = startWeft(t, l.host, l.yaml("route"))
	return l
}

// yaml returns a configuration file in which the guests 1 to 3 go on in some way.
func (l *routedHost) yaml(forward string) string {
	return fmt.Sprintf(`metrics: {listen: "off"}
lease_file: %s/leases.db
networks:
  lan:
    forward: %s
    address: 10.0.0.254/24
    host_port: weft0
    dns: {enabled: false}
    uplink: {interface: wan0, address: host}
    routes: [{to: 10.5.0.0/24, via: 10.0.0.2}]
    ports: {p1: {type: raw}, p2: {type: raw}}
  office:
    forward: nat
    address: 10.1.0.254/24
    dns: {enabled: false}
    uplink: {interface: wan0, address: host}
    ports: {p4: {type: raw}}
`, l.dir, forward)
}

// sees fails the test unless a server sees a client under that address.
func (l *routedHost) sees(t *testing.T, from *porttest.NS, server, client string) {
	t.Helper()
	for _, network := range []string{"tcp4", "udp4"} {
		seen, err := askEcho(from, network, server)
		if got, _, _ := strings.Cut(seen, ":"); err != nil || got != client {
			t.Errorf("%s from %s to %s: the server sees %q, %v; want %s", network, from.Name, server, seen, err, client)
		}
	}
}

// foreign returns how many packets for others the host's stack has seen.
func (l *routedHost) foreign(t *testing.T) int {
	t.Helper()
	var names []string
	for line := range strings.Lines(l.host.Run(t, "cat", "/proc/net/snmp")) {
		fields := strings.Fields(line)
		switch {
		case fields[0] != "Ip:":
		case names == nil:
			names = fields
		default:
			for i, name := range names {
				if name == "InAddrErrors" {
					n, _ := strconv.Atoi(fields[i])
					return n
				}
			}
		}
	}
	t.Fatal("no such counter")
	return 0
}

// TestRouteShared has guests be known outside by their own addresses where the only
// way there is an interface, and an address, that the host uses itself.
func TestRouteShared(t *testing.T) {
	porttest.Require(t)
	t.Parallel() // it waits more than it works
	l := newRoutedHost(t)
	for _, script := range []struct {
		name string
		run  func(*testing.T, *routedHost)
	}{
		{"both ways", sharedBothWays},
		{"the host beside it", sharedHostBeside},
		{"addresses of the host", sharedHostAddresses},
		{"permanent neighbour", sharedNeighbor},
		{"uplink down", sharedUplinkDown},
		{"translated after all", sharedTranslated},
	} {
		t.Run(script.name, func(t *testing.T) { script.run(t, l) })
	}
}

func sharedBothWays(t *testing.T, l *routedHost) {
	before := l.foreign(t)
	l.sees(t, l.guests[1], webAddress+":7", "10.0.0.1")
	l.sees(t, l.guests[1], nearAddress+":7", "10.0.0.1")
	l.sees(t, l.web, "10.0.0.1:22", webAddress)
	l.sees(t, l.near, "10.0.0.1:22", nearAddress)
	l.sees(t, l.guests[3], webAddress+":7", "10.5.0.3")
	l.sees(t, l.web, "10.5.0.3:22", webAddress)
	l.sees(t, l.guests[4], webAddress+":7", outsideAddress)
	porttest.TCPTransfer(t, l.guests[1], l.web, webAddress, 8<<20)
	porttest.TCPTransfer(t, l.web, l.guests[1], "10.0.0.1", 8<<20)
	for _, size := range []string{"56", "5000"} { // the latter in fragments
		l.web.Run(t, "ping", "-n", "-q", "-c", "3", "-i", "0.2", "-w", "20", "-s", size, "10.0.0.1")
		l.guests[1].Run(t, "ping", "-n", "-q", "-c", "3", "-i", "0.2", "-w", "20", "-s", size, webAddress)
	}
	for _, protocol := range []string{"ip4:47", "ip4:50"} {
		l.hears(t, listenIP(t, l.guests[1], protocol), listenIP(t, l.web, protocol), "10.0.0.1", webAddress)
	}
	out := l.web.Run(t, "traceroute", "-n", "-q", "1", "-N", "1", "-w", "5", "-m", "8", "10.0.0.1")
	if got, want := strings.Join(hops(out), " "), "203.0.113.1 "+outsideAddress+" 10.0.0.1"; got != want {
		t.Errorf("traceroute to the guest goes by %s, want %s", got, want)
	}
	if n := l.foreign(t) - before; n != 0 {
		t.Errorf("the host's stack has seen %d packets for guests", n)
	}
}

// hears has two hosts send each other a packet of a protocol without ports. Either
// sees the other at an address.
func (l *routedHost) hears(t *testing.T, a, b net.PacketConn, addrA, addrB string) {
	t.Helper()
	for _, way := range []struct {
		from, to net.PacketConn
		src, dst string
	}{{a, b, addrA, addrB}, {b, a, addrB, addrA}} {
		sent := "\x00\x00\x08\x00 from " + way.src
		if _, err := way.from.WriteTo([]byte(sent), &net.IPAddr{IP: net.ParseIP(way.dst)}); err != nil {
			t.Fatal(err)
		}
		_ = way.to.SetReadDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, 2000)
		n, from, err := way.to.ReadFrom(buf)
		if err != nil || string(buf[:n]) != sent || from.String() != way.src {
			t.Fatalf("%q from %v, %v; want %q from %s", buf[:n], from, err, sent, way.src)
		}
	}
}

// sharedHostBeside has the host talk to the same servers while the guests do.
func sharedHostBeside(t *testing.T, l *routedHost) {
	stream := porttest.TCPStream(t, l.guests[1], l.web, webAddress)
	startEcho(t, l.host, outsideAddress+":2200")
	l.sees(t, l.host, webAddress+":7", outsideAddress)
	l.sees(t, l.web, outsideAddress+":2200", webAddress)
	porttest.TCPTransfer(t, l.host, l.web, webAddress, 4<<20)
	porttest.TCPTransfer(t, l.web, l.host, outsideAddress, 4<<20)
	for _, way := range []struct {
		from *porttest.NS
		to   string
	}{{l.host, webAddress}, {l.web, outsideAddress}} {
		way.from.Run(t, "ping", "-n", "-q", "-c", "3", "-i", "0.2", "-w", "20", "-s", "5000", way.to)
	}
	l.hears(t, listenIP(t, l.host, "ip4:50"), listenIP(t, l.web, "ip4:50"), outsideAddress, webAddress)
	if stream.Stop(t) == 0 {
		t.Error("nothing of the guest's crossed")
	}
}

// sharedHostAddresses: an address of the host's stays its own where the subnet of a
// network has it too, for as long as the host has it. That of the gateway, which the
// host has for its guests, is none for the world outside.
func sharedHostAddresses(t *testing.T, l *routedHost) {
	startEcho(t, l.host, "10.0.0.254:2201")
	l.sees(t, l.guests[1], "10.0.0.254:2201", "10.0.0.1")
	if dialled(l.web, "tcp", "10.0.0.254:2201") == nil {
		t.Error("the host is reached from outside by its host port's address")
	}
	l.host.Run(t, "ip", "address", "add", "10.0.0.77/32", "dev", "lo")
	startEcho(t, l.host, "10.0.0.77:22")
	eventually(t, "the host is reached at an address of its own", func() bool {
		return dialled(l.web, "tcp", "10.0.0.77:22") == nil
	})
	l.sees(t, l.web, "10.0.0.1:22", webAddress)
	l.host.Run(t, "ip", "address", "del", "10.0.0.77/32", "dev", "lo")
	l.guests[1].Addr(t, "eth0", "10.0.0.77/24")
	eventually(t, "a guest is reached at the address that the host had", func() bool {
		return dialled(l.web, "tcp", "10.0.0.77:22") == nil
	})
}

// sharedNeighbor has the host's administrator say where a silent neighbour is.
func sharedNeighbor(t *testing.T, l *routedHost) {
	const silent = "198.51.100.8"
	l.near.Addr(t, "eth0", silent+"/32")
	l.near.Sysctl(t, "net.ipv4.conf.eth0.arp_ignore", "8") // it answers no ARP
	startEcho(t, l.near, silent+":7")
	if dialled(l.guests[4], "tcp", silent+":7") == nil {
		t.Fatal("the neighbour is reached without ARP")
	}
	mac := l.near.Link(t, "eth0").Attrs().HardwareAddr.String()
	l.host.Run(t, "ip", "neigh", "replace", silent, "lladdr", mac, "dev", "wan0", "nud", "permanent")
	for i, addr := range map[int]string{1: "10.0.0.1", 4: outsideAddress} {
		eventually(t, "the neighbour is reached", func() bool {
			seen, err := askEcho(l.guests[i], "tcp4", silent+":7")
			return err == nil && strings.HasPrefix(seen, addr+":")
		})
	}
	l.host.Run(t, "ip", "neigh", "del", silent, "dev", "wan0")
	l.near.Sysctl(t, "net.ipv4.conf.eth0.arp_ignore", "0")
}

// sharedUplinkDown takes the interface down and up: the kernel is told all of it anew.
func sharedUplinkDown(t *testing.T, l *routedHost) {
	for _, protocol := range []string{"ip4:47", "ip4:50"} {
		guest, web := listenIP(t, l.guests[4], protocol), listenIP(t, l.web, protocol)
		l.hears(t, guest, web, outsideAddress, webAddress)
	}
	udp, err := dialEcho(l.guests[4], "udp4", ":0", webAddress+":7")
	if err == nil {
		err = udp.say("before")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	l.host.Down(t, "wan0")
	eventually(t, "the uplink is down", func() bool { return strings.Contains(l.w.do("uplink", "list"), "down") })
	l.host.Up(t, "wan0")
	l.host.Run(t, "ip", "route", "replace", "default", "via", ispAddress)
	eventually(t, "guests are reached again", func() bool {
		return dialled(l.web, "tcp", "10.0.0.1:22") == nil
	})
	// What comes first now comes from outside.
	guest, web := listenIP(t, l.guests[4], "ip4:47"), listenIP(t, l.web, "ip4:47")
	l.hears(t, web, guest, webAddress, outsideAddress)
	if err := udp.say("after"); err != nil {
		t.Error(err)
	}
}

// sharedTranslated takes the guests' addresses from the world outside: the host gets
// what is for them again.
func sharedTranslated(t *testing.T, l *routedHost) {
	l.w.write(l.yaml("nat"))
	l.w.do("apply", l.w.config)
	l.sees(t, l.guests[1], webAddress+":7", outsideAddress)
	before := l.foreign(t)
	if dialled(l.web, "tcp", "10.0.0.1:22") == nil {
		t.Error("the outside reaches a translated guest by its own address")
	}
	if l.foreign(t) == before {
		t.Error("weft still has what is for the guests' addresses")
	}
	l.w.write(l.yaml("route"))
	l.w.do("apply", l.w.config)
	l.sees(t, l.web, "10.0.0.1:22", webAddress)
}

// TestRouteNeedsAddress has an interface without an address: a network that is to be
// known outside is refused where weft would choose sockets, and waits where the file
// says whose address it is.
func TestRouteNeedsAddress(t *testing.T) {
	porttest.Require(t)
	host, far := porttest.NewNS(t, "host"), porttest.NewNS(t, "far")
	host.Quiet(t)
	far.Quiet(t)
	porttest.Veth(t, host, "wan0", far, "eth0")
	far.Addr(t, "eth0", "198.51.100.1/24")
	far.Run(t, "ip", "route", "add", "10.0.0.0/24", "via", "198.51.100.2")
	dir := t.TempDir()
	yaml := func(forward, address string) string {
		return fmt.Sprintf(`metrics: {listen: "off"}
lease_file: %s/leases.db
networks:
  lan:
    forward: %s
    address: 10.0.0.254/24
    dns: {enabled: false}
    uplink: {interface: wan0, address: %s}
    ports: {p1: {type: tap}}
`, dir, forward, address)
	}
	const why = `network "lan": forward: route does not go by sockets, and no address of this host can be shared: ` +
		`interface "wan0" has no IPv4 address; write uplink.address: host to wait for that, ` +
		`give the uplink an address of its own, or write forward: nat`
	w := newWeft(t, host, yaml("route", "auto"))
	out, err := host.TryRun("timeout", "60", w.bin, "run", "-c", w.config, "--socket", w.socket)
	if err == nil || !strings.Contains(out, "weft: "+why+"\n") {
		t.Errorf("%v:\n%s", err, out)
	}
	w.write(yaml("nat", "auto"))
	w.start()
	w.write(yaml("route", "auto"))
	w.fails(why, "apply", w.config)
	if out := w.do("uplink", "list"); !strings.Contains(out, "sockets") {
		t.Errorf("after a change that was refused:\n%s", out)
	}
	w.write(yaml("route", "host"))
	w.do("apply", w.config)
	if out := w.do("uplink", "list"); !strings.Contains(out, "no-address") {
		t.Errorf("without an address:\n%s", out)
	}
	host.Addr(t, "wan0", "198.51.100.2/24")
	eventually(t, "weft has what is for the network", func() bool {
		_, err := far.TryRun("ping", "-n", "-c", "1", "-W", "1", "10.0.0.254")
		return err == nil
	})
	w.write(yaml("route", "auto"))
	w.do("apply", w.config)
	if out := w.do("uplink", "list"); !strings.Contains(out, "host") {
		t.Errorf("with an address:\n%s", out)
	}
}

// TestRouteWithoutDefault has no interface to choose at first: guests get no further,
// and by no socket either, until there is one.
func TestRouteWithoutDefault(t *testing.T) {
	porttest.Require(t)
	host, far, guest := porttest.NewNS(t, "host"), porttest.NewNS(t, "far"), porttest.NewNS(t, "guest")
	for _, ns := range []*porttest.NS{host, far, guest} {
		ns.Quiet(t)
	}
	porttest.Veth(t, host, "wan0", far, "eth0")
	host.Addr(t, "wan0", "198.51.100.2/24")
	far.Addr(t, "eth0", "198.51.100.1/24")
	far.Run(t, "ip", "route", "add", "10.0.0.0/24", "via", "198.51.100.2")
	startEcho(t, far, "198.51.100.1:7")
	porttest.Veth(t, host, "p1", guest, "eth0")
	guest.Addr(t, "eth0", "10.0.0.1/24")
	guest.Run(t, "ip", "route", "add", "default", "via", "10.0.0.254")
	w := startWeft(t, host, fmt.Sprintf(`metrics: {listen: "off"}
lease_file: %s/leases.db
networks:
  lan:
    forward: route
    address: 10.0.0.254/24
    dns: {enabled: false}
    uplink: {address: host}
    ports: {p1: {type: raw}}
`, t.TempDir()))
	if err := dialled(guest, "tcp", "198.51.100.1:7"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("without a way out: %v", err)
	}
	if out := w.do("uplink", "list"); !strings.Contains(out, "failed") {
		t.Errorf("without a way out:\n%s", out)
	}
	host.Run(t, "ip", "route", "add", "default", "via", "198.51.100.1")
	eventually(t, "the guest leaves by its own address", func() bool {
		seen, err := askEcho(guest, "tcp4", "198.51.100.1:7")
		return err == nil && strings.HasPrefix(seen, "10.0.0.1:")
	})
}
