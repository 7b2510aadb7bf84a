package lease

import (
	"bytes"
	"strings"
)

// MaxLabel is the longest part of a name, in bytes.
const MaxLabel = 63

// IsHostLabel reports whether a part of a host's name is one (RFC 1123 section
// 2.1), in lower case. An underscore may be in it, as machines have names with
// one and dnsmasq takes them; not at its beginning, where it is a service's.
func IsHostLabel(s string) bool {
	if s == "" || len(s) > MaxLabel || s[0] == '-' || s[0] == '_' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// IsBanned reports whether a name is one that programs look for without being asked
// to, and trust. Who answers to it gets the traffic of the others; it takes a
// reservation to have it.
func IsBanned(name string) bool {
	return name == "localhost" || name == "wpad" || name == "isatap"
}

// HostPart returns the host's own part, in lower case, of what a client calls
// itself; empty where that is no name. In wire form each part has its length in
// front.
func HostPart(raw []byte, wire bool) string {
	if wire && len(raw) > 0 {
		if n := int(raw[0]); n < len(raw) {
			raw = raw[1 : 1+n]
		}
	}
	label, _, _ := bytes.Cut(bytes.TrimRight(raw, "\x00"), []byte("."))
	if len(label) > MaxLabel {
		return ""
	}
	if name := strings.ToLower(string(label)); IsHostLabel(name) {
		return name
	}
	return ""
}

// FullName is a name with the domain, where there is one, in wire form.
func FullName(name, domain string) (wire []byte) {
	full := name
	if domain != "" {
		full += "." + domain
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(full, "."), ".") {
		wire = append(append(wire, byte(len(label))), label...)
	}
	return append(wire, 0)
}
