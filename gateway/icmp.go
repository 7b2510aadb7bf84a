package gateway

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
)

// ICMP errors (RFC 792).
const (
	unreachable  = 3
	timeExceeded = 11

	noNetwork = 0 // codes of unreachable
	noHost    = 1

	// errorLen bounds an error message with its IP header, in bytes (RFC 1812
	// clause 4.3.2.3).
	errorLen = 576
)

// refuse tells the sender of a packet that the gateway does not pass it on. The
// dataplane has limited how often.
func (g *Gateway) refuse(f *frame.Frame, p *frame.Parsed) {
	b := f.Bytes()
	src, dst := addr4(b[p.L3+12:]), addr4(b[p.L3+16:])
	if !g.cfg.Address.Contains(src) || src == g.cfg.Address.Addr() || p.FragOffset != 0 || isError(b, p) {
		return // RFC 1122 clause 3.2.2
	}
	kind, code := byte(unreachable), byte(noNetwork)
	switch {
	case b[p.L3+8] <= 1:
		kind = timeExceeded
	case g.cfg.Address.Contains(dst):
		code = noHost
	}
	quoted := b[p.L3:min(p.End, p.L3+errorLen-ipLen-icmpLen)]
	out := g.ipFrame(f.Src(), frame.ProtoICMP, src, icmpLen+len(quoted))
	icmp := out[frame.Headroom+frame.HeaderLen+ipLen:]
	icmp[0], icmp[1] = kind, code
	copy(icmp[icmpLen:], quoted)
	binary.BigEndian.PutUint16(icmp[2:], frame.Checksum(icmp, 0))
	g.send(framed(out))
}

// isError reports whether a packet is an ICMP error, or may be one: none is sent
// about those.
func isError(b []byte, p *frame.Parsed) bool {
	if p.Protocol != frame.ProtoICMP {
		return false
	}
	const echoReply, echo = 0, 8
	return p.Layer < frame.LayerTransport || b[p.L4] != echo && b[p.L4] != echoReply
}
