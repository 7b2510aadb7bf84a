package dataplane

import "net/netip"

// fix replaces the stations whose MAC addresses the administrator of this machine has
// set. No ARP moves them, none is sent for them, and they do not age. fix returns what
// has waited for them; one that there is no room for is an ordinary station.
func (t *neighbors) fix(list []Neighbor, now uint32) (waited []held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	stays := map[netip.Addr]bool{}
	for _, e := range list {
		stays[e.Address] = true
	}
	for i := range t.shards {
		var gone []netip.Addr
		for a, n := range *t.shards[i].Load() {
			if n.fixed && !stays[a] {
				gone = append(gone, a)
			}
		}
		if len(gone) > 0 {
			t.remove(&t.shards[i], gone...)
		}
	}
	for _, e := range list {
		n := t.get(e.Address)
		if n == nil {
			n = t.add(e.Address, now)
		}
		if n == nil {
			continue
		}
		n.fixed = true
		n.mac.Store(e.MAC.Uint64() | neighborKnown)
		waited = append(waited, t.settle(n, Forwarded)...)
	}
	return waited
}
