package nat

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// TestRewriteIsARebuild is the property that matters: a translated packet is,
// to the byte, the packet built anew with the new address.
func TestRewriteIsARebuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, m := drawWire(t, 300), drawMove(t)
		if w.checkAt() >= 0 && !w.noSum {
			w.partial = rapid.Bool().Draw(t, "partial")
		}
		f, p := w.frame()
		m.apply(f, p)
		if w.partial {
			f.CompleteChecksum()
		}
		moved := m.of(w)
		moved.partial = false
		if want := moved.bytes(); !bytes.Equal(f.Bytes(), want) {
			t.Fatalf("\ngot  %x\nwant %x", f.Bytes(), want)
		}
		checkWire(t, f.Bytes())
		var again frame.Parsed
		again.Parse(f)
		if p.SrcPort != again.SrcPort || p.DstPort != again.DstPort || p.Src() != again.Src() || p.Dst() != again.Dst() {
			t.Fatalf("Parsed is out of step: %+v, want %+v", p, again)
		}
	})
}

// TestRewriteBack undoes translations, of packets whose checksums are wrong as
// well: a translation must neither mend nor change what was wrong.
func TestRewriteBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, m := drawWire(t, 60), drawMove(t)
		w.partial = w.checkAt() >= 0 && !w.noSum && rapid.Bool().Draw(t, "partial")
		f, p := w.frame()
		if at := w.checkAt(); at >= 0 && rapid.Bool().Draw(t, "wrong") {
			// 0xffff is zero in one's complement as 0 is, and comes back as that;
			// a partial 0 comes back as 0xffff.
			wrong := rapid.Uint16Range(1, 0xfffe).Draw(t, "checksum")
			binary.BigEndian.PutUint16(f.Bytes()[p.L4+at:], wrong)
		}
		before := slices.Clone(f.Bytes())
		m.apply(f, p)
		m.back(w).apply(f, p)
		if !bytes.Equal(f.Bytes(), before) {
			t.Fatalf("\ngot  %x\nwant %x", f.Bytes(), before)
		}
	})
}

// TestRewriteSuper translates super-frames whole, and looks at every segment.
func TestRewriteSuper(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, m := drawWire(t, 9000, frame.ProtoTCP, frame.ProtoUDP), drawMove(t)
		w.noSum = false
		f, p := w.super(rapid.IntRange(80, 2000).Draw(t, "size"))
		zeroLength := w.protocol == frame.ProtoTCP && rapid.Bool().Draw(t, "no total length")
		if zeroLength {
			// With the checksum of the header as it would be on the wire.
			w.noLength(f.Bytes()[p.L3:])
			p.Parse(f)
		}
		m.apply(f, p)
		moved := m.of(w)
		want, _ := moved.super(int(f.Offload.GSOSize))
		if zeroLength {
			w.noLength(want.Bytes()[p.L3:])
		}
		if !bytes.Equal(f.Bytes(), want.Bytes()) {
			t.Fatalf("\ngot  %x\nwant %x", f.Bytes()[:100], want.Bytes()[:100])
		}
		var s frame.Segmenter
		if !s.Start(f) {
			t.Fatalf("Start refused %+v", f.Offload)
		}
		for s.Left() > 0 {
			one, q := new(frame.Frame), new(frame.Parsed)
			s.Next(one, make([]byte, frame.Headroom+f.SegmentLen()))
			checkWire(t, one.Bytes())
			q.Parse(one)
			if q.SrcPort != moved.sport || q.DstPort != moved.dport ||
				q.Src() != moved.endpoint(moved.src, 0).Addr || q.Dst() != moved.endpoint(moved.dst, 0).Addr {
				t.Fatalf("a segment from %v to %v", q.Src(), q.Dst())
			}
		}
	})
}

// noLength has an IP header leave the length of a super-frame to the frame.
func (w *wire) noLength(ip []byte) {
	at := 2
	if w.six {
		at = 4
	}
	ip[at], ip[at+1] = 0, 0
}

// TestRewriteAgainstGopacket has another implementation build the packet.
func TestRewriteAgainstGopacket(t *testing.T) {
	serialize := func(w wire) []byte {
		if w.six {
			return serialize6(w)
		}
		ip := &layers.IPv4{Version: 4, TTL: 64, Id: w.id, Protocol: layers.IPProtocol(w.protocol), SrcIP: net.IP(w.src[:]), DstIP: net.IP(w.dst[:])}
		eth := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
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
			stack = append(stack, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: w.sport, Seq: 3})
		}
		out := gopacket.NewSerializeBuffer()
		stack = append(stack, gopacket.Payload(w.payload))
		if err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, stack...); err != nil {
			panic(err)
		}
		return out.Bytes()
	}
	rapid.Check(t, func(t *rapid.T) {
		w, m := drawWire(t, 100, frame.ProtoTCP, frame.ProtoUDP, frame.ProtoICMP), drawMove(t)
		if w.protocol == frame.ProtoICMP {
			w.head = []byte{8, 0}
		}
		f, p := wireFrame(serialize(w))
		m.apply(f, p)
		if want := serialize(m.of(w)); !bytes.Equal(f.Bytes(), want) {
			t.Fatalf("\ngot  %x\nwant %x", f.Bytes(), want)
		}
	})
}

// TestRewriteZeroChecksums meets the two values of one's complement zero, which
// chance would hardly draw.
func TestRewriteZeroChecksums(t *testing.T) {
	udp := wire{protocol: frame.ProtoUDP, src: [4]byte{10, 0, 0, 1}, dst: [4]byte{192, 0, 2, 1}, dport: 53, payload: []byte("ask")}
	hits := 0
	for port := range 0x10000 {
		m := wireMove{to: [4]byte{198, 51, 100, 1}, port: uint16(port)}
		f, p := udp.frame()
		m.apply(f, p)
		moved := m.of(udp)
		if !bytes.Equal(f.Bytes(), moved.bytes()) {
			t.Fatalf("port %d: %x, want %x", port, f.Bytes(), moved.bytes())
		}
		if binary.BigEndian.Uint16(f.Bytes()[p.L4+6:]) == 0xffff {
			hits++
		}
	}
	if hits != 1 {
		t.Errorf("%d ports gave a checksum of 0xffff, want one", hits)
	}

	none := udp
	none.noSum = true
	f, p := none.frame()
	setSource(f, p, new(wireEndpoint([4]byte{198, 51, 100, 1}, 9)))
	if got := binary.BigEndian.Uint16(f.Bytes()[p.L4+6:]); got != 0 {
		t.Errorf("a UDP packet without a checksum got %#x", got)
	}

	// The answer to ping -p 0 with identifier and sequence 0: its sum is zero.
	b := (&wire{protocol: frame.ProtoICMP, head: []byte{0, 0}, sport: 77, payload: make([]byte, 8)}).bytes()
	b[14+20+7] = 0
	binary.BigEndian.PutUint16(b[14+20+2:], ^uint16(77))
	f, p = wireFrame(b)
	setDestination(f, p, new(wireEndpoint([4]byte{10, 0, 0, 1}, 0)))
	if got := binary.BigEndian.Uint16(f.Bytes()[p.L4+2:]); got != 0xffff {
		t.Errorf("an echo reply of zeros has the checksum %#x, want 0xffff", got)
	}
	setDestination(f, p, new(wireEndpoint([4]byte{10, 0, 0, 1}, 77)))
	if got := binary.BigEndian.Uint16(f.Bytes()[p.L4+2:]); got != ^uint16(77) {
		t.Errorf("the checksum is %#x, want %#x", got, ^uint16(77))
	}
}

// TestRewriteTunnel rewrites the outer packet of a UDP tunnel whose payload has
// the partial checksum: the outer checksum is complete, as if the inner were.
func TestRewriteTunnel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inner := drawWire(t, 60, frame.ProtoTCP, frame.ProtoUDP)
		inner.tags, inner.noSum = nil, false
		outer := drawWire(t, 0, frame.ProtoUDP)
		outer.noSum = false
		outer.payload = append(make([]byte, 8), inner.bytes()...) // VXLAN
		m := drawMove(t)
		f, p := outer.frame()
		at := p.Payload + 8 + 14 + inner.headerLen()
		f.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: uint16(at), CsumOffset: uint16(inner.checkAt())}
		size := p.End - at
		binary.BigEndian.PutUint16(f.Bytes()[at+inner.checkAt():], naiveSum(inner.pseudo(size)))
		m.apply(f, p)
		f.CompleteChecksum()
		moved := m.of(outer)
		if want := moved.bytes(); !bytes.Equal(f.Bytes(), want) {
			t.Fatalf("\ngot  %x\nwant %x", f.Bytes(), want)
		}
	})
}

// TestRewriteAddressOnly has the packets without a transport header to touch.
func TestRewriteAddressOnly(t *testing.T) {
	base := wire{src: [4]byte{10, 0, 0, 1}, dst: [4]byte{192, 0, 2, 1}, sport: 4242, dport: 80, payload: bytes.Repeat([]byte{7}, 64)}
	tests := []struct {
		name     string
		protocol uint8
		head     []byte
		flags    uint16
		keep     int // bytes behind the IP header, 0 for all
	}{
		{"later fragment of TCP", frame.ProtoTCP, []byte{0}, 0x2004, 0},
		{"later fragment of UDP", frame.ProtoUDP, nil, 0x0004, 0},
		{"later fragment of ICMP", frame.ProtoICMP, []byte{8, 0}, 0x0001, 0},
		{"later fragment of UDP-Lite", 136, nil, 0x0001, 0},
		{"later fragment of DCCP", 33, nil, 0x2001, 0},
		{"TCP cut short", frame.ProtoTCP, []byte{2}, 0, 19},
		{"first fragment of 16 bytes of TCP", frame.ProtoTCP, []byte{2}, 0x2000, 16},
		{"UDP cut short", frame.ProtoUDP, nil, 0, 7},
		{"ICMP cut short", frame.ProtoICMP, []byte{8, 0}, 0, 7},
		{"UDP-Lite cut short", 136, nil, 0, 7},
		{"nothing behind the header", frame.ProtoUDP, nil, 0, -1},
		{"router solicitation", frame.ProtoICMP, []byte{10, 0}, 0, 0},
		{"SCTP", protoSCTP, nil, 0, 0},
		{"GRE", protoGRE, nil, 0, 0},
	}
	for _, tt := range tests {
		for _, partial := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", tt.name, partial), func(t *testing.T) {
				w := base
				w.protocol, w.head, w.flags = tt.protocol, tt.head, tt.flags
				b := w.bytes()
				if tt.keep != 0 {
					b = b[:34+max(tt.keep, 0)]
					binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
					binary.BigEndian.PutUint16(b[24:], 0)
					binary.BigEndian.PutUint16(b[24:], ^naiveSum(b[14:34]))
				}
				f, p := wireFrame(b)
				if partial && w.checkAt() < 0 {
					return
				}
				if partial { // a lie: the frame is too short for it, or holds data there
					f.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: uint16(p.L4), CsumOffset: uint16(w.checkAt())}
				}
				want := slices.Clone(b)
				copy(want[26:], []byte{203, 0, 113, 9})
				binary.BigEndian.PutUint16(want[24:], 0)
				binary.BigEndian.PutUint16(want[24:], ^naiveSum(want[14:34]))
				setSource(f, p, new(wireEndpoint([4]byte{203, 0, 113, 9}, 5555)))
				if !bytes.Equal(f.Bytes(), want) {
					t.Errorf("\ngot  %x\nwant %x", f.Bytes(), want)
				}
			})
		}
	}
}

// TestRewriteLeavesOthers: what is not IP is not touched.
func TestRewriteLeavesOthers(t *testing.T) {
	arp := append([]byte{2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 8, 6}, make([]byte, 46)...)
	for _, b := range [][]byte{arp, {1, 2, 3}} {
		f, p := wireFrame(b)
		setSource(f, p, new(wireEndpoint([4]byte{1, 2, 3, 4}, 5)))
		setDestination(f, p, new(wireEndpoint([4]byte{1, 2, 3, 4}, 5)))
		if !bytes.Equal(f.Bytes(), b) {
			t.Errorf("%x became %x", b, f.Bytes())
		}
	}
}

// TestRewriteGolden has packets in and out, the checksums worked out by a
// program that shares nothing with this package.
func TestRewriteGolden(t *testing.T) {
	for _, tt := range slices.Concat(rewriteGolden, rewriteGolden6) {
		t.Run(tt.name, func(t *testing.T) {
			in, err := hex.DecodeString(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			f, p := wireFrame(in)
			if tt.partialAt != 0 {
				f.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: uint16(p.L4), CsumOffset: uint16(tt.partialAt)}
			}
			if tt.destination {
				setDestination(f, p, new(EndpointOf(netip.AddrPortFrom(netip.MustParseAddr(tt.to), tt.port))))
			} else {
				setSource(f, p, new(EndpointOf(netip.AddrPortFrom(netip.MustParseAddr(tt.to), tt.port))))
			}
			if got := hex.EncodeToString(f.Bytes()); got != tt.out {
				t.Errorf("\ngot  %s\nwant %s", got, tt.out)
			}
		})
	}
}

func TestQueryID(t *testing.T) {
	for kind, want := range map[byte]bool{0: true, 8: true, 13: true, 14: true, 3: false, 5: false, 9: false, 11: false, 17: false} {
		w := wire{protocol: frame.ProtoICMP, head: []byte{kind, 0}, sport: 0x1234}
		f, p := w.frame()
		if id, ok := queryID(f, p); ok != want || ok && id != 0x1234 {
			t.Errorf("type %d: %#x %v", kind, id, ok)
		}
	}
	w := wire{protocol: frame.ProtoICMP, head: []byte{8, 0}, flags: 1}
	if _, ok := queryID(w.frame()); ok {
		t.Error("a later fragment has an identifier")
	}
	w = wire{protocol: frame.ProtoUDP, sport: 8 << 8}
	if _, ok := queryID(w.frame()); ok {
		t.Error("UDP has an identifier")
	}
}
