package dns

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	wire "github.com/miekg/dns"
)

// probeDomain is where probes ask for a name that no one can know. Nobody has it:
// test is reserved (RFC 6761 clause 6.2).
const (
	probeDomain = "\x09weft-loop\x04test\x00"
	tokenBytes  = 8
)

// probe sends a query that only we can recognise to each upstream whose time has
// come. Where it comes back through Answer, that upstream asks us. The same query
// shows whether one that failed answers again.
func (f *forwarder) probe(now time.Time) {
	f.upstreams.mu.Lock()
	defer f.upstreams.mu.Unlock()
	for _, u := range f.upstreams.all {
		if u.probing || now.Before(u.due) {
			continue
		}
		var random [tokenBytes]byte
		_, _ = rand.Read(random[:]) // never fails
		u.probing, u.returned = true, false
		u.token = hex.EncodeToString(random[:])
		name := string([]byte{2 * tokenBytes}) + u.token + probeDomain
		if !f.start(func(ctx context.Context) { f.sendProbe(ctx, u, name) }) {
			u.probing = false
		}
	}
}

func (f *forwarder) sendProbe(ctx context.Context, u *upstream, name string) {
	_, err := f.exchange(ctx, u, question{name: name, kind: wire.TypeTXT})
	if f.ctx.Err() != nil {
		return // closed
	}
	now := f.env.Now()
	if err != nil {
		f.upstreams.failed(u, err, now)
	} else {
		f.upstreams.answered(u, nil, now)
	}
	f.upstreams.mu.Lock()
	u.probing = false
	ended := u.loop && !u.returned && err == nil
	if ended {
		u.loop = false
	}
	if err == nil || u.loop {
		u.due = now.Add(probePause)
	}
	f.upstreams.mu.Unlock()
	if ended {
		f.upstreams.log.Info(fmt.Sprintf("upstream %v no longer asks this resolver: used again", u.addr))
	}
}

// probeReturned reports whether a query is one of our probes, and notes the
// upstream that it went to. Probes of others are queries like any.
func (us *upstreams) probeReturned(q *query) bool {
	if q.labels != 3 || q.name[0] != 2*tokenBytes || string(q.name[q.starts[1]:q.length]) != probeDomain {
		return false
	}
	us.mu.Lock()
	var found *upstream
	for _, u := range us.all {
		if u.token == string(q.label(0)) {
			found = u
		}
	}
	first := found != nil && !found.loop
	if found != nil {
		found.loop, found.returned = true, true
	}
	us.mu.Unlock()
	if first {
		us.log.Warn(fmt.Sprintf("upstream %v asks this resolver in turn: it is left out; give another upstream, or take this resolver from its servers", found.addr))
	}
	return found != nil
}
