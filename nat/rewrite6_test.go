package nat

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// serialize6 has another implementation build an IPv6 packet.
func serialize6(w wire) []byte {
	src, dst := as6(w.src), as6(w.dst)
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocol(w.number()), SrcIP: net.IP(src[:]), DstIP: net.IP(dst[:])}
	eth := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv6}
	stack := []gopacket.SerializableLayer{eth, ip}
	switch w.protocol {
	case frame.ProtoTCP:
		tcp := &layers.TCP{SrcPort: layers.TCPPort(w.sport), DstPort: layers.TCPPort(w.dport), ACK: true, Seq: 7}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		stack = append(stack, tcp)
	case frame.ProtoUDP:
		udp := &layers.UDP{SrcPort: layers.UDPPort(w.sport), DstPort: layers.UDPPort(w.dport)}
		_ = udp.SetNetworkLayerForChecksum(ip)
		stack = append(stack, udp)
	case frame.ProtoICMP:
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}
		_ = icmp.SetNetworkLayerForChecksum(ip)
		stack = append(stack, icmp, &layers.ICMPv6Echo{Identifier: w.sport, SeqNumber: 3})
	}
	out := gopacket.NewSerializeBuffer()
	stack = append(stack, gopacket.Payload(w.payload))
	if err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, stack...); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// routed returns an IPv6 packet with a routing header, whose checksum covers the last
// destination where segments are left (RFC 8200 clause 8.1).
func routed(kind, left byte, last [4]byte) []byte {
	w := wire{six: true, protocol: frame.ProtoUDP, src: [4]byte{10, 1, 0, 1}, dst: [4]byte{198, 51, 100, 1}, sport: 5000, dport: 80, payload: []byte("data")}
	if left > 0 {
		w.dst = last
	}
	b := w.bytes()
	to := as6([4]byte{198, 51, 100, 1})
	copy(b[38:], to[:])
	final := as6(last)
	h := append([]byte{b[20], 2, kind, left, 0, 0, 0, 0}, final[:]...)
	b[20] = frame.ExtRouting
	binary.BigEndian.PutUint16(b[18:], uint16(len(b)-54+len(h)))
	return append(b[:54:54], append(h, b[54:]...)...)
}

// TestRewriteRouted translates the destination of a packet whose checksum covers
// another one, and where it covers that.
func TestRewriteRouted(t *testing.T) {
	last := [4]byte{203, 0, 113, 9}
	for _, left := range []byte{0, 1} {
		f, p := wireFrame(routed(2, left, last))
		if p.Layer != frame.LayerTransport {
			t.Fatal("the test's own packet is broken")
		}
		want := bytes.Clone(f.Bytes())
		to := as6([4]byte{192, 0, 2, 33})
		copy(want[38:], to[:])
		moved := wire{six: true, protocol: frame.ProtoUDP, src: [4]byte{10, 1, 0, 1}, dst: [4]byte{192, 0, 2, 33}, sport: 5000, dport: 8080, payload: []byte("data")}
		if left > 0 {
			moved.dst = last
		}
		copy(want[54+24:], moved.ip()[40:])
		setDestination(f, p, &Endpoint{Addr: to, Port: 8080})
		if !bytes.Equal(f.Bytes(), want) {
			t.Errorf("%d segments left:\ngot  %x\nwant %x", left, f.Bytes(), want)
		}
	}
}

// TestUnsound has IPv6 packets that may not be looked at, from both sides.
func TestUnsound(t *testing.T) {
	plain := wire{six: true, protocol: frame.ProtoUDP, src: [4]byte{10, 1, 0, 1}, dst: [4]byte{198, 51, 100, 1}, sport: 5000, dport: 80}
	mappedAt := func(at int) []byte {
		b := plain.bytes()
		v4 := wireEndpoint([4]byte{10, 1, 0, 1}, 0).Addr
		copy(b[at:], v4[:])
		return b
	}
	chain := func(n int) []byte { // of n headers of destination options
		b := plain.bytes()
		for range n {
			b = append(b[:54:54], append([]byte{b[20], 0, 1, 4, 0, 0, 0, 0}, b[54:]...)...)
			b[20] = frame.ExtDestination
		}
		binary.BigEndian.PutUint16(b[18:], uint16(len(b)-54))
		return b
	}
	cut := chain(1)
	cut[54+1] = 40 // longer than the packet
	for _, tt := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"plain", plain.bytes(), true},
		{"an IPv4 address as source", mappedAt(22), false},
		{"an IPv4 address as destination", mappedAt(38), false},
		{"eight extension headers", chain(8), true},
		{"nine extension headers", chain(9), false},
		{"a chain cut short", cut, false},
		{"routing header of type 0", routed(0, 1, [4]byte{1, 2, 3, 4}), false},
		{"routing header of type 0, no segment left", routed(0, 0, [4]byte{1, 2, 3, 4}), false},
		{"routing header of type 2", routed(2, 1, [4]byte{1, 2, 3, 4}), true},
	} {
		l := &lab{t: t, now: 1, six: true}
		l.tab = New(Config{Addresses: bothFamilies(outsideA)})
		l.zone(0, ZoneConfig{})
		f, p := wireFrame(bytes.Clone(tt.b))
		if r := l.tab.Outbound(0, 0, f, p, 1); (r.Verdict == Invalid) == tt.ok {
			t.Errorf("%s out: %v", tt.name, r.Verdict)
		}
		f, p = wireFrame(bytes.Clone(tt.b))
		if r := l.tab.Inbound(f, p, 1); (r.Verdict == Invalid) == tt.ok || r.Verdict == Translated {
			t.Errorf("%s in: %v", tt.name, r.Verdict)
		}
	}
}

// TestUDPZeroOverIPv6 leaves a checksum of zero as it is (RFC 6935, RFC 6936), and
// makes no other one zero.
func TestUDPZeroOverIPv6(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, m := drawWire(t, 20, frame.ProtoUDP), drawMove(t)
		w.six = true
		f, p := w.frame()
		m.apply(f, p)
		if got := binary.BigEndian.Uint16(f.Bytes()[p.L4+6:]); (got == 0) != w.noSum {
			t.Fatalf("checksum %#x of a packet that had one: %v", got, !w.noSum)
		}
	})
}

// FuzzChain walks over chains of extension headers in any frame, as frame.Parse does,
// and takes it through a table: nothing panics, and what is dropped is as it was.
func FuzzChain(f *testing.F) {
	f.Add(routed(0, 1, [4]byte{1, 2, 3, 4})[54:], uint8(frame.ExtRouting))
	f.Add(routed(2, 0, [4]byte{1, 2, 3, 4})[54:], uint8(frame.ExtRouting))
	w := wire{six: true, protocol: frame.ProtoTCP, head: []byte{tcpSYN}, ipOptions: make([]byte, 20)}
	f.Add(w.ip()[40:], uint8(frame.ExtDestination))
	w.flags = 0x2000
	f.Add(w.ip()[40:], uint8(frame.ExtFragment))
	w.flags, w.protocol = 0x2001, frame.ProtoUDP
	f.Add(w.ip()[40:], uint8(frame.ExtFragment))
	f.Add([]byte{6, 4, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, uint8(frame.ExtAuth))
	f.Fuzz(func(t *testing.T, rest []byte, next uint8) {
		if len(rest) > 1500 {
			return
		}
		base := wire{six: true, protocol: frame.ProtoUDP, src: [4]byte{10, 1, 0, 1}, dst: [4]byte{198, 51, 100, 1}}
		b := append(base.bytes()[:54:54], rest...)
		binary.BigEndian.PutUint16(b[18:], uint16(len(rest)))
		b[20] = next
		fr, p := wireFrame(bytes.Clone(b))
		c, ok := chainOf(fr, p)
		if ok == (frame.IsExtension(p.Protocol) && p.FragOffset == 0) || c.at != p.L4-p.L3 || c.protocol != p.Protocol {
			t.Fatalf("%+v %v, and Parse says %d at %d", c, ok, p.Protocol, p.L4-p.L3)
		}
		l := &lab{t: t, now: 1, six: true}
		l.tab = New(Config{Addresses: bothFamilies(outsideA)})
		l.zone(0, ZoneConfig{})
		r := l.tab.Outbound(0, 0, fr, p, 1)
		if r.Verdict != Translated {
			if !bytes.Equal(fr.Bytes(), b) {
				t.Fatalf("%v, and it has changed", r.Verdict)
			}
			return
		}
		out := as6([4]byte{192, 0, 2, 1})
		if !bytes.Equal(fr.Bytes()[22:38], out[:]) || !bytes.Equal(fr.Bytes()[38:54], b[38:54]) || !bytes.Equal(fr.Bytes()[54:p.L4], b[54:p.L4]) {
			t.Fatalf("%x became %x", b, fr.Bytes())
		}
		if r := l.tab.Inbound(fr, p, 1); r.Verdict == Translated {
			t.Fatal("a packet from inside has come in")
		}
	})
}
