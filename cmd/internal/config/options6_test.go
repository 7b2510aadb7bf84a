package config

import (
	"strings"
	"testing"
)

func TestOptions6(t *testing.T) {
	const address = "\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	for _, tc := range []struct {
		key, value string
		code       uint16
		want       string
	}{
		{"23", "fd00::1", 23, address},
		{"dns-server", "fd00::1, fd00::1", 23, address + address},
		{" Option6:DNS-Servers ", " fd00::1 ", 23, address},
		{"option6:23", "fd00::1", 23, address},
		{"24", "Lab.,a.example", 24, "\x03lab\x00\x01a\x07example\x00"},
		{"domain-search", "a.example,b.example", 24, "\x01a\x07example\x00\x01b\x07example\x00"}, // RFC 8415 section 10: never compressed
		{"sntp-server", "fd00::1", 31, address},
		{"ntp-server", "fd00::1,ntp.example", 56, "\x00\x01\x00\x10" + address + "\x00\x03\x00\x0d\x03ntp\x07example\x00"},
		{"information-refresh-time", "2h", 32, "\x00\x00\x1c\x20"},
		{"preference", "255", 7, "\xff"},
		{"bootfile-url", "tftp://[fd00::1]/a,b", 59, "tftp://[fd00::1]/a,b"},
		{"bootfile-param", "a,bc", 60, "\x00\x01a\x00\x02bc"},
		{"captive-portal", "https://x/", 103, "https://x/"},
		{"65000", "01:02:ff", 65000, "\x01\x02\xff"},
		{"65000", "fd00::1", 65000, address},
		{"65000", `"fd00::1"`, 65000, "fd00::1"},
		{"65000", "fd00::1,x", 65000, "fd00::1,x"},
		{"17", "00:00:00:09", 17, "\x00\x00\x00\x09"},
		{"65535", "a b", 65535, "a b"},
	} {
		code, data, err := parseOption6(tc.key, tc.value)
		if err != nil || code != tc.code || string(data) != tc.want {
			t.Errorf("%s %q: %d %q %v, want %d %q", tc.key, tc.value, code, data, err, tc.code, tc.want)
		}
	}
	for _, tc := range []struct{ key, value, want string }{
		{"", "x", "has no number and no name"},
		{"option6:", "x", "has no number and no name"},
		{"0", "x", "is not the number of an option: 1-65535"},
		{"65536", "x", "is not the number of an option: 1-65535"},
		{"dns-sever", "x", `is not the name of an option that is known here: give its number; did you mean "dns-server"?`},
		{"mtu", "1400", "is not the name of an option that is known here: give its number"},
		{"3", "x", "is set by the server itself: use range and hosts"},
		{"14", "x", "is set by the server itself: use rapid_commit"},
		{"26", "x", "is set by the server itself: use delegate"},
		{"39", "x", "is set by the server itself: use the name of a host"},
		{"1", "x", "is set by the server itself: it belongs to the protocol"},
		{"23", "", "has no value"},
		{"23", "fd00::1,", `"" is not an IPv6 address`},
		{"23", "192.0.2.1", `"192.0.2.1" is not an IPv6 address`},
		{"23", "::ffff:192.0.2.1", `"::ffff:192.0.2.1" is not an IPv6 address`},
		{"23", "fe80::1%eth0", `"fe80::1%eth0" is not an IPv6 address`},
		{"56", "192.0.2.1", `"192.0.2.1" is not an IPv6 address`},
		{"56", "a b", `"a b" is not a domain name: it has letters, digits, - and dots`},
		{"32", "x", "is not a time"},
		{"60", "a,,b", "has no value"},
		{"65000", "01:2x", `"01:2x" has parts that are no bytes in hex`},
		{"59", strings.Repeat("x", 1025), "is 1025 bytes long: at most 1024"},
		{"23", strings.Repeat("fd00::1,", 64) + "fd00::1", "is 1040 bytes long: at most 1024"},
	} {
		if code, data, err := parseOption6(tc.key, tc.value); err == nil || !strings.Contains(err.Error(), tc.want) || code != 0 || data != nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %.40q: %d %x %v, want %s", tc.key, tc.value, code, data, err, tc.want)
		}
	}
	// No name and no number is there twice, and what is the server's own is not there.
	seen := map[string]bool{}
	last := uint16(0)
	for _, o := range options6() {
		if o.code <= last || owned6(o.code) != "" {
			t.Errorf("option %d", o.code)
		}
		last = o.code
		for _, name := range o.names {
			if seen[name] || name != strings.ToLower(name) {
				t.Errorf("name %q", name)
			}
			seen[name] = true
		}
	}
}
