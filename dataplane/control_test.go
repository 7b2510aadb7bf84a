package dataplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
	"github.com/weft/weft/ports/memport"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStationIO(l *lab, s *station) *station {
	io := memport.New(frame.CapAll)
	s.port.Attach(io, 1500, func(error) {})
	return &station{t: l.t, mac: s.mac, io: io, port: s.port}
}

func TestNamesAreUnique(t *testing.T) {
	l := newLab(t)
	l.station(l.net, "a", 0)
	if _, err := l.net.AddPort("a", Policy{}); !errors.Is(err, ErrExists) {
		t.Errorf("second port a: %v", err)
	}
	if _, err := l.sw.AddNetwork("lan", testConfig); !errors.Is(err, ErrExists) {
		t.Errorf("second network lan: %v", err)
	}
	full := l.network("full", testConfig)
	for i := range MaxPorts { // by AddPort this takes seconds
		full.ports = append(full.ports, &Port{network: full, name: fmt.Sprint("p", i)})
	}
	defer func() { full.ports = nil }()
	if _, err := full.AddPort("one more", Policy{}); !errors.Is(err, ErrTooMany) {
		t.Errorf("port %d: %v", MaxPorts+1, err)
	}
}

// Ports come and go in the middle of traffic between others: no frame of the
// others is lost, nothing panics, nothing is used after Close.
func TestChurnUnderTraffic(t *testing.T) {
	l := newLab(t)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	hello := ethernet(broadcast, b.mac, "")
	b.send(hello)
	a.expect(hello)
	stop := make(chan struct{})
	var churn sync.WaitGroup
	for g := range 3 {
		churn.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("c%d-%d", g, i%4)
				p, err := l.net.AddPort(name, Policy{})
				if err != nil {
					t.Error(err)
					return
				}
				io := &guarded{Port: memport.New(frame.Caps(rand.IntN(16)))}
				p.Attach(io, 1500, func(err error) { t.Error(err) })
				io.Inject(memport.Frame{Bytes: ethernet(broadcast, mac(name), "noise")})
				io.Inject(memport.Frame{Bytes: ethernet(a.mac, mac(name), "noise")})
				if i%2 == 0 {
					p.Detach()
				}
				l.net.RemovePort(name)
			}
		})
	}
	for i := range 3000 {
		f := ethernet(b.mac, a.mac, fmt.Sprint("steady ", i))
		a.send(f)
		for got := b.next(); string(got.Bytes) != string(f); got = b.next() {
			if string(got.Bytes[14:]) != "noise" {
				t.Fatalf("frame %d was overtaken by %q", i, got.Bytes[14:])
			}
		}
	}
	close(stop)
	churn.Wait()
	for _, e := range l.net.FDB() {
		if e.Port != "a" && e.Port != "b" {
			t.Errorf("entry of a removed port: %+v", e)
		}
	}
}

// guarded fails a test that sends to a closed port.
type guarded struct {
	*memport.Port
	mu     sync.Mutex
	closed bool
}

func (g *guarded) Send(f []*frame.Frame) (int, error) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed {
		panic("send on a closed port")
	}
	runtime.Gosched()
	return g.Port.Send(f)
}

func (g *guarded) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	return nil
}

// failing is a port whose interface vanishes.
type failing struct{ *memport.Port }

func (f failing) Recv([]*frame.Frame) (int, error) { return 0, ports.ErrDown }

func TestFailureIsReportedOnce(t *testing.T) {
	l := newLab(t)
	p, err := l.net.AddPort("gone", Policy{})
	if err != nil {
		t.Fatal(err)
	}
	failures := make(chan error, 2)
	p.Attach(failing{memport.New(0)}, 1500, func(err error) { failures <- err })
	if err := <-failures; err != ports.ErrDown {
		t.Errorf("failed with %v", err)
	}
	p.Detach()
	if len(failures) != 0 {
		t.Error("reported twice")
	}
}

// A burst is forwarded without allocating, in steady state.
func TestNoAllocation(t *testing.T) {
	everything := Policy{
		VLAN:     access(10),
		Security: Security{MaxMACs: 10, Sticky: true, Sources: []frame.MAC{mac("a")}},
		Storm:    Storm{1e6, 1e6, 1e6},
		Ingress:  Rate{Average: 1e9, Peak: 2e9, Burst: 1e6},
		Egress:   Rate{Average: 1e9, Peak: 2e9, Burst: 1e6},
	}
	trunk := everything
	trunk.VLAN, trunk.Security = vlans(0, [2]uint16{10, 20}), Security{}
	for name, policies := range map[string][2]Policy{
		"plain": {}, "everything": {everything, trunk}, "isolated": {{Isolated: true}, {Hairpin: true}},
		"vepa": {{Mode: VEPA}, {Uplink: true}}, "echo": {{Uplink: true}, {Mode: VEPA}},
	} {
		l := newLab(t)
		cfg := l.net.Config()
		cfg.Snooping.Enabled = true
		l.net.Reconfigure(cfg, nil)
		a := l.stationWith(l.net, "a", frame.CapAll, policies[0])
		b := l.stationWith(l.net, "b", frame.CapAll, policies[1])
		w, frames := idleWorker(l, a, b)
		for what, dst := range map[string]frame.MAC{"known": b.mac, "broadcast": broadcast, "multicast": {1, 0, 0x5e, 1, 1, 1}} {
			for _, f := range frames {
				copy(f.Bytes(), dst[:])
			}
			if n := testing.AllocsPerRun(100, func() { w.burst(frames) }); n != 0 {
				t.Errorf("%s, %s: %v allocations a burst", name, what, n)
			}
		}
	}
}

// idleWorker returns a worker for a's port that nobody runs, with a network
// whose other ports swallow what they get, and a full burst from a to b.
func idleWorker(l *lab, a, b *station) (*worker, []*frame.Frame) {
	a.port.Detach()
	b.port.Detach()
	b.port.Attach(sink{memport.New(frame.CapAll)}, 1500, func(error) {})
	if err := l.net.AddStatic(0, b.mac, b.port.name); err != nil {
		l.t.Fatal(err)
	}
	w := &worker{network: l.net, port: a.port}
	var frames []*frame.Frame
	for range ports.MaxBurst {
		f := &frame.Frame{}
		f.Set(append(make([]byte, frame.Headroom), ethernet(b.mac, a.mac, string(make([]byte, 46)))...), frame.Headroom)
		frames = append(frames, f)
	}
	w.burst(frames)
	return w, frames
}

// sink takes everything and keeps nothing.
type sink struct{ *memport.Port }

func (sink) Send(f []*frame.Frame) (int, error) { return len(f), nil }

func BenchmarkPipeline(b *testing.B) {
	l := newLab(&testing.T{})
	x, y := l.station(l.net, "x", frame.CapAll), l.station(l.net, "y", frame.CapAll)
	w, frames := idleWorker(l, x, y)
	defer l.sw.Close()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		w.burst(frames)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(frames)), "ns/frame")
}
