package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Error is one thing that is wrong with a configuration.
type Error struct {
	File string // empty for a value that came from no file
	Line int    // from 1; 0 where no line can be blamed
	Text string // what is wrong, where, and what to do
}

func (e Error) Error() string {
	switch {
	case e.File == "":
		return e.Text
	case e.Line == 0:
		return e.File + ": " + e.Text
	}
	return e.File + ":" + strconv.Itoa(e.Line) + ": " + e.Text
}

// Errors is everything that is wrong with a configuration, in the order of
// its lines. Parse, Load and Validate return it, never empty.
type Errors []Error

// Error returns one line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// place names a spot in a configuration. An empty network is the top level, an
// empty port the network itself; key is a path such as fdb.static[2].mac.
type place struct{ network, port, key string }

func (p place) sub(key string) place {
	if p.key != "" {
		key = p.key + "." + key
	}
	p.key = key
	return p
}

func (p place) index(i int) place {
	p.key += "[" + strconv.Itoa(i) + "]"
	return p
}

// item is the spot of a value in a list of n, without a number where it is the
// only one and no list was written.
func (r *report) item(at place, i, n int) place {
	if in := at.index(i); n > 1 || r.lines[in] != 0 {
		return in
	}
	return at
}

// entry is the spot of a name in a map, bounded by parseLabel: dns.hosts[web.lab].
func (p place) entry(name string) place {
	if strings.ContainsFunc(name, func(c rune) bool { return !isNameRune(c) }) {
		name = strconv.Quote(name)
	}
	p.key += "[" + name + "]"
	return p
}

// parent returns the spot that p is part of; that of the top level is itself.
func (p place) parent() place {
	switch {
	case strings.HasSuffix(p.key, "]"): // a name inside may have dots
		p.key = p.key[:max(0, strings.LastIndexByte(p.key, '['))]
	case p.key != "":
		p.key = p.key[:max(0, strings.LastIndexByte(p.key, '.'))]
	case p.port != "":
		p.port = ""
	default:
		p.network = ""
	}
	return p
}

// String returns what stands in front of a message, `network "lan": mtu: `.
func (p place) String() string {
	var b strings.Builder
	if p.network != "" {
		fmt.Fprintf(&b, "network %s: ", quoted(p.network))
	}
	if p.port != "" {
		fmt.Fprintf(&b, "port %s: ", quoted(p.port))
	}
	if p.key != "" {
		b.WriteString(p.key + ": ")
	}
	return b.String()
}

// quoted is %q for what a user wrote, cut where it would flood a terminal.
func quoted(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}

// report collects errors. Decoding fills lines, validation looks them up; a
// value that came from no file has none.
type report struct {
	file    string
	lines   map[place]int
	refused map[place]bool
	old     *Config // what ran before the change that is validated; nil without one
	errs    Errors
}

func newReport(file string) *report {
	return &report{file: file, lines: map[place]int{}, refused: map[place]bool{}}
}

// refuse blames the line of the place, or of the nearest place around it that
// the file has. A place is refused once: what could not be decoded is not
// worth a second message from the validation of the value left in its stead.
func (r *report) refuse(at place, format string, args ...any) {
	for p := at; ; p = p.parent() {
		if r.refused[p] {
			return
		}
		if p.key == "" || p.parent().key == "" {
			break // a bad name does not excuse what is inside
		}
	}
	r.refused[at] = true
	line := 0
	for p := at; ; p = p.parent() {
		if line = r.lines[p]; line != 0 || p == (place{}) {
			break
		}
	}
	r.refuseLine(line, at, format, args...)
}

// refuseLine blames a line that belongs to no place, such as a key that nobody
// knows inside of the place.
func (r *report) refuseLine(line int, at place, format string, args ...any) {
	r.errs = append(r.errs, Error{File: r.file, Line: line, Text: at.String() + fmt.Sprintf(format, args...)})
}

// maxErrors is more than anybody reads, and keeps what a file of nothing but
// errors makes us send to a fraction of a megabyte.
const maxErrors = 1000

// err returns what was collected, nil where that is nothing.
func (r *report) err() error {
	if len(r.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errs, func(a, b Error) int { return a.Line - b.Line })
	if more := len(r.errs) - maxErrors; more > 0 {
		r.errs = append(r.errs[:maxErrors:maxErrors], Error{File: r.file, Text: fmt.Sprintf("and %d more errors", more)})
	}
	return r.errs
}
