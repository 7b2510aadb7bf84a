package dataplane

import (
	"sync"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// Ports come and go, each of its protocol, and none below the first.
func TestRelayPorts(t *testing.T) {
	var r RelayPorts
	for _, protocol := range []uint8{frame.ProtoTCP, frame.ProtoUDP} {
		for port := RelayFirst - 10; port < 1<<16; port++ {
			r.Set(protocol, uint16(port), true)
			r.Set(protocol, uint16(port), true)
			if got := r.Has(protocol, uint16(port)); got != (port >= RelayFirst) {
				t.Fatalf("port %d: %v", port, got)
			}
			if other := frame.ProtoTCP ^ frame.ProtoUDP ^ protocol; r.Has(other, uint16(port)) || r.HasAny(other) {
				t.Fatalf("port %d is of both protocols", port)
			}
		}
		for port := RelayFirst; port < 1<<16; port++ {
			if !r.HasAny(protocol) {
				t.Fatalf("none is left at %d", port)
			}
			r.Set(protocol, uint16(port), false)
			r.Set(protocol, uint16(port), false)
			if r.Has(protocol, uint16(port)) {
				t.Fatalf("port %d stays", port)
			}
		}
		if r.HasAny(protocol) {
			t.Error("some are left")
		}
	}
	r.Set(frame.ProtoICMP, RelayFirst, true)
	var none *RelayPorts
	if r.Has(frame.ProtoICMP, RelayFirst) || none.Has(frame.ProtoTCP, RelayFirst) || none.HasAny(frame.ProtoTCP) {
		t.Error("a port that cannot be")
	}
}

// Workers look while ports change.
func TestRelayPortsConcurrently(t *testing.T) {
	var r RelayPorts
	var all sync.WaitGroup
	stop := make(chan struct{})
	r.Set(frame.ProtoTCP, RelayFirst, true)
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if !r.Has(frame.ProtoTCP, RelayFirst) || !r.HasAny(frame.ProtoTCP) {
					t.Error("a port that stays is gone")
					return
				}
			}
		})
	}
	for i := range 20000 {
		r.Set(frame.ProtoTCP, RelayFirst+1+uint16(i/2)%100, i%2 == 0)
	}
	close(stop)
	all.Wait()
}
