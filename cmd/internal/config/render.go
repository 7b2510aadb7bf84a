package config

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// YAML returns the text that Parse makes c of again, with every default written
// out but those of the policies of ports, and those of a network that are of no
// use to it, as of its services without an address. C must be valid.
func (c *Config) YAML() []byte {
	var b bytes.Buffer
	writeBlock(&b, outputs(configKeys(), c, nil), 0)
	return b.Bytes()
}

// output is a value on its way out, into YAML and for Diff.
type output struct {
	name string // of its key; empty in a list
	kind outputKind
	sub  []output // of a map or a list

	file string // of a value, in YAML; empty to leave it out
	text string // of a value, for people
	word string // text without quotes

	omit  bool // leave it out of YAML
	apart bool // has entries of its own name, which Diff pairs by that
	terse bool // as of its key
}

type outputKind uint8

const (
	aValue outputKind = iota // a list of values too
	aMap
	aList       // of maps
	aDictionary // a map whose keys the user chooses
)

// outputs returns the values of keys, of brief ones only what is not as in def,
// where there is one.
func outputs[T any](keys []key[T], from, def *T) []output {
	out := make([]output, len(keys))
	for i, k := range keys {
		out[i] = k.write(from)
		out[i].name, out[i].terse = k.name, k.terse
		if k.brief && def != nil {
			out[i].omitDefaults(k.write(def))
		}
	}
	return out
}

// omitDefaults leaves out what is as in def. The default of a list of maps and
// of a dictionary is an empty one, of which nothing is written anyway.
func (o *output) omitDefaults(def output) {
	switch o.kind {
	case aValue:
		o.omit = o.text == def.text
	case aMap:
		for i := range o.sub {
			o.sub[i].omitDefaults(def.sub[i])
		}
	}
}

// isEmpty reports whether there is nothing of it to write.
func (o *output) isEmpty() bool {
	if o.kind == aValue {
		return o.omit || o.file == ""
	}
	for i := range o.sub {
		if !o.sub[i].isEmpty() {
			return false
		}
	}
	return true
}

func writeNetworks(c *Config) output {
	keys := networkKeys()
	o := output{kind: aMap, apart: true}
	for i := range c.Networks {
		n := &c.Networks[i]
		o.sub = append(o.sub, output{name: n.Name, kind: aMap, sub: outputs(keys, n, nil)})
	}
	return o
}

func writePorts(n *Network) output {
	keys, def := portKeys(), &Port{Policy: defaultPolicy()}
	o := output{kind: aMap, apart: true}
	for i := range n.Ports {
		p := &n.Ports[i]
		sub := outputs(keys, p, def)
		for j := range sub {
			sub[j].omit = sub[j].omit || p.Seat && keys[j].fixed // follows from the network
		}
		o.sub = append(o.sub, output{name: p.Name, kind: aMap, sub: sub})
	}
	return o
}

// writeBlock writes a line for each of the values of a map on that level.
func writeBlock(b *bytes.Buffer, list []output, level int) {
	// Below the keys of a network all is on one line: see bounded.
	const last = 3
	indent := strings.Repeat("  ", level)
	for _, o := range list {
		if o.isEmpty() {
			continue
		}
		b.WriteString(indent + plain(o.name) + ":")
		switch {
		case o.kind == aList:
			b.WriteByte('\n')
			for _, item := range o.sub {
				b.WriteString(indent + "  - " + item.flow() + "\n")
			}
		case o.kind == aMap && level < last:
			b.WriteByte('\n')
			writeBlock(b, o.sub, level+1)
		default:
			b.WriteString(" " + o.flow() + "\n")
		}
	}
}

// flow returns a value, or a map without lists of maps, on one line.
func (o *output) flow() string {
	if o.kind == aValue {
		return o.file
	}
	var pairs []string
	for _, s := range o.sub {
		if !s.isEmpty() {
			pairs = append(pairs, plain(s.name)+": "+s.flow())
		}
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

// plain quotes what some reader of YAML would not take for a string as it
// stands; the empty string stays empty, for a key that is left out.
func plain(s string) string {
	if s == "" || isWord(s) && !token.IsNeedQuoted(s) {
		return s
	}
	return strconv.Quote(s)
}

// isWord reports whether s begins with a letter and goes on with what means
// nothing to YAML, in a flow map too.
func isWord(s string) bool {
	first := s[0] | 0x20
	return first >= 'a' && first <= 'z' && !strings.ContainsFunc(s, func(c rune) bool { return !isNameRune(c) })
}
