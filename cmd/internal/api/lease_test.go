package api_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/api/apitest"
)

var timeOfExpiry = regexp.MustCompile(`"expires":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"`)

func TestLeases(t *testing.T) {
	const db = `{"network":"lab","mac":"02:00:00:00:00:10","address":"10.0.0.10","hostname":"db","client_id":"",` +
		`"expires":null,"kind":"static","state":"reserved","port":""}`
	const web = `{"network":"lab","mac":"52:54:00:00:00:01","address":"10.0.0.100","hostname":"web",` +
		`"client_id":"01:52:54:00:00:00:01","expires":TIME,"kind":"dynamic","state":"active","port":"vm1"}`
	const old = `{"network":"lab","mac":"02:00:00:00:00:09","address":"10.0.0.101","hostname":"","client_id":"",` +
		`"expires":TIME,"kind":"dynamic","state":"expired","port":""}`
	const printer = `{"network":"lab","mac":"02:00:00:00:00:0a","address":"10.0.0.102","hostname":"printer","client_id":"",` +
		`"expires":null,"kind":"dynamic","state":"active","port":"lan"}`
	const tv = `{"network":"lab","mac":"","address":"10.0.0.11","hostname":"tv","client_id":"tv-1",` +
		`"expires":null,"kind":"static","state":"reserved","port":""}`
	const of = "/v1/networks/lab/leases"
	steps := []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/v1/leases", "", 200, "[" + db + "," + web + "," + old + "," + printer + "]"},
		{"GET", of + "/10.0.0.100", "", 200, web},
		{"GET", of + "/52-54-00-00-00-01", "", 200, web},
		{"GET", of + "/DB", "", 200, db},
		{"POST", of, `{"client_id":"tv-1","address":"10.0.0.11","name":"tv","lease_seconds":7200}`, 204, ""},
		{"GET", of + "/tv", "", 200, tv},
		{"POST", of, `{"mac":"02:00:00:00:00:11","address":"10.0.0.11"}`, 409, `{"error":"network \"lab\": 10.0.0.11 is reserved already"}`},
		{"POST", of, `{"mac":"02:00","address":"10.0.0.12"}`, 422, `{"error":"\"02:00\" is no MAC address"}`},
		{"DELETE", of + "/web", "", 404, `{"error":"network \"lab\": the lease of \"web\" is no reservation"}`},
		{"DELETE", of + "/db", "", 204, ""},
		{"DELETE", of + "/db", "", 404, `{"error":"network \"lab\": nobody has a lease as \"db\""}`},
		{"POST", of + "/tv/release", "", 404, `{"error":"network \"lab\": \"tv\" has no lease to release"}`},
		{"POST", of + "/10.0.0.100/release", "", 204, ""},
		{"GET", "/v1/leases?network=lab", "", 200, "[" + tv + "," + old + "," + printer + "]"},
	}
	b := apitest.New()
	b.OpenGateway("lab")
	h := api.Handler(b)
	for _, s := range steps {
		resp, got := ask(t, h, s.method, s.target, s.body)
		got = timeOfExpiry.ReplaceAllString(got, `"expires":TIME`)
		if resp.StatusCode != s.status || got != s.want {
			t.Errorf("%s %s %s\n got %d %s\nwant %d %s", s.method, s.target, s.body, resp.StatusCode, got, s.status, s.want)
		}
	}
	if got := b.Reservations("lab"); len(got) != 1 || got[0].LeaseSeconds != 7200 {
		t.Errorf("the backend was asked for %+v", got)
	}
}

func TestNetworkWithServices(t *testing.T) {
	const want = `"addresses":["10.0.0.1/24"],"vlan":0,"host_port":"weft-lab",` +
		`"dhcp":{"ranges":["10.0.0.100-10.0.0.199"],"lease_seconds":3600,"max_leases":0,"size":100,"free":98,` +
		`"leases":{"active":2,"expired":1,"reserved":1},"messages":[{"type":"discover","outcome":"offered","count":3},` +
		`{"type":"discover","outcome":"unavailable","count":1},{"type":"request","outcome":"granted","count":2}]},` +
		`"dhcp6":null,"ra":null,"dns":{"name":"gateway","domain":"lab.example","upstreams":[{"address":"192.0.2.53:53","domain":"","state":"ok"},` +
		`{"address":"198.51.100.1:53","domain":"corp.example","state":"failing"}],"cache_entries":12,` +
		`"queries":{"cached":5,"forwarded":2,"local":3,"refused":0},` +
		`"latency":{"bounds":[0.001,0.1],"counts":[8,1],"sum_seconds":2.5,"count":10}},"nat":null,"inbound":{"ipv4":"open","ipv6":"published"}}`
	b := apitest.New()
	b.OpenGateway("lab")
	h := api.Handler(b)
	_, one := ask(t, h, "GET", "/v1/networks/lab", "")
	if !strings.HasSuffix(one, ","+want) {
		t.Errorf("got %s\nwithout %s", one, want)
	}
	if _, all := ask(t, h, "GET", "/v1/networks", ""); all != "["+one+"]" {
		t.Errorf("one network is %s\namong all it is %s", one, all)
	}
}

// elsewhere has services that have done nothing yet, and a clock of its own.
type elsewhere struct{ *apitest.Backend }

func (elsewhere) Networks() []api.Network {
	return []api.Network{{Name: "lab", DHCP: &api.NetworkDHCP{}, DNS: &api.NetworkDNS{}}}
}

func (elsewhere) Lease(string, string) (api.Lease, error) {
	at := time.Date(2026, 7, 1, 14, 30, 5, 999, time.FixedZone("", 2*60*60))
	return api.Lease{Expires: &at}, nil
}

func TestServicesWithoutListsHaveEmptyOnes(t *testing.T) {
	const want = `"dhcp":{"ranges":[],"lease_seconds":0,"max_leases":0,"size":0,"free":0,"leases":{},"messages":[]},` +
		`"dhcp6":null,"ra":null,"dns":{"name":"","domain":"","upstreams":[],"cache_entries":0,"queries":{},` +
		`"latency":{"bounds":[],"counts":[],"sum_seconds":0,"count":0}},"nat":null,"inbound":{"ipv4":"","ipv6":""}}`
	h := api.Handler(elsewhere{apitest.New()})
	for _, target := range []string{"/v1/networks/lab", "/v1/networks"} {
		if _, got := ask(t, h, "GET", target, ""); !strings.Contains(got, `"addresses":[],`) || !strings.Contains(got, want) {
			t.Errorf("%s: got %s\nwithout %s", target, got, want)
		}
	}
}

func TestExpiryIsInSecondsOfUTC(t *testing.T) {
	_, got := ask(t, api.Handler(elsewhere{apitest.New()}), "GET", "/v1/networks/lab/leases/web", "")
	if want := `"expires":"2026-07-01T12:30:05Z"`; !strings.Contains(got, want) {
		t.Errorf("got %s\nwithout %s", got, want)
	}
}
