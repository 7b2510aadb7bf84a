package dataplane

import (
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/memport"
)

const (
	machineIP  = "192.0.2.2"    // this machine's, shared with the uplink
	elsewhere  = "172.17.0.1"   // another one of its addresses
	insideHost = "10.0.0.50"    // and one on an internal port
	closed     = "203.0.113.77" // nobody's
)

// newHostLab is a routedLab whose uplink has this machine's address, with a host port.
func newHostLab(t *testing.T, v family, c RoutingConfig) (*routedLab, *station) {
	l := newRoutedLab(t, v)
	cfg := l.net.Config()
	cfg.Gateway.HostPort = "host"
	l.net.Reconfigure(cfg, nil)
	l.introduce()
	up := l.uplink.Config()
	up.Shared = true
	l.uplink.Reconfigure(up)
	c.HostAddresses = []netip.Addr{v.addr(machineIP), v.addr(elsewhere), v.addr(insideHost), addr("2001:db8::1")}
	l.lead(l.net, c)
	return l, l.station(l.net, "host", frame.CapAll)
}

// What is for this machine goes there by the host port where it may, and else nowhere;
// not by the wire, and not to where other packets go.
func TestRouterToHost(t *testing.T) { bothFamilies(t, testRouterToHost) }

func testRouterToHost(t *testing.T, v family) {
	for _, test := range []struct {
		what        string
		reach       bool
		nat, uplink bool
	}{{"reached", true, true, true}, {"not reached", false, true, true}, {"routed", true, false, true}, {"isolated", true, false, false}, {"all closed", false, false, false}} {
		l, host := newHostLab(t, v, RoutingConfig{})
		c := RoutingConfig{ReachHost: test.reach, IPv4: treatmentOf(test.nat), IPv6: treatmentOf(test.nat)}
		if test.uplink {
			c.Uplink = l.uplink
		}
		c.HostAddresses = []netip.Addr{v.addr(machineIP), v.addr(elsewhere)}
		l.lead(l.net, c)
		for i, to := range []string{machineIP, elsewhere} {
			b := l.fromGuest(to, frame.ProtoTCP, segment(5000, 22, 1, 0, syn, "", ""))
			l.guest.send(b)
			if test.reach {
				host.expect(b)
				continue
			}
			l.guest.drops(Prohibited, uint64(i+1))
			l.guest.expectError(3, 13, b)
			host.silent()
		}
		l.world.silent()
	}
}

// Of what is mapped at the address that uplink and machine share, the station behind it
// has each packet, and the machine all others.
func TestRouterSharedAddress(t *testing.T) { bothFamilies(t, testRouterSharedAddress) }

func testRouterSharedAddress(t *testing.T, v family) {
	l, host := newHostLab(t, v, RoutingConfig{})
	other := l.station(l.net, "other", frame.CapAll)
	l.meet(l.net, other, "10.0.0.6")
	l.lead(l.net, RoutingConfig{
		Uplink: l.uplink, IPv4: Translated, IPv6: Translated, ReachHost: true, HostAddresses: []netip.Addr{v.addr(machineIP)},
		Zone: v.published(frame.ProtoUDP, 53, 53, "10.0.0.6:53"),
	})
	l.guest.send(l.fromGuest(machineIP, frame.ProtoUDP, udp(5000, 53, "mapped")))
	other.expect(routedOnce(sealed(packet(other.mac, gatewayMAC, machineIP, "10.0.0.6", frame.ProtoUDP, udp(5000, 53, "mapped"))), other.mac, gatewayMAC))
	ssh := l.fromGuest(machineIP, frame.ProtoTCP, segment(5000, 22, 1, 0, syn, "", ""))
	l.guest.send(ssh)
	host.expect(ssh)
	ping := l.fromGuest(machineIP, frame.ProtoICMP, echo(icmpEcho, 9, ""))
	l.guest.send(ping)
	host.expect(ping)
	// The machine has a datagram to itself in all its pieces.
	whole := l.fromGuest(machineIP, frame.ProtoUDP, udp(5000, 2049, string(make([]byte, 24))))
	for _, b := range [][]byte{piece(whole, 1, 0, 16, true), piece(whole, 1, 16, 16, false)} {
		l.guest.send(b)
		host.expect(b)
	}
	// Of one that is mapped it gets nothing, unless a piece comes too soon.
	whole = l.fromGuest(machineIP, frame.ProtoUDP, udp(5000, 53, string(make([]byte, 24))))
	l.guest.send(piece(whole, 2, 0, 16, true))
	l.guest.send(piece(whole, 2, 16, 16, false))
	other.next()
	if b := other.next().Bytes; b[21] != 2 {
		t.Errorf("received % x, want the second piece", b)
	}
	host.silent()
	l.world.silent()
	if drops := l.guest.port.Stats().Drops; len(drops) != 0 {
		t.Errorf("drops: %v", drops)
	}
}

// An address of this machine that is inside the network is a station's as any other.
func TestRouterMachineInside(t *testing.T) { bothFamilies(t, testRouterMachineInside) }

func testRouterMachineInside(t *testing.T, v family) {
	l, _ := newHostLab(t, v, RoutingConfig{})
	l.lead(l.net, RoutingConfig{Uplink: l.uplink, HostAddresses: []netip.Addr{v.addr(insideHost)}})
	l.meet(l.net, l.guest, insideHost)
	out := sealed(packet(gatewayMAC, l.guest.mac, insideHost, farIP, frame.ProtoUDP, udp(1, 2, "x")))
	l.guest.send(out)
	l.world.expect(routedOnce(out, l.world.mac, uplinkMAC))
	in := l.fromWorld(farIP, insideHost, frame.ProtoUDP, udp(2, 1, "x"))
	l.world.send(in)
	l.guest.expect(routedOnce(in, l.guest.mac, gatewayMAC))
}

// outsideHas returns whether exactly one frame is in the inbox Outside: b.
func (l *routedLab) outsideHas(b []byte) bool {
	l.t.Helper()
	n, inbox := 0, l.net.Gateway().Inbox(Outside)
	for m := inbox.Poll(); m != nil; m = inbox.Poll() {
		got := l.guest.read(memport.Frame{Bytes: m.Frame.Bytes()}).Bytes
		if string(got) != string(b) || m.Port() != "guest" {
			l.t.Errorf("inbox: % x from %s, want % x", got, m.Port(), b)
		}
		inbox.Done(m)
		n++
	}
	return n == 1
}

// What leaves by sockets is in the inbox Outside as it was sent, and this machine's
// addresses only where they may be reached.
func TestRouterSockets(t *testing.T) { bothFamilies(t, testRouterSockets) }

func testRouterSockets(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	host := []netip.Addr{v.addr(elsewhere)}
	sent := uint64(0)
	for _, test := range []struct {
		what  string
		reach bool
		b     []byte
		want  bool
	}{
		{"UDP", false, l.fromGuest(farIP, frame.ProtoUDP, udp(1, 2, "x")), true},
		{"echo", false, l.fromGuest(farIP, frame.ProtoICMP, echo(icmpEcho, 1, "x")), true},
		{"a later fragment", false, piece(l.fromGuest(farIP, frame.ProtoUDP, udp(1, 2, "12345678")), 1, 8, 8, false), true},
		{"to the machine", false, l.fromGuest(elsewhere, frame.ProtoUDP, udp(1, 2, "x")), true},
		{"to the machine, reached", true, l.fromGuest(elsewhere, frame.ProtoUDP, udp(1, 2, "x")), true},
		{"to another station", true, l.fromGuest("10.0.0.9", frame.ProtoUDP, udp(1, 2, "x")), false},
		{"from elsewhere", true, sealed(packet(gatewayMAC, l.guest.mac, farIP, closed, frame.ProtoUDP, udp(1, 2, "x"))), false},
	} {
		l.lead(l.net, RoutingConfig{Sockets: true, Relay: new(RelayPorts), ReachHost: test.reach, HostAddresses: host})
		l.guest.send(test.b)
		sent++
		l.guest.settle(sent)
		if got := l.outsideHas(test.b); got != test.want {
			t.Errorf("%s: in the inbox: %v", test.what, got)
		}
	}
}

// The ports of the gateway that the relay uses are its own, in all pieces of a
// datagram, and all others are the host's.
func TestRouterRelay(t *testing.T) { bothFamilies(t, testRouterRelay) }

func testRouterRelay(t *testing.T, v family) {
	l, host := newHostLab(t, v, RoutingConfig{})
	var ports RelayPorts
	for i, relay := range []bool{true, false} {
		for _, port := range []uint16{RelayFirst, 65535} {
			ports.Set(frame.ProtoTCP, port, relay)
			ports.Set(frame.ProtoUDP, port, relay)
		}
		l.lead(l.net, RoutingConfig{Relay: &ports})
		whole := l.fromGuest("10.0.0.1", frame.ProtoUDP, udp(1, RelayFirst, "0123456789abcdef"))
		for j, test := range []struct {
			what         string
			b            []byte
			relay, other bool // who has it where there is a relay
		}{
			{"first", l.fromGuest("10.0.0.1", frame.ProtoTCP, segment(1, RelayFirst, 1, 0, syn, "", "")), true, false},
			{"last", l.fromGuest("10.0.0.1", frame.ProtoUDP, udp(1, 65535, "x")), true, false},
			{"below", l.fromGuest("10.0.0.1", frame.ProtoTCP, segment(1, RelayFirst-1, 1, 0, syn, "", "")), false, true},
			{"unused", l.fromGuest("10.0.0.1", frame.ProtoTCP, segment(1, RelayFirst+1, 1, 0, syn, "", "")), false, true},
			{"first fragment", piece(whole, 1, 0, 16, true), true, false},
			{"later fragment", piece(whole, 1, 16, 8, false), true, true},
			{"to all", sealed(packet(broadcast, l.guest.mac, guestIP, "255.255.255.255", frame.ProtoUDP, udp(1, RelayFirst, "x"))), false, true},
		} {
			l.guest.send(test.b)
			l.guest.settle(uint64(7*i + j + 1))
			if got := l.outsideHas(test.b); got != (test.relay && relay) {
				t.Errorf("%s, relay %v: in the inbox: %v", test.what, relay, got)
			}
			if got := host.receives(test.b); got != (test.other || !relay) {
				t.Errorf("%s, relay %v: the host has it: %v", test.what, relay, got)
			}
		}
	}
}

// What is for this machine and finds no host port goes by a socket, where there is one.
func TestRouterToHostBySocket(t *testing.T) { bothFamilies(t, testRouterToHostBySocket) }

func testRouterToHostBySocket(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{ReachHost: true, Relay: new(RelayPorts), HostAddresses: []netip.Addr{v.addr(elsewhere)}})
	b := l.fromGuest(elsewhere, frame.ProtoUDP, udp(1, 2, "x"))
	l.guest.send(b)
	l.guest.settle(1)
	if !l.outsideHas(b) {
		t.Error("not in the inbox")
	}
}
