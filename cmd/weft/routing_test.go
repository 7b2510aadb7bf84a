package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
)

// "network show" says where packets may go beyond a network and what keeps them
// from it, as it was configured and as it is.
func TestNetworkShowsItsRouting(t *testing.T) {
	c, err := config.Parse("", []byte(`networks:
  out:
    forward: nat
    address: 10.0.0.1/24
    uplink: {interface: eth0, address: 192.0.2.2/24, gateway: 192.0.2.1}
    routes: [{to: 10.5.0.0/16, via: 10.0.0.9}]
    reach: [host, through]
    nat:
      ports: 20000-29999
      addresses: [192.0.2.10-192.0.2.12, 192.0.2.20]
      filtering: endpoint
      max_flows: 100
      timeouts: {udp: 30s}
      publish: [{protocol: tcp, listen: 19888, to: "10.0.0.10:22"}]
  through: {forward: route, address: 10.1.0.1/24, uplink: {interface: eth0, address: 192.0.2.2/24, gateway: 192.0.2.1}, reach: [out]}
  plain: {forward: nat, address: 10.2.0.1/24}
  lan: {forward: bridge, uplink: {interface: eth1}}
  alone: {address: 10.3.0.1/24}
`))
	if err != nil {
		t.Fatal(err)
	}
	own := &api.Uplink{Interface: "eth0", Kind: api.UplinkStatic, Kinds: []string{api.UplinkStatic}, State: api.StateNoCarrier, Detail: "pull", Addresses: []string{"192.0.2.2/24"}, Gateways: []string{"192.0.2.1"}}
	both := &api.Uplink{Interface: "eth0", Kind: api.UplinkHost, Kinds: []string{api.UplinkHost}, State: api.StateUp,
		Addresses: []string{"192.0.2.2/24", "2001:db8:5::2/64"}, Gateways: []string{"192.0.2.1", "fe80::1"}}
	inbound := api.NetworkInbound{IPv4: api.InboundOpen, IPv6: api.InboundPublished}
	six := []string{"10.1.0.1/24", "2001:db8:1::1/64"}
	flows := &api.NetworkNAT{
		MaxFlows: 100, Refused: map[string]uint64{"nat-host-full": 3, "nat-ports-full": 0},
		Protocols: []api.NATProtocol{{Protocol: "tcp", Flows: 4, Mappings: 1, Created: 10, Expired: 6}, {Protocol: "udp"}},
	}
	for _, tc := range []struct {
		network api.Network
		uplink  *api.Uplink
		want    []string
	}{
		{api.Network{Name: "out", Forward: "nat", NAT: flows}, own, []string{
			"Uplink: eth0, static, with an address of its own", "Uplink state: no-carrier (pull)",
			"Uplink address: 192.0.2.2/24, gateway 192.0.2.1",
			"Reach: host, through", "Route to 10.5.0.0/16: by 10.0.0.9",
			"NAT: ports 20000-29999 of 192.0.2.10-192.0.2.12, 192.0.2.20, endpoint-independent mapping, filtering endpoint",
			"NAT timeouts: udp 30s, tcp 7440s, tcp_transitory 240s, icmp 60s, other 600s",
			"Published: 1", "Flows: 4 of 100, at most 100 of one guest",
			"tcp: 4, 1 outside port, 10 begun, 6 timed out", "Flows refused: 3", "nat-host-full: 3",
		}},
		{api.Network{Name: "through", Forward: "route"}, own, []string{
			"Uplink: eth0, static, with an address of its own", "Uplink state: no-carrier (pull)",
			"Uplink address: 192.0.2.2/24, gateway 192.0.2.1", "Reach: out",
		}},
		{api.Network{Name: "plain", Forward: "nat", NAT: &api.NetworkNAT{MaxFlows: 65536}}, &api.Uplink{Kind: api.UplinkSockets, Kinds: []string{api.UplinkSockets}, State: api.StateUp}, []string{
			"Uplink: sockets of this host", "Uplink state: up",
			"NAT: ports 1024-65535, endpoint-independent mapping, filtering address",
			"NAT timeouts: udp 300s, tcp 7440s, tcp_transitory 240s, icmp 60s, other 600s",
			"Flows: 0 of 65536, at most 8192 of one guest", "Flows refused: 0",
		}},
		{api.Network{Name: "through", Forward: "route"}, nil, []string{"Uplink: none: the log of weft says why", "Reach: out"}},
		{api.Network{Name: "through", Forward: "route", Addresses: six, Inbound: inbound, NAT: &api.NetworkNAT{MaxFlows: 9, IPv6: api.NATMasquerade}}, both, []string{
			"Uplink: eth0, host, with the address of this host", "Uplink state: up",
			"Uplink address: 192.0.2.2/24, 2001:db8:5::2/64, gateway 192.0.2.1, fe80::1", "Reach: out",
			"Inbound: IPv4 open, IPv6 published", "Flows: 0 of 9, at most 9 of one guest", "Flows refused: 0",
		}},
		{api.Network{Name: "through", Forward: "route", Addresses: six[:1], Inbound: inbound}, both, []string{
			"Uplink: eth0, host, with the address of this host", "Uplink state: up",
			"Uplink address: 192.0.2.2/24, 2001:db8:5::2/64, gateway 192.0.2.1, fe80::1", "Reach: out", "Inbound: IPv4 open",
		}},
		{api.Network{Name: "lan", Forward: "bridge", Uplink: "uplink"}, nil, []string{"Uplink: uplink"}},
		{api.Network{Name: "alone", Forward: "isolated"}, nil, nil},
	} {
		var got []string
		for _, line := range shown(t, func(tb *table) { fillRouting(tb, tc.network, c.Network(tc.network.Name), tc.uplink) }) {
			if line = strings.Join(strings.Fields(line), " "); line != "" {
				got = append(got, line)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s\n got %s\nwant %s", tc.network.Name, strings.Join(got, "\n     "), strings.Join(tc.want, "\n     "))
		}
	}
}

// What becomes of IPv6 is told of a network that has it.
func TestNAT6Text(t *testing.T) {
	six := []string{"10.1.0.1/24", "2001:db8:1::1/64"}
	for want, n := range map[string]api.Network{
		"masquerade, as the uplink's address; ":  {Addresses: six, NAT: &api.NetworkNAT{IPv6: api.NATMasquerade}},
		"route, as they are; IPv6 published":     {Addresses: six, NAT: &api.NetworkNAT{IPv6: api.NATRoute}},
		"prefix 2001:db8:5::/64; IPv6 published": {Addresses: six, NAT: &api.NetworkNAT{IPv6: "2001:db8:5::/64"}},
		"; ":                                     {Addresses: six[:1], NAT: &api.NetworkNAT{IPv6: "2001:db8:5::/64"}},
	} {
		n.Forward, n.Inbound = "nat", api.NetworkInbound{IPv4: api.InboundOpen, IPv6: api.InboundPublished}
		if got := nat6Text(n, &config.Network{}) + "; " + inboundText(n); got != want {
			t.Errorf("%+v: %q, want %q", n, got, want)
		}
	}
}

// Guests that have outside addresses of IPv6 have those, not the uplink's.
func TestNAT6Addresses(t *testing.T) {
	c, err := config.Parse("f", []byte("networks: {a: {forward: nat, address: [10.0.0.1/24, 'fd00::1/64'], uplink: {interface: u, address: [192.0.2.2/24, '2001:db8::2/64']}, nat: {addresses: [192.0.2.8, '2001:db8::8-2001:db8::9']}}}"))
	if err != nil {
		t.Fatal(err)
	}
	n := api.Network{Addresses: []string{"fd00::1/64"}, NAT: &api.NetworkNAT{IPv6: api.NATMasquerade}}
	if got := nat6Text(n, c.Network("a")); got != "masquerade, as 2001:db8::8-2001:db8::9" {
		t.Error(got)
	}
}

// A list shows one address of each family.
func TestFirstOfEach(t *testing.T) {
	for want, list := range map[string][]string{
		"":                       nil,
		"10.0.0.1/24":            {"10.0.0.1/24"},
		"2001:db8::1/64":         {"2001:db8::1/64"},
		"10.0.0.1/24,fd00::1/64": {"10.0.0.1/24", "fd00::1/64"},
		"10.0.0.1,fe80::1,+2":    {"10.0.0.1", "fe80::1", "fe80::2", "10.0.0.2"},
	} {
		if got := firstOfEach(list); got != want {
			t.Errorf("%v: %q, want %q", list, got, want)
		}
	}
}

// The list has one word for each way out.
func TestUplinkCell(t *testing.T) {
	uplinks := []api.Uplink{
		{Interface: "eth0", Kind: api.UplinkHost, Networks: []string{"a"}},
		{Interface: "eth0", Kind: api.UplinkSockets, Networks: []string{"b", "c"}},
	}
	for name, want := range map[string]string{"a": "eth0", "b": "sockets", "c": "sockets", "d": "wan"} {
		n := api.Network{Name: name, Uplink: "eth0"}
		if name == "d" {
			n.Uplink = "wan" // the port of a bridge
		}
		if got := uplinkCell(n, uplinks); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Flows are listed by network, protocol and source, whatever order they come in, and
// addresses and ports are numbers.
func TestFlowsAreSorted(t *testing.T) {
	var want []api.Flow
	for _, v := range [][3]string{
		{"a", "47", "10.0.0.9"}, {"a", "tcp", "10.0.0.9:5000"}, {"a", "tcp", "10.0.0.9:40000"}, {"a", "tcp", "10.0.0.10:80"},
		{"a", "udp", "10.0.0.1:53"}, {"b", "icmp", "10.0.0.1:7"},
	} {
		want = append(want, api.Flow{Network: v[0], Protocol: v[1], Original: api.FlowEnds{Source: v[2], Destination: "192.0.2.1:80"}})
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, byPlace)
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// A connection that sockets keep does not expire, and one that is about to is no such.
func TestExpiryCell(t *testing.T) {
	for f, want := range map[api.Flow]string{
		{State: api.FlowEstablished}:                       "",
		{State: api.FlowEstablished, ExpiresSeconds: 7440}: "2h4m",
		{State: api.FlowReplied}:                           "0s",
	} {
		if got := expiryCell(&f); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
}

// An uplink of two kinds has both, in the list and where it is shown.
func TestUplinkKinds(t *testing.T) {
	u := api.Uplink{Interface: "eth1", Kind: api.UplinkStatic, Kinds: []string{api.UplinkStatic, api.UplinkSLAAC}}
	if got := kindText(&u); got != "static, slaac, with addresses of its own" {
		t.Error(got)
	}
	if u.Kinds = []string{api.UplinkSLAAC}; kindText(&u) != "slaac, with an address of its own" {
		t.Error(kindText(&u))
	}
}

// That guests have no default router here is the configuration's doing, or that of what
// leads out.
func TestNoRouter(t *testing.T) {
	own := &config.Network{}
	auto := &config.Network{RA: config.RA{Lifetime: config.LifetimeAuto}}
	for _, tt := range []struct {
		seconds int64
		cfg     *config.Network
		want    string
	}{
		{1800, auto, "router for 30m"}, {0, auto, "no router, as nothing leads out of the network"}, {0, own, "no router, as ra.lifetime says"},
	} {
		text := strings.Join(shown(t, func(tb *table) { fillRA(tb, &api.NetworkRA{LifetimeSeconds: tt.seconds}, tt.cfg) }), "\n")
		if !strings.Contains(text, tt.want) {
			t.Errorf("%d: %s\nwant %s", tt.seconds, text, tt.want)
		}
	}
}
