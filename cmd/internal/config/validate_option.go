package config

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/weft/weft/dhcp/option"
)

// Options of which more can be said than that they are well-formed.
const (
	mtuOption    = 26
	vendorOption = 43
	ownOptions   = 224 // and above are everybody's own (RFC 3942 section 2)
)

// nearOption returns what to append to the message about a name that no option has.
func nearOption(key string) string {
	name := strings.ToLower(strings.TrimSpace(key))
	name = strings.TrimSpace(strings.TrimPrefix(name, "option:"))
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return ""
	}
	var known []string
	for code := 1; code < 255; code++ {
		n := option.Name(uint8(code))
		if strings.EqualFold(n, name) {
			return "" // it is known, and something else is wrong
		}
		if n != "" {
			known = append(known, n)
		}
	}
	near := nearest(name, known)
	for i := 0; near == "" && i < len(known); i++ {
		if strings.HasPrefix(known[i], name+"-") { // "ntp"
			near = known[i]
		}
	}
	if near == "" {
		return ""
	}
	return "; did you mean " + quoted(near) + "?"
}

// badOption says why the value of an option would break its clients, else empty.
func badOption(o option.Option, value string) string {
	switch {
	case o.Code == mtuOption && len(o.Data) == 2 && binary.BigEndian.Uint16(o.Data) < minMTU:
		return "is less than any IPv4 interface has (RFC 2132 section 5.1): give " + strconv.Itoa(minMTU) + " at least"
	case (o.Code == vendorOption || o.Code >= ownOptions) && string(o.Data) == strings.TrimSpace(value) && nearlyHex(value):
		return quoted(value) + ` has parts that are no bytes in hex, such as 01:02:ff: mend it, or put it in double quotes if it is text`
	}
	return ""
}

// nearlyHex reports whether a text has the form of bytes with colons between them.
func nearlyHex(s string) bool {
	parts := strings.Split(strings.TrimSpace(s), ":")
	for _, p := range parts {
		if p == "" || len(p) > 2 {
			return false
		}
	}
	return len(parts) > 1
}
