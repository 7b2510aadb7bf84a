package metrics

import (
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/api/apitest"
)

func TestCollector(t *testing.T) {
	b := apitest.New()
	b.Learn("lab", "52:54:00:00:00:01", "lan") // a move
	want := `
# HELP weft_build_info Always 1; the labels tell the build.
# TYPE weft_build_info gauge
weft_build_info{go_version="` + runtime.Version() + `",version="v0.0.0-test"} 1
# HELP weft_fdb_entries Addresses known in a network.
# TYPE weft_fdb_entries gauge
weft_fdb_entries{network="lab"} 1
# HELP weft_fdb_entries_limit Addresses that a network may know.
# TYPE weft_fdb_entries_limit gauge
weft_fdb_entries_limit{network="lab"} 8192
# HELP weft_fdb_evicted_total Addresses that gave way at a limit.
# TYPE weft_fdb_evicted_total counter
weft_fdb_evicted_total{network="lab"} 0
# HELP weft_fdb_moves_total Times that an address changed its port.
# TYPE weft_fdb_moves_total counter
weft_fdb_moves_total{network="lab"} 1
# HELP weft_port_bytes_total Bytes of the frames that crossed a port.
# TYPE weft_port_bytes_total counter
weft_port_bytes_total{direction="rx",network="lab",port="lan"} 0
weft_port_bytes_total{direction="rx",network="lab",port="vm1"} 4096
weft_port_bytes_total{direction="tx",network="lab",port="lan"} 0
weft_port_bytes_total{direction="tx",network="lab",port="vm1"} 2.5e+06
# HELP weft_port_drops_total Frames dropped, by reason.
# TYPE weft_port_drops_total counter
weft_port_drops_total{network="lab",port="vm1",reason="no-egress"} 7
# HELP weft_port_frames_total Frames that crossed a port; rx is into weft.
# TYPE weft_port_frames_total counter
weft_port_frames_total{direction="rx",network="lab",port="lan"} 0
weft_port_frames_total{direction="rx",network="lab",port="vm1"} 3
weft_port_frames_total{direction="tx",network="lab",port="lan"} 0
weft_port_frames_total{direction="tx",network="lab",port="vm1"} 2
# HELP weft_port_up 1 where the port is up, 0 otherwise.
# TYPE weft_port_up gauge
weft_port_up{network="lab",port="lan"} 0
weft_port_up{network="lab",port="vm1"} 1
`
	if err := testutil.CollectAndCompare(NewCollector(b), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestLint(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewCollector(withUplink()))
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// broken cannot list its ports.
type broken struct{ *apitest.Backend }

func (broken) Ports(string) ([]api.Port, error) { return nil, errors.New("no ports today") }

func TestFailedReadFailsTheScrape(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewCollector(broken{apitest.New()}))
	if _, err := reg.Gather(); err == nil || !strings.Contains(err.Error(), "no ports today") {
		t.Errorf("got %v", err)
	}
}

func TestHandler(t *testing.T) {
	h := Handler(apitest.New())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("status %d, %v", w.Code, err)
	}
	for _, name := range []string{"weft_port_up", "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(string(body), "\n"+name) {
			t.Errorf("%s is missing", name)
		}
	}
	for target, want := range map[string]int{"/": 404, "/metrics/": 404, "/debug/pprof/": 404} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if w.Code != want {
			t.Errorf("%s: status %d, want %d", target, w.Code, want)
		}
	}
}

// A guest chooses its addresses: as a label they would let it fill the
// monitoring system.
func TestNoLabelHoldsAnAddress(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := withGateway()
	b.OpenUplink("lab")
	b.OpenIPv6("lab")
	reg.MustRegister(NewCollector(b))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`([0-9a-f]{2}:){5}|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|[0-9a-f]*:[0-9a-f]*:`)
	allowed := map[string]bool{
		"network": true, "port": true, "direction": true, "reason": true, "version": true, "go_version": true,
		"state": true, "type": true, "outcome": true, "protocol": true, "interface": true, "family": true,
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !allowed[l.GetName()] || address.MatchString(l.GetValue()) {
					t.Errorf("%s has the label %s=%q", f.GetName(), l.GetName(), l.GetValue())
				}
			}
		}
	}
}

// spanning has a spanning tree and snoops.
type spanning struct{ *apitest.Backend }

func (s spanning) Networks() []api.Network {
	list := s.Backend.Networks()
	list[0].STP.Enabled, list[0].STP.TopologyChanges = true, 4
	list[0].Snooping.Enabled, list[0].Snooping.Groups = true, 3
	return list
}

func (s spanning) Ports(network string) ([]api.Port, error) {
	list, err := s.Backend.Ports(network)
	for i, state := range []string{"forwarding", "discarding"} {
		list[i].STP = &api.PortSTP{State: state}
	}
	return list, err
}

// What a network does not run has no metrics; see TestCollector.
func TestCollectorOfControl(t *testing.T) {
	want := `
# HELP weft_snooping_groups Multicast groups that hosts of a network have joined.
# TYPE weft_snooping_groups gauge
weft_snooping_groups{network="lab"} 3
# HELP weft_stp_port_forwarding 1 where the spanning tree lets a port forward, 0 where it does not.
# TYPE weft_stp_port_forwarding gauge
weft_stp_port_forwarding{network="lab",port="lan"} 1
weft_stp_port_forwarding{network="lab",port="vm1"} 0
# HELP weft_stp_topology_changes_total Topology changes of a network's spanning tree.
# TYPE weft_stp_topology_changes_total counter
weft_stp_topology_changes_total{network="lab"} 4
`
	err := testutil.CollectAndCompare(NewCollector(spanning{apitest.New()}), strings.NewReader(want),
		"weft_snooping_groups", "weft_stp_port_forwarding", "weft_stp_topology_changes_total")
	if err != nil {
		t.Error(err)
	}
}

// The table of metrics in the manual is complete, in names and labels, and
// holds no other.
func TestDocumentedMetrics(t *testing.T) {
	manual, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| (weft_\w+) \| ([^|]*) \|`).FindAllStringSubmatch(string(manual), -1) {
		documented[m[1]] = m[2]
	}
	descs := make(chan *prometheus.Desc)
	go func() {
		NewCollector(nil).Describe(descs)
		close(descs)
	}()
	served := map[string]string{}
	for d := range descs {
		m := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("no name and labels in %s", d)
		}
		served[m[1]] = strings.ReplaceAll(m[2], ",", ", ")
	}
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("metrics (-served +documented):\n%s", diff)
	}
}
