package ndp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// What docs/ipv6-rfc.md names of the messages themselves.

// RFC 4861 clauses 6.1 and 7.1: options that nobody knows are stepped over, and reserved
// fields say nothing.
func TestRFC4861_6_1_UnknownOptions(t *testing.T) {
	unknown := []byte{200, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 4, 1, 0, 0, 0, 0, 0, 0}
	ra := Advertisement{Lifetime: time.Minute, MTU: 1500, MAC: mac, Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("2001:db8::/64"), OnLink: true, Valid: time.Hour}}}
	m := ra.Message()
	m = append(append(append([]byte(nil), m[:advertisementLen]...), unknown...), m[advertisementLen:]...)
	m[5] |= 0x27 // reserved bits, and flags that came later
	if !valid(m, near, AllNodes, nil) {
		t.Error("an advertisement with an unknown option is not valid")
	}
	if got, err := ParseAdvertisement(m); err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", ra) {
		t.Errorf("%+v, %v, want %+v", got, err, ra)
	}
	want := Neighbor{Target: here, MAC: mac, Solicited: true}
	for _, n := range [][]byte{append(want.Solicitation(), unknown...), append(want.Advertisement(), unknown...)} {
		n[5], n[6], n[7] = 1, 2, 3
		got := ParseNeighbor(n)
		if got.Solicited = true; !valid(n, near, here, nil) || got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if s := append(Solicitation(mac), unknown...); !valid(s, near, AllRouters, nil) || ParseSolicitation(s) != mac {
		t.Error("a solicitation with an unknown option is not understood")
	}
}

// RFC 4191 clauses 2.1 to 2.3: preferences have two bits, of which one value is none: a
// router has the middle one then, and a route does not count.
func TestRFC4191_2_1_Preference(t *testing.T) {
	for bits, want := range map[byte]Preference{0: Medium, 1: High, 3: Low, 2: Medium} {
		a := Advertisement{Lifetime: time.Minute, Routes: []Route{{Prefix: netip.MustParsePrefix("2001:db8::/48"), Lifetime: time.Hour}}}
		if bits != 2 {
			a.Preference, a.Routes[0].Preference = want, want
		}
		m := a.Message()
		if bits != 2 && (m[5] != bits<<3 || m[advertisementLen+3] != bits<<3) {
			t.Errorf("preference %v is written as %#x and %#x", want, m[5], m[advertisementLen+3])
		}
		m[5], m[advertisementLen+3] = bits<<3, bits<<3
		got, err := ParseAdvertisement(m)
		if err != nil || got.Preference != want || len(got.Routes) != 1 && bits != 2 || len(got.Routes) != 0 && bits == 2 {
			t.Errorf("%02b is read as %+v, %v", bits, got, err)
		}
	}
}

// RFC 4191 clause 2.3: the option of a route is as long as its prefix needs, or longer.
func TestRFC4191_2_3_Lengths(t *testing.T) {
	for _, test := range []struct {
		units, bits byte
		want        bool
	}{
		{1, 0, true}, {1, 1, false}, {2, 0, true}, {2, 64, true}, {2, 65, false}, {3, 0, true}, {3, 64, true}, {3, 128, true}, {3, 129, false},
	} {
		m := append((&Advertisement{}).Message(), make([]byte, int(test.units)*unit)...)
		o := m[advertisementLen:]
		o[0], o[1], o[2] = optionRoute, test.units, test.bits
		if !valid(m, near, AllNodes, nil) {
			t.Fatalf("%+v is not valid", test)
		}
		if got, err := ParseAdvertisement(m); err != nil || (len(got.Routes) == 1) != test.want {
			t.Errorf("%+v: %+v, %v", test, got.Routes, err)
		}
	}
}
