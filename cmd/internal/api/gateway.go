package api

import "time"

// NetworkRA is what the router of a network advertises to its hosts (RFC 4861
// section 6.2), as it is now: the words of the configuration resolved.
type NetworkRA struct {
	IntervalSeconds int64    `json:"interval_seconds"` // most between two that nobody asked for
	LifetimeSeconds int64    `json:"lifetime_seconds"` // 0: hosts are told of no default route
	Preference      string   `json:"preference"`       // low, medium or high
	Managed         bool     `json:"managed"`          // hosts are told to ask DHCPv6 for an address
	Other           bool     `json:"other"`            // hosts are told to ask DHCPv6 for everything else
	MTU             int      `json:"mtu"`              // 0: none is told
	Prefixes        []string `json:"prefixes"`         // that hosts make addresses in, or find each other in
	Routes          []string `json:"routes"`           // that lead by the network's router, besides the default
	DNS             []string `json:"dns"`              // addresses of resolvers
	Search          []string `json:"search"`           // domains
	Sent            uint64   `json:"sent"`             // advertisements, asked for or not
	Received        uint64   `json:"received"`         // solicitations
	Refused         uint64   `json:"refused"`          // solicitations that got no answer of their own: one to all was due, or there were too many
}

// NetworkDHCP6 is the DHCPv6 server of a network. Size and Free count addresses of
// its ranges, as those of NetworkDHCP do; no more than 2^53 are counted, which a
// JSON number may have.
type NetworkDHCP6 struct {
	Ranges       []string        `json:"ranges"`        // "2001:db8::1000-2001:db8::1fff", or one address
	Stateless    bool            `json:"stateless"`     // it gives no addresses, only what else hosts need
	LeaseSeconds int64           `json:"lease_seconds"` // valid lifetime; LeaseForever: they do not end
	MaxLeases    int             `json:"max_leases"`    // 0: as many as the ranges hold
	Size         int64           `json:"size"`
	Free         int64           `json:"free"`
	Delegated    []DelegatedPool `json:"delegated"` // what routers inside get prefixes from
	Leases       map[string]int  `json:"leases"`    // addresses and prefixes, by state; one without may be left out
	Messages     []DHCPMessages  `json:"messages"`  // sorted by type and outcome
}

// DelegatedPool is a prefix that is handed on in parts (RFC 8415 section 6.3).
type DelegatedPool struct {
	Prefix string `json:"prefix"`
	Length int    `json:"length"` // of each part
	Size   int64  `json:"size"`   // parts there are
	Used   int64  `json:"used"`   // parts that a router has now
}

// Values of the fields of NetworkInbound.
const (
	InboundOpen      = "open"      // anybody
	InboundPublished = "published" // nobody but by what is published
)

// NetworkInbound says who may open flows from outside to a network whose addresses
// are not translated.
type NetworkInbound struct {
	IPv4 string `json:"ipv4"`
	IPv6 string `json:"ipv6"`
}

// NetworkDHCP is the DHCP server of a network. Size and Free count addresses
// of its ranges; a reserved one is never free.
type NetworkDHCP struct {
	Ranges       []string       `json:"ranges"`        // "10.0.0.100-10.0.0.199", or one address
	LeaseSeconds int64          `json:"lease_seconds"` // LeaseForever: they do not end
	MaxLeases    int            `json:"max_leases"`    // 0: as many as the ranges hold
	Size         int            `json:"size"`
	Free         int            `json:"free"`
	Leases       map[string]int `json:"leases"`   // by state; one without may be left out
	Messages     []DHCPMessages `json:"messages"` // sorted by type and outcome
}

// DHCPMessages counts the messages of one type that ended one way.
type DHCPMessages struct {
	Type    string `json:"type"` // such as discover
	Outcome string `json:"outcome"`
	Count   uint64 `json:"count"`
}

// NetworkDNS is the resolver of a network.
type NetworkDNS struct {
	Name         string            `json:"name"`   // the network's own, one label
	Domain       string            `json:"domain"` // that leases are in; empty for none
	Upstreams    []DNSUpstream     `json:"upstreams"`
	CacheEntries int               `json:"cache_entries"`
	Queries      map[string]uint64 `json:"queries"` // by outcome; one without may be left out
	Latency      DNSLatency        `json:"latency"`
}

// DNSUpstream is a resolver that is asked for what the network does not know.
type DNSUpstream struct {
	Address string `json:"address"`
	Domain  string `json:"domain"` // it is asked for names in this domain only; empty: for all others
	State   string `json:"state"`  // ok, failing or loop
}

// DNSLatency counts queries by the time until their answer. Counts[i] holds
// those that took at most Bounds[i], and longer than the bound before it; the
// rest of Count took longer than every bound.
type DNSLatency struct {
	Bounds     []float64 `json:"bounds"` // seconds, ascending
	Counts     []uint64  `json:"counts"` // as many as there are bounds
	SumSeconds float64   `json:"sum_seconds"`
	Count      uint64    `json:"count"`
}

// LeaseForever is a lease time without an end, in seconds (RFC 2131 section 3.3).
const LeaseForever = 1<<32 - 1

// Values of Lease.State.
const (
	LeaseActive   = "active"
	LeaseOffered  = "offered"  // held for a client that has not asked for it yet
	LeaseExpired  = "expired"  // over; the client gets it again while nobody else needs it
	LeaseDeclined = "declined" // somebody else answered there; not given out for a while
	LeaseReserved = "reserved" // a reservation whose client has no lease
)

// Values of Lease.Kind.
const (
	LeaseDynamic = "dynamic"
	LeaseStatic  = "static" // a reservation
)

// Lease is an address of a DHCP server, or a prefix that one of DHCPv6 has delegated,
// and the client that has it.
type Lease struct {
	Network  string     `json:"network"`
	MAC      string     `json:"mac"`            // empty for a reservation by client id without a lease, and where a DUID does not tell it
	Address  string     `json:"address"`        // with its length for a prefix; empty for a reservation that only gives a name
	Hostname string     `json:"hostname"`       // empty: none that the server goes by
	ClientID string     `json:"client_id"`      // hexadecimal, a colon between bytes; empty: the client sends none; the DUID in DHCPv6
	IAID     *uint32    `json:"iaid,omitempty"` // which of its client's addresses or prefixes it is (RFC 8415 section 4.2); nil in DHCPv4 and for a reservation without a lease
	Expires  *time.Time `json:"expires"`        // nil: never, and for a reservation without a lease
	Kind     string     `json:"kind"`
	State    string     `json:"state"`
	Port     string     `json:"port"` // that its last message came in by; empty where that is not known
}

// LeaseSpec asks for a reservation: an address, a name or both for the client
// with this MAC or client id, or, in DHCPv6, with this MAC or DUID. It is of the
// family of its address; without one it is of DHCPv6 where DUID says for whom.
type LeaseSpec struct {
	MAC          string `json:"mac,omitempty"`
	ClientID     string `json:"client_id,omitempty"`     // as in the configuration file: text, or hexadecimal 01:02:03
	DUID         string `json:"duid,omitempty"`          // hexadecimal 00:01:02
	Address      string `json:"address,omitempty"`       // empty: one of the ranges
	Name         string `json:"name,omitempty"`          // empty: the one that the client gives itself
	LeaseSeconds int64  `json:"lease_seconds,omitempty"` // 0: the network's; LeaseForever: without an end
}

// complete gives a time in whole seconds of UTC, whatever clock it came from.
func (l Lease) complete() Lease {
	if l.Expires != nil {
		t := l.Expires.UTC().Truncate(time.Second)
		l.Expires = &t
	}
	return l
}
