package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come. Nothing is measured by it.
const patience = 30 * time.Second

// clock is a clock that stands still until it is told.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// leases are Names in memory.
type leases map[string][]netip.Addr

func (l leases) Lookup(name string) []netip.Addr { return l[name] }

func (l leases) Reverse(addr netip.Addr) (string, bool) {
	for name, all := range l {
		if slices.Contains(all, addr) {
			return name, true
		}
	}
	return "", false
}

// journal is a log that a test reads.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.buf.String(), text)
}

// server is an upstream on loopback. handle says what it sends for a query: any
// number of messages over UDP, and their concatenation over TCP.
type server struct {
	t      *testing.T
	addr   string
	handle func(q *wire.Msg, network string) [][]byte
	mu     sync.Mutex
	asked  []string // "udp name TYPE"
	tasks  sync.WaitGroup
	conns  map[net.Conn]bool
	closed bool
	udp    net.PacketConn
	tcp    net.Listener
}

// newServer starts a server that answers with answer.
func newServer(t *testing.T, answer func(q *wire.Msg) *wire.Msg) *server {
	return newRawServer(t, func(q *wire.Msg, network string) [][]byte {
		m := answer(q)
		if m == nil {
			return nil
		}
		b, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return [][]byte{b}
	})
}

func newRawServer(t *testing.T, handle func(q *wire.Msg, network string) [][]byte) *server {
	t.Helper()
	return newServerAt(t, "127.0.0.1:0", handle)
}

func newServerAt(t *testing.T, at string, handle func(q *wire.Msg, network string) [][]byte) *server {
	t.Helper()
	s := &server{t: t, handle: handle, conns: map[net.Conn]bool{}}
	var err error
	for range 20 { // the port that UDP gets may be taken for TCP
		if s.udp, err = net.ListenPacket("udp", at); err != nil {
			continue
		}
		s.addr = s.udp.LocalAddr().String()
		if s.tcp, err = net.Listen("tcp", s.addr); err == nil {
			break
		}
		s.udp.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.tasks.Go(s.serveUDP)
	s.tasks.Go(s.serveTCP)
	t.Cleanup(s.stop)
	return s
}

func (s *server) stop() {
	s.udp.Close()
	s.tcp.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.tasks.Wait()
}

func (s *server) serveUDP() {
	buf := make([]byte, 65535)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		q := s.note(buf[:n], "udp")
		if q == nil {
			continue
		}
		s.tasks.Go(func() { // a slow answer holds up no other
			for _, b := range s.handle(q, "udp") {
				_, _ = s.udp.WriteTo(b, from)
			}
		})
	}
}

func (s *server) serveTCP() {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			c.Close()
		}
		s.conns[c] = true
		s.mu.Unlock()
		s.tasks.Go(func() {
			defer c.Close()
			var length [2]byte
			if _, err := io.ReadFull(c, length[:]); err != nil {
				return
			}
			msg := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(c, msg); err != nil {
				return
			}
			q := s.note(msg, "tcp")
			if q == nil {
				return
			}
			for _, b := range s.handle(q, "tcp") {
				_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
			}
		})
	}
}

// note writes a query down; nil where it is none. Probes are not counted.
func (s *server) note(msg []byte, network string) *wire.Msg {
	q := &wire.Msg{}
	if err := q.Unpack(bytes.Clone(msg)); err != nil || len(q.Question) != 1 {
		s.t.Errorf("an upstream got %x: %v", msg, err)
		return nil
	}
	if !strings.HasSuffix(q.Question[0].Name, ".weft-loop.test.") {
		s.mu.Lock()
		s.asked = append(s.asked, network+" "+q.Question[0].Name+" "+wire.TypeToString[q.Question[0].Qtype])
		s.mu.Unlock()
	}
	return q
}

func (s *server) queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func record(t testing.TB, text string) wire.RR {
	t.Helper()
	rr, err := wire.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// says answers a query with records: those of type SOA go into the authority section.
func says(t testing.TB, q *wire.Msg, rcode int, records ...string) *wire.Msg {
	m := new(wire.Msg).SetRcode(q, rcode)
	for _, text := range records {
		if rr := record(t, text); rr.Header().Rrtype == wire.TypeSOA {
			m.Ns = append(m.Ns, rr)
		} else {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

// lab is a resolver under test.
type lab struct {
	*Resolver
	t     testing.TB
	clock *clock
	log   *journal
}

func newLab(t testing.TB, cfg Config, names Names, change ...func(*Env)) *lab {
	t.Helper()
	l := &lab{t: t, clock: newClock(), log: &journal{}}
	env := Env{Now: l.clock.Now, ResolvConf: "/dev/null/none", Log: slog.New(slog.NewTextHandler(l.log, nil))}
	for _, c := range change {
		c(&env)
	}
	l.Resolver = New(cfg, names, env)
	t.Cleanup(l.Close)
	return l
}

// stub is a query as a stub resolver sends it.
func stub(name string, kind uint16) *wire.Msg {
	return new(wire.Msg).SetQuestion(wire.Fqdn(name), kind)
}

// send hands bytes over; the channel gets at most one reply, and is closed by
// nobody.
func (l *lab) send(msg []byte, tcp bool) <-chan []byte {
	replies := make(chan []byte, 4)
	borrowed := bytes.Clone(msg)
	l.Answer(borrowed, Client{Port: "a", TCP: tcp}, func(b []byte) { replies <- b })
	for i := range borrowed { // it was only borrowed
		borrowed[i] = 0xff
	}
	return replies
}

func (l *lab) pack(q *wire.Msg) []byte {
	l.t.Helper()
	b, err := q.Pack()
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

// exchange sends a query and waits for the reply, which must fit to it.
func (l *lab) exchange(q *wire.Msg, tcp bool) *wire.Msg {
	l.t.Helper()
	return l.receive(q, l.send(l.pack(q), tcp))
}

func (l *lab) receive(q *wire.Msg, replies <-chan []byte) *wire.Msg {
	l.t.Helper()
	select {
	case b := <-replies:
		m := &wire.Msg{}
		if err := m.Unpack(b); err != nil {
			l.t.Fatalf("reply %x: %v", b, err)
		}
		if m.Id != q.Id || !m.Response || !m.RecursionAvailable || m.RecursionDesired != q.RecursionDesired ||
			m.CheckingDisabled != q.CheckingDisabled || m.AuthenticatedData || m.Zero || m.Opcode != q.Opcode {
			l.t.Fatalf("header of the reply to %v: %+v", q, m.MsgHdr)
		}
		if len(q.Question) == 1 && (len(m.Question) != 1 || m.Question[0] != q.Question[0]) {
			l.t.Fatalf("question %v for %v", m.Question, q.Question)
		}
		if (q.IsEdns0() != nil) != (m.IsEdns0() != nil) {
			l.t.Fatalf("EDNS of %v answered by %v", q, m)
		}
		return m
	case <-time.After(patience):
		l.t.Fatalf("no reply to %v", q)
	}
	return nil
}

func (l *lab) ask(name string, kind uint16) *wire.Msg {
	l.t.Helper()
	return l.exchange(stub(name, kind), false)
}

// short writes down what matters of a reply: rcode, flags, and the records with
// the spaces as one.
func short(m *wire.Msg) string {
	out := []string{wire.RcodeToString[m.Rcode]}
	if m.Authoritative {
		out[0] += " aa"
	}
	if m.Truncated {
		out[0] += " tc"
	}
	for _, rr := range m.Answer {
		out = append(out, strings.Join(strings.Fields(rr.String()), " "))
	}
	for _, rr := range m.Ns {
		out = append(out, "ns: "+strings.Join(strings.Fields(rr.String()), " "))
	}
	for _, rr := range m.Extra {
		if rr.Header().Rrtype != wire.TypeOPT {
			out = append(out, "extra: "+strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	return strings.Join(out, " | ")
}

func (l *lab) expect(name string, kind uint16, want string) {
	l.t.Helper()
	if got := short(l.ask(name, kind)); got != want {
		l.t.Errorf("%s %s:\n got %s\nwant %s", name, wire.TypeToString[kind], got, want)
	}
}

// wait waits until a condition holds.
func (l *lab) wait(what string, cond func() bool) {
	l.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("%s: never", what)
		}
	}
}

func (l *lab) outcome(o Outcome) uint64 { return l.Stats().Queries[o] }

// dialer sends what is for one address to another: upstreams of the host are at
// port 53, where a test has nothing.
func dialer(to map[string]*server) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if s := to[address]; s != nil {
			address = s.addr
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}
