package config

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/weft/weft/dataplane/frame"
)

// Parse reads a configuration from YAML. Name stands in front of each message.
// An empty text is a configuration without networks. The error is Errors and
// holds everything that is wrong.
func Parse(name string, data []byte) (*Config, error) {
	r := newReport(name)
	c := empty()
	if root := parseTree(r, data); root != nil {
		decodeMap(r, root, place{}, configKeys(), c)
	}
	// Validation runs in the order of the file, so that of two that clash the
	// later one is blamed; only then is the value sorted.
	c.fill()
	r.config(c)
	if err := r.err(); err != nil {
		return nil, err
	}
	c.sort()
	return c, nil
}

// Load reads the configuration in the file at path.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+4)) // 3 for a byte order mark, 1 to notice more
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data)
}

// A key is one line of the table of a level: what is written in the file and
// how its value gets into a T. A new key of the configuration is a new line.
type key[T any] struct {
	name   string
	decode func(r *report, n ast.Node, at place, into *T)
}

func configKeys() []key[Config] {
	return []key[Config]{
		mapping("metrics", metricsKeys(), func(c *Config) *Metrics { return &c.Metrics }),
		{"networks", decodeNetworks},
	}
}

func metricsKeys() []key[Metrics] {
	return []key[Metrics]{
		text("listen", func(m *Metrics) *string { return &m.Listen }),
	}
}

func networkKeys() []key[Network] {
	return []key[Network]{
		text("forward", func(n *Network) *string { return &n.Forward }),
		value("mtu", parseInt, func(n *Network) *int { return &n.MTU }),
		mapping("fdb", fdbKeys(), func(n *Network) *FDB { return &n.FDB }),
		{"ports", decodePorts},
	}
}

func fdbKeys() []key[FDB] {
	return []key[FDB]{
		value("ageing", parseDuration, func(f *FDB) *time.Duration { return &f.Ageing }),
		value("limit", parseInt, func(f *FDB) *int { return &f.Limit }),
		value("port_limit", parseInt, func(f *FDB) *int { return &f.PortLimit }),
		{"static", decodeStatic},
	}
}

func staticKeys() []key[StaticEntry] {
	return []key[StaticEntry]{
		value("mac", parseMAC, func(s *StaticEntry) *frame.MAC { return &s.MAC }),
		value("vlan", parseVLAN, func(s *StaticEntry) *uint16 { return &s.VLAN }),
		text("port", func(s *StaticEntry) *string { return &s.Port }),
	}
}

func portKeys() []key[Port] {
	return []key[Port]{
		text("type", func(p *Port) *string { return &p.Type }),
		text("interface", func(p *Port) *string { return &p.Interface }),
		text("netns", func(p *Port) *string { return &p.Netns }),
		text("owner", func(p *Port) *string { return &p.Owner }),
		text("group", func(p *Port) *string { return &p.Group }),
		value("mac", parseMAC, func(p *Port) *frame.MAC { return &p.MAC }),
		{"address", decodeAddresses},
		text("mode", func(p *Port) *string { return &p.Mode }),
	}
}

func decodeNetworks(r *report, n ast.Node, at place, c *Config) {
	for _, e := range entries(r, n, at) {
		if e.key == "" { // no place of its own
			r.refuseLine(e.line, at, "a network without a name: write one of 1-%d characters", maxName)
			continue
		}
		in := place{network: e.key}
		r.lines[in] = e.line
		network := NewNetwork(e.key)
		decodeMap(r, e.value, in, networkKeys(), &network)
		c.Networks = append(c.Networks, network)
	}
}

func decodePorts(r *report, n ast.Node, at place, into *Network) {
	for _, e := range entries(r, n, at) {
		if e.key == "" {
			r.refuseLine(e.line, at, "a port without a name: write one of 1-%d characters", maxName)
			continue
		}
		in := place{network: at.network, port: e.key}
		r.lines[in] = e.line
		port := Port{Name: e.key}
		decodeMap(r, e.value, in, portKeys(), &port)
		into.Ports = append(into.Ports, port)
	}
}

func decodeStatic(r *report, n ast.Node, at place, into *FDB) {
	for i, item := range items(r, n, at) {
		var s StaticEntry
		decodeMap(r, item, at.index(i), staticKeys(), &s)
		into.Static = append(into.Static, s)
	}
}

// decodeAddresses takes one address or a list of them.
func decodeAddresses(r *report, n ast.Node, at place, into *Port) {
	list := []ast.Node{n}
	one := func(int) place { return at }
	if n != nil && n.Type() == ast.SequenceType {
		list, one = items(r, n, at), at.index
	}
	for i, item := range list {
		var prefix netip.Prefix
		decodeValue(r, item, one(i), parsePrefix, &prefix)
		// Appended even where it was refused: validation finds the line of
		// an address by its number in the list.
		into.Addresses = append(into.Addresses, prefix)
	}
}

// mapping is a key whose value is a map with keys of its own.
func mapping[T, V any](name string, keys []key[V], field func(*T) *V) key[T] {
	return key[T]{name, func(r *report, n ast.Node, at place, into *T) {
		decodeMap(r, n, at, keys, field(into))
	}}
}

// value is a key whose value is a single one that parse understands.
func value[T, V any](name string, parse func(string) (V, error), field func(*T) *V) key[T] {
	return key[T]{name, func(r *report, n ast.Node, at place, into *T) {
		decodeValue(r, n, at, parse, field(into))
	}}
}

func text[T any](name string, field func(*T) *string) key[T] {
	return value(name, func(s string) (string, error) { return s, nil }, field)
}

func decodeValue[V any](r *report, n ast.Node, at place, parse func(string) (V, error), into *V) {
	s, ok := scalar(r, n, at)
	if !ok {
		return
	}
	v, err := parse(s)
	if err != nil {
		r.refuse(at, "%v", err)
		return
	}
	*into = v
}

func decodeMap[T any](r *report, n ast.Node, at place, keys []key[T], into *T) {
	for _, e := range entries(r, n, at) {
		i := slices.IndexFunc(keys, func(k key[T]) bool { return k.name == e.key })
		if i < 0 {
			r.refuseLine(e.line, at, "unknown key %s%s", quoted(e.key), hint(e.key, names(keys)))
			continue
		}
		in := at.sub(e.key)
		r.lines[in] = e.line
		keys[i].decode(r, e.value, in, into)
	}
}

func names[T any](keys []key[T]) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.name
	}
	return out
}
