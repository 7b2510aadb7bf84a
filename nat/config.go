package nat

import "net/netip"

// Zone is one inside network. A table keeps the flows of its zones apart, so
// that two of them may use the same inside addresses.
type Zone uint16

// Config is what a table is made with.
type Config struct {
	// Addresses are the outside addresses, of both families. The first one of each
	// is the uplink's own. Without any of a family, nothing of it can be translated
	// but by prefix.
	Addresses []netip.Addr

	// Changed may be nil. It is called when the first flow between an outside
	// port (or ICMP identifier, or 0 for a protocol without ports) and a remote
	// address comes, over all outside addresses, and when the last one goes. It
	// has returned before the first packet of the flow has its verdict.
	//
	// Where anybody may use the port, remote is the zero Addr, and flows are not
	// told of: while a port is published or a mapping made for that lives, and
	// for the mappings of a zone without filtering. Which kind a mapping is stays
	// as it was when it was made: after a change to Filtering None, one made
	// before lets in only whom its flows are with.
	//
	// It is not called for the flows of a PrefixMap, whose ports are nobody else's.
	//
	// It runs under the table's lock: it must be quick and must not call the
	// table.
	Changed func(protocol uint8, port uint16, remote netip.Addr, used bool)
}

// Filtering says who may send to a mapping from outside (RFC 4787 clause 5).
type Filtering uint8

const (
	// ByAddress: whoever has an address that the inside endpoint talks to.
	ByAddress Filtering = iota
	// ByEndpoint: only the address and port that it talks to.
	ByEndpoint
	// None: anybody.
	None
)

// Timeouts are how long a flow outlives its last packet, in seconds. A zero is
// the default.
type Timeouts struct {
	UDP            uint32 // 300
	TCPEstablished uint32 // 7440
	TCPTransitory  uint32 // 240: opening, or both sides have closed
	ICMP           uint32 // 60: queries, of ICMPv6 too
	Other          uint32 // 600: protocols without ports
}

// DefaultTimeouts meet RFC 4787 REQ-5, RFC 5382 REQ-5 and RFC 5508 REQ-2, and RFC
// 6092 REC-12, REC-14 and REC-35.
var DefaultTimeouts = Timeouts{UDP: 300, TCPEstablished: 7440, TCPTransitory: 240, ICMP: 60, Other: 600}

// Limits of ZoneConfig where it names none.
const (
	DefaultFirst      = 1024
	DefaultLast       = 65535
	DefaultMaxFlows   = 65536
	DefaultMaxPerHost = 8192
)

// Publish opens outside ports to an inside endpoint: at the zone's addresses of its
// family, or, where a PrefixMap of the zone has it inside, at the address that it is
// translated to.
type Publish struct {
	Protocol    uint8    // TCP or UDP
	First, Last uint16   // outside ports
	To          Endpoint // where First leads; the ports after it follow in order
}

// ZoneConfig is how one inside network is translated.
type ZoneConfig struct {
	// Subnets are the sources that are translated. The caller has checked them;
	// the table keeps them for information.
	Subnets []netip.Prefix

	// First and Last are the range of outside ports, and of outside ICMP
	// identifiers. Zero means DefaultFirst and DefaultLast.
	First, Last uint16

	// Addresses are those of the table's that this zone uses, none of a family
	// being the first of that family. An inside host keeps to one of them (RFC 4787
	// REQ-2).
	Addresses []netip.Addr

	// Prefixes are what is translated one to one instead. Where one lies in
	// another, the longer one counts. Two zones cannot have one outside prefix.
	Prefixes []PrefixMap

	// Open lets outside open flows to the addresses of Prefixes (RFC 6092 REC-49).
	// Without it only what is published is open to anybody, and a mapping to whom
	// Filtering says (RFC 6092 REC-11, REC-17, REC-33).
	Open bool

	// Symmetric gives each destination a mapping of its own, instead of one to
	// each inside endpoint, and implies ByEndpoint. Flows to different
	// destinations may share an outside port.
	Symmetric bool

	Filtering Filtering

	// Places is how many places packets of the zone may come in by, as numbers that
	// Outbound is given: each of several has a share, also if it has not sent yet.
	Places int

	// MaxFlows and MaxPerHost bound the flows of the zone and of one inside
	// address. Zero means DefaultMaxFlows and DefaultMaxPerHost. Who has more
	// addresses than one is held by the share of his port; see Outbound.
	MaxFlows, MaxPerHost int

	Timeouts Timeouts
	Publish  []Publish
}
