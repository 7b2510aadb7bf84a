package dhcp

import (
	"maps"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// MessageKey is a kind of message and what became of it.
type MessageKey struct {
	Type    string // discover, request, decline, release, inform; other, or invalid where it could not be read
	Outcome string
}

// What becomes of messages.
const (
	outcomeOffer       = "offer"
	outcomeAck         = "ack"
	outcomeNak         = "nak"
	outcomeProbing     = "probing"      // repeated while its address is being probed
	outcomeConflict    = "conflict"     // all addresses that were probed are in use
	outcomeExhausted   = "exhausted"    // no address left, or the maximum of leases is reached
	outcomeLimited     = "limited"      // too much is kept for those behind its port already, or was sent to all because of them
	outcomeOtherServer = "other_server" // it is for another server
	outcomeUnknown     = "unknown"      // about a lease that is not known here: no answer
	outcomeIgnored     = "ignored"
	outcomeWrongSubnet = "wrong_subnet"
	outcomeMalformed   = "malformed"
	outcomeDeclined    = "quarantined"
	outcomeReleased    = "released"
	outcomeFailed      = "failed" // the lease could not be stored: no answer
)

func typeName(t dhcpv4.MessageType) string {
	switch t {
	case dhcpv4.MessageTypeDiscover:
		return "discover"
	case dhcpv4.MessageTypeRequest:
		return "request"
	case dhcpv4.MessageTypeDecline:
		return "decline"
	case dhcpv4.MessageTypeRelease:
		return "release"
	case dhcpv4.MessageTypeInform:
		return "inform"
	}
	return "other"
}

// Stats are a server's counters and sizes.
type Stats struct {
	Leases   map[State]int         // by state; every state is there
	Size     int                   // addresses in the ranges
	Free     int                   // of these, what a new client can get
	Messages map[MessageKey]uint64 // since New
}

// Stats returns what the server counts.
func (s *Server) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.engine
	st := Stats{
		Leases:   map[State]int{},
		Size:     e.pool.Size(),
		Free:     e.pool.Unused() + len(e.idle),
		Messages: maps.Clone(e.messages),
	}
	for state := Offered; state < Reserved; state++ {
		st.Leases[state] = e.count[state]
	}
	st.Leases[Reserved] = 0
	for _, h := range e.set.hosts {
		if !e.fulfilled(h) {
			st.Leases[Reserved]++
		}
	}
	return st
}
