package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft/weft/dataplane/frame"
)

// sameConfig is cmp.Diff for configurations.
func sameConfig(want, got *Config) string {
	return cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }))
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

func TestParseEveryKey(t *testing.T) {
	got := mustParse(t, `
metrics: {listen: "[::1]:9000"}
networks:
  lan:
    forward: isolated
    mtu: 9000
    fdb:
      ageing: 1m30s
      limit: 100
      port_limit: 10
      static:
        - {mac: 02:00:00:00:00:02, vlan: 10, port: vm1}
        - {mac: 02-00-00-00-00-01, port: h1}
        - mac: 02:00:00:00:00:03
          port: veth
    ports:
      vm1: {type: tap, interface: tap7, owner: 1000, group: kvm, mode: bridge}
      h1:
        type: internal
        netns: 10
        mac: 02:00:00:00:00:11
        address:
          - 10.99.0.1/24
          - fd00:99::1/64
      veth: {type: raw, interface: veth-a}
  dmz:
    ports:
      h1: {type: internal, address: 10.99.0.1/24}
`)
	want := &Config{
		Metrics: Metrics{Listen: "[::1]:9000"},
		Networks: []Network{
			{
				Name: "dmz", Forward: "isolated", MTU: 1500,
				FDB: FDB{Ageing: 300 * time.Second, Limit: 8192},
				Ports: []Port{{
					Name: "h1", Type: TypeInternal, Interface: "h1", Mode: "bridge",
					MAC:       DeriveMAC("dmz", "h1"),
					Addresses: []netip.Prefix{netip.MustParsePrefix("10.99.0.1/24")},
				}},
			},
			{
				Name: "lan", Forward: "isolated", MTU: 9000,
				FDB: FDB{
					Ageing: 90 * time.Second, Limit: 100, PortLimit: 10,
					Static: []StaticEntry{
						{MAC: frame.MAC{2, 0, 0, 0, 0, 1}, Port: "h1"},
						{MAC: frame.MAC{2, 0, 0, 0, 0, 3}, Port: "veth"},
						{MAC: frame.MAC{2, 0, 0, 0, 0, 2}, VLAN: 10, Port: "vm1"},
					},
				},
				Ports: []Port{
					{
						Name: "h1", Type: TypeInternal, Interface: "h1", Netns: "10", Mode: "bridge",
						MAC: frame.MAC{2, 0, 0, 0, 0, 0x11},
						Addresses: []netip.Prefix{
							netip.MustParsePrefix("10.99.0.1/24"), netip.MustParsePrefix("fd00:99::1/64"),
						},
					},
					{Name: "veth", Type: TypeRaw, Interface: "veth-a", Mode: "bridge"},
					{Name: "vm1", Type: TypeTap, Interface: "tap7", Owner: "1000", Group: "kvm", Mode: "bridge"},
				},
			},
		},
	}
	if d := sameConfig(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseNothing(t *testing.T) {
	want := &Config{Metrics: Metrics{Listen: "127.0.0.1:9820"}}
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
	want := &Config{Metrics: Metrics{Listen: DefaultListen}, Networks: []Network{NewNetwork("lan")}}
	if d := sameConfig(want, c); d != "" {
		t.Error(d)
	}
	c = mustParse(t, "networks: {lan: {ports: {vm1: {type: tap}}}}")
	port := Port{Name: "vm1", Type: TypeTap, Interface: "vm1", Mode: ModeBridge}
	if d := cmp.Diff([]Port{port}, c.Networks[0].Ports); d != "" {
		t.Error(d)
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
	c := Default()
	if err := Validate(c); err != nil {
		t.Fatal(err)
	}
	if d := sameConfig(mustParse(t, "networks: {default: {}}"), c); d != "" {
		t.Error(d)
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
