package gateway

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/ports/memport"
)

// lab is a network with a gateway, and one guest on a port in memory.
type lab struct {
	t       *testing.T
	net     *dataplane.Network
	gateway *Gateway
	io      *memport.Port
}

var (
	gatewayMAC = frame.MAC{2, 0, 0, 0, 0, 0xfe}
	guestMAC   = frame.MAC{2, 0, 0, 0, 0, 0x05}
	config     = Config{MAC: gatewayMAC, Address: netip.MustParsePrefix("10.0.0.1/24"), MTU: 1500}
	guest      = netip.MustParseAddr("10.0.0.5")
)

func newLab(t *testing.T) *lab {
	sw := dataplane.New()
	t.Cleanup(sw.Close)
	n, err := sw.AddNetwork("lan", dataplane.NetworkConfig{
		Address: gatewayMAC, MTU: 1500, FDB: fdb.Config{Limit: 100, Ageing: time.Minute},
		Gateway: dataplane.GatewayConfig{Address: config.Address, DHCP: true, DNS: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.AddPort("a", dataplane.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, net: n, io: memport.New(0)}
	p.Attach(l.io, 1500, func(error) {})
	if l.gateway, err = New(n.Gateway(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.gateway.Close)
	l.expect(arpPacket(broadcast, gatewayMAC, arpRequest, gatewayMAC, "10.0.0.1", frame.MAC{}, "10.0.0.1")) // the announcement
	return l
}

func (l *lab) send(b []byte) {
	l.t.Helper()
	if !l.io.Inject(memport.Frame{Bytes: b}) {
		l.t.Fatal("the guest cannot send")
	}
}

func (l *lab) next() []byte {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if f, ok := l.io.Poll(); ok {
			return f.Bytes
		}
	}
	l.t.Fatal("nothing came")
	return nil
}

func (l *lab) expect(want []byte) {
	l.t.Helper()
	if got := l.next(); !bytes.Equal(got, want) {
		l.t.Fatalf("received\n% x, want\n% x", got, want)
	}
}

func arpPacket(dst, src frame.MAC, operation byte, sender frame.MAC, from string, target frame.MAC, to string) []byte {
	b := append(append(append([]byte(nil), dst[:]...), src[:]...), 8, 6, 0, 1, 8, 0, 6, 4, 0, operation)
	f, a := netip.MustParseAddr(from).As4(), netip.MustParseAddr(to).As4()
	b = append(append(b, sender[:]...), f[:]...)
	return append(append(b, target[:]...), a[:]...)
}

// packet builds an IPv4 packet of the guest's.
func packet(to string, protocol, ttl byte, l4 []byte) []byte {
	b := append(append(append([]byte(nil), gatewayMAC[:]...), guestMAC[:]...), 8, 0)
	ip := make([]byte, 20)
	ip[0], ip[8], ip[9] = 0x45, ttl, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(l4)))
	src, dst := guest.As4(), netip.MustParseAddr(to).As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip, 0))
	return append(append(b, ip...), l4...)
}

func echo(text string) []byte {
	b := append([]byte{8, 0, 0, 0, 1, 2, 0, 1}, text...)
	binary.BigEndian.PutUint16(b[2:], frame.Checksum(b, 0))
	return b
}

func udpPacket(to string, port uint16, payload string) []byte {
	b := append([]byte{0xc0, 0, byte(port >> 8), byte(port), 0, byte(8 + len(payload)), 0, 0}, payload...)
	src, dst := guest.As4(), netip.MustParseAddr(to).As4()
	binary.BigEndian.PutUint16(b[6:], frame.Checksum(b, frame.PseudoHeader(src[:], dst[:], frame.ProtoUDP, len(b))))
	return packet(to, frame.ProtoUDP, 64, b)
}

// The gateway answers ARP for its own address.
func TestARP(t *testing.T) {
	l := newLab(t)
	l.send(arpPacket(broadcast, guestMAC, arpRequest, guestMAC, "10.0.0.5", frame.MAC{}, "10.0.0.1"))
	l.expect(arpPacket(guestMAC, gatewayMAC, arpReply, gatewayMAC, "10.0.0.1", guestMAC, "10.0.0.5"))
}

// It answers a ping, and not one with a wrong checksum.
func TestEcho(t *testing.T) {
	l := newLab(t)
	bad := packet("10.0.0.1", frame.ProtoICMP, 64, echo("bad"))
	bad[len(bad)-1]++
	l.send(bad)
	l.send(packet("10.0.0.1", frame.ProtoICMP, 64, echo("good")))
	b := l.next()
	if got := string(b[len(b)-4:]); b[34] != 0 || got != "good" {
		t.Errorf("received % x, want the echo of %q", b, "good")
	}
}

// ICMP errors (RFC 792); the dataplane sends most of them.
const (
	unreachable  = 3
	timeExceeded = 11

	noNetwork = 0 // codes of unreachable
	noHost    = 1

	errorLen = 576 // with the IP header, at most (RFC 1812 clause 4.3.2.3)
)

// errorOf checks an ICMP error and that it quotes the packet it is about.
func (l *lab) errorOf(kind, code byte, about []byte) {
	l.t.Helper()
	b := l.next()
	var f frame.Frame
	f.Set(b, 0)
	var p frame.Parsed
	p.Parse(&f)
	if p.Protocol != frame.ProtoICMP || b[p.L4] != kind || b[p.L4+1] != code || !intact(&f, &p) {
		l.t.Fatalf("received % x, want ICMP type %d code %d", b, kind, code)
	}
	if f.Dst() != guestMAC || addr4(b[p.L3+12:]) != config.Address.Addr() || addr4(b[p.L3+16:]) != guest {
		l.t.Errorf("the error goes from %v to %v (%v)", addr4(b[p.L3+12:]), addr4(b[p.L3+16:]), f.Dst())
	}
	if quote := b[p.L4+8 : p.End]; !bytes.HasPrefix(about[14:], quote) || len(quote) < min(28, len(about)-14) {
		l.t.Errorf("the error quotes % x of % x", quote, about[14:])
	}
	if p.End-p.L3 > errorLen {
		l.t.Errorf("the error has %d bytes, at most %d are allowed", p.End-p.L3, errorLen)
	}
}

// What the gateway does not pass on, it says so.
func TestRefuses(t *testing.T) {
	l := newLab(t)
	for _, test := range []struct {
		what       string
		packet     []byte
		kind, code byte
	}{
		{"another network", packet("192.0.2.1", frame.ProtoUDP, 64, make([]byte, 20)), unreachable, noNetwork},
		{"another guest", packet("10.0.0.9", frame.ProtoUDP, 64, make([]byte, 20)), unreachable, noHost},
		{"the first hop of a traceroute", packet("192.0.2.1", frame.ProtoUDP, 1, make([]byte, 20)), timeExceeded, 0},
		{"long", packet("192.0.2.1", frame.ProtoUDP, 64, make([]byte, 1400)), unreachable, noNetwork},
		{"a ping", packet("192.0.2.1", frame.ProtoICMP, 64, echo("x")), unreachable, noNetwork},
	} {
		l.send(test.packet)
		l.errorOf(test.kind, test.code, test.packet)
	}
	errorMessage := packet("192.0.2.1", frame.ProtoICMP, 64, []byte{3, 1, 0xfc, 0xfe, 0, 0, 0, 0})
	l.send(errorMessage) // about which there is none
	later := packet("192.0.2.1", frame.ProtoUDP, 64, make([]byte, 20))
	binary.BigEndian.PutUint16(later[20:], 100)
	putIPChecksum(later)
	l.send(later)
	strange := packet("192.0.2.1", frame.ProtoUDP, 64, make([]byte, 20))
	copy(strange[26:], []byte{172, 16, 0, 1})
	putIPChecksum(strange)
	l.send(strange)
	last := packet("192.0.2.2", frame.ProtoUDP, 64, make([]byte, 20))
	l.send(last)
	l.errorOf(unreachable, noNetwork, last)
}

func putIPChecksum(b []byte) {
	b[24], b[25] = 0, 0
	binary.BigEndian.PutUint16(b[24:], frame.Checksum(b[14:34], 0))
}

// An answer goes where the question came from, and to no other that its sender
// names.
func TestEchoIsNotReflected(t *testing.T) {
	l := newLab(t)
	l.send(arpPacket(broadcast, frame.MAC{2, 0, 0, 0, 0, 9}, arpRequest, frame.MAC{2, 0, 0, 0, 0, 9}, "10.0.0.5", frame.MAC{}, "10.0.0.1"))
	l.next()
	l.send(packet("10.0.0.1", frame.ProtoICMP, 64, echo("me")))
	if b := l.next(); frame.MAC(b[:6]) != guestMAC || b[34] != 0 {
		t.Errorf("received % x, want the echo at %v", b, guestMAC)
	}
	strange := packet("10.0.0.1", frame.ProtoICMP, 64, echo("far"))
	copy(strange[26:], []byte{172, 16, 0, 1})
	putIPChecksum(strange)
	l.send(strange) // from no address of the subnet
	l.send(packet("10.0.0.1", frame.ProtoICMP, 64, echo("near")))
	if b := l.next(); string(b[len(b)-4:]) != "near" {
		t.Errorf("received % x, want the echo of %q", b, "near")
	}
}

// A port that nobody serves is refused.
func TestClosedPort(t *testing.T) {
	l := newLab(t)
	sent := udpPacket("10.0.0.1", 9, "discard")
	l.send(sent)
	l.errorOf(unreachable, 3, sent)
}

// Whatever the pipeline takes for a packet to the gateway harms nobody, however short
// it is cut.
func TestShortPackets(t *testing.T) {
	l := newLab(t)
	for _, protocol := range []byte{frame.ProtoICMP, frame.ProtoTCP, frame.ProtoUDP, 47} {
		for n := range 24 {
			l.send(packet("10.0.0.1", protocol, 64, make([]byte, n)))
			l.send(packet("10.0.0.1", frame.ProtoICMP, 64, echo("alive")))
			for { // what is refused comes before the answer
				if b := l.next(); string(b[len(b)-5:]) == "alive" && b[34] == 0 {
					break
				}
			}
		}
	}
}

// Fragments of TCP go no further: the stack is not safe with short ones. Those of a
// ping are joined.
func TestFragments(t *testing.T) {
	l := newLab(t)
	for _, test := range []struct {
		protocol byte
		l4       []byte
		answered bool
	}{{frame.ProtoTCP, opening(9), false}, {frame.ProtoICMP, echo("in two parts"), true}} {
		l.send(fragment(test.protocol, test.l4[:8], 0, true))
		l.send(fragment(test.protocol, test.l4[8:], 8, false))
		l.send(packet("10.0.0.1", frame.ProtoICMP, 64, echo("end")))
		b := l.next()
		if ended := string(b[len(b)-3:]) == "end"; ended == test.answered {
			t.Errorf("protocol %d in fragments: answered with % x", test.protocol, b)
		}
		if test.answered {
			l.next()
		}
	}
}

// opening is a segment that asks for a connection.
func opening(port uint16) []byte {
	b := make([]byte, 20)
	b[0], b[12], b[13], b[14] = 0xc0, 0x50, 2, 0xff
	binary.BigEndian.PutUint16(b[2:], port)
	src, dst := guest.As4(), config.Address.Addr().As4()
	binary.BigEndian.PutUint16(b[16:], frame.Checksum(b, frame.PseudoHeader(src[:], dst[:], frame.ProtoTCP, len(b))))
	return b
}

// fragment is a part of a packet to the gateway.
func fragment(protocol byte, part []byte, offset uint16, more bool) []byte {
	b := packet("10.0.0.1", protocol, 64, part)
	ip := b[frame.HeaderLen : frame.HeaderLen+20]
	if offset /= 8; more {
		offset |= 0x2000
	}
	binary.BigEndian.PutUint16(ip[6:], offset)
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip, 0))
	return b
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte{}, uint8(0), uint8(0))
	f.Add(packet("10.0.0.1", frame.ProtoUDP, 64, make([]byte, 2)), uint8(0), uint8(0))
	f.Add(udpPacket("10.0.0.1", 53, question), uint8(frame.NeedsChecksum), uint8(0))
	f.Add(arpPacket(broadcast, guestMAC, arpReply, guestMAC, "10.0.0.5", gatewayMAC, "10.0.0.1"), uint8(0), uint8(0))
	f.Add(packet("192.0.2.1", frame.ProtoTCP, 1, make([]byte, 40)), uint8(frame.NeedsChecksum), uint8(frame.GSOTCPv4))
	sw := dataplane.New()
	f.Cleanup(sw.Close)
	n, err := sw.AddNetwork("lan", dataplane.NetworkConfig{
		Address: gatewayMAC, MTU: 1500, FDB: fdb.Config{Limit: 100, Ageing: time.Minute}, Gateway: dataplane.GatewayConfig{Address: config.Address},
	})
	if err != nil {
		f.Fatal(err)
	}
	g, err := New(n.Gateway(), config)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(g.Close)
	f.Fuzz(func(t *testing.T, b []byte, flags, gso uint8) {
		if len(b) < frame.HeaderLen {
			return // the pipeline has dropped it
		}
		fr := framed(append(make([]byte, frame.Headroom), b...))
		fr.Offload.Flags, fr.Offload.GSOType = flags, gso
		if fr.Offload.Flags|fr.Offload.GSOType != 0 && !fr.CheckOffload() {
			return // likewise
		}
		datagramOf(fr)
		g.receive(fr, "a")
	})
}

// A closed gateway sends nothing, and closes while frames come in.
func TestClose(t *testing.T) {
	l := newLab(t)
	g, err := New(l.net.Gateway(), config)
	if err != nil {
		t.Fatal(err)
	}
	l.next() // its announcement
	for range 20 {
		l.send(udpPacket("10.0.0.1", 53, "query"))
	}
	g.Close()
	g.announce()
	g.Probe(guest)
	if f, ok := l.io.Poll(); ok {
		t.Errorf("a closed gateway sends % x", f.Bytes)
	}
}
