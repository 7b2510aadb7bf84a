package sockets

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/weft/weft/dataplane/frame"
)

// Lengths of headers, in bytes: IPv4 without options (RFC 791), UDP (RFC 768), ICMP
// (RFC 792).
const (
	ipLen   = 20
	udpLen  = 8
	icmpLen = 8

	ttl = 64 // of what has no other

	// Where the IP header and what follows it are in the memory of a frame.
	ipStart = frame.Headroom + frame.HeaderLen
	l4Start = ipStart + ipLen
)

// emptyHeader is what stands before an IP packet until the seat has filled in the
// addresses.
var emptyHeader = [ipStart]byte{frame.Headroom + 12: frame.TypeIPv4 >> 8, frame.Headroom + 13: frame.TypeIPv4 & 0xff}

// ICMP messages (RFC 792, RFC 1812 clause 5.2.7.1).
const (
	icmpEchoReply    = 0
	icmpUnreachable  = 3
	icmpEcho         = 8
	icmpTimeExceeded = 11
	icmpParameter    = 12
)

// icmpError is what a guest is told about a packet of its own.
type icmpError struct {
	kind, code byte
	info       uint32     // the second word of the header
	from       netip.Addr // who says so; the gateway where it is zero
}

var (
	noNetwork  = icmpError{kind: icmpUnreachable, code: 0}
	noHost     = icmpError{kind: icmpUnreachable, code: 1}
	noProtocol = icmpError{kind: icmpUnreachable, code: 2}
	noPort     = icmpError{kind: icmpUnreachable, code: 3}
	prohibited = icmpError{kind: icmpUnreachable, code: 13}
	tooOld     = icmpError{kind: icmpTimeExceeded, code: 0}
)

const (
	errorLen = 576 // of an ICMP error at the most (RFC 1812 clause 4.3.2.3)

	// errorRate is how many of them are sent a second, and at once (RFC 1812 clause
	// 4.3.2.8).
	errorRate = 200
)

// bucket limits how often something happens.
type bucket struct {
	mu     sync.Mutex
	second int64
	used   int
}

func (b *bucket) take(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.second != now {
		b.second, b.used = now, 0
	}
	b.used++
	return b.used <= errorRate
}

// tell sends a guest an error about its packet, of which quoted is the start.
func (s *Sockets) tell(quoted []byte, e icmpError) {
	if len(quoted) < ipLen || !s.errors.take(s.now.Load()) {
		return
	}
	from := e.from
	if !from.IsValid() {
		from = s.gateway.Addr()
	}
	quoted = quoted[:min(len(quoted), errorLen-ipLen-icmpLen)]
	mem := make([]byte, l4Start+icmpLen+len(quoted))
	icmp := mem[l4Start:]
	icmp[0], icmp[1] = e.kind, e.code
	binary.BigEndian.PutUint32(icmp[4:], e.info)
	copy(icmp[icmpLen:], quoted)
	binary.BigEndian.PutUint16(icmp[2:], frame.Checksum(icmp, 0))
	f := &frame.Frame{}
	s.wrap(f, mem, frame.ProtoICMP, from, addr4(quoted[12:]))
	s.seat.Resolve([]*frame.Frame{f})
}

// wrap makes f the frame of an IP packet whose payload is in mem from l4Start on.
func (s *Sockets) wrap(f *frame.Frame, mem []byte, protocol uint8, src, dst netip.Addr) {
	copy(mem, emptyHeader[:])
	putIP(mem[ipStart:l4Start], len(mem)-ipStart, uint16(s.ipID.Add(1)), protocol, src, dst)
	f.Set(mem, frame.Headroom)
}

func putIP(ip []byte, length int, id uint16, protocol uint8, src, dst netip.Addr) {
	clear(ip)
	ip[0], ip[8], ip[9] = 0x45, ttl, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(length))
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
	udp := mem[l4Start:]
	putUDP(udp, src.Port(), dst.Port(), len(udp))
	ip := mem[ipStart:]
	partial := ^frame.Checksum(nil, frame.PseudoHeader(ip[12:16], ip[16:20], frame.ProtoUDP, len(udp)))
	binary.BigEndian.PutUint16(udp[6:], partial)
	f.Offload = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: frame.HeaderLen + ipLen, CsumOffset: 6}
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
		var cut frame.Fragmenter
		if !cut.Start(f, s.mtu) {
			continue
		}
		for cut.Left() > 0 {
			part := &frame.Frame{}
			cut.Next(part, make([]byte, ipStart+s.mtu))
			s.seat.Resolve([]*frame.Frame{part})
		}
	}
	if len(fits) > 0 {
		s.seat.Resolve(fits)
	}
}

func addr4(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b[:4])) }

// sound reports whether the checksums of an IPv4 packet are right. A partial one is:
// the sender is on this machine, and nothing can have happened to it yet.
func sound(f *frame.Frame, p *frame.Parsed) bool {
	b := f.Bytes()
	if frame.Checksum(b[p.L3:p.L4], 0) != 0 {
		return false
	}
	if p.Layer < frame.LayerTransport {
		return p.Protocol != frame.ProtoUDP && p.Protocol != frame.ProtoTCP && p.Protocol != frame.ProtoICMP
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
			return true // none: RFC 768
		}
		fallthrough
	case frame.ProtoTCP:
		pseudo = frame.PseudoHeader(b[p.L3+12:p.L3+16], b[p.L3+16:p.L3+20], p.Protocol, len(data))
	}
	return frame.Checksum(data, pseudo) == 0
}
