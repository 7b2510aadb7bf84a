package snooping

import (
	"encoding/binary"
	"time"
)

// Types of IGMP messages (RFC 3376 clause 4, RFC 4286 clause 7).
const (
	igmpQuery         = 0x11
	igmpReport1       = 0x12
	igmpReport2       = 0x16
	igmpLeave         = 0x17
	igmpReport3       = 0x22
	igmpAdvertisement = 0x30
)

const (
	igmpQuery3Len = 12

	// igmpTime is the unit of an IGMP response time.
	igmpTime = 100 * time.Millisecond

	// igmp1Response is how long IGMPv1 hosts may take (RFC 2236 clause 4).
	igmp1Response = 10 * time.Second
)

var (
	allSystems  = [4]byte{224, 0, 0, 1}
	allSnoopers = [4]byte{224, 0, 0, 106} // RFC 4286 clause 2
)

func isIGMP(kind byte) bool {
	switch kind {
	case igmpQuery, igmpReport1, igmpReport2, igmpLeave, igmpReport3, igmpAdvertisement:
		return true
	}
	return false
}

// igmp reads a message of one of the types above, of at least igmpLen bytes.
func (m *message) igmp(b []byte, dst [4]byte) Kind {
	kind := Malformed
	switch b[0] {
	case igmpQuery:
		if m.igmpQuery(b) && (!m.general() || dst == allSystems) {
			kind = Querier
		}
	case igmpReport1, igmpReport2, igmpLeave:
		m.version, m.leave = 2, b[0] == igmpLeave
		if b[0] == igmpReport1 {
			m.version = 1
		}
		if m.takeGroup(b[4:8]) {
			kind = Report
		}
	case igmpReport3:
		if m.takeRecords(b) {
			kind = Report
		}
	case igmpAdvertisement:
		if dst == allSnoopers && !m.unspecified() {
			kind = Router
		}
	}
	return kind
}

// igmpQuery tells the versions apart by length and code (RFC 3376 clause 7.1).
func (m *message) igmpQuery(b []byte) bool {
	switch code := b[1]; {
	case len(b) == igmpLen && code == 0:
		m.version, m.response = 1, igmp1Response
	case len(b) == igmpLen:
		m.version, m.response = 2, time.Duration(code)*igmpTime
	case len(b) < igmpQuery3Len:
		return false
	default:
		m.version, m.response = 3, time.Duration(expand(uint(code), 8))*igmpTime
		if !m.takeQuery(b[8:]) {
			return false
		}
	}
	return m.takeGroup(b[4:8]) || m.general()
}

// Types of group records (RFC 3376 clause 4.2.12).
const (
	modeIsInclude   = 1
	modeIsExclude   = 2
	changeToInclude = 3
	changeToExclude = 4
	allowSources    = 5
	blockSources    = 6
)

// record is a group record of an IGMPv3 or MLDv2 report.
type record struct {
	kind    uint8
	sources int
	group   [16]byte
}

// joins reports whether the host listens to at least one source of the group.
func (r *record) joins() bool {
	switch r.kind {
	case modeIsExclude, changeToExclude:
		return true
	case modeIsInclude, changeToInclude, allowSources:
		return r.sources > 0
	}
	return false
}

// leaves reports whether the host may be listening to the group no more. After
// a block that is not certain without its source list: the specific query
// tells.
func (r *record) leaves() bool {
	switch r.kind {
	case modeIsInclude, changeToInclude:
		return r.sources == 0
	case blockSources:
		return r.sources > 0
	}
	return false
}

// takeRecords reads an IGMPv3 or MLDv2 report, which look the same but for the
// length of addresses, and verifies that all records are there. b has at least
// 8 bytes.
func (m *message) takeRecords(b []byte) bool {
	m.version = 3
	if m.family == IPv6 {
		m.version = 2
	}
	m.count, m.records = int(binary.BigEndian.Uint16(b[6:8])), b[8:]
	rest, ok := m.records, true
	for range m.count {
		if _, rest, ok = m.family.nextRecord(rest); !ok {
			return false
		}
	}
	return true
}

// nextRecord takes a record off b, its sources and auxiliary data included.
// Records of unknown type are read like others (RFC 3376 clause 4.2.12).
func (v Family) nextRecord(b []byte) (r record, rest []byte, ok bool) {
	size := v.addrLen()
	if len(b) < 4+size {
		return r, nil, false
	}
	r.kind, r.sources = b[0], int(binary.BigEndian.Uint16(b[2:4]))
	r.group = v.address(b[4:])
	length := 4 + size + r.sources*size + int(b[1])*4
	if length > len(b) || !v.isGroup(b[4:]) {
		return r, nil, false
	}
	return r, b[length:], true
}
