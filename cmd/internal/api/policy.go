package api

// PortVLAN says which VLANs (IEEE 802.1Q) a port is in: Access alone, or Trunk
// with or without Native.
type PortVLAN struct {
	Access uint16   `json:"access,omitempty"` // 1-4094: the only VLAN of the port, untagged there
	Trunk  []string `json:"trunk,omitempty"`  // tagged there: "10", "20-30"
	Native uint16   `json:"native,omitempty"` // 1-4094: the one of the trunk that is untagged
}

// PortSTP is a port's part in the spanning tree of its network. State and what
// follows it are empty where the network has none.
type PortSTP struct {
	Edge         string `json:"edge"`     // auto, true or false
	Priority     int    `json:"priority"` // 0-240
	Cost         int    `json:"cost"`     // 1-200000000
	RootGuard    bool   `json:"root_guard"`
	BPDUGuard    bool   `json:"bpdu_guard"`
	State        string `json:"state"`        // discarding, learning or forwarding
	Role         string `json:"role"`         // root, designated, alternate, backup or disabled
	Protocol     string `json:"protocol"`     // what it speaks to its neighbour: rstp or stp
	Inconsistent string `json:"inconsistent"` // GuardBPDU, GuardRoot or SelfLoop while that keeps the port out
}

// TreeForwarding is the PortSTP.State of a port that carries frames.
const TreeForwarding = "forwarding"

// Values of PortSTP.Inconsistent.
const (
	GuardBPDU = "bpdu-guard" // a BPDU came; until the link goes down, or the guard is turned off
	GuardRoot = "root-guard" // a better root is behind the port; until it falls silent
	SelfLoop  = "self-loop"  // what the port sends comes back to it; until it no longer does
)

// Security bounds the source addresses of a port.
type Security struct {
	MaxMACs int      `json:"max_macs"` // learned at a time; 0: any number
	Sticky  bool     `json:"sticky"`   // what was learned stays at the port
	Sources []string `json:"sources"`  // the only ones taken, sorted; none: all are
}

// Storm bounds what a port may send in of the frames that are flooded, in
// frames per second; 0 means no limit.
type Storm struct {
	Broadcast int `json:"broadcast"`
	Multicast int `json:"multicast"`
	Unknown   int `json:"unknown"` // to unicast addresses that no port is known for
}

// Guard keeps the attachment of a port from being what only a router or a server of
// the network is: what such a one would send is dropped where it comes in.
type Guard struct {
	RA   bool `json:"ra"`   // router advertisements and redirects of IPv6
	DHCP bool `json:"dhcp"` // answers of a server, of DHCP and DHCPv6
}

// PortRate limits the two directions of a port; nil is no limit.
type PortRate struct {
	Ingress *Rate `json:"ingress"` // from the attachment into weft
	Egress  *Rate `json:"egress"`  // from weft to the attachment
}

// Rate is a limit of one direction.
type Rate struct {
	Average uint64 `json:"average"` // bits per second
	Peak    uint64 `json:"peak"`    // bits per second within a burst; 0: no limit
	Burst   int    `json:"burst"`   // bytes at once after a pause
}

// Values of Network.ReservedGroups.
const (
	ReservedSwitch = "switch" // never forwarded
	ReservedWire   = "wire"   // forwarded like any group
)

// NetworkSTP is the spanning tree of a network. BridgeID and what follows it
// are empty where Enabled is false.
type NetworkSTP struct {
	Enabled             bool   `json:"enabled"`
	Priority            int    `json:"priority"` // 0-61440
	HelloSeconds        int    `json:"hello_seconds"`
	MaxAgeSeconds       int    `json:"max_age_seconds"`
	ForwardDelaySeconds int    `json:"forward_delay_seconds"`
	BridgeID            string `json:"bridge_id"` // priority in hexadecimal, a dot, the MAC
	RootID              string `json:"root_id"`   // equal to BridgeID where this network is the root
	RootPort            string `json:"root_port"` // name of the port towards the root; empty at the root
	RootCost            uint32 `json:"root_cost"` // of the path to the root; 0 at the root
	TopologyChanges     uint64 `json:"topology_changes"`
}

// NetworkSnooping says whether multicast goes only to those who asked for it.
type NetworkSnooping struct {
	Enabled         bool   `json:"enabled"`
	Querier         bool   `json:"querier"`          // it asks who listens where no router does
	IntervalSeconds int    `json:"interval_seconds"` // between two general queries
	State           string `json:"state"`            // SnoopingFlooding or SnoopingRestricting; empty where Enabled is false
	Groups          int    `json:"groups"`           // groups with a listener, counted in each VLAN
}

// Values of NetworkSnooping.State.
const (
	SnoopingFlooding    = "flooding"    // groups go everywhere: no querier is known, or its first answers are awaited
	SnoopingRestricting = "restricting" // groups go to their listeners alone, in one VLAN at least
)

// Group is one port that has asked for one multicast group.
type Group struct {
	Network        string `json:"network"`
	VLAN           uint16 `json:"vlan"`  // 0: untagged
	Group          string `json:"group"` // IPv4 or IPv6 address
	Port           string `json:"port"`
	ExpiresSeconds int64  `json:"expires_seconds"` // until it is forgotten, if the port says no more
}
