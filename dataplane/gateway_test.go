package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/memport"
)

var (
	gatewayMAC  = frame.MAC{2, 0, 0, 0, 0, 0xfe}
	gatewayAddr = netip.MustParsePrefix("10.0.0.1/24")
)

// newGateway makes a network with a gateway at 10.0.0.1, which serves DHCP and
// DNS; with a host port the port "host" has the same addresses.
func newGateway(t *testing.T, hostPort bool) (*lab, *Gateway) {
	sw := New()
	t.Cleanup(sw.Close)
	l := &lab{t: t, sw: sw}
	cfg := testConfig
	cfg.Address = gatewayMAC
	cfg.Gateway = GatewayConfig{Address: gatewayAddr, DHCP: true, DNS: true}
	if hostPort {
		cfg.Gateway.HostPort = "host"
	}
	l.net = l.network("lan", cfg)
	return l, l.net.Gateway()
}

// ip builds an IPv4 packet of a protocol with the start of its payload.
func ip(dst, src frame.MAC, to string, protocol uint8, fragment uint16, l4 ...byte) []byte {
	b := make([]byte, 20, 60)
	b[0], b[8], b[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(b[6:], fragment)
	copy(b[12:], []byte{10, 0, 0, 5})
	addr := netip.MustParseAddr(to).As4()
	copy(b[16:], addr[:])
	b = append(b, l4...)
	b = append(b, make([]byte, 40-len(l4))...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[10:], frame.Checksum(b[:20], 0))
	return append(append(append(append([]byte(nil), dst[:]...), src[:]...), 8, 0), b...)
}

func udpTo(dst, src frame.MAC, to string, port uint16) []byte {
	return ip(dst, src, to, frame.ProtoUDP, 0, 0xc0, 0, byte(port>>8), byte(port), 0, 40)
}

func tcpTo(dst, src frame.MAC, to string, port uint16) []byte {
	return ip(dst, src, to, frame.ProtoTCP, 0, 0xc0, 0, byte(port>>8), byte(port), 0, 0, 0, 0, 0, 0, 0, 0, 0x50)
}

func arpPacket(dst, src frame.MAC, operation uint16, target string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, byte(operation)}
	b = append(append(b, src[:]...), 10, 0, 0, 5)
	addr := netip.MustParseAddr(target).As4()
	b = append(append(b, make([]byte, 6)...), addr[:]...)
	return append(append(append(append([]byte(nil), dst[:]...), src[:]...), 8, 6), b...)
}

func sTagged(b []byte, vid uint16) []byte {
	b = tagged(b, vid)
	b[12], b[13] = 0x88, 0xa8
	return b
}

// inboxHas takes everything out of the inboxes, and returns the service of the
// only message, or "".
func inboxHas(t *testing.T, g *Gateway, want []byte) string {
	t.Helper()
	found := ""
	for s, name := range [numServices]string{"station", "dhcp", "dns"} {
		for m := g.Inbox(Service(s)).Poll(); m != nil; m = g.Inbox(Service(s)).Poll() {
			if string(m.Frame.Bytes()) != string(want) || m.Port() != "a" {
				t.Errorf("inbox %s: % x from %s", name, m.Frame.Bytes(), m.Port())
			}
			found += name
			g.Inbox(Service(s)).Done(m)
		}
	}
	return found
}

// Who gets what is addressed to the gateway: the network's own host, by service,
// this machine behind the host port, both, or nobody.
func TestGatewayOwners(t *testing.T) {
	a := mac("a")
	const later, first = 3, 0x2000 // of fragments
	tests := []struct {
		what        string
		frame       []byte
		alone       string // without a host port: the inbox
		with        string // with one: the inbox
		host        bool   // with one: the host gets it
		drop, drop2 Verdict
	}{
		{"ARP request", arpPacket(gatewayMAC, a, 1, "10.0.0.1"), "station", "station", false, 0, 0},
		{"ARP reply", arpPacket(gatewayMAC, a, 2, "10.0.0.1"), "station", "station", true, 0, 0},
		{"echo request", ip(gatewayMAC, a, "10.0.0.1", frame.ProtoICMP, 0, 8), "station", "station", false, 0, 0},
		{"echo reply", ip(gatewayMAC, a, "10.0.0.1", frame.ProtoICMP, 0, 0), "station", "", true, 0, 0},
		{"ICMP error", ip(gatewayMAC, a, "10.0.0.1", frame.ProtoICMP, 0, 3), "station", "", true, 0, 0},
		{"first fragment of an echo request", ip(gatewayMAC, a, "10.0.0.1", frame.ProtoICMP, first, 8), "station", "station", false, 0, 0},
		{"later fragment of ICMP", ip(gatewayMAC, a, "10.0.0.1", frame.ProtoICMP, later, 8), "station", "station", true, 0, 0},
		{"DHCP", udpTo(gatewayMAC, a, "10.0.0.1", 67), "dhcp", "dhcp", false, 0, 0},
		{"DNS", udpTo(gatewayMAC, a, "10.0.0.1", 53), "dns", "dns", false, 0, 0},
		{"DNS over TCP", tcpTo(gatewayMAC, a, "10.0.0.1", 53), "station", "station", false, 0, 0},
		{"other UDP", udpTo(gatewayMAC, a, "10.0.0.1", 5353), "station", "", true, 0, 0},
		{"ssh", tcpTo(gatewayMAC, a, "10.0.0.1", 22), "station", "", true, 0, 0},
		{"fragment of UDP", ip(gatewayMAC, a, "10.0.0.1", frame.ProtoUDP, later, 0, 0, 0, 53), "station", "", true, 0, 0},
		{"first fragment to DNS", ip(gatewayMAC, a, "10.0.0.1", frame.ProtoUDP, first, 0xc0, 0, 0, 53, 0, 40), "", "", false, BadPacket, BadPacket},
		{"first fragment to ssh", ip(gatewayMAC, a, "10.0.0.1", frame.ProtoTCP, first, 0xc0, 0, 0, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0x50), "station", "", true, 0, 0},
		{"GRE", ip(gatewayMAC, a, "10.0.0.1", 47, 0), "station", "", true, 0, 0},
		{"IPv6", append(append(append([]byte(nil), gatewayMAC[:]...), a[:]...), 0x86, 0xdd, 0x60), "", "", false, NoService, NoService},
		{"IPv4 below another tag", tagged(tagged(udpTo(gatewayMAC, a, "192.0.2.1", 22), 0), 0), "", "", false, VLANDenied, VLANDenied},
		{"IPv4 below an S-tag", sTagged(udpTo(gatewayMAC, a, "192.0.2.1", 22), 0), "", "", false, NoService, NoService},
		{"IPv4 below a tag and an S-tag", tagged(sTagged(udpTo(gatewayMAC, a, "192.0.2.1", 22), 0), 0), "", "", false, VLANDenied, VLANDenied},
		{"IPv4 below an inner VLAN", tagged(tagged(udpTo(gatewayMAC, a, "192.0.2.1", 22), 5), 0), "", "", false, NoService, NoService},
		{"for another network", udpTo(gatewayMAC, a, "192.0.2.1", 53), "", "", false, NoRoute, NoRoute},
		{"for another guest", udpTo(gatewayMAC, a, "10.0.0.7", 22), "", "", false, NoRoute, NoRoute},
		{"to a group", udpTo(gatewayMAC, a, "224.0.0.1", 53), "", "", false, BadPacket, BadPacket},
		{"to everybody", udpTo(gatewayMAC, a, "255.255.255.255", 67), "", "", false, BadPacket, BadPacket},
		{"to loopback", udpTo(gatewayMAC, a, "127.0.0.1", 22), "", "", false, BadPacket, BadPacket},
		{"cut short", ip(gatewayMAC, a, "10.0.0.1", frame.ProtoUDP, 0)[:30], "", "", false, BadPacket, BadPacket},
	}
	for _, hostPort := range []bool{false, true} {
		l, g := newGateway(t, hostPort)
		s, other := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
		host := l.station(l.net, "host", frame.CapAll)
		drops := map[Verdict]uint64{}
		for i, test := range tests {
			s.send(test.frame)
			s.settle(uint64(i + 1))
			want, drop := test.alone, test.drop
			if hostPort {
				want, drop = test.with, test.drop2
			}
			if got := inboxHas(t, g, test.frame); got != want {
				t.Errorf("%s, host port %v: in inbox %q, want %q", test.what, hostPort, got, want)
			}
			if got := host.receives(test.frame); got != (hostPort && test.host) {
				t.Errorf("%s, host port %v: the host has it: %v", test.what, hostPort, got)
			}
			other.silent()
			if drop.IsDrop() {
				drops[drop]++
			}
		}
		for v, n := range drops {
			s.drops(v, n)
		}
	}
}

// Of a broadcast the gateway hears what is for it, and this machine does not hear
// what it would answer too. Everybody else gets it.
func TestGatewayOverhears(t *testing.T) {
	l, g := newGateway(t, true)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	host := l.station(l.net, "host", frame.CapAll)
	for i, test := range []struct {
		what  string
		frame []byte
		inbox string
		host  bool
	}{
		{"who has the gateway", arpPacket(broadcast, a.mac, 1, "10.0.0.1"), "station", false},
		{"who has a guest", arpPacket(broadcast, a.mac, 1, "10.0.0.9"), "", false},
		{"DHCP", udpTo(broadcast, a.mac, "255.255.255.255", 67), "dhcp", false},
		{"other UDP", udpTo(broadcast, a.mac, "255.255.255.255", 137), "", true},
		{"other", ethernet(broadcast, a.mac, "hello"), "", false},
		{"to all of the subnet", udpTo(broadcast, a.mac, "10.0.0.255", 137), "", true},
		{"to a group", udpTo(frame.MAC{1, 0, 0x5e, 0, 0, 0xfb}, a.mac, "224.0.0.251", 5353), "", true},
		{"to one host in a broadcast", udpTo(broadcast, a.mac, "192.168.1.5", 22), "", false},
		{"to the gateway in a broadcast", udpTo(broadcast, a.mac, "10.0.0.1", 22), "", false},
		{"to one host in a multicast", udpTo(frame.MAC{1, 0, 0x5e, 1, 2, 3}, a.mac, "192.168.1.5", 22), "", false},
		{"to a group below another tag", tagged(tagged(udpTo(broadcast, a.mac, "255.255.255.255", 137), 5), 0), "", false},
		{"DNS to all", udpTo(broadcast, a.mac, "255.255.255.255", 53), "", false},
		{"IPv6", append(append(append([]byte(nil), 0x33, 0x33, 0, 0, 0, 1), a.mac[:]...), 0x86, 0xdd, 0x60), "", false},
	} {
		a.send(test.frame)
		b.expect(test.frame)
		a.settle(uint64(i + 1))
		if got := inboxHas(t, g, test.frame); got != test.inbox {
			t.Errorf("%s: in inbox %q, want %q", test.what, got, test.inbox)
		}
		if got := host.receives(test.frame); got != test.host {
			t.Errorf("%s: the host has it: %v", test.what, got)
		}
	}
}

// A service that is off is none of the gateway's: this machine may have one.
func TestGatewayServicesOff(t *testing.T) {
	l, g := newGateway(t, true)
	cfg := l.net.Config()
	cfg.Gateway.DHCP, cfg.Gateway.DNS = false, false
	l.net.Reconfigure(cfg, nil)
	a, host := l.station(l.net, "a", frame.CapAll), l.station(l.net, "host", frame.CapAll)
	for _, f := range [][]byte{
		udpTo(gatewayMAC, a.mac, "10.0.0.1", 67), udpTo(gatewayMAC, a.mac, "10.0.0.1", 53),
		tcpTo(gatewayMAC, a.mac, "10.0.0.1", 53), udpTo(broadcast, a.mac, "255.255.255.255", 67),
	} {
		a.send(f)
		host.expect(f)
		if got := inboxHas(t, g, f); got != "" {
			t.Errorf("% x is in inbox %s", f, got)
		}
	}
}

// Nobody but the host port may use the gateway's MAC address, and a guest that
// does changes nothing.
func TestGatewayAddressIsGuarded(t *testing.T) {
	l, _ := newGateway(t, true)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	host := l.station(l.net, "host", frame.CapAll)
	a.send(ethernet(b.mac, gatewayMAC, "forged"))
	a.drops(GatewayAddress, 1)
	b.silent()
	for i, operation := range []uint16{1, 2} {
		claim := arpPacket(broadcast, a.mac, operation, "10.0.0.9")
		copy(claim[arpSender:], []byte{10, 0, 0, 1})
		a.send(claim)
		a.drops(GatewayAddress, uint64(i+2))
		b.silent()
	}
	hidden := arpPacket(broadcast, a.mac, 2, "10.0.0.9")
	copy(hidden[arpSender:], []byte{10, 0, 0, 1})
	for i, f := range [][]byte{tagged(tagged(hidden, 0), 0), tagged(sTagged(hidden, 0), 0), sTagged(tagged(hidden, 0), 0)} {
		a.send(f)
		a.drops(VLANDenied, uint64(i+1))
		b.silent()
	}
	fromHost := ethernet(b.mac, gatewayMAC, "true")
	host.send(fromHost)
	b.expect(fromHost)
}

// What the gateway sends takes the way of any frame: to one port where the
// station is known, else to all, past STP and isolation, into captures.
func TestGatewaySends(t *testing.T) {
	l, g := newGateway(t, false)
	a, b := l.station(l.net, "a", frame.CapAll), l.stationWith(l.net, "b", 0, Policy{Isolated: true})
	c := l.net.Capture("")
	defer c.Close()
	out := func(dst frame.MAC, text string) []byte {
		f := ethernet(dst, gatewayMAC, text)
		g.Send([]*frame.Frame{wrap(append(make([]byte, frame.Headroom), f...))})
		return f
	}
	f := out(broadcast, "to all")
	a.expect(f)
	b.expect(f)
	r := <-c.Records()
	if r.Port != gatewayName || r.Direction != Received || r.Verdict != Flooded || string(r.Frame.Bytes()) != string(f) {
		t.Errorf("captured %s %v %v % x", r.Port, r.Direction, r.Verdict, r.Frame.Bytes())
	}
	b.send(ethernet(mac("x"), b.mac, "here I am"))
	b.settle(1)
	a.expect(ethernet(mac("x"), b.mac, "here I am"))
	b.expect(out(b.mac, "to one"))
	a.silent()
	out(gatewayMAC, "to itself")
	a.silent()
	b.silent()
	cfg := l.net.Config()
	cfg.Gateway = GatewayConfig{}
	l.net.Reconfigure(cfg, nil)
	out(broadcast, "after the end")
	a.silent()
	b.silent()
}

// One port cannot fill an inbox, and what it cannot leave there is counted.
func TestGatewayInboxShare(t *testing.T) {
	l, g := newGateway(t, false)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	inbox := g.Inbox(Station)
	sent := int(inbox.share) + 10
	for range sent {
		a.send(arpPacket(gatewayMAC, a.mac, 1, "10.0.0.1"))
	}
	a.drops(ServiceFull, 10)
	b.send(arpPacket(broadcast, b.mac, 1, "10.0.0.1"))
	b.settle(1)
	if got := len(inbox.queue); got != int(inbox.share)+1 {
		t.Errorf("%d messages wait, want %d", got, inbox.share+1)
	}
	for m := inbox.Poll(); m != nil; m = inbox.Poll() {
		inbox.Done(m)
	}
	if n := a.port.waiting[inboxStation].Load(); n != 0 {
		t.Errorf("%d messages of the port are said to wait", n)
	}
}

// The gateway is for frames without a VLAN: in others its address is as any.
func TestGatewayOtherVLAN(t *testing.T) {
	l, g := newGateway(t, false)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	f := tagged(arpPacket(gatewayMAC, a.mac, 1, "10.0.0.1"), 7)
	a.send(f)
	b.expect(f)
	if got := inboxHas(t, g, f); got != "" {
		t.Errorf("in inbox %s", got)
	}
}

// In a VLAN of its own the gateway hears that one only, and what it sends leaves
// as each port has it.
func TestGatewayVLAN(t *testing.T) {
	l, g := newGateway(t, true)
	cfg := l.net.Config()
	cfg.Gateway.VLAN = 7
	l.net.Reconfigure(cfg, nil)
	access := func(id uint16) Policy { return Policy{VLAN: VLANs{Native: id, Tagged: new(VLANSet)}} }
	a, b := l.stationWith(l.net, "a", frame.CapAll, access(7)), l.stationWith(l.net, "b", frame.CapAll, access(8))
	trunk, host := l.station(l.net, "c", frame.CapAll), l.stationWith(l.net, "host", frame.CapAll, access(7))
	request := arpPacket(broadcast, a.mac, 1, "10.0.0.1")
	a.send(request)
	trunk.expect(tagged(request, 7))
	if got := inboxHas(t, g, request); got != "station" {
		t.Errorf("in VLAN 7: inbox %q", got)
	}
	host.silent()
	ssh := tcpTo(gatewayMAC, a.mac, "10.0.0.1", 22)
	a.send(ssh)
	host.expect(ssh)
	b.send(arpPacket(broadcast, b.mac, 1, "10.0.0.1"))
	trunk.expect(tagged(arpPacket(broadcast, b.mac, 1, "10.0.0.1"), 8))
	trunk.send(arpPacket(broadcast, trunk.mac, 1, "10.0.0.1"))
	trunk.settle(1)
	if got := inboxHas(t, g, nil); got != "" {
		t.Errorf("in other VLANs: inbox %q", got)
	}
	f := ethernet(broadcast, gatewayMAC, "from the gateway")
	g.Send([]*frame.Frame{wrap(append(make([]byte, frame.Headroom), f...))})
	a.expect(f)
	trunk.expect(tagged(f, 7))
	b.silent()
}

// The way to and from the gateway allocates nothing once memory is there.
func TestGatewayAllocations(t *testing.T) {
	l, g := newGateway(t, false)
	n := l.net
	p, err := n.AddPort("a", Policy{})
	if err != nil {
		t.Fatal(err)
	}
	io := memport.New(frame.CapAll)
	w := &worker{network: n, port: p, io: io}
	in := []*frame.Frame{wrap(append(make([]byte, frame.Headroom), udpTo(gatewayMAC, mac("a"), "10.0.0.1", 53)...))}
	inbox := g.Inbox(DNS)
	run := func() {
		w.burst(in)
		m := inbox.Poll()
		if m == nil {
			panic("nothing in the inbox")
		}
		inbox.Done(m)
		g.Send(in)
	}
	for range 2 * inbox.len { // each message of the inbox makes its memory once
		run()
	}
	if got := testing.AllocsPerRun(1000, run); got != 0 {
		t.Errorf("%v allocations a frame", got)
	}
}

func BenchmarkGatewayPunt(b *testing.B) {
	sw := New()
	defer sw.Close()
	cfg := testConfig
	cfg.Address, cfg.Gateway = gatewayMAC, GatewayConfig{Address: gatewayAddr, DNS: true}
	n, err := sw.AddNetwork("lan", cfg)
	if err != nil {
		b.Fatal(err)
	}
	p, _ := n.AddPort("a", Policy{})
	w := &worker{network: n, port: p}
	in := []*frame.Frame{wrap(append(make([]byte, frame.Headroom), udpTo(gatewayMAC, mac("a"), "10.0.0.1", 53)...))}
	inbox := n.Gateway().Inbox(DNS)
	for b.Loop() {
		w.burst(in)
		inbox.Done(inbox.Poll())
	}
}
