package snooping

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Stats counts what a Snooper knows, and what it did since New.
type Stats struct {
	Groups      int // now, at most MaxGroups
	Memberships int // now: the ports of each group, added up

	Queries uint64 // received, from others
	Reports uint64 // received, leaves included
	Sent    uint64 // queries of this querier
	Refused uint64 // joins, and messages of VLANs, that found no room
}

// Group is a group that hosts have joined, for people to read.
type Group struct {
	VLAN    uint16
	Addr    netip.Addr
	Version uint8         // of IGMP or MLD: the lowest among the last reports of its ports
	Ports   []uint16      // in order
	Expires time.Duration // until its last member goes, unless that reports again
}

// Status is how a VLAN is asked for its groups over one version of IP.
type Status struct {
	VLAN    uint16
	Family  Family
	Querier netip.Addr // in charge; the zero Addr where none is
	Own     bool       // it is this one

	// Restricted: frames to groups go to their members only.
	Restricted bool

	Routers []uint16 // router ports, in order
	Open    []uint16 // ports that get all groups: just added, or Refused
}

// Stats returns the counters.
func (s *Snooper) Stats() Stats { return s.stats }

// Groups returns all groups that have members, by VLAN and address. The caller
// owns the result.
func (s *Snooper) Groups() []Group {
	var all []Group
	for _, shard := range s.groups {
		for _, g := range shard {
			all = append(all, s.describe(g))
		}
	}
	slices.SortFunc(all, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.VLAN, b.VLAN), a.Addr.Compare(b.Addr))
	})
	return all
}

func (s *Snooper) describe(g *group) Group {
	out := Group{VLAN: g.vlan, Addr: addrOf(g.group)}
	for port, m := range g.members {
		out.Ports = append(out.Ports, port)
		out.Expires = max(out.Expires, m.expires-s.now)
		if out.Version == 0 || m.version < out.Version {
			out.Version = m.version
		}
	}
	slices.Sort(out.Ports)
	return out
}

// Status returns how each VLAN is asked where anything was heard, or SetVLANs
// wants queries, by VLAN and version of IP. The caller owns the result.
func (s *Snooper) Status() []Status {
	var all []Status
	for _, d := range s.domains {
		st := Status{
			VLAN: d.vlan, Family: d.family, Own: s.querying(d), Restricted: d.restrict,
			Routers: slices.Sorted(maps.Keys(d.routers)),
			Open:    slices.Sorted(maps.Keys(d.open)),
		}
		switch {
		case st.Own && d.family == IPv6:
			st.Querier = netip.AddrFrom16(s.self)
		case !st.Own && d.elected.present():
			st.Querier = addrOf(d.elected.addr)
		case st.Own || d.proxy.present():
			st.Querier = netip.IPv4Unspecified()
		}
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.VLAN, b.VLAN), cmp.Compare(a.Family, b.Family))
	})
	return all
}

// addrOf returns an address in the form that people know.
func addrOf(a [16]byte) netip.Addr { return netip.AddrFrom16(a).Unmap() }
