package dns

import (
	"encoding/binary"

	wire "github.com/miekg/dns"
)

// additional adds the addresses of the hosts that an answer leads to, where they
// are known here (RFC 2782), so that nobody has to ask for them. What does not fit
// is left out, each type of a host as a whole: part of it would pass for all (RFC
// 2181 clause 9). Their names are written out: a client need not look for one in
// the data of another record.
func (s *snapshot) additional(q *query, b []byte, hosts []string) []byte {
	most := q.limit
	if q.edns {
		most -= optLen
	}
	var count uint16
	for _, host := range hosts {
		for _, kind := range [...]uint16{wire.TypeA, wire.TypeAAAA} {
			found := s.addresses(host, kind)
			if len(b)+len(found.data)+int(found.count)*(len(host)-2) > most {
				continue
			}
			for rest := found.data; len(rest) > 0; rest = rest[recordLen(rest):] {
				b = append(append(b, host...), rest[2:recordLen(rest)]...)
			}
			count += found.count
		}
	}
	binary.BigEndian.PutUint16(b[10:], count)
	return b
}

// addresses are those of a name in wire form, as queries for it would find them.
func (s *snapshot) addresses(host string, kind uint16) set {
	if n := s.zone.names[host]; n != nil {
		if found := n.find(kind); found != nil {
			return *found
		}
		if n.whole {
			return set{}
		}
	}
	var found set
	for _, a := range s.leaseAddrs([]byte(host)) {
		if addressType(a) == kind && found.count < maxAddresses {
			found.data, found.count = appendAddress(found.data, a), found.count+1
		}
	}
	return found
}
