package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weft/weft/dataplane/frame"
)

// sameConfig is cmp.Diff for configurations.
func sameConfig(want, got *Config) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}, netip.AddrPort{}))
}

// mustParse parses text that has to be right.
func mustParse(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Parse("good.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Parse:\n%v\nof\n%s", err, text)
	}
	return c
}

// plainPolicy is that of a port whose file says nothing of it.
func plainPolicy() Policy {
	return Policy{Mode: "bridge", STP: PortSTP{Edge: "auto", Priority: 128, Cost: 2000}}
}

// Services of a network whose file says nothing of them.
var (
	plainDHCP = DHCP{Lease: time.Hour, Authoritative: true, Probe: true, Router: "auto"}
	plainRA   = RA{
		Enabled: true, Interval: 10 * time.Minute, Lifetime: -1, Preference: "medium", Managed: "auto", Other: "auto", HopLimit: 64,
		Valid: 90 * time.Minute, Preferred: 45 * time.Minute, Autonomous: true, RDNSSAuto: true, DNSSLAuto: true,
	}
	plainDHCP6 = DHCP6{Lease: time.Hour, Rapid: true}
	plainDNS   = DNS{Enabled: true, Name: "gateway", Cache: 10000, SLAAC: true}
	plainNAT   = NAT{
		PortRange: PortRange{1024, 65535}, IPv6: "masquerade", Mapping: "endpoint-independent", Filtering: "address", MaxFlows: 65536, MaxFlowsPerHost: 8192,
		Timeouts: Timeouts{5 * time.Minute, 124 * time.Minute, 4 * time.Minute, time.Minute, 10 * time.Minute},
	}
)

func TestParseEveryKey(t *testing.T) {
	got := mustParse(t, `
metrics: {listen: "[::1]:9000"}
networks:
  lan:
    forward: bridge
    mac: 02:00:00:00:00:fe
    uplink: {interface: eth1}
    mtu: 9000
    reserved_groups: wire
    stp: {enabled: true, priority: 4096, hello: 1s, max_age: 6s, forward_delay: 2s}
    snooping: {enabled: true, querier: false, interval: 10s}
    fdb:
      ageing: 1m30s
      limit: 100
      port_limit: 10
      static:
        - {mac: 02:00:00:00:00:02, vlan: 10, port: vm1}
        - {mac: 02-00-00-00-00-01, port: h1}
        - mac: 02:00:00:00:00:03
          vlan: 10
          port: veth
    ports:
      vm1:
        type: tap
        interface: tap7
        owner: 1000
        group: kvm
        mode: vepa
        isolated: true
        guard: {ra: true, dhcp: true}
        vlan: {trunk: [30-40, 10, 11-12, 35-41], native: 11}
        stp: {edge: true, priority: 0, cost: 7, root_guard: true, bpdu_guard: true}
        security:
          max_macs: 2
          sticky: true
          sources: [02:00:00:00:00:0b, 02:00:00:00:00:0a]
        storm: {broadcast: 1, multicast: 2, unknown: 3}
        rate:
          ingress: {average: 100Mbit, peak: 200mbit/s, burst: 256KiB}
          egress: {average: 1Gbit}
      h1:
        type: internal
        netns: 10
        mac: 02:00:00:00:00:11
        address:
          - 10.99.0.1/24
          - fd00:99::1/64
      veth: {type: raw, interface: veth-a, mode: bridge, hairpin: true, vlan: {access: 10}}
  dmz:
    ports:
      h1: {type: internal, address: 10.99.0.1/24}
`)
	veth := plainPolicy()
	veth.Hairpin, veth.VLAN.Access = true, 10
	vm1 := Policy{
		Mode: "vepa", Isolated: true,
		VLAN:     VLAN{Trunk: []VLANRange{{10, 12}, {30, 41}}, Native: 11},
		STP:      PortSTP{Edge: "true", Priority: 0, Cost: 7, RootGuard: true, BPDUGuard: true},
		Security: Security{MaxMACs: 2, Sticky: true, Sources: []frame.MAC{{2, 0, 0, 0, 0, 0xa}, {2, 0, 0, 0, 0, 0xb}}},
		Guard:    Guard{RA: true, DHCP: true},
		Storm:    Storm{1, 2, 3},
		Rate:     Rates{Rate{100_000_000, 200_000_000, 262_144}, Rate{1_000_000_000, 0, 31_250_000}},
	}
	want := &Config{
		Metrics:   Metrics{Listen: "[::1]:9000"},
		LeaseFile: "/var/lib/weft/leases.db",
		Networks: []Network{
			{
				Name: "dmz", Forward: "isolated", MAC: DeriveMAC("dmz", ""), MTU: 1500,
				ReservedGroups: "switch",
				STP:            STP{Priority: 32768, Hello: 2 * time.Second, MaxAge: 20 * time.Second, ForwardDelay: 15 * time.Second},
				Snooping:       Snooping{Querier: true, Interval: 125 * time.Second},
				FDB:            FDB{Ageing: 300 * time.Second, Limit: 8192},
				RA:             plainRA, DHCP: plainDHCP, DHCP6: plainDHCP6, DNS: plainDNS, NAT: plainNAT, Inbound: Inbound{"open", "published"},
				Ports: []Port{{
					Name: "h1", Type: TypeInternal, Interface: "h1", Policy: plainPolicy(),
					MAC:       DeriveMAC("dmz", "h1"),
					Addresses: []netip.Prefix{netip.MustParsePrefix("10.99.0.1/24")},
				}},
			},
			{
				Name: "lan", Forward: "bridge", MAC: frame.MAC{2, 0, 0, 0, 0, 0xfe}, Uplink: Uplink{Interface: "eth1"}, MTU: 9000,
				ReservedGroups: "wire",
				STP:            STP{Enabled: true, Priority: 4096, Hello: time.Second, MaxAge: 6 * time.Second, ForwardDelay: 2 * time.Second},
				Snooping:       Snooping{Enabled: true, Interval: 10 * time.Second},
				RA:             plainRA, DHCP6: plainDHCP6, Inbound: Inbound{"open", "published"},
				FDB: FDB{
					Ageing: 90 * time.Second, Limit: 100, PortLimit: 10,
					Static: []StaticEntry{
						{MAC: frame.MAC{2, 0, 0, 0, 0, 1}, Port: "h1"},
						{MAC: frame.MAC{2, 0, 0, 0, 0, 2}, VLAN: 10, Port: "vm1"},
						{MAC: frame.MAC{2, 0, 0, 0, 0, 3}, VLAN: 10, Port: "veth"},
					},
				},
				DHCP: plainDHCP, DNS: plainDNS, NAT: plainNAT,
				Ports: []Port{
					{
						Name: "h1", Type: TypeInternal, Interface: "h1", Netns: "10", Policy: plainPolicy(),
						MAC: frame.MAC{2, 0, 0, 0, 0, 0x11},
						Addresses: []netip.Prefix{
							netip.MustParsePrefix("10.99.0.1/24"), netip.MustParsePrefix("fd00:99::1/64"),
						},
					},
					{Name: "uplink", Type: TypeRaw, Interface: "eth1", Policy: plainPolicy()},
					{Name: "veth", Type: TypeRaw, Interface: "veth-a", Policy: veth},
					{Name: "vm1", Type: TypeTap, Interface: "tap7", Owner: "1000", Group: "kvm", Policy: vm1},
				},
			},
		},
	}
	if d := sameConfig(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseNothing(t *testing.T) {
	want := &Config{Metrics: Metrics{Listen: "127.0.0.1:9820"}, LeaseFile: "/var/lib/weft/leases.db"}
	for _, text := range []string{
		"", "\n\n", "# prose only\n", "---\n", "---\n...\n", "networks:\n", "networks: {}\n", "networks: ~\n",
		"metrics:\n", "metrics: {}\nnetworks:\n",
	} {
		if d := sameConfig(want, mustParse(t, text)); d != "" {
			t.Errorf("of %q:\n%s", text, d)
		}
	}
}

func TestParseSmallest(t *testing.T) {
	c := mustParse(t, "networks:\n  lan:\n")
	want := &Config{Metrics: Metrics{Listen: DefaultListen}, LeaseFile: DefaultLeaseFile, Networks: []Network{NewNetwork("lan")}}
	if d := sameConfig(want, c); d != "" {
		t.Error(d)
	}
	c = mustParse(t, "networks: {lan: {ports: {vm1: {type: tap}}}}")
	port := Port{Name: "vm1", Type: TypeTap, Interface: "vm1", Policy: plainPolicy()}
	if d := cmp.Diff([]Port{port}, c.Networks[0].Ports); d != "" {
		t.Error(d)
	}
}

// The library takes such values for maps, inside of braces.
func TestColonsInLists(t *testing.T) {
	c := mustParse(t, inPort("type: internal, address: [fd00::1/64, '::2/64', 1::3/64, 10.0.0.1/8], security: {sources: [02:00:00:00:00:01, ae:00:00:00:00:01, 0a:00:00:00:00:01]}"))
	p := c.Networks[0].Ports[0]
	if got, want := fmt.Sprint(p.Addresses), "[fd00::1/64 ::2/64 1::3/64 10.0.0.1/8]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(p.Security.Sources), "[02:00:00:00:00:01 0a:00:00:00:00:01 ae:00:00:00:00:01]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Extremes that are still allowed; their neighbours stand in TestRefused.
func TestParseBounds(t *testing.T) {
	for _, text := range []string{
		"metrics: {listen: off}",
		"metrics: {listen: ':0'}",
		"metrics: {listen: 'localhost:65535'}",
		"networks: {a: {mtu: 68}}",
		"networks: {a: {mtu: 65517}}",
		"networks: {a: {fdb: {ageing: 1s}}}",
		"networks: {a: {fdb: {ageing: 12h}}}",
		"networks: {a: {fdb: {ageing: 0s}}}",
		"networks: {a: {fdb: {ageing: 0}}}",
		"networks: {a: {fdb: {limit: 1, port_limit: 1}}}",
		"networks: {a: {fdb: {limit: 1048576, port_limit: 1048576}}}",
		"networks: {a: {fdb: {static: [{mac: 02:00:00:00:00:01, vlan: 4094, port: p}, {mac: 02:00:00:00:00:01, vlan: 0, port: p}]}, ports: {p: {type: tap}}}}",
		"networks: {A-b_c.d12345678: {ports: {123456789012345: {type: tap}}}}",
		"networks: {null: {ports: {true: {type: tap}, 1.5: {type: raw}}}}",
		"networks: {a: {ports: {p: {type: tap, owner: 4294967294, group: '0'}}}}",
		"networks: {a: {ports: {p: {type: internal, address: [10.0.0.0/31, 10.0.0.1/32, '::1/128']}}}}",
		// The same name of an interface in two namespaces is two interfaces.
		"networks: {a: {ports: {p: {type: internal, interface: eth0, netns: n1}, q: {type: internal, interface: eth0, netns: n2}, r: {type: raw, interface: eth0}}}}",
		// The same MAC and the same address in two networks never meet.
		"networks: {a: {ports: {p: {type: internal, mac: 02:00:00:00:00:01, address: 10.0.0.1/8}}}, b: {ports: {q: {type: internal, mac: 02:00:00:00:00:01, address: 10.0.0.1/8}}}}",
		"networks: {a: {forward: bridge, uplink: {interface: 123456789012345}}}",
		"networks: {a: {stp: {priority: 0, hello: 1s, max_age: 6s, forward_delay: 0s}}}",
		"networks: {a: {stp: {priority: 61440, hello: 10s, max_age: 40s, forward_delay: 30s}}}",
		"networks: {a: {stp: {hello: 10s, max_age: 22s}}}",
		// Only a recommendation of the standard.
		"networks: {a: {stp: {max_age: 40s, forward_delay: 2s}}}",
		inStatic("access: 10", 10),
		inStatic("trunk: [10, 20-30]", 20),
		inStatic("trunk: [10, 20-30]", 30),
		inStatic("trunk: [10, 20-30], native: 10", 10),
		inStatic("", 0),
		inStatic("", 4094),
		"networks: {a: {fdb: {port_limit: 5}, ports: {p: {type: tap, security: {max_macs: 5}}}}}",
		"networks: {a: {fdb: {limit: 5}, ports: {p: {type: tap, security: {max_macs: 6}}}}}",
		// Without the tree the guards are idle.
		inPort("type: tap, stp: {bpdu_guard: true, root_guard: true}"),
		"networks: {a: {snooping: {interval: 3600s}}}",
		inPort("type: tap, vlan: {}"),
		inPort("type: tap, vlan: {access: 1}"),
		inPort("type: tap, vlan: {trunk: 4094}"),
		inPort("type: tap, vlan: {trunk: 1-4094, native: 4094}"),
		inPort("type: tap, stp: {priority: 240, cost: 1}"),
		inPort("type: tap, stp: {edge: false, cost: 200000000}"),
		inPort("type: tap, security: {max_macs: 65536, sticky: true}"),
		inPort("type: tap, security: {max_macs: 1, sources: 02:00:00:00:00:01}"),
		inPort("type: tap, storm: {broadcast: 100000000, multicast: 100000000, unknown: 100000000}"),
		inPort("type: tap, rate: {ingress: {average: 8kbit, peak: 8kbit, burst: 1}, egress: {average: 1000Gbit, burst: 1024MiB}}"),
		inPort("type: tap, rate: {ingress: {average: 0, peak: 0, burst: 0}}"),
		inPort("type: tap, hairpin: true, isolated: true"),
		// Every mode behind an uplink, which has none.
		bridged("stp: {enabled: true}", "a: {type: tap, mode: vepa}, b: {type: tap, mode: private}, c: {type: tap}"),
		bridged("", "a: {type: tap, mode: passthrough}"),
		bridged("", "a: {type: tap, mode: passthrough}, wan: {type: raw, interface: eth1, hairpin: true, storm: {broadcast: 1}}"),
		bridged("", "a: {type: tap, mode: vepa, storm: {broadcast: 1}}, wan: {type: raw, interface: eth1, vlan: {trunk: 1-9}}"),
		// The uplink's name in another namespace is another interface.
		bridged("", "a: {type: internal, interface: eth1, netns: x}"),
		bridged("", "uplink: {type: raw, interface: eth1}"),
		"\ufeffnetworks: {a: {}}\n",
		"networks:\r\n  a:\r\n    mtu: 1400\r\n",
	} {
		mustParse(t, text)
	}
}

func TestNamesAsWritten(t *testing.T) {
	c := mustParse(t, "networks: {null: {ports: {010: {type: tap}, true: {type: tap}, 1e3: {type: tap}}}}")
	if c.Network("null") == nil {
		t.Fatal(`network "null" is not there`)
	}
	for _, name := range []string{"010", "true", "1e3"} {
		if p := c.Network("null").Port(name); p == nil || p.Interface != name {
			t.Errorf("port %q: %+v", name, p)
		}
	}
	if c.Network("x") != nil || c.Networks[0].Port("x") != nil {
		t.Error("found what is not there")
	}
}

func TestDefault(t *testing.T) {
	for want, c := range map[string]*Config{
		"address: [192.168.122.1/24, ula], host_port: weft0, dhcp: {range: 192.168.122.2-192.168.122.254}, dhcp6: {stateless: true}": Default(),
		"address: [192.168.9.1/24, ula], host_port: weft0, dhcp: {range: 192.168.9.2-192.168.9.254}, dhcp6: {stateless: true}":       DefaultOn(netip.MustParsePrefix("192.168.9.0/24")),
		"address: [10.0.0.9/29, ula], host_port: weft0, dhcp: {range: 10.0.0.10-10.0.0.14}, dhcp6: {stateless: true}":                DefaultOn(netip.MustParsePrefix("10.0.0.12/29")),
		"address: [172.16.0.1/12, ula], host_port: weft0, dhcp: {range: 172.16.0.2-172.31.255.254}, dhcp6: {stateless: true}":        DefaultOn(netip.MustParsePrefix("172.16.0.0/12")),
	} {
		if err := Validate(c); err != nil {
			t.Fatal(err)
		}
		if d := sameConfig(mustParse(t, "networks: {default: {forward: nat, "+want+"}}"), c); d != "" {
			t.Error(d)
		}
	}
}

func TestDeriveMAC(t *testing.T) {
	seen := map[frame.MAC]string{}
	for _, network := range []string{"lan", "lanh", "dmz", ""} {
		for _, port := range []string{"h1", "h2", "1", ""} {
			m := DeriveMAC(network, port)
			if m != DeriveMAC(network, port) {
				t.Error("not stable")
			}
			if m.IsGroup() || m[0]&2 == 0 {
				t.Errorf("%v is not a locally administered unicast address", m)
			}
			if other := seen[m]; other != "" {
				t.Errorf("%s/%s has the address of %s", network, port, other)
			}
			seen[m] = network + "/" + port
		}
	}
	// It stands in the neighbour caches of guests: it may never change.
	if got, want := DeriveMAC("lan", "h1").String(), "62:db:aa:16:09:50"; got != want {
		t.Errorf("lan/h1 has %s, had %s", got, want)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c, err := Load(write("good.yaml", "networks: {lan: {}}"))
	if err != nil || c.Network("lan") == nil {
		t.Errorf("good file: %v %v", c, err)
	}
	path := write("bad.yaml", "\nfoo: 1\n")
	if _, err = Load(path); err == nil || !strings.HasPrefix(err.Error(), path+`:2: unknown key "foo"`) {
		t.Errorf("bad file: %v", err)
	}
	if _, err = Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("missing file: %v", err)
	}
	if _, err = Load(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: %v", err)
	}
	full := strings.Repeat("#", MaxSize)
	if _, err = Load(write("full.yaml", "\ufeff"+full)); err != nil {
		t.Errorf("a file of the largest size: %v", err)
	}
	for _, text := range []string{full + "#", "\ufeff" + full + "#", full + full} {
		if _, err = Load(write("huge.yaml", text)); err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
			t.Errorf("a file of %d bytes: %v", len(text), err)
		}
	}
}

// An empty list of upstreams says no more than none at all.
func TestNoUpstreams(t *testing.T) {
	c, err := Parse("", []byte("networks: {lan: {address: 10.0.0.1/24, dns: {domain: lab, upstream: []}}}"))
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Network("lan"); n.DNS.Upstream != nil || n.Upstreams() != nil {
		t.Errorf("upstreams %v, %v", n.DNS.Upstream, n.Upstreams())
	}
}
