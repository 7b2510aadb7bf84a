package metrics

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/api/apitest"
)

func withUplink() *apitest.Backend {
	b := withGateway()
	b.OpenUplink("lab")
	return b
}

// A network without NAT has none of these; see TestCollector.
func TestCollectorOfUplinks(t *testing.T) {
	want := `
# HELP weft_flows Flows tracked in a network.
# TYPE weft_flows gauge
weft_flows{network="lab",protocol="icmp"} 0
weft_flows{network="lab",protocol="other"} 0
weft_flows{network="lab",protocol="tcp"} 2
weft_flows{network="lab",protocol="udp"} 1
# HELP weft_flows_created_total Flows that began.
# TYPE weft_flows_created_total counter
weft_flows_created_total{network="lab",protocol="icmp"} 0
weft_flows_created_total{network="lab",protocol="other"} 0
weft_flows_created_total{network="lab",protocol="tcp"} 40
weft_flows_created_total{network="lab",protocol="udp"} 7
# HELP weft_flows_expired_total Flows whose time ran out.
# TYPE weft_flows_expired_total counter
weft_flows_expired_total{network="lab",protocol="icmp"} 0
weft_flows_expired_total{network="lab",protocol="other"} 0
weft_flows_expired_total{network="lab",protocol="tcp"} 38
weft_flows_expired_total{network="lab",protocol="udp"} 6
# HELP weft_nat_mappings Outside ports in use for a network.
# TYPE weft_nat_mappings gauge
weft_nat_mappings{network="lab",protocol="icmp"} 0
weft_nat_mappings{network="lab",protocol="other"} 0
weft_nat_mappings{network="lab",protocol="tcp"} 2
weft_nat_mappings{network="lab",protocol="udp"} 1
# HELP weft_nat_refused_total Flows that could not begin, by reason.
# TYPE weft_nat_refused_total counter
weft_nat_refused_total{network="lab",reason="nat-host-full"} 3
weft_nat_refused_total{network="lab",reason="nat-ports-full"} 0
# HELP weft_uplink_bytes_total Bytes of the frames that crossed an uplink.
# TYPE weft_uplink_bytes_total counter
weft_uplink_bytes_total{direction="rx",interface="eth0"} 4096
weft_uplink_bytes_total{direction="tx",interface="eth0"} 2.5e+06
# HELP weft_uplink_drops_total Frames dropped at an uplink, by reason.
# TYPE weft_uplink_drops_total counter
weft_uplink_drops_total{interface="eth0",reason="nat-filtered"} 5
weft_uplink_drops_total{interface="eth0",reason="ttl"} 1
# HELP weft_uplink_frames_total Frames that crossed an uplink; rx is into weft.
# TYPE weft_uplink_frames_total counter
weft_uplink_frames_total{direction="rx",interface="eth0"} 30
weft_uplink_frames_total{direction="tx",interface="eth0"} 20
# HELP weft_uplink_up 1 where the uplink is up, 0 otherwise.
# TYPE weft_uplink_up gauge
weft_uplink_up{interface="eth0"} 1
weft_uplink_up{interface="wlan0"} 0
`
	err := testutil.CollectAndCompare(NewCollector(withUplink()), strings.NewReader(want),
		"weft_flows", "weft_flows_created_total", "weft_flows_expired_total", "weft_nat_mappings", "weft_nat_refused_total",
		"weft_uplink_bytes_total", "weft_uplink_drops_total", "weft_uplink_frames_total", "weft_uplink_up")
	if err != nil {
		t.Error(err)
	}
}

// twice has two uplinks by eth0.
type twice struct{ *apitest.Backend }

func (b twice) Uplinks() []api.Uplink {
	list := b.Backend.Uplinks()
	list[1].Interface, list[1].RX, list[1].Drops = "eth0", api.Counters{Frames: 3, Bytes: 4}, map[string]uint64{"ttl": 1}
	return slices.Concat(list[1:], list[:1], list[1:])
}

func TestUplinksOfOneInterface(t *testing.T) {
	want := `
# HELP weft_uplink_bytes_total Bytes of the frames that crossed an uplink.
# TYPE weft_uplink_bytes_total counter
weft_uplink_bytes_total{direction="rx",interface="eth0"} 4104
weft_uplink_bytes_total{direction="tx",interface="eth0"} 2.5e+06
# HELP weft_uplink_drops_total Frames dropped at an uplink, by reason.
# TYPE weft_uplink_drops_total counter
weft_uplink_drops_total{interface="eth0",reason="nat-filtered"} 5
weft_uplink_drops_total{interface="eth0",reason="ttl"} 3
# HELP weft_uplink_up 1 where the uplink is up, 0 otherwise.
# TYPE weft_uplink_up gauge
weft_uplink_up{interface="eth0"} 0
`
	err := testutil.CollectAndCompare(NewCollector(twice{withUplink()}), strings.NewReader(want),
		"weft_uplink_bytes_total", "weft_uplink_drops_total", "weft_uplink_up")
	if err != nil {
		t.Error(err)
	}
}
