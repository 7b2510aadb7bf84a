package nat

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"github.com/weft/weft/dataplane/frame"
)

// published is one publish at one outside address.
type published struct {
	zone        Zone
	protocol    uint8
	addr        [16]byte // outside
	first, last uint16   // outside ports
	to          Endpoint // of first
	direct      bool     // addr is what a PrefixMap makes of to
	reach       uint16   // in byInside: the highest last inside port up to here
}

// target returns where an outside port leads.
func (p *published) target(port uint16) Endpoint {
	return Endpoint{Addr: p.to.Addr, Port: p.to.Port + (port - p.first)}
}

// catalog is all publishes of a table. It never changes; a change of the
// configuration makes a new one.
type catalog struct {
	byOutside []published // by protocol, address and port; they do not overlap
	byInside  []published // by zone, protocol, inside address and port
	prefixes  prefixRules // of all zones, from outside to inside
}

func newCatalog(all []published, prefixes []prefixRule) *catalog {
	c := &catalog{byOutside: slices.Clone(all), byInside: slices.Clone(all), prefixes: newPrefixRules(prefixes)}
	slices.SortStableFunc(c.byOutside, func(a, b published) int {
		return cmp.Or(compareOutside(&a, b.protocol, b.addr), cmp.Compare(a.first, b.first))
	})
	slices.SortStableFunc(c.byInside, func(a, b published) int {
		return cmp.Or(compareInside(&a, b.zone, b.protocol, b.to.Addr), cmp.Compare(a.to.Port, b.to.Port))
	})
	for i := range c.byInside {
		p := &c.byInside[i]
		p.reach = p.to.Port + (p.last - p.first)
		if i > 0 && compareInside(&c.byInside[i-1], p.zone, p.protocol, p.to.Addr) == 0 {
			p.reach = max(p.reach, c.byInside[i-1].reach)
		}
	}
	return c
}

func compareOutside(p *published, protocol uint8, addr [16]byte) int {
	return cmp.Or(cmp.Compare(p.protocol, protocol), slices.Compare(p.addr[:], addr[:]))
}

func compareInside(p *published, z Zone, protocol uint8, addr [16]byte) int {
	return cmp.Or(cmp.Compare(p.zone, z), cmp.Compare(p.protocol, protocol), slices.Compare(p.to.Addr[:], addr[:]))
}

// outside returns the publish of an outside endpoint, or nil.
func (c *catalog) outside(protocol uint8, e *Endpoint) *published {
	if len(c.byOutside) == 0 {
		return nil
	}
	// i is the first one that starts behind the port.
	i := sort.Search(len(c.byOutside), func(i int) bool {
		p := &c.byOutside[i]
		return cmp.Or(compareOutside(p, protocol, e.Addr), cmp.Compare(p.first, e.Port)) > 0
	})
	if i == 0 {
		return nil
	}
	p := &c.byOutside[i-1]
	if compareOutside(p, protocol, e.Addr) != 0 || p.last < e.Port {
		return nil
	}
	return p
}

// inside returns the outside port that an inside endpoint is published at, at
// one outside address.
func (c *catalog) inside(z Zone, protocol uint8, e *Endpoint, addr [16]byte) (port uint16, ok bool) {
	if len(c.byInside) == 0 {
		return 0, false
	}
	i := sort.Search(len(c.byInside), func(i int) bool {
		p := &c.byInside[i]
		return cmp.Or(compareInside(p, z, protocol, e.Addr), cmp.Compare(p.to.Port, e.Port)) > 0
	})
	for i--; i >= 0; i-- {
		p := &c.byInside[i]
		if compareInside(p, z, protocol, e.Addr) != 0 || p.reach < e.Port {
			break
		}
		if n := e.Port - p.to.Port; n <= p.last-p.first && p.addr == addr {
			port, ok = p.first+n, true // the one that was configured first is the last one met
		}
	}
	return port, ok
}

// validate refuses publishes that cannot be.
func (p *Publish) validate() error {
	switch {
	case p.Protocol != frame.ProtoTCP && p.Protocol != frame.ProtoUDP:
		return fmt.Errorf("publish of IP protocol %d: only TCP and UDP have ports to publish", p.Protocol)
	case p.First == 0 || p.To.Port == 0:
		return fmt.Errorf("publish %s to %s: port 0 is none; name another", p.name(), p.To.AddrPort())
	case p.First > p.Last:
		return fmt.Errorf("publish %s: the range ends before it starts", p.name())
	case p.Last-p.First > 65535-p.To.Port:
		return fmt.Errorf("publish %s to %s: the inside ports would go beyond 65535; use a shorter range", p.name(), p.To.AddrPort())
	}
	return nil
}

func (p *Publish) name() string {
	protocol := classOf(p.Protocol)
	if p.First == p.Last {
		return fmt.Sprintf("%s %d", protocol, p.First)
	}
	return fmt.Sprintf("%s %d-%d", protocol, p.First, p.Last)
}

// publishPlace is where a publish is: at one address that a prefix gives it, or at all of the
// zone's addresses of a family.
type publishPlace struct {
	direct bool
	addr   [16]byte
	family family
}

// placeOf returns the place of a publish. It refuses one that a prefix has no address
// for.
func (r *rules) placeOf(p *Publish) (at publishPlace, err error) {
	at.family = familyOf(&p.To.Addr)
	if rule := r.prefixes.find(&p.To.Addr); rule != nil {
		if at.addr, at.direct = rule.apply(&p.To.Addr); !at.direct {
			err = fmt.Errorf("publish %s to %s: RFC 6296 translates no such address; choose another", p.name(), p.To.AddrPort())
		}
	}
	return at, err
}

// overlaps reports whether two publishes have a port in common.
func (p *Publish) overlaps(protocol uint8, first, last uint16) bool {
	return p.Protocol == protocol && p.First <= last && first <= p.Last
}

// clash returns what is wrong with one of the publishes, or nil: it overlaps
// another one of the same zone, or one that another zone has at an address that
// both use.
func (t *Table) clash(z Zone, r *rules) error {
	_, uses := t.addressesOf(r)
	places := make([]publishPlace, len(r.Publish))
	for i := range r.Publish {
		p := &r.Publish[i]
		if err := p.validate(); err != nil {
			return err
		}
		var err error
		if places[i], err = r.placeOf(p); err != nil {
			return err
		}
		for j := range r.Publish[:i] {
			if q := &r.Publish[j]; places[i] == places[j] && p.overlaps(q.Protocol, q.First, q.Last) {
				return fmt.Errorf("publish %s overlaps publish %s: a port leads to one place; take one of them out", p.name(), q.name())
			}
		}
		if q := t.publishedBeside(z, p, places[i], uses); q != nil {
			return fmt.Errorf("publish %s: another network of the same uplink has published port %d; choose another", p.name(), max(q.first, p.First))
		}
	}
	return nil
}

// publishedBeside returns a publish of another zone that has a port of p at an address
// that both use, or nil.
func (t *Table) publishedBeside(z Zone, p *Publish, at publishPlace, uses map[*address]bool) *published {
	others := t.catalog.Load().byOutside
	for i := range others {
		q := &others[i]
		if q.zone == z || !p.overlaps(q.protocol, q.first, q.last) {
			continue
		}
		if at.direct && q.addr == at.addr || !at.direct && familyOf(&q.addr) == at.family && uses[t.owned.Load().all[q.addr]] {
			return q
		}
	}
	return nil
}
