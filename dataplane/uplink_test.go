package dataplane

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
)

// blank is a packet as services hand it to Resolve: without MAC addresses.
func (s *station) blank(b []byte) *frame.Frame {
	if s.v.six {
		b, _ = to6(s.t, b, frame.Offload{})
	}
	b = append(make([]byte, frame.Headroom), b...)
	clear(b[frame.Headroom:][:12])
	return wrap(b)
}

// Resolve finds the MAC address of a station, or of the router before it, and asks for
// it where it is not known; of what is nowhere nothing leaves.
func TestGatewayResolve(t *testing.T) { bothFamilies(t, testGatewayResolve) }

func testGatewayResolve(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	lan, up := l.net.Gateway(), l.uplink.Network().Gateway()
	toGuest := packet(l.guest.mac, gatewayMAC, "10.0.0.1", guestIP, frame.ProtoUDP, udp(61000, 7, "x"))
	for _, test := range []struct {
		what           string
		seat           *Gateway
		s              *station
		router, source string
		asked          string
		b              []byte
	}{
		{"a guest", lan, l.guest, "gateway", "10.0.0.1", guestIP, toGuest},
		{"a server on the link", up, l.world, "uplink", outsideIP, "192.0.2.7", packet(l.world.mac, uplinkMAC, outsideIP, "192.0.2.7", frame.ProtoUDP, udp(68, 67, "x"))},
		{"a server beyond the router", up, l.world, "uplink", outsideIP, worldIP, packet(l.world.mac, uplinkMAC, outsideIP, farIP, frame.ProtoUDP, udp(68, 67, "x"))},
	} {
		mac := map[string]frame.MAC{"gateway": gatewayMAC, "uplink": uplinkMAC}[test.router]
		test.seat.Resolve([]*frame.Frame{l.guest.blank(test.b), l.guest.blank(test.b)})
		test.s.asksFor(mac, test.source, test.asked)
		for range 2 {
			test.s.expect(test.b)
		}
		test.seat.Resolve([]*frame.Frame{l.guest.blank(test.b)})
		test.s.expect(test.b)
	}
	lan.Resolve([]*frame.Frame{
		l.guest.blank(packet(l.guest.mac, gatewayMAC, "10.0.0.1", farIP, frame.ProtoUDP, udp(1, 2, "x"))),
		l.guest.blank(ethernet(l.guest.mac, gatewayMAC, "no packet")),
	})
	l.guest.silent()
}

// The uplink answers ARP for its addresses and for what it stands in for, and for
// nothing else; nor where this machine does.
func TestUplinkAnswersARP(t *testing.T) {
	v := ipv4
	l := newRoutedLab(t, v)
	cfg := l.uplink.Config()
	cfg.Extra, cfg.ProxyARP = []netip.Addr{v.addr("192.0.2.3")}, v.prefixes("10.0.0.0/24")
	l.uplink.Reconfigure(cfg)
	for _, own := range []string{outsideIP, "192.0.2.3"} { // it tells where they are
		if b := l.world.next().Bytes; frame.MAC(b) != broadcast || netip.AddrFrom4([4]byte(b[arpTarget:])).String() != own {
			t.Errorf("received % x, want an announcement of %s", b, own)
		}
	}
	for _, to := range []frame.MAC{broadcast, uplinkMAC} {
		for target, want := range map[string]bool{outsideIP: true, "192.0.2.3": true, guestIP: true, "192.0.2.4": false, serverIP: false} {
			for _, sender := range []string{worldIP, "0.0.0.0"} {
				l.world.says(to, arpRequest, sender, target)
				if !want {
					continue
				}
				b := l.world.next().Bytes
				if b[arpOperation+1] != arpReply || frame.MAC(b) != l.world.mac || frame.MAC(b[arpSenderMAC:]) != uplinkMAC ||
					netip.AddrFrom4([4]byte(b[arpSender:])).String() != target || netip.AddrFrom4([4]byte(b[arpTarget:])).String() != sender {
					t.Errorf("%s for %s: answered % x", sender, target, b)
				}
			}
		}
		l.world.says(to, arpReply, worldIP, outsideIP)
	}
	l.world.settle(22)
	l.world.silent()
	cfg.Shared = true
	l.uplink.Reconfigure(cfg)
	l.world.says(broadcast, arpRequest, worldIP, outsideIP)
	l.world.settle(23)
	l.world.silent()
}

// What comes for a DHCP client is in its inbox, with and without an address, and is not
// where there is no client.
func TestUplinkClientInbox(t *testing.T) {
	v := ipv4
	l := newRoutedLab(t, v)
	inbox := l.uplink.Network().Gateway().Inbox(Client)
	cfg := l.uplink.Config()
	offers := [][]byte{
		sealed(packet(uplinkMAC, l.world.mac, worldIP, "192.0.2.9", frame.ProtoUDP, udp(67, 68, "offer"))),
		sealed(packet(broadcast, l.world.mac, worldIP, "255.255.255.255", frame.ProtoUDP, udp(67, 68, "offer"))),
	}
	sent := uint64(0)
	for _, c := range []struct {
		client bool
		prefix netip.Prefix
	}{{true, netip.Prefix{}}, {true, cfg.Address}, {false, cfg.Address}} {
		cfg.Client, cfg.Address = c.client, c.prefix
		l.uplink.Reconfigure(cfg)
		l.world.says(broadcast, arpRequest, "0.0.0.0", "192.0.2.77") // somebody's probe is no claim
		sent++
		for _, b := range offers {
			l.world.send(b)
			sent++
			l.world.settle(sent)
			m := inbox.Poll()
			if (m != nil) != c.client || m != nil && string(m.Frame.Bytes()) != string(b) {
				t.Errorf("client %v, address %s: the inbox has %v", c.client, c.prefix, m)
			}
			if m != nil {
				inbox.Done(m)
			}
		}
	}
	cfg.Client, cfg.Address = true, netip.Prefix{}
	l.uplink.Reconfigure(cfg)
	for range 17 {
		l.world.send(offers[0])
	}
	l.world.drops(ServiceFull, 1)
	if n := l.world.port.Stats().Drops[GatewayAddress]; n != 0 {
		t.Errorf("%d frames are taken for the uplink's own", n)
	}
}

// An uplink whose address has moved ends the flows of the old one, asks anew where its
// neighbours are, and goes on with the new one.
func TestUplinkMoves(t *testing.T) { bothFamilies(t, testUplinkMoves) }

func testUplinkMoves(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	out := udp(5000, 7, "x")
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, out))
	l.world.expect(l.toWorld(outsideIP, farIP, frame.ProtoUDP, out))
	cfg := l.uplink.Config()
	cfg.MAC = frame.MAC{2, 0, 0, 0, 2, 2}
	v.uplink(&cfg, "192.0.2.99/24")
	l.uplink.Reconfigure(cfg)
	if b := l.world.next().Bytes; frame.MAC(b) != broadcast || frame.MAC(b[arpSenderMAC:]) != cfg.MAC || b[arpTarget+3] != 99 {
		t.Errorf("received % x, want an announcement", b)
	}
	for f := range l.uplink.NAT().Flows {
		t.Errorf("a flow is left: %+v", f)
	}
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, out))
	l.world.asksFor(cfg.MAC, "192.0.2.99", worldIP)
	want := routedOnce(sealed(packet(l.world.mac, cfg.MAC, "192.0.2.99", farIP, frame.ProtoUDP, out)), l.world.mac, cfg.MAC)
	l.world.expect(want)
	l.world.send(sealed(packet(cfg.MAC, l.world.mac, farIP, outsideIP, frame.ProtoUDP, udp(7, 5000, "old"))))
	l.world.drops(NoRoute, 1)
	l.world.send(sealed(packet(cfg.MAC, l.world.mac, farIP, "192.0.2.99", frame.ProtoUDP, udp(7, 5000, "new"))))
	l.guest.expect(l.toGuest(farIP, frame.ProtoUDP, udp(7, 5000, "new")))
}

// Nobody outside has an address of the uplink's or of the networks behind it, and
// nothing is routed to all stations of a subnet.
func TestUplinkForgedSources(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{Zone: func() nat.ZoneConfig {
		z := ipv4.published(frame.ProtoUDP, 53, 53, guestIP+":53")
		z.Filtering = nat.None
		return z
	}()})
	l.lead(l.dmz, RoutingConfig{Uplink: l.uplink})
	n := uint64(0)
	for _, from := range []string{outsideIP, "192.0.2.255", "10.0.0.77", serverIP} {
		l.world.send(l.fromWorld(from, outsideIP, frame.ProtoUDP, udp(7, 53, "forged")))
		n++
		l.world.drops(SourceAddress, n)
	}
	l.world.send(l.fromWorld(serverIP, "10.1.0.6", frame.ProtoUDP, udp(7, 53, "forged")))
	l.world.drops(SourceAddress, n+1)
	l.world.send(l.fromWorld(farIP, "10.1.0.255", frame.ProtoUDP, udp(7, 53, "to all")))
	l.world.drops(BadPacket, 1)
	l.guest.send(l.fromGuest("192.0.2.255", frame.ProtoUDP, udp(7, 53, "to all")))
	l.guest.drops(BadPacket, 1)
	l.guest.send(sealed(packet(gatewayMAC, l.guest.mac, "10.0.0.255", farIP, frame.ProtoUDP, udp(7, 53, "from all"))))
	l.guest.drops(SourceAddress, 1)
	l.world.silent()
	l.guest.silent()
	l.world.send(l.fromWorld(farIP, outsideIP, frame.ProtoUDP, udp(7, 53, "true")))
	l.guest.expect(l.toGuest(farIP, frame.ProtoUDP, udp(7, 53, "true")))
	l.world.send(l.fromWorld(farIP, serverIP, frame.ProtoUDP, udp(7, 53, "true")))
	l.server.next()
}

// Two stations alone on a link need no address for all (RFC 3021).
func TestUplinkOfTwo(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{})
	cfg := l.uplink.Config()
	cfg.Address = netip.MustParsePrefix("192.0.2.254/31")
	cfg.Routes = []Route{{Destination: everywhere[0], Via: addr("192.0.2.255")}}
	l.uplink.Reconfigure(cfg)
	l.world.next() // the announcement
	l.meet(l.uplink.Network(), l.world, "192.0.2.255")
	for _, to := range []string{"192.0.2.255", farIP} {
		l.guest.send(l.fromGuest(to, frame.ProtoUDP, udp(5000, 7, "x")))
		l.world.expect(l.toWorld("192.0.2.254", to, frame.ProtoUDP, udp(5000, 7, "x")))
	}
}

// Two networks of one uplink cannot both have a subnet that is not translated.
func TestUplinkClash(t *testing.T) { bothFamilies(t, testUplinkClash) }

func testUplinkClash(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	cfg := l.dmz.Config()
	v.address(&cfg.Gateway, "10.0.0.9/24")
	l.dmz.Reconfigure(cfg, nil)
	if err := l.dmz.SetRouting(RoutingConfig{Uplink: l.uplink}); err == nil || !strings.Contains(err.Error(), `network "lan" has the subnet `+v.prefix("10.0.0.0/24").String()) {
		t.Errorf("the same subnet again: %v", err)
	}
	l.server.send(sealed(packet(dmzMAC, l.server.mac, "10.0.0.5", farIP, frame.ProtoUDP, udp(1, 2, "x"))))
	l.server.drops(NoRoute, 1) // as before
	l.lead(l.dmz, RoutingConfig{Uplink: l.uplink, IPv4: Translated, IPv6: Translated})
	l.lead(l.net, RoutingConfig{Uplink: l.uplink}) // again
}

// An uplink follows a network that gets another subnet or MTU.
func TestUplinkFollowsNetwork(t *testing.T) { bothFamilies(t, testUplinkFollowsNetwork) }

func testUplinkFollowsNetwork(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	cfg := l.net.Config()
	cfg.MTU = 900
	v.address(&cfg.Gateway, "10.9.0.1/24")
	l.net.Reconfigure(cfg, nil)
	in := l.fromWorld(farIP, "10.9.0.5", frame.ProtoUDP, udp(7, 1, "x"))
	l.world.send(in)
	l.guest.asksFor(gatewayMAC, "10.9.0.1", "10.9.0.5")
	l.guest.expect(routedOnce(in, l.guest.mac, gatewayMAC))
	l.world.send(l.fromWorld(farIP, guestIP, frame.ProtoUDP, udp(7, 1, "x")))
	l.world.drops(NoRoute, 1)
	if got := l.uplink.Network().snapshot.Load().router.narrowest; got != 914 {
		t.Errorf("the longest frame for all networks has %d bytes, want 914", got)
	}
}
