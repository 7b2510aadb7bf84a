package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/cmd/internal/client"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/porttest"
)

// guarding has p2 say nothing that only the network itself should say.
const guarding = "p2: {type: raw, guard: {ra: true, dhcp: true}"

// newGuardLab starts a network with a victim at p1 and a rogue at p2, which has guards
// or not.
func newGuardLab(t *testing.T, guarded bool) (s *served, victim, rogue *porttest.NS) {
	t.Helper()
	s = layServed6(t, 1500, "raw", "raw")
	if guarded {
		s.ports = strings.Replace(s.ports, "p2: {type: raw", guarding, 1)
	}
	s.write(s.yaml(leading + "dhcp: {range: 10.0.0.100-10.0.0.110, probe: false}\ndhcp6: {range: \"" + pool6 + "\"}\n"))
	s.start()
	victim, rogue = s.hosts[0], s.hosts[1]
	address6(t, victim, subnet6)
	address6(t, rogue, subnet6)
	return s, victim, rogue
}

// startRadvd makes a host advertise itself as the router of a subnet.
func startRadvd(t *testing.T, ns *porttest.NS) {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "conf")
	text := "interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultPreference high;\n" +
		"prefix " + rogueSubnet + " {}; RDNSS 2001:db8:bad::53 {}; };\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ns.Sysctl(t, "net.ipv6.conf.all.forwarding", "1") // or it says that it is none
	p := ns.Start(t, "radvd", "--nodaemon", "--logmethod", "stderr", "--debug", "5", "--config", conf, "--pidfile", filepath.Join(t.TempDir(), "pid"))
	p.WaitOutput(t, "sending RA", 60*time.Second)
}

// startRogueDHCP6 makes a host serve DHCPv6, and IPv4's, with a subnet of its own.
func startRogueDHCP6(t *testing.T, ns *porttest.NS) {
	t.Helper()
	ns.Addr(t, "eth0", "2001:db8:bad::1/64")
	ns.Addr(t, "eth0", "10.0.0.9/24")
	hostDnsmasq(t, ns, "--port=0", "--interface=eth0", "--dhcp-range=2001:db8:bad::100,2001:db8:bad::1ff,64,1h",
		"--dhcp-range=10.0.0.200,10.0.0.210,1h", "--dhcp-authoritative", "--no-ping", "--dhcp-leasefile="+filepath.Join(t.TempDir(), "leases"))
}

// rogueLab is a victim beside a host that runs radvd, and dnsmasq as a server of
// DHCPv6.
type rogueLab struct {
	*served
	victim, rogue *porttest.NS
	wire          *porttest.RawConn // what the victim gets
}

func newRogueLab(t *testing.T, guarded bool) *rogueLab {
	t.Helper()
	l := &rogueLab{}
	l.served, l.victim, l.rogue = newGuardLab(t, guarded)
	l.wire = l.victim.RawConn(t, "eth0")
	startRadvd(t, l.rogue)
	startRogueDHCP6(t, l.rogue)
	return l
}

// advertised reports whether the victim has believed radvd.
func (l *rogueLab) advertised() bool { return len(addresses6(l.t, l.victim, rogueSubnet)) > 0 }

// offered reports whether the victim has got something of the rogue server's.
func (l *rogueLab) offered(timeout time.Duration) bool {
	mac := l.rogue.Link(l.t, "eth0").Attrs().HardwareAddr
	return l.wire.RecvMatch(timeout, func(f []byte) bool {
		return bytes.Equal(f[6:12], mac) && len(f) > 62 && f[20] == 17 && binary.BigEndian.Uint16(f[54:]) == 547
	}) != nil
}

// A rogue without guards takes the others with it: so much for the tests below.
func TestRoguesWithoutGuards(t *testing.T) {
	t.Parallel()
	l := newRogueLab(t, false)
	eventually(t, "the rogue is believed", func() bool {
		return l.advertised() && strings.Contains(l.victim.Run(t, "ip", "-6", "route", "show", "default"), "pref high")
	})
	newRawClient6(t, l.victim, 1).obtain()
	if !l.offered(60 * time.Second) {
		t.Error("the rogue server is not heard")
	}
}

// With guards nobody hears the rogue, and what it sends is counted.
func TestGuardsOfRogues(t *testing.T) {
	t.Parallel()
	l := newRogueLab(t, true)
	waitDrops(t, l.weftProcess, "p2", "ra-guard", 3)
	w := newWire6(t, l.victim)
	for n := range 20 {
		if a := w.client(n).obtain().address; !strings.HasPrefix(a, "2001:db8:1:") {
			t.Errorf("somebody gives %s", a)
		}
	}
	waitDrops(t, l.weftProcess, "p2", "dhcp-guard", 10)
	for range 3 {
		if lease := leaseOf(t, l.victim, ""); !strings.HasPrefix(lease, "10.0.0.1") {
			t.Errorf("somebody gives %s", lease)
		}
	}
	if l.offered(0) || l.advertised() {
		t.Errorf("the rogue is heard; addresses of the victim: %v", addresses6(t, l.victim, rogueSubnet))
	}
	if a := solicit(t, l.victim); strings.Join(a["from"], " ") != gatewayLocal {
		t.Errorf("advertised by %v", a)
	}
	// All else the guarded host may say: it is a client, and a neighbour.
	if c := newRawClient6(t, l.rogue, 77).obtain(); !strings.HasPrefix(c.address, "2001:db8:1:") {
		t.Errorf("the guarded host got %s", c.address)
	}
	porttest.Ping(t, l.victim, local6(t, l.rogue))
	if a := solicit(t, l.rogue); a == nil {
		t.Error("the guarded host gets no advertisement")
	}
	if g := l.port("lan", "p2").Guard; !g.RA || !g.DHCP {
		t.Errorf("port show: %+v", g)
	}
	l.do("port", "set", "lan", "p2", "guard.ra=false")
	eventually(t, "without its guard the rogue is believed", l.advertised)
}

// header6 is an extension header of IPv6 (RFC 8200 section 4). Its first byte is to be
// the number of the next one.
type header6 struct {
	number byte
	bytes  []byte
}

var (
	hopByHop6    = header6{0, []byte{0, 0, 1, 4, 0, 0, 0, 0}}                   // a PadN
	destination6 = header6{60, []byte{0, 1, 1, 12, 15: 0}}                      // a longer one
	routing6     = header6{43, []byte{0, 0, 4, 0, 0, 0, 0, 0}}                  // with nowhere left to go
	atomic6      = header6{44, []byte{0, 0, 0, 0, 0, 0, 0, 9}}                  // a fragment that is all (RFC 6946)
	first6       = header6{44, []byte{0, 0, 0, 1, 0, 0, 0, 9}}                  // the first of several
	endless6     = header6{60, []byte{0, 0, 1, 4, 0, 0, 0, 0}}                  // of which there will be many
	beyond6      = header6{60, []byte{0, 200, 1, 4, 0, 0, 0, 0}}                // longer than the packet
	later6       = header6{44, []byte{0, 0, 0, 8, 0, 0, 0, 9}}                  // a fragment that is not the first
	abolished6   = header6{43, append([]byte{0, 2, 0, 1}, make([]byte, 20)...)} // RFC 5095
)

// extended puts headers between that of IPv6 and what it carries.
func extended(f []byte, headers ...header6) []byte {
	const ip, payload = 14, 14 + 40
	out, last := bytes.Clone(f[:payload]), ip+6
	for _, h := range headers {
		next := out[last]
		out[last] = h.number
		last = len(out)
		out = append(out, h.bytes...)
		out[last] = next
	}
	out = append(out, f[payload:]...)
	binary.BigEndian.PutUint16(out[ip+4:], uint16(len(out)-payload))
	return out
}

// Whatever is put before a router advertisement, a redirect or a server's message of
// DHCPv6, it does not get through: the guards find it, or take what may hide it for it
// (RFC 7113), where the gateway does not refuse the packet before. In a network
// without one there are the guards alone.
func TestGuardsAndHeaders(t *testing.T) {
	for name, settings := range map[string]string{"with a gateway": leading, "a plain switch": "stp: {enabled: false}\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := layServed6(t, 1500, "raw", "raw", "raw")
			s.ports = strings.Replace(s.ports, "p2: {type: raw", "p2: {type: raw, guard: {ra: true}", 1)
			s.ports = strings.Replace(s.ports, "p3: {type: raw", "p3: {type: raw, guard: {dhcp: true}", 1)
			s.write(s.yaml(settings))
			s.start()
			victim := s.hosts[0].RawConn(t, "eth0")
			for i, reason := range []string{"ra-guard", "dhcp-guard"} {
				g := &guardedPort{served: s, name: fmt.Sprint("p", i+2), victim: victim, rogue: s.hosts[i+1].RawConn(t, "eth0")}
				g.mac, g.reasons = frame.MAC{2, 0, 0, 0, 0, byte(i)}, []string{reason}
				if settings == leading {
					g.reasons = append(g.reasons, "bad-packet")
				}
				g.stops(t)
				g.lets(t)
			}
		})
	}
}

// guardedPort is a rogue behind a port with a guard, and the victim at another one.
type guardedPort struct {
	*served
	name          string
	victim, rogue *porttest.RawConn
	mac           frame.MAC // of the rogue
	reasons       []string  // by which its frames may be dropped; the first is the guard's
}

// packet is one of UDP from the rogue to all nodes.
func (g *guardedPort) packet(src, dst uint16, payload []byte) []byte {
	return udp6(g.mac, ndp.GroupMAC(ndp.AllNodes), ndp.LinkLocal(g.mac), ndp.AllNodes, src, dst, payload)
}

func (g *guardedPort) drops() (n uint64) {
	g.t.Helper()
	c := client.New(g.socket) // quicker than a process
	defer c.Close()
	port, err := c.Port(g.t.Context(), "lan", g.name)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, reason := range g.reasons {
		n += port.Drops[reason]
	}
	return n
}

// messages are what each of the guards has to stop.
func (g *guardedPort) messages() map[string][]byte {
	if g.reasons[0] == "dhcp-guard" {
		return map[string][]byte{
			"DHCPv6 server":        g.packet(547, 546, (&dhcpv6.Message{MessageType: 2}).ToBytes()),
			"DHCPv6 to clients":    g.packet(1000, 546, (&dhcpv6.Message{MessageType: 2}).ToBytes()),
			"DHCPv6 from port 547": g.packet(547, 1000, (&dhcpv6.Message{MessageType: 7}).ToBytes()),
		}
	}
	ra := rogueRA(g.mac, ndp.GroupMAC(ndp.AllNodes), ndp.AllNodes)
	redirect := bytes.Clone(ra)
	redirect[14+40] = ndp.Redirect
	return map[string][]byte{"advertisement": ra, "redirect": redirect}
}

// stops tries what has to be stopped, each behind all kinds of headers.
func (g *guardedPort) stops(t *testing.T) {
	many := make([]header6, 9)
	for i := range many {
		many[i] = endless6
	}
	for what, f := range g.messages() {
		for name, chain := range map[string][]header6{
			"nothing":         {},
			"hop-by-hop":      {hopByHop6},
			"destination":     {destination6},
			"several":         {hopByHop6, destination6, routing6, destination6},
			"atomic fragment": {atomic6},
			"first fragment":  {hopByHop6, first6, destination6},
			"fragment in one": {atomic6, atomic6},
			"too many":        many,
			"one beyond":      {beyond6},
		} {
			before := g.drops()
			g.rogue.Send(extended(f, chain...))
			eventually(t, what+" behind "+name+" is counted", func() bool { return g.drops() == before+1 })
		}
		// The first fragment ends before what the packet is.
		before := g.drops()
		short := extended(f, first6)[:14+40+8]
		binary.BigEndian.PutUint16(short[14+4:], 8)
		g.rogue.Send(short)
		eventually(t, what+" in the second fragment is counted", func() bool { return g.drops() == before+1 })
	}
	if f := g.victim.RecvMatch(200*time.Millisecond, func(f []byte) bool { return bytes.Equal(f[6:12], g.mac[:]) }); f != nil {
		t.Errorf("the victim has got % x", f)
	}
}

// lets tries what is to get through.
func (g *guardedPort) lets(t *testing.T) {
	other := &guardedPort{mac: g.mac, reasons: []string{"ra-guard"}} // what is the other guard's business
	if g.reasons[0] == "ra-guard" {
		other.reasons = []string{"dhcp-guard"}
	}
	for what, f := range other.messages() {
		g.passes(t, what, f)
	}
	for what, f := range map[string][]byte{
		"UDP":           g.packet(1000, 1001, []byte("weft")),
		"DHCPv6 client": g.packet(546, 547, (&dhcpv6.Message{MessageType: 1}).ToBytes()),
		"solicitation":  ndp.Packet(g.mac, ndp.GroupMAC(ndp.AllRouters), ndp.LinkLocal(g.mac), ndp.AllRouters, ndp.Solicitation(g.mac)).Bytes(),
	} {
		for name, chain := range map[string][]header6{"nothing": {}, "several": {hopByHop6, destination6}, "a later fragment": {later6}} {
			g.passes(t, what+" behind "+name, extended(f, chain...))
		}
	}
}

func (g *guardedPort) passes(t *testing.T, what string, f []byte) {
	t.Helper()
	g.rogue.Send(f)
	if g.victim.RecvMatch(30*time.Second, func(got []byte) bool { return bytes.Equal(got, f) }) == nil {
		t.Errorf("%s does not get through", what)
	}
}

// Chains of headers that never end, that are broken or that point where no router
// goes: the gateway counts them and answers nothing, and goes on.
func TestHostileHeaders(t *testing.T) {
	t.Parallel()
	s := newServed6(t, leading, "raw")
	h := s.hosts[0]
	own := netip.MustParseAddr(address6(t, h, subnet6))
	conn := h.RawConn(t, "eth0")
	mac := frame.MAC(h.Link(t, "eth0").Attrs().HardwareAddr)
	gatewayAt := frame.MAC{0x52, 0x54, 0, 0, 0, 0xfe}
	many := make([]header6, 20)
	for i := range many {
		many[i] = endless6
	}
	for name, chain := range map[string][]header6{
		"many": many, "beyond the packet": {beyond6}, "an abolished routing header": {abolished6}, "two fragments": {first6, first6, destination6},
	} {
		for _, to := range []string{gateway6, elsewhere6} {
			before := s.port("lan", "p1").Drops["bad-packet"]
			f := extended(udp6(mac, gatewayAt, own, netip.MustParseAddr(to), 1000, 1001, []byte("weft")), chain...)
			if name == "two fragments" { // neither of which has what they carry
				f = f[:len(f)-12]
				binary.BigEndian.PutUint16(f[14+4:], uint16(len(f)-54))
			}
			for range 10 {
				conn.Send(f)
			}
			eventually(t, fmt.Sprintf("%s to %s are counted", name, to), func() bool {
				return s.port("lan", "p1").Drops["bad-packet"] >= before+10
			})
		}
	}
	// Random ones, which are whatever they are.
	seed := uint32(1)
	for range 2000 {
		f := extended(udp6(mac, gatewayAt, own, netip.MustParseAddr(gateway6), 1000, 1001, make([]byte, 64)), hopByHop6, destination6, first6)
		for range 8 {
			seed = seed*1664525 + 1013904223
			f[54+int(seed>>8)%(len(f)-54)] = byte(seed >> 24)
		}
		_ = conn.TrySend(f)
	}
	porttest.Ping(t, h, gateway6)
	porttest.Ping(t, h, gatewayLocal+"%eth0")
	if a := solicit(t, h); a == nil {
		t.Error("no advertisement after that")
	}
}
