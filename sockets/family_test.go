package sockets

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// side is who is who in one family:
//
//	guest .5, .6 -- gateway 10.0.0.1 | host 198.51.100.1 -- world 198.51.100.2, .3
type side struct {
	fam                    *family
	subnet, link           netip.Prefix // of the gateway, of the host, with their addresses
	guestAddr, otherGuest  netip.Addr
	gatewayIP, hostIP      netip.Addr
	worldIP, worldIP2      netip.Addr
	hostIP2                netip.Addr // one more, where a test adds it
	far                    netip.Addr // behind the world, where a test adds a route
	farNet                 string
	unreachable, forbidden string // networks to which the host has routes of that kind, where a test adds them
	anywhere, loopback     netip.Addr
}

func newSide(fam *family, guests, world, far, unreachable, forbidden string, loopback string) *side {
	a := &side{fam: fam, anywhere: fam.anywhere, loopback: netip.MustParseAddr(loopback), unreachable: unreachable, forbidden: forbidden, farNet: far}
	a.subnet, a.link = netip.MustParsePrefix(guests), netip.MustParsePrefix(world)
	a.gatewayIP, a.guestAddr, a.otherGuest = a.subnet.Addr(), last(a.subnet, 5), last(a.subnet, 6)
	a.hostIP, a.worldIP, a.worldIP2, a.hostIP2 = a.link.Addr(), last(a.link, 2), last(a.link, 3), last(a.link, 9)
	a.far = last(netip.MustParsePrefix(far), 1)
	return a
}

// last returns an address of a prefix by its last byte.
func last(p netip.Prefix, n byte) netip.Addr {
	b := p.Addr().AsSlice()
	b[len(b)-1] = n
	a, _ := netip.AddrFromSlice(b)
	return a
}

// sides returns both families.
func sides() []*side {
	return []*side{
		newSide(v4, "10.0.0.1/24", "198.51.100.1/24", "203.0.113.0/24", "192.0.2.0/25", "192.0.2.128/25", "127.0.0.1"),
		newSide(v6, "fd00:a::1/64", "2001:db8:100::1/64", "2001:db8:113::/64", "2001:db8:2::/64", "2001:db8:3::/64", "::1"),
	}
}

// both runs a test in either family.
func both(t *testing.T, test func(t *testing.T, a *side)) {
	for _, a := range sides() {
		t.Run(a.fam.name, func(t *testing.T) { test(t, a) })
	}
}

// crossing runs a test with clients of either family and guests of either.
func crossing(t *testing.T, test func(t *testing.T, out, in *side)) {
	for _, out := range sides() {
		for _, in := range sides() {
			t.Run(out.fam.name+" to "+in.fam.name, func(t *testing.T) { test(t, out, in) })
		}
	}
}

// guestAt returns one more guest's address.
func (a *side) guestAt(n int) netip.Addr { return last(a.subnet, byte(n)) }

// at names a port.
func at(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }

// udpPacket makes an IP packet.
func udpPacket(from netip.Addr, to netip.AddrPort, port uint16, payload []byte) []byte {
	udp := append(make([]byte, udpLen), payload...)
	putUDP(udp, port, to.Port(), len(udp))
	ip := ipPacket(from, to.Addr(), frame.ProtoUDP, udp)
	binary.BigEndian.PutUint16(l4(ip)[6:], frame.Checksum(udp, familyIn(ip).pseudo(ip, frame.ProtoUDP, len(udp))))
	return ip
}

func synPacket(from netip.Addr, to netip.AddrPort, port uint16) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, port)
	binary.BigEndian.PutUint16(b[2:], to.Port())
	b[12], b[13], b[14] = 0x50, 2, 0xff
	ip := ipPacket(from, to.Addr(), frame.ProtoTCP, b)
	binary.BigEndian.PutUint16(l4(ip)[16:], frame.Checksum(b, familyIn(ip).pseudo(ip, frame.ProtoTCP, len(b))))
	return ip
}

func echoPacket(from, to netip.Addr, id, seq uint16, payload []byte) []byte {
	b := append(make([]byte, icmpLen), payload...)
	b[0] = familyOf(from).echo
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	return icmpPacket(from, to, b)
}

// icmpPacket makes one of a message whose checksum is zero yet.
func icmpPacket(from, to netip.Addr, icmp []byte) []byte {
	ip := ipPacket(from, to, familyOf(from).icmp, icmp)
	if len(icmp) >= 4 {
		binary.BigEndian.PutUint16(l4(ip)[2:], frame.Checksum(icmp, familyOf(from).pseudoICMP(ip, len(icmp))))
	}
	return ip
}

func ipPacket(from, to netip.Addr, protocol uint8, l4 []byte) []byte {
	fam := familyOf(from)
	ip := make([]byte, fam.header, fam.header+len(l4))
	fam.putIP(ip, len(l4), 1, protocol, from, to)
	return append(ip, l4...)
}

// l4 returns what follows the header of a packet that we have made.
func l4(ip []byte) []byte { return ip[familyIn(ip).header:] }

// change edits an IP header, and makes its checksum right.
func change(ip []byte, edit func(ip []byte)) []byte {
	edit(ip)
	if familyIn(ip) == v4 {
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:v4.header], 0))
	}
	return ip
}

// withHops sets the hop limit of a packet.
func withHops(ip []byte, n byte) []byte {
	return change(ip, func(ip []byte) { ip[familyIn(ip).hops] = n })
}

// whole has a packet not be fragmented: those of IPv6 never are on their way.
func whole(ip []byte) []byte {
	return change(ip, func(ip []byte) {
		if familyIn(ip) == v4 {
			ip[6] = 0x40
		}
	})
}

// frameOf makes the frame of an IP packet.
func frameOf(ip []byte) *frame.Frame {
	mem := append(make([]byte, frame.Headroom+frame.HeaderLen), ip...)
	fam := v4
	if len(ip) > 0 {
		fam = familyIn(ip)
	}
	putEthernet(mem[frame.Headroom:], fam)
	f := &frame.Frame{}
	f.Set(mem, frame.Headroom)
	return f
}

// extend puts extension headers in front of what an IPv6 packet carries. Each begins with
// the byte that is to name what follows it.
func extend(ip []byte, kinds []uint8, headers ...[]byte) []byte {
	out, next := append([]byte(nil), ip[:v6.header]...), ip[6]
	named := 6
	for i, h := range headers {
		out[named] = kinds[i]
		named = len(out)
		out = append(out, h...)
	}
	out[named] = next
	out = append(out, ip[v6.header:]...)
	v6.putLength(out)
	return out
}

// fragmentOf makes a part of a packet, which has been cut behind its IP header.
func fragmentOf(ip []byte, id uint32, offset int, more bool, data []byte) []byte {
	fam := familyIn(ip)
	if fam == v4 {
		out := append(append([]byte(nil), ip[:fam.header]...), data...)
		return change(out, func(out []byte) {
			fam.putLength(out)
			binary.BigEndian.PutUint16(out[4:], uint16(id))
			v := uint16(offset / 8)
			if more {
				v |= 0x2000
			}
			binary.BigEndian.PutUint16(out[6:], v)
		})
	}
	h := make([]byte, fragmentLen)
	binary.BigEndian.PutUint16(h[2:], uint16(offset))
	binary.BigEndian.PutUint32(h[4:], id)
	if more {
		h[3] |= 1
	}
	out := append(append([]byte(nil), ip[:fam.header]...), data...)
	return extend(out, []uint8{frame.ExtFragment}, h)
}

// cut cuts a packet as a guest does whose link has that MTU.
func cut(ip []byte, mtu int) (parts [][]byte) {
	fam := familyIn(ip)
	if len(ip) <= mtu {
		return [][]byte{ip}
	}
	room, data := (mtu-fam.header-fragmentLen)&^7, len(ip)-fam.header
	for offset := 0; offset < data; offset += room {
		n := min(room, data-offset)
		parts = append(parts, fragmentOf(ip, 7, offset, offset+n < data, l4(ip)[offset:offset+n]))
	}
	return parts
}
