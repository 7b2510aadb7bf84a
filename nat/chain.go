package nat

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
)

// Routing headers (RFC 8200 clause 4.4).
const (
	routingTypeAt    = 2
	segmentsLeftAt   = 3
	sourceRouteType0 = 0 // deprecated by RFC 5095
)

// chain is what lies between an IPv6 header and the transport header. frame.Parse
// knows where it ends; this is for packets that have one at all, and for quotes.
type chain struct {
	protocol uint8
	at       int    // of the transport header, or of a later fragment's data
	data     int    // where the fragmentable part starts, 0 without a fragment header
	offset   uint16 // of that in the datagram
	detour   bool   // a routing header has segments left: the destination is not the last one
	obsolete bool   // a routing header of type 0
}

// walkChain reads the headers of the IPv6 packet in b, of which there may be no more
// than a part. ok is false where the chain is cut short or longer than anybody needs.
func walkChain(b []byte) (c chain, ok bool) {
	c.protocol, c.at = b[6], ip6HeaderLen
	for range frame.MaxExtensions {
		if !frame.IsExtension(c.protocol) || c.offset != 0 {
			return c, true
		}
		h := b[c.at:]
		length := frame.ExtensionLen(c.protocol, h)
		if length == 0 {
			return c, false
		}
		switch c.protocol {
		case frame.ExtFragment:
			c.data, c.offset = c.at+length, binary.BigEndian.Uint16(h[2:])&^7
		case frame.ExtRouting:
			c.detour = c.detour || h[segmentsLeftAt] != 0
			c.obsolete = c.obsolete || h[routingTypeAt] == sourceRouteType0
		}
		c.protocol = h[0]
		c.at += length
	}
	return c, !frame.IsExtension(c.protocol) || c.offset != 0
}

// chainOf reads the chain of a packet.
func chainOf(f *frame.Frame, p *frame.Parsed) (chain, bool) {
	return walkChain(f.Bytes()[p.L3:p.End])
}

// isSound reports whether an IPv6 packet may be looked at: none of its addresses is
// an IPv4 one, its chain of extension headers has been read to the end, and has no
// source route (RFC 5095, RFC 6092 REC-4).
func isSound(f *frame.Frame, p *frame.Parsed) bool {
	ip := f.Bytes()[p.L3:p.L4]
	src, dst := ip[ip6SourceAt:ip6DestinationAt], ip[ip6DestinationAt:ip6HeaderLen]
	if binary.BigEndian.Uint64(src) == 0 && binary.BigEndian.Uint32(src[8:]) == 0xffff ||
		binary.BigEndian.Uint64(dst) == 0 && binary.BigEndian.Uint32(dst[8:]) == 0xffff {
		return false
	}
	if len(ip) == ip6HeaderLen && p.Layer >= frame.LayerTransport {
		return true
	}
	c, ok := chainOf(f, p)
	return ok && !c.obsolete
}
