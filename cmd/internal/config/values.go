package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

func parseInt(s string) (int, error) {
	v, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(v) != s { // 010 is 8 to some readers of YAML
		return 0, fmt.Errorf("%s is not a whole number: write one in decimal digits", quoted(s))
	}
	return v, nil
}

func parseVLAN(s string) (uint16, error) {
	v, err := parseInt(s)
	if err != nil {
		return 0, err
	}
	if v < 0 || v > maxVLAN {
		return 0, badVLAN(v)
	}
	return uint16(v), nil
}

func parseVLANID(s string) (uint16, error) {
	v, err := parseInt(s)
	if err != nil {
		return 0, err
	}
	if err := badVLANID(v); err != nil {
		return 0, err
	}
	return uint16(v), nil
}

func badVLANID(v int) error {
	if v < 1 || v > maxVLAN {
		return fmt.Errorf("%d is out of range: give 1-%d", v, maxVLAN)
	}
	return nil
}

func parseVLANRange(s string) (VLANRange, error) {
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		to = from
	}
	first, err := parseVLANID(strings.TrimSpace(from))
	if err != nil {
		return VLANRange{}, err
	}
	last, err := parseVLANID(strings.TrimSpace(to))
	if err != nil {
		return VLANRange{}, err
	}
	v := VLANRange{first, last}
	return v, badRange(v)
}

func badRange(v VLANRange) error {
	if err := badVLANID(int(v.First)); err != nil {
		return err
	}
	if err := badVLANID(int(v.Last)); err != nil {
		return err
	}
	if v.First > v.Last {
		return fmt.Errorf("%v runs backwards: write it as %d-%d", v, v.Last, v.First)
	}
	return nil
}

func isBadRange(v VLANRange) bool { return badRange(v) != nil }

func parseBool(s string) (bool, error) {
	switch s {
	case "true", "false":
		return s == "true", nil
	}
	return false, fmt.Errorf("%s is neither true nor false: write one of the two", quoted(s))
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%s is not a duration: write a number and its unit, such as 300s, 5m or 1h", quoted(s))
	}
	return d, nil
}

// parseMAC refuses the zero address, which in a Config means that there is none.
func parseMAC(s string) (frame.MAC, error) {
	b, err := net.ParseMAC(s)
	if err != nil || len(b) != 6 {
		return frame.MAC{}, fmt.Errorf("%s is not a MAC address: write six bytes, such as 02:00:00:00:00:01", quoted(s))
	}
	m := frame.MAC(b)
	if m == (frame.MAC{}) {
		return m, errZeroMAC
	}
	return m, nil
}

// ParsePrefix reads an address with its prefix length as a file has it.
func ParsePrefix(s string) (netip.Prefix, error) { return parsePrefix(s) }

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		such := "192.0.2.1/24"
		if a.Is6() {
			such = "2001:db8::1/64"
		}
		return netip.Prefix{}, fmt.Errorf("%s has no prefix length: write it too, such as %s", quoted(s), such)
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not an address with a prefix length: write it such as 192.0.2.1/24 or 2001:db8::1/64", quoted(s))
	}
	return p, nil
}
