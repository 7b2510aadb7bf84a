package bench

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newTranslated returns the two hosts of NAT, joined by the kernel.
func newTranslated(t *testing.T, f Family) *Bed {
	t.Helper()
	if err := (masquerade{}).Available(); err != nil {
		t.Skip(err)
	}
	bed, err := masquerade{}.Setup(t.Context(), newLab(t, f))
	if err != nil {
		t.Fatal(err)
	}
	if err := natReady(t.Context(), bed.Hosts); err != nil {
		t.Fatal(err)
	}
	return bed
}

// The host outside sees the translated address only.
func TestNATMeet(t *testing.T) { families(t, testNATMeet) }

func testNATMeet(t *testing.T, f Family) {
	checkDescriptors(t)
	bed := newTranslated(t, f)
	var tr traffic
	_, in, err := tr.meet(t.Context(), bed.Hosts[0], bed.Hosts[1], floodPort)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := unix.Getpeername(in)
	if err != nil {
		t.Fatal(err)
	}
	var got netip.Addr
	switch peer := peer.(type) {
	case *unix.SockaddrInet4:
		got = netip.AddrFrom4(peer.Addr)
	case *unix.SockaddrInet6:
		got = netip.AddrFrom16(peer.Addr)
	}
	if want := f.plan().outside.Addr(); got != want {
		t.Errorf("the host outside sees %v, want %v", got, want)
	}
	if err := tr.stop(); err != nil {
		t.Error(err)
	}
}

func TestNATMeetGivesUp(t *testing.T) { families(t, testNATMeetGivesUp) }

func testNATMeetGivesUp(t *testing.T, f Family) {
	checkDescriptors(t)
	a, b := newPair(t, f)
	b.Address = addressAfter(b.Address, 75) // nobody's
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("enough"))
	defer cancel()
	var tr traffic
	if _, _, err := tr.meet(ctx, a, b, floodPort); err == nil {
		t.Error("they met")
	}
	if err := tr.stop(); err != nil {
		t.Error(err)
	}
}

func TestNATConnections(t *testing.T) { families(t, testNATConnections) }

func testNATConnections(t *testing.T, f Family) {
	checkDescriptors(t)
	bed := newTranslated(t, f)
	sample, err := runNATConnections(t.Context(), bed, Timing{Warmup: 50 * time.Millisecond, Measure: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if sample.Value < 100 || sample.Details[0].Value > sample.Value/10 {
		t.Errorf("%.0f connections a second, %v", sample.Value, sample.Details)
	}
}

// Connections that nobody answers are given up, and count as such.
func TestNATConnectionsFail(t *testing.T) {
	checkDescriptors(t)
	bed := newTranslated(t, IPv4)
	c := &connections{from: bed.Hosts[0], to: bed.Hosts[1], pending: map[int32]time.Time{}}
	var err error
	c.epoll, err = c.open(c.from, func() (int, error) { return unix.EpollCreate1(unix.EPOLL_CLOEXEC) })
	if err != nil {
		t.Fatal(err)
	}
	c.spawn(c.from, func() error { // nobody listens: each is reset
		for range connWindow {
			if err := c.begin(); err != nil {
				return err
			}
		}
		for len(c.pending) > 1 {
			events := make([]unix.EpollEvent, connWindow)
			n, err := unix.EpollWait(c.epoll, events, 5000)
			if n <= 0 && err != unix.EINTR {
				return errors.New("no reset comes")
			}
			for i := range max(n, 0) {
				if len(c.pending) > 1 {
					c.finish(events[i].Fd)
				}
			}
		}
		c.giveUp(time.Now())
		if len(c.pending) != 1 {
			return errors.New("given up before its time")
		}
		c.giveUp(time.Now().Add(connPatience + time.Second))
		return nil
	})
	if err := c.stop(); err != nil || len(c.pending) != 0 || c.failed.Load() != connWindow || c.received.Load() != 0 {
		t.Errorf("%v, %d open, %d failed, %d received", err, len(c.pending), c.failed.Load(), c.received.Load())
	}
}

// The turn of connections: no pair of addresses and ports comes twice before all
// have.
func TestNATConnectionsTurn(t *testing.T) { families(t, testNATConnectionsTurn) }

func testNATConnectionsTurn(t *testing.T, f Family) {
	bed := newTranslated(t, f)
	c := &connections{from: bed.Hosts[0], to: bed.Hosts[1], pending: map[int32]time.Time{}}
	seen := map[string]bool{}
	for i := range natClients * connRemotes * connPorts {
		local, remote := c.pair(i)
		seen[local.String()+" "+remote.String()] = true
	}
	if len(seen) != natClients*connRemotes*connPorts {
		t.Errorf("%d pairs", len(seen))
	}
	want := map[Family]string{IPv4: "10.0.0.2:20000 192.0.2.101:5005", IPv6: "[2001:db8::2]:20000 [2001:db8:1::65]:5005"}[f]
	if l, r := c.pair(natClients*connRemotes*connPorts + 1); l.String()+" "+r.String() != want {
		t.Errorf("%v to %v, want %v", l, r, want)
	}
}

// Every flow has a tuple of its own, from an address inside to one outside.
func TestNATIdleFrames(t *testing.T) { families(t, testNATIdleFrames) }

func testNATIdleFrames(t *testing.T, f Family) {
	inside := f.plan().gateway
	l := &idle{from: &Host{Address: f.plan().host.Addr()}, remote: f.plan().remote, gateway: []byte{2, 0, 0, 0, 0, 1}, mac: []byte{2, 0, 0, 0, 0, 2}}
	b := make([]byte, idleFrame)
	seen := make(map[[36]byte]struct{}, idleFlows)
	end := f.udpStart() - udpHead + 4 // of the ports
	size := inside.Addr().BitLen() / 8
	for flow := range idleFlows {
		l.put(b, flow)
		ends := b[end-4-2*size : end] // addresses and ports
		var key [36]byte
		copy(key[:], ends)
		seen[key] = struct{}{}
		if src, _ := netip.AddrFromSlice(ends[:size]); !inside.Contains(src) || src == inside.Addr() {
			t.Fatalf("flow %d comes from %v", flow, src)
		}
	}
	decode(t, b[:l.put(b, idleFlows-1)])
	if len(seen) != idleFlows || idleFlows != 1000000 {
		t.Errorf("%d tuples of %d flows", len(seen), idleFlows)
	}
}

func TestNATIdleFlows(t *testing.T) { families(t, testNATIdleFlows) }

func testNATIdleFlows(t *testing.T, f Family) {
	checkDescriptors(t)
	bed := newTranslated(t, f)
	const flows = 5 * idlePorts * natRemotes
	load, err := startIdle(bed.Hosts[0], bed.Hosts[1], flows)
	if err != nil {
		t.Fatal(err)
	}
	if err := load.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if load.received.Load() != flows || load.sent.Load() < flows {
		t.Errorf("%d received of %d sent", load.received.Load(), load.sent.Load())
	}
}

// Flows that do not come through are sent again, and named in the end.
func TestNATIdleFlowsLost(t *testing.T) { families(t, testNATIdleFlowsLost) }

func testNATIdleFlowsLost(t *testing.T, f Family) {
	checkDescriptors(t)
	bed := newTranslated(t, f)
	nobody := *bed.Hosts[1]
	nobody.Address = addressAfter(nobody.Address, 99)
	load, err := startIdle(bed.Hosts[0], &nobody, 10)
	if err != nil {
		t.Fatal(err)
	}
	err = load.fill(t.Context())
	if err == nil || err.Error() != "0 of 10 flows have come through" || load.sent.Load() != 10*idleTries {
		t.Errorf("%v; %d packets sent", err, load.sent.Load())
	}
	load.flows, load.seen = 128, make([]atomic.Uint64, 2)
	for _, b := range [][]byte{{0, 0, 0, 1}, {0, 0, 0, 1}, {0, 0, 0, 127}, {0, 0, 0, 128}, {0, 0, 1}, {255, 255, 255, 255}} {
		load.note(b)
	}
	if load.received.Load() != 2 {
		t.Errorf("%d flows noted", load.received.Load())
	}
}
