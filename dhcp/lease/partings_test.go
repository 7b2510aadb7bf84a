package lease

import (
	"testing"
	"time"
)

// TestNamesAreBounded: who leases and releases names without end keeps his share.
func TestNamesAreBounded(t *testing.T) {
	p := NewPartings()
	for i := range 3 * maxPortNames {
		p.Part(time.Duration(i), time.Duration(i).String(), Owner{Port: "vm"})
		p.Part(time.Duration(i), time.Duration(i).String(), Owner{Port: "vm"}) // again
	}
	if len(p.names) != maxPortNames || len(p.queue) != maxPortNames {
		t.Errorf("%d names, %d queued", len(p.names), len(p.queue))
	}
	if p.Part(0, "b", Owner{Port: "b"}); p.Keeper(1, "b") == nil {
		t.Error("nothing is left for another port")
	}
	p.Forget(NameTime + time.Second)
	if len(p.names) != 0 || len(p.queue) != 0 || len(p.ports) != 0 {
		t.Errorf("%d names, %d queued", len(p.names), len(p.queue))
	}
}
