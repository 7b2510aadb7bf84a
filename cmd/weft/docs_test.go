package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// The table of commands about leases is complete.
func TestDocumentedLeaseCommands(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	cmd, _, err := newRootCommand().Find([]string{"lease"})
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range cmd.Commands() {
		if !strings.Contains(string(text), fmt.Sprintf("\n| `weft lease %s` |", sub.Use)) {
			t.Errorf("docs/operations.md does not explain weft lease %s", sub.Use)
		}
	}
}
