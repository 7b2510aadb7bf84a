package nat

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
)

// IP protocols beside those that frame knows, whose checksums cover addresses.
const (
	protoDCCP     = 33
	protoMobility = 135
	protoUDPLite  = 136
)

// Offsets in an IPv4 header (RFC 791 clause 3.1) and an IPv6 one (RFC 8200 clause
// 3), and of the ports in every transport header that has any.
const (
	ipCheckAt       = 10
	ipSourceAt      = 12
	ipDestinationAt = 16

	ip6SourceAt      = 8
	ip6DestinationAt = 24
	ip6HeaderLen     = 40 // without extension headers

	sourcePortAt      = 0
	destinationPortAt = 2
)

// ICMP (RFC 792): the checksum, the identifier of a query, and the types that
// are looked at. Those of ICMPv6 are in family.go.
const (
	icmpCheckAt      = 2
	icmpIdentifierAt = 4

	icmpEchoReply      = 0
	icmpUnreachable    = 3
	icmpSourceQuench   = 4
	icmpEcho           = 8
	icmpTimeExceeded   = 11
	icmpParameter      = 12
	icmpTimestamp      = 13
	icmpTimestampReply = 14
)

// end is one end of a packet, by where its port is in the transport header.
type end int

const (
	sourceEnd      end = sourcePortAt
	destinationEnd end = destinationPortAt
)

// How a transport checksum is treated: bits.
const (
	coversAddress = 1 << iota // by a pseudo header
	zeroIsNone                // 0 says that there is no checksum: UDP (RFC 768)
	partialSum                // holds the pseudo header's sum only
)

// setSource makes to the source of the packet, in place: its address, and its
// port or identifier where p has the transport header of TCP, UDP or an ICMP
// query. All checksums stay as right or as wrong as they were. p is kept in
// step. The packet and to are of one family; what is not IP is left alone.
func setSource(f *frame.Frame, p *frame.Parsed, to *Endpoint) {
	rewriteFrame(f, p, sourceEnd, to)
	if hasPorts(p) {
		p.SrcPort = to.Port
	}
}

// setDestination does for the destination what setSource does for the source.
// An ICMP query has one identifier, which both of them rewrite.
func setDestination(f *frame.Frame, p *frame.Parsed, to *Endpoint) {
	rewriteFrame(f, p, destinationEnd, to)
	if hasPorts(p) {
		p.DstPort = to.Port
	}
}

func hasPorts(p *frame.Parsed) bool {
	return p.Layer == frame.LayerTransport && (p.Protocol == frame.ProtoTCP || p.Protocol == frame.ProtoUDP)
}

// rewriteFrame rewrites one end of the frame's own packet. It takes the endpoint where
// it lies and hands on single words, since copies of small structures stall the
// processor here.
func rewriteFrame(f *frame.Frame, p *frame.Parsed, e end, to *Endpoint) {
	if p.IPVersion == 0 {
		return
	}
	b, o := f.Bytes(), &f.Offload
	h := transportHeader(p, b)
	portAt, checkAt, how := fieldsOf(p.Protocol, h, int(e))
	// Anything else that NeedsChecksum points at is inside: the payload of a
	// tunnel, whose own checksum is complete, as if the inner one were.
	if o.Flags&frame.NeedsChecksum != 0 && int(o.CsumStart) == p.L4 && int(o.CsumOffset) == checkAt {
		how |= partialSum
	}
	var before, after uint32
	if p.IPVersion == 4 {
		after = binary.BigEndian.Uint32(to.Addr[12:])
		before = rewriteIP(b[p.L3:p.L4], e, after)
	} else {
		before, after = rewriteIP6(b[p.L3:p.L4], e, &to.Addr)
		if e == destinationEnd && p.L4 != p.L3+ip6HeaderLen {
			how = coveredBehind(f, p, how)
		}
	}
	rewriteTransport(h, portAt, checkAt, how, before, after, to.Port)
	if p.Protocol == frame.ProtoICMP && checkAt >= 0 && how&partialSum == 0 {
		keepNegativeZero(h)
	}
}

// coveredBehind takes the destination out of what the checksum covers where it is
// not the last one: then that one is covered, which is in the routing header (RFC
// 8200 clause 8.1).
func coveredBehind(f *frame.Frame, p *frame.Parsed, how uint8) uint8 {
	if c, _ := chainOf(f, p); c.detour {
		how &^= coversAddress
	}
	return how
}

// transportHeader returns what may be rewritten behind the IP header: nothing
// in a later fragment, and nothing where the header is cut short, since what
// stands there need not be what it looks like.
func transportHeader(p *frame.Parsed, b []byte) []byte {
	switch p.Protocol {
	case protoUDPLite, protoDCCP, protoMobility:
		if p.FragOffset != 0 {
			return nil
		}
	default:
		if p.Layer < frame.LayerTransport {
			return nil
		}
	}
	return b[p.L4:p.End]
}

// fieldsOf returns where the port or identifier and the checksum are in a
// transport header, of which h is as much as there is, and how the checksum is
// treated; -1 means that there is nothing to rewrite. endAt is where TCP and UDP
// have the port.
//
// SCTP is not here: its checksum is a CRC of the SCTP packet alone, which
// covers no address (RFC 9260 clause 6.8), and so does not change with one.
// UDP-Lite (RFC 3828 clause 3.1), DCCP (RFC 4340 clause 9.1) and the mobility header
// (RFC 6275 clause 6.1.1) are carried by address as all others are, but their
// checksums cover the pseudo header. So does that of every ICMPv6 message, be it an
// error or a query (RFC 4443 clause 2.3).
func fieldsOf(protocol uint8, h []byte, endAt int) (portAt, checkAt int, how uint8) {
	if len(h) < minTransport {
		return -1, -1, 0
	}
	switch protocol {
	case frame.ProtoTCP:
		if len(h) < tcpCheckAt+2 {
			return endAt, -1, 0
		}
		return endAt, tcpCheckAt, coversAddress
	case frame.ProtoUDP:
		return endAt, 6, coversAddress | zeroIsNone
	case protoUDPLite:
		return -1, 6, coversAddress | zeroIsNone
	case protoDCCP:
		return -1, 6, coversAddress
	case protoMobility:
		return -1, 4, coversAddress
	case frame.ProtoICMP:
		if isICMPQuery(protocol, h[0]) {
			return icmpIdentifierAt, icmpCheckAt, 0
		}
	case frame.ProtoICMPv6:
		if isICMPQuery(protocol, h[0]) {
			return icmpIdentifierAt, icmpCheckAt, coversAddress
		}
		return -1, icmpCheckAt, coversAddress
	}
	return -1, -1, 0
}

// minTransport is what an ICMP error quotes of a transport header at least
// (RFC 792), and holds the ports of all and the identifier of a query.
const minTransport = 8

// rewriteIP writes an address into an IPv4 header, and returns the one before.
func rewriteIP(ip []byte, e end, after uint32) (before uint32) {
	at := ipSourceAt
	if e == destinationEnd {
		at = ipDestinationAt
	}
	before = binary.BigEndian.Uint32(ip[at:])
	binary.BigEndian.PutUint32(ip[at:], after)
	check := binary.BigEndian.Uint16(ip[ipCheckAt:])
	binary.BigEndian.PutUint16(ip[ipCheckAt:], frame.UpdateChecksum32(check, before, after))
	return before
}

// rewriteIP6 writes an address into an IPv6 header, which has no checksum. It
// returns the one before and the new one as checksums see them: folded to 32 bits,
// which changes no one's complement sum.
func rewriteIP6(ip []byte, e end, to *[16]byte) (before, after uint32) {
	a := ip[ip6SourceAt:ip6DestinationAt]
	if e == destinationEnd {
		a = ip[ip6DestinationAt:ip6HeaderLen]
	}
	before, after = fold32((*[16]byte)(a)), fold32(to)
	copy(a, to[:])
	return before, after
}

// fold32 adds the 32-bit words of an address in one's complement. It is 0 for the
// address :: alone.
func fold32(a *[16]byte) uint32 {
	hi, lo := bigWords(a)
	s := hi>>32 + hi&0xffffffff + lo>>32 + lo&0xffffffff
	s = s>>32 + s&0xffffffff
	return uint32(s>>32 + s)
}

// rewriteTransport writes a port or identifier into the transport header h, and
// has its checksum follow this and an address. The offsets are what fieldsOf
// returned.
func rewriteTransport(h []byte, portAt, checkAt int, how uint8, before, after uint32, port uint16) {
	var portBefore, portAfter uint16
	if portAt >= 0 {
		portBefore, portAfter = binary.BigEndian.Uint16(h[portAt:]), port
		binary.BigEndian.PutUint16(h[portAt:], port)
	}
	if checkAt < 0 {
		return
	}
	check := binary.BigEndian.Uint16(h[checkAt:])
	switch {
	case how&partialSum != 0:
		if how&coversAddress == 0 {
			return
		}
		// The sum itself, not its complement, and of the addresses only: the
		// ports are summed by whoever completes it.
		check = ^frame.UpdateChecksum32(^check, before, after)
	case how&zeroIsNone != 0 && check == 0:
		return
	default:
		if how&coversAddress != 0 {
			check = frame.UpdateChecksum32(check, before, after)
		}
		check = frame.UpdateChecksum16(check, portBefore, portAfter)
		if how&zeroIsNone != 0 && check == 0 {
			check = 0xffff
		}
	}
	binary.BigEndian.PutUint16(h[checkAt:], check)
}

// keepNegativeZero mends the one message whose checksum a delta gets wrong: an
// echo reply of nothing but zeros. There is no pseudo header to make its sum
// other than zero, so that its checksum is 0xffff, while equation 3 of RFC 1624
// gives 0. m is the whole message.
func keepNegativeZero(m []byte) {
	if binary.BigEndian.Uint16(m[icmpCheckAt:]) == 0 && frame.Checksum(m, 0) == 0xffff {
		m[icmpCheckAt], m[icmpCheckAt+1] = 0xff, 0xff
	}
}

// queryID returns the identifier of an ICMP query or its answer.
func queryID(f *frame.Frame, p *frame.Parsed) (id uint16, ok bool) {
	if p.Layer < frame.LayerTransport || !isICMP(p.Protocol) {
		return 0, false
	}
	h := f.Bytes()[p.L4:p.End]
	return binary.BigEndian.Uint16(h[icmpIdentifierAt:]), isICMPQuery(p.Protocol, h[0])
}
