package frame_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// want is what a test expects of Parsed, offsets included.
type want struct {
	layer           frame.Layer
	etherType       uint16
	version         uint8
	protocol        uint8
	l3, l4, payload int
	end             int
	fragment        bool
}

func check(t *testing.T, p *frame.Parsed, w want) {
	t.Helper()
	got := want{p.Layer, p.EtherType, p.IPVersion, p.Protocol, p.L3, p.L4, p.Payload, p.End, p.IsFragment()}
	if got != w {
		t.Errorf("got  %+v\nwant %+v", got, w)
	}
}

func parse(b []byte) *frame.Parsed {
	var p frame.Parsed
	p.Parse(newFrame(b))
	return &p
}

func TestParse(t *testing.T) {
	const tcp, udp = frame.ProtoTCP, frame.ProtoUDP
	const v4, v6 = frame.TypeIPv4, frame.TypeIPv6
	data := counting(10)
	many := make([]extension, 9)
	for i := range many {
		many[i] = hopByHop
	}
	tests := []struct {
		name string
		p    packet
		want want
	}{
		{"tcp4", packet{version: 4, protocol: tcp, payload: data},
			want{frame.LayerTransport, v4, 4, tcp, 14, 34, 54, 64, false}},
		{"tcp4 with options", packet{version: 4, protocol: tcp, ipOpts: make([]byte, 40), tcpOpts: make([]byte, 40), payload: data},
			want{frame.LayerTransport, v4, 4, tcp, 14, 74, 134, 144, false}},
		{"udp4", packet{version: 4, protocol: udp, payload: data},
			want{frame.LayerTransport, v4, 4, udp, 14, 34, 42, 52, false}},
		{"one inner tag", packet{version: 4, protocol: udp, tags: []byte{0x81, 0, 0, 7}},
			want{frame.LayerTransport, v4, 4, udp, 18, 38, 46, 46, false}},
		{"two inner tags", packet{version: 6, protocol: udp, tags: []byte{0x88, 0xa8, 0, 7, 0x81, 0, 0, 7}},
			want{frame.LayerTransport, v6, 6, udp, 22, 62, 70, 70, false}},
		{"three inner tags", packet{version: 4, protocol: udp, tags: bytes.Repeat([]byte{0x81, 0, 0, 7}, 3)},
			want{layer: frame.LayerLink, etherType: frame.TypeVLAN, l3: 22}},
		{"tcp6", packet{version: 6, protocol: tcp, payload: data},
			want{frame.LayerTransport, v6, 6, tcp, 14, 54, 74, 84, false}},
		{"tcp6 behind every extension", packet{version: 6, protocol: tcp, payload: data,
			exts: []extension{hopByHop, destination, routing, authHeader, atomic, destination}},
			want{frame.LayerTransport, v6, 6, tcp, 14, 54 + 8 + 16 + 24 + 24 + 8 + 16, 170, 180, false}},
		{"first fragment", packet{version: 6, protocol: udp, payload: data, exts: []extension{firstFrag}},
			want{frame.LayerTransport, v6, 6, udp, 14, 62, 70, 80, true}},
		{"later fragment", packet{version: 6, protocol: udp, payload: data, exts: []extension{laterFrag}},
			want{frame.LayerNetwork, v6, 6, udp, 14, 62, 0, 80, true}},
		{"later fragment whose data look like an extension", packet{version: 6, protocol: 60, exts: []extension{laterFrag}, payload: counting(600)},
			want{frame.LayerNetwork, v6, 6, 60, 14, 62, 0, 682, true}},
		{"too many extensions", packet{version: 6, protocol: udp, exts: many},
			want{frame.LayerNetwork, v6, 6, 0, 14, 54 + 64, 0, 54 + 72 + 8, false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { check(t, parse(tt.p.build().bytes), tt.want) })
	}
}

func TestParseFields(t *testing.T) {
	p4 := parse(packet{version: 4, protocol: frame.ProtoTCP}.build().bytes)
	p6 := parse(packet{version: 6, protocol: frame.ProtoUDP, exts: []extension{laterFrag}}.build().bytes)
	f6 := parse(packet{version: 6, protocol: frame.ProtoUDP, exts: []extension{firstFrag}}.build().bytes)
	for _, tt := range []struct {
		p        *frame.Parsed
		src, dst string
	}{{p4, "::ffff:10.0.0.1", "::ffff:10.0.0.2"}, {p6, "fd00::1", "fd00::2"}, {parse(nil), "::", "::"}} {
		if got := netip.AddrFrom16(tt.p.Src()); got != netip.MustParseAddr(tt.src) {
			t.Errorf("Src %v, want %s", got, tt.src)
		}
		if got := netip.AddrFrom16(tt.p.Dst()); got != netip.MustParseAddr(tt.dst) {
			t.Errorf("Dst %v, want %s", got, tt.dst)
		}
	}
	if p4.SrcPort != 40000 || p4.DstPort != 443 {
		t.Errorf("ports %d %d, want 40000 443", p4.SrcPort, p4.DstPort)
	}
	if p6.FragOffset != 1448 || p6.MoreFragments || p6.FragID != 9 || p6.SrcPort != 0 {
		t.Errorf("later fragment: offset %d more %v id %d port %d", p6.FragOffset, p6.MoreFragments, p6.FragID, p6.SrcPort)
	}
	if f6.FragOffset != 0 || !f6.MoreFragments || f6.FragID != 9 || f6.SrcPort != 40000 {
		t.Errorf("first fragment: offset %d more %v id %d port %d", f6.FragOffset, f6.MoreFragments, f6.FragID, f6.SrcPort)
	}
}

func TestParseIPv4Fragments(t *testing.T) {
	tests := []struct {
		name   string
		flags  [2]byte // bytes 6 and 7 of the header
		offset uint16
		more   bool
		layer  frame.Layer
	}{
		{"whole", [2]byte{0x40, 0}, 0, false, frame.LayerTransport},
		{"reserved bit", [2]byte{0x80, 0}, 0, false, frame.LayerTransport},
		{"first", [2]byte{0x20, 0}, 0, true, frame.LayerTransport},
		{"middle", [2]byte{0x20, 0xb9}, 1480, true, frame.LayerNetwork},
		{"last", [2]byte{0x00, 0xb9}, 1480, false, frame.LayerNetwork},
		{"far end", [2]byte{0xff, 0xff}, 65528, true, frame.LayerNetwork},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := packet{version: 4, protocol: frame.ProtoUDP, id: 77}.build()
			copy(b.bytes[b.l3+6:], tt.flags[:])
			p := parse(b.bytes)
			if p.FragOffset != tt.offset || p.MoreFragments != tt.more || p.Layer != tt.layer {
				t.Errorf("offset %d more %v layer %d, want %d %v %d", p.FragOffset, p.MoreFragments, p.Layer, tt.offset, tt.more, tt.layer)
			}
			if p.IsFragment() != (p.FragID == 77) {
				t.Errorf("fragment %v with id %d", p.IsFragment(), p.FragID)
			}
		})
	}
}

func TestParseICMP(t *testing.T) {
	tests := []struct {
		name     string
		version  int
		protocol uint8
		layer    frame.Layer
	}{
		{"ICMP", 4, frame.ProtoICMP, frame.LayerTransport},
		{"ICMPv6", 6, frame.ProtoICMPv6, frame.LayerTransport},
		{"ICMP over IPv6", 6, frame.ProtoICMP, frame.LayerNetwork},
		{"ICMPv6 over IPv4", 4, frame.ProtoICMPv6, frame.LayerNetwork},
		{"another protocol", 4, 132, frame.LayerNetwork},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := packet{version: tt.version, protocol: frame.ProtoUDP}.build()
			b.bytes[b.l3+map[int]int{4: 9, 6: 6}[tt.version]] = tt.protocol
			p := parse(b.bytes)
			if p.Layer != tt.layer || p.Protocol != tt.protocol || p.SrcPort != 0 {
				t.Errorf("layer %d protocol %d port %d, want layer %d, no port", p.Layer, p.Protocol, p.SrcPort, tt.layer)
			}
		})
	}
}

// TestParseLies changes single bytes of good packets: each makes one layer
// unreadable, and no more than that.
func TestParseLies(t *testing.T) {
	tcp4 := packet{version: 4, protocol: frame.ProtoTCP, payload: counting(4)}
	tcp6 := packet{version: 6, protocol: frame.ProtoTCP, payload: counting(4), exts: []extension{destination}}
	tests := []struct {
		name  string
		p     packet
		at    int
		value byte
		layer frame.Layer
	}{
		{"unchanged 4", tcp4, 0, 2, frame.LayerTransport},
		{"unchanged 6", tcp6, 0, 2, frame.LayerTransport},
		{"type without a header we know", tcp4, 13, 0x06, frame.LayerLink},
		{"version 5", tcp4, 14, 0x55, frame.LayerLink},
		{"header of 16 bytes", tcp4, 14, 0x44, frame.LayerLink},
		{"header longer than the packet", tcp4, 14, 0x4f, frame.LayerLink},
		{"total length below the header", tcp4, 17, 19, frame.LayerLink},
		{"total length 0", tcp4, 17, 0, frame.LayerLink},
		{"total length beyond the frame", tcp4, 17, 45, frame.LayerLink},
		{"total length cuts TCP", tcp4, 17, 39, frame.LayerNetwork},
		{"data offset of 16 bytes", tcp4, 34 + 12, 0x40, frame.LayerNetwork},
		{"data offset 0", tcp4, 34 + 12, 0, frame.LayerNetwork},
		{"data offset beyond the packet", tcp4, 34 + 12, 0x70, frame.LayerNetwork},
		{"data offset to the end", tcp4, 34 + 12, 0x60, frame.LayerTransport},
		{"version 4 in IPv6", tcp6, 14, 0x45, frame.LayerLink},
		{"payload beyond the frame", tcp6, 19, 41, frame.LayerLink},
		{"payload cuts TCP", tcp6, 19, 35, frame.LayerNetwork},
		{"payload 0", tcp6, 19, 0, frame.LayerNetwork},
		{"extension beyond the packet", tcp6, 55, 5, frame.LayerNetwork},
		{"extension cuts TCP", tcp6, 55, 3, frame.LayerNetwork},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.p.build().bytes
			b[tt.at] = tt.value
			if p := parse(b); p.Layer != tt.layer {
				t.Errorf("layer %d, want %d", p.Layer, tt.layer)
			}
		})
	}
}

// TestParseTruncated cuts every kind of packet at every length.
func TestParseTruncated(t *testing.T) {
	for _, version := range []int{4, 6} {
		b := packet{version: version, protocol: frame.ProtoTCP, tags: []byte{0x81, 0, 0, 7}, tcpOpts: make([]byte, 4)}.build()
		for n := range b.bytes {
			p := parse(b.bytes[:n])
			layer := frame.LayerLink
			if n < frame.HeaderLen {
				layer = frame.LayerNone
			}
			if p.Layer != layer { // the IP length is a lie as soon as one byte is missing
				t.Errorf("IPv%d cut to %d bytes: layer %d, want %d", version, n, p.Layer, layer)
			}
			if wantType := n >= 18; wantType != (p.EtherType == frame.TypeIPv4 || p.EtherType == frame.TypeIPv6) {
				t.Errorf("IPv%d cut to %d bytes: type %#x", version, n, p.EtherType)
			}
		}
	}
}

func TestParseIgnoresPadding(t *testing.T) {
	b := packet{version: 4, protocol: frame.ProtoUDP}.build().bytes
	p := parse(append(b, make([]byte, 18)...))
	if p.End != len(b) || p.Layer != frame.LayerTransport {
		t.Errorf("end %d layer %d, want end %d", p.End, p.Layer, len(b))
	}
}

// TestParseReused looks that nothing stays from the frame before.
func TestParseReused(t *testing.T) {
	var p frame.Parsed
	p.Parse(packet{version: 6, protocol: frame.ProtoTCP, exts: []extension{firstFrag}}.plain())
	p.Parse(newFrame(nil))
	check(t, &p, want{})
	if p.SrcPort != 0 || p.FragID != 0 || p.Src() != [16]byte{} {
		t.Errorf("left over: %+v", p)
	}
}

// TestParseAgainstGopacket compares with a decoder written by others.
func TestParseAgainstGopacket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pkt := drawPacket(t, 200)
		// Options at random are no options to gopacket, which decodes them.
		pkt.ipOpts, pkt.tcpOpts = make([]byte, len(pkt.ipOpts)), make([]byte, len(pkt.tcpOpts))
		b := pkt.build().bytes
		var p frame.Parsed
		p.Parse(newFrame(b))
		decoded := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
		if e := decoded.ErrorLayer(); e != nil {
			t.Fatalf("gopacket: %v", e.Error())
		}
		payload := decoded.TransportLayer().LayerPayload()
		if !bytes.Equal(payload, b[p.Payload:p.End]) {
			t.Fatalf("payload of %d bytes, gopacket has %d", p.End-p.Payload, len(payload))
		}
		flow := decoded.NetworkLayer().NetworkFlow()
		if p.IPVersion == 6 {
			src := p.Src()
			if !bytes.Equal(flow.Src().Raw(), src[:]) {
				t.Fatalf("source %x, gopacket has %x", src, flow.Src().Raw())
			}
		}
		if udp, ok := decoded.TransportLayer().(*layers.UDP); ok != (p.Protocol == frame.ProtoUDP) {
			t.Fatalf("protocol %d, gopacket has %v", p.Protocol, decoded.TransportLayer().LayerType())
		} else if ok && (uint16(udp.SrcPort) != p.SrcPort || uint16(udp.DstPort) != p.DstPort) {
			t.Fatalf("ports %d %d, gopacket has %v %v", p.SrcPort, p.DstPort, udp.SrcPort, udp.DstPort)
		}
	})
}

// FuzzParse holds what every user of Parsed relies on, for any bytes.
func FuzzParse(f *testing.F) {
	for _, p := range []packet{
		{version: 4, protocol: frame.ProtoTCP, payload: counting(9)},
		{version: 6, protocol: frame.ProtoUDP, exts: []extension{hopByHop, routing, firstFrag, authHeader}},
		{version: 6, protocol: frame.ProtoTCP, tags: []byte{0x88, 0xa8, 0, 7}, exts: []extension{laterFrag}},
	} {
		f.Add(p.build().bytes, uint8(0))
		f.Add(p.build().bytes, uint8(frame.GSOTCPv6))
	}
	f.Fuzz(func(t *testing.T, b []byte, gso uint8) {
		fr := newFrame(b)
		fr.Offload.GSOType = gso
		var p frame.Parsed
		p.Parse(fr)
		p.Src()
		p.Dst()
		ordered := true
		switch p.Layer {
		case frame.LayerNone:
			ordered = len(b) < frame.HeaderLen
		case frame.LayerLink:
			ordered = frame.HeaderLen <= p.L3 && p.L3 <= len(b) && p.IPVersion == 0
		case frame.LayerNetwork:
			ordered = p.L3+20 <= p.L4 && p.L4 <= p.End && p.End <= len(b) && p.Payload == 0
		case frame.LayerTransport:
			ordered = p.L3+20 <= p.L4 && p.L4+8 <= p.Payload && p.Payload <= p.End && p.End <= len(b) && p.FragOffset == 0
		}
		if !ordered {
			t.Errorf("offsets of %d bytes out of order: %+v", len(b), p)
		}
	})
}

func TestParseDoesNotAllocate(t *testing.T) {
	f := packet{version: 6, protocol: frame.ProtoTCP, exts: []extension{hopByHop}}.plain()
	var p frame.Parsed
	var src [16]byte
	mustNotAllocate(t, "Parse", func() { p.Parse(f); src = p.Src() })
	if src == ([16]byte{}) {
		t.Error("no source address")
	}
}

func BenchmarkParse(b *testing.B) {
	for _, bm := range []struct {
		name string
		p    packet
	}{
		{"tcp4", packet{version: 4, protocol: frame.ProtoTCP}},
		{"tcp6", packet{version: 6, protocol: frame.ProtoTCP}},
		{"udp6+ext", packet{version: 6, protocol: frame.ProtoUDP, exts: []extension{hopByHop, destination}}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			f := bm.p.plain()
			var p frame.Parsed
			b.ReportAllocs()
			for b.Loop() {
				p.Parse(f)
			}
		})
	}
}
