package daemon

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp6"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/netdev"
	"github.com/weft/weft/ra"
)

func subnets(list ...netip.Prefix) (all []netdev.Subnet) {
	for _, p := range list {
		all = append(all, netdev.Subnet{Prefix: p, Interface: "eth0"})
	}
	return all
}

// What is advertised follows from the configuration and from what leads out.
func TestRAConfig(t *testing.T) {
	const base = "address: [10.0.0.1/24, 2001:db8:1::1/64, fd00::1/64], mac: '02:00:00:00:00:0a'"
	addr := netip.MustParseAddr
	prefix := func(p string, autonomous bool) ndp.Prefix {
		return ndp.Prefix{Prefix: netip.MustParsePrefix(p), OnLink: true, Autonomous: autonomous, Valid: 90 * time.Minute, Preferred: 45 * time.Minute}
	}
	plain := ndp.Advertisement{
		HopLimit: 64, MAC: frame.MAC{2, 0, 0, 0, 0, 10}, MTU: 1500, Lifetime: 1800 * time.Second,
		Prefixes: []ndp.Prefix{prefix("2001:db8:1::/64", true), prefix("fd00::/64", true)},
		DNS:      []netip.Addr{addr("2001:db8:1::1")}, DNSLifetime: 1800 * time.Second, SearchLifetime: 1800 * time.Second,
	}
	for keys, change := range map[string]func(*ndp.Advertisement){
		"":                              func(*ndp.Advertisement) {},
		"dns: {enabled: false}":         func(a *ndp.Advertisement) { a.DNS = nil },
		"dns: {domain: lab}":            func(a *ndp.Advertisement) { a.Search = []string{"lab"} },
		"ra: {lifetime: 0s}":            func(a *ndp.Advertisement) { a.Lifetime = 0 },
		"ra: {lifetime: 9000s}":         func(a *ndp.Advertisement) { a.Lifetime = 9000 * time.Second },
		"ra: {preference: high}":        func(a *ndp.Advertisement) { a.Preference = ndp.High },
		"ra: {managed: true}":           func(a *ndp.Advertisement) { a.Managed = true },
		"ra: {other: true}":             func(a *ndp.Advertisement) { a.Other = true },
		"dhcp6: {stateless: true}":      func(a *ndp.Advertisement) { a.Other = true },
		"dhcp6: {range: 2001:db8:1::9}": func(a *ndp.Advertisement) { a.Managed, a.Other = true, true },
		"dhcp6: {range: 2001:db8:1::9}, ra: {managed: false, other: false}": func(*ndp.Advertisement) {},
		"dhcp6: {delegate: [{prefix: '2001:db8:100::/48', length: 56}]}":    func(a *ndp.Advertisement) { a.Other = true },
		"ra: {mtu: 1400}":               func(a *ndp.Advertisement) { a.MTU = 1400 },
		"ra: {mtu: none}":               func(a *ndp.Advertisement) { a.MTU = 0 },
		"ra: {hop_limit: 9}":            func(a *ndp.Advertisement) { a.HopLimit = 9 },
		"ra: {rdnss: ['2001:db8::53']}": func(a *ndp.Advertisement) { a.DNS = []netip.Addr{addr("2001:db8::53")} },
		"ra: {dnssl: [a.example, b.example]}, dns: {domain: lab}": func(a *ndp.Advertisement) { a.Search = []string{"a.example", "b.example"} },
		"ra: {autonomous: false}":                                 func(a *ndp.Advertisement) { a.Prefixes[0].Autonomous, a.Prefixes[1].Autonomous = false, false },
		"ra: {valid: infinite, preferred: infinite}":              func(a *ndp.Advertisement) { forEver(a) },
		"ra: {routes: ['2001:db8:9::/48'], preference: low}":      withRoute,
	} {
		text := base
		if keys != "" {
			text += ", " + keys
		}
		want := plain
		want.Prefixes = slices.Clone(plain.Prefixes)
		change(&want)
		c, err := config.Parse("test", []byte("networks: {a: {"+text+"}}"))
		if err != nil {
			t.Errorf("%s: %v", keys, err)
			continue
		}
		if got := raConfig(&c.Networks[0], true); !reflect.DeepEqual(got, ra.Config{Advertisement: want, Interval: 600 * time.Second}) {
			t.Errorf("%s:\n got %+v\nwant %+v", keys, got.Advertisement, want)
		}
		if got := raConfig(&c.Networks[0], false); got.Advertisement.Lifetime != 0 && c.Networks[0].RA.Lifetime == config.LifetimeAuto {
			t.Errorf("%s: a router for %v that leads nowhere", keys, got.Advertisement.Lifetime)
		}
	}
}

func forEver(a *ndp.Advertisement) {
	for i := range a.Prefixes {
		a.Prefixes[i].Valid, a.Prefixes[i].Preferred = ndp.Infinite, ndp.Infinite
	}
}

func withRoute(a *ndp.Advertisement) {
	a.Preference = ndp.Low
	a.Routes = []ndp.Route{{Prefix: netip.MustParsePrefix("2001:db8:9::/48"), Preference: ndp.Low, Lifetime: 1800 * time.Second}}
}

// All of a configuration reaches the DHCPv6 server.
func TestDHCP6Config(t *testing.T) {
	n := &parse(t, `a: {mac: "02:00:00:00:00:0a", address: [10.0.0.1/24, 2001:db8:1::1/64], dns: {domain: lab, name: gw, hosts: {db: 10.0.0.5}},
    dhcp6: {range: "2001:db8:1::1000-2001:db8:1::1fff", lease: 2h, max_leases: 7, rapid_commit: false, ntp: ["2001:db8::123"], domain_search: [x.example],
      hosts: [{duid: "00:01:02:03", address: "2001:db8:1::10", name: web, lease: 1h}, {mac: "02:00:00:00:00:01", ignore: true}],
      delegate: [{prefix: "2001:db8:100::/48", length: 56}]}}`).Networks[0]
	want := dhcp6.Config{
		MAC: frame.MAC{2, 0, 0, 0, 0, 10}, Links: prefixes("2001:db8:1::1/64"),
		Ranges: []dhcp.Range{{First: netip.MustParseAddr("2001:db8:1::1000"), Last: netip.MustParseAddr("2001:db8:1::1fff")}},
		Lease:  2 * time.Hour, MaxLeases: 7,
		Hosts: []dhcp6.Host{
			{MAC: frame.MAC{2, 0, 0, 0, 0, 1}, Ignore: true},
			{DUID: []byte{0, 1, 2, 3}, Address: netip.MustParseAddr("2001:db8:1::10"), Name: "web", Lease: time.Hour},
		},
		Delegate: []dhcp6.Pool{{Prefix: netip.MustParsePrefix("2001:db8:100::/48"), Length: 56}},
		DNS:      []netip.Addr{netip.MustParseAddr("2001:db8:1::1")}, Domain: "lab", Search: []string{"x.example"},
		NTP: []netip.Addr{netip.MustParseAddr("2001:db8::123")}, Names: []string{"gw", "db"},
	}
	if got := dhcp6Config(n); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	n.DNS.Enabled = false
	if got := dhcp6Config(n); got.DNS != nil {
		t.Errorf("a resolver at %v that is off", got.DNS)
	}
}

// What a network serves is of the families that it has addresses of.
func TestServedFamilies(t *testing.T) {
	for keys, want := range map[string]dataplane.GatewayConfig{
		"address: 10.0.0.1/24, dhcp: {range: 10.0.0.9}":                                  {DHCP: true, DNS: true},
		"address: ['2001:db8:1::1/64']":                                                  {RA: true, DNS: true},
		"address: ['2001:db8:1::1/64'], ra: {enabled: false}":                            {DNS: true},
		"address: [10.0.0.1/24, 2001:db8:1::1/64], dhcp6: {stateless: true}":             {DHCPv6: true, RA: true, DNS: true},
		"address: ['2001:db8:1::1/64'], dns: {enabled: false}, dhcp6: {stateless: true}": {DHCPv6: true, RA: true},
		"ports: {x: {type: tap}}":                                                        {},
	} {
		n := &parse(t, "a: {"+keys+"}").Networks[0]
		got := gatewayOf(n)
		if hasGateway(n) != (got.Address.IsValid() || len(got.Address6) > 0) {
			t.Errorf("%s: %+v", keys, got)
		}
		got.Address, got.Address6, got.Watch = netip.Prefix{}, nil, false
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", keys, got, want)
		}
	}
}

// A change of what only IPv6 has is a change of services.
func TestServicesDiffer(t *testing.T) {
	const base = "address: [10.0.0.1/24, 2001:db8:1::1/64]"
	old := &parse(t, "a: {"+base+"}").Networks[0]
	if servicesDiffer(old, &parse(t, "a: {"+base+", mtu: 1500}").Networks[0]) {
		t.Error("they differ from themselves")
	}
	for _, keys := range []string{
		"address: [10.0.0.1/24, 2001:db8:2::1/64]", "address: 10.0.0.1/24", base + ", ra: {enabled: false}", base + ", ra: {interval: 10s}",
		base + ", dhcp6: {stateless: true}", base + ", dns: {slaac: false}",
	} {
		if !servicesDiffer(old, &parse(t, "a: {"+keys+"}").Networks[0]) {
			t.Errorf("%s is no change", keys)
		}
	}
}

// All names of machines are theirs at the addresses that they made, but for those that mean
// nothing elsewhere, and not at as many as they like.
func TestNamesOfMadeAddresses(t *testing.T) {
	web, other := frame.MAC{2, 0, 0, 0, 0, 1}, frame.MAC{2, 0, 0, 0, 0, 2}
	at := func(a string, mac frame.MAC) dataplane.Neighbor {
		return dataplane.Neighbor{Address: netip.MustParseAddr(a), MAC: mac}
	}
	table := newNameTable(map[frame.MAC][]string{web: {"web", "also"}}, []dataplane.Neighbor{
		at("2001:db8:1::9", web), at("fd00::9", web), at("fe80::9", web), at("10.0.0.9", web), at("2001:db8:1::8", other), at("2001:db8:1::7", frame.MAC{}),
	})
	want := []netip.Addr{netip.MustParseAddr("2001:db8:1::9"), netip.MustParseAddr("fd00::9")}
	if got := table.byName["web"]; !reflect.DeepEqual(got, want) || !reflect.DeepEqual(table.byName["also"], want) || len(table.byName) != 2 || len(table.byAddress) != 2 || table.byAddress[want[1]] != "web" {
		t.Errorf("%v", table)
	}
	var many []dataplane.Neighbor
	a := netip.MustParseAddr("2001:db8:1::")
	for range 100 {
		a = a.Next()
		many = append(many, dataplane.Neighbor{Address: a, MAC: web})
	}
	if table := newNameTable(map[frame.MAC][]string{web: {"web", "also"}}, many); len(table.byName["web"]) != maxMade || len(table.byAddress) != maxMade {
		t.Errorf("%d addresses of one name", len(table.byName["web"]))
	}
}

// The table is made at most once a second, and only where it is asked for.
func TestMadeNamesAreKept(t *testing.T) {
	asked := 0
	s := &services{}
	s.made.neighbors = func() []dataplane.Neighbor { asked++; return nil }
	s.made.seek = func([]netip.Addr) {}
	s.Lookup("web")
	if asked != 0 {
		t.Error("neighbours are looked at though dns.slaac is false")
	}
	s.slaac.Store(true)
	s.made.last = nil
	first := s.madeNames()
	if s.madeNames() != first && time.Since(s.made.asked) < namesLast || asked == 0 {
		t.Error("the table is made anew")
	}
	s.made.asked = time.Now().Add(-namesLast)
	if before := asked; s.madeNames() == first || asked != before+1 {
		t.Error("the table is kept for ever")
	}
}

func TestDescribeNeighbors(t *testing.T) {
	mac := frame.MAC{2, 0, 0, 0, 0, 1}
	got := describeNeighbors("lan", []dataplane.Neighbor{
		{Address: netip.MustParseAddr("2001:db8::2"), MAC: mac}, {Address: netip.MustParseAddr("10.0.0.10"), MAC: mac}, {Address: netip.MustParseAddr("10.0.0.9")},
	})
	want := []api.Neighbor{
		{Network: "lan", Address: "10.0.0.9", State: api.NeighborIncomplete},
		{Network: "lan", Address: "10.0.0.10", MAC: "02:00:00:00:00:01", State: api.NeighborReachable},
		{Network: "lan", Address: "2001:db8::2", MAC: "02:00:00:00:00:01", State: api.NeighborReachable},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// The host in a network has the gateway's link-local address too, beside one of IPv6.
func TestAddressesOfTheHost(t *testing.T) {
	mac := frame.MAC{0x52, 0x54, 0, 0, 0, 1}
	four, six := netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("2001:db8:1::1/64")
	link := netip.PrefixFrom(ndp.LinkLocal(mac), 64)
	for _, tt := range []struct{ given, want []netip.Prefix }{
		{[]netip.Prefix{four}, []netip.Prefix{four}},
		{[]netip.Prefix{four, six}, []netip.Prefix{four, six, link}},
	} {
		d := &device{cfg: config.Port{MAC: mac, Addresses: tt.given, Seat: true}}
		if got := d.addresses(); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v, want %v", got, tt.want)
		}
		d.cfg.Seat = false
		if got := d.addresses(); !reflect.DeepEqual(got, tt.given) {
			t.Errorf("a port that is not the host's has %v", got)
		}
	}
}

// Machines whose addresses nobody knows are sought where they would be by their MAC.
func TestLikelyAddresses(t *testing.T) {
	web, db := frame.MAC{2, 0, 0, 0, 0, 1}, frame.MAC{2, 0, 0, 0, 0, 2}
	names := map[frame.MAC][]string{web: {"web"}, db: {"db"}}
	table := newNameTable(names, []dataplane.Neighbor{{Address: netip.MustParseAddr("2001:db8:1::9"), MAC: web}})
	got := table.likely(names, prefixes("2001:db8:1::/64", "2001:db8:2::/80"))
	if want := []netip.Addr{netip.MustParseAddr("2001:db8:1::ff:fe00:2")}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
