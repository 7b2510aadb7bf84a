package afpacket_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
	"github.com/weft/weft/ports/afpacket"
	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { porttest.CheckLeaks(m) }

// wire is a port on one end of a veth pair, and a socket on the other.
type wire struct {
	ns   *porttest.NS
	port *afpacket.Port
	far  *porttest.RawConn
}

func newWire(t *testing.T, options ...porttest.VethOption) *wire {
	porttest.Require(t)
	w := &wire{ns: porttest.NewNS(t, "wire")}
	w.ns.Quiet(t)
	porttest.Veth(t, w.ns, "near", w.ns, "far", options...)
	w.port = open(t, w.ns, "near")
	w.far = w.ns.RawConn(t, "far")
	return w
}

func open(t *testing.T, ns *porttest.NS, name string) *afpacket.Port {
	t.Helper()
	var p *afpacket.Port
	var err error
	ns.Do(func() { p, err = afpacket.Open(name, 0) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// recv receives n frames from a port, copied.
func recv(t *testing.T, p *afpacket.Port, n int) []frame.Frame {
	t.Helper()
	timeout := time.AfterFunc(60*time.Second, p.Stop)
	defer timeout.Stop()
	var got []frame.Frame
	for len(got) < n {
		var burst [ports.MaxBurst]*frame.Frame
		k, err := p.Recv(burst[:])
		if err != nil {
			t.Fatalf("after %d of %d frames: %v", len(got), n, err)
		}
		for _, f := range burst[:k] {
			c := frame.Frame{}
			c.Set(append(make([]byte, frame.Headroom), f.Bytes()...), frame.Headroom)
			c.Tag, c.Offload = f.Tag, f.Offload
			if f.Room() < frame.Headroom {
				t.Errorf("a frame has %d bytes of headroom, want %d", f.Room(), frame.Headroom)
			}
			got = append(got, c)
		}
	}
	return got
}

func experimental(payload []byte) []byte {
	head := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}
	return append(head, payload...)
}

func tagged(b []byte, tpid, tci uint16) []byte {
	t := []byte{byte(tpid >> 8), byte(tpid), byte(tci >> 8), byte(tci)}
	return append(append(append([]byte(nil), b[:12]...), t...), b[12:]...)
}

func TestFramesArriveWhole(t *testing.T) {
	w := newWire(t, porttest.VethMTU(9000))
	plain := experimental(bytes.Repeat([]byte("weft"), 40))
	tests := []struct {
		name string
		wire []byte
		tag  frame.Tag
	}{
		{"plain", plain, frame.Tag{}},
		{"shortest", experimental(make([]byte, 46)), frame.Tag{}},
		{"longer than a slot", experimental(bytes.Repeat([]byte{7}, 9000)), frame.Tag{}},
		{"tagged", tagged(plain, frame.TypeVLAN, 0x6064), frame.Tag{TPID: frame.TypeVLAN, TCI: 0x6064}},
		{"priority-tagged", tagged(plain, frame.TypeVLAN, 0xe000), frame.Tag{TPID: frame.TypeVLAN, TCI: 0xe000}},
		{"QinQ", tagged(tagged(plain, frame.TypeVLAN, 7), frame.TypeQinQ, 9), frame.Tag{TPID: frame.TypeQinQ, TCI: 9}},
		{"tagged jumbo", tagged(experimental(bytes.Repeat([]byte{7}, 9000)), frame.TypeVLAN, 5), frame.Tag{TPID: frame.TypeVLAN, TCI: 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.far.Send(tt.wire)
			got := recv(t, w.port, 1)[0]
			if got.Tag != tt.tag {
				t.Errorf("tag %+v, want %+v", got.Tag, tt.tag)
			}
			if !bytes.Equal(got.AppendWire(nil), tt.wire) {
				t.Errorf("received\n% x, want\n% x", got.AppendWire(nil)[:40], tt.wire[:40])
			}
			// And the same frame the other way.
			if n, err := w.port.Send([]*frame.Frame{&got}); n != 1 || err != nil {
				t.Fatalf("send: %d, %v", n, err)
			}
			if back := w.far.Recv(60 * time.Second); !bytes.Equal(back, tt.wire) {
				t.Errorf("the other end received % x, want % x", back[:min(40, len(back))], tt.wire[:40])
			}
		})
	}
}

// Frames keep their order where short ones (in the ring) and long ones (in the
// socket's queue) mix, over several turns of the ring.
func TestOrderAcrossRingAndQueue(t *testing.T) {
	w := newWire(t, porttest.VethMTU(9000))
	const rounds, perRound = 40, 60
	for r := range rounds {
		for i := range perRound {
			size := 100
			if i%3 == 0 {
				size = 8000
			}
			p := make([]byte, size)
			copy(p, fmt.Sprintf("%d/%d.", r, i))
			w.far.Send(experimental(p))
		}
		for i, f := range recv(t, w.port, perRound) {
			if want := fmt.Sprintf("%d/%d.", r, i); !bytes.HasPrefix(f.Bytes()[14:], []byte(want)) {
				t.Fatalf("round %d: frame %d is %q, want %q", r, i, f.Bytes()[14:24], want)
			}
		}
	}
	if l := w.port.RxLosses(); l != (ports.RxLosses{}) {
		t.Errorf("losses: %+v", l)
	}
}

// What finds the ring full is counted, and the ring works on afterwards.
func TestOverflowIsCounted(t *testing.T) {
	w := newWire(t)
	slots := afpacket.DefaultRing / 2048
	const extra = 300
	for i := range slots + extra {
		w.far.Send(experimental(fmt.Appendf(nil, "%046d", i)))
	}
	got := recv(t, w.port, slots)
	if s := string(got[slots-1].Bytes()[14:60]); s != fmt.Sprintf("%046d", slots-1) {
		t.Errorf("the last frame before the overflow is %q", s)
	}
	if l := w.port.RxLosses(); l.Full != extra {
		t.Errorf("%d frames counted as lost, want %d", l.Full, extra)
	}
	w.far.Send(experimental([]byte("after the overflow, which nobody remembers")))
	if f := recv(t, w.port, 1)[0]; !bytes.Contains(f.Bytes(), []byte("after the overflow")) {
		t.Errorf("received %q", f.Bytes()[14:])
	}
	if l := w.port.RxLosses(); l.Full != extra {
		t.Errorf("reading the losses changed them: %d", l.Full)
	}
}

func TestSendReportsDown(t *testing.T) {
	w := newWire(t)
	w.ns.Down(t, "near")
	f := &frame.Frame{}
	f.Set(append(make([]byte, frame.Headroom), experimental(make([]byte, 46))...), frame.Headroom)
	if n, err := w.port.Send([]*frame.Frame{f, f}); n != 0 || err != ports.ErrDown {
		t.Errorf("send on an interface that is down: %d, %v", n, err)
	}
}

func TestSendRefusesOversized(t *testing.T) {
	w := newWire(t)
	long, short := &frame.Frame{}, &frame.Frame{}
	long.Set(append(make([]byte, frame.Headroom), experimental(make([]byte, 3000))...), frame.Headroom)
	short.Set(append(make([]byte, frame.Headroom), experimental(make([]byte, 46))...), frame.Headroom)
	if n, err := w.port.Send([]*frame.Frame{short, long, short}); n != 1 || err != ports.ErrRefused {
		t.Errorf("send: %d, %v, want 1, %v", n, err, ports.ErrRefused)
	}
}

func TestRecvReportsGone(t *testing.T) {
	w := newWire(t)
	failed := make(chan error)
	go func() {
		var burst [ports.MaxBurst]*frame.Frame
		_, err := w.port.Recv(burst[:])
		failed <- err
	}()
	w.ns.Delete(t, "far")
	select {
	case err := <-failed:
		if err != ports.ErrDown {
			t.Errorf("Recv: %v, want %v", err, ports.ErrDown)
		}
	case <-time.After(60 * time.Second):
		t.Error("Recv does not notice that the interface is gone")
	}
}

func TestStopWakesRecv(t *testing.T) {
	w := newWire(t)
	stopped := make(chan error)
	go func() {
		var burst [ports.MaxBurst]*frame.Frame
		_, err := w.port.Recv(burst[:])
		stopped <- err
	}()
	time.Sleep(10 * time.Millisecond) // let it block; it must work either way
	w.port.Stop()
	w.port.Stop()
	if err := <-stopped; err != ports.ErrStopped {
		t.Errorf("Recv: %v", err)
	}
}

func TestOpenMissing(t *testing.T) {
	porttest.Require(t)
	ns := porttest.NewNS(t, "empty")
	ns.Do(func() {
		if _, err := afpacket.Open("nothing", 0); err == nil {
			t.Error("opened an interface that does not exist")
		}
	})
}

// A TCP super-frame with a partial checksum goes out of one port and into
// another unchanged.
func TestSuperFrameCrosses(t *testing.T) {
	w := newWire(t)
	far := open(t, w.ns, "far")
	super := superFrame(t, 60000)
	for _, tag := range []frame.Tag{{}, {TPID: frame.TypeVLAN, TCI: 100}} {
		super.Tag = tag
		if n, err := w.port.Send([]*frame.Frame{super}); n != 1 || err != nil {
			t.Fatalf("tag %v: send: %d, %v", tag, n, err)
		}
		got := recv(t, far, 1)[0]
		if got.Tag != tag || !bytes.Equal(got.Bytes(), super.Bytes()) {
			t.Errorf("tag %v: arrived with tag %v and %d bytes, want %d", tag, got.Tag, len(got.Bytes()), len(super.Bytes()))
		}
		o := got.Offload
		if o.Flags&frame.NeedsChecksum == 0 || o.GSOType != frame.GSOTCPv4 || o.GSOSize != 1448 ||
			o.CsumStart != 34 || o.CsumOffset != 16 {
			t.Errorf("tag %v: offload %+v", tag, o)
		}
	}
}

// superFrame builds an IPv4 TCP segment of n bytes with a partial checksum.
func superFrame(t *testing.T, n int) *frame.Frame {
	t.Helper()
	b := make([]byte, frame.Headroom+14+20+20+n)
	p := b[frame.Headroom:]
	copy(p, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00})
	ip := p[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_TCP
	ip[2], ip[3] = byte((40+n)>>8), byte(40+n)
	copy(ip[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	sum := ^frame.Checksum(ip[:20], 0)
	ip[10], ip[11] = byte(^sum>>8), byte(^sum)
	ip[32] = 5 << 4 // TCP data offset
	for i := range n {
		ip[40+i] = byte(i)
	}
	f := &frame.Frame{}
	f.Set(b, frame.Headroom)
	f.Offload = frame.Offload{
		Flags: frame.NeedsChecksum, GSOType: frame.GSOTCPv4, HdrLen: 54,
		GSOSize: 1448, CsumStart: 34, CsumOffset: 16,
	}
	if !f.CheckOffload() {
		t.Fatal("the test's super-frame is malformed")
	}
	return f
}

func TestNoAllocation(t *testing.T) {
	w := newWire(t)
	f := &frame.Frame{}
	f.Set(append(make([]byte, frame.Headroom), experimental(make([]byte, 46))...), frame.Headroom)
	burst := []*frame.Frame{f, f, f, f}
	far := open(t, w.ns, "far")
	var in [ports.MaxBurst]*frame.Frame
	n := testing.AllocsPerRun(100, func() {
		if _, err := w.port.Send(burst); err != nil {
			t.Fatal(err)
		}
		for k := 0; k < len(burst); {
			n, err := far.Recv(in[:])
			if err != nil {
				t.Fatal(err)
			}
			k += n
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a burst", n)
	}
}
