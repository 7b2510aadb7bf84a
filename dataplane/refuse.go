package dataplane

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
)

// What the gateway says itself about packets that it does not pass on (RFC 792 and RFC
// 1812 clause 4.3, RFC 4443). Errors are few: each port has so many a second, and they
// may cost memory.

// refusal is an ICMP error, as both families have it.
type refusal struct {
	four, six icmpMessage
	mtu       uint32 // of the next hop, where that is the reason
}

type icmpMessage struct{ kind, code byte }

var (
	noNetwork    = refusal{four: icmpMessage{3, 0}, six: icmpMessage{1, 0}}
	noHost       = refusal{four: icmpMessage{3, 1}, six: icmpMessage{1, 3}}
	prohibited   = refusal{four: icmpMessage{3, 13}, six: icmpMessage{1, 1}}
	timeExceeded = refusal{four: icmpMessage{11, 0}, six: icmpMessage{3, 0}}
)

// tooBig says that a packet does not fit a link with this MTU: it needs fragmentation,
// which it does not allow (RFC 1191), or which is for its sender to do (RFC 8201).
func tooBig(mtu int) refusal {
	return refusal{four: icmpMessage{3, 4}, six: icmpMessage{2, 0}, mtu: uint32(min(mtu, 0xffff))}
}

// ICMP messages.
const (
	icmpLen         = 8
	icmpEchoReply   = 0
	icmpEcho        = 8
	icmpv6Echo      = 128
	icmpv6EchoReply = 129

	// errorLen and errorLen6 bound an error message with its IP header, in bytes (RFC
	// 1812 clause 4.3.2.3, RFC 4443 clause 2.4).
	errorLen  = 576
	errorLen6 = 1280

	defaultTTL = 64 // of what the gateway sends
)

// quote keeps the start of a packet that may have to be refused once it has been
// rewritten.
func (w *worker) quote(f *frame.Frame, p *frame.Parsed) {
	longest := errorLen - ipv4Len - icmpLen
	if p.IPVersion == 6 {
		longest = errorLen6 - ipv6Len - icmpLen
	}
	w.quoted = append(w.quoted[:0], f.Bytes()[p.L3:min(p.End, p.L3+longest)]...)
}

// refuse tells the sender of a packet why it is not passed on, where RFC 1122 clause
// 3.2.2 and RFC 4443 clause 2.4 allow it, and returns v. The sender of a packet that is
// translated already, and that was not quoted before, is not told: it would learn what
// is behind the uplink.
func (w *worker) refuse(s *snapshot, f *frame.Frame, p *frame.Parsed, e refusal, v Verdict) Verdict {
	g := s.gateway
	if !g.mayRefuse(p) || mayBeError(f, p) {
		return v
	}
	if len(w.quoted) == 0 && !w.changed {
		w.quote(f, p)
	}
	quoted := w.quoted
	if len(quoted) == 0 || p.IPVersion == 4 && binary.BigEndian.Uint32(quoted[16:]) == g.last ||
		!w.port.unroutable.take(w.network.sw.ticks(), 1) {
		return v
	}
	if p.IPVersion == 6 {
		w.back(s, g.error6(f.Src(), quoted, &e))
	} else {
		w.back(s, g.error4(f.Src(), quoted, &e))
	}
	return v
}

// mayRefuse reports whether the gateway has an address to say something about a packet
// from. Nothing is said about later fragments of IPv4.
func (g *gateway) mayRefuse(p *frame.Parsed) bool {
	if p.IPVersion == 6 {
		return len(g.six.own) > 0
	}
	return g.own.IsValid() && p.FragOffset == 0
}

// error4 makes an ICMP error about a packet, to its sender.
func (g *gateway) error4(to frame.MAC, quoted []byte, e *refusal) *frame.Frame {
	out := wrap(make([]byte, frame.Headroom+frame.HeaderLen+ipv4Len+icmpLen+len(quoted)))
	b := out.Bytes()
	out.SetAddresses(to, g.mac)
	binary.BigEndian.PutUint16(b[12:], frame.TypeIPv4)
	ip := b[frame.HeaderLen:]
	ip[0], ip[1] = 0x45, quoted[1]&^3 // the class of service; congestion was not here
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[8], ip[9] = defaultTTL, frame.ProtoICMP
	src := g.own.As4()
	copy(ip[12:], src[:])
	copy(ip[16:], quoted[12:16])
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:ipv4Len], 0))
	icmp := putError(ip[ipv4Len:], e.four, e.mtu, quoted)
	binary.BigEndian.PutUint16(icmp[2:], frame.Checksum(icmp, 0))
	return out
}

// error6 does the same for IPv6.
func (g *gateway) error6(to frame.MAC, quoted []byte, e *refusal) *frame.Frame {
	out := wrap(make([]byte, frame.Headroom+frame.HeaderLen+ipv6Len+icmpLen+len(quoted)))
	b := out.Bytes()
	out.SetAddresses(to, g.mac)
	binary.BigEndian.PutUint16(b[12:], frame.TypeIPv6)
	ip := b[frame.HeaderLen:]
	ip[0], ip[1] = 0x60|quoted[0]&0xf, quoted[1]&0xc0 // the class as above, in other places
	binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-ipv6Len))
	ip[6], ip[7] = frame.ProtoICMPv6, defaultTTL
	src := g.six.address().As16()
	copy(ip[8:], src[:])
	copy(ip[24:], quoted[8:24])
	icmp := putError(ip[ipv6Len:], e.six, e.mtu, quoted)
	sum := frame.PseudoHeader(ip[8:24], ip[24:40], frame.ProtoICMPv6, len(icmp))
	binary.BigEndian.PutUint16(icmp[2:], frame.Checksum(icmp, sum))
	return out
}

// putError fills in an ICMP error but for its checksum. The MTU is where both families
// have it: that of IPv4 in the lower half.
func putError(icmp []byte, m icmpMessage, mtu uint32, quoted []byte) []byte {
	icmp[0], icmp[1] = m.kind, m.code
	binary.BigEndian.PutUint32(icmp[4:], mtu)
	copy(icmp[icmpLen:], quoted)
	return icmp
}

// isICMP reports whether a packet is of its family's ICMP.
func isICMP(p *frame.Parsed) bool {
	if p.IPVersion == 6 {
		return p.Protocol == frame.ProtoICMPv6
	}
	return p.Protocol == frame.ProtoICMP
}

// echoRequest is the type of an echo request, in the family of a packet.
func echoRequest(p *frame.Parsed) byte {
	if p.IPVersion == 6 {
		return icmpv6Echo
	}
	return icmpEcho
}

// mayBeError reports whether a packet is an ICMP error or redirect, or may be one: none
// is sent about those.
func mayBeError(f *frame.Frame, p *frame.Parsed) bool {
	if !isICMP(p) {
		return false
	}
	if p.Layer < frame.LayerTransport {
		return p.IPVersion == 4 || p.FragOffset == 0
	}
	kind := f.Bytes()[p.L4]
	if p.IPVersion == 6 {
		return kind != icmpv6Echo && kind != icmpv6EchoReply
	}
	return kind != icmpEcho && kind != icmpEchoReply
}

// isEcho reports whether a packet is a whole echo request.
func isEcho(f *frame.Frame, p *frame.Parsed) bool {
	return isICMP(p) && p.Layer == frame.LayerTransport && !p.IsFragment() && f.Bytes()[p.L4] == echoRequest(p)
}

// answerEcho sends an echo request back as its reply (RFC 792, RFC 4443 clause 4.2).
func (w *worker) answerEcho(s *snapshot, f *frame.Frame, p *frame.Parsed) Verdict {
	if w.port.answers == nil || !w.port.answers.take(w.network.sw.ticks(), 1) {
		return ServiceFull
	}
	f.CompleteChecksum()
	b := f.Bytes()
	ip, icmp := b[p.L3:p.L4], b[p.L4:p.End]
	reply := byte(icmpEchoReply)
	if p.IPVersion == 6 {
		if len(ip) > ipv6Len {
			return NoService // what extensions say was for the way here
		}
		src, dst := [16]byte(ip[8:24]), [16]byte(ip[24:40])
		copy(ip[8:], dst[:])
		copy(ip[24:], src[:])
		ip[7], reply = defaultTTL, icmpv6EchoReply
	} else {
		src, dst := [4]byte(ip[12:16]), [4]byte(ip[16:20])
		copy(ip[12:], dst[:])
		copy(ip[16:], src[:])
		ip[8], ip[10], ip[11] = defaultTTL, 0, 0
		binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip, 0))
	}
	request := icmp[0]
	icmp[0] = reply
	sum := icmp[2:4]
	binary.BigEndian.PutUint16(sum, frame.UpdateChecksum16(binary.BigEndian.Uint16(sum), uint16(request)<<8, uint16(reply)<<8))
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
