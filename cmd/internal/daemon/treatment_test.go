package daemon

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dhcp6"
	"github.com/weft/weft/nat"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// mapsOf writes inside and outside prefixes in turn.
func mapsOf(list ...string) (all []nat.PrefixMap) {
	for i := 0; i < len(list); i += 2 {
		all = append(all, nat.PrefixMap{Inside: netip.MustParsePrefix(list[i]), Outside: netip.MustParsePrefix(list[i+1])})
	}
	return all
}

// What becomes of each family follows from forward, nat.ipv6 and inbound, and from
// nothing that the other family does.
func TestTreatments(t *testing.T) {
	const plain, tracked, translated = dataplane.Plain, dataplane.Tracked, dataplane.Translated
	const both = "address: [10.0.0.1/24, 2001:db8:1::1/64]"
	const uplink = ", uplink: {interface: u, address: host}"
	for _, tt := range []struct {
		keys      string
		four, six dataplane.Treatment
		maps      []nat.PrefixMap
		open      bool
		seen      []netip.Prefix
	}{
		{keys: both},
		{keys: "forward: nat, " + both + uplink, four: translated, six: translated},
		{keys: "forward: nat, address: 10.0.0.1/24" + uplink, four: translated},
		{keys: "forward: nat, address: ['2001:db8:1::1/64']" + uplink, six: translated},
		{keys: "forward: nat, nat: {ipv6: route}, " + both + uplink, four: translated, six: tracked,
			maps: mapsOf("2001:db8:1::/64", "2001:db8:1::/64"), seen: prefixes("2001:db8:1::/64")},
		{keys: "forward: nat, nat: {ipv6: route}, inbound: {ipv6: open}, " + both + uplink, four: translated,
			open: true, seen: prefixes("2001:db8:1::/64")},
		{keys: "forward: nat, nat: {ipv6: '2001:db8:5::/64'}, " + both + uplink, four: translated, six: translated,
			maps: mapsOf("2001:db8:1::/64", "2001:db8:5::/64"), seen: prefixes("2001:db8:5::/64")},
		{keys: "forward: nat, nat: {ipv6: '2001:db8:5::/64'}, inbound: {ipv6: open}, " + both + uplink, four: translated, six: translated,
			maps: mapsOf("2001:db8:1::/64", "2001:db8:5::/64"), open: true, seen: prefixes("2001:db8:5::/64")},
		{keys: "forward: route, " + both + uplink, six: tracked,
			maps: mapsOf("2001:db8:1::/64", "2001:db8:1::/64"), seen: prefixes("10.0.0.0/24", "2001:db8:1::/64")},
		{keys: "forward: route, address: 10.0.0.1/24" + uplink, seen: prefixes("10.0.0.0/24")},
		{keys: "forward: route, inbound: published, " + both + uplink, four: tracked, six: tracked,
			maps: mapsOf("10.0.0.0/24", "10.0.0.0/24", "2001:db8:1::/64", "2001:db8:1::/64"), seen: prefixes("10.0.0.0/24", "2001:db8:1::/64")},
		{keys: "forward: route, inbound: open, " + both + uplink, open: true, seen: prefixes("10.0.0.0/24", "2001:db8:1::/64")},
		{keys: "forward: route, inbound: {ipv4: published, ipv6: open}, " + both + uplink, four: tracked,
			maps: mapsOf("10.0.0.0/24", "10.0.0.0/24"), seen: prefixes("10.0.0.0/24", "2001:db8:1::/64")},
	} {
		n := &parse(t, "a: {"+tt.keys+"}").Networks[0]
		d := &Daemon{}
		if four, six := treatments(n); four != tt.four || six != tt.six {
			t.Errorf("%s: %d and %d, want %d and %d", tt.keys, four, six, tt.four, tt.six)
		}
		z := d.zoneOf(n)
		if !reflect.DeepEqual(z.Prefixes, tt.maps) || z.Open != tt.open {
			t.Errorf("%s: %v, open %v, want %v, %v", tt.keys, z.Prefixes, z.Open, tt.maps, tt.open)
		}
		if n.Forwards() {
			if seen := d.seenOutside(n); !reflect.DeepEqual(seen, tt.seen) {
				t.Errorf("%s: seen outside %v, want %v", tt.keys, seen, tt.seen)
			}
		}
	}
}

// withServices has a network whose routers have prefixes.
func withServices(network string, all ...dhcp6.Delegation) *Daemon {
	s := &services{network: network}
	s.delegated.Store(&all)
	return &Daemon{services: map[string]*services{network: s}}
}

// What is behind stations inside belongs to a network, whether the file says so or a
// router has it by DHCPv6; what the file has twice is there once.
func TestRoutesInside(t *testing.T) {
	n := &parse(t, `a: {forward: route, address: [10.0.0.1/24, 2001:db8:1::1/64], uplink: {interface: u, address: [192.0.2.2/24, 2001:db8:5::2/64]},
    routes: [{to: 10.5.0.0/16, via: 10.0.0.9}, {to: 2001:db8:7::/48, via: 2001:db8:1::7}, {to: 10.6.0.0/16, via: 192.0.2.9}, {to: 2001:db8:8::/48, via: 2001:db8:5::9}]}`).Networks[0]
	via := netip.MustParseAddr("fe80::9")
	d := withServices("a", dhcp6.Delegation{Prefix: netip.MustParsePrefix("2001:db8:100:100::/56"), Via: via},
		dhcp6.Delegation{Prefix: netip.MustParsePrefix("2001:db8:7::/48"), Via: via})
	want := prefixes("10.0.0.0/24", "2001:db8:1::/64", "10.5.0.0/16", "2001:db8:7::/48", "2001:db8:100:100::/56")
	if got := d.prefixesOf(n); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	n.DHCP6.Delegate = []config.Delegate{{Prefix: netip.MustParsePrefix("2001:db8:100::/48"), Length: 56}}
	want = prefixes("10.0.0.0/24", "2001:db8:1::/64", "2001:db8:100::/48", "10.5.0.0/16", "2001:db8:7::/48") // given or not
	if got := d.prefixesOf(n); !reflect.DeepEqual(got, want) {
		t.Errorf("with a pool: %v, want %v", got, want)
	}
	want[4] = netip.MustParsePrefix("2001:db8:100:100::/56")
	routes := d.routesInside(n)
	if len(routes) != 4 || routes[2].Via != via || routes[2].Destination != want[4] {
		t.Errorf("routes %v", routes)
	}
	if got := ofFamily(want[:4], true); !reflect.DeepEqual(got, prefixes("10.0.0.0/24", "10.5.0.0/16")) {
		t.Errorf("of IPv4: %v", got)
	}
}

// A router or server outside gives no addresses of what is inside.
func TestAcceptable(t *testing.T) {
	d := withServices("a", dhcp6.Delegation{Prefix: netip.MustParsePrefix("2001:db8:300:100::/56"), Via: netip.MustParseAddr("fe80::9")})
	d.running = parse(t, `a: {forward: route, address: [10.0.0.1/24, 2001:db8:1::1/64], uplink: {interface: u, address: [dhcp, slaac]},
    routes: [{to: 2001:db8:7::/48, via: 2001:db8:1::7}], dhcp6: {delegate: [{prefix: 2001:db8:100::/48, length: 56}]}}`)
	for addr, want := range map[string]bool{
		"10.0.0.9/24": false, "10.0.0.0/8": false, "10.1.0.9/24": true, "2001:db8:1::9/64": false, "2001:db8:2::9/64": true,
		"2001:db8:7:5::9/64": false, "2001:db8:100:5::9/64": false, "2001:db8:300:1ff::9/128": false,
	} {
		if err := d.acceptable(netip.MustParsePrefix(addr)); (err == nil) != want {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// A port is held at the shared address of the family that it leads to, and none is where
// the guest's own address is known outside.
func TestHeldPorts(t *testing.T) {
	n := &parse(t, `a: {forward: nat, address: [10.0.0.1/24, fd00::1/64], uplink: {interface: u, address: host}, nat: {ipv6: '2001:db8:5::/64', publish: [
    {protocol: tcp, listen: 80, to: '10.0.0.9:80'}, {protocol: tcp, listen: 80, to: '[fd00::9]:80'}, {protocol: udp, listen: 53-54, to: '10.0.0.9:53'}, {protocol: tcp, listen: '127.0.0.1:90', to: '10.0.0.9:80'}]}}`).Networks[0]
	four, six := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8:9::2")
	d := &Daemon{}
	zone := d.zoneOf(n)
	if len(zone.Publish) != 3 || len(atUplink(zone)) != 2 {
		t.Fatalf("%d are published, of them %d by the uplink", len(zone.Publish), len(atUplink(zone)))
	}
	n.NAT.IPv6 = config.NATMasquerade
	for _, tt := range []struct {
		at   addressPair
		want []heldPort
	}{
		{addressPair{four, six}, []heldPort{{6, 80, four}, {6, 80, six}, {17, 53, four}, {17, 54, four}}},
		{addressPair{four: four}, []heldPort{{6, 80, four}, {17, 53, four}, {17, 54, four}}},
		{addressPair{six: six}, []heldPort{{6, 80, six}}},
		{addressPair{}, nil},
	} {
		if got := heldPorts(atUplink(d.zoneOf(n)), tt.at); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.at, got, tt.want)
		}
		if list := tt.at.list(); len(list) != len(tt.at.list()) || len(list) > 0 && !list[0].IsValid() {
			t.Errorf("list of %v", list)
		}
	}
}

// An uplink leads out in IPv6 while it has an address, a default route, and is in use.
func TestLeads6(t *testing.T) {
	out := dataplane.Route{Destination: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fe80::1")}
	four := dataplane.Route{Destination: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1")}
	blocked := dataplane.Route{Destination: netip.MustParsePrefix("::/0"), Blocked: true}
	local := dataplane.Route{Destination: netip.MustParsePrefix("fe80::/64")}
	alone, subnet := prefixes("2001:db8:5::2/128"), prefixes("2001:db8:5::2/64")
	for i, tt := range []struct {
		cfg  dataplane.UplinkConfig
		want bool
	}{
		{dataplane.UplinkConfig{}, false},
		{dataplane.UplinkConfig{Routes: []dataplane.Route{out}}, false},
		{dataplane.UplinkConfig{Address6: alone}, false},
		{dataplane.UplinkConfig{Address6: alone, Routes: []dataplane.Route{four, blocked, local}}, false},
		{dataplane.UplinkConfig{Address6: alone, Routes: []dataplane.Route{four, out}}, true},
		{dataplane.UplinkConfig{Address6: alone, Routes: []dataplane.Route{out}, Idle6: true}, false},
		{dataplane.UplinkConfig{Address6: alone, Routes: []dataplane.Route{out}, Idle: true}, true},
		{dataplane.UplinkConfig{Address6: subnet}, false},
		{dataplane.UplinkConfig{Address6: subnet, Routes: []dataplane.Route{out}}, true},
	} {
		if got := leads6(tt.cfg); got != tt.want {
			t.Errorf("%d: %v", i, got)
		}
	}
}

// Where the usual unique local subnet is this host's, another one is taken.
func TestBuiltinOn(t *testing.T) {
	subnet := netip.MustParsePrefix("192.168.122.0/24")
	own := config.ULA(config.DefaultNetwork)
	c := builtinOn(subnet, nil)
	if n := c.Networks[0]; len(n.Gateway6()) != 1 || n.Gateway6()[0] != own || !n.ULA {
		t.Errorf("by default %v", n.Addresses)
	}
	c = builtinOn(subnet, subnets(own.Masked()))
	n := c.Networks[0]
	six := n.Gateway6()
	if len(six) != 1 || six[0].Overlaps(own) || six[0].Bits() != 64 || !n.Gateway().IsValid() || n.ULA {
		t.Errorf("beside %v it is %v", own, n.Addresses)
	}
	if seat := n.HostSeat(); seat == nil || !holds(seat.Addresses, six[0].Addr()) {
		t.Errorf("the host has %v", seat)
	}
	if err := config.Validate(c); err != nil {
		t.Error(err)
	}
}

// An uplink has a kind for each family, of which one is told where they are the same.
func TestKinds(t *testing.T) {
	for address, want := range map[string]string{
		"auto": "host", "192.0.2.2/24": "static", "dhcp": "dhcp", "slaac": "slaac", "dhcp6": "dhcp6", "'2001:db8::2/64'": "static",
		"[192.0.2.2/24, '2001:db8::2/64']": "static", "[192.0.2.2/24, slaac]": "static,slaac", "['2001:db8::2/64', dhcp]": "dhcp,static",
		"[dhcp, dhcp6]": "dhcp,dhcp6", "[dhcp, none]": "dhcp", "[none, slaac]": "slaac",
	} {
		o := &outlet{want: parse(t, "a: {forward: nat, address: [10.0.0.1/24, fd00::1/64], uplink: {interface: u, address: "+address+"}}").Networks[0].Uplink, kind: "host"}
		if o.want.Owned() {
			if err := o.choose(); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(o.kinds(), ","); got != want || o.kind != o.kinds()[0] {
			t.Errorf("%s: %s, of which %s is the first, want %s", address, got, o.kind, want)
		}
	}
}

// What a DHCP server or a router has given is not told as a reason.
func TestUplinkNotes(t *testing.T) {
	for _, tt := range []struct {
		uplink api.Uplink
		want   string
	}{
		{api.Uplink{Kind: api.UplinkHost, State: api.StateUp}, ""},
		{api.Uplink{Kind: api.UplinkSockets, State: api.StateUp, Detail: "why"}, "network a leaves by sockets of this host: why"},
		{api.Uplink{Kind: api.UplinkStatic, State: api.StateUp, Detail: "IPv6: bound"}, ""},
		{api.Uplink{Kind: api.UplinkSLAAC, State: api.StateUp, Detail: "IPv6: bound"}, ""},
		{api.Uplink{Interface: "u", Kind: api.UplinkSLAAC, State: api.StateNoAddress, Detail: "why"}, "uplink u of network a is no-address: why"},
	} {
		tt.uplink.Networks = []string{"a"}
		if got := strings.Join(uplinkNotes([]api.Uplink{tt.uplink}), "; "); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.uplink, got, tt.want)
		}
	}
}

// A published port is known where its guest is known, by family.
func TestSeenAs(t *testing.T) {
	const port = "publish: [{protocol: tcp, listen: 80, to: '10.0.0.9:80'}, {protocol: tcp, listen: 80, to: '[fd00::9]:80'}]"
	for _, tt := range []struct {
		keys, kind, want string
	}{
		{"forward: nat, nat: {" + port + "}", api.UplinkHost, "192.0.2.2 2001:db8:9::2"},
		{"forward: nat, nat: {" + port + "}", api.UplinkSockets, "0.0.0.0 ::"},
		{"forward: nat, nat: {addresses: [192.0.2.8-192.0.2.9, '2001:db8:9::8'], " + port + "}", api.UplinkStatic, "192.0.2.8 2001:db8:9::8"},
		{"forward: nat, nat: {ipv6: route, " + port + "}", api.UplinkHost, "192.0.2.2 fd00::9"},
		{"forward: nat, nat: {ipv6: '2001:db8:5::/64', " + port + "}", api.UplinkHost, "192.0.2.2 2001:db8:5:0:cf42::9"},
		{"forward: route, nat: {" + port + "}", api.UplinkHost, "10.0.0.9 fd00::9"},
		{"forward: route, inbound: {ipv4: published, ipv6: open}, nat: {" + port + "}", api.UplinkHost, "10.0.0.9 fd00::9"},
		{"forward: route, nat: {" + port + "}", api.UplinkSockets, "invalid IP invalid IP"},
		{"forward: nat, nat: {publish: [{protocol: tcp, listen: '127.0.0.1:80', to: '[fd00::9]:80'}, {protocol: tcp, listen: '[::1]:80', to: '10.0.0.9:80'}]}", api.UplinkHost, "127.0.0.1 ::1"},
	} {
		uplink := ", uplink: {interface: u, address: [192.0.2.2/24, '2001:db8:9::2/64']}"
		n := &parse(t, "a: {address: [10.0.0.1/24, fd00::1/64]"+uplink+", "+tt.keys+"}").Networks[0]
		d, o := &Daemon{}, &outlet{want: n.Uplink, kind: tt.kind}
		own := prefixes("192.0.2.2/24", "2001:db8:9::2/64")
		var got []string
		for i := range n.NAT.Publish {
			got = append(got, d.seenAs(n, o, &n.NAT.Publish[i], own).String())
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s by %s: %s, want %s", tt.keys, tt.kind, text, tt.want)
		}
	}
	n := &parse(t, "a: {forward: nat, address: 10.0.0.1/24, nat: {publish: [{protocol: tcp, listen: 80, to: '10.0.0.9:80'}]}}").Networks[0]
	if got := (&Daemon{}).seenAs(n, &outlet{kind: api.UplinkHost}, &n.NAT.Publish[0], prefixes("2001:db8:9::2/64")); got.IsValid() {
		t.Errorf("without an address: %v", got)
	}
}
