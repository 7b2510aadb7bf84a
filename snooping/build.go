package snooping

import "time"

// stale marks the parts of a Table that no longer hold.
type stale struct {
	any    bool
	shards [shardCount]bool
	pages  [familyCount][pageCount]bool
}

func (t *stale) shard(i int) { t.any, t.shards[i] = true, true }

func (t *stale) page(d *domain) {
	t.any = true
	t.pages[d.family.index()][d.vlan/pageSize] = true
}

// changed marks all that a domain's own sets of ports are part of.
func (s *Snooper) changed(d *domain) {
	s.stale.page(d)
	if d.groups == 0 {
		return
	}
	for i, shard := range s.groups {
		for _, g := range shard {
			if g.domain == d {
				s.stale.shard(i)
				break
			}
		}
	}
}

// Table returns the state of things for workers to read. It is the same Table as
// before while nothing has changed; a new one shares with it what has not.
func (s *Snooper) Table() *Table {
	if !s.stale.any {
		return s.table
	}
	t := *s.table
	for i, is := range s.stale.shards {
		if is {
			t.shards[i] = buildShard(s.groups[i])
		}
	}
	for i := range s.stale.pages {
		for j, is := range s.stale.pages[i] {
			if is {
				t.pages[i][j] = s.buildPage(IPv4+Family(2*i), j)
			}
		}
	}
	s.table, s.stale = &t, stale{}
	return &t
}

// buildShard makes the sets of the groups of one shard.
func buildShard(groups map[key]*group) map[key][]uint64 {
	if len(groups) == 0 {
		return nil
	}
	shard := make(map[key][]uint64, len(groups))
	for k, g := range groups {
		set := addPorts(addPorts(nil, g.domain.routers), g.domain.open)
		for port := range g.members {
			set = addPort(set, port)
		}
		shard[k] = set
	}
	return shard
}

// buildPage makes the views of adjacent domains; nil where there are none.
func (s *Snooper) buildPage(family Family, number int) *page {
	var p *page
	for i := range pageSize {
		d := s.domains[domainKey{uint16(number*pageSize + i), family}]
		if d == nil {
			continue
		}
		if p == nil {
			p = new(page)
		}
		routers := addPorts(nil, d.routers)
		p[i] = view{
			restrict: d.restrict,
			routers:  routers,
			rest:     addPorts(append([]uint64(nil), routers...), d.open),
		}
	}
	return p
}

func addPorts(set []uint64, ports map[uint16]time.Duration) []uint64 {
	for port := range ports {
		set = addPort(set, port)
	}
	return set
}

// addPort adds a port to a set, which grows at need.
func addPort(set []uint64, port uint16) []uint64 {
	for len(set) <= int(port/64) {
		set = append(set, 0)
	}
	set[port/64] |= 1 << (port % 64)
	return set
}
