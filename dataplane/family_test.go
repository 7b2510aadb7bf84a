package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/ndp"
)

// Tests of the router are written once, in the terms of IPv4, and run in both families:
// in the lab of IPv6 there is no IPv4, and its stations put each packet on the wire as the
// one of IPv6 that means the same, and take it off in the same way (as RFC 7915 does, but
// for the addresses). What one of the families does not have stands in tests of its own.

// family is one of the two.
type family struct{ six bool }

var (
	ipv4 = family{}
	ipv6 = family{six: true}
)

func bothFamilies(t *testing.T, test func(*testing.T, family)) {
	t.Run("IPv4", func(t *testing.T) { test(t, ipv4) })
	t.Run("IPv6", func(t *testing.T) { test(t, ipv6) })
}

// addr and prefix read an address of IPv4, and return what stands for it in the family:
// a.b.c.d/24 is 2001:db8:aabb:cc::d/64.
func (v family) addr(s string) netip.Addr {
	a := netip.MustParseAddr(s)
	if !v.six || !a.Is4() {
		return a
	}
	return netip.AddrFrom16(address6(a.As4()))
}

func (v family) prefix(s string) netip.Prefix {
	p := netip.MustParsePrefix(s)
	if !v.six || !p.Addr().Is4() {
		return p
	}
	bits := map[int]int{0: 0, 24: 64, 32: 128}[p.Bits()]
	if bits == 0 {
		return everywhere[1]
	}
	return netip.PrefixFrom(v.addr(p.Addr().String()), bits)
}

func (v family) prefixes(list ...string) (p []netip.Prefix) {
	for _, s := range list {
		p = append(p, v.prefix(s))
	}
	return p
}

func (v family) everywhere() netip.Prefix { return v.prefix("0.0.0.0/0") }

// published opens ports of the uplink to a station.
func (v family) published(protocol uint8, first, last uint16, to string) nat.ZoneConfig {
	e := netip.MustParseAddrPort(to)
	return nat.ZoneConfig{Publish: []nat.Publish{{
		Protocol: protocol, First: first, Last: last, To: nat.EndpointOf(netip.AddrPortFrom(v.addr(e.Addr().String()), e.Port())),
	}}}
}

// address sets the gateway's address.
func (v family) address(c *GatewayConfig, s string) {
	if c.Address, c.Address6 = v.prefix(s), nil; v.six {
		c.Address, c.Address6 = netip.Prefix{}, []netip.Prefix{v.prefix(s)}
	}
}

// uplink sets the address of an uplink, none where s is empty.
func (v family) uplink(c *UplinkConfig, s string) {
	var g GatewayConfig
	if s != "" {
		v.address(&g, s)
	}
	c.Address, c.Address6 = g.Address, g.Address6
}

// address6 and address4 are the two ways of addr.
func address6(a [4]byte) (b [16]byte) {
	switch {
	case a == [4]byte{}:
		return b
	case a[0] == 0 || a[0] == 127:
		return netip.IPv6Loopback().As16()
	case a == [4]byte{255, 255, 255, 255}:
		return ndp.AllNodes.As16()
	case a[0] >= 224:
		return [16]byte{0xff, 0x0e, 12: a[0], 13: a[1], 14: a[2], 15: a[3]}
	}
	return [16]byte{0x20, 0x01, 0x0d, 0xb8, a[0], a[1], a[2], 0, 15: a[3]}
}

func address4(b [16]byte) [4]byte {
	switch {
	case b == [16]byte{}:
		return [4]byte{}
	case b == ndp.AllNodes.As16():
		return [4]byte{255, 255, 255, 255}
	case b[0] == 0xff:
		return [4]byte(b[12:])
	}
	return [4]byte{b[4], b[5], b[6], b[15]}
}

// errors are those that both families have, as type and code.
var icmpErrors = map[[2]byte][2]byte{
	{3, 0}: {1, 0}, {3, 1}: {1, 3}, {3, 3}: {1, 4}, {3, 4}: {2, 0}, {3, 13}: {1, 1}, {11, 0}: {3, 0}, {12, 0}: {4, 0},
	{icmpEcho, 0}: {icmpv6Echo, 0}, {icmpEchoReply, 0}: {icmpv6EchoReply, 0},
}

// to6 is a frame of IPv4 in IPv6. What is neither ARP nor IPv4 stays as it is.
func to6(t *testing.T, b []byte, o frame.Offload) ([]byte, frame.Offload) {
	at := 14
	if len(b) > 16 && b[12] == 0x81 {
		at = 18
	}
	if len(b) < at+20 || b[at-2] != 8 {
		return b, o
	}
	head := append([]byte(nil), b[:at]...)
	if head[at-1] == 6 {
		return arpTo6(head, b[at:]), o
	}
	if frame.MAC(head) == broadcast {
		copy(head, group(ndp.AllNodes))
	}
	head[at-2], head[at-1] = 0x86, 0xdd
	return append(head, packetTo6(t, b[at:], &o)...), o
}

func group(a netip.Addr) []byte {
	m := ndp.GroupMAC(a)
	return m[:]
}

func arpTo6(head, arp []byte) []byte {
	sender, target := netip.AddrFrom16(address6([4]byte(arp[14:]))), netip.AddrFrom16(address6([4]byte(arp[24:])))
	n := ndp.Neighbor{Target: target, MAC: frame.MAC(arp[8:]), Solicited: true, Override: true}
	src, dst, message := sender, target, []byte(nil)
	if arp[7] == arpRequest {
		if frame.MAC(head) == broadcast {
			dst = ndp.SolicitedNode(target)
			copy(head, group(dst))
		}
		if sender.IsUnspecified() {
			n.MAC = frame.MAC{}
		}
		message = n.Solicitation()
	} else {
		if frame.MAC(head) == broadcast {
			dst, n.Solicited = ndp.AllNodes, false
			copy(head, group(dst))
		}
		if dst.IsUnspecified() {
			dst, n.Solicited = ndp.AllNodes, false
		}
		n.Target = sender
		message = n.Advertisement()
	}
	f := ndp.Packet(frame.MAC(head[6:]), frame.MAC(head), src, dst, message)
	return append(head[:len(head)-2], f.Bytes()[12:]...)
}

// packetTo6 translates a packet, or the start of one.
func packetTo6(t *testing.T, b []byte, o *frame.Offload) []byte {
	if b[0] != 0x45 {
		t.Fatalf("no packet that IPv6 has too: % x", b)
	}
	ip := make([]byte, ipv6Len, ipv6Len+8+len(b))
	ip[0], ip[1] = 0x60|b[1]>>4, b[1]<<4
	src, dst := address6([4]byte(b[12:])), address6([4]byte(b[16:]))
	copy(ip[8:], src[:])
	copy(ip[24:], dst[:])
	ip[6], ip[7] = b[9], b[8]
	if ip[6] == frame.ProtoICMP {
		ip[6] = frame.ProtoICMPv6
	}
	length := int(binary.BigEndian.Uint16(b[2:])) - ipv4Len
	flags := binary.BigEndian.Uint16(b[6:])
	if flags&0x3fff != 0 {
		f := []byte{ip[6], 0, byte(flags << 3 >> 8), byte(flags<<3) | byte(flags>>13&1), 0, 0, b[4], b[5]}
		ip[6] = frame.ExtFragment
		ip = append(ip, f...)
		length += 8
	}
	l4 := len(ip)
	ip = append(ip, b[ipv4Len:]...)
	if flags&0x1fff == 0 {
		ip = transport(t, ip, l4, b[12:20], ip[8:40], protocol6(b[9]), o, true)
	}
	if grown := len(ip) - l4 - (len(b) - ipv4Len); grown != 0 {
		length += grown
	}
	binary.BigEndian.PutUint16(ip[4:], uint16(length))
	return ip
}

func protocol6(protocol byte) byte {
	if protocol == frame.ProtoICMP {
		return frame.ProtoICMPv6
	}
	return protocol
}

// transport puts what lies behind an IP header right for other addresses around it: was
// and now are both of them. A checksum stays as right or as wrong as it was.
func transport(t *testing.T, packet []byte, l4 int, was, now []byte, protocol byte, o *frame.Offload, six bool) []byte {
	h := packet[l4:]
	at := map[byte]int{frame.ProtoTCP: 16, frame.ProtoUDP: 6, frame.ProtoICMPv6: 2}[protocol]
	if at == 0 || len(h) < at+2 {
		return packet
	}
	if protocol == frame.ProtoICMPv6 {
		return icmp(t, packet, l4, was, now, six)
	}
	check := binary.BigEndian.Uint16(h[at:])
	before, after := frame.Checksum(was, 0), frame.Checksum(now, 0)
	if o != nil && o.Flags&frame.NeedsChecksum != 0 {
		shift := 20
		if !six {
			shift = -20
		}
		o.CsumStart = uint16(int(o.CsumStart) + shift)
		for pair := range map[[2]uint8]bool{{frame.GSOTCPv4, frame.GSOTCPv6}: true} {
			if six && o.GSOType == pair[0] {
				o.GSOType = pair[1]
			} else if !six && o.GSOType == pair[1] {
				o.GSOType = pair[0]
			}
		}
		if int(o.CsumOffset) == at {
			binary.BigEndian.PutUint16(h[at:], ^frame.UpdateChecksum16(^check, ^before, ^after))
		}
		return packet
	}
	if protocol == frame.ProtoUDP && check == 0 {
		return packet
	}
	if check = frame.UpdateChecksum16(check, ^before, ^after); check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(h[at:], check)
	return packet
}

// icmp translates a message with what it quotes, and makes its checksum, which covers
// addresses in IPv6 only, as right or as wrong as it was.
func icmp(t *testing.T, packet []byte, l4 int, was, now []byte, six bool) []byte {
	m := packet[l4:]
	if len(m) < icmpLen {
		return packet
	}
	sum := func(addresses []byte, of bool) uint64 {
		if !of {
			return 0
		}
		return frame.PseudoHeader(addresses[:16], addresses[16:], frame.ProtoICMPv6, len(m))
	}
	wrong := frame.Checksum(m, sum(was, !six))
	kind := [2]byte{m[0], m[1]}
	for four, other := range icmpErrors {
		if six && four == kind {
			m[0], m[1] = other[0], other[1]
		} else if !six && other == kind {
			m[0], m[1] = four[0], four[1]
		}
	}
	if quotes := m[0] != icmpv6Echo && m[0] != icmpv6EchoReply && six || !six && m[0] != icmpEcho && m[0] != icmpEchoReply; quotes && len(m) > icmpLen {
		inner := append([]byte(nil), m[icmpLen:]...)
		if six {
			inner = packetTo6(t, inner, nil)
		} else {
			inner = packetTo4(t, inner, nil)
			inner = inner[:min(len(inner), errorLen-ipv4Len-icmpLen)]
		}
		packet = append(packet[:l4+icmpLen], inner...)
		m = packet[l4:]
	}
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:], frame.Checksum(m, sum(now, six))^wrong)
	return packet
}

// to4 is a frame of IPv6 in IPv4.
func to4(t *testing.T, b []byte, o frame.Offload) ([]byte, frame.Offload) {
	at := 14
	if len(b) > 16 && b[12] == 0x81 {
		at = 18
	}
	if len(b) < at+ipv6Len || b[at-2] != 0x86 {
		return b, o
	}
	head, ip := append([]byte(nil), b[:at]...), b[at:]
	head[at-2], head[at-1] = 8, 0
	if head[0] == 0x33 {
		copy(head, broadcast[:])
	}
	if ip[6] == frame.ProtoICMPv6 && (ip[40] == ndp.NeighborSolicitation || ip[40] == ndp.NeighborAdvertisement) {
		head[at-1] = 6
		return append(head, ndToARP(head, ip)...), o
	}
	return append(head, packetTo4(t, ip, &o)...), o
}

func ndToARP(head, ip []byte) []byte {
	n := ndp.ParseNeighbor(ip[ipv6Len:])
	sender, target := address4([16]byte(ip[8:])), address4(n.Target.As16())
	arp := append([]byte(nil), arpHeader[:]...)
	operation, mac := byte(arpRequest), frame.MAC(head[6:])
	var to frame.MAC
	if ip[40] == ndp.NeighborAdvertisement {
		sender, target, mac = target, address4([16]byte(ip[24:])), n.MAC
		if operation, to = arpReply, frame.MAC(head); frame.MAC(head) == broadcast && target == [4]byte{255, 255, 255, 255} {
			operation, target, to = arpRequest, sender, frame.MAC{} // an announcement
		}
	}
	arp = append(append(append(arp, 0, operation), mac[:]...), sender[:]...)
	return append(append(arp, to[:]...), target[:]...)
}

func packetTo4(t *testing.T, b []byte, o *frame.Offload) []byte {
	ip := make([]byte, ipv4Len, len(b))
	ip[0], ip[1], ip[8] = 0x45, b[0]<<4|b[1]>>4, b[7]
	src, dst := address4([16]byte(b[8:])), address4([16]byte(b[24:]))
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	length, next, at, flags := int(binary.BigEndian.Uint16(b[4:])), b[6], ipv6Len, uint16(0)
	if next == frame.ExtFragment {
		f := b[at:]
		next, at, length = f[0], at+8, length-8
		flags = binary.BigEndian.Uint16(f[2:])>>3 | uint16(f[3]&1)<<13
		copy(ip[4:], f[6:8])
	}
	binary.BigEndian.PutUint16(ip[6:], flags)
	if ip[9] = next; next == frame.ProtoICMPv6 {
		ip[9] = frame.ProtoICMP
	}
	ip = append(ip, b[at:]...)
	size := len(ip)
	if flags&0x1fff == 0 {
		ip = transport(t, ip, ipv4Len, b[8:40], ip[12:20], next, o, false)
	}
	binary.BigEndian.PutUint16(ip[2:], uint16(ipv4Len+length+len(ip)-size))
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:ipv4Len], 0))
	return ip
}

// The wire of the lab loses nothing: there and back, a packet is what it was.
func TestFamilyWire(t *testing.T) {
	l := newNATLab(t, ipv4, RoutingConfig{})
	udps := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "0123456789abcdef"))
	for what, b := range map[string][]byte{
		"UDP": udps, "TCP": l.fromGuest(farIP, frame.ProtoTCP, segment(1, 2, 3, 4, ack, "\x02\x04\x05\xb4", "x")),
		"echo": l.fromGuest(farIP, frame.ProtoICMP, echo(icmpEcho, 7, "ping")), "a fragment": piece(udps, 9, 8, 16, true),
		"an error": l.fromGuest(farIP, frame.ProtoICMP, icmpAbout(3, 4, 1280, udps)), "with a tag": tagged(udps, 7),
		"ARP": arpPacket(broadcast, l.guest.mac, arpRequest, "10.0.0.1"),
	} {
		six, _ := to6(t, b, frame.Offload{})
		var p frame.Parsed
		if p.Parse(wrap(append(make([]byte, frame.Headroom), six...))); p.IPVersion != 6 || len(six) <= len(b) && what != "ARP" {
			t.Errorf("%s: % x is no packet of IPv6", what, six)
		}
		if back, _ := to4(t, six, frame.Offload{}); string(back) != string(b) {
			t.Errorf("%s:\n% x became\n% x", what, b, back)
		}
	}
}
