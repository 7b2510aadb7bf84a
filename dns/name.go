package dns

import (
	"net/netip"
	"strconv"
	"strings"

	wire "github.com/miekg/dns"
)

const (
	maxName   = 255 // bytes in wire form (RFC 1035 clause 2.3.4)
	maxLabel  = 63
	maxLabels = 127 // of one byte each
)

// Names are kept in wire form and lower case: labels with their lengths in
// front, and a last one of length 0.
const (
	rootName = "\x00"
	arpa4    = "\x07in-addr\x04arpa\x00"
	arpa6    = "\x03ip6\x04arpa\x00"
)

// wireName turns a name as it is written into wire form; not ok where it is
// empty, too long or has signs that belong in no name. A dot at the end says
// nothing, "." is the root.
func wireName(text string) (name string, ok bool) {
	if text == "." {
		return rootName, true
	}
	text = strings.TrimSuffix(text, ".")
	b := make([]byte, 0, len(text)+2)
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > maxLabel {
			return "", false
		}
		b = append(b, byte(len(label)))
		for i := range len(label) {
			c := lower(label[i])
			if c <= ' ' || c >= 0x7f || c == '\\' {
				return "", false
			}
			b = append(b, c)
		}
	}
	b = append(b, 0)
	return string(b), len(b) <= maxName
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// parent returns a name without its first label; the root has none.
func parent(name string) (string, bool) {
	if name == rootName {
		return "", false
	}
	return name[1+int(name[0]):], true
}

func countLabels(name string) int {
	n := 0
	for ok := name != rootName; ok && name != rootName; n++ {
		name, ok = parent(name)
	}
	return n
}

// hostLabel reports whether b may be the name of a host (RFC 1123 clause 2.1, and
// "_", which many have in it):
// anything else names no lease, so nobody need be asked about it.
func hostLabel(b []byte) bool {
	for _, c := range b {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return len(b) > 0 && len(b) <= maxLabel
}

// reverseName is where the name of an address stands (RFC 1035 clause 3.5, RFC
// 3596 clause 2.5).
func reverseName(addr netip.Addr) string {
	var b []byte
	if addr.Is4() {
		octets := addr.As4()
		for i := 3; i >= 0; i-- {
			text := strconv.Itoa(int(octets[i]))
			b = append(b, byte(len(text)))
			b = append(b, text...)
		}
		return string(b) + arpa4
	}
	const hex = "0123456789abcdef"
	octets := addr.As16()
	for i := 15; i >= 0; i-- {
		b = append(b, 1, hex[octets[i]&15], 1, hex[octets[i]>>4])
	}
	return string(b) + arpa6
}

// reverse reads the address, or the first bits of one, that a name below
// in-addr.arpa or ip6.arpa is about.
func (q *query) reverse() (netip.Prefix, bool) {
	name := q.key()
	n := q.labels - 2 // without in-addr.arpa
	if n < 1 {
		return netip.Prefix{}, false
	}
	tail := name[q.starts[n]:]
	switch {
	case string(tail) == arpa4 && n <= 4:
		var b [4]byte
		for i := range n {
			v, ok := octet(q.label(i))
			if !ok {
				return netip.Prefix{}, false
			}
			b[n-1-i] = v
		}
		return netip.PrefixFrom(netip.AddrFrom4(b), 8*n), true
	case string(tail) == arpa6 && n <= 32:
		var b [16]byte
		for i := range n {
			v, ok := nibble(q.label(i))
			if !ok {
				return netip.Prefix{}, false
			}
			at := n - 1 - i
			b[at/2] |= v << (4 * (1 - at%2))
		}
		return netip.PrefixFrom(netip.AddrFrom16(b), 4*n), true
	}
	return netip.Prefix{}, false
}

// octet reads a decimal number below 256 as reverse names write it: without
// leading zeros, so each address has one name.
func octet(label []byte) (byte, bool) {
	if len(label) == 0 || len(label) > 3 || label[0] == '0' && len(label) > 1 {
		return 0, false
	}
	v := 0
	for _, c := range label {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = 10*v + int(c-'0')
	}
	return byte(v), v < 256
}

func nibble(label []byte) (byte, bool) {
	if len(label) != 1 {
		return 0, false
	}
	switch c := label[0]; {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// displayName is a name in wire form as it is written in messages.
func displayName(name string) string {
	text, _, err := wire.UnpackDomainName([]byte(name), 0)
	if err != nil {
		return strconv.Quote(name)
	}
	return strings.TrimSuffix(text, ".")
}
