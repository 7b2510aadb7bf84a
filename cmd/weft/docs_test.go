package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/ports/porttest"
)

// documents are those whose commands are run, each as one script.
var documents = []string{"README.md", "docs/operations.md", "docs/policy.md", "docs/routing.md", "docs/services.md"}

// Every line of a sh block works as it stands, in the order of the document.
// The script has a host of its own: namespaces for network, mounts and
// processes, an empty /run and /var/lib, a copy of /etc/hosts, and weft in its PATH.
func TestDocumentedCommands(t *testing.T) {
	porttest.Require(t)
	for _, doc := range documents {
		t.Run(doc, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../..", doc))
			if err != nil {
				t.Fatal(err)
			}
			script := "mount -t tmpfs none /run\nmount -t tmpfs none /var/lib\n" +
				"cp /etc/hosts /run/hosts\nmount --bind /run/hosts /etc/hosts\nip link set lo up\n" + strings.Join(blocks(string(text), "sh"), "")
			if !strings.Contains(script, "weft run ") {
				t.Fatal("no block starts weft: is this document still to be tested?")
			}
			cmd := exec.Command("timeout", "300", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
				"bash", "-euxo", "pipefail", "-c", script)
			cmd.Dir = t.TempDir()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// blocks returns the fenced blocks of a language.
func blocks(text, language string) []string {
	var list []string
	for {
		_, rest, ok := strings.Cut(text, "\n```"+language+"\n")
		if !ok {
			return list
		}
		block, after, _ := strings.Cut(rest, "```")
		list, text = append(list, block), after
	}
}

// Every make target that a document names exists.
func TestDocumentedTargets(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range append(documents, "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md") {
		text, err := os.ReadFile(filepath.Join("../..", doc))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range makeCommand.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains("\n"+string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s names make %s, which is no target", doc, m[1])
			}
		}
	}
}

// makeCommand finds "make TARGET" in code: after a backtick, or indented.
var makeCommand = regexp.MustCompile("(?m)(?:^    |`)make ([a-z-]+)")

// The table of drop reasons is complete.
func TestDocumentedDrops(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for v := dataplane.Runt; v.String() != "unknown"; v++ {
		if !strings.Contains(string(text), fmt.Sprintf("\n| %s |", v)) {
			t.Errorf("docs/operations.md does not explain %s", v)
		}
	}
}

// The tables of commands are complete.
func TestDocumentedSubcommands(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lease", "uplink", "publish", "flow", "neighbor"} {
		cmd, _, err := newRootCommand().Find([]string{name})
		if err != nil || !cmd.HasSubCommands() {
			t.Fatalf("weft %s: %v", name, err)
		}
		for _, sub := range cmd.Commands() {
			use := strings.ReplaceAll(sub.Use, "|", `\|`) // which would end the cell
			if !strings.Contains(string(text), fmt.Sprintf("\n| `weft %s %s` |", name, use)) {
				t.Errorf("docs/operations.md does not explain weft %s %s", name, use)
			}
		}
	}
}

// The tree of docs/architecture.md has every package.
func TestDocumentedPackages(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	trees := blocks(string(text), "")
	if len(trees) == 0 {
		t.Fatal("no tree")
	}
	words := strings.FieldsFunc(trees[0], func(r rune) bool { return strings.ContainsRune(" \n/{},:;", r) })
	sources, err := filepath.Glob("../../*/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal(len(sources), err)
	}
	for i, file := range sources { // sorted
		sources[i] = filepath.Base(filepath.Dir(file))
	}
	for _, name := range slices.Compact(sources) {
		if !slices.Contains(words, name) {
			t.Errorf("docs/architecture.md does not have package %s", name)
		}
	}
}

// Every link of a document to another one leads somewhere.
func TestDocumentedLinks(t *testing.T) {
	files, err := filepath.Glob("../../docs/decisions/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(more) == 0 {
		t.Fatal(len(more), err)
	}
	files = append(append(files, more...), "../../README.md", "../../CONTRIBUTING.md")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range localLink.FindAllStringSubmatch(string(text), -1) {
			to := file
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(file), m[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if m[2] != "" && !slices.Contains(anchors(t, to), m[2]) {
				t.Errorf("%s: %s has no section #%s", file, to, m[2])
			}
		}
	}
}

// localLink finds what a link leads to, the document and the section, where that is in
// the repository.
var localLink = regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]+))?\)`)

// anchors returns the sections of a document as links name them.
func anchors(t *testing.T, file string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(text), -1) {
		title := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		list = append(list, strings.ReplaceAll(title, " ", "-"))
	}
	return list
}
