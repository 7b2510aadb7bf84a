package dhcp

import (
	"fmt"

	"github.com/weft/weft/dataplane/frame"
)

// consistent reports an index that does not say what the bindings say.
func (e *engine) consistent() error {
	var count [Reserved + 1]int
	held, probing, timers, idle, names, offers, owned, kin, aside := 0, 0, 0, 0, 0, 0, 0, 0, 0
	for a, b := range e.bindings {
		count[b.shown()]++
		inTimers := b.Place >= 0 && int(b.Place) < len(e.timers) && e.timers[b.Place] == b
		inIdle := b.Place >= 0 && int(b.Place) < len(e.idle) && e.idle[b.Place] == b
		timers, idle = timers+num(inTimers), idle+num(inIdle)
		if b.touched || b.vacant() || a != b.addr {
			return fmt.Errorf("%s: %+v", a.addr(), b)
		}
		if wantIdle := b.state == Expired && b.offer == nil && e.inRange(a); wantIdle != inIdle {
			return fmt.Errorf("%s: in the idle queue: %v, want %v", a.addr(), inIdle, wantIdle)
		}
		if b.state == Active && b.name != "" {
			names++
			if e.names[b.name] != b {
				return fmt.Errorf("%s: its name %s is not its", a.addr(), b.name)
			}
		}
		if b.owned() && b.mac != (frame.MAC{}) {
			kin++
		}
		if b.state == Declined {
			aside++
		}
		if b.owned() {
			owned++
			found := false
			for x := e.clients[b.key]; x != nil; x = x.sibling {
				found = found || x == b
			}
			if !found {
				return fmt.Errorf("%s: its client %q does not have it", a.addr(), b.key)
			}
		}
		if b.offer != nil {
			offers++
			probing += num(b.offer.probing)
			held += num(b.state != Active)
		}
		if e.pool.isFree(a) {
			return fmt.Errorf("%s: is free and bound", a.addr())
		}
	}
	unused := 0
	for i := range e.pool.Size() {
		unused += num(e.pool.isFree(e.pool.address(i)))
	}
	for _, b := range e.clients {
		for ; b != nil; b = b.sibling {
			owned--
		}
	}
	for mac, b := range e.macs {
		if b.kinBefore != nil {
			return fmt.Errorf("%s: %s is not the first with its MAC address", b.addr.addr(), mac)
		}
		for ; b != nil; b = b.kin {
			if kin--; b.mac != mac || e.bindings[b.addr] != b || b.kin != nil && b.kin.kinBefore != b {
				return fmt.Errorf("%s: chained as of %s, is of %s", b.addr.addr(), mac, b.mac)
			}
		}
	}
	for _, n := range e.setAside {
		aside -= n
	}
	if kin != 0 || aside != 0 || !e.partings.Consistent() {
		return fmt.Errorf("%d not of their MAC address, %d in quarantine not counted, names kept: %v", kin, aside, e.partings.Consistent())
	}
	used := 0
	for _, u := range e.ports {
		used += u.offers
	}
	switch {
	case count != e.count, held != e.held, probing != e.probing, owned != 0:
		return fmt.Errorf("counts %v %d %d, want %v %d %d; %d not owned", e.count, e.held, e.probing, count, held, probing, owned)
	case timers != len(e.timers), idle != len(e.idle), names != len(e.names), offers != len(e.offers), used != offers:
		return fmt.Errorf("timers %d of %d, idle %d of %d, names %d of %d, offers %d of %d, by port %d",
			timers, len(e.timers), idle, len(e.idle), names, len(e.names), offers, len(e.offers), used)
	case unused != e.pool.Unused():
		return fmt.Errorf("%d unused addresses, counted %d", unused, e.pool.Unused())
	}
	return nil
}

func num(b bool) int {
	if b {
		return 1
	}
	return 0
}
