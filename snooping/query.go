package snooping

import (
	"encoding/binary"
	"math/bits"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// minFrame is the shortest frame on the wire without its check sequence
// (IEEE 802.3 clause 4A.4.2).
const minFrame = 60

// general is a query for all groups of a domain.
func (s *Snooper) general(d *domain, port int) Query {
	return s.newQuery(d.domainKey, port, [16]byte{}, s.response())
}

// specific is a query for one group.
func (s *Snooper) specific(g *group, port int) Query {
	return s.newQuery(g.domain.domainKey, port, g.group, lastMemberResponse)
}

// newQuery makes a query in the format of IGMPv3 or MLDv2, which hosts of older
// versions take for one of their own (RFC 3376 clause 7.2.1, RFC 3810 clause
// 8.2.1). group is zero in a general query.
func (s *Snooper) newQuery(k domainKey, port int, group [16]byte, response time.Duration) Query {
	b := make([]byte, 0, 96)
	if k.family == IPv4 {
		b = s.appendIGMP(b, group, response)
	} else {
		b = s.appendMLD(b, group, response)
	}
	for len(b) < minFrame {
		b = append(b, 0)
	}
	return Query{VLAN: k.vlan, Port: port, Frame: b}
}

func (s *Snooper) appendIGMP(b []byte, group [16]byte, response time.Duration) []byte {
	const length = 24 + igmpQuery3Len
	dst := [4]byte(group[12:])
	if dst == [4]byte{} {
		dst = allSystems
	}
	b = append(b, 0x01, 0x00, 0x5e, dst[1]&0x7f, dst[2], dst[3])
	b = append(b, s.cfg.Address[:]...)
	b = binary.BigEndian.AppendUint16(b, frame.TypeIPv4)
	ip := len(b)
	// Precedence internetwork control, TTL 1, router alert (RFC 3376 clause 4),
	// from 0.0.0.0.
	b = append(b, 0x46, 0xc0, 0, length, 0, 0, 0, 0, 1, protoIGMP, 0, 0)
	b = append(b, 0, 0, 0, 0)
	b = append(b, dst[:]...)
	b = append(b, 148, 4, 0, 0)
	binary.BigEndian.PutUint16(b[ip+10:], frame.Checksum(b[ip:], 0))
	igmp := len(b)
	b = append(b, igmpQuery, compact(uint(response/igmpTime)), 0, 0)
	b = append(b, group[12:]...)
	b = append(b, robustness, s.intervalCode(), 0, 0)
	binary.BigEndian.PutUint16(b[igmp+2:], frame.Checksum(b[igmp:], 0))
	return b
}

func (s *Snooper) appendMLD(b []byte, group [16]byte, response time.Duration) []byte {
	dst := group
	if dst == [16]byte{} {
		dst = allNodes
	}
	b = append(b, 0x33, 0x33, dst[12], dst[13], dst[14], dst[15])
	b = append(b, s.cfg.Address[:]...)
	b = binary.BigEndian.AppendUint16(b, frame.TypeIPv6)
	b = append(b, 0x60, 0, 0, 0, 0, 8+mldQuery2Len, frame.ExtHopByHop, 1)
	b = append(b, s.self[:]...)
	b = append(b, dst[:]...)
	b = append(b, frame.ProtoICMPv6, 0, optionAlert, 2, 0, alertIsForMLD, 1, 0)
	icmp := len(b)
	b = append(b, mldQuery, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(response/time.Millisecond)) // below 1<<15: no float
	b = append(b, 0, 0)
	b = append(b, group[:]...)
	b = append(b, robustness, s.intervalCode(), 0, 0)
	pseudo := frame.PseudoHeader(s.self[:], dst[:], frame.ProtoICMPv6, mldQuery2Len)
	binary.BigEndian.PutUint16(b[icmp+2:], frame.Checksum(b[icmp:], pseudo))
	return b
}

// intervalCode is the query interval as queries have it, in seconds, rounded up:
// others go by it.
func (s *Snooper) intervalCode() byte {
	return compact(uint((s.cfg.Interval + time.Second - 1) / time.Second))
}

// compact is the inverse of expand for a byte: the least code that stands for v
// or more, or the largest.
func compact(v uint) byte {
	const mantissa, least = 4, 3 // bits, and the exponent that is written as 0
	if v < 0x80 {
		return byte(v)
	}
	exp := max(bits.Len(v)-mantissa-1, least)
	m := (v + 1<<exp - 1) >> exp
	if m == 2<<mantissa {
		m, exp = 1<<mantissa, exp+1
	}
	if exp > 7+least {
		return 0xff
	}
	return byte(0x80 | uint(exp-least)<<mantissa | m&(1<<mantissa-1))
}

// linkLocal returns the IPv6 address that belongs to a MAC address: fe80::/64
// and the modified EUI-64 (RFC 4291 appendix A).
func linkLocal(m frame.MAC) [16]byte {
	return [16]byte{
		0: 0xfe, 1: 0x80,
		8: m[0] ^ 0x02, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5],
	}
}
