package nat

import (
	"net/netip"
	"testing"
)

// TestTranslate: the outside address of an inside one is that of its packets; checksums
// stay as they are.
func TestTranslate(t *testing.T) {
	for _, tt := range []struct{ in, out, inside, want string }{
		{"fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:1::1234", "2001:db8:1:d550::1234"}, // RFC 6296 section 3.6
		{"fd00::/64", "2001:db8:5::/64", "fd00::1", "2001:db8:5:0:cf42::1"},
		{"fd00::/64", "fd00::/64", "fd00::1", "fd00::1"},
		{"10.0.0.0/24", "10.0.0.0/24", "10.0.0.9", "10.0.0.9"},
		{"fd00::/64", "2001:db8:5::/64", "fd00::", ""},
		{"fd00::/64", "2001:db8:5::/64", "fd01::1", ""},
		{"fd00::/64", "2001:db8:5::/64", "10.0.0.9", ""},
		{"fd00::/64", "2001:db8:5::/48", "fd00::1", ""},
	} {
		got, ok := prefixMap(tt.in, tt.out).Translate(netip.MustParseAddr(tt.inside))
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("%s in %s to %s: %v, %v, want %q", tt.inside, tt.in, tt.out, got, ok, tt.want)
		}
	}
	if got, ok := (PrefixMap{}).Translate(netip.MustParseAddr("fd00::1")); ok {
		t.Errorf("nothing translates to %v", got)
	}
}
