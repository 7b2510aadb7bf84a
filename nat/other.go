package nat

import "net/netip"

// others counts the flows of protocols without ports by whom they are with, and tells
// who wanted to know of the first and the last one. Nothing is counted where nobody
// did. The table's lock guards it.
type others struct {
	changed func(protocol uint8, remote netip.Addr, used bool)
	flows   map[otherPeer]int
}

type otherPeer struct {
	protocol uint8
	remote   [16]byte
}

func (o *others) join(f *flow) {
	if o.changed == nil {
		return
	}
	if o.flows == nil {
		o.flows = map[otherPeer]int{}
	}
	k := otherPeer{f.protocol, f.remote.Addr}
	if o.flows[k]++; o.flows[k] == 1 {
		o.changed(k.protocol, netip.AddrFrom16(k.remote).Unmap(), true)
	}
}

func (o *others) leave(f *flow) {
	if o.changed == nil {
		return
	}
	k := otherPeer{f.protocol, f.remote.Addr}
	if o.flows[k]--; o.flows[k] == 0 {
		if delete(o.flows, k); len(o.flows) == 0 {
			o.flows = nil // a map keeps its memory
		}
		o.changed(k.protocol, netip.AddrFrom16(k.remote).Unmap(), false)
	}
}
