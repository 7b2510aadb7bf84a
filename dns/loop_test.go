package dns

import (
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// mirror is an upstream that asks the resolver itself for everything, while it is
// on; as the stub of a host does whose resolv.conf names the gateway.
type mirror struct {
	*server
	on       atomic.Bool
	resolver atomic.Pointer[Resolver]
	returned atomic.Int32
}

func newMirror(t *testing.T) *mirror {
	m := &mirror{}
	m.on.Store(true)
	m.server = newRawServer(t, func(q *wire.Msg, network string) [][]byte {
		r := m.resolver.Load()
		if !m.on.Load() || r == nil {
			b, err := says(t, q, wire.RcodeSuccess, q.Question[0].Name+" 300 IN A 192.0.2.9").Pack()
			if err != nil {
				t.Error(err)
			}
			return [][]byte{b}
		}
		m.returned.Add(1)
		b, err := q.Pack()
		if err != nil {
			t.Error(err)
		}
		reply := make(chan []byte, 1)
		r.Answer(b, Client{TCP: network == "tcp"}, func(b []byte) { reply <- b })
		select {
		case b := <-reply:
			return [][]byte{b}
		case <-time.After(2 * time.Second):
			return nil // dropped
		}
	})
	return m
}

func (l *lab) states() (out []State) {
	for _, u := range l.Stats().Upstreams {
		out = append(out, u.State)
	}
	return out
}

func TestLoop(t *testing.T) {
	m, good := newMirror(t), addressServer(t, "192.0.2.1")
	l := newLab(t, Config{Upstream: []string{m.addr, good.addr}}, nil).patient()
	m.resolver.Store(l.Resolver)
	l.Tick()
	l.wait("the loop is found", func() bool { return l.states()[0] == Loop })
	l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A 192.0.2.1")
	if n := len(m.queries()); n != 0 {
		t.Errorf("the loop was asked %q", m.queries())
	}
	if l.states()[1] != OK || l.log.count("asks this resolver in turn") != 1 {
		t.Errorf("states %v, log %s", l.states(), l.log.buf.String())
	}
	l.wait("the probes are over", func() bool { return !l.probing() })

	probes := m.returned.Load() // still looping: looked at again, and not told again
	l.clock.advance(probePause - time.Second)
	l.Tick()
	if l.probing() || m.returned.Load() != probes {
		t.Error("probed before its time")
	}
	l.clock.advance(time.Second)
	l.Tick()
	l.wait("the probes are over", func() bool { return m.returned.Load() == probes+1 && !l.probing() })
	if l.states()[0] != Loop || l.log.count("asks this resolver in turn") != 1 {
		t.Errorf("states %v", l.states())
	}

	m.on.Store(false) // and the loop ends
	l.clock.advance(probePause)
	l.Tick()
	l.wait("the upstream is back", func() bool { return l.states()[0] == OK })
	if l.log.count("no longer asks") != 1 {
		t.Error(l.log.buf.String())
	}
	l.wait("the probes are over", func() bool { return !l.probing() })
}

func (l *lab) probing() bool {
	us := l.forwarder.upstreams
	us.mu.Lock()
	defer us.mu.Unlock()
	for _, u := range us.all {
		if u.probing {
			return true
		}
	}
	return false
}

// TestLoopAppears: one that begins later is found at the next probe, and a change of
// the upstreams has all probed.
func TestLoopAppears(t *testing.T) {
	m, other := newMirror(t), addressServer(t, "192.0.2.1")
	m.on.Store(false)
	cfg := Config{Upstream: []string{m.addr}}
	l := newLab(t, cfg, nil).patient()
	m.resolver.Store(l.Resolver)
	l.Tick()
	l.wait("the probes are over", func() bool { return !l.probing() })
	l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A 192.0.2.9")
	m.on.Store(true)
	l.Tick()
	if l.probing() {
		t.Error("probed without need")
	}
	cfg.Upstream = []string{other.addr, m.addr}
	l.Reconfigure(cfg)
	l.Tick()
	l.wait("the loop is found", func() bool { return l.states()[1] == Loop })
}

// TestLoopBeforeItIsKnown: a query that comes back waits for itself, and nothing
// multiplies.
func TestLoopBeforeItIsKnown(t *testing.T) {
	m := newMirror(t)
	l := newLab(t, Config{Upstream: []string{m.addr}}, nil).hasty(300*time.Millisecond, 300*time.Millisecond)
	m.resolver.Store(l.Resolver)
	l.expect("a.test", wire.TypeA, "SERVFAIL")
	if n := m.returned.Load(); n != 1 {
		t.Errorf("the query went round %d times", n)
	}
}

// TestOnlyLoops: with nobody else to ask there is an answer all the same.
func TestOnlyLoops(t *testing.T) {
	m := newMirror(t)
	l := newLab(t, Config{Upstream: []string{m.addr}}, nil).patient()
	m.resolver.Store(l.Resolver)
	l.Tick()
	l.wait("the loop is found", func() bool { return l.states()[0] == Loop })
	l.expect("a.test", wire.TypeA, "SERVFAIL")
}

// TestProbesOfOthers: a chain of resolvers finds loops that go through all of it, so
// probes that are not ours go on. A guest that makes some up moves nothing.
func TestProbesOfOthers(t *testing.T) {
	up := newServer(t, func(q *wire.Msg) *wire.Msg { return says(t, q, wire.RcodeNameError) })
	l := newLab(t, Config{Upstream: []string{up.addr}}, nil).patient()
	l.Tick()
	for _, name := range []string{"0123456789abcdef.weft-loop.test", "x.weft-loop.test", "weft-loop.test"} {
		l.expect(name, wire.TypeTXT, "NXDOMAIN")
	}
	if l.states()[0] != OK || l.outcome(Forwarded) != 3 {
		t.Errorf("state %v, %v", l.states(), l.Stats().Queries)
	}
}

// TestLoopThroughAnother: two resolvers that ask each other.
func TestLoopThroughAnother(t *testing.T) {
	toA, toB := newMirror(t), newMirror(t)
	a := newLab(t, Config{Upstream: []string{toB.addr}}, nil).patient()
	b := newLab(t, Config{Upstream: []string{toA.addr}}, nil).patient()
	toA.resolver.Store(a.Resolver)
	toB.resolver.Store(b.Resolver)
	a.Tick()
	a.wait("a finds the loop", func() bool { return a.states()[0] == Loop })
}
