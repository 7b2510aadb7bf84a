package config

import (
	"bytes"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// activated switches on every example of the reference that is switched off.
func activated(text string) string {
	return regexp.MustCompile(`(?m)^( *)#([a-z-])`).ReplaceAllString(text, "$1$2")
}

func TestReferenceParses(t *testing.T) {
	c := mustParse(t, Reference())
	// Switched-off examples and ports apart, it is what runs without a file.
	n := c.Network(DefaultNetwork)
	if n == nil || len(c.Networks) != 1 || c.Metrics.Listen != DefaultListen || c.LeaseFile != DefaultLeaseFile {
		t.Fatalf("%+v", c)
	}
	want := Default().Networks[0]
	if d := cmp.Diff(want.Ports[0], *n.HostSeat(), cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Error(d)
	}
	want.Ports = n.Ports
	if d := sameConfig(&Config{Networks: []Network{want}}, &Config{Networks: c.Networks}); d != "" {
		t.Error(d)
	}
	// Those of ports too: vm1 is what a file with nothing but its type makes.
	bare := mustParse(t, "networks: {default: {ports: {vm1: {type: tap}}}}").Networks[0].Ports[0]
	if d := cmp.Diff(bare, *n.Port("vm1")); d != "" {
		t.Error(d)
	}
	all := mustParse(t, activated(Reference()))
	if len(all.Networks) != 4 || all.Network("outside").UplinkPort() == nil || len(all.Networks[0].NAT.Publish) != 4 ||
		len(all.Network("routed").Routes) != 2 || len(all.Network("routed").DHCP6.Hosts) != 3 || !all.Network("office").NAT.Prefix6().IsValid() || len(all.Network("office").NAT.Addresses) != 1 {
		t.Errorf("%+v", all.Networks)
	}
	var types []string
	shown := &all.Networks[0]
	if shown.HostSeat().Rate.Egress.Average != 1e9 || len(shown.DHCP.Hosts) != 3 || len(shown.DHCP.Options) != 3 || len(shown.DHCP6.Options) != 2 || len(shown.RA.Routes) != 1 || len(shown.DNS.Domains) != 2 {
		t.Errorf("%+v", shown)
	}
	for _, p := range shown.Ports {
		types = append(types, p.Type)
	}
	slices.Sort(types)
	if !slices.Equal(types, []string{TypeInternal, TypeInternal, TypeRaw, TypeTap}) {
		t.Errorf("types shown: %v", types)
	}
}

// Every key that the parser knows is shown, on the level where it is known.
func TestReferenceIsComplete(t *testing.T) {
	var root map[string]any
	if err := yaml.Unmarshal([]byte(activated(Reference())), &root); err != nil {
		t.Fatal(err)
	}
	shown := map[string]map[string]bool{}
	show := func(level string, v any) {
		if shown[level] == nil {
			shown[level] = map[string]bool{}
		}
		for k := range v.(map[string]any) {
			shown[level][k] = true
		}
	}
	child := func(v any, key string) any {
		if c := v.(map[string]any)[key]; c != nil {
			return c
		}
		return map[string]any{}
	}
	show("top", root)
	show("metrics", root["metrics"])
	for _, n := range root["networks"].(map[string]any) {
		show("network", n)
		for _, level := range []string{"uplink", "stp", "snooping", "fdb", "ra", "dhcp", "dhcp6", "dns", "nat", "inbound"} {
			show(level, child(n, level))
		}
		for level, in := range map[string][2]string{"dhcp.hosts": {"dhcp", "hosts"}, "dhcp6.hosts": {"dhcp6", "hosts"}, "delegate": {"dhcp6", "delegate"}, "srv": {"dns", "srv"}} {
			if list, ok := child(child(n, in[0]), in[1]).([]any); ok {
				for _, s := range list {
					show(level, s)
				}
			}
		}
		show("timeouts", child(child(n, "nat"), "timeouts"))
		if list, ok := child(child(n, "nat"), "publish").([]any); ok {
			for _, p := range list {
				show("publish", p)
			}
		}
		if list, ok := child(n, "routes").([]any); ok {
			for _, s := range list {
				show("routes", s)
			}
		}
		if list, ok := child(child(n, "fdb"), "static").([]any); ok {
			for _, s := range list {
				show("static", s)
			}
		}
		ports, _ := child(n, "ports").(map[string]any)
		for _, p := range ports {
			show("port", p)
			for _, level := range []string{"vlan", "stp", "security", "guard", "storm", "rate"} {
				show("port."+level, child(p, level))
			}
			show("rate", child(child(p, "rate"), "ingress"))
		}
	}
	for level, keys := range map[string][]string{
		"top": names(configKeys()), "metrics": names(metricsKeys()), "network": names(networkKeys()),
		"uplink": names(uplinkKeys()), "stp": names(stpKeys()), "snooping": names(snoopingKeys()),
		"dhcp": names(dhcpKeys()), "dhcp.hosts": names(dhcpHostKeys()), "dns": names(dnsKeys()), "srv": names(srvKeys()),
		"fdb": names(fdbKeys()), "static": names(staticKeys()), "port": names(portKeys()),
		"routes": names(routeKeys()), "nat": names(natKeys()), "timeouts": names(timeoutKeys()), "publish": names(publishKeys()),
		"ra": names(raKeys()), "dhcp6": names(dhcp6Keys()), "dhcp6.hosts": names(dhcp6HostKeys()), "delegate": names(delegateKeys()),
		"inbound": {"ipv4", "ipv6"}, "port.guard": names(guardKeys()),
		"port.stp": names(portSTPKeys()), "port.security": names(securityKeys()),
		"port.storm": names(stormKeys()), "port.rate": names(ratesKeys()), "rate": names(rateKeys()),
	} {
		for _, k := range keys {
			if !shown[level][k] {
				t.Errorf("key %q of level %q is not in the reference", k, level)
			}
		}
	}
	// Access excludes the other two, so that no port can show all three.
	for _, k := range names(vlanKeys()) {
		if !shown["port.vlan"][k] && !strings.Contains(Reference(), "# "+k+": ") {
			t.Errorf("key %q of level vlan is not in the reference", k)
		}
	}
}

// The numbers that the prose gives are those of the code.
func TestReferenceRanges(t *testing.T) {
	for _, s := range []string{
		"Range: 68-65517. Default: 1500", "Range: 1s-12h, or 0s for ever. Default: 300s",
		"Range: 1-1048576 entries. Default: 8192", "Default: 127.0.0.1:9820", "vlan: 0-4094",
		"Range: 0-61440 in steps of 4096. Default: 32768", "Range: 1s-10s. Default: 2s",
		"Range: 6s-40s. Default: 20s", "Range: 2s-30s, or 0s to forward at once. Default: 15s",
		"Range: 10s-3600s in whole seconds. Default: 125s", "VLANs of the port (IEEE 802.1Q), 1-4094.",
		"Range: 0-240 in steps of 16. Default: 128", "Range: 1-200000000. Default: 2000",
		"Range: 0-65536, 0 for any number, and ", "at most 64", "Range: 0-100000000, 0 for no limit.",
		"Range: 8kbit-1000Gbit, or 0 for no limit. Default: 0", "up to 1024MiB", "carries in 250 ms, but 128KiB at the least",
		"at least 2*(hello+1s)", "2*(forward_delay-1s) >= max_age, which is", "Below 64KiB TCP stalls",
		"Default: /var/lib/weft/leases.db", "at most one of IPv4, of 8-30 bits, and 8 of IPv6", "without ra of 16-126.", "With an IPv6 address 1280 is the least.", "At most 256 ranges, and 1048576 addresses in all.",
		"Range: 2m-365d. Default: 1h", "Range: 0-1048576, 0 for as many as the ranges hold. Default: 0", "IPv4 addresses, at most 63.",
		"of up to 63 bytes, and the file, of up to 127 bytes.", "(option 61), 2-255 bytes", "Range: 0-1000000, 0 for none. Default: 10000",
		"at most 64 each.", "at most 64, of up to 4096 bytes each", "and 16384 in all.", "a name has at most 64.", "of up to 189 characters.",
		"with its prefix length, 8-31 of IPv4, 16-128 of IPv6", "elsewhere, at most 256.", "at most 64 names", "Range: 1-65535. Default: 1024-65535",
		"Range: 1-4194304. Default: 65536", "Default: 8192, or max_flows where that is less",
		"Range: 1s-604800s each. Default: 300s, 7440s, 240s, 60s and 600s.", "known outside, at most 1024.",
		"Range: 4s-1800s in whole seconds. Default: 600s", "three intervals, up to 9000s", "Range: interval-9000s in whole seconds, or 0s. Default: auto",
		"Range: 1280 up to mtu above. Default: auto", "Range: 0-255, 0 leaves it to them. Default: 64",
		"Range: interval-365d; of preferred 0s too, and up to valid. Default: 90m and 45m", "IPv6 addresses, at most 8:", "without a dot, at most 8, and 256",
		"one or a list, at most 8.", "Range: 2m-365d, or infinite. Default: 1h", "by number (1-65535)", "1024 bytes in all.",
		"At most 256 ranges. Default: none", "At most 64 pools", "of the pool, of 16-64 bits.", "from that of the pool up to 64.", "3-130 bytes in hex",
		"subnet and 64 bits at most:", "Default: open for IPv4, published for IPv6",
		"at most 256 ranges, and 1024", "8000-8010, 1-65535: at the uplink",
	} {
		if !strings.Contains(Reference(), s) {
			t.Errorf("%q is not in the reference", s)
		}
	}
}

func TestReferenceInDocs(t *testing.T) {
	docs, err := os.ReadFile("../../../docs/reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(docs, []byte(Reference())) {
		t.Error("docs/reference.yaml is not cmd/internal/config/reference.yaml: copy the latter over the former")
	}
}
