package dhcp6

import (
	"fmt"
	"slices"

	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// consistent reports an index that does not say what the bindings say.
func (e *engine) consistent() error {
	var count [dhcp.Reserved + 1]int
	var taken [2]int
	ports := map[string]portUse{}
	names, owned, timers, routes, strays := 0, 0, 0, 0, 0
	idle := make([]int, len(e.pools))
	for a, b := range e.bindings {
		if b.vacant() || a != b.prefix.Addr() || b.prefix != b.prefix.Masked() {
			return fmt.Errorf("%s: %+v", a, b)
		}
		count[b.state]++
		if b.state != dhcp.Expired && e.poolOf(b.prefix) != nil && !e.kept(b.prefix) {
			kind := kindOf(b.delegates())
			taken[kind]++
			u := ports[b.port]
			u.taken[kind]++
			u.declined += num(b.state == dhcp.Declined)
			ports[b.port] = u
		}
		if b.key != "" {
			if owned++; !slices.Contains(e.clients[b.key], b) {
				return fmt.Errorf("%s: its client does not have it", b.prefix)
			}
		}
		if b.named() {
			if names++; !slices.Contains(e.names[b.name], b) || e.names[b.name][0].key != b.key {
				return fmt.Errorf("%s: its name %s is not its", b.prefix, b.name)
			}
		}
		active := b.state == dhcp.Active && b.delegates()
		if _, ok := e.routes[b]; ok != active || active && !b.via.IsLinkLocalUnicast() {
			return fmt.Errorf("%s: routed: %v, over %s", b.prefix, ok, b.via)
		}
		routes += num(active)
		p := e.poolOf(b.prefix)
		stray := p == nil && (b.delegates() || !e.set.onLink(a))
		if _, ok := e.strays[b]; ok != stray {
			return fmt.Errorf("%s: a stray: %v, want %v", b.prefix, ok, stray)
		}
		strays += num(stray)
		switch i := slices.Index(e.pools, p); {
		case b.state == dhcp.Expired && e.kept(b.prefix), b.state != dhcp.Expired && b.expires == lease.Forever:
			if b.Place != lease.NotQueued {
				return fmt.Errorf("%s: waits for nothing", b.prefix)
			}
		case b.state == dhcp.Expired && p != nil:
			if idle[i]++; p.idle[b.Place] != b || b.Due != b.free {
				return fmt.Errorf("%s: it is not in the idle queue", b.prefix)
			}
		default:
			if timers++; e.timers[b.Place] != b {
				return fmt.Errorf("%s: it is not in the timers", b.prefix)
			}
		}
		if p != nil && p.table != nil {
			if i, _ := p.index(a); p.table.IsFree(int(i)) {
				return fmt.Errorf("%s: is free and bound", b.prefix)
			}
		}
	}
	for _, l := range e.clients {
		owned -= len(l)
		if len(l) > maxPerClient {
			return fmt.Errorf("%d leases of one client", len(l))
		}
	}
	for _, l := range e.names {
		names -= len(l)
	}
	for i, p := range e.pools {
		if len(p.idle) != idle[i] {
			return fmt.Errorf("pool %d: %d idle, want %d", i, len(p.idle), idle[i])
		}
		if p.table == nil {
			continue
		}
		for j := range p.table.Size() {
			a := p.at(uint64(j))
			free := e.bindings[a] == nil && !(p.length == 128 && (e.set.hostsByAddr[a] != nil || e.set.blocked(a)))
			if b := e.bindings[a]; b != nil && !p.holds(b.prefix) {
				continue
			}
			if p.table.IsFree(j) != free {
				return fmt.Errorf("%s: free: %v, want %v", a, p.table.IsFree(j), free)
			}
		}
	}
	for port, u := range ports {
		if e.ports[port] == nil || *e.ports[port] != u {
			return fmt.Errorf("port %q: %+v, want %+v", port, e.ports[port], u)
		}
	}
	switch {
	case count != e.count, taken != e.taken, len(ports) != len(e.ports):
		return fmt.Errorf("counts %v %v, want %v %v; %d ports of %d", e.count, e.taken, count, taken, len(e.ports), len(ports))
	case owned != 0, names != 0, timers != len(e.timers), routes != len(e.routes), strays != len(e.strays):
		return fmt.Errorf("%d not owned, %d not named; timers %d of %d, routes %d of %d, strays %d of %d",
			owned, names, timers, len(e.timers), routes, len(e.routes), strays, len(e.strays))
	case len(e.bindings) > e.most || len(e.journal) != 0 || !e.partings.Consistent() || e.trying:
		return fmt.Errorf("%d bindings of %d, %d in the journal", len(e.bindings), e.most, len(e.journal))
	}
	return nil
}

func num(b bool) int {
	if b {
		return 1
	}
	return 0
}
