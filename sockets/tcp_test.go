package sockets

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// content returns bytes that only their seed foretells.
func content(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// expect reads to the end and compares.
func expect(r io.Reader, want []byte) error {
	h, n := sha256.New(), int64(0)
	n, err := io.Copy(h, r)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(want); n != int64(len(want)) || !bytes.Equal(h.Sum(nil), sum[:]) {
		return errors.New("other bytes have arrived")
	}
	return nil
}

// Data cross both ways at once, whole, and each side may end before the other.
func TestTransfer(t *testing.T) { both(t, testTransfer) }

func testTransfer(t *testing.T, a *side) {
	l := newLab(t, a)
	c, _, far := l.pair()
	there, back := content(1, 16<<20), content(2, 16<<20)
	var all sync.WaitGroup
	fails := make(chan error, 4)
	all.Go(func() { fails <- expect(far, there) })
	all.Go(func() { fails <- expect(c, back) })
	all.Go(func() {
		_, err := far.Write(back)
		fails <- errors.Join(err, far.CloseWrite())
	})
	all.Go(func() {
		_, err := c.Write(there)
		fails <- errors.Join(err, c.CloseWrite())
	})
	all.Wait()
	close(fails)
	for err := range fails {
		if err != nil {
			t.Error(err)
		}
	}
	if l.guest.supers.Load() == 0 {
		t.Error("no super-frame has come")
	}
	l.eventually("the flow is over", func() bool { return len(l.s.Flows()) == 0 })
}

// After one side has ended, the other goes on: both ways round.
func TestHalfClose(t *testing.T) { both(t, testHalfClose) }

func testHalfClose(t *testing.T, a *side) {
	l := newLab(t, a)
	for _, guestEnds := range []bool{true, false} {
		c, _, far := l.pair()
		var ends, other interface {
			net.Conn
			CloseWrite() error
		} = c, far
		if !guestEnds {
			ends, other = far, c
		}
		if err := ends.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := other.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("read %d, %v at the other end, want EOF", n, err)
		}
		for range 3 { // and not all at once
			if _, err := other.Write([]byte("more")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(ends, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
		}
		counted := func(v []Flow) bool {
			return len(v) == 1 && v[0].State == "established" && v[0].Bytes == 12 && v[0].Packets >= 6
		}
		for end := time.Now().Add(10 * time.Second); !counted(l.s.Flows()); time.Sleep(time.Millisecond) { // after it is written
			if time.Now().After(end) {
				t.Fatalf("flows %+v", l.s.Flows())
			}
		}
		if err := other.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := ends.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("read %d, %v at the end, want EOF", n, err)
		}
		l.eventually("the flow is over", func() bool { return len(l.s.Flows()) == 0 })
	}
}

// A flow tells who talks to whom.
func TestFlows(t *testing.T) { both(t, testFlows) }

func testFlows(t *testing.T, a *side) {
	l := newLab(t, a)
	c, _, far := l.pair()
	var v []Flow
	l.eventually("the connection is open", func() bool {
		v = l.s.Flows()
		return len(v) == 1 && v[0].State == "established"
	})
	want := Flow{
		Protocol: frame.ProtoTCP, State: "established", Guest: addrOf(c.LocalAddr()), Remote: addrOf(far.LocalAddr()),
		Seen: addrOf(far.LocalAddr()), Local: addrOf(far.RemoteAddr()), Packets: v[0].Packets,
	}
	if v[0] != want || v[0].Packets == 0 {
		t.Errorf("flow %+v, want %+v", v[0], want)
	}
	if n := l.s.Flush(func(f *Flow) bool { return f.Protocol == frame.ProtoUDP }); n != 0 {
		t.Errorf("%d flows of UDP flushed", n)
	}
	if n := l.s.Flush(func(f *Flow) bool { return f.Remote == want.Remote }); n != 1 {
		t.Errorf("%d flows flushed, want 1", n)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the world reads %v, want a reset", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("the guest reads %v, want a reset", err)
	}
	if st := l.s.Stats(); st.TCP.Made != 1 {
		t.Errorf("stats %+v", st)
	}
}

// Where nobody listens the guest is refused.
func TestRefused(t *testing.T) { both(t, testRefused) }

func testRefused(t *testing.T, a *side) {
	l := newLab(t, a)
	_, _, err := l.guest.dial(netip.AddrPortFrom(a.worldIP, 9))
	if _, ok := err.(*tcpip.ErrConnectionRefused); !ok {
		t.Errorf("connect: %v, want it refused", err)
	}
	l.eventually("no flow is left", func() bool { return len(l.s.Flows()) == 0 })
}

// What the network would say the guest hears, and about which packet.
func TestUnreachable(t *testing.T) { both(t, testUnreachable) }

func testUnreachable(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		c.Allowed = func(to netip.Addr) bool { return to != a.worldIP2 }
	})
	l.host.Run(t, "ip", "route", "add", "unreachable", a.unreachable)
	l.host.Run(t, "ip", "route", "add", "prohibit", a.forbidden)
	for _, test := range []struct {
		to   netip.Addr
		want icmpError
	}{
		{a.far, noNetwork},
		{last(netip.MustParsePrefix(a.unreachable), 1), noHost}, {last(netip.MustParsePrefix(a.forbidden), 129), prohibited},
		{a.worldIP2, prohibited}, {last(a.subnet, 77), prohibited},
		{last(a.link, 77), noHost}, // nobody answers ARP or neighbour discovery
	} {
		to := netip.AddrPortFrom(test.to, 80)
		go func() { _, _, _ = l.guest.dial(to) }() // its stack gives up, or not: ICMP is not delivered to it
		b := l.nextICMP()
		quoted := l4(l4(b)[icmpLen:])
		errorAbout(t, b, test.want, a.gatewayIP, frame.ProtoTCP, netip.AddrPortFrom(a.guestAddr, binary.BigEndian.Uint16(quoted)), to)
		l.guest.mute.Store(true) // of the attempts that its stack still makes
		l.s.Flush(nil)
		l.eventually("no flow is left", func() bool { return len(l.s.Flows()) == 0 })
		time.Sleep(10 * time.Millisecond)
		l.guest.mu.Lock()
		l.guest.icmp = nil
		l.guest.mu.Unlock()
		for _, e := range l.guest.stack.RegisteredEndpoints() {
			e.Abort()
		}
		l.guest.mute.Store(false)
	}
}

// Where nobody may go, nobody goes, whatever is allowed.
func TestNever(t *testing.T) { both(t, testNever) }

func testNever(t *testing.T, a *side) {
	l := newLab(t, a)
	sent := uint64(0)
	for _, text := range []string{
		"127.0.0.1", "0.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "0.0.0.0",
		"::1", "::", "ff02::1", "ff0e::1", "fe80::1", "::ffff:127.0.0.1", "::ffff:198.51.100.2",
	} {
		to := netip.MustParseAddr(text)
		for _, protocol := range []uint8{frame.ProtoTCP, frame.ProtoUDP, frame.ProtoICMP, frame.ProtoICMPv6} {
			if l.s.mayReach(protocol, netip.AddrPortFrom(to, 80)) {
				t.Errorf("a guest may reach %s", to)
			}
		}
		if familyOf(to) != a.fam {
			continue
		}
		for _, ip := range [][]byte{
			udpPacket(a.guestAddr, netip.AddrPortFrom(to, 53), 4000, []byte("x")), udpPacket(to, netip.AddrPortFrom(a.worldIP, 53), 4000, []byte("x")),
			synPacket(a.guestAddr, netip.AddrPortFrom(to, 53), 4000), echoPacket(a.guestAddr, to, 1, 1, nil),
		} {
			l.guest.send(ip, frame.Offload{})
			sent++
		}
	}
	l.guest.send(udpPacket(a.gatewayIP, netip.AddrPortFrom(a.worldIP, 53), 4000, []byte("x")), frame.Offload{})
	l.eventually("they are dropped", func() bool { return l.s.Stats().Bad == sent+1 })
	if v := l.s.Flows(); len(v) != 0 {
		t.Errorf("flows %+v", v)
	}
}

// The guest hears nothing before the host has connected.
func TestAnswersAfterConnect(t *testing.T) { both(t, testAnswersAfterConnect) }

func testAnswersAfterConnect(t *testing.T, a *side) {
	var held atomic.Int32
	held.Store(-1)
	l := newLab(t, a, func(c *Config) {
		c.Env.Connect = func(fd int, to netip.AddrPort) error {
			held.Store(int32(fd))
			return unix.EINPROGRESS
		}
	})
	var answers atomic.Int32
	l.guest.mu.Lock()
	l.guest.all = func(*frame.Frame) { answers.Add(1) }
	l.guest.mu.Unlock()
	ln := listen(t, l.world, at(a.worldIP, 0))
	done := make(chan tcpip.Error, 1)
	go func() {
		c, _, err := l.guest.dial(addrOf(ln.Addr()))
		if err == nil {
			c.Close()
		}
		done <- err
	}()
	l.eventually("the host connects", func() bool { return held.Load() >= 0 })
	if v := l.s.Flows(); len(v) != 1 || v[0].State != "syn-sent" {
		t.Errorf("flows %+v", v)
	}
	time.Sleep(1200 * time.Millisecond) // the guest asks again, once
	if n := answers.Load(); n != 0 {
		t.Errorf("the guest has had %d frames", n)
	}
	if err := unix.Connect(int(held.Load()), toSockaddr(addrOf(ln.Addr()))); err != nil && err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("connect: %v", err)
	}
}

// A reset goes through, in the midst of a transfer, also while nobody reads.
func TestReset(t *testing.T) { both(t, testReset) }

func testReset(t *testing.T, a *side) {
	for _, test := range []struct {
		name            string
		guest, blocked1 bool // who resets; whether the other one does not read
		blocked2        bool // whether the one that resets has not read
	}{
		{"by the guest", true, false, false},
		{"by the world", false, false, false},
		{"by the guest, while the world does not read", true, true, false},
		{"by the world, while the guest does not read", false, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, a)
			c, ep, far := l.pair()
			var from, to net.Conn = c, far
			if !test.guest {
				from, to = far, c
			}
			stopped := make(chan struct{})
			var sent atomic.Int64
			go func() {
				defer close(stopped)
				b := make([]byte, 64<<10)
				for {
					n, err := from.Write(b)
					sent.Add(int64(n))
					if err != nil {
						return
					}
				}
			}()
			if test.blocked1 {
				l.stalls(&sent)
			} else if _, err := io.ReadFull(to, make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
			if test.guest {
				ep.Abort()
			} else {
				_ = far.SetLinger(0)
				far.Close()
			}
			<-stopped
			l.eventually("the flow is over", func() bool { return len(l.s.Flows()) == 0 })
			if _, err := io.Copy(io.Discard, to); err == nil {
				t.Error("the other side sees an orderly end")
			}
		})
	}
}

// stalls waits until nothing is sent any more.
func (l *lab) stalls(sent *atomic.Int64) {
	l.t.Helper()
	was, since := int64(-1), time.Now()
	l.eventually("the sender has to wait", func() bool {
		if n := sent.Load(); n != was || n == 0 {
			was, since = n, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
}

// Whoever does not read stops the sender, after no more than the buffers hold, and
// gets all in the end.
func TestSlowReaders(t *testing.T) { both(t, testSlowReaders) }

func testSlowReaders(t *testing.T, a *side) {
	l := newLab(t, a)
	for _, guestReads := range []bool{true, false} {
		c, _, far := l.pair()
		var from, to net.Conn = far, c
		if !guestReads {
			from, to = c, far
			_ = far.SetReadBuffer(64 << 10)
		}
		data := content(3, 64<<20)
		var sent atomic.Int64
		go func() {
			for rest := data; len(rest) > 0; {
				n, err := from.Write(rest[:min(len(rest), 64<<10)])
				sent.Add(int64(n))
				if err != nil {
					return
				}
				rest = rest[n:]
			}
			_ = from.(interface{ CloseWrite() error }).CloseWrite()
		}()
		l.stalls(&sent)
		if n := sent.Load(); n > 32<<20 {
			t.Errorf("%d MiB have been taken", n>>20)
		}
		if err := expect(to, data); err != nil {
			t.Error(err)
		}
	}
}

// Single bytes for a guest that does not read do not pile up by number.
func TestSmallWrites(t *testing.T) { both(t, testSmallWrites) }

func testSmallWrites(t *testing.T, a *side) {
	l := newLab(t, a)
	c, _, far := l.pair()
	l.guest.deaf.Store(true)
	_ = far.SetNoDelay(true)
	const n = 40000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			if _, err := far.Write([]byte{byte(i)}); err != nil {
				return
			}
			if i%16 == 0 {
				time.Sleep(100 * time.Microsecond) // so that few go together
			}
		}
	}()
	<-done
	if held := l.s.Flows()[0].Bytes; held > n/2 || held < smallBuffer {
		t.Errorf("%d bytes lie in the stack", held)
	}
	l.guest.deaf.Store(false)
	_ = c.SetDeadline(time.Now().Add(3 * patience)) // the longer it has been deaf, the later it is tried
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		if b[i] != byte(i) {
			t.Fatalf("byte %d is %d", i, b[i])
		}
	}
}
