package option

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parseValue reads a value whose outer blanks are cut off.
func parseValue(f format, value string) ([]byte, error) {
	if value == "" {
		return nil, errors.New("has no value")
	}
	switch f {
	case text:
		return parseText(value)
	case opaque:
		return parseOpaque(value)
	}
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	switch f {
	case addresses, pairs:
		return parseAddresses(parts, f == pairs)
	case numbers16:
		return parseEach(parts, func(data []byte, part string) ([]byte, error) { return parseOne(data, number16, part) })
	case labels:
		return parseNames(parts, false)
	case search:
		return parseNames(parts, true)
	case servers:
		return parseServers(parts)
	case routes:
		return parseRoutes(parts)
	}
	if len(parts) > 1 {
		return nil, fmt.Errorf("takes one value, not %d", len(parts))
	}
	return parseOne(nil, f, parts[0])
}

// parseOne reads a value of the kinds that an option has one of, and appends it.
func parseOne(data []byte, f format, part string) ([]byte, error) {
	switch f {
	case address:
		return parseAddress(data, part)
	case boolean:
		return parseBool(data, part)
	case number8:
		n, err := parseNumber(part, 0, math.MaxUint8)
		return append(data, byte(n)), err
	case number16:
		n, err := parseNumber(part, 0, math.MaxUint16)
		return binary.BigEndian.AppendUint16(data, uint16(n)), err
	case signed32:
		n, err := parseNumber(part, math.MinInt32, math.MaxInt32)
		return binary.BigEndian.AppendUint32(data, uint32(n)), err
	case seconds:
		n, err := parseSeconds(part)
		return binary.BigEndian.AppendUint32(data, n), err
	case domain:
		return append(data, part...), checkName(part)
	case label:
		return parseNames([]string{part}, false)
	}
	return nil, errors.New("has a format that is not known here")
}

func parseEach(parts []string, parse func([]byte, string) ([]byte, error)) (data []byte, err error) {
	for _, part := range parts {
		if data, err = parse(data, part); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func parseAddress(data []byte, part string) ([]byte, error) {
	addr, err := netip.ParseAddr(part)
	if err != nil || !addr.Is4() {
		return nil, fmt.Errorf("%q is not an IPv4 address", part)
	}
	return append(data, addr.AsSlice()...), nil
}

// parseAddresses reads addresses. Options of pairs have address and mask, or
// destination and router, in turn.
func parseAddresses(parts []string, paired bool) ([]byte, error) {
	if paired && len(parts)%2 != 0 {
		return nil, fmt.Errorf("takes addresses in pairs, not %d", len(parts))
	}
	return parseEach(parts, parseAddress)
}

func parseBool(data []byte, part string) ([]byte, error) {
	switch strings.ToLower(part) {
	case "true", "yes", "on", "1":
		return append(data, 1), nil
	case "false", "no", "off", "0":
		return append(data, 0), nil
	}
	return nil, fmt.Errorf("%q is neither true nor false", part)
}

func parseNumber(part string, low, high int64) (int64, error) {
	digits, base := part, 10
	if rest, ok := strings.CutPrefix(strings.ToLower(part), "0x"); ok {
		digits, base = rest, 16
	}
	n, err := strconv.ParseInt(digits, base, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%q is not a whole number from %d to %d", part, low, high)
	}
	return n, nil
}

// parseSeconds reads a time. 2^32-1 seconds is for ever (RFC 2131 section 3.3).
func parseSeconds(part string) (uint32, error) {
	if strings.EqualFold(part, "infinite") {
		return math.MaxUint32, nil
	}
	digits, unit := part, uint64(1)
	for _, u := range []struct {
		suffix string
		unit   uint64
	}{{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}} {
		if rest, ok := strings.CutSuffix(strings.ToLower(part), u.suffix); ok {
			digits, unit = rest, u.unit
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n*unit > math.MaxUint32 {
		return 0, fmt.Errorf("%q is not a time: seconds, or 90s, 5m, 12h, 7d, infinite", part)
	}
	return uint32(n * unit), nil
}

// parseText reads text: printable, in UTF-8, never with the NUL that ends a
// string for some clients (RFC 2132 section 2).
func parseText(value string) ([]byte, error) {
	if inner, ok := unquote(value); ok {
		value = inner
	}
	if value == "" {
		return nil, errors.New("has no value")
	}
	if !utf8.ValidString(value) {
		return nil, errors.New("is not text in UTF-8")
	}
	for _, r := range value {
		if r < ' ' || r == 0x7f {
			return nil, fmt.Errorf("has the control character %U in its text", r)
		}
	}
	return []byte(value), nil
}

// parseOpaque reads a value whose format is not known from what it looks like.
func parseOpaque(value string) ([]byte, error) {
	if _, ok := unquote(value); ok {
		return parseText(value)
	}
	if data, ok := parseHex(value); ok {
		return data, nil
	}
	if strings.HasPrefix(strings.ToLower(value), "0x") {
		return nil, fmt.Errorf("%q is not hex bytes: two digits for each; or text, in double quotes", value)
	}
	parts := strings.Split(value, ",")
	data, err := parseEach(parts, func(data []byte, part string) ([]byte, error) {
		return parseAddress(data, strings.TrimSpace(part))
	})
	if err == nil {
		return data, nil
	}
	return parseText(value)
}

// parseHex reads 01:2:ff or 0x0102ff. One byte needs the second form, since a
// lone number may be text.
func parseHex(value string) ([]byte, bool) {
	if digits, ok := strings.CutPrefix(strings.ToLower(value), "0x"); ok {
		data, err := hex.DecodeString(digits)
		return data, err == nil && len(data) > 0
	}
	parts := strings.Split(value, ":")
	if len(parts) < 2 {
		return nil, false
	}
	data := make([]byte, 0, len(parts))
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 16, 8)
		if err != nil || len(part) > 2 {
			return nil, false
		}
		data = append(data, byte(n))
	}
	return data, true
}

func unquote(value string) (string, bool) {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return "", false
	}
	return value[1 : len(value)-1], true
}
