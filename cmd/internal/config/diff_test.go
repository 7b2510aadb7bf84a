package config

import (
	"net/netip"
	"strings"
	"testing"
)

func texts(changes []Change) string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = c.Text
	}
	return strings.Join(out, "\n")
}

func TestDiffOrder(t *testing.T) {
	old := mustParse(t, `
networks:
  gone: {ports: {b: {type: tap}, a: {type: raw}}}
  lan:
    fdb: {static: [{mac: 02:00:00:00:00:01, port: vm1}, {mac: 02:00:00:00:00:02, port: vm1}]}
    ports:
      vm1: {type: tap}
      vm2: {type: tap}
      h1: {type: internal, mac: 02:00:00:00:00:11, address: 10.0.0.1/8}
`)
	new := mustParse(t, `
metrics: {listen: off}
networks:
  came:
    fdb: {static: [{mac: 02:00:00:00:00:09, port: z}]}
    ports: {z: {type: tap}, b: {type: raw}}
  lan:
    mtu: 9000
    fdb: {ageing: 60s, limit: 10, port_limit: 5, static: [{mac: 02:00:00:00:00:01, port: vm1}, {mac: 02:00:00:00:00:02, vlan: 7, port: vm3}]}
    ports:
      vm1: {type: raw, interface: eth1}
      vm3: {type: tap}
      h1: {type: internal, netns: lab, mac: 02:00:00:00:00:12, address: [10.0.0.2/8, "fd00::1/64"]}
`)
	want := `- port gone/a (raw)
- port gone/b (tap)
- port lan/vm2 (tap)
- network "gone"
~ metrics: listen 127.0.0.1:9820 -> off
~ network lan: mtu 1500 -> 9000
~ network lan: fdb.ageing 5m0s -> 1m0s
~ network lan: fdb.limit 8192 -> 10
~ network lan: fdb.port_limit 0 -> 5
~ network lan: fdb.static - 02:00:00:00:00:02 vlan 0 port vm1
~ port lan/h1: netns "" -> "lab"
~ port lan/h1: mac "02:00:00:00:00:11" -> "02:00:00:00:00:12"
~ port lan/h1: address [10.0.0.1/8] -> [10.0.0.2/8 fd00::1/64]
~ port lan/vm1: type tap -> raw
~ port lan/vm1: interface "vm1" -> "eth1"
+ network "came"
+ port came/b (raw)
+ port came/z (tap)
+ port lan/vm3 (tap)
~ network came: fdb.static + 02:00:00:00:00:09 vlan 0 port z
~ network lan: fdb.static + 02:00:00:00:00:02 vlan 7 port vm3`
	changes := Diff(old, new)
	if got := texts(changes); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	sign := map[Op]string{OpAdd: "+", OpRemove: "-", OpChange: "~"}
	for _, c := range changes {
		if !strings.HasPrefix(c.Text, sign[c.Op]+" ") || (c.Port != "" && !strings.Contains(c.Text, c.Network+"/"+c.Port)) || !strings.Contains(c.Text, c.Network) {
			t.Errorf("%+v", c)
		}
	}
}

func TestDiffAccounts(t *testing.T) {
	old := mustParse(t, inPort("type: tap, group: kvm"))
	new := mustParse(t, inPort("type: tap, owner: labuser"))
	want := "~ port lan/vm9: owner \"\" -> \"labuser\"\n~ port lan/vm9: group \"kvm\" -> \"\""
	if got := texts(Diff(old, new)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, c := range Diff(old, new) {
		if c.Op != OpChange || c.Network != "lan" || c.Port != "vm9" {
			t.Errorf("%+v", c)
		}
	}
}

// One value changed is one change, whichever it is.
func TestDiffSeesEveryValue(t *testing.T) {
	base := mustParse(t, "networks: {lan: {fdb: {static: [{mac: 02:00:00:00:00:01, port: h1}]}, ports: {h1: {type: internal}}}}")
	for key, change := range map[string]func(*Config){
		"listen":         func(c *Config) { c.Metrics.Listen = "off" },
		"forward":        func(c *Config) { c.Networks[0].Forward = "x" },
		"mtu":            func(c *Config) { c.Networks[0].MTU++ },
		"fdb.ageing":     func(c *Config) { c.Networks[0].FDB.Ageing++ },
		"fdb.limit":      func(c *Config) { c.Networks[0].FDB.Limit++ },
		"fdb.port_limit": func(c *Config) { c.Networks[0].FDB.PortLimit++ },
		"fdb.static -":   func(c *Config) { c.Networks[0].FDB.Static = nil },
		"type":           func(c *Config) { c.Networks[0].Ports[0].Type = "x" },
		"interface":      func(c *Config) { c.Networks[0].Ports[0].Interface = "x" },
		"netns":          func(c *Config) { c.Networks[0].Ports[0].Netns = "x" },
		"owner":          func(c *Config) { c.Networks[0].Ports[0].Owner = "x" },
		"group":          func(c *Config) { c.Networks[0].Ports[0].Group = "x" },
		"mac":            func(c *Config) { c.Networks[0].Ports[0].MAC[5]++ },
		"address":        func(c *Config) { c.Networks[0].Ports[0].Addresses = make([]netip.Prefix, 1) },
		"mode":           func(c *Config) { c.Networks[0].Ports[0].Mode = "x" },
	} {
		c := base.Clone()
		change(c)
		if got := Diff(base, c); len(got) != 1 || !strings.Contains(got[0].Text, ": "+key+" ") {
			t.Errorf("%s: %+v", key, got)
		}
	}
}
