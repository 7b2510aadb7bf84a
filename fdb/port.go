package fdb

// PortConfig is what can be set on one port of a table, for its security.
type PortConfig struct {
	// Max is the number of dynamic and sticky entries that the port may hold.
	// An address beyond it is denied, where Config.PortLimit would evict an
	// older one. Zero or less means no maximum.
	Max int

	// Sticky nails what is learned at the port to it: such an entry neither
	// ages nor moves, and survives a flush. An address that comes from another
	// port is not nailed, or one forged frame would take it for good. A port
	// so set needs a Max, or it fills the table.
	Sticky bool
}

func (ps *portState) full() bool { return ps.Max > 0 && ps.count+ps.stuck >= ps.Max }

// SetPort changes what holds for one port of a working table. Where Max has
// become too small, old entries go. Setting Sticky nails what the port holds
// already; clearing it removes what was nailed.
func (t *Table) SetPort(p Port, c PortConfig) {
	if p >= MaxPorts {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.know(p)
	if t.ports[p].PortConfig == c {
		return
	}
	t.ports[p].PortConfig = c
	t.shrink(p)
	if c.Sticky {
		t.nail(p)
	}
}

// shrink takes from a port what its configuration no longer allows.
func (t *Table) shrink(p Port) {
	s, ps := t.store.Load(), &t.ports[p]
	for ps.Max > 0 && ps.count > 0 && ps.count+ps.stuck > ps.Max {
		t.evict(s, p)
	}
	for id := ps.fixed.head; id != 0; {
		next, v := s.links[id].next, value(s.at(id).value.Load())
		if v.kind() == Sticky && (!ps.Sticky || ps.Max > 0 && ps.stuck > ps.Max) {
			t.remove(s, id, v)
		}
		id = next
	}
}

// nail makes the dynamic entries of a port sticky.
func (t *Table) nail(p Port) {
	s := t.store.Load()
	for l := &t.ports[p].dynamic; l.head != 0; {
		t.fix(s, l.head, value(s.at(l.head).value.Load()).as(Sticky))
	}
	if n := bucketsFor(t.limit, t.fixed()); n > len(s.buckets) {
		t.rebuild(n)
	}
}

// stick adds a sticky entry that is not there. The table grows where it has to,
// as for a static one.
func (t *Table) stick(key uint64, v value) Result {
	if t.fixed() >= MaxLimit {
		t.stats.Refused++
		return NoRoom
	}
	t.addNew(key, v.as(Sticky))
	t.stats.Learned++
	return Learned
}
