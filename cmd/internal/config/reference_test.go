package config

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
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
	all := mustParse(t, activated(Reference()))
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
	show("top", root)
	show("metrics", root["metrics"])
	for _, n := range root["networks"].(map[string]any) {
		show("network", n)
		fdb := n.(map[string]any)["fdb"].(map[string]any)
		show("fdb", fdb)
		for _, s := range fdb["static"].([]any) {
			show("static", s)
		}
		for _, p := range n.(map[string]any)["ports"].(map[string]any) {
			show("port", p)
		}
	}
	for level, keys := range map[string][]string{
		"top": names(configKeys()), "metrics": names(metricsKeys()), "network": names(networkKeys()),
		"fdb": names(fdbKeys()), "static": names(staticKeys()), "port": names(portKeys()),
	} {
		for _, k := range keys {
			if !shown[level][k] {
				t.Errorf("key %q of level %q is not in the reference", k, level)
			}
		}
	}
}

// The numbers that the prose gives are those of the code.
func TestReferenceRanges(t *testing.T) {
	for _, s := range []string{
		"Range: 68-65517. Default: 1500", "Range: 1s-12h, or 0s for ever. Default: 300s",
		"Range: 1-1048576 entries. Default: 8192", "Default: 127.0.0.1:9820", "vlan: 0-4094",
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
