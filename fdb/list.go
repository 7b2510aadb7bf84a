package fdb

// portState is what the table keeps for a port.
type portState struct {
	PortConfig
	dynamic list // the next victim first; see evict
	fixed   list // static, local and sticky ones
	count   int  // of the dynamic ones
	stuck   int  // of the sticky ones
}

// list is a chain of slots through store.links. Flushed entries are on none.
type list struct{ head, tail slotID }

// push adds a slot at the end. since is when its entry was last seen.
func (s *store) push(l *list, id slotID, since uint32) {
	s.links[id] = link{prev: l.tail, since: since}
	if l.tail == 0 {
		l.head = id
	} else {
		s.links[l.tail].next = id
	}
	l.tail = id
}

// unlink takes a slot off its list.
func (s *store) unlink(l *list, id slotID) {
	n := s.links[id]
	if n.prev == 0 {
		l.head = n.next
	} else {
		s.links[n.prev].next = n.next
	}
	if n.next == 0 {
		l.tail = n.prev
	} else {
		s.links[n.next].prev = n.prev
	}
}

// replace puts slot to where from is on the list.
func (s *store) replace(l *list, from, to slotID) {
	n := s.links[from]
	s.links[to] = n
	if n.prev == 0 {
		l.head = to
	} else {
		s.links[n.prev].next = to
	}
	if n.next == 0 {
		l.tail = to
	} else {
		s.links[n.next].prev = to
	}
}

// know makes room in t.ports for a port.
func (t *Table) know(p Port) {
	for int(p) >= len(t.ports) {
		t.ports = append(t.ports, portState{})
	}
}

// listOf returns the list that an entry with this value belongs on.
func (t *Table) listOf(v value) *list {
	ps := &t.ports[v.port()]
	if v.kind() == Dynamic {
		return &ps.dynamic
	}
	return &ps.fixed
}

// enlist counts an entry and puts it at the end of its list.
func (t *Table) enlist(s *store, id slotID, v value) {
	s.push(t.listOf(v), id, v.seen())
	switch v.kind() {
	case Dynamic:
		t.stats.Dynamic++
		ps := &t.ports[v.port()]
		ps.count++
		if ps.count >= t.peak {
			t.peak, t.heavy = ps.count, v.port()
		}
	case Static:
		t.stats.Static++
	case Local:
		t.stats.Local++
	case Sticky:
		t.stats.Sticky++
		t.ports[v.port()].stuck++
	}
}

// delist undoes enlist.
func (t *Table) delist(s *store, id slotID, v value) {
	s.unlink(t.listOf(v), id)
	switch v.kind() {
	case Dynamic:
		t.stats.Dynamic--
		t.ports[v.port()].count--
	case Static:
		t.stats.Static--
	case Local:
		t.stats.Local--
	case Sticky:
		t.stats.Sticky--
		t.ports[v.port()].stuck--
	}
}

// remove takes a live entry out of the table.
func (t *Table) remove(s *store, id slotID, v value) {
	t.delist(s, id, v)
	s.at(id).key.Store(0)
}
