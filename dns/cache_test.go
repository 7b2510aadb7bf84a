package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

const soaText = "test. 500 IN SOA ns.test. root.test. 1 2 3 4 120" // negative answers last 120 s

func TestCache(t *testing.T) {
	up := newServer(t, func(q *wire.Msg) *wire.Msg {
		return says(t, q, wire.RcodeSuccess, "www.test. 300 IN CNAME host.test.", "host.test. 60 IN A 192.0.2.1")
	})
	l := newLab(t, Config{Upstream: []string{up.addr}, Cache: 10}, nil).patient()
	for _, tt := range []struct {
		wait  time.Duration
		name  string
		want  string
		asked int
	}{
		{0, "www.test", "NOERROR | www.test. 300 IN CNAME host.test. | host.test. 60 IN A 192.0.2.1", 1},
		{0, "WWW.test", "NOERROR | WWW.test. 300 IN CNAME host.test. | host.test. 60 IN A 192.0.2.1", 1},
		{59*time.Second + 999*time.Millisecond, "www.test", "NOERROR | www.test. 241 IN CNAME host.test. | host.test. 1 IN A 192.0.2.1", 1},
		{time.Millisecond, "www.test", "NOERROR | www.test. 300 IN CNAME host.test. | host.test. 60 IN A 192.0.2.1", 2},
		{-time.Second, "www.test", "NOERROR | www.test. 300 IN CNAME host.test. | host.test. 60 IN A 192.0.2.1", 3}, // clock set back
	} {
		l.clock.advance(tt.wait)
		l.expect(tt.name, wire.TypeA, tt.want)
		if n := len(up.queries()); n != tt.asked {
			t.Errorf("after %v: asked %d times, want %d", tt.wait, n, tt.asked)
		}
	}
	if st := l.Stats(); st.Queries[Cached] != 2 || st.Queries[Forwarded] != 3 || st.CacheEntries != 1 {
		t.Errorf("%+v", st)
	}
}

// TestCacheKey: another type, DO or CD bit is another question; EDNS, TCP and the
// case of letters are not.
func TestCacheKey(t *testing.T) {
	up := newServer(t, func(q *wire.Msg) *wire.Msg {
		m := says(t, q, wire.RcodeNameError, soaText, "a.test. 60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 test. AAAA")
		m.Ns = append(m.Ns, record(t, "a.test. 60 IN NSEC b.test. A"), record(t, "a.test. 60 IN NS ns.test."))
		return m
	})
	l := newLab(t, Config{Upstream: []string{up.addr}, Cache: 10}, nil).patient()
	variants := map[string]bool{}
	for _, name := range []string{"a.test", "A.test"} {
		for _, kind := range []uint16{wire.TypeA, wire.TypeMX} {
			for bits := range 16 {
				q := stub(name, kind)
				do := bits&1 != 0
				if q.CheckingDisabled = bits&2 != 0; do || bits&4 != 0 {
					q.SetEdns0(1232, do)
				}
				m := l.exchange(q, bits&8 != 0)
				variants[fmt.Sprint(kind, bits&3)] = true
				want := "NXDOMAIN | ns: test. 120 IN SOA ns.test. root.test. 1 2 3 4 120"
				if do {
					want += " | ns: a.test. 60 IN NSEC b.test. A"
				}
				if do && kind == wire.TypeA {
					want = strings.Replace(want, "NXDOMAIN", "NXDOMAIN | a.test. 60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 test. AAAA", 1)
				}
				if got := strings.ReplaceAll(short(m), "A.test", "a.test"); got != want {
					t.Errorf("bits %x: got %s\nwant %s", bits, got, want)
				}
			}
		}
	}
	if n := len(up.queries()); n != len(variants) || n != 8 {
		t.Errorf("asked %d times for %d questions", n, len(variants))
	}
}

// TestCacheLife: what is kept, and for how long.
func TestCacheLife(t *testing.T) {
	for _, tt := range []struct {
		what    string
		rcode   int
		records []string
		life    time.Duration // 0: not kept
	}{
		{"NXDOMAIN", wire.RcodeNameError, []string{soaText}, 120 * time.Second},
		{"NODATA", wire.RcodeSuccess, []string{soaText}, 120 * time.Second},
		{"SOA with a short TTL", wire.RcodeNameError, []string{"test. 5 IN SOA a. b. 1 2 3 4 120"}, 5 * time.Second},
		{"a very long no", wire.RcodeNameError, []string{"test. 99999 IN SOA a. b. 1 2 3 4 99999"}, maxNegative},
		{"alias to nothing", wire.RcodeSuccess, []string{"x.test. 50 IN CNAME y.test.", soaText}, 50 * time.Second},
		{"no without SOA", wire.RcodeNameError, nil, 0},
		{"no with the SOA of others", wire.RcodeNameError, []string{"evil. 500 IN SOA a. b. 1 2 3 4 500"}, 0},
		{"alias to nowhere", wire.RcodeSuccess, []string{"x.test. 50 IN CNAME y.test."}, 0},
		{"TTL 0", wire.RcodeSuccess, []string{"x.test. 0 IN A 192.0.2.1"}, 0},
		{"shortest of two", wire.RcodeSuccess, []string{"x.test. 70 IN A 192.0.2.1", "x.test. 40 IN A 192.0.2.2"}, 40 * time.Second},
		{"a very long yes", wire.RcodeSuccess, []string{"x.test. 2000000000 IN A 192.0.2.1"}, maxLife},
		{"a negative TTL", wire.RcodeSuccess, []string{"x.test. 4294967295 IN A 192.0.2.1"}, 0},
		{"SERVFAIL", wire.RcodeServerFailure, []string{soaText}, 0},
	} {
		up := newServer(t, func(q *wire.Msg) *wire.Msg { return says(t, q, tt.rcode, tt.records...) })
		l := newLab(t, Config{Upstream: []string{up.addr}, Cache: 10}, nil).patient()
		l.ask("x.test", wire.TypeA)
		steps := []time.Duration{0}
		if tt.life > 0 {
			steps = []time.Duration{0, tt.life - 1, 1}
		}
		for i, d := range steps {
			l.clock.advance(d)
			m := l.ask("x.test", wire.TypeA)
			kept := len(up.queries()) == 1
			if want := tt.life > 0 && i < 2; kept != want {
				t.Errorf("%s, step %d: kept %v", tt.what, i, kept)
			}
			for _, rr := range append(m.Answer, m.Ns...) {
				if time.Duration(rr.Header().Ttl)*time.Second > maxLife {
					t.Errorf("%s: TTL %d", tt.what, rr.Header().Ttl)
				}
			}
		}
	}
}

// TestCacheBound: the number of entries is bounded, the used ones stay, and what
// is very large is not kept.
func TestCacheBound(t *testing.T) {
	up := newServer(t, func(q *wire.Msg) *wire.Msg {
		m := says(t, q, wire.RcodeSuccess, q.Question[0].Name+" 300 IN A 192.0.2.1")
		if q.Question[0].Name == "huge.test." {
			for i := range 1000 {
				m.Answer = append(m.Answer, record(t, fmt.Sprintf("huge.test. 300 IN A 10.0.%d.%d", i/256, i%256)))
			}
			m.Compress = true
		}
		return m
	})
	l := newLab(t, Config{Upstream: []string{up.addr}, Cache: 4}, nil).patient()
	for i := range 10 {
		l.ask(fmt.Sprintf("n%d.test", i), wire.TypeA)
		l.ask("often.test", wire.TypeA)
	}
	if st := l.Stats(); st.CacheEntries != 4 || st.Queries[Cached] != 9 {
		t.Errorf("%d entries, %v", st.CacheEntries, st.Queries)
	}
	l.clock.advance(300 * time.Second)
	l.Tick()
	if n := l.Stats().CacheEntries; n != 0 {
		t.Errorf("%d entries are left over", n)
	}
	e := &entry{question: question{name: "\x01a\x00"}, body: make([]byte, maxCached+1), life: time.Hour}
	if l.snapshot.Load().cache.put(e); l.Stats().CacheEntries != 0 {
		t.Error("a very large answer is kept")
	}
}

// TestCacheAndConfiguration: what came from servers that are still asked stays.
func TestCacheAndConfiguration(t *testing.T) {
	first, second, corp := addressServer(t, "192.0.2.1"), addressServer(t, "192.0.2.2"), addressServer(t, "192.0.2.3")
	cfg := Config{Domain: "lab", Cache: 10, Upstream: []string{first.addr}, Domains: map[string][]string{"corp.test": {corp.addr}, "lab": {corp.addr}}}
	l := newLab(t, cfg, nil).patient()
	ask := func(want string) {
		t.Helper()
		l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A "+want)
		l.expect("a.corp.test", wire.TypeA, "NOERROR | a.corp.test. 300 IN A 192.0.2.3")
		l.expect("a.lab", wire.TypeA, "NOERROR | a.lab. 300 IN A 192.0.2.3")
	}
	ask("192.0.2.1")
	cfg.Hosts = map[string][]netip.Addr{"new": addrs("10.0.0.1")}
	l.Reconfigure(cfg) // the same servers
	ask("192.0.2.1")
	if len(first.queries()) != 1 || len(corp.queries()) != 2 {
		t.Errorf("asked %q %q", first.queries(), corp.queries())
	}
	cfg.Upstream = []string{second.addr}
	l.Reconfigure(cfg)
	if n := l.Stats().CacheEntries; n != 2 {
		t.Errorf("%d entries", n)
	}
	ask("192.0.2.2")
	if len(second.queries()) != 1 || len(corp.queries()) != 2 {
		t.Errorf("asked %q %q", second.queries(), corp.queries())
	}
	cfg.Cache = 0
	l.Reconfigure(cfg)
	ask("192.0.2.2")
	ask("192.0.2.2")
	if len(second.queries()) != 3 || l.Stats().CacheEntries != 0 {
		t.Errorf("asked %q", second.queries())
	}
}

// TestLateAnswer: an answer that arrives after the servers have changed is for those
// who waited, and not for those who come later.
func TestLateAnswer(t *testing.T) {
	release := make(chan struct{})
	slow := newServer(t, func(q *wire.Msg) *wire.Msg {
		<-release
		return says(t, q, wire.RcodeSuccess, "a.test. 300 IN A 192.0.2.1")
	})
	other := addressServer(t, "192.0.2.2")
	cfg := Config{Cache: 10, Upstream: []string{slow.addr}}
	l := newLab(t, cfg, nil).patient()
	q := stub("a.test", wire.TypeA)
	late := l.send(l.pack(q), false)
	l.wait("the slow one is asked", func() bool { return len(slow.queries()) == 1 })
	cfg.Upstream = []string{other.addr}
	l.Reconfigure(cfg)
	l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A 192.0.2.2")
	close(release)
	if got := short(l.receive(q, late)); got != "NOERROR | a.test. 300 IN A 192.0.2.1" {
		t.Error(got)
	}
	l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A 192.0.2.2")
}

// TestCompressedNames: pointers and TTLs of a kept answer stay right, whatever the
// records are.
func TestCompressedNames(t *testing.T) {
	records := []string{
		"big.example.test. 300 IN MX 10 a.mail.example.test.", "big.example.test. 200 IN MX 20 b.mail.example.test.",
		"big.example.test. 100 IN MX 30 big.example.test.", "big.example.test. 90 IN MX 40 .",
	}
	up := newServer(t, func(q *wire.Msg) *wire.Msg {
		m := says(t, q, wire.RcodeSuccess, records...)
		m.Compress = true
		return m.SetEdns0(512, false)
	})
	l := newLab(t, Config{Upstream: []string{up.addr}, Cache: 10}, nil).patient()
	for age := range 3 {
		want := "NOERROR"
		for _, r := range records {
			rr := record(t, r)
			rr.Header().Ttl -= uint32(30 * age)
			want += " | " + strings.Join(strings.Fields(rr.String()), " ")
		}
		l.expect("big.example.test", wire.TypeMX, want)
		l.clock.advance(30 * time.Second)
	}
}

// TestConcurrent is for the race detector: everything at once.
func TestConcurrent(t *testing.T) {
	up := addressServer(t, "192.0.2.1")
	cfg := labConfig()
	cfg.Upstream, cfg.Cache = []string{up.addr}, 8
	l := newLab(t, cfg, labLeases()).patient()
	var tasks, replies sync.WaitGroup
	for worker := range 4 {
		tasks.Go(func() {
			for i := range 200 {
				name := []string{"db.lab", "web", "nobody.lab", fmt.Sprintf("n%d.test", (i+worker)%20)}[i%4]
				replies.Add(1)
				l.Answer(l.pack(stub(name, wire.TypeA)), Client{fmt.Sprint(worker), i%2 == 0}, func([]byte) { replies.Done() })
			}
		})
	}
	tasks.Go(func() {
		for i := range 50 {
			c := cfg
			c.Cache = 8 + i%2
			l.Reconfigure(c)
			l.Tick()
			l.Stats()
			l.clock.advance(20 * time.Second)
		}
	})
	tasks.Wait()
	replies.Wait()
	st := l.Stats()
	if n := st.Queries[Local] + st.Queries[NXDomain] + st.Queries[Cached] + st.Queries[Forwarded] + st.Queries[Failed]; n != 800 || st.Latency.Count != 800 {
		t.Errorf("%v, latency of %d", st.Queries, st.Latency.Count)
	}
}
