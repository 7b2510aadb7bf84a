package snooping

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is a domain as a list of what was heard and when: it keeps no timers,
// but looks back at each question. It knows one foreign querier, which comes
// before ours.
type model struct {
	l      *lab
	groups []string
	src    string // of the foreign querier
	all    string // the group of a general query

	now     time.Duration
	joins   map[place]time.Duration // the last join
	end     map[place]time.Duration // where a leave ends it sooner
	asking  map[place]int           // specific queries to come; 0 where all were sent
	routers map[uint16]time.Duration
	heard   time.Duration // the last query of the other, -1 for none
	port    uint16        // where it was
	silent  bool          // ours has not asked since
	first   time.Duration // since when somebody asks, without a break; -1
}

type place struct {
	group string
	port  uint16
}

// With an interval of 20 s hosts have 10 s to answer.
const (
	modelInterval = 20 * time.Second
	modelLife     = 50 * time.Second
	modelPatience = 45 * time.Second
	modelPorts    = 3
)

func newModel(t *testing.T, groups []string, src, all string) *model {
	l := newLab(t, Config{Querier: true, Interval: modelInterval}, 0)
	m := &model{l: l, groups: groups, src: src, all: all, now: l.clock, heard: -1, first: -1,
		joins: map[place]time.Duration{}, end: map[place]time.Duration{}, asking: map[place]int{},
		routers: map[uint16]time.Duration{}}
	m.tick()
	return m
}

// place draws one.
func (m *model) place(t *rapid.T) place {
	return place{rapid.SampledFrom(m.groups).Draw(t, "group"), m.anyPort(t)}
}

func (m *model) anyPort(t *rapid.T) uint16 {
	return rapid.Uint16Range(0, modelPorts-1).Draw(t, "port") * 60
}

func (m *model) member(p place) bool { _, ok := m.joins[p]; return ok }

func (m *model) drop(p place) {
	delete(m.joins, p)
	delete(m.end, p)
	delete(m.asking, p)
}

func (m *model) join(t *rapid.T) {
	p := m.place(t)
	f := joinFrame(p.group)
	if rapid.Bool().Draw(t, "v3") {
		f = reportFrame(rec{kind: allowSources, group: p.group, sources: []string{sourceOf(p.group)}})
	}
	m.l.receive(p.port, f)
	m.drop(p)
	m.joins[p] = m.now
}

func (m *model) leave(t *rapid.T) {
	p := m.place(t)
	m.l.receive(p.port, leaveFrame(p.group))
	if _, already := m.asking[p]; m.member(p) && m.heard < 0 && !already {
		m.asking[p] = 2
	}
}

func (m *model) foreignQuery(t *rapid.T) {
	port := m.anyPort(t)
	unit := map[bool]uint16{true: 1000, false: 10}[is6(m.all)]
	m.l.receive(port, queryFrame(m.src, m.all, 10*unit, 2, 20))
	m.heard, m.port, m.silent = m.now, port, true
	m.routers[port] = m.now
}

func (m *model) foreignSpecific(t *rapid.T) {
	group, port := rapid.SampledFrom(m.groups).Draw(t, "group"), m.anyPort(t)
	unit := map[bool]uint16{true: 1000, false: 10}[is6(m.all)]
	m.l.receive(port, queryFrame(m.src, group, unit, 2, 20))
	m.heard, m.port, m.silent = m.now, port, true
	m.routers[port] = m.now
	for p := range m.joins {
		if p.group == group {
			m.endBy(p, m.now+2500*time.Millisecond)
		}
	}
}

// endBy ends a membership at a time, if it has not ended before.
func (m *model) endBy(p place, at time.Duration) {
	if end, ok := m.end[p]; !ok || at < end {
		m.end[p] = at
	}
}

func (m *model) removePort(t *rapid.T) {
	port := m.anyPort(t)
	m.l.RemovePort(port)
	for p := range m.joins {
		if p.port == port {
			m.drop(p)
		}
	}
	delete(m.routers, port)
	if m.heard >= 0 && m.port == port {
		m.heard = -1
	}
}

func (m *model) noise(t *rapid.T) {
	b := slices.Clone(joinFrame(m.groups[0]).Bytes())
	i := rapid.IntRange(12, len(b)-1).Draw(t, "byte")
	if b[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit"); Parse(wrap(b)) != Report {
		m.l.receive(0, wrap(b))
	}
}

// tick is a second. Where the other has fallen silent, members that are about to
// end last until they have been asked.
func (m *model) tick() {
	m.now += time.Second
	m.l.run(time.Second)
	if m.heard >= 0 && m.now-m.heard >= modelPatience {
		m.heard = -1
	}
	if m.heard < 0 && m.first < 0 {
		m.first = m.now
	}
	for port, at := range m.routers {
		if m.now-at >= modelPatience {
			delete(m.routers, port)
		}
	}
	takeOver := m.heard < 0 && m.silent
	m.silent = m.heard >= 0
	for p, at := range m.joins {
		left, asked := m.asking[p]
		end, ends := m.end[p]
		if !ends {
			end = at + modelLife
		} else {
			end = min(end, at+modelLife)
		}
		if takeOver && !asked && end < m.now+10500*time.Millisecond {
			end = m.now + 10500*time.Millisecond
			m.joins[p], m.end[p] = m.now, end
		}
		switch {
		case m.now >= end:
			m.drop(p)
		case asked && m.heard >= 0 && left > 0:
			delete(m.asking, p)
		case asked && left == 2:
			m.endBy(p, m.now+2500*time.Millisecond)
			m.asking[p] = 1
		case asked && left == 1:
			m.asking[p] = 0
		}
	}
}

func (m *model) check(t *rapid.T) {
	m.l.check()
	tab := m.l.Table()
	var routers []uint16
	for port := range m.routers {
		routers = append(routers, port)
	}
	slices.Sort(routers)
	if got := portsOf(tab.Routers(0, joinFrame(m.groups[0]))); !slices.Equal(got, routers) {
		t.Fatalf("router ports %v, want %v", got, routers)
	}
	restricted := m.first >= 0 && m.now-m.first >= 10500*time.Millisecond
	for _, group := range m.groups {
		var want []uint16
		for i := range uint16(modelPorts) {
			if port := i * 60; m.member(place{group, port}) || slices.Contains(routers, port) {
				want = append(want, port)
			}
		}
		set, restrict := tab.Ports(0, dataFrame(group))
		if restrict != restricted {
			t.Fatalf("%s restricted: %v, want %v", group, restrict, restricted)
		}
		if restrict && !slices.Equal(portsOf(set), want) {
			t.Fatalf("%s goes to %v, want %v", group, portsOf(set), want)
		}
	}
}

func TestModel(t *testing.T) {
	for _, tt := range []struct {
		name, src, all string
		groups         []string
	}{
		{"IGMP", "192.0.2.1", "0.0.0.0", []string{"239.1.2.3", "239.129.2.3"}},
		{"MLD", low6, "::", []string{"ff0e::1", "ff3e::1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				m := newModel(t, tt.groups, tt.src, tt.all)
				rt.Repeat(map[string]func(*rapid.T){
					"join":     m.join,
					"leave":    m.leave,
					"query":    m.foreignQuery,
					"specific": m.foreignSpecific,
					"remove":   m.removePort,
					"noise":    m.noise,
					"tick": func(t *rapid.T) {
						for range rapid.SampledFrom([]int{1, 1, 1, 3, 9, 12, 47}).Draw(t, "seconds") {
							m.tick()
						}
					},
					"": m.check,
				})
			})
		})
	}
}
