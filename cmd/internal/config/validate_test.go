package config

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// Values that a file cannot hold, or that a command makes without one.
func TestValidateValue(t *testing.T) {
	for _, tc := range []struct {
		change func(*Config, *Network)
		want   string
	}{
		{func(c *Config, n *Network) {}, ""},
		{func(c *Config, n *Network) { c.Metrics.Listen = "" }, `metrics.listen: "" is not host:port: write it such as 127.0.0.1:9820, or off`},
		{func(c *Config, n *Network) { n.Name = "" }, "a network without a name: write one of 1-15 characters"},
		{func(c *Config, n *Network) { n.Ports[0].Name = "" }, `network "lan": a port without a name: write one of 1-15 characters`},
		{func(c *Config, n *Network) { c.Networks = append(c.Networks, NewNetwork("lan")) }, `network "lan": is there already: give one of the two another name`},
		{func(c *Config, n *Network) {
			n.Ports = append(n.Ports, Port{Name: "h1", Type: TypeRaw, Interface: "x", Policy: plainPolicy()})
		}, `network "lan": port "h1": is there already: give one of the two another name`},
		{func(c *Config, n *Network) { n.Forward = "" }, `network "lan": forward: "" is unknown; known here: isolated, nat, route, bridge`},
		{func(c *Config, n *Network) { n.Ports[0].Mode = "" }, `network "lan": port "h1": mode: "" is unknown; known here: bridge, vepa, private, passthrough`},
		{func(c *Config, n *Network) { n.Ports[0].Type = "" }, `network "lan": port "h1": type: is missing: write one of tap, raw, internal`},
		{func(c *Config, n *Network) { n.Ports[0].Interface = "" }, `network "lan": port "h1": interface: "" is empty: choose another name`},
		{func(c *Config, n *Network) { n.Ports[0].MAC = frame.MAC{} }, `network "lan": port "h1": mac: is the zero address: write another one`},
		{func(c *Config, n *Network) { n.Ports[0].Addresses = make([]netip.Prefix, 1) }, `network "lan": port "h1": address: invalid Prefix is not an address: write it such as 192.0.2.1/24`},
		{func(c *Config, n *Network) {
			n.FDB.Static = []StaticEntry{{MAC: frame.MAC{2}, VLAN: 4095, Port: "h1"}}
		}, `network "lan": fdb.static[0].vlan: 4095 is out of range: give 1-4094, or 0 for untagged`},
		{func(c *Config, n *Network) { n.Ports[0].Interface = "a\xff" }, `network "lan": port "h1": interface: "a\xff" must not hold "/", ":", "%", a blank or what does not print: choose another name`},
		{func(c *Config, n *Network) { n.MAC = frame.MAC{} }, `network "lan": mac: is the zero address: write another one`},
		{func(c *Config, n *Network) { n.ReservedGroups = "" }, `network "lan": reserved_groups: "" is unknown; known here: switch, wire`},
		{func(c *Config, n *Network) { n.Forward, n.Uplink.Interface = ForwardBridge, "eth1" }, `network "lan": uplink.interface: no port is on "eth1": add one of type raw`},
		{func(c *Config, n *Network) { n.Ports[0].MAC = n.MAC }, `network "lan": port "h1": mac: ` + DeriveMAC("lan", "").String() + ` is the address of the network itself: give the port its own`},
		{func(c *Config, n *Network) { n.Ports[0].STP.Edge = "" }, `network "lan": port "h1": stp.edge: "" is unknown; known here: auto, true, false`},
		{func(c *Config, n *Network) { n.Ports[0].VLAN.Access = 4095 }, `network "lan": port "h1": vlan.access: 4095 is out of range: give 1-4094`},
		{func(c *Config, n *Network) { n.Ports[0].VLAN.Native = 4095 }, `network "lan": port "h1": vlan.native: 4095 is out of range: give 1-4094`},
		{func(c *Config, n *Network) { n.Ports[0].VLAN = VLAN{Trunk: []VLANRange{{1, 1}, {}}, Native: 5} }, `network "lan": port "h1": vlan.trunk[1]: 0 is out of range: give 1-4094`},
		{func(c *Config, n *Network) { n.Ports[0].VLAN.Trunk = []VLANRange{{9, 8}} }, `network "lan": port "h1": vlan.trunk: 9-8 runs backwards: write it as 8-9`},
		{func(c *Config, n *Network) { n.Ports[0].Security.Sources = make([]frame.MAC, 1) }, `network "lan": port "h1": security.sources: is the zero address: write another one`},
		{func(c *Config, n *Network) { n.Ports[0].Rate.Egress = Rate{Average: 8000, Burst: -1} }, `network "lan": port "h1": rate.egress.burst: -1 bytes is out of range: give up to 1024MiB, or 0 for the default`},
		{func(c *Config, n *Network) {
			n.Forward, n.Uplink.Interface = ForwardBridge, "eth1"
			n.addUplink()
			o := NewNetwork("z")
			o.Forward, o.Uplink = n.Forward, n.Uplink
			o.addUplink()
			c.Networks = append(c.Networks, o)
		}, `network "z": uplink.interface: "eth1" is the interface of port lan/uplink already: give each port its own`},
		{func(c *Config, n *Network) { n.Routes = make([]Route, 1) }, `network "lan": routes: is for networks with forward: nat or route only, this one is isolated: remove it (by command: routes=)`},
		{func(c *Config, n *Network) { n.NAT = NAT{} }, `network "lan": nat: is for networks with forward: nat only, this one is isolated: write that, or remove it (by command: nat=)`},
		{func(c *Config, n *Network) {
			n.Forward, n.Addresses, n.NAT.PortRange = ForwardNAT, []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}, PortRange{9, 8}
			c.Normalize()
		}, `network "lan": nat.ports: 9-8 runs backwards: write it as 8-9`},
		{func(c *Config, n *Network) {
			n.Forward, n.Addresses, n.Uplink.Address = ForwardNAT, []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}, ""
		}, `network "lan": uplink.address: "" is neither an address such as 192.0.2.2/24 nor auto, host, sockets, dhcp, slaac or dhcp6: write one of them`},
		{func(c *Config, n *Network) { n.MTU, n.FDB.Limit = 1, 0 }, "network \"lan\": mtu: 1 is out of range: give 68-65517 bytes\nnetwork \"lan\": fdb.limit: 0 is out of range: give 1-1048576 entries"},
	} {
		c := mustParse(t, "networks: {lan: {ports: {h1: {type: internal}}}}")
		tc.change(c, &c.Networks[0])
		err := Validate(c)
		if tc.want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if err == nil || err.Error() != tc.want {
			t.Errorf("got\n%v\nwant\n%s", err, tc.want)
		}
		if _, ok := errors.AsType[Errors](err); err != nil && !ok {
			t.Errorf("%T, want Errors", err)
		}
	}
}

// What a command does to add a port: a clone, a bare port, Normalize, Validate.
func TestAddByCommand(t *testing.T) {
	c := mustParse(t, "networks: {lan: {ports: {b: {type: tap}}}}")
	before := string(c.YAML())
	with := func(p Port) (*Config, error) {
		n := c.Clone()
		n.Network("lan").Ports = append(n.Network("lan").Ports, p)
		n.Normalize()
		return n, Validate(n)
	}
	n, err := with(Port{Name: "a", Type: TypeInternal})
	if err != nil {
		t.Fatal(err)
	}
	if d := sameConfig(mustParse(t, "networks: {lan: {ports: {b: {type: tap}, a: {type: internal}}}}"), n); d != "" {
		t.Error(d)
	}
	if _, err = with(Port{Name: "a", Type: TypeRaw, Interface: "b"}); err == nil ||
		!strings.Contains(err.Error(), `"b" is the interface of port lan/`) {
		t.Errorf("an interface in use: %v", err)
	}
	if got := string(c.YAML()); got != before {
		t.Errorf("the original changed:\n%s", got)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	text := "networks: {lan: {fdb: {static: [{mac: 02:00:00:00:00:01, vlan: 10, port: h1}]}, ports: {h1: {type: internal, address: 10.0.0.1/8, " +
		"vlan: {trunk: 10}, security: {sources: 02:00:00:00:00:02}}}, " + everyService + "}}"
	c, want := mustParse(t, text), mustParse(t, text)
	o := c.Clone()
	if d := sameConfig(c, o); d != "" {
		t.Fatal(d)
	}
	n := &o.Networks[0]
	o.Metrics.Listen, n.Name, n.Ports[0].Name = "x", "x", "x"
	n.FDB.Static[0].Port = "x"
	n.Ports[0].Addresses[0] = netip.Prefix{}
	n.Ports[0].VLAN.Trunk[0] = VLANRange{}
	n.Ports[0].Security.Sources[0] = frame.MAC{}
	o.LeaseFile = "x"
	n.Addresses[0], n.HostPort = netip.Prefix{}, "x"
	d, names := &n.DHCP, &n.DNS
	d.Ranges[0], d.Hosts[0].ClientID[0], d.Hosts[0].Name = Range{}, 0, "x"
	d.NTP[0], d.Search[0], d.Options[0].Option.Data[0], d.Options[0].Key = netip.Addr{}, "x", 0, "x"
	names.Upstream[0], names.Domains[0].Upstream[0], names.Domains[0].Name = "x", "x", "x"
	names.Hosts[0].Addresses[0], names.Hosts[0].Name = netip.Addr{}, "x"
	names.TXT[0].Values[0], names.TXT[0].Name, names.SRV[0].Name = "x", "x", "x"
	if d := sameConfig(want, c); d != "" {
		t.Errorf("a change of the clone shows:\n%s", d)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"networks", "type", "mac", "mtu", "vm1", "interface", "owner"}
	for word, want := range map[string]string{
		"network": "networks", "netwroks": "networks", "Networks": "networks", "tpye": "type", "typ": "type",
		"vm2": "vm1", "inteface": "interface", "interfaces": "interface", "ower": "owner", "mtu": "mtu",
		"interf": "interface", "inter": "",
		"": "", "vlan": "", "xyz": "", "mxx": "", "forward": "", "ne": "", strings.Repeat("interface", 10): "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	modes := []string{ModeBridge, ModeVEPA, ModePrivate, ModePassthrough}
	for word, want := range map[string]string{
		"passthru": "passthrough", "pass-through": "passthrough", "passthroug": "passthrough", "Passthru": "passthrough",
		"privat": "private", "brige": "bridge", "pass": "", "thru": "", "nat": "", "promiscuous": "",
	} {
		if got := nearest(word, modes); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	// The nearest one, not the first that is near.
	if got := nearest("vm9", []string{"vm1", "vm2"}); got != "vm1" {
		t.Error(got)
	}
	if got := nearest("vm12", []string{"vm1", "vm12", "vm2"}); got != "vm12" {
		t.Error(got)
	}
	if got := hint("x", nil); got != "" {
		t.Errorf("a hint at nothing: %q", got)
	}
}

func TestEdits(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "acb", 1},
		{"abc", "ab", 1}, {"abc", "xabc", 1}, {"kitten", "sitting", 3}, {"abcd", "badc", 2}, {"ca", "abc", 3},
	} {
		if got := edits(tc.a, tc.b); got != tc.want {
			t.Errorf("%q to %q: %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
