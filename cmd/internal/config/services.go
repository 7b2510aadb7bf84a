package config

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/option"
)

// InfiniteLease as a lease means that it never ends.
const InfiniteLease = time.Duration(math.MaxInt64)

// Values of DHCP.Router that are no address.
const (
	RouterAuto = "auto" // the gateway, but none where the network goes nowhere
	RouterNone = "none"
)

// Values of DNS.Upstream that are no address.
const (
	UpstreamHost = "host" // the resolvers of this host
	UpstreamNone = "none" // nothing is forwarded
)

// What applies to the services of a network where a file says nothing.
const (
	DefaultLease       = time.Hour
	DefaultGatewayName = "gateway"
	DefaultCache       = 10000
)

// DHCP is the server of a network for IPv4 (RFC 2131). Nothing of it matters
// where Enabled reports false.
type DHCP struct {
	Ranges    []Range       // of the dynamic leases; sorted, disjoint, inside the subnet
	Lease     time.Duration // 2m-365d in whole seconds, or InfiniteLease
	MaxLeases int           // 0-1048576; 0 means as many as Ranges holds

	Authoritative bool // say no to a client whose address is unknown here
	Probe         bool // ask by ARP before an address is offered
	NoOverride    bool // file and server name never in options, nor options in their place

	Hosts     []DHCPHost // sorted by address, then MAC and client identifier
	HostsFile string     // an absolute path; empty for none

	Router     string       // RouterAuto, RouterNone or an address
	NTP        []netip.Addr // servers of the time
	Search     []string     // domains that clients append to a name
	NextServer netip.Addr   // that the boot file comes from; zero for none
	ServerName string       // up to 63 bytes
	Bootfile   string       // up to 127 bytes
	Options    []DHCPOption // sorted by code; they override the fields above
}

// Enabled reports whether there is anything to serve.
func (d *DHCP) Enabled() bool { return len(d.Ranges) > 0 || len(d.Hosts) > 0 || d.HostsFile != "" }

// Range is First, Last and all addresses between.
type Range struct{ First, Last netip.Addr }

// DHCPHost is a reservation: an address, a name or a time of its leases, for one
// client.
type DHCPHost struct {
	MAC      frame.MAC     // zero where only ClientID counts
	ClientID []byte        // option 61 as the client sends it, 2-255 bytes; nil where only MAC counts
	Address  netip.Addr    // zero for a dynamic one
	Name     string        // one label in lower case; empty for that of the client
	Lease    time.Duration // 0 for that of the network
	Ignore   bool          // the client gets no answer, and none of the three above
}

// DHCPOption is an option for every client that asks for it.
type DHCPOption struct {
	Key    string        // its number or name
	Value  string        // as in a file; several values have commas between them
	Option option.Option // what Normalize makes of the two
}

// DNS is the resolver at the gateway. All names are in lower case.
type DNS struct {
	Enabled bool   // only with an address of the network
	Name    string // of the gateway, one label
	Domain  string // of the names in the network; empty for none

	// Upstream are the servers of all other names, in the order in which they
	// are asked: UpstreamHost, or addresses with or without a port, or
	// UpstreamNone alone. Empty is UpstreamHost, but UpstreamNone where the
	// network goes nowhere.
	Upstream []string
	Domains  []DNSDomain // with servers of their own; sorted by name

	Hosts     []DNSHost    // sorted by name
	TXT       []DNSText    // sorted by name
	SRV       []DNSService // sorted by name, priority, target and port
	HostsFile string       // an absolute path of a file as hosts(5); empty for none

	Cache        int  // answers that are kept, 0-1000000
	ForwardPlain bool // names without a dot go to Upstream too

	// SLAAC gives the names of leases the IPv6 addresses too that their machines
	// made themselves.
	SLAAC bool
}

// DNSDomain is a domain and the servers that are asked for it; none where it is
// answered here only.
type DNSDomain struct {
	Name     string
	Upstream []string
}

// DNSHost is a name with its addresses, in that order.
type DNSHost struct {
	Name      string
	Addresses []netip.Addr
}

// DNSText is a name with its texts (RFC 1035 section 3.3.14), each of 1-4096
// bytes and a record of its own, in that order.
type DNSText struct {
	Name   string
	Values []string
}

// DNSService is where a service is found (RFC 2782).
type DNSService struct {
	Name     string // such as _ldap._tcp.lab
	Target   string
	Port     int // 1-65535
	Priority int // 0-65535, the lowest first
	Weight   int // 0-65535, the share among those of one priority
}

// Gateway returns the gateway's IPv4 address with its subnet, zero without one.
func (n *Network) Gateway() netip.Prefix {
	for _, a := range n.Addresses {
		if ipv4.has(a.Addr()) {
			return a
		}
	}
	return netip.Prefix{}
}

// Router returns the address that clients are told to send to, zero for none.
func (n *Network) Router() netip.Addr {
	switch n.DHCP.Router {
	case RouterNone:
		return netip.Addr{}
	case RouterAuto:
		if n.Forward == ForwardIsolated {
			return netip.Addr{}
		}
		return n.Gateway().Addr()
	}
	a, _ := netip.ParseAddr(n.DHCP.Router) // zero where it is bad, which Validate refuses
	return a
}

// Upstreams returns the servers that names of no domain are forwarded to,
// UpstreamHost among them; empty for none.
func (n *Network) Upstreams() []string {
	switch list := n.DNS.Upstream; {
	case slices.Contains(list, UpstreamNone), len(list) == 0 && n.Forward == ForwardIsolated:
		return nil
	case len(list) == 0:
		return []string{UpstreamHost}
	default:
		return list
	}
}

// hostSeat is the name of the port that Normalize adds for a HostPort.
const hostSeat = "host"

// HostSeat returns the internal port on the interface HostPort, with the MAC
// and the addresses of the network; nil where the network has no HostPort. The
// result points into n.
func (n *Network) HostSeat() *Port {
	if p := n.Port(hostSeat); p != nil && p.Seat && n.HostPort != "" {
		return p
	}
	return nil
}

// seatHost makes the port of HostPort what the network says now, or takes it
// away. One that the file says something else of is left for Validate to refuse.
func (n *Network) seatHost() {
	if n.HostPort == "" {
		if n.Ports = slices.DeleteFunc(n.Ports, func(p Port) bool { return p.Seat }); len(n.Ports) == 0 {
			n.Ports = nil
		}
		return
	}
	p := n.Port(hostSeat)
	if p == nil {
		if badInterface(n.HostPort) != "" {
			return
		}
		n.Ports = append(n.Ports, Port{Name: hostSeat})
		p = &n.Ports[len(n.Ports)-1]
	}
	if p.Type == "" {
		p.Type = TypeInternal
	}
	if p.Interface == "" {
		p.Interface = n.HostPort
	}
	if !p.Seat && n.unseated(p) != "" {
		return
	}
	p.Seat = true
	p.Interface, p.MAC, p.Addresses = n.HostPort, n.MAC, slices.Clone(n.Addresses)
}

// unseated returns the key of the port that keeps it from being that of
// HostPort, empty without one.
func (n *Network) unseated(p *Port) string {
	switch {
	case p.Type != TypeInternal:
		return "type"
	case p.Interface != n.HostPort:
		return "interface"
	case p.Netns != "":
		return "netns"
	case len(p.Addresses) > 0 && !slices.Equal(p.Addresses, n.Addresses):
		return "address"
	case p.MAC != frame.MAC{} && p.MAC != n.MAC:
		return "mac"
	}
	return ""
}

// fill makes what a command put in look as what a file holds.
func (d *DHCP) fill() {
	for i := range d.Hosts {
		d.Hosts[i].Name = strings.ToLower(d.Hosts[i].Name)
	}
	for i := range d.Options {
		o := &d.Options[i]
		o.Option, _ = option.Parse(o.Key, o.Value) // zero where it is bad, which Validate refuses
	}
}

func (d *DHCP) sort() {
	slices.SortStableFunc(d.Ranges, compareRange)
	slices.SortStableFunc(d.Hosts, func(a, b DHCPHost) int {
		return cmp.Or(a.Address.Compare(b.Address), compareMAC(a.MAC, b.MAC), slices.Compare(a.ClientID, b.ClientID), strings.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(d.Options, func(a, b DHCPOption) int {
		return cmp.Or(cmp.Compare(a.Option.Code, b.Option.Code), strings.Compare(a.Key, b.Key))
	})
}

func (d *DNS) sort() {
	slices.SortStableFunc(d.Domains, func(a, b DNSDomain) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(d.Hosts, func(a, b DNSHost) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(d.TXT, func(a, b DNSText) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(d.SRV, func(a, b DNSService) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Priority, b.Priority),
			strings.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
}

func (d DHCP) clone() DHCP {
	d.Ranges, d.Hosts = slices.Clone(d.Ranges), slices.Clone(d.Hosts)
	for i := range d.Hosts {
		d.Hosts[i].ClientID = slices.Clone(d.Hosts[i].ClientID)
	}
	d.NTP, d.Search, d.Options = slices.Clone(d.NTP), slices.Clone(d.Search), slices.Clone(d.Options)
	for i := range d.Options {
		d.Options[i].Option.Data = slices.Clone(d.Options[i].Option.Data)
	}
	return d
}

func (d DNS) clone() DNS {
	d.Upstream, d.Domains, d.Hosts = slices.Clone(d.Upstream), slices.Clone(d.Domains), slices.Clone(d.Hosts)
	for i := range d.Domains {
		d.Domains[i].Upstream = slices.Clone(d.Domains[i].Upstream)
	}
	for i := range d.Hosts {
		d.Hosts[i].Addresses = slices.Clone(d.Hosts[i].Addresses)
	}
	d.TXT, d.SRV = slices.Clone(d.TXT), slices.Clone(d.SRV)
	for i := range d.TXT {
		d.TXT[i].Values = slices.Clone(d.TXT[i].Values)
	}
	return d
}
