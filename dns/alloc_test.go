package dns

import (
	"fmt"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// hotQueries are those that must be answered at once, and how much each may
// allocate: the reply, and the name where a lease is looked up by it.
func hotQueries(tb testing.TB, l *lab) map[string]struct {
	msg    []byte
	allocs float64
} {
	out := map[string]struct {
		msg    []byte
		allocs float64
	}{}
	add := func(what string, q *wire.Msg, allocs float64) {
		out[what] = struct {
			msg    []byte
			allocs float64
		}{l.pack(q), allocs}
	}
	edns := func(q *wire.Msg) *wire.Msg { return q.SetEdns0(1232, false) }
	add("cached", stub("www.example.test", wire.TypeA), 1)
	add("cached, EDNS", edns(stub("WWW.example.test", wire.TypeA)), 1)
	add("static", stub("db.lab", wire.TypeA), 1)
	add("service", stub("_ldap._tcp", wire.TypeSRV), 2)
	add("no data", stub("printer.lab", wire.TypeAAAA), 1)
	add("reverse", stub("20.122.168.192.in-addr.arpa", wire.TypePTR), 1)
	add("lease", stub("web.lab", wire.TypeA), 2)
	add("no name", edns(stub("nobody.lab", wire.TypeA)), 2)
	add("refused", stub("version.bind", wire.TypeAXFR), 1)
	return out
}

func hotLab(tb testing.TB) *lab {
	cfg := labConfig()
	cfg.Cache = 1000
	cfg.Upstream = []string{"192.0.2.1"}
	l := newLab(tb, cfg, labLeases())
	s := l.snapshot.Load()
	for i := range 1000 { // a full cache, and among them the one that is asked for
		name := fmt.Sprintf("n%d.example.test.", i)
		if i == 500 {
			name = "www.example.test."
		}
		q := stub(name, wire.TypeA)
		msg, err := says(tb, q, 0, name+" 300 IN CNAME host.example.test.", "host.example.test. 300 IN A 192.0.2.7").Pack()
		if err != nil {
			tb.Fatal(err)
		}
		key, _ := wireName(name)
		e, err := readAnswer(msg, question{name: key, kind: wire.TypeA}, l.clock.Now())
		if err != nil {
			tb.Fatal(err)
		}
		e.group = s.routes.rest
		s.cache.put(e)
	}
	l.clock.advance(7 * time.Second)
	return l
}

func TestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	l := hotLab(t)
	for what, q := range hotQueries(t, l) {
		replies := 0
		reply := func(b []byte) { replies++ }
		if n := testing.AllocsPerRun(1000, func() { l.Answer(q.msg, Client{Port: "a"}, reply) }); n > q.allocs || replies != 1001 {
			t.Errorf("%s: %v allocations, want %v; %d replies", what, n, q.allocs, replies)
		}
	}
	if l.outcome(Cached) != 2002 {
		t.Errorf("%v", l.Stats().Queries)
	}
}

// TestCollision: keys of the cache are hashes, and two questions may have the same.
func TestCollision(t *testing.T) {
	l := hotLab(t)
	s := l.snapshot.Load()
	victim := parsed(t, "victim.test.")
	victim.kind = wire.TypeA
	forged := &entry{question: question{name: "\x04evil\x04test\x00", kind: wire.TypeA}, group: s.routes.rest, born: l.clock.Now(), life: time.Hour}
	s.cache.entries.Add(s.cache.hash(victim.key(), wire.TypeA, false, false), forged)
	if e, _ := s.cache.get(victim, s.routes.rest, l.clock.Now()); e != nil {
		t.Error("answered with the answer to another question")
	}
	for _, q := range []question{{kind: wire.TypeMX}, {kind: wire.TypeA, do: true}, {kind: wire.TypeA, cd: true}} {
		q.name = string(victim.key())
		forged = &entry{question: q, group: s.routes.rest, born: l.clock.Now(), life: time.Hour}
		s.cache.entries.Add(s.cache.hash(victim.key(), wire.TypeA, false, false), forged)
		if e, _ := s.cache.get(victim, s.routes.rest, l.clock.Now()); e != nil {
			t.Errorf("answered with the answer to %+v", q)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	l := hotLab(b)
	l.env.Now = time.Now // as it costs
	for _, e := range l.snapshot.Load().cache.entries.Values() {
		e.born = time.Now()
	}
	for what, q := range hotQueries(b, l) {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				l.Answer(q.msg, Client{Port: "a"}, func([]byte) {})
			}
		})
	}
}
