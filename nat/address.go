package nat

import (
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// address is one outside address.
type address struct {
	addr [16]byte
	// pools by Class; made when the first port is needed. Protocols without
	// ports have none.
	pools [ClassOther]*portPool
}

// classOf returns the class of a protocol.
func classOf(protocol uint8) Class {
	switch protocol {
	case frame.ProtoTCP:
		return ClassTCP
	case frame.ProtoUDP:
		return ClassUDP
	case frame.ProtoICMP, frame.ProtoICMPv6:
		return ClassICMP
	}
	return ClassOther
}

// protocolOf is for the classes that have ports to publish.
var protocolOf = [ClassICMP]uint8{ClassTCP: frame.ProtoTCP, ClassUDP: frame.ProtoUDP}

// pool returns the ports of a class.
func (a *address) pool(c Class) *portPool {
	if a.pools[c] == nil {
		a.pools[c] = newPortPool(c)
	}
	return a.pools[c]
}

// SetAddresses changes the outside addresses. The flows of those that are gone
// end before it returns. Those of prefixes go on.
func (t *Table) SetAddresses(addrs []netip.Addr) {
	t.config.Lock()
	defer t.config.Unlock()
	t.mu.Lock()
	t.setAddresses(addrs)
	t.mu.Unlock()
	t.sweep(func(f *flow) bool { return !f.direct && !t.has(&f.outside.Addr) })
}

// setAddresses keeps the state of an address that stays. The caller holds both
// locks.
func (t *Table) setAddresses(addrs []netip.Addr) {
	old := t.owned.Load()
	t.addresses = nil
	o := &owned{all: make(map[[16]byte]*address, len(addrs))}
	for _, a := range addrs {
		key := a.As16()
		if o.all[key] != nil {
			continue
		}
		one := &address{addr: key}
		if old != nil && old.all[key] != nil {
			one = old.all[key]
		}
		o.all[key] = one
		t.addresses = append(t.addresses, one)
		o.count[familyOf(&key)]++
		o.one[familyOf(&key)] = key
	}
	t.owned.Store(o)
	t.resolve()
}

// owned is the outside addresses. It never changes.
type owned struct {
	count [families]int
	one   [families][16]byte // the address, where there is one only
	all   map[[16]byte]*address
}

// Owns reports whether addr is an outside address of the table, or in an outside
// prefix that addresses are translated into. A packet from inside to one is for
// Outbound, and then, with its new source, for Inbound (RFC 4787 REQ-9, RFC 6296
// clause 2.1).
func (t *Table) Owns(addr [16]byte) bool {
	if t.has(&addr) {
		return true
	}
	r := t.catalog.Load().prefixes.find(&addr)
	return r != nil && !r.same
}

// has reports whether addr is one of the outside addresses.
func (t *Table) has(addr *[16]byte) bool {
	o, f := t.owned.Load(), familyOf(addr)
	switch o.count[f] {
	case 0:
		return false
	case 1:
		return *addr == o.one[f]
	}
	return o.all[*addr] != nil
}

// covers reports whether addr is in an outside prefix: what comes for it is for
// somebody inside, and for nobody else. The uplink may have an address of its own in
// that prefix.
func (t *Table) covers(addr [16]byte) bool {
	return t.catalog.Load().prefixes.find(&addr) != nil && !t.has(&addr)
}

// unclaimed returns the verdict on a packet from outside that the table wants to pass
// to the uplink's own host, where that may be the one it is for.
func (t *Table) unclaimed(v Verdict, p *frame.Parsed) Verdict {
	if v == NotMine && t.covers(p.Dst()) {
		return Filtered
	}
	return v
}

// addressAt returns the outside address addr that a zone uses, or nil.
func (t *Table) addressAt(z *zone, addr [16]byte) *address {
	if a := t.owned.Load().all[addr]; z.uses[a] {
		return a
	}
	return nil
}

// SetTaken says which ports of TCP or UDP are somebody else's, over all
// addresses: nil is none. They are never chosen. A mapping that has one keeps
// its flows and gets no new ones. The table keeps the set: it must not change
// any more.
func (t *Table) SetTaken(protocol uint8, taken *PortSet) {
	c := classOf(protocol)
	if c >= ClassICMP {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken[c].Store(taken)
	for _, a := range t.addresses {
		if p := a.pools[c]; p != nil {
			p.epoch++
		}
	}
}

// isTaken reports whether an outside port is somebody else's.
func (t *Table) isTaken(c Class, port uint16) bool {
	taken := t.takenOf(c)
	return taken != nil && taken.Has(port)
}

func (t *Table) takenOf(c Class) *PortSet {
	if c >= ClassICMP {
		return nil
	}
	return t.taken[c].Load()
}
