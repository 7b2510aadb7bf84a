package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
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

func newRoutedHost(t *testing.T, f family) *routedHost {
	t.Helper()
	l := &routedHost{internet: newInternet(t, f), host: porttest.NewNS(t, "host"), dir: t.TempDir()}
	l.prepare(t, l.host)
	l.host.Sysctl(t, l.of("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"), "0")
	l.plug(t, l.host)
	l.addressHost(t, l.host, l.ip(outsideAddress))
	for i := range l.guests[1:] {
		l.guests[i+1] = porttest.NewNS(t, fmt.Sprint("g", i+1))
		l.prepare(t, l.guests[i+1])
	}
	for i, subnet := range map[int]string{1: "10.0.0.", 2: "10.0.0.", 4: "10.1.0."} {
		porttest.Veth(t, l.host, fmt.Sprint("p", i), l.guests[i], "eth0")
		l.guests[i].Addr(t, "eth0", l.cidr(fmt.Sprint(subnet, i, "/24")))
		l.guests[i].Run(t, "ip", "route", "add", "default", "via", l.ip(subnet+"254"))
	}
	l.behind(t, l.guests[2], l.guests[3])
	for _, g := range l.guests[1:] {
		startEcho(t, g, l.at("0.0.0.0", 22))
	}
	l.known(t, l.ip(outsideAddress))
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
    %s
    address: %q
    host_port: weft0
    dns: {enabled: false}
    uplink: {interface: wan0, address: host}
    routes: [{to: %q, via: %q}]
    ports: {p1: {type: raw}, p2: {type: raw}}
  office:
    forward: nat
    address: %q
    dns: {enabled: false}
    uplink: {interface: wan0, address: host}
    ports: {p4: {type: raw}}
`, l.dir, forward, map[string]string{"route": "inbound: open"}[forward], l.cidr("10.0.0.254/24"), l.cidr("10.5.0.0/24"), l.ip("10.0.0.2"), l.cidr("10.1.0.254/24"))
}

// foreign returns how many packets for others the host's stack has seen.
func (l *routedHost) foreign(t *testing.T) int {
	t.Helper()
	file, field, name := "snmp", -1, "InAddrErrors"
	if l.family == family6 {
		file, name = "snmp6", "Ip6InAddrErrors"
	}
	for line := range strings.Lines(l.host.Run(t, "cat", "/proc/net/"+file)) {
		fields := strings.Fields(line)
		switch {
		case fields[0] == name:
			field = 1
		case fields[0] != "Ip:":
			continue
		case field < 0:
			field = slices.Index(fields, name)
			continue
		}
		n, err := strconv.Atoi(fields[field])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Fatal("no such counter")
	return 0
}

// TestRouteShared has guests be known outside by their own addresses where the only
// way there is an interface, and an address, that the host uses itself.
func TestRouteShared(t *testing.T) {
	porttest.Require(t)
	t.Parallel() // it waits more than it works
	ofBoth(t, func(t *testing.T, f family) {
		l := newRoutedHost(t, f)
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
	})
}

func sharedBothWays(t *testing.T, l *routedHost) {
	before := l.foreign(t)
	l.sees(t, l.guests[1], l.at(webAddress, 7), "10.0.0.1")
	l.sees(t, l.guests[1], l.at(nearAddress, 7), "10.0.0.1")
	l.sees(t, l.web, l.at("10.0.0.1", 22), webAddress)
	l.sees(t, l.near, l.at("10.0.0.1", 22), nearAddress)
	l.sees(t, l.guests[3], l.at(webAddress, 7), "10.5.0.3")
	l.sees(t, l.web, l.at("10.5.0.3", 22), webAddress)
	l.sees(t, l.guests[4], l.at(webAddress, 7), outsideAddress)
	porttest.TCPTransfer(t, l.guests[1], l.web, l.ip(webAddress), 8<<20)
	porttest.TCPTransfer(t, l.web, l.guests[1], l.ip("10.0.0.1"), 8<<20)
	for _, size := range []string{"56", "5000"} { // the latter in fragments
		l.web.Run(t, "ping", "-n", "-q", "-c", "3", "-i", "0.2", "-w", "20", "-s", size, l.ip("10.0.0.1"))
		l.guests[1].Run(t, "ping", "-n", "-q", "-c", "3", "-i", "0.2", "-w", "20", "-s", size, l.ip(webAddress))
	}
	for _, protocol := range []int{47, 50} {
		l.hears(t, l.listenIP(t, l.guests[1], protocol), l.listenIP(t, l.web, protocol), "10.0.0.1", webAddress)
	}
	l.leads(t)
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
	}{{a, b, l.ip(addrA), l.ip(addrB)}, {b, a, l.ip(addrB), l.ip(addrA)}} {
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
	stream := porttest.TCPStream(t, l.guests[1], l.web, l.ip(webAddress))
	startEcho(t, l.host, l.at(outsideAddress, 2200))
	l.sees(t, l.host, l.at(webAddress, 7), outsideAddress)
	l.sees(t, l.web, l.at(outsideAddress, 2200), webAddress)
	porttest.TCPTransfer(t, l.host, l.web, l.ip(webAddress), 4<<20)
	porttest.TCPTransfer(t, l.web, l.host, l.ip(outsideAddress), 4<<20)
	for _, way := range []struct {
		from *porttest.NS
		to   string
	}{{l.host, l.ip(webAddress)}, {l.web, l.ip(outsideAddress)}} {
		way.from.Run(t, "ping", "-n", "-q", "-c", "3", "-i", "0.2", "-w", "20", "-s", "5000", way.to)
	}
	l.hears(t, l.listenIP(t, l.host, 50), l.listenIP(t, l.web, 50), outsideAddress, webAddress)
	if stream.Stop(t) == 0 {
		t.Error("nothing of the guest's crossed")
	}
}

// sharedHostAddresses: an address of the host's stays its own where the subnet of a
// network has it too, for as long as the host has it. That of the gateway, which the
// host has for its guests, is none for the world outside.
func sharedHostAddresses(t *testing.T, l *routedHost) {
	startEcho(t, l.host, l.at("10.0.0.254", 2201))
	l.sees(t, l.guests[1], l.at("10.0.0.254", 2201), "10.0.0.1")
	if dialled(l.web, "tcp", l.at("10.0.0.254", 2201)) == nil {
		t.Error("the host is reached from outside by its host port's address")
	}
	l.host.Run(t, "ip", "address", "add", l.cidr("10.0.0.77/32"), "dev", "lo")
	startEcho(t, l.host, l.at("10.0.0.77", 22))
	eventually(t, "the host is reached at an address of its own", func() bool {
		return dialled(l.web, "tcp", l.at("10.0.0.77", 22)) == nil
	})
	l.sees(t, l.web, l.at("10.0.0.1", 22), webAddress)
	l.host.Run(t, "ip", "address", "del", l.cidr("10.0.0.77/32"), "dev", "lo")
	l.guests[1].Addr(t, "eth0", l.cidr("10.0.0.77/24"))
	defer l.guests[1].Run(t, "ip", "address", "del", l.cidr("10.0.0.77/24"), "dev", "eth0")
	eventually(t, "a guest is reached at the address that the host had", func() bool {
		return dialled(l.web, "tcp", l.at("10.0.0.77", 22)) == nil
	})
}

// sharedNeighbor has the host's administrator say where a silent neighbour is.
func sharedNeighbor(t *testing.T, l *routedHost) {
	const silent = "198.51.100.8"
	l.near.Addr(t, "eth0", l.cidr(silent+"/32"))
	if l.family == family4 {
		l.near.Sysctl(t, "net.ipv4.conf.eth0.arp_ignore", "8") // it answers no ARP
		defer l.near.Sysctl(t, "net.ipv4.conf.eth0.arp_ignore", "0")
	} else {
		l.near.Run(t, "nft", "table ip6 silent { chain in { type filter hook input priority filter; icmpv6 type nd-neighbor-solicit drop; }; }")
		defer l.near.Run(t, "nft", "delete table ip6 silent")
	}
	startEcho(t, l.near, l.at(silent, 7))
	if dialled(l.guests[4], "tcp", l.at(silent, 7)) == nil {
		t.Fatal("the neighbour is reached without an answer of its own")
	}
	mac := l.near.Link(t, "eth0").Attrs().HardwareAddr.String()
	l.host.Run(t, "ip", "neigh", "replace", l.ip(silent), "lladdr", mac, "dev", "wan0", "nud", "permanent")
	for i, addr := range map[int]string{1: "10.0.0.1", 4: outsideAddress} {
		eventually(t, fmt.Sprintf("the neighbour is reached by guest %d", i), func() bool {
			seen, err := askEcho(l.guests[i], "tcp", l.at(silent, 7))
			return err == nil && hostOf(seen) == l.ip(addr)
		})
	}
	l.host.Run(t, "ip", "neigh", "del", l.ip(silent), "dev", "wan0")
}

// sharedUplinkDown takes the interface down and up: the kernel is told all of it anew.
func sharedUplinkDown(t *testing.T, l *routedHost) {
	for _, protocol := range []int{47, 50} {
		guest, web := l.listenIP(t, l.guests[4], protocol), l.listenIP(t, l.web, protocol)
		l.hears(t, guest, web, outsideAddress, webAddress)
	}
	udp, err := dialEcho(l.guests[4], "udp", ":0", l.at(webAddress, 7))
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
	l.readdressHost(t, l.host, l.ip(outsideAddress)) // one of IPv6 was lost
	eventually(t, "guests are reached again", func() bool {
		return dialled(l.web, "tcp", l.at("10.0.0.1", 22)) == nil
	})
	// What comes first now comes from outside.
	guest, web := l.listenIP(t, l.guests[4], 47), l.listenIP(t, l.web, 47)
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
	l.sees(t, l.guests[1], l.at(webAddress, 7), outsideAddress)
	before := l.foreign(t)
	if dialled(l.web, "tcp", l.at("10.0.0.1", 22)) == nil {
		t.Error("the outside reaches a translated guest by its own address")
	}
	if l.foreign(t) == before {
		t.Error("weft still has what is for the guests' addresses")
	}
	l.w.write(l.yaml("route"))
	l.w.do("apply", l.w.config)
	l.sees(t, l.web, l.at("10.0.0.1", 22), webAddress)
}
