package sockets

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// Lengths of headers, in bytes: UDP (RFC 768), ICMP (RFC 792, RFC 4443).
const (
	udpLen  = 8
	icmpLen = 8

	hops = 64 // of what has no other hop limit

	// l4Start is where what follows the IP header is in the memory of a frame that we
	// make. Headers of either family have room before it, as it may not be known yet
	// which one it will be.
	l4Start = frame.Headroom + frame.HeaderLen + 40
)

// wrap makes f the frame of an IP packet whose payload is in mem from l4Start on. The
// seat fills in the addresses of Ethernet.
func (s *Sockets) wrap(f *frame.Frame, mem []byte, protocol uint8, src, dst netip.Addr) {
	fam := familyOf(dst)
	ip := l4Start - fam.header
	putEthernet(mem[ip-frame.HeaderLen:], fam)
	fam.putIP(mem[ip:], len(mem)-l4Start, uint16(s.ipID.Add(1)), protocol, src, dst)
	f.Set(mem, ip-frame.HeaderLen)
}

// putEthernet writes what stands before an IP packet until the seat has filled in the
// addresses.
func putEthernet(b []byte, fam *family) {
	clear(b[:12])
	binary.BigEndian.PutUint16(b[12:], fam.etherType)
}

// putIP writes the header of a packet with so many bytes of payload. Only IPv4 has an
// identification.
func (a *family) putIP(ip []byte, payload int, id uint16, protocol uint8, src, dst netip.Addr) {
	ip = ip[:a.header]
	clear(ip)
	ip[a.hops] = hops
	if a == v6 {
		ip[0], ip[6] = 0x60, protocol
		binary.BigEndian.PutUint16(ip[4:], uint16(payload))
		src16, dst16 := src.As16(), dst.As16()
		copy(ip[8:], src16[:])
		copy(ip[24:], dst16[:])
		return
	}
	ip[0], ip[9] = 0x45, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(a.header+payload))
	binary.BigEndian.PutUint16(ip[4:], id)
	src4, dst4 := src.As4(), dst.As4()
	copy(ip[12:], src4[:])
	copy(ip[16:], dst4[:])
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip, 0))
}

// wrapUDP is wrap for a datagram whose payload is in mem from l4Start+udpLen on. Its
// checksum is left partial.
func (s *Sockets) wrapUDP(f *frame.Frame, mem []byte, src, dst netip.AddrPort) {
	s.wrap(f, mem, frame.ProtoUDP, src.Addr(), dst.Addr())
	fam := familyOf(dst.Addr())
	udp := mem[l4Start:]
	putUDP(udp, src.Port(), dst.Port(), len(udp))
	partial := ^frame.Checksum(nil, fam.pseudo(mem[l4Start-fam.header:], frame.ProtoUDP, len(udp)))
	binary.BigEndian.PutUint16(udp[6:], partial)
	f.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: uint16(frame.HeaderLen + fam.header), CsumOffset: 6}
}

func putUDP(udp []byte, src, dst uint16, length int) {
	binary.BigEndian.PutUint16(udp[0:], src)
	binary.BigEndian.PutUint16(udp[2:], dst)
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
}

// sendAll sends packets to guests, in fragments where they are too long. Packets
// that may not be fragmented are not among them.
func (s *Sockets) sendAll(frames []*frame.Frame) {
	fits := frames[:0]
	for _, f := range frames {
		if len(f.Bytes())-frame.HeaderLen <= s.mtu {
			fits = append(fits, f)
			continue
		}
		if familyIn(f.Bytes()[frame.HeaderLen:]) == v6 {
			s.sendFragments6(f)
			continue
		}
		var cut frame.Fragmenter
		if !cut.Start(f, s.mtu) {
			continue
		}
		for cut.Left() > 0 {
			part := &frame.Frame{}
			cut.Next(part, make([]byte, frame.Headroom+frame.HeaderLen+s.mtu))
			s.seat.Resolve([]*frame.Frame{part})
		}
	}
	if len(fits) > 0 {
		s.seat.Resolve(fits)
	}
}

// sendFragments6 sends a packet of IPv6 without extension headers as the host that it
// comes from would: routers do not cut any (RFC 8200 clause 4.5). Identifications are
// not to be foretold (RFC 7739).
func (s *Sockets) sendFragments6(f *frame.Frame) {
	f.CompleteChecksum()
	ip := f.Bytes()[frame.HeaderLen:]
	src, dst, id := v6.source(ip), v6.destination(ip), rand.Uint32()
	room := (max(s.mtu, v6.leastMTU) - v6.header - fragmentLen) &^ 7
	for offset, data := 0, ip[v6.header:]; len(data) > 0; {
		n := min(room, len(data))
		mem := make([]byte, l4Start+fragmentLen+n)
		h := mem[l4Start:]
		h[0] = ip[6]
		binary.BigEndian.PutUint32(h[4:], id)
		binary.BigEndian.PutUint16(h[2:], uint16(offset))
		copy(h[fragmentLen:], data[:n])
		if offset, data = offset+n, data[n:]; len(data) > 0 {
			h[3] |= 1
		}
		part := &frame.Frame{}
		s.wrap(part, mem, frame.ExtFragment, src, dst)
		s.seat.Resolve([]*frame.Frame{part})
	}
}

// sound reports whether the checksums of a packet are right. A partial one is: the
// sender is on this machine, and nothing can have happened to it yet.
func sound(f *frame.Frame, p *frame.Parsed) bool {
	b := f.Bytes()
	fam := familyIn(b[p.L3:])
	if fam == v4 && frame.Checksum(b[p.L3:p.L4], 0) != 0 {
		return false
	}
	if p.Layer < frame.LayerTransport {
		return p.Protocol != frame.ProtoUDP && p.Protocol != frame.ProtoTCP && p.Protocol != fam.icmp
	}
	if p.Protocol == frame.ProtoUDP {
		length := int(binary.BigEndian.Uint16(b[p.L4+4:]))
		if length < udpLen || p.L4+length > p.End {
			return false
		}
	}
	if f.Offload.Flags&(frame.NeedsChecksum|frame.ChecksumValid) != 0 {
		return true
	}
	data, pseudo := b[p.L4:p.End], uint64(0)
	switch p.Protocol {
	case frame.ProtoUDP:
		data = data[:binary.BigEndian.Uint16(data[4:])]
		if data[6] == 0 && data[7] == 0 {
			return fam == v4 // none: RFC 768, RFC 8200 clause 8.1
		}
		fallthrough
	case frame.ProtoTCP:
		pseudo = fam.pseudo(b[p.L3:], p.Protocol, len(data))
	default:
		pseudo = fam.pseudoICMP(b[p.L3:], len(data))
	}
	return frame.Checksum(data, pseudo) == 0
}

// putLength writes how long a packet is.
func (a *family) putLength(ip []byte) {
	if a == v4 {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-a.header))
	}
}
