package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// addressServer knows every name by one address.
func addressServer(t *testing.T, addr string) *server {
	return newServer(t, func(q *wire.Msg) *wire.Msg {
		return says(t, q, wire.RcodeSuccess, q.Question[0].Name+" 300 IN A "+addr)
	})
}

// silent is an upstream that takes queries and says nothing.
func silent(t *testing.T) *server {
	return newServer(t, func(*wire.Msg) *wire.Msg { return nil })
}

// patient gives every attempt all the time there is: a test of what is said must
// not fail because a machine is slow.
func (l *lab) patient() *lab {
	l.forwarder.attempt, l.forwarder.deadline = patience, patience
	return l
}

// hasty is for upstreams that never answer.
func (l *lab) hasty(attempt, deadline time.Duration) *lab {
	l.forwarder.attempt, l.forwarder.deadline = attempt, deadline
	return l
}

func TestForward(t *testing.T) {
	up := newServer(t, func(q *wire.Msg) *wire.Msg {
		o := q.IsEdns0()
		if !q.RecursionDesired || o == nil || o.UDPSize() != 1232 || len(o.Option) != 0 || q.AuthenticatedData || q.CheckingDisabled != (q.Question[0].Qtype == wire.TypeAAAA) {
			t.Errorf("an upstream is asked %v", q)
		}
		m := says(t, q, wire.RcodeSuccess, "www.example.com. 300 IN CNAME host.example.com.", "host.example.com. 60 IN A 192.0.2.1")
		m.Authoritative, m.AuthenticatedData, m.Zero = true, true, true // none of which is for us to pass on
		return m.SetEdns0(4096, o.Do())
	})
	l := newLab(t, Config{Upstream: []string{up.addr}}, nil).patient()
	const want = "NOERROR | WWW.example.com. 300 IN CNAME host.example.com. | host.example.com. 60 IN A 192.0.2.1"
	m := l.exchange(stub("WWW.example.com", wire.TypeA).SetEdns0(1232, true), false)
	if got := short(m); got != want || !m.IsEdns0().Do() {
		t.Errorf("got %s, want %s", got, want)
	}
	l.expect("WWW.example.com", wire.TypeA, want)
	cd := stub("WWW.example.com", wire.TypeAAAA)
	cd.CheckingDisabled = true
	if got := short(l.exchange(cd, true)); got != "NOERROR | WWW.example.com. 300 IN CNAME host.example.com." {
		t.Errorf("CD: %s", got)
	}
	if got := up.queries(); len(got) != 3 || got[0] != "udp www.example.com. A" {
		t.Errorf("upstream was asked %q", got)
	}
	if n := l.outcome(Forwarded); n != 3 {
		t.Errorf("%d forwarded", n)
	}
	st := l.Stats()
	if st.Latency.Count != 3 || len(st.Latency.Counts) != len(st.Latency.Bounds)+1 || st.CacheEntries != 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestNotForwarded: what has no business outside stays here.
func TestNotForwarded(t *testing.T) {
	up := addressServer(t, "192.0.2.1")
	cfg := labConfig()
	cfg.Upstream = []string{up.addr}
	l := newLab(t, cfg, labLeases()).patient()
	for _, name := range []string{"nobody", "nobody.lab", "web", "x.onion", "7.122.168.192.in-addr.arpa", "www.example"} {
		l.ask(name, wire.TypeA)
		l.ask(name, wire.TypeAAAA)
		l.ask(name, wire.TypeANY)
	}
	q := stub("elsewhere.test", wire.TypeA)
	q.RecursionDesired = false
	if m := l.exchange(q, false); m.Rcode != wire.RcodeRefused {
		t.Error(m)
	}
	if got := up.queries(); len(got) != 0 {
		t.Errorf("upstream was asked %q", got)
	}
	l.ask("nobody", wire.TypeNS) // but for addresses, such a name is one as any
	l.ask("only.text", wire.TypeA)
	l.ask(".", wire.TypeA)
	if got := up.queries(); len(got) != 3 {
		t.Errorf("upstream was asked %q", got)
	}
	cfg.ForwardPlain = true
	l.Reconfigure(cfg)
	l.expect("nobody", wire.TypeA, "NOERROR | nobody. 300 IN A 192.0.2.1")
	l.expect("web", wire.TypeA, "NOERROR aa | web. 10 IN A 192.168.122.50")
}

// TestDomains: each domain goes its own way, the longest one counts.
func TestDomains(t *testing.T) {
	rest, corp, deep := addressServer(t, "192.0.2.1"), addressServer(t, "192.0.2.2"), addressServer(t, "192.0.2.3")
	cfg := labConfig()
	cfg.Upstream = []string{rest.addr}
	cfg.Domains = map[string][]string{
		"Corp.Example":      {corp.addr},
		"deep.corp.example": {deep.addr},
		"no.corp.example":   {},
		"lab":               {corp.addr}, // the local domain has servers, too
		"122.168.192.in-addr.arpa": {
			corp.addr,
		},
	}
	l := newLab(t, cfg, labLeases()).patient()
	for name, want := range map[string]string{
		"x.example": "192.0.2.1", "corp.example": "192.0.2.2", "x.CORP.example": "192.0.2.2", "notcorp.example": "192.0.2.1",
		"a.b.deep.corp.example": "192.0.2.3", "other.lab": "192.0.2.2", "9.122.168.192.in-addr.arpa": "192.0.2.2",
	} {
		l.expect(name, wire.TypeA, "NOERROR | "+name+". 300 IN A "+want)
	}
	l.expect("x.no.corp.example", wire.TypeA, noName+"no.corp.example."+soaData)
	l.expect("no.corp.example", wire.TypeA, noData+"no.corp.example."+soaData)
	l.expect("web.lab", wire.TypeA, "NOERROR aa | web.lab. 10 IN A 192.168.122.50")
	l.expect("50.122.168.192.in-addr.arpa", wire.TypePTR, "NOERROR aa | 50.122.168.192.in-addr.arpa. 10 IN PTR web.lab.")
	var got []string
	for _, u := range l.Stats().Upstreams {
		got = append(got, u.Domain+"="+u.State.String())
	}
	if s := strings.Join(got, " "); s != "=ok 122.168.192.in-addr.arpa=ok Corp.Example=ok deep.corp.example=ok lab=ok" {
		t.Error(s)
	}
}

// TestFailover: the next one on silence, refusal or SERVFAIL; then the good one first.
func TestFailover(t *testing.T) {
	good := addressServer(t, "192.0.2.1")
	refusing := newServer(t, func(q *wire.Msg) *wire.Msg { return says(t, q, wire.RcodeServerFailure) })
	gone := silent(t)
	gone.stop() // nothing is at its port
	quiet := silent(t)
	l := newLab(t, Config{Upstream: []string{gone.addr, quiet.addr, refusing.addr, good.addr}}, nil)
	l.hasty(time.Second, patience)
	l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A 192.0.2.1")
	if len(quiet.queries()) != 1 || len(refusing.queries()) != 1 {
		t.Errorf("asked: %q %q", quiet.queries(), refusing.queries())
	}
	states := func() (out []State) {
		for _, u := range l.Stats().Upstreams {
			out = append(out, u.State)
		}
		return out
	}
	if got := fmt.Sprint(states()); got != "[failing failing ok ok]" {
		t.Error(got)
	}
	l.expect("b.test", wire.TypeA, "NOERROR | b.test. 300 IN A 192.0.2.1")
	if len(quiet.queries()) != 1 || len(refusing.queries()) != 1 {
		t.Errorf("the good one was not asked first: %q %q", quiet.queries(), refusing.queries())
	}
	if n := l.log.count("does not answer"); n != 2 {
		t.Errorf("%d warnings", n)
	}
}

// TestFailingIsTriedAgain: after a pause, by a probe and not at a guest's expense.
func TestFailingIsTriedAgain(t *testing.T) {
	good := addressServer(t, "192.0.2.1")
	var mu sync.Mutex
	dead := true
	sick := newServer(t, func(q *wire.Msg) *wire.Msg {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			return nil
		}
		return says(t, q, wire.RcodeSuccess, q.Question[0].Name+" 300 IN A 192.0.2.2")
	})
	l := newLab(t, Config{Upstream: []string{sick.addr, good.addr}}, nil).hasty(500*time.Millisecond, patience)
	l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A 192.0.2.1")
	state := func() State { return l.Stats().Upstreams[0].State }
	if state() != Failing {
		t.Fatalf("state %v", state())
	}
	mu.Lock()
	dead = false
	mu.Unlock()
	l.forwarder.attempt = patience
	l.clock.advance(failingPause - time.Millisecond)
	l.Tick() // probes the good one only
	if state() != Failing {
		t.Errorf("state %v before the pause was over", state())
	}
	l.clock.advance(time.Millisecond)
	l.Tick()
	l.wait("upstream is ok", func() bool { return state() == OK })
	if n := l.log.count("answers again"); n != 1 {
		t.Errorf("%d messages", n)
	}
	if len(sick.queries()) != 1 {
		t.Errorf("guests paid for it: %q", sick.queries())
	}
}

// TestAllFail: SERVFAIL in the end, and what an upstream said where it said why.
func TestAllFail(t *testing.T) {
	quiet := silent(t)
	l := newLab(t, Config{Upstream: []string{quiet.addr}, Cache: 10}, nil).hasty(200*time.Millisecond, patience)
	l.expect("a.test", wire.TypeA, "SERVFAIL")
	if n := len(quiet.queries()); n != maxRounds {
		t.Errorf("asked %d times", n)
	}
	if n := l.log.count("does not answer"); n != 1 {
		t.Errorf("the log has it %d times", n)
	}
	strange := newServer(t, func(q *wire.Msg) *wire.Msg { // BADVERS: half of the code is in the OPT record
		m := says(t, q, wire.RcodeSuccess, "a.test. 300 IN A 6.6.6.6").SetEdns0(512, false)
		m.Rcode = wire.RcodeBadVers
		return m
	})
	l = newLab(t, Config{Upstream: []string{strange.addr}, Cache: 10}, nil).patient()
	l.expect("a.test", wire.TypeA, "SERVFAIL")
	refusing := newServer(t, func(q *wire.Msg) *wire.Msg { return says(t, q, wire.RcodeRefused) })
	l = newLab(t, Config{Upstream: []string{refusing.addr}, Cache: 10}, nil).patient()
	l.expect("a.test", wire.TypeA, "REFUSED")
	l.expect("a.test", wire.TypeA, "REFUSED")
	if n := len(refusing.queries()); n != 2 {
		t.Errorf("asked %d times: a failure was kept, or asked for again", n)
	}
	if n := l.outcome(Failed); n != 2 {
		t.Errorf("%d failed", n)
	}
}

// TestDeadline: a query ends, whatever its upstreams do.
func TestDeadline(t *testing.T) {
	var list []string
	for range 5 {
		list = append(list, silent(t).addr)
	}
	l := newLab(t, Config{Upstream: list}, nil).hasty(time.Minute, 100*time.Millisecond)
	l.expect("a.test", wire.TypeA, "SERVFAIL")
	if st := l.Stats(); st.Upstreams[0].State != OK {
		t.Error("an upstream that had no time for an answer is called failing")
	}
}

// TestLies: only an answer with the id and the question counts.
func TestLies(t *testing.T) {
	up := newRawServer(t, func(q *wire.Msg, _ string) (out [][]byte) {
		add := func(change func(m *wire.Msg)) {
			m := says(t, q, wire.RcodeSuccess, q.Question[0].Name+" 300 IN A 6.6.6.6")
			change(m)
			b, err := m.Pack()
			if err != nil {
				t.Error(err)
			}
			out = append(out, b)
		}
		add(func(m *wire.Msg) { m.Id++ })
		add(func(m *wire.Msg) { m.Response = false })
		add(func(m *wire.Msg) { m.Opcode = wire.OpcodeNotify })
		add(func(m *wire.Msg) { m.Question[0].Name = "other.test." })
		add(func(m *wire.Msg) { m.Question[0].Qtype = wire.TypeAAAA })
		add(func(m *wire.Msg) { m.Question[0].Qclass = wire.ClassCHAOS })
		add(func(m *wire.Msg) { m.Question = nil })
		add(func(m *wire.Msg) { m.Question = append(m.Question, m.Question[0]) })
		out = append(out, []byte{}, []byte{1, 2, 3})
		add(func(m *wire.Msg) {
			m.Question[0].Name = strings.ToUpper(m.Question[0].Name)
			m.Answer[0].(*wire.A).A = net.IPv4(192, 0, 2, 1)
		})
		return out
	})
	l := newLab(t, Config{Upstream: []string{up.addr}, Cache: 10}, nil).patient()
	l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A 192.0.2.1")
}

// TestBailiwick: records that do not answer the question are not passed on.
func TestBailiwick(t *testing.T) {
	up := newServer(t, func(q *wire.Msg) *wire.Msg {
		name := q.Question[0].Name
		m := says(t, q, wire.RcodeSuccess,
			"bank.test. 300 IN A 6.6.6.6", // of another name
			name+" 300 IN MX 1 mail.evil.test.",
			"c.test. 300 IN A 192.0.2.1",
			"b.test. 300 IN CNAME c.test.", // in any order
			name+" 300 IN CNAME b.test.",
			"x.test. 300 IN DNAME evil.test.",
			"test. 300 IN DNAME example.",
			name+" 300 CH A 6.6.6.7")
		m.Ns = append(m.Ns, record(t, "bank.test. 300 IN NS ns.evil.test."), record(t, "test. 300 IN SOA a. b. 1 2 3 4 5"))
		m.Extra = append(m.Extra, record(t, "bank.test. 300 IN A 6.6.6.6"))
		return m
	})
	l := newLab(t, Config{Upstream: []string{up.addr}, Cache: 10}, nil).patient()
	want := "NOERROR | c.test. 300 IN A 192.0.2.1 | b.test. 300 IN CNAME c.test. | a.test. 300 IN CNAME b.test. | test. 300 IN DNAME example."
	l.expect("a.test", wire.TypeA, want)
	l.expect("a.test", wire.TypeA, want)
	if n := len(up.queries()); n != 1 {
		t.Errorf("asked %d times", n)
	}
	l.ask("bank.test", wire.TypeA)
	if n := len(up.queries()); n != 2 {
		t.Error("bank.test was answered by what came beside something else")
	}
}

// TestAliasLoop: aliases that go round, and ever on.
func TestAliasLoop(t *testing.T) {
	up := newServer(t, func(q *wire.Msg) *wire.Msg {
		if q.Question[0].Name == "round.test." {
			return says(t, q, wire.RcodeSuccess, "round.test. 9 IN CNAME b.test.", "b.test. 9 IN CNAME round.test.")
		}
		var chain []string
		for i := range 100 {
			chain = append(chain, fmt.Sprintf("n%d.test. 9 IN CNAME n%d.test.", i, i+1))
		}
		return says(t, q, wire.RcodeSuccess, chain...)
	})
	l := newLab(t, Config{Upstream: []string{up.addr}, Cache: 10}, nil).patient()
	l.expect("round.test", wire.TypeA, "NOERROR | round.test. 9 IN CNAME b.test. | b.test. 9 IN CNAME round.test.")
	if m := l.ask("n0.test", wire.TypeA); len(m.Answer) != maxChain+1 {
		t.Errorf("%d aliases", len(m.Answer))
	}
	if l.Stats().CacheEntries != 0 {
		t.Error("an alias to nothing was kept")
	}
}

// TestCutShort: TC means TCP, and what is cut there too is no answer.
func TestCutShort(t *testing.T) {
	up := newRawServer(t, func(q *wire.Msg, network string) [][]byte {
		m := says(t, q, wire.RcodeSuccess)
		m.Truncated = network == "udp" || q.Question[0].Name == "never.test."
		if network == "tcp" {
			for i := range 200 {
				m.Answer = append(m.Answer, record(t, fmt.Sprintf("%s 300 IN A 10.0.0.%d", q.Question[0].Name, i)))
			}
		}
		if network == "tcp" && q.Question[0].Name == "lie.test." {
			m.Id++
		}
		b, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		if network == "tcp" && q.Question[0].Name == "gone.test." {
			return nil
		}
		return [][]byte{b}
	})
	l := newLab(t, Config{Upstream: []string{up.addr}, Cache: 10}, nil).patient()
	if m := l.exchange(stub("big.test", wire.TypeA), true); len(m.Answer) != 200 || m.Truncated {
		t.Errorf("%d answers", len(m.Answer))
	}
	if m := l.ask("big.test", wire.TypeA); len(m.Answer) != 0 || !m.Truncated || m.Rcode != 0 {
		t.Errorf("over UDP: %v", m)
	}
	if got := strings.Join(up.queries(), ", "); got != "udp big.test. A, tcp big.test. A" {
		t.Errorf("asked %q", got)
	}
	for _, name := range []string{"never.test", "lie.test", "gone.test"} {
		l.expect(name, wire.TypeA, "SERVFAIL")
	}
	if st := l.Stats(); st.CacheEntries != 1 {
		t.Errorf("%d entries", st.CacheEntries)
	}
}

// TestNoEDNS: a server from before 1999 is asked without.
func TestNoEDNS(t *testing.T) {
	for _, rcode := range []int{wire.RcodeFormatError, wire.RcodeNotImplemented} {
		up := newRawServer(t, func(q *wire.Msg, _ string) [][]byte {
			m := says(t, q, wire.RcodeSuccess, q.Question[0].Name+" 300 IN A 192.0.2.1")
			if q.IsEdns0() != nil {
				m = new(wire.Msg).SetRcode(q, rcode)
				m.Question = nil // some cannot even say what it is about
			}
			b, err := m.Pack()
			if err != nil {
				t.Error(err)
			}
			return [][]byte{b}
		})
		l := newLab(t, Config{Upstream: []string{up.addr}}, nil).patient()
		l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A 192.0.2.1")
	}
}

// TestStrangeAnswers: an answer that cannot be read is as none.
func TestStrangeAnswers(t *testing.T) {
	tails := map[string][]byte{
		"loop.test.":  {0xc0, 27, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4}, // a name that is itself
		"half.test.":  {0xc0, 12, 0, 1, 0, 1, 0, 0},
		"short.test.": {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 3, 1, 2, 3}, // an address of 3 bytes
	}
	up := newRawServer(t, func(q *wire.Msg, _ string) [][]byte {
		b, err := says(t, q, wire.RcodeSuccess).Pack()
		if err != nil {
			t.Error(err)
		}
		b[7] = 1
		return [][]byte{append(b, tails[q.Question[0].Name]...)}
	})
	good := addressServer(t, "192.0.2.1")
	for name := range tails {
		l := newLab(t, Config{Upstream: []string{up.addr, good.addr}}, nil).patient()
		l.expect(name, wire.TypeA, "NOERROR | "+name+" 300 IN A 192.0.2.1")
	}
}

// TestCutRecord: the codec reads a record that ends early, and would write it so that
// nobody else can.
func TestCutRecord(t *testing.T) {
	q := question{name: "\x01a\x04test\x00", kind: wire.TypeSOA}
	msg := appendQuery(nil, 7, q, false)
	msg[2], msg[7] = 0x80, 1
	msg = append(msg, 0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 9)
	if e, err := readAnswer(append(msg, 0, 3, 1, 'n', 0), q, time.Now()); err == nil {
		t.Errorf("half a record: %+v", e)
	}
	if e, err := readAnswer(append(msg, 0, 0), q, time.Now()); err != nil || e.answers != 0 {
		t.Errorf("a record of nothing: %+v, %v", e, err)
	}
	whole := append([]byte{0, 26, 1, 'n', 0, 1, 'r', 0}, make([]byte, 20)...)
	if e, err := readAnswer(append(msg, whole...), q, time.Now()); err != nil || e.answers != 1 {
		t.Errorf("a whole record: %+v, %v", e, err)
	}
}

// TestCoalescing: a question in flight is asked once, and all who ask it are
// answered as they asked.
func TestCoalescing(t *testing.T) {
	release := make(chan struct{})
	up := newServer(t, func(q *wire.Msg) *wire.Msg {
		<-release
		return says(t, q, wire.RcodeSuccess, q.Question[0].Name+" 300 IN A 192.0.2.1")
	})
	l := newLab(t, Config{Upstream: []string{up.addr}}, nil).patient()
	var queries []*wire.Msg
	var replies []<-chan []byte
	for i := range 50 {
		q := stub([]string{"a.test", "A.TEST", "a.Test"}[i%3], wire.TypeA)
		if i%2 == 0 {
			q.SetEdns0(1232, false)
		}
		queries, replies = append(queries, q), append(replies, l.send(l.pack(q), i%5 == 0))
	}
	other := l.send(l.pack(stub("a.test", wire.TypeA).SetEdns0(512, true)), false) // another question
	l.wait("both are asked", func() bool { return len(up.queries()) == 2 })
	close(release)
	for i, q := range queries {
		m := l.receive(q, replies[i])
		if got, want := short(m), "NOERROR | "+q.Question[0].Name+" 300 IN A 192.0.2.1"; got != want {
			t.Errorf("%d: %s", i, got)
		}
	}
	<-other
	if n := len(up.queries()); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// TestFlood: too many questions in flight, and too many who ask one, are dropped
// without a goroutine or memory, and all is free again afterwards.
func TestFlood(t *testing.T) {
	up := addressServer(t, "192.0.2.1")
	release := make(chan struct{})
	var over atomic.Bool
	stuck := func(ctx context.Context, network, address string) (net.Conn, error) {
		if <-release; !over.Load() {
			return nil, errors.New("stuck")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	l := newLab(t, Config{Upstream: []string{up.addr}}, nil, func(e *Env) { e.Dial = stuck }).patient()
	var mu sync.Mutex
	replied := 0
	reply := func([]byte) { mu.Lock(); replied++; mu.Unlock() }
	sent := 0
	send := func(name string, n int) {
		for range n { // from more ports than can have all they may
			l.Answer(l.pack(stub(name, wire.TypeA)), Client{Port: fmt.Sprint(sent % 5)}, reply)
			sent++
		}
	}
	send("same.test", maxJoined+100)
	if n := l.outcome(Dropped); n != 100 {
		t.Errorf("%d dropped of one question", n)
	}
	for i := range maxFlights + 99 {
		send(fmt.Sprintf("n%d.test", i), 1)
	}
	if n := l.outcome(Dropped); n != 200 {
		t.Errorf("%d dropped", n)
	}
	for i := range maxFlights - 1 {
		send(fmt.Sprintf("n%d.test", i), 9)
	}
	if n := l.outcome(Dropped); n != 200+9*(maxFlights-1)-(maxWaiting-maxJoined-(maxFlights-1)) {
		t.Errorf("%d dropped", n)
	}
	l.forwarder.mu.Lock()
	if len(l.forwarder.flights) != maxFlights || l.forwarder.waiting != maxWaiting {
		t.Errorf("%d flights, %d waiting", len(l.forwarder.flights), l.forwarder.waiting)
	}
	l.forwarder.mu.Unlock()
	close(release)
	l.wait("all are answered", func() bool { mu.Lock(); defer mu.Unlock(); return replied == maxWaiting })
	over.Store(true)
	l.expect("after.test", wire.TypeA, "NOERROR | after.test. 300 IN A 192.0.2.1")
	if l.forwarder.mu.Lock(); len(l.forwarder.flights) != 0 || l.forwarder.waiting != 0 {
		t.Errorf("%d flights, %d waiting", len(l.forwarder.flights), l.forwarder.waiting)
	}
	l.forwarder.mu.Unlock()
}

// TestFairness: no port has more than its share of anything, and what it had it gets
// again.
func TestFairness(t *testing.T) {
	release := make(chan struct{})
	stuck := func(context.Context, string, string) (net.Conn, error) {
		<-release
		return nil, errors.New("stuck")
	}
	l := newLab(t, Config{Upstream: []string{"192.0.2.1"}}, nil, func(e *Env) { e.Dial = stuck }).patient()
	taken := func(what, port string, n, want int, name func(i int) string) {
		t.Helper()
		before := l.outcome(Dropped)
		for i := range n {
			l.Answer(l.pack(stub(name(i), wire.TypeA)), Client{Port: port, TCP: i%2 == 0}, func([]byte) {})
		}
		if got := n - int(l.outcome(Dropped)-before); got != want {
			t.Errorf("%s: %d of %d taken, want %d", what, got, n, want)
		}
	}
	const flights, joined, waiting = maxFlights / 4, maxJoined / 4, maxWaiting / 4
	named := func(format string, of int) func(int) string {
		return func(i int) string { return fmt.Sprintf(format, i%of) }
	}
	same := func(int) string { return "same.test" }
	taken("all flights", "a", maxFlights, flights, named("a%d.test", maxFlights))
	taken("a flight of another", "b", 1, 1, same)
	taken("all places of that", "a", maxJoined, joined, same)
	taken("the places of another", "b", maxJoined, joined-1, same)
	taken("all places", "a", maxWaiting, waiting-flights-joined, named("a%d.test", flights))
	taken("a place of another", "b", 1, 1, named("a%d.test", flights))
	taken("the flights of another", "b", maxFlights, flights-1, named("b%d.test", maxFlights))
	close(release)
	shares := func() int {
		l.forwarder.mu.Lock()
		defer l.forwarder.mu.Unlock()
		return len(l.forwarder.shares)
	}
	l.wait("nothing waits", func() bool { return shares() == 0 })
}

// TestClose: nothing is under way afterwards (see TestMain), and nobody is answered.
func TestClose(t *testing.T) {
	up := silent(t)
	l := newLab(t, Config{Upstream: []string{up.addr}}, nil).patient()
	var replies []<-chan []byte
	for i := range 20 {
		replies = append(replies, l.send(l.pack(stub(fmt.Sprintf("n%d.test", i), wire.TypeA)), false))
	}
	l.Tick()
	l.wait("all are asked", func() bool { return len(up.queries()) == 20 })
	l.Close()
	l.Close()
	l.Tick()
	replies = append(replies, l.send(l.pack(stub("late.test", wire.TypeA)), false))
	for i, r := range replies {
		select {
		case b := <-r:
			t.Errorf("query %d was answered with %x", i, b)
		default:
		}
	}
	if got := l.Stats().Upstreams[0].State; got != OK {
		t.Errorf("the end is no failure of an upstream: %v", got)
	}
}

// TestFreshSockets: each query has a port and an id of its own.
func TestFreshSockets(t *testing.T) {
	var mu sync.Mutex
	ports, ids := map[string]bool{}, map[uint16]bool{}
	up := newServer(t, func(q *wire.Msg) *wire.Msg {
		mu.Lock()
		ids[q.Id] = true
		mu.Unlock()
		return says(t, q, wire.RcodeNameError)
	})
	var open []net.Conn
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			mu.Lock()
			ports[c.LocalAddr().String()] = true
			open = append(open, c)
			mu.Unlock()
		}
		return c, err
	}
	l := newLab(t, Config{Upstream: []string{up.addr}}, nil, func(e *Env) { e.Dial = dial }).patient()
	for i := range 50 {
		l.expect(fmt.Sprintf("n%d.test", i), wire.TypeA, "NXDOMAIN")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ports) < 30 || len(ids) < 45 || len(open) != 50 { // a few may come twice by chance
		t.Errorf("%d ports, %d ids, %d sockets", len(ports), len(ids), len(open))
	}
	for _, c := range open {
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a socket was left open: %v", err)
		}
	}
}

func TestUpstreamNames(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "192.0.2.1:5353": "192.0.2.1:5353", "2001:db8::1": "[2001:db8::1]:53",
		"[2001:db8::1]:99": "[2001:db8::1]:99", "fe80::1%eth0": "[fe80::1%eth0]:53", "[fe80::1%eth0]:53": "[fe80::1%eth0]:53",
		"::ffff:192.0.2.1": "192.0.2.1:53", "dns.example": "", "": "", "192.0.2.1:0": "", "192.0.2.1:x": "", "192.0.2": "",
	} {
		got, err := parseUpstream(text)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	cfg := labConfig()
	cfg.Upstream = []string{"bad upstream", "192.168.122.1", "192.168.122.1:5353", "fd00:1::1", "192.0.2.1", "192.0.2.1:53"}
	l := newLab(t, cfg, nil)
	var got []string
	for _, u := range l.Stats().Upstreams {
		got = append(got, u.Address)
	}
	if s := strings.Join(got, " "); s != "192.168.122.1:5353 192.0.2.1:53" {
		t.Error(s)
	}
	if l.log.count("is this resolver itself") != 2 || l.log.count("is no address") != 1 {
		t.Error(l.log.buf.String())
	}
}
