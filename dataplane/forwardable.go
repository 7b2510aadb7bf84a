package dataplane

import (
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// isOwnOrAll reports whether an address is the gateway's own, or stands for all of
// its subnet.
func (g *gateway) isOwnOrAll(a netip.Addr) bool {
	return a == g.own || a == g.all
}

// forwardable reports why no router may forward a packet: its header is damaged, it
// tells routers where to go, it is not from one host to another (RFC 1812 clauses
// 5.2.2, 5.3.7 and, against source routes, RFC 7126 clause 4.3), or it would not
// stay what it was.
func forwardable(f *frame.Frame, p *frame.Parsed) Verdict {
	b := f.Bytes()
	if frame.Checksum(b[p.L3:p.L4], 0) != 0 || p.L4-p.L3 > ipv4Len && sourceRouted(b[p.L3+ipv4Len:p.L4]) {
		return BadPacket
	}
	if !isHost(b[p.L3+12]) || !isHost(b[p.L3+16]) {
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
	return start == p.L4 && o.CsumOffset == 2 // ICMP
}

// isHost reports whether an IPv4 address with this first byte may be one host's that
// can be reached: neither of this network, of the host itself, nor of a group.
func isHost(first byte) bool { return first != 0 && first != 127 && first < 224 }

const ipv4Len = 20 // of a header without options

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

// source and destination are for IPv4 only: to take apart the longer form costs as much
// as all else here.
func source(f *frame.Frame, p *frame.Parsed) netip.Addr {
	return netip.AddrFrom4([4]byte(f.Bytes()[p.L3+12:]))
}

func destination(f *frame.Frame, p *frame.Parsed) netip.Addr {
	return netip.AddrFrom4([4]byte(f.Bytes()[p.L3+16:]))
}

func ttl(f *frame.Frame, p *frame.Parsed) byte { return f.Bytes()[p.L3+8] }
