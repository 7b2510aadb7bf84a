package weft

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// requirements are the ids that docs/nat-rfc.md has a row for, by RFC.
var requirements = map[string]string{
	"4787": "REQ-1 REQ-2 REQ-3 REQ-3a REQ-4 REQ-5 REQ-5a REQ-5b REQ-5c REQ-6 REQ-6a REQ-7 REQ-8 REQ-8a REQ-9 REQ-9a " +
		"REQ-10 REQ-10a REQ-11 REQ-12 REQ-12a REQ-12b REQ-13 REQ-13a REQ-14 REQ-14a",
	"5382": "REQ-1 REQ-2 REQ-2a REQ-3 REQ-3a REQ-3b REQ-4 REQ-4a REQ-5 REQ-5a REQ-6 REQ-7 REQ-8 REQ-8a REQ-9 REQ-10",
	"5508": "REQ-1 REQ-1a REQ-2 REQ-2a REQ-3 REQ-3a REQ-3b REQ-3c REQ-3d REQ-4 REQ-4a REQ-4b REQ-4c REQ-5 REQ-5a REQ-5b REQ-5c " +
		"REQ-6 REQ-7 REQ-7a REQ-8 REQ-9 REQ-10 REQ-10a REQ-10b REQ-10c REQ-10d REQ-10e REQ-10f REQ-11",
	"6888": "REQ-1 REQ-2 REQ-3 REQ-4 REQ-4a REQ-4b REQ-4c REQ-5 REQ-5a REQ-5b REQ-6 REQ-7 REQ-8 REQ-8a REQ-8b REQ-8c REQ-9 REQ-10 " +
		"REQ-11 REQ-11a REQ-11b REQ-11c REQ-11d REQ-12 REQ-13 REQ-14 REQ-15",
	"7857": "2 2.1 2.2 3 4 5 6 7 7.1 8 9 10 11 12",
}

// row is one line of the table.
type row struct {
	rfc, id, asks, weft, outcome string
	tests                        []string // as folder.Name, or Name in this folder
}

// ownTest is the name that the test of a row's own has.
func (r row) ownTest() string {
	id := strings.ReplaceAll(r.id, "-", "")
	if !strings.HasPrefix(id, "REQ") {
		id = "Clause" + strings.ReplaceAll(id, ".", "")
	}
	return "TestRFC" + r.rfc + id
}

var (
	outcomes = regexp.MustCompile(`^(met(: .+)?|met by default; .+|not met( by default)?: .+|does not apply: .+)$`)
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Z0-9]\w*)\(\w+ \*testing\.T\)`)
	ofAnRFC  = regexp.MustCompile(`^TestRFC(\d{4})`)
)

// readTable returns the rows of a document.
func readTable(t *testing.T, document string) (rows []row) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	rfc := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if of, ok := strings.CutPrefix(line, "## RFC "); ok {
			rfc = of
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| id ") || strings.HasPrefix(line, "|-") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 5 {
			t.Fatalf("%d cells, want 5: %s", len(cells), line)
		}
		r := row{rfc: rfc, id: cells[0], asks: cells[1], weft: cells[2], outcome: cells[3]}
		for _, name := range strings.Fields(cells[4]) {
			r.tests = append(r.tests, strings.Trim(name, "`,"))
		}
		rows = append(rows, r)
	}
	return rows
}

// readTests returns the tests of all folders, as folder.Name.
func readTests(t *testing.T) map[string]bool {
	all := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder := ""
		if dir := filepath.Dir(path); dir != "." {
			folder = filepath.ToSlash(dir) + "."
		}
		for _, f := range testFunc.FindAllStringSubmatch(string(text), -1) {
			all[folder+f[1]] = true
		}
		return nil
	})
	if err != nil || !all["TestRFCTable"] {
		t.Fatalf("found %d tests: %v", len(all), err)
	}
	return all
}

// TestRFCTable keeps docs/nat-rfc.md and the tests together: every requirement has a
// row, whatever is met has tests that exist, and every test of a requirement is named
// where it belongs.
func TestRFCTable(t *testing.T) {
	tests, named, seen := readTests(t), map[string]bool{}, map[string][]string{}
	for _, r := range readTable(t, "docs/nat-rfc.md") {
		seen[r.rfc] = append(seen[r.rfc], r.id)
		where := "RFC " + r.rfc + " " + r.id
		if !outcomes.MatchString(r.outcome) || r.asks == "" || r.weft == "" {
			t.Errorf("%s: the outcome is %q", where, r.outcome)
		}
		if strings.HasPrefix(r.outcome, "met") && len(r.tests) == 0 {
			t.Errorf("%s is met, and names no test", where)
		}
		for _, name := range r.tests {
			if !tests[name] {
				t.Errorf("%s names %s, which does not exist", where, name)
			}
			if name[strings.LastIndex(name, ".")+1:] == r.ownTest() {
				named[name] = true
			}
		}
	}
	for rfc, ids := range requirements {
		if want := strings.Fields(ids); !slices.Equal(seen[rfc], want) {
			t.Errorf("RFC %s has rows for\n%v, want\n%v", rfc, seen[rfc], want)
		}
	}
	if len(seen) != len(requirements) {
		t.Errorf("tables of RFC %v", slices.Sorted(maps.Keys(seen)))
	}
	for name := range tests {
		if requirements[rfcOf(name)] != "" && !named[name] {
			t.Errorf("%s is not named in the row of its requirement", name)
		}
	}
}

// rfcOf returns the RFC that a test is of, by its name, empty for none.
func rfcOf(name string) string {
	m := ofAnRFC.FindStringSubmatch(name[strings.LastIndex(name, ".")+1:])
	if m == nil {
		return ""
	}
	return m[1]
}

// TestIPv6Table keeps docs/ipv6-rfc.md and the tests together: whatever is met has tests
// that exist, no clause has two rows, and every test of an RFC that is not of NAT is named
// in a row of that RFC.
func TestIPv6Table(t *testing.T) {
	tests, named, seen := readTests(t), map[string]bool{}, map[string]bool{}
	for _, r := range readTable(t, "docs/ipv6-rfc.md") {
		where := "RFC " + r.rfc + " " + r.id
		if seen[where] {
			t.Errorf("%s has two rows", where)
		}
		seen[where] = true
		if !outcomes.MatchString(r.outcome) || r.asks == "" || r.weft == "" {
			t.Errorf("%s: the outcome is %q", where, r.outcome)
		}
		if strings.HasPrefix(r.outcome, "met") && len(r.tests) == 0 {
			t.Errorf("%s is met, and names no test", where)
		}
		for _, name := range r.tests {
			if !tests[name] {
				t.Errorf("%s names %s, which does not exist", where, name)
			}
			if rfcOf(name) == r.rfc {
				named[name] = true
			}
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d rows", len(seen))
	}
	for name := range tests {
		if rfc := rfcOf(name); rfc != "" && requirements[rfc] == "" && !named[name] {
			t.Errorf("%s is not named in a row of RFC %s", name, rfc)
		}
	}
}
