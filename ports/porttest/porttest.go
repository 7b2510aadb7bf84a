// Package porttest gives tests what a switch is tested with: network
// namespaces that stand for lab hosts, veth pairs between them, real TCP and
// ping through them, sockets that send and read crafted frames, and a real
// QEMU guest.
//
// All of it lives in namespaces that the test makes itself and is gone after
// the test, also after one that failed. A test begins with Require.
//
// The trap: a network namespace belongs to an OS thread. NS.Do runs its
// function inside the namespace, but a goroutine started by that function is
// not inside it, and neither is a lazily opened socket. A descriptor stays in
// the namespace it was opened in, whoever uses it later.
package porttest

import (
	"os"
	"os/exec"
	"testing"
)

// Require ends the test unless the process may make network namespaces and
// taps. It skips, giving the reason; but where the environment says CI=true or
// WEFT_TEST_REQUIRE=1 it fails, because CI promises root and namespaces and a
// silent skip there would hide a broken feature.
func Require(t testing.TB) {
	t.Helper()
	require(t, missing(), promised(os.Getenv))
}

// RequireTool does the same unless there is a program of that name, which
// "make setup" installs.
func RequireTool(t testing.TB, name string) {
	t.Helper()
	_, err := exec.LookPath(name)
	require(t, err, promised(os.Getenv))
}

// promised reports whether the environment promises everything a test needs.
func promised(getenv func(string) string) bool {
	return getenv("CI") == "true" || getenv("WEFT_TEST_REQUIRE") == "1"
}

// require acts on the reason why a test cannot run; nil means that it can.
func require(t testing.TB, reason error, promised bool) {
	t.Helper()
	switch {
	case reason == nil:
	case promised:
		t.Fatalf("CI promises root, namespaces and tools, but: %v", reason)
	default:
		t.Skipf("needs root, namespaces and tools: %v", reason)
	}
}
