package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// maxDNSName is the longest name as text (RFC 1035 section 3.1), without the
// dot at its end.
const maxDNSName = 253

// maxLabel is the longest part of it (RFC 1035 section 2.3.4).
const maxLabel = 63

// parseAddr refuses what is an address in one place and another one elsewhere.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, fmt.Errorf("%s is not an IP address: write one such as 192.0.2.1", quoted(s))
	case a.Zone() != "":
		return netip.Addr{}, fmt.Errorf("%s has a zone, which means nothing to others: write the address alone", quoted(s))
	case a.Is4In6():
		return netip.Addr{}, fmt.Errorf("%s is an IPv4 address in IPv6 form: write %v", quoted(s), a.Unmap())
	}
	return a, nil
}

// parseRange takes 192.0.2.10-192.0.2.99, or one address.
func parseRange(s string) (Range, error) {
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		to = from
	}
	first, err := netip.ParseAddr(strings.TrimSpace(from))
	last, err2 := netip.ParseAddr(strings.TrimSpace(to))
	if err != nil || err2 != nil {
		such := "192.0.2.10-192.0.2.99"
		if strings.Contains(s, ":") {
			such = "2001:db8::10-2001:db8::99"
		}
		return Range{}, fmt.Errorf("%s is not a range: write its first and its last address, such as %s", quoted(s), such)
	}
	return Range{first, last}, nil
}

// String returns the range as in a file.
func (r Range) String() string {
	if r.First == r.Last {
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// infinite is how a file writes InfiniteLease, as dnsmasq does.
const infinite = "infinite"

// ParseLease reads the time of a lease as a file has it: a duration, weeks and days
// too, such as 90m, 7d, 1w or 1d12h, or infinite, which is InfiniteLease. It does
// not look at the bounds.
func ParseLease(s string) (time.Duration, error) {
	if strings.EqualFold(s, infinite) {
		return InfiniteLease, nil
	}
	if s != "0" && s != "" && strings.Trim(s, "0123456789") == "" {
		return 0, fmt.Errorf("%s has no unit: write %ss for as many seconds, or %s", quoted(s), s, infinite)
	}
	d, ok := leaseDuration(s)
	if !ok {
		return 0, fmt.Errorf("%s is not a time of a lease: write a number and its unit, such as 10m, 1h, 7d or 1d12h, or %s", quoted(s), infinite)
	}
	if d == 0 { // which is no time at all elsewhere
		return 0, errors.New(badLease)
	}
	return d, nil
}

// leaseDuration adds what no other duration has: whole weeks and days before it.
func leaseDuration(s string) (sum time.Duration, ok bool) {
	const most = 4 // digits: more is beyond all bounds, and would overflow
	rest := s
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"w", 7 * day}, {"d", day}} {
		digits, after, found := strings.Cut(rest, unit.name)
		if !found {
			continue
		}
		v, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || len(digits) > most {
			return 0, false
		}
		sum, rest = sum+time.Duration(v)*unit.size, after
	}
	if rest == "" {
		return sum, s != ""
	}
	d, err := time.ParseDuration(rest)
	if err != nil || rest != s && d < 0 || d >= InfiniteLease-sum {
		return 0, false
	}
	return sum + d, true
}

// FormatLease returns the time of a lease as people write it: 1h and 7d, not 1h0m0s.
func FormatLease(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d == InfiniteLease:
		return infinite
	case d < 0 || d%time.Second != 0:
		return d.String()
	}
	text := ""
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if v := d / unit.size; v > 0 {
			text += strconv.FormatInt(int64(v), 10) + unit.name
		}
		d %= unit.size
	}
	return text
}

// parseLabel bounds what becomes a part of a place.
func parseLabel(s string) (string, error) {
	if s == "" || len(s) > maxDNSName {
		return "", fmt.Errorf("%s is not a name: write one of 1-%d characters", quoted(s), maxDNSName)
	}
	return s, nil
}

func parseName(s string) (string, error) {
	return parseLabel(strings.ToLower(strings.TrimSuffix(s, ".")))
}

// parseClientID takes bytes in hex with colons, as packet dumps have them, or text.
func parseClientID(s string) ([]byte, error) {
	if b, ok := hexBytes(s); ok {
		return b, nil
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, fmt.Errorf("%s is not a client identifier: write its bytes, such as 01:02:00:00:00:00:01, or a word", quoted(s))
	}
	return []byte(s), nil
}

func hexBytes(s string) ([]byte, bool) {
	var out []byte
	for part := range strings.SplitSeq(s, ":") {
		b, err := hex.DecodeString(part)
		if err != nil || len(b) != 1 {
			return nil, false
		}
		out = append(out, b[0])
	}
	return out, len(out) > 1
}

// formatClientID returns text only where it is read back as the same bytes.
func formatClientID(id []byte) string {
	s := string(id)
	_, isHex := hexBytes(s)
	if isHex || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return strings.ReplaceAll(fmt.Sprintf("% x", id), " ", ":")
	}
	return s
}

// ParseClientID reads a client identifier as a file has it: bytes in hex with
// colons between them, or text.
func ParseClientID(s string) ([]byte, error) { return parseClientID(s) }
