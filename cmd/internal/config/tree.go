package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The YAML library's parser recurses for each level and for each key of a
// block map, and takes quadratic time over the keys and over the documents of
// a file: these bounds keep a hostile one to seconds and to a small stack.
const (
	// MaxSize is the largest configuration, in bytes.
	MaxSize = 1 << 20

	maxKeys  = 8192 // outside of flow maps
	maxDepth = 32
)

// parseTree returns the root of the only YAML document in data, nil where it
// is empty, or refuses it.
func parseTree(r *report, data []byte) ast.Node {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(data) > MaxSize {
		r.refuseLine(0, place{}, "is larger than %d bytes", MaxSize)
		return nil
	}
	if line := invalidText(data); line != 0 {
		r.refuseLine(line, place{}, "is not UTF-8 text: save the file as UTF-8")
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if !bounded(r, tokens) {
		return nil
	}
	file, err := parseTokens(tokens)
	if err != nil {
		line, text := syntaxError(err)
		r.refuseLine(line, place{}, "is not valid YAML: %s", text)
		return nil
	}
	return onlyDocument(r, file)
}

// invalidText returns the line of the first bytes that are no UTF-8, else 0.
func invalidText(data []byte) int {
	line := 1
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		if c == utf8.RuneError && size == 1 {
			return line
		}
		if c == '\n' {
			line++
		}
		data = data[size:]
	}
	return 0
}

// bounded refuses what the library would choke on.
func bounded(r *report, tokens token.Tokens) bool {
	keys, flow, entries, odd, line, lists := 0, 0, 0, 0, 0, 0
	var indents indentation
	for _, t := range tokens {
		if t.Type == token.CommentType {
			continue
		}
		if t.Position.Line != line {
			line, lists = t.Position.Line, 0
			if flow == 0 {
				indents = indents.at(t.Position.Column)
			}
		}
		switch t.Type {
		case token.MappingValueType:
			if !inFlowMap(t) {
				keys++
			}
		case token.MappingStartType, token.SequenceStartType:
			flow++
			entries = 0
		case token.CollectEntryType:
			entries++ // "{a, a, a}": keys without a colon
		case token.MappingEndType, token.SequenceEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType:
			lists++ // "- - - x" is a list in a list in a list
		case token.MappingKeyType, token.AnchorType, token.AliasType, token.TagType, token.DocumentHeaderType:
			odd++ // each may nest in the one before; all are refused later on
		}
		if keys > maxKeys || entries > maxKeys {
			r.refuseLine(line, place{}, "more than %d keys: write ports in one line each, {type: tap, …}", maxKeys)
			return false
		}
		if flow > maxDepth || lists > maxDepth || odd > maxDepth || len(indents) > maxDepth {
			r.refuseLine(line, place{}, "more than %d nested levels, or YAML documents, anchors, aliases and tags: write plain keys and values", maxDepth)
			return false
		}
	}
	return true
}

// indentation holds the columns of the blocks that a line is in. The library's
// own count of them grows with each commented key.
type indentation []int

// at returns the indentation of a line that begins in that column.
func (in indentation) at(column int) indentation {
	for len(in) > 0 && in[len(in)-1] >= column {
		in = in[:len(in)-1]
	}
	return append(in, column)
}

// inFlowMap reports whether the key in front of a colon follows a brace or a
// comma: such keys, {type: tap, owner: joe}, are parsed in a loop.
func inFlowMap(colon *token.Token) bool {
	key := colon.Prev
	if key == nil {
		return false
	}
	before := key.PreviousType()
	return before == token.MappingStartType || before == token.CollectEntryType
}

// parseTokens turns a panic of the library into an error: the text may come
// over the control socket, and the switch must outlive it.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the parser gave up: %v", p)
		}
	}()
	// Duplicate keys are let through here so that all of them are reported.
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// syntaxError returns the line, 0 where unknown, and the bare text of an error
// of the library. Its Error method prints an excerpt of the file, in a time
// that is quadratic over the tokens of a line.
func syntaxError(err error) (line int, text string) {
	e, ok := errors.AsType[yaml.Error](err)
	if !ok {
		return 0, err.Error()
	}
	if t := e.GetToken(); t != nil {
		line = t.Position.Line
	}
	text, _, _ = strings.Cut(e.GetMessage(), "\n")
	return line, text
}

func onlyDocument(r *report, file *ast.File) (root ast.Node) {
	seen := false
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case doc.Body.Type() == ast.DirectiveType:
			r.refuseLine(lineOf(doc.Body), place{}, "YAML directives are not supported: remove the line")
		case seen:
			r.refuseLine(lineOf(doc.Body), place{}, "a second YAML document begins here: keep one in a file")
		default:
			root, seen = doc.Body, true
		}
	}
	return root
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil {
		return t.Position.Line
	}
	return 0
}
