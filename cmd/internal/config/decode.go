package config

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Parse reads a configuration from YAML. Name stands in front of each message.
// An empty text is a configuration without networks. The error is Errors and
// holds everything that is wrong.
func Parse(name string, data []byte) (*Config, error) {
	r := newReport(name)
	c := empty()
	if root := parseTree(r, data); root != nil {
		decodeMap(r, root, place{}, configKeys(), c, nil)
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

func decodeNetworks(r *report, n ast.Node, at place, c, _ *Config) {
	keys := networkKeys()
	for _, e := range entries(r, n, at, nil) {
		if e.key == "" { // no place of its own
			r.refuseLine(e.line, at, "a network without a name: write one of 1-%d characters", maxName)
			continue
		}
		in := place{network: e.key}
		r.lines[in] = e.line
		network := NewNetwork(e.key)
		decodeMap(r, e.value, in, keys, &network, nil)
		c.Networks = append(c.Networks, network)
	}
}

func decodePorts(r *report, n ast.Node, at place, into, _ *Network) {
	keys := portKeys()
	for _, e := range entries(r, n, at, nil) {
		if e.key == "" {
			r.refuseLine(e.line, at, "a port without a name: write one of 1-%d characters", maxName)
			continue
		}
		in := place{network: at.network, port: e.key}
		r.lines[in] = e.line
		port := Port{Name: e.key, Policy: defaultPolicy()}
		decodeMap(r, e.value, in, keys, &port, nil)
		into.Ports = append(into.Ports, port)
	}
}

// decodeMap reads the keys of a map. With def, which holds the defaults, it is
// a patch of what runs: some keys are closed, and no value means the default.
func decodeMap[T any](r *report, n ast.Node, at place, keys []key[T], into, def *T) {
	known := names(keys)
	if def != nil {
		known = names(slices.DeleteFunc(slices.Clone(keys), func(k key[T]) bool { return k.fixed }))
	}
	for _, e := range entries(r, n, at, known) {
		i := slices.IndexFunc(keys, func(k key[T]) bool { return k.name == e.key })
		if i < 0 {
			r.refuseLine(e.line, at, "unknown key %s%s", quoted(e.key), cmp.Or(elsewhere(at, e.key), hint(e.key, known)))
			continue
		}
		k, in := keys[i], at.sub(e.key)
		r.lines[in] = e.line
		switch {
		case def != nil && k.fixed:
			r.refuse(in, "%s", whyFixed(at))
		case def != nil && isNothing(e.value):
			k.reset(into, def)
		default:
			k.decode(r, e.value, in, into, def)
		}
	}
}

func names[T any](keys []key[T]) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.name
	}
	return out
}

func decodeValue[V any](r *report, n ast.Node, at place, parse func(string) (V, error), into *V) {
	if s, ok := scalar(r, n, at); ok {
		parseValue(r, s, at, parse, into)
	}
}

func parseValue[V any](r *report, s string, at place, parse func(string) (V, error), into *V) {
	v, err := parse(s)
	if err != nil {
		r.refuse(at, "%v", err)
		return
	}
	*into = v
}

// decodeList takes a list, one value, or several in one text with commas where
// the form has none itself. What was refused is zero in the result: validation finds the line of a value by
// its number in the list.
func decodeList[V any](r *report, n ast.Node, at place, f form[V]) []V {
	if n != nil && n.Type() == ast.SequenceType {
		nodes := items(r, n, at)
		out := make([]V, len(nodes))
		for i, item := range nodes {
			decodeValue(r, item, at.index(i), f.parse, &out[i])
		}
		return out[:len(out):len(out)]
	}
	s, ok := scalar(r, n, at)
	if !ok {
		return nil
	}
	parts := []string{s}
	if !f.whole {
		parts = strings.Split(s, ",")
	}
	out := make([]V, len(parts))
	for i, part := range parts {
		in := at
		if len(parts) > 1 {
			in = at.index(i)
		}
		if !f.whole {
			part = strings.TrimSpace(part)
		}
		parseValue(r, part, in, f.parse, &out[i])
	}
	return out
}
