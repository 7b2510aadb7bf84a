package config

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// activated switches on every example of the reference that is switched off.
func activated(text string) string {
	return regexp.MustCompile(`(?m)^( *)#([a-z-])`).ReplaceAllString(text, "$1$2")
}

func TestReferenceParses(t *testing.T) {
	c := mustParse(t, Reference())
	// Switched-off examples apart, it spells the defaults out.
	n := c.Network(DefaultNetwork)
	if n == nil || len(c.Networks) != 1 || c.Metrics.Listen != DefaultListen {
		t.Fatalf("%+v", c)
	}
	want := NewNetwork(DefaultNetwork)
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
	if len(all.Networks) != 2 || all.Networks[1].UplinkPort() == nil {
		t.Errorf("%+v", all.Networks)
	}
	var types []string
	for _, p := range all.Networks[0].Ports {
		types = append(types, p.Type)
	}
	slices.Sort(types)
	if !slices.Equal(types, []string{TypeInternal, TypeRaw, TypeTap}) {
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
		for _, level := range []string{"uplink", "stp", "snooping", "fdb"} {
			show(level, child(n, level))
		}
		if list, ok := child(child(n, "fdb"), "static").([]any); ok {
			for _, s := range list {
				show("static", s)
			}
		}
		for _, p := range child(n, "ports").(map[string]any) {
			show("port", p)
			for _, level := range []string{"vlan", "stp", "security", "storm", "rate"} {
				show("port."+level, child(p, level))
			}
			show("rate", child(child(p, "rate"), "ingress"))
		}
	}
	for level, keys := range map[string][]string{
		"top": names(configKeys()), "metrics": names(metricsKeys()), "network": names(networkKeys()),
		"uplink": names(uplinkKeys()), "stp": names(stpKeys()), "snooping": names(snoopingKeys()),
		"fdb": names(fdbKeys()), "static": names(staticKeys()), "port": names(portKeys()),
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
