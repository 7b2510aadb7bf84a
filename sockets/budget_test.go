package sockets

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

// lent is a loan that notes when it is taken away.
type lent struct {
	used  int64
	taken bool
}

func (l *lent) lastUse() int64 { return l.used }
func (l *lent) evict()         { l.taken = true }

// spender takes from a budget by one port.
type spender struct {
	b     *Budget
	u     user
	loans []*lent
	holds []*holding
}

func (s *spender) take(n int) (got int) {
	for range n {
		h := s.b.take(s.u)
		if h == nil {
			return got
		}
		l := &lent{}
		h.lend(l)
		s.holds, s.loans = append(s.holds, h), append(s.loans, l)
		got++
	}
	return got
}

// left returns which loans have not been taken away.
func (s *spender) left() (n int) {
	for _, l := range s.loans {
		if !l.taken {
			n++
		}
	}
	return n
}

// One port has a quarter at the most, one of several networks three quarters; where
// all is used up who has less gets from who has the most.
func TestBudgetShares(t *testing.T) {
	b, one, two := newBudget(100), new(Sockets), new(Sockets)
	b.join(one)
	ports := make([]*spender, 6)
	for i, name := range []string{"a", "b", "c", "d", "e", outside} {
		ports[i] = &spender{b: b, u: user{one, name}}
	}
	for _, p := range ports[:4] {
		if n := p.take(100); n != 25 {
			t.Errorf("port %s has %d", p.u.port, n)
		}
	}
	if n := ports[4].take(20); n != 20 {
		t.Errorf("the fifth port has %d of 20", n)
	}
	total := 0
	for _, p := range ports {
		if n := p.left(); p.u.port != outside && n < 19 {
			t.Errorf("port %s is left with %d", p.u.port, n)
		}
		total += p.left()
	}
	if total != 100 || b.used != 100 {
		t.Errorf("%d are in use, %d by its own count", total, b.used)
	}
	b.join(two)
	other := &spender{b: b, u: user{two, "a"}}
	if n := other.take(25); n != 25 || other.left() != 25 {
		t.Errorf("a port of another network has %d, is left with %d", n, other.left())
	}
	if n := ports[5].take(1); n != 1 || other.left() != 25 {
		t.Errorf("the first network has %d more, and the other %d", n, other.left())
	}
	for _, p := range append(ports, other) {
		for _, h := range p.holds {
			h.release()
			h.release() // as the end of what is evicted comes later
		}
	}
	if b.used != 0 || len(b.users) != 0 || b.networks[one] != 0 || b.networks[two] != 0 {
		t.Errorf("what is left: %d, %v, %v", b.used, b.users, b.networks)
	}
}

// One of two networks leaves a quarter to the other one.
func TestBudgetOfNetwork(t *testing.T) {
	b, one, two := newBudget(100), new(Sockets), new(Sockets)
	b.join(one)
	b.join(two)
	total := 0
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		p := &spender{b: b, u: user{one, name}}
		p.take(25)
		for _, h := range p.holds {
			h.keep() // so that nothing can be taken away
		}
		total += len(p.holds)
	}
	if total != 75 {
		t.Errorf("the first network has %d", total)
	}
	p := &spender{b: b, u: user{two, "a"}}
	if n := p.take(100); n != 25 {
		t.Errorf("the other network has %d", n)
	}
	for _, h := range p.holds {
		h.keep()
	}
	if n := (&spender{b: b, u: user{two, "b"}}).take(1); n != 0 {
		t.Error("more than there is")
	}
}

// What goes is what has not been used for longest; a port's own only after a while, and
// what must be kept stays.
func TestBudgetVictims(t *testing.T) {
	b, s := newBudget(16), new(Sockets)
	p := &spender{b: b, u: user{s, "a"}}
	if p.take(5) != 4 {
		t.Fatal("a port has not its quarter")
	}
	s.now.Store(100)
	for i, l := range p.loans {
		l.used = []int64{100, 75, 71, 80}[i]
	}
	if p.take(1) != 0 {
		t.Error("what was used 29 seconds ago goes")
	}
	for i, goes := range []int{2, 1, 3} {
		s.now.Store([]int64{101, 105, 110}[i])
		if p.take(1) != 1 || !p.loans[goes].taken || p.left() != 4 {
			t.Errorf("%d stays; %d are left", goes, p.left())
		}
		p.loans[len(p.loans)-1].used = 110
	}
	for _, h := range p.holds {
		h.keep()
	}
	s.now.Store(1000)
	if p.take(1) != 0 {
		t.Error("what must be kept goes")
	}
}

// The budget of a process is half of what it may open.
func TestNewBudget(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur != limit.Max {
		t.Errorf("the limit is %d of %d: Go has not raised it", limit.Cur, limit.Max)
	}
	if b := NewBudget(); uint64(b.max) > limit.Cur/2 || b.max < 4 {
		t.Errorf("%d of %d", b.max, limit.Cur)
	}
}

// A guest that sends from many addresses uses up neither the descriptors of the process
// nor those of other guests, and what has not been used goes for who has less.
func TestDescriptors(t *testing.T) { both(t, testDescriptors) }

func testDescriptors(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) { c.Budget = newBudget(16) })
	far := udpIn(t, l.world, at(a.worldIP, 0))
	to := addrOf(far.LocalAddr())
	spray := func(port string, n int) {
		for i := range n {
			from := a.guestAt(100 + i)
			l.guest.sendBy(port, udpPacket(from, to, 1000, []byte(port)), frame.Offload{})
		}
	}
	spray("a", 20)
	l.eventually("the others are refused", func() bool { return l.s.Stats().Refused[NoSocket] == 16 })
	if st := l.s.Stats(); st.Mappings != 4 || st.UDP.Flows != 4 {
		t.Errorf("one port has %d sockets, %d flows", st.Mappings, st.UDP.Flows)
	}
	for _, port := range []string{"b", "c", "d"} {
		spray(port, 4) // the same endpoints: they are there
		for i := range 4 {
			l.guest.sendBy(port, udpPacket(a.guestAddr, to, uint16(2000+i)+uint16(port[0])*8, nil), frame.Offload{})
		}
	}
	l.eventually("all are in use", func() bool { return l.s.Stats().Mappings == 16 })
	fds := l.descriptors()
	l.guest.sendBy("e", udpPacket(a.otherGuest, to, 3000, []byte("late")), frame.Offload{})
	for got := ""; got != "late"; {
		b, _ := receiveUDP(t, far)
		got = string(b)
	}
	if st := l.s.Stats(); st.Mappings != 16 || st.UDP.Flows != 16 {
		t.Errorf("%d sockets, %d flows", st.Mappings, st.UDP.Flows)
	}
	if n := l.descriptors(); n != fds {
		t.Errorf("%d descriptors, before that %d", n, fds)
	}
	l.s.Flush(nil)
	l.eventually("all is given back", func() bool {
		b := l.s.budget
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.used == 0 && len(b.users) == 0
	})
}

// descriptors returns how many descriptors the process has that are sockets of ours.
func (l *lab) descriptors() int {
	l.s.ready.mu.Lock()
	defer l.s.ready.mu.Unlock()
	return len(l.s.ready.jobs)
}

// Connections count too, those of clients as somebody's of their own; a guest that is
// refused asks again, and gets one once there is one.
func TestDescriptorsOfConnections(t *testing.T) { both(t, testDescriptorsOfConnections) }

func testDescriptorsOfConnections(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		c.Budget = newBudget(4)
		c.Publish = []Publish{publish(frame.ProtoTCP, at(a.anywhere, 2200), at(a.guestAddr, 22), true)}
	})
	ln := l.server(a.guestAddr, 22)
	c, _, far := l.pair()
	defer c.Close()
	more := listen(t, l.world, at(a.worldIP, 0))
	done := make(chan error, 1)
	go func() {
		second, _, err := l.guest.dial(addrOf(more.Addr()))
		if err != nil {
			done <- io.ErrUnexpectedEOF
			return
		}
		second.Close()
		done <- nil
	}()
	l.eventually("it is refused", func() bool { return l.s.Stats().Refused[NoSocket] > 0 })
	client := dialFrom(t, l.world, at(a.hostIP, 2200))
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = in.SetDeadline(time.Now().Add(patience))
	exchange(t, client, in)
	exchange(t, c, far)
	var another net.Conn
	l.world.Do(func() { another, err = net.DialTimeout("tcp", at(a.hostIP, 2200), patience) })
	if err == nil { // the reset has not come yet
		defer another.Close()
		_ = another.SetDeadline(time.Now().Add(patience))
		_, err = another.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a client too many gets %v", err)
	}
	in.Close()
	client.Close()
	c.Close()
	far.Close()
	if err := <-done; err != nil {
		t.Error("the guest never gets its connection")
	}
}

// Raw sockets, which are few, are shared in the same way.
func TestRawShares(t *testing.T) { both(t, testRawShares) }

func testRawShares(t *testing.T, a *side) {
	l := newLab(t, a)
	if l.s.echo[a.fam.index].kind != unix.SOCK_RAW {
		t.Skip("there are ping sockets")
	}
	for i := range maxRaw {
		l.guest.sendBy("a", echoPacket(a.guestAddr, a.worldIP, uint16(i), 1, nil), frame.Offload{})
	}
	l.eventually("the others are refused", func() bool { return l.s.Stats().Refused[NoSocket] == maxRaw*3/4 })
	l.guest.sendBy("b", echoPacket(a.otherGuest, a.worldIP, 1, 1, nil), frame.Offload{})
	l.eventually("another guest pings", func() bool { return a.fam.destination(l.nextICMP()) == a.otherGuest })
}
