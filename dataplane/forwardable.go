package dataplane

import (
	"encoding/binary"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// isOwnOrAll reports whether an address is the gateway's own, or stands for all of
// its subnet.
func (g *gateway) isOwnOrAll(a netip.Addr) bool {
	if a.Is4() {
		return a == g.own || a == g.all
	}
	return g.six.has(a)
}

// forwardable reports why no router may forward a packet: its header is damaged, it
// tells routers where to go, it is not from one host to another (RFC 1812 clauses
// 5.2.2, 5.3.7 and, against source routes, RFC 7126 clause 4.3), or it would not
// stay what it was.
func forwardable(f *frame.Frame, p *frame.Parsed) Verdict {
	b := f.Bytes()
	if p.IPVersion == 6 {
		if isBroken(f, p) || !isHost6(b[p.L3+8:]) || !isHost6(b[p.L3+24:]) {
			return BadPacket
		}
	} else if frame.Checksum(b[p.L3:p.L4], 0) != 0 || p.L4-p.L3 > ipv4Len && sourceRouted(b[p.L3+ipv4Len:p.L4]) ||
		!isHost(b[p.L3+12]) || !isHost(b[p.L3+16]) {
		return BadPacket
	}
	if f.Offload.Flags&frame.NeedsChecksum != 0 && !isHarmless(&f.Offload, p) {
		return BadOffload
	}
	return Forwarded
}

// isHarmless reports whether completing a packet's partial checksum will touch
// neither addresses nor ports. Whoever does that, once the packet has been looked at
// and translated, writes where its sender has said.
func isHarmless(o *frame.Offload, p *frame.Parsed) bool {
	start := int(o.CsumStart)
	if p.Layer < frame.LayerTransport {
		return start >= p.L4
	}
	if start >= p.Payload {
		return true // what a tunnel carries
	}
	switch p.Protocol {
	case frame.ProtoTCP:
		return start == p.L4 && o.CsumOffset == 16
	case frame.ProtoUDP:
		return start == p.L4 && o.CsumOffset == 6
	}
	return start == p.L4 && o.CsumOffset == 2 // ICMP and ICMPv6
}

// isHost reports whether an IPv4 address with this first byte may be one host's that
// can be reached: neither of this network, of the host itself, nor of a group.
func isHost(first byte) bool { return first != 0 && first != 127 && first < 224 }

// Lengths of headers, without options or extensions.
const (
	ipv4Len = 20
	ipv6Len = 40
)

// isHost6 reports whether an IPv6 address may be one host's that routers know: not of a
// group, nor of one link only (RFC 4291 clause 2.5.6), of the host itself, of none, or
// an IPv4 address in disguise.
func isHost6(b []byte) bool {
	switch {
	case b[0] == 0xff, b[0] == 0xfe && b[1]&0xc0 == 0x80:
		return false
	case b[0] != 0:
		return true
	}
	return binary.BigEndian.Uint64(b) != 0 || binary.BigEndian.Uint32(b[8:]) != 0 && binary.BigEndian.Uint32(b[8:]) != 0xffff
}

// isBroken reports whether an IPv6 packet hides what it carries: behind more extension
// headers than anybody needs, or ones that go on in another fragment (RFC 7112), or
// whether it tells routers where to go by the type of routing header that RFC 5095 has
// abolished.
func isBroken(f *frame.Frame, p *frame.Parsed) bool {
	if p.FragOffset == 0 && isHidden(p) {
		return true
	}
	if p.L4-p.L3 == ipv6Len {
		return false
	}
	return abolished(f.Bytes()[p.L3:p.L4])
}

// isTransport reports whether a protocol has a header that has to be whole.
func isTransport(protocol uint8) bool {
	return protocol == frame.ProtoTCP || protocol == frame.ProtoUDP || protocol == frame.ProtoICMPv6
}

// abolished looks for a routing header of type 0 that has somewhere to go, in headers
// that Parse has walked over.
func abolished(headers []byte) bool {
	kind := headers[6]
	for at := ipv6Len; at < len(headers); {
		h := headers[at:]
		n := frame.ExtensionLen(kind, h)
		if n == 0 {
			return false
		}
		if kind == frame.ExtRouting && h[2] == 0 && h[3] != 0 {
			return true
		}
		kind, at = h[0], at+n
	}
	return false
}

// sourceRouted looks for loose and strict source routes among IPv4 options, and takes
// what it cannot read for one.
func sourceRouted(options []byte) bool {
	const end, nop, loose, strict = 0, 1, 131, 137
	for len(options) > 0 && options[0] != end {
		switch {
		case options[0] == nop:
			options = options[1:]
			continue
		case options[0] == loose || options[0] == strict:
			return true
		case len(options) < 2 || options[1] < 2 || int(options[1]) > len(options):
			return true
		}
		options = options[options[1]:]
	}
	return false
}

// source and destination read the header, since to take the longer form of an IPv4
// address apart costs as much as all else here.
func source(f *frame.Frame, p *frame.Parsed) netip.Addr {
	b := f.Bytes()[p.L3:]
	if p.IPVersion == 6 {
		return netip.AddrFrom16([16]byte(b[8:]))
	}
	return netip.AddrFrom4([4]byte(b[12:]))
}

func destination(f *frame.Frame, p *frame.Parsed) netip.Addr {
	b := f.Bytes()[p.L3:]
	if p.IPVersion == 6 {
		return netip.AddrFrom16([16]byte(b[24:]))
	}
	return netip.AddrFrom4([4]byte(b[16:]))
}

// ttl is the hop limit of an IPv6 packet.
func ttl(f *frame.Frame, p *frame.Parsed) byte {
	if p.IPVersion == 6 {
		return f.Bytes()[p.L3+7]
	}
	return f.Bytes()[p.L3+8]
}
