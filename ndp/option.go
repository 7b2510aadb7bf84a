package ndp

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
)

// Options (RFC 4861 clause 4.6, RFC 4191 clause 2.3, RFC 8106 clause 5). Their
// lengths are in units of 8 bytes.
const (
	optionSource = 1
	optionTarget = 2
	optionPrefix = 3
	optionMTU    = 5
	optionRoute  = 24
	optionDNS    = 25
	optionSearch = 31

	unit = 8
)

// validOptions reports whether options fill b to its end, each with a length that
// its type needs. A link-layer address is one of Ethernet.
func validOptions(b []byte) bool {
	for len(b) > 0 {
		if len(b) < unit || b[1] == 0 || int(b[1])*unit > len(b) || !validLen(b[0], int(b[1])) {
			return false
		}
		b = b[int(b[1])*unit:]
	}
	return true
}

// validLen checks the length of an option that is known here, in units.
func validLen(kind byte, units int) bool {
	switch kind {
	case optionSource, optionTarget, optionMTU:
		return units == 1
	case optionPrefix:
		return units == 4
	case optionRoute:
		return units <= 3
	case optionDNS:
		return units >= 3 && units%2 == 1
	case optionSearch:
		return units >= 2
	}
	return true
}

// option returns the first option of a type, nil where there is none. The options
// are valid.
func option(b []byte, kind byte) []byte {
	for len(b) > 0 {
		n := int(b[1]) * unit
		if b[0] == kind {
			return b[:n]
		}
		b = b[n:]
	}
	return nil
}

// linkLayer returns the MAC address in an option, zero where there is none, or one
// that no station has.
func linkLayer(options []byte, kind byte) (mac frame.MAC) {
	if o := option(options, kind); o != nil {
		copy(mac[:], o[2:])
	}
	if mac.IsGroup() {
		return frame.MAC{}
	}
	return mac
}

// appendLinkLayer adds the option with a MAC address, none for the zero one.
func appendLinkLayer(b []byte, kind byte, mac frame.MAC) []byte {
	if mac == (frame.MAC{}) {
		return b
	}
	return append(append(b, kind, 1), mac[:]...)
}

func uint32At(b []byte, at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
