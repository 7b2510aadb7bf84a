package fdb

// learn is the part of Learn that changes the shape of the table.
func (t *Table) learn(key uint64, p Port, now uint32) Result {
	t.mu.Lock()
	r := t.learnLocked(key, p, now)
	t.mu.Unlock()
	return r
}

// learnLocked looks again, as another goroutine may have been quicker, and then
// moves or inserts the entry.
func (t *Table) learnLocked(key uint64, p Port, now uint32) Result {
	t.know(p)
	s := t.store.Load()
	want := pack(p, t.gens[p].Load(), Dynamic, now)
	id := s.locate(key)
	if id == 0 {
		return t.insert(s, key, want)
	}
	at := &s.at(id).value
	v := value(at.Load())
	switch {
	case !t.live(v): // flushed, and on no list
		s.at(id).key.Store(0)
		return t.insert(s, key, want)
	case v.sameBut(want):
		return refresh(at, v, want, now)
	case v.kind() == Dynamic:
		return t.move(s, id, v, want)
	case v.port() == p:
		return Known
	}
	return t.conflict(v)
}

// insert adds an entry that is not there, and evicts another one where a limit
// asks for it.
func (t *Table) insert(s *store, key uint64, v value) Result {
	p, r := v.port(), Learned
	switch ps := &t.ports[p]; {
	case ps.full():
		t.stats.Denied++
		return Denied
	case ps.Sticky:
		return t.stick(key, v)
	case t.ports[p].count >= t.portLimit:
		t.evict(s, p)
		r = PortLimit
	case t.stats.Dynamic >= t.limit:
		t.evict(s, t.heaviest(p))
		r = Full
	}
	id := t.place(s, key)
	if id == 0 {
		t.stats.Refused++
		return NoRoom
	}
	s.put(id, key, v)
	t.enlist(s, id, v)
	t.stats.Learned++
	return r
}

// move gives a dynamic entry to another port, which may have to give up one of
// its own for it. The key stays where it is: readers see the old port or the
// new one.
func (t *Table) move(s *store, id slotID, v, want value) Result {
	p := want.port()
	switch ps := &t.ports[p]; {
	case ps.full():
		t.stats.Denied++
		return Denied
	case ps.count >= t.portLimit:
		t.evict(s, p)
	}
	t.delist(s, id, v)
	s.at(id).value.Store(uint64(want))
	t.enlist(s, id, want)
	t.stats.Moved++
	return Moved
}
