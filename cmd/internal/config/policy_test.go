package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

func TestNormalizeUplink(t *testing.T) {
	for text, want := range map[string]string{
		bridged("", ""):                                               "uplink",
		bridged("", "a: {type: tap}"):                                 "uplink",
		bridged("", "wan: {type: raw, interface: eth1}"):              "wan",
		bridged("", "eth1: {type: raw, vlan: {access: 5}}"):           "eth1",
		bridged("", "uplink: {type: raw, interface: eth1}"):           "uplink",
		bridged("", "h: {type: internal, interface: eth1, netns: n}"): "uplink",
		inNetwork("ports: {eth1: {type: raw}}"):                       "",
		inNetwork(""):                                                 "",
	} {
		n := mustParse(t, text).Network("lan")
		p := n.UplinkPort()
		switch {
		case p == nil && want == "":
		case p == nil || p.Name != want || p != n.Port(want) || p.Type != TypeRaw || p.Interface != "eth1":
			t.Errorf("%s\n%+v, want %s", text, p, want)
		}
		if !slices.IsSortedFunc(n.Ports, func(a, b Port) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s: not sorted: %+v", text, n.Ports)
		}
	}
}

// The added port is one like those of the file, and none is added twice.
func TestAddedUplink(t *testing.T) {
	c := mustParse(t, bridged("", "vm1: {type: tap}"))
	want := Port{Name: "uplink", Type: TypeRaw, Interface: "eth1", Policy: plainPolicy()}
	if d := sameConfig(mustParse(t, bridged("", "vm1: {type: tap}, uplink: {type: raw, interface: eth1}")), c); d != "" {
		t.Error(d)
	}
	n := c.Network("lan")
	n.Ports = slices.DeleteFunc(n.Ports, func(p Port) bool { return p.Name == "uplink" })
	c.Normalize()
	c.Normalize()
	if p := c.Network("lan").UplinkPort(); len(c.Network("lan").Ports) != 2 || p == nil || p.Interface != want.Interface || p.Mode != want.Mode {
		t.Errorf("%+v", c.Network("lan").Ports)
	}
}

// A port that a command makes of nothing has the policy of one of a file.
func TestFillPolicy(t *testing.T) {
	for _, tc := range []struct{ from, want PortSTP }{
		{PortSTP{}, PortSTP{Edge: "auto", Priority: 128, Cost: 2000}},
		{PortSTP{Priority: 16, Cost: 5, RootGuard: true}, PortSTP{Edge: "auto", Priority: 16, Cost: 5, RootGuard: true}},
		{PortSTP{Edge: "false", Cost: 5}, PortSTP{Edge: "false", Cost: 5}},
	} {
		p := Policy{STP: tc.from}
		p.fill()
		if p.STP != tc.want || p.Mode != ModeBridge {
			t.Errorf("%+v: %+v", tc.from, p)
		}
	}
	c := mustParse(t, "networks: {default: {}}")
	c.Networks[0].MAC = frame.MAC{}
	c.Networks[0].Ports = []Port{{Name: "a", Type: TypeTap}}
	c.Normalize()
	if d := sameConfig(mustParse(t, "networks: {default: {ports: {a: {type: tap}}}}"), c); d != "" {
		t.Error(d)
	}
}

func TestDefaultBurst(t *testing.T) {
	for average, want := range map[uint64]int{
		0: 0, 8000: 131072, 4_194_304: 131072, 4_194_336: 131073, 100_000_000: 3_125_000, 1_000_000_000: 31_250_000,
		34_359_738_336: 1<<30 - 1, 34_359_738_368: 1 << 30, 34_359_738_400: 1 << 30, maxRate: 1 << 30, 1<<64 - 1: 1 << 30,
	} {
		r := Rate{Average: average}
		r.fill()
		if r.Burst != want {
			t.Errorf("%d: %d, want %d", average, r.Burst, want)
		}
		if r.unfill(); r.Burst != 0 {
			t.Errorf("%d: %d is not taken for a default", average, r.Burst)
		}
	}
	r := Rate{Average: 100_000_000, Burst: 7}
	if r.fill(); r.Burst != 7 {
		t.Errorf("%d", r.Burst)
	}
	if r.unfill(); r.Burst != 7 {
		t.Errorf("%d", r.Burst)
	}
}

func TestVLANOnly(t *testing.T) {
	for _, tc := range []struct {
		from  VLAN
		isSet bool
		want  []VLANRange
	}{
		{VLAN{}, false, nil},
		{VLAN{Access: 10}, true, []VLANRange{{10, 10}}},
		{VLAN{Trunk: []VLANRange{{10, 10}, {20, 30}}}, true, []VLANRange{{10, 10}, {20, 30}}},
		{VLAN{Trunk: []VLANRange{{10, 10}}, Native: 10}, true, []VLANRange{{10, 10}}},
		// What is refused for itself blames nothing else.
		{VLAN{Access: 10, Trunk: []VLANRange{{10, 10}}}, true, nil},
		{VLAN{Access: 4095}, true, nil},
		{VLAN{Trunk: []VLANRange{{10, 10}, {}}}, true, nil},
		{VLAN{Trunk: []VLANRange{{30, 20}}}, true, nil},
		{VLAN{Native: 10}, true, nil},
	} {
		if got := tc.from.only(); !slices.Equal(got, tc.want) || tc.from.isSet() != tc.isSet {
			t.Errorf("%+v: only %v, want %v; set: %v", tc.from, got, tc.want, tc.from.isSet())
		}
	}
	r := VLANRange{20, 30}
	if r.has(19) || !r.has(20) || !r.has(30) || r.has(31) {
		t.Error("has")
	}
}

func TestMergeRanges(t *testing.T) {
	for _, tc := range []struct{ from, want []VLANRange }{
		{nil, nil},
		{[]VLANRange{{5, 5}}, []VLANRange{{5, 5}}},
		{[]VLANRange{{5, 5}, {4, 4}, {7, 7}}, []VLANRange{{4, 5}, {7, 7}}},
		{[]VLANRange{{10, 20}, {12, 13}, {10, 11}}, []VLANRange{{10, 20}}},
		{[]VLANRange{{10, 20}, {20, 30}, {32, 40}}, []VLANRange{{10, 30}, {32, 40}}},
		{[]VLANRange{{4094, 4094}, {1, 4093}}, []VLANRange{{1, 4094}}},
		{[]VLANRange{{3, 4}, {2, 1}, {4, 5}}, []VLANRange{{2, 1}, {3, 4}, {4, 5}}}, // for Validate
		{[]VLANRange{{5, 65535}, {0, 1}}, []VLANRange{{0, 1}, {5, 65535}}},
	} {
		if got := mergeRanges(slices.Clone(tc.from)); !slices.Equal(got, tc.want) {
			t.Errorf("%v: %v, want %v", tc.from, got, tc.want)
		}
	}
	if (VLANRange{7, 7}).String() != "7" || (VLANRange{7, 9}).String() != "7-9" {
		t.Error("String")
	}
}
