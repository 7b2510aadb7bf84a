package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// everySix has every key of IPv6, in the form that users write.
const everySix = `networks:
  lan:
    forward: nat
    address: [192.168.122.1/24, 2001:db8:1::1/64]
    ra: {enabled: true, interval: 300s, lifetime: 30m, preference: high, managed: true, other: false, mtu: 1400, hop_limit: 32,
         valid: 2h, preferred: infinite, autonomous: false, rdnss: [2001:db8:1::53, fe80::53], dnssl: Lab., routes: [2001:db8:9::/48]}
    dhcp6: {range: [2001:db8:1::1000-2001:db8:1::1fff], lease: 2h, max_leases: 10, rapid_commit: false, ntp: 2001:db8:1::123,
            domain_search: [lab, corp.example], options: {"24": [a.example, b.example], bootfile-url: "tftp://x/y"},
            hosts: [{duid: 00:01:00:01:02, mac: 02:00:00:00:00:01, address: 2001:db8:1::10, name: WEB, lease: 1h}, {duid: "00:04:aa", ignore: true}],
            delegate: [{prefix: 2001:db8:100::/48, length: 56}]}
    dns: {slaac: false}
    uplink: {interface: eth0, address: [203.0.113.2/24, 2001:db8::2/64], gateway: [203.0.113.1, "fe80::1"]}
    nat: {ipv6: route, publish: [{protocol: tcp, listen: 443, to: "[2001:db8:1::10]:443"}]}
    inbound: {ipv6: open}
    routes: [{to: 2001:db8:7::/64, via: 2001:db8:1::7}]
    ports: {vm1: {type: tap, guard: {ra: true, dhcp: true}}}
`

func TestParseEveryKeyOfIPv6(t *testing.T) {
	c := mustParse(t, strings.Replace(everySix, "preferred: infinite", "preferred: 1h", 1))
	got, a, p := &c.Networks[0], netip.MustParseAddr, netip.MustParsePrefix
	want := NewNetwork("lan")
	want.Forward = ForwardNAT
	want.Addresses = []netip.Prefix{p("192.168.122.1/24"), p("2001:db8:1::1/64")}
	want.RA = RA{
		Enabled: true, Interval: 5 * time.Minute, Lifetime: 30 * time.Minute, Preference: "high", Managed: "true", Other: "false", MTU: 1400, HopLimit: 32,
		Valid: 2 * time.Hour, Preferred: time.Hour, RDNSS: []netip.Addr{a("2001:db8:1::53"), a("fe80::53")}, DNSSL: []string{"lab"},
		Routes: []netip.Prefix{p("2001:db8:9::/48")},
	}
	want.DHCP6 = DHCP6{
		Ranges: []Range{{a("2001:db8:1::1000"), a("2001:db8:1::1fff")}}, Lease: 2 * time.Hour, MaxLeases: 10, NTP: []netip.Addr{a("2001:db8:1::123")},
		Search: []string{"lab", "corp.example"},
		Options: []DHCP6Option{
			{Key: "24", Value: "a.example,b.example", Code: 24, Data: []byte("\x01a\x07example\x00\x01b\x07example\x00")},
			{Key: "bootfile-url", Value: "tftp://x/y", Code: 59, Data: []byte("tftp://x/y")},
		},
		Hosts: []DHCP6Host{
			{DUID: []byte{0, 4, 0xaa}, Ignore: true},
			{DUID: []byte{0, 1, 0, 1, 2}, MAC: frame.MAC{2, 0, 0, 0, 0, 1}, Address: a("2001:db8:1::10"), Name: "web", Lease: time.Hour},
		},
		Delegate: []Delegate{{p("2001:db8:100::/48"), 56}},
	}
	want.DNS.SLAAC = false
	want.Uplink = Uplink{Interface: "eth0", Address: "203.0.113.2/24", Address6: "2001:db8::2/64", Gateway: a("203.0.113.1"), Gateway6: a("fe80::1")}
	want.NAT.IPv6 = NATRoute
	want.NAT.Publish = []Publish{{TCP, Listen{First: 443, Last: 443}, netip.MustParseAddrPort("[2001:db8:1::10]:443")}}
	want.Inbound = Inbound{InboundOpen, InboundOpen}
	want.Routes = []Route{{p("2001:db8:7::/64"), a("2001:db8:1::7")}}
	want.Ports = []Port{{Name: "vm1", Type: TypeTap, Interface: "vm1", Policy: plainPolicy()}}
	want.Ports[0].Guard = Guard{RA: true, DHCP: true}
	if d := sameConfig(&Config{Networks: []Network{want}}, &Config{Networks: []Network{*got}}); d != "" {
		t.Error(d)
	}
	if got.Gateway() != p("192.168.122.1/24") || len(got.Gateway6()) != 1 || got.Gateway6()[0] != p("2001:db8:1::1/64") {
		t.Error(got.Gateway(), got.Gateway6())
	}
	if got.Uplink.Prefix6() != p("2001:db8::2/64") || got.NAT.Prefix6().IsValid() || !got.DHCP6.Enabled() {
		t.Errorf("%+v", got)
	}
	text := string(c.YAML())
	if d := sameConfig(c, mustParse(t, text)); d != "" {
		t.Errorf("%s\n%s", d, text)
	}
	// Each is shown in the order of its table, in flow where it is a list.
	for _, line := range []string{
		"    ra:\n      enabled: true\n      interval: 5m0s\n      lifetime: 30m\n      preference: high\n      managed: \"true\"\n      other: \"false\"\n" +
			"      mtu: 1400\n      hop_limit: 32\n      valid: 2h\n      preferred: 1h\n      autonomous: false\n      rdnss: [\"2001:db8:1::53\", \"fe80::53\"]\n" +
			"      dnssl: [lab]\n      routes: [\"2001:db8:9::/48\"]\n",
		"      delegate:\n        - {prefix: \"2001:db8:100::/48\", length: 56}\n      hosts:\n        - {duid: \"00:04:aa\", ignore: true}\n",
		"      address: [\"203.0.113.2/24\", \"2001:db8::2/64\"]\n      gateway: [\"203.0.113.1\", \"fe80::1\"]\n",
		"    inbound:\n      ipv4: open\n      ipv6: open\n", "guard: {ra: true, dhcp: true}}",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no\n%s\nin\n%s", line, text)
		}
	}
}

func TestIPv6CloneSharesNothing(t *testing.T) {
	text := strings.Replace(everySix, "preferred: infinite", "preferred: 1h", 1)
	c, want := mustParse(t, text), mustParse(t, text)
	n := &c.Clone().Networks[0]
	n.RA.RDNSS[0], n.RA.DNSSL[0], n.RA.Routes[0] = netip.Addr{}, "x", netip.Prefix{}
	d := &n.DHCP6
	d.Ranges[0], d.NTP[0], d.Search[0], d.Delegate[0] = Range{}, netip.Addr{}, "x", Delegate{}
	d.Options[0].Data[0], d.Options[0].Key, d.Hosts[0].DUID[0], d.Hosts[1].Name = 9, "x", 9, "x"
	if d := sameConfig(want, c); d != "" {
		t.Errorf("a change of the clone shows:\n%s", d)
	}
}

// Guests remember it: it may never change.
func TestULA(t *testing.T) {
	for name, want := range map[string]string{"default": "fdf9:5f55:cc10::1/64", "lan": "fd6f:f1e1:44ca::1/64", "": ""} {
		got := ULA(name)
		if got.Bits() != 64 || !got.Addr().IsPrivate() || got != ULA(name) || want != "" && got.String() != want {
			t.Errorf("%q: %v, want %s", name, got, want)
		}
	}
	for _, other := range []string{"lan2", "Lan", ""} {
		if ULA("lan").Overlaps(ULA(other)) {
			t.Errorf("%q has the subnet of lan", other)
		}
	}
}

// Whoever asks for IPv6 has an address of it, and whoever does not has none.
func TestULAAsked(t *testing.T) {
	ula := ULA("lan").String()
	for text, want := range map[string]string{
		"address: ula":                              ula,
		"address: [10.0.0.1/24,ula]":                "10.0.0.1/24 " + ula,
		"address: '" + ula + "'":                    ula,
		"address: [ula, 10.0.0.1/24, 'fd00::1/64']": ula + " 10.0.0.1/24 fd00::1/64",
		"address: 10.0.0.1/24, ra: {enabled: true}": "10.0.0.1/24 " + ula,
		"ra: {interval: 5s}, address: 10.0.0.1/24":  "10.0.0.1/24 " + ula,
		"ra: {}": ula,
		"address: 10.0.0.1/24, dhcp6: {stateless: true}":                                      "10.0.0.1/24 " + ula,
		"address: 10.0.0.1/24, dhcp6: {delegate: [{prefix: '2001:db8:1::/48', length: 56}]}":  "10.0.0.1/24 " + ula,
		"address: [10.0.0.1/24, 'fd00::1/64'], ra: {enabled: true}, dhcp6: {stateless: true}": "10.0.0.1/24 fd00::1/64",
		"address: 10.0.0.1/24, ra: {enabled: false}":                                          "10.0.0.1/24",
		"address: 10.0.0.1/24, dhcp6: {lease: 2h}":                                            "10.0.0.1/24",
		"address: 10.0.0.1/24": "10.0.0.1/24",
		"":                     "",
	} {
		c := mustParse(t, inNetwork(text))
		n := &c.Networks[0]
		if got := strings.Trim(fmt.Sprint(n.Addresses), "[]"); got != want || n.ULA != strings.Contains(want, ula) {
			t.Errorf("%s: %s, %v", text, got, n.ULA)
		}
		if written := string(c.YAML()); strings.Contains(written, ula) || n.ULA != strings.Contains(written, "ula") {
			t.Errorf("%s:\n%s", text, written)
		}
		if d := sameConfig(c, mustParse(t, string(c.YAML()))); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
	// A command asks by the field.
	n := NewNetwork("lan")
	n.ULA = true
	c := &Config{Networks: []Network{n}}
	if c.Normalize(); len(c.Networks[0].Gateway6()) != 1 {
		t.Error(c.Networks[0].Addresses)
	}
}

// The seat of the host has all addresses of the gateway, and follows them.
func TestHostSeatOfBoth(t *testing.T) {
	c := mustParse(t, inNetwork("address: [10.0.0.1/24, ula], host_port: w"))
	n := &c.Networks[0]
	if got := n.HostSeat().Addresses; len(got) != 2 || got[1] != ULA("lan") {
		t.Fatal(got)
	}
	if err := c.PatchNetwork("lan", []byte(`{"address":"fd00::1/64"}`)); err != nil {
		t.Fatal(err)
	}
	c.Normalize()
	if got := n.HostSeat().Addresses; len(got) != 1 || got[0] != netip.MustParsePrefix("fd00::1/64") || n.ULA {
		t.Error(got, n.ULA)
	}
}

// How the addresses of an uplink are read, kept and written.
func TestUplinkOfBoth(t *testing.T) {
	for text, want := range map[string][3]string{
		"auto":                                {"auto", "", "auto"},
		"[host]":                              {"host", "", "host"},
		"dhcp":                                {"dhcp", "", "dhcp"},
		"[dhcp, none]":                        {"dhcp", "", "dhcp"},
		"[dhcp, slaac]":                       {"dhcp", "slaac", "[dhcp, slaac]"},
		"'dhcp6, dhcp'":                       {"dhcp", "dhcp6", "[dhcp, dhcp6]"},
		"slaac":                               {"none", "slaac", "slaac"},
		"[none, dhcp6]":                       {"none", "dhcp6", "dhcp6"},
		"['2001:db8::2/64']":                  {"none", "2001:db8::2/64", `"2001:db8::2/64"`},
		"['2001:db8::2/64', 192.0.2.2/24]":    {"192.0.2.2/24", "2001:db8::2/64", `["192.0.2.2/24", "2001:db8::2/64"]`},
		"[192.0.2.2/24, slaac]":               {"192.0.2.2/24", "slaac", `["192.0.2.2/24", slaac]`},
		"'2001:db8::2/128', gateway: fe80::1": {"none", "2001:db8::2/128", `"2001:db8::2/128"`},
	} {
		c := mustParse(t, "networks: {lan: {forward: route, address: [10.0.0.1/24, ula], uplink: {interface: eth1, address: "+text+"}}}")
		u, _ := c.Networks[0].L3Uplink()
		if u.Address != want[0] || u.Address6 != want[1] || !strings.Contains(string(c.YAML()), "      address: "+want[2]+"\n") {
			t.Errorf("%s: %+v\n%s", text, u, c.YAML())
		}
		if shared := want[0] == "auto" || want[0] == "host"; u.Owned() == shared {
			t.Errorf("%s: owned %v", text, u.Owned())
		}
		if d := sameConfig(c, mustParse(t, string(c.YAML()))); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
	// One of a command that has not been normalized.
	n := NewNetwork("lan")
	n.Forward, n.Uplink = ForwardNAT, Uplink{Interface: "eth1", Address6: AddressSLAAC}
	if u, _ := n.L3Uplink(); u.Address != AddressNone || n.Uplink.Address != "" {
		t.Error(u, n.Uplink)
	}
}

func TestInbound(t *testing.T) {
	for text, want := range map[string]Inbound{
		"":                             {"open", "published"},
		", inbound: open":              {"open", "open"},
		", inbound: published":         {"published", "published"},
		", inbound: {ipv4: published}": {"published", "published"},
		", inbound: {ipv6: open}":      {"open", "open"},
		", inbound: {ipv4: published, ipv6: open}": {"published", "open"},
	} {
		if got := mustParse(t, "networks: {lan: {forward: route, address: 10.0.0.1/24"+text+"}}").Networks[0].Inbound; got != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestPatchIPv6(t *testing.T) {
	const text = "networks: {lan: {forward: route, address: [10.0.0.1/24, ula]}, old: {address: 10.1.0.1/24}}"
	const lan = "~ network lan: "
	old := mustParse(t, text)
	for body, want := range map[string]string{
		`{"address":"10.0.0.1/24"}`:                           "address [10.0.0.1/24 ula] -> [10.0.0.1/24]",
		`{"address":"10.0.0.1/24,ula,fd00::1/64"}`:            "address [10.0.0.1/24 ula] -> [10.0.0.1/24 ula fd00::1/64]",
		`{"ra":{"rdnss":"fd00::53,fd00::54"}}`:                "ra.rdnss auto -> [fd00::53 fd00::54]",
		`{"ra":{"rdnss":"none","dnssl":[]}}`:                  "ra.rdnss auto -> none|ra.dnssl auto -> none",
		`{"ra":{"rdnss":"auto","dnssl":null}}`:                "",
		`{"ra":{"lifetime":"0s","mtu":"none"}}`:               "ra.lifetime auto -> 0s|ra.mtu auto -> none",
		`{"ra":{"preferred":"0","valid":"infinite"}}`:         "ra.valid 1h30m -> infinite|ra.preferred 45m -> 0s",
		`{"inbound":"open"}`:                                  "inbound.ipv6 published -> open",
		`{"inbound":{"ipv4":"published"}}`:                    "inbound.ipv4 open -> published",
		`{"uplink":{"interface":"e","address":"dhcp,slaac"}}`: `uplink.interface "" -> "e"|uplink.address auto -> [dhcp slaac]`,
		`{"uplink":{"interface":"e","address":["192.0.2.2/24","2001:db8::2/64"],"gateway":"fe80::1,192.0.2.1"}}`: `uplink.interface "" -> "e"|` +
			"uplink.address auto -> [192.0.2.2/24 2001:db8::2/64]|uplink.gateway none -> [192.0.2.1 fe80::1]",
		`{"dhcp6":{"stateless":"true","options":{"dns-servers":"fd00::53"}}}`: `dhcp6.stateless false -> true|dhcp6.options + dns-servers "fd00::53"`,
		`{"dhcp6":{"hosts":[{"duid":"00:04:01","name":"x"}],"delegate":[{"prefix":"fd02::/48","length":56}]}}`: "dhcp6.delegate + fd02::/48 length 56|" +
			"dhcp6.hosts + duid 00:04:01 x",
		`{"dns":{"slaac":"false"}}`: "dns.slaac true -> false",
	} {
		c := old.Clone()
		if err := c.PatchNetwork("lan", []byte(body)); err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if c.Normalize(); Validate(c) != nil {
			t.Errorf("%s: %v", body, Validate(c))
		}
		var lines []string
		for line := range strings.SplitSeq(want, "|") {
			if line != "" {
				lines = append(lines, lan+line)
			}
		}
		if got := texts(Diff(old, c)); got != strings.Join(lines, "\n") {
			t.Errorf("%s\n got %s\nwant %s", body, got, strings.Join(lines, "\n"))
		}
	}
	// A service that a command adds to a network without IPv6 brings the address.
	c := old.Clone()
	if err := c.PatchNetwork("old", []byte(`{"dhcp6":{"stateless":true}}`)); err != nil {
		t.Fatal(err)
	}
	c.Normalize()
	want := "~ network old: address [10.1.0.1/24] -> [10.1.0.1/24 ula]\n~ network old: dhcp6.stateless false -> true"
	if got := texts(Diff(old, c)); got != want || Validate(c) != nil {
		t.Error(got, Validate(c))
	}
	if c = mustParse(t, text); c.PatchPort("lan", "x", nil) == nil {
		t.Error("a port that is not there is patched")
	}
}

func TestDUIDs(t *testing.T) {
	long := strings.Repeat("00:", 129) + "01"
	for text, want := range map[string]string{
		"00:01:02": "", "00:01:AB:cd": "", long: "",
		"00:01":      "has 2 bytes: give 3-130, of which the first two are the type",
		long + ":02": "has 131 bytes: give 3-130, of which the first two are the type",
		"laptop":     `"laptop" is not a DUID: write its bytes in hex, such as 00:03:00:01:02:00:00:00:00:01`,
		"000102":     `"000102" is not a DUID: write its bytes in hex, such as 00:03:00:01:02:00:00:00:00:01`,
	} {
		id, err := ParseDUID(text)
		if want == "" && (err != nil || FormatDUID(id) != strings.ToLower(text)) || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%.40s: %x, %v", text, id, err)
		}
	}
}

func TestCheckReservation6(t *testing.T) {
	n := &mustParse(t, inNetwork("address: [10.0.0.1/24, 'fd00::1/64']")).Networks[0]
	for _, tc := range []struct {
		host DHCP6Host
		want string
	}{
		{DHCP6Host{DUID: []byte{0, 4, 1}, Name: "WEB"}, ""},
		{DHCP6Host{MAC: frame.MAC{2}, Address: netip.MustParseAddr("fd00::9")}, ""},
		{DHCP6Host{DUID: []byte{0, 4}, Name: "a"}, `network "lan": duid: has 2 bytes: give 3-130, of which the first two are the type`},
		{DHCP6Host{Name: "a"}, `network "lan": is for nobody: write the mac or the duid of the client`},
		{DHCP6Host{DUID: []byte{0, 4, 1}, Address: netip.MustParseAddr("10.0.0.9")}, `network "lan": address: 10.0.0.9 is not an IPv6 address, and DHCPv6 gives no others: write one`},
		{DHCP6Host{DUID: []byte{0, 4, 1}, Address: netip.MustParseAddr("fd00::1")}, `network "lan": address: fd00::1 is the address of the gateway: choose another one`},
		{DHCP6Host{DUID: []byte{0, 4, 1}, Name: "a", Lease: time.Second}, `network "lan": lease: 1s is out of range: give 2m-365d in whole seconds, or infinite`},
	} {
		got := ""
		if err := n.CheckReservation6(tc.host); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("got %s\nwant %s", got, tc.want)
		}
	}
}

// The same port of two guests is published at their own addresses, and once for
// each family at the uplink; what leads where is told apart when it is removed.
func TestPublishOfBoth(t *testing.T) {
	c := mustParse(t, "networks: {lan: {forward: route, address: [10.0.0.1/24, 'fd00::1/64']}, nat: {forward: nat, address: [10.1.0.1/24, ula]}}")
	l := Listen{First: 80, Last: 80}
	to := netip.MustParseAddrPort
	add := func(network, at string) error { return c.AddPublish(network, Publish{TCP, l, to(at)}) }
	for _, at := range []string{"10.0.0.9:80", "10.0.0.8:80", "[fd00::9]:80", "[fd00::8]:80"} {
		if err := add("lan", at); err != nil {
			t.Error(err)
		}
		if add("lan", at) == nil {
			t.Errorf("%s is published twice", at)
		}
	}
	six := netip.AddrPortFrom(ULA("nat").Addr().Next(), 8080).String()
	for _, at := range []string{"10.1.0.9:1", six} {
		if err := add("nat", at); err != nil {
			t.Error(err)
		}
	}
	if err := add("nat", netip.AddrPortFrom(ULA("nat").Addr().Next().Next(), 1).String()); err == nil || !strings.Contains(err.Error(), "as 80 to "+six) {
		t.Error(err)
	}
	if c.Normalize(); Validate(c) != nil {
		t.Fatal(Validate(c))
	}
	n := c.Network("lan")
	if n.PublishTo(TCP, l, to("[fd00::8]:80")) < 0 || n.PublishTo(TCP, l, to("[fd00::8]:81")) >= 0 || n.PublishTo(UDP, l, to("[fd00::8]:80")) >= 0 {
		t.Error(n.NAT.Publish)
	}
	if !c.RemovePublishTo("lan", TCP, l, to("10.0.0.8:80")) || c.RemovePublishTo("lan", TCP, l, to("10.0.0.8:80")) || len(n.NAT.Publish) != 3 {
		t.Error(n.NAT.Publish)
	}
	if !c.RemovePublish("lan", TCP, l) || n.NAT.Publish != nil || c.RemovePublish("lan", TCP, l) {
		t.Error(n.NAT.Publish)
	}
}
