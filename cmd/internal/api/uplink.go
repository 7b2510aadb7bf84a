package api

// NetworkNAT counts the flows of a network that is translated, or whose flows
// go on by sockets of the host.
type NetworkNAT struct {
	MaxFlows  int               `json:"max_flows"`
	Protocols []NATProtocol     `json:"protocols"` // one without a flow so far may be left out
	Refused   map[string]uint64 `json:"refused"`   // flows that were not made, by reason; one without may be left out
	Ports     *UsablePorts      `json:"ports"`     // what of nat.ports there is on a shared address; nil: all
	IPv6      string            `json:"ipv6"`      // NATMasquerade, NATRoute or the prefix that is seen outside
}

// Values of NetworkNAT.IPv6 besides a prefix.
const (
	NATMasquerade = "masquerade" // the uplink's address stands for all inside
	NATRoute      = "route"      // packets stay as they are
)

// NATProtocol counts the flows of one protocol. A guest may send any of 256, so
// all but the first three are counted as one; icmp is that of both families.
type NATProtocol struct {
	Protocol string `json:"protocol"` // one of NATProtocols
	Flows    int    `json:"flows"`
	Mappings int    `json:"mappings"` // outside ports in use
	Created  uint64 `json:"created"`
	Expired  uint64 `json:"expired"` // those whose time ran out
}

// NATProtocols returns all values of NATProtocol.Protocol.
func NATProtocols() []string { return []string{"tcp", "udp", "icmp", "other"} }

// Publish is a port, or a range of ports, by which a guest is reached from outside.
type Publish struct {
	Network  string `json:"network"`
	Protocol string `json:"protocol"` // tcp or udp
	Listen   string `json:"listen"`   // port, FIRST-LAST, or one of both with the host's address and a colon before it; an address of IPv6 is in brackets
	To       string `json:"to"`       // address and port of the guest, for the first port
	Flows    int    `json:"flows"`
	Outside  string `json:"outside"` // Listen with the address that others write, of several the first one; empty while there is none
	Taken    string `json:"taken"`   // ports of it that a socket of the host has, which gets what is new there; empty: none
}

// PublishSpec asks for one, in the form of Publish.
type PublishSpec struct {
	Protocol string `json:"protocol,omitempty"` // tcp where it is empty
	Listen   string `json:"listen"`
	To       string `json:"to"`
}

// Values of Uplink.Kind. The first two are for both families, the others are for an
// address of its own: by the configuration, or by what is out there.
const (
	UplinkHost    = "host"    // shares the addresses of the host
	UplinkSockets = "sockets" // sockets of the host
	UplinkStatic  = "static"
	UplinkDHCP    = "dhcp"  // of IPv4
	UplinkSLAAC   = "slaac" // of IPv6
	UplinkDHCP6   = "dhcp6" // of IPv6
)

// StateNoAddress is the Uplink.State of one that is up but for its address: the
// interface has none, or no DHCP server and no router has given one. The others are those of a port.
const StateNoAddress = "no-address"

// Uplink is where networks leave the switch, with its counters since then.
type Uplink struct {
	Interface string            `json:"interface"` // empty where sockets follow no interface
	Kind      string            `json:"kind"`      // the first of Kinds
	Kinds     []string          `json:"kinds"`     // that of each family, of IPv4 first; one where they are the same
	State     string            `json:"state"`
	Detail    string            `json:"detail"`    // why State is not "up", else why Kind is what it is, or the lease by DHCP
	Address   string            `json:"address"`   // the first of Addresses; empty for none
	Addresses []string          `json:"addresses"` // CIDR; of IPv4 first
	Gateway   string            `json:"gateway"`   // the first of Gateways; empty for none
	Gateways  []string          `json:"gateways"`  // of the default route of each family; of IPv4 first
	MAC       string            `json:"mac"`       // empty for sockets
	MTU       int               `json:"mtu"`
	Networks  []string          `json:"networks"` // sorted
	RX        Counters          `json:"rx"`       // from outside into weft
	TX        Counters          `json:"tx"`       // from weft to the outside
	Drops     map[string]uint64 `json:"drops"`    // frames by reason; zeroes are left out
	Flows     int               `json:"flows"`
	Neighbors int               `json:"neighbors"` // addresses on the link whose MAC is known
	Ports     *UsablePorts      `json:"ports"`     // of a shared address; nil: all that the networks want
}

// UsablePorts is what a host leaves guests of the ports that they may have of its
// address, of the protocol with fewer of them.
type UsablePorts struct {
	Ranges string `json:"ranges"` // such as "1024-32767, 61000-65535", or "none"
	InUse  int    `json:"in_use"` // of those, to which sockets are bound
	Free   int    `json:"free"`   // the others
}

// complete replaces what is nil, as Port.complete does.
func (u Uplink) complete() Uplink {
	u.Kinds = orEmpty(u.Kinds)
	u.Addresses, u.Gateways = orEmpty(u.Addresses), orEmpty(u.Gateways)
	u.Networks, u.Drops = orEmpty(u.Networks), orEmptyMap(u.Drops)
	return u
}
