package ndp

import (
	"encoding/binary"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// ICMPv6 types (RFC 4861 clause 4).
const (
	RouterSolicitation    = 133
	RouterAdvertisement   = 134
	NeighborSolicitation  = 135
	NeighborAdvertisement = 136
	Redirect              = 137
)

// Lengths of the messages without their options, in bytes (RFC 4861 clause 4).
const (
	solicitationLen  = 8
	advertisementLen = 16
	neighborLen      = 24
	redirectLen      = 40

	targetAt = 8 // in neighbour messages and redirects
)

// hopLimit is that of all messages: no router has passed them on.
const hopLimit = 255

const (
	ipLen   = 40 // RFC 8200
	checkAt = 2
)

// Is reports whether a packet is a message of neighbour discovery, by its type.
func Is(f *frame.Frame, p *frame.Parsed) bool {
	if p.Protocol != frame.ProtoICMPv6 || p.Layer != frame.LayerTransport {
		return false
	}
	kind := f.Bytes()[p.L4]
	return kind >= RouterSolicitation && kind <= Redirect
}

// Valid reports whether a packet is such a message and fit to be looked at, as RFC
// 4861 clauses 6.1, 7.1 and 8.1 want it: not forwarded, not damaged, with options that
// end where the message does. Nor is it behind extension headers, which nobody has a use
// for there; that of a fragment is forbidden (RFC 6980).
func Valid(f *frame.Frame, p *frame.Parsed) bool {
	if !Is(f, p) || p.L4-p.L3 != ipLen || f.Offload.IsSuper() {
		return false
	}
	b := f.Bytes()
	ip, m := b[p.L3:p.L4], b[p.L4:p.End]
	if ip[7] != hopLimit || m[1] != 0 {
		return false
	}
	partial := f.Offload.Flags&frame.NeedsChecksum != 0
	if !partial && frame.Checksum(m, frame.PseudoHeader(ip[8:24], ip[24:40], frame.ProtoICMPv6, len(m))) != 0 {
		return false
	}
	src, dst := netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
	if src.IsMulticast() {
		return false
	}
	return validMessage(m, src, dst)
}

// validMessage checks what depends on the type.
func validMessage(m []byte, src, dst netip.Addr) bool {
	n := headerLen(m[0])
	if n == 0 || len(m) < n || !validOptions(m[n:]) {
		return false
	}
	unnamed := src.IsUnspecified()
	switch m[0] {
	case RouterSolicitation:
		return !unnamed || option(m[n:], optionSource) == nil
	case RouterAdvertisement, Redirect:
		return src.IsLinkLocalUnicast()
	}
	target := netip.AddrFrom16([16]byte(m[targetAt:]))
	if target.IsMulticast() || target.IsUnspecified() || target.Is4In6() {
		return false
	}
	if m[0] == NeighborAdvertisement {
		return !unnamed && !(dst.IsMulticast() && m[4]&flagSolicited != 0)
	}
	return !unnamed || dst == SolicitedNode(target) && option(m[n:], optionSource) == nil
}

func headerLen(kind byte) int {
	switch kind {
	case RouterSolicitation:
		return solicitationLen
	case RouterAdvertisement:
		return advertisementLen
	case NeighborSolicitation, NeighborAdvertisement:
		return neighborLen
	case Redirect:
		return redirectLen
	}
	return 0
}

// Packet makes a frame that carries a message, with its checksum, from one address
// to another.
func Packet(srcMAC, dstMAC frame.MAC, src, dst netip.Addr, message []byte) *frame.Frame {
	b := make([]byte, frame.Headroom+frame.HeaderLen+ipLen+len(message))
	f := new(frame.Frame)
	f.Set(b, frame.Headroom)
	f.SetAddresses(dstMAC, srcMAC)
	b = f.Bytes()
	binary.BigEndian.PutUint16(b[12:], frame.TypeIPv6)
	ip := b[frame.HeaderLen:]
	ip[0] = 0x60
	binary.BigEndian.PutUint16(ip[4:], uint16(len(message)))
	ip[6], ip[7] = frame.ProtoICMPv6, hopLimit
	from, to := src.As16(), dst.As16()
	copy(ip[8:], from[:])
	copy(ip[24:], to[:])
	m := ip[ipLen:]
	copy(m, message)
	m[checkAt], m[checkAt+1] = 0, 0
	binary.BigEndian.PutUint16(m[checkAt:], frame.Checksum(m, frame.PseudoHeader(from[:], to[:], frame.ProtoICMPv6, len(m))))
	return f
}
