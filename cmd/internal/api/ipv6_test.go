package api_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/api/apitest"
)

func withIPv6() *apitest.Backend {
	b := apitest.New()
	b.OpenGateway("lab")
	b.OpenUplink("lab")
	b.OpenIPv6("lab")
	return b
}

func TestLeasesOfIPv6(t *testing.T) {
	const address = `{"network":"lab","mac":"52:54:00:00:00:01","address":"2001:db8:1::1000","hostname":"web",` +
		`"client_id":"00:03:00:01:52:54:00:00:00:01","iaid":0,"expires":TIME,"kind":"dynamic","state":"active","port":"vm1"}`
	const prefix = `{"network":"lab","mac":"","address":"2001:db8:100::/56","hostname":"","client_id":"00:04:aa:bb",` +
		`"iaid":7,"expires":TIME,"kind":"dynamic","state":"active","port":"lan"}`
	const tv = `{"network":"lab","mac":"","address":"2001:db8:1::10","hostname":"tv","client_id":"00:01:02",` +
		`"expires":null,"kind":"static","state":"reserved","port":""}`
	const of = "/v1/networks/lab/leases"
	steps := []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", of + "/2001:db8:1::1000", "", 200, address},
		{"GET", of + "/2001:db8:100::%2F56", "", 200, prefix},
		{"GET", of + "/00:04:aa:bb", "", 200, prefix},
		{"POST", of, `{"duid":"00:01:02","address":"2001:db8:1::10","name":"tv"}`, 204, ""},
		{"GET", of + "/tv", "", 200, tv},
		{"DELETE", of + "/2001:db8:1::10", "", 204, ""},
		{"POST", of + "/2001:db8:100::%2F56/release", "", 204, ""},
		{"GET", of + "/2001:db8:100::%2F56", "", 404, `{"error":"network \"lab\": nobody has a lease as \"2001:db8:100::/56\""}`},
	}
	b := withIPv6()
	h := api.Handler(b)
	for _, s := range steps {
		resp, got := ask(t, h, s.method, s.target, s.body)
		got = timeOfExpiry.ReplaceAllString(got, `"expires":TIME`)
		if resp.StatusCode != s.status || got != s.want {
			t.Errorf("%s %s %s\n got %d %s\nwant %d %s", s.method, s.target, s.body, resp.StatusCode, got, s.status, s.want)
		}
	}
	if got := b.Reservations("lab"); len(got) != 1 || got[0].DUID != "00:01:02" {
		t.Errorf("the backend was asked for %+v", got)
	}
}

func TestNetworkWithIPv6(t *testing.T) {
	_, got := ask(t, api.Handler(withIPv6()), "GET", "/v1/networks/lab", "")
	for _, want := range []string{
		`"addresses":["10.0.0.1/24","2001:db8:1::1/64","fd12:3456:789a::1/64"]`,
		`"dhcp6":{"ranges":["2001:db8:1::1000-2001:db8:1::1fff"],"stateless":false,"lease_seconds":3600,"max_leases":0,"size":4096,"free":4095,` +
			`"delegated":[{"prefix":"2001:db8:100::/48","length":56,"size":256,"used":1}],"leases":{"active":2},` +
			`"messages":[{"type":"request","outcome":"granted","count":2},{"type":"solicit","outcome":"advertised","count":3}]}`,
		`"ra":{"interval_seconds":600,"lifetime_seconds":1800,"preference":"medium","managed":true,"other":true,"mtu":0,` +
			`"prefixes":["2001:db8:1::/64","fd12:3456:789a::/64"],"routes":[],"dns":["fd12:3456:789a::1"],"search":["lab.example"],` +
			`"sent":12,"received":4,"refused":1}`,
		`"inbound":{"ipv4":"open","ipv6":"published"}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s\nwithout %s", got, want)
		}
	}
}

// idle6 has services of IPv6 that have done nothing yet.
type idle6 struct{ *apitest.Backend }

func (idle6) Networks() []api.Network {
	return []api.Network{{Name: "lab", DHCP6: &api.NetworkDHCP6{}, RA: &api.NetworkRA{}}}
}

func TestServicesOfIPv6WithoutListsHaveEmptyOnes(t *testing.T) {
	_, got := ask(t, api.Handler(idle6{apitest.New()}), "GET", "/v1/networks/lab", "")
	for _, want := range []string{
		`"dhcp6":{"ranges":[],"stateless":false,"lease_seconds":0,"max_leases":0,"size":0,"free":0,"delegated":[],"leases":{},"messages":[]}`,
		`"prefixes":[],"routes":[],"dns":[],"search":[]`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s\nwithout %s", got, want)
		}
	}
}

func TestUplinkOfBothFamilies(t *testing.T) {
	const want = `"address":"192.0.2.2/24","addresses":["192.0.2.2/24","2001:db8:5::2/64"],"gateway":"192.0.2.1","gateways":["192.0.2.1","fe80::1"]`
	if _, got := ask(t, api.Handler(withIPv6()), "GET", "/v1/uplinks", ""); !strings.Contains(got, want) {
		t.Errorf("got %s\nwithout %s", got, want)
	}
}

func TestNeighbors(t *testing.T) {
	const host4 = `{"network":"lab","address":"10.0.0.100","mac":"52:54:00:00:00:01","state":"reachable"}`
	const host6 = `{"network":"lab","address":"2001:db8:1::1000","mac":"52:54:00:00:00:01","state":"reachable"}`
	const sought = `{"network":"lab","address":"2001:db8:1::dead","mac":"","state":"incomplete"}`
	const local = `{"network":"lab","address":"fe80::5054:ff:fe00:1","mac":"52:54:00:00:00:01","state":"reachable"}`
	const router = `{"network":"eth0","address":"192.0.2.1","mac":"02:00:00:00:00:fd","state":"reachable"}`
	inside := host4 + "," + host6 + "," + sought + "," + local
	for _, c := range []struct {
		backend *apitest.Backend
		target  string
		status  int
		want    string
	}{
		{withIPv6(), "/v1/neighbors", 200, "[" + inside + "," + router + "]"},
		{withIPv6(), "/v1/neighbors?network=lab", 200, "[" + inside + "]"},
		{withIPv6(), "/v1/neighbors?network=eth0", 200, "[" + router + "]"},
		{withIPv6(), "/v1/neighbors?network=nil", 404, `{"error":"network \"nil\" does not exist"}`},
		{withIPv6(), "/v1/neighbors?address=fe80::1", 400, `{"error":"unknown query parameter \"address\""}`},
		{apitest.New(), "/v1/neighbors", 200, "[]"},
	} {
		if resp, got := ask(t, api.Handler(c.backend), "GET", c.target, ""); resp.StatusCode != c.status || got != c.want {
			t.Errorf("%s\n got %d %s\nwant %d %s", c.target, resp.StatusCode, got, c.status, c.want)
		}
	}
}

// A filter chooses by addresses of either family in the same words, also as the ends
// of flows are shown.
func TestFlowFilterOfBothFamilies(t *testing.T) {
	h := api.Handler(withIPv6())
	for query, want := range map[string]string{
		"address=10.0.0.100":                "3",
		"address=2001:db8:1::1000":          "3",
		"address=[2001:db8:1::1000]":        "3",
		"address=10.0.0.0/8":                "5",
		"address=2001:db8:1::/48":           "3",
		"address=2001:DB8:FFFF::7":          "2",
		"address=2001:db8:ffff::7&port=443": "1",
		"address=::/0":                      "3",
		"address=0.0.0.0/0":                 "5",
		"protocol=icmp":                     "1",
		"protocol=icmpv6":                   "1",
		"protocol=58":                       "1",
		"protocol=ICMPv6&port=77":           "1",
		"protocol=47":                       "2",
	} {
		resp, got := ask(t, h, "GET", "/v1/flows?limit=1&"+query, "")
		if total := resp.Header.Get(api.TotalHeader); resp.StatusCode != 200 || total != want {
			t.Errorf("%s: %d, %s flows, want %s: %s", query, resp.StatusCode, total, want, got)
		}
	}
}

func TestProtocolNames(t *testing.T) {
	for protocol, name := range map[uint8]string{1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"} {
		if api.ProtocolName(protocol) != name || !api.HasPorts(protocol) || !slices.Contains(api.ProtocolNames(), name) {
			t.Errorf("protocol %d is %s, with ports %v", protocol, api.ProtocolName(protocol), api.HasPorts(protocol))
		}
	}
	if api.ProtocolName(47) != "47" || api.HasPorts(47) {
		t.Error("GRE has a name or ports")
	}
}

func TestGuardIsASetting(t *testing.T) {
	h := api.Handler(apitest.New())
	const of = "/v1/networks/lab/ports/vm1"
	for _, tt := range [][2]string{
		{`{"guard":{"ra":"true"}}`, `"guard":{"ra":true,"dhcp":false}`},
		{`{"guard":{"dhcp":true}}`, `"guard":{"ra":true,"dhcp":true}`},
	} {
		body, want := tt[0], tt[1]
		if resp, got := ask(t, h, "PATCH", of, body); resp.StatusCode != 200 || !strings.Contains(got, want) {
			t.Errorf("%s: %d %s\nwithout %s", body, resp.StatusCode, got, want)
		}
	}
	if _, got := ask(t, h, "GET", of, ""); !strings.Contains(got, `"guard":{"ra":true,"dhcp":true}`) {
		t.Errorf("got %s", got)
	}
}
