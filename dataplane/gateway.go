package dataplane

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/nat"
)

// GatewayConfig says what of a network's traffic is for the network itself, a
// host of its own in one VLAN.
type GatewayConfig struct {
	Address netip.Prefix // IPv4, with the subnet; zero where there is no gateway
	VLAN    uint16       // 0: that of frames without a tag

	// HostPort names the port behind which this machine has the same IP and MAC
	// address; empty where it has not.
	HostPort string

	// DHCP and DNS say that the gateway serves them. Where it does not, their
	// ports are as any other.
	DHCP, DNS bool
}

// Service is what the frames of one queue are for.
type Service uint8

const (
	// Station gets what any IP host must answer: ARP, ICMP, TCP, and what is
	// to go on to a network that is not reached.
	Station Service = iota
	// DHCP gets UDP to the port of a DHCP server (RFC 2131 clause 4.1).
	DHCP
	// DNS gets UDP to the port of a name server (RFC 1035 clause 4.2.1).
	DNS
	// Outside gets what is to leave by sockets of this machine, and what answers
	// those: see RoutingConfig.
	Outside
	// Client gets UDP to the port of a DHCP client, at an uplink.
	Client

	numServices
)

// Ports of the services.
const (
	dhcpPort   = 67
	clientPort = 68
	dnsPort    = 53
)

// Gateway is the network's own host. What guests send to it waits in an inbox a
// service; what it sends itself takes the way of any frame through the pipeline.
// It is safe for concurrent use.
type Gateway struct {
	inboxes [numServices]*Inbox

	mu     sync.Mutex // guards worker
	worker *worker
}

// gateway is a Gateway as workers see it.
type gateway struct {
	*Gateway
	mac    frame.MAC
	own    netip.Addr
	addr   uint32     // the same
	last   uint32     // address of the subnet, its broadcast address; else that of all subnets
	all    netip.Addr // the former; the zero one where there is none
	subnet netip.Prefix
	vlan   uint16
	dhcp   bool
	dns    bool
	relay  *RelayPorts // nil: none
	host   fdb.Port    // where the host has the same addresses, else noPort
	links  []netip.Prefix
	routes ingress // what its own frames may do

	// Of an uplink.
	uplink *Uplink // nil for other networks
	table  *nat.Table
	proxy  []netip.Prefix
	shared bool
	client bool
}

// gatewayName stands for the port in captures of what the gateway sends.
const gatewayName = "gateway"

// Gateway returns the network's own host. It lasts as long as the network; it is
// nil until the configuration has had a gateway.
func (n *Network) Gateway() *Gateway {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.gateway
}

// configureGateway makes the gateway where the configuration has one for the
// first time. n.mu is held.
func (n *Network) configureGateway() {
	if n.gateway != nil || !n.cfg.Gateway.Address.IsValid() && n.uplink == nil {
		return
	}
	g := &Gateway{}
	for s, size := range [numServices]inboxSize{
		Station: {inboxStation, 128, 32},
		DHCP:    {inboxDHCP, 4096, 1024},
		DNS:     {inboxDNS, 1024, 256},
		Outside: {inboxOutside, 1024, 512},
		Client:  {inboxClient, 16, 16},
	} {
		g.inboxes[s] = newInbox(size)
	}
	p := &Port{network: n, name: gatewayName, index: noPort, reports: newBucket(reportRate, reportRate)}
	g.worker = &worker{network: n, port: p}
	n.gateway = g
}

// gatewayView returns what workers need to know of the gateway, nil where there
// is none. n.mu is held.
func (n *Network) gatewayView() *gateway {
	c := n.cfg.Gateway
	if !c.Address.Addr().Is4() && n.uplink == nil || n.gone {
		return nil
	}
	v := &gateway{Gateway: n.gateway, mac: n.cfg.Address, vlan: c.VLAN, dhcp: c.DHCP, dns: c.DNS, relay: n.routing.Relay, host: noPort}
	if c.Address.Addr().Is4() {
		b := c.Address.Addr().As4()
		v.own, v.addr = c.Address.Addr(), binary.BigEndian.Uint32(b[:])
		v.last = allHosts
		if bits := c.Address.Bits(); bits < 31 { // RFC 3021: two stations need none
			v.last = v.addr | (1<<(32-bits) - 1)
			binary.BigEndian.PutUint32(b[:], v.last)
			v.all = netip.AddrFrom4(b)
		}
		v.subnet = c.Address.Masked()
		v.links = []netip.Prefix{v.subnet}
	}
	if u := n.uplink; u != nil {
		v.uplink, v.table, v.links = u, u.table, u.cfg.links()
		v.proxy, v.shared, v.client = u.cfg.ProxyARP, u.cfg.Shared, u.cfg.Client
	}
	v.routes = ingress{self: noPort, direct: noPort, routes: n.routes(new(Policy).class())}
	if p := n.port(c.HostPort); p != nil {
		v.host = p.index
	}
	return v
}

// Inbox returns the queue of what is for a service.
func (g *Gateway) Inbox(s Service) *Inbox { return g.inboxes[s] }

// hosts says who takes a frame that is addressed to the gateway: the address
// may have two owners, the network's own host and this machine's.
type hosts uint8

const (
	ownHost     hosts = 1 << iota // the network's own, in this process
	machineHost                   // this machine, behind the host port
)

// isClaimed reports whether the sender of a frame says that it is the gateway: by
// its MAC address, or in ARP by its IP address.
func (g *gateway) isClaimed(f *frame.Frame, vid uint16) bool {
	if f.Src() == g.mac {
		return true
	}
	b := f.Bytes()
	return f.EtherType() == frame.TypeARP && vid == g.vlan && len(b) >= arpEnd && g.addr != 0 &&
		binary.BigEndian.Uint32(b[arpSender:]) == g.addr
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

// toGateway delivers a frame that is addressed to the gateway's MAC.
func (w *worker) toGateway(s *snapshot, in *ingress, f *frame.Frame) Verdict {
	g := s.gateway
	switch {
	case in == &g.routes:
		return SamePort
	case f.Tag.TPID == frame.TypeQinQ:
		return NoService
	case f.EtherType() == frame.TypeARP:
		return w.takeARP(s, in, f)
	case f.EtherType() != frame.TypeIPv4:
		return NoService
	}
	p := &w.parsed
	p.Parse(f)
	w.quoted, w.changed = w.quoted[:0], false
	switch {
	case p.Layer < frame.LayerNetwork:
		return BadPacket
	case g.uplink != nil:
		return w.comeIn(s, f, p)
	case !g.isOwn(p):
		return w.passOn(s, in, f, p)
	}
	if p.FragOffset != 0 && g.relay.HasAny(p.Protocol) {
		w.tell(g.inboxes[Outside], f, g.vlan) // too: the first fragment alone says whose it is
	}
	to, service, v := g.owner(f, p)
	if to&machineHost != 0 {
		v = w.policy(s, in, f, g.vlan, g.host)
	}
	if to&ownHost != 0 {
		v = w.punt(g.inboxes[service], nil, f, g.vlan)
	}
	return v
}

// takeARP delivers an ARP packet to the gateway's MAC.
func (w *worker) takeARP(s *snapshot, in *ingress, f *frame.Frame) Verdict {
	g := s.gateway
	w.listenARP(s, f)
	if g.uplink != nil {
		return w.answerARP(s, f)
	}
	v := w.punt(g.inboxes[Station], nil, f, g.vlan)
	if g.host != noPort && isReply(f) { // to a question of this machine's, perhaps
		w.policy(s, in, f, g.vlan, g.host)
	}
	return v
}

// owner tells who takes an IPv4 packet to the gateway's address.
func (g *gateway) owner(f *frame.Frame, p *frame.Parsed) (hosts, Service, Verdict) {
	service, own := g.service(f, p)
	switch {
	case own && service != Outside && p.Protocol != frame.ProtoICMP && (p.IsFragment() || f.Offload.IsSuper() && p.Protocol == frame.ProtoUDP):
		return 0, Station, BadPacket // no client needs that much, and nobody else shall get it
	case g.host == noPort:
		return ownHost, service, Forwarded
	case p.Protocol == frame.ProtoICMP && p.FragOffset != 0:
		return ownHost | machineHost, Station, Forwarded // of which packet, none can tell
	case own:
		return ownHost, service, Forwarded
	}
	return machineHost, service, Forwarded
}

// isOwn reports whether an IPv4 packet is for the gateway's address.
func (g *gateway) isOwn(p *frame.Parsed) bool {
	dst := p.Dst()
	return binary.BigEndian.Uint32(dst[12:]) == g.addr
}

// service says which service an IPv4 packet to the gateway belongs to, and
// whether that is the network's own even where this machine has the address too.
// Of a fragmented packet the first fragment tells.
func (g *gateway) service(f *frame.Frame, p *frame.Parsed) (s Service, own bool) {
	if p.Layer < frame.LayerTransport {
		return Station, false
	}
	switch {
	case p.Protocol == frame.ProtoICMP:
		return Station, f.Bytes()[p.L4] == icmpEcho
	case g.relay.Has(p.Protocol, p.DstPort):
		return Outside, true
	case p.Protocol == frame.ProtoTCP:
		return Station, g.dns && p.DstPort == dnsPort
	case p.DstPort == dhcpPort && g.dhcp:
		return DHCP, true
	case p.DstPort == dnsPort && g.dns:
		return DNS, true
	}
	return Station, false
}

// isForClient reports whether a packet is for a DHCP client.
func isForClient(p *frame.Parsed) bool {
	return p.Protocol == frame.ProtoUDP && p.Layer == frame.LayerTransport && p.DstPort == clientPort && !p.IsFragment()
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
// but none for services that are the network's own.
func (g *gateway) letsIn(f *frame.Frame, vid uint16) bool {
	if vid != g.vlan || f.Tag.TPID == frame.TypeQinQ {
		return false
	}
	if !f.Dst().IsGroup() {
		return true
	}
	var p frame.Parsed
	p.Parse(f)
	if f.EtherType() != frame.TypeIPv4 || p.Layer < frame.LayerNetwork {
		return false
	}
	b := p.Dst()
	dst := binary.BigEndian.Uint32(b[12:])
	service, own := g.service(f, &p)
	own = own && service != Outside // which is to one address only
	return (dst >= firstGroup && dst < endGroups || dst == allHosts || dst == g.last) && !own
}

// IPv4 addresses that are not of one host (RFC 5771, RFC 919).
const (
	firstGroup = 224 << 24
	endGroups  = 240 << 24
	allHosts   = 1<<32 - 1
)

// overhear gives the gateway what is for it of a broadcast.
func (w *worker) overhear(s *snapshot, f *frame.Frame) {
	g, b := s.gateway, f.Bytes()
	if f.Tag.TPID == frame.TypeQinQ {
		return // not for hosts without such a tag
	}
	switch f.EtherType() {
	case frame.TypeARP:
		w.listenARP(s, f)
		if g.uplink != nil {
			w.answerARP(s, f)
		} else if len(b) >= arpEnd && binary.BigEndian.Uint32(b[arpTarget:]) == g.addr {
			w.tell(g.inboxes[Station], f, g.vlan)
		}
	case frame.TypeIPv4:
		p := &w.parsed
		p.Parse(f)
		if g.client && isForClient(p) {
			w.tell(g.inboxes[Client], f, g.vlan)
		}
		if service, own := g.service(f, p); own && service == DHCP && !p.IsFragment() && !f.Offload.IsSuper() {
			w.tell(g.inboxes[DHCP], f, g.vlan)
		}
	}
}

// tell punts a frame that goes on to others too.
func (w *worker) tell(to *Inbox, f *frame.Frame, vid uint16) {
	w.count(w.punt(to, nil, f, vid))
}
