package dataplane

import (
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// What guards look for. A packet that may hide it counts as well: behind more extension
// headers than Parse walks over, or in a later fragment (RFC 7113 clause 2). Later
// fragments pass, since without the first one they are nothing.

// advertises reports whether a frame has a router advertisement or a redirect.
func advertises(f *frame.Frame) bool {
	if f.EtherType() == frame.TypeIPv6 && isPlain(f) {
		return false
	}
	var p frame.Parsed
	p.Parse(f)
	if isWrapped(f, &p) {
		return true
	}
	if p.EtherType != frame.TypeIPv6 || p.FragOffset != 0 {
		return false
	}
	if p.Layer < frame.LayerNetwork || isHidden(&p) {
		return true
	}
	if !ndp.Is(f, &p) {
		return false
	}
	kind := f.Bytes()[p.L4]
	return kind == ndp.RouterAdvertisement || kind == ndp.Redirect
}

// servesDHCP reports whether a frame has a message of a DHCP or DHCPv6 server.
func servesDHCP(f *frame.Frame) bool {
	var p frame.Parsed
	p.Parse(f)
	switch {
	case isWrapped(f, &p):
		return true
	case p.EtherType != frame.TypeIPv4 && p.EtherType != frame.TypeIPv6, p.FragOffset != 0:
		return false
	case p.Layer < frame.LayerNetwork, isHidden(&p):
		return true
	case p.Protocol != frame.ProtoUDP:
		return false
	case p.IPVersion == 4:
		return p.SrcPort == dhcpPort || p.DstPort == clientPort
	}
	return p.SrcPort == dhcp6Port || p.DstPort == client6Port
}

// isWrapped reports whether Parse has not come to what a frame carries, below its tags.
func isWrapped(f *frame.Frame, p *frame.Parsed) bool {
	return p.EtherType == frame.TypeVLAN || p.EtherType == frame.TypeQinQ || isSNAP(f)
}

// isHidden reports whether nobody can tell from a first fragment, or a whole packet,
// what it carries.
func isHidden(p *frame.Parsed) bool {
	return p.Layer < frame.LayerTransport && (p.IPVersion == 6 && frame.IsExtension(p.Protocol) || isTransport(p.Protocol))
}
