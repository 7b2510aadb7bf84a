package fastpath

import (
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// What is here makes frames from far to the host, of either family.

type packet = []gopacket.SerializableLayer

// head is the header of a packet, with what stands between it and what it carries.
type head struct {
	src, dst netip.Addr
	protocol layers.IPProtocol // that of ICMP is the family's

	options int    // IPv4: words of options; IPv6: extension headers, of several kinds
	chain   []byte // IPv6: these extension headers
	offset  uint16 // of a later fragment, in units of 8 bytes
	more    bool   // fragments follow
}

// from returns a header from an address to the host, and to one from far.
func (s *sharing) from(addr string, protocol layers.IPProtocol) head {
	return head{src: s.addr(addr), dst: s.hostAddr, protocol: protocol}
}

func (s *sharing) to(addr string, protocol layers.IPProtocol) head {
	return head{src: s.farAddr, dst: s.addr(addr), protocol: protocol}
}

// head returns one from far to the host.
func (s *sharing) head(protocol layers.IPProtocol) head { return s.from("10.0.0.2", protocol) }

// back turns a header round, for what is quoted.
func (h head) back() head {
	h.src, h.dst = h.dst, h.src
	return h
}

func (h head) layers() packet {
	if h.src.Is4() {
		return packet{h.ipv4()}
	}
	if h.protocol == layers.IPProtocolICMPv4 {
		h.protocol = layers.IPProtocolICMPv6
	}
	chain := append([]byte{0, 60, 43, 60, 60, 60}[:h.options:h.options], h.chain...)
	if h.offset != 0 || h.more {
		chain = append(chain, 44)
	}
	ip := &layers.IPv6{Version: 6, HopLimit: 64, SrcIP: h.src.AsSlice(), DstIP: h.dst.AsSlice(), NextHeader: h.protocol}
	if len(chain) > 0 {
		ip.NextHeader = layers.IPProtocol(chain[0])
	}
	return packet{ip, gopacket.Payload(h.extensions(chain))}
}

func (h head) ipv4() *layers.IPv4 {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: h.protocol, SrcIP: h.src.AsSlice(), DstIP: h.dst.AsSlice(), FragOffset: h.offset}
	if h.more {
		ip.Flags = layers.IPv4MoreFragments
	}
	for range 4 * h.options {
		ip.Options = append(ip.Options, layers.IPv4Option{OptionType: 1, OptionLength: 1})
	}
	return ip
}

// extensions returns the headers of a chain (RFC 8200 clause 4). Each that has a
// length of its own is longer by 8 bytes than the one before.
func (h head) extensions(chain []byte) []byte {
	var b []byte
	for i, kind := range chain {
		next := byte(h.protocol)
		if i+1 < len(chain) {
			next = chain[i+1]
		}
		e := []byte{next, 0, 0, 0, 0, 0, 0, 0}
		switch kind {
		case 44:
			e[2], e[3] = byte(h.offset>>5), byte(h.offset<<3)
			if h.more {
				e[3] |= 1
			}
		case 51: // RFC 4302: counted in words, less two
			e[1] = 4
			e = append(e, make([]byte, 16)...)
		default:
			e[1] = byte(i % 3)
			e = append(e, make([]byte, 8*(i%3))...)
		}
		b = append(b, e...)
	}
	return b
}

// frame returns a frame from far to the host.
func (s *sharing) frame(t testing.TB, h head, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: s.farMAC, DstMAC: s.mac, EthernetType: layers.EthernetTypeIPv4}
	if h.src.Is6() {
		eth.EthernetType = layers.EthernetTypeIPv6
	}
	return serialize(t, append(append(packet{eth}, h.layers()...), parts...)...)
}

func serialize(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	var network gopacket.NetworkLayer
	for _, l := range parts {
		switch l := l.(type) {
		case gopacket.NetworkLayer:
			network = l
		case interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}:
			if network != nil {
				_ = l.SetNetworkLayerForChecksum(network)
			}
		}
	}
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (s *sharing) tcp(t testing.TB, from, to uint16, flags string) []byte {
	return s.frame(t, s.head(layers.IPProtocolTCP), tcpHeader(from, to, flags))
}

func tcpHeader(from, to uint16, flags string) *layers.TCP {
	h := &layers.TCP{SrcPort: layers.TCPPort(from), DstPort: layers.TCPPort(to), Seq: 1000, Window: 1000}
	for _, f := range flags {
		switch f {
		case 'S':
			h.SYN = true
		case 'A':
			h.ACK = true
		case 'R':
			h.RST = true
		}
	}
	return h
}

func (s *sharing) udp(t testing.TB, from, to uint16) []byte {
	return s.frame(t, s.head(layers.IPProtocolUDP), udpHeader(from, to), gopacket.Payload("weft"))
}

func udpHeader(from, to uint16) *layers.UDP {
	return &layers.UDP{SrcPort: layers.UDPPort(from), DstPort: layers.UDPPort(to)}
}

// kinds of ICMP messages, as each family numbers them (RFC 792, 4443 and 4861).
var kinds = map[string][2]uint8{
	"echo reply": {0, 129}, "echo request": {8, 128},
	"unreachable": {3, 1}, "time exceeded": {11, 3}, "parameter problem": {12, 4}, "redirect": {5, 137},
	"too big": {3, 2}, // IPv4 has a code of unreachable for it
}

// icmp returns a message with its identifier, which is unused in errors.
func (s *sharing) icmp(kind string, id uint16) packet {
	code := uint8(0)
	if kind == "too big" && !s.v6 {
		code = 4
	}
	if !s.v6 {
		return packet{&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kinds[kind][0], code), Id: id, Seq: 1}}
	}
	return packet{
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kinds[kind][1], code)},
		gopacket.Payload{byte(id >> 8), byte(id), 0, 1},
	}
}

func (s *sharing) echo(t testing.TB, kind string, id uint16) []byte {
	return s.frame(t, s.head(layers.IPProtocolICMPv4), s.icmp(kind, id)...)
}

// quote returns what the host's address sent to where h is from.
func (s *sharing) quote(t testing.TB, h head, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	return serialize(t, append(h.back().layers(), parts...)...)
}

func (s *sharing) icmpError(t testing.TB, kind string, quote []byte) []byte {
	t.Helper()
	return s.frame(t, s.head(layers.IPProtocolICMPv4), append(s.icmp(kind, 0), gopacket.Payload(quote))...)
}

// arp returns a question for an address by far.
func (s *sharing) arp(t testing.TB, target string) []byte {
	eth := &layers.Ethernet{SrcMAC: s.farMAC, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP}
	return serialize(t, eth, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: 1,
		SourceHwAddress: s.farMAC, SourceProtAddress: family{}.addr("10.0.0.2").AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: netip.MustParseAddr(target).AsSlice(),
	})
}

// neighbor returns a solicitation (135) or an advertisement (136) of RFC 4861.
func (s *sharing) neighbor(t testing.TB, kind uint8, src, dst netip.Addr) []byte {
	h := head{src: src, dst: dst, protocol: layers.IPProtocolICMPv6}
	body := append(make([]byte, 4), s.farAddr.AsSlice()...)
	return s.frame(t, h, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}, gopacket.Payload(body))
}

// toMAC changes whom a frame is for.
func toMAC(frame []byte, mac ...byte) []byte {
	frame = append([]byte(nil), frame...)
	copy(frame, mac)
	return frame
}
