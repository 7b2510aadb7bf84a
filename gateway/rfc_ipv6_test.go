package gateway

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// What docs/ipv6-rfc.md names of the gateway as a host: the dataplane's tests have what it
// is as a router.

// own6 calls a function for each address of IPv6.
func own6(do func(gateway, guest string)) {
	for _, o := range own[1:] {
		do(o.gateway, o.guest)
	}
}

// RFC 4443 clause 2.2: an error about what was for one of the gateway's addresses comes
// from that one.
func TestRFC4443_2_2_OwnAddress(t *testing.T) {
	l := newLab(t)
	own6(func(gateway, guest string) {
		sent := udpPacket(gateway, 9, "discard")
		l.send(sent)
		b := l.next()
		f, p := l.parsed(b)
		src, dst := endsOf(f, p)
		if src.String() != gateway || dst.String() != guest || p.Protocol != frame.ProtoICMPv6 || [2]byte(b[p.L4:]) != [2]byte{1, 4} ||
			string(b[p.L4+8:p.End]) != string(sent[14:]) {
			t.Errorf("%s: told % x", gateway, b)
		}
	})
}

// RFC 4443 clause 3.4 and RFC 8200 clause 4: who sends a protocol that nobody has is told
// where the packet says so; what is padding is stepped over.
func TestRFC4443_3_4_UnknownProtocol(t *testing.T) {
	l := newLab(t)
	own6(func(gateway, _ string) {
		for pointer, sent := range map[uint32][]byte{
			6:       packet(gateway, 47, 64, make([]byte, 20)),
			ip6Len:  packet(gateway, frame.ExtDestination, 64, append(padding(47, 1), make([]byte, 20)...)),
			ip6Len8: packet(gateway, frame.ExtHopByHop, 64, append(append(padding(frame.ExtDestination, 1), padding(47, 2)...), make([]byte, 20)...)),
		} {
			l.send(sent)
			b := l.next()
			if _, p := l.parsed(b); p.Protocol != frame.ProtoICMPv6 || [2]byte(b[p.L4:]) != [2]byte{icmpParameter, 1} || binary.BigEndian.Uint32(b[p.L4+4:]) != pointer {
				t.Errorf("%s: told % x, want it about %d", gateway, b, pointer)
			}
		}
	})
}

const ip6Len8 = ip6Len + 8 // with one extension header

// RFC 4443 clause 4.2: all of an echo request comes back, from the address that it was for.
func TestRFC4443_4_2_Data(t *testing.T) {
	l := newLab(t)
	own6(func(gateway, _ string) {
		for _, size := range []int{0, 1, 1000, 1500 - 48} {
			data := string(make([]byte, size))
			l.send(ping(gateway, data))
			l.expectEcho(gateway, data)
		}
	})
}

// RFC 8200 clause 3: what has arrived needs no hops.
func TestRFC8200_3_LastHop(t *testing.T) {
	l := newLab(t)
	own6(func(gateway, _ string) {
		for _, hops := range []byte{0, 1} {
			l.send(packet(gateway, frame.ProtoICMPv6, hops, echo(gateway, "here")))
			l.expectEcho(gateway, "here")
		}
	})
}

// RFC 8200 clause 4.5: a packet in fragments is one, in whichever order they come; with
// fragments that overlap it is none, and nobody hears of it.
func TestRFC8200_4_5_Reassembly(t *testing.T) {
	l := newLab(t)
	own6(func(gateway, _ string) {
		message := echo(gateway, "0123456789abcdefghijklmnopqrstuvwxyz")
		piece := func(id byte, from, to int) []byte {
			h := []byte{frame.ProtoICMPv6, 0, 0, 0, 9, 9, 9, id}
			binary.BigEndian.PutUint16(h[2:], uint16(from))
			if to < len(message) {
				h[3] |= 1
			}
			return packet(gateway, frame.ExtFragment, 64, append(h, message[from:to]...))
		}
		for i, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
			for _, at := range order {
				l.send(piece(byte(i), []int{0, 16, 32}[at], []int{16, 32, len(message)}[at]))
			}
			l.expectEcho(gateway, string(message[8:]))
		}
		l.send(piece(7, 0, 24))
		l.send(piece(7, 16, 32))
		l.send(piece(7, 24, len(message)))
		l.send(piece(7, 32, len(message)))
		l.send(ping(gateway, "end"))
		l.expectEcho(gateway, "end")
	})
}

// RFC 4861 clause 7.2.6: addresses that are there from now on are told to all nodes, each
// from itself, with the MAC address, as a router's and in the place of what was known.
func TestRFC4861_7_2_6_Announced(t *testing.T) {
	l := newLab(t)
	l.gateway.announce()
	l.next() // that of IPv4
	own6(func(gateway, _ string) {
		b := l.next()
		a := netip.MustParseAddr(gateway)
		target := a.As16()
		want := append(append([]byte{0xa0, 0, 0, 0}, target[:]...), 2, 1)
		want = append(want, gatewayMAC[:]...)
		if frame.MAC(b) != (frame.MAC{0x33, 0x33, 0, 0, 0, 1}) || b[21] != 255 || netip.AddrFrom16([16]byte(b[22:])) != a ||
			netip.AddrFrom16([16]byte(b[38:])) != ndp.AllNodes || b[54] != ndp.NeighborAdvertisement || string(b[58:]) != string(want) {
			t.Errorf("announced % x", b)
		}
	})
}
