package dataplane

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// hosts says who takes a frame that is addressed to the gateway: the address
// may have two owners, the network's own host and this machine's.
type hosts uint8

const (
	ownHost     hosts = 1 << iota // the network's own, in this process
	machineHost                   // this machine, behind the host port
)

// vet refuses a frame whose sender says that it is the gateway: by its MAC address, or in
// ARP and neighbour discovery by its IP address.
func (g *gateway) vet(f *frame.Frame, vid uint16) Verdict {
	if f.Src() == g.mac {
		return GatewayAddress
	}
	if vid != g.vlan {
		return Forwarded
	}
	if isSNAP(f) {
		return BadPacket // some hosts take what is in it all the same
	}
	b := f.Bytes()
	switch f.EtherType() {
	case frame.TypeARP:
		if len(b) >= arpEnd && g.addr != 0 && binary.BigEndian.Uint32(b[arpSender:]) == g.addr {
			return GatewayAddress
		}
	case frame.TypeIPv6:
		if g.six.isThere() {
			return g.six.vet(f)
		}
	}
	return Forwarded
}

// vet refuses neighbour discovery whose sender says that it has an address of the
// gateway: as its own, or as the target that it is at. What may hide such a message is
// refused too, since hosts walk over more extension headers than Parse does.
func (g *six) vet(f *frame.Frame) Verdict {
	if isPlain(f) {
		return Forwarded
	}
	var p frame.Parsed
	p.Parse(f)
	if p.Layer < frame.LayerNetwork || p.FragOffset == 0 && isHidden(&p) {
		return BadPacket
	}
	if !ndp.Is(f, &p) {
		return Forwarded
	}
	m := f.Bytes()[p.L4:p.End]
	if g.has(source(f, &p)) || m[0] == ndp.NeighborAdvertisement && len(m) >= 24 && g.has(ndp.ParseTarget(m)) {
		return GatewayAddress
	}
	return Forwarded
}

// isPlain reports whether an IPv6 packet is one of TCP or UDP without anything between
// the headers, as nearly all are.
func isPlain(f *frame.Frame) bool {
	b := f.Bytes()
	return len(b) >= frame.HeaderLen+ipv6Len && (b[frame.HeaderLen+6] == frame.ProtoTCP || b[frame.HeaderLen+6] == frame.ProtoUDP)
}

// isSNAP reports whether a frame has a length in place of an EtherType, and IP or ARP
// behind the header of RFC 1042, as nobody sends it on Ethernet.
func isSNAP(f *frame.Frame) bool {
	const at, llc = frame.HeaderLen, "\xaa\xaa\x03\x00\x00\x00"
	b := f.Bytes()
	if f.EtherType() >= 0x600 || len(b) < at+len(llc)+2 || string(b[at:at+len(llc)]) != llc {
		return false
	}
	switch binary.BigEndian.Uint16(b[at+len(llc):]) {
	case frame.TypeIPv4, frame.TypeIPv6, frame.TypeARP:
		return true
	}
	return false
}

// hasInnerPriorityTag reports whether a tag of VLAN 0 is below the outermost one.
// Linux strips such tags one after another (__netif_receive_skb_core), so what they
// hide would reach a guest as if it had been looked at.
func hasInnerPriorityTag(f *frame.Frame) bool {
	if t := f.EtherType(); t != frame.TypeVLAN && t != frame.TypeQinQ {
		return false
	}
	b := f.Bytes()
	return len(b) >= frame.HeaderLen+2 && b[frame.HeaderLen]&0x0f == 0 && b[frame.HeaderLen+1] == 0
}

// owner tells who takes a packet to an address of the gateway's.
func (g *gateway) owner(f *frame.Frame, p *frame.Parsed) (hosts, Service, Verdict) {
	service, own := g.service(f, p)
	switch {
	case own && service != Outside && !isICMP(p) && (p.IsFragment() || f.Offload.IsSuper() && p.Protocol == frame.ProtoUDP):
		return 0, Station, BadPacket // no client needs that much, and nobody else shall get it
	case g.host == noPort:
		return ownHost, service, Forwarded
	case isICMP(p) && p.FragOffset != 0:
		return ownHost | machineHost, Station, Forwarded // of which packet, none can tell
	case own:
		return ownHost, service, Forwarded
	case p.Protocol == frame.ProtoICMPv6 && p.Layer == frame.LayerTransport && !isForTransport(f.Bytes()[p.L4]):
		return 0, Station, NoService
	}
	return machineHost, service, Forwarded
}

// isForTransport reports whether an ICMPv6 message is an error or an echo reply: what the
// host's own packets lead to. All others are about the link and its groups, which are the
// gateway's, or would configure the host.
func isForTransport(kind byte) bool { return kind >= 1 && kind <= 4 || kind == icmpv6EchoReply }

// isOwn reports whether a packet is for an address of the gateway's.
func (g *gateway) isOwn(f *frame.Frame, p *frame.Parsed) bool {
	if p.IPVersion == 4 {
		return binary.BigEndian.Uint32(f.Bytes()[p.L3+16:]) == g.addr
	}
	return g.six.has(destination(f, p))
}

// service says which service a packet to the gateway belongs to, and whether that is
// the network's own even where this machine has the address too. Of a fragmented
// packet the first fragment tells.
func (g *gateway) service(f *frame.Frame, p *frame.Parsed) (s Service, own bool) {
	if p.Layer < frame.LayerTransport {
		return Station, false
	}
	switch {
	case isICMP(p):
		return Station, f.Bytes()[p.L4] == echoRequest(p)
	case g.relay.Has(p.Protocol, p.DstPort):
		return Outside, true
	case p.Protocol == frame.ProtoTCP:
		return Station, g.serves.dns && p.DstPort == dnsPort
	case p.DstPort == dhcpPort && g.serves.dhcp && p.IPVersion == 4:
		return DHCP, true
	case p.DstPort == dhcp6Port && g.serves.dhcp6 && p.IPVersion == 6:
		return DHCPv6, true
	case p.DstPort == dnsPort && g.serves.dns:
		return DNS, true
	}
	return Station, false
}

// isForClient reports whether a packet is for a client of DHCP.
func isForClient(p *frame.Parsed) bool {
	port := uint16(clientPort)
	if p.IPVersion == 6 {
		port = client6Port
	}
	return p.Protocol == frame.ProtoUDP && p.Layer == frame.LayerTransport && p.DstPort == port && !p.IsFragment()
}

// isReply reports whether an ARP packet is none that asks.
func isReply(f *frame.Frame) bool {
	b := f.Bytes()
	return len(b) >= arpEnd && binary.BigEndian.Uint16(b[arpOperation:]) != arpRequest
}

// letsIn reports whether a frame may leave by the host port. This machine takes
// for its own any IP packet in a frame to its MAC address or to a group, whatever
// tags of VLAN 0 are around it, passes on what is for others, and answers ARP for
// all of its addresses. So to the gateway's MAC address goes only what owner has
// let pass, and of what goes to groups only IP packets to all hosts or to a group,
// but none for services that are the network's own. Of IPv6 that is UDP alone: ICMPv6
// would configure the machine.
func (g *gateway) letsIn(f *frame.Frame, vid uint16) bool {
	if vid != g.vlan || f.Tag.TPID == frame.TypeQinQ {
		return false
	}
	if !f.Dst().IsGroup() {
		return true
	}
	var p frame.Parsed
	p.Parse(f)
	if p.Layer < frame.LayerNetwork || p.EtherType != f.EtherType() {
		return false
	}
	service, own := g.service(f, &p)
	own = own && service != Outside // which is to one address only
	if p.IPVersion == 6 {
		return g.six.isThere() && f.Bytes()[p.L3+24] == 0xff && p.Protocol == frame.ProtoUDP &&
			p.Layer == frame.LayerTransport && !p.IsFragment() && !own
	}
	b := p.Dst()
	dst := binary.BigEndian.Uint32(b[12:])
	return (dst >= firstGroup && dst < endGroups || dst == allHosts || dst == g.last) && !own
}

// IPv4 addresses that are not of one host (RFC 5771, RFC 919).
const (
	firstGroup = 224 << 24
	endGroups  = 240 << 24
	allHosts   = 1<<32 - 1
)
