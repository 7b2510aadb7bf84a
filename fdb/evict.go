package fdb

// maxChances bounds the work of evict.
const maxChances = 32

// evict takes one dynamic entry from a port that has some: the one that stands
// on the port's list for longest, unless it has spoken since it was put there.
// Such a one gets a second chance at the end of the list (the CLOCK algorithm).
// An invented address never speaks twice, so a flood is spared the search.
func (t *Table) evict(s *store, p Port) {
	l := &t.ports[p].dynamic
	for range maxChances {
		id := l.head
		seen := value(s.at(id).value.Load()).seen()
		if seen == s.links[id].since {
			break
		}
		s.unlink(l, id)
		s.push(l, id, seen)
	}
	t.remove(s, l.head, value(s.at(l.head).value.Load()))
	t.stats.Evicted++
}

// heaviest returns the port that holds the most dynamic entries; p where it
// holds as many.
//
// The peak only grows with the counts, so it bounds them all, and where the
// heavy port still stands at it there is nothing to search. That is so for a
// port that floods: it loses an entry and gains one.
func (t *Table) heaviest(p Port) Port {
	if t.ports[t.heavy].count != t.peak {
		t.peak = 0
		for q := range t.ports {
			if n := t.ports[q].count; n > t.peak {
				t.peak, t.heavy = n, Port(q)
			}
		}
	}
	if t.ports[p].count == t.peak {
		return p
	}
	return t.heavy
}
