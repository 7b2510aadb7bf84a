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
	"github.com/weft/weft/ndp"
)

// The gateway answers ARP for its own address; for those of IPv6 the dataplane
// answers.
func TestARP(t *testing.T) {
	l := newLab(t)
	l.send(arpPacket(broadcast, guestMAC, arpRequest, guestMAC, "10.0.0.5", frame.MAC{}, "10.0.0.1"))
	l.expect(arpPacket(guestMAC, gatewayMAC, arpReply, gatewayMAC, "10.0.0.1", guestMAC, "10.0.0.5"))
}

// It answers a ping at all of its addresses, and not one with a wrong checksum.
func TestEcho(t *testing.T) {
	l := newLab(t)
	for _, o := range own {
		bad := ping(o.gateway, "bad")
		bad[len(bad)-1]++
		l.send(bad)
		l.send(ping(o.gateway, "good"))
		l.expectEcho(o.gateway, "good")
	}
}

// A gateway of one family is one.
func TestOneFamily(t *testing.T) {
	for i, o := range own[:3] {
		cfg := config
		if i == 0 {
			cfg.Address6 = nil
		} else {
			cfg.Address = netip.Prefix{}
		}
		l := newLabOf(t, cfg)
		if err := l.gateway.SetDNS(newResolver(t)); err != nil {
			t.Fatal(err)
		}
		l.send(arpPacket(broadcast, guestMAC, arpReply, guestMAC, "10.0.0.5", gatewayMAC, "10.0.0.1"))
		l.gateway.Probe(netip.MustParseAddr(own[0].guest))
		l.next()
		l.send(ping(o.gateway, "good"))
		l.expectEcho(o.gateway, "good")
		l.gateway.Close()
		l.gateway.stop = make(chan struct{}) // for Cleanup, which closes it too
	}
}

// IPv6 needs links that carry enough.
func TestMTU(t *testing.T) {
	l := newLab(t)
	cfg := config
	cfg.MTU = 1279
	want := "gateway 10.0.0.1/24, 2001:db8:1::1/64, fd00:2::1/64: an MTU of 1279 is too small for IPv6: make it 1280 or more"
	if _, err := New(l.net.Gateway(), cfg); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// ICMP errors (RFC 792, RFC 4443); the dataplane sends most of them.
type icmpError struct {
	kind, code byte
}

var (
	noNetwork    = [2]icmpError{{3, 0}, {1, 0}}
	noHost       = [2]icmpError{{3, 1}, {1, 3}}
	noPort       = [2]icmpError{{3, 3}, {1, 4}}
	timeExceeded = [2]icmpError{{11, 0}, {3, 0}}
)

// errorLen is how long an error may be, with the IP header (RFC 1812 clause 4.3.2.3,
// RFC 4443 clause 2.4).
var errorLen = [2]int{576, 1280}

// errorOf checks an ICMP error and that it quotes the packet it is about, which was for
// an address.
func (l *lab) errorOf(want [2]icmpError, to string, about []byte) {
	l.t.Helper()
	b := l.next()
	f, p := l.parsed(b)
	protocol, _, _ := icmpOf(to)
	family := 0
	if protocol == frame.ProtoICMPv6 {
		family = 1
	}
	if got := (icmpError{b[p.L4], b[p.L4+1]}); p.Protocol != protocol || got != want[family] {
		l.t.Fatalf("received % x, want ICMP %v", b, want[family])
	}
	src, dst := endsOf(f, p)
	if !l.gateway.own.has(src) || dst.String() != guestOf(to) {
		l.t.Errorf("the error goes from %v to %v", src, dst)
	}
	if quote := b[p.L4+8 : p.End]; !bytes.HasPrefix(about[14:], quote) || len(quote) < min(headerLen(to)-14+8, len(about)-14) {
		l.t.Errorf("the error quotes % x of % x", quote, about[14:])
	}
	if p.End-p.L3 > errorLen[family] {
		l.t.Errorf("the error has %d bytes, at most %d are allowed", p.End-p.L3, errorLen[family])
	}
}

// What the gateway does not pass on, it says so.
func TestRefuses(t *testing.T) {
	for _, far := range []struct{ net, nobody, strange, last string }{
		{"192.0.2.1", own[0].nobody, "172.16.0.1", "192.0.2.2"},
		{"2001:db8:ffff::1", own[2].nobody, "2001:db8:eeee::1", "2001:db8:ffff::2"},
	} {
		l := newLab(t)
		for _, test := range []struct {
			what   string
			to     string
			packet []byte
			want   [2]icmpError
		}{
			{"another network", far.net, packet(far.net, frame.ProtoUDP, 64, make([]byte, 20)), noNetwork},
			{"another guest", far.nobody, packet(far.nobody, frame.ProtoUDP, 64, make([]byte, 20)), noHost},
			{"the first hop of a traceroute", far.net, packet(far.net, frame.ProtoUDP, 1, make([]byte, 20)), timeExceeded},
			{"long", far.net, packet(far.net, frame.ProtoUDP, 64, make([]byte, 1400)), noNetwork},
			{"a ping", far.net, ping(far.net, "x"), noNetwork},
		} {
			l.send(test.packet)
			l.errorOf(test.want, test.to, test.packet)
		}
		protocol, _, _ := icmpOf(far.net)
		kind := byte(3)
		if protocol == frame.ProtoICMPv6 {
			kind = 1
		}
		l.send(packet(far.net, protocol, 64, summed(guestOf(far.net), far.net, protocol, 2, []byte{kind, 1, 0, 0, 0, 0, 0, 0}))) // about which there is none
		if protocol == frame.ProtoICMP {                                                                                         // RFC 1122 clause 3.2.2; IPv6 knows no such rule
			l.send(fragment(far.net, frame.ProtoUDP, make([]byte, 20), 800, false))
		}
		l.send(packetFrom(far.strange, far.net, frame.ProtoUDP, 64, make([]byte, 20)))
		last := packet(far.last, frame.ProtoUDP, 64, make([]byte, 20))
		l.send(last)
		l.errorOf(noNetwork, far.last, last)
	}
}

// An answer goes where the question came from, and to no other that its sender
// names; and none goes to a sender that is not on the link, or cannot be.
func TestEchoIsNotReflected(t *testing.T) {
	l := newLab(t)
	other := frame.MAC{2, 0, 0, 0, 0, 9}
	l.send(arpPacket(broadcast, other, arpRequest, other, "10.0.0.5", frame.MAC{}, "10.0.0.1"))
	l.next()
	for _, o := range own {
		if netip.MustParseAddr(o.gateway).Is6() { // the other one says that it has the guest's address
			n := ndp.Neighbor{Target: netip.MustParseAddr(o.gateway), MAC: other}
			l.send(ndp.Packet(other, gatewayMAC, netip.MustParseAddr(o.guest), netip.MustParseAddr(o.gateway), n.Solicitation()).Bytes())
			l.next()
		}
		l.send(ping(o.gateway, "me"))
		l.expectEcho(o.gateway, "me") // which looks at the MAC address
		for _, strange := range []string{"172.16.0.1", "2001:db8:eeee::1", "ff02::1", "::", "::1", "2001:db8:1::1", "10.0.0.1", "::ffff:10.0.0.5"} {
			if netip.MustParseAddr(strange).Is4() == netip.MustParseAddr(o.gateway).Is4() {
				l.send(pingFrom(strange, o.gateway, "far"))
			}
		}
		l.send(ping(o.gateway, "near"))
		l.expectEcho(o.gateway, "near")
	}
	// Nor does anybody become a neighbour by what is for another, should it come here.
	l.gateway.receive(framed(append(make([]byte, frame.Headroom), pingFrom("fd00:2::7", own[3].nobody, "x")...)), "a")
	if l.gateway.stack.origins.of(netip.MustParseAddr("fd00:2::7")) != "" {
		t.Error("a packet for another address has been taken")
	}
}

// A port that nobody serves is refused.
func TestClosedPort(t *testing.T) {
	l := newLab(t)
	for _, o := range own {
		sent := udpPacket(o.gateway, 9, "discard")
		l.send(sent)
		l.errorOf(noPort, o.gateway, sent)
	}
}

// Whatever the pipeline takes for a packet to the gateway harms nobody, however short
// it is cut.
func TestShortPackets(t *testing.T) {
	l := newLab(t)
	for _, o := range own {
		for _, protocol := range []byte{frame.ProtoICMP, frame.ProtoTCP, frame.ProtoUDP, 47, frame.ProtoICMPv6, 0, 43, 44, 51, 59, 60, 135, 253} {
			for n := range 24 {
				l.send(packet(o.gateway, protocol, 64, make([]byte, n)))
				l.aliveAt(o.gateway)
			}
		}
	}
}

// aliveAt expects the gateway to answer at an address. What it refuses may come before.
func (l *lab) aliveAt(addr string) {
	l.t.Helper()
	l.send(ping(addr, "alive"))
	for !l.isEcho(l.next(), addr, "alive") {
	}
}

// Fragments of TCP go no further: the stack is not safe with short ones. Those of a
// ping are joined.
func TestFragments(t *testing.T) {
	l := newLab(t)
	for _, o := range own {
		protocol, _, _ := icmpOf(o.gateway)
		for _, test := range []struct {
			protocol byte
			l4       []byte
			answered bool
		}{
			{frame.ProtoTCP, segment(o.gateway, 0xc000, 0, 0, tcpSYN, ""), false},
			{protocol, echo(o.gateway, "in two parts"), true},
		} {
			l.send(fragment(o.gateway, test.protocol, test.l4[:8], 0, true))
			l.send(fragment(o.gateway, test.protocol, test.l4[8:], 8, false))
			l.send(ping(o.gateway, "end"))
			if test.answered {
				l.expectEcho(o.gateway, "in two parts")
			}
			l.expectEcho(o.gateway, "end")
		}
	}
	to := own[2].gateway // with an extension header in the first part
	l.send(fragment(to, frame.ExtDestination, append(padding(frame.ProtoICMPv6, 1), hello()[:8]...), 0, true))
	l.send(fragment(to, frame.ExtDestination, hello()[8:], 16, false))
	l.expectEcho(to, "hello")
}

// fragment is a part of a packet of the guest's.
func fragment(to string, protocol byte, part []byte, offset uint16, more bool) []byte {
	if netip.MustParseAddr(to).Is6() {
		return packet(to, frame.ExtFragment, 64, fragmentPart(protocol, part, offset, more))
	}
	b := packet(to, protocol, 64, part)
	ip := b[frame.HeaderLen : frame.HeaderLen+20]
	if offset /= 8; more {
		offset |= 0x2000
	}
	binary.BigEndian.PutUint16(ip[6:], offset)
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip, 0))
	return b
}

// fragmentPart is one with an IPv6 fragment header before it.
func fragmentPart(protocol byte, part []byte, offset uint16, more bool) []byte {
	if more {
		offset |= 1
	}
	return append([]byte{protocol, 0, byte(offset >> 8), byte(offset), 0, 0, 0, 7}, part...)
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte{}, uint8(0), uint8(0))
	f.Add(arpPacket(broadcast, guestMAC, arpReply, guestMAC, "10.0.0.5", gatewayMAC, "10.0.0.1"), uint8(0), uint8(0))
	f.Add(packet("192.0.2.1", frame.ProtoTCP, 1, make([]byte, 40)), uint8(frame.NeedsChecksum), uint8(frame.GSOTCPv4))
	for _, o := range own {
		f.Add(packet(o.gateway, frame.ProtoUDP, 64, make([]byte, 2)), uint8(0), uint8(0))
		f.Add(udpPacket(o.gateway, 53, question), uint8(frame.NeedsChecksum), uint8(0))
		f.Add(ping(o.gateway, "x"), uint8(0), uint8(0))
		f.Add(packet(o.gateway, frame.ProtoTCP, 64, segment(o.gateway, 40000, 1, 0, tcpSYN, "")), uint8(0), uint8(0))
		f.Add(fragment(o.gateway, frame.ProtoUDP, make([]byte, 16), 0, true), uint8(0), uint8(0))
		f.Add(fragment(o.gateway, frame.ProtoUDP, make([]byte, 16), 16, false), uint8(0), uint8(0))
	}
	for _, c := range chains {
		f.Add(packet(own[2].gateway, c.first, 64, c.l4()), uint8(0), uint8(0))
	}
	g := fuzzed(f)
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
		g.solicitationOf(fr)
		g.receive(fr, "a")
	})
}

// FuzzChain gives the stack packets whose headers are as a guest makes them, and all of
// whose checksums count as right.
func FuzzChain(f *testing.F) {
	for _, c := range chains {
		f.Add(c.first, c.l4())
	}
	g := fuzzed(f)
	f.Fuzz(func(t *testing.T, first uint8, l4 []byte) {
		if len(l4) > 9000 {
			return // no port has that much
		}
		for _, o := range own[1:] {
			fr := framed(append(make([]byte, frame.Headroom), packet(o.gateway, first, 64, l4)...))
			fr.Offload.Flags = frame.ChecksumValid
			datagramOf(fr)
			g.solicitationOf(fr)
			g.receive(fr, "a")
		}
	})
}

// fuzzed is a gateway whose guests hear nothing.
func fuzzed(f *testing.F) *Gateway {
	sw := dataplane.New()
	f.Cleanup(sw.Close)
	n, err := sw.AddNetwork("lan", dataplane.NetworkConfig{
		Address: gatewayMAC, MTU: 1500, FDB: fdb.Config{Limit: 100, Ageing: time.Minute},
		Gateway: dataplane.GatewayConfig{Address: config.Address, Address6: config.Address6},
	})
	if err != nil {
		f.Fatal(err)
	}
	g, err := New(n.Gateway(), config)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(g.Close)
	return g
}

// A closed gateway sends nothing, and closes while frames come in.
func TestClose(t *testing.T) {
	l := newLab(t)
	g, err := New(l.net.Gateway(), config)
	if err != nil {
		t.Fatal(err)
	}
	l.expectAnnouncements(config)
	for range 20 {
		for _, o := range own {
			l.send(udpPacket(o.gateway, 53, "query"))
		}
	}
	g.Close()
	g.announce()
	g.Probe(netip.MustParseAddr(own[0].guest))
	g.SendRA(ndp.AllNodes, guestMAC, ndp.Solicitation(guestMAC))
	if f, ok := l.io.Poll(); ok {
		t.Errorf("a closed gateway sends % x", f.Bytes)
	}
}
