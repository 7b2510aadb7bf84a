package gateway

import (
	"encoding/binary"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// ARP for IPv4 over Ethernet (RFC 826).
const (
	arpLen     = 28
	arpRequest = 1
	arpReply   = 2
)

var arpHeader = [6]byte{0, 1, 8, 0, 6, 4} // Ethernet, IPv4, and the lengths of their addresses

// Probe asks whether some station has an address (RFC 5227 clause 2.1.1): what
// answers is told to the DHCP server.
func (g *Gateway) Probe(addr netip.Addr) {
	g.send(g.arpFrame(netip.IPv4Unspecified(), addr))
}

// arpFrame makes a broadcast request.
func (g *Gateway) arpFrame(sender, target netip.Addr) *frame.Frame {
	b := make([]byte, frame.Headroom+frame.HeaderLen+arpLen)
	g.putEthernet(b[frame.Headroom:], broadcast, frame.TypeARP)
	arp := b[frame.Headroom+frame.HeaderLen:]
	copy(arp, arpHeader[:])
	binary.BigEndian.PutUint16(arp[6:], arpRequest)
	copy(arp[8:], g.cfg.MAC[:])
	s, t := sender.As4(), target.As4()
	copy(arp[14:], s[:])
	copy(arp[24:], t[:])
	return framed(b)
}

// arpSender returns which station an ARP reply says has which address.
func arpSender(f *frame.Frame) (netip.Addr, frame.MAC, bool) {
	b := f.Bytes()[frame.HeaderLen:]
	if len(b) < arpLen || [6]byte(b) != arpHeader || binary.BigEndian.Uint16(b[6:]) != arpReply {
		return netip.Addr{}, frame.MAC{}, false
	}
	return netip.AddrFrom4([4]byte(b[14:18])), frame.MAC(b[8:14]), true
}
