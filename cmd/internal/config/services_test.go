package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/option"
)

// everyService is a gateway with all that can be set behind it.
const everyService = `address: 192.168.122.1/24, host_port: weft0,
dhcp: {range: [192.168.122.100-192.168.122.199, 192.168.122.2], lease: 7d, max_leases: 50, authoritative: false, probe: false,
  no_override: true, router: 192.168.122.254, ntp: 192.168.122.10, domain_search: [Lab., corp.example], next_server: 192.168.122.11,
  server_name: boot, bootfile: pxelinux.0, hosts_file: /etc/dhcp.hosts,
  options: {NTP-server: [192.168.122.12, 192.168.122.13], 26: 1400},
  hosts: [{client_id: 01:52:54:00:00:00:01, address: 192.168.122.20, name: WEB, lease: infinite},
    {mac: "52:54:00:00:00:02", address: 192.168.122.10, name: db, lease: 1h}, {client_id: laptop, name: x}]},
dns: {enabled: true, name: GW, domain: Lab, upstream: [10.0.0.53:5353, "fd00::53"], forward_plain: true, cache: 5,
  domains: {home.arpa: [], Corp.example.: [10.0.0.53, host]}, hosts: {web.lab: [192.168.122.20, fd00::20], Printer: 192.168.122.21},
  txt: {lab: "v=spf1 -all, x", _dmarc: [a, "b c"]}, hosts_file: /etc/dns.hosts,
  srv: [{name: _ldap._tcp.lab, target: DC2, port: 389, priority: 10, weight: 5}, {name: _ldap._tcp.lab, target: dc1, port: 389}]}`

func TestParseEveryService(t *testing.T) {
	a := netip.MustParseAddr
	got := &mustParse(t, "lease_file: /x\nnetworks: {lan: {"+everyService+"}}").Networks[0]
	want := NewNetwork("lan")
	want.Addresses = []netip.Prefix{netip.MustParsePrefix("192.168.122.1/24")}
	want.HostPort = "weft0"
	want.DHCP = DHCP{
		Ranges: []Range{{a("192.168.122.2"), a("192.168.122.2")}, {a("192.168.122.100"), a("192.168.122.199")}},
		Lease:  7 * 24 * time.Hour, MaxLeases: 50, NoOverride: true, Router: "192.168.122.254", NTP: []netip.Addr{a("192.168.122.10")},
		Search: []string{"lab", "corp.example"}, NextServer: a("192.168.122.11"), ServerName: "boot", Bootfile: "pxelinux.0",
		HostsFile: "/etc/dhcp.hosts",
		Options: []DHCPOption{
			{Key: "26", Value: "1400", Option: option.Option{Code: 26, Data: []byte{1400 >> 8, 1400 & 0xff}}},
			{Key: "NTP-server", Value: "192.168.122.12,192.168.122.13", Option: option.Option{Code: 42, Data: []byte{192, 168, 122, 12, 192, 168, 122, 13}}},
		},
		Hosts: []DHCPHost{
			{ClientID: []byte("laptop"), Name: "x"},
			{MAC: frame.MAC{0x52, 0x54, 0, 0, 0, 2}, Address: a("192.168.122.10"), Name: "db", Lease: time.Hour},
			{ClientID: []byte{1, 0x52, 0x54, 0, 0, 0, 1}, Address: a("192.168.122.20"), Name: "web", Lease: InfiniteLease},
		},
	}
	want.DNS = DNS{
		Enabled: true, Name: "gw", Domain: "lab", Upstream: []string{"10.0.0.53:5353", "fd00::53"}, ForwardPlain: true, Cache: 5, SLAAC: true,
		Domains: []DNSDomain{{"corp.example", []string{"10.0.0.53", "host"}}, {"home.arpa", nil}},
		Hosts: []DNSHost{
			{"printer", []netip.Addr{a("192.168.122.21")}}, {"web.lab", []netip.Addr{a("192.168.122.20"), a("fd00::20")}},
		},
		TXT:       []DNSText{{"_dmarc", []string{"a", "b c"}}, {"lab", []string{"v=spf1 -all, x"}}},
		HostsFile: "/etc/dns.hosts",
		SRV:       []DNSService{{"_ldap._tcp.lab", "dc1", 389, 0, 0}, {"_ldap._tcp.lab", "dc2", 389, 10, 5}},
	}
	want.Ports = []Port{{
		Name: "host", Type: TypeInternal, Interface: "weft0", MAC: want.MAC, Addresses: want.Addresses, Seat: true, Policy: plainPolicy(),
	}}
	if d := sameConfig(&Config{Networks: []Network{want}}, &Config{Networks: []Network{*got}}); d != "" {
		t.Error(d)
	}
}

func TestServicesWrittenOut(t *testing.T) {
	c := mustParse(t, "networks: {lan: {mac: 02:00:00:00:00:01, "+everyService+", ports: {host: {isolated: true}}}}")
	want := `    dhcp:
      range: ["192.168.122.2", "192.168.122.100-192.168.122.199"]
      lease: 7d
      max_leases: 50
      authoritative: false
      probe: false
      no_override: true
      router: "192.168.122.254"
      ntp: ["192.168.122.10"]
      domain_search: [lab, corp.example]
      next_server: "192.168.122.11"
      server_name: boot
      bootfile: pxelinux.0
      options: {"26": "1400", NTP-server: "192.168.122.12,192.168.122.13"}
      hosts_file: "/etc/dhcp.hosts"
      hosts:
        - {client_id: laptop, name: x}
        - {mac: "52:54:00:00:00:02", address: "192.168.122.10", name: db, lease: 1h}
        - {client_id: "01:52:54:00:00:00:01", address: "192.168.122.20", name: web, lease: infinite}
    dns:
      enabled: true
      name: gw
      domain: lab
      upstream: ["10.0.0.53:5353", "fd00::53"]
      slaac: true
      forward_plain: true
      cache: 5
      domains: {corp.example: ["10.0.0.53", host], home.arpa: []}
      hosts: {printer: ["192.168.122.21"], web.lab: ["192.168.122.20", "fd00::20"]}
      txt: {"_dmarc": [a, "b c"], lab: ["v=spf1 -all, x"]}
      hosts_file: "/etc/dns.hosts"
      srv:
        - {name: "_ldap._tcp.lab", target: dc1, port: 389, priority: 0, weight: 0}
        - {name: "_ldap._tcp.lab", target: dc2, port: 389, priority: 10, weight: 5}
    ports:
      host: {mode: bridge, isolated: true}
`
	text := string(c.YAML())
	if _, got, _ := strings.Cut(text, "port_limit: 0\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(text, "    mac: \"02:00:00:00:00:01\"\n    address: [\"192.168.122.1/24\"]\n    host_port: weft0\n    mtu") {
		t.Error(text)
	}
	if d := sameConfig(c, mustParse(t, text)); d != "" {
		t.Error(d)
	}
	// What a network without a gateway cannot use is not written, but what was
	// said of it is.
	for text, want := range map[string]bool{"": false, "dns: {enabled: false}": true, served("")[len("networks: {lan: {") : len(served(""))-2]: true} {
		c := mustParse(t, inNetwork(text))
		if got := strings.Contains(string(c.YAML()), "    dns:\n      enabled: "); got != want {
			t.Errorf("%q: %s", text, c.YAML())
		}
	}
}

func TestDiffServices(t *testing.T) {
	old := mustParse(t, "networks: {lan: {"+everyService+"}}")
	c := old.Clone()
	n := &c.Networks[0]
	c.LeaseFile = "/y"
	n.Addresses[0] = netip.MustParsePrefix("192.168.122.2/23")
	n.HostPort = "w"
	n.DHCP.Ranges = n.DHCP.Ranges[1:]
	n.DHCP.Lease = InfiniteLease
	n.DHCP.Hosts[0].Address = netip.MustParseAddr("192.168.122.9")
	n.DHCP.Hosts[2].Name = ""
	n.DHCP.Options = []DHCPOption{{Key: "NTP-server", Value: "192.168.122.12"}, {Key: "224", Value: "a b"}}
	n.DNS.Upstream = nil
	n.DNS.Domains = append(n.DNS.Domains[1:], DNSDomain{"x.y", []string{"none"}})
	n.DNS.Hosts[0].Addresses = append(n.DNS.Hosts[0].Addresses, netip.IPv6Unspecified())
	n.DNS.TXT[0].Values = []string{"a b", "c"}
	n.DNS.SRV[0].Port = 636
	c.Normalize()
	want := `~ lease_file "/var/lib/weft/leases.db" -> "/y"
~ network lan: address [192.168.122.1/24] -> [192.168.122.2/23]
~ network lan: host_port "weft0" -> "w"
~ network lan: dhcp.range [192.168.122.2 192.168.122.100-192.168.122.199] -> [192.168.122.100-192.168.122.199]
~ network lan: dhcp.lease 7d -> infinite
~ network lan: dhcp.options - 26 "1400"
~ network lan: dhcp.options[NTP-server] "192.168.122.12,192.168.122.13" -> "192.168.122.12"
~ network lan: dhcp.options + 224 "a b"
~ network lan: dhcp.hosts - client_id laptop x
~ network lan: dhcp.hosts - client_id 01:52:54:00:00:00:01 192.168.122.20 web lease infinite
~ network lan: dhcp.hosts + client_id laptop 192.168.122.9 x
~ network lan: dhcp.hosts + client_id 01:52:54:00:00:00:01 192.168.122.20 lease infinite
~ network lan: dns.upstream [10.0.0.53:5353 fd00::53] -> []
~ network lan: dns.domains - corp.example [10.0.0.53 host]
~ network lan: dns.domains + x.y [none]
~ network lan: dns.hosts[printer] [192.168.122.21] -> [192.168.122.21 ::]
~ network lan: dns.txt[_dmarc] ["a" "b c"] -> ["a b" "c"]
~ network lan: dns.srv - _ldap._tcp.lab dc1 port 389 priority 0 weight 0
~ network lan: dns.srv + _ldap._tcp.lab dc1 port 636 priority 0 weight 0
~ port lan/host: interface "weft0" -> "w"
~ port lan/host: address [192.168.122.1/24] -> [192.168.122.2/23]`
	if got := texts(Diff(old, c)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// onServed is what a patch of a network with a gateway makes of it.
func onServed(t *testing.T, body string) (*Config, error) {
	t.Helper()
	c := mustParse(t, "networks: {lan: {"+everyService+"}}")
	if err := c.PatchNetwork("lan", []byte(body)); err != nil {
		return nil, err
	}
	c.Normalize()
	return c, Validate(c)
}

func TestPatchServices(t *testing.T) {
	old := mustParse(t, "networks: {lan: {"+everyService+"}}")
	for body, want := range map[string]string{
		`{"dhcp":{"lease":"10m"}}`:                                       "dhcp.lease 7d -> 10m",
		`{"dhcp":{"lease":null}}`:                                        "dhcp.lease 7d -> 1h",
		`{"dhcp":{"lease":"infinite"}}`:                                  "dhcp.lease 7d -> infinite",
		`{"dhcp":{"range":"192.168.122.2,192.168.122.4-192.168.122.5"}}`: "dhcp.range [192.168.122.2 192.168.122.100-192.168.122.199] -> [192.168.122.2 192.168.122.4-192.168.122.5]",
		`{"dhcp":{"range":""}}`:                                          "dhcp.range [192.168.122.2 192.168.122.100-192.168.122.199] -> []",
		`{"dhcp":{"router":""}}`:                                         "dhcp.router 192.168.122.254 -> auto",
		`{"dhcp":{"next_server":""}}`:                                    "dhcp.next_server 192.168.122.11 -> none",
		`{"dhcp":{"bootfile":""}}`:                                       `dhcp.bootfile "pxelinux.0" -> ""`,
		`{"dhcp":{"hosts":[{"mac":"52:54:00:00:00:02","address":"192.168.122.10","name":"db","lease":"1h"}]}}`: "dhcp.hosts - client_id laptop x|" +
			"dhcp.hosts - client_id 01:52:54:00:00:00:01 192.168.122.20 web lease infinite",
		`{"dhcp":{"options":{"mtu":null,"26":null}}}`:                             `dhcp.options - 26 "1400"`,
		`{"dhcp":{"options":{"26":"1300","log-server":["10.0.0.1","10.0.0.2"]}}}`: `dhcp.options[26] "1400" -> "1300"|dhcp.options + log-server "10.0.0.1,10.0.0.2"`,
		`{"dhcp":{"options":null}}`:                                               `dhcp.options - 26 "1400"|dhcp.options - NTP-server "192.168.122.12,192.168.122.13"`,
		`{"dns":{"domain":"example.org","upstream":"none"}}`:                      "dns.domain lab -> example.org|dns.upstream [10.0.0.53:5353 fd00::53] -> [none]",
		`{"dns":{"upstream":"10.0.0.1, host"}}`:                                   "dns.upstream [10.0.0.53:5353 fd00::53] -> [10.0.0.1 host]",
		`{"dns":{"upstream":""}}`:                                                 "dns.upstream [10.0.0.53:5353 fd00::53] -> []",
		`{"dns":{"enabled":"false"}}`:                                             "dns.enabled true -> false",
		`{"dns":{"hosts":{"Printer":"","web.lab":"10.0.0.9","new":"10.0.0.8,10.0.0.7"}}}`: "dns.hosts - printer [192.168.122.21]|" +
			"dns.hosts[web.lab] [192.168.122.20 fd00::20] -> [10.0.0.9]|dns.hosts + new [10.0.0.8 10.0.0.7]",
		`{"dns":{"hosts":{"nobody":null}}}`:                                "",
		`{"dns":{"txt":{"_dmarc":"","lab":null}}}`:                         `dns.txt - _dmarc ["a" "b c"]|dns.txt - lab ["v=spf1 -all, x"]`,
		`{"dns":{"txt":{"lab":"a, b"}}}`:                                   `dns.txt[lab] ["v=spf1 -all, x"] -> ["a, b"]`,
		`{"dns":{"domains":{"home.arpa":["10.0.0.1"],"corp.example":[]}}}`: "dns.domains[corp.example] [10.0.0.53 host] -> []|dns.domains[home.arpa] [] -> [10.0.0.1]",
		// What is the host's own follows.
		`{"host_port":"w","mac":"02:00:00:00:00:77"}`: `mac "` + DeriveMAC("lan", "").String() + `" -> "02:00:00:00:00:77"|host_port "weft0" -> "w"|` +
			`~ port lan/host: interface "weft0" -> "w"|~ port lan/host: mac "` + DeriveMAC("lan", "").String() + `" -> "02:00:00:00:00:77"`,
		`{"host_port":"false"}`:          `- port lan/host (internal)|host_port "weft0" -> ""`,
		`{"host_port":false}`:            `- port lan/host (internal)|host_port "weft0" -> ""`,
		`{"address":"192.168.122.9/24"}`: "address [192.168.122.1/24] -> [192.168.122.9/24]|~ port lan/host: address [192.168.122.1/24] -> [192.168.122.9/24]",
	} {
		var lines []string
		for line := range strings.SplitSeq(want, "|") {
			if line != "" && !strings.HasPrefix(line, "~ ") && !strings.HasPrefix(line, "- ") {
				line = "~ network lan: " + line
			}
			lines = append(lines, line)
		}
		c, err := onServed(t, body)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if got, want := texts(Diff(old, c)), strings.Join(lines, "\n"); got != want {
			t.Errorf("%s\n got %s\nwant %s", body, got, want)
		}
	}
	// All of it off, and on again.
	c, err := onServed(t, `{"address":"","host_port":"","dhcp":"","dns":""}`)
	if err != nil {
		t.Fatal(err)
	}
	if d := sameConfig(mustParse(t, "networks: {lan: {}}"), c); d != "" {
		t.Error(d)
	}
	if err := c.PatchNetwork("lan", []byte(`{"address":"10.0.0.1/24","host_port":"w","dhcp":{"range":"10.0.0.2-10.0.0.9"}}`)); err != nil {
		t.Fatal(err)
	}
	c.Normalize()
	if d := sameConfig(mustParse(t, served("host_port: w, dhcp: {range: 10.0.0.2-10.0.0.9}")), c); d != "" {
		t.Error(d)
	}
}

func TestPatchServicesRefused(t *testing.T) {
	for body, want := range map[string]string{
		`{"dhcp":{"lease":"1s"}}`:                   "dhcp.lease: 1s is out of range: give 2m-365d in whole seconds, or infinite",
		`{"dhcp":{"lease":"x"}}`:                    `dhcp.lease: "x" is not a time of a lease: write a number and its unit, such as 10m, 1h, 7d or 1d12h, or infinite`,
		`{"dhcp":{"range":"192.168.122.1"}}`:        "dhcp.range: 192.168.122.1 holds 192.168.122.1, the address of the gateway: write the ranges before and behind it",
		`{"dhcp":{"range":[]}}`:                     "dhcp.range: is an empty list: write what belongs in it, or remove the key",
		`{"dhcp":{"hosts":"web"}}`:                  "dhcp.hosts: a single value, where a list of maps belongs, which is written in the file only (dhcp.hosts=, without a value, clears it)",
		`{"routes":"10.5.0.0/16"}`:                  "routes: a single value, where a list of maps belongs, which is written in the file only (routes=, without a value, clears it)",
		`{"nat":{"publish":"80"}}`:                  "nat.publish: a single value, where a list of maps belongs, which is written in the file only (nat.publish=, without a value, clears it)",
		`{"dhcp":{"options":{"53":"1"}}}`:           "dhcp.options[53]: is set by the server itself: ",
		`{"dhcp":{"options":{"mtu":"1400"}}}`:       `dhcp.options[mtu]: is option 26, as "26" is: remove one of the two`,
		`{"dns":{"hosts":{"web":"x"}}}`:             `dns.hosts[web]: "x" is not an IP address: write one such as 192.0.2.1`,
		`{"dns":{"hosts":{"gw":"10.0.0.1"}}}`:       "dns.hosts[gw]: is the name of the gateway: choose another one, or another dns.name",
		`{"dns":{"upstream":"192.168.122.1"}}`:      `dns.upstream: "192.168.122.1" is the gateway of network "lan", where weft itself answers: that is a loop, name another server`,
		`{"address":"192.168.122.20/24"}`:           "dhcp.hosts[2].address: 192.168.122.20 is the address of the gateway: choose another one",
		`{"address":"fe80::1/64,192.168.122.1/24"}`: "address[0]: fe80::1/64 is a link-local address, and the gateway makes one itself: write a global or a unique local one, or ula",
		`{"dhcp":{"x":1}}`:                          `dhcp: unknown key "x"; known here: range, lease, max_leases, authoritative, probe, no_override, router, ntp, domain_search, next_server, server_name, bootfile, options, hosts_file, hosts`,
	} {
		_, err := onServed(t, body)
		if err == nil || !strings.HasPrefix(err.Error(), `network "lan": `+want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s\n got %v\nwant %s", body, err, want)
		}
	}
	// What is refused has changed nothing, in what it names before that neither.
	old := mustParse(t, "networks: {lan: {"+everyService+"}}")
	c := old.Clone()
	if err := c.PatchNetwork("lan", []byte(`{"dns":{"hosts":{"printer":"10.0.0.1","web.lab":null}},"dhcp":{"options":{"26":null},"probe":"x"}}`)); err == nil {
		t.Error("accepted")
	}
	if d := sameConfig(old, c); d != "" {
		t.Error(d)
	}
	// A name without an address takes everything that needs one with it.
	if _, err := onServed(t, `{"address":null}`); err == nil || strings.Count(err.Error(), "needs an address of the network") != 3 {
		t.Error(err)
	}
	// An ordinary port of the name does not become the host's.
	c = mustParse(t, served("ports: {host: {type: internal}}"))
	if err := c.PatchNetwork("lan", []byte(`{"host_port":"w"}`)); err != nil {
		t.Fatal(err)
	}
	c.Normalize()
	want := `network "lan": port "host": interface: "host" is not that of host_port, whose port has this name: remove it here, or rename this port`
	if err := Validate(c); err == nil || err.Error() != want || c.Networks[0].HostSeat() != nil {
		t.Error(err)
	}
}

func TestHostSeat(t *testing.T) {
	c := mustParse(t, served("host_port: w, ports: {host: {rate: {egress: {average: 1Mbit}}}}"))
	n := &c.Networks[0]
	p := n.HostSeat()
	if p == nil || p != n.Port("host") || p.Rate.Egress.Average != 1e6 || p.Interface != "w" || p.MAC != n.MAC || p.Addresses[0] != n.Gateway() {
		t.Fatalf("%+v", p)
	}
	p.Addresses[0] = netip.Prefix{} // is its own
	if !n.Gateway().IsValid() {
		t.Error("shares the addresses")
	}
	// A change of the network changes the port, and leaves its policy.
	n.HostPort, n.MAC = "v", frame.MAC{2}
	n.Addresses = []netip.Prefix{netip.MustParsePrefix("10.9.0.1/16")}
	c.Normalize()
	if p := n.HostSeat(); p.Interface != "v" || p.MAC != (frame.MAC{2}) || p.Addresses[0] != n.Gateway() || p.Rate.Egress.Average != 1e6 || len(n.Ports) != 1 {
		t.Errorf("%+v", p)
	}
	if err := Validate(c); err != nil {
		t.Error(err)
	}
	n.HostPort = ""
	if c.Normalize(); n.HostSeat() != nil || len(n.Ports) != 0 {
		t.Errorf("%+v", n.Ports)
	}
	if mustParse(t, served("ports: {host: {type: tap}}")).Networks[0].HostSeat() != nil {
		t.Error("a seat without host_port")
	}
}

func TestWaysOut(t *testing.T) {
	for _, tc := range []struct {
		forward, router string
		upstream        []string
		out, asked      string
	}{
		{ForwardIsolated, "auto", nil, "invalid IP", "[]"},
		{"nat", "auto", nil, "10.0.0.1", "[host]"},
		{"nat", "none", []string{"none"}, "invalid IP", "[]"},
		{ForwardIsolated, "10.0.0.9", []string{"10.0.0.2"}, "10.0.0.9", "[10.0.0.2]"},
		{"nat", "10.0.0.9", []string{"host", "10.0.0.2"}, "10.0.0.9", "[host 10.0.0.2]"},
		{ForwardIsolated, "bad", []string{"host"}, "invalid IP", "[host]"},
	} {
		n := mustParse(t, served("")).Networks[0]
		n.Forward, n.DHCP.Router, n.DNS.Upstream = tc.forward, tc.router, tc.upstream
		if out, asked := n.Router().String(), fmt.Sprint(n.Upstreams()); out != tc.out || asked != tc.asked {
			t.Errorf("%+v: %s, %s", tc, out, asked)
		}
	}
	plain := NewNetwork("lan")
	if plain.Gateway().IsValid() || plain.DHCP.Enabled() {
		t.Error("a plain switch has services")
	}
	for _, keys := range []string{"range: 10.0.0.2", "hosts_file: /x", "hosts: [{client_id: ab, name: x}]"} {
		if n := mustParse(t, inDHCP(keys)).Networks[0]; !n.DHCP.Enabled() {
			t.Errorf("%s: no DHCP", keys)
		}
	}
}

func TestClientIDs(t *testing.T) {
	for text, want := range map[string][]byte{
		"01:02": {1, 2}, "aB:cD:00": {0xab, 0xcd, 0}, "laptop": []byte("laptop"), "01": []byte("01"), "1:2": []byte("1:2"), "01:xx": []byte("01:xx"), "0102": []byte("0102"),
	} {
		got, err := parseClientID(text)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %x, %v", text, got, err)
		}
		if back, err := parseClientID(formatClientID(got)); err != nil || string(back) != string(want) {
			t.Errorf("%s: written %s", text, formatClientID(got))
		}
	}
	// What looks like hex as text is written as the hex of that.
	if got := formatClientID([]byte("01:02")); got != "30:31:3a:30:32" {
		t.Error(got)
	}
}
