package api

import "encoding/json"

// Status is the daemon at a glance.
type Status struct {
	Version       string   `json:"version"`
	PID           int      `json:"pid"`
	UptimeSeconds int64    `json:"uptime_seconds"`
	Socket        string   `json:"socket"`
	MetricsListen string   `json:"metrics_listen"` // host:port, or "off"
	Fastpath      Fastpath `json:"fastpath"`
	Networks      int      `json:"networks"`
	Ports         int      `json:"ports"`
	Uplinks       []string `json:"uplinks"` // interface, kind and state of each: "eth0 host up"
	Notes         []string `json:"notes"`   // what a user should know, a sentence each
}

// Fastpath tells whether frames are switched in the kernel.
type Fastpath struct {
	State  string `json:"state"`  // "on" or "off"
	Reason string `json:"reason"` // why it is off; empty where it is on
}

// Network is one L2 domain.
type Network struct {
	Name           string          `json:"name"`
	Forward        string          `json:"forward"`
	MAC            string          `json:"mac"`             // of the network itself
	Uplink         string          `json:"uplink"`          // name of the port, or of the interface where packets are translated or routed; empty where there is none
	MTU            int             `json:"mtu"`             // bytes of IP packet
	ReservedGroups string          `json:"reserved_groups"` // ReservedSwitch or ReservedWire
	Ports          int             `json:"ports"`           // all ports
	Up             int             `json:"up"`              // those that are up
	FDB            NetworkFDB      `json:"fdb"`
	STP            NetworkSTP      `json:"stp"`
	Snooping       NetworkSnooping `json:"snooping"`
	Addresses      []string        `json:"addresses"` // of the network itself, CIDR; none: it is a switch and no more
	VLAN           uint16          `json:"vlan"`      // that the network itself is in; 0: that of frames without a tag
	HostPort       string          `json:"host_port"` // the host's interface in the network; empty: none
	DHCP           *NetworkDHCP    `json:"dhcp"`      // nil: off
	DHCP6          *NetworkDHCP6   `json:"dhcp6"`     // nil: off
	RA             *NetworkRA      `json:"ra"`        // nil: no router is advertised
	DNS            *NetworkDNS     `json:"dns"`       // nil: off
	NAT            *NetworkNAT     `json:"nat"`       // nil: no flows are tracked
	Inbound        NetworkInbound  `json:"inbound"`
}

// NetworkFDB sums up the MAC table of a network.
type NetworkFDB struct {
	Entries       int    `json:"entries"`
	Limit         int    `json:"limit"`
	AgeingSeconds int64  `json:"ageing_seconds"` // 0: entries never age
	Moves         uint64 `json:"moves"`          // times that a MAC changed its port
	Evicted       uint64 `json:"evicted"`        // entries that gave way at a limit
}

// ModePassthrough is the Port.Mode of one end of a wire; the uplink is the other.
const ModePassthrough = "passthrough"

// States of a port.
const (
	StateUp        = "up"
	StateNoCarrier = "no-carrier" // nobody at the other end
	StateDown      = "down"       // switched off by somebody
	StateMissing   = "missing"    // the interface or its namespace is gone; weft waits for it
	StateFailed    = "failed"     // weft could not open it; Detail says why
)

// Port is one attachment to a network, with its counters since it was added.
type Port struct {
	Network   string            `json:"network"`
	Name      string            `json:"name"`
	Type      string            `json:"type"`   // tap, raw or internal
	Mode      string            `json:"mode"`   // bridge, vepa, private or passthrough
	Uplink    bool              `json:"uplink"` // the network goes on outside by this port
	Interface string            `json:"interface"`
	Netns     string            `json:"netns"` // of an internal port; empty: the host's
	MAC       string            `json:"mac"`   // of the interface; empty where it has none of its own
	MTU       int               `json:"mtu"`
	State     string            `json:"state"`
	Detail    string            `json:"detail"` // why State is not "up"
	Owner     string            `json:"owner"`  // user that may open a tap
	Group     string            `json:"group"`  // group that may open a tap
	Addresses []string          `json:"addresses"`
	Offloads  []string          `json:"offloads"` // what the port finishes itself
	Hairpin   bool              `json:"hairpin"`  // frames may leave by the port they came from
	Isolated  bool              `json:"isolated"` // no frames from or to another isolated port
	VLAN      *PortVLAN         `json:"vlan"`     // nil: the port carries every VLAN as it is
	STP       *PortSTP          `json:"stp"`      // its settings, and its state where there is a tree
	Security  Security          `json:"security"`
	Storm     Storm             `json:"storm"`
	Guard     Guard             `json:"guard"`
	Rate      PortRate          `json:"rate"`
	RX        Counters          `json:"rx"`    // from the attachment into weft
	TX        Counters          `json:"tx"`    // from weft to the attachment
	Drops     map[string]uint64 `json:"drops"` // frames by reason; zeroes are left out
}

// Counters counts one direction of a port.
type Counters struct {
	Frames uint64 `json:"frames"`
	Bytes  uint64 `json:"bytes"`
}

// PortSpec asks for a port. What is left empty takes its default: mode
// "bridge", the port's name as interface, a MAC derived from the names.
// Settings holds keys of the port's policy in the configuration file, in the
// form that SetPort takes.
type PortSpec struct {
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Mode      string   `json:"mode,omitempty"`
	Interface string   `json:"interface,omitempty"`
	Netns     string   `json:"netns,omitempty"`     // internal only
	MAC       string   `json:"mac,omitempty"`       // internal only
	Addresses []string `json:"addresses,omitempty"` // internal only; CIDR
	Owner     string   `json:"owner,omitempty"`     // tap only; name or number
	Group     string   `json:"group,omitempty"`     // tap only; name or number

	Settings json.RawMessage `json:"settings,omitempty"` // a JSON object
}

// FDBEntry is one known address.
type FDBEntry struct {
	Network    string `json:"network"`
	MAC        string `json:"mac"`
	VLAN       uint16 `json:"vlan"` // 0: untagged
	Port       string `json:"port"`
	Kind       string `json:"kind"`        // dynamic, static, local or sticky
	AgeSeconds int64  `json:"age_seconds"` // since last seen; 0 where it does not age
}

// FDBSpec asks for a static entry.
type FDBSpec struct {
	MAC  string `json:"mac"`
	VLAN uint16 `json:"vlan,omitempty"` // 0-4094; 0: that of the port's untagged frames
	Port string `json:"port"`
}

// Flushed is the answer to a flush.
type Flushed struct {
	Flushed int `json:"flushed"` // dynamic entries or flows forgotten
}

// Applied is the answer to an apply.
type Applied struct {
	DryRun  bool     `json:"dry_run"` // true: nothing was changed
	Changes []string `json:"changes"` // one line each, in the order they are made
}

// CaptureOptions says how to capture.
type CaptureOptions struct {
	Snaplen int // bytes kept of each frame, 1-MaxSnaplen; 0: all of it
}

// Problem is the body of every answer that is not a success.
type Problem struct {
	Error  string   `json:"error"`            // one line
	Errors []string `json:"errors,omitempty"` // all lines, where there are several
}
