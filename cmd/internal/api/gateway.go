package api

import "time"

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

// Lease is an address of a DHCP server, and the client that has it.
type Lease struct {
	Network  string     `json:"network"`
	MAC      string     `json:"mac"`       // empty for a reservation by client id without a lease
	Address  string     `json:"address"`   // empty for a reservation that only gives a name
	Hostname string     `json:"hostname"`  // empty: none that the server goes by
	ClientID string     `json:"client_id"` // hexadecimal, a colon between bytes; empty: the client sends none
	Expires  *time.Time `json:"expires"`   // nil: never, and for a reservation without a lease
	Kind     string     `json:"kind"`
	State    string     `json:"state"`
	Port     string     `json:"port"` // that its last message came in by; empty where that is not known
}

// LeaseSpec asks for a reservation: an address, a name or both for the client
// with this MAC or client id.
type LeaseSpec struct {
	MAC          string `json:"mac,omitempty"`
	ClientID     string `json:"client_id,omitempty"`     // as in the configuration file: text, or hexadecimal 01:02:03
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
