package bench

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// moved is what an interface has received.
type moved struct{ frames, bytes uint64 }

func received(t *testing.T, h *Host) moved {
	t.Helper()
	link, err := h.NS.links.LinkByName(h.Interface)
	if err != nil {
		t.Fatal(err)
	}
	s := link.Attrs().Statistics
	return moved{s.RxPackets, s.RxBytes}
}

// awaitReceived waits until the load has moved at least n of its units.
func awaitReceived(t *testing.T, load *traffic, n uint64) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); load.received.Load() < n; {
		if time.Now().After(deadline) {
			t.Fatalf("received %d of %d (%v)", load.received.Load(), n, load.stop())
		}
		time.Sleep(time.Millisecond)
	}
}

func TestStream(t *testing.T) { families(t, testStream) }

func testStream(t *testing.T, f Family) {
	checkDescriptors(t)
	a, b := newPair(t, f)
	for _, streams := range []int{1, 4} {
		before := received(t, b)
		load, err := startTCP(a, b, streams)
		if err != nil {
			t.Fatal(err)
		}
		awaitReceived(t, load, 64<<20)
		if err := load.stop(); err != nil {
			t.Fatal(err)
		}
		sent, got, wire := load.sent.Load(), load.received.Load(), received(t, b).bytes-before.bytes
		if got > sent {
			t.Errorf("%d streams: received %d bytes of %d sent", streams, got, sent)
		}
		if wire < got {
			t.Errorf("%d streams: counted %d bytes, only %d crossed the wire", streams, got, wire)
		}
		if frames := received(t, b).frames - before.frames; wire/frames < 9000 {
			t.Errorf("%d streams: %d bytes a frame: offloads are off", streams, wire/frames)
		}
	}
}

func TestFloodSendsShortestFrames(t *testing.T) { families(t, testFloodSendsShortestFrames) }

func testFloodSendsShortestFrames(t *testing.T, f Family) {
	checkDescriptors(t)
	a, b := newPair(t, f)
	before := received(t, b)
	load, err := startFlood(a, b)
	if err != nil {
		t.Fatal(err)
	}
	awaitReceived(t, &load.traffic, 50_000)
	if err := load.stop(); err != nil {
		t.Fatal(err)
	}
	after := received(t, b)
	frames, bytes := after.frames-before.frames, after.bytes-before.bytes
	// Without the check sequence, and with what IPv6 has more of. Right after its
	// beginning a kernel with IPv6 may still tell of its groups.
	size := map[Family]uint64{IPv4: 60, IPv6: 80}[f]
	groups := map[Family]uint64{IPv4: 0, IPv6: 8}[f]
	sent, got := load.sent.Load(), load.received.Load()
	if frames < sent || frames > sent+groups {
		t.Errorf("%d frames crossed the wire, %d were counted as sent", frames, sent)
	}
	if bytes < size*sent || bytes > size*sent+200*(frames-sent) {
		t.Errorf("%d frames of %d bytes, %d of them sent, want %d bytes each", frames, bytes, sent, size)
	}
	if got+uint64(load.overflow) > sent {
		t.Errorf("received %d and dropped %d of %d frames", got, load.overflow, sent)
	}
}

// What the receiver was too slow for is told apart from what never came.
func TestFloodCountsOverflow(t *testing.T) {
	a, b := newPair(t, IPv4)
	f := &flood{}
	var err error
	f.fd, err = f.open(b, func() (int, error) { return udp(b, a, floodPort) })
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.open(a, func() (int, error) { return udp(a, b, floodPort) })
	if err != nil {
		t.Fatal(err)
	}
	f.spawn(a, func() error { return f.send(out) }) // and nobody receives
	for deadline := time.Now().Add(10 * time.Second); f.sent.Load() < 20_000 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	if uint64(f.overflow) < f.sent.Load()/2 || uint64(f.overflow) > f.sent.Load() {
		t.Errorf("%d frames found the buffer full, %d were sent", f.overflow, f.sent.Load())
	}
}

func TestPingPong(t *testing.T) { families(t, testPingPong) }

func testPingPong(t *testing.T, f Family) {
	checkDescriptors(t)
	a, b := newPair(t, f)
	start := time.Now()
	p, err := startPingPong(a, b)
	if err != nil {
		t.Fatal(err)
	}
	awaitReceived(t, &p.traffic, 500)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	end := time.Now()
	rtts := p.between(start, end)
	// A thread that waits for its CPU longer than ioTimeout makes a loss; the
	// machine may be that busy, but every ping is one or the other.
	sent, got := p.sent.Load(), p.received.Load()
	if uint64(len(rtts)) != got || got+uint64(p.lost) > sent || got+uint64(p.lost)+1 < sent {
		t.Errorf("%d round trips, %d answered and %d lost of %d sent", len(rtts), got, p.lost, sent)
	}
	sum := 0.0
	for _, rtt := range rtts {
		if rtt <= 0 {
			t.Fatalf("a round trip took %v us", rtt)
		}
		sum += rtt
	}
	// One follows the other, so together they fit into the time that passed.
	if whole := float64(end.Sub(start).Microseconds()); sum > whole {
		t.Errorf("round trips add up to %.0f us in %.0f us: the unit is wrong", sum, whole)
	}
	if got := p.between(end, end.Add(time.Hour)); got != nil {
		t.Errorf("%d pings after the end", len(got))
	}
	middle := p.pings[len(p.pings)/2].at
	if early, late := p.between(start, middle), p.between(middle, end); len(early)+len(late) != len(rtts) || len(late) == 0 {
		t.Errorf("%d + %d pings around the middle of %d", len(early), len(late), len(rtts))
	}
}

func TestPingsAreLostNotAwaited(t *testing.T) { families(t, testPingsAreLostNotAwaited) }

func testPingsAreLostNotAwaited(t *testing.T, f Family) {
	a, b := newPair(t, f)
	// Frames to b leave for an address that nobody has.
	link, err := a.NS.links.LinkByName(a.Interface)
	if err == nil {
		err = a.NS.links.NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
			IP: b.Address.AsSlice(), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 99},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := startPingPong(a, b)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * ioTimeout)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if p.lost == 0 || p.received.Load() != 0 {
		t.Errorf("%d lost, %d answered by nobody", p.lost, p.received.Load())
	}
	err = reach(t.Context(), a, b, 2*ioTimeout)
	if err == nil || !strings.Contains(err.Error(), a.Address.String()+" does not reach "+b.Address.String()) {
		t.Errorf("error %v", err)
	}
}

// An answer that comes too late must not pass for the one to the next ping.
func TestLateAnswerIsNotTakenForTheNext(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	datagram := func(seq byte) []byte { return append(append(make([]byte, 7), seq), make([]byte, minPayload-8)...) }
	for _, seq := range []byte{1, 2} {
		if _, err := unix.Write(pair[0], datagram(seq)); err != nil {
			t.Fatal(err)
		}
	}
	p := &pingPong{}
	if ok, err := p.answer(pair[1], make([]byte, minPayload), 2, time.Now().Add(time.Minute)); !ok || err != nil {
		t.Errorf("answer to 2: %v, %v", ok, err)
	}
	if _, err := unix.Write(pair[0], datagram(1)); err != nil {
		t.Fatal(err)
	}
	if ok, err := p.answer(pair[1], make([]byte, minPayload), 3, time.Now()); ok || err != nil {
		t.Errorf("the answer to 1 passed for that to 3: %v, %v", ok, err)
	}
}

func TestTrafficThatCannotStartLeavesNothing(t *testing.T) {
	families(t, testTrafficThatCannotStartLeavesNothing)
}

func testTrafficThatCannotStartLeavesNothing(t *testing.T, f Family) {
	checkDescriptors(t)
	a, b := newPair(t, f)
	stranger := *b
	stranger.Address = a.Address.Next().Next() // nobody has it
	if _, err := startTCP(a, &stranger, 1); err == nil || !strings.Contains(err.Error(), stranger.Address.String()) {
		t.Errorf("stream to nobody: %v", err)
	}
	if _, err := startFlood(a, &stranger); err == nil {
		t.Error("flood to nobody started")
	}
	if _, err := startPingPong(a, &stranger); err == nil {
		t.Error("pings to nobody started")
	}
}

// A window that nothing has arrived in is held open, and its length is true.
func TestObserveIsPatient(t *testing.T) {
	load := &traffic{}
	load.received.Add(1)
	const late = 300 * time.Millisecond
	time.AfterFunc(late, func() { load.received.Add(5) })
	w, err := observe(t.Context(), &Bed{}, load, Timing{Measure: 10 * time.Millisecond})
	if err != nil || w.received != 5 || w.seconds < late.Seconds()-0.1 {
		t.Errorf("window %+v, %v", w, err)
	}
	start := time.Now()
	w, err = observe(t.Context(), &Bed{}, load, Timing{Measure: 10 * time.Millisecond})
	if err != nil || w.received != 0 || time.Since(start) < patience {
		t.Errorf("patience ended after %v: %+v, %v", time.Since(start), w, err)
	}
}

// A load whose threads get to run late is not measured before it runs.
func TestObserveWaitsForTheFirstArrival(t *testing.T) {
	load := &traffic{}
	start := time.Now()
	const late = 300 * time.Millisecond
	time.AfterFunc(late, func() { load.received.Add(5) })
	time.AfterFunc(late+400*time.Millisecond, func() { load.received.Add(7) })
	w, err := observe(t.Context(), &Bed{}, load, Timing{Warmup: 50 * time.Millisecond, Measure: 10 * time.Millisecond})
	if err != nil || w.received != 7 || w.from.Sub(start) < late {
		t.Errorf("window %+v, %v", w, err)
	}
}

func TestObserveCountsOnlyItsWindow(t *testing.T) {
	a, b := newPair(t, IPv4)
	load, err := startTCP(a, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	timing := Timing{Warmup: 150 * time.Millisecond, Measure: 150 * time.Millisecond}
	w, err := observe(t.Context(), &Bed{}, load, timing)
	if err = errors.Join(err, load.stop()); err != nil {
		t.Fatal(err)
	}
	if w.received == 0 || w.received >= load.received.Load() {
		t.Errorf("window holds %d of %d bytes, want some but not the warm-up", w.received, load.received.Load())
	}
	if w.seconds < timing.Measure.Seconds() || w.from.Sub(start) < timing.Warmup || w.switchCPU != 0 {
		t.Errorf("window %+v", w)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := observe(ctx, &Bed{}, load, Timing{Warmup: time.Hour}); !errors.Is(err, cause) {
		t.Errorf("error %v, want the cause of the end", err)
	}
}
