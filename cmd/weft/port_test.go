package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
)

// shown returns the lines that fill makes, with one blank after each name.
func shown(t *testing.T, fill func(*table)) []string {
	t.Helper()
	var out strings.Builder
	if err := (&output{format: choice{value: "table"}}).print(&out, nil, fill); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		lines = append(lines, name+": "+strings.TrimSpace(value))
	}
	return lines
}

func TestPolicyOfAPort(t *testing.T) {
	tree := func(change func(*api.PortSTP)) *api.PortSTP {
		s := &api.PortSTP{Edge: "auto", Priority: 128, Cost: 2000}
		change(s)
		return s
	}
	for _, c := range []struct {
		name string
		port api.Port
		want []string
	}{
		{"nothing set", api.Port{STP: tree(func(*api.PortSTP) {})}, []string{"VLANs: all, as they are"}},
		{"no tree", api.Port{}, []string{"VLANs: all, as they are"}},
		{"access", api.Port{VLAN: &api.PortVLAN{Access: 10}}, []string{"VLANs: access 10"}},
		{"trunk", api.Port{VLAN: &api.PortVLAN{Trunk: []string{"10", "20-30"}}}, []string{"VLANs: trunk 10,20-30"}},
		{"native", api.Port{VLAN: &api.PortVLAN{Trunk: []string{"10", "20-30"}, Native: 10}},
			[]string{"VLANs: trunk 10,20-30, native 10"}},
		{"forwarding", api.Port{STP: tree(func(s *api.PortSTP) { s.Role, s.State, s.Protocol = "designated", "forwarding", "rstp" })},
			[]string{"VLANs: all, as they are", "Spanning tree: designated, forwarding (rstp)"}},
		{"bpdu guard", api.Port{Network: "lab", Name: "vm1", STP: tree(func(s *api.PortSTP) {
			s.Role, s.State, s.Protocol, s.BPDUGuard, s.Inconsistent = "disabled", "discarding", "rstp", true, api.GuardBPDU
		})}, []string{
			"VLANs: all, as they are",
			"Spanning tree: disabled, discarding (bpdu-guard: a BPDU came in; out until its link comes again, or: weft port set lab vm1 stp.bpdu_guard=false)",
			"Tree settings: BPDU guard",
		}},
		{"root guard", api.Port{STP: tree(func(s *api.PortSTP) {
			s.Role, s.State, s.Protocol, s.RootGuard, s.Inconsistent = "designated", "discarding", "stp", true, api.GuardRoot
		})}, []string{
			"VLANs: all, as they are",
			"Spanning tree: designated, discarding (root-guard: a better root is behind this port; it comes back when that falls silent)",
			"Tree settings: root guard",
		}},
		{"self-loop", api.Port{STP: tree(func(s *api.PortSTP) {
			s.Role, s.State, s.Protocol, s.Inconsistent = "backup", "discarding", "rstp", api.SelfLoop
		})}, []string{
			"VLANs: all, as they are",
			"Spanning tree: backup, discarding (self-loop: what it sends comes back to it)",
		}},
		{"of a later daemon", api.Port{STP: tree(func(s *api.PortSTP) {
			s.Role, s.State, s.Protocol, s.Inconsistent = "backup", "discarding", "rstp", "tired"
		})}, []string{"VLANs: all, as they are", "Spanning tree: backup, discarding (tired)"}},
		{"tree settings", api.Port{STP: &api.PortSTP{Edge: "true", Priority: 0, Cost: 1}},
			[]string{"VLANs: all, as they are", "Tree settings: edge true, priority 0, cost 1"}},
		{"limits", api.Port{
			Security: api.Security{MaxMACs: 1, Sources: []string{"02:00:00:00:00:01"}},
			Storm:    api.Storm{Broadcast: 100, Multicast: 5, Unknown: 7},
			Rate:     api.PortRate{Ingress: &api.Rate{Average: 100e6, Peak: 200e6, Burst: 256 << 10}, Egress: &api.Rate{Average: 25e8, Burst: 15_625_000}},
		}, []string{
			"VLANs: all, as they are", "MAC limit: 1", "Sources: 02:00:00:00:00:01",
			"Storm limits: broadcast 100/s, multicast 5/s, unknown 7/s",
			"Rate in: 100 Mbit/s, peak 200 Mbit/s, burst 256 KiB",
			"Rate out: 2.5 Gbit/s, burst 15625 kB",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := shown(t, func(tb *table) { fillPolicy(tb, c.port) })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	for want, p := range map[string]api.Port{
		"":                  {Uplink: true},
		"isolated":          {Isolated: true},
		"hairpin, isolated": {Uplink: true, Hairpin: true, Isolated: true},
	} {
		if got := flagsText(p); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestModeCell(t *testing.T) {
	for want, p := range map[string]api.Port{"vepa": {Mode: "vepa"}, "uplink": {Mode: "bridge", Uplink: true}} {
		if got := modeCell(p); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestModeText(t *testing.T) {
	for want, p := range map[string]api.Port{"vepa": {Mode: "vepa"}, "bridge (uplink)": {Mode: "bridge", Uplink: true}} {
		got := shown(t, func(tb *table) { fillPort(tb, p) })
		if !slices.Contains(got, "Mode: "+want) {
			t.Errorf("no mode %q in %q", want, got)
		}
	}
}

// A list says of a port that is up what else keeps frames from it.
func TestStateCell(t *testing.T) {
	in := func(state, inconsistent string) *api.PortSTP {
		return &api.PortSTP{State: state, Inconsistent: inconsistent}
	}
	for _, c := range []struct {
		port api.Port
		want string
	}{
		{api.Port{State: "up"}, "up"},
		{api.Port{State: "up", STP: in("", "")}, "up"},
		{api.Port{State: "up", STP: in("forwarding", "")}, "up"},
		{api.Port{State: "up", STP: in("discarding", "")}, "up, discarding"},
		{api.Port{State: "up", STP: in("learning", "")}, "up, learning"},
		{api.Port{State: "up", STP: in("discarding", api.GuardBPDU)}, "up, bpdu-guard"},
		{api.Port{State: "up", STP: in("discarding", api.GuardRoot)}, "up, root-guard"},
		{api.Port{State: "up", STP: in("discarding", api.SelfLoop)}, "up, self-loop"},
		{api.Port{State: "no-carrier", STP: in("discarding", "")}, "no-carrier"},
		{api.Port{State: "down", STP: in("discarding", api.GuardBPDU)}, "down"},
		{api.Port{State: "missing"}, "missing"},
	} {
		if got := stateCell(c.port); got != c.want {
			t.Errorf("%s, %+v: %q, want %q", c.port.State, c.port.STP, got, c.want)
		}
	}
}

func TestReservedGroups(t *testing.T) {
	tree := api.NetworkSTP{Enabled: true}
	for want, n := range map[string][]api.Network{
		"01:80:c2:00:00:00-0f are never forwarded":                             {{ReservedGroups: "switch"}, {ReservedGroups: "switch", STP: tree}},
		"01:80:c2:00:00:00-0f are forwarded":                                   {{ReservedGroups: "wire"}},
		"01:80:c2:00:00:01-0f are forwarded, 00 is taken by the spanning tree": {{ReservedGroups: "wire", STP: tree}},
		"tunnel": {{ReservedGroups: "tunnel"}}, // of a later daemon
	} {
		for _, v := range n {
			if got := reservedText(v); got != want {
				t.Errorf("%+v: %q, want %q", v, got, want)
			}
		}
	}
}

func TestTreeOfANetwork(t *testing.T) {
	on := api.NetworkSTP{
		Enabled: true, HelloSeconds: 1, MaxAgeSeconds: 6, ForwardDelaySeconds: 0,
		BridgeID: "8000.02:00:00:00:00:02", RootID: "8000.02:00:00:00:00:02", TopologyChanges: 3,
	}
	below := on
	below.RootID, below.RootPort, below.RootCost = "0000.02:00:00:00:00:01", "lan", 4000
	for _, c := range []struct {
		tree api.NetworkSTP
		want []string
	}{
		{api.NetworkSTP{HelloSeconds: 2}, []string{"Spanning tree: off"}},
		{on, []string{
			"Spanning tree: on, hello 1s, max age 6s, forward delay 0s", "Bridge ID: 8000.02:00:00:00:00:02",
			"Root ID: this network", "Topology changes: 3",
		}},
		{below, []string{
			"Spanning tree: on, hello 1s, max age 6s, forward delay 0s", "Bridge ID: 8000.02:00:00:00:00:02",
			"Root ID: 0000.02:00:00:00:00:01", "Root port: lan", "Root cost: 4000", "Topology changes: 3",
		}},
	} {
		if diff := cmp.Diff(c.want, shown(t, func(tb *table) { fillTree(tb, c.tree) })); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestPortsOfATree(t *testing.T) {
	part := func(name, role, state, why string) api.Port {
		return api.Port{Name: name, STP: &api.PortSTP{
			Role: role, State: state, Inconsistent: why, Cost: 2000, Priority: 128, Protocol: "rstp",
		}}
	}
	network := api.Network{Name: "lan", STP: api.NetworkSTP{Enabled: true}}
	ports := []api.Port{
		part("lan", "root", "forwarding", ""),
		{Name: "gone", STP: &api.PortSTP{Cost: 4, Priority: 0}},
		{Name: "simple"},
		part("vm1", "disabled", "discarding", api.GuardBPDU),
	}
	want := "\n" +
		"PORT   ROLE       STATE                    COST   PRIORITY   PROTOCOL\n" +
		"lan    root       forwarding               2000   128        rstp\n" +
		"gone   -          -                        4      0          -\n" +
		"vm1    disabled   discarding, bpdu-guard   2000   128        rstp\n"
	show := func(ports []api.Port) string {
		var out strings.Builder
		err := (&output{format: choice{value: "table"}}).print(&out, nil, func(tb *table) { fillNetwork(tb, network, &config.Network{}, ports, nil) })
		if err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := show(ports); !strings.HasSuffix(got, "\nDNS:                off\n"+want) {
		t.Errorf("\n got %s\nwant, at the end, %s", got, want)
	}
	if got := show(nil); strings.Contains(got, "PROTOCOL") {
		t.Errorf("without ports:\n%s", got)
	}
	network.STP.Enabled = false
	if got := show(ports); strings.Contains(got, "PROTOCOL") {
		t.Errorf("without a tree:\n%s", got)
	}
}

func TestWire(t *testing.T) {
	uplink := api.Port{Name: "wan", Mode: "bridge", Uplink: true}
	for _, c := range []struct {
		uplink string
		ports  []api.Port
		want   string
	}{
		{"", nil, ""},
		{"wan", []api.Port{{Name: "vm1", Mode: "vepa"}, uplink}, ""},
		{"wan", []api.Port{uplink, {Name: "vm1", Mode: "passthrough"}}, "vm1 - wan"},
		{"", []api.Port{{Name: "vm1", Mode: "passthrough"}}, ""}, // the uplink is being taken away
	} {
		network := api.Network{Name: "lan", Uplink: c.uplink}
		if got := wireText(network, c.ports); got != c.want {
			t.Errorf("%v: %q, want %q", c.ports, got, c.want)
		}
		got := shown(t, func(tb *table) { fillNetwork(tb, network, &config.Network{}, c.ports, nil) })
		if slices.Contains(got, "Wire: "+c.want) != (c.want != "") {
			t.Errorf("%v: %q", c.ports, got)
		}
	}
}

func TestSnooping(t *testing.T) {
	for want, s := range map[string]api.NetworkSnooping{
		"off": {Querier: true, IntervalSeconds: 125},
		"on, queries every 2m5s, restricting, 1 group": {
			Enabled: true, Querier: true, IntervalSeconds: 125, State: api.SnoopingRestricting, Groups: 1,
		},
		"on, no queries of its own, flooding, 0 groups": {Enabled: true, IntervalSeconds: 125, State: api.SnoopingFlooding},
		"on, no queries of its own, 2 groups":           {Enabled: true, Groups: 2}, // of an earlier daemon
	} {
		if got := snoopingText(s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Only what was learned, and may still go, has an age.
func TestAgeOfEntries(t *testing.T) {
	entries := []api.FDBEntry{
		{Network: "lab", MAC: "02:00:00:00:00:01", Port: "vm1", Kind: "dynamic", AgeSeconds: 0},
		{Network: "lab", MAC: "02:00:00:00:00:02", VLAN: 7, Port: "vm1", Kind: "sticky"},
	}
	var out strings.Builder
	err := (&output{format: choice{value: "table"}}).print(&out, nil, func(tb *table) { fillFDB(tb, entries) })
	want := "NETWORK   VLAN   MAC                 PORT   KIND      AGE\n" +
		"lab       -      02:00:00:00:00:01   vm1    dynamic   0s\n" +
		"lab       7      02:00:00:00:00:02   vm1    sticky    -\n"
	if err != nil || out.String() != want {
		t.Errorf("%v\n got %s\nwant %s", err, out.String(), want)
	}
}
