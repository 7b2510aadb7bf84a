package api_test

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/api/apitest"
)

func withUplink() *apitest.Backend {
	b := apitest.New()
	b.OpenUplink("lab")
	return b
}

func TestFlows(t *testing.T) {
	const web = `{"network":"lab","protocol":"tcp","state":"established",` +
		`"original":{"source":"10.0.0.100:40000","destination":"198.51.100.7:443"},` +
		`"translated":{"source":"192.0.2.2:40000","destination":"198.51.100.7:443"},` +
		`"packets":12,"bytes":3456,"expires_seconds":7440,"offloaded":true}`
	const ssh = `{"network":"lab","protocol":"tcp","state":"fin-wait",` +
		`"original":{"source":"203.0.113.5:50000","destination":"192.0.2.2:19888"},` +
		`"translated":{"source":"203.0.113.5:50000","destination":"10.0.0.10:22"},` +
		`"packets":9,"bytes":900,"expires_seconds":240,"offloaded":false}`
	const dns = `{"network":"lab","protocol":"udp","state":"replied",` +
		`"original":{"source":"10.0.0.100:53000","destination":"198.51.100.53:53"},` +
		`"translated":{"source":"192.0.2.2:53000","destination":"198.51.100.53:53"},` +
		`"packets":2,"bytes":200,"expires_seconds":300,"offloaded":false}`
	const echo = `{"network":"lab","protocol":"icmp","state":"replied",` +
		`"original":{"source":"10.0.0.100:77","destination":"198.51.100.7:77"},` +
		`"translated":{"source":"192.0.2.2:77","destination":"198.51.100.7:77"},` +
		`"packets":4,"bytes":336,"expires_seconds":60,"offloaded":false}`
	const gre = `{"network":"lab","protocol":"47","state":"unreplied",` +
		`"original":{"source":"10.0.0.101","destination":"198.51.100.9"},` +
		`"translated":{"source":"192.0.2.2","destination":"198.51.100.9"},` +
		`"packets":1,"bytes":2500000,"expires_seconds":600,"offloaded":false}`
	steps := []struct {
		method, target string
		status         int
		want, total    string
	}{
		{"GET", "/v1/flows", 200, "[" + web + "," + ssh + "," + dns + "," + echo + "," + gre + "]", "5"},
		{"GET", "/v1/flows?network=lab&limit=2", 200, "[" + web + "," + ssh + "]", "5"},
		{"GET", "/v1/flows?protocol=tcp", 200, "[" + web + "," + ssh + "]", "2"},
		{"GET", "/v1/flows?protocol=6&state=fin-wait", 200, "[" + ssh + "]", "1"},
		{"GET", "/v1/flows?protocol=UDP", 200, "[" + dns + "]", "1"},
		{"GET", "/v1/flows?protocol=47", 200, "[" + gre + "]", "1"},
		{"GET", "/v1/flows?address=10.0.0.10", 200, "[" + ssh + "]", "1"},
		{"GET", "/v1/flows?address=198.51.100.0/29", 200, "[" + web + "," + echo + "]", "2"},
		{"GET", "/v1/flows?port=22", 200, "[" + ssh + "]", "1"},
		{"GET", "/v1/flows?port=77&address=192.0.2.2", 200, "[" + echo + "]", "1"},
		{"GET", "/v1/flows?port=443&address=192.0.2.2", 200, "[]", "0"}, // of another end
		{"GET", "/v1/flows?network=nil", 404, `{"error":"network \"nil\" does not exist"}`, ""},
		{"DELETE", "/v1/flows?network=nil", 404, `{"error":"network \"nil\" does not exist"}`, ""},
		{"DELETE", "/v1/flows?address=10.0.0.100&protocol=tcp", 200, `{"flushed":1}`, ""},
		{"GET", "/v1/flows", 200, "[" + ssh + "," + dns + "," + echo + "," + gre + "]", "4"},
		{"DELETE", "/v1/flows", 200, `{"flushed":4}`, ""},
		{"GET", "/v1/flows", 200, "[]", "0"},
	}
	h := api.Handler(withUplink())
	for _, s := range steps {
		resp, got := ask(t, h, s.method, s.target, "")
		if total := resp.Header.Get("Weft-Total"); resp.StatusCode != s.status || got != s.want || total != s.total {
			t.Errorf("%s %s\n got %d %s (of %s)\nwant %d %s (of %s)", s.method, s.target, resp.StatusCode, got, total, s.status, s.want, s.total)
		}
		if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s %s: content type %q", s.method, s.target, ct)
		}
	}
}

func TestFlowRefusals(t *testing.T) {
	const states = "new, syn-sent, syn-received, established, fin-wait, time-wait, closed, unreplied, replied"
	const address = "write an address such as 192.0.2.1 or 2001:db8::1, or a prefix such as 192.0.2.0/24 or 2001:db8::/32"
	b := withUplink()
	before := state(t, b)
	h := api.Handler(b)
	for query, want := range map[string]string{
		"protocol=sctp":           `protocol is "sctp": say tcp, udp, icmp, icmpv6 or a number from 0 to 255`,
		"protocol=256":            `protocol is "256": say tcp, udp, icmp, icmpv6 or a number from 0 to 255`,
		"protocol=":               `protocol is "": say tcp, udp, icmp, icmpv6 or a number from 0 to 255`,
		"address=web":             `address is "web": ` + address,
		"address=10.0.0.1/33":     `address is "10.0.0.1/33": ` + address,
		"address=":                `address is "": ` + address,
		"address=fe80::1%25eth0":  `address is "fe80::1%eth0": ` + address,
		"port=0":                  `port is "0": say a number from 1 to 65535`,
		"port=65536":              `port is "65536": say a number from 1 to 65535`,
		"port=ssh":                `port is "ssh": say a number from 1 to 65535`,
		"state=open":              `state is "open": say one of ` + states,
		"network=":                `network is "": name a network, or leave it out for all`,
		"proto=tcp":               `unknown query parameter "proto"`,
		"port=22&port=23":         `query parameter "port" is given 2 times`,
		"protocol=tcp&state=open": `state is "open": say one of ` + states,
	} {
		for _, method := range []string{"GET", "DELETE"} {
			resp, got := ask(t, h, method, "/v1/flows?"+query, "")
			if want := `{"error":` + quote(want) + `}`; resp.StatusCode != 400 || got != want {
				t.Errorf("%s %s\n got %d %s\nwant 400 %s", method, query, resp.StatusCode, got, want)
			}
		}
	}
	for query, want := range map[string]string{
		"limit=0":       `limit is "0": say a number from 1 to 1000000`,
		"limit=1000001": `limit is "1000001": say a number from 1 to 1000000`,
		"limit=":        `limit is "": say a number from 1 to 1000000`,
	} {
		if resp, got := ask(t, h, "GET", "/v1/flows?"+query, ""); resp.StatusCode != 400 || got != `{"error":`+quote(want)+`}` {
			t.Errorf("%s: %d %s\nwant 400 %s", query, resp.StatusCode, got, want)
		}
	}
	if resp, got := ask(t, h, "DELETE", "/v1/flows?limit=1", ""); resp.StatusCode != 400 {
		t.Errorf("a flush with a limit: %d %s", resp.StatusCode, got)
	}
	if diff := cmp.Diff(before, state(t, b)); diff != "" {
		t.Errorf("a refused request changed something (-before +after):\n%s", diff)
	}
}

// Without a limit an answer has ten thousand flows, and says how many there are.
func TestFlowsHaveALimit(t *testing.T) {
	b := withUplink()
	b.OpenFlows("lab", 25_000)
	h := api.Handler(b)
	for target, want := range map[string]int{
		"/v1/flows": 10_000, "/v1/flows?limit=1": 1, "/v1/flows?limit=25005": 25_005, "/v1/flows?limit=1000000": 25_005,
	} {
		resp, got := ask(t, h, "GET", target, "")
		var list []api.Flow
		if err := json.Unmarshal([]byte(got), &list); err != nil || len(list) != want {
			t.Errorf("%s: %d flows, %v, want %d", target, len(list), err, want)
		}
		if total := resp.Header.Get(api.TotalHeader); total != strconv.Itoa(25_005) {
			t.Errorf("%s: of %q", target, total)
		}
	}
}

func TestPublish(t *testing.T) {
	const ssh = `{"network":"lab","protocol":"tcp","listen":"19888","to":"10.0.0.10:22","flows":1,"outside":"192.0.2.2:19888","taken":""}`
	const local = `{"network":"lab","protocol":"tcp","listen":"127.0.0.1:8080","to":"10.0.0.10:80","flows":0,"outside":"127.0.0.1:8080","taken":""}`
	const dns = `{"network":"lab","protocol":"udp","listen":"5353-5360","to":"10.0.0.10:53","flows":0,"outside":"192.0.2.2:5353-5360","taken":""}`
	const of = "/v1/networks/lab/publish"
	steps := []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/v1/publish", "", 200, "[" + ssh + "]"},
		{"POST", of, `{"listen":"127.0.0.1:8080","to":"10.0.0.10:80"}`, 204, ""},
		{"POST", of, `{"protocol":"udp","listen":"5353-5360","to":"10.0.0.10:53"}`, 204, ""},
		{"POST", of, `{"listen":"19888","to":"10.0.0.11:22"}`, 409, `{"error":"network \"lab\": tcp 19888 is published already"}`},
		{"POST", of, `{"listen":"1","to":"web"}`, 422, `{"error":"network \"lab\": to: \"web\" is no address and port"}`},
		{"POST", of, `{"listen":1,"to":"10.0.0.10:80"}`, 400, `{"error":"request body: listen: a number, where a string belongs"}`},
		{"POST", of, `{"port":1}`, 400, `{"error":"request body: unknown field \"port\""}`},
		{"POST", "/v1/networks/nil/publish", `{}`, 404, `{"error":"network \"nil\" does not exist"}`},
		{"GET", "/v1/publish?network=lab", "", 200, "[" + local + "," + ssh + "," + dns + "]"},
		{"GET", "/v1/publish?network=nil", "", 404, `{"error":"network \"nil\" does not exist"}`},
		{"DELETE", of, "", 400, `{"error":"listen is missing: say which port, such as 8080"}`},
		{"DELETE", of + "?listen=19888&protocol=icmp", "", 400, `{"error":"protocol is \"icmp\": say tcp or udp"}`},
		{"DELETE", of + "?listen=5353-5360", "", 404, `{"error":"network \"lab\": tcp 5353-5360 is not published"}`},
		{"DELETE", of + "?listen=5353-5360&protocol=udp", "", 204, ""},
		{"DELETE", of + "?listen=127.0.0.1:8080", "", 204, ""},
		{"DELETE", of + "?listen=19888&protocol=tcp", "", 204, ""},
		{"GET", "/v1/publish", "", 200, "[]"},
	}
	h := api.Handler(withUplink())
	for _, s := range steps {
		resp, got := ask(t, h, s.method, s.target, s.body)
		if resp.StatusCode != s.status || got != s.want {
			t.Errorf("%s %s %s\n got %d %s\nwant %d %s", s.method, s.target, s.body, resp.StatusCode, got, s.status, s.want)
		}
	}
}

func TestUplinks(t *testing.T) {
	const want = `[{"interface":"eth0","kind":"host","kinds":["host"],"state":"up","detail":"","address":"192.0.2.2/24","addresses":["192.0.2.2/24"],"gateway":"192.0.2.1","gateways":["192.0.2.1"],` +
		`"mac":"52:54:00:00:00:fe","mtu":1500,"networks":["lab"],"rx":{"frames":30,"bytes":4096},"tx":{"frames":20,"bytes":2500000},` +
		`"drops":{"nat-filtered":5,"ttl":1},"flows":5,"neighbors":2,"ports":{"ranges":"1024-32767, 61000-65535","in_use":3,"free":36277}},` +
		`{"interface":"wlan0","kind":"sockets","kinds":["sockets"],"state":"down","detail":"the interface is switched off","address":"","addresses":[],"gateway":"","gateways":[],` +
		`"mac":"","mtu":1500,"networks":[],"rx":{"frames":0,"bytes":0},"tx":{"frames":0,"bytes":0},"drops":{},"flows":0,"neighbors":0,"ports":null}]`
	for b, want := range map[*apitest.Backend]string{withUplink(): want, apitest.New(): "[]"} {
		if resp, got := ask(t, api.Handler(b), "GET", "/v1/uplinks", ""); resp.StatusCode != 200 || got != want {
			t.Errorf("got  %d %s\nwant 200 %s", resp.StatusCode, got, want)
		}
	}
}

// An uplink is captured by the name of its interface, unless it is sockets.
func TestCaptureOfUplink(t *testing.T) {
	for path, want := range map[string]int{"eth0/capture": 200, "wlan0/capture": 404, "eth1/capture": 404, "eth0/capture?port=eth0": 404} {
		if resp, _ := ask(t, api.Handler(withUplink()), "HEAD", "/v1/networks/"+path, ""); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// idle has NAT that has done nothing yet.
type idle struct{ *apitest.Backend }

func (idle) Networks() []api.Network {
	return []api.Network{{Name: "lab", NAT: &api.NetworkNAT{MaxFlows: 9}}}
}

func TestNetworkWithNAT(t *testing.T) {
	for _, c := range []struct {
		backend api.Backend
		want    string
	}{
		{idle{apitest.New()}, `,"nat":{"max_flows":9,"protocols":[],"refused":{},"ports":null,"ipv6":""},"inbound":{"ipv4":"","ipv6":""}}`},
		{withUplink(), `,"nat":{"max_flows":65536,"protocols":[{"protocol":"tcp","flows":2,"mappings":2,"created":40,"expired":38},` +
			`{"protocol":"udp","flows":1,"mappings":1,"created":7,"expired":6}],"refused":{"nat-host-full":3,"nat-ports-full":0},"ports":{"ranges":"1024-32767, 61000-65535","in_use":3,"free":36277},"ipv6":"masquerade"},"inbound":{"ipv4":"open","ipv6":"published"}}`},
	} {
		if _, got := ask(t, api.Handler(c.backend), "GET", "/v1/networks/lab", ""); !strings.HasSuffix(got, c.want) {
			t.Errorf("got %s\nwithout %s", got, c.want)
		}
	}
}

// What Query writes, Set reads.
func TestFlowFilterQuery(t *testing.T) {
	for _, f := range []api.FlowFilter{
		{},
		{Network: "lab"},
		{Protocol: "tcp", Port: 65535},
		{Protocol: "0", State: api.FlowReplied},
		{Address: netip.MustParsePrefix("10.0.0.0/8"), Port: 1},
		{Network: "a b&c", Address: netip.MustParsePrefix("2001:db8::1/128")},
	} {
		var again api.FlowFilter
		for key, values := range f.Query() {
			if err := again.Set(key, values[0]); err != nil {
				t.Errorf("%v: %s: %v", f, key, err)
			}
		}
		if again != f || f.Empty() != (len(f.Query()) == 0) {
			t.Errorf("%v became %v", f, again)
		}
	}
	var f api.FlowFilter
	if err := f.Set("address", "::ffff:10.0.0.1"); err != nil || f.Address != netip.MustParsePrefix("10.0.0.1/32") {
		t.Errorf("a mapped address is %v, %v", f.Address, err)
	}
	if err := f.Set("address", "10.0.0.9/24"); err != nil || f.Address != netip.MustParsePrefix("10.0.0.0/24") {
		t.Errorf("a prefix with bits of the host is %v, %v", f.Address, err)
	}
	if err := f.Set("colour", "red"); err == nil {
		t.Error("any key will do")
	}
}
