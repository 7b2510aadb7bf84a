package snooping

import (
	"encoding/binary"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// Types of ICMPv6 messages (RFC 3810 clause 5, RFC 4286 clause 7).
const (
	mldQuery         = 130
	mldReport1       = 131
	mldDone          = 132
	mldReport2       = 143
	mldAdvertisement = 151
)

const (
	ipv6Len      = 40 // of the header
	mldMinLen    = 8
	mldLen       = 24 // of MLDv1 messages
	mldQuery2Len = 28

	optionPad1    = 0
	optionAlert   = 5  // RFC 2711 clause 2.1
	maxOptions    = 16 // read in search of it
	alertIsForMLD = 0
)

var (
	allNodes      = [16]byte{0: 0xff, 1: 0x02, 15: 0x01}
	allPIMRouters = [16]byte{0: 0xff, 1: 0x02, 15: 0x0d}
	allSnoopers6  = [16]byte{0: 0xff, 1: 0x02, 15: 0x6a} // RFC 4286 clause 2
)

func isMLD(kind byte) bool {
	switch kind {
	case mldQuery, mldReport1, mldDone, mldReport2, mldAdvertisement:
		return true
	}
	return false
}

func (m *message) decodeIPv6(f *frame.Frame) Kind {
	ip := f.Bytes()[frame.HeaderLen:]
	if len(ip) < ipv6Len || ip[0]>>4 != 6 || ip[6] == frame.ProtoUDP || ip[6] == frame.ProtoTCP {
		return None
	}
	var p frame.Parsed
	p.Parse(f)
	if p.Layer < frame.LayerNetwork {
		return cutShort(ip)
	}
	body := f.Bytes()[p.L4:p.End]
	m.family, m.source = IPv6, p.Src()
	pseudo := frame.PseudoHeader(ip[8:24], ip[24:40], p.Protocol, len(body))
	if p.Protocol == protoPIM && !p.IsFragment() && isLinkLocal(ip[8:24]) {
		return m.pim(f, ip[7], body, pseudo, p.Dst() == allPIMRouters)
	}
	// A later fragment begins with data of whatever kind.
	if p.Protocol != frame.ProtoICMPv6 || p.FragOffset != 0 || len(body) == 0 || !isMLD(body[0]) {
		return None
	}
	if p.IsFragment() || f.Offload.IsSuper() || len(body) < mldMinLen || ip[7] != 1 ||
		ip[24] != 0xff || !hasAlert(ip) || !complete(f) && frame.Checksum(body, pseudo) != 0 {
		return Malformed
	}
	if !isLinkLocal(ip[8:24]) && (!m.unspecified() || !mayBeUnspecified(body[0])) {
		return Malformed
	}
	return m.mld(body, p.Dst())
}

// cutShort says what a packet is whose length is beyond its frame's end.
func cutShort(ip []byte) Kind {
	const icmp = ipv6Len + 8 // behind a hop-by-hop header of the usual length
	if len(ip) > icmp && ip[6] == frame.ExtHopByHop && ip[ipv6Len] == frame.ProtoICMPv6 && isMLD(ip[icmp]) {
		return Malformed
	}
	return None
}

// isLinkLocal reports whether b starts with fe80::/10.
func isLinkLocal(b []byte) bool { return b[0] == 0xfe && b[1]&0xc0 == 0x80 }

// mayBeUnspecified reports whether a message may come from a host that has no
// address yet (RFC 3590 clause 4).
func mayBeUnspecified(kind byte) bool {
	return kind == mldReport1 || kind == mldDone || kind == mldReport2
}

// hasAlert reports whether a packet has a hop-by-hop header with the router
// alert that every MLD message carries.
func hasAlert(ip []byte) bool {
	if ip[6] != frame.ExtHopByHop || len(ip) < ipv6Len+8 {
		return false
	}
	length := 8 * (int(ip[ipv6Len+1]) + 1)
	if len(ip) < ipv6Len+length {
		return false
	}
	options := ip[ipv6Len+2 : ipv6Len+length]
	for range maxOptions {
		if len(options) > 0 && options[0] == optionPad1 {
			options = options[1:]
			continue
		}
		if len(options) < 2 || len(options) < 2+int(options[1]) {
			return false
		}
		if options[0] == optionAlert {
			return options[1] == 2 && binary.BigEndian.Uint16(options[2:]) == alertIsForMLD
		}
		options = options[2+int(options[1]):]
	}
	return false
}

// mld reads a message of one of the types above, of at least mldMinLen bytes.
func (m *message) mld(b []byte, dst [16]byte) Kind {
	kind := Malformed
	switch b[0] {
	case mldQuery:
		if m.mldQuery(b) && (!m.general() || dst == allNodes) {
			kind = Querier
		}
	case mldReport1, mldDone:
		m.version, m.leave = 1, b[0] == mldDone
		if len(b) >= mldLen && m.takeGroup(b[8:24]) {
			kind = Report
		}
	case mldReport2:
		if m.takeRecords(b) {
			kind = Report
		}
	case mldAdvertisement:
		if dst == allSnoopers6 {
			kind = Router
		}
	}
	return kind
}

// mldQuery tells the versions apart by length (RFC 3810 clause 8.1).
func (m *message) mldQuery(b []byte) bool {
	if len(b) != mldLen && len(b) < mldQuery2Len {
		return false
	}
	code := uint(binary.BigEndian.Uint16(b[4:6]))
	if len(b) == mldLen {
		m.version, m.response = 1, time.Duration(code)*time.Millisecond
	} else {
		m.version, m.response = 2, time.Duration(expand(code, 16))*time.Millisecond
		if !m.takeQuery(b[24:]) {
			return false
		}
	}
	return m.takeGroup(b[8:24]) || m.general()
}
