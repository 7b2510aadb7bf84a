package dns

import (
	"net"
	"net/netip"

	wire "github.com/miekg/dns"
)

// local answers what is known here, and what is known not to exist. It returns
// nil for what somebody else has to be asked about.
//
// Static records come before leases, so no guest takes a name that is set.
func (s *snapshot) local(q *query, g *group) ([]byte, Outcome) {
	n := s.zone.names[string(q.key())]
	if n != nil {
		if set := n.find(q.kind); set != nil {
			b := append(q.begin(bitAA, 0, len(set.data)), set.data...)
			b = s.additional(q, b, set.targets)
			return q.finish(b, 0, set.count, 0), Local
		}
		if n.whole {
			return s.negative(q, g, 0), Local
		}
	}
	if b := s.lease(q, g); b != nil {
		return b, Local
	}
	rev, own := q.reverse()
	if own = own && s.subnetBits(rev) >= 0; own {
		if b := s.reverseLease(q, g, rev); b != nil {
			return b, Local
		}
	}
	apex := g.local && q.labels == g.labels // it exists, even with nothing below it
	switch {
	case apex && q.kind == wire.TypeSOA:
		return q.one(wire.TypeSOA, negativeTTL, s.zone.soa), Local
	case g.local || g.rest() && (own || s.plain(q)):
		if n != nil || apex || own && !rev.IsSingleIP() { // names are below those
			return s.negative(q, g, 0), Local
		}
		return s.negative(q, g, wire.RcodeNameError), NXDomain
	case q.kind == wire.TypeANY:
		return q.minimalANY(), Local
	}
	return nil, 0
}

// plain reports whether a query is for the address of a name without a dot, and
// such ones are not forwarded: it is a machine here or a slip, and nobody else's
// business. Other types of such names are asked of the root and the like.
func (s *snapshot) plain(q *query) bool {
	return q.labels == 1 && !s.forwardPlain && (q.kind == wire.TypeA || q.kind == wire.TypeAAAA)
}

// lease answers for the name of a lease, alone or with the domain: NODATA where it has
// addresses of the other family only.
func (s *snapshot) lease(q *query, g *group) []byte {
	addrs := s.leaseAddrs(q.key())
	if len(addrs) == 0 {
		return nil
	}
	kind := q.kind
	if kind == wire.TypeANY { // the first: RFC 8482 clause 4.1
		kind = addressType(addrs[0])
	}
	var b []byte
	var count uint16
	for _, a := range addrs {
		if addressType(a) != kind || count == maxAddresses {
			continue
		}
		if b == nil {
			b = q.begin(bitAA, 0, min(len(addrs), maxAddresses)*(2+fixedRR+net.IPv6len))
		}
		b, count = appendAddress(b, a), count+1
	}
	if count == 0 {
		return s.negative(q, g, 0)
	}
	return q.finish(b, 0, count, 0)
}

// addressType is the type of the record of an address.
func addressType(a netip.Addr) uint16 {
	if a.Unmap().Is4() {
		return wire.TypeA
	}
	return wire.TypeAAAA
}

// appendAddress adds the record of an address of a lease.
func appendAddress(b []byte, a netip.Addr) []byte {
	if a = a.Unmap(); a.Is4() {
		v4 := a.As4()
		return appendRecord(b, toQuestion, wire.TypeA, leaseTTL, v4[:])
	}
	v6 := a.As16()
	return appendRecord(b, toQuestion, wire.TypeAAAA, leaseTTL, v6[:])
}

// maxAddresses bounds those of one lease and one family that are told: more than any
// machine has use for, and no more than what fits into an answer without EDNS.
const maxAddresses = 8

// leaseAddrs are the addresses of the lease that a name in wire form belongs to.
func (s *snapshot) leaseAddrs(name []byte) []netip.Addr {
	label, rest := name[1:1+name[0]], name[1+name[0]:]
	if s.names == nil || !hostLabel(label) || string(rest) != rootName && string(rest) != s.domain {
		return nil
	}
	return s.names.Lookup(string(label))
}

// reverseLease answers for an address that a lease with a name holds. Where that
// name is a static one it leads elsewhere, and the lease has none.
func (s *snapshot) reverseLease(q *query, g *group, rev netip.Prefix) []byte {
	if s.names == nil || !rev.IsSingleIP() {
		return nil
	}
	name, ok := s.names.Reverse(rev.Addr())
	if !ok || name == "" {
		return nil
	}
	if s.domainText != "" {
		name += "." + s.domainText
	}
	target, ok := wireName(name)
	if n := s.zone.names[target]; !ok || n != nil && n.whole {
		return nil
	}
	if q.kind == wire.TypePTR || q.kind == wire.TypeANY {
		return q.one(wire.TypePTR, leaseTTL, []byte(target))
	}
	return s.negative(q, g, 0)
}

// one is a reply of one record.
func (q *query) one(kind uint16, ttl uint32, data []byte) []byte {
	b := appendRecord(q.begin(bitAA, 0, 2+fixedRR+len(data)), toQuestion, kind, ttl, data)
	return q.finish(b, 0, 1, 0)
}

// minimalANY answers for all types of a name that is not ours with a record
// that only says it is no answer (RFC 8482 clause 4.2): the full one would make
// the resolver an amplifier.
func (q *query) minimalANY() []byte {
	return q.one(wire.TypeHINFO, staticTTL, []byte("\x07RFC8482\x00"))
}

// negative is NODATA or NXDOMAIN, with the SOA record that says for how long (RFC
// 2308 clauses 2.1 and 2.2).
func (s *snapshot) negative(q *query, g *group, rcode int) []byte {
	b := q.begin(bitAA, rcode, 2+fixedRR+len(s.zone.soa))
	if at := s.apex(q, g); at == q.labels {
		b = appendAfterName(append(b, 0), wire.TypeSOA, negativeTTL, s.zone.soa)
	} else {
		b = appendRecord(b, toQuestion+uint16(q.starts[at]), wire.TypeSOA, negativeTTL, s.zone.soa)
	}
	return q.finish(b, rcode, 0, 1)
}

// apex is the label where the zone of a name that is answered here begins. The
// labels of all for the root: a name of one label is denied by nobody lower.
func (s *snapshot) apex(q *query, g *group) int {
	if g.local {
		return q.labels - g.labels
	}
	if rev, ok := q.reverse(); ok {
		if subnet := s.subnetBits(rev); subnet >= 0 {
			// Zones end at dots, subnets need not: the largest zone within the
			// subnet, or the one that a very small subnet lies in.
			label, most := 8, 24
			if rev.Addr().Is6() {
				label, most = 4, 124
			}
			return q.labels - 2 - (min(subnet, most)+label-1)/label
		}
	}
	if q.labels == 1 {
		return q.labels
	}
	return 0
}

// subnetBits is the length of the network's prefix that holds all the addresses
// of a reverse name; -1 where none does.
func (s *snapshot) subnetBits(rev netip.Prefix) int {
	for _, p := range s.subnets {
		if p.Bits() <= rev.Bits() && p.Contains(rev.Addr()) {
			return p.Bits()
		}
	}
	return -1
}
