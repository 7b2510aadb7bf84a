// Package weft holds no code: this test keeps the architecture.
package weft

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/weft/weft/"

// rules say what the non-test files below a folder may not import, and why. A
// trailing slash means everything below; "own:" forbids all of weft but what
// follows it.
var rules = []struct {
	folder  string
	forbids []string
	why     string
}{
	{"dataplane/frame", []string{"own:", "external:"}, "the ground floor: the standard library only"},
	{"fdb", []string{"own:dataplane/frame", "external:"}, "a table of addresses knows frames and nothing else"},
	{"nat", []string{"own:dataplane/frame", "external:"}, "conntrack knows frames and nothing else"},
	{"ndp", []string{"own:dataplane/frame", "external:"}, "a codec of messages, without state"},
	{"ra", []string{"own:dataplane/frame ndp"}, "it says what a router says: when, and to whom"},
	{"stp", []string{"own:dataplane/frame", "external:"}, "a state machine: BPDU or tick in, BPDUs and port states out"},
	{"snooping", []string{"own:dataplane/frame", "external:"}, "a state machine: frame or tick in, queries and a table out"},
	{"dhcp", []string{"own:dataplane/frame dhcp/"}, "a server of leases: messages in, answers and records out"},
	{"dhcp6", []string{"own:dataplane/frame dhcp dhcp/"}, "a server of leases, which shares their store"},
	{"dhcp/option", []string{"own:", "external:"}, "a table: the configuration looks at it too"},
	{"dns", []string{"own:dataplane/frame"}, "a resolver: queries in, answers out"},
	{"gateway", []string{"own:dataplane dataplane/frame dhcp dhcp6 dns ndp ra"}, "a host of its own: it joins the pipeline's inboxes and the services"},
	{"sockets", []string{"own:dataplane dataplane/frame ndp"}, "another host inside: it joins the pipeline's inboxes and the kernel's sockets"},
	{"uplink", []string{"own:dataplane dataplane/frame dataplane/fastpath nat ndp"}, "what an uplink is on this machine: it knows the host, not the configuration"},
	{"ports", []string{"own:dataplane/frame ports/"}, "a kind of port knows frames and the contract"},
	{"dataplane", []string{"own:dataplane/ fdb nat ndp ports snooping stp"}, "the pipeline knows the contract of a port, not its kinds"},
	{"dataplane", []string{module + "ports/"}, "the pipeline knows the contract of a port, not its kinds"},
	{"cmd/internal/config", []string{"own:dataplane/frame dhcp/option"}, "a configuration is a value; it opens nothing"},
	{"cmd/internal/api", []string{"own:cmd/internal/"}, "the socket speaks in types of its own"},
	{"cmd/internal/client", []string{"own:cmd/internal/api"}, "a client needs no switch"},
	{"cmd/internal/metrics", []string{"own:cmd/internal/api"}, "the counters are read as any client reads them"},
	{"bench", []string{"own:bench/"}, "the benchmark runs weft as its users do, from outside"},
}

// heavy never reaches the packages that frames pass through.
var heavy = []string{
	"github.com/prometheus/", "github.com/gopacket/", "log/slog", "net/http", "github.com/cilium/ebpf",
	"github.com/spf13/", "github.com/vishvananda/", "encoding/json",
}

var hotFolders = []string{"dataplane", "dataplane/frame", "fdb", "nat", "ports", "ports/memport", "ndp", "snooping", "stp"}

func TestImports(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "ports/porttest") {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			check(t, path, imported)
		}
		return nil
	})
	if err != nil || files < 30 {
		t.Fatalf("read %d files: %v", files, err)
	}
}

func check(t *testing.T, path, imported string) {
	folder := filepath.Dir(path)
	for _, r := range rules {
		if folder != r.folder && !(strings.HasPrefix(folder, r.folder+"/") && r.folder != "dataplane") {
			continue
		}
		for _, rule := range r.forbids {
			if forbidden(rule, imported) {
				t.Errorf("%s imports %s: %s", path, imported, r.why)
			}
		}
	}
	for _, hot := range hotFolders {
		for _, h := range heavy {
			if folder == hot && strings.HasPrefix(imported, h) {
				t.Errorf("%s imports %s: frames pass through here", path, imported)
			}
		}
	}
	if strings.HasPrefix(imported, module+"ports/porttest") {
		t.Errorf("%s imports %s: it is for tests", path, imported)
	}
}

// forbidden reports whether a rule forbids an import.
func forbidden(rule, imported string) bool {
	own, isOwn := strings.CutPrefix(imported, module)
	if allowed, ok := strings.CutPrefix(rule, "own:"); ok {
		return isOwn && !matches(strings.Fields(allowed), own)
	}
	if rule == "external:" {
		first, _, _ := strings.Cut(imported, "/")
		return !isOwn && strings.Contains(first, ".")
	}
	return strings.HasPrefix(imported, rule)
}

func matches(allowed []string, path string) bool {
	for _, a := range allowed {
		if path == a || strings.HasSuffix(a, "/") && (strings.HasPrefix(path, a) || path+"/" == a) {
			return true
		}
	}
	return false
}

func TestForbidden(t *testing.T) {
	for _, tt := range []struct {
		rule, imported string
		want           bool
	}{
		{"own:", module + "fdb", true},
		{"own:", "net/netip", false},
		{"own:dataplane/frame", module + "dataplane/frame", false},
		{"own:dataplane/frame", module + "dataplane", true},
		{"own:dataplane/frame ports/", module + "ports/tap", false},
		{"own:dataplane/frame ports/", module + "ports", false},
		{"external:", "golang.org/x/sys/unix", true},
		{"external:", "encoding/binary", false},
		{module + "ports/", module + "ports/tap", true},
		{module + "ports/", module + "ports", false},
	} {
		if got := forbidden(tt.rule, tt.imported); got != tt.want {
			t.Errorf("%s of %s: %v", tt.rule, tt.imported, got)
		}
	}
}
