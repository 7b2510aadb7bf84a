package dhcp6

import (
	"maps"
	"math"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/dhcp"
)

// What becomes of messages.
const (
	outcomeAdvertise   = "advertise"
	outcomeReply       = "reply"
	outcomeNothing     = "nothing"       // an answer without a lease: there is none to go on with, or it is none of this link
	outcomeNotOnLink   = "not_on_link"   // an answer to who has moved
	outcomeExhausted   = "exhausted"     // an answer without a lease: nothing is free, the maximum is reached, or too much is behind its port
	outcomeMulticast   = "use_multicast" // an answer to who wrote to the server alone
	outcomeReleased    = "released"      // answered too
	outcomeDeclined    = "quarantined"   // answered too
	outcomeLimited     = "limited"       // too much is in quarantine because of those behind its port
	outcomeUnknown     = "unknown"       // about a lease that is not known here; a Confirm without an address gets no answer
	outcomeOtherServer = "other_server"  // it is for another server
	outcomeIgnored     = "ignored"
	outcomeMalformed   = "malformed"
	outcomeWrongSource = "wrong_source" // not from a link-local address
	outcomeRelay       = "relay"        // by a relay, which is not served
	outcomeFailed      = "failed"       // the lease could not be stored: no answer
)

// typeName is the Type of a dhcp.MessageKey.
func typeName(t dhcpv6.MessageType) string {
	switch t {
	case dhcpv6.MessageTypeSolicit:
		return "solicit"
	case dhcpv6.MessageTypeRequest:
		return "request"
	case dhcpv6.MessageTypeConfirm:
		return "confirm"
	case dhcpv6.MessageTypeRenew:
		return "renew"
	case dhcpv6.MessageTypeRebind:
		return "rebind"
	case dhcpv6.MessageTypeRelease:
		return "release"
	case dhcpv6.MessageTypeDecline:
		return "decline"
	case dhcpv6.MessageTypeInformationRequest:
		return "information"
	}
	return "other"
}

// Stats are a server's counters and sizes. Messages are those of types solicit,
// request, confirm, renew, rebind, release, decline, information, relay; other, or
// invalid where it could not be read.
type Stats struct {
	Leases    map[dhcp.State]int // by state; every state is there
	Delegated int                // of the active ones: prefixes

	Size, Free             int // addresses in the ranges; of these, what a new client can get; at most MaxInt
	Prefixes, FreePrefixes int // likewise, of what can be delegated

	Messages map[dhcp.MessageKey]uint64 // since New
}

// Stats returns what the server counts.
func (s *Server) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.engine
	st := Stats{Leases: map[dhcp.State]int{}, Delegated: len(e.routes), Messages: maps.Clone(e.messages)}
	for state := dhcp.Offered; state < dhcp.Reserved; state++ {
		st.Leases[state] = e.count[state]
	}
	for b := range e.strays {
		if e.away(b) {
			st.Leases[b.state]--
		}
	}
	for i := range e.set.Hosts {
		if !e.fulfilled(&e.set.Hosts[i]) {
			st.Leases[dhcp.Reserved]++
		}
	}
	for i, p := range e.pools {
		size, free := p.sizes()
		if i == 0 {
			st.Size, st.Free = size, free
		} else {
			st.Prefixes, st.FreePrefixes = capped(st.Prefixes, size), capped(st.FreePrefixes, free)
		}
	}
	return st
}

// sizes returns how many places there are, and how many of them are free.
func (p *pool) sizes() (size, free int) {
	size = int(min(p.size, math.MaxInt))
	if p.table == nil {
		return size, size // what is taken of so many is nothing
	}
	return size, p.table.Unused() + len(p.idle)
}

func capped(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}
