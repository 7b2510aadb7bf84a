package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/ndp"
)

// GatewayConfig says what of a network's traffic is for the network itself, a
// host of its own in one VLAN.
//
// A gateway has an address of IPv4, some of IPv6, or both. With any of IPv6 it has
// the link-local one of its MAC address too.
type GatewayConfig struct {
	Address  netip.Prefix   // IPv4, with the subnet; zero for none
	Address6 []netip.Prefix // IPv6, with their subnets: global or unique local ones
	VLAN     uint16         // 0: that of frames without a tag

	// HostPort names the port behind which this machine has the same IP and MAC
	// address; empty where it has not.
	HostPort string

	// DHCP, DHCPv6 and DNS say that the gateway serves them. Where it does not, their
	// ports are as any other. RA says that it answers router solicitations.
	DHCP, DHCPv6, DNS, RA bool

	// Watch keeps every station of IPv6 among the neighbours that says it takes an
	// address, and for as long as it answers, not only those that the gateway needs.
	Watch bool
}

// isThere reports whether there is a gateway.
func (c *GatewayConfig) isThere() bool { return c.Address.IsValid() || len(c.Address6) > 0 }

// subnets returns those of all addresses.
func (c *GatewayConfig) subnets() (list []netip.Prefix) {
	if c.Address.IsValid() {
		list = append(list, c.Address.Masked())
	}
	for _, a := range c.Address6 {
		list = append(list, a.Masked())
	}
	return list
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
	// DHCPv6 gets UDP to the port of a DHCPv6 server (RFC 8415 clause 7.2).
	DHCPv6
	// Solicit gets router solicitations.
	Solicit
	// Client6 gets what configures a host of IPv6, at an uplink: router
	// advertisements, UDP to the port of a DHCPv6 client, and neighbour discovery
	// for who else may have an address.
	Client6

	numServices
)

// Ports of the services.
const (
	dhcpPort    = 67
	clientPort  = 68
	dnsPort     = 53
	dhcp6Port   = 547
	client6Port = 546
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
	own    netip.Addr // of IPv4, as the four below
	addr   uint32     // the same
	last   uint32     // address of the subnet, its broadcast address; else that of all subnets
	all    netip.Addr // the former; the zero one where there is none
	subnet netip.Prefix
	six    six
	vlan   uint16
	serves serves
	relay  *RelayPorts    // nil: none
	host   fdb.Port       // where the host has the same addresses, else noPort
	links  []netip.Prefix // of both families, but for link-local ones
	routes ingress        // what its own frames may do

	// Of an uplink.
	uplink *Uplink // nil for other networks
	table  *nat.Table
	proxy  []netip.Prefix
	shared bool
	watch  bool // see GatewayConfig
}

// serves is what a gateway has inboxes in use for.
type serves struct{ dhcp, dhcp6, dns, ra, client, client6 bool }

// six is who the gateway is in IPv6.
type six struct {
	link    netip.Addr   // link-local; zero where there is none
	own     []netip.Addr // the others
	subnets []netip.Prefix
}

// isThere reports whether the gateway speaks IPv6.
func (g *six) isThere() bool { return g.link.IsValid() || len(g.own) > 0 }

// has reports whether an address is the gateway's own.
func (g *six) has(a netip.Addr) bool { return a == g.link || slices.Contains(g.own, a) }

// address is what the gateway has in packets of its own.
func (g *six) address() netip.Addr {
	if len(g.own) > 0 {
		return g.own[0]
	}
	return g.link
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
	if n.gateway != nil || !n.cfg.Gateway.isThere() && n.uplink == nil {
		return
	}
	g := &Gateway{}
	for s, size := range [numServices]inboxSize{
		Station: {inboxStation, 128, 32},
		DHCP:    {inboxDHCP, 4096, 1024},
		DNS:     {inboxDNS, 1024, 256},
		Outside: {inboxOutside, 1024, 512},
		Client:  {inboxClient, 16, 16},
		DHCPv6:  {inboxDHCPv6, 4096, 1024},
		Solicit: {inboxSolicit, 64, 8},
		Client6: {inboxClient6, 64, 64},
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
	c := &n.cfg.Gateway
	if !c.isThere() && n.uplink == nil || n.gone {
		return nil
	}
	v := &gateway{Gateway: n.gateway, mac: n.cfg.Address, vlan: c.VLAN, relay: n.routing.Relay, host: noPort}
	v.serves = serves{dhcp: c.DHCP, dhcp6: c.DHCPv6, dns: c.DNS, ra: c.RA}
	if c.Address.Addr().Is4() {
		v.setAddress(c.Address)
	}
	v.six, v.watch = n.sixView(), c.Watch
	v.links = append(v.links, v.six.subnets...)
	if u := n.uplink; u != nil {
		v.uplink, v.table, v.links = u, u.table, u.cfg.links()
		v.proxy, v.shared = u.cfg.ProxyARP, u.cfg.Shared
		v.serves = serves{client: u.cfg.Client, client6: u.cfg.Client6}
	}
	v.routes = ingress{self: noPort, direct: noPort, routes: n.routes(new(Policy).class())}
	if p := n.port(c.HostPort); p != nil {
		v.host = p.index
	}
	return v
}

// setAddress fills in the gateway's address of IPv4.
func (g *gateway) setAddress(a netip.Prefix) {
	b := a.Addr().As4()
	g.own, g.addr = a.Addr(), binary.BigEndian.Uint32(b[:])
	g.last = allHosts
	if bits := a.Bits(); bits < 31 { // RFC 3021: two stations need none
		g.last = g.addr | (1<<(32-bits) - 1)
		binary.BigEndian.PutUint32(b[:], g.last)
		g.all = netip.AddrFrom4(b)
	}
	g.subnet = a.Masked()
	g.links = append(g.links, g.subnet)
}

// sixView returns the gateway's addresses of IPv6. n.mu is held.
func (n *Network) sixView() (v six) {
	for _, a := range n.cfg.Gateway.Address6 {
		v.own = append(v.own, a.Addr())
		v.subnets = append(v.subnets, a.Masked())
	}
	u := n.uplink
	if u != nil && u.cfg.Shared {
		return v // the link-local address is this machine's
	}
	if len(v.own) > 0 || u != nil && u.cfg.Client6 {
		v.link = ndp.LinkLocal(n.cfg.Address)
	}
	return v
}

// Inbox returns the queue of what is for a service.
func (g *Gateway) Inbox(s Service) *Inbox { return g.inboxes[s] }
