package fastpath

import (
	"os"
	"os/exec"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// The programs load with what the documentation asks for, and no more: without
// CAP_PERFMON the verifier also walks the ways that a processor only guesses.
func TestShareCapabilities(t *testing.T) {
	if os.Getenv("WEFT_SHARE_LOAD") != "" {
		if _, err := LoadShare(); err != nil {
			t.Fatal(err)
		}
		return
	}
	porttest.Require(t)
	porttest.RequireTool(t, "setpriv")
	cmd := exec.Command("setpriv", "--bounding-set=-all,+bpf,+net_admin,+net_raw", os.Args[0], "-test.run=^TestShareCapabilities$")
	cmd.Env = append(os.Environ(), "WEFT_SHARE_LOAD=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
