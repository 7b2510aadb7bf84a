package nat

import (
	"fmt"
	"math/bits"
	"sync/atomic"
)

// zone is one inside network at work.
type zone struct {
	id    Zone
	rules atomic.Pointer[rules]

	// The table's lock guards the rest.
	addrs     [families][]*address // that its flows use
	uses      map[*address]bool
	hosts     map[[16]byte]*host
	flows     int
	over      hostList             // hosts that have flows which may be given up
	entrances map[uint16]*entrance // by where their packets come in
	ports     mappingCount
	stats     [NumClasses]Counters
}

// rules are the configuration of a zone with its defaults filled in. They never
// change.
type rules struct {
	ZoneConfig
	timeouts [numTimers]uint32
	prefixes prefixRules // from inside to outside
}

// host is one inside address that has flows.
type host struct {
	addr  [16]byte
	zone  *zone
	out   *address // the outside address that it keeps
	flows int

	// over are its flows that are over, in the order in which they ended; see
	// reclaim. Flows in it may have gone or come back to life since.
	over       flowList
	prev, next *host // in zone.over

	// offered are its flows that began from outside and that it may not have
	// answered yet, oldest first.
	offered flowList

	entrance *entrance // where its packets come in; nil until one has
}

// timer names a timeout.
type timer uint8

const (
	timerUDP timer = iota
	timerEstablished
	timerTransitory
	timerICMP
	timerOther
	numTimers
)

func newRules(cfg ZoneConfig) (*rules, error) {
	defaultTo(&cfg.First, DefaultFirst)
	defaultTo(&cfg.Last, DefaultLast)
	if cfg.First > cfg.Last {
		return nil, fmt.Errorf("outside ports %d-%d: the range ends before it starts", cfg.First, cfg.Last)
	}
	defaultTo(&cfg.MaxFlows, DefaultMaxFlows)
	defaultTo(&cfg.MaxPerHost, DefaultMaxPerHost)
	w, d := &cfg.Timeouts, DefaultTimeouts
	defaultTo(&w.UDP, d.UDP)
	defaultTo(&w.TCPEstablished, d.TCPEstablished)
	defaultTo(&w.TCPTransitory, d.TCPTransitory)
	defaultTo(&w.ICMP, d.ICMP)
	defaultTo(&w.Other, d.Other)
	r := &rules{ZoneConfig: cfg}
	if err := r.setPrefixes(); err != nil {
		return nil, err
	}
	r.timeouts = [numTimers]uint32{
		timerUDP: w.UDP, timerEstablished: w.TCPEstablished, timerTransitory: w.TCPTransitory,
		timerICMP: w.ICMP, timerOther: w.Other,
	}
	return r, nil
}

func defaultTo[T comparable](v *T, absent T) {
	var zero T
	if *v == zero {
		*v = absent
	}
}

// zone returns a zone, or nil.
func (t *Table) zone(z Zone) *zone {
	all := *t.zones.Load()
	if int(z) >= len(all) {
		return nil
	}
	return all[z]
}

// SetZone adds a zone or changes one. What is there goes on: flows and mappings
// that the new configuration would not make keep until they end, and new
// timeouts hold from the next packet. An error says what is wrong with the
// configuration, and leaves all as it was.
func (t *Table) SetZone(id Zone, cfg ZoneConfig) error {
	t.config.Lock()
	defer t.config.Unlock()
	r, err := newRules(cfg)
	if err != nil {
		return err
	}
	if err := t.prefixClash(id, r); err != nil {
		return err
	}
	if err := t.clash(id, r); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if z := t.zone(id); z != nil {
		z.rules.Store(r)
	} else {
		z := &zone{id: id, hosts: map[[16]byte]*host{}, entrances: map[uint16]*entrance{}}
		z.rules.Store(r)
		t.putZone(id, z)
	}
	t.resolve()
	return nil
}

// RemoveZone takes a zone out. Its flows end before it returns.
func (t *Table) RemoveZone(id Zone) {
	t.config.Lock()
	defer t.config.Unlock()
	t.mu.Lock()
	z := t.zone(id)
	if z == nil {
		t.mu.Unlock()
		return
	}
	t.putZone(id, nil)
	z.addrs, z.uses = [families][]*address{}, nil
	t.resolve()
	t.mu.Unlock()
	t.sweep(func(f *flow) bool { return f.host.zone == z })
}

// putZone publishes a copy of the zones with one changed.
func (t *Table) putZone(id Zone, z *zone) {
	old := *t.zones.Load()
	all := make([]*zone, max(len(old), int(id)+1))
	copy(all, old)
	all[id] = z
	t.zones.Store(&all)
}

// setPrefixes works out the rules of the prefixes.
func (r *rules) setPrefixes() error {
	var all []prefixRule
	for i, m := range r.Prefixes {
		if err := m.validate(); err != nil {
			return err
		}
		for _, n := range r.Prefixes[:i] {
			if n.Inside.Masked() == m.Inside.Masked() || n.Outside.Masked() == m.Outside.Masked() {
				return fmt.Errorf("%s: there is %s already; take one of them out", m, n)
			}
		}
		all = append(all, ruleOf(m.Inside, m.Outside))
	}
	r.prefixes = newPrefixRules(all)
	return nil
}

// prefixClash returns what is wrong with the prefixes beside those of other zones, or
// nil.
func (t *Table) prefixClash(id Zone, r *rules) error {
	for _, z := range *t.zones.Load() {
		if z == nil || z.id == id {
			continue
		}
		for _, n := range z.rules.Load().Prefixes {
			for _, m := range r.Prefixes {
				if m.Outside.Masked() == n.Outside.Masked() {
					return fmt.Errorf("%s: another network of the same uplink has %s; choose another", m, n.Outside)
				}
			}
		}
	}
	return nil
}

// addressesOf returns the outside addresses that a zone uses, of those that the
// table has.
func (t *Table) addressesOf(r *rules) (addrs [families][]*address, uses map[*address]bool) {
	uses = map[*address]bool{}
	var named [families]bool
	for _, a := range r.Addresses {
		key := a.As16()
		f, one := familyOf(&key), t.owned.Load().all[key]
		named[f] = true
		if one != nil && !uses[one] {
			addrs[f] = append(addrs[f], one)
			uses[one] = true
		}
	}
	for _, a := range t.addresses {
		if f := familyOf(&a.addr); !named[f] {
			addrs[f], named[f] = []*address{a}, true
			uses[a] = true
		}
	}
	return addrs, uses
}

// resolve works out which addresses each zone has, and what is published where.
// Where a change of addresses makes publishes of two zones meet, that of the
// lower one holds. The caller holds both locks.
func (t *Table) resolve() {
	var all []published
	var prefixes []prefixRule
	reserved := map[*portPool]*PortSet{}
	for _, z := range *t.zones.Load() {
		if z == nil {
			continue
		}
		r := z.rules.Load()
		z.addrs, z.uses = t.addressesOf(r)
		for i := range r.Publish {
			all = append(all, t.publishedOf(z, r, &r.Publish[i], reserved)...)
		}
		for _, m := range r.Prefixes {
			one := ruleOf(m.Outside, m.Inside)
			one.zone, one.open = z.id, r.Open
			prefixes = append(prefixes, one)
		}
	}
	t.catalog.Store(newCatalog(all, prefixes))
	t.setReserved(reserved)
}

// publishedOf returns where one publish of a zone is: at one address of its own, or at
// each of the zone's addresses where its ports are nobody else's.
func (t *Table) publishedOf(z *zone, r *rules, p *Publish, reserved map[*portPool]*PortSet) (all []published) {
	one := published{zone: z.id, protocol: p.Protocol, first: p.First, last: p.Last, to: p.To}
	if rule := r.prefixes.find(&p.To.Addr); rule != nil {
		var ok bool
		if one.addr, ok = rule.apply(&p.To.Addr); !ok || t.has(&one.addr) {
			return nil
		}
		one.direct = true
		return []published{one}
	}
	for _, a := range z.addrs[familyOf(&p.To.Addr)] {
		if reserve(reserved, a.pool(classOf(p.Protocol)), p) {
			one.addr = a.addr
			all = append(all, one)
		}
	}
	return all
}

// reserve notes the ports of a publish, unless one of them is another's.
func reserve(all map[*portPool]*PortSet, pool *portPool, p *Publish) bool {
	set := all[pool]
	if set == nil {
		set = new(PortSet)
		all[pool] = set
	}
	for port := int(p.First); port <= int(p.Last); port++ {
		if set.Has(uint16(port)) {
			return false
		}
	}
	set.AddRange(p.First, p.Last)
	return true
}

// setReserved replaces the published ports of all pools. What is published
// before and after is so at every moment: the new ones come before the old ones
// go.
func (t *Table) setReserved(reserved map[*portPool]*PortSet) {
	for pool := range t.reserved {
		if reserved[pool] == nil {
			reserved[pool] = new(PortSet)
		}
	}
	for pool, after := range reserved {
		eachNew(&pool.reserved, after, func(port uint16) { t.users.open(protocolOf[pool.class], port) })
	}
	for pool, after := range reserved {
		eachNew(after, &pool.reserved, func(port uint16) { t.users.close(protocolOf[pool.class], port) })
		pool.reserved = *after
		pool.epoch++
	}
	t.reserved = reserved
}

// eachNew calls f with every port that is in after and not in before.
func eachNew(before, after *PortSet, f func(uint16)) {
	for w := range after {
		for m := after[w] &^ before[w]; m != 0; m &= m - 1 {
			f(uint16(w<<6 + bits.TrailingZeros64(m)))
		}
	}
}
