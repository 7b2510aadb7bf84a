package dhcp

import (
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// maxKin is how many leases of one MAC address are looked at for the client that
// they may all belong to, the latest first. Nobody needs more than a few, and
// who has an identifier for every message is to make no work.
const maxKin = 16

// addKin enters a binding among those of its MAC address.
func (e *engine) addKin(b *binding) {
	if b.mac == (frame.MAC{}) {
		return
	}
	first := e.macs[b.mac]
	if b.kin = first; first != nil {
		first.kinBefore = b
	}
	e.macs[b.mac] = b
}

// removeKin is the inverse of addKin.
func (e *engine) removeKin(b *binding) {
	if b.mac == (frame.MAC{}) {
		return
	}
	if b.kin != nil {
		b.kin.kinBefore = b.kinBefore
	}
	switch {
	case b.kinBefore != nil:
		b.kinBefore.kin = b.kin
	case b.kin != nil:
		e.macs[b.mac] = b.kin
	default:
		delete(e.macs, b.mac)
	}
	b.kin, b.kinBefore = nil, nil
}

// each visits the addresses that a client has or had, under any identity that is
// its own.
func (e *engine) each(c client, visit func(b *binding)) {
	for b := e.clients[c.key]; b != nil; b = b.sibling {
		visit(b)
	}
	b := e.macs[c.mac]
	for n := 0; b != nil && n < maxKin; n++ {
		if b.key != c.key && same(c.key, c.mac, b.key, b.mac) {
			visit(b)
		}
		b = b.kin
	}
}

// elsewhere reports whether a client has an active lease of another address.
func (e *engine) elsewhere(c client, b *binding) (found bool) {
	e.each(c, func(other *binding) { found = found || other.addr != b.addr && other.state == Active })
	return found
}

// giveUp ends the leases of all addresses but one, that the client has now: it
// has one address in a network. It is taken back where that lease is.
func (e *engine) giveUp(now lease.Instant, c client, m *message, kept *binding) {
	var others []*binding
	e.each(c, func(b *binding) {
		if b != kept && b.state == Active && m.vouchesFor(b.mac, b.port) {
			others = append(others, b)
		}
	})
	for _, b := range others {
		e.touch(b)
		e.finish(now, b)
	}
}
