package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// What is refused by its look has another writing, and what is written out is read
// back as the same: two single addresses, in any order, among them.
func TestTwoSingleAddresses(t *testing.T) {
	for _, text := range []string{
		"[10.0.0.2-10.0.0.2, 10.0.0.9]", "'10.0.0.2,10.0.0.9-10.0.0.9'", "[10.0.0.9, 10.0.0.2]", "[10.0.0.2, 10.0.0.9-10.0.0.9]",
	} {
		c := mustParse(t, inDHCP("range: "+text))
		if again := mustParse(t, string(c.YAML())); len(again.Networks[0].DHCP.Ranges) != 2 {
			t.Errorf("%s: %v", text, again.Networks[0].DHCP.Ranges)
		} else if d := sameConfig(c, again); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
	c := mustParse(t, inDHCP(""))
	if err := c.PatchNetwork("lan", []byte(`{"dhcp":{"range":"10.0.0.2,10.0.0.9"}}`)); err == nil || !strings.Contains(err.Error(), "two single addresses") {
		t.Error(err)
	}
}

// The time of a lease is read as others write it, and shown as people do.
func TestLeaseTimes(t *testing.T) {
	for text, want := range map[string]string{
		"1w": "7d", "2w1d": "15d", "1d12h": "1d12h", "36h": "1d12h", "1w30m": "7d30m", "90m": "1h30m", "1h0m0s": "1h",
		"125s": "2m5s", "Infinite": "infinite", "-1h": "-1h0m0s", "1.5h": "1h30m", "1500ms": "1.5s",
	} {
		d, err := ParseLease(text)
		if got := FormatLease(d); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "w", "d", "1.5d", "-1d", "1d1w", "65536d", "1d-1h", "1d+", "3600", "0", "d1h", "1dd"} {
		if d, err := ParseLease(text); err == nil {
			t.Errorf("%q is %v", text, d)
		}
	}
}

// A reservation may be of nothing but a time, or that its client gets no answer.
func TestReservationOfLittle(t *testing.T) {
	c := mustParse(t, inDHCP("hosts: [{mac: 02:00:00:00:00:01, lease: infinite}, {client_id: ab, ignore: true}, {client_id: ac, name: x, ignore: false}]"))
	for _, h := range c.Networks[0].DHCP.Hosts {
		if want := string(h.ClientID) == "ab"; h.Ignore != want {
			t.Errorf("%+v", h)
		}
	}
	if text := string(c.YAML()); !strings.Contains(text, "{client_id: ab, ignore: true}") || strings.Count(text, "ignore") != 1 {
		t.Error(text)
	}
	next := c.Clone()
	next.Networks[0].DHCP.Hosts = slices.DeleteFunc(next.Networks[0].DHCP.Hosts, func(h DHCPHost) bool { return h.Ignore })
	if d := Diff(c, next); len(d) != 1 || !strings.HasSuffix(d[0].Text, "dhcp.hosts - client_id ab ignore true") {
		t.Error(d)
	}
}

// A reservation by itself is refused in the words of who wrote it.
func TestCheckReservation(t *testing.T) {
	n := &mustParse(t, inDHCP("")).Networks[0]
	mac := frame.MAC{2, 0, 0, 0, 0, 1}
	for _, tc := range []struct {
		host DHCPHost
		want string
	}{
		{DHCPHost{MAC: mac, Name: "WEB"}, ""},
		{DHCPHost{MAC: mac, Name: "my_vm"}, ""},
		{DHCPHost{MAC: mac, Lease: InfiniteLease}, ""},
		{DHCPHost{MAC: mac, Address: netip.MustParseAddr("10.0.0.1")}, `network "lan": address: 10.0.0.1 is the address of the gateway: choose another one`},
		{DHCPHost{MAC: mac, Name: "a", Lease: 400 * 24 * time.Hour}, `network "lan": lease: 400d is out of range: give 2m-365d in whole seconds, or infinite`},
		{DHCPHost{MAC: mac, Name: "_ab"}, `network "lan": name: "_ab" is not a name of a host: give 1-63 letters, digits and inner hyphens and underscores`},
	} {
		got := ""
		if err := n.CheckReservation(tc.host); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("got %s\nwant %s", got, tc.want)
		}
	}
}

// Of two networks that clash the one that a command changed is blamed, wherever
// it stands in the order of names.
func TestValidateChangeBlamesTheChange(t *testing.T) {
	const text = "networks: {a: {address: 10.0.0.1/24}, b: {address: 10.0.1.1/24, host_port: w}}"
	for patch, want := range map[string]string{
		`{"host_port":"w"}`:                         `network "a": host_port: "w" is the interface of port b/host already: give each port its own`,
		`{"host_port":"v","address":"10.0.1.2/24"}`: `network "a": address: 10.0.1.2/24 overlaps 10.0.1.1/24 of network "b", and this host is in both: choose another subnet, or remove one host_port`,
	} {
		old := mustParse(t, text)
		c := old.Clone()
		if err := c.PatchNetwork("a", []byte(patch)); err != nil {
			t.Fatal(err)
		}
		c.Normalize()
		if err := ValidateChange(old, c); err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
