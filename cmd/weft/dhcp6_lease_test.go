package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/ports/porttest"
)

// reserving are settings with reservations of each kind.
const reserving = both + `dhcp6:
  range: "` + pool6 + `"
  delegate: [{prefix: "2001:db8:100::/48", length: 56}]
  hosts:
    - {mac: "02:c6:00:00:00:01", address: "2001:db8:1::10", name: web}
    - {duid: "00:04:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10", address: "2001:db8:1::11", name: db, lease: infinite}
    - {mac: "02:c6:00:00:00:03", ignore: true}
    - {mac: "02:c6:00:00:00:04", name: four}
    - {mac: "02:c6:00:00:00:05", address: "2001:db8:1::1005"}
dns: {domain: lab, upstream: none, hosts: {printer: "2001:db8:1::60"}}
`

// Reservations by MAC and by DUID, of addresses inside and outside the range, of a
// name alone, and of nothing at all. Names are given once.
func TestReservations6(t *testing.T) {
	t.Parallel()
	s := newServed6(t, reserving, "raw", "raw")
	w := newWire6(t, s.hosts[0])
	one := w.client(1)
	if one.obtain(called("something")); one.address != "2001:db8:1::10" {
		t.Errorf("reserved by MAC: %s", one.address)
	}
	two := newWire6(t, s.hosts[1]).client(2)
	two.duid = &dhcpv6.DUIDUUID{UUID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}
	if two.obtain(); two.address != "2001:db8:1::11" {
		t.Errorf("reserved by DUID: %s", two.address)
	}
	three := w.client(3)
	if a := three.ask(three.message(dhcpv6.MessageTypeSolicit, three.wantsAddress()), dhcpSilence); a != nil {
		t.Errorf("who is to be ignored is answered: %v", a)
	}
	four, five := w.client(4).obtain(called("other")), w.client(5).obtain()
	within(t, four.address, "2001:db8:1::1000", "2001:db8:1::1fff")
	if five.address != "2001:db8:1::1005" {
		t.Errorf("reserved inside the range: %s", five.address)
	}
	// The address of another's reservation is nobody's.
	six := w.client(6).obtain(w.client(6).wantsAddress("2001:db8:1::10"))
	within(t, six.address, "2001:db8:1::1000", "2001:db8:1::1fff")
	// A prefix goes to who has a reservation like to anybody.
	if one.obtain(one.wantsAddress(), one.wantsPrefix()); one.address != "2001:db8:1::10" || !strings.HasSuffix(one.prefix, "/56") {
		t.Errorf("address and prefix: %q and %q", one.address, one.prefix)
	}
	for addr, want := range map[string]api.Lease{
		one.address:  {MAC: one.mac.String(), Hostname: "web", Kind: "static", Port: "p1"},
		two.address:  {MAC: two.mac.String(), Hostname: "db", Kind: "static", Port: "p2"},
		four.address: {MAC: four.mac.String(), Hostname: "four", Kind: "static", Port: "p1"},
	} {
		v := s.leases().waitLease(addr, "active")
		if v.MAC != want.MAC || v.Hostname != want.Hostname || v.Kind != want.Kind || v.Port != want.Port || (v.Expires == nil) != (want.Hostname == "db") {
			t.Errorf("lease of %s: %+v, want %+v", addr, v, want)
		}
	}
	for n, names := range [][2]string{
		{"gateway", ""}, {"web.lab", ""}, {"printer", ""}, {"One", "one"}, {"one", ""}, {"-x", ""}, {"a b", ""}, {strings.Repeat("x", 63), strings.Repeat("x", 63)},
	} {
		c := w.client(100 + n).obtain(called(names[0]))
		if v, _ := s.leases().leaseOf(c.address); v.Hostname != names[1] || v.State != "active" {
			t.Errorf("%q: %+v", names[0], v)
		}
	}
}

// Leases by the commands: listed and shown by address, name, MAC and DUID, reserved,
// removed and released; and what cannot be is one line.
func TestLeaseCommands6(t *testing.T) {
	t.Parallel()
	s := newServed6(t, reserving+"dhcp: {range: 10.0.0.100-10.0.0.110, probe: false}\n", "raw")
	w := newWire6(t, s.hosts[0])
	c := w.client(20).obtain(called("laptop"))
	v := s.leases().waitLease(c.address, "active")
	duid := "00:03:00:01:" + c.mac.String()
	if v.ClientID != duid || *v.IAID != 7 {
		t.Errorf("lease: %+v", v)
	}
	for _, who := range []string{c.address, "laptop", c.mac.String(), duid} {
		show := s.do("lease", "show", "lan", who)
		for _, want := range []string{c.address, "laptop", c.mac.String(), duid, "active", "dynamic", "p1"} {
			if !strings.Contains(show, want) {
				t.Errorf("lease show %s lacks %s:\n%s", who, want, show)
			}
		}
	}

	// A reservation is for the next time; until then its client goes on.
	s.do("lease", "add", "lan", "--duid", duid, "--address", "2001:db8:1::20", "--name", "desk")
	s.do("lease", "add", "lan", "--mac", "02:c6:00:00:00:21", "--address", "2001:db8:1::21", "--lease", "2h")
	s.do("lease", "add", "lan", "--mac", "02:c6:00:00:00:21", "--address", "10.0.0.21")
	list := s.do("lease", "list")
	for _, want := range []string{"2001:db8:1::20", "desk", "2001:db8:1::21", "10.0.0.21", "reserved"} {
		if !strings.Contains(list, want) {
			t.Errorf("lease list lacks %s:\n%s", want, list)
		}
	}
	if c.obtain(); c.address != "2001:db8:1::20" {
		t.Errorf("reserved by --duid: %s", c.address)
	}
	d := w.client(0x21).obtain()
	if d.address != "2001:db8:1::21" {
		t.Errorf("reserved by --mac: %s", d.address)
	}
	if v, _ := s.leases().leaseOf(d.address); v.Expires == nil || v.Kind != "static" {
		t.Errorf("lease: %+v", v)
	}
	if a := dig(t, s.hostOnLAN(t), "@"+gatewayAddress, "desk.lab", "AAAA"); len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " 2001:db8:1::20") {
		t.Errorf("desk.lab: %s", a.raw)
	}
	s.do("lease", "rm", "lan", "2001:db8:1::21")
	s.do("lease", "release", "lan", "2001:db8:1::21")
	if d.obtain(); d.address == "2001:db8:1::21" {
		t.Error("a removed reservation is given")
	}
	s.do("lease", "release", "lan", "desk")
	if v, _ := s.leases().leaseOf("2001:db8:1::20"); v.State == "active" {
		t.Errorf("released: %+v", v)
	}
	c.obtain() // it comes back
	s.refusesLeases(duid)
}

func (s *served) refusesLeases(duid string) {
	s.t.Helper()
	for text, args := range map[string][]string{
		"2001:db8:1::77":      {"lease", "show", "lan", "2001:db8:1::77"},
		"nobody":              {"lease", "release", "lan", "nobody"},
		"2001:db8:2::1":       {"lease", "add", "lan", "--mac", "02:c6:00:00:00:30", "--address", "2001:db8:2::1"},
		"2001:db8:1::1":       {"lease", "add", "lan", "--mac", "02:c6:00:00:00:30", "--address", gateway6},
		"2001:db8:1::10":      {"lease", "add", "lan", "--mac", "02:c6:00:00:00:30", "--address", "2001:db8:1::10"},
		"--duid is of DHCPv6": {"lease", "add", "lan", "--duid", duid, "--address", "10.0.0.30"},
		"zz":                  {"lease", "add", "lan", "--duid", "zz", "--address", "2001:db8:1::30"},
		"web":                 {"lease", "add", "lan", "--mac", "02:c6:00:00:00:30", "--address", "2001:db8:1::30", "--name", "web"},
	} {
		s.fails(text, args...)
	}
}

// hostOnLAN gives the first host an IPv4 address, to ask the gateway from.
func (s *served) hostOnLAN(t *testing.T) (h *porttest.NS) {
	t.Helper()
	h = s.hosts[0]
	h.Addr(t, "eth0", address(1)+"/24")
	return h
}

// Leases of addresses and prefixes outlive the process, however that ends, and their
// clients may go on with each kind of message.
func TestLeasesSurviveRestart6(t *testing.T) {
	t.Parallel()
	s := newServed6(t, reserving, "raw")
	w := newWire6(t, s.hosts[0])
	c := w.client(20)
	c.obtain(c.wantsAddress(), c.wantsPrefix(), called("laptop"))
	declined, released := w.client(21).obtain(), w.client(22).obtain()
	declined.tells(dhcpv6.MessageTypeDecline)
	released.tells(dhcpv6.MessageTypeRelease)
	s.leases().waitLease(declined.address, "declined")
	s.leases().waitLease(released.address, "expired")
	stranger := w.client(23)
	kept := func() string {
		t.Helper()
		var list []api.Lease
		s.query(&list, "lease", "list")
		for i := range list {
			list[i].Port, list[i].Expires = "", nil // not kept, and rounded
		}
		text, err := json.MarshalIndent(list, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := kept()
	for _, end := range []struct {
		name string
		end  func()
	}{{"kill -9", func() { s.Kill() }}, {"stop", s.stop}} {
		was, _ := s.leases().leaseOf(c.prefix)
		end.end()
		s.start()
		if now := kept(); now != before {
			t.Errorf("after %s: %s\nbefore: %s", end.name, now, before)
		}
		if now, _ := s.leases().leaseOf(c.prefix); now.Expires == nil || now.Expires.Before(*was.Expires) {
			t.Errorf("after %s the prefix ends %v, before %v", end.name, now.Expires, was.Expires)
		}
		c.renews(dhcpv6.MessageTypeRebind, called("laptop"))
		c.renews(dhcpv6.MessageTypeRenew, called("laptop"))
		confirmed := c.answered(c.message(dhcpv6.MessageTypeConfirm, c.wantsAddress(c.address)), dhcpv6.MessageTypeReply)
		if status := confirmed.Options.Status(); status == nil || status.StatusCode != 0 {
			t.Errorf("confirmed with %v", status)
		}
		if stranger.obtain(stranger.wantsAddress(c.address)); stranger.address == c.address || stranger.address == declined.address {
			t.Errorf("a stranger got %s", stranger.address)
		}
		before = kept()
	}
	moved := c.answered(c.message(dhcpv6.MessageTypeConfirm, c.wantsAddress("2001:db8:9::1")), dhcpv6.MessageTypeReply)
	if status := moved.Options.Status(); status == nil || status.StatusCode != 4 { // NotOnLink
		t.Errorf("an address of elsewhere: %v", status)
	}
}
