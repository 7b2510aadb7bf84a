package nat

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
)

// quote is the packet quoted in an ICMP error: what the error is about. Src and
// Dst have the ports of TCP and UDP; the identifier of an ICMP query is in
// both, since it is the asker's, whichever end that is.
type quote struct {
	Protocol uint8
	Src, Dst Endpoint
	Seq      uint32 // of TCP
	HasSeq   bool
	Asks     bool // a query of ICMP, and not its answer

	l3, l4, end int  // in the frame: the quoted headers, and the end of the quote
	detour      bool // the quoted destination is not the last one; see chain
}

// isICMPError reports whether f is an ICMP error that is translated.
func isICMPError(f *frame.Frame, p *frame.Parsed) bool {
	if p.Layer < frame.LayerTransport || !isICMP(p.Protocol) {
		return false
	}
	return isICMPErrorType(p.Protocol, f.Bytes()[p.L4])
}

// parseQuote reads the packet quoted in the ICMP error f. It refuses, as
// RFC 5508 REQ-3 has it, an error or a quoted IP header with a wrong checksum;
// a quote without a whole IP header and the 8 bytes after it (RFC 792); and one
// of a later fragment or of another error, which nobody may answer with an
// error (RFC 1122 clause 3.2.2). The quoted transport checksum is not looked
// at.
func parseQuote(f *frame.Frame, p *frame.Parsed) (q quote, ok bool) {
	if !isICMPError(f, p) || !validICMP(f, p) {
		return quote{}, false
	}
	b := f.Bytes()
	q.l3, q.end = p.Payload, quoteEnd(b, p)
	size := 0
	if p.IPVersion == 4 {
		size, ok = q.parseIPv4(b[q.l3:q.end])
	} else {
		size, ok = q.parseIPv6(b[q.l3:q.end])
	}
	if !ok || !q.parseTransport(b[q.l4:q.end], size) {
		return quote{}, false
	}
	return q, true
}

const (
	ipHeaderLen  = 20     // without options
	ipOffsetMask = 0x1fff // of the flags and fragment offset
)

// parseIPv4 reads the quoted IP header, and returns how long the quoted packet was
// behind it.
func (q *quote) parseIPv4(ip []byte) (size int, ok bool) {
	if len(ip) < ipHeaderLen || ip[0]>>4 != 4 {
		return 0, false
	}
	length, total := int(ip[0]&0xf)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if length < ipHeaderLen || total < length || len(ip) < length || frame.Checksum(ip[:length], 0) != 0 ||
		binary.BigEndian.Uint16(ip[6:])&ipOffsetMask != 0 {
		return 0, false
	}
	q.l4, q.end = q.l3+length, min(q.end, q.l3+total)
	q.Protocol = ip[9]
	q.Src.Addr, q.Dst.Addr = mapped(ip[ipSourceAt:]), mapped(ip[ipDestinationAt:])
	return total - length, true
}

// parseIPv6 does so with an IPv6 header, which has no checksum, and its extension
// headers.
func (q *quote) parseIPv6(ip []byte) (size int, ok bool) {
	if len(ip) < ip6HeaderLen || ip[0]>>4 != 6 {
		return 0, false
	}
	total := ip6HeaderLen + int(binary.BigEndian.Uint16(ip[4:]))
	c, ok := walkChain(ip[:min(len(ip), total)])
	q.Src.Addr, q.Dst.Addr = [16]byte(ip[ip6SourceAt:]), [16]byte(ip[ip6DestinationAt:])
	if !ok || c.offset != 0 || familyOf(&q.Src.Addr) != ipv6 || familyOf(&q.Dst.Addr) != ipv6 {
		return 0, false
	}
	q.Protocol, q.detour = c.protocol, c.detour
	q.l4, q.end = q.l3+c.at, min(q.end, q.l3+total)
	return total - c.at, true
}

// parseTransport reads ports, identifier and sequence number. size is how long
// the quoted packet was behind its IP header.
func (q *quote) parseTransport(h []byte, size int) bool {
	switch q.Protocol {
	case frame.ProtoTCP, frame.ProtoUDP:
		if len(h) < minTransport {
			return false
		}
		q.Src.Port, q.Dst.Port = binary.BigEndian.Uint16(h[sourcePortAt:]), binary.BigEndian.Uint16(h[destinationPortAt:])
		if q.Protocol == frame.ProtoTCP {
			q.Seq, q.HasSeq = binary.BigEndian.Uint32(h[4:]), true
		}
	case frame.ProtoICMP, frame.ProtoICMPv6:
		if len(h) < minTransport || !mayCauseError(q.Protocol, h[0]) {
			return false
		}
		if isICMPQuery(q.Protocol, h[0]) {
			q.Asks = isQuestion(q.Protocol, h[0])
			id := binary.BigEndian.Uint16(h[icmpIdentifierAt:])
			q.Src.Port, q.Dst.Port = id, id
		}
	default:
		return len(h) >= min(minTransport, size)
	}
	return true
}

// validICMP checks the checksum of an ICMP message, which covers the addresses too
// where it is ICMPv6 (RFC 4443 clause 2.3). That of a fragment cannot be, and a
// partial one is right by whoever completes it.
func validICMP(f *frame.Frame, p *frame.Parsed) bool {
	if p.IsFragment() || partialICMP(f, p) {
		return true
	}
	b, covered := f.Bytes(), uint64(0)
	if p.IPVersion == 6 {
		ip := b[p.L3:]
		covered = frame.PseudoHeader(ip[ip6SourceAt:ip6DestinationAt], ip[ip6DestinationAt:ip6HeaderLen], frame.ProtoICMPv6, p.End-p.L4)
	}
	return frame.Checksum(b[p.L4:p.End], covered) == 0
}

func partialICMP(f *frame.Frame, p *frame.Parsed) bool {
	o := &f.Offload
	return o.Flags&frame.NeedsChecksum != 0 && int(o.CsumStart) == p.L4 && o.CsumOffset == icmpCheckAt
}

// quoteEnd returns where the quoted packet ends at most. RFC 4884 clause 4 has its
// length in the header where extensions follow: of ICMP in 32-bit words in the second
// byte after the checksum, except in a source quench; of ICMPv6 in 64-bit words in the
// first one, of the two types that have no other use for it.
func quoteEnd(b []byte, p *frame.Parsed) int {
	kind, length := b[p.L4], 0
	switch {
	case p.Protocol == frame.ProtoICMP && kind != icmpSourceQuench:
		length = int(b[p.L4+5]) * 4
	case p.Protocol == frame.ProtoICMPv6 && (kind == icmp6Unreachable || kind == icmp6TimeExceeded):
		length = int(b[p.L4+4]) * 8
	}
	if length == 0 {
		return p.End
	}
	return min(p.End, p.Payload+length)
}

// setSource makes to the source of the quoted packet: its address and its port
// or identifier, the quoted IP header's checksum, the quoted transport checksum
// where it lies in the quote, and the ICMP error's own. f and p are those that
// parseQuote had.
func (q *quote) setSource(f *frame.Frame, p *frame.Parsed, to Endpoint) {
	q.Src.Addr = to.Addr
	switch q.rewrite(f, p, sourceEnd, to) {
	case sourcePortAt:
		q.Src.Port = to.Port
	case icmpIdentifierAt:
		q.Src.Port, q.Dst.Port = to.Port, to.Port
	}
}

// setDestination does for the quoted destination what setSource does for the
// source.
func (q *quote) setDestination(f *frame.Frame, p *frame.Parsed, to Endpoint) {
	q.Dst.Addr = to.Addr
	switch q.rewrite(f, p, destinationEnd, to) {
	case destinationPortAt:
		q.Dst.Port = to.Port
	case icmpIdentifierAt:
		q.Src.Port, q.Dst.Port = to.Port, to.Port
	}
}

// rewrite rewrites one end of the quoted packet, and takes the difference of
// the sums of what it may touch into the error's checksum. The quote starts at
// an even offset of the message, so its words are words of the message. It
// returns where the port was in the quoted transport header, -1 for none.
func (q *quote) rewrite(f *frame.Frame, p *frame.Parsed, e end, to Endpoint) int {
	b := f.Bytes()
	h := b[q.l4:q.end]
	portAt, checkAt, how := fieldsOf(q.Protocol, h, int(e))
	touched := b[q.l3 : q.l4+min(len(h), tcpHeaderLen)]
	before := ^frame.Checksum(touched, 0)
	var was, is uint32
	if p.IPVersion == 4 {
		is = binary.BigEndian.Uint32(to.Addr[12:])
		was = rewriteIP(b[q.l3:q.l4], e, is)
	} else {
		was, is = rewriteIP6(b[q.l3:q.l4], e, &to.Addr)
	}
	if q.detour && e == destinationEnd {
		how &^= coversAddress
	}
	rewriteTransport(h, portAt, checkAt, how, was, is, to.Port)
	after := ^frame.Checksum(touched, 0)
	if partialICMP(f, p) {
		return portAt
	}
	field := b[p.L4+icmpCheckAt:]
	check := frame.UpdateChecksum16(binary.BigEndian.Uint16(field), before, after)
	binary.BigEndian.PutUint16(field, check)
	return portAt
}

// mapped returns an IPv4 address as ::ffff:a.b.c.d, as frame.Parsed has it.
func mapped(v4 []byte) (a [16]byte) {
	a[10], a[11] = 0xff, 0xff
	copy(a[12:], v4[:4])
	return a
}
