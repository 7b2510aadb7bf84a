package sockets

import (
	"errors"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

// Many connections at once, each with its own data.
func TestManyConnections(t *testing.T) { both(t, testManyConnections) }

func testManyConnections(t *testing.T, a *side) {
	l := newLab(t, a)
	ln := listen(t, l.world, at(a.worldIP, 0))
	go func() {
		for {
			far, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			go func() { // echo
				defer far.Close()
				_, _ = io.Copy(far, far)
			}()
		}
	}()
	const n = 500
	var all sync.WaitGroup
	fails := make(chan error, n)
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			c, _, err := l.guest.dial(addrOf(ln.Addr()))
			if err != nil {
				fails <- errors.New(err.String())
				return
			}
			defer c.Close()
			data := content(byte(i), 20000+i)
			go func() {
				_, _ = c.Write(data)
				_ = c.CloseWrite()
			}()
			fails <- expect(c, data)
		})
	}
	close(start)
	all.Wait()
	close(fails)
	for err := range fails {
		if err != nil {
			t.Fatal(err)
		}
	}
	l.eventually("no flow is left", func() bool { return len(l.s.Flows()) == 0 })
	l.s.table.mu.Lock()
	defer l.s.table.mu.Unlock()
	if tb := &l.s.table; tb.connecting != 0 || len(tb.hosts) != 0 || len(tb.entrances) != 0 || len(tb.list) != 0 {
		t.Errorf("the table is left with %d connecting, %d hosts", tb.connecting, len(tb.hosts))
	}
}

// One guest may have so many flows, all of them so many; others are not hurt.
func TestLimits(t *testing.T) { both(t, testLimits) }

func testLimits(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) { c.MaxFlows, c.MaxPerHost = 5, 3 })
	ln := listen(t, l.world, at(a.worldIP, 0))
	to := addrOf(ln.Addr())
	dial := func(from netip.Addr) bool {
		done := make(chan bool, 1)
		before := l.s.Stats()
		go func() {
			c, _, err := l.guest.dialFrom(netip.AddrPortFrom(from, 0), to)
			if err == nil {
				l.t.Cleanup(func() { c.Close() })
			}
			done <- err == nil
		}()
		ok := false
		l.eventually("it is let in or not", func() bool {
			select {
			case ok = <-done:
				return true
			default:
				return l.s.Stats().Refused != before.Refused
			}
		})
		return ok
	}
	got := []bool{dial(a.guestAddr), dial(a.guestAddr), dial(a.guestAddr), dial(a.guestAddr), dial(a.otherGuest), dial(a.otherGuest), dial(a.otherGuest)}
	for i, want := range []bool{true, true, true, false, true, true, false} {
		if got[i] != want {
			t.Errorf("connection %d is let in: %v", i, got[i])
		}
	}
	st := l.s.Stats()
	if st.Refused[HostFull] == 0 || st.Refused[TableFull] == 0 {
		t.Errorf("refused %v", st.Refused)
	}
	for _, e := range l.guest.stack.RegisteredEndpoints() {
		e.Abort() // those that still try
	}
	l.eventually("all are gone", func() bool { return l.s.Stats().TCP.Flows == 0 })
}

// The same for UDP, where one port is no more than one socket.
func TestUDPLimits(t *testing.T) { both(t, testUDPLimits) }

func testUDPLimits(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) { c.MaxFlows, c.MaxPerHost = 5, 3 })
	for i := range 20 {
		from := []netip.Addr{a.guestAddr, a.otherGuest}[i/10]
		l.guest.send(udpPacket(from, netip.AddrPortFrom(a.worldIP, uint16(1000+i)), 5000, []byte("x")), frame.Offload{})
	}
	l.eventually("they are refused", func() bool {
		st := l.s.Stats()
		return st.Refused[HostFull] == 7 && st.Refused[TableFull] == 8
	})
	if st := l.s.Stats(); st.UDP.Flows != 5 || st.Mappings != 2 {
		t.Errorf("stats %+v", st)
	}
}

// A flood of SYNs holds no more than it may, and nothing for ever.
func TestSYNFlood(t *testing.T) { both(t, testSYNFlood) }

func testSYNFlood(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		c.Env.Connect = func(int, netip.AddrPort) error { return unix.EINPROGRESS }
	})
	for i := range 3 * maxHostConnecting {
		l.guest.send(synPacket(a.guestAddr, netip.AddrPortFrom(a.worldIP, 80), uint16(1+i)), frame.Offload{})
		if i%256 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	l.eventually("it is refused", func() bool { return l.s.Stats().Refused[Connecting] > 0 })
	if n := l.s.Stats().TCP.Flows; n > maxHostConnecting {
		t.Errorf("%d flows", n)
	}
	if e, ok := l.s.table.admit(frame.ProtoTCP, a.otherGuest, "guest"); !ok {
		t.Errorf("another guest is refused: %s", e)
	}
	l.eventually("all are flushed in time", func() bool {
		l.s.sweep(l.s.now.Add(dialTime + 1))
		return l.s.Stats().TCP.Flows == 0
	})
}

// Who asks for silent addresses from many addresses of its own leaves room for the
// guests at other ports of the switch, and the kernel gives up soon.
func TestSYNFloodByPort(t *testing.T) { both(t, testSYNFloodByPort) }

func testSYNFloodByPort(t *testing.T, a *side) {
	var retries atomic.Int64
	l := newLab(t, a, func(c *Config) {
		c.Env.Connect = func(fd int, to netip.AddrPort) error {
			n, _ := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT)
			retries.Store(int64(n))
			if to.Addr() == a.far {
				return unix.EINPROGRESS
			}
			return unix.Connect(fd, toSockaddr(to))
		}
	})
	flood := func(port string, first byte, n int) {
		before := l.s.Stats().TCP.Made
		for i := range n {
			from := a.guestAt(int(first) + i/512)
			l.guest.sendBy(port, synPacket(from, netip.AddrPortFrom(a.far, 80), uint16(1+i)), frame.Offload{})
			if i%256 == 255 {
				l.eventually("they are taken in", func() bool { return l.s.Stats().TCP.Made-before > uint64(i) })
			}
		}
	}
	flood("a", 100, maxPortConnecting+256)
	l.eventually("the oldest make room", func() bool { return l.s.Stats().Refused[Connecting] == 256 })
	if n := l.s.Stats().TCP.Flows; n != maxPortConnecting {
		t.Errorf("one port has %d connections on their way", n)
	}
	flood("b", 120, maxConnecting-maxPortConnecting)
	if n := l.s.Stats().TCP.Flows; n != maxConnecting {
		t.Errorf("%d connections are on their way", n)
	}
	c, _, far := l.pair() // by a third port
	exchange(t, c, far)
	if n := l.s.Stats().Refused[Connecting]; n != 257 {
		t.Errorf("%d have made room", n)
	}
	if retries.Load() != synRetries {
		t.Errorf("the kernel asks again %d times", retries.Load())
	}
	l.s.Flush(nil)
	l.eventually("nothing is left", func() bool { return l.s.Stats().TCP.Flows == 0 })
}

// One port fills half of a large table, and the others have the rest.
func TestFlowsByPort(t *testing.T) { both(t, testFlowsByPort) }

func testFlowsByPort(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) { c.MaxFlows = leastShared })
	send := func(port string, from netip.Addr, i int) {
		l.guest.sendBy(port, udpPacket(from, netip.AddrPortFrom(a.worldIP, uint16(1000+i)), 5000, nil), frame.Offload{})
	}
	for i := range leastShared/2 + 10 {
		send("a", a.guestAt(100+i%2), i)
	}
	l.eventually("it is refused", func() bool { return l.s.Stats().Refused[HostFull] == 10 })
	if n := l.s.Stats().UDP.Flows; n != leastShared/2 {
		t.Errorf("one port has %d flows", n)
	}
	send("b", a.otherGuest, 0)
	l.eventually("another port has one", func() bool { return l.s.Stats().UDP.Flows == leastShared/2+1 })
}

// A connection of which one side is open lasts, one that only has to end does not wait
// for ever for a guest that is gone.
func TestTimeouts(t *testing.T) { both(t, testTimeouts) }

func testTimeouts(t *testing.T, a *side) {
	l := newLab(t, a)
	c, _, far := l.pair()
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	if l.s.sweep(l.s.now.Add(100000)); l.s.Flows()[0].State != "established" {
		t.Errorf("flows %+v", l.s.Flows())
	}
	l.guest.deaf.Store(true)
	l.guest.mute.Store(true)
	far.Close()
	l.eventually("it is closing", func() bool { return l.s.Flows()[0].State == "closing" })
	if l.s.sweep(l.s.now.Add(200)); len(l.s.Flows()) != 1 {
		t.Error("it has ended too soon")
	}
	l.s.sweep(l.s.now.Add(100))
	l.eventually("it is over", func() bool { return len(l.s.Flows()) == 0 })
}

// Flows to where guests may not go any more end, others do not.
func TestForbiddenLater(t *testing.T) { both(t, testForbiddenLater) }

func testForbiddenLater(t *testing.T, a *side) {
	l := newLab(t, a)
	c, _, far := l.pair()
	ln := listen(t, l.world, at(a.worldIP2, 0))
	c2, _ := l.dial(addrOf(ln.Addr()))
	cfg := l.cfg
	cfg.Allowed = func(to netip.Addr) bool { return to != a.worldIP2 }
	if err := l.s.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := c2.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	if _, err := far.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// The ports that stand for clients run out, and come back.
func TestRelayPorts(t *testing.T) {
	var ports dataplane.RelayPorts
	var tb table
	tb.init(&ports)
	tb.ephemeral.first, tb.ephemeral.last = 1024, 62999
	seen := map[uint16]bool{}
	for i := range 1<<16 - dataplane.RelayFirst {
		p, ok := tb.takeRelay(frame.ProtoTCP)
		if !ok || p < dataplane.RelayFirst || seen[p] || !ports.Has(frame.ProtoTCP, p) {
			t.Fatalf("port %d, %v", p, ok)
		}
		if free := 1<<16 - 63000; (p >= 63000) != (i < free) {
			t.Fatalf("port %d, the host's, after %d others", p, i)
		}
		seen[p] = true
	}
	if p, ok := tb.takeRelay(frame.ProtoTCP); ok {
		t.Errorf("port %d twice", p)
	}
	if _, ok := tb.takeRelay(frame.ProtoUDP); !ok {
		t.Error("UDP has none")
	}
	ports.Set(frame.ProtoTCP, 62000, false)
	if p, ok := tb.takeRelay(frame.ProtoTCP); !ok || p != 62000 {
		t.Errorf("port %d, %v, want 62000", p, ok)
	}
	tb.ephemeral.last = 65535
	if p, ok := tb.takeRelay(frame.ProtoUDP); !ok {
		t.Errorf("port %d: all are the host's, and none is taken", p)
	}
}
