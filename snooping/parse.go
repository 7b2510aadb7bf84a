package snooping

import (
	"encoding/binary"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// Kind is what a frame to a group address is to a snooping switch.
type Kind uint8

const (
	// None: nothing of IGMP or MLD that matters here. Forward it as data.
	None Kind = iota
	// Querier: a router or switch asks who listens. Flood it, and Receive it.
	Querier
	// Report: a host says that it listens, or no longer. Send it to router
	// ports only, and Receive it.
	Report
	// Router: a multicast router makes itself known, by a PIM hello (RFC 7761)
	// or an advertisement of RFC 4286. Forward it as data, and Receive it.
	Router
	// Malformed: it claims to be a query, a report or such an advertisement,
	// and is not fit to be one. Drop it.
	Malformed
)

// Family is a version of IP, and so one of IGMP and MLD.
type Family uint8

const (
	IPv4 Family = 4 // IGMP
	IPv6 Family = 6 // MLD
)

// familyCount is the number of values of Family.index.
const familyCount = 2

// index counts the families from 0.
func (v Family) index() int { return int(v-IPv4) / 2 }

// addrLen is the length of an address, in bytes.
func (v Family) addrLen() int {
	if v == IPv4 {
		return 4
	}
	return 16
}

const (
	protoIGMP = 2
	protoPIM  = 103

	// igmpLen is the length of IGMPv1 and v2 messages and the least of IGMPv3.
	igmpLen = 8

	// pimHello is version 2 and type 0 (RFC 7761 clause 4.9).
	pimHello  = 0x20
	pimMinLen = 4
)

// message is an IGMP or MLD message that was found to be well-formed. It refers
// to the frame's bytes. Addresses are in 16 bytes, IPv4 ones as ::ffff:a.b.c.d.
type message struct {
	family  Family
	version uint8 // of IGMP or MLD; 0 where the Kind is Router
	leave   bool  // an IGMPv2 leave or MLDv1 done
	source  [16]byte
	group   [16]byte // of a query, zero in a general one; of a v1 or v2 report

	// Of a query.
	response time.Duration // in which hosts answer
	interval time.Duration // between general queries, 0 where it does not say
	suppress bool          // routers are not to lower their timers
	sources  bool          // it asks for some sources only

	// Of an IGMPv3 or MLDv2 report.
	count   int
	records []byte
}

// Parse says what a frame to a group address is. It verifies what RFC 4541
// clause 2.1.1 wants verified before a switch acts on a message: both checksums,
// unless Offload says that the second is still to come, and all lengths; that it
// is no fragment and has not been forwarded (TTL 1); for MLD the source address,
// link-local or, in reports, unspecified (RFC 3590), and the router alert
// (RFC 3810 clause 6.2); and that groups are groups.
//
// A frame with a tag beside the outermost one is of a network inside this one,
// and None. Parse allocates nothing, and its work is bounded by the length of
// the frame.
func Parse(f *frame.Frame) Kind {
	var m message
	return m.decode(f)
}

// decode fills m, as far as the Kind promises.
func (m *message) decode(f *frame.Frame) Kind {
	if len(f.Bytes()) < frame.HeaderLen {
		return None
	}
	switch f.EtherType() {
	case frame.TypeIPv4:
		return m.decodeIPv4(f)
	case frame.TypeIPv6:
		return m.decodeIPv6(f)
	}
	return None
}

func (m *message) decodeIPv4(f *frame.Frame) Kind {
	ip := f.Bytes()[frame.HeaderLen:]
	if len(ip) < 20 || ip[0]>>4 != 4 || ip[9] != protoIGMP && ip[9] != protoPIM {
		return None
	}
	var p frame.Parsed
	p.Parse(f)
	sound := p.Layer >= frame.LayerNetwork && !p.IsFragment() && !f.Offload.IsSuper()
	if !sound || ip[16]>>4 != 0xe || ip[12] >= 224 || !intact(ip[:p.L4-p.L3]) {
		if ip[9] == protoPIM {
			return None // not ours to judge
		}
		return Malformed
	}
	m.family, m.source = IPv4, p.Src()
	body := f.Bytes()[p.L4:p.End]
	if ip[9] == protoPIM {
		return m.pim(f, ip[8], body, 0, [4]byte(ip[16:20]) == [4]byte{224, 0, 0, 13})
	}
	if len(body) < igmpLen {
		return Malformed
	}
	if !isIGMP(body[0]) {
		return None // DVMRP, mtrace: RFC 4541 clause 2.1.1 has them flooded
	}
	if ip[8] != 1 || !complete(f) && !intact(body) {
		return Malformed
	}
	return m.igmp(body, [4]byte(ip[16:20]))
}

// intact reports whether a header or message agrees with the checksum in it.
func intact(b []byte) bool { return frame.Checksum(b, 0) == 0 }

// complete reports whether f's checksum needs no verification, as it is only
// completed on the way out.
func complete(f *frame.Frame) bool { return f.Offload.Flags&frame.NeedsChecksum != 0 }

// pim tells a hello of a router from other PIM. A broken one is PIM's affair.
func (m *message) pim(f *frame.Frame, ttl byte, body []byte, pseudo uint64, toRouters bool) Kind {
	if !toRouters || ttl != 1 || len(body) < pimMinLen || body[0] != pimHello ||
		m.unspecified() || !complete(f) && frame.Checksum(body, pseudo) != 0 {
		return None
	}
	return Router
}

// unspecified reports whether the message is from 0.0.0.0 or ::.
func (m *message) unspecified() bool {
	if m.family == IPv4 {
		return [4]byte(m.source[12:]) == [4]byte{}
	}
	return m.source == [16]byte{}
}

// general reports whether a query is for all groups.
func (m *message) general() bool { return m.group == [16]byte{} }

// address reads one of the family's addresses, the zero address as such.
func (v Family) address(b []byte) (a [16]byte) {
	if v == IPv6 {
		return [16]byte(b[:16])
	}
	if v4 := [4]byte(b[:4]); v4 != [4]byte{} {
		a[10], a[11] = 0xff, 0xff
		copy(a[12:], v4[:])
	}
	return a
}

// isGroup reports whether b starts with an address of many.
func (v Family) isGroup(b []byte) bool {
	if v == IPv4 {
		return b[0]>>4 == 0xe
	}
	return b[0] == 0xff
}

// takeGroup sets the group of a query or a v1 or v2 report.
func (m *message) takeGroup(b []byte) bool {
	m.group = m.family.address(b)
	return m.family.isGroup(b)
}

// takeQuery reads what follows the group in an IGMPv3 and MLDv2 query: flags and
// robustness, interval, number of sources (RFC 3376 clause 4.1, RFC 3810
// clause 5.1). It reports whether the sources are all there; more may follow.
func (m *message) takeQuery(b []byte) bool {
	count := int(binary.BigEndian.Uint16(b[2:4]))
	m.suppress, m.sources = b[0]&0x08 != 0, count != 0
	m.interval = time.Duration(expand(uint(b[1]), 8)) * time.Second
	return len(b)-4 >= count*m.family.addrLen()
}

// expand decodes a number of so many bits that is a float where its highest bit
// is set: 3 bits of exponent, the rest mantissa (RFC 3376 clause 4.1.1, RFC 3810
// clause 5.1.3).
func expand(code uint, bits int) uint {
	top := uint(1) << (bits - 1)
	if code < top {
		return code
	}
	mantissa := bits - 4
	one := uint(1) << mantissa
	return (code&(one-1) | one) << (code>>mantissa&7 + 3)
}
