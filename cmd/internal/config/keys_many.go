package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// table is a key with a list of maps, all with the same keys.
func table[T, V any](name string, keys []key[V], field func(*T) *[]V) key[T] {
	return key[T]{
		name: name,
		decode: func(r *report, n ast.Node, at place, into, def *T) {
			if _, single := n.(ast.ScalarNode); single && def != nil && !isNothing(n) {
				r.refuse(at, "a single value, where a list of maps belongs, which is written in the file only (%s=, without a value, clears it)", at.key)
				return
			}
			var out []V
			for i, item := range items(r, n, at) {
				var v V
				decodeMap(r, item, at.index(i), keys, &v, nil)
				out = append(out, v)
			}
			*field(into) = out
		},
		write: func(from *T) output {
			o := output{kind: aList}
			for i := range *field(from) {
				o.sub = append(o.sub, output{kind: aMap, sub: outputs(keys, &(*field(from))[i], nil)})
			}
			return o
		},
		reset: func(into, def *T) { *field(into) = *field(def) },
	}
}

// named is a key whose value is a map from names that the user chooses, which
// label reads, to values, which entry reads. A patch changes the names that it
// gives, and takes away those without a value.
func named[T, V any](name string, label form[string], entry key[V], labelOf func(*V) *string, field func(*T) *[]V) key[T] {
	return key[T]{
		name: name,
		decode: func(r *report, n ast.Node, at place, into, def *T) {
			list := slices.Clone(*field(into)) // which what a patch is for shares
			for _, e := range entries(r, n, at, nil) {
				label, ok := decodeLabel(r, e, at, label)
				if !ok {
					continue
				}
				if def != nil {
					list = slices.DeleteFunc(list, func(v V) bool { return *labelOf(&v) == label })
				}
				if def == nil || !isNothing(e.value) {
					var v V
					*labelOf(&v) = label
					entry.decode(r, e.value, at.entry(label), &v, nil)
					list = append(list, v)
				}
			}
			*field(into) = list[:len(list):len(list)]
			if len(list) == 0 {
				*field(into) = nil
			}
		},
		write: func(from *T) output {
			o := output{kind: aDictionary}
			for i := range *field(from) {
				v := &(*field(from))[i]
				e := entry.write(v)
				e.name = *labelOf(v)
				o.sub = append(o.sub, e)
			}
			return o
		},
		reset: func(into, def *T) { *field(into) = *field(def) },
	}
}

// decodeLabel returns the name of an entry, and false where it is a bad one or
// is there already in other letters.
func decodeLabel(r *report, e entry, at place, f form[string]) (string, bool) {
	label, err := f.parse(e.key)
	if err != nil {
		r.refuseLine(e.line, at, "%v", err)
		return "", false
	}
	in := at.entry(label)
	if line := r.lines[in]; line != 0 {
		r.refuseLine(e.line, at, "%s is there already, on line %d: remove one of them", quoted(label), line)
		return "", false
	}
	r.lines[in] = e.line
	return label, true
}

// joined is a key with one text, for which a file may have a list of parts.
func joined[T any](name string, f form[string], field func(*T) *string) key[T] {
	k := value(name, f, field)
	k.decode = func(r *report, n ast.Node, at place, into, _ *T) {
		if n == nil || n.Type() != ast.SequenceType {
			decodeValue(r, n, at, f.parse, field(into))
			return
		}
		var parts []string
		for i, item := range items(r, n, at) {
			var s string
			decodeValue(r, item, at.index(i), f.parse, &s)
			if r.refused[at.index(i)] {
				r.refused[at] = true // the whole is not worth a second message
			}
			parts = append(parts, s)
		}
		*field(into) = strings.Join(parts, ",")
	}
	return k
}

// filled refuses an empty list.
func filled[T any](k key[T]) key[T] {
	decode := k.decode
	k.decode = func(r *report, n ast.Node, at place, into, def *T) {
		if s, ok := n.(*ast.SequenceNode); ok && len(s.Values) == 0 {
			r.refuse(at, "is an empty list: write what belongs in it, or remove the key")
			return
		}
		decode(r, n, at, into, def)
	}
	return k
}

// unpaired refuses two single addresses, the first of them the lower one: others
// write all that is between so, and would get a pool of two.
func unpaired[T any](k key[T], ranges func(*T) []Range) key[T] {
	decode, write := k.decode, k.write
	k.decode = func(r *report, n ast.Node, at place, into, def *T) {
		decode(r, n, at, into, def)
		list := ranges(into)
		if !isPair(list) || !list[0].First.Less(list[1].First) || hasDash(n) {
			return
		}
		a, b := list[0].First, list[1].First
		r.refuse(at, "%v and %v are two single addresses: write %v-%v for all from the one to the other, or %v-%v,%v for just the two", a, b, a, b, a, a, b)
	}
	k.write = func(from *T) output {
		o := write(from)
		if l := ranges(from); isPair(l) {
			o.file = fmt.Sprintf("[%q, %s]", fmt.Sprintf("%v-%v", l[0].First, l[0].First), plain(l[1].String()))
		}
		return o
	}
	return k
}

// hasDash reports whether a single value, or one of a list, is written with a "-".
func hasDash(n ast.Node) bool {
	if list, ok := n.(*ast.SequenceNode); ok {
		return slices.ContainsFunc(list.Values, hasDash)
	}
	s, ok := n.(*ast.StringNode)
	return ok && strings.Contains(s.Value, "-")
}

func isPair(list []Range) bool {
	return len(list) == 2 && list[0].First.IsValid() && list[1].First.IsValid() &&
		list[0].First == list[0].Last && list[1].First == list[1].Last
}

// evenEmpty writes an empty list out.
func evenEmpty[T any](k key[T]) key[T] {
	write := k.write
	k.write = func(from *T) output {
		o := write(from)
		if o.file == "" {
			o.file = "[]"
		}
		return o
	}
	return k
}

// apart keeps Diff off, which has lines of its own for such a key.
func apart[T any](k key[T]) key[T] {
	write := k.write
	k.write = func(from *T) output {
		o := write(from)
		o.apart = true
		return o
	}
	return k
}

func fixed[T any](k key[T]) key[T] {
	k.fixed = true
	return k
}

func brief[T any](k key[T]) key[T] {
	k.brief = true
	return k
}

func terse[T any](k key[T]) key[T] {
	k.terse = true
	return k
}
