package dataplane

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
)

// What the gateway says itself about packets that it does not pass on (RFC 792, RFC
// 1812 clause 4.3). Errors are few: each port has so many a second, and they may
// cost memory.

// refusal is an ICMP error.
type refusal struct {
	kind, code byte
	mtu        uint16 // of the next hop, where that is the reason
}

var (
	noNetwork    = refusal{kind: 3, code: 0}
	noHost       = refusal{kind: 3, code: 1}
	prohibited   = refusal{kind: 3, code: 13}
	timeExceeded = refusal{kind: 11, code: 0}
)

// tooBig says that a packet needs fragmentation for a link with this MTU, which it
// does not allow (RFC 1191).
func tooBig(mtu int) refusal { return refusal{kind: 3, code: 4, mtu: uint16(min(mtu, 0xffff))} }

// ICMP messages.
const (
	icmpLen       = 8
	icmpEchoReply = 0
	icmpEcho      = 8

	// errorLen bounds an error message with its IP header, in bytes (RFC 1812
	// clause 4.3.2.3).
	errorLen = 576

	defaultTTL = 64 // of what the gateway sends
)

// quote keeps the start of a packet that may have to be refused once it has been
// rewritten.
func (w *worker) quote(f *frame.Frame, p *frame.Parsed) {
	w.quoted = append(w.quoted[:0], f.Bytes()[p.L3:min(p.End, p.L3+errorLen-ipv4Len-icmpLen)]...)
}

// refuse tells the sender of a packet why it is not passed on, where RFC 1122 clause
// 3.2.2 allows it, and returns v. The sender of a packet that is translated already, and
// that was not quoted before, is not told: it would learn what is behind the uplink.
func (w *worker) refuse(s *snapshot, f *frame.Frame, p *frame.Parsed, e refusal, v Verdict) Verdict {
	g := s.gateway
	if !g.own.IsValid() || p.FragOffset != 0 || mayBeError(f, p) {
		return v
	}
	if len(w.quoted) == 0 && !w.changed {
		w.quote(f, p)
	}
	quoted := w.quoted
	if len(quoted) == 0 || binary.BigEndian.Uint32(quoted[16:]) == g.last || !w.port.unroutable.take(w.network.sw.ticks(), 1) {
		return v
	}
	b := make([]byte, frame.Headroom+frame.HeaderLen+ipv4Len+icmpLen+len(quoted))
	out := wrap(b)
	ip := g.putHeaders(out, f.Src(), [4]byte(quoted[12:16]))
	ip[1] = quoted[1] &^ 3 // the class of service; congestion was not here
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:ipv4Len], 0))
	icmp := ip[ipv4Len:]
	icmp[0], icmp[1] = e.kind, e.code
	binary.BigEndian.PutUint16(icmp[6:], e.mtu)
	copy(icmp[icmpLen:], quoted)
	binary.BigEndian.PutUint16(icmp[2:], frame.Checksum(icmp, 0))
	w.back(s, out)
	return v
}

// mayBeError reports whether a packet is an ICMP error, or may be one: none is sent
// about those.
func mayBeError(f *frame.Frame, p *frame.Parsed) bool {
	if p.Protocol != frame.ProtoICMP {
		return false
	}
	if p.Layer < frame.LayerTransport {
		return true
	}
	kind := f.Bytes()[p.L4]
	return kind != icmpEcho && kind != icmpEchoReply
}

// isEcho reports whether a packet is a whole echo request.
func isEcho(f *frame.Frame, p *frame.Parsed) bool {
	return p.Protocol == frame.ProtoICMP && p.Layer == frame.LayerTransport && !p.IsFragment() && f.Bytes()[p.L4] == icmpEcho
}

// answerEcho sends an echo request back as its reply (RFC 792).
func (w *worker) answerEcho(s *snapshot, f *frame.Frame, p *frame.Parsed) Verdict {
	if w.port.answers == nil || !w.port.answers.take(w.network.sw.ticks(), 1) {
		return ServiceFull
	}
	f.CompleteChecksum()
	b := f.Bytes()
	ip, icmp := b[p.L3:p.L4], b[p.L4:p.End]
	src, dst := [4]byte(ip[12:16]), [4]byte(ip[16:20])
	copy(ip[12:], dst[:])
	copy(ip[16:], src[:])
	ip[8], ip[10], ip[11] = defaultTTL, 0, 0
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip, 0))
	icmp[0] = icmpEchoReply
	sum := icmp[2:4]
	binary.BigEndian.PutUint16(sum, frame.UpdateChecksum16(binary.BigEndian.Uint16(sum), icmpEcho<<8, icmpEchoReply<<8))
	f.SetAddresses(f.Src(), s.gateway.mac)
	w.back(s, f)
	return Consumed
}

// back queues a frame for the port that the frame in hand has come from.
func (w *worker) back(s *snapshot, f *frame.Frame) {
	if s.vlans {
		w.forms.next()
	}
	f.Tag = frame.Tag{}
	if len(s.captures) != 0 {
		offer(s.captures, s.gateway.worker.port, Received, f, Forwarded)
	}
	w.egress(s, f, s.gateway.vlan, w.port.index)
	if s.vlans {
		w.forms.next()
	}
}

// putHeaders fills in the Ethernet and IPv4 headers of an ICMP message that the
// gateway sends, and returns the packet.
func (g *gateway) putHeaders(f *frame.Frame, to frame.MAC, dst [4]byte) []byte {
	b := f.Bytes()
	f.SetAddresses(to, g.mac)
	binary.BigEndian.PutUint16(b[12:], frame.TypeIPv4)
	ip := b[frame.HeaderLen:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[8], ip[9] = defaultTTL, frame.ProtoICMP
	src := g.own.As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:ipv4Len], 0))
	return ip
}
