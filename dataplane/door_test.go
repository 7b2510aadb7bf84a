package dataplane

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/memport"
)

// A network's ports have doors to where it leads, the same ones for as long as it does,
// and the other networks know of those only.
func TestDoorsComeAndGo(t *testing.T) { bothFamilies(t, testDoorsComeAndGo) }

func testDoorsComeAndGo(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	up := l.uplink.Network()
	count := func(n *Network) int {
		n.doorsMu.Lock()
		defer n.doorsMu.Unlock()
		return len(n.doors)
	}
	check := func(when string, lan, dmz, uplink int) {
		t.Helper()
		if a, b, c := count(l.net), count(l.dmz), count(up); a != lan || b != dmz || c != uplink {
			t.Errorf("%s: %d, %d and %d doors, want %d, %d and %d", when, a, b, c, lan, dmz, uplink)
		}
	}
	check("at first", 1, 1, 1) // each port's to its own network
	l.lead(l.net, RoutingConfig{Uplink: l.uplink, Reach: []Reach{{l.dmz, v.prefixes("10.1.0.0/24")}}})
	check("with ways", 2, 2, 2)
	door := l.guest.port.doors[1]
	l.net.Reconfigure(l.net.Config(), nil)
	if l.guest.port.doors[1] != door {
		t.Error("a change of something else has made new doors")
	}
	l.station(l.net, "second", frame.CapAll)
	check("with a second guest", 3, 3, 3)
	l.net.RemovePort("second")
	check("without it", 2, 2, 2)
	l.lead(l.net, RoutingConfig{})
	check("without ways", 1, 1, 1)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	l.sw.RemoveNetwork("lan")
	check("without the network", 0, 1, 1)
}

// Where a removed network or uplink still stands in the routing of another, nothing goes,
// and nothing waits for ever.
func TestRemovedLeadsNowhere(t *testing.T) { bothFamilies(t, testRemovedLeadsNowhere) }

func testRemovedLeadsNowhere(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink, IPv4: Translated, IPv6: Translated, Reach: []Reach{{l.dmz, v.prefixes("10.1.0.0/24")}}})
	l.guest.send(l.fromGuest(serverIP, frame.ProtoUDP, udp(1, 7, "x")))
	l.guest.send(l.fromGuest(farIP, frame.ProtoUDP, udp(1, 7, "x")))
	l.guest.settle(2) // both wait for a neighbour
	l.sw.RemoveNetwork("dmz")
	l.sw.RemoveUplink("eth0")
	l.guest.drops(NoNeighbor, 2)
	for i, to := range []string{serverIP, farIP} {
		b := l.fromGuest(to, frame.ProtoUDP, udp(1, 7, "x"))
		l.guest.send(b)
		l.guest.drops(NoRoute, uint64(i+1))
		l.guest.expectError(3, byte(1-i), b)
	}
	l.uplink.Reconfigure(l.uplink.Config())
	l.lead(l.net, RoutingConfig{})
}

// A zone is another network's only once the one that had it has left its uplink.
func TestZonesAreFreedLast(t *testing.T) { bothFamilies(t, testZonesAreFreedLast) }

func testZonesAreFreedLast(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	z := l.net.Zone()
	l.lead(l.net, RoutingConfig{Uplink: l.uplink, IPv4: Translated, IPv6: Translated})
	l.uplink.Network().mu.Lock() // RemoveNetwork waits here
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		l.sw.RemoveNetwork("lan")
	}()
	eventually(t, func() bool { return l.sw.Network("lan") == nil }, func() { t.Error("still there") })
	if other := l.network("other", testConfig); other.Zone() == z {
		t.Error("another network has the zone already")
	}
	l.uplink.Network().mu.Unlock()
	<-gone
	if other := l.network("another", testConfig); other.Zone() != z {
		t.Errorf("zone %d is not free again", z)
	}
}

// A capture of a network shows what is routed into it, as the gateway's, and what leaves
// it as the guest has sent it.
func TestRoutedCapture(t *testing.T) { bothFamilies(t, testRoutedCapture) }

func testRoutedCapture(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	inside, outside := l.net.Capture(""), l.uplink.Network().Capture("")
	defer inside.Close()
	defer outside.Close()
	expect := func(c *Capture, port string, b []byte) {
		t.Helper()
		var r *Record
		select {
		case r = <-c.Records():
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: nothing is captured, want % x", port, b)
		}
		if r.Port != port || r.Direction != Received || r.Verdict != Forwarded || string(l.guest.read(memport.Frame{Bytes: r.Frame.Bytes()}).Bytes) != string(b) {
			t.Errorf("captured %s %v %v % x, want %s % x", r.Port, r.Direction, r.Verdict, r.Frame.Bytes(), port, b)
		}
	}
	out, sent := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x")), l.toWorld(outsideIP, farIP, frame.ProtoUDP, udp(5000, 7, "x"))
	l.guest.send(out)
	l.world.expect(sent)
	expect(inside, "guest", out)
	expect(outside, gatewayName, sent)
	in, got := l.fromWorld(farIP, outsideIP, frame.ProtoUDP, udp(7, 5000, "y")), l.toGuest(farIP, frame.ProtoUDP, udp(7, 5000, "y"))
	l.world.send(in)
	l.guest.expect(got)
	expect(outside, "eth0", in)
	expect(inside, gatewayName, got)
}

// changes are what may happen to a routedLab at any time.
func (l *routedLab) changes() []func(i int) {
	nat := RoutingConfig{Uplink: l.uplink, IPv4: Translated, IPv6: Translated, Zone: l.v.published(frame.ProtoUDP, 53, 53, guestIP+":53")}
	up, lan := l.uplink.Config(), l.net.Config()
	return []func(int){
		func(i int) {
			reach := nat
			reach.Reach = []Reach{{l.dmz, prefixes("10.1.0.0/24")}}
			_ = l.net.SetRouting([]RoutingConfig{nat, {}, {Uplink: l.uplink}, reach, {Sockets: true}}[i%5])
		},
		func(i int) {
			back := []Reach{{l.net, prefixes("10.0.0.0/24")}}
			_ = l.dmz.SetRouting([]RoutingConfig{{Reach: back}, {Uplink: l.uplink, IPv4: Translated, IPv6: Translated}, {Uplink: l.uplink, Reach: back}}[i%3])
		},
		func(i int) {
			c := up
			c.MTU -= i % 2 * 500
			c.Address = []netip.Prefix{up.Address, netip.MustParsePrefix("192.0.2.9/24"), {}}[i%3]
			l.uplink.Reconfigure(c)
		},
		func(i int) {
			c := lan
			c.MTU -= i % 2 * 400
			l.net.Reconfigure(c, nil)
		},
		func(i int) {
			name := fmt.Sprint("n", i%3)
			cfg := testConfig
			cfg.Address, cfg.Gateway.Address = frame.MAC{2, 0, 0, 1, 0, byte(i)}, netip.MustParsePrefix("10.7.0.1/24")
			if n, err := l.sw.AddNetwork(name, cfg); err == nil {
				_ = n.SetRouting(nat)
				l.station(n, "p", 0)
				l.sw.RemoveNetwork(name)
			}
		},
		func(i int) {
			name := fmt.Sprint("u", i%3)
			if u, err := l.sw.AddUplink(name, up); err == nil {
				p, _ := u.Network().AddPort(name, Policy{})
				p.Attach(&guarded{Port: memport.New(0)}, 1500, func(error) {})
				_ = l.dmz.SetRouting(RoutingConfig{Uplink: u, IPv4: Translated, IPv6: Translated})
				_ = l.dmz.SetRouting(RoutingConfig{})
				l.sw.RemoveUplink(name)
			}
		},
		func(int) {
			l.guest.port.Detach()
			l.guest.port.Attach(&guarded{Port: memport.New(frame.CapAll)}, 1500, func(error) {})
		},
		func(int) {
			l.net.neighbors.flush(netip.Addr.IsValid)
			l.uplink.Network().neighbors.tick(l.sw.now.Load())
			l.uplink.Network().Gateway().Resolve([]*frame.Frame{l.guest.blank(packet(l.world.mac, uplinkMAC, outsideIP, farIP, frame.ProtoUDP, udp(68, 67, "x")))})
		},
	}
}

// Everything may change while packets cross from several ports at once: no lock is held
// up, nothing is sent to what is closed, and afterwards all is as it should be.
func TestRouterConcurrency(t *testing.T) { bothFamilies(t, testRouterConcurrency) }

func testRouterConcurrency(t *testing.T, v family) {
	l := newNATLab(t, v, RoutingConfig{})
	up := l.uplink.Config()
	stop := make(chan struct{})
	var senders, changers sync.WaitGroup
	traffic := func(s *station, list ...[]byte) {
		senders.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				s.io.Inject(memport.Frame{Bytes: list[i%len(list)]}) // lost where the queue is full
				s.poll()
			}
		})
	}
	more := l.station(l.net, "more", 0)
	long := string(make([]byte, 1400))
	whole := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, long))
	traffic(more, l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x")), l.fromGuest(serverIP, frame.ProtoTCP, segment(1, 2, 3, 0, syn, "\x02\x04\x23\x00", "")),
		whole, piece(whole, 1, 16, 16, false), piece(whole, 1, 0, 16, true), l.fromGuest(outsideIP, frame.ProtoUDP, udp(5000, 53, "x")))
	traffic(l.server, sealed(packet(dmzMAC, l.server.mac, serverIP, guestIP, frame.ProtoUDP, udp(7, 5000, long))),
		sealed(packet(dmzMAC, l.server.mac, serverIP, farIP, frame.ProtoICMP, echo(icmpEcho, 1, "x"))))
	traffic(l.world, l.fromWorld(farIP, outsideIP, frame.ProtoUDP, udp(7, 5000, long)), l.fromWorld(farIP, outsideIP, frame.ProtoUDP, udp(9, 53, "x")),
		l.fromWorld(farIP, serverIP, frame.ProtoUDP, udp(9, 53, "x")), arpPacket(broadcast, l.world.mac, arpReply, outsideIP))
	for _, change := range l.changes() {
		changers.Go(func() {
			for i := range 60 {
				change(i)
			}
		})
	}
	changers.Wait()
	close(stop)
	senders.Wait()

	l.dmz.Reconfigure(l.dmz.Config(), nil)
	l.uplink.Reconfigure(up)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink, IPv4: Translated, IPv6: Translated})
	l.introduce()
	for s, ok := more.poll(); ok; s, ok = more.poll() {
		_ = s
	}
	l.net.neighbors.learn(v.addr(guestIP), more.mac, true, 1)
	out := sealed(packet(gatewayMAC, more.mac, guestIP, farIP, frame.ProtoUDP, udp(6000, 7, "after all")))
	want := l.toWorld(outsideIP, farIP, frame.ProtoUDP, udp(6000, 7, "after all"))
	more.send(out)
	for b := l.world.next().Bytes; string(b) != string(want); b = l.world.next().Bytes {
	}
}
