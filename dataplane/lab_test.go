package dataplane

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/memport"
)

// lab is a switch with one network, and stations on ports in memory.
type lab struct {
	t   *testing.T
	sw  *Switch
	net *Network
}

var testConfig = NetworkConfig{MTU: 1500, FDB: fdb.Config{Limit: 1024, Ageing: 300 * time.Second}}

func newLab(t *testing.T) *lab {
	sw := New()
	t.Cleanup(sw.Close)
	l := &lab{t: t, sw: sw}
	l.net = l.network("lan", testConfig)
	return l
}

func (l *lab) network(name string, cfg NetworkConfig) *Network {
	n, err := l.sw.AddNetwork(name, cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// station is a host on a port.
type station struct {
	t    *testing.T
	mac  frame.MAC
	io   *memport.Port
	port *Port
	v    family // of what is on the wire, in place of IPv4
}

func (l *lab) station(n *Network, name string, caps frame.Caps) *station {
	l.t.Helper()
	return l.stationWith(n, name, caps, Policy{})
}

func (l *lab) stationWith(n *Network, name string, caps frame.Caps, policy Policy) *station {
	p, err := n.AddPort(name, policy)
	if err != nil {
		l.t.Fatal(err)
	}
	s := &station{t: l.t, mac: mac(name), io: memport.New(caps), port: p}
	p.Attach(s.io, n.Config().MTU, func(err error) { l.t.Errorf("port %s failed: %v", name, err) })
	return s
}

// mac derives an address from a name.
func mac(name string) frame.MAC {
	m := frame.MAC{2}
	copy(m[1:], name)
	return m
}

// ethernet builds a frame with an experimental EtherType (IEEE 802: 88b5).
func ethernet(dst, src frame.MAC, payload string) []byte {
	b := append(append(append([]byte(nil), dst[:]...), src[:]...), 0x88, 0xb5)
	return append(b, payload...)
}

// tagged inserts an 802.1Q tag.
func tagged(b []byte, vid uint16) []byte {
	tag := binary.BigEndian.AppendUint16([]byte{0x81, 0x00}, vid)
	return append(append(append([]byte(nil), b[:12]...), tag...), b[12:]...)
}

func (s *station) send(b []byte) { s.sendOffload(b, frame.Offload{}) }

func (s *station) sendOffload(b []byte, o frame.Offload) {
	s.t.Helper()
	if s.v.six {
		b, o = to6(s.t, b, o)
	}
	if !s.io.Inject(memport.Frame{Bytes: b, Offload: o}) {
		s.t.Fatal("station cannot send: queue full")
	}
}

// next returns the next frame that reaches the station.
func (s *station) next() memport.Frame {
	s.t.Helper()
	got := make(chan memport.Frame, 1)
	go func() {
		f, _ := s.io.Next()
		got <- f
	}()
	select {
	case f := <-got:
		if s.v.six && isReport(f.Bytes) {
			return s.next()
		}
		return s.read(f)
	case <-time.After(20 * time.Second):
		s.t.Fatalf("%s: no frame came", s.mac)
	}
	panic("unreachable")
}

// poll returns a frame that waits at the station, if one does.
func (s *station) poll() (memport.Frame, bool) {
	f, ok := s.io.Poll()
	if ok && s.v.six && isReport(f.Bytes) {
		return s.poll()
	}
	if ok {
		f = s.read(f)
	}
	return f, ok
}

// isReport reports whether a frame says which groups a gateway of IPv6 listens to, as
// nothing in IPv4 does.
func isReport(b []byte) bool { return frame.MAC(b) == ndp.GroupMAC(mldv2Routers) }

// read is a frame from the wire as tests know it.
func (s *station) read(f memport.Frame) memport.Frame {
	if s.v.six {
		f.Bytes, f.Offload = to4(s.t, f.Bytes, f.Offload)
	}
	return f
}

// expect fails unless exactly b comes next.
func (s *station) expect(b []byte) {
	s.t.Helper()
	if f := s.next(); string(f.Bytes) != string(b) {
		s.t.Fatalf("%s received\n% x, want\n% x", s.mac, f.Bytes, b)
	}
}

// receives returns whether b is what reached the station, false where nothing
// did. Something else fails. See silent for when to call it.
func (s *station) receives(b []byte) bool {
	s.t.Helper()
	f, ok := s.poll()
	if ok && string(f.Bytes) != string(b) {
		s.t.Fatalf("%s received\n% x, want\n% x", s.mac, f.Bytes, b)
	}
	return ok
}

// settle waits until the worker of the station's port has handled n frames in
// all, and what they led to has been sent.
func (s *station) settle(n uint64) {
	s.t.Helper()
	eventually(s.t, func() bool { return s.port.Stats().Rx.Frames == n }, func() {
		s.t.Errorf("%s: %d frames handled, want %d", s.mac, s.port.Stats().Rx.Frames, n)
	})
	s.port.network.mu.Lock()
	s.port.network.grace() // until the burst has ended
	s.port.network.mu.Unlock()
}

// silent fails if a frame is waiting. Call it when a later frame of the same
// sender has arrived elsewhere: a worker handles bursts in order.
func (s *station) silent() {
	s.t.Helper()
	if f, ok := s.poll(); ok {
		s.t.Fatalf("%s received an unexpected frame: % x", s.mac, f.Bytes)
	}
}

// drops waits until the port has counted n frames under v.
func (s *station) drops(v Verdict, n uint64) {
	s.t.Helper()
	eventually(s.t, func() bool { return s.port.Stats().Drops[v] == n }, func() {
		s.t.Errorf("port %s: drops %v, want %d %s", s.port.Name(), s.port.Stats().Drops, n, v)
	})
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, ok func() bool, complain func()) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			complain()
			t.FailNow()
		}
	}
}
