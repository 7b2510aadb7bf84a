package nat

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
)

// family is that of an address. A table serves both alike: its keys have 16 bytes,
// an IPv4 address being ::ffff:a.b.c.d. So that no packet of one family can name
// what belongs to the other, an IPv6 packet that has such an address is refused.
type family uint8

const (
	ipv4 family = iota
	ipv6
	families
)

// bigWords returns an address as two numbers, as it is written.
func bigWords(a *[16]byte) (hi, lo uint64) {
	return binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
}

func familyOf(a *[16]byte) family {
	if hi, lo := bigWords(a); hi == 0 && lo>>32 == 0xffff {
		return ipv4
	}
	return ipv6
}

// ICMPv6 (RFC 4443): the types that are looked at. The checksum and the identifier
// of a query lie where ICMP has them.
const (
	icmp6Unreachable  = 1
	icmp6TooBig       = 2
	icmp6TimeExceeded = 3
	icmp6Parameter    = 4
	icmp6Echo         = 128
	icmp6EchoReply    = 129
	icmp6Redirect     = 137

	icmp6Informational = 128 // the first type that is no error
)

// isICMP reports whether a protocol is ICMP or ICMPv6.
func isICMP(protocol uint8) bool {
	return protocol == frame.ProtoICMP || protocol == frame.ProtoICMPv6
}

// isICMPQuery reports whether messages of this type have an identifier by which an
// answer finds the one who asked: echo, and of ICMP timestamp. RFC 6918 has
// deprecated the rest. Neighbour discovery and multicast listener discovery are
// between neighbours, and so never translated.
func isICMPQuery(protocol, kind uint8) bool {
	if protocol == frame.ProtoICMPv6 {
		return kind == icmp6Echo || kind == icmp6EchoReply
	}
	switch kind {
	case icmpEcho, icmpEchoReply, icmpTimestamp, icmpTimestampReply:
		return true
	}
	return false
}

// isQuestion reports whether a query is one, and not its answer.
func isQuestion(protocol, kind uint8) bool {
	if protocol == frame.ProtoICMPv6 {
		return kind == icmp6Echo
	}
	return kind == icmpEcho || kind == icmpTimestamp
}

// isICMPErrorType reports whether messages of this type are errors that are
// translated. An ICMP redirect is none: the router it names means nothing on the
// other side.
func isICMPErrorType(protocol, kind uint8) bool {
	if protocol == frame.ProtoICMPv6 {
		return kind >= icmp6Unreachable && kind <= icmp6Parameter
	}
	switch kind {
	case icmpUnreachable, icmpSourceQuench, icmpTimeExceeded, icmpParameter:
		return true
	}
	return false
}

// mayCauseError reports whether an error may be about a message of this type: not
// about another error (RFC 1122 clause 3.2.2), and not about a redirect (RFC 4443
// clause 2.4).
func mayCauseError(protocol, kind uint8) bool {
	if protocol == frame.ProtoICMPv6 {
		return kind >= icmp6Informational && kind != icmp6Redirect
	}
	return !isICMPErrorType(protocol, kind)
}
