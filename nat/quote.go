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

	l3, l4, end int // in the frame: the quoted headers, and the end of the quote
}

// isICMPError reports whether f is an ICMP error that is translated. A redirect
// is none: the router it names means nothing on the other side.
func isICMPError(f *frame.Frame, p *frame.Parsed) bool {
	if p.Layer < frame.LayerTransport || p.Protocol != frame.ProtoICMP {
		return false
	}
	return isICMPErrorType(f.Bytes()[p.L4])
}

func isICMPErrorType(kind uint8) bool {
	switch kind {
	case icmpUnreachable, icmpSourceQuench, icmpTimeExceeded, icmpParameter:
		return true
	}
	return false
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
	ip := b[q.l3:q.end]
	if len(ip) < ipHeaderLen || ip[0]>>4 != 4 {
		return quote{}, false
	}
	length, total := int(ip[0]&0xf)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if length < ipHeaderLen || total < length || len(ip) < length || frame.Checksum(ip[:length], 0) != 0 ||
		binary.BigEndian.Uint16(ip[6:])&ipOffsetMask != 0 {
		return quote{}, false
	}
	q.l4, q.end = q.l3+length, min(q.end, q.l3+total)
	q.Protocol = ip[9]
	q.Src.Addr, q.Dst.Addr = mapped(ip[ipSourceAt:]), mapped(ip[ipDestinationAt:])
	if !q.parseTransport(b[q.l4:q.end], total-length) {
		return quote{}, false
	}
	return q, true
}

const (
	ipHeaderLen  = 20     // without options
	ipOffsetMask = 0x1fff // of the flags and fragment offset
)

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
	case frame.ProtoICMP:
		if len(h) < minTransport || isICMPErrorType(h[0]) {
			return false
		}
		if isICMPQuery(h[0]) {
			id := binary.BigEndian.Uint16(h[icmpIdentifierAt:])
			q.Src.Port, q.Dst.Port = id, id
		}
	default:
		return len(h) >= min(minTransport, size)
	}
	return true
}

// validICMP checks the checksum of an ICMP message. That of a fragment cannot
// be, and a partial one is right by whoever completes it.
func validICMP(f *frame.Frame, p *frame.Parsed) bool {
	if p.IsFragment() || partialICMP(f, p) {
		return true
	}
	return frame.Checksum(f.Bytes()[p.L4:p.End], 0) == 0
}

func partialICMP(f *frame.Frame, p *frame.Parsed) bool {
	o := &f.Offload
	return o.Flags&frame.NeedsChecksum != 0 && int(o.CsumStart) == p.L4 && o.CsumOffset == icmpCheckAt
}

// quoteEnd returns where the quoted packet ends at most. RFC 4884 clause 4 has
// its length in 32-bit words in the second byte after the checksum, where
// extensions follow, except in a source quench.
func quoteEnd(b []byte, p *frame.Parsed) int {
	words := int(b[p.L4+5])
	if words == 0 || b[p.L4] == icmpSourceQuench {
		return p.End
	}
	return min(p.End, p.Payload+words*4)
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
	portAt, checkAt, how := fieldsOf(q.Protocol, h, e.port)
	touched := b[q.l3 : q.l4+min(len(h), tcpHeaderLen)]
	before := ^frame.Checksum(touched, 0)
	address := rewriteIP(b[q.l3:q.l4], e.address, address4(&to))
	rewriteTransport(h, portAt, checkAt, how, address, address4(&to), to.Port)
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
