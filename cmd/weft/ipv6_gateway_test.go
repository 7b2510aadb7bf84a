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

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/porttest"
)

// leading are settings of a gateway with nothing open, which hosts take for their
// default router.
const leading = both + "ra: {lifetime: 1800s}\ndns: {enabled: false}\n"

// On every kind of port the gateway is an IPv6 host with nothing open, at each of its
// addresses, and a router that leads nowhere.
func TestGatewayIsAHost6(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		t.Run(fmt.Sprint("MTU ", mtu), func(t *testing.T) {
			t.Parallel()
			kinds := []string{"internal", "raw", "raw-off"}
			s := layServed6(t, mtu, kinds...)
			s.write(s.yaml(leading))
			s.start()
			for i, kind := range kinds {
				t.Run(kind, func(t *testing.T) { isAHost6(t, s.hosts[i], mtu) })
			}
		})
	}
}

func isAHost6(t *testing.T, h *porttest.NS, mtu int) {
	address6(t, h, subnet6)
	for _, gateway := range []string{gateway6, gatewayLocal + "%eth0"} {
		porttest.Ping(t, h, gateway)
		for _, size := range []string{fmt.Sprint(mtu - 48), "5000", "20000"} {
			h.Run(t, "ping", "-6", "-n", "-c", "2", "-i", "0.2", "-w", "20", "-M", "want", "-s", size, gateway)
		}
		for _, port := range []string{"9", "53", "547"} {
			for _, network := range []string{"udp", "tcp"} {
				if err := dialled(h, network, net.JoinHostPort(gateway, port)); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%s port %s at %s, which is closed: %v", network, port, gateway, err)
				}
			}
		}
		address, _, _ := strings.Cut(gateway, "%")
		if mac := strings.TrimSpace(h.Run(t, "ndisc6", "-1", "-q", "-r", "5", address, "eth0")); !strings.EqualFold(mac, gatewayMAC) {
			t.Errorf("%s is at %q, want %s", address, mac, gatewayMAC)
		}
	}
	hasRoute(t, h, "default", "via "+gatewayLocal)
	eventually(t, "the gateway says that it leads nowhere", func() bool { // it says so at a limited rate
		out, err := h.TryRun("ping", "-6", "-n", "-c", "1", "-w", "2", elsewhere6)
		if err == nil {
			t.Fatalf("somebody is at %s:\n%s", elsewhere6, out)
		}
		return strings.Contains(out, "From "+gateway6) && strings.Contains(out, "Destination unreachable: No route")
	})
	eventually(t, "who connects elsewhere is told", func() bool {
		return errors.Is(dialled(h, "tcp", "["+elsewhere6+"]:80"), syscall.ENETUNREACH)
	})
	eventually(t, "who sends with a hop limit of 1 is told", func() bool {
		out, _ := h.TryRun("ping", "-6", "-n", "-c", "1", "-w", "2", "-t", "1", elsewhere6)
		return strings.Contains(out, "From "+gateway6) && strings.Contains(out, "Time exceeded: Hop limit")
	})
	out := h.Run(t, "traceroute", "-6", "-n", "-q", "1", "-w", "5", "-m", "3", elsewhere6)
	// It counts a packet's hops before it looks for a way (RFC 8200 section 3).
	if hops := strings.Split(strings.TrimSpace(out), "\n"); len(hops) != 3 || !strings.Contains(hops[1], " "+gateway6+" ") ||
		!strings.Contains(hops[2], " "+gateway6+" ") || !strings.HasSuffix(hops[2], "!N") {
		t.Errorf("the gateway is not the first and last hop:\n%s", out)
	}
}

// What the gateway must not answer: solicitations for others, and those that have
// come over a router or with a bad checksum (RFC 4861 section 7.1.1).
func TestGatewayStaysSilent6(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := newServed6(t, leading, "raw")
	h := s.hosts[0]
	local6(t, h)
	for _, absent := range []string{"2001:db8:1::77", "fe80::77", elsewhere6} {
		if out, err := h.TryRun("ndisc6", "-1", "-r", "1", "-w", "1000", absent, "eth0"); err == nil {
			t.Errorf("somebody answers for %s:\n%s", absent, out)
		}
	}
	conn := h.RawConn(t, "eth0")
	mac := frame.MAC{2, 0, 0, 0, 0, 0x66}
	target := netip.MustParseAddr(gateway6)
	group := ndp.SolicitedNode(target)
	ask := func(change func(f []byte)) bool {
		t.Helper()
		f := ndp.Packet(mac, ndp.GroupMAC(group), ndp.LinkLocal(mac), group, ndp.Neighbor{Target: target, MAC: mac}.Solicitation())
		b := bytes.Clone(f.Bytes())
		change(b)
		conn.Send(b)
		return conn.RecvMatch(time.Second, func(f []byte) bool { return len(f) > 54 && f[54] == ndp.NeighborAdvertisement && f[5] == mac[5] }) != nil
	}
	if !ask(func([]byte) {}) {
		t.Error("a good solicitation is not answered")
	}
	for name, change := range map[string]func(f []byte){
		"hop limit 254":     func(f []byte) { f[14+7] = 254 },
		"bad checksum":      func(f []byte) { f[14+40+2] ^= 1 },
		"code 1":            func(f []byte) { f[14+40+1] = 1; f[14+40+3]-- },
		"option of no size": func(f []byte) { f[14+40+24+1] = 0; f[14+40+3]++ },
	} {
		if ask(change) {
			t.Errorf("a solicitation with %s is answered", name)
		}
	}
}

// A guest that takes an address of the gateway for its own hurts only itself.
func TestGatewayIsNotReplaced6(t *testing.T) {
	t.Parallel()
	s := newServed6(t, leading, "raw", "raw")
	victim, thief := s.hosts[0], s.hosts[1]
	address6(t, victim, subnet6)
	local6(t, thief)
	conn := thief.RawConn(t, "eth0")
	for _, addr := range []string{gateway6, gatewayLocal} {
		zone := ""
		if addr == gatewayLocal {
			zone = "%eth0"
		}
		// Taken in earnest: it finds out that somebody has it (RFC 4862 section 5.4.3).
		thief.Run(t, "ip", "-6", "addr", "add", addr+"/64", "dev", "eth0")
		eventually(t, "the thief learns that "+addr+" is taken", func() bool {
			return strings.Contains(thief.Run(t, "ip", "-6", "addr", "show", "dev", "eth0"), "dadfailed")
		})
		thief.Run(t, "ip", "-6", "addr", "del", addr+"/64", "dev", "eth0")
		thief.Addr(t, "eth0", addr+"/128") // without asking
		for round := range 3 {
			for what, claim := range claims6(t, thief, victim, addr) {
				forget(t, victim)
				porttest.Ping(t, victim, addr+zone)
				conn.Send(claim)
				time.Sleep(50 * time.Millisecond) // for what would be believed
				if mac := macOf6(t, victim, addr); mac != gatewayMAC {
					t.Fatalf("after %s, round %d, %s is at %s", what, round, addr, mac)
				}
			}
		}
		thief.Run(t, "ip", "-6", "addr", "del", addr+"/128", "dev", "eth0")
	}
	waitDrops(t, s.weftProcess, "p2", "gateway-address", 20)
}

// claims6 are messages by which a thief says that it has an address.
func claims6(t *testing.T, thief, victim *porttest.NS, addr string) map[string][]byte {
	t.Helper()
	mac, all, a := frame.MAC(thief.Link(t, "eth0").Attrs().HardwareAddr), ndp.GroupMAC(ndp.AllNodes), netip.MustParseAddr(addr)
	local := netip.MustParseAddr(strings.TrimSuffix(local6(t, thief), "%eth0"))
	asked := netip.MustParseAddr(address6(t, victim, subnet6))
	claim := ndp.Neighbor{Target: a, MAC: mac, Router: true, Override: true}.Advertisement()
	ask := ndp.Neighbor{Target: asked, MAC: mac}.Solicitation()
	router := ndp.Advertisement{HopLimit: 64, Lifetime: time.Hour, MAC: mac}
	claims := map[string][]byte{
		"an advertisement from there":       ndp.Packet(mac, all, a, ndp.AllNodes, claim).Bytes(),
		"an advertisement from its own":     ndp.Packet(mac, all, local, ndp.AllNodes, claim).Bytes(),
		"a solicitation from there":         ndp.Packet(mac, ndp.GroupMAC(ndp.SolicitedNode(asked)), a, ndp.SolicitedNode(asked), ask).Bytes(),
		"a router advertisement from there": ndp.Packet(mac, all, a, ndp.AllNodes, router.Message()).Bytes(),
	}
	return claims
}

// macOf6 is macOf for IPv6.
func macOf6(t *testing.T, ns *porttest.NS, addr string) string {
	t.Helper()
	_, after, _ := strings.Cut(ns.Run(t, "ip", "-6", "neigh", "show", addr, "dev", "eth0"), "lladdr ")
	mac, _, _ := strings.Cut(after, " ")
	return mac
}

// A gateway in a VLAN serves it alone: by a port that is of that VLAN, and by a trunk
// with a tag.
func TestGatewayInVLAN6(t *testing.T) {
	t.Parallel()
	s := layServed6(t, 1500, "raw", "raw", "raw")
	s.ports = strings.Replace(s.ports, "p1: {type: raw", "p1: {type: raw, vlan: {access: 10}", 1)
	s.ports = strings.Replace(s.ports, "p2: {type: raw", "p2: {type: raw, vlan: {access: 20}", 1)
	s.ports = strings.Replace(s.ports, "p3: {type: raw", "p3: {type: raw, vlan: {trunk: [10, 20]}", 1)
	s.write(s.yaml(leading + "vlan: 10\ndhcp6: {range: \"" + pool6 + "\"}\n"))
	s.start()
	in, out := s.hosts[0], s.hosts[1]
	address6(t, in, subnet6)
	hasRoute(t, in, "default", "via "+gatewayLocal)
	porttest.Ping(t, in, gateway6)
	if c := newRawClient6(t, in, 1); c.obtain().address == "" {
		t.Error("no lease in the VLAN")
	}
	if a := solicits(t, out, "1"); a != nil {
		t.Errorf("advertised in another VLAN: %v", a)
	}
	if list := addresses6(t, out, subnet6); len(list) > 0 {
		t.Errorf("addresses in another VLAN: %v", list)
	}
	// A tagged solicitation by the trunk.
	trunk := s.hosts[2].RawConn(t, "eth0")
	mac := frame.MAC{2, 0, 0, 0, 0, 0x66}
	asked := func(vid byte, timeout time.Duration) []byte {
		f := ndp.Packet(mac, ndp.GroupMAC(ndp.AllRouters), ndp.LinkLocal(mac), ndp.AllRouters, ndp.Solicitation(mac)).Bytes()
		trunk.Send(append(append(bytes.Clone(f[:12]), 0x81, 0, 0, vid), f[12:]...))
		return trunk.RecvMatch(timeout, func(f []byte) bool {
			return len(f) > 58 && f[12] == 0x81 && f[15] == vid && f[18+6] == 58 && f[18+40] == ndp.RouterAdvertisement
		})
	}
	if asked(10, 30*time.Second) == nil {
		t.Error("no advertisement in VLAN 10 by the trunk")
	}
	if f := asked(20, time.Second); f != nil {
		t.Errorf("an advertisement in VLAN 20 by the trunk: % x", f)
	}
}
