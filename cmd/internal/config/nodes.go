package config

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// entry is one pair of a map.
type entry struct {
	key   string
	line  int
	value ast.Node
}

// entries returns the pairs of a map in their order; none for no value at all.
// Of a key that occurs twice the first is returned. Known are the keys that
// belong there, for the message where something else stands; nil for names that
// the user chooses.
func entries(r *report, n ast.Node, at place, known []string) []entry {
	if n == nil || n.Type() == ast.NullType {
		return nil
	}
	m, ok := n.(ast.MapNode)
	if !ok {
		if len(known) > 0 {
			r.refuse(at, "%s, where keys with values belong: %s", kind(n), strings.Join(known, ", "))
		} else {
			r.refuse(at, "%s, where keys with values belong", kind(n))
		}
		return nil
	}
	var out []entry
	first := map[string]int{}
	for it := m.MapRange(); it.Next(); {
		k := it.Key()
		e := entry{line: lineOf(k), value: it.Value()}
		switch k := k.(type) {
		case *ast.MappingKeyNode, *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
			r.refuseLine(e.line, at, "%s as a key: write a plain name", kind(k))
			continue
		case *ast.StringNode:
			e.key = k.Value
		default: // a number, a boolean or a null, as it is written
			e.key = k.GetToken().Value
		}
		if line, twice := first[e.key]; twice {
			r.refuseLine(e.line, at, "%s is there already, on line %d: remove one of them", quoted(e.key), line)
			continue
		}
		first[e.key] = e.line
		out = append(out, e)
	}
	return out
}

// items returns the values of a list; none for no value at all.
func items(r *report, n ast.Node, at place) []ast.Node {
	if n == nil || n.Type() == ast.NullType {
		return nil
	}
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		r.refuse(at, "%s, where a list belongs", kind(n))
		return nil
	}
	for i, item := range list.Values {
		if item != nil {
			r.lines[at.index(i)] = lineOf(item)
		}
	}
	return list.Values
}

// scalar returns a single value as it is written, whatever type YAML sees in
// it: 10 and true are good names of users and namespaces.
func scalar(r *report, n ast.Node, at place) (string, bool) {
	s := ""
	switch v := n.(type) {
	case nil, *ast.NullNode:
	case *ast.StringNode:
		s = v.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		s = n.GetToken().Value
	case ast.MapNode:
		if n.GetToken().Type != token.MappingValueType { // it has braces
			r.refuse(at, "a map, where a single value belongs: write the value alone, without braces")
			return "", false
		}
		if joined, ok := joinedText(v.MapRange()); ok {
			return joined, true
		}
		r.refuse(at, `a map, where a single value belongs: quote a value that holds ":"`)
		return "", false
	default:
		r.refuse(at, "%s, where a single value belongs", kind(n))
		return "", false
	}
	if s == "" {
		r.refuse(at, "has no value: write one or remove the key")
		return "", false
	}
	return s, true
}

// joinedText returns what the library took apart: in {sources: [02:00:00:00:00:01]}
// it sees a map, where YAML has a plain value unless a blank follows the colon
// (YAML 1.2.2 section 7.3.3).
func joinedText(it *ast.MapNodeIter) (string, bool) {
	if !it.Next() {
		return "", false
	}
	before, after := it.Key().GetToken(), it.Value().GetToken()
	if _, single := it.Value().(ast.ScalarNode); !single || isQuoted(before) || isQuoted(after) {
		return "", false
	}
	touching := after.Position.Line == before.Position.Line &&
		after.Position.Column == before.Position.Column+len(before.Value)+len(":")
	if !touching || it.Next() {
		return "", false
	}
	return before.Value + ":" + after.Value, true
}

func isQuoted(t *token.Token) bool { return t.Indicator == token.QuotedScalarIndicator }

// isNothing reports whether a patch asks for the default.
func isNothing(n ast.Node) bool {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return true
	case *ast.StringNode:
		return n.Value == ""
	}
	return false
}

func kind(n ast.Node) string {
	switch n.(type) {
	case ast.MapNode:
		return "a map"
	case *ast.SequenceNode:
		return "a list"
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.AnchorNode:
		return "a YAML anchor (not supported: write the value out)"
	case *ast.AliasNode:
		return "a YAML alias (not supported: write the value out)"
	case *ast.TagNode:
		return "a YAML tag (not supported: remove it)"
	case *ast.MappingKeyNode:
		return `a "?"`
	}
	return "a single value"
}
