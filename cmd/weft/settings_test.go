package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weft/weft/cmd/internal/config"
)

func TestParseSettings(t *testing.T) {
	for _, c := range []struct {
		words string
		want  string // JSON, or the error
	}{
		{"mode=vepa", `{"mode":"vepa"}`},
		{"mode=", `{"mode":null}`},
		{"vlan=", `{"vlan":null}`},
		{"vlan.access=10 hairpin=true", `{"hairpin":"true","vlan":{"access":"10"}}`},
		{"vlan.native= vlan.trunk=10,20-30", `{"vlan":{"native":null,"trunk":"10,20-30"}}`},
		{"rate.ingress.average=1Mbit rate.egress=", `{"rate":{"egress":null,"ingress":{"average":"1Mbit"}}}`},
		{"rate.ingress.average=1Mbit rate.ingress.peak=2Mbit", `{"rate":{"ingress":{"average":"1Mbit","peak":"2Mbit"}}}`},
		{"netns=a=b", `{"netns":"a=b"}`},
		{`owner="x`, `{"owner":"\"x"}`},
		{"vlanx=1 vlan.a=2", `{"vlan":{"a":"2"},"vlanx":"1"}`},

		// The name of an entry is all that is left of the path.
		{"dns.hosts.web.lab=10.0.0.9 dns.hosts.web=10.0.0.8", `{"dns":{"hosts":{"web":"10.0.0.8","web.lab":"10.0.0.9"}}}`},
		{"dns.txt.lab= dns.txt._dmarc.lab=v=DMARC1", `{"dns":{"txt":{"_dmarc.lab":"v=DMARC1","lab":null}}}`},
		{"dhcp.options.42=10.0.0.1", `{"dhcp":{"options":{"42":"10.0.0.1"}}}`},
		{"dns.domains.corp.example=[]", `{"dns":{"domains":{"corp.example":[]}}}`},
		{"dns.hosts=", `{"dns":{"hosts":null}}`},
		{"dns.hosts.=1", `"dns.hosts.=1" names no key: write it like mode=vepa`},
		{"dns.hosts= dns.hosts.web.lab=1", `"dns.hosts" and "dns.hosts.web.lab" in one command: one is part of the other, so set them one after the other`},
		{"dns.hosts.web.lab=1 dns.hosts.web.lab=2", `"dns.hosts.web.lab" is given twice`},

		{"mode", `"mode" has no value: write mode=VALUE, or mode= for the default`},
		{"=", `"=" names no key: write it like mode=vepa`},
		{"=vepa", `"=vepa" names no key: write it like mode=vepa`},
		{".=1", `".=1" names no key: write it like mode=vepa`},
		{"vlan..access=1", `"vlan..access=1" names no key: write it like mode=vepa`},
		{".mode=1", `".mode=1" names no key: write it like mode=vepa`},
		{"mode=a hairpin=b mode=", `"mode" is given twice`},
		{"vlan= vlan.access=1", `"vlan" and "vlan.access" in one command: one is part of the other, so set them one after the other`},
		{"rate.egress.peak=1 rate=", `"rate.egress.peak" and "rate" in one command: one is part of the other, so set them one after the other`},
	} {
		patch, err := parseSettings(networkSettings(), strings.Fields(c.words))
		got := string(patch)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.words, got, c.want)
		}
	}
}

// The words of settings are those that a daemon takes, all of them and no
// other: the configuration itself lists what it knows where it is asked for
// what it does not.
func TestSettingsAreThoseOfTheConfiguration(t *testing.T) {
	for _, c := range []struct {
		name  string
		known []setting
		patch func(*config.Config, []byte) error
	}{
		{"port", portSettings(), func(c *config.Config, p []byte) error { return c.PatchPort("lab", "vm1", p) }},
		{"network", networkSettings(), func(c *config.Config, p []byte) error { return c.PatchNetwork("lab", p) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			try := func(path, value string) error {
				patch := map[string]any{}
				put(patch, strings.Split(path, "."), value)
				text, err := json.Marshal(patch)
				if err != nil {
					t.Fatal(err)
				}
				cfg := settable(t, path)
				if err := c.patch(cfg, text); err != nil {
					return err
				}
				cfg.Normalize()
				return config.Validate(cfg)
			}
			got, want := paths(c.known), settableKeys(try, "")
			// It is of a bridge, whose uplink no command changes.
			want = slices.DeleteFunc(want, func(path string) bool { return path == "uplink.reflective" })
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("the command knows   %v\nthe configuration %v", got, want)
			}
			for _, s := range c.known {
				if err := try(s.path, ""); err != nil {
					t.Errorf("reset of %s: %v", s.path, err)
				}
				checkValues(t, s, try)
			}
		})
	}
}

// settable has a network that has a use for the key.
func settable(t *testing.T, path string) *config.Config {
	t.Helper()
	network := "ports: {vm1: {type: tap}}"
	for _, level := range []string{"nat.", "routes", "reach"} {
		if strings.HasPrefix(path, level) {
			network += ", forward: nat, address: 10.0.0.1/24"
			break
		}
	}
	if strings.HasPrefix(path, "inbound") {
		network += ", forward: route, address: 10.0.0.1/24"
	}
	c, err := config.Parse("", []byte("networks: {lab: {"+network+"}}"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The examples of help are right, and work in their order: so does the step
// from an access port to a trunk port.
func TestExamplesOfSettings(t *testing.T) {
	root := newRootCommand()
	for _, c := range []struct {
		command []string
		named   string // what stands before the settings
		config  string
		patch   func(*config.Config, []byte) error
	}{
		{[]string{"port", "set"}, "weft port set lab vm1 ", "networks: {lab: {forward: bridge, uplink: {interface: eth1}, ports: {vm1: {type: tap}}}}", func(c *config.Config, p []byte) error { return c.PatchPort("lab", "vm1", p) }},
		{[]string{"network", "set"}, "weft network set lab ", "networks: {lab: {address: 10.0.0.1/24}}", func(c *config.Config, p []byte) error { return c.PatchNetwork("lab", p) }},
	} {
		cmd, _, err := root.Find(c.command)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Parse("", []byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(cmd.Example) {
			words, ok := strings.CutPrefix(strings.TrimSpace(line), c.named)
			if !ok {
				t.Errorf("%q does not begin with %q", line, c.named)
			}
			patch, err := parseSettings(settingsOf(cmd), strings.Fields(words))
			if err == nil {
				err = c.patch(cfg, patch)
			}
			cfg.Normalize()
			if err = cmp.Or(err, config.Validate(cfg)); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
}

var knownHere = regexp.MustCompile(`known here: (.*)`)

// settableKeys returns the paths of all keys at and below a prefix that may be
// set.
func settableKeys(try func(path, value string) error, prefix string) (all []string) {
	for _, key := range knownTo(try(prefix+"xxxxxxxx", "1")) {
		path := prefix + key
		err := try(path+".xxxxxxxx", "1")
		switch {
		case err == nil || strings.Contains(err.Error(), "cannot be set"):
		case strings.Contains(err.Error(), `unknown key "xxxxxxxx"`):
			all = append(all, settableKeys(try, path+".")...)
		default: // a value, where a map was given
			all = append(all, path)
		}
	}
	return all
}

// knownTo returns what an error says is known instead.
func knownTo(err error) []string {
	m := knownHere.FindStringSubmatch(fmt.Sprint(err))
	if m == nil {
		return nil
	}
	return strings.Split(m[1], ", ")
}

// checkValues holds the values of a setting against those of the configuration.
func checkValues(t *testing.T, s setting, try func(path, value string) error) {
	t.Helper()
	err := try(s.path, "xxxxxxxx")
	if s.path == "ra.dnssl" && err == nil { // which is a domain as any other
		return
	}
	if err == nil {
		t.Errorf("%s takes any value", s.path)
		return
	}
	if clears := strings.Contains(err.Error(), "clears it"); clears != s.resets {
		t.Errorf("%s: it can only be reset: %v, want %v: %v", s.path, s.resets, clears, err)
	}
	want := knownTo(err)
	if strings.Contains(err.Error(), "neither true nor false") {
		want = []string{"true", "false"}
	}
	if s.path == "forward" { // which no command makes a bridge
		want = slices.DeleteFunc(want, func(v string) bool { return v == "bridge" })
	}
	if !slices.Equal(s.values, want) {
		t.Errorf("%s: values %v, want %v: %v", s.path, s.values, want, err)
	}
}

func TestCompleteSettingKeepsToWhatIsTyped(t *testing.T) {
	known := []setting{{path: "mode", values: []string{"bridge", "vepa"}}, {path: "mode2"}, {path: "mtu"}, {path: "dns.txt", entries: true}}
	for typed, want := range map[string][]string{
		"":         {"mode=", "mode2=", "mtu=", "dns.txt=", "dns.txt."},
		"dns.txt.": {"dns.txt."},
		"mo":       {"mode=", "mode2="},
		"mode":     {"mode=", "mode2="},
		"mode=":    {"mode=bridge", "mode=vepa"},
		"mode=v":   {"mode=vepa"},
		"mode=x":   nil,
		"mtu=":     nil,
		"colour=":  nil,
	} {
		if got, _ := completeSetting(known, typed); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", typed, got, want)
		}
	}
}

func TestArgumentName(t *testing.T) {
	for _, c := range []struct {
		use  string
		i    int
		want string
	}{
		{"", 0, ""},
		{"NETWORK [PORT]", 1, "PORT"},
		{"NETWORK [PORT]", 2, ""},
		{"NETWORK KEY=VALUE...", 1, "KEY=VALUE"},
		{"NETWORK KEY=VALUE...", 9, "KEY=VALUE"},
		{"NAME [KEY=VALUE...]", 3, "KEY=VALUE"},
	} {
		if got := argumentName(strings.Fields(c.use), c.i); got != c.want {
			t.Errorf("%q argument %d: %q, want %q", c.use, c.i, got, c.want)
		}
	}
}
