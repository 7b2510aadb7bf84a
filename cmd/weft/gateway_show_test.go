package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
)

// "network show" says what clients are told and which names there are, as it was
// configured, and nothing of what was not.
func TestNetworkShowsItsServices(t *testing.T) {
	c, err := config.Parse("", []byte(`networks:
  full:
    address: 10.0.0.1/24
    dhcp: {range: 10.0.0.9, bootfile: pxelinux.0, server_name: boot, options: {42: 10.0.0.5, mtu: 1400},
      hosts_file: /etc/weft/hosts.dhcp, hosts: [{mac: "02:00:00:00:00:01", name: web}]}
    dns: {hosts: {a: 10.0.0.2, b.lab: 10.0.0.3}, txt: {a: x}, domains: {corp.example: [], lab: host}, hosts_file: /etc/hosts}
  plain: {address: 10.0.1.1/24, dhcp: {range: 10.0.1.9, router: 10.0.1.2}}
  own: {address: 10.0.2.1/24, dhcp: {range: 10.0.2.9, next_server: 10.0.2.7, bootfile: x, router: none}}
`))
	if err != nil {
		t.Fatal(err)
	}
	lines := func(name string, upstreams ...api.DNSUpstream) []string {
		n := api.Network{Name: name, DHCP: &api.NetworkDHCP{LeaseSeconds: 3600}, DNS: &api.NetworkDNS{Upstreams: upstreams}}
		var got []string
		for _, line := range shown(t, func(tb *table) { fillGateway(tb, n, c.Network(name)) }) {
			got = append(got, strings.Join(strings.Fields(line), " "))
		}
		return got
	}
	for _, tc := range []struct {
		got       []string
		want, not []string
	}{
		{lines("full", api.DNSUpstream{Address: "192.0.2.53:53", Domain: "lab", State: "ok"}), []string{
			"DHCP router: none, as nothing leads out of the network",
			"DHCP boot file: pxelinux.0, from 10.0.0.1, server name boot",
			"DHCP option 42: 10.0.0.5", "DHCP option mtu: 1400",
			"DHCP reservations: 1, and those of /etc/weft/hosts.dhcp",
			"DNS upstreams: 192.0.2.53:53 for lab (ok), none for other names, which are refused",
			"DNS records: 2 hosts, 1 TXT, and those of /etc/hosts",
			"DNS local domain: corp.example",
		}, nil},
		{lines("plain", api.DNSUpstream{Address: "192.0.2.53:53", State: "ok"}), []string{
			"DHCP router: 10.0.1.2", "DNS upstreams: 192.0.2.53:53 (ok)",
		}, []string{"boot", "option", "reservations", "records", "local", "none"}},
		{lines("own"), []string{
			"DHCP router: none", "DHCP boot file: x, from 10.0.2.7", "DNS upstreams: none for other names, which are refused",
		}, nil},
	} {
		for _, line := range tc.want {
			if !slices.Contains(tc.got, line) {
				t.Errorf("no %q in\n%s", line, strings.Join(tc.got, "\n"))
			}
		}
		for _, word := range tc.not {
			if text := strings.Join(tc.got[3:], "\n"); strings.Contains(text, word) {
				t.Errorf("%q in\n%s", word, text)
			}
		}
	}
}
