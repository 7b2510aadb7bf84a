package frame

// IPv6 extension headers with a length of their own (RFC 8200 clause 4,
// RFC 4302), the ones that ipv6_skip_exthdr (net/ipv6/exthdrs_core.c) knows.
const (
	ExtHopByHop    = 0
	ExtRouting     = 43
	ExtFragment    = 44
	ExtAuth        = 51
	ExtDestination = 60

	extMinLen = 8
)

// MaxExtensions is how many extension headers Parse walks over. A packet that keeps
// to RFC 8200 clause 4.1 has at most six before its transport header.
const MaxExtensions = 8

// IsExtension reports whether a next header is that of an extension header.
func IsExtension(protocol uint8) bool {
	switch protocol {
	case ExtHopByHop, ExtRouting, ExtFragment, ExtAuth, ExtDestination:
		return true
	}
	return false
}

// ExtensionLen returns the length in bytes of the extension header of a kind that b
// starts with. It is 0 for a kind that is none, and where b does not hold the header.
func ExtensionLen(kind uint8, b []byte) int {
	if len(b) < extMinLen {
		return 0
	}
	n := 0
	switch kind {
	case ExtHopByHop, ExtRouting, ExtDestination:
		n = (int(b[1]) + 1) * 8
	case ExtAuth:
		n = (int(b[1]) + 2) * 4
	case ExtFragment:
		n = extMinLen
	}
	if n > len(b) {
		return 0
	}
	return n
}
