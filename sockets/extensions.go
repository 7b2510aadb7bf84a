package sockets

import (
	"iter"

	"github.com/weft/weft/dataplane/frame"
)

// Of extension headers (RFC 8200 clauses 4.5 and 4.7).
const (
	extensionNone = 59 // nothing follows
	fragmentLen   = 8
)

// extension is one extension header.
type extension struct {
	kind  uint8
	named int // where the packet says that it is one of that kind
	at    int // where it is, from the IP header on
	bytes []byte
}

// extensions yields the extension headers of an IPv6 packet up to the offset end. The
// packet has been parsed: frame.Parsed walks over no more than a few.
func extensions(ip []byte, end int) iter.Seq[extension] {
	return func(yield func(extension) bool) {
		for named, at := 6, v6.header; at < end; {
			e := extension{kind: ip[named], named: named, at: at}
			n := frame.ExtensionLen(e.kind, ip[at:end])
			if n == 0 {
				return
			}
			if e.bytes = ip[at : at+n]; !yield(e) {
				return
			}
			named, at = at, at+n
		}
	}
}

// isExtension reports whether p is about a packet whose extension headers could not be
// walked to their end.
func isExtension(p *frame.Parsed) bool {
	return p.IPVersion == 6 && frame.IsExtension(p.Protocol)
}

// notCarried is what a guest is told whose packet is of a protocol that has no sockets.
func notCarried(ip []byte, p *frame.Parsed) icmpError {
	if p.IPVersion == 4 {
		return noProtocol
	}
	return noProtocol.about(named(ip, p.L4-p.L3))
}

// named returns where an IPv6 packet names what it has at the offset end.
func named(ip []byte, end int) int {
	at := 6
	for x := range extensions(ip, end) {
		at = x.at
	}
	return at
}

// passable reports whether a packet may go on without its extension headers, as sockets
// carry none. Otherwise it says what the guest is to be told, if anything: the host that
// the packet is for would not take it, or would not be the last one.
func passable(ip []byte, p *frame.Parsed) (e icmpError, ok bool) {
	if p.IPVersion == 4 {
		return icmpError{}, true
	}
	for x := range extensions(ip, p.L4-p.L3) {
		switch x.kind {
		case frame.ExtRouting:
			if x.bytes[3] != 0 { // segments left
				return badHeader.about(x.at + 2), false // RFC 8200 clause 4.4, RFC 5095
			}
		case frame.ExtAuth:
			return noProtocol.about(x.named), false // it would not be what was signed
		case frame.ExtHopByHop, frame.ExtDestination:
			if at, tell, ok := ignorable(x.bytes); !ok {
				if tell {
					e = badOption.about(x.at + at)
				}
				return e, false
			}
		}
	}
	return icmpError{}, true
}

// ignorable looks for an option by whose type whoever does not know it has to discard
// the packet (RFC 8200 clause 4.2). It returns where that is, and whether to tell the
// sender.
func ignorable(header []byte) (at int, tell, ok bool) {
	for at = 2; at < len(header); {
		kind := header[at]
		switch {
		case kind == 0: // Pad1
			at++
			continue
		case at+2 > len(header) || at+2+int(header[at+1]) > len(header):
			return at, false, false // it is cut short
		case kind>>6 != 0:
			return at, kind>>6 != 1, false
		}
		at += 2 + int(header[at+1])
	}
	return 0, false, true
}

// bare returns a packet as the guests' stack takes it: without extension headers, with
// its right length, which a super-frame may have left to us. It may change the packet.
func bare(ip []byte, p *frame.Parsed) []byte {
	fam, l4 := familyIn(ip), p.L4-p.L3
	if fam == v6 && l4 > fam.header {
		out := make([]byte, 0, fam.header+len(ip)-l4)
		out = append(append(out, ip[:fam.header]...), ip[l4:]...)
		out[6], ip = p.Protocol, out
	}
	fam.putLength(ip)
	return ip
}
