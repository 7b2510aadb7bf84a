package memport

import (
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
)

func wire(tag bool) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	if tag {
		b = append(b, 0x81, 0, 0, 5)
	}
	return append(b, 0x88, 0xb5, 1, 2, 3, 4)
}

func TestBothWays(t *testing.T) {
	for _, tag := range []bool{false, true} {
		p := New(frame.CapAll)
		sent := Frame{Bytes: wire(tag), Offload: frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 16, CsumOffset: 0}}
		if !p.Inject(sent) {
			t.Fatal("queue full")
		}
		var burst [ports.MaxBurst]*frame.Frame
		n, err := p.Recv(burst[:])
		if n != 1 || err != nil || burst[0].Tag.Present() != tag || burst[0].Room() < frame.Headroom {
			t.Fatalf("Recv: %d, %v, %+v", n, err, burst[0])
		}
		if n, err := p.Send(burst[:1]); n != 1 || err != nil {
			t.Fatalf("Send: %d, %v", n, err)
		}
		got, ok := p.Next()
		if !ok || string(got.Bytes) != string(sent.Bytes) || got.Offload != sent.Offload {
			t.Errorf("tag %v: got %+v, want %+v", tag, got, sent)
		}
	}
}

func TestFullAndStopped(t *testing.T) {
	p := New(0)
	f := &frame.Frame{}
	f.Set(wire(false), 0)
	for range queueLen {
		if n, err := p.Send([]*frame.Frame{f}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if n, err := p.Send([]*frame.Frame{f, f}); n != 0 || err != ports.ErrFull {
		t.Errorf("full: %d, %v", n, err)
	}
	go p.Stop()
	var burst [ports.MaxBurst]*frame.Frame
	if n, err := p.Recv(burst[:]); n != 0 || err != ports.ErrStopped {
		t.Errorf("stopped: %d, %v", n, err)
	}
	if p.Inject(Frame{Bytes: wire(false)}) {
		t.Error("a stopped port took a frame")
	}
}
