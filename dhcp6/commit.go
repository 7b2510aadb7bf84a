package dhcp6

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"

	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// run has the engine do something and carries out what comes of it: commit, and only
// then send and route. The caller holds work. The error is that of the commit.
func (s *Server) run(do func(e *engine, now lease.Instant)) error {
	level := lowest(s.log)
	s.mu.Lock()
	e := s.engine
	e.telling.Level = level
	now := s.read()
	do(e, now)
	out := e.outbox
	e.outbox = outbox{}
	var prefixes []netip.Prefix
	if len(e.journal) > 0 || !s.failing || now.Mono >= s.retry {
		prefixes = e.unwritten()
	}
	put, remove := e.records(now, prefixes)
	s.mu.Unlock()

	err := s.commit(now, put, remove)

	s.mu.Lock()
	if err != nil {
		for _, p := range prefixes {
			e.dirty[p] = struct{}{} // nobody knows what the store says now
		}
	}
	e.settle(err == nil)
	replies := e.tally(out.answers, err == nil)
	routes, rerouted := s.reroute(e)
	s.mu.Unlock()

	for _, n := range out.notes {
		if err == nil || !n.durable {
			s.log.Log(context.Background(), n.level, n.text, n.attrs...)
		}
	}
	if rerouted && s.env.Routes != nil {
		s.env.Routes(routes)
	}
	if len(replies) > 0 && s.env.Send != nil {
		s.env.Send(replies)
	}
	return err
}

// commit writes to the store. A store that fails is told of once.
func (s *Server) commit(now lease.Instant, put []dhcp.Record6, remove []netip.Prefix) error {
	if len(put)+len(remove) == 0 {
		return nil
	}
	err := s.store.Commit6(s.network, put, remove)
	switch {
	case err != nil && !s.failing:
		s.log.Error("dhcp6: leases can not be stored, so none are given", "error", err)
	case err == nil && s.failing:
		s.log.Info("dhcp6: leases are stored again")
	}
	s.failing, s.retry = err != nil, now.After(watchEvery)
	if err != nil {
		return fmt.Errorf("dhcp6: leases of network %q are not stored: %w", s.network, err)
	}
	return nil
}

// maxDirty bounds what one commit writes besides that which replies wait for.
const maxDirty = 1024

// unwritten returns the prefixes whose records are to be written now.
func (e *engine) unwritten() []netip.Prefix {
	if len(e.journal)+len(e.dirty) == 0 {
		return nil
	}
	prefixes := make([]netip.Prefix, 0, 2*len(e.journal)+min(len(e.dirty), maxDirty))
	for _, c := range e.journal {
		prefixes = append(prefixes, c.b.prefix, c.before.prefix) // it may have been of another length
	}
	n := 0
	for p := range e.dirty {
		if n++; n > maxDirty {
			break
		}
		prefixes = append(prefixes, p)
		delete(e.dirty, p)
	}
	slices.SortFunc(prefixes, comparePrefixes)
	return slices.Compact(prefixes)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// records returns what the store has to know of some prefixes.
func (e *engine) records(now lease.Instant, prefixes []netip.Prefix) (put []dhcp.Record6, remove []netip.Prefix) {
	for _, p := range prefixes {
		if b := e.bindings[p.Addr()]; b != nil && b.prefix == p {
			put = append(put, b.record(now))
		} else {
			remove = append(remove, p)
		}
	}
	return put, remove
}

// tally counts what became of messages, and returns the replies to be sent.
func (e *engine) tally(answers []answer, committed bool) (replies []Reply) {
	for _, a := range answers {
		if a.durable && !committed {
			a.key.Outcome, a.send = outcomeFailed, false
		}
		e.messages[a.key]++
		if a.send {
			replies = append(replies, a.Reply)
		}
	}
	return replies
}

// reroute returns where all delegated prefixes lead, if that has changed. The caller
// holds mu.
func (s *Server) reroute(e *engine) ([]Delegation, bool) {
	if !e.rerouted {
		return nil, false
	}
	e.rerouted = false
	routes := make([]Delegation, 0, len(e.routes))
	for b := range maps.Keys(e.routes) {
		routes = append(routes, Delegation{Prefix: b.prefix, Via: b.via})
	}
	slices.SortFunc(routes, func(a, b Delegation) int { return comparePrefixes(a.Prefix, b.Prefix) })
	if slices.Equal(routes, s.routes) {
		return nil, false
	}
	s.routes = routes
	return slices.Clone(routes), true
}

// lowest returns the lowest level that a log takes.
func lowest(log *slog.Logger) slog.Level {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(context.Background(), level) {
			return level
		}
	}
	return slog.LevelError
}
