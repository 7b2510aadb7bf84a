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
	const nobody = `network "lan": nobody with the address, MAC, name or client identifier "x" has a lease: see "weft lease list lan"`
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
	h := config.DHCPHost{ClientID: []byte("vm-7"), Name: "web"}
	m := config.DHCPHost{MAC: frame.MAC{2, 0, 0, 0, 0, 1}}
	for _, who := range []string{"vm-7", "76:6d:2d:37", "web", "Web"} {
		if !isReservationOf(h, who) || isReservationOf(m, who) {
			t.Errorf("%s: %v, %v", who, isReservationOf(h, who), isReservationOf(m, who))
		}
	}
	if isReservationOf(m, "") || isReservationOf(h, "") || !isReservationOf(m, "02-00-00-00-00-01") {
		t.Error("not by its MAC, or by nothing")
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
