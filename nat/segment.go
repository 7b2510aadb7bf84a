package nat

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
)

// TCP flags (RFC 9293 clause 3.1), beside tcpSYN.
const (
	tcpFIN = 0x01
	tcpRST = 0x04
	tcpACK = 0x10
	tcpURG = 0x20

	tcpOptionScale = 3
	tcpScaleLen    = 3

	// maxSegment is what is taken for the length of a segment of which only the
	// first fragment is there.
	maxSegment = 65535
)

// segment is what is looked at of a TCP packet.
type segment struct {
	seq, end, ack uint32 // end is seq and what it takes of the sequence space
	window        uint16
	flags         uint8
	scale         uint8
	hasScale      bool
}

// read fills s. p must have a transport header.
func (s *segment) read(f *frame.Frame, p *frame.Parsed) {
	h := f.Bytes()[p.L4:p.Payload]
	s.flags = h[tcpFlagsAt] & (tcpFIN | tcpSYN | tcpRST | tcpACK | tcpURG)
	s.seq, s.ack = binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
	s.window = binary.BigEndian.Uint16(h[14:])
	s.end = s.seq + uint32(p.End-p.Payload)
	if p.MoreFragments {
		s.end = s.seq + maxSegment
	}
	if s.flags&(tcpSYN|tcpFIN) == 0 {
		return
	}
	s.end++
	if s.flags&tcpSYN != 0 {
		s.readScale(h)
	}
}

// readScale looks for the window scale option (RFC 7323 clause 2.2).
func (s *segment) readScale(h []byte) {
	for at := tcpHeaderLen; at+1 < len(h) && h[at] != tcpOptionEnd; {
		if h[at] == tcpOptionNop {
			at++
			continue
		}
		length := int(h[at+1])
		if length < 2 || at+length > len(h) {
			return
		}
		if h[at] == tcpOptionScale && length == tcpScaleLen {
			s.scale, s.hasScale = min(h[at+2], maxScale), true
		}
		at += length
	}
}

// plausible reports whether a TCP may send these flags together (RFC 9293
// clause 3.10.7): every segment but a first SYN and some resets has an ACK.
func (s *segment) plausible() bool {
	switch s.flags &^ tcpURG {
	case tcpSYN:
		return true
	case tcpSYN | tcpACK, tcpRST, tcpRST | tcpACK:
		return s.flags&tcpURG == 0
	case tcpACK, tcpFIN | tcpACK:
		return true
	}
	return false
}

func (s *segment) has(flags uint8) bool { return s.flags&flags == flags }

// isOpening reports whether the segment is a first SYN.
func (s *segment) isOpening() bool { return s.flags&(tcpSYN|tcpACK) == tcpSYN }
