package daemon

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp6"
)

// One name stands for one lease, or for none: of several the only active one is
// meant, else all are named.
func TestChooseLease(t *testing.T) {
	const moved, twice = "02:00:00:00:00:01", "02:00:00:00:00:02"
	list := []api.Lease{
		{Address: "10.0.0.9", MAC: moved, State: api.LeaseExpired},
		{Address: "10.0.0.10", MAC: moved, State: api.LeaseActive, Hostname: "web", ClientID: "76:6d:2d:37"},
		{Address: "10.0.0.11", MAC: twice, State: api.LeaseActive},
		{Address: "10.0.0.12", MAC: twice, State: api.LeaseActive, ClientID: "01:02:00:00:00:00:02"},
		{Address: "10.0.0.13", MAC: twice, State: api.LeaseExpired},
		{Hostname: "tv", ClientID: "74:76", State: api.LeaseReserved},
	}
	const several = `network "lan": "02:00:00:00:00:02" fits several: 10.0.0.11 (active), 10.0.0.12 (active), 10.0.0.13 (expired): say which by its address`
	const nobody = `network "lan": nobody with the address, prefix, MAC, name, client identifier or DUID "x" has a lease: see "weft lease list lan"`
	for who, want := range map[string]string{
		"10.0.0.9": "10.0.0.9", moved: "10.0.0.10", "WEB": "10.0.0.10",
		"vm-7": "10.0.0.10", "76:6D:2d:37": "10.0.0.10", "01:02:00:00:00:00:02": "10.0.0.12", "tv": "",
		twice: several, "x": nobody,
	} {
		got, err := chooseLease(list, "lan", who)
		text := got.Address
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%s\n got %s\nwant %s", who, text, want)
		}
	}
	if _, err := chooseLease(list, "lan", twice); !errors.Is(err, api.ErrConflict) {
		t.Error(err)
	}
	if _, err := chooseLease(list, "lan", "x"); !errors.Is(err, api.ErrNotFound) {
		t.Error(err)
	}
}

func TestIsReservationOf(t *testing.T) {
	h := booking{id: []byte("vm-7"), name: "web"}
	m := booking{mac: frame.MAC{2, 0, 0, 0, 0, 1}}
	for _, who := range []string{"vm-7", "76:6d:2d:37", "web", "Web"} {
		if !h.isOf(who) || m.isOf(who) {
			t.Errorf("%s: %v, %v", who, h.isOf(who), m.isOf(who))
		}
	}
	if m.isOf("") || h.isOf("") || !m.isOf("02-00-00-00-00-01") {
		t.Error("not by its MAC, or by nothing")
	}
}

// A machine may have a reservation of each family: they have nothing in common that
// matters.
func TestBookingsOfBothFamilies(t *testing.T) {
	mac := frame.MAC{2, 0, 0, 0, 0, 1}
	four := booking{mac: mac, id: []byte{1, 2, 3}, name: "web", address: netip.MustParseAddr("10.0.0.9")}
	six := booking{six: true, mac: mac, id: []byte{1, 2, 3}, name: "web", address: netip.MustParseAddr("2001:db8::9")}
	if got := clash(&four, &six); got != "" {
		t.Errorf("%s is in the way", got)
	}
	n := config.NewNetwork("lan")
	n.DHCP.Hosts, n.DHCP6.Hosts = []config.DHCPHost{four.host()}, []config.DHCP6Host{six.host6()}
	if got := bookings(&n); !reflect.DeepEqual(got, []booking{four, six}) {
		t.Errorf("%+v", got)
	}
	for _, b := range []booking{four, six} {
		for _, o := range []booking{{six: b.six, mac: mac}, {six: b.six, id: b.id}, {six: b.six, name: "Web"}, {six: b.six, address: b.address}} {
			if clash(&b, &o) == "" {
				t.Errorf("%+v and %+v", b, o)
			}
		}
	}
}

// The family of a reservation is that of its address, else a DUID says it.
func TestReservationFamily(t *testing.T) {
	for _, c := range []struct {
		spec api.LeaseSpec
		six  bool
		err  string
	}{
		{api.LeaseSpec{MAC: "02:00:00:00:00:01", Name: "a"}, false, ""},
		{api.LeaseSpec{MAC: "02:00:00:00:00:01", Address: "10.0.0.9"}, false, ""},
		{api.LeaseSpec{MAC: "02:00:00:00:00:01", Address: "::ffff:10.0.0.9"}, false, `address "::ffff:10.0.0.9" is an IPv4 address in IPv6 form: write 10.0.0.9`},
		{api.LeaseSpec{MAC: "02:00:00:00:00:01", Address: "2001:db8::9"}, true, ""},
		{api.LeaseSpec{DUID: "00:01:02", Name: "a"}, true, ""},
		{api.LeaseSpec{DUID: "00:01:02", Address: "10.0.0.9"}, true, "duid: 10.0.0.9 is an IPv4 address"},
		{api.LeaseSpec{ClientID: "vm", Address: "2001:db8::9"}, true, "client id: a reservation of DHCPv6 has a DUID"},
		{api.LeaseSpec{DUID: "zz"}, true, "duid "},
		{api.LeaseSpec{MAC: "02:00:00:00:00:01", Address: "fe80::1%eth0"}, true, `address "fe80::1%eth0" is not of the form`},
	} {
		b, err := reservation(c.spec)
		if c.err == "" && (err != nil || b.six != c.six) || c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)) {
			t.Errorf("%+v: six %v, %v", c.spec, b.six, err)
		}
	}
	for addresses, want := range map[string]string{
		"":                       "has no gateway to serve DHCP",
		"10.0.0.1/24":            "has no IPv6 address to serve DHCPv6",
		"2001:db8::1/64":         "has no gateway to serve DHCP",
		"10.0.0.1/24 fd00::1/64": "",
	} {
		n := config.NewNetwork("lan")
		n.Addresses = nil
		for _, a := range strings.Fields(addresses) {
			n.Addresses = append(n.Addresses, netip.MustParsePrefix(a))
		}
		err := errors.Join((&booking{}).needsGateway(&n), (&booking{six: true}).needsGateway(&n))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", addresses, err, want)
		}
	}
}

// A lease of DHCPv6 is shown with what tells it from others, and a prefix as one.
func TestDescribeLease6(t *testing.T) {
	at := time.Now()
	address := dhcp6.Lease{Prefix: netip.MustParsePrefix("2001:db8::9/128"), DUID: []byte{0, 1}, IAID: 7, MAC: frame.MAC{2, 0, 0, 0, 0, 1}, Hostname: "web", Expires: at, State: dhcp.Active, Port: "vm1"}
	v := describeLease6("lan", address)
	if v.Address != "2001:db8::9" || v.IAID == nil || *v.IAID != 7 || v.ClientID != "00:01" || v.Hostname != "web" || !v.Expires.Equal(at) || v.Port != "vm1" {
		t.Errorf("%+v", v)
	}
	v = describeLease6("lan", dhcp6.Lease{Prefix: netip.MustParsePrefix("2001:db8:100::/56"), State: dhcp.Active})
	if v.Address != "2001:db8:100::/56" || v.MAC != "" || !isLeaseOf(v, "2001:DB8:100::/56") || isLeaseOf(v, "2001:db8:100::") {
		t.Errorf("%+v", v)
	}
	v = describeLease6("lan", dhcp6.Lease{DUID: []byte{0, 1}, Hostname: "tv", State: dhcp.Reserved, Kind: dhcp.Static})
	if v.Address != "" || v.IAID != nil || v.State != api.LeaseReserved || v.Kind != api.LeaseStatic {
		t.Errorf("%+v", v)
	}
}

// A reservation by command is refused in the words of that command.
func TestReservationSpec(t *testing.T) {
	for _, s := range []api.LeaseSpec{{MAC: "x"}, {ClientID: "\x01"}, {Address: "10.0.0"}, {LeaseSeconds: -1}} {
		if _, err := reservation(s); err == nil || strings.Contains(err.Error(), "hosts[") {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// All of a reservation reaches the server.
func TestReservationsReachTheServer(t *testing.T) {
	n := config.NewNetwork("lan")
	n.DHCP.Hosts = []config.DHCPHost{
		{MAC: frame.MAC{2, 0, 0, 0, 0, 1}, Address: netip.MustParseAddr("10.0.0.9"), Name: "web", Lease: time.Hour},
		{ClientID: []byte("vm-7"), Ignore: true},
	}
	got := dhcpConfig(&n).Hosts
	want := []dhcp.Host{
		{MAC: frame.MAC{2, 0, 0, 0, 0, 1}, Address: netip.MustParseAddr("10.0.0.9"), Name: "web", Lease: time.Hour},
		{ClientID: []byte("vm-7"), Ignore: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// The address of a port is refused as in a file.
func TestPortAddress(t *testing.T) {
	for address, want := range map[string]string{
		"fd00::1/64": "", "10.0.0.1/24": "",
		"fd00::1":  `address "fd00::1" has no prefix length: write it too, such as 2001:db8::1/64`,
		"10.0.0.1": `address "10.0.0.1" has no prefix length: write it too, such as 192.0.2.1/24`,
		"x":        `address "x" is not an address with a prefix length: write it such as 192.0.2.1/24 or 2001:db8::1/64`,
	} {
		if _, err := portConfig(api.PortSpec{Name: "x", Addresses: []string{address}}); err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%s: %v, want %s", address, err, want)
		}
	}
}
