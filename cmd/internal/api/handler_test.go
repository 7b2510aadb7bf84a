package api_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/api/apitest"
)

// ask sends one request to a handler and returns its answer.
func ask(t *testing.T, h http.Handler, method, target, body string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	resp := w.Result()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, strings.TrimSpace(string(text))
}

// tree is the part in a spanning tree of a port that nobody has set.
const tree = `"stp":{"edge":"auto","priority":128,"cost":2000,"root_guard":false,"bpdu_guard":false,` +
	`"state":"","role":"","protocol":"","inconsistent":""},`

func TestOperations(t *testing.T) {
	const policy = `"hairpin":false,"isolated":false,"vlan":null,` + tree +
		`"security":{"max_macs":0,"sticky":false,"sources":[]},"storm":{"broadcast":0,"multicast":0,"unknown":0},"guard":{"ra":false,"dhcp":false},` +
		`"rate":{"ingress":null,"egress":null},`
	const vm1 = `{"network":"lab","name":"vm1","type":"tap","mode":"bridge","uplink":false,"interface":"vm1","netns":"","mac":"",` +
		`"mtu":1500,"state":"up","detail":"","owner":"root","group":"","addresses":[],"offloads":["checksum","tso4"],` +
		policy + `"rx":{"frames":3,"bytes":4096},"tx":{"frames":2,"bytes":2500000},"drops":{"no-egress":7}}`
	const lan = `{"network":"lab","name":"lan","type":"raw","mode":"bridge","uplink":false,"interface":"veth-a","netns":"","mac":"",` +
		`"mtu":1500,"state":"missing","detail":"interface \"veth-a\" does not exist","owner":"","group":"","addresses":[],` +
		`"offloads":[],` + policy + `"rx":{"frames":0,"bytes":0},"tx":{"frames":0,"bytes":0},"drops":{}}`
	const h1 = `{"network":"lab","name":"h1","type":"internal","mode":"bridge","uplink":false,"interface":"h1","netns":"lab1","mac":"",` +
		`"mtu":1500,"state":"up","detail":"","owner":"","group":"","addresses":["10.0.0.1/24"],` +
		`"offloads":[],` + policy + `"rx":{"frames":0,"bytes":0},"tx":{"frames":0,"bytes":0},"drops":{}}`
	const lab = `{"name":"lab","forward":"isolated","mac":"02:00:00:00:00:fe","uplink":"","mtu":1500,` +
		`"reserved_groups":"switch","ports":2,"up":1,` +
		`"fdb":{"entries":1,"limit":8192,"ageing_seconds":300,"moves":0,"evicted":0},` +
		`"stp":{"enabled":false,"priority":32768,"hello_seconds":2,"max_age_seconds":20,"forward_delay_seconds":15,` +
		`"bridge_id":"","root_id":"","root_port":"","root_cost":0,"topology_changes":0},` +
		`"snooping":{"enabled":false,"querier":true,"interval_seconds":125,"state":"","groups":1},` +
		`"addresses":[],"vlan":0,"host_port":"","dhcp":null,"dhcp6":null,"ra":null,"dns":null,"nat":null,"inbound":{"ipv4":"open","ipv6":"published"}}`
	const entry = `{"network":"lab","mac":"52:54:00:00:00:01","vlan":0,"port":"vm1","kind":"dynamic","age_seconds":12}`
	const static = `{"network":"lab","mac":"02:00:00:00:00:09","vlan":7,"port":"lan","kind":"static","age_seconds":0}`
	const group = `{"network":"lab","vlan":10,"group":"239.1.1.1","port":"vm1","expires_seconds":260}`

	steps := []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/v1/networks", "", 200, "[" + lab + "]"},
		{"GET", "/v1/networks/lab", "", 200, lab},
		{"GET", "/v1/networks/nil", "", 404, `{"error":"network \"nil\" does not exist: see \"weft network list\""}`},
		{"GET", "/v1/ports", "", 200, "[" + lan + "," + vm1 + "]"},
		{"GET", "/v1/ports?network=lab", "", 200, "[" + lan + "," + vm1 + "]"},
		{"GET", "/v1/ports?network=nil", "", 404, `{"error":"network \"nil\" does not exist"}`},
		{"GET", "/v1/networks/lab/ports/vm1", "", 200, vm1},
		{"GET", "/v1/networks/lab/ports/vm9", "", 404, `{"error":"network \"lab\": port \"vm9\" does not exist"}`},
		{"POST", "/v1/networks/lab/ports", `{"name":"h1","type":"internal","netns":"lab1","addresses":["10.0.0.1/24"]}`, 201, h1},
		{"POST", "/v1/networks/lab/ports", `{"name":"h1","type":"tap"}`, 409, `{"error":"network \"lab\": port \"h1\" exists already"}`},
		{"POST", "/v1/networks/lab/ports", `{"name":"h2","type":"tape"}`, 422, `{"error":"network \"lab\": port \"h2\": no such type \"tape\""}`},
		{"DELETE", "/v1/networks/lab/ports/h1", "", 204, ""},
		{"DELETE", "/v1/networks/lab/ports/h1", "", 404, `{"error":"network \"lab\": port \"h1\" does not exist"}`},
		{"GET", "/v1/fdb?network=lab", "", 200, "[" + entry + "]"},
		{"POST", "/v1/networks/lab/fdb", `{"mac":"02:00:00:00:00:09","vlan":7,"port":"lan"}`, 204, ""},
		{"GET", "/v1/fdb", "", 200, "[" + entry + "," + static + "]"},
		{"DELETE", "/v1/networks/lab/fdb/02:00:00:00:00:09", "", 404, `{"error":"network \"lab\": no entry for 02:00:00:00:00:09 in VLAN 0"}`},
		{"DELETE", "/v1/networks/lab/fdb/02:00:00:00:00:09?vlan=7", "", 204, ""},
		{"POST", "/v1/networks/lab/fdb/flush?port=lan", "", 200, `{"flushed":0}`},
		{"POST", "/v1/networks/lab/fdb/flush", "", 200, `{"flushed":1}`},
		{"GET", "/v1/fdb", "", 200, "[]"},
		{"GET", "/v1/groups", "", 200, "[" + group + "]"},
		{"GET", "/v1/groups?network=lab", "", 200, "[" + group + "]"},
		{"GET", "/v1/groups?network=nil", "", 404, `{"error":"network \"nil\" does not exist"}`},
		{"POST", "/v1/apply?dry_run=1", "networks: {b: {}}", 200, `{"dry_run":true,"changes":["- network \"lab\"","+ network \"b\""]}`},
		{"GET", "/v1/config", "", 200, "networks:\n  lab: {}"},
		{"POST", "/v1/apply?name=x.yaml", "networks: {bad: {}}", 422, `{"error":"x.yaml:2: first","errors":["x.yaml:2: first","x.yaml:3: second"]}`},
		{"POST", "/v1/apply", "networks: {b: {}}", 200, `{"dry_run":false,"changes":["- network \"lab\"","+ network \"b\""]}`},
		{"POST", "/v1/apply", "networks: {b: {}}", 200, `{"dry_run":false,"changes":[]}`},
		{"GET", "/v1/ports", "", 200, "[]"},
		{"GET", "/v1/groups", "", 200, "[]"},
	}
	h := api.Handler(apitest.New())
	for _, s := range steps {
		resp, got := ask(t, h, s.method, s.target, s.body)
		if resp.StatusCode != s.status || got != s.want {
			t.Errorf("%s %s %s\n got %d %s\nwant %d %s", s.method, s.target, s.body, resp.StatusCode, got, s.status, s.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	long := `{"name":"` + strings.Repeat("a", api.MaxBody) + `","type":"tap"}`
	cases := []struct {
		name, method, target, body string
		status                     int
		want                       string
	}{
		{"unknown path", "GET", "/v1/nothing", "", 404, "no such path: /v1/nothing"},
		{"root", "GET", "/", "", 404, "no such path: /"},
		{"other version", "GET", "/v2/status", "", 404, "no such path: /v2/status"},
		{"unclean path", "DELETE", "/v1/networks/lab//ports/vm1", "", 404, "no such path: /v1/networks/lab//ports/vm1"},
		{"climbing path", "DELETE", "/v1/networks/x/../lab/ports/vm1", "", 404, "no such path: /v1/networks/x/../lab/ports/vm1"},
		{"trailing slash", "GET", "/v1/status/", "", 404, "no such path: /v1/status/"},
		{"method", "DELETE", "/v1/status", "", 405, "/v1/status takes GET, HEAD, not DELETE"},
		{"two methods", "PUT", "/v1/networks/a/ports/b", "", 405, "/v1/networks/a/ports/b takes GET, HEAD, PATCH, DELETE, not PUT"},
		{"misspelt query", "POST", "/v1/apply?dryrun=1", "networks: {}", 400, `unknown query parameter "dryrun"`},
		{"query twice", "GET", "/v1/ports?network=a&network=b", "", 400, `query parameter "network" is given 2 times`},
		{"broken query", "GET", "/v1/ports?network=%zz", "", 400, `query: invalid URL escape "%zz"`},
		{"dry_run", "POST", "/v1/apply?dry_run=maybe", "networks: {}", 400, `dry_run is "maybe": say true or false`},
		{"empty dry_run", "POST", "/v1/apply?dry_run=", "networks: {}", 400, `dry_run is "": say true or false`},
		{"vlan", "DELETE", "/v1/networks/lab/fdb/02:00:00:00:00:09?vlan=4095", "", 400, `vlan is "4095": say a number from 0 to 4094`},
		{"snaplen", "GET", "/v1/networks/lab/capture?snaplen=0", "", 400, `snaplen is "0": say a number from 1 to 262144`},
		{"no body", "POST", "/v1/networks/lab/ports", "", 400, "request body is empty: send JSON"},
		{"no JSON", "POST", "/v1/networks/lab/ports", "name=h1", 400, "request body: invalid character 'a' in literal null (expecting 'u')"},
		{"unknown field", "POST", "/v1/networks/lab/ports", `{"name":"a","typ":"tap"}`, 400, `request body: unknown field "typ"`},
		{"unknown fdb field", "POST", "/v1/networks/lab/fdb", `{"kind":"local"}`, 400, `request body: unknown field "kind"`},
		{"two values", "POST", "/v1/networks/lab/ports", `{"name":"a","type":"tap"} {}`, 400, "request body: more than one JSON value"},
		{"vlan too big", "POST", "/v1/networks/lab/fdb", `{"vlan":70000}`, 400, "request body: vlan: 70000, where a whole number of 0-4094 belongs"},
		{"part of a vlan", "POST", "/v1/networks/lab/fdb", `{"vlan":1.5}`, 400, "request body: vlan: 1.5, where a whole number of 0-4094 belongs"},
		{"no list", "POST", "/v1/networks/lab/ports", `{"addresses":"10.0.0.1/24"}`, 400, "request body: addresses: a string, where a list belongs"},
		{"no number", "POST", "/v1/networks/lab/leases", `{"lease_seconds":true}`, 400, "request body: lease_seconds: true or false, where a whole number belongs"},
		{"no object", "POST", "/v1/networks/lab/ports", `[]`, 400, "request body: a list, where an object belongs"},
		{"long JSON", "POST", "/v1/networks/lab/ports", long, 413, "request body is longer than 1048576 bytes: http: request body too large"},
		{"long YAML", "POST", "/v1/apply", long, 413, "request body is longer than 1048576 bytes: http: request body too large"},
		{"capture nowhere", "GET", "/v1/networks/nil/capture", "", 404, `network "nil" does not exist: see "weft network list"`},
		{"capture no port", "GET", "/v1/networks/lab/capture?port=vm9", "", 404, `network "lab": port "vm9" does not exist`},
		{"patch of no path", "PATCH", "/v1/ports", "{}", 405, "/v1/ports takes GET, HEAD, not PATCH"},
		{"patch without body", "PATCH", "/v1/networks/lab", "", 400, "request body is empty: send JSON"},
		{"patch of blanks", "PATCH", "/v1/networks/lab/ports/vm1", " \n", 400, "request body is empty: send JSON"},
		{"patch no object", "PATCH", "/v1/networks/lab", "[]", 400, "request body: not a JSON object, which begins with {"},
		{"patch null", "PATCH", "/v1/networks/lab/ports/vm1", "null", 400, "request body: not a JSON object, which begins with {"},
		{"patch string", "PATCH", "/v1/networks/lab/ports/vm1", `"mode"`, 400, "request body: not a JSON object, which begins with {"},
		{"patch no JSON", "PATCH", "/v1/networks/lab/ports/vm1", "mode: vepa", 400, "request body: invalid character 'm' looking for beginning of value"},
		{"patch two objects", "PATCH", "/v1/networks/lab/ports/vm1", "{} {}", 400, "request body: invalid character '{' after top-level value"},
		{"patch cut off", "PATCH", "/v1/networks/lab", `{"mtu":`, 400, "request body: unexpected end of JSON input"},
		{"long patch", "PATCH", "/v1/networks/lab", long, 413, "request body is longer than 1048576 bytes: http: request body too large"},
		{"patch with query", "PATCH", "/v1/networks/lab?mtu=9000", "{}", 400, `unknown query parameter "mtu"`},
		{"patch nowhere", "PATCH", "/v1/networks/nil", "{}", 404, `network "nil" does not exist`},
		{"patch no port", "PATCH", "/v1/networks/lab/ports/vm9", "{}", 404, `network "lab": port "vm9" does not exist`},
		{"patch port nowhere", "PATCH", "/v1/networks/nil/ports/vm1", "{}", 404, `network "nil" does not exist`},
		{"patch unknown key", "PATCH", "/v1/networks/lab/ports/vm1", `{"isolated":true,"colour":1}`, 422, `port "vm1": unknown key "colour"`},
		{"patch bad value", "PATCH", "/v1/networks/lab", `{"reserved_groups":"wire","mtu":"x"}`, 422, `network "lab": mtu: strconv.Atoi: parsing "x": invalid syntax`},
		{"leases nowhere", "GET", "/v1/leases?network=nil", "", 404, `network "nil" does not exist`},
		{"lease nowhere", "GET", "/v1/networks/nil/leases/web", "", 404, `network "nil" does not exist`},
		{"lease of nobody", "GET", "/v1/networks/lab/leases/web", "", 404, `network "lab": nobody has a lease as "web"`},
		{"lease without body", "POST", "/v1/networks/lab/leases", "", 400, "request body is empty: send JSON"},
		{"lease misspelt", "POST", "/v1/networks/lab/leases", `{"hostname":"web"}`, 400, `request body: unknown field "hostname"`},
		{"lease without DHCP", "POST", "/v1/networks/lab/leases", `{"mac":"02:00:00:00:00:01"}`, 422, `network "lab" has no address: give it one first`},
		{"release with query", "POST", "/v1/networks/lab/leases/web/release?now=1", "", 400, `unknown query parameter "now"`},
		{"release by reading", "GET", "/v1/networks/lab/leases/web/release", "", 405, "/v1/networks/lab/leases/web/release takes POST, not GET"},
		{"release of nobody", "POST", "/v1/networks/lab/leases/web/release", "", 404, `network "lab": nobody has a lease as "web"`},
		{"settings no object", "POST", "/v1/networks/lab/ports", `{"name":"a","type":"tap","settings":["mode"]}`, 400, "settings: not a JSON object, which begins with {"},
		{"settings null", "POST", "/v1/networks/lab/ports", `{"name":"a","type":"tap","settings":null}`, 400, "settings: not a JSON object, which begins with {"},
		{"settings unknown", "POST", "/v1/networks/lab/ports", `{"name":"a","type":"tap","settings":{"colour":1}}`, 422, `port "a": unknown key "colour"`},
	}
	b := apitest.New()
	before := state(t, b)
	h := api.Handler(b)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			resp, got := ask(t, h, c.method, c.target, c.body)
			want := fmt.Sprintf(`{"error":%s}`, quote(c.want))
			if resp.StatusCode != c.status || got != want {
				t.Errorf("got %d %s\nwant %d %s", resp.StatusCode, got, c.status, want)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("content type %q", ct)
			}
			if allow := resp.Header.Get("Allow"); (c.status == 405) != (allow != "") {
				t.Errorf("Allow: %q with status %d", allow, c.status)
			}
		})
	}
	if diff := cmp.Diff(before, state(t, b)); diff != "" {
		t.Errorf("a refused request changed something (-before +after):\n%s", diff)
	}
}

// state returns all that requests change.
func state(t *testing.T, b api.Backend) []any {
	t.Helper()
	ports, err := b.Ports("")
	if err != nil {
		t.Fatal(err)
	}
	fdb, err := b.FDB("")
	if err != nil {
		t.Fatal(err)
	}
	leases, err := b.Leases("")
	if err != nil {
		t.Fatal(err)
	}
	flows, _, err := b.Flows(api.FlowFilter{}, api.MaxFlowLimit)
	if err != nil {
		t.Fatal(err)
	}
	publishes, err := b.Publishes("")
	if err != nil {
		t.Fatal(err)
	}
	return []any{b.Networks(), ports, fdb, leases, flows, publishes}
}

// A patch changes what is in it, answers with all of the result, and null
// takes a key or everything below it back to the default.
func TestPatch(t *testing.T) {
	const network, port = "/v1/networks/lab", "/v1/networks/lab/ports/vm1"
	steps := []struct {
		target, body string
		wants        []string // parts of the answer
	}{
		{network, `{"mtu":9000}`, []string{`"name":"lab"`, `"mtu":9000`, `"reserved_groups":"switch"`}},
		{network, `{"reserved_groups":"wire","stp":{"enabled":"true","priority":"4096"}}`,
			[]string{`"mtu":9000`, `"reserved_groups":"wire"`, `"priority":4096`, `"bridge_id":"1000.02:00:00:00:00:fe"`}},
		{network, `{"stp":{"priority":null},"mtu":null}`, []string{`"mtu":1500`, `"stp":{"enabled":true,"priority":32768`}},
		{network, `{"stp":null}`, []string{`"stp":{"enabled":false`, `"reserved_groups":"wire"`}},
		{network, `{}`, []string{`"reserved_groups":"wire"`}},
		{port, `{"mode":"vepa","hairpin":true}`, []string{`"name":"vm1"`, `"mode":"vepa"`, `"hairpin":true`, `"vlan":null`, `"rx":{"frames":3`}},
		{port, `{"vlan":{"access":"10"},"hairpin":null}`, []string{`"mode":"vepa"`, `"hairpin":false`, `"vlan":{"access":10}`}},
		{port, `{"vlan":{"access":null,"trunk":[10,"20-30"],"native":10}}`, []string{`"vlan":{"trunk":["10","20-30"],"native":10}`}},
		{port, `{"vlan":null,"stp":{"bpdu_guard":true}}`, []string{`"vlan":null`, `"bpdu_guard":true`, `"mode":"vepa"`}},
	}
	h := api.Handler(apitest.New())
	for _, s := range steps {
		resp, got := ask(t, h, "PATCH", s.target, s.body)
		if resp.StatusCode != 200 {
			t.Errorf("%s %s: %d %s", s.target, s.body, resp.StatusCode, got)
		}
		for _, want := range s.wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s %s: got %s\nwithout %s", s.target, s.body, got, want)
			}
		}
		if _, again := ask(t, h, "GET", s.target, ""); again != got {
			t.Errorf("%s %s: the answer is %s, and then %s", s.target, s.body, got, again)
		}
	}
}

// recorder keeps the last patch as it came.
type recorder struct {
	*apitest.Backend
	got string
}

func (r *recorder) SetNetwork(_ string, settings []byte) error {
	r.got = string(settings)
	return nil
}

func (r *recorder) SetPort(_, _ string, settings []byte) error {
	r.got = string(settings)
	return nil
}

// What a number is, and how deep a patch may be, is for the configuration to
// judge: the backend gets the bytes that the client sent.
func TestPatchReachesTheBackendAsItCame(t *testing.T) {
	r := &recorder{Backend: apitest.New()}
	h := api.Handler(r)
	const body = "{ \"rate\" : {\"ingress\":{\"average\": 1e400}},\n\t\"mode\":\"\\u0061\", \"mode\":1 }"
	for _, target := range []string{"/v1/networks/lab", "/v1/networks/lab/ports/vm1"} {
		r.got = ""
		if resp, text := ask(t, h, "PATCH", target, body); resp.StatusCode != 200 || r.got != body {
			t.Errorf("%s: %d %s\nthe backend got %q\nwant            %q", target, resp.StatusCode, text, r.got, body)
		}
	}
}

func TestAddedPortHasItsSettings(t *testing.T) {
	_, got := ask(t, api.Handler(apitest.New()), "POST", "/v1/networks/lab/ports",
		`{"name":"a","type":"tap","settings":{"isolated":"true","vlan":{"access":7}}}`)
	if !strings.Contains(got, `"isolated":true,"vlan":{"access":7}`) {
		t.Errorf("got %s", got)
	}
}

func TestAddedPortHasALocation(t *testing.T) {
	resp, _ := ask(t, api.Handler(apitest.New()), "POST", "/v1/networks/lab/ports", `{"name":"a b","type":"tap"}`)
	if got := resp.Header.Get("Location"); got != "/v1/networks/lab/ports/a%20b" {
		t.Errorf("Location: %q", got)
	}
}

func TestStatus(t *testing.T) {
	resp, got := ask(t, api.Handler(apitest.New()), "GET", "/v1/status", "")
	want := `{"version":"v0.0.0-test","pid":4711,"uptime_seconds":0,"socket":"/run/weft/weft.sock",` +
		`"metrics_listen":"127.0.0.1:9820","fastpath":{"state":"off","reason":"memory has no kernel"},` +
		`"networks":1,"ports":2,"uplinks":[],"notes":["network \"lab\" keeps everything in memory"]}`
	if resp.StatusCode != 200 || got != want {
		t.Errorf("got  %d %s\nwant 200 %s", resp.StatusCode, got, want)
	}
}

// broken is a backend whose every answer is an error that no sentinel marks.
type broken struct{ *apitest.Backend }

func (broken) FDB(string) ([]api.FDBEntry, error) { return nil, errors.New("table on fire") }
func (broken) Groups(string) ([]api.Group, error) { return nil, nil }
func (broken) Leases(string) ([]api.Lease, error) { return nil, nil }
func (broken) Status() api.Status                 { return api.Status{} }
func (broken) Networks() []api.Network            { return nil }

func TestUnmarkedErrorIs500(t *testing.T) {
	resp, got := ask(t, api.Handler(broken{apitest.New()}), "GET", "/v1/fdb", "")
	if resp.StatusCode != 500 || got != `{"error":"table on fire"}` {
		t.Errorf("got %d %s", resp.StatusCode, got)
	}
}

func TestNilListsAreEmpty(t *testing.T) {
	h := api.Handler(broken{apitest.New()})
	if _, got := ask(t, h, "GET", "/v1/networks", ""); got != "[]" {
		t.Errorf("networks: %s", got)
	}
	if _, got := ask(t, h, "GET", "/v1/groups", ""); got != "[]" {
		t.Errorf("groups: %s", got)
	}
	if _, got := ask(t, h, "GET", "/v1/leases", ""); got != "[]" {
		t.Errorf("leases: %s", got)
	}
	if _, got := ask(t, h, "GET", "/v1/status", ""); !strings.Contains(got, `"notes":[]`) {
		t.Errorf("status: %s", got)
	}
}

func TestMark(t *testing.T) {
	cause := io.ErrUnexpectedEOF
	err := api.Mark(api.ErrConflict, fmt.Errorf("read x: %w", cause))
	if err.Error() != "read x: unexpected EOF" {
		t.Errorf("text: %q", err)
	}
	if !errors.Is(err, api.ErrConflict) || !errors.Is(err, cause) || errors.Is(err, api.ErrInvalid) {
		t.Error("it wraps the wrong errors")
	}
	if api.Mark(api.ErrConflict, nil) != nil {
		t.Error("a nil error became one")
	}
}

func quote(s string) string {
	r := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	return `"` + r.Replace(s) + `"`
}
