package snooping

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/weft/weft/dataplane/frame"
)

// report4 and the others are sound messages for tests to spoil.
func report4() packet {
	return packet{src: host4, dst: "239.1.2.3", body: body(0x16, 0, addrBytes("239.1.2.3"))}
}

func report4v3(b []byte) packet { return packet{src: host4, dst: "224.0.0.22", body: b} }

func report6() packet {
	return packet{src: host6, dst: "ff0e::1", body: body(131, 0, make([]byte, 4), addrBytes("ff0e::1"))}
}

func report6v2(b []byte) packet { return packet{src: host6, dst: "ff02::16", body: b} }

func query4(dst, group string, rest ...byte) packet {
	return packet{src: host4, dst: dst, body: body(0x11, 100, addrBytes(group), rest)}
}

func query6(dst, group string, rest ...byte) packet {
	return packet{src: host6, dst: dst, body: body(130, 0, []byte{39, 16, 0, 0}, addrBytes(group), rest)}
}

// with changes a packet.
func with(p packet, change func(*packet)) packet {
	change(&p)
	return p
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    packet
		want Kind
	}{
		{"report", report4(), Report},
		{"report without alert", with(report4(), func(p *packet) { p.noAlert = true }), Report},
		{"report from 0.0.0.0", with(report4(), func(p *packet) { p.src = "0.0.0.0" }), Report},
		{"report from a group", with(report4(), func(p *packet) { p.src = "224.1.1.1" }), Malformed},
		{"report to a host", with(report4(), func(p *packet) { p.dst = "192.0.2.1" }), Malformed},
		{"report with TTL 2", with(report4(), func(p *packet) { p.ttl = 2 }), Malformed},
		{"report, bad checksum", with(report4(), func(p *packet) { p.csum = -1 }), Malformed},
		{"report of no group", with(report4(), func(p *packet) { p.body[4] = 10 }), Malformed},
		{"report of 0.0.0.0", with(report4(), func(p *packet) { clear(p.body[4:]) }), Malformed},
		{"report cut to 7", with(report4(), func(p *packet) { p.body = p.body[:7] }), Malformed},
		{"report of nothing", with(report4(), func(p *packet) { p.body = nil }), Malformed},
		{"longer report", with(report4(), func(p *packet) { p.body = append(p.body, 1, 2, 3) }), Report},
		{"first fragment", with(report4(), func(p *packet) { p.fragment = 0x2000 }), Malformed},
		{"last fragment", with(report4(), func(p *packet) { p.fragment = 1 }), Malformed},
		{"leave of no group", packet{src: host4, dst: "224.0.0.2", body: body(0x17, 0, addrBytes("10.0.0.1"))}, Malformed},
		{"DVMRP", with(report4(), func(p *packet) { p.body[0], p.ttl = 0x13, 64 }), None},
		{"mtrace", with(report4(), func(p *packet) { p.body[0] = 0x1f }), None},
		{"UDP", with(report4(), func(p *packet) { p.protocol = 17 }), None},

		{"general query", query4("224.0.0.1", "0.0.0.0"), Querier},
		{"general query elsewhere", query4("239.1.1.1", "0.0.0.0"), Malformed},
		{"specific query", query4("239.1.1.1", "239.1.1.1"), Querier},
		{"specific query to all", query4("224.0.0.1", "239.1.1.1"), Querier},
		{"query of no group", query4("224.0.0.1", "10.1.1.1"), Malformed},
		{"query of 10 bytes", query4("224.0.0.1", "0.0.0.0", 2, 125), Malformed},
		{"v3 query", query4("224.0.0.1", "0.0.0.0", 2, 125, 0, 0), Querier},
		{"v3 query, source lost", query4("239.1.1.1", "239.1.1.1", 2, 125, 0, 1), Malformed},
		{"v3 query, half a source", query4("239.1.1.1", "239.1.1.1", 2, 125, 0, 1, 9, 9, 9), Malformed},
		{"v3 query, source and more", query4("239.1.1.1", "239.1.1.1", 2, 125, 0, 1, 9, 9, 9, 9, 7), Querier},

		{"v3 report of nothing", report4v3(body(0x22, 0, records(nil))), Report},
		{"v3 report", report4v3(body(0x22, 0, records([]rec{{1, "239.1.1.1", []string{"10.0.0.1"}, 3}, {4, "239.1.1.2", nil, 0}}))), Report},
		{"v3 report, unknown kind", report4v3(body(0x22, 0, records([]rec{{9, "239.1.1.1", nil, 0}}))), Report},
		{"v3 report, no group", report4v3(body(0x22, 0, records([]rec{{4, "10.1.1.1", nil, 0}}))), Malformed},
		{"v3 report, one too few", report4v3(body(0x22, 0, []byte{0, 0, 0, 1})), Malformed},
		{"v3 report, half a record", report4v3(body(0x22, 0, []byte{0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 1})), Malformed},
		{"v3 report, sources lost", report4v3(body(0x22, 0, []byte{0, 0, 0, 1, 4, 0, 0, 2, 239, 1, 1, 1, 9, 9, 9, 9})), Malformed},
		{"v3 report, extra lost", report4v3(body(0x22, 0, []byte{0, 0, 0, 1, 4, 1, 0, 0, 239, 1, 1, 1})), Malformed},
		{"v3 report, 65535 claimed", report4v3(body(0x22, 0, []byte{0, 0, 0xff, 0xff, 4, 0, 0, 0, 239, 1, 1, 1})), Malformed},

		{"MLD report", report6(), Report},
		{"MLD report from ::", with(report6(), func(p *packet) { p.src = "::" }), Report},
		{"MLD done from ::", with(report6(), func(p *packet) { p.src, p.body[0] = "::", 132 }), Report},
		{"MLD report from afar", with(report6(), func(p *packet) { p.src = "2001:db8::1" }), Malformed},
		{"MLD report to a host", with(report6(), func(p *packet) { p.dst = "fe80::1" }), Malformed},
		{"MLD report, hop limit 255", with(report6(), func(p *packet) { p.ttl = 255 }), Malformed},
		{"MLD report, bad checksum", with(report6(), func(p *packet) { p.csum = -1 }), Malformed},
		{"MLD report of no group", with(report6(), func(p *packet) { p.body[8] = 0x20 }), Malformed},
		{"MLD report of ::", with(report6(), func(p *packet) { clear(p.body[8:]) }), Malformed},
		{"MLD report cut to 23", with(report6(), func(p *packet) { p.body = p.body[:23] }), Malformed},
		{"MLD report cut to 1", with(report6(), func(p *packet) { p.body = p.body[:1] }), Malformed},
		{"longer MLD report", with(report6(), func(p *packet) { p.body = append(p.body, 1) }), Report},
		{"MLD without alert", with(report6(), func(p *packet) { p.noAlert = true }), Malformed},
		{"neighbour solicitation", with(report6(), func(p *packet) { p.body[0], p.ttl = 135, 255 }), None},

		{"MLD general query", query6("ff02::1", "::"), Querier},
		{"MLD general query elsewhere", query6("ff0e::1", "::"), Malformed},
		{"MLD query from ::", with(query6("ff02::1", "::"), func(p *packet) { p.src = "::" }), Malformed},
		{"MLD specific query", query6("ff0e::1", "ff0e::1"), Querier},
		{"MLD query of no group", query6("ff02::1", "2001:db8::1"), Malformed},
		{"MLD query of 26 bytes", query6("ff02::1", "::", 2, 125), Malformed},
		{"MLDv2 query", query6("ff02::1", "::", 2, 125, 0, 0), Querier},
		{"MLDv2 query, source lost", query6("ff0e::1", "ff0e::1", append([]byte{2, 125, 0, 1}, make([]byte, 15)...)...), Malformed},
		{"MLDv2 query, source", query6("ff0e::1", "ff0e::1", append([]byte{2, 125, 0, 1}, make([]byte, 16)...)...), Querier},

		{"MLDv2 report", report6v2(body(143, 0, records([]rec{{6, "ff0e::1", []string{"2001:db8::1"}, 2}}))), Report},
		{"MLDv2 report, no group", report6v2(body(143, 0, records([]rec{{4, "fe80::1", nil, 0}}))), Malformed},
		{"MLDv2 report, one too few", report6v2(body(143, 0, []byte{0, 0, 0, 1})), Malformed},
		{"MLDv2 report cut to 7", report6v2(body(143, 0, []byte{0, 0, 0})), Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Parse(tt.p.frame()); got != tt.want {
				t.Errorf("got %d, want %d of\n%x", got, tt.want, tt.p.bytes())
			}
		})
	}
}

func TestParseRouters(t *testing.T) {
	hello := func(dst string) packet {
		p := packet{src: host4, dst: dst, protocol: 103, noAlert: true, body: []byte{0x20, 0, 0, 0, 0, 1, 0, 2, 0, 105}}
		if is6(dst) {
			p.src = host6
		}
		return p
	}
	advertisement := packet{src: host4, dst: "224.0.0.106", body: body(0x30, 20, []byte{0, 125, 0, 2})}
	advertisement6 := packet{src: host6, dst: "ff02::6a", body: body(151, 20, []byte{0, 125, 0, 2})}
	for _, tt := range []struct {
		name string
		p    packet
		want Kind
	}{
		{"hello", hello("224.0.0.13"), Router},
		{"hello elsewhere", hello("224.0.0.14"), None},
		{"hello from 0.0.0.0", with(hello("224.0.0.13"), func(p *packet) { p.src = "0.0.0.0" }), None},
		{"hello from far", with(hello("224.0.0.13"), func(p *packet) { p.ttl = 64 }), None},
		{"hello, bad checksum", with(hello("224.0.0.13"), func(p *packet) { p.csum = -1 }), None},
		{"join/prune", with(hello("224.0.0.13"), func(p *packet) { p.body[0] = 0x23 }), None},
		{"hello cut short", with(hello("224.0.0.13"), func(p *packet) { p.body = p.body[:3] }), None},
		{"fragment of a hello", with(hello("224.0.0.13"), func(p *packet) { p.fragment = 1 }), None},
		{"hello over IPv6", hello("ff02::d"), Router},
		{"hello over IPv6 elsewhere", hello("ff02::e"), None},
		{"hello over IPv6 from ::", with(hello("ff02::d"), func(p *packet) { p.src = "::" }), None},
		{"advertisement", advertisement, Router},
		{"advertisement elsewhere", with(advertisement, func(p *packet) { p.dst = "224.0.0.1" }), Malformed},
		{"advertisement from 0.0.0.0", with(advertisement, func(p *packet) { p.src = "0.0.0.0" }), Malformed},
		{"advertisement, TTL 2", with(advertisement, func(p *packet) { p.ttl = 2 }), Malformed},
		{"advertisement over IPv6", advertisement6, Router},
		{"advertisement over IPv6 elsewhere", with(advertisement6, func(p *packet) { p.dst = "ff02::1" }), Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Parse(tt.p.frame()); got != tt.want {
				t.Errorf("got %d, want %d of\n%x", got, tt.want, tt.p.bytes())
			}
		})
	}
}

func TestParseAlert(t *testing.T) {
	pads := func(n int) []byte { return make([]byte, n) }
	for _, tt := range []struct {
		name string
		exts []byte
		next uint8
		want Kind
	}{
		{"usual", []byte{58, 0, 5, 2, 0, 0, 1, 0}, 0, Report},
		{"padding first", []byte{58, 0, 1, 0, 5, 2, 0, 0}, 0, Report},
		{"single pads", []byte{58, 0, 0, 0, 5, 2, 0, 0}, 0, Report},
		{"of RSVP", []byte{58, 0, 5, 2, 0, 1, 1, 0}, 0, Malformed},
		{"of a wrong length", []byte{58, 0, 5, 3, 0, 0, 0, 0}, 0, Malformed},
		{"missing", []byte{58, 0, 1, 4, 0, 0, 0, 0}, 0, Malformed},
		{"beyond the end", []byte{58, 0, 1, 9, 5, 2, 0, 0}, 0, Malformed},
		{"in the last two bytes", []byte{58, 0, 1, 2, 0, 0, 5, 2}, 0, Malformed},
		{"behind destination options", slices.Concat([]byte{60, 0, 5, 2, 0, 0, 1, 0}, []byte{58, 0, 1, 4, 0, 0, 0, 0}), 0, Report},
		{"in destination options", []byte{58, 0, 5, 2, 0, 0, 1, 0}, 60, Malformed},
		{"behind 200 pads", slices.Concat([]byte{58, 25}, pads(200), []byte{5, 2, 0, 0, 1, 0}), 0, Malformed},
		{"in a fragment", slices.Concat([]byte{44, 0, 5, 2, 0, 0, 1, 0}, []byte{58, 0, 0, 1, 0, 0, 0, 9}), 0, Malformed},
		{"in a last fragment", slices.Concat([]byte{44, 0, 5, 2, 0, 0, 1, 0}, []byte{58, 0, 0, 8, 0, 0, 0, 9}), 0, None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := report6()
			p.exts, p.next = tt.exts, tt.next
			if got := Parse(p.frame()); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestParseFrames(t *testing.T) {
	report, report2 := report4().bytes(), report6().bytes()
	inner := slices.Concat(report[:12], []byte{0x81, 0, 0, 7}, report[12:])
	badHeader := slices.Clone(report)
	badHeader[18]++ // identification
	long := slices.Clone(report)
	binary.BigEndian.PutUint16(long[16:], 400)
	long6 := slices.Clone(report2)
	binary.BigEndian.PutUint16(long6[18:], 400)
	noMLD := slices.Clone(long6)
	noMLD[62] = 135
	for _, tt := range []struct {
		name string
		b    []byte
		want Kind
	}{
		{"nothing", nil, None},
		{"a runt", report[:13], None},
		{"no IP header", report[:33], None},
		{"half of it", report[:40], Malformed},
		{"an inner tag", inner, None},
		{"IPv4 checksum", badHeader, Malformed},
		{"IPv4 length beyond the frame", long, Malformed},
		{"IPv6 length beyond the frame", long6, Malformed},
		{"as before, and no MLD", noMLD, None},
		{"IPv6 cut in its header", report2[:50], None},
		{"MLD cut", report2[:70], Malformed},
		{"version 5", append(slices.Clone(report[:14]), append([]byte{0x55}, report[15:]...)...), None},
		{"ARP", append(slices.Clone(report[:12]), append([]byte{8, 6}, report[14:]...)...), None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Parse(wrap(tt.b)); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestParseOffloads(t *testing.T) {
	for _, p := range []packet{report4(), report6()} {
		p.csum = -1
		f := p.frame()
		f.Offload.Flags = frame.NeedsChecksum
		if got := Parse(f); got != Report {
			t.Errorf("a partial checksum: got %d, want %d", got, Report)
		}
		f.Offload.GSOType = frame.GSOUDPL4
		if got := Parse(f); got != Malformed {
			t.Errorf("a super-frame: got %d, want %d", got, Malformed)
		}
	}
	f := report4().frame()
	f.Tag = frame.Tag{TPID: frame.TypeVLAN, TCI: 7}
	if got := Parse(f); got != Report {
		t.Errorf("the outermost tag: got %d, want %d", got, Report)
	}
}

// TestGopacket has another implementation read our queries.
func TestGopacket(t *testing.T) {
	s := New(Config{Querier: true, Address: ownMAC})
	g := &group{key: key{group: ip("239.1.2.3")}, domain: s.domain(0, IPv4)}
	p := gopacket.NewPacket(s.specific(g, 1).Frame, layers.LayerTypeEthernet, gopacket.Default)
	if p.ErrorLayer() != nil {
		t.Fatal(p.ErrorLayer().Error())
	}
	v4 := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	igmp := p.Layer(layers.LayerTypeIGMP).(*layers.IGMP)
	if v4.TTL != 1 || v4.Protocol != layers.IPProtocolIGMP || len(v4.Options) != 1 || v4.Options[0].OptionType != 148 ||
		v4.DstIP.String() != "239.1.2.3" || v4.SrcIP.String() != "0.0.0.0" {
		t.Errorf("IPv4: %+v", v4)
	}
	if igmp.Type != layers.IGMPMembershipQuery || igmp.GroupAddress.String() != "239.1.2.3" ||
		igmp.RobustnessValue != 2 || igmp.SupressRouterProcessing || igmp.NumberOfSources != 0 {
		t.Errorf("IGMP: %+v", igmp)
	}

	p = gopacket.NewPacket(s.general(s.domain(0, IPv6), -1).Frame, layers.LayerTypeEthernet, gopacket.Default)
	if p.ErrorLayer() != nil {
		t.Fatal(p.ErrorLayer().Error())
	}
	v6 := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	mld := p.Layer(layers.LayerTypeMLDv2MulticastListenerQuery).(*layers.MLDv2MulticastListenerQueryMessage)
	if v6.HopLimit != 1 || v6.SrcIP.String() != "fe80::ff:fe00:fe" || v6.DstIP.String() != "ff02::1" {
		t.Errorf("IPv6: %+v", v6)
	}
	if mld.MaximumResponseDelay() != maxResponse || mld.QQI() != DefaultInterval || mld.QueriersRobustnessVariable != 2 ||
		!mld.MulticastAddress.IsUnspecified() || mld.NumberOfSources != 0 {
		t.Errorf("MLD: %v", mld)
	}
	icmp := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	if err := icmp.SetNetworkLayerForChecksum(v6); err != nil {
		t.Fatal(err)
	}
	if err, bad := icmp.VerifyChecksum(); err != nil || !bad.Valid {
		t.Errorf("checksum: %v %+v", err, bad)
	}
}
