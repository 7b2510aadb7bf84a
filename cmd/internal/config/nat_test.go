package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// inNAT is a network that translates, with more keys of its nat; routed is one
// that forwards without, with more keys.
func inNAT(keys string) string {
	return "networks: {lan: {forward: nat, address: 10.0.0.1/24, nat: {" + keys + "}}}"
}

func routed(keys string) string {
	if keys != "" {
		keys = ", " + keys
	}
	return "networks: {lan: {forward: route, address: 10.0.0.1/24" + keys + "}}"
}

const everyNAT = `networks:
  lan:
    mac: 02:00:00:00:00:01
    forward: nat
    address: 10.0.0.1/24
    uplink: {interface: eth1, address: 192.0.2.2/24, gateway: 192.0.2.1}
    routes:
      - {to: 10.6.0.0/16, via: 192.0.2.9}
      - {to: 10.5.0.0/16, via: 10.0.0.9}
    reach: [other, host]
    nat:
      ports: 2000-3000
      addresses: [192.0.2.20, 192.0.2.10-192.0.2.12]
      mapping: symmetric
      filtering: endpoint
      max_flows: 1000
      max_flows_per_host: 100
      timeouts: {udp: 120s, tcp: 2h, tcp_transitory: 1m, icmp: 30s, other: 5s}
      publish:
        - {protocol: udp, listen: 53, to: 10.0.0.9:53}
        - {protocol: tcp, listen: 127.0.0.1:8000-8010, to: "10.0.0.9:80"}
        - {protocol: tcp, listen: "8000-8010", to: 10.0.0.9:80}
  other:
    forward: route
    address: 10.1.0.1/24
    uplink: {interface: eth2, address: dhcp, proxy_arp: true}
    reach: lan
`

func TestParseEveryKeyOfNAT(t *testing.T) {
	addr := netip.MustParseAddr
	c := mustParse(t, everyNAT)
	n, o := c.Network("lan"), c.Network("other")
	want := NewNetwork("lan")
	want.Uplink = Uplink{Interface: "eth1", Address: "192.0.2.2/24", Gateway: addr("192.0.2.1")}
	want.Routes = []Route{{netip.MustParsePrefix("10.5.0.0/16"), addr("10.0.0.9")}, {netip.MustParsePrefix("10.6.0.0/16"), addr("192.0.2.9")}}
	want.Reach = []string{"host", "other"}
	to := netip.MustParseAddrPort("10.0.0.9:80")
	want.NAT = NAT{
		PortRange: PortRange{2000, 3000}, Addresses: []Range{{addr("192.0.2.10"), addr("192.0.2.12")}, {addr("192.0.2.20"), addr("192.0.2.20")}},
		IPv6: "masquerade", Mapping: "symmetric", Filtering: "endpoint", MaxFlows: 1000, MaxFlowsPerHost: 100,
		Timeouts: Timeouts{2 * time.Minute, 2 * time.Hour, time.Minute, 30 * time.Second, 5 * time.Second},
		Publish: []Publish{{"tcp", Listen{First: 8000, Last: 8010}, to}, {"tcp", Listen{addr("127.0.0.1"), 8000, 8010}, to},
			{"udp", Listen{First: 53, Last: 53}, netip.MustParseAddrPort("10.0.0.9:53")}},
	}
	compare := cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}, netip.AddrPort{})
	for _, pair := range [][2]any{{want.Uplink, n.Uplink}, {want.Routes, n.Routes}, {want.Reach, n.Reach}, {want.NAT, n.NAT},
		{Uplink{Interface: "eth2", Address: "dhcp", ProxyARP: true}, o.Uplink}, {defaultNAT(), o.NAT}} {
		if d := cmp.Diff(pair[0], pair[1], compare); d != "" {
			t.Error(d)
		}
	}
}

// A network without use for a key does not show it, and one with it shows all.
func TestNATWrittenOut(t *testing.T) {
	text := string(mustParse(t, everyNAT).YAML())
	for _, want := range []string{
		"    uplink:\n      interface: eth1\n      address: \"192.0.2.2/24\"\n      gateway: \"192.0.2.1\"\n      proxy_arp: false\n    routes:\n" +
			"      - {to: \"10.5.0.0/16\", via: \"10.0.0.9\"}\n      - {to: \"10.6.0.0/16\", via: \"192.0.2.9\"}\n    reach: [host, other]\n" +
			"    nat:\n      ports: 2000-3000\n      addresses: [\"192.0.2.10-192.0.2.12\", \"192.0.2.20\"]\n      ipv6: masquerade\n      mapping: symmetric\n",
		"      timeouts: {udp: 2m0s, tcp: 2h0m0s, tcp_transitory: 1m0s, icmp: 30s, other: 5s}\n      publish:\n" +
			"        - {protocol: tcp, listen: \"8000-8010\", to: \"10.0.0.9:80\"}\n        - {protocol: tcp, listen: \"127.0.0.1:8000-8010\", to: \"10.0.0.9:80\"}\n",
		"    uplink:\n      interface: eth2\n      address: dhcp\n      proxy_arp: true\n    reach: [lan]\n    inbound:\n      ipv4: open\n      ipv6: published\n    mtu",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no\n%s\nin\n%s", want, text)
		}
	}
	if text := string(mustParse(t, "networks: {lan: {address: 10.0.0.1/24}}").YAML()); strings.Contains(text, "nat") || strings.Contains(text, "uplink") {
		t.Error(text)
	}
	if text := string(Default().YAML()); !strings.Contains(text, "    uplink:\n      address: auto\n      proxy_arp: false\n    nat:\n      ports: 1024-65535\n") {
		t.Error(text)
	}
}

func TestNATDiff(t *testing.T) {
	old := mustParse(t, everyNAT)
	new := mustParse(t, strings.NewReplacer("listen: 53", "listen: 54", "192.0.2.9", "192.0.2.8", "2000-3000", "2000-3001",
		"address: dhcp, proxy_arp: true", "address: host").Replace(everyNAT))
	want := `~ network lan: routes - 10.6.0.0/16 via 192.0.2.9
~ network lan: routes + 10.6.0.0/16 via 192.0.2.8
~ network lan: nat.ports 2000-3000 -> 2000-3001
~ network lan: nat.publish - udp 53 to 10.0.0.9:53
~ network lan: nat.publish + udp 54 to 10.0.0.9:53
~ network other: uplink.address dhcp -> host
~ network other: uplink.proxy_arp true -> false`
	if got := texts(Diff(old, new)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestL3Uplink(t *testing.T) {
	for _, tc := range []struct {
		text  string
		want  string
		owned bool
	}{
		{"networks: {lan: {}}", "", false},
		{bridged("", ""), "", false},
		{inNAT(""), " auto invalid Prefix", false},
		{routed("uplink: {interface: eth1}"), "eth1 auto invalid Prefix", false},
		{routed("uplink: {interface: eth1, address: host}"), "eth1 host invalid Prefix", false},
		{routed("uplink: {interface: eth1, address: dhcp}"), "eth1 dhcp invalid Prefix", true},
		{routed("uplink: {interface: eth1, address: 192.0.2.2/24}"), "eth1 192.0.2.2/24 192.0.2.2/24", true},
	} {
		n := mustParse(t, tc.text).Networks[0]
		u, ok := n.L3Uplink()
		got := fmt.Sprint(u.Interface, " ", u.Address, " ", u.Prefix())
		if ok != (tc.want != "") || ok && got != tc.want || u.Owned() != tc.owned || ok != n.Forwards() {
			t.Errorf("%s: %v, %q, %v", tc.text, ok, got, u.Owned())
		}
	}
	n := NewNetwork("lan")
	n.Forward = ForwardNAT
	if u, _ := n.L3Uplink(); u.Address != AddressAuto {
		t.Error("before Normalize there is no address")
	}
}

func TestListens(t *testing.T) {
	for text, want := range map[string]string{
		"19888": "", "1": "", "65535": "", "8000-8010": "", "127.0.0.1:19888": "", "127.0.0.1:8000-8010": "", "[::1]:80": "",
		"80-80": "80", " 8000 - 8010": "8000-8010", "127.0.0.1:80-80": "127.0.0.1:80",
	} {
		if want == "" {
			want = text
		}
		l, err := ParseListen(text)
		if err != nil || l.String() != want {
			t.Errorf("%s: %v, %v", text, l, err)
		}
	}
	for text, want := range map[string]string{
		"":               `"" is not a port: write a number of 1-65535, or a range such as 8000-8010`,
		"http":           `"http" is not a port: write a number of 1-65535, or a range such as 8000-8010`,
		"080":            `"080" is not a port: write a number of 1-65535, or a range such as 8000-8010`,
		"0":              "port 0 is out of range: give 1-65535",
		"65536":          "port 65536 is out of range: give 1-65535",
		"80-70000":       "port 70000 is out of range: give 1-65535",
		"90-80":          "90-80 runs backwards: write it as 80-90",
		":19888":         `":19888" has no address: write "19888" for the uplink, or an address of this host before the colon`,
		"127.0.0.1":      "127.0.0.1 has no port: write it too, such as 127.0.0.1:19888",
		"localhost:80":   `"localhost" is not an IP address: write one such as 192.0.2.1`,
		"127.0.0.1:":     `"" is not a port: write a number of 1-65535, or a range such as 8000-8010`,
		"127.0.0.1:9-8":  "9-8 runs backwards: write it as 8-9",
		"::1":            "::1 has no port: write it too, such as [::1]:19888",
		"[::1]":          "::1 has no port: write it too, such as [::1]:19888",
		"::1:19888":      `"::1:19888" has no brackets around its IPv6 address: write [::1]:19888`,
		"fd00::1:8-9":    `"fd00::1:8-9" has no brackets around its IPv6 address: write [fd00::1]:8-9`,
		"fe80::1%eth:80": `"fe80::1%eth" has a zone, which means nothing to others: write the address alone`,
	} {
		if l, err := ParseListen(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v\nwant %s", text, l, err, want)
		}
	}
	if (Listen{}).String() != "" {
		t.Error("no listen has a text")
	}
}

func TestParsePublish(t *testing.T) {
	p, err := ParsePublish("tcp", "8000-8010", "10.0.0.9:80")
	if err != nil || p.String() != "tcp 8000-8010 to 10.0.0.9:80" {
		t.Error(p, err)
	}
	for _, tc := range [][3]string{
		{"x", "10.0.0.9:80", `listen: "x" is not a port: write a number of 1-65535, or a range such as 8000-8010`},
		{"80", "10.0.0.9", "to: 10.0.0.9 has no port: write it too, such as 10.0.0.9:22"},
		{"80", ":22", `to: ":22" is not an address and a port: write those of the guest, such as 192.168.122.10:22`},
		{"80", "22", `to: "22" is not an address and a port: write those of the guest, such as 192.168.122.10:22`},
		{"80", "web:22", `to: "web:22" is not an address and a port: write those of the guest, such as 192.168.122.10:22`},
		{"80-81", "10.0.0.9:80-81", `to: "10.0.0.9:80-81" is a range, and those follow listen from the first on: write "10.0.0.9:80"`},
	} {
		if _, err := ParsePublish("tcp", tc[0], tc[1]); err == nil || err.Error() != tc[2] {
			t.Errorf("%v\nwant %s", err, tc[2])
		}
	}
}

// What a command adds is checked as what a file has, and named without a number.
func TestAddPublish(t *testing.T) {
	c := mustParse(t, "networks: {lan: {forward: nat, address: 10.0.0.1/24, nat: {publish: [{protocol: tcp, listen: 80-90, to: 10.0.0.9:80}]}}, "+
		"dmz: {forward: nat, address: 10.1.0.1/24}, plain: {}}")
	to := netip.MustParseAddrPort("10.0.0.9:22")
	for _, tc := range []struct {
		network string
		p       Publish
		want    string
	}{
		{"x", Publish{}, `network "x": does not exist: add it first`},
		{"plain", Publish{"tcp", Listen{First: 1}, to}, `network "plain": forward is isolated, and ports are published by nat and route only: write one of them first`},
		{"lan", Publish{"tcp", Listen{First: 85, Last: 95}, to}, `network "lan": tcp 85-95 is published already, as 80-90 to 10.0.0.9:80: choose other ports, or remove that`},
		{"dmz", Publish{"tcp", Listen{First: 85}, netip.MustParseAddrPort("10.1.0.2:1")},
			`network "dmz": tcp 85 is published already, as 80-90 to 10.0.0.9:80 of network "lan": choose other ports, or remove that`},
		{"lan", Publish{"sctp", Listen{First: 1}, netip.MustParseAddrPort("10.1.0.9:22")},
			"network \"lan\": protocol: \"sctp\" is unknown; known here: tcp, udp\nnetwork \"lan\": to: 10.1.0.9 is not in the subnet 10.0.0.0/24 of the network: choose one that is"},
		{"lan", Publish{"udp", Listen{First: 85}, to}, ""},
		{"lan", Publish{"tcp", Listen{netip.MustParseAddr("127.0.0.1"), 85, 85}, to}, ""},
	} {
		before := c.Clone()
		err := c.AddPublish(tc.network, tc.p)
		if tc.want == "" {
			c.Normalize()
			if err != nil || Validate(c) != nil {
				t.Error(err, Validate(c))
			}
			continue
		}
		if err == nil || err.Error() != tc.want {
			t.Errorf("got %v\nwant %s", err, tc.want)
		}
		if d := sameConfig(before, c); d != "" {
			t.Error(d)
		}
	}
	// Of several that clash, it is always the same that is named.
	for _, last := range []byte{9, 3, 5} {
		if err := c.AddPublish("lan", Publish{"udp", Listen{netip.AddrFrom4([4]byte{127, 0, 0, last}), 7, 7}, to}); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		err := c.AddPublish("lan", Publish{"udp", Listen{netip.IPv4Unspecified(), 7, 7}, to})
		if err == nil || !strings.Contains(err.Error(), "as 127.0.0.3:7 to") {
			t.Fatal(err)
		}
	}
	for _, last := range []byte{9, 3, 5} {
		if l := (Listen{netip.AddrFrom4([4]byte{127, 0, 0, last}), 7, 7}); !c.RemovePublish("lan", "udp", l) {
			t.Error(l)
		}
	}
	// As AddPublish leaves the one that was given no last port.
	if n := c.Network("lan"); n.PublishOf("udp", Listen{First: 85, Last: 85}) != 2 || n.PublishOf("udp", Listen{First: 85, Last: 86}) != -1 || n.PublishOf("tcp", Listen{First: 85, Last: 85}) != -1 {
		t.Error(n.NAT.Publish)
	}
	if c.RemovePublish("x", "udp", Listen{}) || c.RemovePublish("lan", "tcp", Listen{First: 80, Last: 89}) || len(c.Network("lan").NAT.Publish) != 3 {
		t.Error("removed what is not there")
	}
}

// Live, a network goes from one way out to another, but not to and from a bridge.
func TestPatchForward(t *testing.T) {
	const lan = "~ network lan: "
	old := mustParse(t, "networks: {lan: {address: 10.0.0.1/24}, b: {forward: bridge, uplink: {interface: eth9}}}")
	c := old.Clone()
	for _, tc := range []struct{ body, want string }{
		{`{"forward":"nat"}`, lan + "forward isolated -> nat\n" + lan + "uplink.address none -> auto"},
		{`{"forward":"isolated"}`, lan + "forward nat -> isolated\n" + lan + "uplink.address auto -> none"},
		{`{"forward":"route","uplink":{"interface":"eth1","address":"192.0.2.2/24","gateway":"192.0.2.1","proxy_arp":"true"}}`,
			lan + "forward isolated -> route\n" + lan + `uplink.interface "" -> "eth1"` + "\n" + lan + "uplink.address none -> 192.0.2.2/24\n" +
				lan + "uplink.gateway none -> 192.0.2.1\n" + lan + "uplink.proxy_arp false -> true"},
		{`{"routes":[{"to":"10.5.0.0/16","via":"10.0.0.9"}],"reach":"host"}`, lan + "routes + 10.5.0.0/16 via 10.0.0.9\n" + lan + "reach [] -> [host]"},
		{`{"forward":"nat","uplink":{"proxy_arp":null},"nat":{"ports":"2000-3000","publish":[{"protocol":"tcp","listen":80,"to":"10.0.0.9:80"}]}}`,
			lan + "forward route -> nat\n" + lan + "uplink.proxy_arp true -> false\n" + lan + "nat.ports 1024-65535 -> 2000-3000\n" + lan + "nat.publish + tcp 80 to 10.0.0.9:80"},
		{`{"forward":"","uplink":"","routes":null,"reach":"","nat":""}`, lan + "forward nat -> isolated\n" + lan + `uplink.interface "eth1" -> ""` + "\n" +
			lan + "uplink.address 192.0.2.2/24 -> none\n" + lan + "uplink.gateway 192.0.2.1 -> none\n" + lan + "routes - 10.5.0.0/16 via 10.0.0.9\n" +
			lan + "reach [host] -> []\n" + lan + "nat.ports 2000-3000 -> 1024-65535\n" + lan + "nat.publish - tcp 80 to 10.0.0.9:80"},
	} {
		before := c.Clone()
		if err := c.PatchNetwork("lan", []byte(tc.body)); err != nil {
			t.Fatalf("%s: %v", tc.body, err)
		}
		c.Normalize()
		if err := ValidateChange(before, c); err != nil {
			t.Fatalf("%s: %v", tc.body, err)
		}
		if got := texts(Diff(before, c)); got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.body, got, tc.want)
		}
	}
	if d := sameConfig(old, c); d != "" {
		t.Error(d)
	}
	const live = " cannot be set while the network runs: change the file and apply it"
	for network, tc := range map[string][2]string{
		"lan": {`{"forward":"bridge","uplink":{"interface":"eth1"}}`, `network "lan": forward: bridge` + live},
		"b":   {`{"forward":"nat","address":"10.1.0.1/24"}`, `network "b": forward:` + live},
	} {
		if err := c.PatchNetwork(network, []byte(tc[0])); err == nil || err.Error() != tc[1] {
			t.Errorf("got %v\nwant %s", err, tc[1])
		}
	}
}

func TestNATCloneSharesNothing(t *testing.T) {
	c, want := mustParse(t, everyNAT), mustParse(t, everyNAT)
	o := c.Clone()
	if d := sameConfig(c, o); d != "" {
		t.Fatal(d)
	}
	n := &o.Networks[0]
	n.Routes[0], n.Reach[0], n.NAT.Addresses[0], n.NAT.Publish[0] = Route{}, "x", Range{}, Publish{}
	if d := sameConfig(want, c); d != "" {
		t.Errorf("a change of the clone shows:\n%s", d)
	}
}
