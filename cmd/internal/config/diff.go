package config

import (
	"fmt"
	"slices"
	"strings"
)

// Op is what a Change does.
type Op string

// Values of Change.Op.
const (
	OpAdd    Op = "add"
	OpRemove Op = "remove"
	OpChange Op = "change"
)

// Change is one step from one configuration to another: a network or a port
// that comes or goes, or one value of it that is another one.
type Change struct {
	Op      Op
	Network string // empty for what belongs to no network
	Port    string // empty for a change of the network itself
	Text    string // for people, one line: `+ port lan/vm1 (tap)`
}

// Diff returns the steps from old to new, both normalized, in an order in
// which they can be taken: ports go, then networks go, then values change and
// static entries go, then networks, ports and, last, static entries come. It is
// empty where the two are equal.
func Diff(old, new *Config) []Change {
	var d differ
	d.removals(old, new)
	keys := metricsKeys()
	d.compare(outputs(keys, &old.Metrics, nil), outputs(keys, &new.Metrics, nil), Change{Op: OpChange}, "metrics")
	if old.LeaseFile != new.LeaseFile {
		d.add(Change{Op: OpChange}, "~ lease_file %q -> %q", old.LeaseFile, new.LeaseFile)
	}
	for i := range new.Networks {
		n := &new.Networks[i]
		if o := old.Network(n.Name); o != nil {
			d.network(o, n)
		}
	}
	d.additions(old, new)
	return d.changes
}

type differ struct{ changes []Change }

func (d *differ) add(c Change, format string, args ...any) {
	c.Text = fmt.Sprintf(format, args...)
	d.changes = append(d.changes, c)
}

func (d *differ) removals(old, new *Config) {
	for i := range old.Networks {
		o := &old.Networks[i]
		n := new.Network(o.Name)
		for _, p := range o.Ports {
			if n == nil || n.Port(p.Name) == nil {
				d.add(Change{Op: OpRemove, Network: o.Name, Port: p.Name}, "- port %s/%s (%s)", o.Name, p.Name, p.Type)
			}
		}
	}
	for _, o := range old.Networks {
		if new.Network(o.Name) == nil {
			d.add(Change{Op: OpRemove, Network: o.Name}, "- network %q", o.Name)
		}
	}
}

func (d *differ) additions(old, new *Config) {
	for _, n := range new.Networks {
		if old.Network(n.Name) == nil {
			d.add(Change{Op: OpAdd, Network: n.Name}, "+ network %q", n.Name)
		}
	}
	for i := range new.Networks {
		n := &new.Networks[i]
		o := old.Network(n.Name)
		for _, p := range n.Ports {
			if o == nil || o.Port(p.Name) == nil {
				d.add(Change{Op: OpAdd, Network: n.Name, Port: p.Name}, "+ port %s/%s (%s)", n.Name, p.Name, p.Type)
			}
		}
	}
	for i := range new.Networks {
		n := &new.Networks[i]
		var before []StaticEntry
		if o := old.Network(n.Name); o != nil {
			before = o.FDB.Static
		}
		d.static("+", n.FDB.Static, before, n.Name)
	}
}

func (d *differ) network(old, new *Network) {
	c := Change{Op: OpChange, Network: new.Name}
	networkKeys, portKeys := networkKeys(), portKeys()
	d.compare(outputs(networkKeys, old, nil), outputs(networkKeys, new, nil), c, "network "+new.Name)
	d.static("-", old.FDB.Static, new.FDB.Static, new.Name)
	for i := range new.Ports {
		n := &new.Ports[i]
		if o := old.Port(n.Name); o != nil {
			c.Port = n.Name
			d.compare(outputs(portKeys, o, nil), outputs(portKeys, n, nil), c, "port "+new.Name+"/"+n.Name)
		}
	}
}

// static lists the entries of a network that the other list lacks.
func (d *differ) static(sign string, entries, other []StaticEntry, network string) {
	for _, s := range entries {
		if !slices.Contains(other, s) {
			d.add(Change{Op: OpChange, Network: network},
				"~ network %s: fdb.static %s %v vlan %d port %s", network, sign, s.MAC, s.VLAN, s.Port)
		}
	}
}

// compare lists the values that two outputs of the same keys differ in.
func (d *differ) compare(old, new []output, c Change, what string) {
	before, after := settings(nil, "", old), settings(nil, "", new)
	for i, n := range after {
		o := before[i]
		if o.text != n.text {
			d.add(c, "~ %s: %s %s -> %s", what, n.key, o.text, n.text)
		}
		d.entries(o.entries, n.entries, c, what+": "+n.key)
	}
}

// entries lists those that go, that are changed and that come, each on a line.
func (d *differ) entries(old, new []setting, c Change, what string) {
	before, after := map[string]setting{}, map[string]bool{}
	for _, n := range new {
		after[n.key] = true
	}
	for _, o := range old {
		before[o.key] = o
		if !after[o.key] {
			d.add(c, "~ %s - %s", what, o)
		}
	}
	for _, n := range new {
		if o, ok := before[n.key]; ok && o.text != n.text {
			d.add(c, "~ %s[%s] %s -> %s", what, n.key, o.text, n.text)
		}
	}
	for _, n := range new {
		if _, ok := before[n.key]; !ok {
			d.add(c, "~ %s + %s", what, n)
		}
	}
}

// setting is one key and its value for people; or what the value is made of,
// where that is a list of maps, whose items are all key, or a dictionary.
type setting struct {
	key, text string
	entries   []setting
}

func (s setting) String() string { return strings.TrimSpace(s.key + " " + s.text) }

func settings(to []setting, prefix string, list []output) []setting {
	for _, o := range list {
		s := setting{key: prefix + o.name}
		switch {
		case o.apart:
			continue
		case o.kind == aMap:
			to = settings(to, s.key+".", o.sub)
			continue
		case o.kind == aValue:
			s.text = o.text
		case o.kind == aList:
			for _, item := range o.sub {
				s.entries = append(s.entries, setting{key: item.inOneLine()})
			}
		case o.kind == aDictionary:
			for _, e := range o.sub {
				s.entries = append(s.entries, setting{key: e.name, text: e.text})
			}
		}
		to = append(to, s)
	}
	return to
}

// inOneLine returns the values of a map for people, such as
// "02:00:00:00:00:01 192.0.2.5 web lease 2h0m0s".
func (o *output) inOneLine() string {
	var words []string
	for _, s := range o.sub {
		switch {
		case s.file == "":
		case s.terse:
			words = append(words, s.word)
		default:
			words = append(words, s.name+" "+s.word)
		}
	}
	return strings.Join(words, " ")
}
