package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/weft/weft/dataplane/frame"
)

// An ARP packet for IPv4 over Ethernet (RFC 826): offsets in the frame.
const (
	arpStart     = frame.HeaderLen
	arpOperation = arpStart + 6
	arpSenderMAC = arpStart + 8
	arpSender    = arpStart + 14
	arpTargetMAC = arpStart + 18
	arpTarget    = arpStart + 24
	arpEnd       = arpStart + 28

	arpRequest = 1
	arpReply   = 2
)

var arpHeader = [6]byte{0, 1, 8, 0, 6, 4} // Ethernet, IPv4, and the lengths of their addresses

// isARP reports whether a frame holds a whole ARP packet for IPv4 whose sender is the
// frame's own.
func isARP(f *frame.Frame) bool {
	b := f.Bytes()
	return len(b) >= arpEnd && [6]byte(b[arpStart:]) == arpHeader && frame.MAC(b[arpSenderMAC:]) == f.Src()
}

// listenARP learns from an ARP packet where a station of the subnet is, and sends what
// has waited for it.
func (w *worker) listenARP(s *snapshot, f *frame.Frame) {
	if !isARP(f) {
		return
	}
	b := f.Bytes()
	asks := binary.BigEndian.Uint32(b[arpTarget:]) == s.gateway.addr
	w.hear(s, f, netip.AddrFrom4([4]byte(b[arpSender:])), asks)
}

// answerARP answers a request for an address that is the uplink's, or that it stands
// in for (RFC 1027).
func (w *worker) answerARP(s *snapshot, f *frame.Frame) Verdict {
	g, b := s.gateway, f.Bytes()
	if !isARP(f) || binary.BigEndian.Uint16(b[arpOperation:]) != arpRequest {
		return Consumed
	}
	target := netip.AddrFrom4([4]byte(b[arpTarget:]))
	if g.shared || !g.claims(target) || !w.port.answers.take(w.network.sw.ticks(), 1) {
		return Consumed
	}
	out := g.arp(arpReply, f.Src(), target, netip.AddrFrom4([4]byte(b[arpSender:])))
	w.back(s, out)
	return Consumed
}

// claims reports whether an uplink says that it has an address.
func (g *gateway) claims(a netip.Addr) bool {
	if a == g.own || g.table.Owns(a.As16()) {
		return true
	}
	return slices.ContainsFunc(g.proxy, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (g *gateway) arp(operation uint16, to frame.MAC, sender, target netip.Addr) *frame.Frame {
	f := wrap(make([]byte, frame.Headroom+arpEnd))
	b := f.Bytes()
	f.SetAddresses(to, g.mac)
	binary.BigEndian.PutUint16(b[12:], frame.TypeARP)
	copy(b[arpStart:], arpHeader[:])
	binary.BigEndian.PutUint16(b[arpOperation:], operation)
	copy(b[arpSenderMAC:], g.mac[:])
	if sender.Is4() {
		a := sender.As4()
		copy(b[arpSender:], a[:])
	}
	if operation == arpReply {
		copy(b[arpTargetMAC:], to[:])
	}
	a := target.As4()
	copy(b[arpTarget:], a[:])
	return f
}
