package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const patched = `networks:
  lan:
    forward: bridge
    uplink: {interface: eth1}
    stp: {enabled: true, priority: 4096}
    fdb: {ageing: 60s, static: [{mac: "02:00:00:00:00:05", vlan: 10, port: vm1}]}
    ports:
      vm1:
        type: tap
        mode: vepa
        vlan: {trunk: [10, 20-30], native: 10}
        security: {max_macs: 2, sources: ["02:00:00:00:00:01"]}
        rate: {ingress: {average: 100Mbit}, egress: {average: 1Gbit, burst: 1MiB}}
`

// after returns the lines of Diff that a patch makes.
func after(t *testing.T, patch func(*Config) error) string {
	t.Helper()
	old := mustParse(t, patched)
	c := old.Clone()
	if err := patch(c); err != nil {
		t.Fatal(err)
	}
	c.Normalize()
	if err := Validate(c); err != nil {
		t.Fatal(err)
	}
	return texts(Diff(old, c))
}

func TestPatchPort(t *testing.T) {
	for body, want := range map[string]string{
		``:                                       "",
		`{}`:                                     "",
		`null`:                                   "",
		`{"vlan":{}}`:                            "",
		`{"mode":"private"}`:                     "mode vepa -> private",
		`{"mode":null}`:                          "mode vepa -> bridge",
		`{"mode":""}`:                            "mode vepa -> bridge",
		"{\n\t\"isolated\": true\n}\n":           "isolated false -> true",
		`{"isolated":"true"}`:                    "isolated false -> true",
		`mode: private`:                          "mode vepa -> private",
		`{"vlan":{"native":20}}`:                 "vlan.native 10 -> 20",
		`{"vlan":{"native":"20"}}`:               "vlan.native 10 -> 20",
		`{"vlan":{"native":null}}`:               "vlan.native 10 -> none",
		`{"vlan":{"trunk":"10,20-30,31"}}`:       "vlan.trunk [10 20-30] -> [10 20-31]",
		`{"vlan":{"trunk":[10, "5"]}}`:           "vlan.trunk [10 20-30] -> [5 10]",
		`{"vlan":{"trunk":10}}`:                  "vlan.trunk [10 20-30] -> [10]",
		`{"vlan":null}`:                          "vlan.trunk [10 20-30] -> []|vlan.native 10 -> none",
		`{"vlan":""}`:                            "vlan.trunk [10 20-30] -> []|vlan.native 10 -> none",
		`{"stp":{"cost":"7","edge":true}}`:       "stp.edge auto -> true|stp.cost 2000 -> 7",
		`{"stp":{"priority":0}}`:                 "stp.priority 128 -> 0",
		`{"security":{"max_macs":"5"}}`:          "security.max_macs 2 -> 5",
		`{"security":{"sources":[]}}`:            "security.sources [02:00:00:00:00:01] -> []",
		`{"security":{"sources":""}}`:            "security.sources [02:00:00:00:00:01] -> []",
		`{"security":null}`:                      "security.max_macs 2 -> 0|security.sources [02:00:00:00:00:01] -> []",
		`{"storm":{"unknown":"9"}}`:              "storm.unknown 0 -> 9",
		`{"rate":{"ingress":null}}`:              "rate.ingress.average 100Mbit -> 0|rate.ingress.burst 3125kB -> 0",
		`{"rate":{"egress":{"burst":""}}}`:       "rate.egress.burst 1MiB -> 31250kB",
		`{"rate":{"egress":{"peak":"2Gbit/s"}}}`: "rate.egress.peak 0 -> 2Gbit",
		`{"security":{"sources":"02:00:00:00:00:01, 02:00:00:00:00:02"}}`: "security.sources [02:00:00:00:00:01] -> " +
			"[02:00:00:00:00:01 02:00:00:00:00:02]",
		// A burst that nobody chose follows its average, one that somebody chose stays.
		`{"rate":{"ingress":{"average":"200Mbit"}}}`: "rate.ingress.average 100Mbit -> 200Mbit|rate.ingress.burst 3125kB -> 6250kB",
		`{"rate":{"ingress":{"average":0}}}`:         "rate.ingress.average 100Mbit -> 0|rate.ingress.burst 3125kB -> 0",
		`{"rate":{"egress":{"average":"2Gbit"}}}`:    "rate.egress.average 1Gbit -> 2Gbit",
	} {
		if want != "" {
			want = "~ port lan/vm1: " + strings.ReplaceAll(want, "|", "\n~ port lan/vm1: ")
		}
		if got := after(t, func(c *Config) error { return c.PatchPort("lan", "vm1", []byte(body)) }); got != want {
			t.Errorf("%s\n got %s\nwant %s", body, got, want)
		}
	}
}

func TestPatchNetwork(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:                                    "",
		`{"mtu":9000}`:                          "mtu 1500 -> 9000",
		`{"mtu":"9000"}`:                        "mtu 1500 -> 9000",
		`{"stp":null}`:                          "stp.enabled true -> false|stp.priority 4096 -> 32768",
		`{"stp":{"forward_delay":"2s"}}`:        "stp.forward_delay 15s -> 2s",
		`{"snooping":{"enabled":true}}`:         "snooping.enabled false -> true",
		`{"reserved_groups":"wire"}`:            "reserved_groups switch -> wire",
		`{"fdb":{"ageing":"0s","limit":"100"}}`: "fdb.ageing 1m0s -> 0s|fdb.limit 8192 -> 100",
		`{"mac":"02:00:00:00:00:77"}`:           `mac "` + DeriveMAC("lan", "").String() + `" -> "02:00:00:00:00:77"`,
		`{"mac":""}`:                            "",
		// Static entries are none of the settings that the default is asked for.
		`{"fdb":null}`: "fdb.ageing 1m0s -> 5m0s",
	} {
		if want != "" {
			want = "~ network lan: " + strings.ReplaceAll(want, "|", "\n~ network lan: ")
		}
		if got := after(t, func(c *Config) error { return c.PatchNetwork("lan", []byte(body)) }); got != want {
			t.Errorf("%s\n got %s\nwant %s", body, got, want)
		}
	}
}

func TestPatchRefused(t *testing.T) {
	const vm1, lan = `port "vm1": `, `network "lan": `
	port := func(body string) func(*Config) error {
		return func(c *Config) error { return c.PatchPort("lan", "vm1", []byte(body)) }
	}
	network := func(body string) func(*Config) error {
		return func(c *Config) error { return c.PatchNetwork("lan", []byte(body)) }
	}
	type refused struct {
		patch func(*Config) error
		want  string
	}
	table := []refused{
		{port(`{"vlan":{"access":5000}}`), vm1 + "vlan.access: 5000 is out of range: give 1-4094"},
		{port(`{"vlan":{"access":"x"}}`), vm1 + `vlan.access: "x" is not a whole number: write one in decimal digits`},
		{port(`{"vlan":{"trunk":[10,4095]}}`), vm1 + "vlan.trunk[1]: 4095 is out of range: give 1-4094"},
		{port(`{"vlan":{"trunk":"10,4095"}}`), vm1 + "vlan.trunk[1]: 4095 is out of range: give 1-4094"},
		{port(`{"vlan":{"trunk":[]}}`), vm1 + "vlan.trunk: is an empty list: write what belongs in it, or remove the key"},
		{port(`{"vlan":10}`), vm1 + "vlan: a single value, where keys with values belong: access, trunk, native"},
		{port(`{"vlans":10}`), vm1 + `unknown key "vlans"; did you mean "vlan"?`},
		{port(`{"isolated":1}`), vm1 + `isolated: "1" is neither true nor false: write one of the two`},
		{port(`{"isolated":true,"isolated":false}`), vm1 + `"isolated" is there already, on line 1: remove one of them`},
		// What a patch may not set is not offered.
		{port(`[1]`), vm1 + "a list, where keys with values belong: mode, hairpin, isolated, vlan, stp, security, guard, storm, rate"},
		{port(`{"x-y-z":1}`), vm1 + `unknown key "x-y-z"; known here: mode, hairpin, isolated, vlan, stp, security, guard, storm, rate`},
		{network(`{"fdb":5}`), lan + "fdb: a single value, where keys with values belong: ageing, limit, port_limit"},
		{network(`{"mtu":{"a":"b"}}`), lan + "mtu: a map, where a single value belongs: write the value alone, without braces"},
		{port(`{`), vm1 + "is not valid YAML: could not find flow mapping end token '}'"},
		{port("\xff"), vm1 + "is not UTF-8 text: save the file as UTF-8"},
		{port(`{"isolated":2,"mode":"private","storm":{"unknown":"x"}}`), vm1 + `isolated: "2" is neither true nor false: write one of the two` + "\n" +
			vm1 + `storm.unknown: "x" is not a whole number: write one in decimal digits`},
		{func(c *Config) error { return c.PatchPort("lan", "vm2", nil) }, lan + `port "vm2": does not exist: add it first`},
		{func(c *Config) error { return c.PatchPort("dmz", "vm1", nil) }, `network "dmz": does not exist: add it first`},
		{func(c *Config) error { return c.PatchNetwork("dmz", nil) }, `network "dmz": does not exist: add it first`},
		{network(`{"mtu":"big"}`), lan + `mtu: "big" is not a whole number: write one in decimal digits`},
		{network(`{"stp":{"hello":2}}`), lan + `stp.hello: "2" is not a duration: write a number and its unit, such as 300s, 5m or 1h`},
	}
	// Whatever the value, that of a reset too.
	for _, v := range []string{`"x"`, "null", "5", "[]", "{}"} {
		for _, k := range []string{"type", "interface", "netns", "owner", "group", "mac", "address"} {
			table = append(table, refused{port(`{"` + k + `":` + v + `}`),
				vm1 + k + ": cannot be set while the port runs: change the file and apply it, or remove and add the port"})
		}
		for _, k := range []string{"ports", "forward", "uplink"} {
			table = append(table, refused{network(`{"` + k + `":` + v + `}`),
				lan + k + ": cannot be set while the network runs: change the file and apply it"})
		}
		table = append(table, refused{network(`{"fdb":{"static":` + v + `}}`),
			lan + "fdb.static: cannot be set while the network runs: change the file and apply it"})
	}
	for _, tc := range table {
		c := mustParse(t, patched)
		err := tc.patch(c)
		if err == nil || err.Error() != tc.want {
			t.Errorf("got\n%v\nwant\n%s", err, tc.want)
		}
		if _, ok := err.(Errors); err != nil && !ok {
			t.Errorf("%T, want Errors", err)
		}
		if d := sameConfig(mustParse(t, patched), c); d != "" {
			t.Errorf("%s\nbut changed\n%s", tc.want, d)
		}
	}
}

// What clashes only with the rest is for Validate.
func TestPatchThenValidate(t *testing.T) {
	for body, want := range map[string]string{
		`{"vlan":{"access":5}}`:                     `vlan.access: stands beside trunk, and a port has one of the two: remove the other (by command: vlan.access= or vlan.trunk=)`,
		`{"vlan":{"access":10,"trunk":null}}`:       `vlan.native: stands beside access, and is for a trunk only: remove it (by command: vlan.native=)`,
		`{"stp":{"cost":0}}`:                        `stp.cost: 0 is out of range: give 1-200000000`,
		`{"hairpin":true}`:                          `hairpin: is for mode: bridge only, this port is vepa: remove it`,
		`{"security":{"max_macs":0,"sticky":true}}`: `security.sticky: needs max_macs: write how many addresses the port may keep`,
		`{"rate":{"egress":{"average":0}}}`:         `rate.egress.burst: needs average: write it too, or remove this`,
	} {
		c := mustParse(t, patched)
		if err := c.PatchPort("lan", "vm1", []byte(body)); err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		c.Normalize()
		if err := Validate(c); err == nil || err.Error() != `network "lan": port "vm1": `+want {
			t.Errorf("%s\n got %v\nwant %s", body, err, want)
		}
	}
	// What the message offers is a way out.
	for body, want := range map[string]string{
		`{"vlan":{"access":10,"trunk":"","native":""}}`: "vlan.access none -> 10\n~ port lan/vm1: vlan.trunk [10 20-30] -> []\n~ port lan/vm1: vlan.native 10 -> none",
		`{"vlan":{"access":""}}`:                        "",
	} {
		got := after(t, func(c *Config) error { return c.PatchPort("lan", "vm1", []byte(body)) })
		if strings.TrimPrefix(got, "~ port lan/vm1: ") != want {
			t.Errorf("%s\n got %s\nwant %s", body, got, want)
		}
	}
}

// A patch of one thing may clash with what stands elsewhere.
func TestPatchElsewhere(t *testing.T) {
	port := func(body string) func(*Config) error {
		return func(c *Config) error { return c.PatchPort("lan", "vm1", []byte(body)) }
	}
	network := func(body string) func(*Config) error {
		return func(c *Config) error { return c.PatchNetwork("lan", []byte(body)) }
	}
	for _, tc := range []struct {
		patch func(*Config) error
		want  string
	}{
		{port(`{"vlan":{"trunk":"20-30","native":null}}`), `fdb.static[0].vlan: port "vm1" is not in VLAN 10: write a vlan of 20-30, or remove the entry`},
		{port(`{"vlan":{"access":20,"trunk":null,"native":null}}`), `fdb.static[0].vlan: port "vm1" is not in VLAN 10: write vlan: 20, or remove the entry`},
		{network(`{"fdb":{"port_limit":1}}`), `port "vm1": security.max_macs: 2 is above the fdb.port_limit of 1: lower it, or raise that`},
		{network(`{"stp":{"hello":"10s"}}`), `stp.max_age: 20s is below twice hello and a second (22s): raise it, or lower hello`},
	} {
		c := mustParse(t, patched)
		if err := tc.patch(c); err != nil {
			t.Fatal(err)
		}
		c.Normalize()
		if err := Validate(c); err == nil || err.Error() != `network "lan": `+tc.want {
			t.Errorf("got\n%v\nwant\n%s", err, tc.want)
		}
	}
}

// patchBody writes values as the body of a patch: those without a writing are
// null; in strings, each one is a string of JSON, lists too.
func patchBody(list []output, strs bool) string {
	var pairs []string
	for _, o := range list {
		if o.apart {
			continue
		}
		v := o.file
		switch {
		case o.kind == aMap:
			v = patchBody(o.sub, strs)
		case o.kind != aValue:
			v = inFlow(o)
		case v == "":
			v = "null"
		case strs && o.word != "":
			b, _ := json.Marshal(o.word)
			v = string(b)
		case strs:
			b, _ := json.Marshal(strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(v, "["), "]"), `"`, ""))
			v = string(b)
		}
		pairs = append(pairs, fmt.Sprintf("%q: %s", o.name, v))
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

// inFlow writes what is a map of names or a list of maps.
func inFlow(o output) string {
	if o.kind != aList {
		return o.flow()
	}
	items := make([]string, len(o.sub))
	for i := range o.sub {
		items[i] = o.sub[i].flow()
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// settable returns the values of the keys that a patch may set.
func settable[T any](keys []key[T], from *T) []output {
	keys = slices.DeleteFunc(keys, func(k key[T]) bool { return k.fixed })
	return outputs(keys, from, nil)
}

// butForward leaves out what no patch of a network that bridges may set.
func butForward(keys []key[Network]) []key[Network] {
	return slices.DeleteFunc(keys, func(k key[Network]) bool { return k.name == "forward" || k.name == "uplink" })
}

// A patch with every key makes of one value the other, and is what a file with
// those keys makes; the value that it was made onto does not show.
func TestPatchIsEdit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfig(t)
		if len(c.Networks) == 0 {
			return
		}
		got, strs := c.Clone(), rapid.Bool().Draw(t, "strings")
		n := rapid.SampledFrom(c.Networks).Draw(t, "network")
		to := anyNetwork(t, n.Name, 0)
		to.Ports, to.FDB.Static = n.Ports, n.FDB.Static
		keys := networkKeys()
		if n.Forward == ForwardBridge || to.Forward == ForwardBridge {
			to.Forward, to.Uplink = n.Forward, n.Uplink
			keys = butForward(keys)
		}
		// To names a patch adds.
		if err := got.PatchNetwork(n.Name, []byte(`{"dhcp":{"options":null},"dhcp6":{"options":null},"dns":{"domains":"","hosts":null,"txt":null}}`)); err != nil {
			t.Fatal(err)
		}
		body := patchBody(settable(keys, &to), strs)
		if err := got.PatchNetwork(n.Name, []byte(body)); err != nil {
			t.Fatalf("%s\n%v", body, err)
		}
		want := c.Clone()
		*want.Network(n.Name) = *(&Config{Networks: []Network{to}}).Clone().Network(n.Name)
		if len(n.Ports) > 0 {
			p := rapid.SampledFrom(n.Ports).Draw(t, "port")
			p.Policy = anyPolicy(t, false)
			body := patchBody(settable(portKeys(), &p), strs)
			if err := got.PatchPort(n.Name, p.Name, []byte(body)); err != nil {
				t.Fatalf("%s\n%v", body, err)
			}
			*want.Network(n.Name).Port(p.Name) = p
		}
		got.Normalize()
		want.Normalize()
		if d := sameConfig(want, got); d != "" {
			t.Fatalf("%s\n%s", body, d)
		}
		if Validate(want) != nil { // by a mode, VLAN or maximum that was drawn for another network
			return
		}
		edited, err := Parse("edited.yaml", want.YAML())
		if err != nil {
			t.Fatal(err)
		}
		if d := sameConfig(edited, got); d != "" {
			t.Fatal(d)
		}
	})
}

// A patch with one key leaves every other one as it was.
func TestPatchOfOneKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old := &Config{Networks: []Network{anyNetwork(t, "lan", 0)}}
		old.Networks[0].Ports = []Port{{Name: "p", Type: TypeTap, Policy: anyPolicy(t, true)}}
		old.Normalize()
		from, network := Port{Policy: anyPolicy(t, true)}, anyNetwork(t, "lan", 0)
		keys := networkKeys()
		if old.Networks[0].Forward == ForwardBridge || network.Forward == ForwardBridge {
			keys = butForward(keys)
		}
		patch, list := (*Config).PatchNetwork, settable(keys, &network)
		if rapid.Bool().Draw(t, "of port") {
			patch = func(c *Config, network string, body []byte) error { return c.PatchPort(network, "p", body) }
			list = settable(portKeys(), &from)
		}
		o := rapid.SampledFrom(list).Draw(t, "key")
		path := o.name
		for o.kind == aMap {
			o = rapid.SampledFrom(slices.DeleteFunc(slices.Clone(o.sub), func(o output) bool { return o.apart })).Draw(t, "key below")
			path += "." + o.name
		}
		value := o.file
		if o.kind != aValue {
			value = inFlow(o)
		} else if value == "" {
			value = "null"
		}
		parts := strings.Split(path, ".")
		body := `{"` + strings.Join(parts, `": {"`) + `": ` + value + strings.Repeat("}", len(parts))
		c := old.Clone()
		if err := patch(c, "lan", []byte(body)); err != nil {
			t.Fatalf("%s\n%v", body, err)
		}
		c.Normalize()
		for _, change := range Diff(old, c) {
			burst := strings.HasSuffix(path, ".average") && strings.Contains(change.Text, "burst")
			seat := change.Port == hostSeat && slices.Contains([]string{"mac", "address", "host_port"}, path)
			uplink := path == "forward" && strings.Contains(change.Text, ": uplink.address ") // auto, where it forwards
			asked := (strings.HasPrefix(path, "ra.") || strings.HasPrefix(path, "dhcp6.")) && strings.Contains(change.Text, ": address ")
			if !asked && !strings.Contains(change.Text, ": "+path+" ") && !strings.Contains(change.Text, ": "+path+"[") && !burst && !seat && !uplink {
				t.Fatalf("%s\n%s", body, change.Text)
			}
		}
	})
}
