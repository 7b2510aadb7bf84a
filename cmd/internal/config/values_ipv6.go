package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Words for what is no number in a file.
const (
	autoText = "auto"
	noneText = "none"
)

// lifetimes are those of prefixes, which may be zero.
func lifetimes() form[time.Duration] {
	return form[time.Duration]{parse: parseLifetime, write: formatLifetime, bare: true}
}

func parseLifetime(s string) (time.Duration, error) {
	if s == "0" || s == "0s" {
		return 0, nil
	}
	return ParseLease(s)
}

func formatLifetime(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	return FormatLease(d)
}

// routerLifetimes have LifetimeAuto too.
func routerLifetimes() form[time.Duration] {
	parse := func(s string) (time.Duration, error) {
		if s == autoText {
			return LifetimeAuto, nil
		}
		d, err := parseDuration(s)
		if err == nil && d < 0 {
			err = fmt.Errorf("%v is out of range: give %s, or auto", d, routerLifetime)
		}
		return d, err
	}
	write := func(d time.Duration) string {
		if d < 0 {
			return autoText
		}
		return formatLifetime(d)
	}
	return form[time.Duration]{parse: parse, write: write, bare: true}
}

// advertisedMTUs have MTUAuto and MTUNone.
func advertisedMTUs() form[int] {
	parse := func(s string) (int, error) {
		switch s {
		case autoText:
			return MTUAuto, nil
		case noneText:
			return MTUNone, nil
		}
		v, err := parseInt(s)
		if err == nil && v < minMTU6 {
			err = fmt.Errorf("%d is less than IPv6 needs (RFC 8200 section 5): give %d at least, or auto, or none", v, minMTU6)
		}
		return v, err
	}
	write := func(v int) string {
		switch v {
		case MTUAuto:
			return autoText
		case MTUNone:
			return noneText
		}
		return strconv.Itoa(v)
	}
	return form[int]{parse: parse, write: write, bare: true}
}

// duids are written in hex only: their type is two bytes that are no letters.
func duids() form[[]byte] {
	return form[[]byte]{parse: ParseDUID, write: FormatDUID}
}

// ParseDUID reads the DUID of a DHCPv6 client as a file has it: bytes in hex with
// colons between them, its type first.
func ParseDUID(s string) ([]byte, error) {
	b, ok := hexBytes(s)
	if !ok {
		return nil, fmt.Errorf("%s is not a DUID: write its bytes in hex, such as 00:03:00:01:02:00:00:00:00:01", quoted(s))
	}
	return b, badDUID(b)
}

// badDUID wants a type and an identifier of 1-128 bytes (RFC 8415 section 11.1).
func badDUID(b []byte) error {
	if len(b) < minDUID || len(b) > maxDUID {
		return fmt.Errorf("has %d bytes: give %d-%d, of which the first two are the type", len(b), minDUID, maxDUID)
	}
	return nil
}

// FormatDUID returns what ParseDUID takes; nothing for no bytes.
func FormatDUID(id []byte) string { return strings.ReplaceAll(fmt.Sprintf("% x", id), " ", ":") }
