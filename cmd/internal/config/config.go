// Package config is the configuration of weft as a passive value: what a file
// or a command asks for, checked as far as it can be without looking at the
// machine. It opens no interface and looks up no user.
//
// A Config comes from Parse, Load or Default; a command changes a Clone, calls
// Normalize and Validate, and hands the two values to Diff. Nobody changes a
// Config that others may read.
//
// The trap: in a Config every default is filled in. A Network made by hand
// starts from NewNetwork, and a Port needs Normalize before Validate accepts it.
package config

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// Values of Port.Type.
const (
	TypeTap      = "tap"      // a persistent tap that a virtual machine opens
	TypeRaw      = "raw"      // an existing interface
	TypeInternal = "internal" // a netdev of weft's own, for a host
)

// Values of Network.Forward.
const (
	ForwardIsolated = "isolated" // nowhere beyond the network's own ports
	ForwardNAT      = "nat"      // by the uplink, translated to an address of its own
	ForwardRoute    = "route"    // by the uplink, as it is
	ForwardBridge   = "bridge"   // by the uplink, to the L2 network outside
)

// Values of Network.ReservedGroups.
const (
	ReservedSwitch = "switch" // never forwarded, as a bridge must
	ReservedWire   = "wire"   // forwarded, as a cable does
)

// MetricsOff as Metrics.Listen means that no metrics are served.
const MetricsOff = "off"

// What applies where a file says nothing.
const (
	DefaultNetwork = "default"
	DefaultListen  = "127.0.0.1:9820"
	DefaultMTU     = 1500
	DefaultAgeing  = 300 * time.Second
	DefaultLimit   = 8192

	DefaultLeaseFile = "/var/lib/weft/leases.db"
	DefaultHostPort  = "weft0" // of the network that runs without a file
)

// Config is all that weft is configured by.
type Config struct {
	Metrics   Metrics
	LeaseFile string    // an absolute path; keeps what the DHCP servers of all networks promised
	Networks  []Network // sorted by name
}

// Metrics says where the counters are served.
type Metrics struct {
	Listen string // host:port, or MetricsOff
}

// Network is one L2 domain.
type Network struct {
	Name    string // 1-15 characters of A-Z a-z 0-9 . _ -
	Forward string // ForwardIsolated, ForwardNAT, ForwardRoute or ForwardBridge

	// MAC is the network's own unicast address: in the bridge identifier of
	// its spanning tree, the source of what it sends itself, and that of its
	// gateway.
	MAC frame.MAC

	Uplink Uplink // not with ForwardIsolated
	MTU    int    // bytes after the Ethernet header, 68-65517

	Routes []Route  // sorted; only where the network Forwards
	Reach  []string // names of networks that have this one too, and ReachHost; sorted, as Routes
	NAT    NAT      // only where the network Forwards; without ForwardNAT it is Publish and how flows are tracked

	// Inbound is for what leaves with the guests' own addresses: of ForwardRoute, and
	// of IPv6 where NAT.IPv6 says so.
	Inbound Inbound

	// ReservedGroups says what becomes of frames to 01:80:c2:00:00:00-0f:
	// ReservedSwitch or ReservedWire.
	ReservedGroups string

	STP      STP
	Snooping Snooping
	FDB      FDB

	// Addresses are those of the gateway, each with its subnet: none for a plain
	// switch, which has no services either, else one of IPv4 at most and up to 8 of
	// IPv6, in the order of the file. The gateway has a link-local one of its own
	// beside the latter.
	Addresses []netip.Prefix

	// ULA says that Addresses has that of the function ULA. Before Normalize it asks
	// for it, where nothing else of IPv6 is there.
	ULA bool

	// VLAN is the one that the gateway and the port of HostPort are in, 1-4094; 0
	// for that of frames without a tag. Only with Addresses.
	VLAN uint16

	// HostPort is the name of the interface by which this host is at the
	// gateway's address; empty for none. See HostSeat.
	HostPort string

	RA    RA
	DHCP  DHCP
	DHCP6 DHCP6
	DNS   DNS

	Ports []Port // sorted by name
}

// Uplink is a network's way outside: of L2 with ForwardBridge, of IP where the
// network Forwards.
type Uplink struct {
	Interface string // an existing interface, 1-15 bytes; see UplinkPort and L3Uplink of Network

	// Reflective, only with ForwardBridge: the relay out there sends back what is
	// for other ports here.
	Reflective bool

	// The others are only for networks that forward.
	Address  string     // AddressAuto, AddressHost, AddressSockets, AddressDHCP, an IPv4 address with its prefix length, or AddressNone
	Address6 string     // AddressSLAAC, AddressDHCP6 or an IPv6 address with its prefix length; empty with the first three of Address, or without IPv6
	Gateway  netip.Addr // only beside an address in Address, in its subnet; zero where that subnet is all that is reached
	Gateway6 netip.Addr // the same of Address6; may be link-local
	ProxyARP bool       // answer for the network's subnets out there; only with ForwardRoute and an address of its own
}

// STP is the spanning tree of a network (IEEE 802.1D-2004 clause 17). All
// times are whole seconds.
type STP struct {
	Enabled      bool
	Priority     int           // of the bridge, 0-61440 in steps of 4096
	Hello        time.Duration // between BPDUs, 1s-10s
	MaxAge       time.Duration // of what a BPDU said, 6s-40s, at least 2*(Hello+1s)
	ForwardDelay time.Duration // 2s-30s; 0 forwards at once
}

// Snooping bounds multicast to the ports that asked for it (RFC 4541).
type Snooping struct {
	Enabled  bool
	Querier  bool          // ask, where nobody else does
	Interval time.Duration // between general queries, 10s-3600s, whole seconds
}

// FDB bounds the MAC table of a network.
type FDB struct {
	Ageing    time.Duration // 1s-12h; 0 means never
	Limit     int           // entries of the network, 1-1048576
	PortLimit int           // entries of one port, 0-Limit; 0 means Limit
	Static    []StaticEntry // sorted by VLAN, then MAC
}

// StaticEntry pins an address to a port.
type StaticEntry struct {
	MAC  frame.MAC
	VLAN uint16 // 0-4094, one that Port is in; 0 for untagged
	Port string // a port of the same network
}

// Port is one attachment to a network.
type Port struct {
	Name      string // as Network.Name
	Type      string // TypeTap, TypeRaw or TypeInternal
	Interface string // 1-15 bytes; the port's name where the file has none

	// Netns is the named network namespace that holds the netdev of an
	// internal port; empty for the host's own.
	Netns string

	// Owner and Group may open a tap port; names or numbers, empty for root only.
	Owner, Group string

	MAC       frame.MAC      // of an internal port's netdev, else zero
	Addresses []netip.Prefix // put on an internal port's netdev, in this order

	// Seat marks the port that Normalize made for the network's HostPort, whose
	// MAC and address are the gateway's; see Network.HostSeat.
	Seat bool

	Policy
}

// Default returns the configuration that weft runs without a file: one
// network with a gateway of both families, NAT to the addresses of the host, a
// port of the host, router advertisements, DHCP and DNS.
func Default() *Config {
	return DefaultOn(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 122, 0}), 24))
}

// DefaultOn is Default with another IPv4 subnet, of 12 to 29 bits: its first
// address is the gateway's, the others are for guests.
func DefaultOn(subnet netip.Prefix) *Config {
	n := NewNetwork(DefaultNetwork)
	subnet = subnet.Masked()
	gateway := subnet.Addr().Next()
	n.Addresses = []netip.Prefix{netip.PrefixFrom(gateway, subnet.Bits()), ULA(n.Name)}
	n.HostPort = DefaultHostPort
	n.Forward = ForwardNAT
	n.DHCP.Ranges = []Range{{First: gateway.Next(), Last: lastOf(subnet).Prev()}}
	n.DHCP6.Stateless = true // there are clients that take a resolver from DHCPv6 only
	c := empty()
	c.Networks = []Network{n}
	c.Normalize()
	return c
}

func empty() *Config {
	return &Config{Metrics: Metrics{Listen: DefaultListen}, LeaseFile: DefaultLeaseFile}
}

// NewNetwork returns a network without ports that has every default.
func NewNetwork(name string) Network {
	return Network{
		Name:           name,
		Forward:        ForwardIsolated,
		MAC:            DeriveMAC(name, ""),
		MTU:            DefaultMTU,
		ReservedGroups: ReservedSwitch,
		STP:            STP{Priority: 32768, Hello: 2 * time.Second, MaxAge: 20 * time.Second, ForwardDelay: 15 * time.Second},
		Snooping:       Snooping{Querier: true, Interval: 125 * time.Second},
		FDB:            FDB{Ageing: DefaultAgeing, Limit: DefaultLimit},
		DHCP:           DHCP{Lease: DefaultLease, Authoritative: true, Probe: true, Router: RouterAuto},
		DNS:            DNS{Enabled: true, Name: DefaultGatewayName, Cache: DefaultCache, SLAAC: true},
		RA:             defaultRA(),
		DHCP6:          defaultDHCP6(),
		NAT:            defaultNAT(),
		Inbound:        defaultInbound(),
	}
}

// DeriveMAC returns the address of an internal port that the file gives none,
// or with an empty port that of the network: the same for the same two names on
// every machine and at every start, unicast and locally administered (IEEE
// 802-2014 clause 8.2).
func DeriveMAC(network, port string) frame.MAC {
	sum := sha256.Sum256([]byte("weft port " + network + "\x00" + port))
	m := frame.MAC(sum[:6])
	m[0] = m[0]&^1 | 2
	return m
}

// Normalize fills the defaults of ports in, adds the ports of an uplink and of a
// HostPort that have none, keeps the latter in step with the gateway, and sorts
// c as its fields promise.
func (c *Config) Normalize() {
	c.fill()
	c.sort()
}

func (c *Config) fill() {
	for i := range c.Networks {
		n := &c.Networks[i]
		if n.MAC == (frame.MAC{}) {
			n.MAC = DeriveMAC(n.Name, "")
		}
		n.DHCP.fill()
		n.DHCP6.fill()
		n.fillAddresses()
		n.fillUplink()
		n.seatHost()
		for j := range n.Ports {
			n.Ports[j].fill(n.Name)
		}
		n.addUplink()
	}
}

func (p *Port) fill(network string) {
	if p.Interface == "" {
		p.Interface = p.Name
	}
	if p.Type == TypeInternal && p.MAC == (frame.MAC{}) {
		p.MAC = DeriveMAC(network, p.Name)
	}
	p.Policy.fill()
}

func (c *Config) sort() {
	slices.SortStableFunc(c.Networks, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	for i := range c.Networks {
		n := &c.Networks[i]
		slices.SortStableFunc(n.Ports, func(a, b Port) int { return strings.Compare(a.Name, b.Name) })
		slices.SortStableFunc(n.FDB.Static, compareStatic)
		n.RA.sort()
		n.DHCP.sort()
		n.DHCP6.sort()
		n.DNS.sort()
		n.NAT.sort()
		slices.SortStableFunc(n.Routes, compareRoute)
		slices.Sort(n.Reach)
		for j := range n.Ports {
			n.Ports[j].Policy.sort()
		}
	}
}

func compareStatic(a, b StaticEntry) int {
	if a.VLAN != b.VLAN {
		return int(a.VLAN) - int(b.VLAN)
	}
	return compareMAC(a.MAC, b.MAC)
}

func compareMAC(a, b frame.MAC) int { return slices.Compare(a[:], b[:]) }

// Clone returns a copy that shares nothing with c.
func (c *Config) Clone() *Config {
	out := *c
	out.Networks = slices.Clone(c.Networks)
	for i := range out.Networks {
		n := &out.Networks[i]
		n.FDB.Static = slices.Clone(n.FDB.Static)
		n.Addresses = slices.Clone(n.Addresses)
		n.RA, n.DHCP, n.DHCP6 = n.RA.clone(), n.DHCP.clone(), n.DHCP6.clone()
		n.DNS = n.DNS.clone()
		n.NAT = n.NAT.clone()
		n.Routes, n.Reach = slices.Clone(n.Routes), slices.Clone(n.Reach)
		n.Ports = slices.Clone(n.Ports)
		for j := range n.Ports {
			p := &n.Ports[j]
			p.Addresses = slices.Clone(p.Addresses)
			p.VLAN.Trunk = slices.Clone(p.VLAN.Trunk)
			p.Security.Sources = slices.Clone(p.Security.Sources)
		}
	}
	return &out
}

// Network returns the network of that name, nil where there is none. The
// result points into c.
func (c *Config) Network(name string) *Network {
	for i := range c.Networks {
		if c.Networks[i].Name == name {
			return &c.Networks[i]
		}
	}
	return nil
}

// Port returns the port of that name, nil where there is none. The result
// points into n.
func (n *Network) Port(name string) *Port {
	for i := range n.Ports {
		if n.Ports[i].Name == name {
			return &n.Ports[i]
		}
	}
	return nil
}
