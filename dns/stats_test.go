package dns

import (
	"fmt"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

func TestOutcomes(t *testing.T) {
	seen := map[string]bool{}
	for o := range outcomes + 1 {
		seen[o.String()] = true
	}
	if len(seen) != int(outcomes)+1 || !seen["local"] || !seen["dropped"] || !seen["unknown"] {
		t.Errorf("names %v", seen)
	}
	if got := fmt.Sprint(OK, Failing, Loop); got != "ok failing loop" {
		t.Error(got)
	}
}

// TestLatency: each answer is counted once, by how long it took.
func TestLatency(t *testing.T) {
	c := newClock()
	up := newServer(t, func(q *wire.Msg) *wire.Msg {
		c.advance(30 * time.Millisecond)
		return says(t, q, wire.RcodeSuccess, q.Question[0].Name+" 300 IN A 192.0.2.1")
	})
	cfg := labConfig()
	cfg.Upstream = []string{up.addr}
	l := newLab(t, cfg, nil, func(e *Env) { e.Now = c.Now }).patient()
	l.ask("db.lab", wire.TypeA)
	l.ask("a.test", wire.TypeA)
	l.ask("b.test", wire.TypeA)
	h := l.Stats().Latency
	if h.Count != 3 || h.Counts[0] != 1 || h.Sum != 0.06 {
		t.Errorf("%+v", h)
	}
	for i, b := range h.Bounds {
		if want := b == 0.05; (h.Counts[i] == 2) != want {
			t.Errorf("%d answers up to %v s", h.Counts[i], b)
		}
	}
	l.stats.answered(Local, -time.Second)
	l.stats.answered(Local, time.Hour)
	if h := l.Stats().Latency; h.Counts[0] != 2 || h.Counts[len(h.Bounds)] != 1 {
		t.Errorf("%+v", h)
	}
}

// TestDefaults: what is left out of an Env is the usual.
func TestDefaults(t *testing.T) {
	r := New(Config{}, nil, Env{})
	defer r.Close()
	if r.env.ResolvConf != defaultResolvConf || r.env.Now == nil || r.env.Dial == nil || r.env.Log == nil {
		t.Errorf("%+v", r.env)
	}
	r.Tick()
}
