package dhcp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/weft/weft/dhcp/lease"
)

// run has the engine do something and carries out what comes of it: ask by ARP,
// commit, and only then send. The caller holds work. The error is that of the
// commit.
func (s *Server) run(do func(e *engine, now lease.Instant)) error {
	level := lowest(s.log)
	s.mu.Lock()
	e := s.engine
	e.telling.Level = level
	now := s.read()
	do(e, now)
	out := e.outbox
	e.outbox = outbox{}
	var addrs []ip4
	if len(e.journal) > 0 || !s.failing || now.Mono >= s.retry {
		addrs = e.unwritten()
	}
	put, remove := e.records(now, addrs)
	s.mu.Unlock()

	if s.env.Probe != nil {
		for _, p := range out.probes {
			s.env.Probe(p.addr.addr(), p.vlan)
		}
	}
	err := s.commit(now, put, remove)

	s.mu.Lock()
	if err != nil {
		for _, a := range addrs {
			e.dirty[a] = struct{}{} // nobody knows what the store says now
		}
	}
	e.settle(err == nil)
	replies := e.tally(out.answers, err == nil)
	s.mu.Unlock()

	for _, n := range out.notes {
		if err == nil || !n.durable {
			s.log.Log(context.Background(), n.level, n.text, n.attrs...)
		}
	}
	if len(replies) > 0 && s.env.Send != nil {
		s.env.Send(replies)
	}
	return err
}

// commit writes to the store. A store that fails is told of once.
func (s *Server) commit(now lease.Instant, put []Record, remove []netip.Addr) error {
	if len(put)+len(remove) == 0 {
		return nil
	}
	err := s.store.Commit(s.network, put, remove)
	switch {
	case err != nil && !s.failing:
		s.log.Error("dhcp: leases can not be stored, so none are given", "error", err)
	case err == nil && s.failing:
		s.log.Info("dhcp: leases are stored again")
	}
	s.failing, s.retry = err != nil, now.After(watchEvery)
	if err != nil {
		return fmt.Errorf("dhcp: leases of network %q are not stored: %w", s.network, err)
	}
	return nil
}

// maxDirty bounds what one commit writes besides that which replies wait for.
const maxDirty = 1024

// unwritten returns the addresses whose records are to be written now.
func (e *engine) unwritten() []ip4 {
	if len(e.journal)+len(e.dirty) == 0 {
		return nil
	}
	addrs := make([]ip4, 0, len(e.journal)+min(len(e.dirty), maxDirty))
	for _, c := range e.journal {
		addrs = append(addrs, c.b.addr)
	}
	n := 0
	for a := range e.dirty {
		if n++; n > maxDirty {
			break
		}
		addrs = append(addrs, a)
		delete(e.dirty, a)
	}
	slices.Sort(addrs)
	return slices.Compact(addrs)
}

// records returns what the store has to know of some addresses.
func (e *engine) records(now lease.Instant, addrs []ip4) (put []Record, remove []netip.Addr) {
	for _, a := range addrs {
		b := e.bindings[a]
		if b == nil {
			b = e.away[a]
		}
		if b != nil && b.state != Offered {
			put = append(put, b.record(now))
		} else {
			remove = append(remove, a.addr())
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
