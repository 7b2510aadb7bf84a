package sockets

import (
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
)

// Flow is what there is to know about a flow.
type Flow struct {
	Protocol uint8
	State    string
	Guest    netip.AddrPort // of ICMP and ICMPv6: the port is the identifier of the echo
	Remote   netip.AddrPort // whom the guest talks to
	Seen     netip.AddrPort // by what name: Remote, or a port of the gateway
	Local    netip.AddrPort // of the host's socket

	FromOutside    bool
	Packets, Bytes uint64
	Expires        int64 // in seconds; of a connection: 0
}

func (f *flow) status() Flow {
	v := Flow{
		Protocol: f.protocol, Guest: f.guest, Remote: f.peer, Seen: f.remote, Local: f.local, FromOutside: f.from == outside,
		Packets: f.packets.Load(), Bytes: f.bytes.Load(),
	}
	f.owner.describe(f, &v)
	return v
}

// Flows returns all flows. Each is as it was at one moment, not all at the same.
func (s *Sockets) Flows() []Flow {
	var all []Flow
	s.table.each(func(f *flow) bool {
		all = append(all, f.status())
		return false
	})
	return all
}

// Flush ends the flows that match, all where match is nil, and returns how many. Both
// sides of a connection get a RST, soon.
func (s *Sockets) Flush(match func(*Flow) bool) int {
	n := 0
	s.table.each(func(f *flow) bool {
		if match != nil {
			if v := f.status(); !match(&v) {
				return false
			}
		}
		n++
		return f.owner.end(f)
	})
	return n
}

// endForbidden ends flows to where guests may not go any more.
func (s *Sockets) endForbidden() {
	s.table.each(func(f *flow) bool { return f.from != outside && !s.mayReach(f.protocol, f.peer) && f.owner.end(f) })
}

// The protocols that have flows, as indices.
const (
	slotTCP = iota
	slotUDP
	slotICMP

	slots
)

func slotOf(protocol uint8) int {
	switch protocol {
	case frame.ProtoTCP:
		return slotTCP
	case frame.ProtoUDP:
		return slotUDP
	}
	return slotICMP
}

type counters struct {
	made, expired [slots]atomic.Uint64
	refused       [numReasons]atomic.Uint64
	filtered, bad atomic.Uint64

	told [numReasons]uint64 // what complain has told of; for one goroutine
}

// Stats are counters since New, but for Flows and Mappings, which are of now.
type Stats struct {
	TCP, UDP, ICMP ProtocolStats
	Mappings       int                // sockets for UDP and echo
	Refused        [numReasons]uint64 // flows that were not made, by Reason
	Filtered       uint64             // datagrams of peers that may not send
	Bad            uint64             // packets of guests that are damaged
}

// ProtocolStats are those of one protocol.
type ProtocolStats struct {
	Flows         int
	Made, Expired uint64
}

// Stats returns the counters.
func (s *Sockets) Stats() Stats {
	t := &s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	of := func(slot int) ProtocolStats {
		return ProtocolStats{t.now[slot], s.counters.made[slot].Load(), s.counters.expired[slot].Load()}
	}
	v := Stats{
		TCP: of(slotTCP), UDP: of(slotUDP), ICMP: of(slotICMP), Mappings: len(t.mappings),
		Filtered: s.counters.filtered.Load(), Bad: s.counters.bad.Load(),
	}
	for r := range v.Refused {
		v.Refused[r] = s.counters.refused[r].Load()
	}
	return v
}

// Reasons lists those of Stats.Refused.
func Reasons() []Reason {
	all := make([]Reason, numReasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// complain says in the log that something has run out. It is called once a second.
// What guests may not do is no reason to.
func (s *Sockets) complain() {
	var what []string
	for r := range Prohibited {
		if n := s.counters.refused[r].Load(); n != s.counters.told[r] {
			s.counters.told[r] = n
			what = append(what, r.String())
		}
	}
	if len(what) > 0 {
		s.log.Warn("new flows are refused", "gateway", s.gateway.String(), "reason", strings.Join(what, ","))
	}
}
