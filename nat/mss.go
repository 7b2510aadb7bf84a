package nat

import (
	"encoding/binary"
	"math/bits"

	"github.com/weft/weft/dataplane/frame"
)

// TCP (RFC 9293 clause 3.1): flags, and options.
const (
	tcpHeaderLen = 20
	tcpFlagsAt   = 13
	tcpCheckAt   = 16
	tcpSYN       = 0x02

	tcpOptionEnd = 0
	tcpOptionNop = 1
	tcpOptionMSS = 2

	tcpMSSLen = 4
)

// ClampMSS lowers the maximum segment size that the SYN in f announces to mss,
// in place and with its checksum, partial ones included. It returns whether it
// changed anything: packets that are no SYN, that announce none, or less, stay
// as they are. p is what Parse made of f.
//
// Every one of several MSS options is lowered: which one counts is up to the
// receiver.
func ClampMSS(f *frame.Frame, p *frame.Parsed, mss uint16) bool {
	if p.Layer < frame.LayerTransport || p.Protocol != frame.ProtoTCP {
		return false
	}
	h := f.Bytes()[p.L4:p.Payload]
	if h[tcpFlagsAt]&tcpSYN == 0 {
		return false
	}
	o := &f.Offload
	partial := o.Flags&frame.NeedsChecksum != 0 && int(o.CsumStart) == p.L4 && o.CsumOffset == tcpCheckAt
	changed := false
	for at := tcpHeaderLen; at+1 < len(h) && h[at] != tcpOptionEnd; {
		if h[at] == tcpOptionNop {
			at++
			continue
		}
		length := int(h[at+1])
		if length < 2 || at+length > len(h) {
			break
		}
		if h[at] == tcpOptionMSS && length == tcpMSSLen {
			changed = clampOption(h, at+2, mss, partial) || changed
		}
		at += length
	}
	return changed
}

// clampOption lowers the value at h[at:].
func clampOption(h []byte, at int, mss uint16, partial bool) bool {
	before := binary.BigEndian.Uint16(h[at:])
	if before <= mss {
		return false
	}
	binary.BigEndian.PutUint16(h[at:], mss)
	if partial {
		return true // summed by whoever completes it
	}
	after := mss
	if at%2 != 0 { // an option may start anywhere: then the bytes are halves of two words
		before, after = bits.ReverseBytes16(before), bits.ReverseBytes16(after)
	}
	check := binary.BigEndian.Uint16(h[tcpCheckAt:])
	binary.BigEndian.PutUint16(h[tcpCheckAt:], frame.UpdateChecksum16(check, before, after))
	return true
}
