package porttest

import (
	"strings"
	"testing"
	"time"
)

func TestTCPStream(t *testing.T) {
	Require(t)
	a, b := pair(t)
	s := TCPStream(t, a, b, "10.0.0.2")
	time.Sleep(200 * time.Millisecond)
	if n := s.Stop(t); n < 1<<20 {
		t.Errorf("%d bytes in 200 ms", n)
	}
	for i := range s.ways {
		if s.ways[i].gotSize == 0 {
			t.Errorf("nothing crossed one way: %+v", s.ways)
		}
	}
	if n := s.Stop(t); n < 1<<20 {
		t.Errorf("asked again: %d bytes", n)
	}
}

// What the receiver has got is compared with what the sender says.
func TestTCPStreamCompares(t *testing.T) {
	Require(t)
	a, b := pair(t)
	s := TCPStream(t, a, b, "10.0.0.2")
	s.end()
	s.done.Wait()
	s.ways[1].got.Write([]byte{1})
	r := record(func(tb testing.TB) { s.Stop(tb) })
	if !strings.Contains(r.failed, "SHA-256") {
		t.Errorf("a byte too many: %q", r.failed)
	}
}

func TestTCPStreamToNobody(t *testing.T) {
	Require(t)
	a, b := pair(t)
	r := record(func(tb testing.TB) { TCPStream(tb, a, b, "10.0.0.99") }) // not an address of b
	if !strings.Contains(r.failed, "10.0.0.99") {
		t.Errorf("failed with %q", r.failed)
	}
}

// A test that ends without Stop leaves no goroutine and no connection; the
// checks of the package's TestMain would find them.
func TestTCPStreamEndsWithTheTest(t *testing.T) {
	Require(t)
	a, b := pair(t)
	var s *Stream
	t.Run("inner", func(t *testing.T) { s = TCPStream(t, a, b, "10.0.0.2") })
	select {
	case <-s.stop:
	default:
		t.Error("still going on")
	}
}
